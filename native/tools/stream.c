/*
 * Numbered UDP streams: the measuring rod of a move.
 *
 * The sender ticks on an absolute schedule and sends one packet per stream and tick. A tick it
 * slept through (frozen process, busy machine) is skipped and counted, never made up for: a burst
 * would measure queues, not the move. The receiver writes what arrived, with the kernel's own time
 * of arrival and the hop limit (a redirected packet has travelled further, which shows when the
 * direct path began). Which packets were lost is for the reader of both files to say.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <endian.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAXIMUM_STREAMS 64
#define MAXIMUM_PACKET 9000
#define BATCH 64
#define MULTICAST_HOPS 64
#define RECEIVE_BUFFER_BYTES (32 << 20)

struct stream {
	uint32_t id;
	int socket;
	uint64_t sent;
	uint64_t errors;
};

static FILE *open_records(const char *path, uint32_t kind)
{
	struct record_header header = { .magic = "GWRECORD", .version = 1, .kind = kind };
	FILE *file = fopen(path, "wb");

	if (file == NULL)
		fail("%s: %s", path, strerror(errno));
	setvbuf(file, NULL, _IOFBF, 1 << 16);
	fwrite(&header, sizeof(header), 1, file);
	fflush(file);
	return file;
}

static void open_stream(struct stream *stream, char *text, int traffic_class)
{
	struct sockaddr_storage to;
	char *id = strtok(text, ",");
	char *address = strtok(NULL, ",");
	char *port = strtok(NULL, ",");
	socklen_t length;
	int hops = MULTICAST_HOPS;

	if (id == NULL || address == NULL || port == NULL)
		fail("--stream wants ID,ADDRESS,PORT");
	stream->id = (uint32_t)parse_number(id, "--stream ID", 0, UINT32_MAX);
	length = parse_destination(address, port, &to);
	stream->socket = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (stream->socket < 0 || connect(stream->socket, (struct sockaddr *)&to, length) != 0)
		fail("%s: %s", address, strerror(errno));
	/* What goes to a group would stay on the link: the kernel gives it one hop. */
	setsockopt(stream->socket, IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof(hops));
	setsockopt(stream->socket, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops));
	if (traffic_class != 0) {
		setsockopt(stream->socket, IPPROTO_IP, IP_TOS, &traffic_class, sizeof(int));
		setsockopt(stream->socket, IPPROTO_IPV6, IPV6_TCLASS, &traffic_class, sizeof(int));
	}
}

static void send_one(struct stream *stream, uint8_t *packet, size_t size, FILE *records)
{
	struct stream_packet *header = (struct stream_packet *)packet;
	struct record record = { .stream = stream->id, .sequence = stream->sent };
	ssize_t sent;

	record.sent_ns = monotonic_ns();
	header->magic_be = htobe32(STREAM_MAGIC);
	header->stream_be = htobe32(stream->id);
	header->sequence_be = htobe64(stream->sent);
	header->sent_ns_be = htobe64(record.sent_ns);
	sent = send(stream->socket, packet, size, 0);
	/* A connected socket reports an earlier ICMP error once, without sending: try again. */
	if (sent < 0 && (errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == EINTR ||
			 errno == EMSGSIZE))
		sent = send(stream->socket, packet, size, 0);
	if (sent < 0) {
		record.error = (uint16_t)errno;
		stream->errors++;
	}
	stream->sent++;
	if (records != NULL)
		fwrite(&record, sizeof(record), 1, records);
}

static void report_sent(const struct stream *streams, int count, uint64_t skipped, uint64_t late_ns)
{
	printf("{\"streams\":[");
	for (int i = 0; i < count; i++)
		printf("%s{\"id\":%u,\"sent\":%llu,\"errors\":%llu}", i > 0 ? "," : "", streams[i].id,
		       (unsigned long long)streams[i].sent, (unsigned long long)streams[i].errors);
	printf("],\"skippedTicks\":%llu,\"latestMs\":%.3f}\n", (unsigned long long)skipped,
	       (double)late_ns / 1e6);
	fflush(stdout);
}

