/* See hold.h. */
#define _GNU_SOURCE
#include "hold.h"

#include "fragment.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	/* How much is read before commands and deadlines get their turn. */
	FRAMES_PER_TURN = 256,
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

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Held events may be lost when nobody reads them (the queue then ends by time); the answer to a
 * command may not: there are never more of those than commands. */
static void raise_event(struct hold *hold, const struct hold_event *event)
{
	bool must = event->kind == HOLD_EVENT_RELEASED;
	struct hold_event *copy = NULL;
	uint64_t one = 1;

	pthread_mutex_lock(&hold->lock);
	if (must || hold->events < HOLD_MAXIMUM_EVENTS)
		copy = malloc(sizeof(*copy));
	if (copy) {
		*copy = *event;
		copy->next = NULL;
		*(hold->last_event ? &hold->last_event->next : &hold->first_event) = copy;
		hold->last_event = copy;
		hold->events++;
	} else {
		hold->events_lost++;
	}
	pthread_mutex_unlock(&hold->lock);
	if (write(hold->wake_loop, &one, sizeof(one)) < 0)
		return; /* the counter is at its maximum: the loop is awake already */
}

static void raise_dropped(struct hold *hold, const struct hold_key *key, uint32_t packets,
			  const char *reason)
{
	struct hold_event event = { .kind = HOLD_EVENT_DROPPED, .key = *key, .packets = packets };

	snprintf(event.reason, sizeof(event.reason), "%s", reason);
	raise_event(hold, &event);
}

/* What a queue refused is told once, when the queue ends: one event per reason, not per packet. */
static void raise_refused(struct hold *hold, const struct hold_queue *queue)
{
	for (int reason = 0; reason < HOLD_REASONS; reason++)
		if (queue->refused[reason])
			raise_dropped(hold, &queue->key, queue->refused[reason],
				      hold_reason_names[reason]);
}

static bool write_frame(struct hold *hold, const uint8_t *bytes, size_t length)
{
	struct pollfd device = { .fd = hold->tap, .events = POLLOUT };

	for (;;) {
		if (write(hold->tap, bytes, length) >= 0)
			return true;
		if (errno == EINTR)
			continue;
		if ((errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM) ||
		    hold->patience_ms <= 0)
			break;
		hold->patience_ms--;
		poll(&device, 1, 1);
	}
	hold_count(&hold->queues, HOLD_WRITE_FAILED, 1);
	return false;
}

static bool write_back(struct hold *hold, const uint8_t *bytes, size_t length)
{
	if (!write_frame(hold, bytes, length))
		return false;
	atomic_fetch_add_explicit(&hold->queues.counters.released_total, 1, memory_order_relaxed);
	return true;
}

/* Whether the map still says what the release made it say; else the key is being held anew. */
static bool still_flipped(const struct hold_flip *flip)
{
	const uint8_t *value;
	uint8_t *found;

	if (!flip)
		return true;
	value = flip->bytes + flip->key_bytes;
	found = (uint8_t *)value + flip->value_bytes;
	return bpf_map_lookup_elem(flip->map, flip->bytes, found) == 0 &&
	       memcmp(found, value, flip->value_bytes) == 0;
}

static struct hold_queue *begin_holding(struct hold *hold, struct hold_queue *queue,
					const struct hold_key *key, bool copy, const uint8_t *head,
					size_t head_bytes)
{
	struct hold_event event = { .kind = HOLD_EVENT_HELD, .key = *key };

	if (!queue)
		queue = hold_queue_create(&hold->queues, key);
	if (!queue)
		return NULL;
	if (copy)
		hold_queue_watch(&hold->queues, queue, now_ns());
	else
		hold_queue_hold(&hold->queues, queue, now_ns());
	event.head_bytes = (uint32_t)(head_bytes < HOLD_HEAD_BYTES ? head_bytes : HOLD_HEAD_BYTES);
	memcpy(event.head, head, event.head_bytes);
	raise_event(hold, &event);
	return queue;
}

