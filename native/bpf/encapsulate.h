/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The ITR's half: choose a locator, check the size, put the outer headers in front (RFC 9300 §5, §7.1,
 * RFC 6040 normal mode), send. GSO packets stay whole; the segment size decides whether they fit.
 *
 * What does not fit in the path to the locator, as user space has put it, is dropped and reported. IPv4
 * without DF is split in two by user space (RFC 9300 §7.1), again if a half does not fit either; more of
 * that than the limit allows is dropped and reported like the rest.
 */
#ifndef GODWIT_ENCAPSULATE_H
#define GODWIT_ENCAPSULATE_H

#include "closed_send.h"
#include "hold.h"
#include "report.h"
#include "route.h"

enum encapsulation_mode {
	ENCAPSULATE_NEW,       /* a plain inner packet from the site or the hold */
	ENCAPSULATE_REPLACE,   /* overwrite the outer header of the same size that is there */
	ENCAPSULATE_AGAIN,     /* just decapsulated: a super-packet still carries tunnel GSO state */
};

/* The locator of this flow: constant as long as the set is (RFC 9300 §12). NULL when there is none. */
static __always_inline const struct lisp_locator *choose_locator(const struct lisp_map_cache_entry *entry,
								 struct packet *packet)
{
	__u32 set_id = entry->locator_set_id;
	struct lisp_locator_set *set = bpf_map_lookup_elem(&locator_sets, &set_id);
	__u32 index;

	if (!set || !set->count)
		return 0;
	hash_flow(packet);
	/* not the bits of the source port: ECMP in the core and locators must choose independently */
	index = set->buckets[(packet->flow_hash >> 20) & (LISP_LOCATOR_BUCKETS - 1)];
	return &set->locators[index & (LISP_MAXIMUM_LOCATORS - 1)];
}

/* Size of one packet on the wire before encapsulation, from its IP header. */
static __always_inline __u32 get_wire_length(struct __sk_buff *skb, const struct packet *packet)
{
	__u32 transport = sizeof(struct udphdr);

	if (!skb->gso_size)
		return packet->length;
	if (packet->tcp_header_length)
		transport = packet->tcp_header_length;
	else if (packet->protocol != IPPROTO_UDP)
		transport = 60; /* behind IPv6 extension headers: the largest it can be */
	return skb->gso_size + packet->header_length + transport;
}

/* UDP destination port of the IP packet at `offset`, 0 when it is not UDP; `next` = offset behind UDP. */
static __noinline __u32 read_udp_port(struct __sk_buff *skb, __u32 offset, __u32 *next)
{
	__u8 header[40] = {};
	__be16 port;
	__u32 length;

	if (bpf_skb_load_bytes(skb, offset, header, 20))
		return 0;
	if (header[0] >> 4 == IPV4_VERSION) {
		if (header[9] != IPPROTO_UDP)
			return 0;
		length = (header[0] & 15) * 4;
	} else {
		if (header[6] != IPPROTO_UDP)
			return 0;
		length = sizeof(struct ipv6hdr);
	}
	if (bpf_skb_load_bytes(skb, offset + length + 2, &port, 2))
		return 0;
	*next = offset + length + sizeof(struct udphdr);
	return bpf_ntohs(port);
}

/* RFC 9300 §3: at most two LISP headers on a packet. True when ours would be the third. */
static __noinline int has_two_lisp_headers(struct __sk_buff *skb, __u32 offset)
{
	__u32 next = 0;

	if (read_udp_port(skb, offset, &next) != LISP_DATA_PORT)
		return 0;
	return read_udp_port(skb, next + sizeof(struct lisp_data_header), &next) == LISP_DATA_PORT;
}

static __always_inline void write_lisp_header(struct lisp_data_header *lisp,
					      const struct lisp_locator *locator,
					      const struct packet *packet)
{
	__u8 next_protocol = packet->family == IPV4_VERSION ? GPE_NEXT_IPV4 : GPE_NEXT_IPV6;
	int gpe = locator->flags & LISP_LOCATOR_GPE;

	lisp->flags = gpe ? DATA_FLAG_INSTANCE | DATA_FLAG_GPE : DATA_FLAG_INSTANCE;
	lisp->nonce[0] = 0;
	lisp->nonce[1] = 0;
	lisp->nonce[2] = gpe ? next_protocol : 0;
	if (packet->nonce && !gpe) {
		lisp->flags |= DATA_FLAG_NONCE;
		lisp->nonce[0] = packet->nonce >> 16;
		lisp->nonce[1] = packet->nonce >> 8;
		lisp->nonce[2] = packet->nonce;
	}
	lisp->instance_id_and_bits = bpf_htonl(packet->instance_id << 8);
}

