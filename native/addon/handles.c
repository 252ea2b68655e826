/* See handles.h. */
#include "handles.h"

#include <stdlib.h>
#include <unistd.h>

/* Random numbers: a tag is an identity that no other addon shares. */
static const napi_type_tag TAGS[HANDLE_KINDS] = {
	[HANDLE_OBJECT] = { 0x6f9a1d2b7c504e31ULL, 0x9d1c44b0a7e2f803ULL },
	[HANDLE_EVENTS] = { 0x2c8e5f7714ab4d90ULL, 0xb3067ad95c1e4f28ULL },
	[HANDLE_HOLD] = { 0xe15b03c96d7a4f42ULL, 0x8a90be374d215c6fULL },
	[HANDLE_UDP] = { 0x47d2a6e8903b4c15ULL, 0xa6f8130d5be94c72ULL },
	[HANDLE_FRAMES] = { 0x93b61fd4e05a4c7bULL, 0xb5c1720e8fd34a66ULL },
};
static const char *const NAMES[HANDLE_KINDS] = {
	[HANDLE_OBJECT] = "an open object",
	[HANDLE_EVENTS] = "an open event reader",
	[HANDLE_HOLD] = "an open hold",
	[HANDLE_UDP] = "an open UDP socket",
	[HANDLE_FRAMES] = "an open frame reader",
};

static void finish_ending(struct instance *instance)
{
	if (!instance->ending || instance->closing_watches)
		return;
	napi_remove_async_cleanup_hook(instance->cleanup);
	free(instance);
}

static void end_environment(napi_async_cleanup_hook_handle cleanup, void *argument)
{
	struct instance *instance = argument;

	instance->cleanup = cleanup;
	instance->ending = true;
	while (instance->open_handles)
		handle_close(instance->open_handles);
	if (instance->packet_socket >= 0)
		close(instance->packet_socket);
	finish_ending(instance);
}

struct instance *instance_create(napi_env env)
{
	struct instance *instance = calloc(1, sizeof(*instance));

	if (!instance)
		return NULL;
	instance->env = env;
	instance->packet_socket = -1;
	if (napi_set_instance_data(env, instance, NULL, NULL) != napi_ok ||
	    napi_add_async_cleanup_hook(env, end_environment, instance, NULL) != napi_ok) {
		free(instance);
		return NULL;
	}
	return instance;
}

struct instance *instance_of(napi_env env)
{
	void *instance = NULL;

	napi_get_instance_data(env, &instance);
	return instance;
}

void handle_reference(struct handle *handle)
{
	handle->references++;
}

void handle_unreference(struct handle *handle)
{
	if (--handle->references == 0)
		handle->release(handle);
}

void handle_close(struct handle *handle)
{
	struct instance *instance = handle->instance;

	if (!handle->open)
		return;
	handle->open = false;
	if (handle->previous)
		handle->previous->next = handle->next;
	else
		instance->open_handles = handle->next;
	if (handle->next)
		handle->next->previous = handle->previous;
	/* Not the last reference: the JavaScript object, still reachable or about to be finalized. */
	handle->stop(handle);
	if (handle->value && !instance->ending)
		napi_delete_reference(instance->env, handle->value);
	handle->value = NULL;
}

static void finalize(napi_env env, void *data, void *hint)
{
	struct handle *handle = data;

	(void)env;
	(void)hint;
	handle_close(handle);
	handle_unreference(handle);
}

napi_value handle_publish(napi_env env, struct handle *handle, enum handle_kind kind, bool keep)
{
	struct instance *instance = instance_of(env);
	napi_value value;

	handle->kind = kind;
	handle->instance = instance;
	handle->references = 1;
	if (napi_create_object(env, &value) != napi_ok ||
	    napi_type_tag_object(env, value, &TAGS[kind]) != napi_ok ||
	    napi_wrap(env, value, handle, finalize, NULL, NULL) != napi_ok) {
		handle->stop(handle);
		handle->release(handle);
		napi_throw_error(env, "ENOMEM", "no memory for a handle");
		return NULL;
	}
	handle->open = true;
	handle->next = instance->open_handles;
	if (handle->next)
		handle->next->previous = handle;
	instance->open_handles = handle;
	if (keep)
		napi_create_reference(env, value, 1, &handle->value);
	return value;
}

