/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What an ETR reads beside the instance-ID in a closed network: the echo of a nonce, or one to be
 * echoed (RFC 9300 §10.1), locator-status-bits (§10), map-versions (RFC 9302 §7), and whether a source
 * is where its mapping says (§16). Whom to ask then is decided in user space.
 *
 * Runs only with a flag of LISP_NODE_CLOSED. A source at an unmapped RLOC may have moved a moment ago:
 * its packets pass while the mapping system is asked, for DOUBT_MS per pair of source and RLOC, and
 * for no more than DOUBT_BURST new pairs at once, so that inventing sources gains nothing.
 */
#ifndef GODWIT_CLOSED_RECEIVE_H
#define GODWIT_CLOSED_RECEIVE_H

#include "closed_send.h"
#include "decapsulate.h"
#include "report.h"

enum closed_limits {
	DOUBT_MS = 3000,
	DOUBT_LIMIT = 0x101, /* no event type */
	DOUBT_US = 10000,    /* 100 new pairs a second … */
	DOUBT_BURST = 256,   /* … in bursts up to this */
	CLOSED_EVENT_MS = 1000,
	NONCE_EVENT_MS = 100,
};

static __noinline void report_closed(struct __sk_buff *skb, const struct outer *outer,
				     const struct lisp_eid_key *eid, __u32 type_and_detail)
{
	__u32 type = type_and_detail & 0xff;
	int is_nonce = type == LISP_EVENT_NONCE_ECHOED || type == LISP_EVENT_NONCE_MISSED;
	struct report report = {
		.type = type,
		.detail = type_and_detail >> 8,
		.peer_family = outer->family,
		.limit_by_peer = 1,
		.interface_index = skb->ifindex,
		.interval_ms = is_nonce ? NONCE_EVENT_MS : CLOSED_EVENT_MS,
	};

	if (!is_nonce)
		report.eid = *eid;
	__builtin_memcpy(report.peer, outer->source.address, 16);
	report_event(skb, &report);
}

static __always_inline struct lisp_map_cache_entry *find_source_mapping(const struct packet *packet)
{
	struct lisp_map_cache_entry *entry = bpf_map_lookup_elem(&map_cache_hosts, &packet->source);

	return entry ? entry : find_map_cache_prefix(&packet->source);
}

/* Whether a mapping with locators names other RLOCs than the sender. */
static __noinline int names_others(const struct outer *outer, const struct lisp_map_cache_entry *entry)
{
	struct lisp_locator_set *set;
	__u32 set_id;

	if (entry->action != LISP_MAP_CACHE_FORWARD)
		return 0;
	set_id = entry->locator_set_id;
	set = bpf_map_lookup_elem(&locator_sets, &set_id);
	if (!set)
		return 0;
	for (int i = 0; i < LISP_MAXIMUM_LOCATORS; i++) {
		const struct lisp_locator *locator = &set->locators[i];

		if (i < set->count && locator->family == outer->family &&
		    addresses_equal(locator->destination, outer->source.address))
			return 0;
	}
	return 1;
}

static __noinline int is_relay(const struct outer *outer)
{
	struct lisp_rloc_key key = outer->source;

	return bpf_map_lookup_elem(&relay_rlocs, &key) != 0;
}

/*
 * RFC 9300 §16, for a source whose mapping is known: true when the packet is to be dropped. What is
 * not in the map-cache cannot be judged and passes. A match ends an earlier doubt, so that whoever
 * comes back is believed as long as the first time.
 */
static __noinline int is_spoofed(struct __sk_buff *skb, const struct outer *outer,
				 const struct packet *packet, const struct lisp_map_cache_entry *entry)
{
	struct doubt_key key = { .source = packet->source, .sender = outer->source };
	struct event_limit_key all = { .type = DOUBT_LIMIT };
	__u64 *until = bpf_map_lookup_elem(&doubts, &key), end;

	if (!names_others(outer, entry)) {
		if (until)
			bpf_map_delete_elem(&doubts, &key);
		return 0;
	}
	if (is_relay(outer))
		return 0;
	report_closed(skb, outer, &packet->source, LISP_EVENT_SOURCE_DOUBTED | LISP_DOUBT_RLOC << 8);
	if (until)
		return *until < bpf_ktime_get_coarse_ns();
	if (!take_token(&all, DOUBT_US * MICROSECONDS, DOUBT_BURST))
		return 1;
	end = bpf_ktime_get_coarse_ns() + DOUBT_MS * MILLISECONDS;
	bpf_map_update_elem(&doubts, &key, &end, BPF_ANY);
	return 0;
}

/* RFC 9300 §10.1: whether it answers our question, and what it asks. */
static __noinline void take_nonce(struct __sk_buff *skb, const struct outer *outer, __u32 flags,
				  __u32 nonce)
{
	struct lisp_rloc_key peer = outer->source;
	__u32 *wanted = bpf_map_lookup_elem(&nonce_requests, &peer);
	__u32 owed = nonce | NONCE_OWED;
	int is_echo = flags & DATA_FLAG_NONCE && !(flags & DATA_FLAG_ECHO);

	if (flags & DATA_FLAG_NONCE && flags & DATA_FLAG_ECHO)
		bpf_map_update_elem(&nonce_echoes, &peer, &owed, BPF_ANY);
	if (!wanted)
		return;
	if (is_echo && (*wanted & NONCE_MASK) == nonce)
		report_closed(skb, outer, 0, LISP_EVENT_NONCE_ECHOED);
	else if (*wanted & NONCE_SENT)
		report_closed(skb, outer, 0, LISP_EVENT_NONCE_MISSED);
}

