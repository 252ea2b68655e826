/**
 * What the datapath tells a node: packets that wait, endpoints and listeners that were seen, answers.
 *
 * Events of closed networks and of the control protocols of a segment stand with their operations
 * (closed-network/closed-vocabulary.ts, segment-vocabulary.ts). What follows from an event is decided
 * by the roles.
 */
import type { IpAddress, MacAddress } from '../lisp/address.js'
import type { Eid, EidPrefix } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import type { MulticastGroup } from '../lisp/multicast/multicast-group.js'
import type { ClosedEvent } from './closed-network/closed-vocabulary.js'
import type { DatapathOperation, HoldGiveUpReason } from './datapath-operation.js'
import type { SegmentEvent } from './segment-vocabulary.js'

/** Facts that the datapath reports. Each is rate-limited per EID where packets cause it. */
export type DatapathEvent =
  | ClosedEvent
  | SegmentEvent
  /** A LISP-encapsulated PIM message or trace of another xTR: what came behind UDP port 4341 (RFC 6831 §3). */
  | {
      readonly kind: 'encapsulated-pim'
      readonly from: Rloc
      readonly to: Rloc
      readonly bytes: Uint8Array
    }
  /**
   * An ICMP error came to one of our RLOCs about a packet that was too big on its way to `rloc`, as it
   * quotes (at most ten a second per RLOC); `packet` is its head from the IP header, 192 bytes.
   */
  | { readonly kind: 'path-too-narrow'; readonly rloc: Rloc; readonly packet: Uint8Array }
  /** The first packet for `eid` went into the hold. One event per held EID until released or dropped. */
  | {
      readonly kind: 'packet-held'
      readonly eid: Eid
      /** Inner source of the first held packet. */
      readonly source: Eid
      readonly why: 'map-cache-miss' | 'endpoint-expected'
    }
  /** A site interface saw a frame whose source EID is not in state `local` (at most 1 per 50 ms per EID). */
  | {
      readonly kind: 'local-eid-seen'
      readonly eid: Eid
      readonly mac: MacAddress
      readonly interfaceName: string
      readonly how: 'arp' | 'neighbour-advertisement' | 'packet'
    }
  /** A RARP announcement: says only that this MAC is now behind the interface (what QEMU sends on arrival). */
  | { readonly kind: 'mac-seen'; readonly mac: MacAddress; readonly interfaceName: string }
  /**
   * DHCP or duplicate address detection says that a host of this segment is about to use the address, with
   * `mac` as far as that is known. Whoever says so need not be right. Limited per interface.
   */
  | {
      readonly kind: 'eid-hinted'
      readonly eid: Eid
      readonly mac: MacAddress | undefined
      readonly interfaceName: string
      readonly how: 'dhcpv4' | 'dhcpv6' | 'duplicate-address-detection'
    }
  /** A packet for an away EID was redirected; `sender` is its outer source, undefined for a local sender. */
  | { readonly kind: 'away-eid-hit'; readonly eid: Eid; readonly sender: Rloc | undefined }
  /** A packet for a local EID put with `reportSenders` came from this outer source (1 per second per pair). */
  | { readonly kind: 'sender-seen'; readonly eid: Eid; readonly sender: Rloc }
  /**
   * A packet from this outer source was for an EID inside a dynamic-EID prefix that is not here (at
   * most as often as `away-eid-hit`): the sender's mapping is stale, or a guess.
   */
  | { readonly kind: 'unknown-eid'; readonly eid: Eid; readonly sender: Rloc }
  /** A host on a site interface asked (ARP or ND) for an EID that is neither local nor cached. */
  | { readonly kind: 'eid-wanted'; readonly eid: Eid; readonly source: Eid }
  /** Answer to `query-usage`. */
  | {
      readonly kind: 'map-cache-usage'
      readonly eidPrefix: EidPrefix
      readonly packets: bigint
      readonly bytes: bigint
      /** Undefined when never used. */
      readonly idleMs: number | undefined
    }
  /** A `release` has finished: everything held for `eid` has left the hold, in order. */
  | {
      readonly kind: 'hold-released'
      readonly eid: Eid
      readonly packets: number
      readonly heldMs: number
    }
  /** Held packets were given up by the datapath itself (limit of count, bytes or time). */
  | {
      readonly kind: 'hold-dropped'
      readonly eid: Eid
      readonly packets: number
      readonly reason: HoldDropReason
    }
  /**
   * A site interface has a listener: a host reported the group, or a router joined. With `host` there is
   * one event per host (explicit tracking), else one per interface. `group-left` is its exact reverse and
   * comes after the last-member queries, not before. Never for link-scoped groups.
   */
  | {
      readonly kind: 'group-joined' | 'group-left'
      readonly group: MulticastGroup
      readonly interfaceName: string
      readonly host?: IpAddress
    }
  /**
   * A packet of a source inside our EID-prefixes came from a site interface and there is no (S,G) entry.
   * With a (*,G) entry it went as that says, else no further. Or its source is elsewhere: some other
   * router delivers it to the segment. At most one per second per (S,G).
   */
  | {
      readonly kind: 'multicast-source-seen'
      /** With its source. */
      readonly group: MulticastGroup
      readonly interfaceName: string
    }
  /** Whether we are the IGMP or MLD querier of this segment now; raised when that changes. */
  | {
      readonly kind: 'site-querier'
      readonly interfaceName: string
      readonly family: 4 | 6
      readonly ours: boolean
    }
  /** Answer to `query-replication`. */
  | {
      readonly kind: 'replication-usage'
      readonly group: MulticastGroup
      /** Packets that matched the entry, not copies. */
      readonly packets: bigint
      readonly bytes: bigint
      /** Since a packet from a *site* interface matched; undefined when none ever has. */
      readonly idleMs: number | undefined
    }
  /** An operation could not be carried out (table full, …). */
  | {
      readonly kind: 'operation-failed'
      readonly operation: DatapathOperation['kind']
      readonly reason: string
    }

/** A limit of the hold was reached, or the node gave them up. */
export type HoldDropReason =
  | 'hold-packets'
  | 'hold-bytes'
  | 'hold-time'
  | 'hold-total'
  | HoldGiveUpReason
