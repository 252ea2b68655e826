/* See hold_thread.h. */
#include "hold_thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Held events may be lost when nobody reads them (the queue then ends by time); the answer to a
 * command may not: there are never more of those than commands. */
void hold_raise(struct hold *hold, const struct hold_event *event)
{
	bool must = event->kind == HOLD_EVENT_RELEASED;
	struct hold_event *copy = NULL;
	uint64_t one = 1;

	pthread_mutex_lock(&hold->lock);
	if (must || hold->events < HOLD_MAXIMUM_EVENTS)
		copy = malloc(sizeof(*copy));
	if (copy) {
		*copy = *event;
		copy->next = NULL;
		*(hold->last_event ? &hold->last_event->next : &hold->first_event) = copy;
		hold->last_event = copy;
		hold->events++;
	} else {
		hold->events_lost++;
	}
	pthread_mutex_unlock(&hold->lock);
	if (write(hold->wake_loop, &one, sizeof(one)) < 0)
		return; /* the counter is at its maximum: the loop is awake already */
}

void hold_raise_dropped(struct hold *hold, const struct hold_key *key, uint32_t packets,
			const char *reason)
{
	struct hold_event event = { .kind = HOLD_EVENT_DROPPED, .key = *key, .packets = packets };

	snprintf(event.reason, sizeof(event.reason), "%s", reason);
	hold_raise(hold, &event);
}

/* What a queue refused is told once, when the queue ends: one event per reason, not per packet. */
void hold_raise_refused(struct hold *hold, const struct hold_queue *queue)
{
	for (int reason = 0; reason < HOLD_REASONS; reason++)
		if (queue->refused[reason])
			hold_raise_dropped(hold, &queue->key, queue->refused[reason],
				      hold_reason_names[reason]);
}
