/* See event_ring.h. */
#include "event_ring.h"

#include "bpf_objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS_PER_BATCH = 256, MAXIMUM_RECORD_BYTES = 65536 };

struct event_ring {
	struct handle handle;
	struct watch watch;
	struct ring_buffer *ring;
	struct object_handle *object;
	napi_ref buffer; /* ArrayBuffer of RECORDS_PER_BATCH records, reused */
	uint8_t *records;
	size_t record_bytes;
	uint32_t count;
};

static int take_record(void *context, void *data, size_t size)
{
	struct event_ring *events = context;

	/* Of another size: not written by our programs (the map was reused by a newer build). */
	if (size < events->record_bytes)
		return 0;
	memcpy(events->records + events->count * events->record_bytes, data,
	       events->record_bytes);
	events->count++;
	/* A negative result ends the turn; libbpf has consumed this record all the same. */
	return events->count == RECORDS_PER_BATCH ? -ENOBUFS : 0;
}

static void deliver(struct watch *watch)
{
	struct event_ring *events = (struct event_ring *)watch->owner;
	napi_env env = events->handle.instance->env;
	napi_value buffer, arguments[2];

	events->count = 0;
	ring_buffer__consume(events->ring);
	if (!events->count || napi_get_reference_value(env, events->buffer, &buffer) != napi_ok)
		return;
	if (napi_create_typedarray(env, napi_uint8_array, events->count * events->record_bytes,
				   buffer, 0, &arguments[0]) != napi_ok)
		return;
	arguments[1] = number_value(env, events->count);
	watch_call(watch, 2, arguments);
}

static void stop_events(struct handle *handle)
{
	struct event_ring *events = (struct event_ring *)handle;

	watch_stop(&events->watch);
	if (events->buffer && handle->instance && !handle->instance->ending)
		napi_delete_reference(handle->instance->env, events->buffer);
	events->buffer = NULL;
	ring_buffer__free(events->ring);
	events->ring = NULL;
	handle_unreference(&events->object->handle);
}

static void release_events(struct handle *handle)
{
	free(handle);
}

napi_value start_events(napi_env env, napi_callback_info info)
{
	struct object_handle *object;
	struct event_ring *events;
	napi_value arguments[4], buffer, value;
	struct bpf_map *map;
	double record_bytes;

	if (!read_arguments(env, info, 4, arguments))
		return NULL;
	object = handle_read(env, arguments[0], HANDLE_OBJECT);
	map = object ? read_map_name(env, object, arguments[1]) : NULL;
	if (!map ||
	    !read_integer(env, arguments[2], "recordBytes", 1, MAXIMUM_RECORD_BYTES,
			  &record_bytes) ||
	    !read_function(env, arguments[3], "onBatch"))
		return NULL;
	events = allocate(env, sizeof(*events));
	if (!events)
		return NULL;
	events->record_bytes = (size_t)record_bytes;
	events->handle.stop = stop_events;
	events->handle.release = release_events;
	events->object = object;
	handle_reference(&object->handle);
	events->ring = ring_buffer__new(bpf_map__fd(map), take_record, events, NULL);
	if (!events->ring) {
		throw_system_error(env, "startEvents", errno, "map '%s' is no ring buffer",
				   bpf_map__name(map));
		stop_events(&events->handle);
		free(events);
		return NULL;
	}
	value = handle_publish(env, &events->handle, HANDLE_EVENTS, true);
	if (!value)
		return NULL;
	if (napi_create_arraybuffer(env, RECORDS_PER_BATCH * events->record_bytes,
				    (void **)&events->records, &buffer) != napi_ok ||
	    napi_create_reference(env, buffer, 1, &events->buffer) != napi_ok ||
	    !watch_start(env, &events->watch, &events->handle,
			 ring_buffer__epoll_fd(events->ring), arguments[3], "godwit:events",
			 deliver)) {
		handle_close(&events->handle);
		return NULL;
	}
	return value;
}

napi_value close_events(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct handle *handle;

	if (!read_arguments(env, info, 1, &argument))
		return NULL;
	handle = handle_read(env, argument, HANDLE_EVENTS);
	if (!handle)
		return NULL;
	handle_close(handle);
	return undefined_value(env);
}

void close_events_of(struct object_handle *object)
{
	struct handle *handle = object->handle.instance->open_handles, *next;

	for (; handle; handle = next) {
		next = handle->next;
		if (handle->kind == HANDLE_EVENTS && ((struct event_ring *)handle)->object == object)
			handle_close(handle);
	}
}
