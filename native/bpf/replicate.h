/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets to multicast groups: one copy out of each interface with listeners, one to each RLOC of the
 * replication list (RFC 6831 §8, RFC 8378 §4). (S,G) is looked for first, then (*,G), and that one entry
 * counts. Which entries there are is decided in user space.
 *
 * The packet is encapsulated once; for each RLOC only the outer header and the MAC addresses are written
 * anew, then a clone leaves. The last copy is the packet itself. Where the list has RLOCs of both families
 * those of IPv4 come first, so that room is made at most twice.
 *
 * Nothing goes back: not out of the interface and not to the RLOC that it came from, and from a site
 * goes on only what has a source of the site. A group that is link-scoped never passes.
 */
#ifndef GODWIT_REPLICATE_H
#define GODWIT_REPLICATE_H

#include "copy.h"

enum { GROUP_SOURCE_SEEN_MS = 1000 };

/* Whether the source of a packet has been looked at before: it comes back in halves (encapsulate.h). */
enum group_source {
	SEEN_NOW,
	ALREADY_SEEN,
};

static __always_inline int is_group(const struct packet *packet)
{
	const __u8 *to = packet->destination.address;

	return packet->family == IPV4_VERSION ? (to[0] & 0xf0) == 0xe0 : to[0] == 0xff;
}

/* Never leaves its link: 224.0.0.0/24 (RFC 5771 §4), IPv6 scopes 0 to 2 (RFC 4291 §2.7). */
static __always_inline int is_link_scoped(const struct packet *packet)
{
	const __u8 *to = packet->destination.address;

	if (packet->family == IPV4_VERSION)
		return to[0] == 224 && to[1] == 0 && to[2] == 0;
	return (to[1] & 0x0f) <= 2;
}

static __always_inline int has_multicast(void)
{
	const struct lisp_node_config *config = get_node_config();

	return config && config->flags & LISP_NODE_MULTICAST;
}

/*
 * The entry of the group, copied to where it stays as it is; NULL without one. `is_exact`: it is that
 * of (S,G).
 */
static __noinline struct lisp_replication *find_replication(const struct packet *packet, __u32 *is_exact)
{
	struct lisp_group_key key = { .instance_family_be = packet->destination.instance_family_be };
	struct lisp_replication *entry, *copy;
	__u32 first = 0;

	__builtin_memcpy(key.source, packet->source.address, 16);
	__builtin_memcpy(key.group, packet->destination.address, 16);
	entry = bpf_map_lookup_elem(&replications, &key);
	*is_exact = !!entry;
	if (!entry) {
		__builtin_memset(key.source, 0, 16);
		entry = bpf_map_lookup_elem(&replications, &key);
	}
	copy = bpf_map_lookup_elem(&current_replication, &first);
	if (!entry || !copy)
		return 0;
	*copy = *entry;
	return copy;
}

/*
 * Of this site and not away: else a second router of the segment would send on what the first delivers.
 * Before its move is certain an endpoint is still here, though packets to it go elsewhere already.
 */
static __always_inline int is_site_source(const struct packet *packet)
{
	const struct lisp_local_eid *local = find_local_eid(&packet->source);

	if (!local || local->state == LISP_LOCAL_EID_NONE)
		return 0;
	return !is_away(local) || local->flags & LISP_LOCAL_EID_NO_PROXY;
}

static __noinline int report_group_source(struct __sk_buff *skb, const struct packet *packet)
{
	struct report report = {
		.eid = packet->destination,
		.type = LISP_EVENT_GROUP_SOURCE_SEEN,
		.peer_family = packet->family,
		.limit_by_peer = 1,
		.interface_index = packet->interface_index,
		.interval_ms = GROUP_SOURCE_SEEN_MS,
	};

	__builtin_memcpy(report.peer, packet->source.address, 16);
	return report_event(skb, &report);
}

/* Packets that matched, not copies. The last use is that by the site: it tells whether a source lives. */
static __always_inline void count_group(struct __sk_buff *skb, const struct packet *packet,
					const struct lisp_replication *entry, int from_site)
{
	__u32 counter_id = entry->counter_id;
	struct lisp_counter *counter = bpf_map_lookup_elem(&mapping_counters, &counter_id);

	if (!counter)
		return;
	counter->packets += count_segments(skb);
	counter->bytes += packet->length ? packet->length : skb->len - ETH_HLEN;
	if (from_site)
		counter->last_used_ns = bpf_ktime_get_coarse_ns();
}

