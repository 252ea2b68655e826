/*
 * The packets that wait, by {purpose, EID}: bounded queues, drop-newest, every drop has a reason.
 *
 * Plain data structure without I/O; owned by the hold's thread. Only the counters are read from
 * elsewhere, hence atomic. A queue is `holding`, or, for a short grace after its release, `passing`:
 * then packets that were still on their way into the hold are to be written back at once.
 * Deadlines: within one purpose every queue waits equally long, so the lists are in order by
 * themselves and nothing is searched.
 *
 * A queue of nothing but copies (LISP_KIND_COPY) is a window: the source delivers the same packets, so
 * the oldest are given up, not the newest, by age, number and bytes. It becomes an ordinary queue with
 * the first packet that the source has not delivered, or when it is told that the endpoint stopped.
 * Which copies the endpoint has seen is known at the release, by their stamps.
 */
#ifndef HOLD_QUEUES_H
#define HOLD_QUEUES_H

#include "../bpf/lisp_abi.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HOLD_PURPOSES = 8,
	HOLD_PASSING = HOLD_PURPOSES, /* index of the list of passing queues */
	HOLD_WINDOWS,                 /* and of that of windows */
	HOLD_LISTS,
	HOLD_MAXIMUM_PASSING = 4096,  /* beyond it the oldest grace ends early */
};

enum hold_reason {
	HOLD_ACCEPTED = 0,
	HOLD_PACKETS, /* the EID's packet limit */
	HOLD_BYTES,   /* the EID's byte limit */
	HOLD_TOTAL,   /* the byte limit of the whole hold */
	HOLD_EIDS,    /* too many EIDs wait */
	HOLD_TIME,    /* waited too long */
	HOLD_MALFORMED,
	HOLD_WRITE_FAILED, /* the device did not take it back */
	HOLD_LOST,         /* counted in by a program, never seen: the device's queue was full */
	HOLD_CLOSED,       /* still held when the hold was closed */
	HOLD_AGED,         /* a copy that left its window: the endpoint had it at the source */
	HOLD_SEEN,         /* a copy that the endpoint had at the source, by its stamp */
	HOLD_REASONS,
};
extern const char *const hold_reason_names[HOLD_REASONS];

struct held_packet {
	struct held_packet *next;
	uint32_t length;
	uint32_t segments;
	uint32_t nonce; /* LISP_STAMPED and 24 bits, or 0 */
	uint64_t arrived_ns;
	uint8_t bytes[]; /* virtio_net_hdr and frame, as read */
};

/* Which copies are delivered: all that can not be told seen, none, or those from a stamp on. */
enum hold_cut {
	HOLD_CUT_UNKNOWN = 0,
	HOLD_CUT_ALL = 1 << 30,
	HOLD_CUT_STAMP = 1 << 29, /* and 20 bits */
};

struct hold_key {
	uint32_t purpose;
	struct lisp_eid_key eid;
};

/* What is put into a map at the end of a release; the value also tells whether it still stands. */
struct hold_flip {
	int map;
	uint32_t key_bytes;
	uint32_t value_bytes;
	uint8_t bytes[]; /* key, value, room for a value read back */
};

struct hold_queue {
	struct hold_queue *same_bucket;
	struct hold_queue *next;
	struct hold_queue *previous;
	struct hold_key key;
	bool passing;
	bool window;
	uint32_t first_redirect; /* nonce of the first packet of that kind; 0 = none yet */
	uint32_t cut;            /* of its release, enum hold_cut */
	struct held_packet *first;
	struct held_packet *last;
	uint32_t packets;
	uint64_t bytes;
	uint64_t segments;
	uint32_t passed; /* written back since the release began */
	uint64_t since_ns;
	uint64_t until_ns;
	uint32_t refused[HOLD_REASONS];
	struct hold_flip *flip; /* passing: still right while the map says this; owned */
};

struct hold_limits {
	uint32_t packets_per_eid;
	uint64_t bytes_per_eid;
	uint64_t bytes_total;
	uint32_t maximum_eids;
	uint64_t longest_ns[HOLD_PURPOSES]; /* 0: no such purpose */
	/* How far back a window reaches. Longer than an endpoint stands still at the end of its migration,
	 * so that nothing is lost although nobody says when it stopped. */
	uint64_t window_ns;
	/* Stamps; without a word of when it stopped, the first redirect tells: so much before it at most. */
	uint32_t provisional_guard;
};

