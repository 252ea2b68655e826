/**
 * A move to here as plain data: its EIDs, where each comes from, how far it has got.
 *
 * What happens to it is decided in moves.ts. EIDs of one move may come from several sources.
 */

import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses, formatIpAddress, type MacAddress } from '../../lisp/address.js'
import { type Eid, hostPrefix } from '../../lisp/eid.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { CommandResult, MoveMode } from '../command.js'
import { ownLocators, ownMapping } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import type { MoveRecord } from './move-log.js'

/** One EID of a move and where it comes from. */
export interface Passenger {
  readonly eid: Eid
  entry: DatabaseEntry | undefined
  /** Undefined until it is known, 'none' when it is registered nowhere. */
  source: Rloc | 'none' | undefined
  sourceLocators: readonly Locator[]
  /** The source was named by who asked for the move. */
  readonly named: boolean
  /** The source was read from our own tables, which may be out of date. */
  guessed: boolean
  wasAway: boolean
  /** Of the interface that has this EID, as far as the source knows it. */
  mac: MacAddress | undefined
}

/** A move to here, as long as it is under way. */
export interface Arrival {
  readonly record: MoveRecord
  readonly passengers: readonly Passenger[]
  commandId: string | undefined
  phase: 'locating' | 'preparing' | 'ready' | 'arrived' | 'over'
  /** Sources that have been asked for any of its EIDs, by name. */
  readonly asked: Map<string, Rloc>
  /** Sources that have redirected, by name. */
  readonly prepared: Set<string>
  readonly mode: MoveMode
  /** Who sent to its EIDs lately, as their sources say; by name. */
  readonly senders: Map<string, Rloc>
}

/** The xTRs that the EIDs come from, each once. */
export function sourcesOf(arrival: Arrival): Rloc[] {
  const found = new Map<string, Rloc>()
  for (const { source } of arrival.passengers)
    if (source !== undefined && source !== 'none') found.set(formatIpAddress(source), source)
  return [...found.values()]
}

/** Those that come from `source`. */
export function passengersFrom(arrival: Arrival, source: Rloc): Passenger[] {
  return arrival.passengers.filter(
    (one) =>
      one.source !== undefined && one.source !== 'none' && equalIpAddresses(one.source, source),
  )
}

/** The records of a Move message: each EID with our locators and the version that we would claim. */
export function recordsFor(config: NodeConfig, passengers: readonly Passenger[]): Mapping[] {
  const locators = ownLocators(config)
  const ttlMinutes = config.mapServers[0]?.ttlMinutes ?? 0
  return passengers.map((one) =>
    ownMapping(hostPrefix(one.eid), locators, ttlMinutes, one.entry?.claimVersion ?? 0),
  )
}

/** Answers who asked for the move, once. */
export function answerCommand(arrival: Arrival, result: CommandResult, outputs: Output[]): void {
  if (arrival.commandId === undefined) return
  outputs.push({ kind: 'result', commandId: arrival.commandId, result })
  arrival.commandId = undefined
}
