/*
 * HMAC: keys and data of any length, each an allocation of exactly its size. A key that is in the
 * cache must give what it gave when it was not, whatever was computed in between; and once at the
 * start the values of RFC 2202 and RFC 4231.
 */
#include "../addon/hmac.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *text)
{
	fprintf(stderr, "%s\n", text);
	abort();
}

/* RFC 2202 §3 and RFC 4231 §4.3, test case 2. */
int LLVMFuzzerInitialize(int *count, char ***arguments)
{
	static const uint8_t sha1[4] = { 0xef, 0xfc, 0xdf, 0x6a }, sha256[4] = { 0x5b, 0xdc, 0xc1, 0x46 };
	static const char data[] = "what do ya want for nothing?";
	uint8_t result[HMAC_MAXIMUM_BYTES];
	struct hmac_cache cache = { 0 };

	(void)count, (void)arguments;
	hmac_compute(&cache, HMAC_SHA1, (const uint8_t *)"Jefe", 4, (const uint8_t *)data, 28, result);
	if (memcmp(result, sha1, 4))
		fail("RFC 2202 test case 2");
	hmac_compute(&cache, HMAC_SHA256, (const uint8_t *)"Jefe", 4, (const uint8_t *)data, 28, result);
	if (memcmp(result, sha256, 4))
		fail("RFC 4231 test case 2");
	return 0;
}

static uint8_t *exactly(const uint8_t *bytes, size_t length)
{
	uint8_t *copy = malloc(length);

	if (length)
		memcpy(copy, bytes, length);
	return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	uint8_t kept[HMAC_MAXIMUM_BYTES], fresh[HMAC_MAXIMUM_BYTES], *key, *data;
	static struct hmac_cache cache;
	struct hmac_cache empty = { 0 };
	enum hmac_hash hash;
	size_t key_length, bytes;

	if (size < 2)
		return 0;
	hash = input[0] & 1 ? HMAC_SHA256 : HMAC_SHA1;
	key_length = input[1];
	if (key_length > size - 2)
		key_length = size - 2;
	key = exactly(input + 2, key_length);
	data = exactly(input + 2 + key_length, size - 2 - key_length);
	bytes = hmac_compute(&cache, hash, key, key_length, data, size - 2 - key_length, kept);
	if (bytes != (hash == HMAC_SHA1 ? 20u : 32u))
		fail("length of the result");
	hmac_compute(&empty, hash, key, key_length, data, size - 2 - key_length, fresh);
	if (memcmp(kept, fresh, bytes))
		fail("a cached key gives another value");
	free(key);
	free(data);
	return 0;
}
