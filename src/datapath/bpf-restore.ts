/**
 * What an earlier run left in the pinned maps, as the values that a node understands.
 *
 * Entries keep their counter ids and locator sets. Draining forms become final ones at once: the
 * hold that was being emptied died with its process. Elements that can not be read, and prefixes
 * that the configuration no longer gives us, are removed.
 */
import type { NodeConfig } from '../config/node-config.js'
import type { RestoredState } from '../control/restored-state.js'
import { coversPrefix, type EidPrefix, equalEidPrefixes, isHostPrefix } from '../lisp/eid.js'
import {
  decodeBpfLocalEid,
  decodeBpfMapCacheEntry,
  encodeBpfLocalEid,
  encodeBpfMapCacheEntry,
  LOCAL_EID_FLAGS,
  LOCAL_EID_STATE,
  MAP_CACHE_ACTION,
} from './abi.generated.js'
import type { BpfMaps } from './bpf-maps.js'
import { readMove } from './bpf-moves.js'
import type { ReplicationTables } from './bpf-replication.js'
import { eidKey, eidPrefixKey, keyText } from './eid-keys.js'
import type { EntryTable } from './entry-table.js'
import type { FreeIds } from './free-ids.js'
import type { LocatorSets } from './locator-sets.js'
import type { NetworkInterface } from './network-interface.js'

type Restored = Pick<RestoredState, 'localEids' | 'mapCache' | 'groups'>

interface RestoreOptions {
  readonly maps: BpfMaps
  readonly sets: LocatorSets
  readonly mapCache: EntryTable
  readonly localEids: EntryTable
  readonly counterIds: FreeIds
  readonly replication: Pick<ReplicationTables, 'restore'>
  readonly nodeConfig: NodeConfig
  readonly interfaces: readonly NetworkInterface[]
}

/** May be called again later: entries that are known already are only reported. */
export function restoreTables(options: RestoreOptions): Restored {
  options.sets.load()
  const groups = options.replication.restore()
  const localEids = restoreLocalEids(options)
  const mapCache = restoreMapCache(options, localEids)
  options.sets.sweep()
  return groups.length > 0 ? { localEids, mapCache, groups } : { localEids, mapCache }
}

function restoreLocalEids(options: RestoreOptions): RestoredLocalEid[] {
  const { maps, localEids, counterIds, nodeConfig } = options
  const restored: RestoredLocalEid[] = []
  for (const { eidPrefix, value } of localEids.readAll()) {
    const bpf = decodeBpfLocalEid(value)
    const known = localEids.get(eidPrefix) !== undefined
    const [map, key] = isHostPrefix(eidPrefix)
      ? ['local_eid_hosts', eidKey(eidPrefix)]
      : ['local_eid_prefixes', eidPrefixKey(eidPrefix)]
    if (!isOwn(eidPrefix, nodeConfig) || !(known || counterIds.reserve(bpf.counterId))) {
      if (known) localEids.remove(eidPrefix)
      else maps.remove(map, key)
      // What leads to a prefix that is ours no more would otherwise stay native for ever.
      dropNative(options, eidPrefix)
      continue
    }
    const state = FINAL_STATE[bpf.state] ?? bpf.state
    if (!known) {
      const final = encodeBpfLocalEid({ ...bpf, state })
      if (state !== bpf.state) maps.update(map, key, final)
      localEids.adopt(eidPrefix, final, bpf.counterId, 0)
    }
    const name = STATE_NAMES[state]
    const site = siteOf(eidPrefix, bpf.interfaceIndex, options)
    // Prefix elements come from the configuration; there is nothing to remember about them.
    if (name === undefined || site === undefined) continue
    const mac = (bpf.flags & LOCAL_EID_FLAGS['mac-known']) !== 0 ? bpf.mac : undefined
    const proxyNeighbours = (bpf.flags & LOCAL_EID_FLAGS['no-proxy']) === 0
    const move = (bpf.flags & LOCAL_EID_FLAGS.moving) === 0 ? undefined : readMove(maps, eidPrefix)
    const what = { eidPrefix, state: name, interfaceName: site.name, mac, proxyNeighbours }
    restored.push(move === undefined ? what : { ...what, move })
  }
  return restored
}

/** An interface that was deleted and made again has another index than the entry; its name stayed. */
function siteOf(
  eidPrefix: EidPrefix,
  index: number,
  { interfaces, nodeConfig }: RestoreOptions,
): NetworkInterface | undefined {
  const same = interfaces.find((one) => one.index === index)
  if (same !== undefined) return same
  const home = nodeConfig.dynamicEidPrefixes.find((own) => coversPrefix(own.eidPrefix, eidPrefix))
  return interfaces.find(({ name }) => name === home?.interfaceName)
}

