/*
 * What a machine says when its link comes up somewhere else: RARP as QEMU sends it, gratuitous ARP
 * (RFC 5227 §3), unsolicited neighbour advertisement (RFC 4861 §7.2.6); and a plain ARP request.
 *
 * Frames go out of a packet socket with the interface's own MAC address as source.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MINIMUM_FRAME 60

struct arp_body {
	uint16_t hardware_be, protocol_be;
	uint8_t hardware_length, protocol_length;
	uint16_t operation_be;
	uint8_t sender_mac[6], sender_ip[4], target_mac[6], target_ip[4];
} __attribute__((packed));

struct advertisement {
	struct ether_header ethernet;
	uint8_t version_class[4];
	uint16_t length_be;
	uint8_t next_header, hop_limit;
	uint8_t source[16], destination[16];
	uint8_t type, code;
	uint16_t checksum_be;
	uint8_t flags[4];
	uint8_t target[16];
	uint8_t option_type, option_length, option_mac[6];
} __attribute__((packed));

static size_t build_arp(uint8_t *frame, const uint8_t *mac, uint16_t ether_type, uint16_t operation,
			const uint8_t *sender_ip, const uint8_t *target_ip)
{
	struct ether_header *ethernet = (struct ether_header *)frame;
	struct arp_body *arp = (struct arp_body *)(frame + sizeof(*ethernet));

	memset(ethernet->ether_dhost, 0xff, 6);
	memcpy(ethernet->ether_shost, mac, 6);
	ethernet->ether_type = htons(ether_type);
	arp->hardware_be = htons(1);
	arp->protocol_be = htons(ETHERTYPE_IP);
	arp->hardware_length = 6;
	arp->protocol_length = 4;
	arp->operation_be = htons(operation);
	memcpy(arp->sender_mac, mac, 6);
	memcpy(arp->sender_ip, sender_ip, 4);
	memcpy(arp->target_ip, target_ip, 4);
	/* RARP asks for its own address: both hardware addresses are ours. */
	if (ether_type == ETHERTYPE_REVARP)
		memcpy(arp->target_mac, mac, 6);
	return MINIMUM_FRAME;
}

static size_t build_advertisement(uint8_t *frame, const uint8_t *mac, const uint8_t *address)
{
	struct advertisement *na = (struct advertisement *)frame;
	static const uint8_t ALL_NODES[16] = { 0xff, 2, [15] = 1 };
	const uint8_t *bytes = na->source;
	const size_t icmp_length = sizeof(*na) - offsetof(struct advertisement, type);
	uint32_t sum = 0;

	memcpy(na->ethernet.ether_dhost, "\x33\x33\x00\x00\x00\x01", 6);
	memcpy(na->ethernet.ether_shost, mac, 6);
	na->ethernet.ether_type = htons(ETHERTYPE_IPV6);
	na->version_class[0] = 0x60;
	na->length_be = htons((uint16_t)icmp_length);
	na->next_header = IPPROTO_ICMPV6;
	na->hop_limit = 255;
	memcpy(na->source, address, 16);
	memcpy(na->destination, ALL_NODES, 16);
	na->type = 136;
	na->flags[0] = 0x20; /* override, not solicited */
	memcpy(na->target, address, 16);
	na->option_type = 2;
	na->option_length = 1;
	memcpy(na->option_mac, mac, 6);
	for (size_t i = 0; i < 32 + icmp_length; i += 2)
		sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	sum += (uint32_t)icmp_length + IPPROTO_ICMPV6;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	na->checksum_be = htons((uint16_t)~sum);
	return sizeof(*na);
}

static void parse_address(int family, const char *text, uint8_t *out)
{
	if (inet_pton(family, text, out) != 1)
		fail("%s is not an IPv%c address", text, family == AF_INET ? '4' : '6');
}

int announce_main(int argc, char **argv)
{
	static const uint8_t NO_ADDRESS[4];
	uint8_t frame[128] = { 0 }, address[16] = { 0 }, target[16] = { 0 }, mac[6];
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ifreq request = { 0 };
	const char *what = argc > 2 ? argv[2] : "";
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	size_t length;

	if (argc < 3)
		fail("announce INTERFACE rarp | garp ADDRESS | na ADDRESS | arp-request ADDRESS TARGET");
	if (fd < 0)
		fail("packet socket: %s", strerror(errno));
	snprintf(request.ifr_name, IFNAMSIZ, "%s", argv[1]);
	if (ioctl(fd, SIOCGIFHWADDR, &request) != 0)
		fail("%s: %s", argv[1], strerror(errno));
	memcpy(mac, request.ifr_hwaddr.sa_data, 6);
	if (strcmp(what, "rarp") == 0) {
		length = build_arp(frame, mac, ETHERTYPE_REVARP, 3, NO_ADDRESS, NO_ADDRESS);
	} else if (strcmp(what, "garp") == 0 && argc == 4) {
		parse_address(AF_INET, argv[3], address);
		length = build_arp(frame, mac, ETHERTYPE_ARP, 1, address, address);
	} else if (strcmp(what, "arp-request") == 0 && argc == 5) {
		parse_address(AF_INET, argv[3], address);
		parse_address(AF_INET, argv[4], target);
		length = build_arp(frame, mac, ETHERTYPE_ARP, 1, address, target);
	} else if (strcmp(what, "na") == 0 && argc == 4) {
		parse_address(AF_INET6, argv[3], address);
		length = build_advertisement(frame, mac, address);
	} else {
		fail("announce: %s is not rarp, garp ADDRESS, na ADDRESS or arp-request A B", what);
	}
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	if (sendto(fd, frame, length, 0, (struct sockaddr *)&to, sizeof(to)) != (ssize_t)length)
		fail("%s: %s", argv[1], strerror(errno));
	return 0;
}
