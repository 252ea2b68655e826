/**
 * What a Map-Resolver has learned about the delegation tree (RFC 8111 §7.3): XEID-prefix → who to ask
 * next, or that nobody is there.
 *
 * Bounded: when full, what would expire soonest goes, so that a scan of holes (15 minutes at most)
 * cannot push out the delegations above them (a day). The key is instance-ID, family and prefix; the
 * database-ID of RFC 8111 §4.1 is always 0 and therefore not part of it. What an entry means to a
 * resolution is decided by who asks.
 */
import type { Eid, EidPrefix } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import { createEidTrie } from './eid-trie.js'
import { createExpiryHeap, type ExpirySlot } from './expiry-heap.js'

export type ReferralKind =
  | 'node-referral'
  | 'ms-referral'
  | 'ms-ack'
  | 'ms-not-registered'
  | 'delegation-hole'

export interface Referral {
  readonly eidPrefix: EidPrefix
  readonly kind: ReferralKind
  /** Whom to ask next; empty in the two negative kinds. */
  readonly rlocs: readonly Rloc[]
  /** Public keys of those nodes, as carried in a signed referral (RFC 8111 §10.1). */
  readonly keys: readonly Uint8Array[]
  /** Milliseconds on the caller's clock. */
  readonly expiresAt: number
}

export interface ReferralCache {
  readonly size: number
  /** Puts or replaces; may push out another. */
  put(referral: Referral): void
  /** The most specific referral that covers the EID and is not over at `now`. */
  match(eid: Eid, now: number): Referral | undefined
  remove(eidPrefix: EidPrefix): void
  clear(): void
  entries(): Generator<Referral>
}

/** `maximum` ≥ 1. */
export function createReferralCache(maximum: number): ReferralCache {
  let trie = createEidTrie<Slotted>()
  let heap = createExpiryHeap<Referral>()

  const remove = (eidPrefix: EidPrefix): void => {
    const former = trie.remove(eidPrefix)
    if (former !== undefined) heap.remove(former.slot)
  }

  return {
    get size() {
      return trie.size
    },
    put(referral) {
      remove(referral.eidPrefix)
      while (trie.size >= maximum) remove(heap.first()!.value.eidPrefix)
      const slot = heap.add(referral, referral.expiresAt)
      trie.insert(referral.eidPrefix, { referral, slot })
    },
    match(eid, now) {
      for (let due = heap.takeDue(now); due !== undefined; due = heap.takeDue(now)) {
        trie.remove(due.eidPrefix)
      }
      return trie.longestMatch(eid)?.value.referral
    },
    remove,
    clear() {
      trie = createEidTrie<Slotted>()
      heap = createExpiryHeap<Referral>()
    },
    *entries() {
      for (const entry of trie.entries()) yield entry.value.referral
    },
  }
}

interface Slotted {
  readonly referral: Referral
  readonly slot: ExpirySlot<Referral>
}
