/*
 * One TCP connection, both directions at once, every byte checked.
 *
 * Word n (8 bytes) of a direction is a mix of n and the direction's seed, so a byte lost, doubled,
 * moved or changed shows at once. The side that connects ends the connection (SIGTERM or --bytes):
 * it closes its direction, the other answers by closing its own, and both report. The longest stall
 * is the longest time between two moments at which bytes arrived.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (64 << 10)
#define LEAST_WRITE (16 << 10)
#define CLOSE_DEADLINE_NS (10 * NS_PER_SECOND)
#define CONNECT_DEADLINE_MS 10000
#define SEED_SERVER 0x5345525645520000ull
#define SEED_CLIENT 0x434c49454e540000ull

struct connection {
	int fd;
	bool serve;
	uint64_t rate; /* bytes per second, 0 = unlimited */
	uint64_t limit; /* bytes to send, 0 = until told to stop */
	uint64_t sent;
	uint64_t received;
	uint64_t corrupt;
	uint64_t resets;
	uint64_t longest_stall_ns;
	uint64_t last_progress_ns;
	uint64_t started_ns;
	uint64_t ended_ns; /* when our direction was closed */
	bool write_closed;
	bool read_closed;
};

static uint64_t pattern_word(uint64_t index, uint64_t seed)
{
	uint64_t z = index * 0x9e3779b97f4a7c15ull + seed;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* Fills `length` pattern bytes from byte `offset` on. */
static void fill_pattern(uint8_t *out, uint64_t offset, size_t length, uint64_t seed)
{
	size_t done = 0;

	while (done < length) {
		uint64_t word = pattern_word((offset + done) / 8, seed);
		size_t skip = (offset + done) % 8;
		size_t take = 8 - skip < length - done ? 8 - skip : length - done;

		memcpy(out + done, (uint8_t *)&word + skip, take);
		done += take;
	}
}

static void receive_some(struct connection *c)
{
	static uint8_t got[CHUNK], expected[CHUNK];
	uint64_t seed = c->serve ? SEED_CLIENT : SEED_SERVER;

	for (int round = 0; round < 16; round++) {
		ssize_t length = recv(c->fd, got, sizeof(got), MSG_DONTWAIT);
		uint64_t now = monotonic_ns();

		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (length <= 0) {
			c->resets += length < 0;
			c->read_closed = true;
			return;
		}
		if (now - c->last_progress_ns > c->longest_stall_ns)
			c->longest_stall_ns = now - c->last_progress_ns;
		c->last_progress_ns = now;
		fill_pattern(expected, c->received, (size_t)length, seed);
		if (memcmp(got, expected, (size_t)length) != 0)
			for (ssize_t i = 0; i < length; i++)
				c->corrupt += got[i] != expected[i];
		c->received += (uint64_t)length;
	}
}

/*
 * How many bytes may be sent now. At most one chunk, so that a stall causes no long burst; with a
 * rate, nothing below a few packets' worth, or the loop would wake up for every byte.
 */
static uint64_t allowance(struct connection *c)
{
	uint64_t allowed, least;

	if (c->limit != 0 && c->sent >= c->limit)
		return 0;
	if (c->rate == 0)
		return CHUNK;
	allowed = (uint64_t)((double)(monotonic_ns() - c->started_ns) / 1e9 * (double)c->rate);
	allowed = allowed > c->sent ? allowed - c->sent : 0;
	least = c->rate / 100 < LEAST_WRITE ? c->rate / 100 : LEAST_WRITE;
	if (allowed < least)
		return 0;
	return allowed < CHUNK ? allowed : CHUNK;
}

static void send_some(struct connection *c)
{
	static uint8_t out[CHUNK];

	for (int round = 0; round < 16; round++) {
		uint64_t allowed = allowance(c);
		ssize_t length;

		if (allowed == 0)
			return;
		fill_pattern(out, c->sent, (size_t)allowed, c->serve ? SEED_SERVER : SEED_CLIENT);
		length = send(c->fd, out, (size_t)allowed, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (length < 0) {
			c->resets++;
			c->read_closed = true;
			return;
		}
		c->sent += (uint64_t)length;
	}
}

static void close_write(struct connection *c)
{
	c->write_closed = true;
	c->ended_ns = monotonic_ns();
	shutdown(c->fd, SHUT_WR);
}

static void report(const struct connection *c)
{
	double seconds = (double)(monotonic_ns() - c->started_ns) / 1e9;

	printf("{\"sent\":%llu,\"received\":%llu,\"corrupt\":%llu,\"resets\":%llu,"
	       "\"longestStallMs\":%.3f,\"seconds\":%.3f,\"complete\":%s}\n",
	       (unsigned long long)c->sent, (unsigned long long)c->received,
	       (unsigned long long)c->corrupt, (unsigned long long)c->resets,
	       (double)c->longest_stall_ns / 1e6, seconds,
	       c->read_closed && c->write_closed ? "true" : "false");
	fflush(stdout);
}

static void run(struct connection *c)
{
	c->started_ns = c->last_progress_ns = monotonic_ns();
	while (!c->read_closed || !c->write_closed) {
		bool wants_write = !c->write_closed && allowance(c) > 0;
		struct pollfd fd = { c->fd, (short)(POLLIN | (wants_write ? POLLOUT : 0)), 0 };
		bool finished = stop_requested || (c->limit != 0 && c->sent >= c->limit) ||
				(c->serve && c->read_closed);

		if (c->read_closed)
			fd.events &= ~POLLIN;
		if (!c->write_closed && finished)
			close_write(c);
		if (c->write_closed && monotonic_ns() - c->ended_ns > CLOSE_DEADLINE_NS)
			break;
		/* 1 ms is the granularity of the rate limit. */
		if (poll(&fd, 1, c->rate != 0 && !c->write_closed ? 1 : 100) < 0 && errno != EINTR)
			break;
		if (!c->read_closed)
			receive_some(c);
		if (!c->write_closed && !c->read_closed)
			send_some(c);
		if (report_requested) {
			report_requested = 0;
			report(c);
		}
	}
}

static int listen_on(const char *address, const char *port)
{
	struct sockaddr_storage local;
	socklen_t length = parse_destination(address, port, &local);
	int fd = socket(local.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, accepted;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&local, length) != 0 || listen(fd, 8) != 0)
		fail("%s port %s: %s", address, port, strerror(errno));
	fprintf(stderr, "listening\n");
	do {
		accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	} while (accepted < 0 && errno == EINTR && !stop_requested);
	if (accepted < 0)
		exit(0);
	close(fd);
	return accepted;
}

static int connect_to(const char *address, const char *port)
{
	struct sockaddr_storage to;
	socklen_t length = parse_destination(address, port, &to), error_length = sizeof(int);
	int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;
	struct pollfd ready = { fd, POLLOUT, 0 };

	if (fd < 0 || (connect(fd, (struct sockaddr *)&to, length) != 0 && errno != EINPROGRESS))
		fail("%s: %s", address, strerror(errno));
	if (poll(&ready, 1, CONNECT_DEADLINE_MS) <= 0)
		fail("%s port %s: no answer in %d s", address, port, CONNECT_DEADLINE_MS / 1000);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_length);
	if (error != 0)
		fail("%s port %s: %s", address, port, strerror(error));
	fprintf(stderr, "connected\n");
	return fd;
}

int tcp_main(bool serve, int argc, char **argv)
{
	static const struct option OPTIONS[] = {
		{ "to", required_argument, NULL, 'a' },   { "address", required_argument, NULL, 'a' },
		{ "port", required_argument, NULL, 'p' }, { "rate", required_argument, NULL, 'r' },
		{ "bytes", required_argument, NULL, 'b' }, { 0 }
	};
	struct connection c = { .serve = serve };
	const char *address = serve ? "::" : NULL, *port = NULL;
	int option, on = 1;

	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		switch (option) {
		case 'a': address = optarg; break;
		case 'p': port = optarg; break;
		case 'r': c.rate = parse_number(optarg, "--rate", 1000, 100000000000ull); break;
		case 'b': c.limit = parse_number(optarg, "--bytes", 1, UINT64_MAX); break;
		default: return 1;
		}
	}
	if (address == NULL || port == NULL)
		fail("tcp needs --port, and connect needs --to");
	c.fd = serve ? listen_on(address, port) : connect_to(address, port);
	setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	run(&c);
	close(c.fd);
	report(&c);
	return c.corrupt == 0 && c.resets == 0 ? 0 : 2;
}
