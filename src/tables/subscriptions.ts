/**
 * The Map-Server's subscribers: which xTR wants to hear of which EID-prefix (RFC 9437 §5).
 *
 * A subscription is known by {xTR-ID, EID-prefix as asked for}. What was answered may be wider (the
 * registered prefix) or a hole; that is its `coverage`, and a change inside it concerns it. A removed
 * one stays for a while as the memory of its nonce (RFC 9437 §5: the last nonce is kept). This file
 * stores and finds; who may subscribe and what is sent is decided in control. Times are milliseconds
 * on the caller's clock.
 */
import type { AuthenticationKey } from '../lisp/authentication.js'
import { coversPrefix, type EidPrefix, eidPrefix, formatEidPrefix } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import { createEidTrie } from './eid-trie.js'
import { createExpiryHeap, type ExpirySlot } from './expiry-heap.js'

export interface Subscription {
  /** `subscriptionId` of the two that name it. */
  readonly id: string
  /** Hex. */
  readonly xtrId: string
  readonly siteId: bigint
  /** As asked for. */
  readonly eidPrefix: EidPrefix
  /** What was answered last: the registered prefix or a hole. Changed by `cover` only. */
  coverage: EidPrefix
  /** Where Map-Notifies go, in order of preference; empty once removed. */
  itrRlocs: readonly Rloc[]
  key: AuthenticationKey
  /** Whose pre-shared key `key` is; undefined when it was made from a one-time key. */
  keyOwner: string | undefined
  authenticationLength: number
  /** Highest nonce of a request that an acknowledgement has proven to be genuine. */
  askedNonce: bigint
  /** Nonce of the last request, genuine or not. */
  offeredNonce: bigint
  /** Nonce of the last Map-Notify sent. */
  sentNonce: bigint
  /** Nonces up to here may have been used according to the store. */
  nonceCeiling: bigint
  state: 'offered' | 'subscribed' | 'removed'
  /** Nobody registers what it asks for. */
  temporary: boolean
  /** Removed while the same xTR subscribes to more: news of this part are not wanted. */
  suppresses: boolean
  expiresAt: number
}

export interface Subscriptions {
  /** Remembered ones together, also removed ones: what the limit counts. */
  readonly size: number
  /** Those of one xTR, also removed ones. */
  countOf(xtrId: string): number
  get(id: string): Subscription | undefined
  /** Puts a new one, or moves one whose `coverage` or `expiresAt` the caller wants changed. */
  put(one: Subscription, coverage: EidPrefix, expiresAt: number): void
  remove(one: Subscription): void
  /** Those whose coverage overlaps the prefix: wider or equal ones first. */
  overlapping(prefix: EidPrefix): Subscription[]
  /** The active one of this xTR that covers the prefix and is not `one` itself. */
  widerOf(one: Pick<Subscription, 'id' | 'xtrId' | 'eidPrefix'>): Subscription | undefined
  entries(): IterableIterator<Subscription>
  takeDue(now: number): Subscription | undefined
  nextExpiry(): number | undefined
}

export function subscriptionId(xtrId: string, prefix: EidPrefix): string {
  return `${xtrId}/${formatEidPrefix(prefix)}`
}

export function createSubscriptions(): Subscriptions {
  const byId = new Map<string, Slotted>()
  const byCoverage = createEidTrie<Map<string, Subscription>>()
  const perXtr = new Map<string, number>()
  const heap = createExpiryHeap<Subscription>()

  const uncover = (one: Subscription): void => {
    const there = byCoverage.exact(one.coverage)
    there?.delete(one.id)
    if (there?.size === 0) byCoverage.remove(one.coverage)
  }

  const cover = (one: Subscription): void => {
    const there = byCoverage.exact(one.coverage) ?? new Map<string, Subscription>()
    there.set(one.id, one)
    byCoverage.insert(one.coverage, there)
  }

  return {
    get size() {
      return byId.size
    },
    countOf: (xtrId) => perXtr.get(xtrId) ?? 0,
    get: (id) => byId.get(id)?.one,
    put(one, coverage, expiresAt) {
      const known = byId.get(one.id)
      if (known === undefined) perXtr.set(one.xtrId, (perXtr.get(one.xtrId) ?? 0) + 1)
      else {
        heap.remove(known.slot)
        uncover(known.one)
      }
      one.coverage = coverage
      one.expiresAt = expiresAt
      byId.set(one.id, { one, slot: heap.add(one, expiresAt) })
      cover(one)
    },
    remove(one) {
      const known = byId.get(one.id)
      if (known === undefined) return
      byId.delete(one.id)
      heap.remove(known.slot)
      uncover(one)
      const left = (perXtr.get(one.xtrId) ?? 1) - 1
      if (left > 0) perXtr.set(one.xtrId, left)
      else perXtr.delete(one.xtrId)
    },
    overlapping(prefix) {
      const found: Subscription[] = []
      for (const there of coveringSets(byCoverage, prefix)) found.push(...there.values())
      for (const { prefix: inside, value } of byCoverage.coveredBy(prefix))
        if (inside.maskLength > prefix.maskLength) found.push(...value.values())
      return found
    },
    widerOf(about) {
      for (const there of coveringSets(byCoverage, about.eidPrefix))
        for (const one of there.values())
          if (
            one.xtrId === about.xtrId &&
            one.id !== about.id &&
            one.state !== 'removed' &&
            coversPrefix(one.coverage, about.eidPrefix)
          )
            return one
      return undefined
    },
    *entries() {
      for (const { one } of byId.values()) yield one
    },
    takeDue(now) {
      const one = heap.takeDue(now)
      if (one !== undefined) this.remove(one)
      return one
    },
    nextExpiry: () => heap.first()?.at,
  }
}

interface Slotted {
  readonly one: Subscription
  readonly slot: ExpirySlot<Subscription>
}

/** What is stored at the prefix and at every wider one, fine before coarse. */
function* coveringSets<Value extends NonNullable<unknown>>(
  trie: ReturnType<typeof createEidTrie<Value>>,
  prefix: EidPrefix,
): Generator<Value> {
  let from: EidPrefix | undefined = prefix
  while (from !== undefined) {
    const found = trie.longestCovering(from)
    if (found === undefined) return
    yield found.value
    const { instanceId, address, maskLength }: EidPrefix = found.prefix
    from = maskLength === 0 ? undefined : eidPrefix(instanceId, address, maskLength - 1)
  }
}
