/*
 * Pinned maps: what an earlier run left is used on, unless the present programs would misread it.
 *
 * A map of another shape (type, sizes, flags) is unpinned and made anew, alone: appended enumerators
 * make the counter arrays longer, and only the counts begin again. Another ABI version means other
 * contents in the same shape: then all maps are unpinned. The map `abi_version` says which version
 * wrote them; missing, it was a build that did not say so yet. Programs that are attached keep the maps
 * they have until they are replaced, so that forwarding goes on in the meantime.
 *
 * All functions return 0 or a positive errno.
 */
#ifndef BPF_PINS_H
#define BPF_PINS_H

#include <bpf/libbpf.h>
#include <stdint.h>

enum { PIN_PATH_BYTES = 256 };

/* `mkdir -p`; EINVAL when that does not end up on a bpffs. */
int pins_make_directory(const char *path);
/* Before loading: which pins are used, and which are removed. Objects without that map have no version. */
int pins_prepare(struct bpf_object *object, const char *directory, uint32_t version);
/* After loading: the maps are those of this version from now on. */
int pins_mark(struct bpf_object *object, uint32_t version);

#endif
