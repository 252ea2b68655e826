/**
 * The Map-Server's side of publish/subscribe (RFC 9437 §5, §6): publishes every change of a mapping to
 * those whom it concerns. How subscriptions begin stands in subscription-intake.ts, how they end in
 * subscription-book.ts.
 *
 * After a restart every subscriber is told once more, since what was on its way then is not known. One
 * Map-Notify at a time for each subscription; a change meanwhile makes it void and is said together
 * with it under the next nonce.
 *
 * A subscription ends by a removal (N bit, no ITR-RLOC), when its confirmation is never acknowledged
 * (then one Map-Notify with ACT 5), and after `lifetimeMs` without renewal: our choice, so that the
 * table forgets who is gone. Subscriptions of the configuration (§5) begin with the nonce that both
 * sides have configured, and do not end.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type Hmac, verifyMessage } from '../../lisp/authentication.js'
import { coversPrefix, type EidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MapNotifyAck } from '../../lisp/message.js'
import type { Registrations } from '../../tables/registrations.js'
import type { Subscription } from '../../tables/subscriptions.js'
import type { Instant } from '../capabilities.js'
import { earliest } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import type { SubscriptionView } from '../snapshot.js'
import type { StoredRecord } from '../stored-record.js'
import { configuredSubscriptions } from './configured-subscriptions.js'
import { geoPolicies, withoutSecretPlaces } from './geo-policy.js'
import {
  AUTHENTICATION_BYTES,
  MESSAGE_BYTES,
  recordBytes,
  statedMapping,
} from './map-request-answers.js'
import type { Datagram } from './register-guard.js'
import {
  createSubscriptionAdmission,
  type Speaker,
  type SubscriptionAdmission,
} from './subscription-admission.js'
import { createSubscriptionBook, WITHDRAWN } from './subscription-book.js'
import {
  createSubscriptionIntake,
  HIGHEST_NONCE,
  NONCE_BLOCK,
  type SubscriptionIntake,
} from './subscription-intake.js'
import { restoredSubscription } from './subscription-records.js'

export interface Publisher {
  /** Who may subscribe, to anything. */
  readonly admission: SubscriptionAdmission
  /** An authenticated Map-Register of this xTR has come: we share a key with it. */
  heard(speaker: Speaker): void
  readonly subscribe: SubscriptionIntake['subscribe']
  readonly unsubscribe: SubscriptionIntake['unsubscribe']
  /**
   * The registration of this prefix has come, changed or gone. `later`: subscribers are told with the
   * next deadline, which is due at once.
   */
  changed(eidPrefix: EidPrefix, now: Instant, outputs: Output[], later?: boolean): void
  /** False when the acknowledgement is not for one of ours. */
  handleAck(message: MapNotifyAck, datagram: Datagram, now: Instant, outputs: Output[]): boolean
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  restore(record: Extract<StoredRecord, { kind: 'subscription' }>, now: Instant): void
  /** Behind the last `restore`: the subscriptions of the configuration begin. */
  open(now: Instant): void
  views(now: Instant): SubscriptionView[]
  counts(): { readonly subscriptions: number; readonly behind: number }
}

/** What the publisher asks the Map-Server about. */
export interface PublisherParts {
  readonly registrations: Registrations
  /** What a Map-Reply would say of the prefix now; undefined where an ETR must answer itself. */
  answerFor(asked: EidPrefix, family: 4 | 6): readonly Mapping[] | undefined
}

/** Our choice: prefixes waiting to be told under one subscription; beyond it the subscriber starts anew. */
const MAXIMUM_UNTOLD = 256
/** Subscribers told within one input; the rest in slices of the same size. */
const SLICE = 64
/** Subscriptions told again after a restart, per second. */
const RETELL_PER_SECOND = 500

