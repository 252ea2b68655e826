/**
 * The beginning of a move to here: who has the EIDs, holding them here, and the source's consent.
 *
 * An EID's source is named by who asks, known from our tables, or asked of the mapping system; what
 * was only known may be out of date, and is asked for when it turns out so. Packets are held before
 * the source redirects. "ready" is answered when every source has said "prepared". What comes of the
 * move then is decided in moves.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type Eid, formatEid } from '../../lisp/eid.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MoveMessage } from '../../lisp/message.js'
import type { Instant } from '../capabilities.js'
import type { CommandResult, MoveMode } from '../command.js'
import { namesUs } from '../control-datagram.js'
import { refusal } from '../etr/etr.js'
import { hear } from '../heard-version.js'
import type { Output } from '../input-output.js'
import { usableLocators } from '../itr/encapsulation-choice.js'
import { report } from '../outputs.js'
import {
  type Arrival,
  answerCommand,
  type Passenger,
  passengersFrom,
  recordsFor,
  sourcesOf,
} from './move-arrival.js'
import type { OnMoveAnswer } from './move-exchange.js'
import { moveView, stamp } from './move-log.js'
import { chooseMovePeer, noAnswer } from './move-objections.js'
import type { MoveParts } from './move-parts.js'
import type { MoveReturns } from './move-return.js'

export interface ArrivalPreparation {
  /** Locators of an EID by our own tables, possibly out of date; those that we can use. */
  knownLocators(eid: Eid, now: Instant): readonly Locator[]
  /** Begins; ends with `ready`, or with `fail`. */
  begin(arrival: Arrival, now: Instant, outputs: Output[]): void
}

export interface ArrivalPreparationCallbacks {
  fail(
    arrival: Arrival,
    result: CommandResult,
    reason: string,
    now: Instant,
    outputs: Output[],
  ): void
  /** Every source redirects, or copies when `isLive`. */
  ready(arrival: Arrival, isLive: boolean, now: Instant, outputs: Output[]): void
}

/** Three Map-Requests, at 0, 1 and 3 s. */
const LOCATE_MS = 4000
/** Senders remembered of one move. */
const MAXIMUM_SENDERS = 64

