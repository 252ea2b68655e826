/**
 * The source's side of an orchestrated move: stop delivering, redirect, and later let go or take back.
 *
 * On *prepare* packets for the EIDs are redirected to the destination, which holds them; the
 * endpoint's own packets still leave through us, and nothing is registered or announced. On *confirm*
 * the redirect is final; who still sends here is solicited and named to the destination. On *cancel*
 * everything is as before. Without news for twice the endpoint time-out the mapping system is asked:
 * if it still names us, the destination is gone and the EIDs are local again.
 */
import type { NodeConfig } from '../config/node-config.js'
import { equalIpAddresses, formatIpAddress } from '../lisp/address.js'
import {
  type Eid,
  eidFromPrefix,
  formatEid,
  formatEidPrefix,
  hostPrefix,
  isHostPrefix,
} from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import { isNewerMapVersion } from '../lisp/map-version.js'
import type { Mapping, StructuredMapping } from '../lisp/mapping.js'
import type { MoveMessage } from '../lisp/message.js'
import type { MoveReason } from '../lisp/move-phases.js'
import { stampOf } from '../lisp/move-stamp.js'
import type { DatabaseEntry, MappingDatabase } from '../tables/mapping-database.js'
import { namesUs, ownLocators, ownMapping, sourceRloc } from './control-datagram.js'
import { createDeadlines } from './deadlines.js'
import type { EidPlacement } from './eid-placement.js'
import { chooseEncapsulations, usableLocators } from './encapsulation-choice.js'
import type { Etr } from './etr.js'
import { hear } from './heard-version.js'
import type { Instant, Output } from './input-output.js'
import { report } from './installed-mappings.js'
import type { Itr } from './itr.js'
import { type Departure, isUnderWay, newest } from './move-departure.js'
import { hex, type MoveExchange } from './move-exchange.js'
import { isFinished, type MoveLog, moveName, stamp } from './move-log.js'
import type { Smr } from './smr.js'

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
  /** It runs here again: what is under way for it has failed. Names the moves taken back. */
  resumed(eids: readonly Eid[], now: Instant, outputs: Output[]): string[]
  /** Whether a move away from here is under way for it. */
  isMoving(eid: Eid): boolean
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

export interface MoveSourceParts {
  readonly database: MappingDatabase
  readonly itr: Itr
  readonly placement: EidPlacement
  readonly smr: Smr
  readonly etr: Etr
  readonly exchange: MoveExchange
  readonly log: MoveLog
  /** What the new site of these EIDs should know of groups. */
  groupsOf(eids: readonly Eid[]): readonly StructuredMapping[]
  /** The same, at the new site. */
  expectGroups(records: readonly StructuredMapping[], now: Instant, outputs: Output[]): void
}

/** The SMR waits so long for the Map-Notify, so that its receiver does not fetch the old mapping. */
const MAPPING_SYSTEM_MS = 100
/** Senders solicited within this are told in one message. */
const GATHER_MS = 20
const TELL_MS = 5000
const MAXIMUM_TOLD_SENDERS = 64
/** Moves away from here that are remembered, for late questions about them. */
const MAXIMUM_DEPARTURES = 1000
/** EIDs of which an ended attempt is remembered. */
const MAXIMUM_OVERTAKEN = 4096
const MAPPING_ANSWER_MS = 4000
/** Until then what the destination sends us may be from before it began to hold: a long round trip. */
const LAST_RETURN_MS = 200
const LAST_LIVE_RETURN_MS = 2000
/** Copying ends when the destination has not asked for it again so long. */
const LEASE_MS = 30_000
/** What the endpoint had not read when it stopped, and how late the news of the stop may be. */
const GUARD_MS = 50
/** The news of the stop is repeated so long; the first redirected packet says the same. */
const STOPPED_MS = 10_000