/* Too big for one of its paths and without DF: in halves, as any packet of the site. */
static __always_inline int may_be_halved(struct __sk_buff *skb, const struct packet *packet,
					 const struct lisp_replication *entry)
{
	struct event_limit_key all = { .type = FRAGMENT_LIMIT };

	if (!entry->copies || packet->length <= entry->largest || skb->gso_size || !packet->may_fragment)
		return 0;
	return take_token(&all, FRAGMENT_US * MICROSECONDS, FRAGMENT_BURST);
}

/* Of the packets to groups only those of IPv6 are answered (RFC 4443 §2.4 e, RFC 1122 §3.2.2). */
static __always_inline void report_largest(struct __sk_buff *skb, const struct packet *packet,
					   const struct lisp_replication *entry)
{
	if (packet->family == IPV6_VERSION && entry->copies && get_wire_length(skb, packet) > entry->largest)
		report_too_big(skb, packet, entry->largest);
}

/* Out of another interface than where it came from, or to an RLOC: is there any such copy? */
static __always_inline int leaves_segment(const struct packet *packet, const struct lisp_replication *entry)
{
	if (entry->copies && entry->level == 0)
		return 1;
	if (entry->interface_count == 1)
		return entry->interfaces[0] != packet->interface_index;
	return entry->interface_count != 0;
}

/* A plain packet to a group, from a host of the site. What has no entry is left to the kernel. */
CHECKED_ONCE int replicate_from_site(struct __sk_buff *skb, struct packet *packet, __u32 source)
{
	struct gate_entry none = { .segments = 1, .is_behind = 1 };
	struct lisp_replication *entry;
	struct copying work = { .skb = skb, .packet = packet, .verdict = CONSUMED };
	__u32 is_exact;

	if (!packet)
		return PASS;
	if (!is_site_source(packet)) {
		tally(skb, LISP_TALLY_FOREIGN_GROUP_SOURCE);
		if (source != SEEN_NOW)
			return drop(skb, LISP_DROP_UNKNOWN_GROUP);
		/* another router of the segment delivers this group */
		report_group_source(skb, packet);
		return PASS;
	}
	entry = find_replication(packet, &is_exact);
	if (source == SEEN_NOW && !is_exact)
		report_group_source(skb, packet);
	if (entry && source == SEEN_NOW)
		count_group(skb, packet, entry, 1);
	if (!entry || !leaves_segment(packet, entry))
		return source == SEEN_NOW ? PASS : drop(skb, LISP_DROP_UNKNOWN_GROUP);
	if (packet->destination_port == LISP_DATA_PORT && has_two_lisp_headers(skb, ETH_HLEN))
		return drop(skb, LISP_DROP_NESTED);
	if (entry->level == 0 && may_be_halved(skb, packet, entry)) {
		tally(skb, LISP_TALLY_FRAGMENTED);
		return hold(skb, packet, LISP_HOLD_FRAGMENT, &none);
	}
	if (packet->ttl <= 1)
		return drop(skb, LISP_DROP_TTL_EXPIRED);
	tally(skb, LISP_TALLY_REPLICATED);
	if (entry->level == 0)
		report_largest(skb, packet, entry);
	packet->ttl--;
	if ((packet->length && cut_padding(skb, ETH_HLEN + packet->length)) ||
	    rewrite_inner(skb, ETH_HLEN, packet->family, packet->ttl, packet->traffic_class))
		return drop(skb, LISP_DROP_ENCAPSULATION_FAILED);
	work.entry = entry;
	work.arrival = packet->interface_index;
	work.copies = entry->level == 0 ? entry->copies : 0;
	copy_to_segments(&work);
	copy_to_rlocs(&work);
	return work.verdict;
}

/* A frame of the site to a multicast address. */
static __always_inline int handle_group_from_site(struct __sk_buff *skb, struct packet *packet)
{
	if (!has_multicast() || packet->ttl <= 1 || !is_group(packet) || is_link_scoped(packet) ||
	    is_cut_short(skb, packet))
		return PASS;
	return replicate_from_site(skb, packet, SEEN_NOW);
}

