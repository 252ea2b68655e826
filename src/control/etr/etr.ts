/**
 * The ETR: which EIDs are here, how they come by themselves, and how we learn that they have left.
 *
 * Supported standards: RFC 9301 §5.7 (Map-Notify, Map-Notify-Ack), §8.2; EID mobility with dynamic
 * EIDs as drafted for LISP; RFC 9302 for the order of claims.
 * A fresh frame of an EID inside a dynamic-EID prefix is an arrival: deliver, then register with the
 * null version. A Map-Notify that names another place is a departure: redirect, tell the segment, and
 * believe frames of that EID again only after 300 ms (stragglers). Frames that never cease mean that
 * there are two of it: they are believed ever more slowly, while an endpoint that left and comes back
 * was silent here meanwhile and is believed at once, however often it moves. Where it was rooted (here
 * for a minute, or brought by an orchestrated move) it is asked for when somebody else claims it, and
 * believed each time: a forger elsewhere is slowed down, who is at home is not. Orchestrated moves are in
 * moves.ts; Map-Registers and their repetition in registrar.ts; what a Map-Notify says and whether it
 * counts in notify-reception.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress, formatMac, type MacAddress } from '../../lisp/address.js'
import {
  coversPrefix,
  type Eid,
  type EidPrefix,
  eidFromPrefix,
  formatEid,
  formatEidPrefix,
  isHostPrefix,
} from '../../lisp/eid.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import { nextMapVersion } from '../../lisp/map-version.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MapNotify } from '../../lisp/message.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Capabilities, Instant } from '../capabilities.js'
import type { CommandResult } from '../command.js'
import { createDeadlines, earliest } from '../deadlines.js'
import { hear } from '../heard-version.js'
import type { Output } from '../input-output.js'
import type { Itr, OfKind } from '../itr/itr.js'
import { push, report } from '../outputs.js'
import type { RisingCounter } from '../rising-counter.js'
import type { StoredRecord } from '../stored-record.js'
import type { EidPlacement } from './eid-placement.js'
import { createNotifyReception } from './notify-reception.js'
import { createRegistrar, type Registrar } from './registrar.js'
import type { Smr } from './smr.js'

export interface EtrCallbacks {
  /** An EID came without a prepared move; `former` is where it was thought to be. */
  arrived(entry: DatabaseEntry, former: readonly Locator[]): void
  /** A Map-Server holds our mapping of it. */
  registered(entry: DatabaseEntry, now: Instant, outputs: Output[]): void
  /** The mapping system says it is elsewhere for good. */
  departed(entry: DatabaseEntry, now: Instant, outputs: Output[]): void
  /** However it was known: an EID of ours is elsewhere for good. */
  left?(entry: DatabaseEntry, now: Instant, outputs: Output[]): void
}

/** The parts of an xTR that share its EIDs. */
export interface EtrParts {
  readonly database: MappingDatabase
  readonly itr: Itr
  readonly placement: EidPlacement
  readonly smr: Smr
  readonly nonces: RisingCounter
}

