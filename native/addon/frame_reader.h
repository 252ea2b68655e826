/*
 * Ethernet frames that arrive on an interface and pass a classic BPF filter, read before any bridge,
 * routing or tc program takes them; with an EtherType those of this type that they have left to the host,
 * so that the others cost nothing. What is sent out of the interface is not seen.
 *
 * For control protocols of a segment, a few frames a second: which ones, says the filter of the
 * caller. A full receive buffer drops, and the kernel counts.
 */
#ifndef FRAME_READER_H
#define FRAME_READER_H

#include "handles.h"

napi_value open_frames(napi_env env, napi_callback_info info);
napi_value frame_statistics(napi_env env, napi_callback_info info);
napi_value close_frames(napi_env env, napi_callback_info info);

#endif
