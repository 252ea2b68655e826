/**
 * The Map-Server's side of publish/subscribe (RFC 9437 §5, §6): takes subscriptions, confirms each
 * with a Map-Notify, and publishes every change of a mapping to those whom it concerns.
 *
 * A subscription counts from its confirmation on, but its nonce only from the acknowledgement: a
 * Map-Request is not authenticated, and a forged one with a high nonce must not lock its victim out.
 * The confirmation does not wait for the store, because a packet waits for it; what a crash loses in
 * these milliseconds is subscribed again with the next refresh. After a restart every subscriber is
 * told once more, since what was on its way then is not known. One Map-Notify at a time for each
 * subscription; a change meanwhile makes it void and is said together with it under the next nonce.
 *
 * A subscription ends by a removal (N bit, no ITR-RLOC), when its confirmation is never acknowledged
 * (then one Map-Notify with ACT 5), and after `lifetimeMs` without renewal: our choice, so that the
 * table forgets who is gone.
 */
import type { NodeConfig } from '../config/node-config.js'
import { formatIpAddress } from '../lisp/address.js'
import { authenticationLength, type Hmac, verifyMessage } from '../lisp/authentication.js'
import { coversPrefix, type EidPrefix, formatEidPrefix } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import type { Mapping } from '../lisp/mapping.js'
import type { MapNotifyAck, MapRequestRecord } from '../lisp/message.js'
import type { Registrations } from '../tables/registrations.js'
import { createSubscriptions, type Subscription, subscriptionId } from '../tables/subscriptions.js'
import type { Instant, Output, StoredRecord } from './input-output.js'
import { earliest, report } from './installed-mappings.js'
import {
  AUTHENTICATION_BYTES,
  type EncapsulatedRequest,
  MESSAGE_BYTES,
  recordBytes,
  statedMapping,
} from './map-request-answers.js'
import { createPublicationFlights, type Flight } from './publication-flights.js'
import { createRateLimit } from './rate-limit.js'
import { type Datagram, hexOf } from './register-guard.js'
import type { SubscriptionView } from './snapshot.js'
import { createSubscriptionAdmission, type Speaker } from './subscription-admission.js'
import { restoredSubscription, storedSubscription } from './subscription-records.js'

