/**
 * The walks that a Map-Resolver has under way down the delegation tree, found by {ITR, EID} and by
 * nonce, and counted per ITR (RFC 8111 §7.3.1, §8.1). Where a walk leads is decided in
 * ddt-resolution.ts.
 */
import { formatIpAddress } from '../../lisp/address.js'
import { type Eid, type EidPrefix, formatEid } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { EncapsulatedRequest } from '../map-server/map-request-answers.js'

export interface Walk {
  readonly key: string
  readonly itr: string
  readonly replyTo: Rloc
  readonly eid: Eid
  received: EncapsulatedRequest
  nonce: bigint
  /** Of the request that was replaced: its referral may be on its way. */
  formerNonce: bigint | undefined
  targets: readonly Rloc[]
  next: number
  sends: number
  toMapServers: boolean
  /** The prefix that led here; undefined at the roots. */
  via: EidPrefix | undefined
  viaRoot: boolean
  referrals: number
  /** Public keys that may sign what the targets say. */
  keys: readonly Uint8Array[]
  /** Whether the last request carried the ITR's LISP-SEC data. */
  securitySent: boolean
  /** Map-Servers of this set that said MS-NOT-REGISTERED. */
  readonly unregisteredAt: Set<string>
}

export interface Walks {
  readonly size: number
  find(itr: Rloc, eid: Eid): Walk | undefined
  byKey(key: string): Walk | undefined
  byNonce(nonce: bigint): Walk | undefined
  /** Why there may not be one more; undefined when there may. */
  objectionTo(received: EncapsulatedRequest, replyTo: Rloc): string | undefined
  begin(received: EncapsulatedRequest, replyTo: Rloc, eid: Eid): Walk
  /** The newer request of the same ITR for the same EID takes the older one's place. */
  replace(walk: Walk, received: EncapsulatedRequest): void
  end(walk: Walk): void
}

/** Our choice: walks that one ITR may have under way, so that one scanning ITR cannot fill the queue. */
const MAXIMUM_WALKS_PER_ITR = 256

/** At most `maximum` walks in all. */
export function createWalks(maximum: number): Walks {
  const walks = new Map<string, Walk>()
  const nonces = new Map<bigint, Walk>()
  const perItr = new Map<string, number>()

  return {
    get size() {
      return walks.size
    },
    find: (itr, eid) => walks.get(keyOf(itr, eid)),
    byKey: (key) => walks.get(key),
    byNonce: (nonce) => nonces.get(nonce),
    objectionTo({ request }, replyTo) {
      if (walks.size >= maximum) return 'too-many-pending'
      const ofItr = perItr.get(formatIpAddress(replyTo)) ?? 0
      if (ofItr >= MAXIMUM_WALKS_PER_ITR) return 'too-many-of-this-itr'
      // Else whoever repeats another's nonce would get the referrals of that walk.
      return nonces.has(request.nonce) ? 'nonce-in-use' : undefined
    },
    begin(received, replyTo, eid) {
      const itr = formatIpAddress(replyTo)
      const walk: Walk = {
        key: keyOf(replyTo, eid),
        itr,
        replyTo,
        eid,
        received: kept(received),
        nonce: received.request.nonce,
        formerNonce: undefined,
        targets: [],
        next: 0,
        sends: 0,
        toMapServers: false,
        via: undefined,
        viaRoot: false,
        referrals: 0,
        keys: [],
        securitySent: false,
        unregisteredAt: new Set(),
      }
      walks.set(walk.key, walk)
      nonces.set(walk.nonce, walk)
      perItr.set(itr, (perItr.get(itr) ?? 0) + 1)
      return walk
    },
    replace(walk, received) {
      const { nonce } = received.request
      if (nonces.has(nonce)) return
      if (walk.formerNonce !== undefined) nonces.delete(walk.formerNonce)
      walk.formerNonce = walk.nonce
      walk.nonce = nonce
      walk.received = kept(received)
      nonces.set(nonce, walk)
    },
    end(walk) {
      walks.delete(walk.key)
      nonces.delete(walk.nonce)
      if (walk.formerNonce !== undefined) nonces.delete(walk.formerNonce)
      const left = (perItr.get(walk.itr) ?? 1) - 1
      if (left > 0) perItr.set(walk.itr, left)
      else perItr.delete(walk.itr)
    },
  }
}

function keyOf(itr: Rloc, eid: Eid): string {
  return `${formatIpAddress(itr)} ${formatEid(eid)}`
}

/** A copy that outlives the receive buffer. */
function kept(received: EncapsulatedRequest): EncapsulatedRequest {
  const { ecm, request, datagram, security } = received
  return { request, datagram, security, ecm: { ...ecm, message: Uint8Array.from(ecm.message) } }
}
