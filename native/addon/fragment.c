/* See fragment.h. */
#include "fragment.h"

#include "../bpf/lisp_abi.h"
#include "tap.h"

#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <string.h>

enum {
	PACKET_AT = TAP_VNET_HEADER_BYTES + sizeof(struct lisp_hold_header),
	OPTION_COPIED = 0x80, /* RFC 791 §3.1: in all fragments */
	LEAST_PAYLOAD = 16,   /* two units of 8 bytes */
};

static uint16_t checksum(const uint8_t *bytes, size_t length)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	if (i < length)
		sum += (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void finish_header(uint8_t *packet, size_t header, size_t payload, uint16_t offset)
{
	struct iphdr *ip = (struct iphdr *)packet;

	ip->ihl = (unsigned int)(header / 4) & 15;
	ip->tot_len = htons((uint16_t)(header + payload));
	ip->frag_off = htons(offset);
	ip->check = 0;
	ip->check = htons(checksum(packet, header));
}

/*
 * What the sender left to the hardware. False when the header's offsets are not inside the payload: a
 * guest's driver wrote them, and a sum put into the IP header would change where the packet goes.
 */
static bool fill_checksum(uint8_t *frame, size_t length, size_t ip_header)
{
	struct virtio_net_hdr *header = (struct virtio_net_hdr *)frame;
	uint8_t *bytes = frame + TAP_VNET_HEADER_BYTES;
	size_t size = length - TAP_VNET_HEADER_BYTES;
	size_t start = header->csum_start, place = start + header->csum_offset;
	uint16_t sum;

	if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return true;
	if (start < sizeof(struct lisp_hold_header) + ip_header || start >= size || place + 2 > size)
		return false;
	sum = checksum(bytes + start, size - start);
	if (!sum)
		sum = 0xffff; /* UDP: zero would say that there is none */
	bytes[place] = (uint8_t)(sum >> 8);
	bytes[place + 1] = (uint8_t)sum;
	memset(frame, 0, sizeof(*header));
	return true;
}

/* Options that belong into every fragment, padded to words; returns their length. */
static size_t copy_options(uint8_t *to, const uint8_t *from, size_t length)
{
	size_t used = 0, at = 0, size;

	while (at < length && from[at] != IPOPT_EOL) {
		size = from[at] == IPOPT_NOP ? 1 : at + 1 < length ? from[at + 1] : 0;
		if (size == 0 || (size < 2 && from[at] != IPOPT_NOP) || at + size > length)
			break;
		if (from[at] & OPTION_COPIED) {
			memcpy(to + used, from + at, size);
			used += size;
		}
		at += size;
	}
	while (used % 4)
		to[used++] = IPOPT_EOL;
	return used;
}

bool fragment_split(uint8_t *frame, size_t *length, uint8_t *second, size_t *second_length)
{
	uint8_t *packet = frame + PACKET_AT, *other = second + PACKET_AT;
	const struct iphdr *ip = (const struct iphdr *)packet;
	size_t header, payload, half, other_header;
	uint16_t fields, more;

	if (*length < PACKET_AT + sizeof(*ip) || ip->version != 4 || frame[1] != 0)
		return false;
	header = (size_t)ip->ihl * 4;
	fields = ntohs(ip->frag_off);
	if (header < sizeof(*ip) || ntohs(ip->tot_len) < header + LEAST_PAYLOAD || fields & IP_DF ||
	    *length < (size_t)PACKET_AT + ntohs(ip->tot_len))
		return false;
	payload = ntohs(ip->tot_len) - header;
	/* Equal halves as far as units of 8 bytes allow. */
	half = (payload / 2 + 7) / 8 * 8;
	/* a fragment from beyond the longest packet: its offset would run over into the flags */
	if ((fields & IP_OFFMASK) + half / 8 > IP_OFFMASK)
		return false;
	if (!fill_checksum(frame, PACKET_AT + header + payload, header))
		return false;
	memcpy(second, frame, PACKET_AT + sizeof(*ip));
	other_header = sizeof(*ip) +
		       copy_options(other + sizeof(*ip), packet + sizeof(*ip), header - sizeof(*ip));
	memcpy(other + other_header, packet + header + half, payload - half);
	*second_length = PACKET_AT + other_header + payload - half;
	*length = PACKET_AT + header + half;
	more = fields & IP_MF;
	finish_header(other, other_header, payload - half,
		      (uint16_t)(((fields & IP_OFFMASK) + half / 8) | more));
	finish_header(packet, header, half, (uint16_t)((fields & IP_OFFMASK) | IP_MF));
	return true;
}
