/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sends a finished frame to its next hop. The kernel's routing table decides, asked by
 * bpf_fib_lookup; when it knows the route but not yet the neighbour, bpf_redirect_neigh lets the
 * kernel resolve it and queue meanwhile.
 *
 * The kernel answers bpf_fib_lookup only for interfaces with forwarding enabled (ip_forward,
 * ipv6 all.forwarding): a tunnel router has that.
 */
#ifndef GODWIT_ROUTE_H
#define GODWIT_ROUTE_H

#include "packet.h"

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
 * Send the frame to where `route` points after its lookup returned `result`. CONTINUE when the kernel
 * has no unicast route (the address may be its own).
 */
static __always_inline int send_routed(struct __sk_buff *skb, struct bpf_fib_lookup *route, long result)
{
	if (result == BPF_FIB_LKUP_RET_SUCCESS) {
		if (write_macs(skb, route->dmac, route->smac))
			return CONTINUE;
		return bpf_redirect(route->ifindex, 0);
	}
	if (result == BPF_FIB_LKUP_RET_NO_NEIGH) {
		struct bpf_redir_neigh hop = { .nh_family = route->family };

		__builtin_memcpy(hop.ipv6_nh, route->ipv6_dst, 16);
		return bpf_redirect_neigh(route->ifindex, &hop, sizeof(hop), 0);
	}
	return CONTINUE;
}

/* Send an encapsulated packet to its locator. Route lookup as seen from `interface_index`. */
static __noinline int send_to_rloc(struct __sk_buff *skb, const struct lisp_locator *locator,
				   __u32 interface_index)
{
	struct bpf_fib_lookup route = { .l4_protocol = IPPROTO_UDP, .ifindex = interface_index };
	int verdict;
	long result;

	if (locator->family == IPV4_VERSION) {
		route.family = ADDRESS_FAMILY_IPV4;
		__builtin_memcpy(&route.ipv4_src, locator->source, 4);
		__builtin_memcpy(&route.ipv4_dst, locator->destination, 4);
	} else {
		route.family = ADDRESS_FAMILY_IPV6;
		__builtin_memcpy(route.ipv6_src, locator->source, 16);
		__builtin_memcpy(route.ipv6_dst, locator->destination, 16);
	}
	result = bpf_fib_lookup(skb, &route, sizeof(route), 0);
	verdict = send_routed(skb, &route, result);
	if (verdict != CONTINUE)
		return verdict;
	if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return drop(skb, LISP_DROP_PACKET_TOO_BIG);
	return drop(skb, LISP_DROP_NO_ROUTE_TO_RLOC);
}

/*
 * Send an inner packet towards its destination by the kernel's routes, out of `interface_index` when
 * that is not 0. CONTINUE when the kernel has no unicast route.
 */
static __noinline int send_to_eid(struct __sk_buff *skb, const struct packet *packet,
				  __u32 interface_index)
{
	struct bpf_fib_lookup route = { .l4_protocol = packet->protocol };
	__u32 flags = 0;

	route.ifindex = packet->interface_index;
	if (interface_index) {
		route.ifindex = interface_index;
		flags = BPF_FIB_LOOKUP_OUTPUT; /* overlapping instances: only this interface's routes count */
	}
	if (packet->family == IPV4_VERSION) {
		route.family = ADDRESS_FAMILY_IPV4;
		__builtin_memcpy(&route.ipv4_src, packet->source.address, 4);
		__builtin_memcpy(&route.ipv4_dst, packet->destination.address, 4);
	} else {
		route.family = ADDRESS_FAMILY_IPV6;
		__builtin_memcpy(route.ipv6_src, packet->source.address, 16);
		__builtin_memcpy(route.ipv6_dst, packet->destination.address, 16);
	}
	return send_routed(skb, &route, bpf_fib_lookup(skb, &route, sizeof(route), flags));
}

#endif
