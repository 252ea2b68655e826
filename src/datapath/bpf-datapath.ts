/**
 * The kernel as datapath: carries out operations as map writes, raises what the programs report.
 *
 * Tables are in entry-table.ts, locator sets in locator-sets.ts, the hold in hold-releases.ts,
 * devices and attachment in bpf-setup.ts. Events of operations are raised after `perform` returned,
 * never inside it, so that a node is never entered twice.
 *
 * Not done here: choosing locators (tables/locator-selection.ts), answering oversize packets
 * (daemon/icmp.ts), deciding anything about a move.
 */
import type { NodeConfig } from '../config/node-config.js'
import type { Config } from '../config/schema.js'
import type { DatapathEvent } from '../control/datapath-event.js'
import type { DatapathOperation } from '../control/datapath-operation.js'
import type { MacAddress } from '../lisp/address.js'
import { coversPrefix, type Eid, type EidPrefix, hostPrefix } from '../lisp/eid.js'
import {
  type BpfMapCacheActionName,
  decodeBpfLocalEid,
  decodeBpfMapCacheEntry,
  EVENT_BYTES,
  encodeBpfLocalEid,
  encodeBpfMapCacheEntry,
  LOCAL_EID_BYTES,
  LOCAL_EID_FLAGS,
  LOCAL_EID_STATE,
  MAP_CACHE_ACTION,
  MAP_CACHE_ENTRY_BYTES,
} from './abi.generated.js'
import { type ClosedTables, createClosedTables } from './bpf-closed.js'
import { mappingCounters, readCounters, usageOf } from './bpf-counters.js'
import { type PacketTooBig, takeRecords } from './bpf-events.js'
import { inspectTables } from './bpf-inspect.js'
import { type BpfMaps, createBpfMaps } from './bpf-maps.js'
import { copyBytesPerMs, holdCutOf, removeMove, writeMove } from './bpf-moves.js'
import { createReplicationTables, type ReplicationTables } from './bpf-replication.js'
import { restoreTables } from './bpf-restore.js'
import {
  type Attachment,
  attachPrograms,
  configureInterfaces,
  configureNode,
  counterCount,
  openDatapathObject,
  openHold,
  pinDirectoryOf,
  removeDatapath,
} from './bpf-setup.js'
import type { Datapath, DatapathFinding, OnDatapathEvents } from './datapath.js'
import type { DatapathLog } from './datapath-log.js'
import { createEntryTable, type EntryTable } from './entry-table.js'
import { createFreeIds } from './free-ids.js'
import { createHoldReleases, type HeldPurpose, type HoldReleases } from './hold-releases.js'
import { createLocatorSets, type LocatorSets } from './locator-sets.js'
import type { NativeAddon, NativeHandle } from './native-addon.js'
import { announcementFrame, solicitationFrame } from './neighbour-frames.js'
import type { NetworkInterface } from './network-interface.js'
import { createSettledFlag, type SettledFlag } from './settled-flag.js'

export interface BpfDatapathOptions {
  readonly config: Config
  readonly nodeConfig: NodeConfig
  readonly addon: NativeAddon
  readonly interfaces: readonly NetworkInterface[]
  readonly log: DatapathLog
  readonly onEvents: OnDatapathEvents
  readonly onPacketTooBig: (packet: PacketTooBig) => void
}

export interface BpfDatapath extends Datapath {
  /** What a packet to this EID meets in the kernel's maps now. */
  inspect(eid: Eid): readonly DatapathFinding[]
  /**
   * Attach the programs. Called after the first operations, so that on a first start own traffic
   * never meets empty tables; after a restart the programs of the earlier run are attached already.
   */
  start(): void
  /** Take over a changed configuration without losing a packet; `restore` may be called again. */
  reconfigure(nodeConfig: NodeConfig, interfaces: readonly NetworkInterface[]): void
  /** MAC of an endpoint that is here; undefined when it is not or its MAC is not known. */
  localMac(eid: Eid): MacAddress | undefined
  /** Records of the ring buffer that were not understood, since start. */
  ignoredRecords(): number
}

