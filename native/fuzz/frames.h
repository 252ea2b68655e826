/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sound frames to be damaged, and the look at a frame that came out: written from the RFCs, sharing
 * no code with the programs under test.
 */
#ifndef GODWIT_FUZZ_FRAMES_H
#define GODWIT_FUZZ_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_template {
	FRAME_ARP,
	FRAME_RARP,
	FRAME_SOLICITATION,
	FRAME_ADVERTISEMENT,
	FRAME_IPV4_UDP,
	FRAME_IPV4_TCP,
	FRAME_IPV4_ICMP,
	FRAME_IPV6_UDP,
	FRAME_IPV6_TCP,
	FRAME_LISP_4_IN_4,
	FRAME_LISP_6_IN_4,
	FRAME_LISP_4_IN_6,
	FRAME_LISP_6_IN_6,
	FRAME_LISP_TWICE,
	FRAME_HELD_4,
	FRAME_HELD_6,
	FRAME_AGGREGATED,
	FRAME_TEMPLATES,
};

enum { FRAME_LONGEST = 2048 };

/* Writes the frame with `payload` bytes of payload; returns its length, at most FRAME_LONGEST. */
uint32_t frame_make(uint8_t *frame, enum frame_template which, uint32_t payload);
/* Makes the lengths and the checksum of the IP header at `at` right for a packet of `length`. */
void frame_fix_ip(uint8_t *packet, uint32_t length);

/* What a LISP data packet holds, or why it is none (RFC 9300 §5, RFC 791, RFC 8200). */
struct lisp_packet {
	const char *wrong; /* NULL when sound */
	uint8_t family, ttl, traffic_class;
	uint32_t inner_at; /* from the start of the frame */
};
struct lisp_packet frame_read_lisp(const uint8_t *frame, uint32_t length);

/* True when the header checksum of the IPv4 packet is right; IPv6 has none and is always right. */
bool frame_checksum_is_right(const uint8_t *packet, uint32_t length);
/* Where two IP packets differ in something else than TTL, traffic class and header checksum; -1. */
int32_t frame_difference(const uint8_t *left, const uint8_t *right, uint32_t length);

#endif
