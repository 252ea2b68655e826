/**
 * What to make of the EIDs that an earlier run of this node left in the datapath.
 *
 * The datapath forwarded on meanwhile, but the world may have moved: an EID that was here may have
 * been claimed elsewhere, a move may have ended either way. So each is put back as it was, the
 * mapping system is asked, and its answer decides; without an answer what was here is registered
 * again. An EID that was expected is expected for one endpoint time-out more.
 */
import type { NodeConfig } from '../../config/node-config.js'
import {
  type EidPrefix,
  eidFromPrefix,
  formatEid,
  formatEidPrefix,
  isHostPrefix,
} from '../../lisp/eid.js'
import { type Locator, locator } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { namesUs } from '../control-datagram.js'
import type { LocalMove } from '../datapath-operation.js'
import { earliest } from '../deadlines.js'
import { hear } from '../heard-version.js'
import type { Output } from '../input-output.js'
import type { Itr } from '../itr/itr.js'
import { push, report } from '../outputs.js'
import type { RestoredState } from '../restored-state.js'
import type { EidPlacement } from './eid-placement.js'
import type { Etr } from './etr.js'

export interface RestoredEids {
  restore(state: RestoredState, now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

export interface RestoredEidParts {
  readonly database: MappingDatabase
  readonly itr: Itr
  readonly placement: EidPlacement
  readonly etr: Etr
  /** Whether a move to or from here has the EID in its hands. */
  readonly isMoving: (entry: DatabaseEntry) => boolean
  /** Locators of ours in the run before: what names them is no word about another place. */
  readonly wasOurs: (locators: readonly Locator[]) => boolean
}

interface Pending {
  readonly state: DatabaseEntry['state']
  readonly committed: boolean
  readonly at: Instant
}

/** Long enough for one repetition of the question; the registration of an earlier run still stands. */
const ANSWER_MS = 1500
/** Our choice: as patient as with a Map-Server that does not answer. */
const ASK_AGAIN_MS = 1000

export function createRestoredEids(config: NodeConfig, parts: RestoredEidParts): RestoredEids {
  const { database, itr, placement, etr, isMoving, wasOurs } = parts
  /** EIDs to ask for at a later moment, unless they have changed by then. */
  const pending = new Map<DatabaseEntry, Pending>()

  function decide(
    entry: DatabaseEntry,
    mapping: Mapping | undefined,
    now: Instant,
    outputs: Output[],
  ): void {
    // Meanwhile the endpoint was seen, or a move took it over: that is newer than any answer.
    if (database.byKey(entry.key) !== entry || isMoving(entry)) return
    // A redirect may be that of a move which is not over: nobody but the mapping system can tell.
    if (mapping === undefined && entry.state === 'away') {
      pending.set(entry, { state: 'away', committed: entry.committed, at: now + ASK_AGAIN_MS })
      return
    }
    const isOurs = (set: readonly Locator[]): boolean => namesUs(config, set) || wasOurs(set)
    const elsewhere =
      mapping !== undefined && mapping.locators.length > 0 && !isOurs(mapping.locators)
    if (mapping !== undefined && elsewhere) {
      hear(entry, mapping.mapVersion)
      const options = { committed: true, mapVersion: mapping.mapVersion, release: true }
      placement.away(entry, mapping.locators, options, now, outputs)
      etr.settleDeparture(entry, now, now, outputs)
      return
    }
    const ours = mapping !== undefined && mapping.locators.length > 0
    if (ours) entry.claimVersion = mapping.mapVersion
    if (entry.state === 'local') etr.registrar.register([entry], now, outputs)
    else if (ours) {
      placement.local(entry, entry.mac, entry.interfaceName, now, outputs)
      etr.registrar.register([entry], now, outputs)
    } else if (entry.state === 'standby') {
      placement.forget(entry, outputs)
      itr.dropHeld(entry.eid, 'endpoint-absent', outputs)
      report(outputs, 'eid-removed', 'notice', {
        reason: 'endpoint-absent',
        eid: formatEid(entry.eid),
      })
    } else etr.settleDeparture(entry, now, now, outputs)
  }

  function ask(entry: DatabaseEntry, now: Instant, outputs: Output[]): void {
    const before = entry.state
    const answer = (mapping: Mapping | undefined, then: Instant, more: Output[]): void => {
      if (entry.state === before) decide(entry, mapping, then, more)
    }
    itr.question(entry.eid, now + ANSWER_MS, answer, now, outputs)
  }

  /**
   * The source of a live move copies on: its copies are a window again, and are dropped when the
   * endpoint turns out not to come. Sent back to the source they would be copied to here again.
   */
  function expectLive(
    entry: DatabaseEntry,
    { peer, passOn, copies }: LocalMove & { kind: 'destination' },
    state: RestoredState,
    now: Instant,
    outputs: Output[],
  ): void {
    const known = cachedLocators(entry.eidPrefix, state)
    const locators = known.length > 0 ? known : [locator(peer)]
    placement.standbyLive(entry, peer, locators, now, outputs)
    if (!passOn && typeof copies === 'number') placement.markStopped(entry, copies, outputs)
  }

  function restoreOne(
    one: RestoredState['localEids'][number],
    state: RestoredState,
    now: Instant,
    outputs: Output[],
  ): void {
    const eid = eidFromPrefix(one.eidPrefix)
    if (database.get(one.eidPrefix) !== undefined) return
    const configured = config.dynamicEidPrefixes.some(
      (other) => formatEidPrefix(other.eidPrefix) === formatEidPrefix(one.eidPrefix),
    )
    if (configured) return
    const allowed = isHostPrefix(one.eidPrefix) && database.dynamicPrefixOf(eid) !== undefined
    const entry = allowed ? database.add(eid, one.state, one.interfaceName, now) : undefined
    if (entry === undefined) {
      push(outputs, { kind: 'delete-local-eid', eidPrefix: one.eidPrefix })
      return
    }
    entry.mac = one.mac
    // It copies on, and who ordered that will say how it ended; or copies still come.
    const goesOn = one.move?.kind === 'destination' || one.state === 'local'
    if (one.move !== undefined && goesOn && one.state !== 'standby')
      placement.restoreMove(entry, one.move)
    if (one.state === 'local') placement.local(entry, one.mac, one.interfaceName, now, outputs)
    else if (one.state === 'standby') {
      if (one.move?.kind === 'destination') expectLive(entry, one.move, state, now, outputs)
      else placement.standby(entry, now, outputs)
      const at = now + config.mobility.endpointTimeoutMs
      pending.set(entry, { state: 'standby', committed: true, at })
      return
    } else {
      const locators = cachedLocators(one.eidPrefix, state)
      // Before the move was certain the endpoint answered itself, and may still do so.
      const committed = one.proxyNeighbours !== false
      const options = { committed, mapVersion: 0, release: false }
      placement.away(entry, locators, options, now, outputs)
      if (committed) etr.keepAway(entry, now)
    }
    ask(entry, now, outputs)
  }

  return {
    restore(state, now, outputs) {
      for (const one of state.localEids) restoreOne(one, state, now, outputs)
    },
    handleDeadline(now, outputs) {
      for (const [entry, { state, committed, at }] of pending) {
        const over = entry.state !== state || entry.committed !== committed || isMoving(entry)
        if (over || at <= now) pending.delete(entry)
        if (!over && at <= now) ask(entry, now, outputs)
      }
    },
    deadline: () => earliest(...[...pending.values()].map((one) => one.at)),
  }
}

/** Where the datapath sends packets of an EID that is not here; none when nothing was left. */
function cachedLocators(eidPrefix: EidPrefix, state: RestoredState): Locator[] {
  const key = formatEidPrefix(eidPrefix)
  const cached = state.mapCache.find((other) => formatEidPrefix(other.eidPrefix) === key)
  return (cached?.encapsulations ?? []).map((each) => each.locator)
}
