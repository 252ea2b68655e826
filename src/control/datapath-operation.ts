/**
 * What a node asks of its datapath: entries that say how packets are treated, and what is done once.
 *
 * A `put-…` replaces what was put before under the same name, in one step, so that it may be repeated;
 * what could not be carried out comes back as `operation-failed`. How operations become maps and
 * programs is decided in src/datapath.
 */
import type { MacAddress } from '../lisp/address.js'
import type { Eid, EidPrefix } from '../lisp/eid.js'
import type { Locator, Rloc } from '../lisp/locator.js'
import type { MulticastGroup } from '../lisp/multicast/multicast-group.js'
import type { ClosedOperation } from './closed-network/closed-vocabulary.js'
import type { SegmentOperation } from './segment-vocabulary.js'

/** Why a node gives up what is held for an EID. */
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
  /** Largest outer packet in bytes, 576–65535. */
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