int stream_send_main(int argc, char **argv)
{
	static struct stream streams[MAXIMUM_STREAMS];
	static uint8_t packet[MAXIMUM_PACKET];
	static const struct option OPTIONS[] = {
		{ "stream", required_argument, NULL, 's' }, { "rate", required_argument, NULL, 'r' },
		{ "count", required_argument, NULL, 'c' },  { "size", required_argument, NULL, 'b' },
		{ "records", required_argument, NULL, 'o' },
		{ "traffic-class", required_argument, NULL, 't' }, { 0 }
	};
	char *texts[MAXIMUM_STREAMS];
	FILE *records = NULL;
	uint64_t rate = 1000, limit = 0, size = 64, ticks = 0, skipped = 0, late_ns = 0;
	uint64_t interval, next;
	int count = 0, traffic_class = 0, option;

	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		switch (option) {
		case 's':
			if (count == MAXIMUM_STREAMS)
				fail("at most %d streams", MAXIMUM_STREAMS);
			texts[count++] = optarg;
			break;
		case 'r': rate = parse_number(optarg, "--rate", 1, 100000); break;
		case 'c': limit = parse_number(optarg, "--count", 1, UINT64_MAX); break;
		case 'b':
			size = parse_number(optarg, "--size", sizeof(struct stream_packet), MAXIMUM_PACKET);
			break;
		case 't': traffic_class = (int)parse_number(optarg, "--traffic-class", 0, 255); break;
		case 'o': records = open_records(optarg, RECORD_KIND_SENT); break;
		default: return 1;
		}
	}
	if (count == 0)
		fail("stream send needs --stream ID,ADDRESS,PORT");
	for (int i = 0; i < count; i++)
		open_stream(&streams[i], texts[i], traffic_class);
	become_punctual();
	fprintf(stderr, "sending\n");
	interval = NS_PER_SECOND / rate;
	next = monotonic_ns();
	while (!stop_requested && (limit == 0 || ticks < limit)) {
		struct timespec wake = { .tv_sec = (time_t)(next / NS_PER_SECOND),
					 .tv_nsec = (long)(next % NS_PER_SECOND) };
		uint64_t now;

		if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL) != 0)
			continue;
		now = monotonic_ns();
		if (now - next > late_ns)
			late_ns = now - next;
		for (int i = 0; i < count; i++)
			send_one(&streams[i], packet, size, records);
		ticks++;
		next += interval;
		if (now > next) {
			skipped += (now - next) / interval + 1;
			next += ((now - next) / interval + 1) * interval;
		}
		if (report_requested) {
			report_requested = 0;
			if (records != NULL)
				fflush(records);
		}
	}
	if (records != NULL)
		fclose(records);
	report_sent(streams, count, skipped, late_ns);
	return 0;
}

/* ------------------------------------------------------------------------------ receiver */

struct receiver {
	FILE *records;
	int64_t realtime_minus_monotonic;
	uint64_t received;
	uint64_t foreign;
	uint32_t overflow;
};

static int open_receiver(int family, uint16_t port)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr *address = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
	socklen_t length = family == AF_INET ? sizeof(v4) : sizeof(v6);
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int on = 1, bytes = RECEIVE_BUFFER_BYTES;

	if (fd < 0)
		fail("socket: %s", strerror(errno));
	if (family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof(on));
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof(on));
	} else {
		setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on));
		setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on));
	}
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (bind(fd, address, length) != 0)
		fail("bind to port %u: %s", port, strerror(errno));
	return fd;
}

/* The kernel stamps arrivals with the realtime clock; the difference is taken anew per batch. */
static int64_t realtime_minus_monotonic(void)
{
	struct timespec realtime;
	uint64_t before = monotonic_ns(), after;

	clock_gettime(CLOCK_REALTIME, &realtime);
	after = monotonic_ns();
	return (int64_t)((uint64_t)realtime.tv_sec * NS_PER_SECOND + (uint64_t)realtime.tv_nsec) -
	       (int64_t)((before + after) / 2);
}

