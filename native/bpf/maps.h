/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * All maps of the datapath object. Each states its purpose, key, value, writer and the reason for its
 * size; the sizes are defaults, the loader may change them before the maps are created.
 *
 * Hash maps are replaced element by element, which is one atomic step for the reader; array elements
 * are written in place and can tear, so nothing that a move changes lives in an array.
 */
#ifndef GODWIT_MAPS_H
#define GODWIT_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "lisp_abi.h"

/*
 * A function that the verifier checks once by its arguments, not again on every path that leads to it.
 * Pointers arrive as "may be null" and are tested first; callers never pass null.
 */
#define CHECKED_ONCE __attribute__((noinline))

#define MICROSECONDS 1000ULL
#define MILLISECONDS 1000000ULL

enum map_sizes {
	HOST_ENTRIES = 1 << 17,
	PREFIX_ENTRIES = 1 << 17,
	LOCATOR_SETS = 1 << 16,
	LOCAL_EIDS = 1 << 16,
	COUNTERS = 1 << 17,
	INTERFACES = 1 << 10,
	EVENT_LIMITS = 1 << 14,
	EVENT_BYTES = 1 << 20,
	RECENT_SENDERS = 1 << 12,
	NEXT_HOPS = 1 << 10,
	FOREIGN_PREFIXES = 1 << 12,
	TRANSLATIONS = 64,
	FACTS = 1 << 16,
	CLOSED_PEERS = 1 << 12,
	REFUSED_SENDERS = 1 << 12,
	DOUBTS = 1 << 14,
	MOVES = 1 << 14,
	GROUPS = 1 << 13,
};

/* How packets to one EID leave the site. Key: EID. Writer: user space. Size: mapped host EIDs in use. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HOST_ENTRIES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_eid_key);
	__type(value, struct lisp_map_cache_entry);
} map_cache_hosts SEC(".maps");

/* The same for shorter prefixes, longest match. Asked after the hosts: a trie costs 3 to 5 times a hash. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, PREFIX_ENTRIES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_eid_prefix_key);
	__type(value, struct lisp_map_cache_entry);
} map_cache_prefixes SEC(".maps");

/* Outer headers to choose from. Key: id given by user space. Shared by all mappings with equal sets. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LOCATOR_SETS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct lisp_locator_set);
} locator_sets SEC(".maps");

/* How packets to one of the site's own EIDs are treated. Writer: user space. Size: endpoints here. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LOCAL_EIDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_eid_key);
	__type(value, struct lisp_local_eid);
} local_eid_hosts SEC(".maps");

/* The site's EID-prefixes, static (LOCAL) and dynamic (PREFIX). Writer: user space. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, LOCAL_EIDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_eid_prefix_key);
	__type(value, struct lisp_local_eid);
} local_eid_prefixes SEC(".maps");

/* Live moves under way, by EID; asked only for entries that say so. Writer: user space; programs keep
 * the token bucket in it. Size: EIDs that migrate at once, many times what a host can carry. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MOVES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_eid_key);
	__type(value, struct lisp_move);
} moves SEC(".maps");

/* Who gets packets to a group, by (S,G) and (*,G); asked only for packets to groups. Writer: user space.
 * Size: groups in use, the limit of the configuration. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GROUPS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_group_key);
	__type(value, struct lisp_replication);
} replications SEC(".maps");

/* Underlay interfaces by our own RLOCs: where packets to groups of the core leave. Writer: user space, at
 * start and reload. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LISP_MAXIMUM_RLOCS * 2);
	__type(key, struct lisp_rloc_key);
	__type(value, struct lisp_rloc_interface);
} rloc_interfaces SEC(".maps");

/* The entry that a packet is being copied by, private to the programs. Copying takes longer than user
 * space needs to replace an entry twice, and the memory of the first would be that of another then. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lisp_replication);
} current_replication SEC(".maps");

/* Packets, bytes and last use by counter id. Writer: programs. Outside the mappings, so that replacing
 * a mapping keeps its counts. Id 0 is counted like any other. Size: map-cache and local EIDs together. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, struct lisp_counter);
} mapping_counters SEC(".maps");

/* Site interfaces by index. Writer: user space. Size: interfaces of one machine. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, INTERFACES);
	__type(key, __u32);
	__type(value, struct lisp_site_interface);
} site_interfaces SEC(".maps");

/* EID-prefixes that a Proxy-ITR attracts. Value: 1. Writer: user space, at start and reload. Size: what
 * an operator writes down. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, FOREIGN_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_eid_prefix_key);
	__type(value, __u32);
} attracted_prefixes SEC(".maps");

/* EID-prefixes whose packets a Proxy-ETR lets out. Value: 1. Writer and size: as attracted_prefixes. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, FOREIGN_PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_eid_prefix_key);
	__type(value, __u32);
} proxied_sites SEC(".maps");

/* LISP-NAT, the way out: inside prefix → outside. Writer: user space, at start and reload. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, TRANSLATIONS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_eid_prefix_key);
	__type(value, struct lisp_translation);
} nat_inside SEC(".maps");

/* LISP-NAT, the way back: outside prefix → inside. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, TRANSLATIONS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_eid_prefix_key);
	__type(value, struct lisp_translation);
} nat_outside SEC(".maps");

/* Our own RLOCs. Key: 0. Writer: user space, at start and reload; what stays keeps its place, so that
 * writing in place changes nothing for it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lisp_own_rlocs);
} own_rlocs SEC(".maps");

/* LISP_ABI_VERSION of whoever made these maps, for the one who finds them pinned. Key: 0. Writer: the
 * loader. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} abi_version SEC(".maps");

/* Interface indexes and switches of the node. Key: 0. Writer: user space, at start. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lisp_node_config);
} node_config SEC(".maps");

/* What is on its way through the hold, by lisp_hold_gate_slot. Writers: programs and the hold's thread,
 * each its own half, hence mapped into memory. Touched only by packets that must wait. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, LISP_HOLD_GATES);
	__type(key, __u32);
	__type(value, struct lisp_hold_gate);
} hold_gates SEC(".maps");

/* Discarded packets by enum lisp_drop_reason. Writer: programs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LISP_DROP_COUNT);
	__type(key, __u32);
	__type(value, struct lisp_drop_counter);
} drops SEC(".maps");

/* Handled packets by enum lisp_tally. Writer: programs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LISP_TALLY_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} tallies SEC(".maps");

/* struct lisp_event records to user space. Size: 4,000 events, many times what the limits let through
 * while user space is busy for a second. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENT_BYTES);
} events SEC(".maps");

struct event_limit_key {
	struct lisp_eid_key eid;
	__u8 peer[16];
	__u32 type;
};

struct event_limit {
	__u64 refilled_ns;
	__u32 tokens;
	__u32 reserved;
};

/* Token buckets of the events, private to the programs. LRU: an attacker who invents EIDs pushes out
 * the oldest limits and gains one event each, which the ring buffer bounds. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, EVENT_LIMITS);
	__type(key, struct event_limit_key);
	__type(value, struct event_limit);
} event_limits SEC(".maps");

struct recent_sender {
	struct event_limit_key key;
	__u32 reserved;
	__u64 until_ns;
};

/* What decides the kernel's route: compared whole. */
struct next_hop_key {
	__u8 source[16];
	__u8 destination[16];
	__u32 interface_index;
	__u8 family;
	__u8 protocol;
	__u8 flags;
	__u8 reserved;
};

