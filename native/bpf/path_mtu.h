/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ICMP errors of the underlay: a router says that a packet of ours is too big for what comes behind it
 * (RFC 792, RFC 4443 §3.2). The head of the error goes to user space, which decides what to believe
 * (RFC 9300 §7.2); the error itself goes on to the kernel, whoever else may want it.
 *
 * Only what quotes a LISP data packet that we may have sent costs a token: others cannot use them up
 * with less. Errors behind IP options, extension headers or fragments are left to the kernel alone.
 */
#ifndef GODWIT_PATH_MTU_H
#define GODWIT_PATH_MTU_H

#include "decapsulate.h"
#include "report.h"

enum icmp_errors {
	ICMP_UNREACHABLE = 3,
	ICMP_FRAGMENTATION_NEEDED = 4, /* code of ICMP_UNREACHABLE */
	ICMP6_TOO_BIG = 2,
};

struct icmp_error {
	__u8 type, code;
	__be16 checksum;
	__be32 mtu; /* ICMPv4: the lower half */
};

struct too_big_ipv4 {
	struct iphdr ip;
	struct icmp_error error;
	struct iphdr quoted;
	struct udphdr udp;
};
_Static_assert(sizeof(struct too_big_ipv4) == 56, "too_big_ipv4");

struct too_big_ipv6 {
	struct ipv6hdr ip;
	struct icmp_error error;
	struct ipv6hdr quoted;
	struct udphdr udp;
};
_Static_assert(sizeof(struct too_big_ipv6) == 96, "too_big_ipv6");

static __always_inline int is_lisp_data_of_ours(const struct udphdr *udp)
{
	return udp->dest == bpf_htons(LISP_DATA_PORT) &&
	       (bpf_ntohs(udp->source) & SOURCE_PORT_BASE) == SOURCE_PORT_BASE;
}

/* Where the quoted packet was sent; 0 when the error is none about LISP data of ours. */
static __always_inline int read_too_big_ipv4(struct __sk_buff *skb, struct lisp_rloc_key *towards)
{
	struct lisp_rloc_key own = { .family = IPV4_VERSION };
	struct too_big_ipv4 *error = (void *)(long)skb->data + ETH_HLEN;

	if ((void *)(&error->ip + 1) > (void *)(long)skb->data_end || error->ip.protocol != IPPROTO_ICMP)
		return 0;
	if (pull_headers(skb, ETH_HLEN + sizeof(*error)))
		return 0;
	error = (void *)(long)skb->data + ETH_HLEN;
	if ((void *)(error + 1) > (void *)(long)skb->data_end)
		return 0;
	if (error->ip.ihl != 5 || error->ip.frag_off & bpf_htons(IPV4_FRAGMENT_MASK) ||
	    error->error.type != ICMP_UNREACHABLE || error->error.code != ICMP_FRAGMENTATION_NEEDED)
		return 0;
	if (error->quoted.version != IPV4_VERSION || error->quoted.ihl != 5 ||
	    error->quoted.protocol != IPPROTO_UDP || !is_lisp_data_of_ours(&error->udp))
		return 0;
	__builtin_memcpy(own.address, &error->quoted.saddr, 4);
	towards->family = IPV4_VERSION;
	__builtin_memcpy(towards->address, &error->quoted.daddr, 4);
	return error->quoted.saddr == error->ip.daddr && is_own_rloc(&own);
}

static __always_inline int read_too_big_ipv6(struct __sk_buff *skb, struct lisp_rloc_key *towards)
{
	struct lisp_rloc_key own = { .family = IPV6_VERSION };
	struct too_big_ipv6 *error = (void *)(long)skb->data + ETH_HLEN;

	if ((void *)(&error->ip + 1) > (void *)(long)skb->data_end || error->ip.nexthdr != IPPROTO_ICMP6)
		return 0;
	if (pull_headers(skb, ETH_HLEN + sizeof(*error)))
		return 0;
	error = (void *)(long)skb->data + ETH_HLEN;
	if ((void *)(error + 1) > (void *)(long)skb->data_end)
		return 0;
	if (error->error.type != ICMP6_TOO_BIG || error->quoted.version != IPV6_VERSION ||
	    error->quoted.nexthdr != IPPROTO_UDP || !is_lisp_data_of_ours(&error->udp))
		return 0;
	__builtin_memcpy(own.address, &error->quoted.saddr, 16);
	__builtin_memcpy(towards->address, &error->ip.daddr, 16);
	if (!addresses_equal(own.address, towards->address))
		return 0;
	towards->family = IPV6_VERSION;
	__builtin_memcpy(towards->address, &error->quoted.daddr, 16);
	return is_own_rloc(&own);
}

/* What is not LISP data for us: if it says that our path to some RLOC is narrow, tell user space. */
static __noinline int report_path_mtu(struct __sk_buff *skb)
{
	struct event_limit_key peer = { .type = LISP_EVENT_PATH_TOO_NARROW };
	/* all zero but its type, and so not the key of any RLOC */
	struct event_limit_key all = { .type = LISP_EVENT_PATH_TOO_NARROW };
	struct report report = { .type = LISP_EVENT_PATH_TOO_NARROW };
	struct lisp_rloc_key towards = {};

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (!read_too_big_ipv4(skb, &towards))
			return 0;
	} else if (skb->protocol != bpf_htons(ETH_P_IPV6) || !read_too_big_ipv6(skb, &towards)) {
		return 0;
	}
	tally(skb, LISP_TALLY_PATH_TOO_NARROW);
	__builtin_memcpy(peer.peer, towards.address, 16);
	__builtin_memcpy(report.peer, towards.address, 16);
	report.peer_family = towards.family;
	report.interface_index = skb->ifindex;
	if (!take_token(&peer, PACKET_TOO_BIG_MS * MILLISECONDS, 1))
		return 0;
	if (!take_token(&all, PACKET_TOO_BIG_TOTAL_MS * MILLISECONDS, PACKET_TOO_BIG_TOTAL_BURST))
		return 0;
	return send_event(skb, &report);
}

#endif
