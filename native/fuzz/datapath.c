// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The five programs of datapath.bpf.c on frames and maps that the fuzzer makes. Besides what the
 * sanitizers see, for every packet:
 *
 * - the verdict is one that the kernel knows, and never CONTINUE;
 * - a discarded packet is counted under exactly one reason, another one under none (but copies of a
 *   packet to a group are discarded one by one), and the last copy is a sound LISP packet;
 * - every reserved event is submitted;
 * - a packet of the site that is passed on is as it was; one that is held differs in 14 bytes;
 * - what is encapsulated is a sound LISP packet, and decapsulating it gives the inner packet back,
 *   but for TTL, traffic class and checksum, which are as RFC 9300 §5.3 says.
 */
#include "../bpf/datapath.bpf.c"
#include "frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum program { SITE, RLOC, HOLD, GPE, GRO, PROGRAMS };
enum input {
	INPUT_PROGRAM,
	INPUT_TEMPLATE,
	INPUT_PAYLOAD,
	INPUT_FLAGS,
	INPUT_LINEAR,
	INPUT_OVERLAY, /* how many bytes follow that change the frame; the rest are choices */
	INPUT_HEADER,
};
enum flags {
	FLAG_SUPER_PACKET = 1,
	FLAG_NOT_LINEAR = 2,
	FLAG_UNFIXED = 4, /* lengths and checksum stay as the damage left them */
	FLAG_OTHER_HOST = 8,
	FLAG_ENCAPSULATED = 16,
	FLAG_RAW = 32, /* no template: the frame is the overlay */
	FLAG_PADDED = 64,
	FLAG_GROUP = 128, /* the destination of the innermost packet is a group, as is that of the frame */
};

static uint8_t frame_family, frame_destination[16]; /* of the frame's first IP header */
static bool is_receiver; /* the maps are those of a tunnel router that delivers everything */

#define CHECK(condition, ...)                            \
	do {                                             \
		if (!(condition)) {                      \
			fprintf(stderr, __VA_ARGS__);    \
			fprintf(stderr, " (%s:%d)\n", __FILE__, __LINE__); \
			abort();                         \
		}                                        \
	} while (0)

static bool fill_entry(struct lisp_map_cache_entry *entry)
{
	uint8_t choice = shim_choose();

	entry->action = (choice + LISP_MAP_CACHE_FORWARD) % 8;
	entry->counter_id = 1;
	return !(choice & 0x80);
}

static bool fill_locators(struct lisp_locator_set *set)
{
	uint8_t choice = shim_choose();

	set->count = (choice & 15) + 1;
	for (int i = 0; i < LISP_LOCATOR_BUCKETS; i++)
		set->buckets[i] = choice & 1 ? i : 0;
	for (int i = 0; i < LISP_MAXIMUM_LOCATORS; i++) {
		struct lisp_locator *locator = &set->locators[i];
		uint8_t about = i ? choice ^ (uint8_t)i : shim_choose();

		locator->family = about & 1 ? 6 : 4;
		locator->flags = (about & 2 ? LISP_LOCATOR_GPE : 0) | (about & 8 ? LISP_LOCATOR_GROUP : 0);
		locator->path_mtu = about & 4 ? 60 + shim_choose() : 1500;
		memset(locator->source, 0x31, locator->family == 4 ? 4 : 16);
		memset(locator->destination, 0x41 + i, locator->family == 4 ? 4 : 16);
	}
	return !(choice & 0x80);
}

static bool fill_local(struct lisp_local_eid *local)
{
	uint8_t choice = is_receiver ? 0 : shim_choose();

	local->interface_index = 5;
	local->counter_id = 2;
	local->state = (choice + LISP_LOCAL_EID_LOCAL) % 8;
	local->flags = is_receiver ? LISP_LOCAL_EID_MAC_KNOWN : choice >> 3 & 7;
	return is_receiver || !(choice & 0x80);
}

