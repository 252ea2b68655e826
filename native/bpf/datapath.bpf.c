// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The programs, one per hook, all at tcx ingress (kernel 6.6):
 *
 *   site_ingress   site interface: neighbours, source EIDs, map-cache, encapsulation
 *   rloc_ingress   underlay interface: LISP data packets to one of our RLOCs
 *   hold_ingress   the TAP: what user space lets out of the hold
 *   gpe_ingress    the vxlan-gpe device: super-packets that the kernel has decapsulated for us
 *   gro_ingress    exit of the GRO veth pair: TCP that the kernel has re-aggregated
 *
 * A stage returns a verdict or CONTINUE. Whatever is not ours is passed on untouched.
 */
#include "from_core.h"
#include "interwork.h"
#include "live_move.h"
#include "neighbours.h"
#include "path_mtu.h"
#include "replicate.h"
#include "segment.h"

/* Compared by whoever loads the object. */
const volatile __u32 lisp_abi_version = LISP_ABI_VERSION;

/* Multicast, link-local, or at the end of its TTL: the kernel's own routing handles it. */
static __always_inline int belongs_to_kernel(const struct packet *packet)
{
	const __u8 *to = packet->destination.address;

	if (packet->ttl <= 1)
		return 1;
	if (packet->family == IPV4_VERSION)
		return to[0] >= 224 || to[0] == 127 || to[0] == 0 || (to[0] == 169 && to[1] == 254);
	return to[0] == 0xff || (to[0] == 0xfe && (to[1] & 0xc0) == 0x80);
}

static __always_inline int is_neighbour_discovery(const struct packet *packet)
{
	return packet->family == IPV6_VERSION && packet->protocol == IPPROTO_ICMP6 &&
	       packet->ttl == ND_HOP_LIMIT;
}

static __always_inline int is_own_site(const struct packet *packet)
{
	struct lisp_local_eid *local = find_local_eid(&packet->destination);

	return local && is_present(local);
}

static __always_inline int send_by_entry(struct __sk_buff *skb, struct packet *packet,
					 const struct lisp_map_cache_entry *entry)
{
	switch (entry->action) {
	case LISP_MAP_CACHE_NATIVE:
	case LISP_MAP_CACHE_NATIVE_DRAINING:
		tally(skb, LISP_TALLY_NATIVE);
		return translate_source(skb, packet);
	case LISP_MAP_CACHE_DROP:
		return drop(skb, LISP_DROP_MAPPING_SAYS_DROP);
	default:
		return encapsulate(skb, packet, entry, LISP_TALLY_ENCAPSULATED);
	}
}

/* No mapping says where to: into the hold, unless one has come meanwhile and nothing is ahead. */
static __noinline int wait_for_mapping(struct __sk_buff *skb, struct packet *packet)
{
	struct lisp_map_cache_entry *entry;
	struct gate_entry gate;

	enter_gate(skb, packet, LISP_HOLD_MAP_CACHE_MISS, &gate);
	entry = find_mapping(packet);
	if (entry && may_go(entry, gate.is_behind)) {
		step_back(&gate);
		return send_by_entry(skb, packet, entry);
	}
	return hold(skb, packet, LISP_HOLD_MAP_CACHE_MISS, &gate);
}

/* No host entry in the map-cache: our own prefixes go before shorter mappings of others. */
static __always_inline int send_from_site(struct __sk_buff *skb, struct packet *packet)
{
	struct lisp_map_cache_entry *entry = bpf_map_lookup_elem(&map_cache_hosts, &packet->destination);

	if (!entry) {
		if (is_own_site(packet))
			return PASS;
		entry = find_map_cache_prefix(&packet->destination);
	}
	if (entry && may_go(entry, 1))
		return send_by_entry(skb, packet, entry);
	return wait_for_mapping(skb, packet);
}

static __noinline int handle_from_site(struct __sk_buff *skb, const struct lisp_site_interface *site)
{
	struct packet packet = { .interface_index = skb->ifindex };
	struct ethhdr *ethernet;

	if (pull_packet(skb, ETH_HLEN))
		return PASS;
	if (parse_packet(skb, ETH_HLEN, site->instance_id, &packet))
		return PASS; /* the kernel counts broken packets of hosts */
	if (skb->protocol != get_ethertype(packet.family))
		return PASS; /* likewise: the kernel goes by the ethertype, we by the version */
	if (is_neighbour_discovery(&packet))
		return handle_neighbour_discovery(skb, site);
	if (skb->pkt_type == PACKET_MULTICAST)
		return handle_group_from_site(skb, &packet);
	if (skb->pkt_type != PACKET_HOST || belongs_to_kernel(&packet))
		return PASS;
	if (is_cut_short(skb, &packet))
		return PASS;
	if (site->flags & LISP_SITE_DYNAMIC_EIDS) {
		ethernet = (void *)(long)skb->data;
		if ((void *)(ethernet + 1) > (void *)(long)skb->data_end)
			return PASS;
		__u8 mac[6];

		__builtin_memcpy(mac, ethernet->h_source, 6);
		observe_sender(skb, &packet.source, mac, site, LISP_SEEN_BY_PACKET);
	}
	if (site->flags & LISP_SITE_PROXY && !is_attracted(&packet.destination))
		return PASS;
	return send_from_site(skb, &packet);
}

