/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The short way of what there is most of: TCP with data, one packet of MTU size, whose outer header says
 * no more than the inner one but for the TTL. Nothing of it has to be remembered, and whose EID it is is
 * asked behind the GRO pair. It is looked at in place, without filling in a struct packet
 * (measured: a quarter of what such a packet costs here). Whatever is not exactly so goes the long way,
 * which says what is wrong with it.
 */
#ifndef GODWIT_SEGMENT_H
#define GODWIT_SEGMENT_H

#include "from_core.h"

enum { TCP_LENGTH_AT = 12, TCP_FLAGS_AT = 13 };

/* Of the TCP header; `size` is that of the IP packet less its header. */
static __always_inline int has_data(const __u8 *tcp, __u32 size)
{
	return tcp[TCP_FLAGS_AT] & TCP_SYN_FIN_RST || size > (__u32)(tcp[TCP_LENGTH_AT] >> 4) * 4;
}

/* Length of the inner IP packet; 0 when it goes the long way. */
static __always_inline __u32 measure_ipv4(const struct outer *outer, const __u8 *start, const void *end)
{
	const struct iphdr *ip = (const void *)start;
	__u32 length;

	if ((const void *)(start + sizeof(*ip) + sizeof(struct tcphdr)) > end)
		return 0;
	length = bpf_ntohs(ip->tot_len);
	if (start[0] != 0x45 || ip->protocol != IPPROTO_TCP || ip->frag_off & bpf_htons(IPV4_FRAGMENT_MASK))
		return 0;
	if (ip->tos != outer->traffic_class)
		return 0;
	if (length + outer->overhead != outer->length || length < sizeof(*ip) + sizeof(struct tcphdr))
		return 0;
	return has_data(start + sizeof(*ip), length - sizeof(*ip)) ? length : 0;
}

static __always_inline __u32 measure_ipv6(const struct outer *outer, const __u8 *start, const void *end)
{
	const struct ipv6hdr *ip = (const void *)start;
	__u32 payload;

	if ((const void *)(start + sizeof(*ip) + sizeof(struct tcphdr)) > end)
		return 0;
	payload = bpf_ntohs(ip->payload_len);
	if (start[0] >> 4 != IPV6_VERSION || ip->nexthdr != IPPROTO_TCP)
		return 0;
	if ((__u8)(bpf_ntohs(*(const __be16 *)start) >> 4) != outer->traffic_class)
		return 0;
	if (payload + sizeof(*ip) + outer->overhead != outer->length || payload < sizeof(struct tcphdr))
		return 0;
	return has_data(start + sizeof(*ip), payload) ? payload + sizeof(*ip) : 0;
}

/* RFC 9300 §5.3: the smaller of both; the header is known to be readable. */
static __always_inline void lower_ttl_ipv4(__u8 *start, __u8 ttl)
{
	struct iphdr *ip = (void *)start;
	__be16 *word = (void *)&ip->ttl, before = *word;

	if (ip->ttl <= ttl)
		return;
	ip->ttl = ttl;
	ip->check = update_checksum(ip->check, before, *word, 0, 0);
}

static __always_inline void lower_ttl_ipv6(__u8 *start, __u8 ttl)
{
	struct ipv6hdr *ip = (void *)start;

	if (ip->hop_limit > ttl)
		ip->hop_limit = ttl;
}

/* CONTINUE when the packet goes the long way. */
static __always_inline int take_segment(struct __sk_buff *skb, const struct outer *outer,
					const struct lisp_node_config *config)
{
	void *end = (void *)(long)skb->data_end;
	__u8 *start = (void *)(long)skb->data + ETH_HLEN + outer->overhead;
	__u8 family = IPV4_VERSION;
	__u32 length;

	if (!is_settled(config) || !config->gro_entry_interface_index || skb->gso_size || outer->is_gpe)
		return CONTINUE;
	if ((void *)(start + 1) > end)
		return CONTINUE;
	if (start[0] >> 4 == IPV4_VERSION) {
		length = measure_ipv4(outer, start, end);
		if (length)
			lower_ttl_ipv4(start, outer->ttl);
	} else {
		length = measure_ipv6(outer, start, end);
		if (length)
			lower_ttl_ipv6(start, outer->ttl);
		family = IPV6_VERSION;
	}
	if (!length)
		return CONTINUE;
	if (take_off(skb, outer->overhead, length, family))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	return send_to_gro(skb, outer->instance_id, outer->family, config->gro_entry_interface_index);
}

#endif
