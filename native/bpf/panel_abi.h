/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Keys and values of the patch panel's maps. All fields in host order.
 */
#ifndef PANEL_ABI_H
#define PANEL_ABI_H

#include <linux/types.h>

enum panel_limits {
	PANEL_MAXIMUM_LEGS = 8,
	PANEL_CLOSED = 255, /* as active_up or active_down: nothing passes in that direction */
};

/* One element. Each direction is switched by writing one aligned word, so no frame sees half a switch. */
struct panel_state {
	__u32 port_ifindex; /* where the endpoint is plugged in */
	__u32 active_up;    /* index of the leg that gets what the endpoint sends, or PANEL_CLOSED */
	__u32 active_down;  /* index of the leg whose frames reach the endpoint, or PANEL_CLOSED */
	__u32 leg_count;
	__u32 legs[PANEL_MAXIMUM_LEGS]; /* interface indexes */
};
_Static_assert(sizeof(struct panel_state) == 48, "panel_state");

/* By leg index; element PANEL_MAXIMUM_LEGS counts what the endpoint sent into a closed panel, as dropped. */
struct panel_counter {
	__u64 forwarded_up;
	__u64 forwarded_down;
	__u64 dropped;
};
_Static_assert(sizeof(struct panel_counter) == 24, "panel_counter");

#endif
