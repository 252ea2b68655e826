/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets from the core whose EID is not here, at a router that relays: an RTR sends them on by its
 * map-cache (misses wait as those of a site do), a Proxy-ETR lets out what no LISP site has (RFC 6832
 * §6). And which destinations a Proxy-ITR attracts (RFC 6832 §5).
 *
 * No packet of an EID that is here, and none of a node without these roles, comes this way. Loops end
 * by the TTL, which every relay makes one smaller, and at once when a packet would go back to the
 * router that sent it.
 */
#ifndef GODWIT_INTERWORK_H
#define GODWIT_INTERWORK_H

#include "from_core.h"
#include "translate.h"

#define LISP_NODE_RELAYS (LISP_NODE_PETR | LISP_NODE_RTR)

static __always_inline int is_attracted(const struct lisp_eid_key *eid)
{
	struct lisp_eid_prefix_key key;

	set_prefix_key(&key, eid);
	return !!bpf_map_lookup_elem(&attracted_prefixes, &key);
}

static __always_inline __u32 get_relay_flags(void)
{
	const struct lisp_node_config *config = get_node_config();

	return config ? config->flags & LISP_NODE_RELAYS : 0;
}

/* PETR: a plain packet of a LISP site to somebody without LISP. */
static __noinline int let_out(struct __sk_buff *skb, struct packet *packet)
{
	struct lisp_eid_prefix_key key;
	int verdict;

	if (!(get_relay_flags() & LISP_NODE_PETR))
		return drop(skb, LISP_DROP_NATIVE_AT_RTR);
	set_prefix_key(&key, &packet->source);
	if (!bpf_map_lookup_elem(&proxied_sites, &key))
		return drop(skb, LISP_DROP_UNPROXIED_SOURCE);
	if (packet->ttl <= 1)
		return drop(skb, LISP_DROP_TTL_EXPIRED);
	packet->ttl--;
	if (rewrite_inner(skb, ETH_HLEN, packet->family, packet->ttl, packet->traffic_class))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	tally(skb, LISP_TALLY_PROXIED);
	verdict = send_to_eid(skb, packet, 0);
	if (verdict != CONTINUE)
		return verdict;
	bpf_skb_change_type(skb, PACKET_HOST);
	return PASS;
}

static __always_inline int relay_by_entry(struct __sk_buff *skb, struct packet *packet,
					  const struct lisp_map_cache_entry *entry)
{
	switch (entry->action) {
	case LISP_MAP_CACHE_NATIVE:
	case LISP_MAP_CACHE_NATIVE_DRAINING:
		return let_out(skb, packet);
	case LISP_MAP_CACHE_DROP:
		return drop(skb, LISP_DROP_MAPPING_SAYS_DROP);
	default:
		return encapsulate(skb, packet, entry, LISP_TALLY_REENCAPSULATED);
	}
}

/* A plain packet for an EID that is not here; `family` is that of the outer header it had. */
static __noinline int relay_plain(struct __sk_buff *skb, struct packet *packet, __u32 family)
{
	struct lisp_map_cache_entry *entry;
	struct gate_entry gate;

	if (!(get_relay_flags() & LISP_NODE_RTR))
		return let_out(skb, packet);
	entry = find_mapping(packet);
	if (entry && may_go(entry, 1))
		return relay_by_entry(skb, packet, entry);
	enter_gate(skb, packet, LISP_HOLD_MAP_CACHE_MISS, &gate);
	entry = find_mapping(packet);
	if (entry && may_go(entry, gate.is_behind)) {
		step_back(&gate);
		return relay_by_entry(skb, packet, entry);
	}
	return hold(skb, packet, LISP_HOLD_MAP_CACHE_MISS | family << 8, &gate);
}

static __always_inline int goes_back(const struct outer *outer, struct packet *packet,
				     const struct lisp_map_cache_entry *entry)
{
	const struct lisp_locator *locator = choose_locator(entry, packet);

	return locator && locator->family == outer->family &&
	       addresses_equal(locator->destination, outer->source.address);
}

/* Still encapsulated, for an EID that is not here, at a router that relays. */
CHECKED_ONCE int relay_from_core(struct __sk_buff *skb, const struct outer *outer, struct packet *packet)
{
	struct lisp_map_cache_entry *entry;

	if (!outer || !packet)
		return TC_ACT_SHOT;
	if (get_relay_flags() & LISP_NODE_RTR) {
		entry = find_mapping(packet);
		if (entry && entry->action == LISP_MAP_CACHE_FORWARD) {
			if (goes_back(outer, packet, entry))
				return drop(skb, LISP_DROP_LOOP);
			return send_on(skb, outer, packet, entry);
		}
	}
	if (write_changes(skb, outer, packet) || decapsulate(skb, outer, packet, packet->family))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	return relay_plain(skb, packet, outer->family);
}

#endif