export interface Publisher {
  /** An authenticated Map-Register of this xTR has come: we share a key with it. */
  heard(speaker: Speaker): void
  /**
   * A record with the N bit. `answer` is what a Map-Reply would say. 'taken': the Map-Notify (or the
   * refusal, by `refuse`) is the answer; 'plain': answer as if the N bit were not there.
   */
  subscribe(asked: SubscriptionRequest, now: Instant, outputs: Output[]): 'taken' | 'plain'
  /** A Map-Request with N bits and no ITR-RLOC at all; true when it was one (RFC 9437 §5). */
  unsubscribe(received: EncapsulatedRequest, now: Instant, outputs: Output[]): boolean
  /** The registration of this prefix has come, changed or gone. */
  changed(eidPrefix: EidPrefix, now: Instant, outputs: Output[]): void
  /** False when the acknowledgement is not for one of ours. */
  handleAck(message: MapNotifyAck, datagram: Datagram, now: Instant, outputs: Output[]): boolean
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  restore(record: Extract<StoredRecord, { kind: 'subscription' }>, now: Instant): void
  views(now: Instant): SubscriptionView[]
  counts(): { readonly subscriptions: number; readonly behind: number }
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

/** What the publisher asks the Map-Server about. */
export interface PublisherParts {
  readonly registrations: Registrations
  /** What a Map-Reply would say of the prefix now; undefined where an ETR must answer itself. */
  answerFor(asked: EidPrefix, family: 4 | 6): readonly Mapping[] | undefined
}

/** Our choice: prefixes waiting to be told under one subscription; beyond it the subscriber starts anew. */
export const MAXIMUM_UNTOLD = 256
/** Subscribers told within one input; the rest in slices of the same size. */
const SLICE = 64
/** Our choice: one write per so many publications; a restart skips at most so many nonces. */
const NONCE_BLOCK = 1024n
/** RFC 9437 §5: the last nonce is kept after removal. Our choice: a day. */
const NONCE_MEMORY_MS = 24 * 3_600_000
/** Nonces above are left to the publications that follow (RFC 9437 §7.1: then a new association). */
const HIGHEST_NONCE = (1n << 64n) - (1n << 32n)
/** RFC 9437 §7.2, our figures: subscriptions of one xTR. */
const PER_XTR = { burst: 2000, refillPerSecond: 200, maximumKeys: 10_000 }
/** Subscriptions told again after a restart, per second. */
const RETELL_PER_SECOND = 500

export function createPublisher(config: NodeConfig, hmac: Hmac, parts: PublisherParts): Publisher {
  const policy = config.subscriptions
  const { registrations } = parts
  const admission = createSubscriptionAdmission(config)
  const table = createSubscriptions()
  const flights = createPublicationFlights(config, hmac)
  const rate = createRateLimit(PER_XTR)
  /** Prefixes that a subscriber has not acknowledged; 'all' when its whole answer may be new. */
  const untold = new Map<string, Map<string, EidPrefix> | 'all'>()
  /** Subscriptions whose next publication is to be sent. */
  const queue = new Set<string>()
  let queueAt: Instant | undefined

  // ------------------------------------------------------------------ what is said

  function recordOf(prefix: EidPrefix): Mapping {
    const registration = registrations.exact(prefix)
    if (registration?.registrants.some((one) => one.proxyReply)) return statedMapping(registration)
    const mapVersion = registrations.retired(prefix)?.mapVersion ?? 0
    return { ...WITHDRAWN, eidPrefix: prefix, mapVersion }
  }

  function recordsFor(one: Subscription): readonly Mapping[] {
    const family = one.itrRlocs[0]?.family ?? 4
    const waiting = untold.get(one.id)
    if (waiting !== 'all') return fitting(waiting?.values() ?? [], family, recordOf)
    const answer = parts.answerFor(one.eidPrefix, family)
    if (answer === undefined) return [{ ...WITHDRAWN, eidPrefix: one.coverage, mapVersion: 0 }]
    table.put(one, answer[0]!.eidPrefix, one.expiresAt)
    return answer
  }

  function fly(
    one: Subscription,
    purpose: Flight['purpose'],
    nonce: bigint,
    records: readonly Mapping[],
    now: Instant,
    outputs: Output[],
    targets: readonly Rloc[] = one.itrRlocs,
  ): void {
    const { id, key, authenticationLength: length } = one
    const flight = { id, purpose, nonce, key, authenticationLength: length, records, targets }
    flights.send(flight, now, outputs)
  }

  function publish(one: Subscription, now: Instant, outputs: Output[]): void {
    const records = recordsFor(one)
    if (records.length === 0 || one.state === 'removed') return
    if (one.sentNonce >= HIGHEST_NONCE) {
      dismiss(one, 'nonces-exhausted', now, outputs)
      return
    }
    one.sentNonce += 1n
    if (one.sentNonce > one.nonceCeiling) {
      one.nonceCeiling = one.sentNonce + NONCE_BLOCK
      store(one, outputs)
    }
    one.temporary = one.temporary && records.every(({ locators }) => locators.length === 0)
    fly(one, 'publication', one.sentNonce, records, now, outputs)
  }

  /** Takes the queue on; what is left is due at once, after others had their turn. */
  function drain(now: Instant, outputs: Output[]): void {
    let count = 0
    for (const id of queue) {
      if (count >= SLICE) break
      count += 1
      queue.delete(id)
      const one = table.get(id)
      if (one !== undefined) publish(one, now, outputs)
    }
    queueAt = queue.size > 0 ? now : undefined
  }

  function note(one: Subscription, prefix: EidPrefix | 'all'): void {
    const waiting = untold.get(one.id)
    if (prefix === 'all') untold.set(one.id, 'all')
    else if (waiting === undefined) untold.set(one.id, new Map([[formatEidPrefix(prefix), prefix]]))
    else if (waiting !== 'all') waiting.set(formatEidPrefix(prefix), prefix)
    queue.add(one.id)
  }

  // ------------------------------------------------------------------ the end of one

  function forget(one: Subscription): void {
    flights.cancel(one.id)
    untold.delete(one.id)
    queue.delete(one.id)
  }

  function drop(one: Subscription, reason: string, outputs: Output[]): void {
    forget(one)
    table.remove(one)
    const { eidPrefix, xtrId } = one
    outputs.push({
      kind: 'persist',
      records: [{ kind: 'subscription-removed', eidPrefix, xtrId }],
      then: [],
    })
    tell(outputs, 'subscription-removed', one, reason)
  }

  /** RFC 9437 §5: a Map-Notify with the last nonce, no locator and ACT 5; the xTR may begin anew. */
  function dismiss(one: Subscription, reason: string, now: Instant, outputs: Output[]): void {
    const record = { ...WITHDRAWN, eidPrefix: one.eidPrefix, mapVersion: 0, ttlMinutes: 1 }
    const refusal: Mapping = { ...record, action: 'drop-auth-failure' }
    const targets = one.itrRlocs.slice(0, 1)
    drop(one, reason, outputs)
    fly(one, 'dismissal', one.sentNonce, [refusal], now, outputs, targets)
  }

  function store(one: Subscription, outputs: Output[]): void {
    outputs.push({ kind: 'persist', records: [storedSubscription(one)], then: [] })
  }

  // ------------------------------------------------------------------ the beginning

  function isFull(xtrId: string): string | undefined {
    if (table.size >= policy.maximum) return 'too-many-subscriptions'
    if (table.countOf(xtrId) >= policy.maximumPerXtr) return 'too-many-of-this-xtr'
    return undefined
  }

  /** Why the nonce cannot be a new one of this xTR for this prefix, undefined when it can. */
  function nonceObjection(known: Subscription | undefined, nonce: bigint): string | undefined {
    if (nonce >= HIGHEST_NONCE) return 'nonce-exhausted'
    if (known === undefined) return undefined
    if (nonce <= known.askedNonce) return 'nonce-not-greater'
    return flights.of(known.id)?.nonce === nonce ? 'repeated' : undefined
  }

  function begin(
    asked: SubscriptionRequest,
    speaker: Speaker,
    records: readonly Mapping[],
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
    // A high nonce that nobody acknowledged was not the xTR's.
    if (one.state === 'offered') one.sentNonce = one.askedNonce
    one.offeredNonce = nonce
    if (nonce > one.sentNonce) one.sentNonce = nonce
    if (one.sentNonce > one.nonceCeiling) one.nonceCeiling = one.sentNonce + NONCE_BLOCK
    if (one.state === 'removed') one.state = 'offered'
    one.temporary = asked.temporary
    one.suppresses = false
    const lifetimeMs = asked.temporary ? policy.temporaryMs : policy.lifetimeMs
    untold.delete(id)
    queue.delete(id)
    table.put(one, records[0]!.eidPrefix, now + lifetimeMs)
    absorb(one, outputs)
    fly(one, 'confirmation', nonce, records, now, outputs)
    store(one, outputs)
    tell(outputs, renewal ? 'subscription-renewed' : 'subscription-added', one, undefined)
  }

  /** Narrower subscriptions of the same xTR are part of this one now. */
  function absorb(wide: Subscription, outputs: Output[]): void {
    if (wide.temporary) return
    for (const one of table.overlapping(wide.eidPrefix)) {
      if (one.id === wide.id || one.xtrId !== wide.xtrId) continue
      if (!coversPrefix(wide.eidPrefix, one.eidPrefix)) continue
      one.suppresses = false
      if (one.state === 'removed') continue
      remember(one, outputs)
      tell(outputs, 'subscription-removed', one, 'covered')
    }
  }

  /** Keeps the nonce of what is removed. */
  function remember(one: Subscription, outputs: Output[]): void {
    forget(one)
    one.state = 'removed'
    one.askedNonce = one.sentNonce
    // The memory of it concerns the prefix that was asked for and no wider one.
    const expiresAt = one.expiresAt + NONCE_MEMORY_MS
    table.put(one, one.eidPrefix, expiresAt)
    store(one, outputs)
  }

  function isSuppressed(one: Subscription, prefix: EidPrefix): boolean {
    for (const other of table.overlapping(prefix)) {
      if (!other.suppresses || other.xtrId !== one.xtrId) continue
      if (coversPrefix(other.eidPrefix, prefix)) return true
    }
    return false
  }

  return {
    heard: (speaker) => admission.heard(speaker),

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
      if (asked.records === undefined) {
        refused('no-proxy-reply')
        return 'plain'
      }
      const known = table.get(subscriptionId(speaker.xtrId, record.eidPrefix))
      const objection = nonceObjection(known, received.request.nonce)
      if (objection !== undefined) {
        // RFC 9437 §5: dropped silently, and logged.
        refused(objection)
        return 'taken'
      }
      const full = known === undefined ? isFull(speaker.xtrId) : undefined
      if (full !== undefined || !rate.take(speaker.xtrId, now)) {
        refused(full ?? 'rate-limited')
        return 'plain'
      }
      begin(asked, speaker, asked.records, now, outputs)
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
      const objection = nonceObjection(known, request.nonce)
      if (objection !== undefined) {
        refused(objection)
        return true
      }
      const one = known ?? newSubscription(speaker, record.eidPrefix, id)
      one.authenticationLength ||= authenticationLength(one.key.algorithm)
      one.sentNonce = request.nonce
      one.nonceCeiling = request.nonce
      if (known !== undefined) {
        one.suppresses = known.state !== 'removed' && table.widerOf(known) !== undefined
        remember(one, outputs)
        tell(outputs, 'subscription-removed', one, 'asked-for')
      }
      const records = parts.answerFor(record.eidPrefix, to.family) ?? [
        { ...WITHDRAWN, eidPrefix: record.eidPrefix, mapVersion: 0 },
      ]
      fly(one, 'removal', request.nonce, records, now, outputs, [to])
      return true
    },

    changed(eidPrefix, now, outputs) {
      for (const one of table.overlapping(eidPrefix)) {
        if (one.state === 'removed' || isSuppressed(one, eidPrefix)) continue
        if (coversPrefix(one.coverage, eidPrefix)) {
          // A registration that now answers the whole question replaces the hole it was in.
          const answersAll = coversPrefix(eidPrefix, one.eidPrefix) && one.temporary
          note(one, answersAll ? 'all' : eidPrefix)
        } else if (answersFor(eidPrefix, one)) note(one, 'all')
        const waiting = untold.get(one.id)
        if (waiting !== undefined && waiting !== 'all' && waiting.size > MAXIMUM_UNTOLD)
          dismiss(one, 'too-many-changes', now, outputs)
      }
      drain(now, outputs)
    },

    handleAck(message, datagram, now, outputs) {
      const flight = flights.byNonce(message.nonce)
      if (flight === undefined || !verifyMessage(datagram.bytes, flight.key, hmac)) return false
      const one = table.get(flight.id)
      flights.cancel(flight.id)
      if (one === undefined || flight.purpose === 'removal') return true
      // Who acknowledges this nonce or a later one has asked with it.
      if (flight.nonce >= one.offeredNonce && one.offeredNonce > one.askedNonce)
        one.askedNonce = one.offeredNonce
      if (one.state === 'offered') {
        one.state = 'subscribed'
        store(one, outputs)
      }
      settle(one, flight)
      if (untold.has(one.id)) {
        queue.add(one.id)
        drain(now, outputs)
      }
      return true
    },

    handleDeadline(now, outputs) {
      for (const flight of flights.handleDeadline(now, outputs)) {
        const one = table.get(flight.id)
        report(outputs, 'publication-unacknowledged', 'warning', {
          reason: flight.purpose,
          to: formatIpAddress(flight.targets[0]!),
          xtrId: one?.xtrId,
          eidPrefixes: flight.records.map((record) => formatEidPrefix(record.eidPrefix)),
        })
        if (one === undefined || flight.purpose === 'removal') continue
        if (flight.purpose === 'confirmation') dismiss(one, 'no-acknowledgement', now, outputs)
        else drop(one, 'no-acknowledgement', outputs)
      }
      if (queueAt !== undefined && queueAt <= now) drain(now, outputs)
      for (let count = 0; count < SLICE; count += 1) {
        const one = table.takeDue(now)
        if (one === undefined) break
        drop(one, 'expired', outputs)
      }
    },
    deadline: () => earliest(flights.deadline(), queueAt, table.nextExpiry()),

    restore(record, now) {
      const key =
        record.keyOwner === undefined
          ? undefined
          : admission.keyOf(record.xtrId, record.keyOwner, record.keyId)
      const one = restoredSubscription(record, key)
      if (one === undefined || !policy.accept || table.size >= policy.maximum) return
      table.put(one, one.eidPrefix, Math.max(one.expiresAt, now + RESTORED_MS))
      if (one.state === 'removed') return
      untold.set(one.id, 'all')
      queue.add(one.id)
      queueAt = now + (table.size / RETELL_PER_SECOND) * 1000
    },

    counts() {
      let [subscriptions, behind] = [0, 0]
      for (const { id, state } of table.entries()) {
        if (state === 'removed') continue
        subscriptions += 1
        if (flights.of(id) !== undefined || untold.has(id)) behind += 1
      }
      return { subscriptions, behind }
    },
    views: (now) =>
      [...table.entries()]
        .filter((one) => one.state !== 'removed')
        .map((one) => viewOf(one, now, flights.of(one.id) !== undefined || untold.has(one.id))),
  }

