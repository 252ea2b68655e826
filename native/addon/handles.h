/*
 * Lifetime of everything the addon keeps open, and the way back into JavaScript.
 *
 * A handle is a tagged JavaScript object that wraps a `struct handle`. It is open until it is closed
 * by name, or until its environment (process or worker) ends; then every handle still open is
 * closed. Memory goes when the last reference does: one for the JavaScript object, one for each
 * watch that libuv has not yet let go, one for whoever else keeps it (a hold keeps its object).
 *
 * A watch is a file descriptor in the event loop with a JavaScript callback. Our choice against
 * napi_threadsafe_function: a descriptor that the loop itself polls needs no thread for ring buffer
 * and UDP, one wake-up less for the hold, and its end is under our control: at process.exit nothing
 * calls into a function that is already gone.
 *
 * All of this runs on the environment's thread.
 */
#ifndef HANDLES_H
#define HANDLES_H

#include "hmac.h"
#include "napi_values.h"

#include <uv.h>

enum handle_kind { HANDLE_OBJECT, HANDLE_EVENTS, HANDLE_HOLD, HANDLE_UDP, HANDLE_FRAMES, HANDLE_KINDS };

struct handle {
	enum handle_kind kind;
	bool open;
	unsigned int references;
	struct instance *instance;
	struct handle *next;
	struct handle *previous;
	napi_ref value;                   /* strong while open, for the kinds that must not be collected */
	void (*stop)(struct handle *);    /* closes descriptors, joins threads; calls no JavaScript */
	void (*release)(struct handle *); /* frees the memory */
};

struct watch {
	uv_poll_t poll;
	struct handle *owner;
	napi_ref callback;
	napi_async_context context;
	void (*ready)(struct watch *);
};

/* One per environment. */
struct instance {
	napi_env env;
	struct handle *open_handles;
	unsigned int closing_watches;
	bool ending;
	napi_async_cleanup_hook_handle cleanup;
	int packet_socket; /* of sendFrame; -1 until first used */
	struct hmac_cache hmac;
};

struct instance *instance_create(napi_env env);
struct instance *instance_of(napi_env env);

/*
 * Make the JavaScript object of `handle` (whose stop and release are set). Takes over the memory in
 * every case: on failure it is released, an exception is pending and NULL is returned. With
 * `keep`, the object is not collected while open.
 */
napi_value handle_publish(napi_env env, struct handle *handle, enum handle_kind kind, bool keep);
/* The open handle behind `value`; NULL after throwing when it is another kind of thing or closed. */
void *handle_read(napi_env env, napi_value value, enum handle_kind kind);
void handle_close(struct handle *handle);
void handle_reference(struct handle *handle);
void handle_unreference(struct handle *handle);

/* Call `ready` when `descriptor` is readable. False after throwing. The owner must be published. */
bool watch_start(napi_env env, struct watch *watch, struct handle *owner, int descriptor,
		 napi_value callback, const char *name, void (*ready)(struct watch *));
/* To be called from the owner's `stop`; the descriptor may be closed right after. */
void watch_stop(struct watch *watch);
/* Call the JavaScript callback; what it throws becomes an uncaught exception. */
void watch_call(struct watch *watch, size_t count, napi_value *arguments);

#endif