interface Parts {
  readonly addon: NativeAddon
  readonly object: NativeHandle
  readonly maps: BpfMaps
  readonly sets: LocatorSets
  readonly mapCache: EntryTable
  readonly localEids: EntryTable
  readonly settled: SettledFlag
  readonly closed: ClosedTables
  readonly replication: ReplicationTables
  readonly releases: HoldReleases
  readonly raise: (event: DatapathEvent) => void
  readonly interfaceNamed: (name: string) => NetworkInterface | undefined
  readonly copyBytesPerMs: number
}

/**
 * Loads the programs and opens the hold; nothing is attached before `start`. Throws what the addon
 * throws when the kernel refuses a program or the bpffs is not mounted.
 */
export function createBpfDatapath(options: BpfDatapathOptions): BpfDatapath {
  const { config, addon, log } = options
  const object = openDatapathObject(config, addon)
  const pinDirectory = pinDirectoryOf(config)
  const maps = createBpfMaps(addon, object)
  let { nodeConfig, interfaces } = options
  let ignored = 0
  const { raise, deliver } = createEventBatch(options.onEvents)
  const interfaceNamed = (name: string) => interfaces.find((one) => one.name === name)

  const counterIds = createFreeIds(counterCount(config))
  const sets = createLocatorSets(
    {
      update: (key, value) => maps.update('locator_sets', key, value),
      remove: (key) => maps.remove('locator_sets', key),
      read: () => maps.read('locator_sets'),
    },
    config.datapath.maximumMappings,
  )
  const shared = { maps, counterIds, releases: () => releases }
  const mapCache = createEntryTable({
    ...shared,
    hostMap: 'map_cache_hosts',
    prefixMap: 'map_cache_prefixes',
    valueBytes: MAP_CACHE_ENTRY_BYTES,
    purpose: 'map-cache-miss',
    freeReference: (id) => sets.release(id),
  })
  const localEids = createEntryTable({
    ...shared,
    hostMap: 'local_eid_hosts',
    prefixMap: 'local_eid_prefixes',
    valueBytes: LOCAL_EID_BYTES,
    purpose: 'endpoint-expected',
    freeReference: () => {},
  })
  const opened = openHold({
    config,
    addon,
    object,
    log,
    onEvents: (events) => {
      releases.take(events)
      deliver()
    },
  })
  const releases: HoldReleases = createHoldReleases({
    addon,
    hold: opened?.hold,
    writeFlip: ({ map, key, value }) => {
      try {
        maps.update(map, key, value)
      } catch (error) {
        const operation = map.startsWith('map_cache') ? 'put-map-cache' : 'put-local-eid'
        raise({ kind: 'operation-failed', operation, reason: reasonOf(error) })
      }
    },
    raise,
    isFinal: (purpose, eid) => isFinal(purpose, eid, mapCache, localEids),
  })
  const holdInterfaceIndex = opened?.interfaceIndex ?? 0
  const devices = configureNode({
    config,
    nodeConfig,
    interfaces,
    holdInterfaceIndex,
    maps,
    log,
  })
  const settled = createSettledFlag((settled) => devices.writeSettled(settled, nodeConfig))
  const replication = createReplicationTables({
    maps,
    sets,
    counterIds,
    raise,
    interfaceIndex: (name) => interfaceNamed(name)?.index,
    interfaceName: (index) => interfaces.find((one) => one.index === index)?.name,
    ownRlocs: () => nodeConfig.rlocs.map(({ address }) => address),
  })
  const closed = createClosedTables(maps)
  const tables = { maps, sets, mapCache, localEids, closed, replication }
  const parts = {
    ...{ addon, object, ...tables, settled, releases, raise, interfaceNamed },
    copyBytesPerMs: copyBytesPerMs(config.mobility.live.copyMegabitsPerSecond),
  }
  let attachments: readonly Attachment[] = []
  const configure = (): void => {
    const own = configureInterfaces({ config, nodeConfig, interfaces, maps, log })
    attachments = [...devices.attachments, ...own]
  }
  configure()
  const attach = (): void =>
    attachPrograms({ addon, object, pinDirectory, wanted: attachments, log })
  const ring = addon.startEvents(object, 'events', EVENT_BYTES, (records, count) => {
    const interfaceName = (index: number) => interfaces.find((one) => one.index === index)?.name
    const { onPacketTooBig } = options
    ignored += takeRecords(records, count, { interfaceName, raise, onPacketTooBig })
    deliver()
  })

  return {
    perform(operation) {
      try {
        performOperation(operation, parts)
      } catch (error) {
        raise({ kind: 'operation-failed', operation: operation.kind, reason: reasonOf(error) })
      }
    },
    restore: () => {
      const restored = restoreTables({ ...parts, counterIds, nodeConfig, interfaces })
      // Only now: ids given out before the pinned entries were read would collide with theirs.
      putOwnAddresses(nodeConfig, interfaces, mapCache)
      settled.begin(
        localEids
          .readAll()
          .flatMap(({ eidPrefix, value }) => (isUnsettled(value) ? [eidPrefix] : [])),
      )
      return restored
    },
    start: attach,
    reconfigure(nextConfig, nextInterfaces) {
      nodeConfig = nextConfig
      interfaces = nextInterfaces
      configure()
      settled.rewrite()
      putOwnAddresses(nodeConfig, interfaces, mapCache)
      attach()
    },
    counters: () => readCounters(maps, addon, opened?.hold),
    mappingCounters(wanted) {
      const tables = [
        ['map-cache', mapCache],
        ['local-eid', localEids],
      ] as const
      return tables
        .filter(([name]) => wanted === undefined || wanted.table === name)
        .flatMap(([name, table]) => [...mappingCounters(name, table, maps, wanted?.eidPrefixes)])
    },
    groupCounters: replication.counters,
    inspect: (eid) => inspectTables(eid, maps, sets),
    localMac: (eid) => localMac(eid, localEids),
    ignoredRecords: () => ignored,
    close(how) {
      addon.closeEvents(ring)
      replication.close()
      if (opened !== undefined) addon.closeHold(opened.hold, how === 'detach')
      if (how === 'keep') addon.closeObject(object)
      else removeDatapath({ addon, object, pinDirectory, log })
    },
  }
}

