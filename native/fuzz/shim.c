// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* See shim.h. The packet and the helpers that touch it; maps are in shim_maps.c. */
#include "shim.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <stdlib.h>
#include <string.h>

enum {
	CHOICE_FAIL = 0xfe, /* a helper fails when this is chosen */
	ADJUST_DECAP = 3 << 7, /* BPF_F_ADJ_ROOM_DECAP_L3_IPV4, _IPV6 */
	LONGEST_ADJUSTMENT = 0xfff,
};

struct shim_record shim_record;

static struct {
	const uint8_t *bytes;
	size_t length, at;
} choices;

static struct {
	struct __sk_buff skb;
	uint8_t *linear;
	uint8_t *rest; /* behind the linear part */
	uint32_t linear_length, rest_length;
	bool encapsulated;
} frame;

static __u64 now;

uint8_t shim_choose(void)
{
	return choices.at < choices.length ? choices.bytes[choices.at++] : 0;
}

void shim_begin(const uint8_t *bytes, size_t length)
{
	choices.bytes = bytes;
	choices.length = length;
	choices.at = 0;
	now = 1000000000000ULL;
	memset(&shim_record, 0, sizeof(shim_record));
}

void shim_end(void)
{
	free(frame.linear);
	free(frame.rest);
	memset(&frame, 0, sizeof(frame));
	shim_forget_maps();
}

static bool fails(void)
{
	if (shim_choose() != CHOICE_FAIL)
		return false;
	shim_record.failures++;
	return true;
}

/* Takes `bytes` apart again at `linear`. The old parts are freed: nobody may still point into them. */
static void take(const uint8_t *bytes, uint32_t length, uint32_t linear)
{
	uint8_t *first, *second;

	if (linear > length)
		linear = length;
	first = malloc(linear);
	second = malloc(length - linear);
	if ((!first && linear) || (!second && length > linear))
		abort();
	if (linear)
		memcpy(first, bytes, linear);
	if (length > linear)
		memcpy(second, bytes + linear, length - linear);
	free(frame.linear);
	free(frame.rest);
	frame.linear = first;
	frame.rest = second;
	frame.linear_length = linear;
	frame.rest_length = length - linear;
	frame.skb.len = length;
	frame.skb.data = (unsigned long)first;
	frame.skb.data_end = (unsigned long)first + linear;
}

uint8_t *shim_frame_copy(uint32_t *length)
{
	uint8_t *bytes = malloc(frame.linear_length + frame.rest_length + 1);

	if (!bytes)
		abort();
	if (frame.linear_length)
		memcpy(bytes, frame.linear, frame.linear_length);
	if (frame.rest_length)
		memcpy(bytes + frame.linear_length, frame.rest, frame.rest_length);
	*length = frame.linear_length + frame.rest_length;
	return bytes;
}

struct __sk_buff *shim_frame(const uint8_t *bytes, uint32_t length, uint32_t linear, bool encapsulated)
{
	__be16 protocol = 0;

	memset(&frame.skb, 0, sizeof(frame.skb));
	frame.encapsulated = encapsulated;
	take(bytes, length, linear);
	if (length >= ETH_HLEN)
		memcpy(&protocol, bytes + 12, sizeof(protocol));
	frame.skb.protocol = protocol;
	frame.skb.ifindex = 3;
	return &frame.skb;
}

/* The frame with `added` zero bytes at `at`, or without -`added` bytes there. */
static void resize(uint32_t at, int64_t added, uint32_t linear)
{
	uint32_t length, room = added > 0 ? (uint32_t)added : 0, gone = added < 0 ? (uint32_t)-added : 0;
	uint8_t *bytes = shim_frame_copy(&length), *changed = calloc(1, length + room + 1);

	if (!changed)
		abort();
	memcpy(changed, bytes, at);
	memcpy(changed + at + room, bytes + at + gone, length - at - gone);
	take(changed, length + room - gone, linear);
	free(changed);
	free(bytes);
}

static void move(uint32_t linear)
{
	resize(0, 0, linear > frame.linear_length ? linear : frame.linear_length);
}

