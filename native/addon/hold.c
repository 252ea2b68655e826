/* See hold.h. */
#define _GNU_SOURCE
#include "hold.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bpf_maps.h"

/* Stamps that are further apart than half of their range, 34 s, are in no order. */
enum { LONGEST_WAIT_MS = 600000, LONGEST_WINDOW_MS = 30000, MAXIMUM_EIDS = 1 << 20 };

static void wake(int descriptor)
{
	uint64_t one = 1;

	if (write(descriptor, &one, sizeof(one)) < 0)
		return; /* at its maximum: awake already */
}

static napi_value event_value(napi_env env, const struct hold_event *event)
{
	static const char *const kinds[] = { "held", "released", "dropped" };
	napi_value value;

	if (napi_create_object(env, &value) != napi_ok)
		return NULL;
	set_property(env, value, "kind", text_value(env, kinds[event->kind]));
	set_number(env, value, "purpose", event->key.purpose);
	set_property(env, value, "key", bytes_value(env, &event->key.eid, sizeof(event->key.eid)));
	if (event->kind == HOLD_EVENT_HELD) {
		set_property(env, value, "head", bytes_value(env, event->head, event->head_bytes));
		return value;
	}
	set_number(env, value, "packets", event->packets);
	if (event->kind == HOLD_EVENT_RELEASED)
		set_number(env, value, "heldMs", event->held_ms);
	else
		set_property(env, value, "reason", text_value(env, event->reason));
	return value;
}

static void deliver(struct watch *watch)
{
	struct hold *hold = (struct hold *)watch->owner;
	napi_env env = hold->handle.instance->env;
	struct hold_event *event, *last, *next;
	napi_value events;
	uint64_t count;
	uint32_t taken = 0;

	if (read(hold->wake_loop, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&hold->lock);
	event = last = hold->first_event;
	while (last && ++taken < HOLD_EVENTS_PER_CALL && last->next)
		last = last->next;
	if (last) {
		hold->first_event = last->next;
		last->next = NULL;
		hold->events -= taken;
	}
	if (!hold->first_event)
		hold->last_event = NULL;
	else
		wake(hold->wake_loop);
	pthread_mutex_unlock(&hold->lock);
	if (!event || napi_create_array(env, &events) != napi_ok)
		return;
	for (uint32_t i = 0; event; event = next, i++) {
		next = event->next;
		napi_set_element(env, events, i, event_value(env, event));
		free(event);
	}
	watch_call(watch, 1, &events);
}

static void stop_hold(struct handle *handle)
{
	struct hold *hold = (struct hold *)handle;
	struct hold_command *command;
	struct hold_event *event;

	if (hold->running) {
		atomic_store(&hold->stopping, true);
		wake(hold->wake_thread);
		pthread_join(hold->thread, NULL);
		hold->running = false;
	}
	watch_stop(&hold->watch);
	while ((command = hold->first_command)) {
		hold->first_command = command->next;
		free(command->flip);
		free(command);
	}
	while ((event = hold->first_event)) {
		hold->first_event = event->next;
		free(event);
	}
	if (hold->queues.buckets)
		hold_queues_free(&hold->queues);
	close(hold->tap);
	close(hold->wake_thread);
	close(hold->wake_loop);
	hold_gates_close(&hold->gates);
	free(hold->frame);
	handle_unreference(&hold->object->handle);
}

static void release_hold_memory(struct handle *handle)
{
	struct hold *hold = (struct hold *)handle;

	pthread_mutex_destroy(&hold->lock);
	free(hold);
}

static bool read_limit(napi_env env, napi_value options, const char *name, double least,
		       double most, double *number)
{
	napi_value value;

	return read_property(env, options, name, &value) &&
	       read_integer(env, value, name, least, most, number);
}

static bool read_limits(napi_env env, napi_value options, struct hold_limits *limits)
{
	double packets, bytes, total, eids, ms, window, guard;
	napi_value longest, element;
	uint32_t purposes;

	memset(limits, 0, sizeof(*limits));
	if (!read_limit(env, options, "packetsPerEid", 1, 1e7, &packets) ||
	    !read_limit(env, options, "bytesPerEid", 1, 1e12, &bytes) ||
	    !read_limit(env, options, "bytesTotal", 1, 1e12, &total) ||
	    !read_limit(env, options, "maximumEids", 1, MAXIMUM_EIDS, &eids) ||
	    !read_limit(env, options, "windowMs", 1, LONGEST_WINDOW_MS, &window) ||
	    !read_limit(env, options, "provisionalGuardMs", 0, LONGEST_WINDOW_MS, &guard) ||
	    !read_property(env, options, "longestMs", &longest) ||
	    !read_array(env, longest, "longestMs", &purposes))
		return false;
	if (purposes > HOLD_PURPOSES) {
		napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "longestMs has too many purposes");
		return false;
	}
	for (uint32_t i = 0; i < purposes; i++) {
		if (napi_get_element(env, longest, i, &element) != napi_ok ||
		    !read_integer(env, element, "longestMs", 0, LONGEST_WAIT_MS, &ms))
			return false;
		limits->longest_ns[i] = (uint64_t)ms * 1000000;
	}
	limits->window_ns = (uint64_t)window * 1000000;
	limits->provisional_guard = (uint32_t)((uint64_t)guard * 1000000 >> LISP_STAMP_SHIFT);
	limits->packets_per_eid = (uint32_t)packets;
	limits->bytes_per_eid = (uint64_t)bytes;
	limits->bytes_total = (uint64_t)total;
	limits->maximum_eids = (uint32_t)eids;
	return true;
}

