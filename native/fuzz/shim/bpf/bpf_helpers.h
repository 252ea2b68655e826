/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * In place of libbpf's header: the helpers of the kernel as functions of this process (../../shim.h),
 * so that the programs are compiled from the sources that the kernel gets. A helper that is missing
 * here is a compile error: add it here and in shim.c.
 */
#ifndef __BPF_HELPERS__
#define __BPF_HELPERS__

#include <linux/bpf.h>
#include "../../shim.h"

#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define SEC(name) __attribute__((unused))
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#undef __noinline
#define __noinline __attribute__((noinline))
#ifndef __weak
#define __weak __attribute__((weak))
#endif

/* Kind and sizes stand in the type of a map. */
#define SHIM_MAP(map)                                                                               \
	shim_map_of((map), sizeof(*(map)->type) / sizeof(int), sizeof(*(map)->key),                 \
		    sizeof(*(map)->value), sizeof(*(map)->max_entries) / sizeof(int))
#define bpf_map_lookup_elem(map, key) shim_map_lookup(SHIM_MAP(map), key)
#define bpf_map_update_elem(map, key, value, flags) shim_map_update(SHIM_MAP(map), key, value, flags)
#define bpf_map_delete_elem(map, key) shim_map_delete(SHIM_MAP(map), key)
#define bpf_ringbuf_reserve(map, size, flags) shim_ringbuf_reserve(size)
#define bpf_ringbuf_submit(record, flags) shim_ringbuf_submit(record)
#define bpf_ringbuf_discard(record, flags) shim_ringbuf_submit(record)
#define bpf_ringbuf_output(map, bytes, size, flags) shim_ringbuf_output(bytes, size)

#define bpf_skb_load_bytes shim_load_bytes
#define bpf_skb_store_bytes shim_store_bytes
#define bpf_skb_pull_data shim_pull_data
#define bpf_skb_adjust_room shim_adjust_room
#define bpf_skb_change_tail shim_change_tail
#define bpf_skb_change_head shim_change_head
#define bpf_skb_change_type shim_change_type
#define bpf_skb_change_proto shim_change_proto
#define bpf_skb_get_tunnel_key shim_get_tunnel_key
#define bpf_skb_set_tunnel_key shim_set_tunnel_key
#define bpf_fib_lookup(skb, route, size, flags) shim_fib_lookup(skb, route, size, flags)
#define bpf_redirect(ifindex, flags) shim_redirect(ifindex)
#define bpf_redirect_peer(ifindex, flags) shim_redirect(ifindex)
#define bpf_redirect_neigh(ifindex, hop, size, flags) shim_redirect(ifindex)
#define bpf_clone_redirect(skb, ifindex, flags) shim_clone_redirect(skb, ifindex)
#define bpf_loop(count, call, context, flags)                                                       \
	({                                                                                          \
		__u32 rounds_ = (count);                                                            \
		for (__u32 i_ = 0; i_ < rounds_ && !(call)(i_, (context)); i_++)                    \
			;                                                                           \
	})
#define bpf_set_hash_invalid(skb) ((void)0)
#define bpf_get_hash_recalc(skb) ((skb)->hash)
#define bpf_ktime_get_ns shim_now
#define bpf_ktime_get_boot_ns shim_now
#define bpf_ktime_get_coarse_ns shim_now
#define bpf_get_prandom_u32 shim_random
#define bpf_get_smp_processor_id() 0u
#define bpf_csum_diff shim_csum_diff
#define bpf_l3_csum_replace(skb, offset, from, to, flags) shim_csum_replace(skb, offset, to)
#define bpf_l4_csum_replace(skb, offset, from, to, flags) shim_csum_replace(skb, offset, to)

#endif
