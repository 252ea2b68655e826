/*
 * HMAC-SHA-1 and HMAC-SHA-256 (RFC 2104, FIPS 180-4) for LISP authentication data.
 *
 * Self-contained: the process that loads the addon exports no stable crypto symbols, and the state
 * after the key pads is cached per key, which makes a short message cost half. Verifying (constant
 * time, truncation) is the caller's. Not for passwords, not for files.
 */
#ifndef HMAC_H
#define HMAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hmac_hash { HMAC_SHA1, HMAC_SHA256 };
enum { HMAC_BLOCK_BYTES = 64, HMAC_CACHED_KEYS = 16, HMAC_MAXIMUM_BYTES = 32 };

struct hmac_key {
	bool used;
	enum hmac_hash hash;
	size_t length;
	uint8_t key[HMAC_BLOCK_BYTES]; /* zero-padded; longer keys are hashed first (RFC 2104 §2) */
	uint32_t inner[8];             /* state after the block key ^ ipad */
	uint32_t outer[8];             /* state after the block key ^ opad */
};

struct hmac_cache {
	struct hmac_key keys[HMAC_CACHED_KEYS];
	unsigned int next; /* which one is replaced next, round robin */
};

/* Writes 20 or 32 bytes to `result` and returns how many. */
size_t hmac_compute(struct hmac_cache *cache, enum hmac_hash hash, const uint8_t *key,
		    size_t key_length, const uint8_t *data, size_t length,
		    uint8_t result[HMAC_MAXIMUM_BYTES]);

#endif