static void read_control(struct msghdr *message, struct record *record, struct receiver *receiver)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
			struct timespec at;

			memcpy(&at, CMSG_DATA(c), sizeof(at));
			record->received_ns = (uint64_t)((int64_t)at.tv_sec * (int64_t)NS_PER_SECOND +
							 at.tv_nsec - receiver->realtime_minus_monotonic);
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
			memcpy(&receiver->overflow, CMSG_DATA(c), sizeof(receiver->overflow));
		} else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
			   (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)) {
			int value;

			memcpy(&value, CMSG_DATA(c), sizeof(value));
			record->hop_limit = (uint8_t)value;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			record->traffic_class = *CMSG_DATA(c);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			int value;

			memcpy(&value, CMSG_DATA(c), sizeof(value));
			record->traffic_class = (uint8_t)value;
		}
	}
}

static void receive_batch(int fd, struct receiver *receiver)
{
	static uint8_t packets[BATCH][sizeof(struct stream_packet)];
	static uint8_t controls[BATCH][256];
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	int count;

	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ packets[i], sizeof(packets[i]) };
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
		messages[i].msg_hdr.msg_control = controls[i];
		messages[i].msg_hdr.msg_controllen = sizeof(controls[i]);
	}
	count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
	if (count <= 0)
		return;
	receiver->realtime_minus_monotonic = realtime_minus_monotonic();
	for (int i = 0; i < count; i++) {
		struct stream_packet *header = (struct stream_packet *)packets[i];
		struct record record = { 0 };

		if (messages[i].msg_len < sizeof(*header) || be32toh(header->magic_be) != STREAM_MAGIC) {
			receiver->foreign++;
			continue;
		}
		record.stream = be32toh(header->stream_be);
		record.sequence = be64toh(header->sequence_be);
		record.sent_ns = be64toh(header->sent_ns_be);
		read_control(&messages[i].msg_hdr, &record, receiver);
		receiver->received++;
		if (receiver->records != NULL)
			fwrite(&record, sizeof(record), 1, receiver->records);
	}
}

int stream_receive_main(int argc, char **argv)
{
	static const struct option OPTIONS[] = { { "port", required_argument, NULL, 'p' },
						 { "records", required_argument, NULL, 'o' },
						 { "idle-ms", required_argument, NULL, 'i' },
						 { 0 } };
	struct receiver receiver = { 0 };
	struct pollfd sockets[2];
	uint16_t port = 0;
	int idle_ms = -1, option;

	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		switch (option) {
		case 'p': port = (uint16_t)parse_number(optarg, "--port", 1, 65535); break;
		case 'o': receiver.records = open_records(optarg, RECORD_KIND_RECEIVED); break;
		case 'i': idle_ms = (int)parse_number(optarg, "--idle-ms", 1, 3600000); break;
		default: return 1;
		}
	}
	if (port == 0)
		fail("stream recv needs --port");
	sockets[0] = (struct pollfd){ open_receiver(AF_INET, port), POLLIN, 0 };
	sockets[1] = (struct pollfd){ open_receiver(AF_INET6, port), POLLIN, 0 };
	become_punctual();
	fprintf(stderr, "listening\n");
	while (!stop_requested) {
		int ready = poll(sockets, 2, idle_ms);

		if (ready == 0)
			break;
		for (int i = 0; i < 2 && ready > 0; i++)
			if (sockets[i].revents & POLLIN)
				receive_batch(sockets[i].fd, &receiver);
		if (report_requested) {
			report_requested = 0;
			if (receiver.records != NULL)
				fflush(receiver.records);
		}
	}
	if (receiver.records != NULL)
		fclose(receiver.records);
	printf("{\"received\":%llu,\"foreign\":%llu,\"socketOverflow\":%u}\n",
	       (unsigned long long)receiver.received, (unsigned long long)receiver.foreign,
	       receiver.overflow);
	return 0;
}
