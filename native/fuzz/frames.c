// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* See frames.h. */
#include "frames.h"

#include <string.h>

enum { ETHERNET = 14, UDP = 17, TCP = 6, ICMP = 1, ICMP6 = 58, LISP_PORT = 4341 };

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t sum_words(const uint8_t *bytes, uint32_t length)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i + 1 < length; i += 2)
		sum += get16(bytes + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

void frame_fix_ip(uint8_t *packet, uint32_t length)
{
	uint32_t header = (packet[0] & 15u) * 4;

	if (length >= 40 && packet[0] >> 4 == 6) {
		put16(packet + 4, length - 40);
	} else if (packet[0] >> 4 == 4 && header >= 20 && length >= header) {
		put16(packet + 2, length);
		put16(packet + 10, 0);
		put16(packet + 10, ~sum_words(packet, header));
	}
}

static uint32_t put_ip(uint8_t *packet, int family, uint8_t protocol, uint32_t payload, uint8_t host)
{
	uint32_t header = family == 4 ? 20 : 40;

	memset(packet, 0, header);
	if (family == 4) {
		static const uint8_t addresses[8] = { 10, 1, 0, 1, 10, 2, 0, 1 };

		packet[0] = 0x45;
		packet[8] = 64;
		packet[9] = protocol;
		memcpy(packet + 12, addresses, 8);
		packet[19] = host;
	} else {
		packet[0] = 0x60;
		packet[6] = protocol;
		packet[7] = 64;
		put16(packet + 8, 0x2001);
		put16(packet + 10, 0xdb8);
		packet[23] = 1;
		put16(packet + 24, 0x2001);
		put16(packet + 26, 0xdb8);
		packet[39] = host;
	}
	frame_fix_ip(packet, header + payload);
	return header;
}

static uint32_t put_udp(uint8_t *at, uint32_t port, uint32_t payload)
{
	put16(at, 40000);
	put16(at + 2, port);
	put16(at + 4, 8 + payload);
	put16(at + 6, 0);
	return 8;
}

static void put_ethernet(uint8_t *frame, uint32_t type)
{
	static const uint8_t macs[12] = { 0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2 };

	memcpy(frame, macs, 12);
	put16(frame + 12, type);
}

static uint32_t ip_type(int family)
{
	return family == 4 ? 0x0800 : 0x86dd;
}

/* An IP packet with a transport header and payload; returns its length. */
static uint32_t put_packet(uint8_t *packet, int family, uint8_t protocol, uint32_t payload)
{
	uint32_t transport = protocol == TCP ? 20 : 8;
	uint32_t header = put_ip(packet, family, protocol, transport + payload, 9);
	uint8_t *at = packet + header;

	memset(at, 0, transport);
	if (protocol == UDP) {
		put_udp(at, 53, payload);
	} else if (protocol == TCP) {
		put16(at, 40000);
		put16(at + 2, 80);
		at[12] = 0x50;
		at[13] = 0x10;
	}
	for (uint32_t i = 0; i < payload; i++)
		at[transport + i] = (uint8_t)(i * 7 + 1);
	return header + transport + payload;
}

/* Puts outer headers in front of the `length` bytes at `packet` (there is room); the new length. */
static uint32_t wrap(uint8_t *packet, int family, uint32_t length)
{
	uint32_t header = family == 4 ? 20 : 40;

	memmove(packet + header + 16, packet, length);
	put_ip(packet, family, UDP, 16 + length, 9);
	put_udp(packet + header, LISP_PORT, 8 + length);
	memset(packet + header + 8, 0, 8);
	packet[header + 8] = 0x08;
	return header + 16 + length;
}

static uint32_t put_arp(uint8_t *frame, uint32_t type)
{
	static const uint8_t fixed[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };
	static const uint8_t addresses[20] = { 0x02, 0, 0, 0, 0, 2, 10, 1, 0, 1, 0, 0, 0, 0, 0, 0, 10, 2, 0, 9 };

	put_ethernet(frame, type);
	memcpy(frame + 14, fixed, 8);
	memcpy(frame + 22, addresses, 20);
	memset(frame + 42, 0, 18);
	return 60;
}

static uint32_t put_neighbour(uint8_t *frame, uint8_t type)
{
	uint8_t *packet = frame + ETHERNET, *at = packet + 40;

	put_ethernet(frame, 0x86dd);
	put_ip(packet, 6, ICMP6, 32, 9);
	packet[7] = 255;
	memset(at, 0, 32);
	at[0] = type;
	put16(at + 8, 0x2001);
	put16(at + 10, 0xdb8);
	at[23] = 9;
	at[24] = 1;
	at[25] = 1;
	return ETHERNET + 40 + 32;
}

static uint32_t put_lisp(uint8_t *frame, int outer, int inner, uint32_t payload)
{
	uint32_t length = put_packet(frame + ETHERNET, inner, TCP, payload);

	put_ethernet(frame, ip_type(outer));
	return ETHERNET + wrap(frame + ETHERNET, outer, length);
}

static uint32_t put_plain(uint8_t *frame, int family, uint8_t protocol, uint32_t payload)
{
	put_ethernet(frame, ip_type(family));
	return ETHERNET + put_packet(frame + ETHERNET, family, protocol, payload);
}

/* Metadata in place of the Ethernet addresses (struct lisp_hold_header, struct gro_source). */
static uint32_t put_marked(uint8_t *frame, int family, const uint8_t marks[12], uint32_t payload)
{
	uint32_t length = put_plain(frame, family, TCP, payload);

	memcpy(frame, marks, 12);
	return length;
}

uint32_t frame_make(uint8_t *frame, enum frame_template which, uint32_t payload)
{
	static const uint8_t held[12] = { 2, 1, 0, 0, 0, 0, 2, 1, 0, 0, 0, 3 };
	static const uint8_t aggregated[12] = { 2, 0, 0, 0, 0, 1, 2, 'G', 0, 0, 0, 4 };
	uint32_t length;

	switch (which) {
	case FRAME_ARP:
		return put_arp(frame, 0x0806);
	case FRAME_RARP:
		return put_arp(frame, 0x8035);
	case FRAME_SOLICITATION:
		return put_neighbour(frame, 135);
	case FRAME_ADVERTISEMENT:
		return put_neighbour(frame, 136);
	case FRAME_IPV4_UDP:
		return put_plain(frame, 4, UDP, payload);
	case FRAME_IPV4_TCP:
		return put_plain(frame, 4, TCP, payload);
	case FRAME_IPV4_ICMP:
		return put_plain(frame, 4, ICMP, payload);
	case FRAME_IPV6_UDP:
		return put_plain(frame, 6, UDP, payload);
	case FRAME_IPV6_TCP:
		return put_plain(frame, 6, TCP, payload);
	case FRAME_LISP_4_IN_4:
		return put_lisp(frame, 4, 4, payload);
	case FRAME_LISP_6_IN_4:
		return put_lisp(frame, 4, 6, payload);
	case FRAME_LISP_4_IN_6:
		return put_lisp(frame, 6, 4, payload);
	case FRAME_LISP_6_IN_6:
		return put_lisp(frame, 6, 6, payload);
	case FRAME_LISP_TWICE:
		length = put_lisp(frame, 4, 4, payload) - ETHERNET;
		return ETHERNET + wrap(frame + ETHERNET, 4, length);
	case FRAME_HELD_4:
		return put_marked(frame, 4, held, payload);
	case FRAME_HELD_6:
		return put_marked(frame, 6, held, payload);
	default:
		return put_marked(frame, 4, aggregated, payload);
	}
}

bool frame_checksum_is_right(const uint8_t *packet, uint32_t length)
{
	uint32_t header = (packet[0] & 15u) * 4;

	return packet[0] >> 4 != 4 || (header <= length && sum_words(packet, header) == 0xffff);
}

struct lisp_packet frame_read_lisp(const uint8_t *frame, uint32_t length)
{
	const uint8_t *packet = frame + ETHERNET, *udp;
	struct lisp_packet read = { 0 };
	uint32_t header, total;

	if (length < ETHERNET + 36) {
		read.wrong = "too short for outer headers";
		return read;
	}
	read.family = packet[0] >> 4;
	header = read.family == 4 ? 20 : 40;
	read.inner_at = ETHERNET + header + 16;
	if (get16(frame + 12) != ip_type(read.family) || length < read.inner_at) {
		read.wrong = "ethertype and outer version differ, or too short";
		return read;
	}
	total = read.family == 4 ? get16(packet + 2) : 40 + get16(packet + 4);
	read.ttl = read.family == 4 ? packet[8] : packet[7];
	read.traffic_class = read.family == 4 ? packet[1] : (uint8_t)(get16(packet) >> 4);
	udp = packet + header;
	if (read.family == 4 && packet[0] != 0x45)
		read.wrong = "outer IPv4 header length";
	else if (!frame_checksum_is_right(packet, header))
		read.wrong = "outer IPv4 checksum";
	else if (read.family == 4 && get16(packet + 6) != 0x4000)
		read.wrong = "outer IPv4 packet without DF";
	else if (packet[read.family == 4 ? 9 : 6] != UDP || get16(udp + 2) != LISP_PORT)
		read.wrong = "not UDP to the LISP data port";
	else if (total != length - ETHERNET)
		read.wrong = "outer length is not that of the packet";
	else if (get16(udp + 4) != total - header)
		read.wrong = "UDP length is not that of the packet";
	else if (!(udp[8] & 0x08) || udp[8] & 0xf0)
		read.wrong = "LISP flags";
	return read;
}

int32_t frame_difference(const uint8_t *left, const uint8_t *right, uint32_t length)
{
	bool is_ipv4 = left[0] >> 4 == 4;

	for (uint32_t i = 0; i < length; i++) {
		uint8_t mask = 0xff;

		if (is_ipv4 && (i == 1 || i == 8 || i == 10 || i == 11))
			continue;
		if (!is_ipv4 && i == 7)
			continue;
		if (!is_ipv4 && i == 0)
			mask = 0xf0;
		else if (!is_ipv4 && i == 1)
			mask = 0x0f;
		if ((left[i] ^ right[i]) & mask)
			return (int32_t)i;
	}
	return -1;
}