/* Signals belong to the thread of JavaScript. */
static int start_thread(struct hold *hold)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&hold->thread, NULL, hold_run, hold);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	hold->running = error == 0;
	return error;
}

/* The device, descriptors and memory of a hold; false after throwing, with nothing left open. */
static bool prepare(napi_env env, struct hold *hold, const struct hold_limits *limits)
{
	struct bpf_map *gates = bpf_object__find_map_by_name(hold->object->object, "hold_gates");
	const char *step = "";
	int error = ENOENT;

	if (gates && bpf_map__max_entries(gates) == LISP_HOLD_GATES &&
	    bpf_map__value_size(gates) == sizeof(struct lisp_hold_gate))
		error = hold_gates_open(&hold->gates, bpf_map__fd(gates));
	if (error) {
		throw_system_error(env, "openHold", error, "cannot use the map 'hold_gates'");
		return false;
	}
	error = tap_open(hold->interface_name, &hold->tap, &hold->interface_index, &step);
	if (error) {
		hold_gates_close(&hold->gates);
		throw_system_error(env, "openHold", error, "cannot %s '%s'%s", step,
				   hold->interface_name,
				   error == EPERM  ? ": needs CAP_NET_ADMIN" :
				   error == EBUSY  ? ": another process has it open" :
				   error == EINVAL ? ": it exists as another kind of device" :
						     "");
		return false;
	}
	hold->wake_thread = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	hold->wake_loop = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	hold->frame = malloc(2 * HOLD_FRAME_BYTES);
	if (hold->wake_thread >= 0 && hold->wake_loop >= 0 && hold->frame &&
	    hold_queues_init(&hold->queues, limits))
		return true;
	throw_system_error(env, "openHold", ENOMEM, "no memory for the hold");
	hold_gates_close(&hold->gates);
	close(hold->tap);
	close(hold->wake_thread);
	close(hold->wake_loop);
	free(hold->frame);
	return false;
}

