/**
 * The destination's side of a move, orchestrated or detected: expect, take, publish, watch it settle.
 *
 * An orchestrated move holds packets for the EIDs here, has the source redirect to us, says "ready",
 * and looks for the endpoint. The first frame of the endpoint is the turning point: held packets are
 * delivered in order, the EIDs are registered with the version after the one the source told, the
 * source is told to let go; so it is after a detected move, if we know where the EID was. Nothing is
 * published before (our choice: an attempt that fails leaves no trace in the mapping system). Without
 * the endpoint in time everything goes back, held packets included (move-return.ts).
 * Of a live move only the source's copies are held, and all else goes on to the source, until the
 * endpoint has stopped there: see live-arrivals.ts.
 * A move has converged when every sender that was solicited has been seen sending here directly.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress, formatMac, type MacAddress } from '../../lisp/address.js'
import { type Eid, formatEid } from '../../lisp/eid.js'
import { type Locator, locator, type Rloc } from '../../lisp/locator.js'
import { nextMapVersion } from '../../lisp/map-version.js'
import type { MoveMessage } from '../../lisp/message.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { Instant, Random } from '../capabilities.js'
import type { Command, CommandResult, MoveMode } from '../command.js'
import { createDeadlines, earliest } from '../deadlines.js'
import { refusal } from '../etr/etr.js'
import type { Output } from '../input-output.js'
import type { OfKind } from '../itr/itr.js'
import { report } from '../outputs.js'
import type { RisingCounter } from '../rising-counter.js'
import { createFailArrival } from './arrival-failure.js'
import { createArrivalPreparation } from './arrival-preparation.js'
import { createEndpointSearch } from './endpoint-search.js'
import { groupNewcomers, type Newcomer, tellFormerSite } from './former-site.js'
import { createLiveArrivals } from './live-arrivals.js'
import {
  type Arrival,
  answerCommand,
  type Passenger,
  passengersFrom,
  recordsFor,
  sourcesOf,
} from './move-arrival.js'
import { createMoveConvergence, type MoveConvergence } from './move-convergence.js'
import { moveView, stamp } from './move-log.js'
import { chooseMovePeer, objectionToMove } from './move-objections.js'
import type { MoveParts } from './move-parts.js'
import { createMoveReturns } from './move-return.js'
import type { MoveSource } from './move-source.js'
import { createSilentSource } from './silent-source.js'
import { createStrayRefusal } from './stray-answers.js'

export interface Moves {
  readonly convergence: MoveConvergence
  start(
    commandId: string,
    command: Extract<Command, { kind: 'start-move' }>,
    now: Instant,
    outputs: Output[],
  ): void
  /** As good as its first frame. Names the moves to here. */
  endpointRunning(eids: readonly Eid[], now: Instant, outputs: Output[]): string[]
  cancel(moveName: string, now: Instant, outputs: Output[]): CommandResult
  /** True when the frame belongs to a move that expects it, which is then done with. */
  handleLocalEidSeen(event: OfKind<'local-eid-seen'>, now: Instant, outputs: Output[]): boolean
  handleMacSeen(event: OfKind<'mac-seen'>, now: Instant, outputs: Output[]): boolean
  handleHoldReleased(eid: Eid, now: Instant): void
  /** True when it concerns a move to here. */
  handleQuestion(message: MoveMessage, from: Rloc, now: Instant, outputs: Output[]): boolean
  /** An EID came by itself; what that means is done by `endBatch`. */
  detected(entry: DatabaseEntry, former: readonly Locator[]): void
  /**
   * EIDs that came by themselves, together, with one MAC address, from one place, are one move. True
   * when where they were was known and told, of each.
   */
  endBatch(now: Instant, outputs: Output[]): boolean
  isMoving(eid: Eid): boolean
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** What a frame on our segment told of an endpoint; of which EID, if it said so. */
interface SeenFrame {
  readonly mac: MacAddress
  readonly interfaceName: string
  readonly eid: Eid | undefined
}

