/* See udp_batch.h. */
#define _GNU_SOURCE
#include "udp_batch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BATCH = 64,
	/* Batches per turn of the event loop: others get their turn too. */
	BATCHES_PER_TURN = 4,
	DATAGRAM_BYTES = 65536,
	/* Not a multiple of the page size: 64 datagrams at one page offset would share cache sets. */
	SLOT_BYTES = DATAGRAM_BYTES + 16 + 192,
	ADDRESS_OFFSET = DATAGRAM_BYTES,
	SEND_MAXIMUM = 1024, /* UIO_MAXIOV: what sendmmsg takes at once */
};

struct udp_socket {
	struct handle handle;
	struct watch watch;
	int descriptor;
	int family;
	napi_ref buffer; /* ArrayBuffer of BATCH slots, reused */
	uint8_t *slab;
	uint64_t truncated;
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	struct sockaddr_in6 senders[BATCH];
};

static void prepare_batch(struct udp_socket *udp)
{
	for (int i = 0; i < BATCH; i++) {
		udp->vectors[i].iov_base = udp->slab + (size_t)i * SLOT_BYTES;
		udp->vectors[i].iov_len = DATAGRAM_BYTES;
		memset(&udp->messages[i], 0, sizeof(udp->messages[i]));
		udp->messages[i].msg_hdr.msg_iov = &udp->vectors[i];
		udp->messages[i].msg_hdr.msg_iovlen = 1;
		udp->messages[i].msg_hdr.msg_name = &udp->senders[i];
		udp->messages[i].msg_hdr.msg_namelen = sizeof(udp->senders[i]);
	}
}

/* Property names, made once for a batch. */
struct names {
	napi_value address;
	napi_value port;
	napi_value bytes;
};

static napi_value datagram_value(napi_env env, struct udp_socket *udp, int i, napi_value buffer,
				 const struct names *names)
{
	size_t slot = (size_t)i * SLOT_BYTES, length = udp->family == AF_INET ? 4 : 16;
	const struct sockaddr_in6 *six = &udp->senders[i];
	const struct sockaddr_in *four = (const void *)six;
	napi_value datagram, address, bytes;

	if (udp->family == AF_INET)
		memcpy(udp->slab + slot + ADDRESS_OFFSET, &four->sin_addr, length);
	else
		memcpy(udp->slab + slot + ADDRESS_OFFSET, &six->sin6_addr, length);
	/* The port stands at the same place in both forms. */
	if (napi_create_object(env, &datagram) != napi_ok ||
	    napi_create_typedarray(env, napi_uint8_array, length, buffer, slot + ADDRESS_OFFSET,
				   &address) != napi_ok ||
	    napi_create_typedarray(env, napi_uint8_array, udp->messages[i].msg_len, buffer, slot,
				   &bytes) != napi_ok)
		return NULL;
	napi_set_property(env, datagram, names->address, address);
	napi_set_property(env, datagram, names->port, number_value(env, ntohs(six->sin6_port)));
	napi_set_property(env, datagram, names->bytes, bytes);
	return datagram;
}

/* False when nothing (more) is there. */
static bool receive_batch(struct udp_socket *udp)
{
	napi_env env = udp->handle.instance->env;
	napi_value batch, buffer, datagram;
	napi_handle_scope scope;
	struct names names;
	uint32_t taken = 0;
	int count;

	prepare_batch(udp);
	count = recvmmsg(udp->descriptor, udp->messages, BATCH, MSG_DONTWAIT, NULL);
	if (count <= 0)
		return false;
	if (napi_open_handle_scope(env, &scope) != napi_ok)
		return false;
	names.address = text_value(env, "address");
	names.port = text_value(env, "port");
	names.bytes = text_value(env, "bytes");
	if (napi_get_reference_value(env, udp->buffer, &buffer) == napi_ok &&
	    napi_create_array(env, &batch) == napi_ok) {
		for (int i = 0; i < count; i++) {
			if (udp->messages[i].msg_hdr.msg_flags & MSG_TRUNC) {
				udp->truncated++;
				continue;
			}
			datagram = datagram_value(env, udp, i, buffer, &names);
			if (datagram)
				napi_set_element(env, batch, taken++, datagram);
		}
		watch_call(&udp->watch, 1, &batch);
	}
	napi_close_handle_scope(env, scope);
	return count == BATCH;
}

static void receive(struct watch *watch)
{
	struct udp_socket *udp = (struct udp_socket *)watch->owner;

	/* The callback may close the socket. */
	for (int i = 0; i < BATCHES_PER_TURN && udp->handle.open; i++)
		if (!receive_batch(udp))
			return;
}

