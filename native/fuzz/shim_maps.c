// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The maps of shim.h: elements in a list, each value an allocation of exactly its size. An element
 * comes into being when it is first asked for, as fuzz_fill says; that there is none is remembered
 * too. Elements live until the input is over, even deleted ones: as with RCU, who has looked one up
 * may use it until the program ends.
 */
#include "shim.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>

enum {
	MOST_MAPS = 64,
	MOST_ELEMENTS = 4096, /* of one input, all maps together */
	CHOICE_CHANGED = 0xfd, /* another CPU has changed the element since */
};

struct element {
	struct element *next;
	bool present;
	void *key, *value;
};

struct shim_map {
	const void *map;
	unsigned int type;
	size_t key_bytes, value_bytes, entries;
	struct element *elements, *replaced;
};

static struct shim_map maps[MOST_MAPS];
static size_t map_count, element_count;

static void release(struct element *element)
{
	struct element *next;

	for (; element; element = next) {
		next = element->next;
		free(element->key);
		free(element->value);
		free(element);
	}
}

void shim_forget_maps(void)
{
	for (size_t i = 0; i < map_count; i++) {
		release(maps[i].elements);
		release(maps[i].replaced);
	}
	map_count = 0;
	element_count = 0;
}

struct shim_map *shim_map_of(const void *map, unsigned int type, size_t key_bytes, size_t value_bytes,
			     size_t entries)
{
	for (size_t i = 0; i < map_count; i++)
		if (maps[i].map == map)
			return &maps[i];
	if (map_count == MOST_MAPS)
		abort();
	maps[map_count] = (struct shim_map){
		.map = map, .type = type, .key_bytes = key_bytes, .value_bytes = value_bytes, .entries = entries,
	};
	return &maps[map_count++];
}

static bool is_array(const struct shim_map *map)
{
	return map->type == BPF_MAP_TYPE_ARRAY || map->type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static struct element *find(const struct shim_map *map, const void *key)
{
	struct element *element = map->elements;

	while (element && memcmp(element->key, key, map->key_bytes))
		element = element->next;
	return element;
}

static struct element *add(struct shim_map *map, const void *key)
{
	struct element *element = calloc(1, sizeof(*element));

	if (!element || element_count++ == MOST_ELEMENTS)
		abort();
	element->key = malloc(map->key_bytes);
	element->value = calloc(1, map->value_bytes);
	if (!element->key || !element->value)
		abort();
	memcpy(element->key, key, map->key_bytes);
	element->next = map->elements;
	map->elements = element;
	return element;
}

/* Takes the element out of sight; who holds its value may go on using it. */
static void retire(struct shim_map *map, struct element *old)
{
	struct element **place = &map->elements;

	while (*place != old)
		place = &(*place)->next;
	*place = old->next;
	old->next = map->replaced;
	map->replaced = old;
}

void *shim_map_lookup(struct shim_map *map, const void *key)
{
	struct element *element = find(map, key);
	__u32 index;

	if (is_array(map)) {
		memcpy(&index, key, sizeof(index));
		if (index >= map->entries)
			return NULL;
	} else if (element && shim_choose() == CHOICE_CHANGED) {
		retire(map, element);
		element = NULL;
	}
	if (!element) {
		element = add(map, key);
		element->present = fuzz_fill(map->map, element->key, element->value) || is_array(map);
	}
	return element->present ? element->value : NULL;
}

long shim_map_update(struct shim_map *map, const void *key, const void *value, __u64 flags)
{
	struct element *element = find(map, key);

	if (flags > BPF_EXIST)
		return -EINVAL;
	if (element && !is_array(map)) {
		retire(map, element);
		element = NULL;
	}
	if (!element)
		element = add(map, key);
	element->present = true;
	memcpy(element->value, value, map->value_bytes);
	return 0;
}

long shim_map_delete(struct shim_map *map, const void *key)
{
	struct element *element = find(map, key);

	if (!element || !element->present)
		return -ENOENT;
	retire(map, element);
	add(map, key);
	return 0;
}

static const struct shim_map *known(const void *map)
{
	for (size_t i = 0; i < map_count; i++)
		if (maps[i].map == map)
			return &maps[i];
	return NULL;
}

const void *shim_map_peek(const void *id, const void *key)
{
	const struct shim_map *map = known(id);
	const struct element *element = map ? find(map, key) : NULL;

	return element && element->present ? element->value : NULL;
}

void shim_map_each(const void *id, void (*visit)(const void *value, void *context), void *context)
{
	const struct shim_map *map = known(id);

	for (const struct element *element = map ? map->elements : NULL; element; element = element->next)
		visit(element->value, context);
}
