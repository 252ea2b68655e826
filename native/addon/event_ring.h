/*
 * Records of a BPF ring buffer, delivered in batches.
 *
 * The ring's own descriptor is watched by the event loop: no thread. A batch is bounded; what is
 * left is delivered in the next turn of the loop, so a flood of events cannot starve control
 * messages. What the ring itself cannot take is counted where it is written, by the BPF programs.
 */
#ifndef EVENT_RING_H
#define EVENT_RING_H

#include "handles.h"

napi_value start_events(napi_env env, napi_callback_info info);
napi_value close_events(napi_env env, napi_callback_info info);

struct object_handle;
/* Close every reader of `object`. */
void close_events_of(struct object_handle *object);

#endif
