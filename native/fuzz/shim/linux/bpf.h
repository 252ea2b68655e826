/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The kernel's header, with a struct __sk_buff whose data and data_end hold real pointers: the
 * verifier widens the 32-bit fields of the original, a compiler for this machine does not.
 */
#ifndef GODWIT_FUZZ_LINUX_BPF_H
#define GODWIT_FUZZ_LINUX_BPF_H

#define __sk_buff kernel_sk_buff
#include_next <linux/bpf.h>
#undef __sk_buff

struct __sk_buff {
	__u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto;
	__u32 priority, ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid;
	unsigned long data, data_end, data_meta;
	__u32 napi_id, family, gso_segs, gso_size;
	__u64 tstamp, hwtstamp;
};

#endif
