/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Everything that crosses between the BPF programs, the addon and TypeScript: map keys and values,
 * events, enumerations. The only source: src/datapath/abi.generated.ts is made from this file's BTF.
 *
 * Fields named *_be are in network byte order, all others in host order. No bitfields; padding is
 * explicit and zero. Enumerators are append-only. Whoever changes a structure or the meaning of a field
 * raises LISP_ABI_VERSION: pinned maps of another version are not read (addon/bpf_pins.h). The generator
 * refuses a changed structure or number under the same version.
 */
#ifndef LISP_ABI_H
#define LISP_ABI_H

#include <linux/types.h>

#define LISP_ABI_VERSION 4

enum lisp_limits {
	LISP_MAXIMUM_LOCATORS = 8,   /* locators of the best usable priority in one set */
	LISP_LOCATOR_BUCKETS = 64,   /* weights are realized in 64ths of the flows */
	LISP_EVENT_HEAD_BYTES = 192, /* how much of an offending packet an event carries */
	LISP_MAXIMUM_COPIES = 256,   /* to other RLOCs, of one packet to a group */
	LISP_MAXIMUM_GROUP_INTERFACES = 64, /* of the site, with listeners of one group */
	LISP_COPY_SETS = LISP_MAXIMUM_COPIES / LISP_MAXIMUM_LOCATORS,
	LISP_HOLD_GATES = 1 << 16,   /* 1 MB; EIDs that share one lose only the exact order of a release */
};

/* 24-bit instance-ID and family in one word: (instance_id << 8 | family), family 4 or 6. IPv4 addresses
 * stand in the first four bytes, the rest is zero. */
struct lisp_eid_key {
	__u32 instance_family_be;
	__u8 address[16];
};
_Static_assert(sizeof(struct lisp_eid_key) == 20, "lisp_eid_key");

struct lisp_eid_prefix_key {
	__u32 prefix_bits; /* 32 + mask length: the instance-ID and family always count in full */
	struct lisp_eid_key eid;
};
_Static_assert(sizeof(struct lisp_eid_prefix_key) == 24, "lisp_eid_prefix_key");

/* How packets to an EID are treated on their way out of the site. */
enum lisp_map_cache_action {
	LISP_MAP_CACHE_NONE = 0,
	LISP_MAP_CACHE_FORWARD = 1,  /* encapsulate */
	LISP_MAP_CACHE_DRAINING = 2, /* encapsulate what comes from the hold, hold what is newer until it is empty */
	LISP_MAP_CACHE_NATIVE = 3,   /* hand to the kernel's routing */
	LISP_MAP_CACHE_DROP = 4,
	LISP_MAP_CACHE_HOLD = 5,     /* like a miss, without asking: an answer is under way */
	LISP_MAP_CACHE_NATIVE_DRAINING = 6, /* DRAINING on the way to NATIVE */
};

struct lisp_map_cache_entry {
	__u32 counter_id; /* index into mapping_counters */
	__u32 locator_set_id;
	__u8 action; /* enum lisp_map_cache_action */
	__u8 reserved[7];
};
_Static_assert(sizeof(struct lisp_map_cache_entry) == 16, "lisp_map_cache_entry");

struct lisp_locator {
	__u8 family; /* of the outer header: 4 or 6 */
	__u8 flags;  /* enum lisp_locator_flags */
	__u16 path_mtu;
	__u8 source[16];
	__u8 destination[16];
};
_Static_assert(sizeof(struct lisp_locator) == 36, "lisp_locator");

enum lisp_locator_flags {
	LISP_LOCATOR_GPE = 1, /* the peer speaks RFC 9305: send the P bit */
	LISP_LOCATOR_CLOSED = 2, /* N, L, E and V go there as the flags of the node say (closed.h) */
	LISP_LOCATOR_GROUP = 4,  /* a multicast address of the core; leaves by the interface of `source` */
};

struct lisp_locator_set {
	__u8 count;
	__u8 reserved[3];
	__u8 buckets[LISP_LOCATOR_BUCKETS]; /* flow hash -> index into locators */
	struct lisp_locator locators[LISP_MAXIMUM_LOCATORS];
};
_Static_assert(sizeof(struct lisp_locator_set) == 356, "lisp_locator_set");

