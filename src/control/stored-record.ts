/**
 * What a node has written down and finds again after a restart.
 *
 * Each kind has a name inside it (a scope, a sender, a prefix and its owner …); a later record of the
 * same name replaces the former, and a `…-removed` takes it away. How they become bytes is decided in
 * src/store.
 */
import type { AfiAddress } from '../lisp/afi-address.js'
import type { Eid, EidPrefix } from '../lisp/eid.js'
import type { Locator, Rloc } from '../lisp/locator.js'
import type { Action } from '../lisp/mapping.js'
import type { Instant } from './capabilities.js'

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
