/*
 * One UDP packet there, the same back, then the next: latency under light load.
 *
 * connect keeps one packet under way and reports the distribution of round trips; serve echoes. An
 * answer that does not come in 100 ms counts as lost and does not enter the distribution.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define MAXIMUM_SAMPLES 1000000
#define PAYLOAD_BYTES 64
#define ANSWER_LIMIT_US 100000

static int ascending(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return a < b ? -1 : a > b;
}

/* Round trip in ns, 0 when there was no answer in time. Late answers to former questions are skipped. */
static uint32_t round_trip(int fd, uint64_t sequence)
{
	uint64_t packet[PAYLOAD_BYTES / 8] = { sequence }, answer[PAYLOAD_BYTES / 8];
	uint64_t sent_ns = monotonic_ns();

	if (send(fd, packet, sizeof(packet), 0) < 0)
		return 0;
	while (recv(fd, answer, sizeof(answer), 0) == (ssize_t)sizeof(answer))
		if (answer[0] == sequence)
			return (uint32_t)(monotonic_ns() - sent_ns);
	return 0;
}

static int ping(const char *address, const char *port, double seconds)
{
	uint32_t *samples = malloc(MAXIMUM_SAMPLES * sizeof(*samples));
	struct timeval limit = { .tv_usec = ANSWER_LIMIT_US };
	struct sockaddr_storage to;
	socklen_t length = parse_destination(address, port, &to);
	int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t until = monotonic_ns() + (uint64_t)(seconds * 1e9), sequence = 0;
	size_t count = 0;

	if (samples == NULL || fd < 0 || connect(fd, (struct sockaddr *)&to, length) != 0)
		fail("%s: %s", address, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	while (!stop_requested && monotonic_ns() < until && count < MAXIMUM_SAMPLES) {
		uint32_t ns = round_trip(fd, ++sequence);

		if (ns != 0)
			samples[count++] = ns;
	}
	qsort(samples, count, sizeof(*samples), ascending);
	printf("{\"sent\":%llu,\"received\":%zu,\"medianUs\":%.2f,\"p99Us\":%.2f}\n",
	       (unsigned long long)sequence, count, count ? samples[count / 2] / 1e3 : 0.0,
	       count ? samples[count * 99 / 100] / 1e3 : 0.0);
	free(samples);
	return count > 0 ? 0 : 2;
}

static int pong(const char *port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	any.sin6_port = htons((uint16_t)parse_number(port, "--port", 1, 65535));
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0)
		fail("port %s: %s", port, strerror(errno));
	fprintf(stderr, "listening\n");
	while (!stop_requested) {
		uint8_t packet[2048];
		struct sockaddr_in6 from;
		socklen_t from_length = sizeof(from);
		ssize_t got = recvfrom(fd, packet, sizeof(packet), 0, (struct sockaddr *)&from, &from_length);

		if (got > 0)
			sendto(fd, packet, (size_t)got, 0, (struct sockaddr *)&from, from_length);
	}
	return 0;
}

int pingpong_main(bool serve, int argc, char **argv)
{
	static const struct option OPTIONS[] = { { "to", required_argument, NULL, 'a' },
						 { "port", required_argument, NULL, 'p' },
						 { "seconds", required_argument, NULL, 's' },
						 { 0 } };
	const char *address = NULL, *port = NULL;
	double seconds = 1;
	int option;

	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		switch (option) {
		case 'a': address = optarg; break;
		case 'p': port = optarg; break;
		case 's': seconds = atof(optarg); break;
		default: return 1;
		}
	}
	if (port == NULL || (!serve && address == NULL))
		fail("pingpong needs --port, and connect needs --to");
	return serve ? pong(port) : ping(address, port, seconds);
}