/* The name of a group: (S,G), or (*,G) with a source of zeros. */
struct lisp_group_key {
	__u32 instance_family_be; /* as in lisp_eid_key */
	__u8 source[16];
	__u8 group[16];
};
_Static_assert(sizeof(struct lisp_group_key) == 36, "lisp_group_key");

/*
 * Who gets packets to a group: one copy out of each interface, and one to each locator of the sets, all
 * of them full but the last. A set is never changed, and outlives the packets that are being copied.
 */
struct lisp_replication {
	__u32 counter_id;
	__u16 copies;       /* locators in the sets, at most LISP_MAXIMUM_COPIES */
	__u16 largest;      /* inner packet in bytes that fits in the path of each copy */
	__u8 level;         /* 0: copies are for what the site sends; above: for what comes from the core */
	__u8 interface_count;
	__u8 reserved[2];
	__u32 interfaces[LISP_MAXIMUM_GROUP_INTERFACES];
	__u32 set_ids[LISP_COPY_SETS]; /* of locator_sets */
};
_Static_assert(sizeof(struct lisp_replication) == 396, "lisp_replication");

/* How packets to one of the site's own EIDs are treated when they arrive from the core. */
enum lisp_local_eid_state {
	LISP_LOCAL_EID_NONE = 0,
	LISP_LOCAL_EID_LOCAL = 1,    /* deliver */
	LISP_LOCAL_EID_STANDBY = 2,  /* hold: the endpoint is expected */
	LISP_LOCAL_EID_DRAINING = 3, /* deliver what comes from the hold, hold what is newer until it is empty */
	LISP_LOCAL_EID_AWAY = 4,     /* re-encapsulate by the map-cache entry of the EID */
	LISP_LOCAL_EID_PREFIX = 5,   /* a dynamic-EID prefix: nobody home at this address, drop unknown-eid */
	LISP_LOCAL_EID_AWAY_DRAINING = 6, /* the same on the way to AWAY */
};

enum lisp_local_eid_flags {
	LISP_LOCAL_EID_MAC_KNOWN = 1,
	LISP_LOCAL_EID_REPORT_SENDERS = 2,
	LISP_LOCAL_EID_NO_PROXY = 4, /* not present, yet neither ARP nor NS for it are answered */
	/* `moves` says more: a flag and no state, because an EID whose packets are copied is here in every
	 * other respect, and one that is expected or away remains so. */
	LISP_LOCAL_EID_MOVING = 8,
};

struct lisp_local_eid {
	__u32 counter_id;
	__u32 interface_index; /* site interface of the endpoint */
	__u8 state;            /* enum lisp_local_eid_state */
	__u8 flags;            /* enum lisp_local_eid_flags */
	__u8 mac[6];
};
_Static_assert(sizeof(struct lisp_local_eid) == 16, "lisp_local_eid");

/*
 * What an address becomes under LISP-NAT: its first mask_length bits are replaced. Inside: key with
 * the site's instance-ID; outside: with instance-ID 0.
 */
struct lisp_translation {
	__u8 address[16];
	__u32 mask_length;
};
_Static_assert(sizeof(struct lisp_translation) == 20, "lisp_translation");

/*
 * A live move of an EID, at either end. What the source sends to the destination carries a nonce of
 * 24 bits: kind (2), hops (2, not used yet), stamp (20, units of LISP_STAMP_SHIFT of the source's clock).
 */
enum lisp_stamps {
	LISP_STAMP_SHIFT = 16, /* nanoseconds to units: 65.5 us, the stamp wraps after 68.7 s */
	LISP_STAMP_MASK = 0xfffff,
	LISP_KIND_SHIFT = 22,
	LISP_KIND_PLAIN = 0,
	LISP_KIND_COPY = 1,     /* the source has delivered it as well */
	LISP_KIND_REDIRECT = 2, /* the source has not */
};

#define LISP_STAMPED 0x80000000U /* beside a nonce in 32 bits: there is one */

