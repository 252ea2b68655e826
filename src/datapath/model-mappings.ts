/**
 * The map-cache and the local EIDs of the model: what a packet finds there, what an operation puts, what
 * a restart reads back.
 *
 * Two tables of model-table.ts with their forms. Whether a packet may pass is decided by those who ask.
 */
import type { DatapathOperation, Encapsulation } from '../control/datapath-operation.js'
import { formatIpAddress, formatMac, type MacAddress } from '../lisp/address.js'
import { coversPrefix, type Eid, type EidPrefix, equalEidPrefixes, formatEid } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import { locatorBuckets } from '../tables/locator-selection.js'
import type { Datapath } from './datapath.js'
import type { HoldRelease } from './model-hold.js'
import { leftOf, type ModelMove } from './model-live-moves.js'
import type { ModelPacket } from './model-packet.js'
import { createModelTable, type ModelEntry } from './model-table.js'

export interface ModelMappingsOptions {
  readonly eidPrefixes: readonly { readonly eidPrefix: EidPrefix }[]
  readonly dynamicEidPrefixes: readonly { readonly eidPrefix: EidPrefix }[]
  readonly siteInterfaces: readonly { readonly name: string }[]
  readonly maximumMappings: number
  readonly maximumLocalEids: number
}

/** The tables as they stand, for comparison with those of the control plane. */
export interface ModelView {
  readonly mapCache: readonly {
    readonly eidPrefix: string
    readonly action: MapCacheAction
    /** A release has not ended: the final form may be another one. */
    readonly settling: boolean
    readonly rlocs: readonly string[]
  }[]
  readonly localEids: readonly {
    readonly eidPrefix: string
    readonly state: LocalState
    readonly settling: boolean
    readonly mac: string | undefined
  }[]
}

export type PutMapCache = Extract<DatapathOperation, { kind: 'put-map-cache' }>
export type PutLocalEid = Extract<DatapathOperation, { kind: 'put-local-eid' }>
type MapCacheAction = PutMapCache['action']
type LocalState = PutLocalEid['state'] | 'prefix'

export interface MapCacheForm {
  readonly action: MapCacheAction
  readonly encapsulations: readonly Encapsulation[]
  /** Flow hash → position in `chosen`. */
  readonly buckets: Uint8Array
  readonly chosen: readonly Encapsulation[]
  /** Where its packets may come from beside those. */
  readonly senders: readonly Rloc[]
}

export interface LocalForm {
  readonly state: LocalState
  readonly interfaceName: string
  readonly mac: MacAddress | undefined
  readonly macText: string | undefined
  readonly reportSenders: boolean
  readonly proxyNeighbours: boolean
  readonly move: ModelMove | undefined
}

export interface ModelMappings {
  localOf(packet: ModelPacket): ModelEntry<LocalForm> | undefined
  /** Of the source of the packet. */
  sourceOf(packet: ModelPacket): ModelEntry<LocalForm> | undefined
  mappingOf(packet: ModelPacket): ModelEntry<MapCacheForm> | undefined
  /** Of exactly this EID or prefix, not of one that covers it. */
  localHost(eidText: string): ModelEntry<LocalForm> | undefined
  mappingHost(eidText: string): ModelEntry<MapCacheForm> | undefined
  mapping(eidPrefix: EidPrefix): ModelEntry<MapCacheForm> | undefined
  /** Inside a prefix whose single EIDs may come and go. */
  isDynamic(eid: Eid): boolean
  /** RLOCs that send for this EID; undefined without a mapping, empty when it forwards nowhere. */
  rlocsOf(eid: Eid): readonly Rloc[] | undefined
  /** False when the table is full. */
  putMapCache(put: PutMapCache): boolean
  /** False when the table is full or the interface is none of the site's. */
  putLocalEid(put: PutLocalEid): boolean
  removeMapCache(eidPrefix: EidPrefix): void
  removeLocalEid(eidPrefix: EidPrefix): void
  restore(): ReturnType<Datapath['restore']>
  abandonReleases(): void
  clear(): void
  view(): ModelView
  counters(): ReturnType<Datapath['mappingCounters']>
}