SEC("tc")
int site_ingress(struct __sk_buff *skb)
{
	__u32 interface_index = skb->ifindex;
	struct lisp_site_interface *site = bpf_map_lookup_elem(&site_interfaces, &interface_index);

	if (!site)
		return PASS;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
	case bpf_htons(ETH_P_IPV6):
		return handle_from_site(skb, site);
	case bpf_htons(ETH_P_ARP):
		return handle_arp(skb, site);
	case bpf_htons(ETHERTYPE_RARP):
		return handle_rarp(skb, site);
	default:
		return PASS;
	}
}

static __always_inline int goes_to_gro(struct __sk_buff *skb, const struct packet *packet,
				       const struct lisp_node_config *config)
{
	return config->gro_entry_interface_index && !skb->gso_size && wants_gro(packet);
}

static __always_inline int goes_to_gpe(struct __sk_buff *skb, const struct packet *packet,
				       const struct lisp_node_config *config)
{
	return config->gpe_interface_index && skb->gso_size && packet->protocol == IPPROTO_UDP;
}

/* Its header fields are settled: take it out of the outer headers and into the GRO pair. */
static __always_inline int aggregate(struct __sk_buff *skb, const struct outer *outer,
				     struct packet *packet, const struct lisp_node_config *config)
{
	if (decapsulate(skb, outer, packet, packet->family))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	return send_to_gro(skb, packet->instance_id, outer->family, config->gro_entry_interface_index);
}

/*
 * What the kernel works on before it comes back to us may go there before anything is asked about its
 * EID, when nothing here depends on the sender: then that is asked once, of the super-packet
 * (measured: 4 % of TCP in MTU-sized packets). CONTINUE when it must be asked now.
 */
static __always_inline int accept_unasked(struct __sk_buff *skb, const struct outer *outer,
					  struct packet *packet, const struct lisp_node_config *config)
{
	int gro = goes_to_gro(skb, packet, config);

	if ((!gro && !goes_to_gpe(skb, packet, config)) || !is_settled(config))
		return CONTINUE;
	if (write_changes(skb, outer, packet))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	return gro ? aggregate(skb, outer, packet, config) : rewrite_to_gpe(skb, outer, packet);
}

/* A super-packet of UDP: the kernel decapsulates it, and gpe_ingress goes on. */
static __always_inline int leave_to_gpe(struct __sk_buff *skb, const struct outer *outer,
					const struct packet *packet)
{
	if (write_changes(skb, outer, packet))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	return rewrite_to_gpe(skb, outer, packet);
}

/* The packet is for a local EID and its header fields are settled: take it out and on its way. */
static __always_inline int accept_from_core(struct __sk_buff *skb, const struct outer *outer,
					    struct packet *packet, const struct lisp_local_eid *local,
					    const struct lisp_node_config *config)
{
	if (goes_to_gpe(skb, packet, config))
		return leave_to_gpe(skb, outer, packet);
	if (write_changes(skb, outer, packet))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	if (local->state == LISP_LOCAL_EID_LOCAL && goes_to_gro(skb, packet, config))
		return aggregate(skb, outer, packet, config);
	if (decapsulate(skb, outer, packet, packet->family))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	return settle(skb, packet, local, outer->family);
}

