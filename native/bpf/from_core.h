/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What becomes of a packet from the core, by the state of its EID here: deliver, hold, or send on to
 * where the EID has gone. The ways of a packet after decapsulation:
 *
 * - one packet, no TCP data: straight to the endpoint;
 * - one TCP packet with data: through a veth pair whose far end re-aggregates (GRO), because the
 *   kernel aggregates nothing behind a TC program (measured: +30 % for MTU-sized TCP);
 * - a super-packet with inner UDP: rewritten in place to VXLAN-GPE and left to the kernel's device,
 *   because bpf_skb_adjust_room leaves tunnel GSO state behind that kernels up to 6.18 drop for UDP.
 */
#ifndef GODWIT_FROM_CORE_H
#define GODWIT_FROM_CORE_H

#include "closed_receive.h"
#include "deliver.h"
#include "encapsulate.h"
#include "hold.h"

enum gro_mark {
	GRO_MARK_LOCAL = 0x02,
	GRO_MARK = 'G',
	GRO_MARK_UNRESOLVED = 'N', /* not to be aggregated: replicate.h */
	TCP_SYN_FIN_RST = 0x07,
};

/*
 * Source MAC address of a frame on the GRO pair. GRO aggregates only frames with equal Ethernet
 * headers, so the instance-ID in it keeps instances apart.
 */
struct gro_source {
	__u8 local; /* GRO_MARK_LOCAL */
	__u8 mark;  /* GRO_MARK */
	__u8 instance_id_be[3];
	__u8 sender_family;
};

/* Where the site sends an EID that is away. NULL when the map-cache does not say. */
static __always_inline struct lisp_map_cache_entry *find_away_mapping(const struct packet *packet)
{
	struct lisp_map_cache_entry *entry = bpf_map_lookup_elem(&map_cache_hosts, &packet->destination);

	if (!entry)
		return 0;
	/* draining concerns what the site itself sends; redirected packets never were in that queue */
	if (entry->action != LISP_MAP_CACHE_FORWARD && entry->action != LISP_MAP_CACHE_DRAINING)
		return 0;
	return entry;
}

/* A plain packet whose EID is away goes to where it is now. */
static __noinline int redirect_away(struct __sk_buff *skb, struct packet *packet)
{
	struct lisp_map_cache_entry *entry = find_away_mapping(packet);

	if (!entry)
		return drop(skb, LISP_DROP_AWAY_UNMAPPED);
	return encapsulate(skb, packet, entry, LISP_TALLY_REENCAPSULATED);
}

/* Into the hold, unless the endpoint has come or gone meanwhile and nothing is ahead. */
static __noinline int wait_for_endpoint(struct __sk_buff *skb, struct packet *packet, __u32 sender_family)
{
	struct lisp_local_eid *local;
	struct gate_entry gate;

	enter_gate(skb, packet, LISP_HOLD_ENDPOINT_EXPECTED, &gate);
	local = find_local_eid(&packet->destination);
	if (!local || local->state == LISP_LOCAL_EID_STANDBY ||
	    (gate.is_behind && (local->state == LISP_LOCAL_EID_DRAINING ||
				local->state == LISP_LOCAL_EID_AWAY_DRAINING)))
		return hold(skb, packet, LISP_HOLD_ENDPOINT_EXPECTED | sender_family << 8, &gate);
	step_back(&gate);
	if (is_present(local))
		return deliver(skb, packet, local);
	if (is_away(local)) {
		packet->nonce = 0; /* of the peer that it came from */
		return redirect_away(skb, packet);
	}
	return drop(skb, LISP_DROP_UNKNOWN_EID);
}

/* A plain packet from the core, by the state of its EID. */
CHECKED_ONCE int settle(struct __sk_buff *skb, struct packet *packet,
			const struct lisp_local_eid *local, __u32 sender_family)
{
	if (!packet || !local)
		return TC_ACT_SHOT;
	switch (local->state) {
	case LISP_LOCAL_EID_LOCAL:
		return deliver(skb, packet, local);
	case LISP_LOCAL_EID_STANDBY:
	case LISP_LOCAL_EID_DRAINING:
	case LISP_LOCAL_EID_AWAY_DRAINING:
		return wait_for_endpoint(skb, packet, sender_family);
	case LISP_LOCAL_EID_AWAY:
		return redirect_away(skb, packet);
	default:
		return drop(skb, LISP_DROP_UNKNOWN_EID);
	}
}