/* A packet without DF that did not fit: both halves go back at once, to be encapsulated each. */
static void split_frame(struct hold *hold, size_t length)
{
	uint8_t *second = hold->frame + HOLD_FRAME_BYTES;
	size_t second_length;

	if (!fragment_split(hold->frame, &length, second, &second_length)) {
		hold_count(&hold->queues, HOLD_MALFORMED, 1);
		return;
	}
	if (write_frame(hold, hold->frame, length))
		write_frame(hold, second, second_length);
}

/* A copy too old or too many leaves its window: the endpoint had it at the source. */
static void age(struct hold *hold, struct hold_queue *queue, size_t coming, uint64_t now)
{
	struct held_packet *packet;

	while ((packet = hold_queue_age(&hold->queues, queue, coming, now))) {
		hold_count(&hold->queues, HOLD_AGED, packet->segments);
		hold_gate_leave(&hold->gates, &queue->key, packet->segments);
		free(packet);
	}
}

/* The packet is held for the key; HOLD_ACCEPTED, or why not. */
static enum hold_reason hold_frame(struct hold *hold, struct hold_queue *queue,
				   const struct hold_key *key, size_t head, size_t length)
{
	struct hold_queues *queues = &hold->queues;
	uint32_t nonce = hold_nonce(hold->frame, length);
	enum hold_reason reason;
	uint64_t now = now_ns();

	if (queue && queue->window) {
		if (!hold_is_copy(nonce))
			hold_queue_mark(queues, queue, now);
		age(hold, queue, length, now);
	}
	reason = hold_refusal(queues, queue && !queue->passing ? queue : NULL, length);
	if (!reason && (!queue || queue->passing))
		queue = begin_holding(hold, queue, key, hold_is_copy(nonce), hold->frame + head,
				      length - head);
	/* Without memory the packet is one too many, as if the whole hold were full. */
	if (!reason && (!queue || !hold_queue_append(queues, queue, hold->frame, length, now)))
		reason = HOLD_TOTAL;
	if (reason && queue && !queue->passing)
		queue->refused[reason]++;
	return reason;
}

static void take_frame(struct hold *hold, size_t length)
{
	uint32_t segments = hold_segments(hold->frame, length);
	struct hold_queues *queues = &hold->queues;
	enum hold_reason reason;
	struct hold_queue *queue;
	struct hold_key key;
	size_t head;

	if (hold_is_fragment(hold->frame, length)) {
		split_frame(hold, length);
		return;
	}
	if (!hold_parse(queues, hold->frame, length, &key, &head)) {
		hold_count(queues, HOLD_MALFORMED, 1);
		return;
	}
	queue = hold_queue_find(queues, &key);
	if (queue && queue->passing && still_flipped(queue->flip)) {
		if (hold_was_seen(&hold->queues, queue, hold_nonce(hold->frame, length), queue->cut))
			hold_count(queues, HOLD_SEEN, segments);
		else
			queue->passed += write_back(hold, hold->frame, length);
		hold_gate_leave(&hold->gates, &key, segments);
		return;
	}
	reason = hold_frame(hold, queue, &key, head, length);
	if (reason) {
		hold_count(queues, reason, 1);
		hold_gate_leave(&hold->gates, &key, segments);
	}
}

/* Read the device until it is empty, at most `most` frames; whether it is empty. */
static bool read_device(struct hold *hold, uint32_t most)
{
	ssize_t length;

	for (uint32_t i = 0; i < most; i++) {
		length = read(hold->tap, hold->frame, HOLD_FRAME_BYTES);
		if (length > 0)
			take_frame(hold, (size_t)length);
		else if (length < 0 && errno != EINTR)
			return true;
	}
	return false;
}

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
	uint64_t since = now_ns(), now = since, entered, ahead;
	int64_t missing, least = INT64_MAX;

	do {
		entered = hold_gate_entered(&hold->gates, key);
		if (!read_device(hold, FRAMES_PER_TURN))
			least = 0; /* what is missing may still be in the device */
		ahead = hold_gate_ahead(&hold->gates, key);
		if (!ahead)
			return true;
		if (ahead > MOST_AHEAD)
			return false;
		now = now_ns();
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
			queue->passed += write_back(hold, packet->bytes, packet->length);
		hold_gate_leave(&hold->gates, &queue->key, packet->segments);
		free(packet);
		if (++written % FRAMES_PER_LOOK == 0 && !queue->passing && now_ns() < until)
			read_device(hold, FRAMES_PER_TURN);
	}
}