enum lisp_move_role {
	LISP_MOVE_SOURCE = 1,      /* here: deliver and copy; away: redirect with a stamp */
	LISP_MOVE_DESTINATION = 2, /* stamps of the peer count */
};

enum lisp_move_flags {
	/* Expected, but still at the source: only what the peer sends waits, all else goes on to there. */
	LISP_MOVE_PASS_ON = 1,
	LISP_MOVE_HAS_CUT = 2,     /* copies stamped before `cut` were seen at the source */
	LISP_MOVE_DROP_COPIES = 4, /* the endpoint stayed at the source: it has seen them all */
};

struct lisp_move {
	__u64 until_ns;     /* CLOCK_MONOTONIC; copies end, and cuts count no more */
	__u64 refilled_ns;  /* written by programs: of the token bucket */
	__u32 tokens;       /* written by programs: bytes that may be copied now */
	__u32 bytes_per_ms; /* of copies; a tenth of a second of it may come at once */
	__u32 cut;          /* stamp */
	__u8 role;          /* enum lisp_move_role */
	__u8 flags;         /* enum lisp_move_flags */
	__u8 reserved[2];
	struct lisp_locator peer; /* as an outer header from here */
	__u8 reserved2[4];
};
_Static_assert(sizeof(struct lisp_move) == 72, "lisp_move");

/* Per CPU, by counter id; outside the mapping so that replacing a mapping keeps its counts. */
struct lisp_counter {
	__u64 packets;
	__u64 bytes;
	__u64 last_used_ns; /* bpf_ktime_get_coarse_ns, 0 = never */
};
_Static_assert(sizeof(struct lisp_counter) == 24, "lisp_counter");

/* A site-facing interface, by interface index. */
struct lisp_site_interface {
	__u32 instance_id;
	__u8 flags;  /* enum lisp_site_interface_flags */
	__u8 mac[6]; /* of the interface: gateway MAC in proxy ARP and ND, source MAC of deliveries */
	__u8 reserved;
};
_Static_assert(sizeof(struct lisp_site_interface) == 12, "lisp_site_interface");

enum lisp_site_interface_flags {
	LISP_SITE_DYNAMIC_EIDS = 1, /* look at source EIDs, report arrivals */
	LISP_SITE_PROXY_NEIGHBOURS = 2, /* answer ARP and NS for EIDs that are elsewhere */
	/* A veth whose other end is in another network namespace: deliver straight into it. */
	LISP_SITE_PEER = 4,
	/* Of a Proxy-ITR: only destinations in attracted_prefixes are ours to look up (RFC 6832 §5). */
	LISP_SITE_PROXY = 8,
};

/* One of our own RLOCs: only packets to it are decapsulated. */
struct lisp_rloc_key {
	__u32 family; /* 4 or 6 */
	__u8 address[16];
};
_Static_assert(sizeof(struct lisp_rloc_key) == 20, "lisp_rloc_key");

#define LISP_MAXIMUM_RLOCS 16

/* The underlay interface that one of our own RLOCs is on. */
struct lisp_rloc_interface {
	__u32 interface_index;
	__u8 mac[6];
	__u8 reserved[2];
};
_Static_assert(sizeof(struct lisp_rloc_interface) == 12, "lisp_rloc_interface");

/* Our own RLOCs, one element: comparing with a few costs a third of asking a hash (measured). */
struct lisp_own_rlocs {
	__u32 count; /* 0-16 */
	struct lisp_rloc_key rlocs[LISP_MAXIMUM_RLOCS];
};
_Static_assert(sizeof(struct lisp_own_rlocs) == 324, "lisp_own_rlocs");

/* What the programs need to know of the node; one element. */
struct lisp_node_config {
	__u32 hold_interface_index; /* the TAP; 0 = no hold: packets that would wait are dropped */
	__u32 gro_entry_interface_index; /* veth whose far end re-aggregates decapsulated TCP; 0 = none */
	__u32 gpe_interface_index;  /* vxlan-gpe device for decapsulating UDP super-packets; 0 = none */
	__u32 flags;                /* enum lisp_node_flags */
	__u64 unsettled_until_ns;   /* written by programs: LISP_NODE_SETTLED does not count before then */
};
_Static_assert(sizeof(struct lisp_node_config) == 24, "lisp_node_config");