long shim_load_bytes(const struct __sk_buff *skb, __u32 offset, void *to, __u32 length)
{
	uint32_t whole;
	uint8_t *bytes;

	if (!length)
		abort(); /* the verifier refuses it */
	if (offset > 0xffff || (uint64_t)offset + length > skb->len || fails()) {
		memset(to, 0, length);
		return -EFAULT;
	}
	bytes = shim_frame_copy(&whole);
	memcpy(to, bytes + offset, length);
	free(bytes);
	return 0;
}

long shim_store_bytes(struct __sk_buff *skb, __u32 offset, const void *from, __u32 length, __u64 flags)
{
	if (flags & ~(__u64)(BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH))
		return -EINVAL;
	if (offset > 0xffff || (uint64_t)offset + length > skb->len || fails())
		return -EFAULT;
	move(offset + length);
	memcpy(frame.linear + offset, from, length);
	return 0;
}

long shim_pull_data(struct __sk_buff *skb, __u32 length)
{
	if (length > skb->len || fails())
		return -ENOMEM;
	move(length);
	return 0;
}

/* As net/core/filter.c: the bytes go in or out behind the Ethernet header. */
long shim_adjust_room(struct __sk_buff *skb, __s32 difference, __u32 mode, __u64 flags)
{
	uint32_t size = (uint32_t)(difference < 0 ? -difference : difference), least;
	bool is_ipv4 = skb->protocol == __builtin_bswap16(ETH_P_IP);
	__u64 encapsulation = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 |
			      BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L4_GRE;

	if (size > LONGEST_ADJUSTMENT || mode != BPF_ADJ_ROOM_MAC || fails())
		return -EFAULT;
	if (!is_ipv4 && skb->protocol != __builtin_bswap16(ETH_P_IPV6))
		return -ENOTSUP;
	least = flags & 1 << 7 ? 20 : flags & 1 << 8 ? 40 : is_ipv4 ? 20 : 40;
	if (difference < 0) {
		if (skb->len < ETH_HLEN + size + least)
			return -ENOTSUP;
		resize(ETH_HLEN, difference, frame.linear_length > size + ETH_HLEN ?
						     frame.linear_length - size :
						     ETH_HLEN);
		if (flags & ADJUST_DECAP)
			skb->protocol = __builtin_bswap16(flags & 1 << 7 ? ETH_P_IP : ETH_P_IPV6);
		return 0;
	}
	if (skb->len + size > SHIM_MAXIMUM_FRAME)
		return -ENOTSUP;
	if (flags & encapsulation) {
		if (frame.encapsulated)
			return -EALREADY;
		frame.encapsulated = true;
	}
	resize(ETH_HLEN, difference, frame.linear_length + size);
	if (flags & BPF_F_ADJ_ROOM_ENCAP_L3_IPV4)
		skb->protocol = __builtin_bswap16(ETH_P_IP);
	if (flags & BPF_F_ADJ_ROOM_ENCAP_L3_IPV6)
		skb->protocol = __builtin_bswap16(ETH_P_IPV6);
	return 0;
}

long shim_change_tail(struct __sk_buff *skb, __u32 length, __u64 flags)
{
	if (flags || length < ETH_HLEN || length > SHIM_MAXIMUM_FRAME || fails())
		return -EINVAL;
	if (length > skb->len) {
		uint32_t grown = length - skb->len;

		resize(skb->len, grown, frame.linear_length);
	} else {
		resize(length, (int64_t)length - skb->len, frame.linear_length);
	}
	return 0;
}

long shim_change_head(struct __sk_buff *skb, __u32 room, __u64 flags)
{
	if (flags || (uint64_t)skb->len + room > SHIM_MAXIMUM_FRAME || fails())
		return -EINVAL;
	resize(0, room, frame.linear_length + room);
	return 0;
}

long shim_change_type(struct __sk_buff *skb, __u32 type)
{
	skb->pkt_type = type;
	return 0;
}