  /** What the acknowledged message said need not be said again. */
  function settle(one: Subscription, flight: Flight): void {
    const waiting = untold.get(one.id)
    // What has changed meanwhile is in no message yet.
    if (waiting === undefined || queue.has(one.id)) return
    if (waiting === 'all') untold.delete(one.id)
    else {
      for (const record of flight.records) waiting.delete(formatEidPrefix(record.eidPrefix))
      if (waiting.size === 0) untold.delete(one.id)
    }
  }

  /** Whether a wider prefix is (or was until now) what the subscriber's question is answered with. */
  function answersFor(eidPrefix: EidPrefix, one: Subscription): boolean {
    if (!coversPrefix(eidPrefix, one.eidPrefix)) return false
    const best = registrations.longestCovering(one.eidPrefix)?.eidPrefix
    return best === undefined || coversPrefix(eidPrefix, best)
  }
}

/** A mapping that is gone (RFC 9437 §5: TTL 0). */
const WITHDRAWN = {
  ttlMinutes: 0,
  action: 'no-action',
  authoritative: false,
  locators: [],
} as const

/** As many records as one message holds, at least one; the rest follows its acknowledgement. */
function fitting(
  prefixes: Iterable<EidPrefix>,
  family: 4 | 6,
  recordOf: (prefix: EidPrefix) => Mapping,
): Mapping[] {
  const records: Mapping[] = []
  let left = MESSAGE_BYTES[family] - AUTHENTICATION_BYTES
  for (const prefix of prefixes) {
    const record = recordOf(prefix)
    left -= recordBytes(record)
    if (left < 0 && records.length > 0) break
    records.push(record)
  }
  return records
}

/** What was restored gets at least so long to be renewed. */
const RESTORED_MS = 60_000

function newSubscription(speaker: Speaker, eidPrefix: EidPrefix, id: string): Subscription {
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

function viewOf(one: Subscription, now: Instant, untold: boolean): SubscriptionView {
  return {
    eidPrefix: formatEidPrefix(one.eidPrefix),
    instanceId: one.eidPrefix.instanceId,
    side: 'map-server',
    xtrId: one.xtrId,
    itrRlocs: one.itrRlocs.map(formatIpAddress),
    coverage: formatEidPrefix(one.coverage),
    state: one.temporary ? 'temporary' : one.state,
    upToDate: !untold,
    expiresInMs: one.expiresAt - now,
  }
}

function tell(
  outputs: Output[],
  name: 'subscription-added' | 'subscription-renewed' | 'subscription-removed',
  one: Subscription,
  reason: string | undefined,
): void {
  report(outputs, name, name === 'subscription-renewed' ? 'debug' : 'info', {
    ...(reason === undefined ? {} : { reason }),
    eidPrefix: formatEidPrefix(one.eidPrefix),
    xtrId: one.xtrId,
    coverage: formatEidPrefix(one.coverage),
  })
}
