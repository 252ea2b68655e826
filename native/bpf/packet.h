/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Reads an inner IP header into a struct packet and changes its TTL and traffic class. After parsing,
 * the stages work on the struct: it survives the helpers that invalidate packet pointers.
 *
 * The flow hash is our own, over the inner addresses and ports: the kernel's hash is seeded at random
 * and may come from a NIC, so the same flow would change its source port after a restart or on the
 * way through the hold. Fragments and protocols without ports hash by addresses alone (RFC 9300 §12).
 */
#ifndef GODWIT_PACKET_H
#define GODWIT_PACKET_H

#include "counters.h"

struct packet {
	struct lisp_eid_key source, destination;
	__u32 length;        /* of the IP packet as its header says; 0 for jumbo super-packets */
	__u32 header_length; /* of the IP header, without IPv6 extension headers */
	__u32 flow_hash;     /* set by hash_flow */
	__u32 ports;         /* both, as they stand in the packet; 0 without */
	__u32 instance_id;
	__u32 nonce; /* LISP_STAMPED and 24 bits: came with it, and leaves with it; else 0 */
	__u32 interface_index; /* routing looks from here: the interface where the packet came in */
	__u16 destination_port; /* UDP only, else 0 */
	__u8 family;
	__u8 traffic_class;
	__u8 ttl;
	__u8 protocol;
	__u8 is_fragment; /* IPv4, also the first */
	__u8 may_fragment; /* IPv4 without DF */
	__u8 is_changed; /* ttl and traffic_class are no longer those of the header */
	__u8 tcp_header_length; /* 0: not TCP */
	__u8 tcp_flags;
};

enum {
	SHORTEST_IP_HEADER = 20,
	MOST_OFFSET = 127, /* of an inner header: a bound that the verifier can see */
};

/* Make the first bytes readable by direct access. Fails only for lack of memory. */
static __always_inline int pull_headers(struct __sk_buff *skb, __u32 wanted)
{
	if (wanted > skb->len)
		wanted = skb->len;
	if ((void *)(long)skb->data + wanted <= (void *)(long)skb->data_end)
		return 0;
	return bpf_skb_pull_data(skb, wanted);
}

/*
 * Make the IP header at `offset` and what is read of the transport header behind it readable, and not
 * a byte more: payload drawn into the linear part costs a copy here, and GRO then keeps two fragments
 * for each packet, so that it merges half as many (measured: a quarter of TCP in MTU-sized packets).
 */
static __noinline int pull_packet(struct __sk_buff *skb, __u32 offset)
{
	__u8 *start, protocol;
	__u32 length;

	if (pull_headers(skb, offset + SHORTEST_IP_HEADER))
		return -1;
	start = (void *)(long)skb->data + offset;
	if ((void *)(start + SHORTEST_IP_HEADER) > (void *)(long)skb->data_end)
		return 0; /* parse_packet says what is wrong */
	if (start[0] >> 4 == IPV4_VERSION) {
		length = (start[0] & 15) * 4;
		protocol = start[9];
	} else {
		length = sizeof(struct ipv6hdr);
		protocol = start[6];
	}
	length += protocol == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);
	return pull_headers(skb, offset + length);
}

static __always_inline __u32 mix(__u32 hash, __u32 word)
{
	hash = (hash ^ word) * 0x9e3779b1;
	return hash ^ (hash >> 15);
}

static __always_inline __u32 hash_address(__u32 hash, const struct lisp_eid_key *eid, __u8 family)
{
	const __u32 *words = (const __u32 *)eid->address;

	hash = mix(hash, words[0]);
	if (family == IPV6_VERSION) {
		hash = mix(hash, words[1]);
		hash = mix(hash, words[2]);
		hash = mix(hash, words[3]);
	}
	return hash;
}

/* Only who encapsulates needs it. */
static __always_inline void hash_flow(struct packet *packet)
{
	__u32 hash = hash_address(packet->instance_id, &packet->source, packet->family);

	hash = hash_address(hash, &packet->destination, packet->family);
	if (packet->ports)
		hash = mix(mix(hash, packet->ports), packet->protocol);
	packet->flow_hash = hash;
}

static __always_inline void set_eid_instance(struct packet *packet)
{
	__be32 word = bpf_htonl(packet->instance_id << 8 | packet->family);

	packet->source.instance_family_be = word;
	packet->destination.instance_family_be = word;
}