long shim_change_proto(struct __sk_buff *skb, __be16 protocol, __u64 flags)
{
	if (flags || fails())
		return -EINVAL;
	move(0);
	skb->protocol = protocol;
	return 0;
}

long shim_get_tunnel_key(struct __sk_buff *skb, struct bpf_tunnel_key *key, __u32 size, __u64 flags)
{
	uint8_t choice = shim_choose();

	(void)skb;
	memset(key, 0, size);
	/* a tunnel over IPv6 is told only to who asks for it */
	if (choice == CHOICE_FAIL || (bool)(choice & 1) != (bool)(flags & BPF_F_TUNINFO_IPV6))
		return -EINVAL;
	key->tunnel_id = (__u32)shim_choose() << 16 | shim_choose();
	return 0;
}

long shim_set_tunnel_key(struct __sk_buff *skb, struct bpf_tunnel_key *key, __u32 size, __u64 flags)
{
	(void)skb, (void)key, (void)size, (void)flags;
	return fails() ? -EINVAL : 0;
}

long shim_fib_lookup(void *skb, struct bpf_fib_lookup *route, int size, __u32 flags)
{
	uint8_t choice = shim_choose();

	(void)skb, (void)flags;
	if (size < (int)sizeof(*route) || choice == CHOICE_FAIL)
		return -EINVAL;
	route->ifindex = SHIM_REDIRECT_INTERFACE;
	memset(route->smac, 0x11, sizeof(route->smac));
	memset(route->dmac, 0x22, sizeof(route->dmac));
	switch (choice & 7) {
	case 1:
		return BPF_FIB_LKUP_RET_NO_NEIGH;
	case 2:
		return BPF_FIB_LKUP_RET_NOT_FWDED;
	case 3:
		return BPF_FIB_LKUP_RET_FRAG_NEEDED;
	case 4:
		return BPF_FIB_LKUP_RET_UNREACHABLE;
	default:
		return BPF_FIB_LKUP_RET_SUCCESS;
	}
}

long shim_redirect(__u32 interface_index)
{
	shim_record.redirects++;
	shim_record.redirect_interface = interface_index;
	return TC_ACT_REDIRECT;
}

long shim_clone_redirect(struct __sk_buff *skb, __u32 interface_index)
{
	(void)skb, (void)interface_index;
	move(0);
	return fails() ? -ENOMEM : 0;
}

void *shim_ringbuf_reserve(size_t size)
{
	void *record = fails() ? NULL : malloc(size);

	if (!record)
		return NULL;
	memset(record, 0xa5, size);
	shim_record.open_records++;
	return record;
}

void shim_ringbuf_submit(void *record)
{
	shim_record.open_records--;
	shim_record.events++;
	free(record);
}

long shim_ringbuf_output(const void *bytes, size_t size)
{
	void *record = shim_ringbuf_reserve(size);

	if (!record)
		return -EAGAIN;
	memcpy(record, bytes, size);
	shim_ringbuf_submit(record);
	return 0;
}

__u64 shim_now(void)
{
	now += (__u64)shim_choose() * 4000000;
	return now;
}

__u32 shim_random(void)
{
	return (__u32)shim_choose() * 0x9e3779b1u;
}

__s64 shim_csum_diff(__be32 *from, __u32 from_size, __be32 *to, __u32 to_size, __wsum seed)
{
	__u64 sum = seed;

	for (__u32 i = 0; i < from_size / 4; i++)
		sum += (__u32)~from[i];
	for (__u32 i = 0; i < to_size / 4; i++)
		sum += to[i];
	while (sum >> 32)
		sum = (sum & 0xffffffff) + (sum >> 32);
	return (__s64)sum;
}

long shim_csum_replace(struct __sk_buff *skb, __u32 offset, __u64 difference)
{
	__u16 checksum;
	__u64 sum;

	if (shim_load_bytes(skb, offset, &checksum, sizeof(checksum)))
		return -EFAULT;
	sum = (__u16)~checksum + (difference & 0xffffffff);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	checksum = ~sum;
	return shim_store_bytes(skb, offset, &checksum, sizeof(checksum), 0);
}