/* The outer headers off, and the frame out of the interfaces with listeners. */
static __always_inline int deliver_to_segments(struct copying *work, const struct outer *outer)
{
	struct __sk_buff *skb = work->skb;
	struct packet *packet = work->packet;

	if (work->overhead) {
		if (write_changes(skb, outer, packet) || decapsulate(skb, outer, packet, packet->family))
			return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
		work->overhead = 0;
	}
	copy_to_segments(work);
	return CONTINUE;
}

/*
 * A packet to a group from the core: `outer` is what it came under, overhead 0 when that is off already.
 * Above level 0 it goes on to those below us in the tree, one hop older (RFC 9300 §5.3).
 */
CHECKED_ONCE int replicate_from_core(struct __sk_buff *skb, const struct outer *outer,
				     struct packet *packet)
{
	struct lisp_replication *entry;
	struct copying work = { .skb = skb, .packet = packet, .verdict = CONSUMED };
	const struct lisp_local_eid *source;
	__u32 is_exact;

	if (!outer || !packet)
		return TC_ACT_SHOT;
	if (is_link_scoped(packet))
		return drop(skb, LISP_DROP_GROUP_SCOPE);
	source = find_local_eid(&packet->source);
	if (source && is_present(source))
		return drop(skb, LISP_DROP_OWN_SOURCE);
	entry = find_replication(packet, &is_exact);
	if (!entry)
		return drop(skb, LISP_DROP_UNKNOWN_GROUP);
	work.entry = entry;
	work.sender = &outer->source;
	work.overhead = outer->overhead;
	work.mode = outer->overhead ? ENCAPSULATE_AGAIN : ENCAPSULATE_NEW;
	work.copies = entry->level ? entry->copies : 0;
	if (!work.copies && !entry->interface_count)
		return drop(skb, LISP_DROP_UNKNOWN_GROUP);
	count_group(skb, packet, entry, 0);
	tally(skb, LISP_TALLY_REPLICATED);
	if (entry->interface_count && deliver_to_segments(&work, outer) != CONTINUE)
		return TC_ACT_SHOT;
	if (!work.copies)
		return work.verdict;
	if (packet->ttl <= 1)
		return drop(skb, LISP_DROP_TTL_EXPIRED);
	packet->ttl--;
	if (rewrite_inner(skb, ETH_HLEN + (work.overhead & LONGEST_OVERHEAD_MASK), packet->family,
			  packet->ttl, packet->traffic_class) ||
	    cut_padding(skb, ETH_HLEN + work.overhead + packet->length))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	copy_to_rlocs(&work);
	return work.verdict;
}

/* Whether packets from here to `sender` would leave where this one came in. */
static __noinline int is_on_reverse_path(struct __sk_buff *skb, const struct lisp_rloc_key *sender)
{
	struct bpf_fib_lookup route = { .l4_protocol = IPPROTO_UDP, .ifindex = skb->ifindex };

	if (sender->family == IPV4_VERSION) {
		route.family = ADDRESS_FAMILY_IPV4;
		__builtin_memcpy(&route.ipv4_dst, sender->address, 4);
	} else {
		route.family = ADDRESS_FAMILY_IPV6;
		__builtin_memcpy(route.ipv6_dst, sender->address, 16);
	}
	return bpf_fib_lookup(skb, &route, sizeof(route), LOOKUP_SKIP_NEIGHBOUR) ==
		       BPF_FIB_LKUP_RET_SUCCESS &&
	       route.ifindex == skb->ifindex;
}

/* The core has copied it: only packets to groups come that way, and only on the path to their sender. */
static __noinline int replicate_by_core(struct __sk_buff *skb, const struct outer *outer,
					struct packet *packet)
{
	if (!is_group(packet))
		return drop(skb, LISP_DROP_UNKNOWN_GROUP);
	if (!is_on_reverse_path(skb, &outer->source))
		return drop(skb, LISP_DROP_REVERSE_PATH);
	return replicate_from_core(skb, outer, packet);
}

/* A super-packet that the kernel's own device has taken out of its outer headers. */
static __noinline int replicate_from_gpe(struct __sk_buff *skb, struct packet *packet,
					 const struct bpf_tunnel_key *key, __u32 family)
{
	struct outer outer = { .family = family, .source = { .family = family } };
	__be32 remote = bpf_htonl(key->remote_ipv4);

	if (family == IPV4_VERSION)
		__builtin_memcpy(outer.source.address, &remote, 4);
	else
		__builtin_memcpy(outer.source.address, key->remote_ipv6, 16);
	return replicate_from_core(skb, &outer, packet);
}

#endif
