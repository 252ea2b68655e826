/*
 * Between JavaScript values and C: checked reads of arguments, results, and errors.
 *
 * Every reader returns false after it has thrown (TypeError for a wrong type, RangeError for a wrong
 * size); the caller returns at once. No argument, whatever it is, can crash the process.
 * Failures of the system become an Error with `code` (errno name), `operation` and, for a program
 * that the verifier refused, `verifierLog`.
 */
#ifndef NAPI_VALUES_H
#define NAPI_VALUES_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	uint8_t *data; /* memory of the JavaScript value: valid until the call returns */
	size_t length;
};

/* Fill `values` with `count` arguments (missing ones are undefined). */
bool read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values);

bool read_bytes(napi_env env, napi_value value, const char *name, struct bytes *bytes);
/* As read_bytes; RangeError unless it has exactly `length` bytes. */
bool read_bytes_of(napi_env env, napi_value value, const char *name, size_t length,
		   struct bytes *bytes);
/* An integer from `least` to `most` (both within ±2^53). */
bool read_integer(napi_env env, napi_value value, const char *name, double least, double most,
		  double *number);
bool read_u32(napi_env env, napi_value value, const char *name, uint32_t *number);
bool read_boolean(napi_env env, napi_value value, const char *name, bool *result);
/* At most `size` - 1 bytes of UTF-8, without NUL inside. */
bool read_text(napi_env env, napi_value value, const char *name, char *text, size_t size);
bool read_function(napi_env env, napi_value value, const char *name);
bool read_array(napi_env env, napi_value value, const char *name, uint32_t *length);
/* TypeError when `object` is not an object; the property itself may be undefined. */
bool read_property(napi_env env, napi_value object, const char *name, napi_value *value);
bool is_undefined(napi_env env, napi_value value);

/* Zeroed memory, or NULL after throwing. */
void *allocate(napi_env env, size_t size);

/* Results; NULL with an exception pending when V8 has no memory. */
napi_value bytes_value(napi_env env, const void *data, size_t length);
napi_value number_value(napi_env env, double number);
napi_value text_value(napi_env env, const char *text);
napi_value boolean_value(napi_env env, bool value);
napi_value undefined_value(napi_env env);
void set_property(napi_env env, napi_value object, const char *name, napi_value value);
void set_number(napi_env env, napi_value object, const char *name, double number);

/* Throw for errno `error` (positive). `format` says what failed and, where known, the remedy. */
void throw_system_error(napi_env env, const char *operation, int error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* As above, with the verifier's log as `verifierLog` when it is not empty. */
void throw_with_log(napi_env env, const char *operation, int error, const char *log,
		    const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
