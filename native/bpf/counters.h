/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Counting. A super-packet counts as the segments that it stands for, so that the figures do not
 * depend on offloads; bytes are those of the IP packet without Ethernet.
 */
#ifndef GODWIT_COUNTERS_H
#define GODWIT_COUNTERS_H

#include "maps.h"
#include "wire.h"

enum { LONGEST_HEADERS = 142 }; /* Ethernet, IPv6, UDP, LISP, IPv6, TCP with timestamps */

/* The kernel forgets gso_segs when headers are added or removed: then it is estimated, at most one off. */
static __always_inline __u32 count_segments(struct __sk_buff *skb)
{
	__u32 size = skb->gso_size;

	if (!size)
		return 1;
	if (skb->gso_segs)
		return skb->gso_segs;
	return skb->len > LONGEST_HEADERS + size ? (skb->len - LONGEST_HEADERS + size - 1) / size : 1;
}

/* Count the packet under its reason and discard it: the only way in which a program drops. */
static __noinline int drop(struct __sk_buff *skb, enum lisp_drop_reason reason)
{
	__u32 key = reason;
	struct lisp_drop_counter *counter = bpf_map_lookup_elem(&drops, &key);

	if (counter) {
		counter->packets += count_segments(skb);
		counter->bytes += skb->len > ETH_HLEN ? skb->len - ETH_HLEN : 0;
	}
	return TC_ACT_SHOT;
}

static __always_inline void tally(struct __sk_buff *skb, enum lisp_tally what)
{
	__u32 key = what;
	__u64 *count = bpf_map_lookup_elem(&tallies, &key);

	if (count)
		*count += count_segments(skb);
}

static __always_inline void count_mapping(struct __sk_buff *skb, __u32 counter_id, __u32 bytes)
{
	struct lisp_counter *counter = bpf_map_lookup_elem(&mapping_counters, &counter_id);

	if (counter) {
		counter->packets += count_segments(skb);
		counter->bytes += bytes;
		counter->last_used_ns = bpf_ktime_get_coarse_ns();
	}
}

static __always_inline const struct lisp_node_config *get_node_config(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&node_config, &key);
}

#endif
