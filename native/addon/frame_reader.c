/* See frame_reader.h. */
#define _GNU_SOURCE
#include "frame_reader.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	FRAMES_PER_TURN = 64,  /* others of the event loop get their turn too */
	FRAME_BYTES = 9216,    /* no report is longer than a jumbo frame */
	RECEIVE_BYTES = 1 << 18,
	FILTER_MAXIMUM = 256,
};

struct frame_reader {
	struct handle handle;
	struct watch watch;
	int descriptor;
	uint64_t truncated;
	uint64_t dropped; /* reading them from the kernel sets them to zero there */
	uint8_t frame[FRAME_BYTES];
};

static void receive(struct watch *watch)
{
	struct frame_reader *reader = (struct frame_reader *)watch->owner;
	napi_env env = reader->handle.instance->env;
	napi_handle_scope scope;
	uint32_t taken = 0;
	napi_value batch;

	if (napi_open_handle_scope(env, &scope) != napi_ok)
		return;
	if (napi_create_array(env, &batch) == napi_ok) {
		for (int i = 0; i < FRAMES_PER_TURN; i++) {
			ssize_t length = recv(reader->descriptor, reader->frame, FRAME_BYTES,
					      MSG_DONTWAIT | MSG_TRUNC);

			/* Also ENETDOWN, once: the interface may come up again. */
			if (length < 0)
				break;
			if (length > FRAME_BYTES) {
				reader->truncated++;
				continue;
			}
			napi_set_element(env, batch, taken++,
					 bytes_value(env, reader->frame, (size_t)length));
		}
		if (taken)
			watch_call(&reader->watch, 1, &batch);
	}
	napi_close_handle_scope(env, scope);
}

static void stop_reader(struct handle *handle)
{
	struct frame_reader *reader = (struct frame_reader *)handle;

	watch_stop(&reader->watch);
	close(reader->descriptor);
}

static void release_reader(struct handle *handle)
{
	free(handle);
}

/* The filter first, then the interface: nothing unfiltered is ever queued. -1 with errno. */
static int bind_reader(uint32_t interface_index, uint32_t ether_type, const struct bytes *filter)
{
	struct packet_mreq all = { .mr_ifindex = (int)interface_index,
				   .mr_type = PACKET_MR_ALLMULTI };
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_protocol = htons((uint16_t)ether_type),
				       .sll_ifindex = (int)interface_index };
	int receive_bytes = RECEIVE_BYTES, one = 1, error, descriptor;
	struct sock_filter code[FILTER_MAXIMUM];
	struct sock_fprog program = {
		.len = (unsigned short)(filter->length / sizeof(*code)), .filter = code
	};

	memcpy(code, filter->data, filter->length);
	descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (descriptor < 0)
		return -1;
	if (!setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) &&
	    !setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes)) &&
	    !setsockopt(descriptor, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) &&
	    !bind(descriptor, (struct sockaddr *)&address, sizeof(address)) &&
	    /* A NIC passes groups only that somebody asked for. */
	    !setsockopt(descriptor, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)))
		return descriptor;
	error = errno;
	close(descriptor);
	errno = error;
	return -1;
}

napi_value open_frames(napi_env env, napi_callback_info info)
{
	struct frame_reader *reader;
	uint32_t interface_index, ether_type = ETH_P_ALL;
	napi_value arguments[4], value;
	napi_valuetype given;
	struct bytes filter;

	if (!read_arguments(env, info, 4, arguments) ||
	    !read_u32(env, arguments[0], "interfaceIndex", &interface_index) ||
	    !read_bytes(env, arguments[1], "filter", &filter) ||
	    !read_function(env, arguments[2], "onFrames") ||
	    napi_typeof(env, arguments[3], &given) != napi_ok ||
	    (given != napi_undefined && !read_u32(env, arguments[3], "etherType", &ether_type)))
		return NULL;
	if (ether_type > 0xffff) {
		napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "etherType must have 16 bits");
		return NULL;
	}
	if (filter.length == 0 || filter.length % sizeof(struct sock_filter) != 0 ||
	    filter.length > FILTER_MAXIMUM * sizeof(struct sock_filter)) {
		napi_throw_range_error(env, "ERR_OUT_OF_RANGE",
				       "filter must have 1 to 256 instructions of 8 bytes");
		return NULL;
	}
	reader = allocate(env, sizeof(*reader));
	if (!reader)
		return NULL;
	reader->handle.stop = stop_reader;
	reader->handle.release = release_reader;
	reader->descriptor = bind_reader(interface_index, ether_type, &filter);
	if (reader->descriptor < 0) {
		int error = errno;

		free(reader);
		throw_system_error(env, "openFrames", error, "cannot read frames of interface %u%s",
				   interface_index, error == EPERM ? ": needs CAP_NET_RAW" : "");
		return NULL;
	}
	value = handle_publish(env, &reader->handle, HANDLE_FRAMES, true);
	if (!value)
		return NULL;
	if (!watch_start(env, &reader->watch, &reader->handle, reader->descriptor, arguments[2],
			 "godwit:frames", receive)) {
		handle_close(&reader->handle);
		return NULL;
	}
	return value;
}

static struct frame_reader *read_reader(napi_env env, napi_callback_info info)
{
	napi_value argument;

	if (!read_arguments(env, info, 1, &argument))
		return NULL;
	return handle_read(env, argument, HANDLE_FRAMES);
}

napi_value frame_statistics(napi_env env, napi_callback_info info)
{
	struct frame_reader *reader = read_reader(env, info);
	struct tpacket_stats statistics = { 0 };
	socklen_t length = sizeof(statistics);
	napi_value result;

	if (!reader || napi_create_object(env, &result) != napi_ok)
		return NULL;
	if (!getsockopt(reader->descriptor, SOL_PACKET, PACKET_STATISTICS, &statistics, &length))
		reader->dropped += statistics.tp_drops;
	set_number(env, result, "truncated", (double)reader->truncated);
	set_number(env, result, "droppedByKernel", (double)reader->dropped);
	return result;
}

napi_value close_frames(napi_env env, napi_callback_info info)
{
	struct frame_reader *reader = read_reader(env, info);

	if (!reader)
		return NULL;
	handle_close(&reader->handle);
	return undefined_value(env);
}