static bool fill_site(struct lisp_site_interface *site)
{
	uint8_t choice = is_receiver ? 0 : shim_choose();

	site->instance_id = choice & 0x10 ? 0xffffff : choice & 3;
	site->flags = (~choice & 3) | (choice & 0x60 ? 0 : LISP_SITE_PROXY) | (choice & 8 ? LISP_SITE_PEER : 0);
	memset(site->mac, 0x02, sizeof(site->mac));
	return !(choice & 0x80);
}

/* Mostly the address that the frame is sent to, as if it had arrived where it should. */
static bool fill_rlocs(struct lisp_own_rlocs *own)
{
	uint8_t choice = is_receiver ? 0 : shim_choose(), *destination;

	own->count = choice & 0x80 ? choice & 31 : 1;
	destination = own->rlocs[choice & 0x40 ? LISP_MAXIMUM_RLOCS - 1 : 0].address;
	own->rlocs[0].family = own->rlocs[LISP_MAXIMUM_RLOCS - 1].family = frame_family;
	memcpy(destination, frame_destination, frame_family == 4 ? 4 : 16);
	return true;
}

static bool fill_config(struct lisp_node_config *config)
{
	uint8_t choice = is_receiver ? 0 : shim_choose();

	config->hold_interface_index = choice & 1 ? 0 : 11;
	config->gro_entry_interface_index = choice & 2 ? 12 : 0;
	config->gpe_interface_index = choice & 4 ? 13 : 0;
	config->flags = choice >> 3; /* but for closed networks */
	if (is_receiver || !(shim_choose() & 1))
		config->flags |= LISP_NODE_MULTICAST;
	return true;
}

/* As user space writes it: counts within their bounds. */
static bool fill_replication(struct lisp_replication *entry)
{
	uint8_t choice = is_receiver ? 0x80 : shim_choose();

	entry->counter_id = 3;
	entry->copies = shim_choose() % (LISP_MAXIMUM_COPIES + 1);
	entry->largest = choice & 1 ? 1400 : 0xffff;
	entry->level = choice & 6 ? 0 : choice >> 3 & 3;
	entry->interface_count = shim_choose() % (LISP_MAXIMUM_GROUP_INTERFACES + 1);
	for (int i = 0; i < LISP_MAXIMUM_GROUP_INTERFACES; i++)
		entry->interfaces[i] = i + 1;
	for (int i = 0; i < LISP_COPY_SETS; i++)
		entry->set_ids[i] = i & 3;
	return !(choice & 0x80);
}

static bool fill_rloc_interface(struct lisp_rloc_interface *interface)
{
	interface->interface_index = 8;
	memset(interface->mac, 0x02, sizeof(interface->mac));
	return !(shim_choose() & 1);
}

/* The prefixes of interworking: what the configuration says, so never nonsense. */
static bool fill_translation(const struct lisp_eid_prefix_key *key, struct lisp_translation *translation)
{
	uint32_t bits = (bpf_ntohl(key->eid.instance_family_be) & 0xff) == 4 ? 32 : 128;

	memset(translation->address, 0x0b, sizeof(translation->address));
	translation->mask_length = shim_choose() % (bits + 1);
	return translation->mask_length & 1;
}

bool fuzz_fill(const void *map, const void *key, void *value)
{
	struct lisp_hold_gate *gate = value;

	if (map == &map_cache_hosts || map == &map_cache_prefixes)
		return !is_receiver && fill_entry(value);
	if (map == &locator_sets)
		return fill_locators(value);
	if (map == &local_eid_hosts || map == &local_eid_prefixes)
		return fill_local(value);
	if (map == &site_interfaces)
		return fill_site(value);
	if (map == &replications)
		return fill_replication(value);
	if (map == &rloc_interfaces)
		return fill_rloc_interface(value);
	if (map == &own_rlocs)
		return fill_rlocs(value);
	if (map == &node_config)
		return fill_config(value);
	if (map == &attracted_prefixes || map == &proxied_sites)
		return !is_receiver && shim_choose() & 1;
	if (map == &nat_inside || map == &nat_outside)
		return !is_receiver && fill_translation(key, value);
	if (map == &hold_gates) {
		gate->entered = shim_choose();
		gate->left = gate->entered + shim_choose() % 2;
	}
	return false; /* private maps of the programs begin empty */
}