napi_value open_hold(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], object_value, name, value, result;
	struct hold_limits limits;
	struct object_handle *object;
	struct hold *hold;
	int error;

	if (!read_arguments(env, info, 2, arguments) ||
	    !read_property(env, arguments[0], "object", &object_value) ||
	    !read_property(env, arguments[0], "interfaceName", &name) ||
	    !read_limits(env, arguments[0], &limits) ||
	    !read_function(env, arguments[1], "onEvents"))
		return NULL;
	object = handle_read(env, object_value, HANDLE_OBJECT);
	hold = object ? allocate(env, sizeof(*hold)) : NULL;
	if (!hold)
		return NULL;
	hold->object = object;
	if (!read_text(env, name, "interfaceName", hold->interface_name, TAP_NAME_BYTES) ||
	    !prepare(env, hold, &limits)) {
		free(hold);
		return NULL;
	}
	pthread_mutex_init(&hold->lock, NULL);
	handle_reference(&object->handle);
	hold->handle.stop = stop_hold;
	hold->handle.release = release_hold_memory;
	value = handle_publish(env, &hold->handle, HANDLE_HOLD, true);
	if (!value)
		return NULL;
	if (!watch_start(env, &hold->watch, &hold->handle, hold->wake_loop, arguments[1],
			 "godwit:hold", deliver)) {
		handle_close(&hold->handle);
		return NULL;
	}
	error = start_thread(hold);
	if (error || napi_create_object(env, &result) != napi_ok) {
		handle_close(&hold->handle);
		throw_system_error(env, "openHold", error, "cannot start the thread");
		return NULL;
	}
	set_property(env, result, "hold", value);
	set_number(env, result, "interfaceIndex", hold->interface_index);
	return result;
}

static bool read_key(napi_env env, napi_value purpose, napi_value eid, struct hold_key *key)
{
	struct bytes bytes;
	double number;

	memset(key, 0, sizeof(*key));
	if (!read_integer(env, purpose, "purpose", 0, HOLD_PURPOSES - 1, &number) ||
	    !read_bytes_of(env, eid, "key", sizeof(key->eid), &bytes))
		return false;
	key->purpose = (uint32_t)number;
	memcpy(&key->eid, bytes.data, sizeof(key->eid));
	return true;
}

/* `*flip` stays NULL when none is wanted. */
static bool read_flip(napi_env env, struct hold *hold, napi_value wanted, struct hold_flip **flip)
{
	napi_value name, key_value, value_value;
	struct bytes key, value;
	struct bpf_map *map;

	if (is_undefined(env, wanted))
		return true;
	if (!read_property(env, wanted, "map", &name) ||
	    !read_property(env, wanted, "key", &key_value) ||
	    !read_property(env, wanted, "value", &value_value))
		return false;
	map = read_map_name(env, hold->object, name);
	if (!map || !read_bytes_of(env, key_value, "flip.key", bpf_map__key_size(map), &key) ||
	    !read_bytes_of(env, value_value, "flip.value", map_value_bytes(map), &value))
		return false;
	*flip = allocate(env, sizeof(**flip) + key.length + 2 * value.length);
	if (!*flip)
		return false;
	(*flip)->map = bpf_map__fd(map);
	(*flip)->key_bytes = (uint32_t)key.length;
	(*flip)->value_bytes = (uint32_t)value.length;
	memcpy((*flip)->bytes, key.data, key.length);
	memcpy((*flip)->bytes + key.length, value.data, value.length);
	return true;
}

/* Takes over `command`, which is NULL when its memory was refused. */
static napi_value send_command(napi_env env, struct hold *hold, struct hold_command *command)
{
	bool full;

	if (!command)
		return NULL;
	pthread_mutex_lock(&hold->lock);
	full = hold->commands >= HOLD_MAXIMUM_COMMANDS;
	if (!full) {
		*(hold->last_command ? &hold->last_command->next : &hold->first_command) = command;
		hold->last_command = command;
		hold->commands++;
	}
	pthread_mutex_unlock(&hold->lock);
	if (full) {
		free(command->flip);
		free(command);
		throw_system_error(env, "sendCommand", EAGAIN, "the hold has %d commands waiting",
				   HOLD_MAXIMUM_COMMANDS);
		return NULL;
	}
	wake(hold->wake_thread);
	return undefined_value(env);
}

