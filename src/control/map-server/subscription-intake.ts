/**
 * How a subscription begins, is renewed and is taken back (RFC 9437 §5): a Map-Request with the N bit
 * is admitted or refused, its nonce must rise, and the answer is a Map-Notify with that nonce.
 *
 * A subscription counts from its confirmation on, but its nonce only from the acknowledgement: a
 * Map-Request is not authenticated, and a forged one with a high nonce must not lock its victim out.
 * The confirmation does not wait for the store, because a packet waits for it; what a crash loses in
 * these milliseconds is subscribed again with the next refresh.
 *
 * Under a key made of a one-time key (§7.1) that key must be a new one, else ACT 5. A new one is a new
 * association, whose nonces begin anew; where the memory of used keys has gaps (a restart, too many of
 * them), nonces must rise all the same, so that an old request cannot be replayed.
 */
import type { SubscriptionPolicy } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { authenticationLength } from '../../lisp/authentication.js'
import { coversPrefix, type EidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MapRequestRecord } from '../../lisp/message.js'
import { type Subscription, subscriptionId } from '../../tables/subscriptions.js'
import type { Instant } from '../capabilities.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import { createRateLimit } from '../rate-limit.js'
import type { EncapsulatedRequest } from './map-request-answers.js'
import { hexOf } from './register-guard.js'
import type { Speaker, SubscriptionAdmission } from './subscription-admission.js'
import { type SubscriptionBook, WITHDRAWN } from './subscription-book.js'

export interface SubscriptionIntake {
  /**
   * A record with the N bit. `answer` is what a Map-Reply would say. 'taken': the Map-Notify (or the
   * refusal, by `refuse`) is the answer; 'plain': answer as if the N bit were not there.
   */
  subscribe(asked: SubscriptionRequest, now: Instant, outputs: Output[]): 'taken' | 'plain'
  /** A Map-Request with N bits and no ITR-RLOC at all; true when it was one (RFC 9437 §5). */
  unsubscribe(received: EncapsulatedRequest, now: Instant, outputs: Output[]): boolean
  /** It was begun in an earlier run: which one-time keys were used then is not known. */
  restored(one: Subscription): void
}

export interface SubscriptionRequest {
  readonly received: EncapsulatedRequest
  readonly record: MapRequestRecord
  /** What a Map-Reply would say of the prefix now; undefined where an ETR must answer itself. */
  readonly records: readonly Mapping[] | undefined
  readonly temporary: boolean
  /** Sends a negative Map-Reply with this action. */
  refuse(action: Mapping['action']): void
}

/** Our choice: one write per so many publications; a restart skips at most so many nonces. */
export const NONCE_BLOCK = 1024n
/** Nonces above are left to the publications that follow (RFC 9437 §7.1: then a new association). */
export const HIGHEST_NONCE = (1n << 64n) - (1n << 32n)
/** RFC 9437 §7.2, our figures: subscriptions of one xTR. */
const PER_XTR = { burst: 2000, refillPerSecond: 200, maximumKeys: 10_000 }
/** Our choice: used one-time keys that are remembered, 100 bytes each. */
const MAXIMUM_USED_KEYS = 100_000