static void count_reasons(const void *value, void *context)
{
	const struct lisp_drop_counter *counter = value;

	if (counter->packets)
		++*(unsigned int *)context;
}

/* Copies of a packet are discarded one by one, the packet itself may leave as clones only. */
static bool is_replicated(void)
{
	__u32 what = LISP_TALLY_REPLICATED;
	const __u64 *count = shim_map_peek(&tallies, &what);

	return count && *count;
}

static __u64 tallied(__u32 what)
{
	const __u64 *count = shim_map_peek(&tallies, &what);

	return count ? *count : 0;
}

static struct __sk_buff *arrive(const uint8_t *frame, uint32_t length, uint32_t linear, bool encapsulated)
{
	frame_family = length > ETH_HLEN ? frame[ETH_HLEN] >> 4 : 4;
	memset(frame_destination, 0, sizeof(frame_destination));
	if (frame_family == 4 && length >= ETH_HLEN + 20)
		memcpy(frame_destination, frame + ETH_HLEN + 16, 4);
	else if (frame_family == 6 && length >= ETH_HLEN + 40)
		memcpy(frame_destination, frame + ETH_HLEN + 24, 16);
	return shim_frame(frame, length, linear, encapsulated);
}

static int run(enum program program, struct __sk_buff *skb)
{
	unsigned int reasons = 0;
	int verdict;

	switch (program) {
	case SITE:
		verdict = site_ingress(skb);
		break;
	case RLOC:
		verdict = rloc_ingress(skb);
		break;
	case HOLD:
		verdict = hold_ingress(skb);
		break;
	case GPE:
		verdict = gpe_ingress(skb);
		break;
	default:
		verdict = gro_ingress(skb);
	}
	CHECK(verdict == PASS || verdict == TC_ACT_SHOT || verdict == TC_ACT_REDIRECT,
	      "program %d: verdict %d", program, verdict);
	shim_map_each(&drops, count_reasons, &reasons);
	CHECK(is_replicated() || reasons == (verdict == TC_ACT_SHOT), "program %d: verdict %d, %u drop reasons", program, verdict,
	      reasons);
	CHECK((verdict == TC_ACT_REDIRECT) == (shim_record.redirects == 1), "program %d: %u redirects", program,
	      shim_record.redirects);
	CHECK(!shim_record.open_records, "program %d: an event was not submitted", program);
	return verdict;
}

/* The traffic class that the receiver shall give the inner packet: RFC 6040 §4.2, DSCP of the outer. */
static int expected_class(uint8_t outer, uint8_t inner, bool gpe)
{
	uint8_t outer_ecn = outer & 3, ecn = inner & 3, dscp = (gpe ? inner : outer) & 0xfc;

	if (ecn == 0 && outer_ecn == 3)
		return -1;
	if (ecn != 0 && outer_ecn == 3)
		ecn = 3;
	else if (ecn == 2 && outer_ecn == 1)
		ecn = 1;
	return dscp | ecn;
}

static uint8_t class_of(const uint8_t *packet)
{
	return packet[0] >> 4 == 4 ? packet[1] : (uint8_t)(packet[0] << 4 | packet[1] >> 4);
}

static uint8_t ttl_of(const uint8_t *packet)
{
	return packet[0] >> 4 == 4 ? packet[8] : packet[7];
}

/* What routers on the way may do: other ECN bits, a smaller TTL. Returns the TTL left. */
static uint8_t travel(uint8_t *frame, uint8_t family, uint8_t ttl)
{
	uint8_t mark = shim_choose() & 3, hops = shim_choose() & 3, *packet = frame + ETH_HLEN;

	ttl = ttl > hops ? ttl - hops : 1;
	if (family == 4) {
		packet[1] = (packet[1] & 0xfc) | mark;
		packet[8] = ttl;
	} else {
		packet[1] = (packet[1] & 0xcf) | mark << 4;
		packet[7] = ttl;
	}
	return ttl;
}