napi_value release_hold(napi_env env, napi_callback_info info)
{
	struct hold_command *command;
	struct hold_flip *flip = NULL;
	napi_value arguments[5];
	struct hold_key key;
	struct hold *hold;
	double cut = HOLD_CUT_UNKNOWN;

	if (!read_arguments(env, info, 5, arguments))
		return NULL;
	hold = handle_read(env, arguments[0], HANDLE_HOLD);
	if (!hold || !read_key(env, arguments[1], arguments[2], &key) ||
	    (!is_undefined(env, arguments[4]) &&
	     !read_integer(env, arguments[4], "cut", 0, UINT32_MAX, &cut)) ||
	    !read_flip(env, hold, arguments[3], &flip))
		return NULL;
	command = allocate(env, sizeof(*command));
	if (command) {
		command->task = HOLD_TASK_RELEASE;
		command->key = key;
		command->flip = flip;
		command->cut = (uint32_t)cut;
	} else {
		free(flip);
	}
	return send_command(env, hold, command);
}

napi_value mark_hold(napi_env env, napi_callback_info info)
{
	struct hold_command *command;
	napi_value arguments[3];
	struct hold_key key;
	struct hold *hold;

	if (!read_arguments(env, info, 3, arguments))
		return NULL;
	hold = handle_read(env, arguments[0], HANDLE_HOLD);
	if (!hold || !read_key(env, arguments[1], arguments[2], &key))
		return NULL;
	command = allocate(env, sizeof(*command));
	if (command) {
		command->task = HOLD_TASK_MARK;
		command->key = key;
	}
	return send_command(env, hold, command);
}

napi_value drop_hold(napi_env env, napi_callback_info info)
{
	struct hold_command *command;
	char reason[HOLD_REASON_BYTES];
	napi_value arguments[4];
	struct hold_key key;
	struct hold *hold;

	if (!read_arguments(env, info, 4, arguments))
		return NULL;
	hold = handle_read(env, arguments[0], HANDLE_HOLD);
	if (!hold || !read_key(env, arguments[1], arguments[2], &key) ||
	    !read_text(env, arguments[3], "reason", reason, sizeof(reason)))
		return NULL;
	command = allocate(env, sizeof(*command));
	if (command) {
		command->key = key;
		memcpy(command->reason, reason, sizeof(reason));
	}
	return send_command(env, hold, command);
}

napi_value hold_statistics(napi_env env, napi_callback_info info)
{
	napi_value argument, result, dropped;
	struct hold_counters *counters;
	struct hold *hold;

	if (!read_arguments(env, info, 1, &argument))
		return NULL;
	hold = handle_read(env, argument, HANDLE_HOLD);
	if (!hold || napi_create_object(env, &result) != napi_ok ||
	    napi_create_object(env, &dropped) != napi_ok)
		return NULL;
	counters = &hold->queues.counters;
	set_number(env, result, "packets", (double)atomic_load(&counters->packets));
	set_number(env, result, "bytes", (double)atomic_load(&counters->bytes));
	set_number(env, result, "eids", (double)atomic_load(&counters->eids));
	set_number(env, result, "heldTotal", (double)atomic_load(&counters->held_total));
	set_number(env, result, "releasedTotal", (double)atomic_load(&counters->released_total));
	set_number(env, result, "unsettledTotal", (double)atomic_load(&hold->unsettled));
	for (int i = HOLD_ACCEPTED + 1; i < HOLD_REASONS; i++)
		set_number(env, dropped, hold_reason_names[i],
			   (double)atomic_load(&counters->dropped[i]));
	pthread_mutex_lock(&hold->lock);
	for (int i = 0; i < HOLD_GIVE_UP_REASONS && hold->given_up[i].reason[0]; i++)
		set_number(env, dropped, hold->given_up[i].reason,
			   (double)hold->given_up[i].packets);
	set_number(env, result, "eventsLost", (double)hold->events_lost);
	pthread_mutex_unlock(&hold->lock);
	set_property(env, result, "dropped", dropped);
	return result;
}

napi_value close_hold(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	struct hold *hold;
	bool remove;

	if (!read_arguments(env, info, 2, arguments))
		return NULL;
	hold = handle_read(env, arguments[0], HANDLE_HOLD);
	if (!hold || !read_boolean(env, arguments[1], "remove", &remove))
		return NULL;
	if (remove)
		tap_remove(hold->tap);
	handle_close(&hold->handle);
	return undefined_value(env);
}
