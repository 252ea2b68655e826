/* See hold_thread.h. */
#define _GNU_SOURCE
#include "hold_thread.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	/* How much is written before the device is looked at. */
	FRAMES_PER_LOOK = 64,
	/* A drop reads the device empty; ten times its queue means that packets arrive faster than they
	 * can be taken, and waiting longer would not help. */
	FRAMES_PER_DROP = 200000,
	/* For the device to take packets back, per turn or release. */
	PATIENCE_MS = 200,
};

/* What was counted in and still has not come although the device was read empty, again and again for
 * so long, was lost: between count and queue a program needs a microsecond. Not 1 ms: so long a virtual
 * CPU may stand still in between (seen once in 3,000 releases). */
static const uint64_t LOST_AFTER_NS = 5000000;
/* Traffic faster than this thread is flipped all the same and counted, packets on their way are overtaken: when
 * more of them wait in the device than its queue of 20,000 safely takes, or when other releases have
 * waited long enough. Measured on two busy CPUs at 50,000 packets a second: 20 ms were too short in
 * half of the releases (thousands overtaken), although the backlog was shrinking. */
static const uint64_t MOST_AHEAD = 15000;
static const uint64_t LONGEST_SETTLING_NS = 1000000000;
/* A packet on its way into the hold on another CPU arrives within microseconds of the flip; the
 * grace covers a virtual CPU that was not running. */
static const uint64_t GRACE_NS = 100000000;

/* Packets that other keys hold at the same gate. */
static int64_t count_neighbours(const struct hold *hold, const struct hold_key *key)
{
	uint32_t slot = hold_gate_slot(key);
	uint64_t packets = 0;

	for (int i = 0; i < HOLD_LISTS; i++) /* those that pass are empty */
		for (const struct hold_queue *queue = hold->queues.lists[i].first; queue;
		     queue = queue->next)
			if (hold_gate_slot(&queue->key) == slot)
				packets += queue->segments;
	return (int64_t)packets;
}

/*
 * Read the device until everything that was counted in for the key has been written back. From then
 * on nothing enters: while the entry drains, what comes goes straight on. True when that is so; false
 * when the traffic is faster than this thread, or another key waits at the same gate.
 */
static bool settle(struct hold *hold, const struct hold_key *key, uint64_t until)
{
	uint64_t since = hold_now_ns(), now = since, entered, ahead;
	int64_t missing, least = INT64_MAX;

	do {
		entered = hold_gate_entered(&hold->gates, key);
		if (!hold_read_device(hold, HOLD_FRAMES_PER_TURN))
			least = 0; /* what is missing may still be in the device */
		ahead = hold_gate_ahead(&hold->gates, key);
		if (!ahead)
			return true;
		if (ahead > MOST_AHEAD)
			return false;
		now = hold_now_ns();
		missing = (int64_t)(entered - hold_gate_left(&hold->gates, key));
		if (missing < least)
			least = missing;
		if (now - since < LOST_AFTER_NS)
			continue; /* to the loop's condition */
		if (least > 0 && count_neighbours(hold, key))
			return false;
		if (least > 0) {
			hold_gate_leave(&hold->gates, key, (uint32_t)least);
			hold_count(&hold->queues, HOLD_LOST, (uint64_t)least);
		}
		since = now;
		least = INT64_MAX;
	} while (now < until);
	return false;
}

/* Give up what is held, oldest first. The queue stays. */
static void discard(struct hold *hold, struct hold_queue *queue)
{
	struct held_packet *packet;

	while ((packet = hold_queue_take(&hold->queues, queue))) {
		hold_gate_leave(&hold->gates, &queue->key, packet->segments);
		free(packet);
	}
}

static void free_command(struct hold_command *command)
{
	free(command->flip);
	free(command);
}

/* What is written to the device is sent on before write returns, unless the scheduler wants this thread
 * to yield: then packets stay behind in a queue of this CPU, and newer ones of other CPUs overtake
 * them (measured at 100,000 packets a second: hundreds). A real-time thread is not asked to yield by
 * ordinary ones. Bounded by what is held, so harmless. */
static void set_urgent(bool urgent)
{
	struct sched_param parameter = { .sched_priority = urgent ? 1 : 0 };

	sched_setscheduler(0, urgent ? SCHED_RR : SCHED_OTHER, &parameter);
}

/*
 * Write back what is held, oldest first. What comes meanwhile queues behind it, within the limits of
 * the hold: left in the device it would be lost when that is full. After `until` no more is taken in.
 */
static void write_queue(struct hold *hold, struct hold_queue *queue, uint64_t until)
{
	struct held_packet *packet;
	uint32_t written = 0;

	while ((packet = hold_queue_take(&hold->queues, queue))) {
		if (hold_was_seen(&hold->queues, queue, packet->nonce, queue->cut))
			hold_count(&hold->queues, HOLD_SEEN, packet->segments);
		else
			queue->passed += hold_write_back(hold, packet->bytes, packet->length);
		hold_gate_leave(&hold->gates, &queue->key, packet->segments);
		free(packet);
		if (++written % FRAMES_PER_LOOK == 0 && !queue->passing && hold_now_ns() < until)
			hold_read_device(hold, HOLD_FRAMES_PER_TURN);
	}
}

