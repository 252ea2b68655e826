/*
 * The hold's queues under any order of calls: frames are parsed, queued, released, given up, and time
 * passes. The counters must always be those of the packets that are really there, limits must hold,
 * and packets must leave in the order in which they came.
 */
#include "../addon/hold_queues.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 12, LONGEST = 64, HEADERS = 44 };

#define CHECK(condition, ...)                      \
	do {                                       \
		if (!(condition)) {                \
			fprintf(stderr, __VA_ARGS__); \
			fputc('\n', stderr);       \
			abort();                   \
		}                                  \
	} while (0)

struct stream {
	const uint8_t *bytes;
	size_t length, at;
};

static uint8_t next(struct stream *stream)
{
	return stream->at < stream->length ? stream->bytes[stream->at++] : 0;
}

/* A frame as the programs write it, damaged here and there; its length. */
static size_t make_frame(struct stream *stream, uint8_t *frame)
{
	uint8_t about = next(stream), damage = next(stream);
	size_t length = HEADERS + about % 20;

	memset(frame, 0, LONGEST);
	frame[1] = about & 64; /* gso_type */
	frame[10] = frame[16] = 0x02;
	frame[11] = 1 + (about >> 5 & 1);
	frame[17] = about & 7;
	frame[22] = 0x08;
	frame[24] = 0x45;
	frame[43] = next(stream) % KEYS;
	if (about & 128) {
		frame[22] = 0x86;
		frame[23] = 0xdd;
		frame[24] = 0x60;
		length = LONGEST;
	}
	if (damage & 128)
		frame[damage % LONGEST] ^= next(stream);
	return damage == 127 ? next(stream) % (HEADERS + 1) : length;
}

struct totals {
	uint64_t packets, bytes, eids;
};

static void check_queue(struct hold_queues *queues, struct hold_queue *queue, struct totals *totals)
{
	uint64_t packets = 0, bytes = 0, segments = 0;

	for (struct held_packet *packet = queue->first; packet; packet = packet->next) {
		packets++;
		bytes += packet->length;
		segments += packet->segments;
		CHECK(packet->next || packet == queue->last, "the last packet is not the last");
	}
	CHECK(packets == queue->packets && bytes == queue->bytes && segments == queue->segments,
	      "a queue's figures are not those of its packets");
	CHECK(hold_queue_find(queues, &queue->key) == queue, "a queue is not found by its key");
	totals->packets += packets;
	totals->bytes += bytes;
	totals->eids += !queue->passing;
}

static void check(struct hold_queues *queues)
{
	struct totals totals = { 0 };
	uint32_t passing = 0;

	for (int i = 0; i < HOLD_LISTS; i++) {
		struct hold_queue *previous = NULL;

		for (struct hold_queue *queue = queues->lists[i].first; queue; queue = queue->next) {
			CHECK(queue->previous == previous, "a list is torn");
			CHECK(queue->passing == (i == HOLD_PASSING), "a queue is in a wrong list");
			CHECK(!previous || queue->passing || previous->until_ns <= queue->until_ns,
			      "deadlines out of order");
			passing += queue->passing;
			check_queue(queues, queue, &totals);
			previous = queue;
		}
		CHECK(queues->lists[i].last == previous, "a list does not end at its end");
	}
	CHECK(passing == queues->passing, "passing queues are miscounted");
	CHECK(totals.packets == queues->counters.packets && totals.bytes == queues->counters.bytes &&
		      totals.eids == queues->counters.eids,
	      "the counters are not those of the queues");
	CHECK(queues->counters.bytes <= queues->limits.bytes_total, "more bytes than the hold may hold");
	CHECK(queues->counters.eids <= queues->limits.maximum_eids, "more EIDs than may wait");
}

static void arrive(struct hold_queues *queues, const uint8_t *bytes, size_t length, uint64_t now)
{
	/* exactly as long as it is: reading on would be seen */
	uint8_t *frame = malloc(length);
	struct hold_queue *queue;
	struct hold_key key;
	size_t head;

	memcpy(frame, bytes, length);
	hold_segments(frame, length);
	hold_is_fragment(frame, length);
	if (!hold_parse(queues, frame, length, &key, &head)) {
		hold_count(queues, HOLD_MALFORMED, 1);
		free(frame);
		return;
	}
	CHECK(head < length, "the head begins behind the frame");
	queue = hold_queue_find(queues, &key);
	if (!queue || queue->passing) {
		if (hold_refusal(queues, NULL, length) == HOLD_ACCEPTED) {
			if (!queue)
				queue = hold_queue_create(queues, &key);
			hold_queue_hold(queues, queue, now);
		} else {
			queue = NULL;
		}
	}
	if (queue && hold_refusal(queues, queue, length) == HOLD_ACCEPTED)
		hold_queue_append(queues, queue, frame, length, now);
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct stream stream = { .bytes = input, .length = size };
	struct hold_limits limits = {
		.packets_per_eid = 1 + next(&stream) % 8,
		.bytes_per_eid = 60 + next(&stream) * 2,
		.bytes_total = 200 + next(&stream) * 8,
		.maximum_eids = 1 + next(&stream) % KEYS,
		.window_ns = 1500,
		.provisional_guard = next(&stream),
		.longest_ns = { [LISP_HOLD_MAP_CACHE_MISS] = 1000, [LISP_HOLD_ENDPOINT_EXPECTED] = 2000 },
	};
	struct hold_queues queues;
	struct hold_queue *queue;
	uint8_t frame[LONGEST];
	uint64_t now = 1;
	size_t length;

	if (!hold_queues_init(&queues, &limits))
		abort();
	while (stream.at < stream.length) {
		uint8_t operation = next(&stream);
		struct hold_key key = { .purpose = 1 + (operation >> 4 & 1) };

		key.eid.instance_family_be = __builtin_bswap32((uint32_t)(operation >> 5 & 7) << 8 | 4);
		key.eid.address[3] = next(&stream) % KEYS;
		queue = hold_queue_find(&queues, &key);
		switch (operation & 7) {
		case 0:
			if (queue)
				hold_queue_pass(&queues, queue, now + 500);
			break;
		case 1:
			if (queue)
				free(hold_queue_take(&queues, queue));
			break;
		case 2:
			if (queue)
				hold_queue_remove(&queues, queue);
			break;
		case 3:
			now += next(&stream) * 10;
			while ((queue = hold_queues_overdue(&queues, now)))
				hold_queue_remove(&queues, queue);
			CHECK(hold_queues_deadline(&queues) > now, "a deadline that is over remains");
			break;
		default:
			length = make_frame(&stream, frame);
			arrive(&queues, frame, length, now);
		}
		check(&queues);
	}
	hold_queues_free(&queues);
	CHECK(!queues.counters.packets && !queues.counters.bytes && !queues.counters.eids,
	      "something is left after the end");
	return 0;
}
