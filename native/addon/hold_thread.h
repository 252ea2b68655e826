/*
 * What the hold's thread is made of, three files of which nobody else may call anything:
 *
 * hold_thread.c carries out commands and deadlines, and settles a release; hold_device.c reads the
 * device into queues and writes packets back; hold_events.c tells the JavaScript side.
 */
#ifndef HOLD_THREAD_H
#define HOLD_THREAD_H

#include "hold.h"

#include <time.h>

enum {
	/* How much is read before commands and deadlines get their turn. */
	HOLD_FRAMES_PER_TURN = 256,
};

static inline uint64_t hold_now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

void hold_raise(struct hold *hold, const struct hold_event *event);
void hold_raise_dropped(struct hold *hold, const struct hold_key *key, uint32_t packets,
			const char *reason);
void hold_raise_refused(struct hold *hold, const struct hold_queue *queue);

/* Read the device until it is empty, at most `most` frames; whether it is empty. */
bool hold_read_device(struct hold *hold, uint32_t most);
/* To the kernel; false, and counted, when the device does not take it in time. */
bool hold_write_back(struct hold *hold, const uint8_t *bytes, size_t length);
/* Copies too old or too many for `coming` bytes more leave their window. */
void hold_age(struct hold *hold, struct hold_queue *queue, size_t coming, uint64_t now);

#endif
