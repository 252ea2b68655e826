/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * LISP-NAT (RFC 6832 §7): where packets leave a site natively their source is replaced by a routable
 * one, and where they come back their destination. Stateless and one to one: the first bits of the
 * address change, the rest and the ports stay.
 *
 * The packet that an ICMP error quotes is translated too, or path MTU discovery would not work through
 * it; other addresses in payloads are not. What has a checksum over the addresses at a place that is
 * not known (IPv6 behind extension headers) is dropped and counted.
 */
#ifndef GODWIT_TRANSLATE_H
#define GODWIT_TRANSLATE_H

#include "lookup.h"

enum checksum_places {
	TCP_CHECKSUM = 16,
	UDP_CHECKSUM = 6,
	ICMPV6_CHECKSUM = 2,
	NO_CHECKSUM = -1,
	UNKNOWN_CHECKSUM = -2,
	IPV4_FRAGMENT_OFFSET = 0x1fff,
	IPV4_CHECKSUM = 10,
	IPV4_SOURCE = 12,
	IPV4_DESTINATION = 16,
	IPV6_SOURCE = 8,
	IPV6_DESTINATION = 24,
	ICMP_QUOTE = 8, /* behind type, code, checksum and four more bytes */
	PROTOCOL_GRE = 47,
	PROTOCOL_ESP = 50,
	PROTOCOL_ICMPV6 = 58,
	PROTOCOL_NONE = 59,
};

/* Where behind the IP header a checksum covers the addresses. */
static __always_inline int find_checksum(const struct packet *packet)
{
	switch (packet->protocol) {
	case IPPROTO_TCP:
		return TCP_CHECKSUM;
	case IPPROTO_UDP:
		return UDP_CHECKSUM;
	case IPPROTO_ICMP:
	case PROTOCOL_GRE:
	case PROTOCOL_ESP:
	case PROTOCOL_NONE:
	case IPPROTO_SCTP:
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
		return NO_CHECKSUM;
	case PROTOCOL_ICMPV6:
		return packet->family == IPV6_VERSION ? ICMPV6_CHECKSUM : NO_CHECKSUM;
	default:
		return packet->family == IPV4_VERSION ? NO_CHECKSUM : UNKNOWN_CHECKSUM;
	}
}

/* Whether the transport header is in an earlier fragment. */
static __always_inline int is_later_fragment(struct __sk_buff *skb, const struct packet *packet)
{
	__be16 fragment = 0;

	if (packet->family != IPV4_VERSION || !packet->is_fragment)
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + 6, &fragment, 2))
		return 0;
	return !!(fragment & bpf_htons(IPV4_FRAGMENT_OFFSET));
}

static __always_inline void apply_translation(const struct lisp_translation *translation, __u32 *address)
{
	const __u32 *to = (const __u32 *)translation->address;
	__u32 length = translation->mask_length;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		__u32 mask = length >= 32 ? ~0U : length ? bpf_htonl(~0U << (32 - (length & 31))) : 0;

		address[i] = (to[i] & mask) | (address[i] & ~mask);
		length = length > 32 ? length - 32 : 0;
	}
}

/* Whether it is an ICMP error: the types of RFC 792 and RFC 4443 that quote a packet. */
static __always_inline int is_icmp_error(struct __sk_buff *skb, const struct packet *packet, __u32 offset)
{
	__u8 type = 0;

	if (packet->protocol != (packet->family == IPV4_VERSION ? IPPROTO_ICMP : PROTOCOL_ICMPV6) ||
	    is_later_fragment(skb, packet) || bpf_skb_load_bytes(skb, offset, &type, 1))
		return 0;
	if (packet->family == IPV6_VERSION)
		return type >= 1 && type <= 4;
	return type == 3 || type == 11 || type == 12;
}

/*
 * An ICMP error quotes a packet that went the other way, with `before` at `place` of its IP header. In
 * IPv4 the quoted header has a checksum over it, so that the sum of the message stays as it is. What is
 * not quoted in full is left alone.
 */
static __noinline void translate_quote(struct __sk_buff *skb, const struct packet *packet, __u32 *before,
				       __u32 *after, __u32 place)
{
	__u32 message = ETH_HLEN + (packet->header_length & 0x3c), quote = message + ICMP_QUOTE;
	__u32 size = packet->family == IPV4_VERSION ? 4 : 16;
	__u32 quoted[4] = {};
	__s64 difference;

	if (!is_icmp_error(skb, packet, message))
		return;
	if (size == 4 ? bpf_skb_load_bytes(skb, quote + place, quoted, 4) :
			bpf_skb_load_bytes(skb, quote + place, quoted, 16))
		return;
	if (!addresses_equal(quoted, before))
		return;
	difference = bpf_csum_diff(before, 16, after, 16, 0);
	if (difference < 0)
		return;
	if (size == 4) {
		if (!bpf_l3_csum_replace(skb, quote + IPV4_CHECKSUM, 0, difference, 0))
			bpf_skb_store_bytes(skb, quote + place, after, 4, 0);
	} else if (!bpf_l4_csum_replace(skb, message + ICMPV6_CHECKSUM, 0, difference, 0)) {
		bpf_skb_store_bytes(skb, quote + place, after, 16, 0);
	}
}

