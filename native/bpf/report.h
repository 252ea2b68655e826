/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Events to user space, each behind a token bucket: packets cause them, so packets must not be able
 * to flood them. When the ring is full the event is lost and counted; whatever is still true is
 * reported again after the interval.
 */
#ifndef GODWIT_REPORT_H
#define GODWIT_REPORT_H

#include "packet.h"


enum event_intervals_ms {
	LOCAL_EID_SEEN_MS = 50,
	MAC_SEEN_MS = 50,
	AWAY_EID_HIT_MS = 100,
	UNSETTLED_MS = 1000,     /* so long TCP for unknown EIDs is looked at packet by packet */
	SENDER_SEEN_MS = 1000,
	EID_WANTED_MS = 1000,
	RECENT_SHARE = 10, /* a sender's limit is looked up at most so often per interval */
	PACKET_TOO_BIG_MS = 100,        /* per destination and source, of ICMP errors per RLOC */
	PACKET_TOO_BIG_TOTAL_MS = 10,   /* 100 a second in all … */
	PACKET_TOO_BIG_TOTAL_BURST = 50, /* … in bursts up to this */
};

/* Packets to be split: the hold's thread has other work too. */
enum fragment_limits {
	FRAGMENT_LIMIT = 0x100, /* no event type */
	FRAGMENT_US = 50,       /* 20,000 a second … */
	FRAGMENT_BURST = 1000,  /* … in bursts up to this */
};

/* What an event says, and by what it is limited: always by type and EID, and by `peer` on demand. */
struct report {
	struct lisp_eid_key eid;
	__u8 peer[16];
	__u8 mac[6];
	__u8 type;
	__u8 detail;
	__u8 peer_family;
	__u8 limit_by_peer;
	__u16 mtu;
	__u32 interface_index;
	__u32 interval_ms;
};

static __noinline int take_token(const struct event_limit_key *key, __u64 interval_ns, __u32 burst)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct event_limit *limit = bpf_map_lookup_elem(&event_limits, key);
	__u64 earned;

	if (!limit) {
		struct event_limit fresh = { .refilled_ns = now, .tokens = burst - 1 };

		bpf_map_update_elem(&event_limits, key, &fresh, BPF_ANY);
		return 1;
	}
	earned = (now - limit->refilled_ns) / interval_ns;
	if (earned) {
		__u64 tokens = limit->tokens + earned;

		limit->refilled_ns = now;
		limit->tokens = tokens > burst ? burst : tokens;
	}
	if (!limit->tokens)
		return 0;
	limit->tokens--;
	return 1;
}

/* The first bytes of the offending packet from its IP header, for an ICMP error to quote. */
static __always_inline void copy_head(struct __sk_buff *skb, struct lisp_event *event)
{
	__u32 length = skb->len - ETH_HLEN;

	if (skb->len <= ETH_HLEN)
		return;
	if (length > LISP_EVENT_HEAD_BYTES)
		length = LISP_EVENT_HEAD_BYTES;
	/* clang forgets that length is at least 1; the verifier wants to see it (6.18: "invalid zero-sized read") */
	asm volatile("" : "+r"(length));
	if (length < 1 || length > LISP_EVENT_HEAD_BYTES)
		return;
	if (!bpf_skb_load_bytes(skb, ETH_HLEN, event->head, length))
		event->head_length = length;
}

static __noinline int send_event(struct __sk_buff *skb, const struct report *report)
{
	struct lisp_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		tally(skb, LISP_TALLY_EVENT_LOST);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->type = report->type;
	event->detail = report->detail;
	event->peer_family = report->peer_family;
	event->eid = report->eid;
	__builtin_memcpy(event->peer, report->peer, 16);
	event->interface_index = report->interface_index;
	event->mtu = report->mtu;
	__builtin_memcpy(event->mac, report->mac, 6);
	if (report->type == LISP_EVENT_PACKET_TOO_BIG || report->type == LISP_EVENT_PATH_TOO_NARROW)
		copy_head(skb, event);
	bpf_ringbuf_submit(event, 0);
	return 1;
}

/* Send the event unless one for the same EID (and peer) went out within the interval. */
static __noinline int report_event(struct __sk_buff *skb, const struct report *report)
{
	struct event_limit_key key = { .eid = report->eid, .type = report->type };

	if (report->limit_by_peer)
		__builtin_memcpy(key.peer, report->peer, 16);
	if (!take_token(&key, report->interval_ms * MILLISECONDS, 1))
		return 0;
	return send_event(skb, report);
}

/* `mtu` is what the sender may send, without our headers (RFC 9300 §7.1: S). */
static __noinline int report_too_big(struct __sk_buff *skb, const struct packet *packet, __u32 mtu)
{
	struct event_limit_key flow = { .eid = packet->destination, .type = LISP_EVENT_PACKET_TOO_BIG };
	struct event_limit_key all = { .type = LISP_EVENT_PACKET_TOO_BIG };
	struct report report = {
		.eid = packet->destination,
		.type = LISP_EVENT_PACKET_TOO_BIG,
		.peer_family = packet->family,
		.mtu = mtu,
		.interface_index = packet->interface_index,
	};

	__builtin_memcpy(flow.peer, packet->source.address, 16);
	__builtin_memcpy(report.peer, packet->source.address, 16);
	if (!take_token(&flow, PACKET_TOO_BIG_MS * MILLISECONDS, 1))
		return 0;
	if (!take_token(&all, PACKET_TOO_BIG_TOTAL_MS * MILLISECONDS, PACKET_TOO_BIG_TOTAL_BURST))
		return 0;
	return send_event(skb, &report);
}

#endif
