/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The copies of one packet to a group: out of interfaces of the site, and to RLOCs. One step a copy, so
 * that the verifier looks at each kind once and the work of a packet is bounded by the entry's counts.
 *
 * A clone leaves at once and can not be held for a neighbour whose MAC address is still unknown
 * (bpf_redirect_neigh takes the packet itself): it takes a turn through the GRO pair, at whose exit it is a
 * packet of its own. So the first packet reaches every RLOC, too.
 */
#ifndef GODWIT_COPY_H
#define GODWIT_COPY_H

#include "from_core.h"

enum {
	SET_SHIFT = 3, /* LISP_MAXIMUM_LOCATORS of a set */
	LONGEST_OVERHEAD_MASK = 63, /* of outer headers: a bound that the verifier can see */
};
_Static_assert(1 << SET_SHIFT == LISP_MAXIMUM_LOCATORS, "locators of a set");
_Static_assert(sizeof(struct outer_ipv6) <= LONGEST_OVERHEAD_MASK, "outer headers");

/* All copies have left as clones: nothing is lost with the packet itself, so it is not counted. */
#define CONSUMED TC_ACT_SHOT

/* A packet on its way to many. */
struct copying {
	struct __sk_buff *skb;
	struct packet *packet; /* with TTL and traffic class as they stand in the inner header */
	const struct lisp_replication *entry;
	const struct lisp_rloc_key *sender; /* the RLOC that it came from; NULL: the site */
	__u32 arrival;  /* the interface of the site that it came from; 0: the core */
	__u32 overhead; /* of the outer headers that are in front of it now */
	__u32 copies;   /* to RLOCs */
	enum encapsulation_mode mode;
	int verdict;    /* begins as CONSUMED */
};

/* Group addresses as MAC addresses: RFC 1112 §6.4, RFC 2464 §7. */
static __always_inline void set_group_mac(__u8 *mac, const __u8 *group, __u8 family)
{
	if (family == IPV4_VERSION) {
		mac[0] = 0x01;
		mac[1] = 0x00;
		mac[2] = 0x5e;
		mac[3] = group[1] & 0x7f;
		mac[4] = group[2];
		mac[5] = group[3];
	} else {
		mac[0] = 0x33;
		mac[1] = 0x33;
		__builtin_memcpy(mac + 2, group + 12, 4);
	}
}

/* bpf_loop: one more copy, out of the interface with this index in the entry. */
static long copy_to_segment(__u32 index, struct copying *work)
{
	struct __sk_buff *skb = work->skb;
	__u32 interface_index = work->entry->interfaces[index & (LISP_MAXIMUM_GROUP_INTERFACES - 1)];
	struct lisp_site_interface *site;
	__u8 mac[6];

	if (interface_index == work->arrival)
		return 0;
	site = bpf_map_lookup_elem(&site_interfaces, &interface_index);
	if (!site || site->instance_id != work->packet->instance_id) {
		drop(skb, LISP_DROP_NO_SITE_INTERFACE);
		return 0;
	}
	set_group_mac(mac, work->packet->destination.address, work->packet->family);
	if (write_macs(skb, mac, site->mac) || bpf_clone_redirect(skb, interface_index, 0))
		drop(skb, LISP_DROP_GROUP_COPY_FAILED);
	else
		tally(skb, LISP_TALLY_GROUP_DELIVERED);
	return 0;
}

static __always_inline void copy_to_segments(struct copying *work)
{
	if (work->entry->interface_count)
		bpf_loop(work->entry->interface_count, copy_to_segment, work, 0);
}

/* Outer headers of the family of the next copy: where others are in front, these go first. 0, or -1. */
static __noinline int change_room(struct copying *work, const struct lisp_locator *locator)
{
	struct __sk_buff *skb = work->skb;
	__u8 family = skb->gso_size ? locator->family : work->packet->family;

	if (work->overhead) {
		if (strip(skb, work->overhead & LONGEST_OVERHEAD_MASK, 0, family))
			return -1;
		work->mode = ENCAPSULATE_AGAIN;
	}
	work->overhead = 0;
	if (make_room(skb, locator, work->mode))
		return -1;
	work->overhead = get_overhead(locator);
	return 0;
}

static __always_inline void set_next_hop_key(struct next_hop_key *key, const struct lisp_locator *locator,
					     __u32 interface_index)
{
	key->interface_index = interface_index;
	key->family = locator->family;
	key->protocol = IPPROTO_UDP;
	__builtin_memcpy(key->source, locator->source, 16);
	__builtin_memcpy(key->destination, locator->destination, 16);
}

/* No neighbour yet: a clone through the GRO pair, to send_unresolved. 0, or -1. */
static __noinline int clone_unresolved(struct __sk_buff *skb)
{
	const struct lisp_node_config *config = get_node_config();
	struct gro_source source = { .local = GRO_MARK_LOCAL, .mark = GRO_MARK_UNRESOLVED };

	if (!config || !config->gro_entry_interface_index ||
	    write_macs(skb, (__u8 *)&source, (__u8 *)&source))
		return -1;
	return bpf_clone_redirect(skb, config->gro_entry_interface_index, 0) ? -1 : 0;
}

