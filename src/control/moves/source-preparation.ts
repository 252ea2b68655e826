/**
 * What *prepare* does at the source: may the EIDs go, and then redirect, or copy what is delivered.
 *
 * A refusal names its reason. "prepared" is said behind the operations that make it true. An attempt
 * that is said again changes nothing, except that copying goes on; a later attempt of the same
 * destination takes over. How an attempt ends is decided in move-source.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatMac, type MacAddress } from '../../lisp/address.js'
import { eidFromPrefix, formatEidPrefix, isHostPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MoveMessage } from '../../lisp/message.js'
import type { MoveReason } from '../../lisp/move-phases.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { ownLocators, ownMapping } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import { chooseEncapsulations, usableLocators } from '../itr/encapsulation-choice.js'
import { report } from '../outputs.js'
import type { Departures } from './departures.js'
import type { EndedAttempts } from './ended-attempts.js'
import { type Departure, isUnderWay, newest } from './move-departure.js'
import { hex } from './move-exchange.js'
import { moveName, stamp } from './move-log.js'
import type { MoveParts } from './move-parts.js'

export interface SourcePreparation {
  /** Answers *prepared* or *refused*, or nothing while packets for one of the EIDs still leave. */
  prepare(message: MoveMessage, from: Rloc, now: Instant, outputs: Output[]): void
  /** All that comes for its EIDs goes to the destination from now on. */
  redirectAll(departure: Departure, now: Instant, outputs: Output[]): void
  /** The same for one EID. */
  redirect(
    entry: DatabaseEntry,
    record: Mapping,
    committed: boolean,
    now: Instant,
    outputs: Output[],
  ): void
}

/** Named to the destination, should we die before the senders have followed; 600 bytes at the most. */
const MAXIMUM_NAMED_SENDERS = 32

