/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The ETR's half up to the plain inner packet: check the outer and the LISP header (RFC 9300 §5,
 * RFC 9305 §3), combine TTL, DSCP and ECN (RFC 9300 §5.3, RFC 6040 §4.2), take the headers off.
 *
 * N, L, E, V and their fields are ignored here: closed_receive.h reads them where they are switched on.
 * A nonce is kept for live_move.h, which believes it from the peer of a move only.
 * A UDP checksum is not verified, which RFC 9300 §5.3 leaves open.
 */
#ifndef GODWIT_DECAPSULATE_H
#define GODWIT_DECAPSULATE_H

#include "packet.h"

struct outer {
	struct lisp_rloc_key source;
	__u32 length;       /* of the outer IP packet */
	__u32 instance_id;
	__u32 nonce;        /* LISP_STAMPED and 24 bits; 0 without */
	__u8 family;
	__u8 traffic_class;
	__u8 ttl;
	__u8 next_protocol; /* RFC 9305; 0 without the P bit */
	__u8 is_gpe;
	__u8 is_group;      /* it came to a multicast address of the core */
	__u8 overhead;      /* outer IP, UDP and LISP header; a byte, so that the verifier knows a bound */
};

enum ecn {
	ECN_NOT_ECT = 0,
	ECN_ECT1 = 1,
	ECN_ECT0 = 2,
	ECN_CE = 3,
	ECN_MASK = 3,
};

static __always_inline int is_own_rloc(const struct lisp_rloc_key *address)
{
	__u32 key = 0;
	const struct lisp_own_rlocs *own = bpf_map_lookup_elem(&own_rlocs, &key);

	if (!own)
		return 0;
	for (__u32 i = 0; i < LISP_MAXIMUM_RLOCS; i++) {
		if (i >= own->count)
			return 0;
		if (own->rlocs[i].family == address->family &&
		    addresses_equal(own->rlocs[i].address, address->address))
			return 1;
	}
	return 0;
}

/* A multicast address of the core that is carried to us: what is inside decides (RFC 6831 §8.2). */
static __always_inline int is_core_group(struct __sk_buff *skb, const struct lisp_rloc_key *to)
{
	const struct lisp_node_config *config;

	if (skb->pkt_type != PACKET_MULTICAST)
		return 0;
	if (to->family == IPV4_VERSION ? (to->address[0] & 0xf0) != 0xe0 : to->address[0] != 0xff)
		return 0;
	config = get_node_config();
	return config && config->flags & LISP_NODE_MULTICAST;
}

/* UDP and LISP header. `length` is what the IP header leaves for UDP. */
static __always_inline int parse_lisp_header(struct __sk_buff *skb, struct udphdr *udp, __u32 length,
					     struct outer *outer)
{
	struct lisp_data_header *lisp = (void *)(udp + 1);
	__u32 udp_length = bpf_ntohs(udp->len);
	__u32 instance = bpf_ntohl(lisp->instance_id_and_bits) >> 8;

	if (!skb->gso_size) {
		if (udp_length > length || udp_length < sizeof(*udp) + sizeof(*lisp))
			return drop(skb, LISP_DROP_MALFORMED_OUTER);
		if (outer->length < outer->overhead || outer->length + ETH_HLEN > skb->len)
			return drop(skb, LISP_DROP_MALFORMED_OUTER);
	}
	if (lisp->flags & DATA_FLAG_KEY)
		return drop(skb, LISP_DROP_MALFORMED_OUTER);
	outer->instance_id = lisp->flags & DATA_FLAG_INSTANCE ? instance : 0;
	if ((lisp->flags & (DATA_FLAG_NONCE | DATA_FLAG_GPE)) == DATA_FLAG_NONCE)
		outer->nonce = LISP_STAMPED | (__u32)lisp->nonce[0] << 16 |
			       (__u32)lisp->nonce[1] << 8 | lisp->nonce[2];
	outer->is_gpe = !!(lisp->flags & DATA_FLAG_GPE);
	outer->next_protocol = outer->is_gpe ? lisp->nonce[2] : 0;
	return CONTINUE;
}

static __always_inline int parse_outer_ipv4(struct __sk_buff *skb, struct outer *outer)
{
	struct lisp_rloc_key own = { .family = IPV4_VERSION };
	struct outer_ipv4 *headers;

	if (pull_headers(skb, ETH_HLEN + sizeof(*headers)))
		return PASS;
	headers = (void *)(long)skb->data + ETH_HLEN;
	if ((void *)(headers + 1) > (void *)(long)skb->data_end)
		return PASS;
	if (headers->ip.protocol != IPPROTO_UDP || headers->udp.dest != bpf_htons(LISP_DATA_PORT))
		return PASS;
	/* options and fragments are the kernel's business */
	if (headers->ip.ihl != 5 || headers->ip.frag_off & bpf_htons(IPV4_FRAGMENT_MASK))
		return PASS;
	__builtin_memcpy(own.address, &headers->ip.daddr, 4);
	if (!is_own_rloc(&own)) {
		if (!is_core_group(skb, &own))
			return PASS;
		outer->is_group = 1;
	}
	outer->family = IPV4_VERSION;
	outer->source.family = IPV4_VERSION;
	__builtin_memcpy(outer->source.address, &headers->ip.saddr, 4);
	outer->length = bpf_ntohs(headers->ip.tot_len);
	outer->overhead = sizeof(*headers);
	outer->traffic_class = headers->ip.tos;
	outer->ttl = headers->ip.ttl;
	return parse_lisp_header(skb, &headers->udp, outer->length - sizeof(struct iphdr), outer);
}

