/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which gate counts the packets of a hold queue: the same for the programs and the hold's thread.
 *
 * An array and no hash, so that nobody has to make, find and remove elements while packets are on
 * their way: two queues that meet in one gate see each other's packets as ahead of theirs.
 */
#ifndef GODWIT_HOLD_GATE_H
#define GODWIT_HOLD_GATE_H

#include "lisp_abi.h"

static inline __attribute__((always_inline)) __u32
lisp_hold_gate_slot(__u32 purpose, const struct lisp_eid_key *eid)
{
	const __u32 *words = (const __u32 *)eid;
	__u32 hash = purpose;

#pragma GCC unroll 5
	for (int i = 0; i < 5; i++) {
		hash = (hash ^ words[i]) * 0x9e3779b1;
		hash ^= hash >> 15;
	}
	return hash & (LISP_HOLD_GATES - 1);
}

#endif
