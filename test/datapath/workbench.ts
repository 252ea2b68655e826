/**
 * The BPF programs in a network of their own: a site veth, an underlay veth with routes and fixed
 * neighbours, forwarding on. Puts values into the maps, runs programs on frames, reads what they
 * counted and reported. Must run in fresh network and mount namespaces.
 */
import { execFileSync } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import * as abi from '../../src/datapath/abi.generated.js'
import { takeRecords } from '../../src/datapath/bpf-events.js'
import { createBpfMaps } from '../../src/datapath/bpf-maps.js'
import {
  createReplicationTables,
  type ReplicationTables,
} from '../../src/datapath/bpf-replication.js'
import { createFreeIds } from '../../src/datapath/free-ids.js'
import { createLocatorSets } from '../../src/datapath/locator-sets.js'
import { loadNativeAddon } from '../../src/datapath/native-addon.js'
import { parseIpAddress } from '../../src/lisp/address.js'
import { createFrameCapture } from './frame-capture.js'
import { addressBytes, arp, ethernet, macBytes, macText } from './frames.js'

export const INSTANCE = 7
export const VERDICT = { pass: -1, drop: 2, redirect: 7 } as const
export const MAC = {
  site: '02:00:00:00:01:01',
  host: '02:00:00:00:01:02',
  site2: '02:00:00:00:03:01',
  core: '02:00:00:00:02:01',
  router: '02:00:00:00:02:fe',
  broadcast: 'ff:ff:ff:ff:ff:ff',
} as const
/** Our RLOCs and a peer's, by family. */
export const OWN_RLOC = { 4: '192.0.2.1', 6: '2001:db8:c::1' } as const
export const PEER_RLOC = { 4: '198.51.100.2', 6: '2001:db8:d::2' } as const
export type Family = 4 | 6

export interface LocatorFields {
  readonly family: Family
  readonly pathMtu?: number
  readonly gpe?: boolean
  readonly closed?: boolean
  readonly destination?: string
}

const SETUP = `
link set lo up
link add site0 address ${MAC.site} type veth peer name site1 address ${MAC.host}
link add site2 address ${MAC.site2} type veth peer name site3
link add core0 address ${MAC.core} type veth peer name core1
link set site0 up
link set site1 up
link set site2 up
link set site3 up
link set core0 up
link set core1 up
addr add 10.1.0.1/24 dev site0
addr add fd00:a::1/64 dev site0 nodad
addr add 192.0.2.1/24 dev core0
addr add 2001:db8:c::1/64 dev core0 nodad
neigh add 192.0.2.254 lladdr ${MAC.router} dev core0 nud permanent
neigh add 2001:db8:c::fe lladdr ${MAC.router} dev core0 nud permanent
route add 198.51.100.0/24 via 192.0.2.254
route add 2001:db8:d::/48 via 2001:db8:c::fe
`

function setUpNetwork() {
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1')
  writeFileSync('/proc/sys/net/ipv6/conf/all/forwarding', '1')
  execFileSync('ip', ['-batch', '-'], { input: SETUP })
  const links = JSON.parse(execFileSync('ip', ['-json', 'link'], { encoding: 'utf8' })) as {
    ifname: string
    ifindex: number
  }[]
  const indexOf = (name: string) => links.find((link) => link.ifname === name)!.ifindex
  const bpffs = mkdtempSync(join(tmpdir(), 'godwit-bpf-'))
  execFileSync('mount', ['-t', 'bpf', 'bpf', bpffs])
  process.once('exit', () => rmSync(bpffs, { recursive: true }))
  return {
    site: indexOf('site0'),
    site2: indexOf('site2'),
    core: indexOf('core0'),
    coreEnd: indexOf('core1'),
    bpffs,
  }
}

function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}

function padded(text: string): Uint8Array {
  const bytes = new Uint8Array(16)
  bytes.set(addressBytes(text))
  return bytes
}

export function eidKey(address: string, instanceId = INSTANCE): abi.BpfEidKey {
  const family = address.includes(':') ? 6 : 4
  return { instanceFamily: instanceId * 256 + family, address: padded(address) }
}

function prefixKey(prefix: string, instanceId: number): Uint8Array {
  const [address = '', bits] = prefix.split('/')
  const eid = eidKey(address, instanceId)
  return abi.encodeBpfEidPrefixKey({ prefixBits: 32 + Number(bits), eid })
}

function translation(prefix: string): Uint8Array {
  const [address = '', bits] = prefix.split('/')
  return abi.encodeBpfTranslation({ address: padded(address), maskLength: Number(bits) })
}

