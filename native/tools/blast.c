/*
 * UDP as fast as one process can: generator and counter of the benchmark.
 *
 * blast sends batches of 64 by sendmmsg, or super-packets by UDP_SEGMENT, round robin over `flows`
 * connected sockets (one source port each). sink counts. Both report wall time and own CPU time,
 * blast also that of the whole machine. With --spread every packet goes to another address of the
 * given ranges, in an order without locality: what a large table costs shows only then.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#define BATCH 64
#define MAXIMUM_FLOWS 256
#define MAXIMUM_PAYLOAD 65000
#define MAXIMUM_RANGES 4

/* `count` IPv4 addresses from `first` on, `stride` apart; host order. */
struct address_range {
	uint32_t first, count, stride;
};

struct blast {
	struct address_range ranges[MAXIMUM_RANGES];
	int range_count;
	uint32_t addresses; /* in all ranges */
	uint16_t port_be;
	int sockets[MAXIMUM_FLOWS];
	uint64_t flows, size, segments, rate;
	double seconds;
	uint64_t packets, errors;
};

static void open_flows(struct blast *b, const char *address, const char *port)
{
	struct sockaddr_storage to;
	socklen_t length = parse_destination(address, port, &to);

	for (uint64_t i = 0; i < b->flows; i++) {
		int segment = (int)b->size, bytes = 4 << 20, hops = 64;

		b->sockets[i] = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (b->sockets[i] < 0 || (b->range_count == 0 &&
					  connect(b->sockets[i], (struct sockaddr *)&to, length) != 0))
			fail("%s: %s", address, strerror(errno));
		/* to groups the default is 1; of the other family it fails, which is no harm */
		setsockopt(b->sockets[i], IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof(hops));
		setsockopt(b->sockets[i], IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops));
		setsockopt(b->sockets[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
		if (b->segments > 1 && setsockopt(b->sockets[i], IPPROTO_UDP, UDP_SEGMENT, &segment,
						  sizeof(segment)) != 0)
			fail("UDP_SEGMENT: %s", strerror(errno));
	}
}

static void add_range(struct blast *b, char *text)
{
	struct in_addr first;
	char *address = strtok(text, ","), *count = strtok(NULL, ","), *stride = strtok(NULL, ",");
	struct address_range *range = &b->ranges[b->range_count];

	if (b->range_count == MAXIMUM_RANGES || stride == NULL || inet_pton(AF_INET, address, &first) != 1)
		fail("--spread IPV4,COUNT,STRIDE at most %d times", MAXIMUM_RANGES);
	range->first = ntohl(first.s_addr);
	range->count = (uint32_t)parse_number(count, "--spread", 1, 1u << 28);
	range->stride = (uint32_t)parse_number(stride, "--spread", 1, 1u << 24);
	b->addresses += range->count;
	b->range_count++;
}

/* The address of the n-th packet: multiplying by the golden ratio visits all of them, far apart. */
static uint32_t spread_address(const struct blast *b, uint64_t n)
{
	uint32_t scattered = (uint32_t)n * 0x9e3779b1u;
	uint32_t index = (uint32_t)((uint64_t)scattered * b->addresses >> 32);

	for (int i = 0; i < b->range_count; i++) {
		if (index < b->ranges[i].count)
			return b->ranges[i].first + index * b->ranges[i].stride;
		index -= b->ranges[i].count;
	}
	return b->ranges[0].first;
}

static void scatter(const struct blast *b, struct sockaddr_in *to, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		to[i].sin_addr.s_addr = htonl(spread_address(b, b->packets + i));
}

static void blast_away(struct blast *b)
{
	static uint8_t payload[MAXIMUM_PAYLOAD];
	struct mmsghdr messages[BATCH];
	struct sockaddr_in to[BATCH];
	struct iovec vector = { payload, (size_t)(b->size * b->segments) };
	uint64_t started = monotonic_ns();
	uint64_t until = started + (uint64_t)(b->seconds * 1e9);
	unsigned int batch = b->rate != 0 && b->rate < 20000 ? 1 : b->segments > 1 ? 8 : BATCH;

	memset(messages, 0, sizeof(messages));
	for (unsigned int i = 0; i < BATCH; i++) {
		messages[i].msg_hdr.msg_iov = &vector;
		messages[i].msg_hdr.msg_iovlen = 1;
		to[i] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = b->port_be };
		if (b->range_count == 0)
			continue;
		messages[i].msg_hdr.msg_name = &to[i];
		messages[i].msg_hdr.msg_namelen = sizeof(to[i]);
	}
	for (uint64_t turn = 0; !stop_requested; turn++) {
		uint64_t now = monotonic_ns();
		int sent;

		if (now >= until)
			break;
		if (b->rate != 0) {
			uint64_t due = started + (uint64_t)((double)b->packets / (double)b->rate * 1e9);

			if (due > now) {
				struct timespec pause = { 0, (long)(due - now < 1000000 ? due - now : 1000000) };

				nanosleep(&pause, NULL);
				continue;
			}
		}
		if (b->range_count > 0)
			scatter(b, to, batch);
		sent = sendmmsg(b->sockets[turn % b->flows], messages, batch, 0);
		if (sent > 0)
			b->packets += (uint64_t)sent * b->segments;
		else
			b->errors++;
	}
	b->seconds = (double)(monotonic_ns() - started) / 1e9;
}

