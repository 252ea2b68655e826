/**
 * The source takes EIDs back: an attempt was called off, ran out, or its destination does not hold.
 *
 * What only was copied needs no more than the end of the copies; what was redirected is delivered and
 * registered again. An EID whose departure has become final meanwhile is left alone. A restart may
 * have forgotten the attempt that the datapath still follows; its *cancel* is obeyed all the same.
 */
import { equalIpAddresses } from '../../lisp/address.js'
import type { Rloc } from '../../lisp/locator.js'
import type { MoveMessage } from '../../lisp/message.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import type { Departures } from './departures.js'
import { type Departure, isUnderWay } from './move-departure.js'
import { stamp } from './move-log.js'
import type { MoveParts } from './move-parts.js'

export interface SourceReturn {
  takeBack(departure: Departure, reason: string, now: Instant, outputs: Output[]): void
  /** For a *cancel* of an attempt that is not known here. */
  takeBackForgotten(message: MoveMessage, now: Instant, outputs: Output[]): void
  /** `sender` sent us a packet for an EID that is away. */
  takeBackReturned(entry: DatabaseEntry, sender: Rloc, now: Instant, outputs: Output[]): void
}

/** Until then what the destination sends us may be from before it began to hold: a long round trip. */
const LAST_RETURN_MS = 200
const LAST_LIVE_RETURN_MS = 2000

export function createSourceReturn(parts: MoveParts, departures: Departures): SourceReturn {
  const { database, placement, smr, etr } = parts

  function deliverAgain(entries: readonly DatabaseEntry[], now: Instant, outputs: Output[]): void {
    for (const entry of entries) {
      smr.forget(entry)
      entry.rootedAt = Number.NEGATIVE_INFINITY
      placement.local(entry, entry.mac, entry.interfaceName, now, outputs)
    }
    etr.registrar.register(entries, now, outputs)
  }

  function takeBack(departure: Departure, reason: string, now: Instant, outputs: Output[]): void {
    const copying = departure.state === 'copying'
    departures.end(departure, reason)
    stamp(departure.record, 'failed', now)
    report(outputs, 'move-failed', 'warning', { reason, moveId: departure.record.name })
    if (copying) {
      for (const entry of departure.entries) placement.endCopy(entry, outputs)
      return
    }
    const mine = departure.entries.filter(
      (entry) =>
        database.byKey(entry.key) === entry && !(entry.state === 'away' && entry.committed),
    )
    deliverAgain(mine, now, outputs)
  }

  /** A restart forgot the attempt, but the datapath still redirects to who cancels now. */
  function takeBackForgotten(message: MoveMessage, now: Instant, outputs: Output[]): void {
    const mine: DatabaseEntry[] = []
    for (const { eidPrefix, locators } of message.records) {
      const entry = database.get(eidPrefix)
      if (entry?.state === 'local' && !isUnderWay(departures.ofEntry(entry)))
        placement.endCopy(entry, outputs)
      if (entry === undefined || entry.state !== 'away' || entry.committed) continue
      if (isUnderWay(departures.ofEntry(entry))) continue
      if (locators.some((one) => leadsTo(entry, one.rloc))) mine.push(entry)
    }
    if (mine.length > 0) deliverAgain(mine, now, outputs)
  }

  function leadsTo(entry: DatabaseEntry, rloc: Rloc): boolean {
    return entry.awayLocators.some((one) => equalIpAddresses(one.rloc, rloc))
  }

  /** The destination sends us what we redirect to it: it does not hold, so the attempt is over. */
  function takeBackReturned(
    entry: DatabaseEntry,
    sender: Rloc,
    now: Instant,
    outputs: Output[],
  ): void {
    if (entry.state !== 'away' || entry.committed || !leadsTo(entry, sender)) return
    const departure = departures.ofEntry(entry)
    // The destination of a live move sends on what comes to it until it hears of the stop.
    const isLive = departure?.live === true
    if (now - entry.departedAt < (isLive ? LAST_LIVE_RETURN_MS : LAST_RETURN_MS)) return
    if (departure?.state === 'redirected') {
      takeBack(departure, 'returned', now, outputs)
      return
    }
    deliverAgain([entry], now, outputs)
  }

  return { takeBack, takeBackForgotten, takeBackReturned }
}
