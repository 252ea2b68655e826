/**
 * A move to here that failed: it is said to who asked for it, and every source is told to take back.
 *
 * What is held goes back only when its source has said that it delivers again, because until then it
 * would be redirected to us (move-return.ts). Which attempts fail, and when, is decided in moves.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import type { MoveMessage } from '../../lisp/message.js'
import type { Instant } from '../capabilities.js'
import type { CommandResult } from '../command.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import { type Arrival, answerCommand, passengersFrom, recordsFor } from './move-arrival.js'
import { stamp } from './move-log.js'
import type { MoveParts } from './move-parts.js'
import type { MoveReturns } from './move-return.js'

/** Calls a move off; `reason` becomes part of its record. */
export type FailArrival = (
  arrival: Arrival,
  result: CommandResult,
  reason: string,
  now: Instant,
  outputs: Output[],
) => void

/** The cancellation is repeated so long; after that the source finds out by itself. */
const CANCEL_MS = 1000

/** @param forget takes the arrival from the tables of those under way */
export function createFailArrival(
  config: NodeConfig,
  { exchange }: Pick<MoveParts, 'exchange'>,
  returns: MoveReturns,
  forget: (arrival: Arrival) => void,
): FailArrival {
  return (arrival, result, reason, now, outputs) => {
    const { record } = arrival
    // Also one that has refused: of a long question it may have agreed to a part before.
    const asked = [...arrival.asked.values()]
    arrival.phase = 'over'
    record.state = 'failed'
    record.reason = reason
    stamp(record, 'failed', now)
    report(outputs, 'move-failed', 'warning', { reason, moveId: record.name })
    answerCommand(arrival, result, outputs)
    forget(arrival)
    const returned = new Set(asked.flatMap((one) => passengersFrom(arrival, one)))
    for (const one of arrival.passengers) if (!returned.has(one)) returns.giveUp(one, now, outputs)
    for (const source of asked) {
      const name = formatIpAddress(source)
      exchange.abandon(`prepare/${record.name}/${name}`)
      const reasonSent =
        reason === 'operator' ? ('operator' as const) : ('endpoint-absent' as const)
      // With the records: a source that was restarted does not know the attempt any more.
      const records = recordsFor(config, passengersFrom(arrival, source))
      const content = { phase: 'cancel' as const, moveId: record.id, reason: reasonSent, records }
      // Not before the source delivers again: held packets sent back now would be redirected to us.
      const onAnswer = (answer: MoveMessage | undefined, then: Instant, more: Output[]): void => {
        for (const one of passengersFrom(arrival, source))
          if (answer === undefined) returns.giveUp(one, then, more)
          else returns.giveBack(one, then, more)
      }
      exchange.ask(
        `cancel/${record.name}/${name}`,
        source,
        content,
        now + CANCEL_MS,
        onAnswer,
        now,
        outputs,
      )
    }
  }
}