struct next_hop {
	struct next_hop_key key;
	__u32 interface_index;
	__u32 is_peer; /* out of it means into the namespace of its other end */
	__u32 reserved;
	__u8 macs[12]; /* destination, source: as they stand in a frame */
	__u64 until_ns;
};

/* Next hops that the kernel named within the last NEXT_HOP_MS, by hash: asking it costs as much as the
 * encapsulation itself (measured), and an answer that young is as good as the kernel's own, whose
 * routes do not change for all packets at once either. Each CPU has its own, so that none is torn. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NEXT_HOPS);
	__type(key, __u32);
	__type(value, struct next_hop);
} next_hops SEC(".maps");

/* Senders that were reported just now, by hash: asking here costs a tenth of asking event_limits
 * (measured), and every packet to a watched EID asks. Two that share a slot push each other out. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RECENT_SENDERS);
	__type(key, __u32);
	__type(value, struct recent_sender);
} recent_senders SEC(".maps");

/* What closed networks say and compare about our own EID-prefixes, by longest match. Writer: user space.
 * Asked only when the flags of the node say so, like the maps below. Size: own EIDs. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, FACTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_eid_prefix_key);
	__type(value, struct lisp_mapping_facts);
} own_facts SEC(".maps");

/* The same about cached mappings. Size: mappings in use. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, FACTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_eid_prefix_key);
	__type(value, struct lisp_mapping_facts);
} remote_facts SEC(".maps");

/* Nonces that we want echoed, 24 bits, by RLOC, and NONCE_SENT. Writer: user space; programs add the
 * bit. Size: locators in use. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CLOSED_PEERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_rloc_key);
	__type(value, __u32);
} nonce_requests SEC(".maps");

/* Nonces that an RLOC wants echoed: 24 bits, and NONCE_OWED until a packet has carried it back. LRU:
 * whoever invents senders makes us forget a nonce, which its sender repeats in every packet. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CLOSED_PEERS);
	__type(key, struct lisp_rloc_key);
	__type(value, __u32);
} nonce_echoes SEC(".maps");

/* Senders whose stale packets are dropped. Writer: user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, REFUSED_SENDERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_refused_key);
	__type(value, __u32);
} refused_senders SEC(".maps");

/* RLOCs that send on packets of others: xTRs that an EID may have left, RTRs. What comes from them says
 * nothing about its source. Writer: user space, at start and reload. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CLOSED_PEERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lisp_rloc_key);
	__type(value, __u32);
} relay_rlocs SEC(".maps");

struct doubt_key {
	struct lisp_eid_key source;
	struct lisp_rloc_key sender;
};

/* Until when (ns) packets of a source pass whose mapping names another RLOC. Writer: programs. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DOUBTS);
	__type(key, struct doubt_key);
	__type(value, __u64);
} doubts SEC(".maps");

#endif
