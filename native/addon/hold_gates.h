/*
 * The hold's half of the gates (struct lisp_hold_gate): which packets have left the hold.
 *
 * The programs count a packet in before they put it into the device, and while an entry "drains" they
 * let a newer one go straight on once everything before it has been counted out. So when the hold's
 * thread has found `left` equal to `entered`, nothing enters any more, and an entry can be made final
 * without a packet overtaking another. Only the thread writes `left`.
 */
#ifndef HOLD_GATES_H
#define HOLD_GATES_H

#include "hold_queues.h"

#include "../bpf/hold_gate.h"

struct hold_gates {
	struct lisp_hold_gate *gates; /* the map `hold_gates`, in memory */
};

/* 0 or errno. Everything counted in so far is taken as gone: who held it is gone too. Before the
 * device is opened, so that what enters it afterwards is counted. */
int hold_gates_open(struct hold_gates *gates, int map);
void hold_gates_close(struct hold_gates *gates);

uint32_t hold_gate_slot(const struct hold_key *key);
void hold_gate_leave(struct hold_gates *gates, const struct hold_key *key, uint32_t segments);

uint64_t hold_gate_left(const struct hold_gates *gates, const struct hold_key *key);
uint64_t hold_gate_entered(const struct hold_gates *gates, const struct hold_key *key);
/* Packets that are on their way in or in the hold: of the key, and of others at the same gate. */
uint64_t hold_gate_ahead(struct hold_gates *gates, const struct hold_key *key);

#endif
