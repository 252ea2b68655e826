/* See bpf_maps.h. */
#include "bpf_maps.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	FIRST_BATCH = 4096,
	KERNEL_ENOTSUPP = 524, /* the kernel's answer for a map type without batch calls */
};

size_t map_value_bytes(const struct bpf_map *map)
{
	size_t bytes = bpf_map__value_size(map);

	switch (bpf_map__type(map)) {
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
		return (bytes + 7) / 8 * 8 * (size_t)libbpf_num_possible_cpus();
	default:
		return bytes;
	}
}

static struct bpf_map *read_map_argument(napi_env env, napi_value *arguments)
{
	struct object_handle *object = handle_read(env, arguments[0], HANDLE_OBJECT);

	return object ? read_map_name(env, object, arguments[1]) : NULL;
}

napi_value update_map(napi_env env, napi_callback_info info)
{
	struct bytes key, value;
	napi_value arguments[4];
	struct bpf_map *map;

	if (!read_arguments(env, info, 4, arguments))
		return NULL;
	map = read_map_argument(env, arguments);
	if (!map || !read_bytes_of(env, arguments[2], "key", bpf_map__key_size(map), &key) ||
	    !read_bytes_of(env, arguments[3], "value", map_value_bytes(map), &value))
		return NULL;
	if (bpf_map_update_elem(bpf_map__fd(map), key.data, value.data, BPF_ANY)) {
		throw_system_error(env, "updateMap", errno, "map '%s'", bpf_map__name(map));
		return NULL;
	}
	return undefined_value(env);
}

/* One call for all; where the kernel has none for this map, one call each. Returns errno or 0. */
static int update_all(int map, const struct bytes *keys, const struct bytes *values,
		      size_t key_bytes, size_t value_bytes, uint32_t count, uint32_t *done)
{
	__u32 taken = count;

	*done = 0;
	if (count == 0 || bpf_map_update_batch(map, keys->data, values->data, &taken, NULL) == 0) {
		*done = count;
		return 0;
	}
	if (errno != KERNEL_ENOTSUPP && errno != EINVAL && errno != EOPNOTSUPP) {
		*done = taken < count ? taken : 0;
		return errno;
	}
	for (; *done < count; (*done)++)
		if (bpf_map_update_elem(map, keys->data + *done * key_bytes,
					values->data + *done * value_bytes, BPF_ANY))
			return errno;
	return 0;
}

napi_value update_map_batch(napi_env env, napi_callback_info info)
{
	size_t key_bytes, value_bytes;
	struct bytes keys, values;
	napi_value arguments[5];
	struct bpf_map *map;
	uint32_t count, done;
	int error;

	if (!read_arguments(env, info, 5, arguments))
		return NULL;
	map = read_map_argument(env, arguments);
	if (!map || !read_u32(env, arguments[4], "count", &count))
		return NULL;
	key_bytes = bpf_map__key_size(map);
	value_bytes = map_value_bytes(map);
	if (!read_bytes_of(env, arguments[2], "keys", key_bytes * count, &keys) ||
	    !read_bytes_of(env, arguments[3], "values", value_bytes * count, &values))
		return NULL;
	error = update_all(bpf_map__fd(map), &keys, &values, key_bytes, value_bytes, count, &done);
	if (error) {
		throw_system_error(env, "updateMapBatch", error, "map '%s', %u of %u entries put",
				   bpf_map__name(map), done, count);
		return NULL;
	}
	return undefined_value(env);
}

napi_value delete_map(napi_env env, napi_callback_info info)
{
	napi_value arguments[3];
	struct bpf_map *map;
	struct bytes key;

	if (!read_arguments(env, info, 3, arguments))
		return NULL;
	map = read_map_argument(env, arguments);
	if (!map || !read_bytes_of(env, arguments[2], "key", bpf_map__key_size(map), &key))
		return NULL;
	if (bpf_map_delete_elem(bpf_map__fd(map), key.data) == 0)
		return boolean_value(env, true);
	if (errno == ENOENT)
		return boolean_value(env, false);
	throw_system_error(env, "deleteMap", errno, "map '%s'", bpf_map__name(map));
	return NULL;
}