/* Zero checksum (RFC 9300 §5.3). A super-packet above 64 KB says 0: its length is that of the skb. */
static __always_inline void write_udp_header(struct udphdr *udp, const struct packet *packet, __u32 length)
{
	udp->source = bpf_htons(SOURCE_PORT_BASE | (packet->flow_hash & SOURCE_PORT_MASK));
	udp->dest = bpf_htons(LISP_DATA_PORT);
	udp->len = bpf_htons(length > 0xffff ? 0 : length);
	udp->check = 0;
}

static __always_inline int write_outer_ipv4(struct __sk_buff *skb, const struct lisp_locator *locator,
					    const struct packet *packet, __u32 length)
{
	struct ethhdr *ethernet = (void *)(long)skb->data;
	struct outer_ipv4 *outer = (void *)(ethernet + 1);
	__u16 *words = (void *)outer;
	__u32 sum = 0;

	if ((void *)(outer + 1) > (void *)(long)skb->data_end)
		return -1;
	ethernet->h_proto = bpf_htons(ETH_P_IP);
	*(__be16 *)&outer->ip = bpf_htons(0x4500 | packet->traffic_class);
	outer->ip.tot_len = bpf_htons(length > 0xffff ? 0 : length);
	outer->ip.id = 0; /* RFC 6864: atomic, because DF is set */
	outer->ip.frag_off = bpf_htons(IPV4_DONT_FRAGMENT);
	outer->ip.ttl = packet->ttl;
	outer->ip.protocol = IPPROTO_UDP;
	outer->ip.check = 0;
	__builtin_memcpy(&outer->ip.saddr, locator->source, 4);
	__builtin_memcpy(&outer->ip.daddr, locator->destination, 4);
#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += words[i];
	outer->ip.check = fold_checksum(sum);
	write_udp_header(&outer->udp, packet, length - sizeof(struct iphdr));
	write_lisp_header(&outer->lisp, locator, packet);
	return 0;
}

static __always_inline int write_outer_ipv6(struct __sk_buff *skb, const struct lisp_locator *locator,
					    const struct packet *packet, __u32 length)
{
	struct ethhdr *ethernet = (void *)(long)skb->data;
	struct outer_ipv6 *outer = (void *)(ethernet + 1);
	__u32 payload = length - sizeof(struct ipv6hdr);

	if ((void *)(outer + 1) > (void *)(long)skb->data_end)
		return -1;
	ethernet->h_proto = bpf_htons(ETH_P_IPV6);
	*(__be32 *)&outer->ip = bpf_htonl(0x60000000 | (__u32)packet->traffic_class << 20 |
					  (packet->flow_hash & 0xfffff)); /* RFC 6438 */
	outer->ip.payload_len = bpf_htons(payload > 0xffff ? 0 : payload);
	outer->ip.nexthdr = IPPROTO_UDP;
	outer->ip.hop_limit = packet->ttl;
	__builtin_memcpy(&outer->ip.saddr, locator->source, 16);
	__builtin_memcpy(&outer->ip.daddr, locator->destination, 16);
	write_udp_header(&outer->udp, packet, payload);
	write_lisp_header(&outer->lisp, locator, packet);
	return 0;
}

static __noinline int write_outer(struct __sk_buff *skb, const struct lisp_locator *locator,
				  const struct packet *packet)
{
	__u32 length = skb->len - ETH_HLEN;

	if (locator->family == IPV4_VERSION)
		return write_outer_ipv4(skb, locator, packet, length);
	return write_outer_ipv6(skb, locator, packet, length);
}

/*
 * Room for the outer headers. A packet that already is encapsulated inside this host (a VXLAN or LISP
 * packet from the site) is -EALREADY: it takes plain room, but only when it is one packet, because
 * the kernel can segment one tunnel, not two. What we have just decapsulated is different: its stale
 * tunnel state describes exactly the tunnel that we put back.
 */
