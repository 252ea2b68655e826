/* See bpf_objects.h. */
#define _GNU_SOURCE
#include "bpf_objects.h"

#include "bpf_links.h"
#include "bpf_pins.h"
#include "embedded_objects.h"
#include "event_ring.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	/* The log of a large program at level 1; a smaller buffer turns the error into ENOSPC. */
	VERIFIER_LOG_BYTES = 16 << 20,
	LIBRARY_LOG_BYTES = 4096,
	MAXIMUM_PROPERTIES = 256,
};

/* What libbpf itself says (relocations, BTF, pins): the tail of it explains errors without a
 * verifier log. libbpf has one print function per process, hence per thread. */
static _Thread_local char library_log[LIBRARY_LOG_BYTES];
static _Thread_local size_t library_log_length;

static int keep_library_log(enum libbpf_print_level level, const char *format, va_list list)
{
	int written;

	if (level == LIBBPF_DEBUG || library_log_length >= sizeof(library_log) - 1)
		return 0;
	written = vsnprintf(library_log + library_log_length,
			    sizeof(library_log) - library_log_length, format, list);
	if (written > 0)
		library_log_length += (size_t)written;
	return 0;
}

static void clear_library_log(void)
{
	library_log_length = 0;
	library_log[0] = '\0';
	libbpf_set_print(keep_library_log);
}

static void stop_object(struct handle *handle)
{
	/* Descriptors close with the last reference: a hold may still flip entries of these maps. */
	(void)handle;
}

static void release_object(struct handle *handle)
{
	struct object_handle *object = (struct object_handle *)handle;

	bpf_object__close(object->object);
	free(object);
}

/* Call `apply` for each own property of options[name], a Record<string, number>. */
static bool each_number(napi_env env, napi_value options, const char *name,
			struct object_handle *object,
			bool (*apply)(napi_env, struct object_handle *, const char *, double))
{
	napi_value record, keys, key, value;
	char text[BPF_NAME_BYTES];
	uint32_t count = 0;
	double number;

	if (!read_property(env, options, name, &record))
		return false;
	if (is_undefined(env, record))
		return true;
	if (napi_get_property_names(env, record, &keys) != napi_ok ||
	    napi_get_array_length(env, keys, &count) != napi_ok || count > MAXIMUM_PROPERTIES) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", name);
		return false;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (napi_get_element(env, keys, i, &key) != napi_ok ||
		    napi_get_property(env, record, key, &value) != napi_ok ||
		    !read_text(env, key, name, text, sizeof(text)) ||
		    !read_integer(env, value, text, -9007199254740991.0, 9007199254740991.0,
				  &number) ||
		    !apply(env, object, text, number))
			return false;
	}
	return true;
}

static bool set_maximum_entries(napi_env env, struct object_handle *object, const char *name,
				double number)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object->object, name);
	int error = !map ? -ENOENT : number < 1 || number > UINT32_MAX ? -ERANGE : 0;

	if (!error)
		error = bpf_map__set_max_entries(map, (__u32)number);
	if (error)
		throw_system_error(env, "openObject", -error, "cannot size map '%s'", name);
	return error == 0;
}

/* Where a constant of at most 8 bytes stands in .rodata; NULL when there is none of that name. */
static uint8_t *find_constant(struct bpf_object *object, const char *name, uint32_t *constant_size)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, ".rodata");
	struct btf *btf = bpf_object__btf(object);
	const struct btf_type *section, *variable;
	struct btf_var_secinfo *place;
	uint8_t *memory = NULL;
	size_t size = 0;
	int id;

	id = btf ? btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC) : -ENOENT;
	if (map)
		memory = (uint8_t *)bpf_map__initial_value(map, &size);
	section = id > 0 && memory ? btf__type_by_id(btf, id) : NULL;
	for (__u16 i = 0; section && i < btf_vlen(section); i++) {
		place = btf_var_secinfos(section) + i;
		variable = btf__type_by_id(btf, place->type);
		if (strcmp(btf__name_by_offset(btf, variable->name_off), name) ||
		    place->size > sizeof(int64_t) || place->offset + place->size > size)
			continue;
		*constant_size = place->size;
		return memory + place->offset;
	}
	return NULL;
}

static bool set_constant(napi_env env, struct object_handle *object, const char *name,
			 double number)
{
	int64_t value = (int64_t)number;
	uint32_t size;
	uint8_t *constant = find_constant(object->object, name, &size);

	if (!constant) {
		throw_system_error(env, "openObject", ENOENT,
				   "no constant '%s' of at most 8 bytes", name);
		return false;
	}
	/* Little-endian hosts only, as everywhere in the ABI: the low bytes come first. */
	memcpy(constant, &value, size);
	return true;
}