/** `markHeld`: the window of copies for this EID closes (ModelHold.mark). */
export function createModelMappings(
  options: ModelMappingsOptions,
  around: {
    now(): number
    release(release: HoldRelease): void
    markHeld(eidPrefix: EidPrefix): void
  },
): ModelMappings {
  const { release } = around
  let mapCache = newMapCache()
  let localEids = newLocalEids()

  function newMapCache() {
    const { maximumMappings: maximumEntries } = options
    return createModelTable<MapCacheForm>({ purpose: 'map-cache-miss', maximumEntries, release })
  }
  function newLocalEids() {
    const { maximumLocalEids: maximumEntries } = options
    return createModelTable<LocalForm>({ purpose: 'endpoint-expected', maximumEntries, release })
  }

  function putMapCache(put: PutMapCache): boolean {
    const { eidPrefix, action, encapsulations, senders = [] } = put
    const { indexes, buckets } = locatorBuckets(encapsulations.map((one) => one.locator))
    const chosen = indexes.map((index) => encapsulations[index]!)
    const form = { action, encapsulations, buckets, chosen, senders }
    const releases = action === 'hold' ? [] : put.release
    return mapCache.put({ eidPrefix, form, drains: action === 'forward', release: releases })
  }

  function putLocalEid(put: PutLocalEid): boolean {
    const { eidPrefix, interfaceName, mac, reportSenders, dynamicPrefix } = put
    if (!options.siteInterfaces.some((one) => one.name === interfaceName)) return false
    const state = dynamicPrefix ? 'prefix' : put.state
    const macText = mac === undefined ? undefined : formatMac(mac)
    const proxyNeighbours = put.proxyNeighbours !== false
    const move = put.move && { ...put.move, until: around.now() + put.move.leaseMs }
    const form = {
      state,
      interfaceName,
      mac,
      macText,
      reportSenders,
      proxyNeighbours,
      move,
    } as const
    const copies = put.move?.kind === 'destination' ? put.move.copies : 'all'
    const drains = state === 'local' || state === 'away'
    const releases = state === 'standby' ? [] : put.release
    const isPut = localEids.put({ eidPrefix, form, drains, release: releases, copies })
    if (isPut && state === 'standby' && move?.kind === 'destination' && !move.passOn)
      around.markHeld(eidPrefix)
    return isPut
  }

  /** What the configuration names, and single EIDs inside a dynamic-EID prefix. */
  function isOwn(eidPrefix: EidPrefix): boolean {
    const { eidPrefixes, dynamicEidPrefixes } = options
    return (
      eidPrefixes.some((own) => equalEidPrefixes(own.eidPrefix, eidPrefix)) ||
      dynamicEidPrefixes.some((own) => coversPrefix(own.eidPrefix, eidPrefix))
    )
  }

  function restore(): ReturnType<Datapath['restore']> {
    mapCache.settleForms()
    localEids.settleForms()
    const found = [...localEids.entries()].filter((entry) => isOwn(entry.eidPrefix))
    const locals = found.flatMap(({ eidPrefix, form }) => {
      const { state, interfaceName, mac, proxyNeighbours } = form
      if (state === 'prefix') return []
      const what = { eidPrefix, state, interfaceName, mac, proxyNeighbours }
      return [{ ...what, ...leftOf(form.move, around.now()) }]
    })
    const here = new Set(found.filter((one) => isPresent(one)).map((one) => one.text))
    const mappings = [...mapCache.entries()].filter((entry) => !here.has(entry.text))
    return {
      localEids: locals,
      mapCache: mappings.map(({ eidPrefix, form }) => ({
        eidPrefix,
        action: form.action,
        encapsulations: form.chosen,
      })),
    }
  }

  return {
    localOf: ({ flow }) =>
      localEids.host(flow.destinationText) ?? localEids.prefixOf(flow.destination),
    sourceOf: ({ flow }) => localEids.host(flow.sourceText) ?? localEids.prefixOf(flow.source),
    mappingOf: ({ flow }) =>
      mapCache.host(flow.destinationText) ?? mapCache.prefixOf(flow.destination),
    localHost: (eidText) => localEids.host(eidText),
    mappingHost: (eidText) => mapCache.host(eidText),
    mapping: (eidPrefix) => mapCache.get(eidPrefix),
    isDynamic: (eid) => localEids.prefixOf(eid)?.form.state === 'prefix',
    rlocsOf(eid) {
      const entry = mapCache.host(formatEid(eid)) ?? mapCache.prefixOf(eid)
      if (entry === undefined) return undefined
      const { action, chosen, senders } = entry.form
      const rlocs = chosen.map((one) => one.locator.rloc)
      return action === 'forward' && !entry.draining ? [...rlocs, ...senders] : []
    },
    putMapCache,
    putLocalEid,
    removeMapCache: (eidPrefix) => mapCache.remove(eidPrefix),
    removeLocalEid: (eidPrefix) => localEids.remove(eidPrefix),
    restore,
    abandonReleases() {
      mapCache.abandonReleases()
      localEids.abandonReleases()
    },
    clear() {
      mapCache = newMapCache()
      localEids = newLocalEids()
    },
    view: () => ({
      mapCache: [...mapCache.entries()].map(({ text, form, pending }) => ({
        eidPrefix: text,
        action: form.action,
        settling: pending > 0,
        rlocs: form.chosen.map((one) => formatIpAddress(one.locator.rloc)),
      })),
      localEids: [...localEids.entries()].map(({ text, form, pending }) => ({
        eidPrefix: text,
        state: form.state,
        settling: pending > 0,
        mac: form.macText,
      })),
    }),
    counters: () => [
      ...countersOf('map-cache', mapCache.entries(), around.now()),
      ...countersOf('local-eid', localEids.entries(), around.now()),
    ],
  }
}

/** Whether the EID is here. */
export function isPresent(entry: ModelEntry<LocalForm> | undefined): boolean {
  return entry?.form.state === 'local'
}

function* countersOf<Form>(
  table: 'map-cache' | 'local-eid',
  entries: Iterable<ModelEntry<Form>>,
  now: number,
) {
  for (const { text, packets, bytes, lastUsedAt } of entries) {
    const idleMs = lastUsedAt === undefined ? undefined : now - lastUsedAt
    yield { table, eidPrefix: text, packets: BigInt(packets), bytes: BigInt(bytes), idleMs }
  }
}