export function createSubscriptionIntake(
  policy: SubscriptionPolicy,
  admission: SubscriptionAdmission,
  book: SubscriptionBook,
  answerFor: (asked: EidPrefix, family: 4 | 6) => readonly Mapping[] | undefined,
): SubscriptionIntake {
  const { table, flights } = book
  const rate = createRateLimit(PER_XTR)
  const used = createUsedKeys()
  /** Begun in an earlier run, and not renewed since. */
  const inherited = new Set<string>()

  function isFull(xtrId: string): string | undefined {
    if (table.size >= policy.maximum) return 'too-many-subscriptions'
    if (table.countOf(xtrId) >= policy.maximumPerXtr) return 'too-many-of-this-xtr'
    return undefined
  }

  /** Why the nonce cannot be a new one of this xTR for this prefix, undefined when it can. */
  function nonceObjection(
    known: Subscription | undefined,
    nonce: bigint,
    beginsAnew: boolean,
  ): string | undefined {
    if (nonce >= HIGHEST_NONCE) return 'nonce-exhausted'
    if (known === undefined) return undefined
    if (flights.of(known.id)?.nonce === nonce) return 'repeated'
    return nonce <= known.askedNonce && !beginsAnew ? 'nonce-not-greater' : undefined
  }

  function begin(
    asked: SubscriptionRequest,
    speaker: Speaker,
    records: readonly Mapping[],
    beginsAnew: boolean,
    now: Instant,
    outputs: Output[],
  ): void {
    const { eidPrefix } = asked.record
    const { nonce, itrRlocs } = asked.received.request
    const id = subscriptionId(speaker.xtrId, eidPrefix)
    const known = table.get(id)
    const one = known ?? newSubscription(speaker, eidPrefix, id)
    const renewal = known?.state === 'subscribed'
    one.itrRlocs = itrRlocs
    one.key = speaker.key
    one.keyOwner = speaker.keyOwner
    one.authenticationLength =
      speaker.authenticationLength || authenticationLength(one.key.algorithm)
    if (beginsAnew) startNonces(one, nonce)
    // A high nonce that nobody acknowledged was not the xTR's.
    if (one.state === 'offered') one.sentNonce = one.askedNonce
    one.offeredNonce = nonce
    if (nonce > one.sentNonce) one.sentNonce = nonce
    if (one.sentNonce > one.nonceCeiling) one.nonceCeiling = one.sentNonce + NONCE_BLOCK
    if (one.state === 'removed') one.state = 'offered'
    one.temporary = asked.temporary
    one.suppresses = false
    const lifetimeMs = asked.temporary ? policy.temporaryMs : policy.lifetimeMs
    book.clear(one)
    inherited.delete(id)
    table.put(one, records[0]!.eidPrefix, now + lifetimeMs)
    absorb(one, outputs)
    book.fly(one, 'confirmation', nonce, records, now, outputs)
    book.store(one, outputs)
    book.tell(outputs, renewal ? 'subscription-renewed' : 'subscription-added', one, undefined)
  }

  /** Narrower subscriptions of the same xTR are part of this one now. */
  function absorb(wide: Subscription, outputs: Output[]): void {
    if (wide.temporary) return
    for (const one of table.overlapping(wide.eidPrefix)) {
      if (one.id === wide.id || one.xtrId !== wide.xtrId) continue
      if (!coversPrefix(wide.eidPrefix, one.eidPrefix)) continue
      one.suppresses = false
      if (one.state === 'removed') continue
      book.remember(one, outputs)
      book.tell(outputs, 'subscription-removed', one, 'covered')
    }
  }

  /** What is wrong with what an admitted xTR asks for, and how it is answered. */
  function objection(
    asked: SubscriptionRequest,
    speaker: Speaker,
    now: Instant,
  ): { readonly reason: string; readonly answer: 'silence' | 'plain' | 'refusal' } | undefined {
    const { received, record } = asked
    if (asked.records === undefined) return { reason: 'no-proxy-reply', answer: 'plain' }
    const known = table.get(subscriptionId(speaker.xtrId, record.eidPrefix))
    const anew = beginsAnew(speaker, known)
    const nonce = nonceObjection(known, received.request.nonce, anew)
    // RFC 9437 §5: dropped silently, and logged.
    if (nonce !== undefined) return { reason: nonce, answer: 'silence' }
    if (speaker.oneTimeKey !== undefined && used.has(speaker.oneTimeKey))
      return { reason: 'one-time-key-used', answer: 'refusal' }
    const full = known === undefined ? isFull(speaker.xtrId) : undefined
    if (full !== undefined) return { reason: full, answer: 'plain' }
    const isPaced = rate.take(speaker.xtrId, now) && book.mayNotify(speaker.xtrId, now)
    return isPaced ? undefined : { reason: 'rate-limited', answer: 'plain' }
  }

  /** A one-time key never used before is a new association, with nonces of its own. */
  function beginsAnew(speaker: Speaker, known: Subscription | undefined): boolean {
    if (speaker.oneTimeKey === undefined || known === undefined) return false
    if (inherited.has(known.id) || used.hasGaps()) return false
    return !used.has(speaker.oneTimeKey)
  }

  return {
    subscribe(asked, now, outputs) {
      const { received, record } = asked
      const identity = received.request.identity
      const verdict = admission.judge(received)
      const refused = (reason: string): void =>
        report(outputs, 'subscription-refused', verdict.kind === 'plain' ? 'debug' : 'notice', {
          reason,
          eidPrefix: formatEidPrefix(record.eidPrefix),
          xtrId: identity === undefined ? undefined : hexOf(identity.xtrId),
          from: formatIpAddress(received.datagram.from),
        })
      if (verdict.kind === 'plain') {
        refused(verdict.reason)
        return 'plain'
      }
      if (verdict.kind === 'refuse') {
        refused(verdict.reason)
        asked.refuse(verdict.action)
        return 'taken'
      }
      const { speaker } = verdict
      const wrong = objection(asked, speaker, now)
      if (wrong !== undefined) {
        refused(wrong.reason)
        if (wrong.answer === 'refusal') asked.refuse('drop-auth-failure')
        return wrong.answer === 'plain' ? 'plain' : 'taken'
      }
      const known = table.get(subscriptionId(speaker.xtrId, record.eidPrefix))
      const anew = beginsAnew(speaker, known)
      if (speaker.oneTimeKey !== undefined) used.add(speaker.oneTimeKey)
      begin(asked, speaker, asked.records!, anew, now, outputs)
      return 'taken'
    },

    unsubscribe(received, now, outputs) {
      const { request, datagram, ecm } = received
      const wanted = request.records.filter(({ subscribe }) => subscribe)
      if (request.itrRlocs.length > 0 || wanted.length === 0) return false
      const verdict = admission.judge(received)
      const record = wanted[0]!
      const to = received.viaResolver === true ? datagram.from : ecm.innerSource
      const refused = (reason: string): void =>
        report(outputs, 'subscription-refused', 'notice', {
          reason,
          eidPrefix: formatEidPrefix(record.eidPrefix),
          from: formatIpAddress(datagram.from),
        })
      if (verdict.kind !== 'accept') {
        refused(verdict.reason)
        return true
      }
      const { speaker } = verdict
      const id = subscriptionId(speaker.xtrId, record.eidPrefix)
      const known = table.get(id)
      const wrong = nonceObjection(known, request.nonce, false)
      if (wrong !== undefined) {
        refused(wrong)
        return true
      }
      const one = known ?? newSubscription(speaker, record.eidPrefix, id)
      one.authenticationLength ||= authenticationLength(one.key.algorithm)
      one.sentNonce = request.nonce
      one.nonceCeiling = request.nonce
      if (known !== undefined) {
        one.suppresses = known.state !== 'removed' && table.widerOf(known) !== undefined
        book.remember(one, outputs)
        book.tell(outputs, 'subscription-removed', one, 'asked-for')
      }
      const records = answerFor(record.eidPrefix, to.family) ?? [
        { ...WITHDRAWN, eidPrefix: record.eidPrefix, mapVersion: 0 },
      ]
      book.fly(one, 'removal', request.nonce, records, now, outputs, [to])
      return true
    },

    restored: (one) => {
      if (one.keyOwner === undefined) inherited.add(one.id)
    },
  }
}