static __always_inline int parse_ipv4(__u8 *start, void *end, struct packet *packet)
{
	struct iphdr *ip = (void *)start;

	if ((void *)(ip + 1) > end || ip->ihl < 5)
		return -1;
	packet->header_length = ip->ihl * 4;
	packet->length = bpf_ntohs(ip->tot_len);
	packet->traffic_class = ip->tos;
	packet->ttl = ip->ttl;
	packet->protocol = ip->protocol;
	packet->is_fragment = !!(ip->frag_off & bpf_htons(IPV4_FRAGMENT_MASK));
	packet->may_fragment = !(ip->frag_off & bpf_htons(IPV4_DONT_FRAGMENT));
	__builtin_memcpy(packet->source.address, &ip->saddr, 4);
	__builtin_memcpy(packet->destination.address, &ip->daddr, 4);
	return 0;
}

static __always_inline int parse_ipv6(__u8 *start, void *end, struct packet *packet)
{
	struct ipv6hdr *ip = (void *)start;

	if ((void *)(ip + 1) > end)
		return -1;
	packet->header_length = sizeof(*ip);
	packet->length = ip->payload_len ? bpf_ntohs(ip->payload_len) + sizeof(*ip) : 0;
	packet->traffic_class = bpf_ntohs(*(__be16 *)start) >> 4;
	packet->ttl = ip->hop_limit;
	packet->protocol = ip->nexthdr;
	__builtin_memcpy(packet->source.address, &ip->saddr, 16);
	__builtin_memcpy(packet->destination.address, &ip->daddr, 16);
	return 0;
}

/* Ports of TCP, UDP and SCTP, TCP header length and flags, UDP destination port. */
static __always_inline void parse_transport(__u8 *start, void *end, struct packet *packet)
{
	if (packet->is_fragment || (void *)(start + 4) > end)
		return;
	if (packet->protocol == IPPROTO_TCP) {
		if ((void *)(start + 14) > end)
			return;
		packet->tcp_header_length = (start[12] >> 4) * 4;
		packet->tcp_flags = start[13];
	} else if (packet->protocol == IPPROTO_UDP) {
		packet->destination_port = (__u16)start[2] << 8 | start[3];
	} else if (packet->protocol != IPPROTO_SCTP) {
		return;
	}
	packet->ports = (__u32)start[0] << 24 | (__u32)start[1] << 16 | (__u32)start[2] << 8 | start[3];
}

/*
 * Parse the IP header `offset` bytes into the frame. 0, or -1 when it is no sound IP packet.
 * The caller has pulled the headers; `packet` must be zeroed.
 */
CHECKED_ONCE int parse_packet(struct __sk_buff *skb, __u32 offset, __u32 instance_id,
			      struct packet *packet)
{
	void *end = (void *)(long)skb->data_end;
	__u8 *start = (void *)(long)skb->data + (offset & MOST_OFFSET);

	if (!packet || (void *)(start + 20) > end)
		return -1;
	packet->family = start[0] >> 4;
	packet->instance_id = instance_id;
	if (packet->family == IPV4_VERSION) {
		if (parse_ipv4(start, end, packet))
			return -1;
	} else if (packet->family != IPV6_VERSION || parse_ipv6(start, end, packet)) {
		return -1;
	}
	if (packet->length < packet->header_length && !skb->gso_size)
		return -1;
	set_eid_instance(packet);
	parse_transport(start + (packet->header_length & 0x3c), end, packet);
	return 0;
}

/* The plain packet at ETH_HLEN says that it is longer than it is. */
static __always_inline int is_cut_short(struct __sk_buff *skb, const struct packet *packet)
{
	return !skb->gso_size && packet->length + ETH_HLEN > skb->len;
}

/* Write TTL and traffic class of the inner header that starts at `offset`. */
static __always_inline int rewrite_inner(struct __sk_buff *skb, __u32 offset, __u8 family, __u8 ttl,
					 __u8 traffic_class)
{
	void *end = (void *)(long)skb->data_end;
	__u8 *start = (void *)(long)skb->data + offset;

	if (family == IPV4_VERSION) {
		struct iphdr *ip = (void *)start;
		__be16 *words = (void *)start;
		__be16 first, ninth;

		if ((void *)(ip + 1) > end)
			return -1;
		first = words[0];
		ninth = words[4];
		ip->tos = traffic_class;
		ip->ttl = ttl;
		ip->check = update_checksum(ip->check, first, words[0], ninth, words[4]);
	} else {
		struct ipv6hdr *ip = (void *)start;
		__be16 *first = (void *)start;

		if ((void *)(ip + 1) > end)
			return -1;
		*first = (*first & bpf_htons(0xf00f)) | bpf_htons((__u16)traffic_class << 4);
		ip->hop_limit = ttl;
	}
	return 0;
}

/* Cut what the link layer padded behind the IP packet: it must not travel through the tunnel. */
static __always_inline int cut_padding(struct __sk_buff *skb, __u32 length)
{
	if (skb->gso_size || skb->len <= length)
		return 0;
	return bpf_skb_change_tail(skb, length, 0);
}

static __always_inline __be16 get_ethertype(__u8 family)
{
	return family == IPV4_VERSION ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
}

#endif