// -------------------------------------------------------------------------------- operations

function performOperation(operation: DatapathOperation, parts: Parts): void {
  switch (operation.kind) {
    case 'put-map-cache':
      putMapCache(operation, parts)
      break
    case 'put-local-eid':
      parts.settled.around(operation, () => putLocalEid(operation, parts))
      break
    case 'delete-map-cache':
      parts.mapCache.remove(operation.eidPrefix)
      break
    case 'delete-local-eid':
      parts.settled.around(operation, () => parts.localEids.remove(operation.eidPrefix))
      removeMove(parts.maps, operation.eidPrefix)
      break
    case 'drop-held':
      parts.releases.drop(operation.eid, operation.reason)
      break
    case 'query-usage': {
      const { eidPrefix } = operation
      const usage = usageOf(parts.mapCache.get(eidPrefix), parts.maps)
      parts.raise({ kind: 'map-cache-usage', eidPrefix, ...usage })
      break
    }
    case 'announce-gateway': {
      const site = siteNamed(operation.interfaceName, parts)
      parts.addon.sendFrame(site.index, announcementFrame(operation.eid.address, site.mac))
      break
    }
    case 'solicit-endpoint':
      solicitEndpoint(operation.eid, siteNamed(operation.interfaceName, parts), parts.addon)
      break
    case 'put-replication':
    case 'delete-replication':
    case 'query-replication':
      parts.replication.perform(operation)
      break
    case 'send-on-segment':
      throw new Error('not-of-the-datapath')
    case 'put-mapping-facts':
    case 'delete-mapping-facts':
    case 'request-nonce-echo':
    case 'refuse-stale-version':
      parts.closed.perform(operation)
      break
    default:
      assertNever(operation)
  }
}

