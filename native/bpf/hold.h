/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Into the hold: the packet goes out of the TAP with what must be remembered in place of its Ethernet
 * addresses. A TAP with a virtio-net header keeps GSO and partial checksums, so a held super-packet
 * comes back whole (measured).
 *
 * Order around a release is kept by gates. A packet that may have to wait is counted in first, and
 * only then its entry is read (again): a "draining" entry lets it go straight on when everything that
 * was counted in before it has left. So once the hold is empty nothing enters any more, and the hold's
 * thread can make the entry final without racing anybody.
 */
#ifndef GODWIT_HOLD_H
#define GODWIT_HOLD_H

#include "hold_gate.h"
#include "packet.h"

/* A packet counted in at its gate. */
struct gate_entry {
	struct lisp_hold_gate *gate;
	__u32 segments;
	__u32 is_behind; /* something that came earlier is still in the hold */
};

enum { MOST_SEGMENTS = 255 }; /* a byte of the hold header; above it a release settles by time */

/* How many packets the kernel makes of a super-packet if it must, exactly. */
static __always_inline __u32 count_hold_segments(struct __sk_buff *skb, const struct packet *packet)
{
	__u32 headers = ETH_HLEN + packet->header_length;
	__u32 size = skb->gso_size, count;

	if (!size)
		return 1;
	headers += packet->tcp_header_length ? packet->tcp_header_length : sizeof(struct udphdr);
	if (skb->len <= headers)
		return 1;
	count = (skb->len - headers + size - 1) / size;
	return count > MOST_SEGMENTS ? MOST_SEGMENTS : count;
}

static __always_inline void enter_gate(struct __sk_buff *skb, const struct packet *packet,
				       enum lisp_hold_purpose purpose, struct gate_entry *entry)
{
	__u32 slot = lisp_hold_gate_slot(purpose, &packet->destination);
	struct lisp_hold_gate *gate = bpf_map_lookup_elem(&hold_gates, &slot);
	__u64 before;

	entry->gate = gate;
	entry->segments = count_hold_segments(skb, packet);
	entry->is_behind = 1;
	if (!gate)
		return;
	before = __sync_fetch_and_add(&gate->entered, entry->segments);
	/* the add is a full barrier: either this sees `left` at its latest or the hold sees us */
	entry->is_behind = before != *(volatile __u64 *)&gate->left;
}

/* The packet goes another way. */
static __always_inline void step_back(const struct gate_entry *entry)
{
	if (entry->gate)
		__sync_fetch_and_add(&entry->gate->entered, -(__u64)entry->segments);
}

static __noinline int hold(struct __sk_buff *skb, const struct packet *packet, __u32 purpose_and_family,
			   const struct gate_entry *entry)
{
	const struct lisp_node_config *config = get_node_config();
	struct lisp_hold_header header = {
		.local = 0x02,
		.purpose = purpose_and_family & 0xff,
		.instance_id_be = { packet->instance_id >> 16, packet->instance_id >> 8, packet->instance_id },
		.sender_family = purpose_and_family >> 8,
		.local2 = 0x02,
		.segments = entry->segments,
		.interface_index_be = bpf_htonl(packet->nonce ? packet->nonce : packet->interface_index),
		.ethertype = get_ethertype(packet->family),
	};

	if (!config || !config->hold_interface_index ||
	    bpf_skb_store_bytes(skb, 0, &header, sizeof(header), 0)) {
		step_back(entry);
		return drop(skb, LISP_DROP_NO_HOLD);
	}
	tally(skb, LISP_TALLY_HELD);
	return bpf_redirect(config->hold_interface_index, 0);
}

#endif
