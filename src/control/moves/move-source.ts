/**
 * The source's side of an orchestrated move: stop delivering, redirect, and later let go or take back.
 *
 * On *prepare* packets for the EIDs are redirected to the destination, which holds them; the
 * endpoint's own packets still leave through us, and nothing is registered or announced. On *confirm*
 * the redirect is final; who still sends here is solicited and named to the destination. On *cancel*
 * everything is as before. Without news for twice the endpoint time-out the mapping system is asked:
 * if it still names us, the destination is gone and the EIDs are local again.
 */
import type { NodeConfig } from '../../config/node-config.js'
import type { Eid } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import { isNewerMapVersion } from '../../lisp/map-version.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MoveMessage } from '../../lisp/message.js'
import { stampOf } from '../../lisp/move-stamp.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { namesUs } from '../control-datagram.js'
import { earliest } from '../deadlines.js'
import { hear } from '../heard-version.js'
import type { Output } from '../input-output.js'
import { usableLocators } from '../itr/encapsulation-choice.js'
import { createDepartures } from './departures.js'
import { createEndedAttempts } from './ended-attempts.js'
import { type Departure, isUnderWay, newest } from './move-departure.js'
import type { MoveParts } from './move-parts.js'
import { createSolicitedSenders } from './solicited-senders.js'
import { createSourcePreparation } from './source-preparation.js'
import { createSourceReturn } from './source-return.js'

