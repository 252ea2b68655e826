/*
 * TCP as fast as it goes: the bulk load of the benchmark. No byte is looked at; tcp.c does that.
 *
 * connect opens `flows` connections, lets slow start pass, then measures for `seconds`: bytes that the
 * other side acknowledged, retransmissions, and the CPU time of the whole machine. serve reads and
 * throws away, for any number of connections one after another.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CHUNK (256 << 10)
#define MAXIMUM_FLOWS 64
#define MAXIMUM_EVENTS 64
#define CONNECT_DEADLINE_MS 5000
#define WRITES_PER_TURN 4

struct progress {
	uint64_t acknowledged;
	uint64_t retransmissions;
};

static int open_flow(const struct sockaddr_storage *to, socklen_t length, const char *address)
{
	int fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;
	struct pollfd ready = { fd, POLLOUT, 0 };
	socklen_t error_length = sizeof(error);

	if (fd < 0 || (connect(fd, (const struct sockaddr *)to, length) != 0 && errno != EINPROGRESS))
		fail("%s: %s", address, strerror(errno));
	if (poll(&ready, 1, CONNECT_DEADLINE_MS) <= 0)
		fail("%s: no answer in %d s", address, CONNECT_DEADLINE_MS / 1000);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_length);
	if (error != 0)
		fail("%s: %s", address, strerror(error));
	return fd;
}

static struct progress progress_of(const struct pollfd *flows, uint64_t count)
{
	struct progress sum = { 0 };

	for (uint64_t i = 0; i < count; i++) {
		struct tcp_info info = { 0 };
		socklen_t length = sizeof(info);

		if (getsockopt(flows[i].fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
			fail("TCP_INFO: %s", strerror(errno));
		sum.acknowledged += info.tcpi_bytes_acked;
		sum.retransmissions += info.tcpi_total_retrans;
	}
	return sum;
}

/* Writes wherever there is room, until `until` (monotonic ns). */
static void pump(struct pollfd *flows, uint64_t count, uint64_t until)
{
	static uint8_t chunk[CHUNK];

	while (!stop_requested && monotonic_ns() < until) {
		if (poll(flows, (nfds_t)count, 10) < 0 && errno != EINTR)
			fail("poll: %s", strerror(errno));
		for (uint64_t i = 0; i < count; i++) {
			if (flows[i].revents & (POLLERR | POLLHUP))
				fail("a connection was lost");
			for (int turn = 0; turn < WRITES_PER_TURN && flows[i].revents & POLLOUT; turn++)
				if (send(flows[i].fd, chunk, sizeof(chunk), MSG_NOSIGNAL) < 0)
					break;
		}
	}
}

static int bulk_connect(const char *address, const char *port, uint64_t count, double seconds,
			uint64_t warm_up_ms)
{
	struct pollfd flows[MAXIMUM_FLOWS];
	struct sockaddr_storage to;
	socklen_t length = parse_destination(address, port, &to);
	struct progress before, after;
	struct machine_time started;
	double elapsed, busy;

	for (uint64_t i = 0; i < count; i++)
		flows[i] = (struct pollfd){ open_flow(&to, length, address), POLLOUT, 0 };
	pump(flows, count, monotonic_ns() + warm_up_ms * NS_PER_MS);
	before = progress_of(flows, count);
	started = machine_time();
	pump(flows, count, started.wall_ns + (uint64_t)(seconds * 1e9));
	after = progress_of(flows, count);
	busy = busy_seconds_since(&started);
	elapsed = (double)(monotonic_ns() - started.wall_ns) / 1e9;
	printf("{\"bytes\":%llu,\"retransmissions\":%llu,\"seconds\":%.4f,\"busySeconds\":%.4f}\n",
	       (unsigned long long)(after.acknowledged - before.acknowledged),
	       (unsigned long long)(after.retransmissions - before.retransmissions), elapsed, busy);
	return 0;
}

static int bulk_serve(const char *port)
{
	static uint8_t chunk[CHUNK];
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	struct epoll_event events[MAXIMUM_EVENTS], wanted = { .events = EPOLLIN };
	int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
	int poller = epoll_create1(EPOLL_CLOEXEC);

	any.sin6_port = htons((uint16_t)parse_number(port, "--port", 1, 65535));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (listener < 0 || bind(listener, (struct sockaddr *)&any, sizeof(any)) != 0 ||
	    listen(listener, MAXIMUM_FLOWS) != 0)
		fail("port %s: %s", port, strerror(errno));
	wanted.data.fd = listener;
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &wanted);
	fprintf(stderr, "listening\n");
	while (!stop_requested) {
		int count = epoll_wait(poller, events, MAXIMUM_EVENTS, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			ssize_t got;

			if (fd == listener) {
				wanted.data.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
				if (wanted.data.fd >= 0)
					epoll_ctl(poller, EPOLL_CTL_ADD, wanted.data.fd, &wanted);
				continue;
			}
			got = recv(fd, chunk, sizeof(chunk), 0);
			if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
				close(fd);
		}
	}
	return 0;
}

int bulk_main(bool serve, int argc, char **argv)
{
	static const struct option OPTIONS[] = {
		{ "to", required_argument, NULL, 'a' },      { "port", required_argument, NULL, 'p' },
		{ "flows", required_argument, NULL, 'f' },   { "seconds", required_argument, NULL, 's' },
		{ "warm-up-ms", required_argument, NULL, 'w' }, { 0 }
	};
	const char *address = NULL, *port = NULL;
	uint64_t flows = 1, warm_up_ms = 200;
	double seconds = 1;
	int option;

	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		switch (option) {
		case 'a': address = optarg; break;
		case 'p': port = optarg; break;
		case 'f': flows = parse_number(optarg, "--flows", 1, MAXIMUM_FLOWS); break;
		case 's': seconds = atof(optarg); break;
		case 'w': warm_up_ms = parse_number(optarg, "--warm-up-ms", 0, 60000); break;
		default: return 1;
		}
	}
	if (port == NULL || (!serve && address == NULL))
		fail("bulk needs --port, and connect needs --to");
	return serve ? bulk_serve(port) : bulk_connect(address, port, flows, seconds, warm_up_ms);
}