/* Takes an encapsulated frame off again as its receiver would. */
static void check_round_trip(const uint8_t *inner, uint32_t length, const uint8_t *frame, uint32_t size)
{
	struct lisp_packet packet = frame_read_lisp(frame, size);
	bool was_right = frame_checksum_is_right(inner, length), gpe;
	uint8_t *arrived, *travelling, outer_class, ttl;
	uint32_t arrived_length;
	int verdict, class;

	CHECK(!packet.wrong, "encapsulated: %s", packet.wrong);
	CHECK(packet.ttl == ttl_of(frame + packet.inner_at), "outer TTL %d", packet.ttl);
	CHECK(packet.inner_at + length == size, "inner length %u in %u", length, size);
	CHECK(frame_difference(inner, frame + packet.inner_at, length) < 0, "encapsulated: byte %d differs",
	      frame_difference(inner, frame + packet.inner_at, length));
	CHECK(!was_right || frame_checksum_is_right(frame + packet.inner_at, length), "inner checksum");
	travelling = malloc(size);
	memcpy(travelling, frame, size);
	ttl = travel(travelling, packet.family, packet.ttl);
	outer_class = class_of(travelling + ETH_HLEN);
	gpe = travelling[packet.inner_at - 8] & DATA_FLAG_GPE;
	class = expected_class(outer_class, class_of(frame + packet.inner_at), gpe);
	shim_begin(NULL, 0);
	shim_forget_maps();
	is_receiver = true;
	verdict = run(RLOC, arrive(travelling, size, size, false));
	is_receiver = false;
	free(travelling);
	CHECK(verdict == (class < 0 ? TC_ACT_SHOT : TC_ACT_REDIRECT), "receiver: verdict %d, class %d", verdict,
	      class);
	if (class < 0)
		return;
	arrived = shim_frame_copy(&arrived_length);
	CHECK(arrived_length == ETH_HLEN + length, "arrived with %u of %u bytes", arrived_length, length);
	CHECK(frame_difference(inner, arrived + ETH_HLEN, length) < 0, "arrived: byte %d differs",
	      frame_difference(inner, arrived + ETH_HLEN, length));
	CHECK(class_of(arrived + ETH_HLEN) == class, "arrived with class %02x, not %02x",
	      class_of(arrived + ETH_HLEN), class);
	CHECK(ttl_of(arrived + ETH_HLEN) == ttl, "arrived with TTL %d", ttl_of(arrived + ETH_HLEN));
	CHECK(!was_right || frame_checksum_is_right(arrived + ETH_HLEN, length), "checksum after arrival");
	free(arrived);
}

/* Length of the IP packet as its header says, at most what is there. */
static uint32_t packet_length(const uint8_t *packet, uint32_t there)
{
	uint32_t said;

	if (there < 20)
		return there;
	said = packet[0] >> 4 == 4 ? (uint32_t)packet[2] << 8 | packet[3] :
				     ((uint32_t)packet[4] << 8 | packet[5]) + 40;
	return said < there ? said : there;
}

static void check_result(enum program program, int verdict, const uint8_t *before, uint32_t length,
			 uint32_t gso_size)
{
	uint32_t size, inner = ETH_HLEN;
	uint8_t *after = shim_frame_copy(&size);

	if (tallied(LISP_TALLY_TRANSLATED) && verdict == PASS &&
	    frame_checksum_is_right(before + ETH_HLEN, length - ETH_HLEN))
		CHECK(frame_checksum_is_right(after + ETH_HLEN, size - ETH_HLEN), "translated: checksum");
	if (program == SITE && verdict == PASS && !shim_record.failures &&
	    !tallied(LISP_TALLY_TRANSLATED))
		CHECK(size == length && !memcmp(before, after, size), "passed on, but changed");
	if (program == SITE && verdict == TC_ACT_REDIRECT && tallied(LISP_TALLY_HELD))
		CHECK(size == length && !memcmp(before + ETH_HLEN - 2, after + ETH_HLEN - 2, size - ETH_HLEN + 2),
		      "held, but changed");
	if (program == RLOC)
		inner += before[ETH_HLEN] >> 4 == 4 ? 36 : 56;
	if (program == GPE)
		inner = 0;
	if (verdict == TC_ACT_REDIRECT && !gso_size && tallied(LISP_TALLY_GROUP_COPY)) {
		struct lisp_packet copy = frame_read_lisp(after, size);

		CHECK(!copy.wrong, "the last copy: %s", copy.wrong);
		CHECK(copy.inner_at + packet_length(before + inner, length - inner) == size, "its length");
	}
	if (verdict == TC_ACT_REDIRECT && !gso_size &&
	    (tallied(LISP_TALLY_ENCAPSULATED) || tallied(LISP_TALLY_REENCAPSULATED)))
		check_round_trip(before + inner, packet_length(before + inner, length - inner), after, size);
	free(after);
}

