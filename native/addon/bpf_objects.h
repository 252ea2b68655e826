/*
 * BPF objects: load with pinned maps, attach to interfaces by tcx, run once on a packet.
 *
 * Pins are what makes a restart invisible: maps are found again under the pin directory and keep
 * their entries unless they would be misread (bpf_pins.h), links are found again and get the new program
 * in one step; a pinned link whose interface is gone is replaced.
 * Needs Linux 6.6 (tcx) and libbpf 1.1; the program type's section must be "tc".
 */
#ifndef BPF_OBJECTS_H
#define BPF_OBJECTS_H

#include "bpf_pins.h"
#include "handles.h"

#include <bpf/libbpf.h>

enum { BPF_NAME_BYTES = 64 };

struct object_handle {
	struct handle handle;
	struct bpf_object *object;
	char pin_directory[PIN_PATH_BYTES];
};

napi_value open_object(napi_env env, napi_callback_info info);
napi_value attach(napi_env env, napi_callback_info info);
napi_value detach(napi_env env, napi_callback_info info);
napi_value close_object(napi_env env, napi_callback_info info);
napi_value test_run(napi_env env, napi_callback_info info);

/* The map called by `value`; NULL after throwing ENOENT. */
struct bpf_map *read_map_name(napi_env env, struct object_handle *object, napi_value value);

#endif
