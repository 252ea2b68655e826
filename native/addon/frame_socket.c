/* See frame_socket.h. */
#include "frame_socket.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>

enum { ETHERNET_HEADER_BYTES = 14 };

napi_value send_frame(napi_env env, napi_callback_info info)
{
	struct sockaddr_ll target = { .sll_family = AF_PACKET };
	struct instance *instance = instance_of(env);
	napi_value arguments[2];
	uint32_t interface_index;
	struct bytes frame;

	if (!read_arguments(env, info, 2, arguments) ||
	    !read_u32(env, arguments[0], "interfaceIndex", &interface_index) ||
	    !read_bytes(env, arguments[1], "frame", &frame))
		return NULL;
	if (frame.length < ETHERNET_HEADER_BYTES) {
		napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "frame must have a header");
		return NULL;
	}
	/* Protocol 0: this socket receives nothing. */
	if (instance->packet_socket < 0)
		instance->packet_socket =
			socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (instance->packet_socket < 0) {
		throw_system_error(env, "sendFrame", errno, "cannot open a packet socket%s",
				   errno == EPERM ? ": needs CAP_NET_RAW" : "");
		return NULL;
	}
	target.sll_ifindex = (int)interface_index;
	memcpy(&target.sll_protocol, frame.data + 12, 2);
	target.sll_halen = 6;
	memcpy(target.sll_addr, frame.data, 6);
	if (sendto(instance->packet_socket, frame.data, frame.length, 0,
		   (struct sockaddr *)&target, sizeof(target)) < 0) {
		throw_system_error(env, "sendFrame", errno, "interface %u", interface_index);
		return NULL;
	}
	return undefined_value(env);
}