/* A clone of the finished frame to the next hop of its RLOC. 0, or -1. */
static __noinline int clone_to_next_hop(struct __sk_buff *skb, const struct lisp_locator *locator,
					__u32 interface_index)
{
	struct next_hop_key key = {};
	struct next_hop *hop;
	long result;

	set_next_hop_key(&key, locator, interface_index);
	hop = find_next_hop(&key);
	if (!hop)
		return -1;
	if (!is_fresh(hop, &key)) {
		struct bpf_fib_lookup route = { .l4_protocol = IPPROTO_UDP, .ifindex = interface_index };

		result = look_up_route(skb, &key, hop, &route);
		if (result == BPF_FIB_LKUP_RET_NO_NEIGH)
			return clone_unresolved(skb);
		if (result != BPF_FIB_LKUP_RET_SUCCESS)
			return -1;
	}
	if (write_macs(skb, hop->macs, hop->macs + 6))
		return -1;
	return bpf_clone_redirect(skb, hop->interface_index, 0) ? -1 : 0;
}

/* At the exit of the GRO pair: the kernel finds the neighbour, and keeps the packet meanwhile. */
static __noinline int send_unresolved(struct __sk_buff *skb)
{
	struct lisp_locator to = {};
	__u32 at = ETH_HLEN;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		to.family = IPV4_VERSION;
		at += offsetof(struct iphdr, saddr);
		if (bpf_skb_load_bytes(skb, at, to.source, 4) ||
		    bpf_skb_load_bytes(skb, at + 4, to.destination, 4))
			return drop(skb, LISP_DROP_GROUP_COPY_FAILED);
	} else {
		to.family = IPV6_VERSION;
		at += offsetof(struct ipv6hdr, saddr);
		if (bpf_skb_load_bytes(skb, at, to.source, 16) ||
		    bpf_skb_load_bytes(skb, at + 16, to.destination, 16))
			return drop(skb, LISP_DROP_GROUP_COPY_FAILED);
	}
	return send_to_rloc(skb, &to, skb->ifindex);
}

static __always_inline int goes_back_to(const struct lisp_rloc_key *sender, const struct lisp_locator *locator)
{
	return sender && sender->family == locator->family &&
	       addresses_equal(sender->address, locator->destination);
}

/*
 * A finished frame to a group of the core (RFC 6831 §8.1): out of the interface of our RLOC in it. The
 * interface, or 0 when that RLOC is ours no more.
 */
static __noinline __u32 address_to_core(struct __sk_buff *skb, const struct lisp_locator *locator)
{
	struct lisp_rloc_key own = { .family = locator->family };
	struct lisp_rloc_interface *interface;
	__u8 mac[6];

	__builtin_memcpy(own.address, locator->source, 16);
	interface = bpf_map_lookup_elem(&rloc_interfaces, &own);
	set_group_mac(mac, locator->destination, locator->family);
	if (!interface || write_macs(skb, mac, interface->mac))
		return 0;
	return interface->interface_index;
}

static __always_inline int clone_to_locator(struct __sk_buff *skb, const struct lisp_locator *locator,
					    __u32 interface_index)
{
	if (!(locator->flags & LISP_LOCATOR_GROUP))
		return clone_to_next_hop(skb, locator, interface_index);
	interface_index = address_to_core(skb, locator);
	return !interface_index || bpf_clone_redirect(skb, interface_index, 0) ? -1 : 0;
}

/* The packet itself. bpf_redirect_neigh drops frames that still have the MAC address of a group. */
static __noinline int send_last(struct __sk_buff *skb, const struct lisp_locator *locator,
				__u32 interface_index)
{
	__u8 none[6] = {};

	if (locator->flags & LISP_LOCATOR_GROUP) {
		interface_index = address_to_core(skb, locator);
		return interface_index ? bpf_redirect(interface_index, 0) :
					 drop(skb, LISP_DROP_NO_ROUTE_TO_RLOC);
	}
	if (write_macs(skb, none, none))
		return drop(skb, LISP_DROP_ENCAPSULATION_FAILED);
	return send_to_rloc(skb, locator, interface_index);
}

/* bpf_loop: one more copy, to the RLOC with this index in the entry. The last one is the packet itself. */
static long copy_to_rloc(__u32 index, struct copying *work)
{
	struct __sk_buff *skb = work->skb;
	__u32 set_id = work->entry->set_ids[index >> SET_SHIFT & (LISP_COPY_SETS - 1)];
	struct lisp_locator_set *set = bpf_map_lookup_elem(&locator_sets, &set_id);
	const struct lisp_locator *locator;

	if (!set) {
		drop(skb, LISP_DROP_GROUP_COPY_FAILED);
		return 0;
	}
	locator = &set->locators[index & (LISP_MAXIMUM_LOCATORS - 1)];
	if (goes_back_to(work->sender, locator))
		return 0;
	if (get_wire_length(skb, work->packet) + get_overhead(locator) > locator->path_mtu) {
		drop(skb, LISP_DROP_GROUP_COPY_TOO_BIG);
		return 0;
	}
	if (work->overhead != get_overhead(locator) && change_room(work, locator)) {
		work->verdict = drop(skb, LISP_DROP_ENCAPSULATION_FAILED);
		return 1; /* nobody knows what stands in front of it now */
	}
	if (write_outer(skb, locator, work->packet)) {
		drop(skb, LISP_DROP_GROUP_COPY_FAILED);
		return 0;
	}
	if (index + 1 == work->copies) {
		work->verdict = send_last(skb, locator, work->packet->interface_index);
		if (work->verdict != TC_ACT_SHOT)
			tally(skb, LISP_TALLY_GROUP_COPY);
	} else if (clone_to_locator(skb, locator, work->packet->interface_index)) {
		drop(skb, LISP_DROP_GROUP_COPY_FAILED);
	} else {
		tally(skb, LISP_TALLY_GROUP_COPY);
	}
	return 0;
}

static __always_inline void copy_to_rlocs(struct copying *work)
{
	hash_flow(work->packet);
	if (work->copies)
		bpf_loop(work->copies, copy_to_rloc, work, 0);
}

#endif
