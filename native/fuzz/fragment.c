/*
 * Splitting an IPv4 packet in two: whatever comes in, nothing is read or written beyond the frames;
 * what was split is the packet again when put together as RFC 791 §3.2 says, and what was not split
 * is untouched.
 */
#include "../addon/fragment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PACKET_AT = 24, MORE = 0x2000, DONT = 0x4000, OFFSET = 0x1fff };

#define CHECK(condition, text)                \
	do {                                  \
		if (!(condition)) {           \
			fprintf(stderr, "%s\n", text); \
			abort();              \
		}                             \
	} while (0)

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t checksum(const uint8_t *bytes, size_t length)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < length; i += 2)
		sum += i + 1 < length ? get16(bytes + i) : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static void check_half(const uint8_t *frame, size_t length)
{
	const uint8_t *packet = frame + PACKET_AT;
	size_t header = (packet[0] & 15u) * 4;

	CHECK(length >= PACKET_AT + 20 && packet[0] >> 4 == 4 && header >= 20, "a half without header");
	CHECK(get16(packet + 2) == length - PACKET_AT, "a half's length is not its length");
	CHECK(length > PACKET_AT + header, "a half without payload");
	CHECK(checksum(packet, header) == 0, "a half's checksum is wrong");
}

static void check_halves(const uint8_t *before, const uint8_t *first, size_t first_length,
			 const uint8_t *second, size_t second_length)
{
	const uint8_t *original = before + PACKET_AT, *one = first + PACKET_AT, *two = second + PACKET_AT;
	size_t header = (original[0] & 15u) * 4, other_header = (two[0] & 15u) * 4;
	size_t payload = get16(original + 2) - header, half = first_length - PACKET_AT - header;
	uint32_t fields = get16(original + 6);

	check_half(first, first_length);
	check_half(second, second_length);
	CHECK(half % 8 == 0, "the first half is not in units of 8 bytes");
	CHECK(half + second_length - PACKET_AT - other_header == payload, "the payload has another length");
	CHECK(get16(one + 6) == ((fields & OFFSET) | MORE), "the first half's offset");
	CHECK((get16(two + 6) & OFFSET) == (((fields & OFFSET) + half / 8) & OFFSET), "the second half's offset");
	CHECK((get16(two + 6) & MORE) == (fields & MORE), "the second half's flag");
	CHECK(!memcmp(one + 8, original + 8, 2) && !memcmp(two + 8, original + 8, 2), "TTL or protocol");
	CHECK(!memcmp(one + 12, original + 12, 8) && !memcmp(two + 12, original + 12, 8), "addresses");
	CHECK(!memcmp(one + 4, original + 4, 2) && !memcmp(two + 4, original + 4, 2), "identification");
	if (before[0] & 1)
		return; /* the checksum has been filled in */
	CHECK(!memcmp(one + header, original + header, half), "the first half's payload");
	CHECK(!memcmp(two + other_header, original + header + half, payload - half), "the second half's payload");
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	uint8_t *frame, *second, *before;
	size_t length, second_length = 0, header;

	if (size < 2)
		return 0;
	length = size - 1;
	frame = malloc(length);
	second = malloc(length);
	before = malloc(length);
	memcpy(frame, input + 1, length);
	/* mostly sound, so that more than refusals is seen */
	if (input[0] & 1 && length >= PACKET_AT + 20) {
		header = 5 + (input[0] >> 1 & 3);
		frame[1] = 0;
		frame[PACKET_AT] = (uint8_t)(0x40 | header);
		frame[PACKET_AT + 2] = (uint8_t)((length - PACKET_AT) >> 8);
		frame[PACKET_AT + 3] = (uint8_t)(length - PACKET_AT);
		frame[PACKET_AT + 6] &= 0x3f;
	}
	memcpy(before, frame, length);
	second_length = length;
	if (fragment_split(frame, &length, second, &second_length))
		check_halves(before, frame, length, second, second_length);
	else
		CHECK(!memcmp(before, frame, size - 1) && length == size - 1, "refused, but changed");
	free(before);
	free(second);
	free(frame);
	return 0;
}
