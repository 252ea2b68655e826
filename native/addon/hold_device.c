/* See hold_thread.h. */
#define _GNU_SOURCE
#include "hold_thread.h"

#include "fragment.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

bool hold_write_back(struct hold *hold, const uint8_t *bytes, size_t length)
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
		hold_queue_watch(&hold->queues, queue, hold_now_ns());
	else
		hold_queue_hold(&hold->queues, queue, hold_now_ns());
	event.head_bytes = (uint32_t)(head_bytes < HOLD_HEAD_BYTES ? head_bytes : HOLD_HEAD_BYTES);
	memcpy(event.head, head, event.head_bytes);
	hold_raise(hold, &event);
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
void hold_age(struct hold *hold, struct hold_queue *queue, size_t coming, uint64_t now)
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
	uint64_t now = hold_now_ns();

	if (queue && queue->window) {
		if (!hold_is_copy(nonce))
			hold_queue_mark(queues, queue, now);
		hold_age(hold, queue, length, now);
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
			queue->passed += hold_write_back(hold, hold->frame, length);
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
bool hold_read_device(struct hold *hold, uint32_t most)
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
