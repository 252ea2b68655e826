/**
 * What a Map-Server knows of its subscriptions (RFC 9437 §5, §6): the table, the Map-Notifies on their
 * way, what each subscriber has not been told yet, and how a subscription ends.
 *
 * Who may subscribe stands in subscription-intake.ts, when and what is published in publisher.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import type { Hmac } from '../../lisp/authentication.js'
import { type EidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import {
  createSubscriptions,
  type Subscription,
  type Subscriptions,
} from '../../tables/subscriptions.js'
import type { Instant } from '../capabilities.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import { createRateLimit } from '../rate-limit.js'
import {
  createPublicationFlights,
  type Flight,
  type PublicationFlights,
} from './publication-flights.js'
import { storedSubscription } from './subscription-records.js'

export interface SubscriptionBook {
  readonly table: Subscriptions
  readonly flights: PublicationFlights
  /** Subscriptions whose next publication is to be sent. */
  readonly queue: Set<string>
  /** Prefixes that a subscriber has not acknowledged; 'all' when its whole answer may be new. */
  untold(one: Subscription): ReadonlyMap<string, EidPrefix> | 'all' | undefined
  /** Something new is to be said to it. */
  note(one: Subscription, prefix: EidPrefix | 'all'): void
  /** What the acknowledged message said need not be said again. */
  settle(one: Subscription, flight: Flight): void
  /** Nothing waits for it any more: a message that says it all is about to be sent. */
  clear(one: Subscription): void
  isBehind(one: Subscription): boolean
  fly(
    one: Subscription,
    purpose: Flight['purpose'],
    nonce: bigint,
    records: readonly Mapping[],
    now: Instant,
    outputs: Output[],
    targets?: readonly Rloc[],
  ): void
  /** Whether one more Map-Notify to this xTR is within its rate (RFC 9437 §7.2). */
  mayNotify(xtrId: string, now: Instant): boolean
  store(one: Subscription, outputs: Output[]): void
  drop(one: Subscription, reason: string, outputs: Output[]): void
  /** RFC 9437 §5: a Map-Notify with the last nonce, no locator and ACT 5; the xTR may begin anew. */
  dismiss(one: Subscription, reason: string, now: Instant, outputs: Output[]): void
  /** Removed, but its nonce is kept. */
  remember(one: Subscription, outputs: Output[]): void
  tell(
    outputs: Output[],
    name: 'subscription-added' | 'subscription-renewed' | 'subscription-removed',
    one: Subscription,
    reason: string | undefined,
  ): void
}

/** A mapping that is gone (RFC 9437 §5: TTL 0). */
export const WITHDRAWN = {
  ttlMinutes: 0,
  action: 'no-action',
  authoritative: false,
  locators: [],
} as const

/** RFC 9437 §5: the last nonce is kept after removal. Our choice: a day. */
const NONCE_MEMORY_MS = 24 * 3_600_000
/** RFC 9437 §7.2, our figures: Map-Notifies to one xTR, above what one RLOC is told per second. */
const NOTIFIES_PER_XTR = { burst: 10_000, refillPerSecond: 500, maximumKeys: 10_000 }

export function createSubscriptionBook(config: NodeConfig, hmac: Hmac): SubscriptionBook {
  const table = createSubscriptions()
  const flights = createPublicationFlights(config, hmac)
  const notifyRate = createRateLimit(NOTIFIES_PER_XTR)
  const untold = new Map<string, Map<string, EidPrefix> | 'all'>()
  const queue = new Set<string>()

  function forget(one: Subscription): void {
    flights.cancel(one.id)
    untold.delete(one.id)
    queue.delete(one.id)
  }

  const book: SubscriptionBook = {
    table,
    flights,
    queue,
    untold: (one) => untold.get(one.id),
    note(one, prefix) {
      const waiting = untold.get(one.id)
      if (prefix === 'all') untold.set(one.id, 'all')
      else if (waiting === undefined)
        untold.set(one.id, new Map([[formatEidPrefix(prefix), prefix]]))
      else if (waiting !== 'all') waiting.set(formatEidPrefix(prefix), prefix)
      queue.add(one.id)
    },
    settle(one, flight) {
      const waiting = untold.get(one.id)
      // What has changed meanwhile is in no message yet.
      if (waiting === undefined || queue.has(one.id)) return
      if (waiting === 'all') untold.delete(one.id)
      else {
        for (const record of flight.records) waiting.delete(formatEidPrefix(record.eidPrefix))
        if (waiting.size === 0) untold.delete(one.id)
      }
    },
    clear(one) {
      untold.delete(one.id)
      queue.delete(one.id)
    },
    isBehind: (one) => flights.of(one.id) !== undefined || untold.has(one.id),
    fly(one, purpose, nonce, records, now, outputs, targets = one.itrRlocs) {
      const { id, key, authenticationLength: length } = one
      const flight = { id, purpose, nonce, key, authenticationLength: length, records, targets }
      flights.send(flight, now, outputs)
    },
    mayNotify: (xtrId, now) => notifyRate.take(xtrId, now),
    store(one, outputs) {
      outputs.push({ kind: 'persist', records: [storedSubscription(one)], then: [] })
    },
    drop(one, reason, outputs) {
      forget(one)
      table.remove(one)
      const { eidPrefix, xtrId } = one
      const removed = { kind: 'subscription-removed', eidPrefix, xtrId } as const
      outputs.push({ kind: 'persist', records: [removed], then: [] })
      book.tell(outputs, 'subscription-removed', one, reason)
    },
    dismiss(one, reason, now, outputs) {
      const record = { ...WITHDRAWN, eidPrefix: one.eidPrefix, mapVersion: 0, ttlMinutes: 1 }
      const refusal: Mapping = { ...record, action: 'drop-auth-failure' }
      const targets = one.itrRlocs.slice(0, 1)
      book.drop(one, reason, outputs)
      book.fly(one, 'dismissal', one.sentNonce, [refusal], now, outputs, targets)
    },
    remember(one, outputs) {
      forget(one)
      one.state = 'removed'
      one.askedNonce = one.sentNonce
      // The memory of it concerns the prefix that was asked for and no wider one.
      table.put(one, one.eidPrefix, one.expiresAt + NONCE_MEMORY_MS)
      book.store(one, outputs)
    },
    tell(outputs, name, one, reason) {
      report(outputs, name, name === 'subscription-renewed' ? 'debug' : 'info', {
        ...(reason === undefined ? {} : { reason }),
        eidPrefix: formatEidPrefix(one.eidPrefix),
        xtrId: one.xtrId,
        coverage: formatEidPrefix(one.coverage),
      })
    },
  }
  return book
}
