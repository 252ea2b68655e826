/**
 * What passes between a node and its datapath in a closed network only: nonces to be echoed and
 * locator-status-bits (RFC 9300 §10), map-versions (RFC 9302), doubts about a source (RFC 9300 §16),
 * gleaning (RFC 9300 §9). Part of the vocabulary of input-output.ts; nothing of it is used unless
 * `closedNetwork` in the configuration says so.
 */
import type { Eid, EidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'

/** Each at most once a second per inner EID and outer source; `nonce-echo` ten times per RLOC. */
export type ClosedEvent =
  /**
   * A packet came from an RLOC that is asked for an echo; whether it was one. What is none counts only
   * after a packet of ours has carried the question.
   */
  | { readonly kind: 'nonce-echo'; readonly rloc: Rloc; readonly echoed: boolean }
  /**
   * The mapping of this inner source may be old: it does not name the sender, or is older than the
   * version in the packet.
   */
  | {
      readonly kind: 'source-doubted'
      readonly eid: Eid
      readonly sender: Rloc
      readonly why: 'rloc' | 'map-version'
    }
  /** Status bits of the site of this inner source, other than those that were put. */
  | {
      readonly kind: 'status-bits-changed'
      readonly eid: Eid
      readonly sender: Rloc
      readonly statusBits: number
    }
  /** A packet for one of our EIDs was sent by an old version of its mapping. */
  | { readonly kind: 'stale-map-version'; readonly eid: Eid; readonly sender: Rloc }
  /** A packet of an inner source without a mapping came from this RLOC. */
  | { readonly kind: 'source-unmapped'; readonly eid: Eid; readonly sender: Rloc }

export type ClosedOperation =
  /** What packets say about a mapping of ours (own) or of others (remote), and are compared with. */
  | {
      readonly kind: 'put-mapping-facts'
      readonly side: 'own' | 'remote'
      readonly eidPrefix: EidPrefix
      /** 0 is the null version, undefined "not known": nothing is compared. */
      readonly mapVersion: number | undefined
      /** The lowest eight, bit i for the i-th locator; undefined: neither sent nor compared. */
      readonly statusBits: number | undefined
      /** Packets of older versions are dropped without a word (RFC 9302 §7.1). */
      readonly dropStale: boolean
    }
  | {
      readonly kind: 'delete-mapping-facts'
      readonly side: 'own' | 'remote'
      readonly eidPrefix: EidPrefix
    }
  /** Ask this RLOC to echo `nonce` (24 bits) with every packet to it; undefined: no longer. */
  | { readonly kind: 'request-nonce-echo'; readonly rloc: Rloc; readonly nonce: number | undefined }
  /** Whether packets from `sender` with an old version of this mapping of ours are dropped. */
  | {
      readonly kind: 'refuse-stale-version'
      readonly eidPrefix: EidPrefix
      readonly sender: Rloc
      readonly refused: boolean
    }

/** What the LISP header of one packet says beside the instance-ID. */
export interface ClosedFields {
  /** 24 bits. */
  readonly nonce: number | undefined
  readonly echoNonceRequest: boolean
  readonly mapVersions: { readonly source: number; readonly destination: number } | undefined
  readonly locatorStatusBits: number | undefined
}

/** Which of these a node uses; all false outside of closed networks. */
export interface ClosedSwitches {
  readonly echoNonce: boolean
  readonly statusBits: boolean
  readonly mapVersions: boolean
  readonly checkSources: boolean
  readonly glean: boolean
  /** RLOCs that send on packets of others: what comes from them says nothing about its source. */
  readonly relays?: readonly Rloc[]
}

export const NOT_CLOSED: ClosedSwitches = {
  echoNonce: false,
  statusBits: false,
  mapVersions: false,
  checkSources: false,
  glean: false,
}