static void stop_udp(struct handle *handle)
{
	struct udp_socket *udp = (struct udp_socket *)handle;

	watch_stop(&udp->watch);
	if (udp->buffer && !handle->instance->ending)
		napi_delete_reference(handle->instance->env, udp->buffer);
	udp->buffer = NULL;
	close(udp->descriptor);
}

static void release_udp(struct handle *handle)
{
	free(handle);
}

static size_t socket_address(const struct bytes *address, uint16_t port,
			     struct sockaddr_in6 *storage)
{
	struct sockaddr_in *four = (void *)storage;

	memset(storage, 0, sizeof(*storage));
	if (address->length == 4) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		memcpy(&four->sin_addr, address->data, 4);
		return sizeof(*four);
	}
	storage->sin6_family = AF_INET6;
	storage->sin6_port = htons(port);
	memcpy(&storage->sin6_addr, address->data, 16);
	return sizeof(*storage);
}

/* On a UDP socket a classic filter sees the datagram from its UDP header: checksum at 6..8. The
 * partial checksum of a datagram that never left the host is the pseudo-header's, never zero. */
static int refuse_zero_checksum(int descriptor)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(*code), .filter = code };

	return setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

/* The descriptor, or -1 with errno. */
static int bind_socket(const struct bytes *address, uint16_t port, int receive_bytes, bool reuse)
{
	int family = address->length == 4 ? AF_INET : AF_INET6, one = 1, error;
	int descriptor = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 storage;
	socklen_t length = (socklen_t)socket_address(address, port, &storage);

	if (descriptor < 0)
		return -1;
	/* The limit of net.core.rmem_max does not hold for CAP_NET_ADMIN. */
	if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &receive_bytes,
		       sizeof(receive_bytes)) &&
	    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes)))
		goto failed;
	if (reuse && setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)))
		goto failed;
	if (family == AF_INET6 &&
	    setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)))
		goto failed;
	if (refuse_zero_checksum(descriptor) ||
	    bind(descriptor, (struct sockaddr *)&storage, length))
		goto failed;
	return descriptor;
failed:
	error = errno;
	close(descriptor);
	errno = error;
	return -1;
}

static bool read_address(napi_env env, napi_value value, struct bytes *address)
{
	if (!read_bytes(env, value, "address", address))
		return false;
	if (address->length == 4 || address->length == 16)
		return true;
	napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "address must have 4 or 16 bytes");
	return false;
}

static int open_from_options(napi_env env, napi_value options, int *family)
{
	napi_value address_value, port_value, receive_value, reuse_value;
	char text[INET6_ADDRSTRLEN] = "";
	struct bytes address;
	double port, receive;
	int descriptor;
	bool reuse;

	if (!read_property(env, options, "address", &address_value) ||
	    !read_property(env, options, "port", &port_value) ||
	    !read_property(env, options, "receiveBufferBytes", &receive_value) ||
	    !read_property(env, options, "reusePort", &reuse_value) ||
	    !read_address(env, address_value, &address) ||
	    !read_integer(env, port_value, "port", 0, 65535, &port) ||
	    !read_integer(env, receive_value, "receiveBufferBytes", 0, 1 << 30, &receive) ||
	    !read_boolean(env, reuse_value, "reusePort", &reuse))
		return -1;
	*family = address.length == 4 ? AF_INET : AF_INET6;
	descriptor = bind_socket(&address, (uint16_t)port, (int)receive, reuse);
	if (descriptor < 0) {
		int error = errno;

		inet_ntop(*family, address.data, text, sizeof(text));
		throw_system_error(env, "openUdp", error, "cannot bind %s port %d%s", text,
				   (int)port,
				   error == EADDRNOTAVAIL ? ": no interface has this address" :
				   error == EADDRINUSE	  ? ": another process has it" :
							    "");
	}
	return descriptor;
}