static __always_inline struct recent_sender *find_recent(const struct outer *outer,
							 const struct packet *packet)
{
	const __u32 *eid = (const __u32 *)packet->destination.address;
	const __u32 *peer = (const __u32 *)outer->source.address;
	/* where addresses differ: all of IPv4, the interface-ID and the last words of IPv6 */
	__u32 hash = mix(eid[0] ^ eid[2], eid[3] ^ peer[0]), slot;

	hash = mix(hash, peer[1] ^ peer[3]);
	slot = hash & (RECENT_SENDERS - 1);
	return bpf_map_lookup_elem(&recent_senders, &slot);
}

static __always_inline int is_recent(const struct recent_sender *recent, const struct outer *outer,
				     const struct packet *packet, __u32 type)
{
	return recent->until_ns > bpf_ktime_get_coarse_ns() && recent->key.type == type &&
	       recent->key.eid.instance_family_be == packet->destination.instance_family_be &&
	       addresses_equal(recent->key.eid.address, packet->destination.address) &&
	       addresses_equal(recent->key.peer, outer->source.address);
}

CHECKED_ONCE int report_new_sender(struct __sk_buff *skb, const struct outer *outer,
				   const struct packet *packet, __u32 type)
{
	struct recent_sender *recent;
	struct report report = {
		.type = type,
		.limit_by_peer = 1,
		.interface_index = skb->ifindex,
		.interval_ms = type == LISP_EVENT_SENDER_SEEN ? SENDER_SEEN_MS : AWAY_EID_HIT_MS,
	};

	if (!outer || !packet)
		return 0;
	report.eid = packet->destination;
	report.peer_family = outer->family;
	__builtin_memcpy(report.peer, outer->source.address, 16);
	report_event(skb, &report);
	recent = find_recent(outer, packet);
	if (!recent)
		return 0;
	recent->until_ns = 0;
	recent->key.type = type;
	recent->key.eid = report.eid;
	__builtin_memcpy(recent->key.peer, report.peer, 16);
	/* event_limits decides; a sender that it has not let through yet is asked about again soon */
	recent->until_ns = bpf_ktime_get_coarse_ns() + report.interval_ms * MILLISECONDS / RECENT_SHARE;
	return 0;
}

/* Tell the control plane which RLOC sends to this EID. */
static __always_inline void report_sender(struct __sk_buff *skb, const struct outer *outer,
					  const struct packet *packet, __u32 type)
{
	const struct recent_sender *recent = find_recent(outer, packet);

	if (!recent || !is_recent(recent, outer, packet, type))
		report_new_sender(skb, outer, packet, type);
}

/*
 * From one outer family to the other. On a super-packet bpf_skb_adjust_room cannot set the protocol
 * when it makes room again (-EALREADY with the flags that would), so it is set on the way out: with
 * the wrong protocol the next hop loses IPv4-in-IPv6 super-packets (measured, 6.18).
 */
static __noinline int send_on_other_family(struct __sk_buff *skb, const struct outer *outer,
					   struct packet *packet, __u8 next_family,
					   const struct lisp_map_cache_entry *entry)
{
	__u8 family = skb->gso_size ? next_family : packet->family;

	if (rewrite_inner(skb, ETH_HLEN + outer->overhead, packet->family, packet->ttl,
			  packet->traffic_class) ||
	    decapsulate(skb, outer, packet, family))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	return encapsulate(skb, packet, entry, LISP_TALLY_REENCAPSULATED);
}

/*
 * Still encapsulated, on to a locator of `entry`. When the new outer header has the size of the old one
 * it is overwritten: no room to change, and a super-packet keeps its GSO state as it is. The new outer
 * TTL is one less than the old one (RFC 9300 §5.3), the smaller one of which `packet` has.
 */