static void release(struct hold *hold, struct hold_command *command)
{
	struct hold_event event = { .kind = HOLD_EVENT_RELEASED, .key = command->key };
	struct hold_queue *queue = hold_queue_find(&hold->queues, &command->key);
	struct hold_flip *flip = command->flip;
	uint64_t now = hold_now_ns();

	if (queue && !queue->passing)
		event.held_ms = (double)(now - queue->since_ns) / 1e6;
	if (!queue)
		queue = hold_queue_create(&hold->queues, &command->key);
	if (queue) {
		hold_raise_refused(hold, queue);
		memset(queue->refused, 0, sizeof(queue->refused));
		queue->passed = 0;
		hold_queue_mark(&hold->queues, queue, now);
		queue->cut = command->cut;
	}
	hold->patience_ms = PATIENCE_MS;
	set_urgent(true);
	if (queue) {
		write_queue(hold, queue, now + LONGEST_SETTLING_NS);
		hold_raise_refused(hold, queue);
		memset(queue->refused, 0, sizeof(queue->refused));
	}
	/* From here on what is read for this key is written at once: see take_frame. */
	if (queue)
		hold_queue_pass(&hold->queues, queue, now + GRACE_NS);
	if (!settle(hold, &command->key, now + LONGEST_SETTLING_NS))
		atomic_fetch_add_explicit(&hold->unsettled, 1, memory_order_relaxed);
	if (flip && bpf_map_update_elem(flip->map, flip->bytes, flip->bytes + flip->key_bytes,
					BPF_ANY))
		hold_raise_dropped(hold, &command->key, 0, "flip-failed");
	set_urgent(false);
	if (queue) {
		event.packets = queue->passed;
		queue->until_ns = hold_now_ns() + GRACE_NS;
		queue->flip = flip;
		command->flip = NULL;
	}
	hold_raise(hold, &event);
}

static void count_given_up(struct hold *hold, const char *reason, uint32_t packets)
{
	struct given_up *entry = hold->given_up;

	pthread_mutex_lock(&hold->lock);
	/* The reasons are a closed set of the caller; a seventeenth goes with the last. */
	while (entry < hold->given_up + HOLD_GIVE_UP_REASONS - 1 && entry->reason[0] &&
	       strcmp(entry->reason, reason))
		entry++;
	if (!entry->reason[0])
		snprintf(entry->reason, sizeof(entry->reason), "%s", reason);
	entry->packets += packets;
	pthread_mutex_unlock(&hold->lock);
}

static void drop(struct hold *hold, const struct hold_command *command)
{
	struct hold_queue *queue;

	/* What is in the device's queue has arrived before the decision: it goes too. */
	hold_read_device(hold, FRAMES_PER_DROP);
	queue = hold_queue_find(&hold->queues, &command->key);
	if (!queue || queue->passing)
		return;
	hold_raise_refused(hold, queue);
	count_given_up(hold, command->reason, queue->packets);
	hold_raise_dropped(hold, &queue->key, queue->packets, command->reason);
	discard(hold, queue);
	hold_queue_remove(&hold->queues, queue);
}

/* The endpoint has stopped at the source: what is in its window now may be what it has not seen. */
static void mark(struct hold *hold, const struct hold_command *command)
{
	struct hold_queue *queue = hold_queue_find(&hold->queues, &command->key);

	if (queue && !queue->passing)
		hold_queue_mark(&hold->queues, queue, hold_now_ns());
}

static void run_commands(struct hold *hold)
{
	struct hold_command *command, *next;
	uint64_t count;

	if (read(hold->wake_thread, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&hold->lock);
	command = hold->first_command;
	hold->first_command = hold->last_command = NULL;
	hold->commands = 0;
	pthread_mutex_unlock(&hold->lock);
	for (; command; command = next) {
		next = command->next;
		if (command->task == HOLD_TASK_RELEASE)
			release(hold, command);
		else if (command->task == HOLD_TASK_MARK)
			mark(hold, command);
		else
			drop(hold, command);
		free_command(command);
	}
}

static void expire(struct hold *hold, uint64_t now)
{
	struct hold_queue *queue;

	while ((queue = hold_queues_overdue(&hold->queues, now))) {
		if (queue->window && !queue->passing) {
			hold_age(hold, queue, 0, now);
			if (queue->first) {
				hold_queue_rewatch(&hold->queues, queue, now);
				continue;
			}
		} else if (!queue->passing) {
			hold_raise_refused(hold, queue);
			hold_count(&hold->queues, HOLD_TIME, queue->packets);
			hold_raise_dropped(hold, &queue->key, queue->packets,
				      hold_reason_names[HOLD_TIME]);
			discard(hold, queue);
		}
		hold_queue_remove(&hold->queues, queue);
	}
}

static int wait_ms(const struct hold *hold, uint64_t now)
{
	uint64_t deadline = hold_queues_deadline(&hold->queues);

	if (deadline == UINT64_MAX)
		return -1;
	return deadline <= now ? 0 : (int)((deadline - now) / 1000000) + 1;
}

void *hold_run(void *argument)
{
	struct hold *hold = argument;
	struct pollfd files[2] = { { .fd = hold->wake_thread, .events = POLLIN },
				   { .fd = hold->tap, .events = POLLIN } };

	pthread_setname_np(pthread_self(), "godwit-hold");
	while (!atomic_load(&hold->stopping)) {
		if (poll(files, 2, wait_ms(hold, hold_now_ns())) < 0 && errno != EINTR)
			break;
		hold->patience_ms = PATIENCE_MS;
		if (files[0].revents & POLLIN)
			run_commands(hold);
		if (files[1].revents & POLLIN)
			hold_read_device(hold, HOLD_FRAMES_PER_TURN);
		else if (files[1].revents)
			files[1].fd = -1; /* the device was deleted: nothing will come any more */
		expire(hold, hold_now_ns());
	}
	return NULL;
}
