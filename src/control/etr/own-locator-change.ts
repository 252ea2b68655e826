/**
 * When our own locator-set has changed (a reload with another RLOC, priority or weight): who sends to
 * us by the former one is told to ask again (RFC 9301 §6.1: the ITRs that sent in the last minute).
 *
 * The set that we spoke of last is stored; a start that finds another one there begins a minute of
 * soliciting. Senders come from the datapath (`sender-seen`), those of the minute before are handed
 * over by the run that ended in an orderly way, because packets to an RLOC that is gone are seen by
 * nobody. An EID-prefix is solicited for once its new mapping is registered, each sender once, paced.
 *
 * Not here: an EID that has left (smr.ts). A start after a crash knows no senders of before, and static
 * prefixes are watched only in the minute after the change, because watching costs every packet.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type Eid, eidFromPrefix, hostPrefix } from '../../lisp/eid.js'
import { equalLocatorSets, type Locator, type Rloc } from '../../lisp/locator.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { ownLocators } from '../control-datagram.js'
import { earliest } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import type { StoredRecord } from '../stored-record.js'
import type { EidPlacement } from './eid-placement.js'
import {
  MAXIMUM_RECENT_SENDERS,
  RECENT_MS,
  type RecentSender,
  type RecentSenders,
  senderKey,
} from './recent-senders.js'
import type { Smr } from './smr.js'

export interface OwnLocatorChange {
  /** To be called before anything is put in the datapath. */
  restore(records: readonly StoredRecord[], now: Instant, outputs: Output[]): void
  /** Whether one of these locators was ours in the run before. */
  wasOurs(locators: readonly Locator[]): boolean
  senderSeen(eid: Eid, sender: Rloc, now: Instant): void
  /** A Map-Server holds our present mapping of the prefix. */
  registered(entry: DatabaseEntry, now: Instant): void
  /** The run ends: who sent in the last minute is written for the next one. */
  handOver(now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** Our choice: 1000 SMRs a second, so that as many answers do not come at once. */
const SENT_AT_ONCE = 20
const PACE_MS = 20
/** Who is limited (smr.ts) is tried again. */
const AGAIN_MS = 1000

export function createOwnLocatorChange(
  config: NodeConfig,
  parts: {
    readonly database: MappingDatabase
    readonly placement: EidPlacement
    readonly smr: Smr
    readonly senders: RecentSenders
  },
): OwnLocatorChange {
  const { database, placement, smr, senders: recent } = parts
  const own = ownLocators(config)
  /** Keys of EID-prefixes whose present mapping is registered. */
  const registered = new Set<string>()
  const untold = new Map<string, RecentSender>()
  const told = new Set<string>()
  let former: readonly Locator[] = []
  let endsAt: Instant | undefined
  let nextAt: Instant | undefined

  function note(one: RecentSender): void {
    const key = senderKey(one)
    recent.note(one)
    const isBounded = untold.size + told.size < MAXIMUM_RECENT_SENDERS
    if (endsAt === undefined || told.has(key) || !isBounded) return
    untold.set(key, one)
    nextAt ??= one.at
  }

  function tellSome(now: Instant, outputs: Output[]): void {
    nextAt = undefined
    let tried = 0
    for (const [key, one] of [...untold]) {
      const entry = database.match(one.eid)
      if (entry?.state !== 'local') {
        untold.delete(key)
        continue
      }
      // `registered` brings us back.
      if (!registered.has(entry.key)) continue
      if (tried === SENT_AT_ONCE) {
        nextAt = now + PACE_MS
        return
      }
      tried += 1
      untold.delete(key)
      if (smr.tell(one.eid, one.sender, now, outputs)) told.add(key)
      else untold.set(key, one)
    }
    if (untold.size > 0) nextAt = now + AGAIN_MS
  }

  function end(outputs: Output[]): void {
    endsAt = undefined
    nextAt = undefined
    former = []
    for (const set of [untold, told, registered]) set.clear()
    placement.watchStatics(false, outputs)
  }

  const record = (senders: readonly RecentSender[], now: Instant): StoredRecord => ({
    kind: 'own-locators',
    locators: own,
    senders: senders.map(({ eid, sender }) => ({ eidPrefix: hostPrefix(eid), rloc: sender })),
    expiresAt: now + RECENT_MS,
  })

  return {
    restore(records, now, outputs) {
      const found = records.find((one) => one.kind === 'own-locators')
      const isSame = found !== undefined && equalLocatorSets(found.locators, own)
      if (!isSame) outputs.push({ kind: 'persist', records: [record([], now)], then: [] })
      if (found === undefined || isSame || !config.mobility.solicit) return
      former = found.locators
      endsAt = now + RECENT_MS
      placement.watchStatics(true, outputs)
      report(outputs, 'own-locators-changed', 'notice', {
        former: former.map(({ rloc }) => formatIpAddress(rloc)),
        locators: own.map(({ rloc }) => formatIpAddress(rloc)),
      })
      if (found.expiresAt < now) return
      for (const { eidPrefix, rloc } of found.senders)
        note({ eid: eidFromPrefix(eidPrefix), sender: rloc, at: now })
    },
    wasOurs: (locators) =>
      locators.some(({ rloc }) =>
        former.some((one) => formatIpAddress(one.rloc) === formatIpAddress(rloc)),
      ),
    senderSeen(eid, sender, now) {
      note({ eid, sender, at: now })
    },
    registered(entry, now) {
      if (endsAt === undefined || registered.has(entry.key)) return
      registered.add(entry.key)
      if (untold.size > 0) nextAt = earliest(nextAt, now)
    },
    handOver(now, outputs) {
      const senders = recent.all(now)
      if (senders.length === 0) return
      outputs.push({ kind: 'persist', records: [record(senders, now)], then: [] })
    },
    handleDeadline(now, outputs) {
      if (endsAt !== undefined && endsAt <= now) end(outputs)
      if (nextAt !== undefined && nextAt <= now) tellSome(now, outputs)
    },
    deadline: () => earliest(nextAt, endsAt),
  }
}