export function createArrivalPreparation(
  config: NodeConfig,
  parts: MoveParts,
  returns: MoveReturns,
  { fail, ready }: ArrivalPreparationCallbacks,
): ArrivalPreparation {
  const { database, itr, placement, smr, exchange } = parts

  function knownLocators(eid: Eid, now: Instant): readonly Locator[] {
    const entry = database.getEid(eid)
    const locators = entry?.state === 'away' ? entry.awayLocators : itr.knownLocators(eid, now)
    return usableLocators(config, locators)
  }

  function locate(arrival: Arrival, one: Passenger, now: Instant, outputs: Output[]): void {
    one.source = undefined
    one.guessed = false
    const onAnswer = (mapping: Mapping | undefined, then: Instant, more: Output[]): void => {
      if (arrival.phase !== 'locating') return
      if (mapping === undefined) {
        fail(
          arrival,
          refusal(504, 'mapping-system-silent', 'no Map-Resolver answered'),
          'no-reply',
          then,
          more,
        )
        return
      }
      const usable = usableLocators(config, mapping.locators)
      one.sourceLocators = usable
      one.source = usable.length === 0 ? 'none' : chooseMovePeer(config, usable)
      // Registered by us although it is not here: then there is nobody to ask.
      if (namesUs(config, mapping.locators)) one.source = 'none'
      if (one.source === undefined) {
        const where = usable.map((each) => formatIpAddress(each.rloc)).join(', ')
        fail(
          arrival,
          refusal(404, 'unknown-xtr', `${where} is not among mobility.peers`),
          'unknown-xtr',
          then,
          more,
        )
        return
      }
      prepareWhenLocated(arrival, then, more)
    }
    itr.question(one.eid, now + LOCATE_MS, onAnswer, now, outputs)
  }

  function prepareWhenLocated(arrival: Arrival, now: Instant, outputs: Output[]): void {
    if (arrival.phase !== 'locating') return
    if (arrival.passengers.some((one) => one.source === undefined)) return
    arrival.phase = 'preparing'
    const first = arrival.passengers.find((one) => one.source !== 'none')
    if (first?.source !== 'none') arrival.record.source = first?.source
    // Of a live move the source is told from others by the datapath: it may be another one now.
    for (const one of arrival.passengers)
      if (
        (one.entry === undefined || arrival.mode === 'live') &&
        !expect(one, arrival.mode, now, outputs)
      ) {
        fail(
          arrival,
          refusal(503, 'too-many-eids', 'no room for another EID'),
          'operator',
          now,
          outputs,
        )
        return
      }
    for (const source of sourcesOf(arrival)) prepare(arrival, source, now, outputs)
    readyWhenPrepared(arrival, now, outputs)
  }

  /** Holds what comes for it from now on. */
  function expect(one: Passenger, mode: MoveMode, now: Instant, outputs: Output[]): boolean {
    const interfaceName = database.dynamicPrefixOf(one.eid)!.interfaceName
    const entry = database.getEid(one.eid) ?? database.add(one.eid, 'standby', interfaceName, now)
    if (entry === undefined) return false
    one.entry = entry
    returns.expected(entry)
    smr.forget(entry)
    if (mode === 'live' && one.source !== undefined && one.source !== 'none')
      placement.standbyLive(entry, one.source, one.sourceLocators, now, outputs)
    else placement.standby(entry, now, outputs)
    return true
  }

  /** A source names one MAC address per message: what is on different segments here has several. */
  function perInterface(passengers: readonly Passenger[]): Passenger[][] {
    const groups = new Map<string, Passenger[]>()
    for (const one of passengers) {
      const name = database.dynamicPrefixOf(one.eid)!.interfaceName
      groups.set(name, [...(groups.get(name) ?? []), one])
    }
    return [...groups.values()]
  }

  function prepare(arrival: Arrival, source: Rloc, now: Instant, outputs: Output[]): void {
    const name = formatIpAddress(source)
    const passengers = passengersFrom(arrival, source)
    const phase = arrival.mode === 'live' ? ('prepare-live' as const) : ('prepare' as const)
    const contents = perInterface(passengers).map((some) => {
      const records = recordsFor(config, some).map((one) => ({ ...one, mapVersion: 0 }))
      return { phase, moveId: arrival.record.id, records }
    })
    const giveUpAt = now + config.mobility.endpointTimeoutMs
    const onAnswer: OnMoveAnswer = (answer, then, more, parcels) => {
      if (arrival.phase !== 'preparing') return
      if (answer === undefined) {
        const isKnown = passengers.every((one) => !one.named) || exchange.hasHeard(source)
        const result = noAnswer(config, name, isKnown)
        fail(arrival, result, 'source-unreachable', then, more)
      } else if (answer.phase === 'prepared') accept(arrival, source, answer, parcels, then, more)
      else if (answer.reason === 'not-local' && passengers.some((one) => one.guessed)) {
        arrival.phase = 'locating'
        for (const one of passengers) locate(arrival, one, then, more)
      } else {
        const message = `${name} refused: ${answer.reason}`
        report(more, 'move-refused', 'notice', {
          reason: answer.reason,
          moveId: arrival.record.name,
        })
        fail(arrival, refusal(409, 'source-refused', message), answer.reason, then, more)
      }
    }
    if (arrival.prepared.has(name)) return
    arrival.asked.set(name, source)
    exchange.ask(
      `prepare/${arrival.record.name}/${name}`,
      source,
      contents,
      giveUpAt,
      onAnswer,
      now,
      outputs,
    )
  }

  function accept(
    arrival: Arrival,
    source: Rloc,
    answer: MoveMessage,
    parcels: readonly MoveMessage[],
    now: Instant,
    outputs: Output[],
  ): void {
    for (const sender of answer.senders)
      if (arrival.senders.size < MAXIMUM_SENDERS)
        arrival.senders.set(formatIpAddress(sender), sender)
    const passengers = passengersFrom(arrival, source)
    for (const { endpointMac, records } of parcels) {
      const named = new Set(records.map((one) => formatEid(one.eidPrefix)))
      for (const one of passengers)
        if (named.has(formatEid(one.eid)) && endpointMac.some((byte) => byte !== 0))
          one.mac = endpointMac
    }
    for (const one of passengers) {
      const told = answer.records.find((each) => formatEid(each.eidPrefix) === formatEid(one.eid))
      if (told === undefined) continue
      if (told.locators.length > 0) one.sourceLocators = told.locators
      if (one.entry !== undefined) hear(one.entry, told.mapVersion)
    }
    const interfaces = new Set(passengers.flatMap(({ entry }) => entry?.interfaceName ?? []))
    const onFlow = (then: Instant, more: Output[]): void => {
      if (arrival.phase !== 'preparing') return
      arrival.prepared.add(formatIpAddress(source))
      readyWhenPrepared(arrival, then, more)
    }
    parts.expectGroups(answer.structuredRecords ?? [], [...interfaces], onFlow, now, outputs)
  }

  function readyWhenPrepared(arrival: Arrival, now: Instant, outputs: Output[]): void {
    const sources = sourcesOf(arrival)
    if (!sources.every((one) => arrival.prepared.has(formatIpAddress(one)))) return
    const { record } = arrival
    arrival.phase = 'ready'
    record.state = 'ready'
    const isLive = arrival.mode === 'live' && sources.length > 0
    if (sources.length > 0 && !isLive) {
      stamp(record, 'source-redirected', now)
      report(outputs, 'move-source-redirected', 'info', { moveId: record.name })
    }
    stamp(record, 'ready', now)
    report(outputs, 'move-prepared', 'notice', { moveId: record.name, sources: sources.length })
    answerCommand(arrival, { ok: true, value: moveView(record, now) }, outputs)
    ready(arrival, isLive, now, outputs)
  }

  return {
    knownLocators,
    begin(arrival, now, outputs) {
      for (const one of arrival.passengers)
        if (one.source === undefined) locate(arrival, one, now, outputs)
      prepareWhenLocated(arrival, now, outputs)
    },
  }
}