enum lisp_node_flags {
	LISP_NODE_CHECK_SOURCES = 1, /* ETR: drop packets whose inner source is not mapped to the outer source */
	/* No EID here is on the move or watched: nothing depends on who sent a packet, so TCP may be
	 * re-aggregated before its EID is looked up. */
	LISP_NODE_SETTLED = 2,
	LISP_NODE_PETR = 4, /* Proxy-ETR: packets of proxied_sites leave natively (RFC 6832 §6) */
	LISP_NODE_RTR = 8,  /* packets for EIDs that are not here go on by the map-cache */
	LISP_NODE_NAT = 16, /* LISP-NAT: nat_inside and nat_outside have elements (RFC 6832 §7) */
	LISP_NODE_MULTICAST = 32, /* packets to groups are looked up in `replications` */
	/* What only closed networks use (RFC 9300 §4.1); beside any of them nothing is ever settled. */
	LISP_NODE_ECHO_NONCE = 0x100,   /* RFC 9300 §10.1 */
	LISP_NODE_MAP_VERSIONS = 0x200, /* RFC 9302 */
	LISP_NODE_STATUS_BITS = 0x400,  /* RFC 9300 §10 */
	LISP_NODE_GLEAN = 0x800,        /* RFC 9300 §9: report senders of EIDs without a mapping */
	LISP_NODE_CLOSED = 0xf01,       /* all of them, and LISP_NODE_CHECK_SOURCES */
};

/* What packets in a closed network say about a mapping, ours or a cached one, and are compared with. */
struct lisp_mapping_facts {
	__u32 id; /* given by user space, for refused_senders */
	__u16 map_version; /* 0 = the null version */
	__u8 status_bits;  /* the eight that fit beside an instance-ID */
	__u8 flags; /* enum lisp_mapping_facts_flags */
};
_Static_assert(sizeof(struct lisp_mapping_facts) == 8, "lisp_mapping_facts");

enum lisp_mapping_facts_flags {
	LISP_MAPPING_FACTS_VERSION = 1,     /* map_version is known, be it the null version */
	LISP_MAPPING_FACTS_STATUS_BITS = 2, /* status_bits may be sent, or compared with */
	LISP_MAPPING_FACTS_DROP_STALE = 4,  /* the TTL of every older version has passed (RFC 9302 §7.1) */
};

/* A sender whose packets with an old version of our mapping are refused (RFC 9302 §7.1). */
struct lisp_refused_key {
	__u32 facts_id;
	struct lisp_rloc_key sender;
};
_Static_assert(sizeof(struct lisp_refused_key) == 24, "lisp_refused_key");

/*
 * Metadata in the Ethernet header of a packet on its way into and out of the hold. The ethertype is
 * that of the inner packet. `purpose` says what the packet waits for and, coming out, what to do.
 */
struct lisp_hold_header {
	__u8 local;      /* 0x02: a locally administered unicast address */
	__u8 purpose;    /* enum lisp_hold_purpose */
	__u8 instance_id_be[3];
	__u8 sender_family; /* 4 or 6: family of the outer source that brought it; 0 = from the site */
	__u8 local2;     /* 0x02 */
	__u8 segments;   /* counted for it at the gate; a super-packet may be segmented on its way in */
	/* Where it came in, for FRAME where it goes out; or, with LISP_STAMPED, the nonce it came with. */
	__u32 interface_index_be;
	__be16 ethertype;
} __attribute__((packed));
_Static_assert(sizeof(struct lisp_hold_header) == 14, "lisp_hold_header");

enum lisp_hold_purpose {
	LISP_HOLD_MAP_CACHE_MISS = 1,    /* from the site, waits for a mapping */
	LISP_HOLD_ENDPOINT_EXPECTED = 2, /* from the core, already decapsulated, waits for the endpoint */
	LISP_HOLD_FRAGMENT = 3,          /* does not wait: too big and without DF, comes back in two halves */
};