CHECKED_ONCE int send_on(struct __sk_buff *skb, const struct outer *outer, struct packet *packet,
			 const struct lisp_map_cache_entry *entry)
{
	const struct lisp_locator *locator;
	int verdict;

	if (!outer || !packet || !entry)
		return TC_ACT_SHOT;
	locator = choose_locator(entry, packet);
	if (!locator)
		return drop(skb, LISP_DROP_NO_LOCATOR);
	if (locator->family != outer->family)
		return send_on_other_family(skb, outer, packet, locator->family, entry);
	if (packet->ttl <= 1)
		return drop(skb, LISP_DROP_TTL_EXPIRED);
	verdict = check_size(skb, packet, locator);
	if (verdict != CONTINUE)
		return verdict;
	packet->ttl--;
	if (rewrite_inner(skb, ETH_HLEN + outer->overhead, packet->family, packet->ttl,
			  packet->traffic_class) ||
	    cut_padding(skb, ETH_HLEN + outer->overhead + packet->length))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	count_mapping(skb, entry->counter_id, packet->length);
	tally(skb, LISP_TALLY_REENCAPSULATED);
	return encapsulate_to(skb, packet, locator, ENCAPSULATE_REPLACE);
}

/* Still encapsulated, and the EID is away. */
static __always_inline int redirect_encapsulated(struct __sk_buff *skb, const struct outer *outer,
						 struct packet *packet)
{
	struct lisp_map_cache_entry *entry = find_away_mapping(packet);

	report_sender(skb, outer, packet, LISP_EVENT_AWAY_EID_HIT);
	if (!entry)
		return drop(skb, LISP_DROP_AWAY_UNMAPPED);
	return send_on(skb, outer, packet, entry);
}

/* Make it VXLAN-GPE for the kernel's device on the same port: only the 8-byte header differs. */
static __noinline int rewrite_to_gpe(struct __sk_buff *skb, const struct outer *outer,
				     const struct packet *packet)
{
	__u32 offset = ETH_HLEN + outer->overhead - sizeof(struct lisp_data_header);
	struct lisp_data_header *lisp = (void *)(long)skb->data + offset;

	if ((void *)(lisp + 1) > (void *)(long)skb->data_end)
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	lisp->flags = DATA_FLAG_INSTANCE | DATA_FLAG_GPE;
	lisp->nonce[0] = 0;
	lisp->nonce[1] = 0;
	lisp->nonce[2] = packet->family == IPV4_VERSION ? GPE_NEXT_IPV4 : GPE_NEXT_IPV6;
	lisp->instance_id_and_bits = bpf_htonl(outer->instance_id << 8);
	return PASS;
}

/* Nothing here depends on who sent a packet. */
static __always_inline int is_settled(const struct lisp_node_config *config)
{
	/* TCP has no groups */
	return (config->flags & ~LISP_NODE_MULTICAST) == LISP_NODE_SETTLED &&
	       bpf_ktime_get_coarse_ns() >= config->unsettled_until_ns;
}

/* Worth re-aggregating: TCP with data. SYN, FIN and RST go the same way, so that they stay in order. */
static __always_inline int wants_gro(const struct packet *packet)
{
	if (!packet->tcp_header_length)
		return 0;
	return packet->tcp_flags & TCP_SYN_FIN_RST ||
	       packet->length > packet->header_length + packet->tcp_header_length;
}

/* TTL and traffic class into the inner header, still behind the outer one, if they are not there. */
static __always_inline int write_changes(struct __sk_buff *skb, const struct outer *outer,
					 const struct packet *packet)
{
	/* most packets come as their sender's tunnel router left them */
	if (!packet->is_changed)
		return 0;
	return rewrite_inner(skb, ETH_HLEN + outer->overhead, packet->family, packet->ttl,
			     packet->traffic_class);
}

static __noinline int send_to_gro(struct __sk_buff *skb, __u32 instance_id, __u32 sender_family,
				  __u32 interface_index)
{
	struct gro_source source = {
		.local = GRO_MARK_LOCAL,
		.mark = GRO_MARK,
		.instance_id_be = { instance_id >> 16, instance_id >> 8, instance_id },
		.sender_family = sender_family,
	};

	/* whose EID it is is asked at the exit: any destination does, if it is always the same */
	if (write_macs(skb, (__u8 *)&source, (__u8 *)&source))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	return bpf_redirect(interface_index, 0);
}

#endif