static __always_inline long make_room(struct __sk_buff *skb, const struct lisp_locator *locator,
				      enum encapsulation_mode mode)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	__u32 overhead = get_overhead(locator);
	long result;

	if (locator->family == IPV4_VERSION)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	else
		flags |= BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	result = bpf_skb_adjust_room(skb, overhead, BPF_ADJ_ROOM_MAC, flags);
	if (result != ERROR_ALREADY || (skb->gso_size && mode == ENCAPSULATE_NEW))
		return result;
	return bpf_skb_adjust_room(skb, overhead, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

/*
 * The packet leaves by `locator`, with TTL and traffic class as `packet` has them (already in the
 * inner header). Returns the verdict.
 */
static __noinline int encapsulate_to(struct __sk_buff *skb, const struct packet *packet,
				     const struct lisp_locator *locator, enum encapsulation_mode mode)
{
	if (mode != ENCAPSULATE_REPLACE && make_room(skb, locator, mode))
		return drop(skb, LISP_DROP_ENCAPSULATION_FAILED);
	if (write_outer(skb, locator, packet))
		return drop(skb, LISP_DROP_ENCAPSULATION_FAILED);
	if (locator->flags & LISP_LOCATOR_CLOSED)
		mark_closed(skb, packet, locator);
	return send_to_rloc(skb, locator, packet->interface_index);
}

/* Too big for the locator's path: dropped and reported. CONTINUE when it fits. */
static __always_inline int check_size(struct __sk_buff *skb, const struct packet *packet,
				      const struct lisp_locator *locator)
{
	__u32 overhead = get_overhead(locator);

	if (get_wire_length(skb, packet) + overhead <= locator->path_mtu)
		return CONTINUE;
	report_too_big(skb, packet, locator->path_mtu - overhead);
	return drop(skb, LISP_DROP_PACKET_TOO_BIG);
}

/* A plain packet that does not fit: in two halves when it may be, else dropped and reported. */
static __noinline int handle_too_big(struct __sk_buff *skb, const struct packet *packet,
				     const struct lisp_locator *locator)
{
	struct gate_entry none = { .segments = 1, .is_behind = 1 };
	struct event_limit_key all = { .type = FRAGMENT_LIMIT };

	if (packet->may_fragment && !skb->gso_size &&
	    take_token(&all, FRAGMENT_US * MICROSECONDS, FRAGMENT_BURST)) {
		tally(skb, LISP_TALLY_FRAGMENTED);
		return hold(skb, packet, LISP_HOLD_FRAGMENT, &none);
	}
	report_too_big(skb, packet, locator->path_mtu - get_overhead(locator));
	return drop(skb, LISP_DROP_PACKET_TOO_BIG);
}

/*
 * Encapsulate a plain packet (frame with the inner IP header at ETH_HLEN) by its map-cache entry.
 * `what` is the tally: encapsulated, or re-encapsulated when it came from the core.
 */
CHECKED_ONCE int encapsulate(struct __sk_buff *skb, struct packet *packet,
			     const struct lisp_map_cache_entry *entry, enum lisp_tally what)
{
	const struct lisp_locator *locator;

	if (!packet || !entry)
		return TC_ACT_SHOT;
	locator = choose_locator(entry, packet);
	if (!locator)
		return drop(skb, LISP_DROP_NO_LOCATOR);
	if (packet->ttl <= 1)
		return drop(skb, LISP_DROP_TTL_EXPIRED);
	if (get_wire_length(skb, packet) + get_overhead(locator) > locator->path_mtu)
		return handle_too_big(skb, packet, locator);
	if (packet->destination_port == LISP_DATA_PORT && has_two_lisp_headers(skb, ETH_HLEN))
		return drop(skb, LISP_DROP_NESTED);
	if (packet->length && cut_padding(skb, ETH_HLEN + packet->length))
		return drop(skb, LISP_DROP_ENCAPSULATION_FAILED);
	packet->ttl--;
	if (rewrite_inner(skb, ETH_HLEN, packet->family, packet->ttl, packet->traffic_class))
		return drop(skb, LISP_DROP_ENCAPSULATION_FAILED);
	count_mapping(skb, entry->counter_id, skb->len - ETH_HLEN);
	tally(skb, what);
	return encapsulate_to(skb, packet, locator,
			      what == LISP_TALLY_ENCAPSULATED ? ENCAPSULATE_NEW : ENCAPSULATE_AGAIN);
}

#endif
