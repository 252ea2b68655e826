/**
 * Echo-nonce (RFC 9300 §10.1): whether packets to an RLOC arrive, asked by packets that flow anyway.
 *
 * Once per probe interval each RLOC in use that offers it (E in a Map-Reply to a probe of ours) is asked
 * to echo a nonce of its own. Packets from it without the echo for 3 s, after packets of ours have
 * carried the question: the path there is dead, and the locator goes down until a probe is answered. No
 * packets at all say nothing (§10): the question ends after 10 s. Waits and intervals are our choice,
 * the RFC leaves them open.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Instant, Random } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import type { OfKind } from '../itr/itr.js'

export interface EchoNonce {
  /** An entry uses this RLOC. */
  track(rloc: Rloc): void
  /** None does any more. */
  untrack(rloc: Rloc, outputs: Output[]): void
  /** An answer to a probe of this RLOC says whether it echoes. */
  learn(rloc: Rloc, offers: boolean, now: Instant, outputs: Output[]): void
  handleEcho(event: OfKind<'nonce-echo'>, now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

interface Asked {
  readonly rloc: Rloc
  offers: boolean
  asking: boolean
  /** The first packet without the echo. */
  missedSince: Instant | undefined
}

const WAIT_MS = 3000
const QUESTION_MS = 10_000
const JITTER = 0.25
/** Room of the datapath for questions. */
const MAXIMUM_RLOCS = 4096
const NONCES = 2n ** 24n

/** @param fail called for an RLOC that was found down */
export function createEchoNonce(
  config: NodeConfig,
  random: Random,
  fail: (rloc: Rloc, now: Instant, outputs: Output[]) => void,
): EchoNonce {
  const enabled = config.closedNetwork?.echoNonce ?? false
  const table = new Map<string, Asked>()
  const deadlines = createDeadlines()

  const interval = (): number =>
    config.rlocProbe.intervalMs * (1 - JITTER + 2 * JITTER * random.fraction())

  function ask(one: Asked, nonce: number | undefined, outputs: Output[]): void {
    one.asking = nonce !== undefined
    one.missedSince = undefined
    const operation = { kind: 'request-nonce-echo', rloc: one.rloc, nonce } as const
    outputs.push({ kind: 'datapath', operation })
  }

  function rest(key: string, one: Asked, now: Instant, outputs: Output[]): void {
    if (one.asking) ask(one, undefined, outputs)
    deadlines.set(key, now + interval())
  }

  return {
    track(rloc) {
      const key = formatIpAddress(rloc)
      if (!enabled || table.has(key) || table.size >= MAXIMUM_RLOCS) return
      table.set(key, { rloc, offers: false, asking: false, missedSince: undefined })
    },
    untrack(rloc, outputs) {
      const key = formatIpAddress(rloc)
      const one = table.get(key)
      if (one?.asking) ask(one, undefined, outputs)
      table.delete(key)
      deadlines.cancel(key)
    },
    learn(rloc, offers, now, outputs) {
      const key = formatIpAddress(rloc)
      const one = table.get(key)
      if (one === undefined || one.offers === offers) return
      one.offers = offers
      if (offers) deadlines.set(key, now)
      else {
        if (one.asking) ask(one, undefined, outputs)
        deadlines.cancel(key)
      }
    },
    handleEcho({ rloc, echoed }, now, outputs) {
      const key = formatIpAddress(rloc)
      const one = table.get(key)
      if (one === undefined || !one.asking) return
      if (echoed) return rest(key, one, now, outputs)
      one.missedSince ??= now
      if (now - one.missedSince < WAIT_MS) return
      rest(key, one, now, outputs)
      fail(rloc, now, outputs)
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const one = table.get(key)
        if (one === undefined || !one.offers) continue
        if (one.asking) {
          rest(key, one, now, outputs)
          continue
        }
        ask(one, Number(random.nonce() % NONCES), outputs)
        deadlines.set(key, now + QUESTION_MS)
      }
    },
    deadline: () => deadlines.next(),
  }
}
