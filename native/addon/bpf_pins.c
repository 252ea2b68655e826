/* See bpf_pins.h. */
#include "bpf_pins.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static const char VERSION_MAP[] = "abi_version";

int pins_make_directory(const char *path)
{
	char part[PIN_PATH_BYTES];
	struct statfs filesystem;
	size_t length;

	snprintf(part, sizeof(part), "%s", path);
	while (statfs(part, &filesystem)) {
		if (errno != ENOENT)
			return errno;
		char *slash = strrchr(part, '/');

		if (!slash || slash == part)
			return EINVAL;
		*slash = '\0';
	}
	if (filesystem.f_type != BPF_FS_MAGIC)
		return EINVAL;
	for (length = strlen(part); length < strlen(path);) {
		const char *slash = strchr(path + length + 1, '/');

		length = slash ? (size_t)(slash - path) : strlen(path);
		snprintf(part, sizeof(part), "%.*s", (int)length, path);
		if (mkdir(part, 0700) && errno != EEXIST)
			return errno;
	}
	return 0;
}

/* The same comparison as libbpf's when it reuses a pinned map; a difference there fails the load. */
static bool same_shape(const struct bpf_map *map, int descriptor)
{
	struct bpf_map_info info = { 0 };
	__u32 length = sizeof(info);

	return bpf_obj_get_info_by_fd(descriptor, &info, &length) == 0 &&
	       info.type == bpf_map__type(map) && info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map) &&
	       info.map_flags == bpf_map__map_flags(map) &&
	       info.map_extra == bpf_map__map_extra(map);
}

static bool same_version(const char *directory, uint32_t version)
{
	char path[2 * PIN_PATH_BYTES];
	uint32_t zero = 0, found = 0;
	int descriptor;

	snprintf(path, sizeof(path), "%s/%s", directory, VERSION_MAP);
	descriptor = bpf_obj_get(path);
	if (descriptor < 0)
		return false;
	if (bpf_map_lookup_elem(descriptor, &zero, &found))
		found = 0;
	close(descriptor);
	return found == version;
}

int pins_prepare(struct bpf_object *object, const char *directory, uint32_t version)
{
	bool versioned = bpf_object__find_map_by_name(object, VERSION_MAP) != NULL;
	bool misread = versioned && !same_version(directory, version);
	char path[2 * PIN_PATH_BYTES];
	struct bpf_map *map;
	int descriptor, error;

	bpf_object__for_each_map(map, object) {
		/* .rodata and .bss belong to one load: their content is part of the programs. */
		if (bpf_map__is_internal(map))
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory, bpf_map__name(map));
		descriptor = bpf_obj_get(path);
		if (descriptor >= 0) {
			if (misread || !same_shape(map, descriptor))
				unlink(path);
			close(descriptor);
		}
		error = bpf_map__set_pin_path(map, path);
		if (error)
			return -error;
	}
	return 0;
}

int pins_mark(struct bpf_object *object, uint32_t version)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, VERSION_MAP);
	uint32_t zero = 0;

	return map ? -bpf_map_update_elem(bpf_map__fd(map), &zero, &version, BPF_ANY) : 0;
}
