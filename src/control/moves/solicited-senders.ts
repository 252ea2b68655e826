/**
 * Who was solicited by an SMR after a move away from here, told to the new site.
 *
 * The destination counts a move as converged when each of them sends to it directly, so it must know
 * them. Those of 20 ms are told in one message, at most 64 per move; beyond, convergence is judged by
 * those that were told.
 */
import { formatIpAddress } from '../../lisp/address.js'
import { formatEid } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import type { Departures } from './departures.js'
import type { Departure } from './move-departure.js'
import { stamp } from './move-log.js'
import type { MoveParts } from './move-parts.js'

export interface SolicitedSenders {
  /** An SMR went to this sender of an EID that moved away. */
  solicited(entry: DatabaseEntry, sender: Rloc, now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** Senders solicited within this are told in one message. */
const GATHER_MS = 20
/** The message is repeated so long. */
const TELL_MS = 5000
const MAXIMUM_TOLD_SENDERS = 64

export function createSolicitedSenders(
  { exchange, log }: Pick<MoveParts, 'exchange' | 'log'>,
  departures: Departures,
): SolicitedSenders {
  /** By name of the move. */
  const deadlines = createDeadlines()

  function tell(departure: Departure, now: Instant, outputs: Output[]): void {
    const { record, peer } = departure
    const senders = [...departure.senders.values()]
    const content = { phase: 'solicited' as const, moveId: record.id, senders }
    exchange.ask(`solicited/${record.name}`, peer, content, now + TELL_MS, () => {}, now, outputs)
  }

  return {
    solicited(entry, sender, now, outputs) {
      const departure = departures.ofEntry(entry)
      if (departure?.state !== 'committed' || departure.record.trigger !== 'orchestrated') return
      if (stamp(departure.record, 'senders-solicited', now))
        report(outputs, 'move-senders-solicited', 'info', {
          moveId: departure.record.name,
          eid: formatEid(entry.eid),
          sender: formatIpAddress(sender),
        })
      if (departure.senders.size >= MAXIMUM_TOLD_SENDERS) return
      const name = formatIpAddress(sender)
      if (departure.senders.has(name)) return
      departure.senders.set(name, sender)
      deadlines.set(departure.record.name, now + GATHER_MS)
    },
    handleDeadline(now, outputs) {
      for (const name of deadlines.due(now)) {
        const record = log.byName(name)
        const departure = record === undefined ? undefined : departures.byMove(record.id)
        if (departure !== undefined) tell(departure, now, outputs)
      }
    },
    deadline: () => deadlines.next(),
  }
}