struct hold_counters {
	_Atomic uint64_t packets;
	_Atomic uint64_t bytes;
	_Atomic uint64_t eids;
	_Atomic uint64_t held_total;
	_Atomic uint64_t released_total;
	_Atomic uint64_t dropped[HOLD_REASONS];
};

struct hold_list {
	struct hold_queue *first;
	struct hold_queue *last;
};

struct hold_queues {
	struct hold_limits limits;
	struct hold_counters counters;
	struct hold_list lists[HOLD_LISTS];
	uint32_t passing;
	size_t bucket_mask;
	struct hold_queue **buckets;
};

/* False without memory. */
bool hold_queues_init(struct hold_queues *queues, const struct hold_limits *limits);
void hold_queues_free(struct hold_queues *queues);

/*
 * Read the key of a frame as the programs write it (struct lisp_hold_header, then the inner packet).
 * False when it is none; `*head` is where the inner packet begins.
 */
bool hold_parse(const struct hold_queues *queues, const uint8_t *bytes, size_t length,
		struct hold_key *key, size_t *head);

/* For how many packets a frame was counted in at its gate: one for each segment of a super-packet. */
uint32_t hold_segments(const uint8_t *bytes, size_t length);
/* Whether the frame is no held packet but one to be split (LISP_HOLD_FRAGMENT). */
bool hold_is_fragment(const uint8_t *bytes, size_t length);

/* The nonce that the frame came with: LISP_STAMPED and 24 bits, or 0. */
uint32_t hold_nonce(const uint8_t *bytes, size_t length);
bool hold_is_copy(uint32_t nonce);
/* Whether the endpoint has had this packet at the source. `cut`: see enum hold_cut. */
bool hold_was_seen(const struct hold_queues *queues, const struct hold_queue *queue, uint32_t nonce,
		   uint32_t cut);

struct hold_queue *hold_queue_find(struct hold_queues *queues, const struct hold_key *key);
/* A new empty queue in state passing (NULL without memory); hold_queue_hold makes it hold. */
struct hold_queue *hold_queue_create(struct hold_queues *queues, const struct hold_key *key);
void hold_queue_hold(struct hold_queues *queues, struct hold_queue *queue, uint64_t now);
void hold_queue_pass(struct hold_queues *queues, struct hold_queue *queue, uint64_t until);
/* The same for a queue that begins with a copy: a window. */
void hold_queue_watch(struct hold_queues *queues, struct hold_queue *queue, uint64_t now);
/* The window closes: from now on nothing of it is given up for its age. */
void hold_queue_mark(struct hold_queues *queues, struct hold_queue *queue, uint64_t now);
/* The oldest packet of a window if it must make room for `coming` bytes more, taken out; or NULL. */
struct held_packet *hold_queue_age(struct hold_queues *queues, struct hold_queue *queue, size_t coming,
				   uint64_t now);
/* A window whose turn of ageing is over waits for the next; empty ones are for the caller to remove. */
void hold_queue_rewatch(struct hold_queues *queues, struct hold_queue *queue, uint64_t now);
/* Why a packet would be refused now; `queue` may be NULL (a first packet). Counts nothing. */
enum hold_reason hold_refusal(const struct hold_queues *queues, const struct hold_queue *queue,
			      size_t length);
/* False without memory. */
bool hold_queue_append(struct hold_queues *queues, struct hold_queue *queue, const uint8_t *bytes,
		       size_t length, uint64_t now);
/* The oldest packet, to be freed by the caller; NULL when empty. */
struct held_packet *hold_queue_take(struct hold_queues *queues, struct hold_queue *queue);
/* With all its packets. */
void hold_queue_remove(struct hold_queues *queues, struct hold_queue *queue);
/* A queue whose time is over, or NULL. */
struct hold_queue *hold_queues_overdue(struct hold_queues *queues, uint64_t now);
/* UINT64_MAX when nothing waits. */
uint64_t hold_queues_deadline(const struct hold_queues *queues);
void hold_count(struct hold_queues *queues, enum hold_reason reason, uint64_t packets);

#endif