static void release(struct hold *hold, struct hold_command *command)
{
	struct hold_event event = { .kind = HOLD_EVENT_RELEASED, .key = command->key };
	struct hold_queue *queue = hold_queue_find(&hold->queues, &command->key);
	struct hold_flip *flip = command->flip;
	uint64_t now = now_ns();

	if (queue && !queue->passing)
		event.held_ms = (double)(now - queue->since_ns) / 1e6;
	if (!queue)
		queue = hold_queue_create(&hold->queues, &command->key);
	if (queue) {
		raise_refused(hold, queue);
		memset(queue->refused, 0, sizeof(queue->refused));
		queue->passed = 0;
		hold_queue_mark(&hold->queues, queue, now);
		queue->cut = command->cut;
	}
	hold->patience_ms = PATIENCE_MS;
	set_urgent(true);
	if (queue) {
		write_queue(hold, queue, now + LONGEST_SETTLING_NS);
		raise_refused(hold, queue);
		memset(queue->refused, 0, sizeof(queue->refused));
	}
	/* From here on what is read for this key is written at once: see take_frame. */
	if (queue)
		hold_queue_pass(&hold->queues, queue, now + GRACE_NS);
	if (!settle(hold, &command->key, now + LONGEST_SETTLING_NS))
		atomic_fetch_add_explicit(&hold->unsettled, 1, memory_order_relaxed);
	if (flip && bpf_map_update_elem(flip->map, flip->bytes, flip->bytes + flip->key_bytes,
					BPF_ANY))
		raise_dropped(hold, &command->key, 0, "flip-failed");
	set_urgent(false);
	if (queue) {
		event.packets = queue->passed;
		queue->until_ns = now_ns() + GRACE_NS;
		queue->flip = flip;
		command->flip = NULL;
	}
	raise_event(hold, &event);
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
	read_device(hold, FRAMES_PER_DROP);
	queue = hold_queue_find(&hold->queues, &command->key);
	if (!queue || queue->passing)
		return;
	raise_refused(hold, queue);
	count_given_up(hold, command->reason, queue->packets);
	raise_dropped(hold, &queue->key, queue->packets, command->reason);
	discard(hold, queue);
	hold_queue_remove(&hold->queues, queue);
}

/* The endpoint has stopped at the source: what is in its window now may be what it has not seen. */
static void mark(struct hold *hold, const struct hold_command *command)
{
	struct hold_queue *queue = hold_queue_find(&hold->queues, &command->key);

	if (queue && !queue->passing)
		hold_queue_mark(&hold->queues, queue, now_ns());
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
			age(hold, queue, 0, now);
			if (queue->first) {
				hold_queue_rewatch(&hold->queues, queue, now);
				continue;
			}
		} else if (!queue->passing) {
			raise_refused(hold, queue);
			hold_count(&hold->queues, HOLD_TIME, queue->packets);
			raise_dropped(hold, &queue->key, queue->packets,
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
		if (poll(files, 2, wait_ms(hold, now_ns())) < 0 && errno != EINTR)
			break;
		hold->patience_ms = PATIENCE_MS;
		if (files[0].revents & POLLIN)
			run_commands(hold);
		if (files[1].revents & POLLIN)
			read_device(hold, FRAMES_PER_TURN);
		else if (files[1].revents)
			files[1].fd = -1; /* the device was deleted: nothing will come any more */
		expire(hold, now_ns());
	}
	return NULL;
}