/* RFC 9302 §6: neither is 0. */
static __always_inline int is_newer_version(__u32 version, __u32 than)
{
	return version > than ? version - than <= 2048 : than - version > 2048;
}

/* RFC 9302 §7.1: the version of our mapping that the sender has. */
static __noinline int check_own_version(struct __sk_buff *skb, const struct outer *outer,
					const struct packet *packet, __u32 version)
{
	const struct lisp_mapping_facts *own = find_own_facts(&packet->destination);
	struct lisp_refused_key key = { .sender = outer->source };

	if (!own || !(own->flags & LISP_MAPPING_FACTS_VERSION))
		return CONTINUE; /* an EID that has just come has no version yet */
	if (!own->map_version)
		return drop(skb, LISP_DROP_NULL_MAP_VERSION);
	if (!version || version == own->map_version)
		return CONTINUE;
	if (is_newer_version(version, own->map_version))
		return drop(skb, LISP_DROP_FUTURE_MAP_VERSION);
	if (own->flags & LISP_MAPPING_FACTS_DROP_STALE)
		return drop(skb, LISP_DROP_STALE_MAP_VERSION);
	key.facts_id = own->id;
	if (bpf_map_lookup_elem(&refused_senders, &key))
		return drop(skb, LISP_DROP_STALE_MAP_VERSION);
	report_closed(skb, outer, &packet->destination, LISP_EVENT_STALE_VERSION);
	return CONTINUE;
}

/* RFC 9302 §7.2: the version of the source's mapping, only where one is cached. */
static __noinline int check_source_version(struct __sk_buff *skb, const struct outer *outer,
					   const struct packet *packet, __u32 version)
{
	const struct lisp_mapping_facts *facts = find_remote_facts(&packet->source);

	if (!facts)
		return CONTINUE;
	if (!version || !facts->map_version || version == facts->map_version)
		return CONTINUE;
	if (!is_newer_version(version, facts->map_version))
		return drop(skb, LISP_DROP_STALE_MAP_VERSION);
	report_closed(skb, outer, &packet->source, LISP_EVENT_SOURCE_DOUBTED | LISP_DOUBT_VERSION << 8);
	return CONTINUE;
}

/* RFC 9300 §10: which locators of the source's site are up, as its ITR sees it. */
static __noinline void compare_status_bits(struct __sk_buff *skb, const struct outer *outer,
					   const struct packet *packet, __u32 bits)
{
	const struct lisp_mapping_facts *facts = find_remote_facts(&packet->source);

	if (facts && facts->flags & LISP_MAPPING_FACTS_STATUS_BITS && facts->status_bits != bits)
		report_closed(skb, outer, &packet->source, LISP_EVENT_STATUS_BITS | bits << 8);
}

static __noinline int check_source(struct __sk_buff *skb, const struct outer *outer,
				   const struct packet *packet, __u32 node_flags)
{
	const struct lisp_map_cache_entry *entry = find_source_mapping(packet);

	if (node_flags & LISP_NODE_CHECK_SOURCES && entry && is_spoofed(skb, outer, packet, entry))
		return drop(skb, LISP_DROP_SPOOFED_SOURCE);
	if (node_flags & LISP_NODE_GLEAN && !entry && !is_relay(outer))
		report_closed(skb, outer, &packet->source, LISP_EVENT_SOURCE_UNMAPPED);
	return CONTINUE;
}

/*
 * Everything that `node_flags` switch on, in the order of RFC 9302 §7: N goes before V, our own version
 * before that of the source. With the P bit N, E and V mean nothing (RFC 9305 §3). CONTINUE or a drop.
 */
CHECKED_ONCE int check_closed(struct __sk_buff *skb, const struct outer *outer,
			      const struct packet *packet, __u32 node_flags)
{
	struct lisp_data_header lisp = {};
	__u32 field, flags;
	int verdict;

	if (!outer || !packet)
		return TC_ACT_SHOT;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + outer->overhead - sizeof(lisp), &lisp, sizeof(lisp)))
		return CONTINUE;
	field = (__u32)lisp.nonce[0] << 16 | (__u32)lisp.nonce[1] << 8 | lisp.nonce[2];
	flags = lisp.flags;
	verdict = check_source(skb, outer, packet, node_flags);
	if (verdict != CONTINUE || flags & DATA_FLAG_GPE)
		return verdict;
	if (node_flags & LISP_NODE_ECHO_NONCE)
		take_nonce(skb, outer, flags, field);
	if (node_flags & LISP_NODE_MAP_VERSIONS && (flags & (DATA_FLAG_NONCE | DATA_FLAG_VERSIONS)) ==
						   DATA_FLAG_VERSIONS) {
		verdict = check_own_version(skb, outer, packet, field & 0xfff);
		if (verdict != CONTINUE)
			return verdict;
		verdict = check_source_version(skb, outer, packet, field >> 12);
		if (verdict != CONTINUE)
			return verdict;
	}
	if (node_flags & LISP_NODE_STATUS_BITS && flags & DATA_FLAG_STATUS_BITS)
		compare_status_bits(skb, outer, packet, bpf_ntohl(lisp.instance_id_and_bits) & 0xff);
	return CONTINUE;
}

#endif
