/* See hold_gates.h. */
#include "hold_gates.h"

#include <errno.h>
#include <sys/mman.h>

static const size_t GATES_BYTES = LISP_HOLD_GATES * sizeof(struct lisp_hold_gate);

uint32_t hold_gate_slot(const struct hold_key *key)
{
	return lisp_hold_gate_slot(key->purpose, &key->eid);
}

static struct lisp_hold_gate *gate_of(const struct hold_gates *gates, const struct hold_key *key)
{
	return &gates->gates[hold_gate_slot(key)];
}

static void set_left(struct lisp_hold_gate *gate, uint64_t left)
{
	__atomic_store_n(&gate->left, left, __ATOMIC_RELEASE);
}

int hold_gates_open(struct hold_gates *gates, int map)
{
	gates->gates = mmap(NULL, GATES_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
	if (gates->gates == MAP_FAILED) {
		gates->gates = NULL;
		return errno;
	}
	for (uint32_t i = 0; i < LISP_HOLD_GATES; i++)
		if (gates->gates[i].left != gates->gates[i].entered)
			set_left(&gates->gates[i], gates->gates[i].entered);
	return 0;
}

void hold_gates_close(struct hold_gates *gates)
{
	if (gates->gates)
		munmap(gates->gates, GATES_BYTES);
	gates->gates = NULL;
}

void hold_gate_leave(struct hold_gates *gates, const struct hold_key *key, uint32_t segments)
{
	struct lisp_hold_gate *gate = gate_of(gates, key);

	set_left(gate, gate->left + segments);
}

uint64_t hold_gate_left(const struct hold_gates *gates, const struct hold_key *key)
{
	return gate_of(gates, key)->left;
}

uint64_t hold_gate_entered(const struct hold_gates *gates, const struct hold_key *key)
{
	return __atomic_load_n(&gate_of(gates, key)->entered, __ATOMIC_ACQUIRE);
}

uint64_t hold_gate_ahead(struct hold_gates *gates, const struct hold_key *key)
{
	struct lisp_hold_gate *gate = gate_of(gates, key);
	uint64_t left = gate->left, entered;

	/* Either we see what a program has counted in, or it sees our latest `left`. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	entered = __atomic_load_n(&gate->entered, __ATOMIC_ACQUIRE);
	if (entered >= left)
		return entered - left;
	/* A super-packet became more packets than it was counted for. */
	set_left(gate, entered);
	return 0;
}
