/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What an ITR adds to the LISP header in a closed network (RFC 9300 §10, RFC 9302 §7): a nonce to be
 * echoed or an echo, else the map-versions of both ends, and the locator-status-bits of the source.
 *
 * Only towards locators with LISP_LOCATOR_CLOSED; all others cost one test of a byte. N and V share
 * their field and are never set together; N goes first, because it is asked for now and then only.
 */
#ifndef GODWIT_CLOSED_SEND_H
#define GODWIT_CLOSED_SEND_H

#include "lookup.h"

#define NONCE_OWED (1U << 31)
#define NONCE_SENT (1U << 31) /* a packet has carried our question */
#define NONCE_MASK 0xffffff

static __always_inline __u32 get_overhead(const struct lisp_locator *locator)
{
	return locator->family == IPV4_VERSION ? sizeof(struct outer_ipv4) : sizeof(struct outer_ipv6);
}

static __noinline struct lisp_mapping_facts *find_own_facts(const struct lisp_eid_key *eid)
{
	struct lisp_eid_prefix_key key;

	set_prefix_key(&key, eid);
	return bpf_map_lookup_elem(&own_facts, &key);
}

static __noinline struct lisp_mapping_facts *find_remote_facts(const struct lisp_eid_key *eid)
{
	struct lisp_eid_prefix_key key;

	set_prefix_key(&key, eid);
	return bpf_map_lookup_elem(&remote_facts, &key);
}

static __always_inline void write_field(struct lisp_data_header *lisp, __u8 flags, __u32 field)
{
	lisp->flags |= flags;
	lisp->nonce[0] = field >> 16;
	lisp->nonce[1] = field >> 8;
	lisp->nonce[2] = field;
}

/* RFC 9300 §10.1: an echo is owed once; while it waits, our own question waits too. */
static __always_inline int write_nonce(struct lisp_data_header *lisp, const struct lisp_locator *locator)
{
	struct lisp_rloc_key peer = { .family = locator->family };
	__u32 *owed, *wanted;

	__builtin_memcpy(peer.address, locator->destination, 16);
	owed = bpf_map_lookup_elem(&nonce_echoes, &peer);
	if (owed && *owed & NONCE_OWED) {
		*owed &= NONCE_MASK;
		write_field(lisp, DATA_FLAG_NONCE, *owed);
		return 1;
	}
	wanted = bpf_map_lookup_elem(&nonce_requests, &peer);
	if (!wanted)
		return 0;
	write_field(lisp, DATA_FLAG_NONCE | DATA_FLAG_ECHO, *wanted);
	if (!(*wanted & NONCE_SENT))
		*wanted |= NONCE_SENT;
	return 1;
}

/* RFC 9302 §7: the null version of the destination is never sent; that of the source may be. */
static __always_inline void write_versions(struct lisp_data_header *lisp, const struct packet *packet,
					   const struct lisp_mapping_facts *own)
{
	const struct lisp_mapping_facts *there = find_remote_facts(&packet->destination);
	__u32 source = own && own->flags & LISP_MAPPING_FACTS_VERSION ? own->map_version : 0;

	if (there && there->map_version)
		write_field(lisp, DATA_FLAG_VERSIONS, source << 12 | there->map_version);
}

/* Into the LISP header that was just written; what was not found out is not said. */
static __noinline void mark_closed(struct __sk_buff *skb, const struct packet *packet,
				   const struct lisp_locator *locator)
{
	const struct lisp_node_config *config = get_node_config();
	__u32 offset = ETH_HLEN + get_overhead(locator) - sizeof(struct lisp_data_header);
	const struct lisp_mapping_facts *own = find_own_facts(&packet->source);
	struct lisp_data_header *lisp = (void *)(long)skb->data + offset;

	if (!config || (void *)(lisp + 1) > (void *)(long)skb->data_end)
		return;
	if (config->flags & LISP_NODE_STATUS_BITS && own && own->flags & LISP_MAPPING_FACTS_STATUS_BITS) {
		lisp->flags |= DATA_FLAG_STATUS_BITS;
		lisp->instance_id_and_bits |= bpf_htonl(own->status_bits);
	}
	if (packet->nonce) /* of a live move: the field is taken */
		return;
	if (config->flags & LISP_NODE_ECHO_NONCE && write_nonce(lisp, locator))
		return;
	if (config->flags & LISP_NODE_MAP_VERSIONS)
		write_versions(lisp, packet, own);
}

#endif