export function createSourcePreparation(
  config: NodeConfig,
  parts: MoveParts,
  departures: Departures,
  ended: EndedAttempts,
): SourcePreparation {
  const { database, placement, etr, exchange } = parts
  const { leaseMs } = config.mobility.live

  function refusalFor(message: MoveMessage): MoveReason {
    if (message.records.length === 0) return 'not-local'
    for (const { eidPrefix, locators } of message.records) {
      if (!isHostPrefix(eidPrefix)) return 'prefix-not-allowed'
      const eid = eidFromPrefix(eidPrefix)
      if (database.dynamicPrefixOf(eid) === undefined) return 'prefix-not-allowed'
      if (usableLocators(config, locators).length === 0) return 'operator'
      const entry = database.getEid(eid)
      if (entry === undefined || entry.kind !== 'dynamic-eid') return 'not-local'
      if (entry.state === 'standby') return 'move-in-progress'
      const other = departures.ofEntry(entry)
      const underWay = isUnderWay(other)
      // A later attempt of the same destination takes over; its counter is the high half of the id.
      if (
        underWay &&
        (other.xtrId !== hex(message.identity.xtrId) || message.moveId <= other.record.id)
      )
        return 'move-in-progress'
      if (!underWay && entry.state !== 'local') return 'not-local'
    }
    return 'none'
  }

  /** Whether packets held for one of them still leave: a redirect would stand only behind them. */
  function isSettling(records: readonly Mapping[], now: Instant): boolean {
    return records.some(({ eidPrefix }) => {
      const entry = database.get(eidPrefix)
      return entry?.state === 'local' && placement.isSettling(entry, now)
    })
  }

  function prepare(message: MoveMessage, from: Rloc, now: Instant, outputs: Output[]): void {
    // Not answered: it comes again in some 20 ms, and "prepared" must not be said too early.
    if (isSettling(message.records, now)) return
    const known = departures.byMove(message.moveId)
    if (isUnderWay(known)) {
      prepareMore(known, message, from, now, outputs)
      return
    }
    const reason = known !== undefined || ended.isOver(message) ? 'superseded' : refusalFor(message)
    if (reason !== 'none') {
      refuse(message, from, reason, outputs)
      return
    }
    const entries = message.records.map((one) => database.getEid(eidFromPrefix(one.eidPrefix))!)
    for (const entry of entries) supersede(entry, outputs)
    const departure = departures.remember(message, from, entries, now)
    begin(departure, message.phase === 'prepare-live', now, outputs)
    departure.record.state = 'ready'
    // After the operations above: "prepared" means that they are in the datapath.
    sendPrepared(message, from, now, outputs)
  }

  function begin(departure: Departure, live: boolean, now: Instant, outputs: Output[]): void {
    if (live) {
      departure.state = 'copying'
      for (const entry of departure.entries) copyOut(departure, entry, outputs)
      report(outputs, 'move-source-copying', 'info', { moveId: departure.record.name })
      departures.expectNews(departure, now + leaseMs)
    } else redirectAll(departure, now, outputs)
  }

  /** All that comes for them goes to the destination from now on. */
  function redirectAll(departure: Departure, now: Instant, outputs: Output[]): void {
    const { name } = departure.record
    departure.state = 'redirected'
    for (const entry of departure.entries)
      if (config.mobility.redirect)
        redirect(entry, departure.records.get(entry.key)!, false, now, outputs)
      else entry.registering = false
    stamp(departure.record, 'source-redirected', now)
    report(outputs, 'move-source-redirected', 'info', { moveId: name })
    departures.expectNews(departure, now + 2 * config.mobility.endpointTimeoutMs)
  }

  function copyOut(departure: Departure, entry: DatabaseEntry, outputs: Output[]): void {
    const { locators } = departure.records.get(entry.key)!
    const [first] = chooseEncapsulations(config, locators, () => false)
    if (first !== undefined) placement.copy(entry, first, leaseMs, outputs)
  }

  /**
   * The same attempt again: a repetition, the next parcel of a long one, or a destination that first
   * looked for an EID elsewhere asks for it with those it has asked for before.
   */
  function prepareMore(
    known: Departure,
    message: MoveMessage,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): void {
    const keys = known.entries.map((entry) => entry.key)
    const more = message.records.filter((one) => !keys.includes(formatEidPrefix(one.eidPrefix)))
    const reason = more.length === 0 ? 'none' : refusalFor({ ...message, records: more })
    if (reason !== 'none') {
      refuse(message, from, reason, outputs)
      return
    }
    for (const record of more) {
      const entry = database.getEid(eidFromPrefix(record.eidPrefix))!
      supersede(entry, outputs)
      departures.addEid(known, entry)
      known.records.set(entry.key, record)
      if (known.state === 'copying') continue
      if (config.mobility.redirect) redirect(entry, record, false, now, outputs)
      else entry.registering = false
    }
    if (known.state === 'copying') {
      for (const entry of namedIn(message)) copyOut(known, entry, outputs)
      departures.expectNews(known, now + leaseMs)
    }
    sendPrepared(message, from, now, outputs)
  }

  function refuse(message: MoveMessage, to: Rloc, reason: MoveReason, outputs: Output[]): void {
    const { moveId } = message
    exchange.answer(message, to, { phase: 'refused', moveId, reason }, outputs)
    report(outputs, 'move-refused', 'notice', { reason, moveId: moveName(moveId) })
  }

  function redirect(
    entry: DatabaseEntry,
    record: Mapping,
    committed: boolean,
    now: Instant,
    outputs: Output[],
  ): void {
    const options = { committed, mapVersion: record.mapVersion, release: false }
    etr.registrar.forget(entry)
    // Announced: it has no home here any more.
    if (!committed) entry.rootedAt = Number.POSITIVE_INFINITY
    placement.away(entry, record.locators, options, now, outputs)
    entry.solicitAfter = Number.POSITIVE_INFINITY
  }

  function supersede(entry: DatabaseEntry, outputs: Output[]): void {
    const former = departures.ofEntry(entry)
    if (!isUnderWay(former)) return
    if (former.state === 'copying')
      for (const one of former.entries) placement.endCopy(one, outputs)
    departures.end(former, 'superseded')
  }

  /** The entries of a message that was agreed to: each EID of it is known here. */
  function namedIn(message: MoveMessage): DatabaseEntry[] {
    return message.records.flatMap((one) => database.get(one.eidPrefix) ?? [])
  }

  function sendPrepared(message: MoveMessage, to: Rloc, now: Instant, outputs: Output[]): void {
    const locators = ownLocators(config)
    const named = namedIn(message)
    const mac = commonMac(named)
    const records = named.map((entry) => ownMapping(entry.eidPrefix, locators, 0, newest(entry)))
    const { moveId } = message
    const eids = named.map((entry) => entry.eid)
    const structuredRecords = parts.groupsOf(eids)
    const groups = structuredRecords.length === 0 ? {} : { structuredRecords }
    const senders = parts.senders.to(eids, MAXIMUM_NAMED_SENDERS, now)
    const content = { phase: 'prepared' as const, moveId, records, senders, ...groups }
    const known = mac === undefined ? {} : { endpointMac: mac }
    exchange.answer(message, to, { ...content, ...known }, outputs)
  }

  return { prepare, redirectAll, redirect }
}

/** The one MAC address of those of which it is known; undefined when they have several. */
function commonMac(entries: readonly DatabaseEntry[]): MacAddress | undefined {
  const known = new Map(entries.flatMap(({ mac }) => (mac ? [[formatMac(mac), mac] as const] : [])))
  return known.size === 1 ? [...known.values()][0] : undefined
}