export function createPublisher(config: NodeConfig, hmac: Hmac, parts: PublisherParts): Publisher {
  const policy = config.subscriptions
  const { registrations } = parts
  const geoAnswers = geoPolicies(config)
  const admission = createSubscriptionAdmission(config)
  const book = createSubscriptionBook(config, hmac)
  const { table, flights, queue } = book
  const intake = createSubscriptionIntake(policy, admission, book, parts.answerFor)
  let queueAt: Instant | undefined

  // ------------------------------------------------------------------ what is said

  function recordOf(prefix: EidPrefix): Mapping {
    const registration = registrations.exact(prefix)
    if (registration?.registrants.some((one) => one.proxyReply))
      return withoutSecretPlaces(statedMapping(registration), geoAnswers(registration.site))
    const mapVersion = registrations.retired(prefix)?.mapVersion ?? 0
    return { ...WITHDRAWN, eidPrefix: prefix, mapVersion }
  }

  function recordsFor(one: Subscription): readonly Mapping[] {
    const family = one.itrRlocs[0]?.family ?? 4
    const waiting = book.untold(one)
    if (waiting !== 'all') return fitting(waiting?.values() ?? [], family, recordOf)
    const answer = parts.answerFor(one.eidPrefix, family)
    if (answer === undefined) return [{ ...WITHDRAWN, eidPrefix: one.coverage, mapVersion: 0 }]
    table.put(one, answer[0]!.eidPrefix, one.expiresAt)
    return answer
  }

  function publish(one: Subscription, now: Instant, outputs: Output[]): void {
    const records = recordsFor(one)
    if (records.length === 0 || one.state === 'removed') return
    if (one.sentNonce >= HIGHEST_NONCE) {
      book.dismiss(one, 'nonces-exhausted', now, outputs)
      return
    }
    // What is published is said in any case; it leaves less for new subscriptions (RFC 9437 §7.2).
    book.mayNotify(one.xtrId, now)
    one.sentNonce += 1n
    if (one.sentNonce > one.nonceCeiling) {
      one.nonceCeiling = one.sentNonce + NONCE_BLOCK
      book.store(one, outputs)
    }
    one.temporary = one.temporary && records.every(({ locators }) => locators.length === 0)
    book.fly(one, 'publication', one.sentNonce, records, now, outputs)
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

  function isSuppressed(one: Subscription, prefix: EidPrefix): boolean {
    for (const other of table.overlapping(prefix)) {
      if (!other.suppresses || other.xtrId !== one.xtrId) continue
      if (coversPrefix(other.eidPrefix, prefix)) return true
    }
    return false
  }

  return {
    admission,
    heard: (speaker) => admission.heard(speaker),

    subscribe: intake.subscribe,
    unsubscribe: intake.unsubscribe,
    changed(eidPrefix, now, outputs, later = false) {
      for (const one of table.overlapping(eidPrefix)) {
        if (one.state === 'removed' || isSuppressed(one, eidPrefix)) continue
        if (coversPrefix(one.coverage, eidPrefix)) {
          // A registration that now answers the whole question replaces the hole it was in.
          const answersAll = coversPrefix(eidPrefix, one.eidPrefix) && one.temporary
          book.note(one, answersAll ? 'all' : eidPrefix)
        } else if (answersFor(eidPrefix, one)) book.note(one, 'all')
        const waiting = book.untold(one)
        if (waiting !== undefined && waiting !== 'all' && waiting.size > MAXIMUM_UNTOLD)
          book.dismiss(one, 'too-many-changes', now, outputs)
      }
      if (!later) drain(now, outputs)
      else if (queue.size > 0) queueAt = now
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
        book.store(one, outputs)
      }
      book.settle(one, flight)
      if (book.untold(one) !== undefined) {
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
        if (flight.purpose === 'confirmation') book.dismiss(one, 'no-acknowledgement', now, outputs)
        else book.drop(one, 'no-acknowledgement', outputs)
      }
      if (queueAt !== undefined && queueAt <= now) drain(now, outputs)
      for (let count = 0; count < SLICE; count += 1) {
        const one = table.takeDue(now)
        if (one === undefined) break
        book.drop(one, 'expired', outputs)
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
      intake.restored(one)
      book.note(one, 'all')
      queueAt = now + (table.size / RETELL_PER_SECOND) * 1000
    },

    open(now) {
      for (const one of policy.accept ? configuredSubscriptions(policy, now) : []) {
        const known = table.get(one.id)
        if (known !== undefined && known.state !== 'removed') {
          table.put(known, known.coverage, one.expiresAt)
          continue
        }
        if (known !== undefined) one.sentNonce = known.sentNonce
        table.put(one, one.eidPrefix, one.expiresAt)
        book.note(one, 'all')
        queueAt = now
      }
    },
    counts() {
      let [subscriptions, behind] = [0, 0]
      for (const one of table.entries()) {
        if (one.state === 'removed') continue
        subscriptions += 1
        if (book.isBehind(one)) behind += 1
      }
      return { subscriptions, behind }
    },
    views: (now) =>
      [...table.entries()]
        .filter((one) => one.state !== 'removed')
        .map((one) => viewOf(one, now, book.isBehind(one))),
  }

  /** Whether a wider prefix is (or was until now) what the subscriber's question is answered with. */
  function answersFor(eidPrefix: EidPrefix, one: Subscription): boolean {
    if (!coversPrefix(eidPrefix, one.eidPrefix)) return false
    const best = registrations.longestCovering(one.eidPrefix)?.eidPrefix
    return best === undefined || coversPrefix(eidPrefix, best)
  }
}

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
