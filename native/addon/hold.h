/*
 * The hold: packets wait here for a mapping or an endpoint, and leave in order.
 *
 * hold.c is the JavaScript side (options, commands in, events out), hold_thread.h the thread that
 * reads the device, keeps the queues and writes back. The two share the lists of commands and events
 * under one lock; queues belong to the thread alone.
 *
 * What a release guarantees: when the map says "draining" and is flipped by the release, every packet
 * held for the key has been handed to the kernel in arrival order, and nothing newer has overtaken one
 * (hold_gates.h). Two exceptions, each after a limited wait: packets that were lost between a program
 * and the device (its queue was full), and two keys by chance at the same gate.
 *
 * Packets that do not wait but shall be split in two pass through the same device (fragment.h).
 */
#ifndef HOLD_H
#define HOLD_H

#include "bpf_objects.h"
#include "hold_gates.h"
#include "hold_queues.h"
#include "tap.h"

#include <pthread.h>

enum {
	HOLD_FRAME_BYTES = 1 << 17,
	HOLD_HEAD_BYTES = 128,
	HOLD_REASON_BYTES = 32,
	HOLD_MAXIMUM_COMMANDS = 65536,
	HOLD_MAXIMUM_EVENTS = 65536,
	HOLD_EVENTS_PER_CALL = 1024,
	HOLD_GIVE_UP_REASONS = 16,
};

enum hold_task { HOLD_TASK_DROP, HOLD_TASK_RELEASE, HOLD_TASK_MARK };

struct hold_command {
	struct hold_command *next;
	enum hold_task task;
	uint32_t cut; /* of a release: enum hold_cut */
	struct hold_key key;
	struct hold_flip *flip; /* NULL: none */
	char reason[HOLD_REASON_BYTES];
};

enum hold_event_kind { HOLD_EVENT_HELD, HOLD_EVENT_RELEASED, HOLD_EVENT_DROPPED };

struct hold_event {
	struct hold_event *next;
	enum hold_event_kind kind;
	struct hold_key key;
	uint32_t packets;
	double held_ms;
	uint32_t head_bytes;
	uint8_t head[HOLD_HEAD_BYTES];
	char reason[HOLD_REASON_BYTES];
};

/* Drops by a reason that came from above, kept by name. */
struct given_up {
	char reason[HOLD_REASON_BYTES];
	uint64_t packets;
};

struct hold {
	struct handle handle;
	struct watch watch;
	struct object_handle *object;
	char interface_name[TAP_NAME_BYTES];
	uint32_t interface_index;
	int tap;
	int wake_thread; /* eventfd: commands or stop */
	int wake_loop;   /* eventfd: events */
	bool running;
	pthread_t thread;
	_Atomic bool stopping;

	pthread_mutex_t lock; /* of everything until the blank line */
	struct hold_command *first_command;
	struct hold_command *last_command;
	uint32_t commands;
	struct hold_event *first_event;
	struct hold_event *last_event;
	uint32_t events;
	uint64_t events_lost;
	struct given_up given_up[HOLD_GIVE_UP_REASONS];

	struct hold_queues queues; /* of the thread, counters excepted */
	struct hold_gates gates;   /* of the thread */
	_Atomic uint64_t unsettled; /* releases whose order could not be kept, see hold_thread.c: settle */
	uint8_t *frame;            /* one frame just read, and behind it room for another */
	int patience_ms;           /* how long this turn may still wait for the device */
};

void *hold_run(void *hold);

napi_value open_hold(napi_env env, napi_callback_info info);
napi_value release_hold(napi_env env, napi_callback_info info);
napi_value mark_hold(napi_env env, napi_callback_info info);
napi_value drop_hold(napi_env env, napi_callback_info info);
napi_value hold_statistics(napi_env env, napi_callback_info info);
napi_value close_hold(napi_env env, napi_callback_info info);

#endif
