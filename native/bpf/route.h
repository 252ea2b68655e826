/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sends a finished frame to its next hop. The kernel's routing table decides, asked by bpf_fib_lookup at
 * most once in NEXT_HOP_MS for each pair of addresses; when it knows the route but not yet the neighbour,
 * bpf_redirect_neigh lets the kernel resolve it and queue meanwhile.
 *
 * The kernel answers bpf_fib_lookup only for interfaces with forwarding enabled (ip_forward,
 * ipv6 all.forwarding): a tunnel router has that.
 */
#ifndef GODWIT_ROUTE_H
#define GODWIT_ROUTE_H

#include "packet.h"

enum { NEXT_HOP_MS = 10 };

static __always_inline int write_macs(struct __sk_buff *skb, const __u8 *destination,
				      const __u8 *source)
{
	__u8 *frame = (void *)(long)skb->data;

	if ((void *)(frame + ETH_HLEN) > (void *)(long)skb->data_end)
		return -1;
	__builtin_memcpy(frame, destination, 6);
	__builtin_memcpy(frame + 6, source, 6);
	return 0;
}

/*
 * Out of the interface. A veth into another namespace is stepped over: the frame goes on as if its far
 * end had received it (measured: a fifth of UDP in small packets).
 */
static __always_inline int send_out(__u32 interface_index, int is_peer)
{
	return is_peer ? bpf_redirect_peer(interface_index, 0) : bpf_redirect(interface_index, 0);
}

static __always_inline int is_peer_interface(__u32 interface_index)
{
	struct lisp_site_interface *site = bpf_map_lookup_elem(&site_interfaces, &interface_index);

	return site && site->flags & LISP_SITE_PEER;
}

/*
 * Send the frame to where `route` points after its lookup returned `result`. CONTINUE when the kernel
 * has no unicast route (the address may be its own), TOO_BIG_FOR_ROUTE when it has and must not be used.
 */
static __always_inline int send_routed(struct __sk_buff *skb, struct bpf_fib_lookup *route, long result)
{
	if (result == BPF_FIB_LKUP_RET_SUCCESS) {
		if (write_macs(skb, route->dmac, route->smac))
			return CONTINUE;
		return send_out(route->ifindex, is_peer_interface(route->ifindex));
	}
	if (result == BPF_FIB_LKUP_RET_NO_NEIGH) {
		struct bpf_redir_neigh hop = { .nh_family = route->family };

		__builtin_memcpy(hop.ipv6_nh, route->ipv6_dst, 16);
		return bpf_redirect_neigh(route->ifindex, &hop, sizeof(hop), 0);
	}
	return result == BPF_FIB_LKUP_RET_FRAG_NEEDED ? TOO_BIG_FOR_ROUTE : CONTINUE;
}

static __always_inline int next_hop_keys_equal(const struct next_hop_key *left,
					       const struct next_hop_key *right)
{
	const __u64 *a = (const __u64 *)left, *b = (const __u64 *)right;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4];
}

static __always_inline struct next_hop *find_next_hop(const struct next_hop_key *key)
{
	const __u32 *from = (const __u32 *)key->source;
	const __u32 *to = (const __u32 *)key->destination;
	/* where addresses differ: all of IPv4, the interface-ID of IPv6 */
	__u32 slot = mix(mix(to[0] ^ to[3], from[0] ^ from[3]), key->interface_index);

	slot = (slot ^ slot >> 16) & (NEXT_HOPS - 1);
	return bpf_map_lookup_elem(&next_hops, &slot);
}

/* Ask the kernel; an answer with a neighbour goes into `hop`. Returns what bpf_fib_lookup does. */
static __always_inline long look_up_route(struct __sk_buff *skb, const struct next_hop_key *key,
					  struct next_hop *hop, struct bpf_fib_lookup *route)
{
	long result;