static __always_inline int parse_outer_ipv6(struct __sk_buff *skb, struct outer *outer)
{
	struct lisp_rloc_key own = { .family = IPV6_VERSION };
	struct outer_ipv6 *headers;

	if (pull_headers(skb, ETH_HLEN + sizeof(*headers)))
		return PASS;
	headers = (void *)(long)skb->data + ETH_HLEN;
	if ((void *)(headers + 1) > (void *)(long)skb->data_end)
		return PASS;
	if (headers->ip.nexthdr != IPPROTO_UDP || headers->udp.dest != bpf_htons(LISP_DATA_PORT))
		return PASS;
	__builtin_memcpy(own.address, &headers->ip.daddr, 16);
	if (!is_own_rloc(&own)) {
		if (!is_core_group(skb, &own))
			return PASS;
		outer->is_group = 1;
	}
	outer->family = IPV6_VERSION;
	outer->source.family = IPV6_VERSION;
	__builtin_memcpy(outer->source.address, &headers->ip.saddr, 16);
	outer->length = bpf_ntohs(headers->ip.payload_len) + sizeof(struct ipv6hdr);
	outer->overhead = sizeof(*headers);
	outer->traffic_class = bpf_ntohs(*(__be16 *)&headers->ip) >> 4;
	outer->ttl = headers->ip.hop_limit;
	return parse_lisp_header(skb, &headers->udp, outer->length - sizeof(struct ipv6hdr), outer);
}

/* PASS when the packet is not LISP data for us, CONTINUE when `outer` is filled in. */
static __noinline int parse_outer(struct __sk_buff *skb, struct outer *outer)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return parse_outer_ipv4(skb, outer);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return parse_outer_ipv6(skb, outer);
	return PASS;
}

/* The inner packet behind `outer`; interface_index is filled in. CONTINUE or a drop. */
static __noinline int parse_inner(struct __sk_buff *skb, const struct outer *outer, struct packet *packet)
{
	__u8 expected;

	if (parse_packet(skb, ETH_HLEN + outer->overhead, outer->instance_id, packet))
		return drop(skb, LISP_DROP_MALFORMED_INNER);
	if (!skb->gso_size && packet->length + outer->overhead > outer->length)
		return drop(skb, LISP_DROP_MALFORMED_INNER);
	expected = packet->family == IPV4_VERSION ? GPE_NEXT_IPV4 : GPE_NEXT_IPV6;
	if (outer->is_gpe && outer->next_protocol != expected)
		return drop(skb, LISP_DROP_UNSUPPORTED_GPE);
	packet->interface_index = skb->ifindex;
	return CONTINUE;
}

/*
 * RFC 6040 figure 4, and DSCP (uniform model; RFC 9305 §4.2: with the P bit the inner DSCP stays).
 * Writes the result into `packet`; CONTINUE or a drop.
 */
static __always_inline int combine_with_outer(struct __sk_buff *skb, const struct outer *outer,
					      struct packet *packet)
{
	__u8 dscp = (outer->is_gpe ? packet->traffic_class : outer->traffic_class) & ~ECN_MASK;
	__u8 inner_ecn = packet->traffic_class & ECN_MASK;
	__u8 outer_ecn = outer->traffic_class & ECN_MASK;
	__u8 traffic_class, ttl = packet->ttl;

	if (inner_ecn == ECN_NOT_ECT && outer_ecn == ECN_CE)
		return drop(skb, LISP_DROP_ECN_NOT_ECT_MARKED);
	if ((inner_ecn == ECN_NOT_ECT && outer_ecn != ECN_NOT_ECT) ||
	    (inner_ecn == ECN_CE && outer_ecn == ECN_ECT1))
		tally(skb, LISP_TALLY_ECN_CORRECTED);
	if (inner_ecn != ECN_NOT_ECT && outer_ecn == ECN_CE)
		inner_ecn = ECN_CE;
	else if (inner_ecn == ECN_ECT0 && outer_ecn == ECN_ECT1)
		inner_ecn = ECN_ECT1;
	traffic_class = dscp | inner_ecn;
	if (outer->ttl < ttl)
		ttl = outer->ttl;
	packet->is_changed = traffic_class != packet->traffic_class || ttl != packet->ttl;
	packet->traffic_class = traffic_class;
	packet->ttl = ttl;
	return CONTINUE;
}

/*
 * Take the outer headers off. 0, or -1. `family` is what the kernel shall think of the rest: that of
 * the inner packet, or of the outer header that is about to be put in front of a super-packet.
 */
static __noinline int strip(struct __sk_buff *skb, __u8 overhead, __u32 length, __u8 family)
{
	struct ethhdr *ethernet = (void *)(long)skb->data;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;

	if ((void *)(ethernet + 1) > (void *)(long)skb->data_end)
		return -1;
	ethernet->h_proto = get_ethertype(family);
	flags |= family == IPV4_VERSION ? ADJUST_DECAP_IPV4 : ADJUST_DECAP_IPV6;
	if (bpf_skb_adjust_room(skb, -(__s32)overhead, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	if (length && cut_padding(skb, ETH_HLEN + length))
		return -1;
	return 0;
}

static __always_inline int take_off(struct __sk_buff *skb, __u8 overhead, __u32 length, __u8 family)
{
	if (strip(skb, overhead, length, family))
		return -1;
	tally(skb, LISP_TALLY_DECAPSULATED);
	return 0;
}

static __always_inline int decapsulate(struct __sk_buff *skb, const struct outer *outer,
				       const struct packet *packet, __u8 family)
{
	return take_off(skb, outer->overhead, packet->length, family);
}

#endif
