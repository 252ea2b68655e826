/**
 * What packets say about our own mappings in a closed network, and the senders that do not learn:
 * map-versions (RFC 9302 §7.1) and locator-status-bits (RFC 9300 §10, §13.1).
 *
 * A version is put once a Map-Server has granted it: an EID that has just come has none, and its packets
 * are compared with nothing. Who sends by an older one gets an SMR, within the rate; after ten in vain
 * its packets are dropped, and it is told once more every 30 s. When the TTL of the older mapping has
 * passed, such packets are dropped without a word. Our choice: the status bits say that all of our RLOCs
 * are up, because a node without one of them could not send.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import type { EidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines, earliest } from '../deadlines.js'
import type { Smr } from '../etr/smr.js'
import type { Output } from '../input-output.js'
import type { OfKind } from '../itr/itr.js'
import { report } from '../outputs.js'
import { statusBitsOf, USE_LSB_MS } from './use-lsb-timer.js'

export interface OwnFacts {
  /** It came, left, or was granted a version. */
  changed(entry: DatabaseEntry, now: Instant, outputs: Output[]): void
  /** It is ours no longer. */
  forgotten(entry: DatabaseEntry, outputs: Output[]): void
  handleStale(event: OfKind<'stale-map-version'>, now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

interface Fact {
  readonly eidPrefix: EidPrefix
  readonly mapVersion: number | undefined
  usesBits: boolean
  dropStale: boolean
}

interface StaleSender {
  readonly eidPrefix: EidPrefix
  readonly entryKey: string
  readonly sender: Rloc
  solicitations: number
  refused: boolean
}

/** RFC 9302 §7.1: SHOULD drop after ten, and MAY solicit again every 30 s. */
const MAXIMUM_SOLICITATIONS = 10
const RETRY_MS = 30_000
/** Stale senders remembered, the oldest goes first; and for how long after their last packet. */
const MAXIMUM_STALE_SENDERS = 4096
const DEFAULT_TTL_MINUTES = 15

export function createOwnFacts(config: NodeConfig, database: MappingDatabase, smr: Smr): OwnFacts {
  const { mapVersions = false, statusBits = false } = config.closedNetwork ?? {}
  const facts = new Map<string, Fact>()
  const stale = new Map<string, StaleSender>()
  const resting = createDeadlines()
  const outliving = createDeadlines()
  const retries = createDeadlines()
  const bits = statusBitsOf(config.rlocs.map(() => true))
  const ttlMs =
    60_000 * Math.max(DEFAULT_TTL_MINUTES, ...config.mapServers.map((one) => one.ttlMinutes))

  function put(fact: Fact, outputs: Output[]): void {
    outputs.push({
      kind: 'datapath',
      operation: {
        kind: 'put-mapping-facts',
        side: 'own',
        eidPrefix: fact.eidPrefix,
        mapVersion: mapVersions ? fact.mapVersion : undefined,
        statusBits: statusBits && fact.usesBits ? bits : undefined,
        dropStale: fact.dropStale,
      },
    })
  }

  function refuse(one: StaleSender, refused: boolean, outputs: Output[]): void {
    if (one.refused === refused) return
    one.refused = refused
    const { eidPrefix, sender } = one
    const operation = { kind: 'refuse-stale-version', eidPrefix, sender, refused } as const
    outputs.push({ kind: 'datapath', operation })
  }

  /** The version that they did not learn is another one now. */
  function forgive(entryKey: string, outputs: Output[]): void {
    for (const [key, one] of stale) {
      if (one.entryKey !== entryKey) continue
      refuse(one, false, outputs)
      stale.delete(key)
      retries.cancel(key)
    }
  }

  function remove(entry: DatabaseEntry, outputs: Output[]): void {
    if (!facts.has(entry.key)) return
    forgive(entry.key, outputs)
    facts.delete(entry.key)
    resting.cancel(entry.key)
    outliving.cancel(entry.key)
    const { eidPrefix } = entry
    const operation = { kind: 'delete-mapping-facts', side: 'own', eidPrefix } as const
    outputs.push({ kind: 'datapath', operation })
  }

  function staleSender(entry: DatabaseEntry, sender: Rloc): StaleSender {
    const key = `${entry.key} ${formatIpAddress(sender)}`
    const known = stale.get(key)
    if (known !== undefined) return known
    const { eidPrefix } = entry
    const one = { eidPrefix, entryKey: entry.key, sender, solicitations: 0, refused: false }
    stale.set(key, one)
    return one
  }

  function makeRoom(outputs: Output[]): void {
    if (stale.size < MAXIMUM_STALE_SENDERS) return
    for (const [key, oldest] of stale) {
      refuse(oldest, false, outputs)
      stale.delete(key)
      retries.cancel(key)
      return
    }
  }

  return {
    changed(entry, now, outputs) {
      if (!mapVersions && !statusBits) return
      if (entry.state !== 'local') return remove(entry, outputs)
      const former = facts.get(entry.key)
      const mapVersion = entry.registeredAt === undefined ? undefined : entry.grantedVersion
      if (former !== undefined && former.mapVersion === mapVersion) return
      forgive(entry.key, outputs)
      if (former === undefined && statusBits) resting.set(entry.key, now + USE_LSB_MS)
      if (mapVersion !== undefined) outliving.set(entry.key, now + ttlMs)
      const usesBits = former?.usesBits ?? false
      const fact = { eidPrefix: entry.eidPrefix, mapVersion, usesBits, dropStale: false }
      facts.set(entry.key, fact)
      put(fact, outputs)
    },
    forgotten: remove,
    handleStale({ eid, sender }, now, outputs) {
      const entry = database.match(eid)
      // What was reported on the way may be known by now.
      if (entry === undefined || entry.state !== 'local' || !facts.has(entry.key)) return
      makeRoom(outputs)
      const one = staleSender(entry, sender)
      if (!smr.solicit(eid, sender, now, outputs)) return
      one.solicitations += 1
      if (one.solicitations < MAXIMUM_SOLICITATIONS) return
      refuse(one, true, outputs)
      retries.set(`${entry.key} ${formatIpAddress(sender)}`, now + RETRY_MS)
      const about = { eidPrefix: entry.key, sender: formatIpAddress(sender) }
      report(outputs, 'stale-sender-refused', 'warning', about)
    },
    handleDeadline(now, outputs) {
      for (const key of resting.due(now)) {
        const fact = facts.get(key)
        if (fact === undefined) continue
        fact.usesBits = true
        put(fact, outputs)
      }
      for (const key of outliving.due(now)) {
        const fact = facts.get(key)
        if (fact === undefined) continue
        fact.dropStale = true
        put(fact, outputs)
      }
      for (const key of retries.due(now)) {
        const one = stale.get(key)
        if (one !== undefined) refuse(one, false, outputs)
      }
    },
    deadline: () => earliest(resting.next(), outliving.next(), retries.next()),
  }
}
