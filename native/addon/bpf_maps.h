/*
 * Bytes in and out of maps. Keys and values are opaque; only their sizes are checked.
 *
 * The value of a per-CPU map is those of all possible CPUs one after another, each rounded up to 8.
 */
#ifndef BPF_MAPS_H
#define BPF_MAPS_H

#include "bpf_objects.h"

napi_value update_map(napi_env env, napi_callback_info info);
napi_value update_map_batch(napi_env env, napi_callback_info info);
napi_value delete_map(napi_env env, napi_callback_info info);
napi_value lookup_map(napi_env env, napi_callback_info info);
napi_value read_map(napi_env env, napi_callback_info info);

/* Bytes of one value as user space sees it. */
size_t map_value_bytes(const struct bpf_map *map);

#endif
