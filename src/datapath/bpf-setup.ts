/**
 * Loading, configuring and attaching the BPF programs of one node, and taking them away again.
 *
 * Everything here can be repeated: after a restart maps and links are found pinned and are used on,
 * so that forwarding never stops; what the configuration no longer names is removed.
 */
import { existsSync, mkdirSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { NodeConfig } from '../config/node-config.js'
import type { Config } from '../config/schema.js'
import { provisionalGuardMs } from '../lisp/move-stamp.js'
import {
  ABI_VERSION,
  type BpfRlocKey,
  decodeBpfOwnRlocs,
  encodeBpfNodeConfig,
  encodeBpfOwnRlocs,
  encodeBpfRlocInterface,
  encodeBpfRlocKey,
  encodeBpfSiteInterface,
  HOLD_PURPOSE,
  NODE_FLAGS,
  OWN_RLOCS_BYTES,
  SITE_INTERFACE_FLAGS,
} from './abi.generated.js'
import { type BpfMaps, replaceAll, u32Key } from './bpf-maps.js'
import type { DatapathLog } from './datapath-log.js'
import { keyText } from './eid-keys.js'
import { relayFlags, writeInterworking } from './interworking-maps.js'
import {
  deviceIndex,
  GPE_DEVICE,
  GRO_ENTRY_DEVICE,
  GRO_EXIT_DEVICE,
  HOLD_DEVICE,
  makeGpeDevice,
  makeGroPair,
  removeDevice,
} from './kernel-devices.js'
import type { HoldEvent, NativeAddon, NativeHandle } from './native-addon.js'
import type { NetworkInterface } from './network-interface.js'

export interface Attachment {
  readonly program: string
  readonly interfaceIndex: number
}

/** Default: /sys/fs/bpf/godwit/<node>. */
export function pinDirectoryOf(config: Config): string {
  return config.datapath.pinDirectory ?? `/sys/fs/bpf/godwit/${config.node}`
}

/** Locator-set and counter ids share the sizes of the tables whose entries use them. */
export function openDatapathObject(config: Config, addon: NativeAddon): NativeHandle {
  const version = addon.abiVersion()
  if (version !== ABI_VERSION) {
    throw new Error(
      `the native addon speaks ABI ${version}, this program ${ABI_VERSION}: run \`npm run build\``,
    )
  }
  const pinDirectory = pinDirectoryOf(config)
  mkdirSync(pinDirectory, { recursive: true })
  const { maximumMappings, maximumLocalEids } = config.datapath
  const { maximumGroups, maximumSources } = config.multicast
  return addon.openObject('datapath', {
    pinDirectory,
    maximumEntries: {
      map_cache_hosts: maximumMappings,
      map_cache_prefixes: maximumMappings,
      locator_sets: maximumMappings,
      local_eid_hosts: maximumLocalEids,
      local_eid_prefixes: maximumLocalEids,
      replications: maximumGroups + maximumSources,
      mapping_counters: counterCount(config) + 1,
    },
  })
}

export function counterCount(config: Config): number {
  const { maximumMappings, maximumLocalEids } = config.datapath
  const { maximumGroups, maximumSources } = config.multicast
  return 2 * (maximumMappings + maximumLocalEids) + maximumGroups + maximumSources
}

/** Undefined when there is no TUN device: packets that would wait are then dropped and counted. */
export function openHold(options: {
  readonly config: Config
  readonly addon: NativeAddon
  readonly object: NativeHandle
  readonly log: DatapathLog
  readonly onEvents: (events: readonly HoldEvent[]) => void
}): { hold: NativeHandle; interfaceIndex: number } | undefined {
  const { packetsPerEid, bytesPerEid, bytesTotal, missMs, endpointMs, windowMs } =
    options.config.hold
  const longestMs = [0, 0, 0]
  longestMs[HOLD_PURPOSE['map-cache-miss']] = missMs
  longestMs[HOLD_PURPOSE['endpoint-expected']] = endpointMs
  try {
    return options.addon.openHold(
      {
        object: options.object,
        interfaceName: HOLD_DEVICE,
        packetsPerEid,
        bytesPerEid,
        bytesTotal,
        longestMs,
        windowMs,
        provisionalGuardMs: provisionalGuardMs(options.config.mobility.live.guardMs),
        maximumEids: MAXIMUM_HELD_EIDS,
      },
      options.onEvents,
    )
  } catch (error) {
    options.log('error', 'hold-unavailable', { why: String(error), device: HOLD_DEVICE })
    return undefined
  }
}

/** What `configureNode` leaves to its caller. */
export interface NodeDevices {
  readonly attachments: readonly Attachment[]
  /** Whether no EID is on the move (settled-flag.ts), and what the configuration switches on. */
  readonly writeSettled: (settled: boolean, nodeConfig: NodeConfig) => void
}

/** Make the devices that are wanted; their indexes go into `node_config`. */
export function configureNode(options: {
  readonly config: Config
  readonly nodeConfig: NodeConfig
  readonly interfaces: readonly NetworkInterface[]
  readonly holdInterfaceIndex: number
  readonly maps: BpfMaps
  readonly log: DatapathLog
}): NodeDevices {
  const { config, log } = options
  const underlay = namedInterfaces(
    options.interfaces,
    options.nodeConfig.rlocs.map(({ interfaceName }) => interfaceName),
  )
  const mtu = Math.max(1500, ...underlay.map((one) => one.mtu))
  const wanted = config.datapath.inboundGro
  const gro = wanted && makeGroPair(mtu, log)
  const gpe = wanted && makeGpeDevice(mtu, log)
  const groEntryInterfaceIndex = gro ? deviceIndex(GRO_ENTRY_DEVICE) : 0
  const gpeInterfaceIndex = gpe ? deviceIndex(GPE_DEVICE) : 0
  const attachments: Attachment[] = []
  if (gro) {
    attachments.push({ program: 'gro_ingress', interfaceIndex: deviceIndex(GRO_EXIT_DEVICE) })
  }
  if (gpe) attachments.push({ program: 'gpe_ingress', interfaceIndex: gpeInterfaceIndex })
  const { holdInterfaceIndex } = options
  if (holdInterfaceIndex !== 0) {
    attachments.push({ program: 'hold_ingress', interfaceIndex: holdInterfaceIndex })
  }
  const indexes = { holdInterfaceIndex, groEntryInterfaceIndex, gpeInterfaceIndex }
  const writeSettled = (settled: boolean, nodeConfig: NodeConfig): void => {
    const multicast = nodeConfig.multicast.enabled ? NODE_FLAGS['multicast'] : 0
    const lasting = relayFlags(nodeConfig) | closedFlags(nodeConfig) | multicast
    const flags = lasting | (settled ? NODE_FLAGS['settled'] : 0)
    const value = encodeBpfNodeConfig({ ...indexes, flags, unsettledUntilNs: 0n })
    options.maps.update('node_config', u32Key(0), value)
  }
  writeSettled(false, options.nodeConfig)
  return { attachments, writeSettled }
}

/** They are asked about only where sources are judged. */
function relayRlocs({ closedNetwork }: NodeConfig) {
  const relays = closedNetwork?.relays ?? []
  return new Map(
    relays.map(({ family, bytes }) => {
      const address = new Uint8Array(16)
      address.set(bytes)
      const key = encodeBpfRlocKey({ family, address })
      return [keyText(key), { key, value: u32Key(1) }]
    }),
  )
}

/** With any of them set nothing is settled: each packet is looked at before the kernel aggregates. */
function closedFlags({ closedNetwork: wanted }: NodeConfig): number {
  if (wanted === undefined) return 0
  return (
    (wanted.echoNonce ? NODE_FLAGS['echo-nonce'] : 0) |
    (wanted.statusBits ? NODE_FLAGS['status-bits'] : 0) |
    (wanted.mapVersions ? NODE_FLAGS['map-versions'] : 0) |
    (wanted.checkSources ? NODE_FLAGS['check-sources'] : 0) |
    (wanted.glean ? NODE_FLAGS['glean'] : 0)
  )
}

/** Own RLOCs and site interfaces into their maps; returns where programs belong. */
export function configureInterfaces(options: {
  readonly config: Config
  readonly nodeConfig: NodeConfig
  readonly interfaces: readonly NetworkInterface[]
  readonly maps: BpfMaps
  readonly log: DatapathLog
}): Attachment[] {
  const { nodeConfig, interfaces, maps, log } = options
  const { stepOverVeth } = options.config.datapath
  const attachments: Attachment[] = []
  for (const { interfaceName } of nodeConfig.rlocs) {
    const [underlay] = namedInterfaces(interfaces, [interfaceName])
    if (underlay === undefined) log('error', 'interface-missing', { interfaceName })
    else attachments.push({ program: 'rloc_ingress', interfaceIndex: underlay.index })
  }
  const proxy = nodeConfig.roles.includes('pitr') && !nodeConfig.roles.includes('itr')
  const sites = new Map<string, { key: Uint8Array; value: Uint8Array }>()
  for (const { name, instanceId, proxyNeighbours } of nodeConfig.siteInterfaces) {
    const [site] = namedInterfaces(interfaces, [name])
    if (site === undefined) {
      log('error', 'interface-missing', { interfaceName: name })
      continue
    }
    const dynamic = nodeConfig.dynamicEidPrefixes.some((own) => own.interfaceName === name)
    const flags =
      (dynamic ? SITE_INTERFACE_FLAGS['dynamic-eids'] : 0) |
      (proxyNeighbours ? SITE_INTERFACE_FLAGS['proxy-neighbours'] : 0) |
      (proxy ? SITE_INTERFACE_FLAGS['proxy'] : 0) |
      (stepOverVeth && site.leadsElsewhere ? SITE_INTERFACE_FLAGS['peer'] : 0)
    const key = u32Key(site.index)
    const value = encodeBpfSiteInterface({ instanceId, flags, mac: site.mac })
    sites.set(keyText(key), { key, value })
    attachments.push({ program: 'site_ingress', interfaceIndex: site.index })
  }
  putOwnRlocs(nodeConfig, maps)
  replaceAll(maps, 'rloc_interfaces', rlocInterfaces(nodeConfig, interfaces))
  writeInterworking(nodeConfig, maps)
  replaceAll(maps, 'site_interfaces', sites)
  replaceAll(maps, 'relay_rlocs', relayRlocs(nodeConfig))
  const seen = new Map(attachments.map((one) => [`${one.program}_${one.interfaceIndex}`, one]))
  return [...seen.values()]
}

function rlocInterfaces({ rlocs }: NodeConfig, interfaces: readonly NetworkInterface[]) {
  return new Map(
    rlocs.flatMap(({ address, interfaceName }) => {
      const [underlay] = namedInterfaces(interfaces, [interfaceName])
      if (underlay === undefined) return []
      const key = encodeBpfRlocKey({ family: address.family, address: address.bytes })
      const { index: interfaceIndex, mac } = underlay
      return [[keyText(key), { key, value: encodeBpfRlocInterface({ interfaceIndex, mac }) }]]
    }),
  )
}

/** What stays keeps its place: a reload changes nothing for the RLOCs that it keeps. */
function putOwnRlocs(nodeConfig: NodeConfig, maps: BpfMaps): void {
  const wanted = new Map(
    nodeConfig.rlocs.map(({ address }) => {
      const rloc = { family: address.family, address: address.bytes }
      return [keyText(encodeBpfRlocKey(rloc)), rloc]
    }),
  )
  const present = maps.lookup('own_rlocs', u32Key(0)) ?? new Uint8Array(OWN_RLOCS_BYTES)
  const { count, rlocs } = decodeBpfOwnRlocs(present)
  const places: (BpfRlocKey | undefined)[] = rlocs.slice(0, count).map((rloc) => {
    const text = keyText(encodeBpfRlocKey(rloc))
    const stays = wanted.get(text)
    wanted.delete(text)
    return stays
  })
  for (const rloc of wanted.values()) {
    const free = places.indexOf(undefined)
    places[free < 0 ? places.length : free] = rloc
  }
  const value = { count: places.length, rlocs: places.map((place) => place ?? UNUSED_RLOC) }
  maps.update('own_rlocs', u32Key(0), encodeBpfOwnRlocs(value))
}

const UNUSED_RLOC: BpfRlocKey = { family: 0, address: new Uint8Array(16) }

/** Attach what is wanted, then detach links of an earlier run that nothing wants any more. */
export function attachPrograms(options: {
  readonly addon: NativeAddon
  readonly object: NativeHandle
  readonly pinDirectory: string
  readonly wanted: readonly Attachment[]
  readonly log: DatapathLog
}): void {
  const { addon, object, wanted, log } = options
  for (const { program, interfaceIndex } of wanted) {
    try {
      addon.attach(object, program, interfaceIndex, 'ingress')
    } catch (error) {
      // A helper device may fail; without the two main programs there is no datapath.
      if (program === 'site_ingress' || program === 'rloc_ingress') throw error
      log('warning', 'attach-failed', { program, interfaceIndex, why: String(error) })
    }
  }
  for (const { program, interfaceIndex } of pinnedLinks(options.pinDirectory)) {
    const keep = wanted.some(
      (one) => one.program === program && one.interfaceIndex === interfaceIndex,
    )
    if (!keep) detachQuietly(options, program, interfaceIndex)
  }
}

/** Take everything away: links, pinned maps, devices. */
export function removeDatapath(options: {
  readonly addon: NativeAddon
  readonly object: NativeHandle
  readonly pinDirectory: string
  readonly log: DatapathLog
}): void {
  for (const { program, interfaceIndex } of pinnedLinks(options.pinDirectory)) {
    detachQuietly(options, program, interfaceIndex)
  }
  options.addon.closeObject(options.object)
  if (existsSync(options.pinDirectory)) {
    for (const name of readdirSync(options.pinDirectory)) {
      unlinkSync(join(options.pinDirectory, name))
    }
    rmdirSync(options.pinDirectory)
  }
  removeDevice(GRO_ENTRY_DEVICE)
  removeDevice(GPE_DEVICE)
}

function detachQuietly(
  options: { addon: NativeAddon; object: NativeHandle; log: DatapathLog },
  program: string,
  interfaceIndex: number,
): void {
  try {
    options.addon.detach(options.object, program, interfaceIndex)
  } catch (error) {
    // The interface is gone, and its link with it.
    options.log('debug', 'detach-failed', { program, interfaceIndex, why: String(error) })
  }
}

function pinnedLinks(pinDirectory: string): Attachment[] {
  if (!existsSync(pinDirectory)) return []
  return readdirSync(pinDirectory).flatMap((name) => {
    const match = /^link_(\w+)_(\d+)$/.exec(name)
    return match ? [{ program: match[1]!, interfaceIndex: Number(match[2]) }] : []
  })
}

function namedInterfaces(
  interfaces: readonly NetworkInterface[],
  names: readonly string[],
): NetworkInterface[] {
  return interfaces.filter(({ name }) => names.includes(name))
}

// Choice: an attacker who scans EIDs shall not make the hold's table grow without bound.
const MAXIMUM_HELD_EIDS = 16_384
