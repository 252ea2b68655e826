/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The three questions to the tables: how does an EID leave the site, is it ours, and does a dynamic
 * prefix cover it. Hosts by hash first, then prefixes by longest match.
 */
#ifndef GODWIT_LOOKUP_H
#define GODWIT_LOOKUP_H

#include "packet.h"

static __always_inline void set_prefix_key(struct lisp_eid_prefix_key *key, const struct lisp_eid_key *eid)
{
	/* the last byte of the first word is the family, in network order */
	int is_ipv4 = (bpf_ntohl(eid->instance_family_be) & 0xff) == IPV4_VERSION;

	key->prefix_bits = is_ipv4 ? 32 + 32 : 32 + 128;
	key->eid = *eid;
}

static __noinline struct lisp_map_cache_entry *find_map_cache_prefix(const struct lisp_eid_key *eid)
{
	struct lisp_eid_prefix_key key;

	set_prefix_key(&key, eid);
	return bpf_map_lookup_elem(&map_cache_prefixes, &key);
}

static __noinline struct lisp_local_eid *find_local_prefix(const struct lisp_eid_key *eid)
{
	struct lisp_eid_prefix_key key;

	set_prefix_key(&key, eid);
	return bpf_map_lookup_elem(&local_eid_prefixes, &key);
}

static __always_inline struct lisp_local_eid *find_local_eid(const struct lisp_eid_key *eid)
{
	struct lisp_local_eid *local = bpf_map_lookup_elem(&local_eid_hosts, eid);

	return local ? local : find_local_prefix(eid);
}

static __always_inline int is_dynamic(const struct lisp_eid_key *eid)
{
	struct lisp_local_eid *prefix = find_local_prefix(eid);

	return prefix && prefix->state == LISP_LOCAL_EID_PREFIX;
}

static __always_inline int is_present(const struct lisp_local_eid *local)
{
	return local->state == LISP_LOCAL_EID_LOCAL || local->state == LISP_LOCAL_EID_DRAINING;
}

static __always_inline int is_away(const struct lisp_local_eid *local)
{
	return local->state == LISP_LOCAL_EID_AWAY || local->state == LISP_LOCAL_EID_AWAY_DRAINING;
}

/* By the host entry, else by the longest prefix. */
static __noinline struct lisp_map_cache_entry *find_mapping(const struct packet *packet)
{
	struct lisp_map_cache_entry *entry = bpf_map_lookup_elem(&map_cache_hosts, &packet->destination);

	return entry ? entry : find_map_cache_prefix(&packet->destination);
}

/* Whether packets need not wait; while draining only those with nothing ahead of them in the hold. */
static __always_inline int may_go(const struct lisp_map_cache_entry *entry, __u32 is_behind)
{
	switch (entry->action) {
	case LISP_MAP_CACHE_FORWARD:
	case LISP_MAP_CACHE_NATIVE:
	case LISP_MAP_CACHE_DROP:
		return 1;
	case LISP_MAP_CACHE_DRAINING:
	case LISP_MAP_CACHE_NATIVE_DRAINING:
		return !is_behind;
	default:
		return 0;
	}
}

#endif
