// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The end of a UDP load: counts packets to one port and drops them, before any receiver's cost comes
 * in. Everything else passes. Super-packets count as the packets they stand for. Knows nothing of LISP.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum sink_offsets {
	IPV4_PROTOCOL = ETH_HLEN + 9,
	IPV4_PAYLOAD = ETH_HLEN + 20, /* the generator sends no options */
	IPV6_PROTOCOL = ETH_HLEN + 6,
	IPV6_PAYLOAD = ETH_HLEN + 40,
	UDP_HEADER_BYTES = 8,
	UDP_DESTINATION = 2,
};

struct sink_counter {
	__u64 packets;
	__u64 bytes; /* UDP payload */
};

/* The port, set when the object is loaded. */
const volatile __u32 sink_port = 9;

/* What arrived. Key: 0. Writer: the program. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sink_counter);
} sink_counter SEC(".maps");

SEC("tc")
int counting_sink(struct __sk_buff *skb)
{
	__u32 protocol_at = IPV4_PROTOCOL, payload_at = IPV4_PAYLOAD, zero = 0, payload;
	struct sink_counter *counter;
	__u8 protocol = 0;
	__be16 port = 0;

	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		protocol_at = IPV6_PROTOCOL;
		payload_at = IPV6_PAYLOAD;
	} else if (skb->protocol != bpf_htons(ETH_P_IP)) {
		return TC_ACT_UNSPEC;
	}
	if (bpf_skb_load_bytes(skb, protocol_at, &protocol, sizeof(protocol)) || protocol != IPPROTO_UDP)
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(skb, payload_at + UDP_DESTINATION, &port, sizeof(port)) ||
	    port != bpf_htons(sink_port))
		return TC_ACT_UNSPEC;
	counter = bpf_map_lookup_elem(&sink_counter, &zero);
	if (!counter || skb->len < payload_at + UDP_HEADER_BYTES)
		return TC_ACT_SHOT;
	payload = skb->len - payload_at - UDP_HEADER_BYTES;
	/* not gso_segs: the kernel clears it when a program has changed the headers */
	counter->packets += skb->gso_size ? (payload + skb->gso_size - 1) / skb->gso_size : 1;
	counter->bytes += payload;
	return TC_ACT_SHOT;
}

char program_license[] SEC("license") = "Dual BSD/GPL";
