/**
 * The whole vocabulary between a node and its shell (daemon or simulator).
 *
 * A node is a pure state machine: `handle(input, now, outputs)` appends what is to be done, and the
 * shell does it: operations and datagrams first, then the rest, each in order. A run is fully
 * described by the configuration, the seed and the list of (now, input). Nothing in this room knows
 * sockets, clocks, randomness or async.
 */
import type { IpAddress, MacAddress } from '../lisp/address.js'
import type { AfiAddress } from '../lisp/afi-address.js'
import type { Hmac } from '../lisp/authentication.js'
import type { Eid, EidPrefix } from '../lisp/eid.js'
import type { Locator, Rloc } from '../lisp/locator.js'
import type { Action } from '../lisp/mapping.js'
import type { MulticastGroup } from '../lisp/multicast/multicast-group.js'
import type { ClosedEvent, ClosedOperation } from './closed-network/closed-vocabulary.js'
import type { Event } from './event.js'
import type { BlockCipher } from './lisp-sec/lisp-sec-keys.js'
import type { SegmentEvent, SegmentOperation } from './segment-vocabulary.js'
import type { NodeSnapshot } from './snapshot.js'
import type { NodeTables } from './table-pages.js'

/** Milliseconds, monotonic; zero is arbitrary. */
export type Instant = number

export interface Random {
  /** 64 bits, unpredictable in production. */
  nonce(): bigint
  /** [0, 1), for jitter. */
  fraction(): number
}

/** What a node is given at construction and may call at any time; nothing else is ambient. */
export interface Capabilities {
  readonly random: Random
  readonly hmac: Hmac
  /** For signed Map-Referrals (RFC 8111 §10); a node whose configuration names such keys needs it. */
  readonly signatures?: Signatures
  /** For LISP-SEC (RFC 9303); a node whose configuration names such keys needs it. */
  readonly blockCipher?: BlockCipher
}

