// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A patch panel for labs: an endpoint's link ends in a port, legs lead to bridges, and one of them is
 * plugged in, per direction. Knows nothing of LISP; frames of all kinds pass. Switching is one map
 * write: moving a veth between namespaces instead takes tens of milliseconds and loses packets
 * (measured), which would hide what is to be shown.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "panel_abi.h"

/* What is plugged in where. Key: 0. Writer: user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct panel_state);
} panel_state SEC(".maps");

/* Frames per leg; the last element is the port's. Writer: programs. Super-packets count as one. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PANEL_MAXIMUM_LEGS + 1);
	__type(key, __u32);
	__type(value, struct panel_counter);
} panel_counters SEC(".maps");

static __always_inline struct panel_counter *get_counter(__u32 leg)
{
	return bpf_map_lookup_elem(&panel_counters, &leg);
}

static __always_inline int drop_frame(__u32 leg)
{
	struct panel_counter *counter = get_counter(leg);

	if (counter)
		counter->dropped++;
	return TC_ACT_SHOT;
}

/* From the endpoint to the leg that is plugged in. */
SEC("tc")
int panel_port(struct __sk_buff *skb __attribute__((unused)))
{
	__u32 zero = 0, leg;
	struct panel_state *state = bpf_map_lookup_elem(&panel_state, &zero);
	struct panel_counter *counter;

	if (!state)
		return TC_ACT_SHOT;
	leg = state->active_up; /* read once: it may change at any moment */
	if (leg >= PANEL_MAXIMUM_LEGS || leg >= state->leg_count)
		return drop_frame(PANEL_MAXIMUM_LEGS);
	counter = get_counter(leg);
	if (counter)
		counter->forwarded_up++;
	return bpf_redirect(state->legs[leg], 0);
}

/* From a leg to the endpoint, when that leg is plugged in. */
SEC("tc")
int panel_leg(struct __sk_buff *skb)
{
	__u32 zero = 0, active, from = PANEL_MAXIMUM_LEGS;
	struct panel_state *state = bpf_map_lookup_elem(&panel_state, &zero);
	struct panel_counter *counter;

	if (!state)
		return TC_ACT_SHOT;
	active = state->active_down;
#pragma unroll
	for (__u32 leg = 0; leg < PANEL_MAXIMUM_LEGS; leg++)
		if (leg < state->leg_count && state->legs[leg] == skb->ifindex)
			from = leg;
	if (from == PANEL_MAXIMUM_LEGS)
		return TC_ACT_UNSPEC;
	if (from != active)
		return drop_frame(from);
	counter = get_counter(from);
	if (counter)
		counter->forwarded_down++;
	return bpf_redirect(state->port_ifindex, 0);
}

char program_license[] SEC("license") = "Dual BSD/GPL";
