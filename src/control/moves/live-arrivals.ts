/**
 * The destination's side of a live move between "ready" and the endpoint: have the source copy on, and
 * note when it says that the endpoint has stopped.
 *
 * *prepare-live* is said again and again, because a source copies only as long as it is asked; one
 * that is silent copies on until its lease is over, one that refuses has ended the attempt. What the
 * copies are good for is decided by the datapath, by their stamps; what happens when the endpoint
 * comes, or does not, in moves.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MoveMessage } from '../../lisp/message.js'
import type { Instant } from '../capabilities.js'
import type { CommandResult } from '../command.js'
import { createDeadlines } from '../deadlines.js'
import { refusal } from '../etr/etr.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import { type Arrival, passengersFrom, sourcesOf } from './move-arrival.js'
import { stamp } from './move-log.js'
import type { MoveParts } from './move-parts.js'

export interface LiveArrivals {
  /** The source copies now. */
  begin(arrival: Arrival, now: Instant): void
  /** The source says that the endpoint runs there no more; said again it changes nothing. */
  stopped(arrival: Arrival, message: MoveMessage, now: Instant, outputs: Output[]): void
  end(arrival: Arrival): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

export interface LiveArrivalCallbacks {
  fail(
    arrival: Arrival,
    result: CommandResult,
    reason: string,
    now: Instant,
    outputs: Output[],
  ): void
  /** It is on its way, or here: look for it, but not for ever. */
  awaitEndpoint(arrival: Arrival, now: Instant, outputs: Output[]): void
  recordsFor(arrival: Arrival, source: Rloc): Mapping[]
}

/** Of the lease: two of three questions may be lost. */
const RENEWALS = 3

export function createLiveArrivals(
  { mobility }: Pick<NodeConfig, 'mobility'>,
  parts: Pick<MoveParts, 'placement' | 'exchange' | 'expectGroups'>,
  callbacks: LiveArrivalCallbacks,
): LiveArrivals {
  const { placement, exchange } = parts
  const { leaseMs, longestMs } = mobility.live
  const renewMs = leaseMs / RENEWALS
  const deadlines = createDeadlines()
  /** Those of which the endpoint runs at the source, by name; with the moment of their beginning. */
  const running = new Map<string, { readonly arrival: Arrival; readonly since: Instant }>()

  function end(arrival: Arrival): void {
    running.delete(arrival.record.name)
    deadlines.cancel(arrival.record.name)
  }

  /** What it listens to by now: a group is joined ahead for less time than a migration may take. */
  function expectGroups(
    arrival: Arrival,
    source: Rloc,
    { structuredRecords = [] }: MoveMessage,
    now: Instant,
    outputs: Output[],
  ): void {
    const passengers = passengersFrom(arrival, source)
    const interfaces = new Set(passengers.flatMap(({ entry }) => entry?.interfaceName ?? []))
    parts.expectGroups(structuredRecords, [...interfaces], () => {}, now, outputs)
  }

  function renew(arrival: Arrival, source: Rloc, now: Instant, outputs: Output[]): void {
    const { id: moveId, name } = arrival.record
    const onAnswer = (answer: MoveMessage | undefined, then: Instant, more: Output[]): void => {
      if (!running.has(name)) return
      if (answer?.phase === 'prepared') expectGroups(arrival, source, answer, then, more)
      if (answer?.phase !== 'refused') return
      const message = `${formatIpAddress(source)} refused: ${answer.reason}`
      callbacks.fail(arrival, refusal(409, 'source-refused', message), answer.reason, then, more)
    }
    const records = callbacks.recordsFor(arrival, source).map((one) => ({ ...one, mapVersion: 0 }))
    const content = { phase: 'prepare-live' as const, moveId, records }
    const key = `prepare/${name}/${formatIpAddress(source)}`
    exchange.ask(key, source, content, now + renewMs / 2, onAnswer, now, outputs)
  }

  return {
    begin(arrival, now) {
      running.set(arrival.record.name, { arrival, since: now })
      deadlines.set(arrival.record.name, now + renewMs)
    },
    stopped(arrival, { stamp: cut = 0 }, now, outputs) {
      for (const { entry } of arrival.passengers)
        if (entry?.state === 'standby') placement.markStopped(entry, cut, outputs)
      if (!running.has(arrival.record.name)) return
      end(arrival)
      stamp(arrival.record, 'source-redirected', now)
      report(outputs, 'move-endpoint-stopped', 'info', { moveId: arrival.record.name })
      callbacks.awaitEndpoint(arrival, now, outputs)
    },
    end,
    handleDeadline(now, outputs) {
      for (const name of deadlines.due(now)) {
        const { arrival, since } = running.get(name)!
        if (now - since > longestMs) {
          const result = refusal(504, 'endpoint-absent', 'the endpoint did not come')
          callbacks.fail(arrival, result, 'endpoint-absent', now, outputs)
          continue
        }
        deadlines.set(name, now + renewMs)
        for (const source of sourcesOf(arrival))
          if (passengersFrom(arrival, source).length > 0) renew(arrival, source, now, outputs)
      }
    },
    deadline: () => deadlines.next(),
  }
}
