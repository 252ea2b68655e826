/*
 * tcx links (Linux 6.6): a program on an interface, kept alive by a pin.
 *
 * One pin per {program, interface index}. All functions return 0 or a positive errno.
 */
#ifndef BPF_LINKS_H
#define BPF_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void link_path(char *path, size_t size, const char *directory, const char *program,
	       uint32_t interface_index);
/*
 * Attach, or, when the link at `path` is alive on this very interface, give it the new program in
 * one step (`*replaced`): no packet passes without a program.
 */
int link_attach(const char *path, int program, uint32_t interface_index, bool egress,
		bool *replaced);
/* Without a link at `path`: nothing to do, 0. */
int link_detach(const char *path);

#endif