/* 0 when the object has no such constant: then it has no version either (bpf_pins.h). */
static uint32_t abi_version_of(struct bpf_object *object)
{
	uint32_t size, version = 0;
	uint8_t *constant = find_constant(object, "lisp_abi_version", &size);

	if (constant && size == sizeof(version))
		memcpy(&version, constant, size);
	return version;
}

/* `bytes` when given (another object, as tests use), else the embedded object of that name. */
static bool find_image(napi_env env, napi_value name, napi_value options, char *text,
		       struct bytes *image)
{
	const struct embedded_object *embedded = embedded_objects;
	napi_value given;

	if (!read_text(env, name, "name", text, BPF_NAME_BYTES) ||
	    !read_property(env, options, "bytes", &given))
		return false;
	if (!is_undefined(env, given))
		return read_bytes(env, given, "bytes", image);
	while (embedded->name && strcmp(embedded->name, text))
		embedded++;
	if (!embedded->name) {
		throw_system_error(env, "openObject", ENOENT, "no object '%s' in this addon", text);
		return false;
	}
	image->data = (uint8_t *)embedded->start;
	image->length = (size_t)(embedded->end - embedded->start);
	return true;
}

static bool load_object(napi_env env, struct object_handle *object, const char *name,
			const struct bytes *image, napi_value options)
{
	char *log = calloc(1, VERIFIER_LOG_BYTES);
	LIBBPF_OPTS(bpf_object_open_opts, open_options, .object_name = name, .kernel_log_buf = log,
		    .kernel_log_size = log ? VERIFIER_LOG_BYTES : 0);
	bool done = false;
	uint32_t version;
	int error;

	clear_library_log();
	object->object = bpf_object__open_mem(image->data, image->length, &open_options);
	if (!object->object) {
		throw_with_log(env, "openObject", errno, library_log, "'%s' is no BPF object", name);
		goto out;
	}
	if (!each_number(env, options, "maximumEntries", object, set_maximum_entries) ||
	    !each_number(env, options, "rodata", object, set_constant))
		goto out;
	error = pins_make_directory(object->pin_directory);
	if (error) {
		throw_system_error(env, "openObject", error,
				   "cannot pin under %s: it must be on a bpffs "
				   "(mount -t bpf bpf /sys/fs/bpf)",
				   object->pin_directory);
		goto out;
	}
	version = abi_version_of(object->object);
	error = pins_prepare(object->object, object->pin_directory, version);
	if (!error)
		error = -bpf_object__load(object->object);
	if (!error)
		error = pins_mark(object->object, version);
	if (error)
		throw_with_log(env, "openObject", error, log && *log ? log : library_log,
			       "cannot load '%s'%s", name,
			       error == EPERM ? ": needs CAP_BPF and CAP_NET_ADMIN" : "");
	done = error == 0;
out:
	free(log);
	return done;
}

napi_value open_object(napi_env env, napi_callback_info info)
{
	struct object_handle *object;
	napi_value arguments[2], directory;
	char name[BPF_NAME_BYTES];
	struct bytes image;

	if (!read_arguments(env, info, 2, arguments) ||
	    !find_image(env, arguments[0], arguments[1], name, &image) ||
	    !read_property(env, arguments[1], "pinDirectory", &directory))
		return NULL;
	object = allocate(env, sizeof(*object));
	if (!object)
		return NULL;
	object->handle.stop = stop_object;
	object->handle.release = release_object;
	if (!read_text(env, directory, "pinDirectory", object->pin_directory, PIN_PATH_BYTES) ||
	    !load_object(env, object, name, &image, arguments[1])) {
		release_object(&object->handle);
		return NULL;
	}
	return handle_publish(env, &object->handle, HANDLE_OBJECT, false);
}

napi_value close_object(napi_env env, napi_callback_info info)
{
	napi_value argument;
	struct object_handle *object;

	if (!read_arguments(env, info, 1, &argument))
		return NULL;
	object = handle_read(env, argument, HANDLE_OBJECT);
	if (!object)
		return NULL;
	close_events_of(object);
	handle_close(&object->handle);
	/* Nobody but a hold can still need the descriptors; then they go when it closes. */
	if (object->handle.references == 1) {
		bpf_object__close(object->object);
		object->object = NULL;
	}
	return undefined_value(env);
}

struct bpf_map *read_map_name(napi_env env, struct object_handle *object, napi_value value)
{
	char name[BPF_NAME_BYTES];
	struct bpf_map *map;

	if (!read_text(env, value, "map", name, sizeof(name)))
		return NULL;
	map = bpf_object__find_map_by_name(object->object, name);
	if (!map)
		throw_system_error(env, "findMap", ENOENT, "no map '%s'", name);
	return map;
}

