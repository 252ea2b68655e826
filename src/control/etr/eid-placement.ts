/**
 * Moving one of our EIDs between its three places: here, expected here, gone elsewhere.
 *
 * The only file that writes local EIDs to the datapath, because the order of the two tables matters:
 * going away the map-cache learns the way before the local table points to it, and coming home the
 * endpoint is reachable before local senders are let through. When to do it is decided in etr.ts and
 * in the two sides of a move.
 */
import type { NodeConfig } from '../../config/node-config.js'
import type { MacAddress } from '../../lisp/address.js'
import { type Eid, formatEidPrefix, hostPrefix } from '../../lisp/eid.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { ownMapping } from '../control-datagram.js'
import type { Encapsulation, LocalMove } from '../datapath-operation.js'
import type { Output } from '../input-output.js'
import type { Itr } from '../itr/itr.js'
import { push } from '../outputs.js'

export interface EidPlacement {
  /** The endpoint is here: deliver, let everything held go, register from now on. */
  local(
    entry: DatabaseEntry,
    mac: MacAddress | undefined,
    interfaceName: string,
    now: Instant,
    outputs: Output[],
  ): void
  /** The endpoint is expected: hold what comes for it (unless holding is switched off). */
  standby(entry: DatabaseEntry, now: Instant, outputs: Output[]): void
  /** The endpoint runs here on and is to be at `encapsulation` soon: deliver, and copy to there. */
  copy(entry: DatabaseEntry, encapsulation: Encapsulation, leaseMs: number, outputs: Output[]): void
  /** What an earlier run had begun; to be followed by what puts the entry in its place. */
  restoreMove(entry: DatabaseEntry, move: LocalMove): void
  /** Copies no more. */
  endCopy(entry: DatabaseEntry, outputs: Output[]): void
  /**
   * The endpoint runs on at `peer` and is expected: what comes from there is held, as a window, and
   * all else goes on to `locators`.
   */
  standbyLive(
    entry: DatabaseEntry,
    peer: Rloc,
    locators: readonly Locator[],
    now: Instant,
    outputs: Output[],
  ): void
  /** It has stopped there; copies stamped before `cut` were seen by it. */
  markStopped(entry: DatabaseEntry, cut: number, outputs: Output[]): void
  /** The endpoint is at `locators`: re-encapsulate. Uncommitted = it may be taken back. */
  away(
    entry: DatabaseEntry,
    locators: readonly Locator[],
    options: {
      readonly committed: boolean
      readonly mapVersion: number
      readonly release: boolean
    },
    now: Instant,
    outputs: Output[],
  ): void
  /** Its departure is certain: from now on we answer ARP and ND in its place. */
  commit(entry: DatabaseEntry, outputs: Output[]): void
  /**
   * What is held for it is still leaving, so that the datapath has the present state only behind it;
   * at most `SETTLING_MS`, should the datapath never say.
   */
  isSettling(entry: DatabaseEntry, now: Instant): boolean
  /** A release that was asked for has ended. */
  released(eid: Eid): void
  /** Whether the datapath names the senders to static prefixes, too; on before these are put. */
  watchStatics(isWatching: boolean, outputs: Output[]): void
  /** Ours no longer, and nothing is known of it: packets to it are unknown, or resolved. */
  forget(entry: DatabaseEntry, outputs: Output[]): void
}

/** Told of every change, after it. */
export interface PlacementWatch {
  placed(entry: DatabaseEntry, now: Instant, outputs: Output[]): void
  forgotten(entry: DatabaseEntry, outputs: Output[]): void
}

/** Our choice: a full hold leaves in a tenth of it; a move waits for the end no longer than this. */
const SETTLING_MS = 1000
/** Stamps of the peer count so long after it was last told; less than it takes them to wrap. */
const STAMPS_MS = 30_000

interface Settling {
  releases: number
  until: Instant
}