export interface Etr {
  readonly registrar: Registrar
  /** Puts the configured prefixes in the datapath and begins to register. */
  start(now: Instant, outputs: Output[]): void
  handleLocalEidSeen(event: OfKind<'local-eid-seen'>, now: Instant, outputs: Output[]): void
  handleMacSeen(event: OfKind<'mac-seen'>, now: Instant, outputs: Output[]): void
  handleNotify(
    notify: MapNotify,
    bytes: Uint8Array,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): void
  /** It is elsewhere for good: SMRs from `solicitAfter` on, ageing, the segment is told. */
  settleDeparture(
    entry: DatabaseEntry,
    solicitAfter: Instant,
    now: Instant,
    outputs: Output[],
  ): void
  /** Keeps an away entry that a move had touched until it is unused. */
  keepAway(entry: DatabaseEntry, now: Instant): void
  add(eidPrefix: EidPrefix, interfaceName: string, now: Instant, outputs: Output[]): CommandResult
  remove(eidPrefix: EidPrefix, now: Instant, outputs: Output[]): CommandResult
  /** Withdraws everything registered outside of `keeping`, for an orderly end; how many EID-prefixes. */
  withdrawAll(keeping: readonly EidPrefix[], now: Instant, outputs: Output[]): number
  restoreNonces(records: readonly StoredRecord[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** Our choice: frames that were on their way when the EID left are no arrival. */
const STRAGGLER_MS = 300
/** An endpoint that has left says nothing here for so long; one that is still here hardly can. */
const SILENCE_MS = 1000
/** Our choice: who is here for so long is at home. */
const ROOTED_MS = 60_000
/** Who is back this soon had not left: it stays at home. */
const KEPT_MS = 2000
/** Evidence this fresh entitles to claim against a refusal. */
const STRONG_EVIDENCE_MS = 3000
const CONFLICT_WINDOW_MS = 60_000
const MAXIMUM_BACK_OFF_MS = 60_000
const DEFAULT_TTL_MINUTES = 15

export function createEtr(
  config: NodeConfig,
  capabilities: Capabilities,
  parts: EtrParts,
  callbacks: EtrCallbacks,
): Etr {
  const { database, itr, placement, smr, nonces } = parts
  const deadlines = createDeadlines()
  const registrar = createRegistrar(config, capabilities, database, nonces, {
    acknowledged(entry, now, outputs) {
      report(outputs, 'registration-acknowledged', 'info', {
        eidPrefix: entry.key,
        mapVersion: entry.grantedVersion,
      })
      callbacks.registered(entry, now, outputs)
    },
    refused: handleRefusal,
  })
  const notified = createNotifyReception(config, capabilities, parts, registrar, {
    depart,
    settleDeparture(entry, now, outputs) {
      settleDeparture(entry, now, now, outputs)
      callbacks.departed(entry, now, outputs)
    },
  })

  // -------------------------------------------------------------------- arrivals

  function arrive(
    eid: Eid,
    mac: MacAddress | undefined,
    interfaceName: string,
    how: string,
    now: Instant,
    outputs: Output[],
  ): void {
    const entry = database.getEid(eid) ?? database.add(eid, 'local', interfaceName, now)
    if (entry === undefined) {
      ignoreFrame(eid, 'too-many-eids', outputs)
      return
    }
    const former = entry.state === 'away' ? entry.awayLocators : itr.knownLocators(eid, now)
    if (entry.heardVersion === 0) hear(entry, itr.knownVersion(eid, now))
    smr.forget(entry)
    deadlines.cancel(`age/${entry.key}`)
    const isKept = isRooted(entry) && now - entry.departedAt < KEPT_MS
    if (!isKept) entry.rootedAt = now
    // Null version: nobody told us one, and the Map-Server orders such claims by arrival.
    entry.claimVersion = 0
    placement.local(entry, mac, interfaceName, now, outputs)
    // An endpoint has several EIDs, and its first frames come together.
    registrar.gather(entry)
    report(outputs, 'eid-arrived', 'notice', {
      reason: how,
      eid: formatEid(eid),
      interfaceName,
      ...(mac === undefined ? {} : { mac: formatMac(mac) }),
    })
    callbacks.arrived(entry, former)
  }

  function ignoreFrame(eid: Eid, reason: string, outputs: Output[]): void {
    report(outputs, 'datagram-ignored', 'debug', { reason, eid: formatEid(eid) })
  }

  /** Whether a frame of an EID that left is a return; frames that are not are remembered. */
  function isReturn(entry: DatabaseEntry, now: Instant, outputs: Output[]): boolean {
    const contested = now - entry.strayFrameAt < SILENCE_MS
    const recent = now - entry.lastConflictAt < CONFLICT_WINDOW_MS
    const isSlow = contested && recent && !isRooted(entry)
    const quietMs = isSlow ? backOffMs(entry.conflicts) : STRAGGLER_MS
    if (now - entry.departedAt < quietMs) {
      entry.strayFrameAt = now
      ignoreFrame(entry.eid, 'straggler', outputs)
      return false
    }
    if (contested) countConflict(entry, now, outputs)
    entry.strayFrameAt = Number.NEGATIVE_INFINITY
    return true
  }

  /** Whether it was at home here when it left. */
  function isRooted(entry: DatabaseEntry): boolean {
    return entry.departedAt - entry.rootedAt >= ROOTED_MS
  }

  function countConflict(entry: DatabaseEntry, now: Instant, outputs: Output[]): void {
    entry.conflicts = now - entry.lastConflictAt < CONFLICT_WINDOW_MS ? entry.conflicts + 1 : 1
    entry.lastConflictAt = now
    const severity = entry.conflicts > 1 ? 'warning' : 'notice'
    report(outputs, 'eid-conflict', severity, {
      eid: formatEid(entry.eid),
      conflicts: entry.conflicts,
    })
  }

  // -------------------------------------------------------------------- departures

  function depart(entry: DatabaseEntry, record: Mapping, now: Instant, outputs: Output[]): void {
    hear(entry, record.mapVersion)
    registrar.forget(entry)
    const options = { committed: true, mapVersion: record.mapVersion, release: true }
    placement.away(entry, record.locators, options, now, outputs)
    settleDeparture(entry, now, now, outputs)
    callbacks.departed(entry, now, outputs)
  }

  function settleDeparture(
    entry: DatabaseEntry,
    solicitAfter: Instant,
    now: Instant,
    outputs: Output[],
  ): void {
    placement.commit(entry, outputs)
    entry.departedAt = now
    entry.solicitAfter = solicitAfter
    deadlines.cancel(`claim/${entry.key}`)
    registrar.forget(entry)
    smr.departed(entry)
    if (isRooted(entry)) deadlines.set(`ask/${entry.key}`, now + STRAGGLER_MS)
    push(outputs, { kind: 'announce-gateway', eid: entry.eid, interfaceName: entry.interfaceName })
    report(outputs, 'eid-departed', 'notice', {
      eid: formatEid(entry.eid),
      locators: entry.awayLocators.map((one) => formatIpAddress(one.rloc)),
    })
    keepAway(entry, now)
    callbacks.left?.(entry, now, outputs)
  }

  function keepAway(entry: DatabaseEntry, now: Instant): void {
    const ttlMinutes = config.mapServers[0]?.ttlMinutes ?? DEFAULT_TTL_MINUTES
    deadlines.set(`age/${entry.key}`, now + Math.max(ttlMinutes * 60_000, config.mobility.awayMs))
  }

  /** A sender may still use our old mapping until its TTL, and as long as it does we redirect. */
  function age(entry: DatabaseEntry, now: Instant, outputs: Output[]): void {
    const idleUntil = entry.lastHitAt + config.mobility.awayMs
    if (entry.state !== 'away' || !entry.committed) return
    if (idleUntil > now) deadlines.set(`age/${entry.key}`, idleUntil)
    else {
      smr.forget(entry)
      placement.forget(entry, outputs)
      report(outputs, 'eid-removed', 'info', { reason: 'aged', eid: formatEid(entry.eid) })
    }
  }

  /** If somebody else only said so, it is here still and answers. */
  function ask({ eid, interfaceName, state }: DatabaseEntry, outputs: Output[]): void {
    if (state === 'away') push(outputs, { kind: 'solicit-endpoint', eid, interfaceName })
  }

  function handleRefusal(
    entry: DatabaseEntry,
    current: Mapping,
    now: Instant,
    outputs: Output[],
  ): void {
    hear(entry, current.mapVersion)
    report(outputs, 'registration-refused', 'warning', {
      eidPrefix: entry.key,
      mapVersion: current.mapVersion,
      locators: current.locators.map((one) => formatIpAddress(one.rloc)),
    })
    if (now - entry.arrivedAt > STRONG_EVIDENCE_MS && entry.kind === 'dynamic-eid') {
      if (current.locators.length > 0) depart(entry, current, now, outputs)
      return
    }
    countConflict(entry, now, outputs)
    entry.claimVersion = nextMapVersion(entry.heardVersion)
    const backOff = entry.conflicts < 2 ? 0 : backOffMs(entry.conflicts - 1)
    if (backOff === 0) registrar.register([entry], now, outputs)
    else deadlines.set(`claim/${entry.key}`, now + backOff)
  }

  function isRegistered(entry: DatabaseEntry): boolean {
    return entry.state === 'local' && entry.registering
  }

  return {
    registrar,
    start(now, outputs) {
      for (const { eidPrefix, interfaceName } of config.dynamicEidPrefixes)
        push(outputs, {
          kind: 'put-local-eid',
          eidPrefix,
          state: 'local',
          interfaceName,
          mac: undefined,
          dynamicPrefix: true,
          reportSenders: false,
          release: [],
        })
      const statics = [...database.entries()].filter((entry) => entry.kind === 'static')
      for (const entry of statics)
        placement.local(entry, undefined, entry.interfaceName, now, outputs)
      registrar.register(statics, now, outputs)
      registrar.start(now)
    },
    handleLocalEidSeen(one, now, outputs) {
      const allowed = database.dynamicPrefixOf(one.eid)
      if (allowed === undefined) return ignoreFrame(one.eid, 'eid-not-allowed', outputs)
      if (allowed.interfaceName !== one.interfaceName)
        return ignoreFrame(one.eid, 'wrong-interface', outputs)
      const entry = database.getEid(one.eid)
      if (entry?.kind === 'static') return ignoreFrame(one.eid, 'static-prefix', outputs)
      if (entry?.state === 'away' && !entry.committed)
        return ignoreFrame(one.eid, 'redirected', outputs)
      if (entry?.state === 'away' && !isReturn(entry, now, outputs)) return
      if (entry?.state === 'local') {
        // Same site, other port or other MAC: deliver there; nothing to register.
        if (entry.mac === undefined || formatMac(entry.mac) !== formatMac(one.mac))
          placement.local(entry, one.mac, one.interfaceName, now, outputs)
        return
      }
      arrive(one.eid, one.mac, one.interfaceName, one.how, now, outputs)
    },
    handleMacSeen(one, now, outputs) {
      const name = formatMac(one.mac)
      for (const entry of [...database.entries()])
        if (
          entry.state === 'away' &&
          entry.committed &&
          entry.interfaceName === one.interfaceName &&
          entry.mac !== undefined &&
          formatMac(entry.mac) === name &&
          isReturn(entry, now, outputs)
        )
          arrive(entry.eid, one.mac, one.interfaceName, 'rarp', now, outputs)
    },
    handleNotify: notified.handle,
    settleDeparture,
    keepAway,
    add(eidPrefix, interfaceName, now, outputs) {
      const eid = eidFromPrefix(eidPrefix)
      const allowed = isHostPrefix(eidPrefix) ? database.dynamicPrefixOf(eid) : undefined
      if (allowed === undefined || allowed.interfaceName !== interfaceName)
        return refusal(
          400,
          'eid-not-allowed',
          `${formatEidPrefix(eidPrefix)} on ${interfaceName} is in no dynamic-EID prefix`,
        )
      if (database.getEid(eid)?.state === 'local')
        return refusal(409, 'already-local', `${formatEid(eid)} is here already`)
      arrive(eid, undefined, interfaceName, 'operator', now, outputs)
      return { ok: true, value: { eidPrefix: formatEidPrefix(eidPrefix), state: 'local' } }
    },
    remove(eidPrefix, now, outputs) {
      const entry = database.get(eidPrefix)
      if (entry === undefined || entry.kind === 'static')
        return refusal(
          404,
          'no-such-eid',
          `${formatEidPrefix(eidPrefix)} is no dynamic EID of ours`,
        )
      if (entry.state === 'standby' || !entry.committed)
        return refusal(409, 'move-in-progress', `${entry.key} is being moved`)
      if (isRegistered(entry)) registrar.withdraw([entry], now, outputs)
      registrar.forget(entry)
      smr.forget(entry)
      placement.forget(entry, outputs)
      report(outputs, 'eid-removed', 'notice', { reason: 'operator', eid: formatEid(entry.eid) })
      return { ok: true, value: { eidPrefix: entry.key } }
    },
    withdrawAll(keeping, now, outputs) {
      const stays = (entry: DatabaseEntry): boolean =>
        keeping.some((one) => coversPrefix(one, entry.eidPrefix))
      const entries = [...database.entries()].filter((one) => isRegistered(one) && !stays(one))
      registrar.withdraw(entries, now, outputs)
      return entries.length
    },
    restoreNonces: notified.restoreNonces,
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const entry = database.byKey(key.slice(key.indexOf('/') + 1))
        if (entry === undefined) continue
        if (key.startsWith('age/')) age(entry, now, outputs)
        else if (key.startsWith('ask/')) ask(entry, outputs)
        else if (entry.registering) registrar.register([entry], now, outputs)
      }
      registrar.handleDeadline(now, outputs)
    },
    deadline: () => earliest(deadlines.next(), registrar.deadline()),
  }
}

export function refusal(status: number, code: string, message: string): CommandResult {
  return { ok: false, status, code, message }
}

/** How long claims that contradict each other are held back: 1, 2, 4 … 60 s. */
function backOffMs(conflicts: number): number {
  return conflicts < 1 ? STRAGGLER_MS : Math.min(1000 * 2 ** (conflicts - 1), MAXIMUM_BACK_OFF_MS)
}