function solicitEndpoint(eid: Eid, site: NetworkInterface, addon: NativeAddon): void {
  const { address } = eid
  const own = site.addresses.find((one) => one.address.family === address.family)?.address
  // An ND solicitation from :: would be duplicate address detection; an ARP probe is harmless.
  if (own === undefined && address.family === 6) throw new Error('no-address')
  const sender = own ?? { family: 4, bytes: new Uint8Array(4) }
  addon.sendFrame(site.index, solicitationFrame(address, sender, site.mac))
}

function putMapCache(operation: DatapathOperation & { kind: 'put-map-cache' }, parts: Parts): void {
  const { eidPrefix, action, encapsulations, release } = operation
  const forward = action === 'forward'
  const locatorSetId = forward ? parts.sets.acquire(encapsulations, operation.senders) : 0
  if (locatorSetId === undefined) throw new Error('locator-sets-exhausted')
  const form = (name: keyof typeof MAP_CACHE_ACTION) => (counterId: number) =>
    encodeBpfMapCacheEntry({ counterId, locatorSetId, action: MAP_CACHE_ACTION[name] })
  // Commands to the hold are carried out after the entry is written: what comes later is dropped too.
  if (action === 'drop') for (const eid of release) parts.releases.giveUp(eid, 'negative-mapping')
  try {
    parts.mapCache.put({
      eidPrefix,
      final: form(action),
      draining: DRAINING_ACTION[action] && form(DRAINING_ACTION[action]),
      reference: locatorSetId,
      // An entry that says "hold" lets nothing out.
      release: action === 'hold' ? [] : release,
    })
  } catch (error) {
    parts.sets.release(locatorSetId)
    throw error
  }
}

function putLocalEid(operation: DatapathOperation & { kind: 'put-local-eid' }, parts: Parts): void {
  const { eidPrefix, state, mac, dynamicPrefix, reportSenders, release, move } = operation
  const { index } = siteNamed(operation.interfaceName, parts)
  const flags =
    (mac !== undefined ? LOCAL_EID_FLAGS['mac-known'] : 0) |
    (reportSenders ? LOCAL_EID_FLAGS['report-senders'] : 0) |
    (operation.proxyNeighbours === false ? LOCAL_EID_FLAGS['no-proxy'] : 0) |
    (move !== undefined ? LOCAL_EID_FLAGS.moving : 0)
  if (move !== undefined) writeMove(parts.maps, eidPrefix, move, parts.copyBytesPerMs)
  const form = (name: keyof typeof LOCAL_EID_STATE) => (counterId: number) =>
    encodeBpfLocalEid({
      counterId,
      interfaceIndex: index,
      state: LOCAL_EID_STATE[name],
      flags,
      mac: mac ?? new Uint8Array(6),
    })
  const draining = { local: form('draining'), away: form('away-draining'), standby: undefined }
  parts.localEids.put({
    eidPrefix,
    final: form(dynamicPrefix ? 'prefix' : state),
    draining: dynamicPrefix ? undefined : draining[state],
    reference: 0,
    release: state === 'standby' ? [] : release,
    cut: holdCutOf(move),
  })
  if (move === undefined) removeMove(parts.maps, eidPrefix)
  else if (state === 'standby' && move.kind === 'destination' && !move.passOn)
    parts.releases.mark(eidPrefix)
}

/**
 * Our own addresses inside a dynamic-EID prefix are no EIDs on the move: packets to them go to the
 * kernel. Static prefixes cover them already.
 */