napi_value lookup_map(napi_env env, napi_callback_info info)
{
	napi_value arguments[3], result = NULL;
	struct bpf_map *map;
	struct bytes key;
	void *value;

	if (!read_arguments(env, info, 3, arguments))
		return NULL;
	map = read_map_argument(env, arguments);
	if (!map || !read_bytes_of(env, arguments[2], "key", bpf_map__key_size(map), &key))
		return NULL;
	value = allocate(env, map_value_bytes(map));
	if (!value)
		return NULL;
	if (bpf_map_lookup_elem(bpf_map__fd(map), key.data, value) == 0)
		result = bytes_value(env, value, map_value_bytes(map));
	else if (errno == ENOENT)
		result = undefined_value(env);
	else
		throw_system_error(env, "lookupMap", errno, "map '%s'", bpf_map__name(map));
	free(value);
	return result;
}

struct contents {
	uint8_t *keys;
	uint8_t *values;
	size_t count;
	size_t capacity;
	size_t key_bytes;
	size_t value_bytes;
};

static bool reserve(struct contents *contents, size_t more)
{
	size_t capacity = contents->capacity ? contents->capacity : FIRST_BATCH;
	uint8_t *keys, *values;

	while (capacity < contents->count + more)
		capacity *= 2;
	if (capacity == contents->capacity)
		return true;
	keys = realloc(contents->keys, capacity * contents->key_bytes);
	if (keys)
		contents->keys = keys;
	values = realloc(contents->values, capacity * contents->value_bytes);
	if (values)
		contents->values = values;
	if (keys && values)
		contents->capacity = capacity;
	return keys && values;
}

/* 0, or errno; ENOTSUPP and EINVAL with nothing read mean "no batch call for this map". */
static int read_by_batch(int map, size_t most, struct contents *contents)
{
	uint8_t token[256];
	size_t batch = FIRST_BATCH;
	bool first = true;
	__u32 got;
	int error;

	if (contents->key_bytes > sizeof(token))
		return KERNEL_ENOTSUPP;
	/* Bounded also while others insert: a map cannot hold more than its size. */
	while (contents->count <= most) {
		if (!reserve(contents, batch))
			return ENOMEM;
		got = (__u32)batch;
		error = bpf_map_lookup_batch(
			map, first ? NULL : token, token,
			contents->keys + contents->count * contents->key_bytes,
			contents->values + contents->count * contents->value_bytes, &got, NULL);
		error = error ? errno : 0;
		/* One hash bucket can hold more than a batch: ask again with more room. */
		if (error == ENOSPC && batch <= most) {
			batch *= 2;
			continue;
		}
		if (error && error != ENOENT)
			return error;
		contents->count += got;
		first = false;
		if (error == ENOENT)
			return 0;
	}
	return 0;
}

static int read_one_by_one(int map, size_t most, struct contents *contents)
{
	const void *previous = NULL;
	uint8_t *key;

	contents->count = 0;
	for (size_t visited = 0; visited <= most; visited++) {
		if (!reserve(contents, 2))
			return ENOMEM;
		/* reserve may have moved the keys; the slot before `key` holds the last one visited. */
		key = contents->keys + contents->count * contents->key_bytes;
		if (contents->count)
			previous = key - contents->key_bytes;
		if (bpf_map_get_next_key(map, previous, key))
			return errno == ENOENT ? 0 : errno;
		if (bpf_map_lookup_elem(map, key,
					contents->values + contents->count * contents->value_bytes))
			return errno;
		contents->count++;
	}
	return 0;
}

napi_value read_map(napi_env env, napi_callback_info info)
{
	struct contents contents = { 0 };
	napi_value arguments[2], result = NULL;
	struct bpf_map *map;
	size_t most;
	int error;

	if (!read_arguments(env, info, 2, arguments))
		return NULL;
	map = read_map_argument(env, arguments);
	if (!map)
		return NULL;
	contents.key_bytes = bpf_map__key_size(map);
	contents.value_bytes = map_value_bytes(map);
	most = bpf_map__max_entries(map);
	error = read_by_batch(bpf_map__fd(map), most, &contents);
	if (error == KERNEL_ENOTSUPP || error == EINVAL || error == EOPNOTSUPP)
		error = read_one_by_one(bpf_map__fd(map), most, &contents);
	if (error) {
		throw_system_error(env, "readMap", error, "map '%s'", bpf_map__name(map));
	} else if (napi_create_object(env, &result) == napi_ok) {
		set_number(env, result, "count", (double)contents.count);
		set_property(env, result, "keys",
			     bytes_value(env, contents.keys, contents.count * contents.key_bytes));
		set_property(env, result, "values",
			     bytes_value(env, contents.values,
					 contents.count * contents.value_bytes));
	}
	free(contents.keys);
	free(contents.values);
	return result;
}
