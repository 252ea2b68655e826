/* See napi_values.h. */
#define _GNU_SOURCE
#include "napi_values.h"

#include <stdarg.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_BYTES = 512 };

static bool refuse_type(napi_env env, const char *name, const char *wanted)
{
	char message[MESSAGE_BYTES];

	snprintf(message, sizeof(message), "%s must be %s", name, wanted);
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
	return false;
}

static bool refuse_range(napi_env env, const char *message)
{
	napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message);
	return false;
}

bool read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values)
{
	return napi_get_cb_info(env, info, &count, values, NULL, NULL) == napi_ok;
}

bool read_bytes(napi_env env, napi_value value, const char *name, struct bytes *bytes)
{
	napi_typedarray_type type;
	void *data = NULL;
	bool is = false;

	if (napi_is_typedarray(env, value, &is) != napi_ok || !is)
		return refuse_type(env, name, "a Uint8Array");
	if (napi_get_typedarray_info(env, value, &type, &bytes->length, &data, NULL, NULL) !=
		    napi_ok ||
	    type != napi_uint8_array)
		return refuse_type(env, name, "a Uint8Array");
	/* An empty or detached array has no address; nobody reads through it, but memcpy wants one. */
	bytes->data = data ? data : (uint8_t *)"";
	if (!data)
		bytes->length = 0;
	return true;
}

bool read_bytes_of(napi_env env, napi_value value, const char *name, size_t length,
		   struct bytes *bytes)
{
	char message[MESSAGE_BYTES];

	if (!read_bytes(env, value, name, bytes))
		return false;
	if (bytes->length == length)
		return true;
	snprintf(message, sizeof(message), "%s must have %zu bytes, not %zu", name, length,
		 bytes->length);
	return refuse_range(env, message);
}

bool read_integer(napi_env env, napi_value value, const char *name, double least, double most,
		  double *number)
{
	char message[MESSAGE_BYTES];

	if (napi_get_value_double(env, value, number) != napi_ok)
		return refuse_type(env, name, "a number");
	/* The comparison also refuses NaN. */
	if (*number >= least && *number <= most && *number == (double)(int64_t)*number)
		return true;
	snprintf(message, sizeof(message), "%s must be an integer from %.0f to %.0f", name, least,
		 most);
	return refuse_range(env, message);
}

bool read_u32(napi_env env, napi_value value, const char *name, uint32_t *number)
{
	double wide;

	if (!read_integer(env, value, name, 0, UINT32_MAX, &wide))
		return false;
	*number = (uint32_t)wide;
	return true;
}

bool read_boolean(napi_env env, napi_value value, const char *name, bool *result)
{
	return napi_get_value_bool(env, value, result) == napi_ok ||
	       refuse_type(env, name, "a boolean");
}

bool read_text(napi_env env, napi_value value, const char *name, char *text, size_t size)
{
	char message[MESSAGE_BYTES];
	size_t length = 0;

	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok)
		return refuse_type(env, name, "a string");
	if (length >= size) {
		snprintf(message, sizeof(message), "%s must be shorter than %zu bytes", name, size);
		return refuse_range(env, message);
	}
	napi_get_value_string_utf8(env, value, text, size, &length);
	if (strlen(text) == length)
		return true;
	snprintf(message, sizeof(message), "%s must not contain a NUL", name);
	return refuse_range(env, message);
}

bool read_function(napi_env env, napi_value value, const char *name)
{
	napi_valuetype type = napi_undefined;

	napi_typeof(env, value, &type);
	return type == napi_function || refuse_type(env, name, "a function");
}

bool read_array(napi_env env, napi_value value, const char *name, uint32_t *length)
{
	bool is = false;

	if (napi_is_array(env, value, &is) != napi_ok || !is)
		return refuse_type(env, name, "an array");
	return napi_get_array_length(env, value, length) == napi_ok;
}

bool read_property(napi_env env, napi_value object, const char *name, napi_value *value)
{
	napi_valuetype type = napi_undefined;

	napi_typeof(env, object, &type);
	if (type != napi_object)
		return refuse_type(env, "the value that holds the property", "an object");
	/* Fails only when a getter threw: then that exception is pending. */
	return napi_get_named_property(env, object, name, value) == napi_ok;
}

bool is_undefined(napi_env env, napi_value value)
{
	napi_valuetype type = napi_undefined;

	napi_typeof(env, value, &type);
	return type == napi_undefined;
}

napi_value bytes_value(napi_env env, const void *data, size_t length)
{
	napi_value buffer, array;
	void *memory = NULL;

	if (napi_create_arraybuffer(env, length, &memory, &buffer) != napi_ok)
		return NULL;
	if (length)
		memcpy(memory, data, length);
	if (napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &array) != napi_ok)
		return NULL;
	return array;
}

napi_value number_value(napi_env env, double number)
{
	napi_value value = NULL;

	napi_create_double(env, number, &value);
	return value;
}

napi_value text_value(napi_env env, const char *text)
{
	napi_value value = NULL;

	napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
	return value;
}

napi_value boolean_value(napi_env env, bool boolean)
{
	napi_value value = NULL;

	napi_get_boolean(env, boolean, &value);
	return value;
}

napi_value undefined_value(napi_env env)
{
	napi_value value = NULL;

	napi_get_undefined(env, &value);
	return value;
}

void set_property(napi_env env, napi_value object, const char *name, napi_value value)
{
	if (object && value)
		napi_set_named_property(env, object, name, value);
}

void set_number(napi_env env, napi_value object, const char *name, double number)
{
	set_property(env, object, name, number_value(env, number));
}

void *allocate(napi_env env, size_t size)
{
	void *memory = calloc(1, size);

	if (!memory)
		throw_system_error(env, "allocate", ENOMEM, "no memory for %zu bytes", size);
	return memory;
}

static void throw_error(napi_env env, const char *operation, int error, const char *log,
			const char *format, va_list list)
{
	const char *code = strerrorname_np(error);
	char detail[MESSAGE_BYTES], message[2 * MESSAGE_BYTES], number[16];
	napi_value thrown;

	if (!code) {
		/* 524 is the kernel's own ENOTSUPP, which libc does not know. */
		snprintf(number, sizeof(number), "E%d", error);
		code = error == 524 ? "ENOTSUPP" : number;
	}
	vsnprintf(detail, sizeof(detail), format, list);
	snprintf(message, sizeof(message), "%s: %s (%s: %s)", operation, detail, code,
		 strerror(error));
	if (napi_create_error(env, text_value(env, code), text_value(env, message), &thrown) !=
	    napi_ok)
		return;
	set_property(env, thrown, "operation", text_value(env, operation));
	if (log && *log)
		set_property(env, thrown, "verifierLog", text_value(env, log));
	napi_throw(env, thrown);
}

void throw_system_error(napi_env env, const char *operation, int error, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	throw_error(env, operation, error, NULL, format, list);
	va_end(list);
}

void throw_with_log(napi_env env, const char *operation, int error, const char *log,
		    const char *format, ...)
{
	va_list list;

	va_start(list, format);
	throw_error(env, operation, error, log, format, list);
	va_end(list);
}
