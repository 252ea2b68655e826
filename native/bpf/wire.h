/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What stands on the wire: the LISP data header (RFC 9300 §5.1, RFC 9305 §3), the outer headers in
 * front of it, ARP and neighbour discovery, and the kernel constants that older headers do not have.
 */
#ifndef GODWIT_WIRE_H
#define GODWIT_WIRE_H

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define LISP_DATA_PORT 4341
#define SOURCE_PORT_BASE 0xc000 /* 0xc000 | 14 bits of the flow hash: the dynamic range of RFC 6335 */
#define SOURCE_PORT_MASK 0x3fff

#define DATA_FLAG_NONCE 0x80
#define DATA_FLAG_STATUS_BITS 0x40
#define DATA_FLAG_ECHO 0x20
#define DATA_FLAG_VERSIONS 0x10
#define DATA_FLAG_INSTANCE 0x08
#define DATA_FLAG_GPE 0x04
#define DATA_FLAG_KEY 0x03
#define GPE_NEXT_IPV4 1
#define GPE_NEXT_IPV6 2

#define IPV4_VERSION 4
#define IPV6_VERSION 6
#define IPV4_MAXIMUM_HEADER 60
#define IPV4_DONT_FRAGMENT 0x4000
#define IPV4_FRAGMENT_MASK 0x3fff /* more fragments, offset */
#define ADDRESS_FAMILY_IPV4 2     /* AF_INET; the libc header does not go with the kernel's */
#define ADDRESS_FAMILY_IPV6 10

/* bpf_skb_adjust_room flags of kernel 6.3, absent from older headers. */
#define ADJUST_DECAP_IPV4 (1ULL << 7)
#define ADJUST_DECAP_IPV6 (1ULL << 8)

#define LOOKUP_SKIP_NEIGHBOUR (1U << 3) /* bpf_fib_lookup, likewise */

/* In tcx: go on with the next program, then with the kernel (the same as TC_ACT_UNSPEC). */
#define PASS TC_ACT_UNSPEC
/* A stage has not decided; never returned to the kernel. */
#define CONTINUE (-100)
/* The same, because the interface that the route leads to takes no packet of this size. */
#define TOO_BIG_FOR_ROUTE (-101)

#define ERROR_ALREADY (-114) /* EALREADY */

struct lisp_data_header {
	__u8 flags;
	__u8 nonce[3]; /* with the P bit: two zero bytes and the next protocol */
	__be32 instance_id_and_bits;
};

struct outer_ipv4 {
	struct iphdr ip;
	struct udphdr udp;
	struct lisp_data_header lisp;
};
_Static_assert(sizeof(struct outer_ipv4) == 36, "outer_ipv4");

struct outer_ipv6 {
	struct ipv6hdr ip;
	struct udphdr udp;
	struct lisp_data_header lisp;
};
_Static_assert(sizeof(struct outer_ipv6) == 56, "outer_ipv6");

struct arp_frame {
	struct ethhdr ethernet;
	__be16 hardware, protocol;
	__u8 hardware_length, protocol_length;
	__be16 operation;
	__u8 sender_mac[6];
	__u8 sender_address[4];
	__u8 target_mac[6];
	__u8 target_address[4];
} __attribute__((packed));
_Static_assert(sizeof(struct arp_frame) == 42, "arp_frame");

/* Neighbour solicitation or advertisement up to its target (RFC 4861 §4.3, §4.4). */
struct neighbour_frame {
	struct ethhdr ethernet;
	struct ipv6hdr ip;
	__u8 type, code;
	__be16 checksum;
	__be32 flags;
	__u8 target[16];
} __attribute__((packed));
_Static_assert(sizeof(struct neighbour_frame) == 78, "neighbour_frame");

struct advertisement_frame {
	struct neighbour_frame neighbour;
	__u8 option_type, option_units;
	__u8 mac[6];
} __attribute__((packed));
_Static_assert(sizeof(struct advertisement_frame) == 86, "advertisement_frame");

/* 16 bytes by words: a plain 16-byte comparison becomes a call to memcmp, which BPF does not have. */
static __always_inline int addresses_equal(const void *left, const void *right)
{
	const __u32 *a = left, *b = right;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

static __always_inline int address_is_zero(const void *address)
{
	const __u32 *a = address;

	return !(a[0] | a[1] | a[2] | a[3]);
}

static __always_inline __u16 fold_checksum(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* RFC 1624: the checksum after two 16-bit words have changed. */
static __always_inline __u16 update_checksum(__u16 checksum, __u16 before, __u16 after, __u16 before2,
					     __u16 after2)
{
	return fold_checksum((__u16)~checksum + (__u16)~before + after + (__u16)~before2 + after2);
}

#endif