enum translated_end { TRANSLATE_SOURCE, TRANSLATE_DESTINATION };

static __always_inline __u32 find_address(const struct packet *packet, enum translated_end end)
{
	if (packet->family == IPV4_VERSION)
		return end == TRANSLATE_SOURCE ? IPV4_SOURCE : IPV4_DESTINATION;
	return end == TRANSLATE_SOURCE ? IPV6_SOURCE : IPV6_DESTINATION;
}

/* Replace one address of the IP header, and correct every checksum over it. 0 or -1. */
static __noinline int translate(struct __sk_buff *skb, struct packet *packet,
				const struct lisp_translation *translation, enum translated_end end)
{
	struct lisp_eid_key *eid = end == TRANSLATE_SOURCE ? &packet->source : &packet->destination;
	__u32 place = find_address(packet, end);
	__u32 before[4], after[4], offset;
	int checksum = find_checksum(packet);
	__s64 difference;

	__builtin_memcpy(before, eid->address, 16);
	__builtin_memcpy(after, eid->address, 16);
	apply_translation(translation, after);
	difference = bpf_csum_diff(before, 16, after, 16, 0);
	if (checksum == UNKNOWN_CHECKSUM || difference < 0)
		return -1;
	if (checksum != NO_CHECKSUM && !is_later_fragment(skb, packet)) {
		__u64 flags = BPF_F_PSEUDO_HDR;

		if (checksum == UDP_CHECKSUM)
			flags |= BPF_F_MARK_MANGLED_0; /* no checksum stays no checksum */
		offset = ETH_HLEN + (packet->header_length & 0x3c) + checksum;
		if (bpf_l4_csum_replace(skb, offset, 0, difference, flags))
			return -1;
	}
	if (packet->family == IPV4_VERSION) {
		if (bpf_l3_csum_replace(skb, ETH_HLEN + IPV4_CHECKSUM, 0, difference, 0) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN + place, after, 4, 0))
			return -1;
	} else if (bpf_skb_store_bytes(skb, ETH_HLEN + place, after, 16, 0)) {
		return -1;
	}
	/* it went the other way */
	translate_quote(skb, packet, before, after,
			find_address(packet, end == TRANSLATE_SOURCE ? TRANSLATE_DESTINATION : TRANSLATE_SOURCE));
	__builtin_memcpy(eid->address, after, 16);
	tally(skb, LISP_TALLY_TRANSLATED);
	return 0;
}

/* A plain packet of the site that leaves natively. PASS or a drop. */
static __noinline int translate_source(struct __sk_buff *skb, struct packet *packet)
{
	const struct lisp_node_config *config = get_node_config();
	struct lisp_translation *translation;
	struct lisp_eid_prefix_key key;
	struct lisp_local_eid *local;

	if (!config || !(config->flags & LISP_NODE_NAT))
		return PASS;
	local = find_local_eid(&packet->destination);
	if (local && is_present(local))
		return PASS; /* it does not leave */
	set_prefix_key(&key, &packet->source);
	translation = bpf_map_lookup_elem(&nat_inside, &key);
	if (!translation)
		return PASS;
	if (translate(skb, packet, translation, TRANSLATE_SOURCE))
		return drop(skb, LISP_DROP_UNTRANSLATABLE);
	return PASS;
}

/* Something from the core that is not LISP data for us. PASS or a drop. */
static __noinline int translate_destination(struct __sk_buff *skb)
{
	struct lisp_translation *translation;
	struct lisp_eid_prefix_key key;
	struct packet packet = {};

	if (skb->pkt_type != PACKET_HOST || pull_packet(skb, ETH_HLEN))
		return PASS;
	if (parse_packet(skb, ETH_HLEN, 0, &packet) || skb->protocol != get_ethertype(packet.family))
		return PASS;
	set_prefix_key(&key, &packet.destination);
	translation = bpf_map_lookup_elem(&nat_outside, &key);
	if (!translation)
		return PASS;
	if (translate(skb, &packet, translation, TRANSLATE_DESTINATION))
		return drop(skb, LISP_DROP_UNTRANSLATABLE);
	return PASS;
}

#endif
