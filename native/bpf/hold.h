/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Into the hold: the packet goes out of the TAP with what must be remembered in place of its Ethernet
 * addresses. A TAP with a virtio-net header keeps GSO and partial checksums, so a held super-packet
 * comes back whole (measured).
 */
#ifndef GODWIT_HOLD_H
#define GODWIT_HOLD_H

#include "packet.h"

static __noinline int hold(struct __sk_buff *skb, const struct packet *packet,
			   enum lisp_hold_purpose purpose, __u32 sender_family)
{
	const struct lisp_node_config *config = get_node_config();
	struct lisp_hold_header header = {
		.local = 0x02,
		.purpose = purpose,
		.instance_id_be = { packet->instance_id >> 16, packet->instance_id >> 8, packet->instance_id },
		.sender_family = sender_family,
		.local2 = 0x02,
		.interface_index_be = bpf_htonl(packet->interface_index),
		.ethertype = get_ethertype(packet->family),
	};

	if (!config || !config->hold_interface_index)
		return drop(skb, LISP_DROP_NO_HOLD);
	if (bpf_skb_store_bytes(skb, 0, &header, sizeof(header), 0))
		return drop(skb, LISP_DROP_NO_HOLD);
	tally(skb, LISP_TALLY_HELD);
	return bpf_redirect(config->hold_interface_index, 0);
}

#endif
