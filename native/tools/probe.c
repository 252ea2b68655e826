/*
 * godwit-probe: the traffic tool of the lab, the demo, the tests and the benchmark.
 *
 * One program with subcommands; each prints one JSON line when it ends (SIGTERM, SIGINT or its own
 * limit), so that the caller parses and never scrapes. This file holds what the subcommands share.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

volatile sig_atomic_t stop_requested;
volatile sig_atomic_t report_requested;

static const char USAGE[] =
	"usage: godwit-probe COMMAND OPTIONS\n"
	"  stream send --stream ID,ADDRESS,PORT [--stream ...] [--rate PER_SECOND] [--count N]\n"
	"              [--size BYTES] [--traffic-class N] [--records FILE]\n"
	"  stream recv --port PORT [--records FILE] [--idle-ms N]\n"
	"  tcp serve --port PORT [--address ADDRESS] [--rate BYTES_PER_SECOND] [--bytes N]\n"
	"  tcp connect --to ADDRESS --port PORT [--rate BYTES_PER_SECOND] [--bytes N]\n"
	"  blast --to ADDRESS --port PORT [--size BYTES] [--seconds N] [--flows N]\n"
	"        [--gso SEGMENTS] [--rate PACKETS_PER_SECOND] [--spread IPV4,COUNT,STRIDE ...]\n"
	"  sink --port PORT [--gro]\n"
	"  bulk serve --port PORT\n"
	"  bulk connect --to ADDRESS --port PORT [--flows N] [--seconds N] [--warm-up-ms N]\n"
	"  pingpong serve --port PORT\n"
	"  pingpong connect --to ADDRESS --port PORT [--seconds N]\n"
	"  announce INTERFACE rarp | garp ADDRESS | na ADDRESS | arp-request ADDRESS TARGET\n";

uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/*
 * From what was idle, not from what was busy: with a tickless idle the kernel measures idle time by
 * the clock, while busy time is sampled at ticks. Time stolen by a hypervisor is nobody's work
 * here.
 */
struct machine_time machine_time(void)
{
	unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
	struct machine_time now = { 0 };
	FILE *file = fopen("/proc/stat", "r");

	if (file == NULL || fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice,
				   &system, &idle, &iowait, &irq, &softirq, &steal) != 8)
		fail("/proc/stat cannot be read");
	fclose(file);
	now.wall_ns = monotonic_ns();
	now.idle_seconds = (double)(idle + iowait + steal) / (double)sysconf(_SC_CLK_TCK);
	return now;
}

double busy_seconds_since(const struct machine_time *since)
{
	struct machine_time now = machine_time();
	double wall = (double)(now.wall_ns - since->wall_ns) / 1e9;

	return wall * (double)sysconf(_SC_NPROCESSORS_ONLN) - (now.idle_seconds - since->idle_seconds);
}

double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	       ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) / 1e6;
}

void become_punctual(void)
{
	struct sched_param parameter = { .sched_priority = 10 };

	if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
		return;
	sched_setscheduler(0, SCHED_FIFO, &parameter);
}

static void on_stop(int signal)
{
	(void)signal;
	stop_requested = 1;
}

static void on_report(int signal)
{
	(void)signal;
	report_requested = 1;
}

void catch_signals(void)
{
	/* No SA_RESTART: a blocked call must return so that the loop sees the flag. */
	struct sigaction stop = { .sa_handler = on_stop };
	struct sigaction report = { .sa_handler = on_report };

	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGUSR1, &report, NULL);
	signal(SIGPIPE, SIG_IGN);
}

void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("godwit-probe: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

uint64_t parse_number(const char *text, const char *option, uint64_t minimum, uint64_t maximum)
{
	char *end = NULL;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < minimum || value > maximum)
		fail("%s: %s is not a number from %llu to %llu", option, text,
		     (unsigned long long)minimum, (unsigned long long)maximum);
	return value;
}

socklen_t parse_destination(const char *address, const char *port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	uint16_t port_be = htons((uint16_t)parse_number(port, "port", 1, 65535));

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = port_be;
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = port_be;
		return sizeof(*v6);
	}
	fail("%s is not an IPv4 or IPv6 address", address);
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";
	const char *what = argc > 2 ? argv[2] : "";

	catch_signals();
	if (strcmp(command, "stream") == 0 && strcmp(what, "send") == 0)
		return stream_send_main(argc - 2, argv + 2);
	if (strcmp(command, "stream") == 0 && strcmp(what, "recv") == 0)
		return stream_receive_main(argc - 2, argv + 2);
	if (strcmp(command, "tcp") == 0 && strcmp(what, "serve") == 0)
		return tcp_main(true, argc - 2, argv + 2);
	if (strcmp(command, "tcp") == 0 && strcmp(what, "connect") == 0)
		return tcp_main(false, argc - 2, argv + 2);
	if (strcmp(command, "bulk") == 0 && (strcmp(what, "serve") == 0 || strcmp(what, "connect") == 0))
		return bulk_main(strcmp(what, "serve") == 0, argc - 2, argv + 2);
	if (strcmp(command, "pingpong") == 0 &&
	    (strcmp(what, "serve") == 0 || strcmp(what, "connect") == 0))
		return pingpong_main(strcmp(what, "serve") == 0, argc - 2, argv + 2);
	if (strcmp(command, "blast") == 0)
		return blast_main(argc - 1, argv + 1);
	if (strcmp(command, "sink") == 0)
		return sink_main(argc - 1, argv + 1);
	if (strcmp(command, "announce") == 0)
		return announce_main(argc - 1, argv + 1);
	fputs(USAGE, stderr);
	return strcmp(command, "--help") == 0 ? 0 : 1;
}