/* Packets of the core have their LISP header in front. */
static void set_group(uint8_t *frame, uint32_t length)
{
	static const uint8_t v4[4] = { 239, 1, 1, 1 }, v6[2] = { 0xff, 0x3e };
	uint32_t at = ETH_HLEN, next = at + (frame[at] >> 4 == 4 ? 36 : 56);
	bool is_lisp = next + 40 <= length && frame[next - 14] == LISP_DATA_PORT >> 8 &&
		       frame[next - 13] == (LISP_DATA_PORT & 255);

	if (is_lisp)
		at = next;
	else
		frame[0] |= 1;
	if (at + 40 > length)
		return;
	if (frame[at] >> 4 == 4)
		memcpy(frame + at + 16, v4, sizeof(v4));
	else
		memcpy(frame + at + 24, v6, sizeof(v6));
}

static uint32_t make_frame(uint8_t *frame, const uint8_t *input, const uint8_t *overlay, uint32_t changed)
{
	uint8_t flags = input[INPUT_FLAGS];
	uint32_t length;

	if (flags & FLAG_RAW) {
		memcpy(frame, overlay, changed);
		return changed;
	}
	length = frame_make(frame, input[INPUT_TEMPLATE] % FRAME_TEMPLATES, input[INPUT_PAYLOAD] * 4);
	for (uint32_t i = 0; i < changed && i < length; i++)
		frame[i] ^= overlay[i];
	if (flags & FLAG_GROUP)
		set_group(frame, length);
	if (!(flags & FLAG_UNFIXED))
		frame_fix_ip(frame + ETH_HLEN, length - ETH_HLEN);
	if (flags & FLAG_PADDED) {
		memset(frame + length, 0xee, 40);
		length += 40;
	}
	return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	uint8_t frame[FRAME_LONGEST + 64];
	uint32_t changed, length, start = 0;
	enum program program;
	struct __sk_buff *skb;
	uint8_t flags;

	if (size < INPUT_HEADER)
		return 0;
	program = input[INPUT_PROGRAM] % PROGRAMS;
	flags = input[INPUT_FLAGS];
	changed = input[INPUT_OVERLAY];
	if (changed > size - INPUT_HEADER)
		changed = size - INPUT_HEADER;
	length = make_frame(frame, input, input + INPUT_HEADER, changed);
	if (length < ETH_HLEN)
		return 0; /* no driver hands up less */
	shim_begin(input + INPUT_HEADER + changed, size - INPUT_HEADER - changed);
	if (program == GPE)
		start = ETH_HLEN; /* a device without link layer */
	skb = arrive(frame + start, length - start,
			 flags & FLAG_NOT_LINEAR ? input[INPUT_LINEAR] : length, flags & FLAG_ENCAPSULATED);
	memcpy(&skb->protocol, frame + 12, 2);
	((__u8 *)&skb->protocol)[2] = ((__u8 *)&skb->protocol)[3] = 0;
	skb->pkt_type = flags & FLAG_OTHER_HOST ? PACKET_OTHERHOST :
			frame[0] & 1		? PACKET_MULTICAST :
						  PACKET_HOST;
	skb->gso_size = flags & FLAG_SUPER_PACKET ? 1 + input[INPUT_LINEAR] * 4 : 0;
	check_result(program, run(program, skb), frame + start, length - start,
		     flags & FLAG_SUPER_PACKET);
	shim_end();
	return 0;
}