function restoreMapCache(
  options: RestoreOptions,
  localEids: readonly RestoredLocalEid[],
): RestoredMapCache[] {
  const { maps, sets, mapCache, counterIds, nodeConfig } = options
  const ours = new Set(
    [...nodeConfig.eidPrefixes, ...localEids.filter(({ state }) => state === 'local')].map(
      ({ eidPrefix }) => keyText(eidPrefixKey(eidPrefix)),
    ),
  )
  const restored: RestoredMapCache[] = []
  for (const { eidPrefix, value } of mapCache.readAll()) {
    const bpf = decodeBpfMapCacheEntry(value)
    const known = mapCache.get(eidPrefix) !== undefined
    const [map, key] = isHostPrefix(eidPrefix)
      ? ['map_cache_hosts', eidKey(eidPrefix)]
      : ['map_cache_prefixes', eidPrefixKey(eidPrefix)]
    const action = FINAL_ACTION[bpf.action] ?? bpf.action
    if (!known) {
      const whole = action !== MAP_CACHE_ACTION['forward'] || sets.retain(bpf.locatorSetId)
      if (!whole || !counterIds.reserve(bpf.counterId)) {
        maps.remove(map, key)
        continue
      }
      const final = encodeBpfMapCacheEntry({ ...bpf, action })
      if (action !== bpf.action) maps.update(map, key, final)
      const reference = action === MAP_CACHE_ACTION['forward'] ? bpf.locatorSetId : 0
      mapCache.adopt(eidPrefix, final, bpf.counterId, reference)
    }
    const name = ACTION_NAMES[action]
    if (name === undefined || ours.has(keyText(eidPrefixKey(eidPrefix)))) continue
    if (name === 'native' && isOwnAddress(eidPrefix, options)) continue
    const encapsulations = name === 'forward' ? sets.encapsulations(bpf.locatorSetId) : []
    restored.push({ eidPrefix, action: name, encapsulations })
  }
  return restored
}

/** Ours is what the configuration names, and single EIDs inside a dynamic-EID prefix. */
function isOwn(eidPrefix: EidPrefix, nodeConfig: NodeConfig): boolean {
  const configured = [...nodeConfig.eidPrefixes, ...nodeConfig.dynamicEidPrefixes]
  if (configured.some((own) => equalEidPrefixes(own.eidPrefix, eidPrefix))) return true
  const dynamic = nodeConfig.dynamicEidPrefixes
  return isHostPrefix(eidPrefix) && dynamic.some((own) => coversPrefix(own.eidPrefix, eidPrefix))
}

function isOwnAddress(eidPrefix: EidPrefix, options: RestoreOptions): boolean {
  const names = options.nodeConfig.siteInterfaces
    .filter(({ instanceId }) => instanceId === eidPrefix.instanceId)
    .map(({ name }) => name)
  const text = keyText(eidPrefix.address.bytes)
  return options.interfaces.some(
    ({ name, addresses }) =>
      names.includes(name) && addresses.some(({ address }) => keyText(address.bytes) === text),
  )
}

function dropNative(options: RestoreOptions, eidPrefix: EidPrefix): void {
  const [map, key] = isHostPrefix(eidPrefix)
    ? ['map_cache_hosts', eidKey(eidPrefix)]
    : ['map_cache_prefixes', eidPrefixKey(eidPrefix)]
  const value = options.maps.lookup(map, key)
  // A trie lookup may answer with a shorter prefix; only our own element's removal can succeed.
  if (value === undefined) return
  if (decodeBpfMapCacheEntry(value).action !== MAP_CACHE_ACTION['native']) return
  if (!options.mapCache.remove(eidPrefix)) options.maps.remove(map, key)
}

type RestoredLocalEid = Restored['localEids'][number]
type RestoredMapCache = Restored['mapCache'][number]

const FINAL_ACTION: Readonly<Record<number, number>> = {
  [MAP_CACHE_ACTION['draining']]: MAP_CACHE_ACTION['forward'],
  [MAP_CACHE_ACTION['native-draining']]: MAP_CACHE_ACTION['native'],
}
const FINAL_STATE: Readonly<Record<number, number>> = {
  [LOCAL_EID_STATE['draining']]: LOCAL_EID_STATE['local'],
  [LOCAL_EID_STATE['away-draining']]: LOCAL_EID_STATE['away'],
}
const STATE_NAMES: Readonly<Record<number, RestoredLocalEid['state']>> = {
  [LOCAL_EID_STATE['local']]: 'local',
  [LOCAL_EID_STATE['standby']]: 'standby',
  [LOCAL_EID_STATE['away']]: 'away',
}
const ACTION_NAMES: Readonly<Record<number, RestoredMapCache['action']>> = {
  [MAP_CACHE_ACTION['forward']]: 'forward',
  [MAP_CACHE_ACTION['native']]: 'native',
  [MAP_CACHE_ACTION['drop']]: 'drop',
  [MAP_CACHE_ACTION['hold']]: 'hold',
}
