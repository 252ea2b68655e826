/**
 * The moves from here that are remembered: by move, by EID, and when news of each is due.
 *
 * At most 1,000, the oldest that is over goes first. What happens to one is decided in move-source.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { type Eid, formatEidPrefix, hostPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { MoveMessage } from '../../lisp/message.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { sourceRloc } from '../control-datagram.js'
import { createDeadlines } from '../deadlines.js'
import { type Departure, isUnderWay } from './move-departure.js'
import { hex } from './move-exchange.js'
import { isFinished, type MoveLog, stamp } from './move-log.js'

export interface Departures {
  byMove(moveId: bigint): Departure | undefined
  ofEntry(entry: DatabaseEntry): Departure | undefined
  /** Those of these EIDs that `which` accepts, each once. */
  ofEids(eids: readonly Eid[], which: (one: Departure | undefined) => boolean): Departure[]
  /** The attempt of this message begins: logged, and found from now on. */
  remember(message: MoveMessage, from: Rloc, entries: DatabaseEntry[], now: Instant): Departure
  /** Another EID of the same attempt. */
  addEid(departure: Departure, entry: DatabaseEntry): void
  /** It failed; nothing is done about its EIDs here. */
  end(departure: Departure, reason: string): void
  /** It arrived. */
  conclude(departure: Departure, now: Instant): void
  /** Without a word until then, somebody has to ask. */
  expectNews(departure: Departure, at: Instant): void
  /** Those of which no word came in time. */
  silent(now: Instant): Departure[]
  deadline(): Instant | undefined
}

/** Moves away from here that are remembered, for late questions about them. */
const MAXIMUM_DEPARTURES = 1000

export function createDepartures(config: NodeConfig, log: MoveLog): Departures {
  const departures = new Map<bigint, Departure>()
  const byEid = new Map<string, Departure>()
  /** By name of the move. */
  const news = createDeadlines()

  return {
    byMove: (moveId) => departures.get(moveId),
    ofEntry: (entry) => byEid.get(entry.key),
    ofEids(eids, which) {
      const found = eids.map((eid) => byEid.get(formatEidPrefix(hostPrefix(eid))))
      return [...new Set(found)].filter((one): one is Departure => which(one))
    },
    remember(message, from, entries, now) {
      const record = log.add(
        {
          id: message.moveId,
          trigger: 'orchestrated',
          eids: entries.map((entry) => entry.eid),
          source: sourceRloc(config, from),
          destination: from,
        },
        'preparing',
      )
      stamp(record, 'requested', now)
      const xtrId = hex(message.identity.xtrId)
      const departure: Departure = {
        record,
        xtrId,
        peer: from,
        entries,
        state: 'redirected',
        records: new Map(message.records.map((one) => [formatEidPrefix(one.eidPrefix), one])),
        confirmed: new Set(),
        senders: new Map(),
        live: message.phase === 'prepare-live',
      }
      departures.set(message.moveId, departure)
      if (departures.size > MAXIMUM_DEPARTURES)
        for (const [id, oldest] of departures)
          if (!isUnderWay(oldest) && departures.delete(id)) break
      for (const entry of entries) byEid.set(entry.key, departure)
      return departure
    },
    addEid(departure, entry) {
      departure.entries.push(entry)
      byEid.set(entry.key, departure)
    },
    end(departure, reason) {
      departure.state = 'over'
      news.cancel(departure.record.name)
      departure.record.state = 'failed'
      departure.record.reason = reason
      for (const entry of departure.entries)
        if (byEid.get(entry.key) === departure) byEid.delete(entry.key)
    },
    conclude(departure, now) {
      departure.state = 'committed'
      departure.record.state = 'arrived'
      news.cancel(departure.record.name)
      stamp(departure.record, 'endpoint-seen', now)
    },
    expectNews(departure, at) {
      news.set(departure.record.name, at)
    },
    silent(now) {
      return news.due(now).flatMap((name) => {
        const record = log.byName(name)
        const departure = record === undefined ? undefined : departures.get(record.id)
        return departure === undefined || isFinished(departure.record) ? [] : [departure]
      })
    },
    deadline: () => news.next(),
  }
}