/*
 * Packets of one hold queue (or of several, by chance) that went into the hold and that have left it:
 * sent on or given up. Equal: nothing is ahead of a new packet. Slot: lisp_hold_gate_slot.
 */
struct lisp_hold_gate {
	__u64 entered; /* writer: programs, before they redirect into the TAP */
	__u64 left;    /* writer: the hold's thread, after the packet was sent */
};
_Static_assert(sizeof(struct lisp_hold_gate) == 16, "lisp_hold_gate");

enum lisp_event_type {
	LISP_EVENT_LOCAL_EID_SEEN = 1, /* eid, mac, interface, detail = enum lisp_seen_by */
	LISP_EVENT_MAC_SEEN = 2,       /* mac, interface (RARP) */
	LISP_EVENT_AWAY_EID_HIT = 3,   /* eid, peer = outer source (peer_family 0: local sender) */
	LISP_EVENT_SENDER_SEEN = 4,    /* eid, peer = outer source */
	LISP_EVENT_EID_WANTED = 5,     /* eid = wanted, peer = who asks (peer_family = family of the EIDs) */
	LISP_EVENT_UNKNOWN_EID = 7,   /* eid inside a dynamic prefix but not here, peer = outer source */
	LISP_EVENT_PACKET_TOO_BIG = 6, /* eid = destination, interface, mtu, head = inner packet from its IP header */
	/* closed networks; peer = outer source */
	LISP_EVENT_NONCE_ECHOED = 16,    /* it echoed the nonce that it is asked for */
	LISP_EVENT_NONCE_MISSED = 17,    /* it sent a packet without that nonce */
	LISP_EVENT_SOURCE_DOUBTED = 18,  /* eid = inner source, detail = enum lisp_doubt */
	LISP_EVENT_STATUS_BITS = 19,     /* eid = inner source, detail = the bits, other than known */
	LISP_EVENT_STALE_VERSION = 20,   /* eid = inner destination: its mapping there is an old one */
	LISP_EVENT_SOURCE_UNMAPPED = 21, /* eid = inner source, to be gleaned */
	LISP_EVENT_GROUP_SOURCE_SEEN = 22, /* eid = group, peer = inner source, interface */
	LISP_EVENT_PATH_TOO_NARROW = 23, /* peer = RLOC sent to, interface, head = ICMP error from its IP header */
};

enum lisp_doubt {
	LISP_DOUBT_RLOC = 0,    /* the mapping names other RLOCs */
	LISP_DOUBT_VERSION = 1, /* the mapping is older than the one that sent the packet */
};

enum lisp_seen_by {
	LISP_SEEN_BY_PACKET = 0,
	LISP_SEEN_BY_ARP = 1,
	LISP_SEEN_BY_NEIGHBOUR_ADVERTISEMENT = 2,
};

struct lisp_event {
	__u8 type;   /* enum lisp_event_type */
	__u8 detail;
	__u8 peer_family; /* 0, 4 or 6 */
	__u8 reserved;
	struct lisp_eid_key eid;
	__u8 peer[16];
	__u32 interface_index;
	__u16 mtu;
	__u16 head_length;
	__u8 mac[6];
	__u8 reserved2[2];
	__u8 head[LISP_EVENT_HEAD_BYTES];
};
_Static_assert(sizeof(struct lisp_event) == 248, "lisp_event");