napi_value open_udp(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], buffer, value;
	struct udp_socket *udp;
	int family = 0;

	if (!read_arguments(env, info, 2, arguments) ||
	    !read_function(env, arguments[1], "onDatagrams"))
		return NULL;
	udp = allocate(env, sizeof(*udp));
	if (!udp)
		return NULL;
	udp->handle.stop = stop_udp;
	udp->handle.release = release_udp;
	udp->descriptor = open_from_options(env, arguments[0], &family);
	udp->family = family;
	if (udp->descriptor < 0) {
		free(udp);
		return NULL;
	}
	value = handle_publish(env, &udp->handle, HANDLE_UDP, true);
	if (!value)
		return NULL;
	if (napi_create_arraybuffer(env, (size_t)BATCH * SLOT_BYTES, (void **)&udp->slab,
				    &buffer) != napi_ok ||
	    napi_create_reference(env, buffer, 1, &udp->buffer) != napi_ok ||
	    !watch_start(env, &udp->watch, &udp->handle, udp->descriptor, arguments[1],
			 "godwit:udp", receive)) {
		handle_close(&udp->handle);
		return NULL;
	}
	return value;
}

struct outgoing {
	struct mmsghdr messages[SEND_MAXIMUM];
	struct iovec vectors[SEND_MAXIMUM];
	struct sockaddr_in6 receivers[SEND_MAXIMUM];
};

static bool read_outgoing(napi_env env, struct udp_socket *udp, napi_value list, uint32_t i,
			  struct outgoing *outgoing)
{
	napi_value datagram, address_value, port_value, bytes_value;
	struct msghdr *header = &outgoing->messages[i].msg_hdr;
	struct bytes address, bytes;
	double port;

	if (napi_get_element(env, list, i, &datagram) != napi_ok ||
	    !read_property(env, datagram, "address", &address_value) ||
	    !read_property(env, datagram, "port", &port_value) ||
	    !read_property(env, datagram, "bytes", &bytes_value) ||
	    !read_address(env, address_value, &address) ||
	    !read_integer(env, port_value, "port", 1, 65535, &port) ||
	    !read_bytes(env, bytes_value, "bytes", &bytes))
		return false;
	if ((address.length == 4) != (udp->family == AF_INET)) {
		napi_throw_range_error(env, "ERR_OUT_OF_RANGE",
				       "address must be of the socket's family");
		return false;
	}
	memset(header, 0, sizeof(*header));
	outgoing->vectors[i] = (struct iovec){ .iov_base = bytes.data, .iov_len = bytes.length };
	header->msg_iov = &outgoing->vectors[i];
	header->msg_iovlen = 1;
	header->msg_namelen =
		(socklen_t)socket_address(&address, (uint16_t)port, &outgoing->receivers[i]);
	header->msg_name = &outgoing->receivers[i];
	return true;
}

napi_value send_udp(napi_env env, napi_callback_info info)
{
	struct outgoing *outgoing;
	struct udp_socket *udp;
	napi_value arguments[2], result = NULL;
	uint32_t count, i;
	int sent;

	if (!read_arguments(env, info, 2, arguments))
		return NULL;
	udp = handle_read(env, arguments[0], HANDLE_UDP);
	if (!udp || !read_array(env, arguments[1], "datagrams", &count))
		return NULL;
	if (count == 0)
		return number_value(env, 0);
	if (count > SEND_MAXIMUM)
		count = SEND_MAXIMUM;
	outgoing = malloc(sizeof(*outgoing));
	if (!outgoing)
		return NULL;
	for (i = 0; i < count && read_outgoing(env, udp, arguments[1], i, outgoing); i++)
		;
	if (i == count) {
		sent = sendmmsg(udp->descriptor, outgoing->messages, count, MSG_DONTWAIT);
		if (sent < 0)
			throw_system_error(env, "sendUdp", errno, "the first datagram was refused");
		else
			result = number_value(env, sent);
	}
	free(outgoing);
	return result;
}

napi_value udp_statistics(napi_env env, napi_callback_info info)
{
	uint32_t memory[9] = { 0 }; /* SK_MEMINFO_VARS */
	socklen_t length = sizeof(memory);
	napi_value argument, result;
	struct udp_socket *udp;

	if (!read_arguments(env, info, 1, &argument))
		return NULL;
	udp = handle_read(env, argument, HANDLE_UDP);
	if (!udp || napi_create_object(env, &result) != napi_ok)
		return NULL;
	set_number(env, result, "truncated", (double)udp->truncated);
	/* SK_MEMINFO_DROPS = 8: full receive buffer, and what the checksum filter refused. */
	getsockopt(udp->descriptor, SOL_SOCKET, SO_MEMINFO, memory, &length);
	set_number(env, result, "droppedByKernel", memory[8]);
	return result;
}

napi_value close_udp(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct handle *handle;

	if (!read_arguments(env, info, 1, &argument))
		return NULL;
	handle = handle_read(env, argument, HANDLE_UDP);
	if (!handle)
		return NULL;
	handle_close(handle);
	return undefined_value(env);
}