	if (key->family == IPV4_VERSION) {
		route->family = ADDRESS_FAMILY_IPV4;
		__builtin_memcpy(&route->ipv4_src, key->source, 4);
		__builtin_memcpy(&route->ipv4_dst, key->destination, 4);
	} else {
		route->family = ADDRESS_FAMILY_IPV6;
		__builtin_memcpy(route->ipv6_src, key->source, 16);
		__builtin_memcpy(route->ipv6_dst, key->destination, 16);
	}
	result = bpf_fib_lookup(skb, route, sizeof(*route), key->flags);
	if (result == BPF_FIB_LKUP_RET_SUCCESS && hop) {
		hop->key = *key;
		hop->interface_index = route->ifindex;
		hop->is_peer = is_peer_interface(route->ifindex);
		__builtin_memcpy(hop->macs, route->dmac, 6);
		__builtin_memcpy(hop->macs + 6, route->smac, 6);
		hop->until_ns = bpf_ktime_get_coarse_ns() + NEXT_HOP_MS * MILLISECONDS;
	}
	return result;
}

/* Verdicts as those of send_routed. */
static __noinline int ask_route(struct __sk_buff *skb, const struct next_hop_key *key, struct next_hop *hop)
{
	struct bpf_fib_lookup route = { .l4_protocol = key->protocol, .ifindex = key->interface_index };
	long result = look_up_route(skb, key, hop, &route);

	return send_routed(skb, &route, result);
}

/* A next hop that is young enough. */
static __always_inline int is_fresh(const struct next_hop *hop, const struct next_hop_key *key)
{
	return hop->until_ns >= bpf_ktime_get_coarse_ns() && next_hop_keys_equal(&hop->key, key);
}

/* Send the frame to where the kernel's routes lead. Verdicts as those of send_routed. */
static __always_inline int send_by_route(struct __sk_buff *skb, const struct next_hop_key *key)
{
	struct next_hop *hop = find_next_hop(key);

	if (!hop || !is_fresh(hop, key))
		return ask_route(skb, key, hop);
	if (write_macs(skb, hop->macs, hop->macs + 6))
		return CONTINUE;
	return send_out(hop->interface_index, hop->is_peer);
}

/* Send an encapsulated packet to its locator. Route lookup as seen from `interface_index`. */
static __noinline int send_to_rloc(struct __sk_buff *skb, const struct lisp_locator *locator,
				   __u32 interface_index)
{
	struct next_hop_key key = {
		.interface_index = interface_index,
		.family = locator->family,
		.protocol = IPPROTO_UDP,
	};
	int verdict;

	__builtin_memcpy(key.source, locator->source, 16);
	__builtin_memcpy(key.destination, locator->destination, 16);
	verdict = send_by_route(skb, &key);
	if (verdict == TOO_BIG_FOR_ROUTE)
		return drop(skb, LISP_DROP_TOO_BIG_FOR_ROUTE);
	return verdict == CONTINUE ? drop(skb, LISP_DROP_NO_ROUTE_TO_RLOC) : verdict;
}

/*
 * Send an inner packet towards its destination by the kernel's routes, out of `interface_index` when
 * that is not 0. CONTINUE when the kernel has no unicast route, or when the packet is too big for it:
 * up the kernel's own stack it is answered with ICMP.
 */
static __noinline int send_to_eid(struct __sk_buff *skb, const struct packet *packet,
				  __u32 interface_index)
{
	struct next_hop_key key = {
		.interface_index = packet->interface_index,
		.family = packet->family,
		.protocol = packet->protocol,
	};
	int verdict;

	if (interface_index) {
		key.interface_index = interface_index;
		key.flags = BPF_FIB_LOOKUP_OUTPUT; /* overlapping instances: only this interface's routes count */
	}
	__builtin_memcpy(key.source, packet->source.address, 16);
	__builtin_memcpy(key.destination, packet->destination.address, 16);
	verdict = send_by_route(skb, &key);
	return verdict == TOO_BIG_FOR_ROUTE ? CONTINUE : verdict;
}

#endif