/* Every reason for which a program discards a packet; also the name of its metric label. Append only. */
enum lisp_drop_reason {
	LISP_DROP_NONE = 0,
	LISP_DROP_MALFORMED_INNER,
	LISP_DROP_MALFORMED_OUTER,
	LISP_DROP_UNKNOWN_INSTANCE,
	LISP_DROP_UNKNOWN_EID,
	LISP_DROP_ECN_NOT_ECT_MARKED, /* RFC 6040: inner Not-ECT, outer CE */
	LISP_DROP_TTL_EXPIRED,
	LISP_DROP_PACKET_TOO_BIG,
	LISP_DROP_NO_LOCATOR,
	LISP_DROP_NO_HOLD,            /* it should wait but there is no hold */
	LISP_DROP_MAPPING_SAYS_DROP,
	LISP_DROP_NO_ROUTE_TO_RLOC,
	LISP_DROP_ENCAPSULATION_FAILED,
	LISP_DROP_DECAPSULATION_FAILED,
	LISP_DROP_AWAY_UNMAPPED,      /* away, but the map-cache does not say where */
	LISP_DROP_NESTED,             /* a third LISP header */
	LISP_DROP_SPOOFED_SOURCE,
	LISP_DROP_HOLD_HEADER,        /* something else wrote into the hold device */
	LISP_DROP_NO_SITE_INTERFACE,
	LISP_DROP_UNSUPPORTED_GPE,    /* RFC 9305 next protocol we do not speak */
	LISP_DROP_LOOP,               /* RTR: it would go back to who sent it */
	LISP_DROP_UNPROXIED_SOURCE,   /* PETR: the inner source is of no site that it serves */
	LISP_DROP_NATIVE_AT_RTR,      /* RTR: to be forwarded natively, which only a PETR does */
	LISP_DROP_UNTRANSLATABLE,     /* LISP-NAT: its checksum cannot be reached */
	LISP_DROP_NULL_MAP_VERSION,   /* the packet names a version, the mapping has none (RFC 9302 §6.1) */
	LISP_DROP_FUTURE_MAP_VERSION, /* it names one of ours that was never given out */
	LISP_DROP_STALE_MAP_VERSION,  /* an old one: of ours solicited in vain, or of the source's mapping */
	LISP_DROP_SEEN_AT_SOURCE,     /* a copy of what the source has delivered */
	LISP_DROP_COPY_RATE_LIMITED,  /* not the packet, only its copy */
	LISP_DROP_COPY_FAILED,        /* likewise: no next hop, other family, too big, end of its TTL */
	LISP_DROP_UNKNOWN_GROUP,      /* from the core, to a group that nobody here listens to */
	LISP_DROP_GROUP_SCOPE,        /* from the core, to a group that never leaves its link */
	LISP_DROP_OWN_SOURCE,         /* to a group, from the core, and its source is here: it came back */
	LISP_DROP_GROUP_COPY_TOO_BIG, /* not the packet, only its copy to one RLOC */
	LISP_DROP_GROUP_COPY_FAILED,  /* likewise, or to one segment: no next hop, device down, no memory */
	LISP_DROP_REVERSE_PATH,       /* by a group of the core, but not from where its sender is routed to */
	LISP_DROP_TOO_BIG_FOR_ROUTE,  /* with its outer headers, for the interface that leads to the RLOC */
	LISP_DROP_COUNT,
};

struct lisp_drop_counter {
	__u64 packets;
	__u64 bytes;
};

/* Packets handled, by what happened to them; append only. */
enum lisp_tally {
	LISP_TALLY_ENCAPSULATED = 0,
	LISP_TALLY_DECAPSULATED,
	LISP_TALLY_REENCAPSULATED,
	LISP_TALLY_HELD,
	LISP_TALLY_NATIVE,
	LISP_TALLY_PROXIED_NEIGHBOUR,
	LISP_TALLY_ECN_CORRECTED,     /* odd but legal ECN combinations of RFC 6040 that shall be logged */
	LISP_TALLY_EVENT_LOST,        /* events that found the ring buffer full */
	LISP_TALLY_FRAGMENTED,        /* packets sent to be split in two (RFC 9300 §7.1) */
	LISP_TALLY_PROXIED,           /* PETR: decapsulated and let out natively */
	LISP_TALLY_TRANSLATED,        /* LISP-NAT, both directions */
	LISP_TALLY_COPIED,            /* delivered here and sent to the destination of a live move */
	LISP_TALLY_REPLICATED,        /* packets to a group that has an entry */
	LISP_TALLY_GROUP_COPY,        /* their copies to other RLOCs … */
	LISP_TALLY_GROUP_DELIVERED,   /* … and on segments of our own */
	LISP_TALLY_FOREIGN_GROUP_SOURCE, /* to a group, from the site, but its source is not of the site */
	LISP_TALLY_PATH_TOO_NARROW, /* ICMP errors that say so of packets of ours, believed or not */
	LISP_TALLY_COUNT,
};

#endif
