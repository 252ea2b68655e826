/*
 * The BPF objects that travel inside the addon. The table is made by native/Makefile: every
 * native/bpf/<name>.bpf.c becomes an entry <name>; running needs no compiler.
 */
#ifndef EMBEDDED_OBJECTS_H
#define EMBEDDED_OBJECTS_H

#include <stdint.h>

struct embedded_object {
	const char *name;
	const uint8_t *start;
	const uint8_t *end;
};

/* Ends with an entry whose name is NULL. */
extern const struct embedded_object embedded_objects[];

#endif
