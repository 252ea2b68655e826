/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The last step of the ETR: an inner packet (frame with the IP header at ETH_HLEN) to its endpoint.
 */
#ifndef GODWIT_DELIVER_H
#define GODWIT_DELIVER_H

#include "lookup.h"
#include "route.h"

/*
 * To the MAC address that the endpoint was seen with, otherwise by the kernel's routes and neighbours.
 * Addresses of this machine (no unicast route) go up its own stack.
 */
static __noinline int deliver(struct __sk_buff *skb, const struct packet *packet,
			      const struct lisp_local_eid *local)
{
	__u32 interface_index = local->interface_index;
	struct lisp_site_interface *interface;
	int verdict;

	count_mapping(skb, local->counter_id, skb->len - ETH_HLEN);
	if (local->flags & LISP_LOCAL_EID_MAC_KNOWN) {
		interface = bpf_map_lookup_elem(&site_interfaces, &interface_index);
		if (!interface)
			return drop(skb, LISP_DROP_NO_SITE_INTERFACE);
		if (write_macs(skb, local->mac, interface->mac))
			return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
		return send_out(interface_index, interface->flags & LISP_SITE_PEER);
	}
	verdict = send_to_eid(skb, packet, interface_index);
	if (verdict != CONTINUE)
		return verdict;
	bpf_skb_change_type(skb, PACKET_HOST);
	return PASS;
}

#endif