int blast_main(int argc, char **argv)
{
	static const struct option OPTIONS[] = {
		{ "to", required_argument, NULL, 'a' },      { "port", required_argument, NULL, 'p' },
		{ "size", required_argument, NULL, 'b' },    { "flows", required_argument, NULL, 'f' },
		{ "seconds", required_argument, NULL, 's' }, { "gso", required_argument, NULL, 'g' },
		{ "rate", required_argument, NULL, 'r' },    { "spread", required_argument, NULL, 'd' },
		{ 0 }
	};
	static struct blast b = { .flows = 1, .size = 64, .segments = 1, .seconds = 1 };
	const char *address = NULL, *port = NULL;
	struct machine_time started;
	int option;

	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		switch (option) {
		case 'a': address = optarg; break;
		case 'p': port = optarg; break;
		case 'd': add_range(&b, optarg); break;
		case 'b': b.size = parse_number(optarg, "--size", 1, MAXIMUM_PAYLOAD); break;
		case 'f': b.flows = parse_number(optarg, "--flows", 1, MAXIMUM_FLOWS); break;
		case 's': b.seconds = atof(optarg); break;
		case 'g': b.segments = parse_number(optarg, "--gso", 1, 64); break;
		case 'r': b.rate = parse_number(optarg, "--rate", 1, 100000000); break;
		default: return 1;
		}
	}
	if (address == NULL || port == NULL || b.size * b.segments > MAXIMUM_PAYLOAD)
		fail("blast needs --to and --port, and --size x --gso up to %d bytes", MAXIMUM_PAYLOAD);
	b.port_be = htons((uint16_t)parse_number(port, "--port", 1, 65535));
	open_flows(&b, address, port);
	started = machine_time();
	blast_away(&b);
	printf("{\"packets\":%llu,\"errors\":%llu,\"seconds\":%.4f,\"packetsPerSecond\":%.0f,"
	       "\"bytes\":%llu,\"cpuSeconds\":%.4f,\"busySeconds\":%.4f}\n",
	       (unsigned long long)b.packets, (unsigned long long)b.errors, b.seconds,
	       (double)b.packets / b.seconds, (unsigned long long)(b.packets * b.size), cpu_seconds(),
	       busy_seconds_since(&started));
	return 0;
}

/* ------------------------------------------------------------------------------ sink */

static int open_sink(uint16_t port, bool gro)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = 64 << 20, on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (gro)
		setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0)
		fail("bind to port %u: %s", port, strerror(errno));
	return fd;
}

static uint64_t segments_of(struct msghdr *message, unsigned int length)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int size;

			memcpy(&size, CMSG_DATA(c), sizeof(size));
			return size > 0 ? (length + (unsigned int)size - 1) / (unsigned int)size : 1;
		}
	}
	return 1;
}

int sink_main(int argc, char **argv)
{
	static const struct option OPTIONS[] = { { "port", required_argument, NULL, 'p' },
						 { "gro", no_argument, NULL, 'g' },
						 { 0 } };
	static uint8_t payloads[BATCH][65536];
	static uint8_t controls[BATCH][64];
	uint64_t packets = 0, bytes = 0, first = 0, last = 0;
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	uint16_t port = 0;
	bool gro = false;
	int option, fd;

	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		switch (option) {
		case 'p': port = (uint16_t)parse_number(optarg, "--port", 1, 65535); break;
		case 'g': gro = true; break;
		default: return 1;
		}
	}
	if (port == 0)
		fail("sink needs --port");
	fd = open_sink(port, gro);
	fprintf(stderr, "listening\n");
	while (!stop_requested) {
		int count;

		memset(messages, 0, sizeof(messages));
		for (int i = 0; i < BATCH; i++) {
			vectors[i] = (struct iovec){ payloads[i], sizeof(payloads[i]) };
			messages[i].msg_hdr.msg_iov = &vectors[i];
			messages[i].msg_hdr.msg_iovlen = 1;
			messages[i].msg_hdr.msg_control = gro ? controls[i] : NULL;
			messages[i].msg_hdr.msg_controllen = gro ? sizeof(controls[i]) : 0;
		}
		count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
		if (count <= 0)
			continue;
		last = monotonic_ns();
		first = first == 0 ? last : first;
		for (int i = 0; i < count; i++) {
			packets += gro ? segments_of(&messages[i].msg_hdr, messages[i].msg_len) : 1;
			bytes += messages[i].msg_len;
		}
	}
	printf("{\"packets\":%llu,\"bytes\":%llu,\"seconds\":%.4f,\"cpuSeconds\":%.4f}\n",
	       (unsigned long long)packets, (unsigned long long)bytes, (double)(last - first) / 1e9,
	       cpu_seconds());
	return 0;
}