function putOwnAddresses(
  nodeConfig: NodeConfig,
  interfaces: readonly NetworkInterface[],
  mapCache: EntryTable,
): void {
  for (const { eidPrefix } of nodeConfig.dynamicEidPrefixes) {
    for (const own of ownAddresses(nodeConfig, interfaces, eidPrefix)) {
      const action = MAP_CACHE_ACTION['native']
      mapCache.put({
        eidPrefix: own,
        final: (counterId) => encodeBpfMapCacheEntry({ counterId, locatorSetId: 0, action }),
        draining: undefined,
        reference: 0,
        release: [],
      })
    }
  }
}

/** Host prefixes of the site interfaces' own addresses that lie inside `within`. */
function ownAddresses(
  nodeConfig: NodeConfig,
  interfaces: readonly NetworkInterface[],
  within: EidPrefix,
): EidPrefix[] {
  return nodeConfig.siteInterfaces.flatMap(({ name, instanceId }) => {
    const addresses = interfaces.find((one) => one.name === name)?.addresses ?? []
    return addresses
      .map(({ address }) => hostPrefix({ instanceId, address }))
      .filter((own) => coversPrefix(within, own))
  })
}

function isFinal(
  purpose: HeldPurpose,
  eid: Eid,
  mapCache: EntryTable,
  localEids: EntryTable,
): boolean {
  if (purpose === 'map-cache-miss') {
    const value = mapCache.lookup(eid)
    if (value === undefined) return false
    const { action } = decodeBpfMapCacheEntry(value)
    return FINAL_ACTIONS.includes(action)
  }
  const value = localEids.lookup(eid)
  return value !== undefined && FINAL_STATES.includes(decodeBpfLocalEid(value).state)
}

/** An entry of an earlier run that the flag must know of. */
function isUnsettled(value: Uint8Array): boolean {
  const { state, flags } = decodeBpfLocalEid(value)
  const plain: readonly number[] = [LOCAL_EID_STATE['local'], LOCAL_EID_STATE['prefix']]
  const watched = LOCAL_EID_FLAGS['report-senders'] | LOCAL_EID_FLAGS.moving
  return !plain.includes(state) || (flags & watched) !== 0
}

function localMac(eid: Eid, localEids: EntryTable): MacAddress | undefined {
  const value = localEids.lookup(eid)
  if (value === undefined) return undefined
  const { flags, mac } = decodeBpfLocalEid(value)
  return (flags & LOCAL_EID_FLAGS['mac-known']) === 0 ? undefined : mac
}

function siteNamed(name: string, parts: Parts): NetworkInterface {
  const found = parts.interfaceNamed(name)
  if (found === undefined) throw new Error('unknown-interface')
  return found
}

// ------------------------------------------------------------------------------------ events

/** Events are delivered at the end of a native callback, or after the current call stack. */
function createEventBatch(onEvents: OnDatapathEvents): {
  raise: (event: DatapathEvent) => void
  deliver: () => void
} {
  const batch: DatapathEvent[] = []
  let scheduled = false
  const deliver = (): void => {
    scheduled = false
    if (batch.length > 0) onEvents(batch.splice(0))
  }
  const raise = (event: DatapathEvent): void => {
    batch.push(event)
    if (scheduled) return
    scheduled = true
    queueMicrotask(deliver)
  }
  return { raise, deliver }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const code = (error as { code?: unknown }).code
  if (code === 'E2BIG' || code === 'ENOSPC') return 'table-full'
  return typeof code === 'string' ? code.toLowerCase() : error.message
}

function assertNever(value: never): never {
  throw new Error(`not an operation: ${JSON.stringify(value)}`)
}

/** What an entry says while the hold is emptied, by what it will say then. */
const DRAINING_ACTION: Readonly<Record<string, BpfMapCacheActionName | undefined>> = {
  forward: 'draining',
  native: 'native-draining',
}
const FINAL_ACTIONS: readonly number[] = [
  MAP_CACHE_ACTION['forward'],
  MAP_CACHE_ACTION['native'],
  MAP_CACHE_ACTION['drop'],
]
const FINAL_STATES: readonly number[] = [LOCAL_EID_STATE['local'], LOCAL_EID_STATE['away']]
