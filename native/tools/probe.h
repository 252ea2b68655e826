/*
 * What the parts of godwit-probe share: clocks, options, the stream packet and its record.
 *
 * All times are CLOCK_MONOTONIC nanoseconds. Network namespaces share that clock, so one-way delays
 * between namespaces of one machine are comparable. Nothing here knows LISP.
 */
#ifndef GODWIT_PROBE_H
#define GODWIT_PROBE_H

#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/socket.h>
#include <time.h>

#define NS_PER_SECOND 1000000000ull
#define NS_PER_MS 1000000ull

/* One UDP packet of a stream, network byte order, so that captures can be read. */
#define STREAM_MAGIC 0x47575042u /* "GWPB" */
struct stream_packet {
	uint32_t magic_be;
	uint32_t stream_be;
	uint64_t sequence_be;
	uint64_t sent_ns_be;
} __attribute__((packed));
_Static_assert(sizeof(struct stream_packet) == 24, "read by src/demo/records.ts");

/* A file of records: this header, then records, all little-endian. */
#define RECORD_KIND_SENT 1u
#define RECORD_KIND_RECEIVED 2u
struct record_header {
	char magic[8]; /* "GWRECORD" */
	uint32_t version;
	uint32_t kind;
};
struct record {
	uint32_t stream;
	uint8_t hop_limit; /* as received; 0 in sent records */
	uint8_t traffic_class;
	uint16_t error; /* errno of a refused send */
	uint64_t sequence;
	uint64_t sent_ns;
	uint64_t received_ns; /* 0 in sent records */
};
_Static_assert(sizeof(struct record) == 32, "read by src/demo/records.ts");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are little-endian");

extern volatile sig_atomic_t stop_requested;
extern volatile sig_atomic_t report_requested;

/* A moment, and how much CPU time the whole machine had not used by then. */
struct machine_time {
	uint64_t wall_ns;
	double idle_seconds;
};

uint64_t monotonic_ns(void);
struct machine_time machine_time(void);
/* CPU seconds that anything on this machine used since, interrupts included; 10 ms granularity. */
double busy_seconds_since(const struct machine_time *since);
double cpu_seconds(void);
/* Lock memory and ask for SCHED_FIFO; without the right to it, go on as an ordinary process. */
void become_punctual(void);
/* SIGTERM, SIGINT set stop_requested; SIGUSR1 sets report_requested. */
void catch_signals(void);
/* Parses ADDRESS and PORT; exits with a message when they are not valid. Returns the length. */
socklen_t parse_destination(const char *address, const char *port, struct sockaddr_storage *out);
uint64_t parse_number(const char *text, const char *option, uint64_t minimum, uint64_t maximum);
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

int stream_send_main(int argc, char **argv);
int stream_receive_main(int argc, char **argv);
int tcp_main(bool serve, int argc, char **argv);
int bulk_main(bool serve, int argc, char **argv);
int pingpong_main(bool serve, int argc, char **argv);
int blast_main(int argc, char **argv);
int sink_main(int argc, char **argv);
int announce_main(int argc, char **argv);

#endif