void *handle_read(napi_env env, napi_value value, enum handle_kind kind)
{
	struct handle *handle = NULL;
	napi_valuetype type = napi_undefined;
	void *data = NULL;
	bool tagged = false;
	char message[64];

	napi_typeof(env, value, &type);
	if (type == napi_object)
		napi_check_object_type_tag(env, value, &TAGS[kind], &tagged);
	if (tagged && napi_unwrap(env, value, &data) == napi_ok)
		handle = data;
	if (handle && handle->open)
		return handle;
	snprintf(message, sizeof(message), "the handle must be %s", NAMES[kind]);
	napi_throw_type_error(env, "ERR_INVALID_HANDLE", message);
	return NULL;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct watch *watch = poll->data;
	napi_handle_scope scope;

	(void)events;
	if (status < 0 || !watch->owner->open)
		return;
	/* The callback may close the owner and drop the last JavaScript reference to it. */
	handle_reference(watch->owner);
	if (napi_open_handle_scope(watch->owner->instance->env, &scope) == napi_ok) {
		watch->ready(watch);
		napi_close_handle_scope(watch->owner->instance->env, scope);
	}
	handle_unreference(watch->owner);
}

static void on_closed(uv_handle_t *closed)
{
	struct watch *watch = closed->data;
	struct instance *instance = watch->owner->instance;

	instance->closing_watches--;
	handle_unreference(watch->owner);
	finish_ending(instance);
}

bool watch_start(napi_env env, struct watch *watch, struct handle *owner, int descriptor,
		 napi_value callback, const char *name, void (*ready)(struct watch *))
{
	uv_loop_t *loop = NULL;
	int error;

	watch->owner = owner;
	watch->ready = ready;
	watch->poll.data = watch;
	if (napi_get_uv_event_loop(env, &loop) != napi_ok ||
	    napi_create_reference(env, callback, 1, &watch->callback) != napi_ok ||
	    napi_async_init(env, NULL, text_value(env, name), &watch->context) != napi_ok) {
		napi_throw_error(env, "ENOMEM", "no memory for a watch");
		return false;
	}
	error = uv_poll_init(loop, &watch->poll, descriptor);
	if (error) {
		throw_system_error(env, "uv_poll_init", -error, "cannot watch %s", name);
		return false;
	}
	/* From here on libuv has the watch until on_closed. */
	handle_reference(owner);
	error = uv_poll_start(&watch->poll, UV_READABLE, on_ready);
	if (error)
		throw_system_error(env, "uv_poll_start", -error, "cannot watch %s", name);
	return error == 0;
}

void watch_stop(struct watch *watch)
{
	struct instance *instance = watch->owner ? watch->owner->instance : NULL;

	if (!instance)
		return;
	if (!instance->ending) {
		if (watch->callback)
			napi_delete_reference(instance->env, watch->callback);
		if (watch->context)
			napi_async_destroy(instance->env, watch->context);
	}
	watch->callback = NULL;
	watch->context = NULL;
	if (uv_is_closing((uv_handle_t *)&watch->poll) || watch->poll.type != UV_POLL)
		return;
	instance->closing_watches++;
	uv_close((uv_handle_t *)&watch->poll, on_closed);
}

void watch_call(struct watch *watch, size_t count, napi_value *arguments)
{
	napi_env env = watch->owner->instance->env;
	napi_value receiver, function, thrown;
	bool pending = false;

	if (!watch->callback || napi_get_global(env, &receiver) != napi_ok ||
	    napi_get_reference_value(env, watch->callback, &function) != napi_ok)
		return;
	napi_make_callback(env, watch->context, receiver, function, count, arguments, NULL);
	if (napi_is_exception_pending(env, &pending) == napi_ok && pending &&
	    napi_get_and_clear_last_exception(env, &thrown) == napi_ok)
		napi_fatal_exception(env, thrown);
}
