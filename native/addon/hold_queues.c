/* See hold_queues.h. */
#include "hold_queues.h"

#include "tap.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

const char *const hold_reason_names[HOLD_REASONS] = {
	[HOLD_ACCEPTED] = "",
	[HOLD_PACKETS] = "hold-packets",
	[HOLD_BYTES] = "hold-bytes",
	[HOLD_TOTAL] = "hold-total",
	[HOLD_EIDS] = "hold-eids",
	[HOLD_TIME] = "hold-time",
	[HOLD_MALFORMED] = "malformed",
	[HOLD_WRITE_FAILED] = "write-failed",
	[HOLD_LOST] = "lost",
	[HOLD_CLOSED] = "hold-closed",
	[HOLD_AGED] = "aged",
	[HOLD_SEEN] = "seen-at-source",
};

static void add(_Atomic uint64_t *counter, uint64_t amount)
{
	atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

static void subtract(_Atomic uint64_t *counter, uint64_t amount)
{
	atomic_fetch_sub_explicit(counter, amount, memory_order_relaxed);
}

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void hold_count(struct hold_queues *queues, enum hold_reason reason, uint64_t packets)
{
	add(&queues->counters.dropped[reason], packets);
}

bool hold_queues_init(struct hold_queues *queues, const struct hold_limits *limits)
{
	size_t buckets = 64;

	memset(queues, 0, sizeof(*queues));
	queues->limits = *limits;
	while (buckets < (size_t)limits->maximum_eids + HOLD_MAXIMUM_PASSING)
		buckets *= 2;
	queues->bucket_mask = buckets - 1;
	queues->buckets = calloc(buckets, sizeof(*queues->buckets));
	return queues->buckets != NULL;
}

void hold_queues_free(struct hold_queues *queues)
{
	for (int i = 0; i < HOLD_LISTS; i++)
		while (queues->lists[i].first)
			hold_queue_remove(queues, queues->lists[i].first);
	free(queues->buckets);
	queues->buckets = NULL;
}

bool hold_parse(const struct hold_queues *queues, const uint8_t *bytes, size_t length,
		struct hold_key *key, size_t *head)
{
	const struct lisp_hold_header *header = (const void *)(bytes + TAP_VNET_HEADER_BYTES);
	const uint8_t *packet = bytes + TAP_VNET_HEADER_BYTES + sizeof(*header);
	uint32_t instance, family;

	if (length < TAP_VNET_HEADER_BYTES + sizeof(*header) + 20)
		return false;
	if (header->local != 0x02 || header->local2 != 0x02 || header->purpose >= HOLD_PURPOSES ||
	    !queues->limits.longest_ns[header->purpose])
		return false;
	memset(key, 0, sizeof(*key));
	key->purpose = header->purpose;
	family = packet[0] >> 4;
	if (header->ethertype == htons(0x0800) && family == 4) {
		memcpy(key->eid.address, packet + 16, 4);
	} else if (header->ethertype == htons(0x86dd) && family == 6 &&
		   length >= TAP_VNET_HEADER_BYTES + sizeof(*header) + 40) {
		memcpy(key->eid.address, packet + 24, 16);
	} else {
		return false;
	}
	instance = (uint32_t)header->instance_id_be[0] << 16 |
		   (uint32_t)header->instance_id_be[1] << 8 | header->instance_id_be[2];
	key->eid.instance_family_be = htonl(instance << 8 | family);
	*head = TAP_VNET_HEADER_BYTES + sizeof(*header);
	return true;
}

bool hold_is_fragment(const uint8_t *bytes, size_t length)
{
	const struct lisp_hold_header *header = (const void *)(bytes + TAP_VNET_HEADER_BYTES);

	return length >= TAP_VNET_HEADER_BYTES + sizeof(*header) && header->local == 0x02 &&
	       header->local2 == 0x02 && header->purpose == LISP_HOLD_FRAGMENT;
}

uint32_t hold_segments(const uint8_t *bytes, size_t length)
{
	const struct lisp_hold_header *header = (const void *)(bytes + TAP_VNET_HEADER_BYTES);

	if (length < TAP_VNET_HEADER_BYTES + sizeof(*header))
		return 0;
	/* byte 1 is the GSO type */
	return bytes[1] && header->segments ? header->segments : 1;
}

uint32_t hold_nonce(const uint8_t *bytes, size_t length)
{
	const struct lisp_hold_header *header = (const void *)(bytes + TAP_VNET_HEADER_BYTES);
	uint32_t word;

	if (length < TAP_VNET_HEADER_BYTES + sizeof(*header) ||
	    header->purpose != LISP_HOLD_ENDPOINT_EXPECTED)
		return 0;
	memcpy(&word, (const uint8_t *)header + offsetof(struct lisp_hold_header, interface_index_be),
	       sizeof(word));
	word = ntohl(word);
	return word & LISP_STAMPED ? word : 0;
}

static uint32_t kind_of(uint32_t nonce)
{
	return nonce ? nonce >> LISP_KIND_SHIFT & 3 : LISP_KIND_PLAIN;
}

bool hold_is_copy(uint32_t nonce)
{
	return kind_of(nonce) == LISP_KIND_COPY;
}

/* Stamps wrap: less than half of the circle behind is before. */
static bool is_before(uint32_t nonce, uint32_t stamp)
{
	return ((nonce - stamp) & LISP_STAMP_MASK) > LISP_STAMP_MASK / 2;
}

bool hold_was_seen(const struct hold_queues *queues, const struct hold_queue *queue, uint32_t nonce,
		   uint32_t cut)
{
	if (!hold_is_copy(nonce))
		return false;
	if (cut & HOLD_CUT_ALL)
		return true;
	if (cut & HOLD_CUT_STAMP)
		return is_before(nonce, cut);
	return queue->first_redirect &&
	       is_before(nonce, queue->first_redirect - queues->limits.provisional_guard);
}

/* FNV-1a with a final mix; the table is sized for its bounded content, so collisions stay cheap. */
static size_t bucket_of(const struct hold_queues *queues, const struct hold_key *key)
{
	const uint8_t *bytes = (const uint8_t *)key;
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < sizeof(*key); i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	return (hash ^ hash >> 32) & queues->bucket_mask;
}

struct hold_queue *hold_queue_find(struct hold_queues *queues, const struct hold_key *key)
{
	struct hold_queue *queue = queues->buckets[bucket_of(queues, key)];

	while (queue && memcmp(&queue->key, key, sizeof(*key)))
		queue = queue->same_bucket;
	return queue;
}

static struct hold_list *list_of(struct hold_queues *queues, const struct hold_queue *queue)
{
	if (queue->passing)
		return &queues->lists[HOLD_PASSING];
	return &queues->lists[queue->window ? HOLD_WINDOWS : queue->key.purpose];
}

static void unlist(struct hold_queues *queues, struct hold_queue *queue)
{
	struct hold_list *list = list_of(queues, queue);

	*(queue->previous ? &queue->previous->next : &list->first) = queue->next;
	*(queue->next ? &queue->next->previous : &list->last) = queue->previous;
	queue->next = queue->previous = NULL;
	if (queue->passing)
		queues->passing--;
	else
		subtract(&queues->counters.eids, 1);
}

static void enlist(struct hold_queues *queues, struct hold_queue *queue)
{
	struct hold_list *list = list_of(queues, queue);

	queue->previous = list->last;
	*(list->last ? &list->last->next : &list->first) = queue;
	list->last = queue;
	if (queue->passing)
		queues->passing++;
	else
		add(&queues->counters.eids, 1);
}

struct hold_queue *hold_queue_create(struct hold_queues *queues, const struct hold_key *key)
{
	struct hold_queue *queue = calloc(1, sizeof(*queue));
	struct hold_queue **bucket = &queues->buckets[bucket_of(queues, key)];

	if (!queue)
		return NULL;
	if (queues->passing >= HOLD_MAXIMUM_PASSING)
		hold_queue_remove(queues, queues->lists[HOLD_PASSING].first);
	queue->key = *key;
	queue->passing = true;
	queue->same_bucket = *bucket;
	*bucket = queue;
	enlist(queues, queue);
	return queue;
}

void hold_queue_hold(struct hold_queues *queues, struct hold_queue *queue, uint64_t now)
{
	unlist(queues, queue);
	queue->passing = false;
	queue->window = false;
	queue->first_redirect = 0;
	queue->cut = HOLD_CUT_UNKNOWN;
	queue->since_ns = now;
	queue->until_ns = now + queues->limits.longest_ns[queue->key.purpose];
	queue->passed = 0;
	memset(queue->refused, 0, sizeof(queue->refused));
	free(queue->flip);
	queue->flip = NULL;
	enlist(queues, queue);
}

void hold_queue_watch(struct hold_queues *queues, struct hold_queue *queue, uint64_t now)
{
	hold_queue_hold(queues, queue, now);
	unlist(queues, queue);
	queue->window = true;
	queue->until_ns = now + queues->limits.window_ns;
	enlist(queues, queue);
}

void hold_queue_mark(struct hold_queues *queues, struct hold_queue *queue, uint64_t now)
{
	if (!queue->window)
		return;
	unlist(queues, queue);
	queue->window = false;
	queue->since_ns = now;
	queue->until_ns = now + queues->limits.longest_ns[queue->key.purpose];
	enlist(queues, queue);
}

struct held_packet *hold_queue_age(struct hold_queues *queues, struct hold_queue *queue, size_t coming,
				   uint64_t now)
{
	const struct held_packet *oldest = queue->first;
	const struct hold_limits *limits = &queues->limits;

	if (!queue->window || !oldest)
		return NULL;
	if (now - oldest->arrived_ns < limits->window_ns && queue->packets < limits->packets_per_eid &&
	    queue->bytes + coming <= limits->bytes_per_eid)
		return NULL;
	return hold_queue_take(queues, queue);
}

void hold_queue_rewatch(struct hold_queues *queues, struct hold_queue *queue, uint64_t now)
{
	unlist(queues, queue);
	queue->until_ns = now + queues->limits.window_ns;
	enlist(queues, queue);
}

void hold_queue_pass(struct hold_queues *queues, struct hold_queue *queue, uint64_t until)
{
	unlist(queues, queue);
	if (queues->passing >= HOLD_MAXIMUM_PASSING)
		hold_queue_remove(queues, queues->lists[HOLD_PASSING].first);
	queue->passing = true;
	queue->window = false;
	queue->until_ns = until;
	free(queue->flip);
	queue->flip = NULL;
	enlist(queues, queue);
}

enum hold_reason hold_refusal(const struct hold_queues *queues, const struct hold_queue *queue,
			      size_t length)
{
	const struct hold_limits *limits = &queues->limits;

	if (!queue && load(&queues->counters.eids) >= limits->maximum_eids)
		return HOLD_EIDS;
	if (queue && queue->packets >= limits->packets_per_eid)
		return HOLD_PACKETS;
	if ((queue ? queue->bytes : 0) + length > limits->bytes_per_eid)
		return HOLD_BYTES;
	if (load(&queues->counters.bytes) + length > limits->bytes_total)
		return HOLD_TOTAL;
	return HOLD_ACCEPTED;
}

bool hold_queue_append(struct hold_queues *queues, struct hold_queue *queue, const uint8_t *bytes,
		       size_t length, uint64_t now)
{
	struct held_packet *packet = malloc(sizeof(*packet) + length);

	if (!packet)
		return false;
	packet->next = NULL;
	packet->length = (uint32_t)length;
	packet->segments = hold_segments(bytes, length);
	packet->nonce = hold_nonce(bytes, length);
	packet->arrived_ns = now;
	if (kind_of(packet->nonce) == LISP_KIND_REDIRECT && !queue->first_redirect)
		queue->first_redirect = packet->nonce;
	memcpy(packet->bytes, bytes, length);
	*(queue->last ? &queue->last->next : &queue->first) = packet;
	queue->last = packet;
	queue->packets++;
	queue->bytes += length;
	queue->segments += packet->segments;
	add(&queues->counters.packets, 1);
	add(&queues->counters.bytes, length);
	add(&queues->counters.held_total, 1);
	return true;
}

struct held_packet *hold_queue_take(struct hold_queues *queues, struct hold_queue *queue)
{
	struct held_packet *packet = queue->first;

	if (!packet)
		return NULL;
	queue->first = packet->next;
	if (!queue->first)
		queue->last = NULL;
	queue->packets--;
	queue->bytes -= packet->length;
	queue->segments -= packet->segments;
	subtract(&queues->counters.packets, 1);
	subtract(&queues->counters.bytes, packet->length);
	return packet;
}

void hold_queue_remove(struct hold_queues *queues, struct hold_queue *queue)
{
	struct hold_queue **place = &queues->buckets[bucket_of(queues, &queue->key)];

	while (*place != queue)
		place = &(*place)->same_bucket;
	*place = queue->same_bucket;
	unlist(queues, queue);
	while (queue->first)
		free(hold_queue_take(queues, queue));
	free(queue->flip);
	free(queue);
}

struct hold_queue *hold_queues_overdue(struct hold_queues *queues, uint64_t now)
{
	for (int i = 0; i < HOLD_LISTS; i++)
		if (queues->lists[i].first && queues->lists[i].first->until_ns <= now)
			return queues->lists[i].first;
	return NULL;
}

uint64_t hold_queues_deadline(const struct hold_queues *queues)
{
	uint64_t deadline = UINT64_MAX;

	for (int i = 0; i < HOLD_LISTS; i++)
		if (queues->lists[i].first && queues->lists[i].first->until_ns < deadline)
			deadline = queues->lists[i].first->until_ns;
	return deadline;
}
