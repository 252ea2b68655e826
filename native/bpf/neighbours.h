/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ARP (RFC 826, 5227), RARP announcements and neighbour discovery (RFC 4861) on a site interface:
 * endpoints that show themselves are reported, questions for EIDs that are elsewhere are answered
 * with the interface's own MAC address. Never answered: duplicate address detection (ARP probes, NS
 * from ::), because that would deny an endpoint its own address, and a question for the asker's own.
 *
 * Everything else stays with the kernel. The MAC address of an ND sender is the Ethernet source.
 */
#ifndef GODWIT_NEIGHBOURS_H
#define GODWIT_NEIGHBOURS_H

#include "lookup.h"
#include "report.h"

#define ARP_REQUEST 1
#define ARP_REPLY 2
#define ETHERTYPE_RARP 0x8035
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_HOP_LIMIT 255
#define ND_SOLICITED_OVERRIDE 0x60000000
#define ND_TARGET_LINK_LAYER 2
#define IPPROTO_ICMP6 58

static __always_inline int macs_equal(const __u8 *left, const __u8 *right)
{
	__u8 difference = 0;

#pragma unroll
	for (int i = 0; i < 6; i++)
		difference |= left[i] ^ right[i];
	return !difference;
}

static __always_inline int is_elsewhere(const struct lisp_map_cache_entry *entry)
{
	return entry->action == LISP_MAP_CACHE_FORWARD || entry->action == LISP_MAP_CACHE_DRAINING ||
	       entry->action == LISP_MAP_CACHE_HOLD;
}

/* A frame shows that `eid` is behind this interface with `mac`: tell, unless that is known already. */
static __noinline int observe_sender(struct __sk_buff *skb, const struct lisp_eid_key *eid,
				     const __u8 *mac, const struct lisp_site_interface *site, __u32 how)
{
	struct report report = {
		.type = LISP_EVENT_LOCAL_EID_SEEN,
		.detail = how,
		.interface_index = skb->ifindex,
		.interval_ms = LOCAL_EID_SEEN_MS,
	};
	struct lisp_local_eid *local;

	if (!(site->flags & LISP_SITE_DYNAMIC_EIDS) || macs_equal(mac, site->mac))
		return 0;
	local = bpf_map_lookup_elem(&local_eid_hosts, eid);
	if (local && is_present(local) && local->interface_index == skb->ifindex) {
		if (how == LISP_SEEN_BY_PACKET)
			return 0;
		if (local->flags & LISP_LOCAL_EID_MAC_KNOWN && macs_equal(mac, local->mac))
			return 0;
	}
	if (!is_dynamic(eid))
		return 0;
	report.eid = *eid;
	__builtin_memcpy(report.mac, mac, 6);
	return report_event(skb, &report);
}

/* True when the question for `target` shall be answered with our MAC; asks for a mapping if need be. */
static __noinline int answers_for(struct __sk_buff *skb, const struct lisp_eid_key *target,
				  const struct lisp_eid_key *asker, __u32 family)
{
	struct report report = {
		.type = LISP_EVENT_EID_WANTED,
		.peer_family = family,
		.interface_index = skb->ifindex,
		.interval_ms = EID_WANTED_MS,
	};
	struct lisp_map_cache_entry *entry;
	struct lisp_local_eid *local;

	if (!is_dynamic(target))
		return 0;
	local = bpf_map_lookup_elem(&local_eid_hosts, target);
	if (local && (is_present(local) || local->flags & LISP_LOCAL_EID_NO_PROXY))
		return 0;
	entry = bpf_map_lookup_elem(&map_cache_hosts, target);
	if (entry)
		return is_elsewhere(entry);
	report.eid = *target;
	__builtin_memcpy(report.peer, asker->address, 16);
	report_event(skb, &report);
	return 0;
}

static __noinline int send_arp_reply(struct __sk_buff *skb, const struct lisp_site_interface *site)
{
	struct arp_frame *frame = (void *)(long)skb->data;
	__u8 asker[4];

	if ((void *)(frame + 1) > (void *)(long)skb->data_end)
		return PASS;
	__builtin_memcpy(asker, frame->sender_address, 4);
	__builtin_memcpy(frame->target_mac, frame->sender_mac, 6);
	__builtin_memcpy(frame->ethernet.h_dest, frame->sender_mac, 6);
	__builtin_memcpy(frame->sender_address, frame->target_address, 4);
	__builtin_memcpy(frame->target_address, asker, 4);
	__builtin_memcpy(frame->sender_mac, site->mac, 6);
	__builtin_memcpy(frame->ethernet.h_source, site->mac, 6);
	frame->operation = bpf_htons(ARP_REPLY);
	tally(skb, LISP_TALLY_PROXIED_NEIGHBOUR);
	return bpf_redirect(skb->ifindex, 0);
}

static __noinline int handle_arp(struct __sk_buff *skb, const struct lisp_site_interface *site)
{
	__be32 word = bpf_htonl(site->instance_id << 8 | IPV4_VERSION);
	struct lisp_eid_key sender = { .instance_family_be = word };
	struct lisp_eid_key target = { .instance_family_be = word };
	struct arp_frame *frame;
	__be16 operation;
	__u8 mac[6];

	if (pull_headers(skb, sizeof(*frame)))
		return PASS;
	frame = (void *)(long)skb->data;
	if ((void *)(frame + 1) > (void *)(long)skb->data_end)
		return PASS;
	if (frame->protocol != bpf_htons(ETH_P_IP) || frame->hardware_length != 6 ||
	    frame->protocol_length != 4)
		return PASS;
	operation = frame->operation;
	__builtin_memcpy(sender.address, frame->sender_address, 4);
	__builtin_memcpy(target.address, frame->target_address, 4);
	__builtin_memcpy(mac, frame->sender_mac, 6);
	if (address_is_zero(sender.address))
		return PASS;
	observe_sender(skb, &sender, mac, site, LISP_SEEN_BY_ARP);
	if (!(site->flags & LISP_SITE_PROXY_NEIGHBOURS) || operation != bpf_htons(ARP_REQUEST))
		return PASS;
	if (addresses_equal(sender.address, target.address) || macs_equal(mac, site->mac))
		return PASS;
	if (!answers_for(skb, &target, &sender, IPV4_VERSION))
		return PASS;
	return send_arp_reply(skb, site);
}