/* LISP data for us that takes the long way. */
static __always_inline int receive(struct __sk_buff *skb, const struct outer *outer,
				   const struct lisp_node_config *config)
{
	struct lisp_local_eid *local;
	struct packet packet = {};
	int verdict;

	verdict = parse_inner(skb, outer, &packet);
	if (verdict != CONTINUE)
		return verdict;
	verdict = combine_with_outer(skb, outer, &packet);
	if (verdict != CONTINUE)
		return verdict;
	if (outer->is_group)
		return replicate_by_core(skb, outer, &packet);
	verdict = accept_unasked(skb, outer, &packet, config);
	if (verdict != CONTINUE)
		return verdict;
	local = find_local_eid(&packet.destination);
	if (!local || local->state == LISP_LOCAL_EID_NONE) {
		if (config->flags & LISP_NODE_MULTICAST && is_group(&packet))
			return goes_to_gpe(skb, &packet, config) ? leave_to_gpe(skb, outer, &packet) :
								   replicate_from_core(skb, outer, &packet);
		if (config->flags & LISP_NODE_RELAYS)
			return goes_to_gpe(skb, &packet, config) ? leave_to_gpe(skb, outer, &packet) :
								   relay_from_core(skb, outer, &packet);
		return drop(skb, LISP_DROP_UNKNOWN_EID);
	}
	if (local->state == LISP_LOCAL_EID_PREFIX) {
		report_sender(skb, outer, &packet, LISP_EVENT_UNKNOWN_EID);
		return drop(skb, LISP_DROP_UNKNOWN_EID);
	}
	if (config->flags & LISP_NODE_CLOSED) {
		verdict = check_closed(skb, outer, &packet, config->flags);
		if (verdict != CONTINUE)
			return verdict;
	}
	if (local->flags & LISP_LOCAL_EID_REPORT_SENDERS)
		report_sender(skb, outer, &packet, LISP_EVENT_SENDER_SEEN);
	if (local->flags & LISP_LOCAL_EID_MOVING) {
		verdict = follow_move(skb, outer, &packet, local);
		if (verdict != CONTINUE && verdict != SEND_ON)
			return verdict;
	}
	if (local->state == LISP_LOCAL_EID_AWAY || verdict == SEND_ON)
		return redirect_encapsulated(skb, outer, &packet);
	return accept_from_core(skb, outer, &packet, local, config);
}

SEC("tc")
int rloc_ingress(struct __sk_buff *skb)
{
	const struct lisp_node_config *config = get_node_config();
	struct outer outer = {};
	int verdict;

	if (!config)
		return PASS;
	verdict = parse_outer(skb, &outer);
	if (verdict != CONTINUE) {
		if (verdict != PASS)
			return verdict;
		report_path_mtu(skb);
		return config->flags & LISP_NODE_NAT ? translate_destination(skb) : PASS;
	}
	if (pull_packet(skb, ETH_HLEN + outer.overhead))
		return PASS;
	if (!outer.is_group) {
		verdict = take_segment(skb, &outer, config);
		if (verdict != CONTINUE)
			return verdict;
	}
	return receive(skb, &outer, config);
}

/*
 * Out of the hold, waited for a mapping. It never goes back in: who lets it out has decided.
 * `sender_family` is not 0 when it came from the core, to an RTR.
 */
static __noinline int release_to_core(struct __sk_buff *skb, struct packet *packet, __u32 sender_family)
{
	struct lisp_map_cache_entry *entry = find_mapping(packet);
	struct lisp_local_eid *local;
	int verdict;

	if (!entry) { /* meanwhile the EID may have come here */
		local = find_local_eid(&packet->destination);
		if (local && is_present(local))
			return deliver(skb, packet, local);
		return drop(skb, LISP_DROP_NO_HOLD);
	}
	switch (entry->action) {
	case LISP_MAP_CACHE_FORWARD:
	case LISP_MAP_CACHE_DRAINING:
		return encapsulate(skb, packet, entry,
				   sender_family ? LISP_TALLY_REENCAPSULATED : LISP_TALLY_ENCAPSULATED);
	case LISP_MAP_CACHE_DROP:
		return drop(skb, LISP_DROP_MAPPING_SAYS_DROP);
	case LISP_MAP_CACHE_NATIVE:
	case LISP_MAP_CACHE_NATIVE_DRAINING:
		if (sender_family)
			return let_out(skb, packet);
		verdict = translate_source(skb, packet);
		if (verdict != PASS)
			return verdict;
		packet->ttl--;
		if (rewrite_inner(skb, ETH_HLEN, packet->family, packet->ttl, packet->traffic_class))
			return drop(skb, LISP_DROP_HOLD_HEADER);
		tally(skb, LISP_TALLY_NATIVE);
		verdict = send_to_eid(skb, packet, 0);
		if (verdict != CONTINUE)
			return verdict;
		bpf_skb_change_type(skb, PACKET_HOST); /* the TAP's frames are not addressed to its MAC */
		return PASS;
	default:
		return drop(skb, LISP_DROP_NO_HOLD);
	}
}

/* Out of the hold, waited for its endpoint. */
static __noinline int release_to_site(struct __sk_buff *skb, struct packet *packet)
{
	struct lisp_local_eid *local = find_local_eid(&packet->destination);

	if (!local)
		return drop(skb, LISP_DROP_UNKNOWN_EID);
	switch (local->state) {
	case LISP_LOCAL_EID_LOCAL:
	case LISP_LOCAL_EID_DRAINING:
		return deliver(skb, packet, local);
	case LISP_LOCAL_EID_AWAY:
	case LISP_LOCAL_EID_AWAY_DRAINING:
		return redirect_away(skb, packet);
	case LISP_LOCAL_EID_STANDBY:
		return drop(skb, LISP_DROP_NO_HOLD);
	default:
		return drop(skb, LISP_DROP_UNKNOWN_EID);
	}
}