export function createEidPlacement(
  config: NodeConfig,
  database: MappingDatabase,
  itr: Itr,
  watch: PlacementWatch,
): EidPlacement {
  /** By EID-prefix. */
  const settling = new Map<string, Settling>()
  let isWatchingStatics = false
  /** Live moves of EIDs, as the datapath was told; by EID-prefix. */
  const moving = new Map<string, LocalMove>()
  const restored = new Map<string, LocalMove>()

  /** Both tables release, and each says when it has done so. */
  function settle(entry: DatabaseEntry, now: Instant): void {
    const before = settling.get(entry.key)?.releases ?? 0
    settling.set(entry.key, { releases: before + 2, until: now + SETTLING_MS })
  }

  /** `change` of a live move to here, if there is one; a move from here is over. */
  function changeArrival(
    entry: DatabaseEntry,
    change: Partial<Pick<LocalMove & { kind: 'destination' }, 'passOn' | 'copies'>>,
  ): void {
    const move = moving.get(entry.key)
    const former = restored.get(entry.key)
    restored.delete(entry.key)
    if (former?.kind === 'destination') moving.set(entry.key, { ...former, ...change })
    else if (former !== undefined) moving.set(entry.key, former)
    else if (move?.kind === 'destination') moving.set(entry.key, { ...move, ...change })
    else moving.delete(entry.key)
  }

  function write(entry: DatabaseEntry, release: boolean, outputs: Output[]): void {
    const move = moving.get(entry.key)
    push(outputs, {
      kind: 'put-local-eid',
      eidPrefix: entry.eidPrefix,
      state: entry.state,
      interfaceName: entry.interfaceName,
      mac: entry.mac,
      dynamicPrefix: false,
      reportSenders: entry.state === 'local' && (isWatchingStatics || entry.kind === 'dynamic-eid'),
      // Uncommitted, the endpoint may still be on the segment and answers itself.
      ...(entry.committed ? {} : { proxyNeighbours: false }),
      ...(move === undefined ? {} : { move }),
      release: release ? [entry.eid] : [],
    })
  }

  return {
    local(entry, mac, interfaceName, now, outputs) {
      entry.state = 'local'
      entry.mac = mac
      entry.interfaceName = interfaceName
      entry.registering = true
      entry.awayLocators = []
      entry.committed = true
      entry.arrivedAt = now
      changeArrival(entry, { passOn: false })
      const release = entry.kind === 'dynamic-eid'
      if (release) settle(entry, now)
      write(entry, release, outputs)
      itr.putOwn(entry.eidPrefix, 'native', release ? [entry.eid] : [], now, outputs)
      watch.placed(entry, now, outputs)
    },
    standby(entry, now, outputs) {
      entry.state = 'standby'
      entry.registering = false
      entry.committed = true
      moving.delete(entry.key)
      if (config.mobility.hold) {
        write(entry, false, outputs)
        itr.putOwn(entry.eidPrefix, 'hold', [], now, outputs)
      } else push(outputs, { kind: 'delete-local-eid', eidPrefix: entry.eidPrefix })
      watch.placed(entry, now, outputs)
    },
    copy(entry, encapsulation, leaseMs, outputs) {
      moving.set(entry.key, { kind: 'source', encapsulation, leaseMs })
      write(entry, false, outputs)
    },
    restoreMove(entry, move) {
      restored.set(entry.key, move)
    },
    endCopy(entry, outputs) {
      if (moving.delete(entry.key)) write(entry, false, outputs)
    },
    standbyLive(entry, peer, locators, now, outputs) {
      entry.state = 'standby'
      entry.registering = false
      entry.committed = true
      const what = { leaseMs: STAMPS_MS, passOn: true, copies: 'all' } as const
      moving.set(entry.key, { kind: 'destination', peer, ...what })
      const mapping = ownMapping(entry.eidPrefix, locators, 0, entry.heardVersion)
      itr.putAway(mapping, [], now, outputs)
      write(entry, false, outputs)
    },
    markStopped(entry, cut, outputs) {
      changeArrival(entry, { passOn: false, copies: cut })
      write(entry, false, outputs)
    },
    away(entry, locators, options, now, outputs) {
      // What leaves here goes on being stamped; the copies that came here were seen at the source.
      if ((restored.get(entry.key) ?? moving.get(entry.key))?.kind === 'destination')
        changeArrival(entry, { passOn: false, copies: 'none' })
      entry.state = 'away'
      entry.registering = false
      entry.registeredAt = undefined
      entry.awayLocators = locators
      entry.committed = options.committed
      entry.departedAt = now
      const mapping = ownMapping(entry.eidPrefix, locators, 0, options.mapVersion)
      if (options.release) settle(entry, now)
      if (config.mobility.redirect)
        itr.putAway(mapping, options.release ? [entry.eid] : [], now, outputs)
      // The datapath names the sender all the same, and drops what it cannot send on.
      else itr.removeOwn(entry.eidPrefix, outputs)
      write(entry, options.release, outputs)
      watch.placed(entry, now, outputs)
    },
    commit(entry, outputs) {
      if (entry.committed) return
      entry.committed = true
      write(entry, false, outputs)
    },
    isSettling(entry, now) {
      const found = settling.get(entry.key)
      if (found !== undefined && found.until <= now) settling.delete(entry.key)
      return found !== undefined && found.until > now
    },
    released(eid) {
      const key = formatEidPrefix(hostPrefix(eid))
      const found = settling.get(key)
      if (found === undefined) return
      found.releases -= 1
      if (found.releases <= 0) settling.delete(key)
    },
    watchStatics(isWatching, outputs) {
      isWatchingStatics = isWatching
      if (isWatching) return
      for (const entry of database.entries())
        if (entry.kind === 'static') write(entry, false, outputs)
    },
    forget(entry, outputs) {
      settling.delete(entry.key)
      moving.delete(entry.key)
      database.remove(entry)
      push(outputs, { kind: 'delete-local-eid', eidPrefix: entry.eidPrefix })
      itr.removeOwn(entry.eidPrefix, outputs)
      watch.forgotten(entry, outputs)
    },
  }
}
