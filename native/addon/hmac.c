/* See hmac.h. */
#include "hmac.h"

#include <string.h>

static uint32_t rotate_left(uint32_t word, int bits)
{
	return word << bits | word >> (32 - bits);
}

static uint32_t rotate_right(uint32_t word, int bits)
{
	return word >> bits | word << (32 - bits);
}

static uint32_t load_be(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static void store_be(uint8_t *bytes, uint32_t word)
{
	bytes[0] = word >> 24;
	bytes[1] = word >> 16;
	bytes[2] = word >> 8;
	bytes[3] = word;
}

/* FIPS 180-4 §6.1.2 */
static void sha1_block(uint32_t state[8], const uint8_t *block)
{
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
	uint32_t schedule[80], f, k, next;

	for (int t = 0; t < 16; t++)
		schedule[t] = load_be(block + 4 * t);
	for (int t = 16; t < 80; t++)
		schedule[t] = rotate_left(schedule[t - 3] ^ schedule[t - 8] ^ schedule[t - 14] ^
						  schedule[t - 16],
					  1);
	for (int t = 0; t < 80; t++) {
		if (t < 20) {
			f = (b & c) ^ (~b & d);
			k = 0x5a827999;
		} else if (t < 40) {
			f = b ^ c ^ d;
			k = 0x6ed9eba1;
		} else if (t < 60) {
			f = (b & c) ^ (b & d) ^ (c & d);
			k = 0x8f1bbcdc;
		} else {
			f = b ^ c ^ d;
			k = 0xca62c1d6;
		}
		next = rotate_left(a, 5) + f + e + k + schedule[t];
		e = d;
		d = c;
		c = rotate_left(b, 30);
		b = a;
		a = next;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
}

static const uint32_t SHA256_K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* FIPS 180-4 §6.2.2 */
static void sha256_block(uint32_t state[8], const uint8_t *block)
{
	uint32_t w[64], s[8], first, second;

	for (int t = 0; t < 16; t++)
		w[t] = load_be(block + 4 * t);
	for (int t = 16; t < 64; t++) {
		first = rotate_right(w[t - 15], 7) ^ rotate_right(w[t - 15], 18) ^ w[t - 15] >> 3;
		second = rotate_right(w[t - 2], 17) ^ rotate_right(w[t - 2], 19) ^ w[t - 2] >> 10;
		w[t] = w[t - 16] + first + w[t - 7] + second;
	}
	memcpy(s, state, sizeof(s));
	for (int t = 0; t < 64; t++) {
		first = s[7] +
			(rotate_right(s[4], 6) ^ rotate_right(s[4], 11) ^ rotate_right(s[4], 25)) +
			((s[4] & s[5]) ^ (~s[4] & s[6])) + SHA256_K[t] + w[t];
		second = (rotate_right(s[0], 2) ^ rotate_right(s[0], 13) ^ rotate_right(s[0], 22)) +
			 ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		s[7] = s[6];
		s[6] = s[5];
		s[5] = s[4];
		s[4] = s[3] + first;
		s[3] = s[2];
		s[2] = s[1];
		s[1] = s[0];
		s[0] = first + second;
	}
	for (int i = 0; i < 8; i++)
		state[i] += s[i];
}

static void start(enum hmac_hash hash, uint32_t state[8])
{
	static const uint32_t SHA1_START[8] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476,
						0xc3d2e1f0 };
	static const uint32_t SHA256_START[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
						  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

	memcpy(state, hash == HMAC_SHA1 ? SHA1_START : SHA256_START, 8 * sizeof(*state));
}

static void block(enum hmac_hash hash, uint32_t state[8], const uint8_t *bytes)
{
	if (hash == HMAC_SHA1)
		sha1_block(state, bytes);
	else
		sha256_block(state, bytes);
}

/* Hash `data` on top of `state`, which has already taken `before` bytes (a multiple of 64). */
static size_t finish(enum hmac_hash hash, uint32_t state[8], size_t before, const uint8_t *data,
		     size_t length, uint8_t *result)
{
	size_t bytes = hash == HMAC_SHA1 ? 20 : 32;
	uint64_t bits = (uint64_t)(before + length) * 8;
	uint8_t tail[2 * HMAC_BLOCK_BYTES] = { 0 };
	size_t blocks;

	for (; length >= HMAC_BLOCK_BYTES; length -= HMAC_BLOCK_BYTES, data += HMAC_BLOCK_BYTES)
		block(hash, state, data);
	if (length)
		memcpy(tail, data, length);
	tail[length] = 0x80;
	blocks = length + 9 <= HMAC_BLOCK_BYTES ? 1 : 2;
	store_be(tail + blocks * HMAC_BLOCK_BYTES - 8, bits >> 32);
	store_be(tail + blocks * HMAC_BLOCK_BYTES - 4, (uint32_t)bits);
	for (size_t i = 0; i < blocks; i++)
		block(hash, state, tail + i * HMAC_BLOCK_BYTES);
	for (size_t i = 0; i < bytes / 4; i++)
		store_be(result + 4 * i, state[i]);
	return bytes;
}

static void pad(struct hmac_key *entry, uint8_t value, uint32_t state[8])
{
	uint8_t bytes[HMAC_BLOCK_BYTES];

	for (int i = 0; i < HMAC_BLOCK_BYTES; i++)
		bytes[i] = entry->key[i] ^ value;
	start(entry->hash, state);
	block(entry->hash, state, bytes);
}

static const struct hmac_key *find_key(struct hmac_cache *cache, enum hmac_hash hash,
				       const uint8_t *key, size_t length)
{
	uint8_t shortened[HMAC_MAXIMUM_BYTES];
	struct hmac_key *entry;
	uint32_t state[8];

	if (length > HMAC_BLOCK_BYTES) {
		start(hash, state);
		length = finish(hash, state, 0, key, length, shortened);
		key = shortened;
	}
	for (int i = 0; i < HMAC_CACHED_KEYS; i++) {
		entry = &cache->keys[i];
		if (entry->used && entry->hash == hash && entry->length == length &&
		    memcmp(entry->key, key, length) == 0)
			return entry;
	}
	entry = &cache->keys[cache->next++ % HMAC_CACHED_KEYS];
	memset(entry, 0, sizeof(*entry));
	entry->used = true;
	entry->hash = hash;
	entry->length = length;
	memcpy(entry->key, key, length);
	pad(entry, 0x36, entry->inner);
	pad(entry, 0x5c, entry->outer);
	return entry;
}

size_t hmac_compute(struct hmac_cache *cache, enum hmac_hash hash, const uint8_t *key,
		    size_t key_length, const uint8_t *data, size_t length,
		    uint8_t result[HMAC_MAXIMUM_BYTES])
{
	const struct hmac_key *entry = find_key(cache, hash, key, key_length);
	uint8_t inner[HMAC_MAXIMUM_BYTES];
	uint32_t state[8];
	size_t bytes;

	memcpy(state, entry->inner, sizeof(state));
	bytes = finish(hash, state, HMAC_BLOCK_BYTES, data, length, inner);
	memcpy(state, entry->outer, sizeof(state));
	return finish(hash, state, HMAC_BLOCK_BYTES, inner, bytes, result);
}