/* What a hypervisor sends when a VM has arrived: it knows the MAC address, not the EIDs. */
static __noinline int handle_rarp(struct __sk_buff *skb, const struct lisp_site_interface *site)
{
	struct report report = {
		.type = LISP_EVENT_MAC_SEEN,
		.limit_by_peer = 1,
		.interface_index = skb->ifindex,
		.interval_ms = MAC_SEEN_MS,
	};
	struct ethhdr *ethernet = (void *)(long)skb->data;

	if ((void *)(ethernet + 1) > (void *)(long)skb->data_end)
		return PASS;
	__builtin_memcpy(report.mac, ethernet->h_source, 6);
	__builtin_memcpy(report.peer, ethernet->h_source, 6);
	if (site->flags & LISP_SITE_DYNAMIC_EIDS && !macs_equal(report.mac, site->mac))
		report_event(skb, &report);
	return PASS;
}

static __always_inline __u16 checksum_advertisement(const struct advertisement_frame *frame)
{
	const __u16 *addresses = (void *)&frame->neighbour.ip.saddr;
	const __u16 *message = (void *)&frame->neighbour.type;
	__u32 sum = bpf_htons(32) + bpf_htons(IPPROTO_ICMP6);

#pragma unroll
	for (int i = 0; i < 16; i++)
		sum += addresses[i] + message[i];
	return fold_checksum(sum);
}

/* Turn the solicitation into the advertisement (RFC 4861 §7.2.4: solicited, override). */
static __noinline int send_advertisement(struct __sk_buff *skb, const struct lisp_site_interface *site,
					 const struct lisp_eid_key *asker)
{
	struct advertisement_frame *frame;

	if (skb->len != sizeof(*frame) && bpf_skb_change_tail(skb, sizeof(*frame), 0))
		return PASS;
	if (pull_headers(skb, sizeof(*frame)))
		return PASS;
	frame = (void *)(long)skb->data;
	if ((void *)(frame + 1) > (void *)(long)skb->data_end)
		return PASS;
	__builtin_memcpy(frame->neighbour.ethernet.h_dest, frame->neighbour.ethernet.h_source, 6);
	__builtin_memcpy(frame->neighbour.ethernet.h_source, site->mac, 6);
	__builtin_memcpy(&frame->neighbour.ip.daddr, asker->address, 16);
	__builtin_memcpy(&frame->neighbour.ip.saddr, frame->neighbour.target, 16);
	frame->neighbour.ip.payload_len = bpf_htons(32);
	frame->neighbour.type = ND_ADVERTISEMENT;
	frame->neighbour.code = 0;
	frame->neighbour.flags = bpf_htonl(ND_SOLICITED_OVERRIDE);
	frame->option_type = ND_TARGET_LINK_LAYER;
	frame->option_units = 1;
	__builtin_memcpy(frame->mac, site->mac, 6);
	frame->neighbour.checksum = 0;
	frame->neighbour.checksum = checksum_advertisement(frame);
	tally(skb, LISP_TALLY_PROXIED_NEIGHBOUR);
	return bpf_redirect(skb->ifindex, 0);
}

/* An ICMPv6 packet with hop limit 255: PASS in the end, or an answer is sent. */
static __noinline int handle_neighbour_discovery(struct __sk_buff *skb,
						 const struct lisp_site_interface *site)
{
	__be32 word = bpf_htonl(site->instance_id << 8 | IPV6_VERSION);
	struct lisp_eid_key sender = { .instance_family_be = word };
	struct lisp_eid_key target = { .instance_family_be = word };
	struct neighbour_frame *frame;
	__u8 mac[6], type;

	if (pull_headers(skb, sizeof(*frame)))
		return PASS;
	frame = (void *)(long)skb->data;
	if ((void *)(frame + 1) > (void *)(long)skb->data_end)
		return PASS;
	type = frame->type;
	__builtin_memcpy(sender.address, &frame->ip.saddr, 16);
	__builtin_memcpy(target.address, frame->target, 16);
	__builtin_memcpy(mac, frame->ethernet.h_source, 6);
	if (type == ND_ADVERTISEMENT)
		observe_sender(skb, &target, mac, site, LISP_SEEN_BY_NEIGHBOUR_ADVERTISEMENT);
	if (type != ND_SOLICITATION || address_is_zero(sender.address))
		return PASS;
	observe_sender(skb, &sender, mac, site, LISP_SEEN_BY_NEIGHBOUR_ADVERTISEMENT);
	if (!(site->flags & LISP_SITE_PROXY_NEIGHBOURS) || macs_equal(mac, site->mac))
		return PASS;
	if (addresses_equal(sender.address, target.address))
		return PASS;
	if (!answers_for(skb, &target, &sender, IPV6_VERSION))
		return PASS;
	return send_advertisement(skb, site, &sender);
}

#endif