export function createMoveSource(config: NodeConfig, parts: MoveSourceParts): MoveSource {
  const { database, itr, placement, smr, etr, exchange, log } = parts
  const departures = new Map<bigint, Departure>()
  const byEid = new Map<string, Departure>()
  const deadlines = createDeadlines()
  /** By xTR-ID and EID-prefix: the latest attempt that ended without having been prepared here. */
  const overtaken = new Map<string, bigint>()

  /**
   * The end of an attempt may come before its beginning, which is then held up or held back. Move
   * IDs rise per destination (their counter is the high half), so what began no later is over too.
   */
  function noteEnd({ moveId, identity, records }: MoveMessage): void {
    for (const { eidPrefix } of records) {
      const key = `${hex(identity.xtrId)} ${formatEidPrefix(eidPrefix)}`
      const last = overtaken.get(key) ?? 0n
      overtaken.delete(key)
      overtaken.set(key, moveId > last ? moveId : last)
      if (overtaken.size > MAXIMUM_OVERTAKEN)
        for (const oldest of overtaken.keys()) if (overtaken.delete(oldest)) break
    }
  }

  function isOver({ moveId, identity, records }: MoveMessage): boolean {
    return records.some(({ eidPrefix }) => {
      const last = overtaken.get(`${hex(identity.xtrId)} ${formatEidPrefix(eidPrefix)}`)
      return last !== undefined && moveId <= last
    })
  }

  // -------------------------------------------------------------------- prepare

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
      const other = byEid.get(entry.key)
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
    const known = departures.get(message.moveId)
    if (isUnderWay(known)) {
      prepareMore(known, message, from, now, outputs)
      return
    }
    const reason = known !== undefined || isOver(message) ? 'superseded' : refusalFor(message)
    if (reason !== 'none') {
      refuse(message, from, reason, outputs)
      return
    }
    const entries = message.records.map((one) => database.getEid(eidFromPrefix(one.eidPrefix))!)
    for (const entry of entries) supersede(entry, outputs)
    const departure = remember(message, from, entries, now)
    begin(departure, message.phase === 'prepare-live', now, outputs)
    departure.record.state = 'ready'
    // After the operations above: "prepared" means that they are in the datapath.
    sendPrepared(departure, message, from, outputs)
  }

  function begin(departure: Departure, live: boolean, now: Instant, outputs: Output[]): void {
    const { name } = departure.record
    if (live) {
      departure.state = 'copying'
      for (const entry of departure.entries) copyOut(departure, entry, outputs)
      report(outputs, 'move-source-copying', 'info', { moveId: name })
      deadlines.set(`news/${name}`, now + LEASE_MS)
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
    deadlines.set(`news/${name}`, now + 2 * config.mobility.endpointTimeoutMs)
  }

  function copyOut(departure: Departure, entry: DatabaseEntry, outputs: Output[]): void {
    const { locators } = departure.records.get(entry.key)!
    const [first] = chooseEncapsulations(config, locators, () => false)
    if (first !== undefined) placement.copy(entry, first, LEASE_MS, outputs)
  }

  /**
   * The same attempt again: usually a repetition, but a destination that first looked for an EID
   * elsewhere asks for it with those it has asked for before.
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
      known.entries.push(entry)
      known.records.set(entry.key, record)
      byEid.set(entry.key, known)
      if (known.state === 'copying') copyOut(known, entry, outputs)
      else if (config.mobility.redirect) redirect(entry, record, false, now, outputs)
      else entry.registering = false
    }
    if (known.state === 'copying') {
      for (const entry of known.entries) copyOut(known, entry, outputs)
      deadlines.set(`news/${known.record.name}`, now + LEASE_MS)
    }
    sendPrepared(known, message, from, outputs)
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
    placement.away(entry, record.locators, options, now, outputs)
    entry.solicitAfter = Number.POSITIVE_INFINITY
  }

  function remember(
    message: MoveMessage,
    from: Rloc,
    entries: DatabaseEntry[],
    now: Instant,
  ): Departure {
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
      senders: new Map(),
      live: message.phase === 'prepare-live',
    }
    departures.set(message.moveId, departure)
    if (departures.size > MAXIMUM_DEPARTURES)
      for (const [id, oldest] of departures) if (!isUnderWay(oldest) && departures.delete(id)) break
    for (const entry of entries) byEid.set(entry.key, departure)
    return departure
  }

  function supersede(entry: DatabaseEntry, outputs: Output[]): void {
    const former = byEid.get(entry.key)
    if (!isUnderWay(former)) return
    if (former.state === 'copying')
      for (const one of former.entries) placement.endCopy(one, outputs)
    end(former, 'superseded')
  }

  function end(departure: Departure, reason: string): void {
    departure.state = 'over'
    deadlines.cancel(`news/${departure.record.name}`)
    departure.record.state = 'failed'
    departure.record.reason = reason
    for (const entry of departure.entries)
      if (byEid.get(entry.key) === departure) byEid.delete(entry.key)
  }

  function sendPrepared(
    departure: Departure,
    message: MoveMessage,
    to: Rloc,
    outputs: Output[],
  ): void {
    const locators = ownLocators(config)
    const mac = departure.entries.find((entry) => entry.mac !== undefined)?.mac
    const records = departure.entries.map((entry) =>
      ownMapping(entry.eidPrefix, locators, 0, newest(entry)),
    )
    const { moveId } = message
    const structuredRecords = parts.groupsOf(departure.entries.map((entry) => entry.eid))
    const groups = structuredRecords.length === 0 ? {} : { structuredRecords }
    const content = { phase: 'prepared' as const, moveId, records, ...groups }
    const known = mac === undefined ? {} : { endpointMac: mac }
    exchange.answer(message, to, { ...content, ...known }, outputs)
  }

  // -------------------------------------------------------------------- confirm, cancel

  function confirm(message: MoveMessage, from: Rloc, now: Instant, outputs: Output[]): void {
    const { moveId } = message
    const known = departures.get(moveId)
    noteEnd(message)
    if (known === undefined || isUnderWay(known)) {
      const gone: DatabaseEntry[] = []
      for (const record of message.records) {
        const entry = database.get(record.eidPrefix)
        if (entry !== undefined && commit(entry, record, known, now, outputs)) gone.push(entry)
      }
      if (known === undefined && gone.length > 0) {
        const departure = remember(message, from, gone, now)
        conclude(departure, now)
      } else if (known !== undefined) conclude(known, now)
    }
    exchange.answer(message, from, { phase: 'ack', moveId }, outputs)
  }

  /** Makes the departure of one EID final; false when the message is older than what we know. */
  function commit(
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
    if (entry.state === 'local') redirect(entry, record, true, now, outputs)
    etr.settleDeparture(entry, now + MAPPING_SYSTEM_MS, now, outputs)
    return true
  }

  function conclude(departure: Departure, now: Instant): void {
    departure.state = 'committed'
    departure.record.state = 'arrived'
    deadlines.cancel(`news/${departure.record.name}`)
    stamp(departure.record, 'endpoint-seen', now)
  }

  function cancel(message: MoveMessage, from: Rloc, now: Instant, outputs: Output[]): void {
    const { moveId } = message
    const known = departures.get(moveId)
    noteEnd(message)
    if (isUnderWay(known)) takeBack(known, message.reason, now, outputs)
    else if (known === undefined) takeBackForgotten(message, now, outputs)
    exchange.answer(message, from, { phase: 'ack', moveId }, outputs)
  }

  function takeBack(departure: Departure, reason: string, now: Instant, outputs: Output[]): void {
    const copying = departure.state === 'copying'
    end(departure, reason)
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
    for (const entry of mine) {
      smr.forget(entry)
      placement.local(entry, entry.mac, entry.interfaceName, now, outputs)
    }
    etr.registrar.register(mine, now, outputs)
  }

  /** A restart forgot the attempt, but the datapath still redirects to who cancels now. */
  function takeBackForgotten(message: MoveMessage, now: Instant, outputs: Output[]): void {
    const mine: DatabaseEntry[] = []
    for (const { eidPrefix, locators } of message.records) {
      const entry = database.get(eidPrefix)
      if (entry?.state === 'local' && !isUnderWay(byEid.get(entry.key)))
        placement.endCopy(entry, outputs)
      if (entry === undefined || entry.state !== 'away' || entry.committed) continue
      if (isUnderWay(byEid.get(entry.key))) continue
      if (locators.some((one) => leadsTo(entry, one.rloc))) mine.push(entry)
    }
    for (const entry of mine) {
      smr.forget(entry)
      placement.local(entry, entry.mac, entry.interfaceName, now, outputs)
    }
    if (mine.length > 0) etr.registrar.register(mine, now, outputs)
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
    const departure = byEid.get(entry.key)
    // The destination of a live move sends on what comes to it until it hears of the stop.
    const isLive = departure?.live === true
    if (now - entry.departedAt < (isLive ? LAST_LIVE_RETURN_MS : LAST_RETURN_MS)) return
    if (departure?.state === 'redirected') {
      takeBack(departure, 'returned', now, outputs)
      return
    }
    smr.forget(entry)
    placement.local(entry, entry.mac, entry.interfaceName, now, outputs)
    etr.registrar.register([entry], now, outputs)
  }

  /** The destination is silent: who has it, says the mapping system. */
  function seekNews(departure: Departure, now: Instant, outputs: Output[]): void {
    if (departure.state === 'copying') {
      takeBack(departure, 'lease-over', now, outputs)
      return
    }
    const entry = departure.entries[0]!
    const onAnswer = (mapping: Mapping | undefined, then: Instant, more: Output[]): void => {
      if (departure.state !== 'redirected') return
      const elsewhere =
        mapping !== undefined && mapping.locators.length > 0 && !namesUs(config, mapping.locators)
      if (mapping === undefined) {
        deadlines.set(`news/${departure.record.name}`, then + 2 * config.mobility.endpointTimeoutMs)
        return
      }
      if (!elsewhere) {
        takeBack(departure, 'endpoint-absent', then, more)
        return
      }
      for (const one of departure.entries) {
        hear(one, mapping.mapVersion)
        if (one.state === 'local') redirect(one, mapping, true, then, more)
        etr.settleDeparture(one, then, then, more)
      }
      conclude(departure, then)
    }
    itr.question(entry.eid, now + MAPPING_ANSWER_MS, onAnswer, now, outputs)
  }

  // -------------------------------------------------------------------- senders

  function tell(departure: Departure, now: Instant, outputs: Output[]): void {
    const { record, peer } = departure
    const senders = [...departure.senders.values()]
    const content = { phase: 'solicited' as const, moveId: record.id, senders }
    exchange.ask(`solicited/${record.name}`, peer, content, now + TELL_MS, () => {}, now, outputs)
  }

  function departuresOf(
    eids: readonly Eid[],
    which: (one: Departure | undefined) => boolean,
  ): Departure[] {
    const found = eids.map((eid) => byEid.get(formatEidPrefix(hostPrefix(eid))))
    return [...new Set(found)].filter((one): one is Departure => which(one))
  }

  return {
    handleQuestion(message, from, now, outputs) {
      if (message.phase === 'prepare' || message.phase === 'prepare-live')
        prepare(message, from, now, outputs)
      else if (message.phase === 'confirm') confirm(message, from, now, outputs)
      else cancel(message, from, now, outputs)
    },
    solicited(entry, sender, now, outputs) {
      const departure = byEid.get(entry.key)
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
      deadlines.set(`tell/${departure.record.name}`, now + GATHER_MS)
    },
    awayHit(eid, sender, now, outputs) {
      const entry = database.getEid(eid)
      if (entry !== undefined && sender !== undefined) takeBackReturned(entry, sender, now, outputs)
    },
    stopped(eids, agoMs, gone, now, outputs) {
      const found = departuresOf(eids, isUnderWay)
      for (const departure of found) {
        if (departure.state !== 'copying') continue
        redirectAll(departure, now, outputs)
        const { record, peer } = departure
        const content = {
          phase: 'stopped' as const,
          moveId: record.id,
          stamp: stampOf(Math.max(0, now - agoMs - GUARD_MS)),
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
    resumed(eids, now, outputs) {
      // What still copies was accepted after the endpoint last resumed: another attempt's failure.
      const found = departuresOf(eids, (one) => one?.state === 'redirected')
      for (const departure of found) {
        const { record, peer } = departure
        exchange.abandon(`stopped/${record.name}`)
        takeBack(departure, 'resumed', now, outputs)
        const content = { phase: 'cancel' as const, moveId: record.id, reason: 'operator' as const }
        exchange.ask(`resumed/${record.name}`, peer, content, now + TELL_MS, ignore, now, outputs)
      }
      return found.map((one) => one.record.name)
    },
    departed(entry, now) {
      const departure = byEid.get(entry.key)
      if (!isUnderWay(departure)) return
      if (departure.entries.every((one) => one.state === 'away' && one.committed))
        conclude(departure, now)
    },
    isMoving: (eid) => {
      const entry = database.getEid(eid)
      return entry !== undefined && isUnderWay(byEid.get(entry.key))
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const record = log.byName(key.slice(key.indexOf('/') + 1))
        const departure = record === undefined ? undefined : departures.get(record.id)
        if (departure === undefined) continue
        if (key.startsWith('tell/')) tell(departure, now, outputs)
        else if (!isFinished(departure.record)) seekNews(departure, now, outputs)
      }
    },
    deadline: () => deadlines.next(),
  }
}

/** Repeated until answered; what the answer says changes nothing. */
function ignore(): void {}
