/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The kernel's side of a BPF program, in a process: one packet, maps, helpers.
 *
 * What makes it find mistakes: the linear part of the packet is an allocation of exactly its size,
 * and every helper that may move the packet moves it and frees the old one, so that a pointer kept
 * over the call is a use after free. Keys and values of maps are exact allocations too.
 *
 * What is in the maps, whether a helper fails and what the routes say is chosen by the input
 * (shim_choose). Answers are remembered, and change now and then as they would by another CPU.
 */
#ifndef GODWIT_FUZZ_SHIM_H
#define GODWIT_FUZZ_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/types.h>

struct __sk_buff;
struct bpf_fib_lookup;
struct bpf_tunnel_key;
struct shim_map;

enum { SHIM_MAXIMUM_FRAME = 131072, SHIM_REDIRECT_INTERFACE = 7 };

/* What happened while a program ran. */
struct shim_record {
	unsigned int failures;  /* helpers that were made to fail */
	unsigned int redirects;
	__u32 redirect_interface;
	int open_records;       /* ring buffer records reserved and not submitted */
	unsigned int events;
};
extern struct shim_record shim_record;

/* Where decisions come from; behind its end every decision is 0, which is the usual case. */
void shim_begin(const uint8_t *choices, size_t length);
void shim_end(void);
/* Forget the maps, keep the frame and the rest of the choices. */
void shim_forget_maps(void);
uint8_t shim_choose(void);

/* A frame whose first `linear` bytes (at most all) may be accessed directly. */
struct __sk_buff *shim_frame(const uint8_t *bytes, uint32_t length, uint32_t linear, bool encapsulated);
/* The whole frame as it is now; to be freed by the caller. */
uint8_t *shim_frame_copy(uint32_t *length);

/*
 * By the harness: what a map answers for a key that was not asked before. `value` is zeroed. False:
 * there is no such element (of an array there always is one).
 */
bool fuzz_fill(const void *map, const void *key, void *value);

struct shim_map *shim_map_of(const void *map, unsigned int type, size_t key_bytes, size_t value_bytes,
			     size_t entries);
void *shim_map_lookup(struct shim_map *map, const void *key);
long shim_map_update(struct shim_map *map, const void *key, const void *value, __u64 flags);
long shim_map_delete(struct shim_map *map, const void *key);
/* The value without choosing anything; NULL when it was never asked for. */
const void *shim_map_peek(const void *map, const void *key);
/* Calls `visit` for every element of `map` that was asked for. */
void shim_map_each(const void *map, void (*visit)(const void *value, void *context), void *context);

void *shim_ringbuf_reserve(size_t size);
void shim_ringbuf_submit(void *record);
long shim_ringbuf_output(const void *bytes, size_t size);

long shim_load_bytes(const struct __sk_buff *skb, __u32 offset, void *to, __u32 length);
long shim_store_bytes(struct __sk_buff *skb, __u32 offset, const void *from, __u32 length, __u64 flags);
long shim_pull_data(struct __sk_buff *skb, __u32 length);
long shim_adjust_room(struct __sk_buff *skb, __s32 difference, __u32 mode, __u64 flags);
long shim_change_tail(struct __sk_buff *skb, __u32 length, __u64 flags);
long shim_change_head(struct __sk_buff *skb, __u32 room, __u64 flags);
long shim_change_type(struct __sk_buff *skb, __u32 type);
long shim_change_proto(struct __sk_buff *skb, __be16 protocol, __u64 flags);
long shim_get_tunnel_key(struct __sk_buff *skb, struct bpf_tunnel_key *key, __u32 size, __u64 flags);
long shim_set_tunnel_key(struct __sk_buff *skb, struct bpf_tunnel_key *key, __u32 size, __u64 flags);
long shim_fib_lookup(void *skb, struct bpf_fib_lookup *route, int size, __u32 flags);
long shim_redirect(__u32 interface_index);
long shim_clone_redirect(struct __sk_buff *skb, __u32 interface_index);
__u64 shim_now(void);
__u32 shim_random(void);
/* `difference` as bpf_csum_diff gives it. */
long shim_csum_replace(struct __sk_buff *skb, __u32 offset, __u64 difference);
__s64 shim_csum_diff(__be32 *from, __u32 from_size, __be32 *to, __u32 to_size, __wsum seed);

#endif