/** Sum of the 64-bit field at `offset` over all CPUs. */
function sumOfCpus(values: Uint8Array | undefined, stride: number, offset: number): number {
  if (!values) return 0
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength)
  let sum = 0n
  for (let at = offset; at < values.length; at += stride) sum += view.getBigUint64(at, true)
  return Number(sum)
}

export function createWorkbench() {
  const network = setUpNetwork()
  const addon = loadNativeAddon()
  const object = addon.openObject('datapath', {
    pinDirectory: join(network.bpffs, 'datapath'),
    maximumEntries: { mapping_counters: 4096, map_cache_hosts: 4096, local_eid_hosts: 4096 },
  })
  let drains = 0
  const events: abi.BpfEvent[] = []
  const raised: DatapathEvent[] = []
  const arrivals = new EventEmitter()

  /** Until events so far fulfil the condition, or for `limitMs`. */
  async function arrived(isFulfilled: () => boolean, limitMs: number): Promise<void> {
    const signal = AbortSignal.timeout(limitMs)
    while (!isFulfilled()) {
      await once(arrivals, 'events', { signal }).catch(() => {})
      if (signal.aborted) return
    }
  }

  let nextId = 1

  const maps = createBpfMaps(addon, object)
  const capture = createFrameCapture({
    core1: (frame) => addon.sendFrame(network.core, frame),
    site1: (frame) => addon.sendFrame(network.site, frame),
    site3: (frame) => addon.sendFrame(network.site2, frame),
  })
  const siteCapture = createFrameCapture(
    { site1: (frame) => addon.sendFrame(network.site, frame) },
    'tcp or udp and not port 5353',
  )
  const locatorSets = createLocatorSets(
    {
      update: (key, value) => maps.update('locator_sets', key, value),
      remove: (key) => maps.remove('locator_sets', key),
      read: () => maps.read('locator_sets'),
    },
    60_000,
  )

  const put = (map: string, key: Uint8Array, value: Uint8Array) =>
    addon.updateMap(object, map, key, value)

  function putByPrefix(
    table: 'map_cache' | 'local_eid',
    prefix: string,
    value: Uint8Array,
    instanceId: number,
  ) {
    const [address = '', bits] = prefix.split('/')
    const eid = eidKey(address, instanceId)
    if (bits === undefined) put(`${table}_hosts`, abi.encodeBpfEidKey(eid), value)
    else {
      const key = abi.encodeBpfEidPrefixKey({ prefixBits: 32 + Number(bits), eid })
      put(`${table}_prefixes`, key, value)
    }
  }

  function deleteByPrefix(table: 'map_cache' | 'local_eid', prefix: string): void {
    const [address = '', bits] = prefix.split('/')
    const eid = eidKey(address)
    if (bits === undefined) addon.deleteMap(object, `${table}_hosts`, abi.encodeBpfEidKey(eid))
    else {
      const key = abi.encodeBpfEidPrefixKey({ prefixBits: 32 + Number(bits), eid })
      addon.deleteMap(object, `${table}_prefixes`, key)
    }
  }

  function locator(fields: LocatorFields): abi.BpfLocator {
    return {
      family: fields.family,
      flags:
        (fields.gpe ? abi.LOCATOR_FLAGS.gpe : 0) | (fields.closed ? abi.LOCATOR_FLAGS.closed : 0),
      pathMtu: fields.pathMtu ?? 1500,
      source: padded(OWN_RLOC[fields.family]),
      destination: padded(fields.destination ?? PEER_RLOC[fields.family]),
    }
  }

  return {
    network,
    events,
    /** The same as the datapath raises them. */
    raised,
    maps,

    /** An address is a host entry, an address with a length a prefix. Returns the counter id. */
    putMapCache(
      prefix: string,
      action: abi.BpfMapCacheActionName,
      locators: readonly LocatorFields[] = [],
      instanceId = INSTANCE,
    ): number {
      const id = nextId++
      const filler = {
        family: 0,
        flags: 0,
        pathMtu: 0,
        source: padded('::'),
        destination: padded('::'),
      }
      const eight = Array.from({ length: 8 }, (_, i) =>
        locators[i] ? locator(locators[i]) : filler,
      )
      const buckets = Uint8Array.from({ length: 64 }, (_, i) => i % Math.max(1, locators.length))
      const set = { count: locators.length, buckets, locators: eight }
      put('locator_sets', word(id), abi.encodeBpfLocatorSet(set))
      const entry = { counterId: id, locatorSetId: id, action: abi.MAP_CACHE_ACTION[action] }
      putByPrefix('map_cache', prefix, abi.encodeBpfMapCacheEntry(entry), instanceId)
      return id
    },

    putLocal(
      prefix: string,
      state: abi.BpfLocalEidStateName,
      options: { mac?: string; flags?: number; interfaceIndex?: number; instanceId?: number } = {},
    ): number {
      const id = nextId++
      const entry = {
        counterId: id,
        interfaceIndex: options.interfaceIndex ?? network.site,
        state: abi.LOCAL_EID_STATE[state],
        flags: (options.mac ? abi.LOCAL_EID_FLAGS['mac-known'] : 0) | (options.flags ?? 0),
        mac: macBytes(options.mac ?? '00:00:00:00:00:00'),
      }
      const { instanceId = INSTANCE } = options
      putByPrefix('local_eid', prefix, abi.encodeBpfLocalEid(entry), instanceId)
      return id
    },

    deleteLocal: (prefix: string) => deleteByPrefix('local_eid', prefix),
    deleteMapCache: (prefix: string) => deleteByPrefix('map_cache', prefix),

    /** As if the hold's thread had sent everything that went into the hold. */
    emptyHold(): void {
      const { count, values } = addon.readMap(object, 'hold_gates')
      for (let slot = 0; slot < count; slot++) {
        const { entered, left } = abi.decodeBpfHoldGate(values, slot * abi.HOLD_GATE_BYTES)
        if (entered === left) continue
        put('hold_gates', word(slot), abi.encodeBpfHoldGate({ entered, left: entered }))
      }
    },

    putSite(flags: number): void {
      const value = { instanceId: INSTANCE, flags, mac: macBytes(MAC.site) }
      put('site_interfaces', word(network.site), abi.encodeBpfSiteInterface(value))
      const other = { ...value, mac: macBytes(MAC.site2) }
      put('site_interfaces', word(network.site2), abi.encodeBpfSiteInterface(other))
    },

    /** Entries of groups, written as the datapath writes them; to be closed. */
    replicationTables(): ReplicationTables {
      const names = { site0: network.site, site2: network.site2 } as Record<string, number>
      return createReplicationTables({
        maps: this.maps,
        sets: locatorSets,
        counterIds: createFreeIds(4000),
        raise: (event) => raised.push(event),
        interfaceIndex: (name) => names[name],
        interfaceName: (index) => Object.keys(names).find((name) => names[name] === index),
        ownRlocs: () => Object.values(OWN_RLOC).map((text) => parseIpAddress(text)!),
      })
    },

    /** What has left by itself since the last call, by the far end where it arrived. */
    captured: () => capture.take(),

    /** What comes out of the site's veth when the frame arrives from the core by itself. */
    async sentToSite(frame: Uint8Array): Promise<readonly Uint8Array[]> {
      const before = this.tallies('decapsulated')
      await siteCapture.take()
      addon.attach(object, 'rloc_ingress', network.core, 'ingress')
      addon.sendFrame(network.coreEnd, frame)
      const end = performance.now() + 10_000
      while (this.tallies('decapsulated') === before && performance.now() < end)
        await new Promise((resolve) => setTimeout(resolve, 1))
      addon.detach(object, 'rloc_ingress', network.core)
      return (await siteCapture.take()).site1
    },

    /** A prefix of another site, in the workbench's instance. */
    putForeign(map: 'attracted_prefixes' | 'proxied_sites', prefix: string): void {
      put(map, prefixKey(prefix, INSTANCE), word(1))
    },

    putTranslation(inside: string, outside: string): void {
      put('nat_inside', prefixKey(inside, INSTANCE), translation(outside))
      put('nat_outside', prefixKey(outside, 0), translation(inside))
    },

    deleteSite(): void {
      addon.deleteMap(object, 'site_interfaces', word(network.site))
    },

    putRloc(address: string): void {
      const family = address.includes(':') ? 6 : 4
      const present = addon.lookupMap(object, 'own_rlocs', word(0))!
      const { count, rlocs } = abi.decodeBpfOwnRlocs(present)
      const known = [...rlocs.slice(0, count), { family, address: padded(address) }]
      put('own_rlocs', word(0), abi.encodeBpfOwnRlocs({ count: known.length, rlocs: known }))
      const place = { interfaceIndex: network.core, mac: macBytes(MAC.core) }
      const key = abi.encodeBpfRlocKey({ family, address: padded(address) })
      put('rloc_interfaces', key, abi.encodeBpfRlocInterface(place))
    },

    putNode(config: Partial<abi.BpfNodeConfig>): void {
      const none = {
        holdInterfaceIndex: 0,
        groEntryInterfaceIndex: 0,
        gpeInterfaceIndex: 0,
        flags: 0,
        unsettledUntilNs: 0n,
      }
      put('node_config', word(0), abi.encodeBpfNodeConfig({ ...none, ...config }))
    },

    fromSite: (frame: Uint8Array, options = {}) =>
      addon.testRun(object, 'site_ingress', frame, network.site, options),
    fromCore: (frame: Uint8Array, options = {}) =>
      addon.testRun(object, 'rloc_ingress', frame, network.core, options),
    run: (program: string, frame: Uint8Array) =>
      addon.testRun(object, program, frame, network.core),

    drops(reason: abi.BpfDropReasonName): number {
      const key = word(abi.DROP_REASON[reason])
      return sumOfCpus(addon.lookupMap(object, 'drops', key), 16, 0)
    },

    tallies(name: abi.BpfTallyName): number {
      return sumOfCpus(addon.lookupMap(object, 'tallies', word(abi.TALLY[name])), 8, 0)
    },

    mappingCounter(id: number): { packets: number; bytes: number; used: boolean } {
      const values = addon.lookupMap(object, 'mapping_counters', word(id))
      return {
        packets: sumOfCpus(values, abi.COUNTER_BYTES, 0),
        bytes: sumOfCpus(values, abi.COUNTER_BYTES, 8),
        used: sumOfCpus(values, abi.COUNTER_BYTES, 16) > 0,
      }
    },

    startEvents(): void {
      addon.startEvents(object, 'events', 248, (records, count) => {
        for (let i = 0; i < count; i++) events.push(abi.decodeBpfEvent(records, i * 248))
        const raise = (event: DatapathEvent) => raised.push(event)
        takeRecords(records, count, { interfaceName: () => 'site0', raise, onPacketTooBig() {} })
        arrivals.emit('events')
      })
    },

    /** The event of `type` about `address`, once it arrives; undefined after a second. */
    async event(type: abi.BpfEventTypeName, address?: string): Promise<abi.BpfEvent | undefined> {
      const wanted =
        address === undefined ? undefined : String(abi.encodeBpfEidKey(eidKey(address)))
      const find = () =>
        events.find(
          (event) =>
            event.type === abi.EVENT_TYPE[type] &&
            (wanted === undefined || String(abi.encodeBpfEidKey(event.eid)) === wanted),
        )
      await arrived(() => find() !== undefined, 1000)
      return find()
    },

    /**
     * Until all events so far have arrived: they come by a thread, in order, so that when the last
     * one, a RARP of a MAC address never seen before, is here, all others are. That one is removed.
     */
    async drainEvents(): Promise<void> {
      drains += 1
      const mac = `02:0e:0e:0e:${hexByte(drains >> 8)}:${hexByte(drains & 0xff)}`
      const rarp = arp({ operation: 3, senderMac: mac, sender: '0.0.0.0', target: '0.0.0.0' })
      const isMark = (one: abi.BpfEvent) =>
        one.type === abi.EVENT_TYPE['mac-seen'] && macText(one.mac) === mac
      this.putSite(abi.SITE_INTERFACE_FLAGS['dynamic-eids'])
      this.fromSite(ethernet(MAC.broadcast, mac, 0x8035, rarp))
      this.putSite(0)
      await arrived(() => events.some(isMark), 10_000)
      if (!events.some(isMark)) throw new Error('no event arrives any more')
      events.splice(events.findIndex(isMark), 1)
      const isRaised = (one: DatapathEvent) => one.kind === 'mac-seen' && macText(one.mac) === mac
      raised.splice(raised.findIndex(isRaised), 1)
    },

    countEvents: (type: abi.BpfEventTypeName, address: string) =>
      events.filter(
        (event) =>
          event.type === abi.EVENT_TYPE[type] &&
          String(abi.encodeBpfEidKey(event.eid)) === String(abi.encodeBpfEidKey(eidKey(address))),
      ).length,

    close(): void {
      capture.close()
      siteCapture.close()
      addon.closeObject(object)
      execFileSync('umount', ['-l', network.bpffs])
    },
  }
}

export type Workbench = ReturnType<typeof createWorkbench>

/** True on a kernel and with the rights that the programs need; otherwise the reason. */
export function missingRequirement(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root'
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8')
  const [major = 0, minor = 0] = release.split('.').map((part) => parseInt(part, 10))
  return major > 6 || (major === 6 && minor >= 6) ? undefined : 'needs kernel 6.6'
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0')
}
