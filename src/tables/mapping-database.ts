/**
 * What this xTR is, or lately was, responsible for: static EID-prefixes and the single EIDs of
 * dynamic-EID prefixes, with where each is now: here, expected, or gone to known locators.
 *
 * Holds facts, decides nothing: src/control/etr/eid-placement.ts moves an entry between states. Looking
 * up an EID is one hash probe plus a walk over the configured prefixes, whose number an operator
 * bounds. Map-Version meanings (RFC 9302): `grantedVersion` came from a Map-Server, `heardVersion`
 * is the highest that anyone claimed; 0 is "none known" in both.
 */
import type { MacAddress } from '../lisp/address.js'
import {
  coversEid,
  coversPrefix,
  type Eid,
  type EidPrefix,
  formatEidPrefix,
  hostPrefix,
} from '../lisp/eid.js'
import type { Locator } from '../lisp/locator.js'
import { createEidTrie } from './eid-trie.js'

export type PlacementState = 'local' | 'standby' | 'away'

export interface DatabaseEntry {
  readonly key: string
  readonly eidPrefix: EidPrefix
  /** The EID itself of a dynamic EID; of a static prefix its network address. */
  readonly eid: Eid
  readonly kind: 'static' | 'dynamic-eid'
  state: PlacementState
  interfaceName: string
  mac: MacAddress | undefined
  grantedVersion: number
  heardVersion: number
  /** What the next Map-Register says: the granted version, a claim, or 0. */
  claimVersion: number
  /** Whether Map-Registers carry it; false while away, standby, or redirected for a move. */
  registering: boolean
  registeredAt: number | undefined
  /** When the endpoint was last known to be here, for telling strong evidence from weak. */
  arrivedAt: number
  /** Conflicting claims answered lately, for their back-off. */
  conflicts: number
  lastConflictAt: number
  /** Away only: where to, and whether that is final (a redirect of a move may still be undone). */
  awayLocators: readonly Locator[]
  committed: boolean
  departedAt: number
  /** Since when it is at home here; -Infinity: an orchestrated move brought it, Infinity: took it away. */
  rootedAt: number
  /** The last frame of it that was seen here since, and not believed. */
  strayFrameAt: number
  lastHitAt: number
  /** No SMR before this moment: the mapping system may not know yet. */
  solicitAfter: number
}

export interface ConfiguredPrefix {
  readonly eidPrefix: EidPrefix
  readonly interfaceName: string
}

export interface MappingDatabase {
  /** Exactly this prefix. */
  get(eidPrefix: EidPrefix): DatabaseEntry | undefined
  /** The entry of this single EID (a dynamic EID, or a static host prefix). */
  getEid(eid: Eid): DatabaseEntry | undefined
  byKey(key: string): DatabaseEntry | undefined
  /** Longest match: the EID's own entry, else the longest static prefix. */
  match(eid: Eid): DatabaseEntry | undefined
  /** Longest entry that covers the whole prefix. */
  matchPrefix(eidPrefix: EidPrefix): DatabaseEntry | undefined
  /** Static prefixes inside `eidPrefix`, itself excluded (more-specifics, RFC 9301 §5.5). */
  staticInside(eidPrefix: EidPrefix): readonly DatabaseEntry[]
  /** The dynamic-EID prefix that allows this EID to appear, or undefined. */
  dynamicPrefixOf(eid: Eid): ConfiguredPrefix | undefined
  /** Adds a dynamic EID in the given state; undefined when the table is full. */
  add(
    eid: Eid,
    state: PlacementState,
    interfaceName: string,
    now: number,
  ): DatabaseEntry | undefined
  remove(entry: DatabaseEntry): void
  entries(): IterableIterator<DatabaseEntry>
  /** See `EidTrie`. */
  after(eidPrefix: EidPrefix | undefined, instanceId: number | undefined): Generator<DatabaseEntry>
  sizeOf(instanceId: number | undefined): number
  readonly size: number
}