SEC("tc")
int hold_ingress(struct __sk_buff *skb)
{
	struct lisp_hold_header header;
	struct packet packet = {};
	__u32 instance_id;

	if (pull_packet(skb, ETH_HLEN) || bpf_skb_load_bytes(skb, 0, &header, sizeof(header)))
		return drop(skb, LISP_DROP_HOLD_HEADER);
	if (header.local != 0x02 || header.local2 != 0x02)
		return drop(skb, LISP_DROP_HOLD_HEADER);
	instance_id = (__u32)header.instance_id_be[0] << 16 | (__u32)header.instance_id_be[1] << 8 |
		      header.instance_id_be[2];
	if (parse_packet(skb, ETH_HLEN, instance_id, &packet) || is_cut_short(skb, &packet) ||
	    header.ethertype != get_ethertype(packet.family))
		return drop(skb, LISP_DROP_HOLD_HEADER);
	packet.interface_index = bpf_ntohl(header.interface_index_be);
	if (packet.interface_index & LISP_STAMPED)
		packet.interface_index = skb->ifindex;
	if (header.purpose == LISP_HOLD_FRAGMENT && is_group(&packet))
		return replicate_from_site(skb, &packet, ALREADY_SEEN);
	if (header.purpose == LISP_HOLD_MAP_CACHE_MISS || header.purpose == LISP_HOLD_FRAGMENT)
		return release_to_core(skb, &packet, header.sender_family);
	if (header.purpose == LISP_HOLD_ENDPOINT_EXPECTED)
		return release_to_site(skb, &packet);
	return drop(skb, LISP_DROP_HOLD_HEADER);
}

/* Nobody here has this EID: look at the outer headers again for a while, to know who sends there. */
static __noinline int drop_unknown(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct lisp_node_config *config = bpf_map_lookup_elem(&node_config, &key);

	if (config)
		config->unsettled_until_ns = bpf_ktime_get_coarse_ns() + UNSETTLED_MS * MILLISECONDS;
	return drop(skb, LISP_DROP_UNKNOWN_EID);
}

SEC("tc")
int gpe_ingress(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct lisp_local_eid *local;
	struct packet packet = {};
	__u8 header[ETH_HLEN] = {};
	__u32 family = IPV4_VERSION;

	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0)) {
		family = IPV6_VERSION; /* measured: refused without the flag when the outer is IPv6 */
		if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6))
			return drop(skb, LISP_DROP_MALFORMED_OUTER);
	}
	/* a device without link layer: bpf_redirect wants an Ethernet header to be there */
	*(__be16 *)&header[12] = skb->protocol;
	if (bpf_skb_change_head(skb, ETH_HLEN, 0) ||
	    bpf_skb_store_bytes(skb, 0, header, sizeof(header), 0) || pull_packet(skb, ETH_HLEN))
		return drop(skb, LISP_DROP_DECAPSULATION_FAILED);
	if (parse_packet(skb, ETH_HLEN, key.tunnel_id, &packet) || is_cut_short(skb, &packet))
		return drop(skb, LISP_DROP_MALFORMED_INNER);
	packet.interface_index = skb->ifindex;
	tally(skb, LISP_TALLY_DECAPSULATED);
	local = find_local_eid(&packet.destination);
	if (!local && is_group(&packet) && has_multicast())
		return replicate_from_gpe(skb, &packet, &key, family);
	if (!local && get_relay_flags())
		return relay_plain(skb, &packet, family);
	if (!local || local->state == LISP_LOCAL_EID_PREFIX)
		return drop_unknown(skb);
	return settle(skb, &packet, local, family);
}

SEC("tc")
int gro_ingress(struct __sk_buff *skb)
{
	struct lisp_local_eid *local;
	struct packet packet = {};
	struct gro_source source;
	__u32 instance_id;

	if (pull_packet(skb, ETH_HLEN) || bpf_skb_load_bytes(skb, 6, &source, sizeof(source)))
		return PASS;
	if (source.local == GRO_MARK_LOCAL && source.mark == GRO_MARK_UNRESOLVED)
		return send_unresolved(skb);
	if (source.local != GRO_MARK_LOCAL || source.mark != GRO_MARK)
		return PASS; /* the kernel's own chatter on the pair */
	instance_id = (__u32)source.instance_id_be[0] << 16 | (__u32)source.instance_id_be[1] << 8 |
		      source.instance_id_be[2];
	if (parse_packet(skb, ETH_HLEN, instance_id, &packet))
		return drop(skb, LISP_DROP_MALFORMED_INNER);
	packet.interface_index = skb->ifindex;
	local = find_local_eid(&packet.destination);
	if (!local || local->state == LISP_LOCAL_EID_PREFIX)
		return drop_unknown(skb);
	return settle(skb, &packet, local, source.sender_family);
}

char program_license[] SEC("license") = "Dual BSD/GPL";
