/* See bpf_links.h. */
#include "bpf_links.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* From linux/bpf.h of 6.6; older headers, against which this must compile, lack them. */
enum { TCX_INGRESS = 46, TCX_EGRESS = 47, LINK_TYPE_TCX = 11 };
enum { MAXIMUM_PROGRAMS = 64 };

/* struct bpf_link_info of 6.6 with its tcx member; the kernel fills as much as it knows. */
struct tcx_link_info {
	__u32 type;
	__u32 id;
	__u32 program_id;
	__u32 padding;
	__u32 interface_index;
	__u32 attach_type;
	__u8 rest[64];
};

void link_path(char *path, size_t size, const char *directory, const char *program,
	       uint32_t interface_index)
{
	snprintf(path, size, "%s/link_%s_%u", directory, program, interface_index);
}

/*
 * A link outlives its device (index 0 then), and an index says nothing about the namespace: the link
 * counts only when the program it carries is also listed on the interface as we see it.
 */
static bool is_alive(int link, uint32_t interface_index, int type)
{
	__u32 programs[MAXIMUM_PROGRAMS], count = MAXIMUM_PROGRAMS;
	struct tcx_link_info info = { 0 };
	__u32 length = sizeof(info);

	if (bpf_obj_get_info_by_fd(link, &info, &length) || info.type != LINK_TYPE_TCX ||
	    info.interface_index != interface_index || info.attach_type != (__u32)type)
		return false;
	if (bpf_prog_query((int)interface_index, type, 0, NULL, programs, &count))
		return false;
	for (__u32 i = 0; i < count && i < MAXIMUM_PROGRAMS; i++)
		if (programs[i] == info.program_id)
			return true;
	return false;
}

int link_attach(const char *path, int program, uint32_t interface_index, bool egress,
		bool *replaced)
{
	int type = egress ? TCX_EGRESS : TCX_INGRESS;
	int link = bpf_obj_get(path);
	int error = 0;

	*replaced = false;
	if (link >= 0) {
		if (is_alive(link, interface_index, type) &&
		    bpf_link_update(link, program, NULL) == 0) {
			close(link);
			*replaced = true;
			return 0;
		}
		unlink(path);
		close(link);
	}
	link = bpf_link_create(program, (int)interface_index, type, NULL);
	if (link < 0)
		return -link;
	if (bpf_obj_pin(link, path))
		error = errno;
	/* The pin keeps it; without a pin this also detaches. */
	close(link);
	return error;
}

int link_detach(const char *path)
{
	int link = bpf_obj_get(path);

	if (link < 0)
		return errno == ENOENT ? 0 : errno;
	/* The device may be gone (ENOLINK): then only the pin is left to remove. */
	bpf_link_detach(link);
	close(link);
	return unlink(path) ? errno : 0;
}