export interface MoveSource {
  handleQuestion(message: MoveMessage, from: Rloc, now: Instant, outputs: Output[]): void
  /** An SMR went to this sender of an EID that moved away. */
  solicited(entry: DatabaseEntry, sender: Rloc, now: Instant, outputs: Output[]): void
  /** A packet for an EID that is redirected came from `sender`. */
  awayHit(eid: Eid, sender: Rloc | undefined, now: Instant, outputs: Output[]): void
  /** A Map-Notify told that the EID is elsewhere: as good as a confirmation. */
  departed(entry: DatabaseEntry, now: Instant): void
  /**
   * Its hypervisor says that it stopped running here `agoMs` ago; `gone`: for good. Names the moves
   * that this concerned.
   */
  stopped(
    eids: readonly Eid[],
    agoMs: number,
    gone: boolean,
    now: Instant,
    outputs: Output[],
  ): string[]
  /**
   * It runs here again since `agoMs`: what is under way for it has failed, unless it has stopped since.
   * Names the moves taken back.
   */
  resumed(eids: readonly Eid[], agoMs: number, now: Instant, outputs: Output[]): string[]
  /** Whether a move away from here is under way for it. */
  isMoving(eid: Eid): boolean
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** The SMR waits so long for the Map-Notify, so that its receiver does not fetch the old mapping. */
const MAPPING_SYSTEM_MS = 100
/** That the endpoint runs here again is repeated so long. */
const RESUMED_MS = 5000
const MAPPING_ANSWER_MS = 4000
/** The news of the stop is repeated so long; the first redirected packet says the same. */
const STOPPED_MS = 10_000

export function createMoveSource(config: NodeConfig, parts: MoveParts): MoveSource {
  const { database, itr, etr, exchange, log } = parts
  const departures = createDepartures(config, log)
  const ended = createEndedAttempts()
  const preparation = createSourcePreparation(config, parts, departures, ended)
  const returns = createSourceReturn(parts, departures)
  const senders = createSolicitedSenders(parts, departures)

  function confirm(message: MoveMessage, from: Rloc, now: Instant, outputs: Output[]): void {
    const { moveId } = message
    const known = departures.byMove(moveId)
    ended.note(message)
    const underWay = isUnderWay(known) ? known : undefined
    // It is there with all its EIDs, also those that another message names.
    if (underWay?.state === 'copying' && message.records.length < underWay.entries.length)
      preparation.redirectAll(underWay, now, outputs)
    const gone: DatabaseEntry[] = []
    for (const record of message.records) {
      const entry = database.get(record.eidPrefix)
      if (entry === undefined || !isConfirmable(known, entry)) continue
      underWay?.confirmed.add(entry.key)
      if (follow(entry, record, underWay, now, outputs)) gone.push(entry)
    }
    // Only when all are redirected: until then packets are lost.
    for (const entry of gone) {
      if (underWay !== undefined) entry.rootedAt = Number.POSITIVE_INFINITY
      etr.settleDeparture(entry, now + MAPPING_SYSTEM_MS, now, outputs)
    }
    if (underWay !== undefined) {
      if (underWay.entries.every(({ key }) => underWay.confirmed.has(key)))
        departures.conclude(underWay, now)
    } else if (known !== undefined) for (const entry of gone) departures.addEid(known, entry)
    else if (gone.length > 0)
      departures.conclude(departures.remember(message, from, gone, now), now)
    exchange.answer(message, from, { phase: 'ack', moveId }, outputs)
  }

  /** Redirects one EID that has left for good; false when the message is older than what we know. */
  function follow(
    entry: DatabaseEntry,
    record: Mapping,
    known: Departure | undefined,
    now: Instant,
    outputs: Output[],
  ): boolean {
    if (entry.kind !== 'dynamic-eid' || entry.state === 'standby') return false
    // Without a prepared move only the version tells a late message from a new one.
    const [told, ours] = [record.mapVersion, newest(entry)]
    const late = known === undefined && told !== 0 && ours !== 0 && !isNewerMapVersion(told, ours)
    if (late || (entry.state === 'away' && entry.committed)) return false
    if (usableLocators(config, record.locators).length === 0) return false
    hear(entry, record.mapVersion)
    if (entry.state === 'local') preparation.redirect(entry, record, true, now, outputs)
    return true
  }

  function cancel(message: MoveMessage, from: Rloc, now: Instant, outputs: Output[]): void {
    const { moveId } = message
    const known = departures.byMove(moveId)
    ended.note(message)
    if (isUnderWay(known)) returns.takeBack(known, message.reason, now, outputs)
    else if (known === undefined) returns.takeBackForgotten(message, now, outputs)
    exchange.answer(message, from, { phase: 'ack', moveId }, outputs)
  }

  /** The destination is silent: who has it, says the mapping system. */
  function seekNews(departure: Departure, now: Instant, outputs: Output[]): void {
    if (departure.state === 'copying') {
      returns.takeBack(departure, 'lease-over', now, outputs)
      return
    }
    const entry = departure.entries[0]!
    const onAnswer = (mapping: Mapping | undefined, then: Instant, more: Output[]): void => {
      if (departure.state !== 'redirected') return
      const elsewhere =
        mapping !== undefined && mapping.locators.length > 0 && !namesUs(config, mapping.locators)
      if (mapping === undefined) {
        departures.expectNews(departure, then + 2 * config.mobility.endpointTimeoutMs)
        return
      }
      if (!elsewhere) {
        returns.takeBack(departure, 'endpoint-absent', then, more)
        return
      }
      for (const one of departure.entries) {
        hear(one, mapping.mapVersion)
        if (one.state === 'local') preparation.redirect(one, mapping, true, then, more)
        etr.settleDeparture(one, then, then, more)
      }
      departures.conclude(departure, then)
    }
    itr.question(entry.eid, now + MAPPING_ANSWER_MS, onAnswer, now, outputs)
  }

  return {
    handleQuestion(message, from, now, outputs) {
      if (message.phase === 'prepare' || message.phase === 'prepare-live')
        preparation.prepare(message, from, now, outputs)
      else if (message.phase === 'confirm') confirm(message, from, now, outputs)
      else cancel(message, from, now, outputs)
    },
    solicited: senders.solicited,
    awayHit(eid, sender, now, outputs) {
      const entry = database.getEid(eid)
      if (entry !== undefined && sender !== undefined)
        returns.takeBackReturned(entry, sender, now, outputs)
    },
    stopped(eids, agoMs, gone, now, outputs) {
      const found = departures.ofEids(eids, isUnderWay)
      for (const departure of found) {
        if (departure.state !== 'copying') continue
        departure.stoppedAt = now - agoMs
        preparation.redirectAll(departure, now, outputs)
        const { record, peer } = departure
        const content = {
          phase: 'stopped' as const,
          moveId: record.id,
          stamp: stampOf(Math.max(0, now - agoMs - config.mobility.live.guardMs)),
          reason: gone ? ('gone' as const) : ('none' as const),
        }
        exchange.ask(
          `stopped/${record.name}`,
          peer,
          content,
          now + STOPPED_MS,
          ignore,
          now,
          outputs,
        )
      }
      return found.map((one) => one.record.name)
    },
    resumed(eids, agoMs, now, outputs) {
      // What still copies was accepted after the endpoint last resumed: another attempt's failure.
      const found = departures.ofEids(eids, (one) => isUndoneBy(one, now - agoMs))
      for (const departure of found) {
        const { record, peer } = departure
        exchange.abandon(`stopped/${record.name}`)
        returns.takeBack(departure, 'resumed', now, outputs)
        const content = { phase: 'cancel' as const, moveId: record.id, reason: 'operator' as const }
        exchange.ask(
          `resumed/${record.name}`,
          peer,
          content,
          now + RESUMED_MS,
          ignore,
          now,
          outputs,
        )
      }
      return found.map((one) => one.record.name)
    },
    departed(entry, now) {
      const departure = departures.ofEntry(entry)
      if (!isUnderWay(departure)) return
      if (departure.entries.every((one) => one.state === 'away' && one.committed))
        departures.conclude(departure, now)
    },
    isMoving: (eid) => {
      const entry = database.getEid(eid)
      return entry !== undefined && isUnderWay(departures.ofEntry(entry))
    },
    handleDeadline(now, outputs) {
      senders.handleDeadline(now, outputs)
      for (const departure of departures.silent(now)) seekNews(departure, now, outputs)
    },
    deadline: () => earliest(departures.deadline(), senders.deadline()),
  }
}

/** Whether news that the endpoint ran here at that moment means that this move has failed. */
function isUndoneBy(departure: Departure | undefined, resumedAt: Instant): boolean {
  return departure?.state === 'redirected' && resumedAt >= (departure.stoppedAt ?? resumedAt)
}

/** Whether a *confirm* is news for this EID: that of an unprepared move may come in several messages. */
function isConfirmable(known: Departure | undefined, entry: DatabaseEntry): boolean {
  if (known?.state !== 'committed') return known?.state !== 'over'
  return !known.entries.includes(entry)
}

/** Repeated until answered; what the answer says changes nothing. */
function ignore(): void {}