static struct bpf_program *read_program(napi_env env, struct object_handle *object,
					napi_value value)
{
	char name[BPF_NAME_BYTES];
	struct bpf_program *program;

	if (!read_text(env, value, "program", name, sizeof(name)))
		return NULL;
	program = bpf_object__find_program_by_name(object->object, name);
	if (!program)
		throw_system_error(env, "findProgram", ENOENT, "no program '%s'", name);
	return program;
}

napi_value attach(napi_env env, napi_callback_info info)
{
	struct object_handle *object;
	struct bpf_program *program;
	napi_value arguments[4];
	uint32_t interface_index;
	bool replaced = false;
	char hook[16], path[2 * PIN_PATH_BYTES];
	bool egress;
	int error;

	if (!read_arguments(env, info, 4, arguments))
		return NULL;
	object = handle_read(env, arguments[0], HANDLE_OBJECT);
	program = object ? read_program(env, object, arguments[1]) : NULL;
	if (!program || !read_u32(env, arguments[2], "interfaceIndex", &interface_index) ||
	    !read_text(env, arguments[3], "hook", hook, sizeof(hook)))
		return NULL;
	egress = strcmp(hook, "egress") == 0;
	if (!egress && strcmp(hook, "ingress")) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE",
				      "hook must be 'ingress' or 'egress'");
		return NULL;
	}
	link_path(path, sizeof(path), object->pin_directory, bpf_program__name(program),
		  interface_index);
	error = link_attach(path, bpf_program__fd(program), interface_index, egress, &replaced);
	if (error) {
		throw_system_error(env, "attach", error, "cannot attach %s to interface %u%s",
				   bpf_program__name(program), interface_index,
				   error == EINVAL ? ": needs Linux 6.6 (tcx)" : "");
		return NULL;
	}
	return text_value(env, replaced ? "replaced" : "created");
}

napi_value detach(napi_env env, napi_callback_info info)
{
	struct object_handle *object;
	struct bpf_program *program;
	char path[2 * PIN_PATH_BYTES];
	uint32_t interface_index;
	napi_value arguments[3];
	int error;

	if (!read_arguments(env, info, 3, arguments))
		return NULL;
	object = handle_read(env, arguments[0], HANDLE_OBJECT);
	program = object ? read_program(env, object, arguments[1]) : NULL;
	if (!program || !read_u32(env, arguments[2], "interfaceIndex", &interface_index))
		return NULL;
	link_path(path, sizeof(path), object->pin_directory, bpf_program__name(program),
		  interface_index);
	error = link_detach(path);
	if (error) {
		throw_system_error(env, "detach", error, "cannot detach %s from interface %u",
				   bpf_program__name(program), interface_index);
		return NULL;
	}
	return undefined_value(env);
}

/* `gsoSize` of the optional fifth argument makes the packet a super-packet. */
static bool read_test_context(napi_env env, napi_value options, struct __sk_buff *context)
{
	napi_value size;

	if (is_undefined(env, options))
		return true;
	if (!read_property(env, options, "gsoSize", &size))
		return false;
	return is_undefined(env, size) || read_u32(env, size, "gsoSize", &context->gso_size);
}

napi_value test_run(napi_env env, napi_callback_info info)
{
	enum { OUTPUT_BYTES = 1 << 17 };
	struct __sk_buff context = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = &context, .ctx_size_in = sizeof(context));
	struct object_handle *object;
	struct bpf_program *program;
	napi_value arguments[5], result = NULL;
	struct bytes packet;
	uint8_t *output;
	int error;

	if (!read_arguments(env, info, 5, arguments))
		return NULL;
	object = handle_read(env, arguments[0], HANDLE_OBJECT);
	program = object ? read_program(env, object, arguments[1]) : NULL;
	if (!program || !read_bytes(env, arguments[2], "packet", &packet) ||
	    !read_u32(env, arguments[3], "interfaceIndex", &context.ifindex) ||
	    !read_test_context(env, arguments[4], &context))
		return NULL;
	output = allocate(env, OUTPUT_BYTES);
	if (!output)
		return NULL;
	run.data_in = packet.data;
	run.data_size_in = packet.length;
	run.data_out = output;
	run.data_size_out = OUTPUT_BYTES;
	error = -bpf_prog_test_run_opts(bpf_program__fd(program), &run);
	if (error) {
		throw_system_error(env, "testRun", error, "cannot run %s",
				   bpf_program__name(program));
	} else if (napi_create_object(env, &result) == napi_ok) {
		/* TCX_NEXT is -1: the verdict is a signed number. */
		set_number(env, result, "verdict", (int32_t)run.retval);
		set_property(env, result, "packet", bytes_value(env, output, run.data_size_out));
	}
	free(output);
	return result;
}
