/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Live moves: the endpoint runs on at the source while its memory goes to the destination.
 *
 * The source delivers and sends a copy of each packet ahead, so that what arrives between the stop of
 * the endpoint and the news of it is not lost; the destination keeps the copies back, and knows by
 * the stamps of the source's clock which of them the endpoint cannot have seen. All of it is in maps:
 * it goes on when no daemon runs, until the lease in the entry is over.
 *
 * The outer header of a copy replaces the one there, in place; where the two differ in family there is
 * no copy, and that is counted. Packets of the site itself are not copied: they do not pass here.
 */
#ifndef GODWIT_LIVE_MOVE_H
#define GODWIT_LIVE_MOVE_H

#include "encapsulate.h"
#include "decapsulate.h"

/* To where the EID still is: for the caller, because call stacks are short. */
#define SEND_ON (-101)

enum { BURST_MS = 100, LONGEST_OUTER = ETH_HLEN + sizeof(struct outer_ipv6) };

static __always_inline __u32 make_nonce(__u32 kind)
{
	return LISP_STAMPED | kind << LISP_KIND_SHIFT |
	       (__u32)(bpf_ktime_get_ns() >> LISP_STAMP_SHIFT & LISP_STAMP_MASK);
}

/* Tokens are not kept exactly when CPUs take at once: then a few packets more are copied. */
static __always_inline int take_copy_tokens(struct lisp_move *move, __u32 bytes, __u64 now)
{
	__u64 elapsed_ms = (now - move->refilled_ns) / MILLISECONDS, tokens = move->tokens;
	__u64 most = (__u64)move->bytes_per_ms * BURST_MS;

	if (elapsed_ms) {
		tokens += (elapsed_ms > BURST_MS ? BURST_MS : elapsed_ms) * move->bytes_per_ms;
		move->tokens = tokens > most ? most : tokens;
		move->refilled_ns = now;
	}
	if (move->tokens < bytes)
		return 0;
	move->tokens -= bytes;
	return 1;
}

/* A clone of the frame, as it stands, to the next hop of `peer`. 0, or -1: no neighbour is known. */
static __always_inline int clone_to_rloc(struct __sk_buff *skb, const struct lisp_locator *peer)
{
	struct bpf_fib_lookup route = { .l4_protocol = IPPROTO_UDP, .ifindex = skb->ifindex };

	if (peer->family == IPV4_VERSION) {
		route.family = ADDRESS_FAMILY_IPV4;
		__builtin_memcpy(&route.ipv4_src, peer->source, 4);
		__builtin_memcpy(&route.ipv4_dst, peer->destination, 4);
	} else {
		route.family = ADDRESS_FAMILY_IPV6;
		__builtin_memcpy(route.ipv6_src, peer->source, 16);
		__builtin_memcpy(route.ipv6_dst, peer->destination, 16);
	}
	if (bpf_fib_lookup(skb, &route, sizeof(route), 0) != BPF_FIB_LKUP_RET_SUCCESS ||
	    write_macs(skb, route.dmac, route.smac))
		return -1;
	return bpf_clone_redirect(skb, route.ifindex, 0) ? -1 : 0;
}

/* The copy is made of the frame itself, which then gets its own headers again. -1: it could not. */
static __noinline int send_copy(struct __sk_buff *skb, const struct outer *outer, struct packet *packet,
				const struct lisp_locator *peer)
{
	__u8 before[LONGEST_OUTER];
	__u32 length = ETH_HLEN + sizeof(struct outer_ipv4), failed;

	if (outer->family != IPV4_VERSION)
		length = ETH_HLEN + sizeof(struct outer_ipv6);
	if (bpf_skb_load_bytes(skb, 0, before, length))
		return -1;
	hash_flow(packet);
	packet->ttl--;
	packet->nonce = make_nonce(LISP_KIND_COPY);
	failed = rewrite_inner(skb, ETH_HLEN + outer->overhead, packet->family, packet->ttl,
			       packet->traffic_class) ||
		 write_outer(skb, peer, packet) || clone_to_rloc(skb, peer);
	packet->ttl++;
	packet->nonce = 0;
	packet->is_changed = 1; /* the header says one hop less now */
	if (bpf_skb_store_bytes(skb, 0, before, length, 0))
		return -1;
	return failed ? -1 : 0;
}

static __noinline void copy_to_peer(struct __sk_buff *skb, const struct outer *outer,
				    struct packet *packet, struct lisp_move *move)
{
	__u64 now = bpf_ktime_get_ns();

	if (now >= move->until_ns)
		return;
	if (!take_copy_tokens(move, skb->len, now)) {
		drop(skb, LISP_DROP_COPY_RATE_LIMITED);
		return;
	}
	if (move->peer.family != outer->family || packet->ttl <= 1 ||
	    get_wire_length(skb, packet) + outer->overhead > move->peer.path_mtu ||
	    send_copy(skb, outer, packet, &move->peer))
		drop(skb, LISP_DROP_COPY_FAILED);
	else
		tally(skb, LISP_TALLY_COPIED);
}

static __always_inline __u32 get_kind(__u32 nonce)
{
	return nonce & LISP_STAMPED ? nonce >> LISP_KIND_SHIFT & 3 : LISP_KIND_PLAIN;
}

/* Stamps wrap: what is less than half of the circle behind is before. */
static __always_inline int is_before_cut(const struct lisp_move *move, __u32 nonce)
{
	return move->flags & LISP_MOVE_HAS_CUT &&
	       ((nonce - move->cut) & LISP_STAMP_MASK) > LISP_STAMP_MASK / 2;
}

/* At the destination: what the peer has marked, and what else comes. */
static __always_inline int follow_to_destination(struct __sk_buff *skb, const struct outer *outer,
						 struct packet *packet,
						 const struct lisp_local_eid *local,
						 const struct lisp_move *move)
{
	int from_peer = outer->family == move->peer.family &&
			addresses_equal(outer->source.address, move->peer.destination);
	__u32 kind = from_peer ? get_kind(outer->nonce) : LISP_KIND_PLAIN;

	if (local->state == LISP_LOCAL_EID_STANDBY) {
		if (kind == LISP_KIND_PLAIN && move->flags & LISP_MOVE_PASS_ON)
			return SEND_ON;
		packet->nonce = kind == LISP_KIND_PLAIN ? 0 : outer->nonce;
		return CONTINUE;
	}
	if (kind != LISP_KIND_COPY)
		return CONTINUE;
	if (is_away(local) || move->flags & LISP_MOVE_DROP_COPIES)
		return drop(skb, LISP_DROP_SEEN_AT_SOURCE);
	if (bpf_ktime_get_ns() < move->until_ns && is_before_cut(move, outer->nonce))
		return drop(skb, LISP_DROP_SEEN_AT_SOURCE);
	return CONTINUE;
}

/* The EID of this packet is on a live move, from here or to here. CONTINUE, SEND_ON, or a verdict. */
CHECKED_ONCE int follow_move(struct __sk_buff *skb, const struct outer *outer, struct packet *packet,
			     const struct lisp_local_eid *local)
{
	struct lisp_move *move;

	if (!outer || !packet || !local)
		return CONTINUE;
	move = bpf_map_lookup_elem(&moves, &packet->destination);
	if (!move)
		return CONTINUE;
	if (move->role == LISP_MOVE_DESTINATION)
		return follow_to_destination(skb, outer, packet, local, move);
	if (is_present(local))
		copy_to_peer(skb, outer, packet, move);
	else if (is_away(local))
		packet->nonce = make_nonce(LISP_KIND_REDIRECT);
	return CONTINUE;
}

#endif