/** RSASSA-PKCS1-v1_5 over SHA-256, and the time of day that signatures are dated with. */
export interface Signatures {
  /** `privateKey` is DER, PKCS #8. */
  sign(privateKey: Uint8Array, data: Uint8Array): Uint8Array
  /** `publicKey` is DER, SubjectPublicKeyInfo; false for bytes that are none. */
  verify(publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean
  /** Seconds since 1970 at this moment of the node's clock. */
  unixSeconds(now: Instant): number
}

export type Input =
  | {
      readonly kind: 'datagram'
      readonly from: Rloc
      readonly fromPort: number
      readonly to: Rloc
      readonly bytes: Uint8Array
    }
  | {
      readonly kind: 'datapath'
      readonly event: DatapathEvent
      /** Further events of the same batch follow at once: what can be said together waits for them. */
      readonly more?: true
    }
  | { readonly kind: 'command'; readonly commandId: string; readonly command: Command }
  | { readonly kind: 'restored'; readonly state: RestoredState }
  | { readonly kind: 'deadline' }

export type Output =
  | {
      readonly kind: 'send'
      readonly from: Rloc
      readonly to: Rloc
      readonly toPort: number
      readonly bytes: Uint8Array
    }
  | { readonly kind: 'datapath'; readonly operation: DatapathOperation }
  /** `then` is performed only after `record` is durable: nothing acknowledged is lost. */
  | {
      readonly kind: 'persist'
      readonly records: readonly StoredRecord[]
      readonly then: readonly Output[]
    }
  | { readonly kind: 'result'; readonly commandId: string; readonly result: CommandResult }
  | { readonly kind: 'event'; readonly event: Event }

export interface Node {
  /** Appends to `outputs`; the shell reuses the array. Never throws on remote input. */
  handle(input: Input, now: Instant, outputs: Output[]): void
  /** The earliest moment at which a `deadline` input is wanted, or undefined. */
  deadline(): Instant | undefined
  snapshot(now: Instant): NodeSnapshot
  readonly tables: NodeTables
}

// ---------------------------------------------------------------------------------- datapath

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

export type HoldDropReason =
  | 'hold-packets'
  | 'hold-bytes'
  | 'hold-time'
  | 'hold-total'
  | HoldGiveUpReason
export type HoldGiveUpReason =
  | 'negative-mapping'
  | 'no-reply'
  | 'no-locator'
  | 'endpoint-absent'
  | 'rate-limited'

/** One chosen outer header: where to, from where, and how large a packet may be. */
export interface Encapsulation {
  readonly locator: Locator
  /** Our RLOC of the locator's family, the outer source. */
  readonly source: Rloc
  /** Largest outer packet in bytes, 1280–65535. */
  readonly pathMtu: number
  /** The peer speaks RFC 9305: set the P bit. */
  readonly gpe?: boolean
  /** In a closed network: the LISP header says what `ClosedOperation`s put. */
  readonly closed?: boolean
}

/** A live move of a single EID as the datapath sees it, at its source or at its destination. */
export type LocalMove =
  /**
   * While local: packets are delivered and copied to the destination, stamped. While away: what is
   * redirected is stamped. Copying ends after `leaseMs`, also when nobody says so.
   */
  | {
      readonly kind: 'source'
      readonly encapsulation: Encapsulation
      readonly leaseMs: number
    }
  /**
   * Stamps of `peer` count. `passOn`: the endpoint still runs there; what does not come from `peer`
   * is sent on by the map-cache, copies are held as a window of the latest. Without it the window is
   * closed: nothing is given up for its age. `copies`, of a release and of what comes later: all are
   * delivered that cannot be told seen at the source, or none, or those from this stamp on.
   */
  | {
      readonly kind: 'destination'
      readonly peer: Rloc
      readonly leaseMs: number
      readonly passOn: boolean
      readonly copies: 'all' | 'none' | number
    }

export type DatapathOperation =
  | ClosedOperation
  /** Performed by the shell: the datapath itself sends nothing. */
  | SegmentOperation
  /**
   * ITR side: how packets *to* `eidPrefix` are treated. Replaces any former entry in one step.
   * `release` names held EIDs under the prefix whose packets must leave, in order, before newer ones.
   * forward: encapsulate to one of `encapsulations` (usable ones of the best priority; weights decide).
   * native: hand to the kernel's own routing. drop: discard, counted. hold: like a miss.
   */
  | {
      readonly kind: 'put-map-cache'
      readonly eidPrefix: EidPrefix
      readonly action: 'forward' | 'native' | 'drop' | 'hold'
      readonly encapsulations: readonly Encapsulation[]
      /** Further RLOCs that packets of its EIDs may come from, where sources are checked. */
      readonly senders?: readonly Rloc[]
      readonly release: readonly Eid[]
    }
  | { readonly kind: 'delete-map-cache'; readonly eidPrefix: EidPrefix }
  /**
   * ETR side: how decapsulated packets to `eidPrefix` are treated.
   * local: deliver (to `mac` on `interfaceName` when both are known, else by the kernel's neighbour table).
   * standby: hold them, the endpoint is expected. away: re-encapsulate by the map-cache entry of the EID.
   */
  | {
      readonly kind: 'put-local-eid'
      readonly eidPrefix: EidPrefix
      readonly state: 'local' | 'standby' | 'away'
      readonly interfaceName: string
      readonly mac: MacAddress | undefined
      /** A dynamic-EID prefix itself (not a host): frames from it are reported, packets to it are `unknown-eid`. */
      readonly dynamicPrefix: boolean
      readonly reportSenders: boolean
      /**
       * Default true. False: ARP and ND for it are not answered although it is not here, because the
       * endpoint may still be on the segment (an away EID before its move is certain).
       */
      readonly proxyNeighbours?: boolean
      /** A live move is under way; without it none is, whatever was said before. */
      readonly move?: LocalMove
      readonly release: readonly Eid[]
    }
  | { readonly kind: 'delete-local-eid'; readonly eidPrefix: EidPrefix }
  /**
   * How packets to a group are replicated; replaces any former entry of the same name in one step. The
   * datapath looks for (S,G) first, then for (*,G), and takes that one entry alone: what both should
   * serve is in both.
   * From a site interface: one copy to each of `copies` (only at level 0), one out of each of
   * `localInterfaces` except where it came from. From the core: one out of each of `localInterfaces`;
   * at a level above 0 (an RTR of a replication tree) also one to each of `copies`, never to the outer
   * source. From the core, what has no entry is dropped and counted, and so is what has a source that is
   * local here: it has come back over a relay.
   */
  | {
      readonly kind: 'put-replication'
      readonly group: MulticastGroup
      /** At most 256, no RLOC twice, none of our own. */
      readonly copies: readonly Encapsulation[]
      readonly localInterfaces: readonly string[]
      /** 0–127: 0 = `copies` are for what our own site sends; above = for what comes from the core. */
      readonly level: number
    }
  | { readonly kind: 'delete-replication'; readonly group: MulticastGroup }
  | { readonly kind: 'query-replication'; readonly group: MulticastGroup }
  | { readonly kind: 'drop-held'; readonly eid: Eid; readonly reason: HoldGiveUpReason }
  | { readonly kind: 'query-usage'; readonly eidPrefix: EidPrefix }
  /** Announce on the segment that `eid` is behind the gateway now (gratuitous ARP, unsolicited NA). */
  | { readonly kind: 'announce-gateway'; readonly eid: Eid; readonly interfaceName: string }
  /** Ask the segment who has `eid` (ARP request, NS), to find out whether the endpoint is there. */
  | { readonly kind: 'solicit-endpoint'; readonly eid: Eid; readonly interfaceName: string }

/** What a restarted shell found in its pinned maps and its store. */
export interface RestoredState {
  readonly records: readonly StoredRecord[]
  readonly localEids: readonly {
    readonly eidPrefix: EidPrefix
    readonly state: 'local' | 'standby' | 'away'
    readonly interfaceName: string
    readonly mac: MacAddress | undefined
    /** False: put with `proxyNeighbours: false`, that is, away before the move was certain. */
    readonly proxyNeighbours?: boolean
    /** Of a source that still copies or stamps, or of a destination. */
    readonly move?: LocalMove
  }[]
  readonly mapCache: readonly {
    readonly eidPrefix: EidPrefix
    readonly action: 'forward' | 'native' | 'drop' | 'hold'
    readonly encapsulations: readonly Encapsulation[]
  }[]
  /** Replication entries; missing: none. */
  readonly groups?: readonly Omit<Extract<DatapathOperation, { kind: 'put-replication' }>, 'kind'>[]
}

// ---------------------------------------------------------------------------------- commands

export type MoveMode = 'switch' | 'live'

/** What an operator or the API asks of a node. Each gets exactly one `result`. */
export type Command =
  | { readonly kind: 'clear-map-cache'; readonly eidPrefix: EidPrefix | undefined }
  | {
      readonly kind: 'start-move'
      readonly eids: readonly Eid[]
      readonly source: Rloc | undefined
      /**
       * switch (default): the source redirects at once, because the link is switched on "ready".
       * live: the endpoint runs on at the source, which sends copies of what it delivers, until it
       * is told that the endpoint has stopped.
       */
      readonly mode?: MoveMode
    }
  | { readonly kind: 'cancel-move'; readonly moveId: string }
  /**
   * At the source: the endpoint stopped running here so long ago (0-60,000 ms). `gone`: its
   * hypervisor says that it will not run here again. Answered with the names of the moves concerned.
   */
  | {
      readonly kind: 'endpoint-stopped'
      readonly eids: readonly Eid[]
      readonly agoMs: number
      readonly gone?: boolean
    }
  /** At the destination: proof that the endpoint runs here, as good as its first frame. */
  | { readonly kind: 'endpoint-running'; readonly eids: readonly Eid[] }
  /**
   * At the source: the endpoint runs here again since `agoMs` (its state was asked for), the move has
   * failed. What is older than its latest stop is history.
   */
  | {
      readonly kind: 'endpoint-resumed'
      readonly eids: readonly Eid[]
      readonly agoMs?: number
    }
  | { readonly kind: 'add-eid'; readonly eidPrefix: EidPrefix; readonly interfaceName: string }
  | { readonly kind: 'remove-eid'; readonly eidPrefix: EidPrefix }
  /** `lig`: ask the mapping system, touch no table. */
  | { readonly kind: 'query-mapping'; readonly eid: Eid }
  /** The shell is about to stop; `withdraw` takes our registrations back (TTL 0). */
  | {
      readonly kind: 'shutdown'
      readonly withdraw: boolean
      /** Stays registered, with everything inside: what the next configuration still has. */
      readonly keeping?: readonly EidPrefix[]
      /** Groups of these instance-IDs stay joined likewise. */
      readonly keepingGroupsOf?: readonly number[]
    }

export type CommandResult =
  | { readonly ok: true; readonly value: unknown }
  | {
      readonly ok: false
      /** HTTP status that fits: 400, 404, 409, 503, 504. */
      readonly status: number
      /** Kebab-case, stable. */
      readonly code: string
      readonly message: string
    }

// ---------------------------------------------------------------------------------- store

/** What survives a restart. Expiries are wall-clock milliseconds, converted by the shell at load and save. */
export type StoredRecord =
  /** Nonces or move counters up to `ceiling` may have been used; continue above it. */
  | { readonly kind: 'reservation'; readonly scope: string; readonly ceiling: bigint }
  /** Map-Server: highest authenticated nonce per {xTR-ID or RLOC, key ID}. */
  | { readonly kind: 'last-nonce'; readonly sender: string; readonly nonce: bigint }
  | {
      readonly kind: 'registration'
      readonly site: string
      readonly eidPrefix: EidPrefix
      readonly owner: string
      readonly ownerRlocs: readonly Rloc[]
      readonly mapVersion: number
      readonly locators: readonly Locator[]
      readonly action: Action
      readonly ttlMinutes: number
      readonly proxyReply: boolean
      readonly wantMapNotify: boolean
      /** It signs Map-Replies (RFC 9303); missing is no. */
      readonly securityCapable?: boolean
      /** The registrants of the prefix asked to be merged. */
      readonly merge: boolean
      /** As an `Instant` inside the node; the shell converts to wall-clock at rest. */
      readonly expiresAt: Instant
    }
  | { readonly kind: 'registration-removed'; readonly eidPrefix: EidPrefix; readonly owner: string }
  /** xTR: the locator-set that it told last, and who sent to it in the minute before it ended. */
  | {
      readonly kind: 'own-locators'
      readonly locators: readonly Locator[]
      readonly senders: readonly { readonly eidPrefix: EidPrefix; readonly rloc: Rloc }[]
      /** Of the senders. As an `Instant` inside the node. */
      readonly expiresAt: Instant
    }
  /** Map-Server: a former owner that has not acknowledged that it is one, and where it was told. */
  | {
      readonly kind: 'pending-notify'
      readonly eidPrefix: EidPrefix
      readonly owner: string
      /** Its own: one acknowledgement speaks for all of them. */
      readonly homeRlocs: readonly Rloc[]
      /** Others of its locator-set. */
      readonly otherRlocs: readonly Rloc[]
      readonly keyId: number
    }
  | {
      readonly kind: 'pending-notify-removed'
      readonly eidPrefix: EidPrefix
      readonly owner: string
    }
  /** Map-Server: who subscribes to what (RFC 9437), or the memory of a removed one's nonce. */
  | {
      readonly kind: 'subscription'
      /** Hex. */
      readonly xtrId: string
      readonly siteId: bigint
      readonly eidPrefix: EidPrefix
      readonly itrRlocs: readonly Rloc[]
      /** Whose key in the configuration; undefined with a `secret` of its own. */
      readonly keyOwner: string | undefined
      readonly keyId: number
      readonly algorithm: number
      readonly secret: Uint8Array | undefined
      readonly authenticationLength: number
      readonly askedNonce: bigint
      readonly nonceCeiling: bigint
      readonly removed: boolean
      readonly suppresses: boolean
      readonly temporary: boolean
      /** As an `Instant` inside the node; the shell converts to wall-clock at rest. */
      readonly expiresAt: Instant
    }
  /** Map-Server: a receiver of a group, or a relay of an instance (multicast/group-memory.ts). */
  | {
      readonly kind: 'group-receiver'
      /** `(10.1.0.5,232.1.1.1)`, `[7](*,*)` of a relay. */
      readonly name: string
      readonly owner: string
      readonly address: AfiAddress
      readonly level: number
      /** Of the Map-Register that said so. */
      readonly nonce: bigint
      /** Of a receiver: the owner of the relay that copies to it, if one does. */
      readonly below?: string
      readonly relay?: {
        readonly target: Rloc
        readonly site: string
        readonly keyId: number
        readonly authenticationLength: number
      }
    }
  | { readonly kind: 'group-receiver-removed'; readonly name: string; readonly owner: string }
  /** Map-Server: who registered a name or a place (map-server/described-eid-memory.ts). */
  | {
      readonly kind: 'described-registration'
      readonly site: string
      /** As `formatDescribedEid` says it. */
      readonly name: string
      readonly owner: string
      readonly source: Rloc
      readonly keyId: number
      readonly proxyReply: boolean
      /** As it stands on the wire (RFC 9301 §5.4). */
      readonly record: Uint8Array
      /** As an `Instant` inside the node; the shell converts to wall-clock at rest. */
      readonly expiresAt: Instant
    }
  | {
      readonly kind: 'described-registration-removed'
      readonly site: string
      readonly name: string
      readonly owner: string
    }
  | { readonly kind: 'subscription-removed'; readonly eidPrefix: EidPrefix; readonly xtrId: string }
  /** Of the API, and of no concern to the node: which machine brought which EIDs. */
  | {
      readonly kind: 'workload'
      readonly workloadId: string
      readonly name: string
      readonly description: 'domain' | 'ovf'
      readonly eids: readonly Eid[]
    }
  | { readonly kind: 'workload-removed'; readonly workloadId: string }