/**
 * A database with the configured prefixes in it and no dynamic EID yet.
 * @param maximumDynamicEids above it `add` refuses, so that a site cannot exhaust memory by
 * inventing source addresses
 */
export function createMappingDatabase(
  staticPrefixes: readonly ConfiguredPrefix[],
  dynamicPrefixes: readonly ConfiguredPrefix[],
  maximumDynamicEids: number,
): MappingDatabase {
  const table = new Map<string, DatabaseEntry>()
  /** The same entries in the order of prefixes. */
  const ordered = createEidTrie<DatabaseEntry>()
  const statics = [...staticPrefixes]
    .sort((a, b) => b.eidPrefix.maskLength - a.eidPrefix.maskLength)
    .map((one) => {
      const eid = { instanceId: one.eidPrefix.instanceId, address: one.eidPrefix.address }
      return newEntry(one.eidPrefix, eid, 'static', 'local', one.interfaceName, 0)
    })
  const put = (entry: DatabaseEntry): void => {
    table.set(entry.key, entry)
    ordered.insert(entry.eidPrefix, entry)
  }
  for (const entry of statics) put(entry)
  const dynamics = [...dynamicPrefixes].sort(
    (a, b) => b.eidPrefix.maskLength - a.eidPrefix.maskLength,
  )

  const byKey = (key: string): DatabaseEntry | undefined => table.get(key)
  const get = (eidPrefix: EidPrefix): DatabaseEntry | undefined =>
    table.get(formatEidPrefix(eidPrefix))
  const getEid = (eid: Eid): DatabaseEntry | undefined => get(hostPrefix(eid))
  return {
    get,
    getEid,
    byKey,
    match: (eid) => getEid(eid) ?? statics.find((entry) => coversEid(entry.eidPrefix, eid)),
    matchPrefix: (eidPrefix) =>
      get(eidPrefix) ?? statics.find((entry) => coversPrefix(entry.eidPrefix, eidPrefix)),
    staticInside: (eidPrefix) =>
      statics.filter(
        (entry) =>
          entry.eidPrefix.maskLength > eidPrefix.maskLength &&
          coversPrefix(eidPrefix, entry.eidPrefix),
      ),
    dynamicPrefixOf: (eid) => dynamics.find((one) => coversEid(one.eidPrefix, eid)),
    add(eid, state, interfaceName, now) {
      if (table.size - statics.length >= maximumDynamicEids) return undefined
      const entry = newEntry(hostPrefix(eid), eid, 'dynamic-eid', state, interfaceName, now)
      put(entry)
      return entry
    },
    remove: (entry) => {
      if (entry.kind !== 'dynamic-eid') return
      table.delete(entry.key)
      ordered.remove(entry.eidPrefix)
    },
    entries: () => table.values(),
    *after(eidPrefix, instanceId) {
      for (const { value } of ordered.after(eidPrefix, instanceId)) yield value
    },
    sizeOf: (instanceId) => ordered.sizeOf(instanceId),
    get size() {
      return table.size
    },
  }
}

function newEntry(
  eidPrefix: EidPrefix,
  eid: Eid,
  kind: DatabaseEntry['kind'],
  state: PlacementState,
  interfaceName: string,
  now: number,
): DatabaseEntry {
  return {
    key: formatEidPrefix(eidPrefix),
    eidPrefix,
    eid,
    kind,
    state,
    interfaceName,
    mac: undefined,
    grantedVersion: 0,
    heardVersion: 0,
    claimVersion: 0,
    registering: state === 'local',
    registeredAt: undefined,
    arrivedAt: now,
    conflicts: 0,
    lastConflictAt: Number.NEGATIVE_INFINITY,
    awayLocators: [],
    committed: true,
    departedAt: Number.NEGATIVE_INFINITY,
    rootedAt: now,
    strayFrameAt: Number.NEGATIVE_INFINITY,
    lastHitAt: Number.NEGATIVE_INFINITY,
    solicitAfter: Number.NEGATIVE_INFINITY,
  }
}
