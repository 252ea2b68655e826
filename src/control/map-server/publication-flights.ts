/**
 * Map-Notifies to subscribers on their way (RFC 9437 §5, §6): one at a time for each subscription,
 * sent again after 3, 3, 3, 6, 12 and 24 s (RFC 9301 §5.7) to one ITR-RLOC after the other, until a
 * Map-Notify-Ack with its nonce authenticates.
 *
 * Choices: who has acknowledged before and is silent now may be cut off and would miss a move, so a
 * publication is said once a minute for an hour more; a confirmation is not. First transmissions to
 * one RLOC are paced (RFC 8085). What a message says and what its failure means is decided by the
 * caller.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type AuthenticationKey, encodeSigned, type Hmac } from '../../lisp/authentication.js'
import { formatEidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { Instant } from '../capabilities.js'
import { CONTROL_PORT, sourceRloc } from '../control-datagram.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import { createRateLimit } from '../rate-limit.js'
import { retryIntervals } from '../retry-schedule.js'

export type FlightPurpose = 'confirmation' | 'publication' | 'removal' | 'dismissal'

export interface Flight {
  /** Of the subscription. */
  readonly id: string
  readonly purpose: FlightPurpose
  readonly nonce: bigint
  readonly key: AuthenticationKey
  readonly authenticationLength: number
  readonly records: readonly Mapping[]
  /** Tried one after the other. */
  readonly targets: readonly Rloc[]
}

export interface PublicationFlights {
  readonly size: number
  /** Sends it, or soon where pace demands; replaces an earlier one of the same subscription. */
  send(flight: Flight, now: Instant, outputs: Output[]): void
  of(id: string): Flight | undefined
  byNonce(nonce: bigint): Flight | undefined
  cancel(id: string): void
  /** Sends what is due; returns those given up. */
  handleDeadline(now: Instant, outputs: Output[]): Flight[]
  deadline(): Instant | undefined
}

const RESEND_INTERVALS_MS: readonly number[] = [
  ...retryIntervals({ initialMs: 3000, factor: 1, maximumMs: 3000, count: 3 }),
  ...retryIntervals({ initialMs: 6000, factor: 2, maximumMs: 24_000, count: 3 }),
]
/** Our choice: how long the last one may take to be acknowledged. */
const LAST_WAIT_MS = 3000
/** Our choice: a subscriber behind a partition hears of a move within a minute of its end. */
const SLOW_INTERVAL_MS = 60_000
const SLOW_ATTEMPTS = 60
/** Our choice: RFC 9437 §5, said once or as often as an acknowledgement of a register. */
const PACE = { burst: 50, refillPerSecond: 500, maximumKeys: 10_000 }

export function createPublicationFlights(config: NodeConfig, hmac: Hmac): PublicationFlights {
  const flying = new Map<string, Flying>()
  const nonces = new Map<bigint, string>()
  const deadlines = createDeadlines()
  const pace = createRateLimit(PACE)

  function cancel(id: string): void {
    const known = flying.get(id)
    if (known === undefined) return
    flying.delete(id)
    if (nonces.get(known.flight.nonce) === id) nonces.delete(known.flight.nonce)
    deadlines.cancel(id)
  }

  function transmit(one: Flying, now: Instant, outputs: Output[]): void {
    const { flight } = one
    const to = flight.targets[one.target]!
    const from = sourceRloc(config, to)!
    outputs.push({ kind: 'send', from, to, toPort: CONTROL_PORT, bytes: one.bytes })
    one.attempts += 1
    const wait = one.slow > 0 ? SLOW_INTERVAL_MS : RESEND_INTERVALS_MS[one.attempts - 1]
    deadlines.set(flight.id, now + (wait ?? LAST_WAIT_MS))
    report(outputs, 'publication-sent', flight.purpose === 'publication' ? 'info' : 'debug', {
      reason: flight.purpose,
      to: formatIpAddress(to),
      nonce: flight.nonce.toString(16),
      attempt: one.attempts,
      eidPrefixes: flight.records.map((record) => formatEidPrefix(record.eidPrefix)),
    })
  }

  /** Said to one RLOC often enough: the next one, then slowly; false when that is over too. */
  function goOn(one: Flying): boolean {
    if (one.slow === 0 && one.attempts <= RESEND_INTERVALS_MS.length) return true
    if (one.slow === 0 && one.target + 1 < one.flight.targets.length) {
      one.target += 1
      one.attempts = 0
      return true
    }
    if (one.flight.purpose !== 'publication' || one.slow >= SLOW_ATTEMPTS) return false
    one.target = one.slow % one.flight.targets.length
    one.slow += 1
    return true
  }

  return {
    get size() {
      return flying.size
    },
    send(flight, now, outputs) {
      const former = flying.get(flight.id)
      const unsentUntil = former?.attempts === 0 ? deadlines.get(flight.id) : undefined
      cancel(flight.id)
      const targets = flight.targets.filter((to) => sourceRloc(config, to) !== undefined)
      const first = targets[0]
      if (first === undefined) return
      const bytes = encodeSigned(notifyOf(flight), flight.key, hmac)
      const one: Flying = { flight: { ...flight, targets }, bytes, target: 0, attempts: 0, slow: 0 }
      flying.set(flight.id, one)
      nonces.set(flight.nonce, flight.id)
      // An answer is waited for: only what nobody asked for is paced.
      const paced = flight.purpose === 'publication'
      // What replaces an unsent message leaves in its place.
      const at = paced ? (unsentUntil ?? pace.reserve(formatIpAddress(first), now)) : now
      if (at <= now) transmit(one, now, outputs)
      else deadlines.set(flight.id, at)
      // Nobody acknowledges a dismissal: it is said once.
      if (flight.purpose === 'dismissal') cancel(flight.id)
    },
    of: (id) => flying.get(id)?.flight,
    byNonce: (nonce) => flying.get(nonces.get(nonce) ?? '')?.flight,
    cancel,
    handleDeadline(now, outputs) {
      const givenUp: Flight[] = []
      for (const id of deadlines.due(now)) {
        const one = flying.get(id)
        if (one === undefined) continue
        if (goOn(one)) transmit(one, now, outputs)
        else {
          cancel(id)
          givenUp.push(one.flight)
        }
      }
      return givenUp
    },
    deadline: () => deadlines.next(),
  }
}

interface Flying {
  readonly flight: Flight
  readonly bytes: Uint8Array
  target: number
  attempts: number
  /** Transmissions at the slow pace. */
  slow: number
}

function notifyOf(flight: Flight) {
  return {
    kind: 'map-notify',
    nonce: flight.nonce,
    keyId: flight.key.keyId,
    algorithm: flight.key.algorithm,
    authenticationData: new Uint8Array(flight.authenticationLength),
    records: flight.records,
    identity: undefined,
  } as const
}