/** One-time keys by their marks, oldest first out; then it has gaps for good. */
function createUsedKeys() {
  const marks = new Set<string>()
  let gaps = false
  return {
    has: (mark: string): boolean => marks.has(mark),
    hasGaps: (): boolean => gaps,
    add(mark: string): void {
      marks.add(mark)
      if (marks.size <= MAXIMUM_USED_KEYS) return
      gaps = true
      for (const oldest of marks) if (marks.delete(oldest)) break
    },
  }
}

/** The nonces of a subscription that begins under a new association. */
function startNonces(one: Subscription, nonce: bigint): void {
  one.askedNonce = nonce > 0n ? nonce - 1n : 0n
  one.sentNonce = nonce
  one.nonceCeiling = nonce
}

/** A subscription of `speaker` that nobody has acknowledged yet. */
export function newSubscription(
  speaker: Speaker,
  eidPrefix: EidPrefix,
  id: string = subscriptionId(speaker.xtrId, eidPrefix),
): Subscription {
  return {
    id,
    xtrId: speaker.xtrId,
    siteId: speaker.siteId ?? 0n,
    eidPrefix,
    coverage: eidPrefix,
    itrRlocs: [],
    key: speaker.key,
    keyOwner: speaker.keyOwner,
    authenticationLength: speaker.authenticationLength,
    askedNonce: 0n,
    offeredNonce: 0n,
    sentNonce: 0n,
    nonceCeiling: 0n,
    state: 'offered',
    temporary: false,
    suppresses: false,
    expiresAt: 0,
  }
}