/** Moves to here under way at once. */
const MAXIMUM_ARRIVALS = 256
/** The confirmation is repeated so long. */
const CONFIRM_MS = 30_000

export function createMoves(
  config: NodeConfig,
  random: Random,
  counter: RisingCounter,
  parts: MoveParts,
  moveSource: MoveSource,
): Moves {
  const { database, placement, smr, etr, exchange, log } = parts
  const byEid = new Map<string, Arrival>()
  const byId = new Map<bigint, Arrival>()
  const deadlines = createDeadlines()
  const isMoving = (eid: Eid): boolean => byEid.has(formatEid(eid))
  const returns = createMoveReturns(parts, isMoving)
  const newcomers: Newcomer[] = []
  const convergence = createMoveConvergence()
  const refuseStray = createStrayRefusal(config, parts)
  const search = createEndpointSearch()
  const silent = createSilentSource(parts)
  const destination = config.rlocs[0]!.address
  const fail = createFailArrival(config, parts, returns, forget)
  const live = createLiveArrivals(config, parts, {
    fail,
    awaitEndpoint,
    recordsFor: (arrival, source) => recordsFor(config, passengersFrom(arrival, source)),
  })

  const preparation = createArrivalPreparation(config, parts, returns, {
    fail,
    ready(arrival, isLive, now, outputs) {
      if (isLive) live.begin(arrival, now)
      else awaitEndpoint(arrival, now, outputs)
    },
  })

  const newId = (outputs: Output[]): bigint =>
    (counter.next(outputs) << 32n) | (random.nonce() & 0xffff_ffffn)

  // -------------------------------------------------------------------- start

  function objection(eids: readonly Eid[], source: Rloc | undefined): CommandResult | undefined {
    const isMoving = (eid: Eid): boolean => byEid.has(formatEid(eid)) || moveSource.isMoving(eid)
    const found = objectionToMove(config, database, isMoving, eids, source)
    if (found === undefined && byId.size >= MAXIMUM_ARRIVALS)
      return refusal(503, 'too-many-moves', `${MAXIMUM_ARRIVALS} moves are under way`)
    return found
  }

  function begin(
    commandId: string,
    eids: readonly Eid[],
    source: Rloc | undefined,
    mode: MoveMode,
    now: Instant,
    outputs: Output[],
  ): void {
    const record = log.add(
      { id: newId(outputs), trigger: 'orchestrated', eids, source, destination },
      'preparing',
    )
    stamp(record, 'requested', now)
    const passengers = eids.map((eid): Passenger => {
      const known = source === undefined ? preparation.knownLocators(eid, now) : [locator(source)]
      return {
        eid,
        entry: undefined,
        source: source ?? chooseMovePeer(config, known),
        sourceLocators: known,
        named: source !== undefined,
        guessed: source === undefined,
        wasAway: returns.wasAway(database.getEid(eid)),
        mac: undefined,
      }
    })
    const arrival: Arrival = {
      record,
      passengers,
      commandId,
      phase: 'locating',
      asked: new Map(),
      prepared: new Set(),
      mode,
      senders: new Map(),
    }
    byId.set(record.id, arrival)
    for (const eid of eids) byEid.set(formatEid(eid), arrival)
    report(outputs, 'move-requested', 'notice', { moveId: record.name, eids: eids.map(formatEid) })
    preparation.begin(arrival, now, outputs)
  }

  function awaitEndpoint(arrival: Arrival, now: Instant, outputs: Output[]): void {
    const { name } = arrival.record
    deadlines.set(`endpoint/${name}`, now + config.mobility.endpointTimeoutMs)
    const placeOf = (eid: Eid): string => database.dynamicPrefixOf(eid)!.interfaceName
    const sought = arrival.passengers.map(({ eid }) => ({ eid, interfaceName: placeOf(eid) }))
    search.begin(name, sought, now, outputs)
  }

  // -------------------------------------------------------------------- the endpoint comes

  /** @param seen the frame that told of it; undefined when nothing was seen */
  function arrive(
    arrival: Arrival,
    seen: SeenFrame | undefined,
    how: string,
    now: Instant,
    outputs: Output[],
  ): void {
    const { record } = arrival
    arrival.phase = 'arrived'
    record.state = 'arrived'
    const entries: DatabaseEntry[] = []
    for (const one of arrival.passengers) {
      const interfaceName = database.dynamicPrefixOf(one.eid)!.interfaceName
      const entry =
        one.entry ?? database.getEid(one.eid) ?? database.add(one.eid, 'local', interfaceName, now)
      if (entry === undefined) continue
      one.entry = entry
      entries.push(entry)
      smr.forget(entry)
      returns.arrived(entry)
      entry.rootedAt = Number.NEGATIVE_INFINITY
      // Told by the source: the version after it is a claim that fences off whatever was before.
      entry.claimVersion = entry.heardVersion === 0 ? 0 : nextMapVersion(entry.heardVersion)
      const isIts = seen?.eid !== undefined && formatEid(seen.eid) === formatEid(one.eid)
      const near = seen?.interfaceName === interfaceName ? seen.mac : undefined
      const mac = isIts ? seen.mac : (one.mac ?? near)
      placement.local(entry, mac, interfaceName, now, outputs)
    }
    etr.registrar.register(entries, now, outputs)
    for (const source of sourcesOf(arrival)) confirm(arrival, source, now, outputs)
    stamp(record, 'endpoint-seen', now)
    report(outputs, 'move-endpoint-seen', 'notice', {
      moveId: record.name,
      how,
      mac: seen === undefined ? undefined : formatMac(seen.mac),
    })
    const locators = arrival.passengers.flatMap((one) => one.sourceLocators)
    convergence.watch(record, entries, locators, now)
    answerCommand(arrival, { ok: true, value: moveView(record, now) }, outputs)
    forget(arrival)
  }

  function confirm(arrival: Arrival, source: Rloc, now: Instant, outputs: Output[]): void {
    const name = formatIpAddress(source)
    exchange.abandon(`prepare/${arrival.record.name}/${name}`)
    const passengers = passengersFrom(arrival, source)
    const { record } = arrival
    const content = {
      phase: 'confirm' as const,
      moveId: record.id,
      records: recordsFor(config, passengers),
    }
    const left = {
      ...{ record, source, senders: [...arrival.senders.values()] },
      entries: passengers.flatMap(({ entry }) => entry ?? []),
      former: passengers.flatMap(({ sourceLocators }) => sourceLocators),
    }
    const onAnswer = (answer: MoveMessage | undefined, then: Instant): void => {
      if (answer !== undefined) silent.answered(record, source, then)
    }
    silent.asked(left, now)
    const key = `confirm/${record.name}/${name}`
    exchange.ask(key, source, content, now + CONFIRM_MS, onAnswer, now, outputs)
  }

  function forget(arrival: Arrival): void {
    deadlines.cancel(`endpoint/${arrival.record.name}`)
    live.end(arrival)
    search.end(arrival.record.name)
    byId.delete(arrival.record.id)
    for (const { eid } of arrival.passengers)
      if (byEid.get(formatEid(eid)) === arrival) byEid.delete(formatEid(eid))
  }

  const isExpecting = (arrival: Arrival | undefined): arrival is Arrival =>
    arrival !== undefined && arrival.phase !== 'over' && arrival.phase !== 'arrived'

  return {
    convergence,
    start(commandId, { eids, source, mode = 'switch' }, now, outputs) {
      const result = objection(eids, source)
      if (result !== undefined) outputs.push({ kind: 'result', commandId, result })
      else begin(commandId, eids, source, mode, now, outputs)
    },
    endpointRunning(eids, now, outputs) {
      const found = new Set(eids.map((eid) => byEid.get(formatEid(eid))).filter(isExpecting))
      for (const arrival of found) arrive(arrival, undefined, 'hypervisor', now, outputs)
      return [...found].map((arrival) => arrival.record.name)
    },
    cancel(moveName, now, outputs) {
      const record = log.byName(moveName)
      if (record === undefined) return refusal(404, 'no-such-move', `no move ${moveName}`)
      const arrival = byId.get(record.id)
      if (arrival === undefined)
        return refusal(
          409,
          'move-not-cancellable',
          `move ${moveName} is ${record.state} or leaves from here`,
        )
      const result = refusal(409, 'move-cancelled', `move ${moveName} was cancelled`)
      fail(arrival, result, 'operator', now, outputs)
      return { ok: true, value: moveView(record, now) }
    },
    handleLocalEidSeen(one, now, outputs) {
      const arrival = byEid.get(formatEid(one.eid))
      if (!isExpecting(arrival)) return false
      if (database.dynamicPrefixOf(one.eid)?.interfaceName !== one.interfaceName) return false
      arrive(arrival, one, one.how, now, outputs)
      return true
    },
    handleMacSeen(one, now, outputs) {
      const name = formatMac(one.mac)
      for (const arrival of new Set(byEid.values())) {
        if (!isExpecting(arrival)) continue
        const isOurs = arrival.passengers.some(
          ({ eid, mac }) =>
            mac !== undefined &&
            formatMac(mac) === name &&
            database.dynamicPrefixOf(eid)?.interfaceName === one.interfaceName,
        )
        if (!isOurs) continue
        const { mac, interfaceName } = one
        arrive(arrival, { mac, interfaceName, eid: undefined }, 'rarp', now, outputs)
        return true
      }
      return false
    },
    handleHoldReleased: returns.handleHoldReleased,
    handleQuestion(message, from, now, outputs) {
      if (message.phase === 'prepared') {
        if (!byId.has(message.moveId)) refuseStray(message, from, now, outputs)
        return true
      }
      const arrival = byId.get(message.moveId)
      if (message.phase === 'stopped') {
        if (isExpecting(arrival)) live.stopped(arrival, message, now, outputs)
      } else if (message.phase === 'solicited') convergence.solicited(message, now, outputs)
      else if (message.phase === 'cancel' && arrival !== undefined)
        fail(
          arrival,
          refusal(409, 'source-cancelled', message.reason),
          message.reason,
          now,
          outputs,
        )
      else return false
      exchange.answer(message, from, { phase: 'ack', moveId: message.moveId }, outputs)
      return true
    },
    detected(entry, former) {
      newcomers.push({ entry, former })
    },
    endBatch(now, outputs) {
      let allTold = true
      for (const group of groupNewcomers(newcomers.splice(0))) {
        const entries = group.map(({ entry }) => entry)
        const former = group.flatMap((one) => one.former)
        const eids = entries.map(({ eid }) => eid)
        const [id, source] = [newId(outputs), former[0]?.rloc]
        const record = log.add({ id, trigger: 'detected', eids, source, destination }, 'arrived')
        stamp(record, 'endpoint-seen', now)
        const left = { record, entries, former }
        const told = tellFormerSite(config, exchange, silent, left, now, outputs)
        allTold &&= told
        convergence.watch(record, entries, former, now)
      }
      return allTold
    },
    isMoving,
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const record = log.byName(key.slice(key.indexOf('/') + 1))
        const arrival = record === undefined ? undefined : byId.get(record.id)
        if (arrival?.phase !== 'ready') continue
        const result = refusal(504, 'endpoint-absent', 'the endpoint did not come')
        fail(arrival, result, 'endpoint-absent', now, outputs)
      }
      returns.handleDeadline(now, outputs)
      live.handleDeadline(now, outputs)
      search.handleDeadline(now, outputs)
      silent.handleDeadline(now, outputs)
      convergence.handleDeadline(now, outputs)
    },
    deadline: () =>
      earliest(
        deadlines.next(),
        returns.deadline(),
        live.deadline(),
        search.deadline(),
        silent.deadline(),
        convergence.deadline(),
      ),
  }
}
