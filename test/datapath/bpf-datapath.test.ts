/**
 * The contract of datapath.ts on the real kernel, in a network namespace of its own:
 *
 *   host0 ══ site0 [godwit] core0 ══ peer0      (two veth pairs, all ends in one namespace)
 *
 * Frames are put in at host0 and at peer0; what became of them is read from the counters and
 * events. The file starts itself again by `unshare --net`, so nothing of it remains.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parseConfig } from '../../src/config/load.js'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import type { Encapsulation } from '../../src/control/datapath-operation.js'
import {
  ensureBpfFilesystem,
  missingCapabilities,
  oldKernel,
} from '../../src/daemon/capabilities.js'
import { readInterfaces } from '../../src/daemon/interfaces.js'
import { type BpfDatapath, createBpfDatapath } from '../../src/datapath/bpf-datapath.js'
import type { PacketTooBig } from '../../src/datapath/bpf-events.js'
import { internetChecksum } from '../../src/datapath/internet-checksum.js'
import { loadNativeAddon } from '../../src/datapath/native-addon.js'
import { parseIpAddress } from '../../src/lisp/address.js'
import { formatEid, formatEidPrefix, parseEid, parseEidPrefix } from '../../src/lisp/eid.js'
import { locator } from '../../src/lisp/locator.js'
import { arp, ethernet, macText } from './frames.js'

const lacking = oldKernel() ?? missingCapabilities() ?? ensureBpfFilesystem()
if (lacking !== undefined) {
  t.test('the kernel datapath', { skip: lacking }, async () => {})
} else if (process.env['GODWIT_TEST_NAMESPACE'] === undefined) {
  const file = fileURLToPath(import.meta.url)
  const env = { ...process.env, GODWIT_TEST_NAMESPACE: '1' }
  const inner = spawnSync('unshare', ['--net', process.execPath, file], { env, stdio: 'inherit' })
  process.exit(inner.status ?? 1)
} else {
  await runInside()
}

async function runInside(): Promise<void> {
  makeLinks()
  const pinDirectory = `/sys/fs/bpf/gwsh-${process.pid}`
  // Also after a failed assertion: a pin outlives the namespace.
  process.on('exit', () => rmSync(pinDirectory, { recursive: true, force: true }))
  const addon = loadNativeAddon()
  const interfaces = await readInterfaces()
  const index = (name: string): number => interfaces.find((one) => one.name === name)!.index
  const mac = (name: string): Uint8Array => interfaces.find((one) => one.name === name)!.mac
  const loaded = parseConfig(configText(pinDirectory), () => ({
    ok: true,
    text: 'not-a-secret-but-long-enough',
    worldReadable: false,
  }))
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors))
  const { config, nodeConfig } = loaded
  const events: DatapathEvent[] = []
  const tooBig: PacketTooBig[] = []
  const logged: string[] = []
  const open = (): BpfDatapath =>
    createBpfDatapath({
      config,
      nodeConfig,
      addon,
      interfaces,
      log: (severity, what, fields) => logged.push(`${severity} ${what} ${JSON.stringify(fields)}`),
      onEvents: (batch) => events.push(...batch),
      onPacketTooBig: (packet) => tooBig.push(packet),
    })
  const until = async (what: string, holds: () => boolean): Promise<void> => {
    const end = performance.now() + 3_000
    while (!holds()) {
      if (performance.now() > end)
        throw new Error(`${what} did not happen: ${JSON.stringify(events.map((e) => e.kind))}`)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }
  const seen = <Kind extends DatapathEvent['kind']>(kind: Kind) =>
    events.filter((event): event is DatapathEvent & { kind: Kind } => event.kind === kind)
  const toSite = (destination: string, count = 1, payload = 32): void => {
    for (let sent = 0; sent < count; sent += 1) {
      addon.sendFrame(
        index('host0'),
        udpFrame(mac('site0'), mac('host0'), '10.10.0.5', destination, payload),
      )
    }
  }
  const towards = (rloc: string): Encapsulation => ({
    locator: locator(parseIpAddress(rloc)!, { priority: 1, weight: 100, reachable: true }),
    source: parseIpAddress('172.16.1.1')!,
    pathMtu: 1500,
  })
  const local = { interfaceName: 'site0', mac: undefined, reportSenders: false, release: [] }

  let datapath = open()
  t.same(datapath.restore(), { localEids: [], mapCache: [] }, 'nothing on a first start')
  datapath.perform({
    ...local,
    kind: 'put-local-eid',
    eidPrefix: parseEidPrefix('[7]10.10.0.0/24')!,
    state: 'local',
    dynamicPrefix: true,
  })
  datapath.start()
  t.same(
    logged.filter((line) => !line.startsWith('debug')),
    [],
    'no complaints at start',
  )

  await t.test('a frame of an unknown EID is reported with its MAC and interface', async (t) => {
    toSite('10.20.0.9')
    await until('local-eid-seen', () => seen('local-eid-seen').length > 0)
    const [event] = seen('local-eid-seen')
    t.same(event!.eid, parseEid('[7]10.10.0.5'))
    t.same(event!.mac, mac('host0'))
    t.equal(event!.interfaceName, 'site0')
    t.equal(event!.how, 'packet')
  })

  await t.test('packets wait for a mapping and leave when it comes', async (t) => {
    await until('packet-held', () => seen('packet-held').length > 0)
    const [held] = seen('packet-held')
    t.same(held!.eid, parseEid('[7]10.20.0.9'))
    t.same(held!.source, parseEid('[7]10.10.0.5'))
    t.equal(held!.why, 'map-cache-miss')
    toSite('10.20.0.9', 9)
    await until('ten held', () => datapath.counters().hold.packets === 10)
    datapath.perform({
      kind: 'put-map-cache',
      eidPrefix: parseEidPrefix('[7]10.20.0.0/24')!,
      action: 'forward',
      encapsulations: [towards('172.16.9.1')],
      release: [held!.eid],
    })
    await until('hold-released', () => seen('hold-released').length > 0)
    t.equal(seen('hold-released')[0]!.packets, 10)
    await until('ten encapsulated', () => datapath.counters().tallies['encapsulated'] === 10)
    toSite('10.20.0.9', 5)
    await until('five more', () => datapath.counters().tallies['encapsulated'] === 15)
    t.equal(datapath.counters().hold.packets, 0, 'and nothing waits')
    const [mapping] = datapath
      .mappingCounters()
      .filter(({ eidPrefix }) => eidPrefix === '[7]10.20.0.0/24')
    t.equal(mapping!.packets, 15n)
    t.ok(mapping!.idleMs! < 1_000)
  })

  await t.test('counts survive the replacement of an entry', async (t) => {
    const prefix = parseEidPrefix('[7]10.20.0.0/24')!
    datapath.perform({
      kind: 'put-map-cache',
      eidPrefix: prefix,
      action: 'forward',
      encapsulations: [towards('172.16.9.2'), towards('172.16.9.1')],
      release: [],
    })
    datapath.perform({ kind: 'query-usage', eidPrefix: prefix })
    await until('map-cache-usage', () => seen('map-cache-usage').length > 0)
    t.equal(seen('map-cache-usage')[0]!.packets, 15n)
  })

  await t.test('a packet that does not fit is reported and dropped', async (t) => {
    toSite('10.20.0.9', 1, 1472)
    await until('packet-too-big', () => tooBig.length > 0)
    t.equal(tooBig[0]!.mtu, 1464)
    t.equal(tooBig[0]!.interfaceName, 'site0')
    t.equal(datapath.counters().drops['packet-too-big']!.packets, 1)
  })

  await t.test(
    'many puts of an entry whose release is under way end with the last one',
    async (t) => {
      toSite('10.30.0.1', 200)
      const eid = parseEid('[7]10.30.0.1')!
      await until('held', () => datapath.counters().hold.packets === 200)
      const put = (rloc: string, release: boolean): void =>
        datapath.perform({
          kind: 'put-map-cache',
          eidPrefix: parseEidPrefix('[7]10.30.0.1/32')!,
          action: 'forward',
          encapsulations: [towards(rloc)],
          release: release ? [eid] : [],
        })
      events.length = 0
      put('172.16.9.1', true)
      put('172.16.9.3', false)
      put('172.16.9.4', false)
      await until('released', () => seen('hold-released').length > 0)
      await until('settled', () => {
        const { mapCache } = restoredBy(datapath)
        return mapCache.find((one) => one.eidPrefix.maskLength === 32)?.encapsulations.length === 1
      })
      // Events come in order: when a later release has been announced, no second one of this is due.
      toSite('10.30.0.77', 3)
      await until('held', () => datapath.counters().hold.packets === 3)
      datapath.perform({
        kind: 'put-map-cache',
        eidPrefix: parseEidPrefix('[7]10.30.0.77/32')!,
        action: 'forward',
        encapsulations: [towards('172.16.9.1')],
        release: [parseEid('[7]10.30.0.77')!],
      })
      const ended = () => seen('hold-released').map(({ eid: one }) => formatEid(one))
      await until('released', () => ended().includes('[7]10.30.0.77'))
      const entry = restoredBy(datapath).mapCache.find(
        (one) => formatEidPrefix(one.eidPrefix) === '[7]10.30.0.1/32',
      )
      t.same(entry!.encapsulations[0]!.locator.rloc, parseIpAddress('172.16.9.4'))
      t.same(ended(), ['[7]10.30.0.1', '[7]10.30.0.77'], 'announced once')
      datapath.perform({
        kind: 'delete-map-cache',
        eidPrefix: parseEidPrefix('[7]10.30.0.77/32')!,
      })
      t.equal(datapath.counters().tallies['encapsulated'], 218, 'nothing was lost')
    },
  )

  await t.test('what arrives for an expected endpoint waits until it is there', async (t) => {
    const eidPrefix = parseEidPrefix('[7]10.10.0.5/32')!
    const eid = parseEid('[7]10.10.0.5')!
    events.length = 0
    datapath.perform({
      ...local,
      kind: 'put-local-eid',
      eidPrefix,
      state: 'standby',
      dynamicPrefix: false,
    })
    for (let sent = 0; sent < 7; sent += 1) addon.sendFrame(index('peer0'), lispFrame(mac))
    await until('held', () => datapath.counters().hold.packets === 7)
    await until('packet-held', () => seen('packet-held').length > 0)
    t.equal(seen('packet-held')[0]!.why, 'endpoint-expected')
    datapath.perform({
      ...local,
      kind: 'put-local-eid',
      eidPrefix,
      state: 'local',
      mac: mac('host0'),
      dynamicPrefix: false,
      release: [eid],
    })
    await until('hold-released', () => seen('hold-released').length > 0)
    t.equal(seen('hold-released')[0]!.packets, 7)
    await until('decapsulated', () => datapath.counters().tallies['decapsulated'] === 7)
    t.same(datapath.localMac(eid), mac('host0'))
  })

  await t.test('a native or dropping answer ends the wait, too', async (t) => {
    const answer = async (address: string, action: 'native' | 'drop') => {
      events.length = 0
      const eid = parseEid(`[7]${address}`)!
      const eidPrefix = parseEidPrefix(`[7]${address}/32`)!
      toSite(address, 5)
      await until('held', () => datapath.counters().hold.packets === 5)
      const put = { kind: 'put-map-cache', eidPrefix, action, encapsulations: [] } as const
      datapath.perform({ ...put, release: [eid] })
      await until('hold-released', () => seen('hold-released').length > 0)
      datapath.perform({ kind: 'delete-map-cache', eidPrefix })
      t.equal(datapath.counters().hold.packets, 0)
      return seen('hold-released')[0]!.packets
    }
    const native = datapath.counters().tallies['native']!
    t.equal(await answer('10.60.0.1', 'native'), 5)
    t.equal(datapath.counters().tallies['native'], native + 5, 'all to the kernel')
    t.equal(await answer('10.60.0.2', 'drop'), 0, 'nothing leaves')
    t.match(seen('hold-dropped'), [{ packets: 5, reason: 'negative-mapping' }])
    t.equal(datapath.counters().hold.dropped['negative-mapping'], 5)
  })

  await t.test('an away EID is answered for unless the operation forbids it', async (t) => {
    const ask = (): void => {
      const request = arp({
        operation: 1,
        senderMac: macText(mac('host0')),
        sender: '10.10.0.5',
        target: '10.10.0.66',
      })
      const frame = ethernet('ff:ff:ff:ff:ff:ff', macText(mac('host0')), 0x0806, request)
      addon.sendFrame(index('host0'), frame)
    }
    const answers = () => datapath.counters().tallies['proxied-neighbour']!
    const eidPrefix = parseEidPrefix('[7]10.10.0.66/32')!
    const put = { ...local, kind: 'put-local-eid', eidPrefix, dynamicPrefix: false } as const
    const towardsPeer = { action: 'forward', encapsulations: [towards('172.16.9.1')] } as const
    datapath.perform({ kind: 'put-map-cache', eidPrefix, ...towardsPeer, release: [] })
    datapath.perform({ ...put, state: 'away', proxyNeighbours: false })
    const before = answers()
    ask()
    datapath.perform({ ...put, state: 'away' })
    t.equal(answers(), before, 'it may still answer itself')
    ask()
    await until('answered', () => answers() > before)
    t.equal(answers(), before + 1)
    datapath.perform({ kind: 'delete-local-eid', eidPrefix })
    datapath.perform({ kind: 'delete-map-cache', eidPrefix })
  })

  await t.test('an operation that cannot be done says so and changes nothing', async (t) => {
    events.length = 0
    const eidPrefix = parseEidPrefix('[7]10.10.0.77/32')!
    datapath.perform({
      ...local,
      kind: 'put-local-eid',
      eidPrefix,
      state: 'local',
      dynamicPrefix: false,
      interfaceName: 'none0',
    })
    await until('operation-failed', () => seen('operation-failed').length > 0)
    t.match(seen('operation-failed')[0], {
      operation: 'put-local-eid',
      reason: 'unknown-interface',
    })
    t.notOk(datapath.mappingCounters().some((one) => one.eidPrefix === '[7]10.10.0.77/32'))
  })

  await t.test('own addresses in a dynamic EID-prefix are native', async (t) => {
    const own = datapath.mappingCounters().map((one) => `${one.table} ${one.eidPrefix}`)
    t.ok(own.includes('map-cache [7]10.10.0.1/32'))
  })

  await t.test('live moves are read back, of a source and of a destination', async (t) => {
    const peer = parseIpAddress('172.16.9.1')!
    const source = parseIpAddress('172.16.1.1')!
    const expected = { kind: 'destination', peer, leaseMs: 20_000 } as const
    const encapsulation = { locator: locator(peer), source, pathMtu: 1500 }
    const moves = {
      '10.10.0.60': { ...expected, passOn: true, copies: 'all' },
      '10.10.0.61': { ...expected, passOn: false, copies: 12_345 },
      '10.10.0.62': { ...expected, passOn: false, copies: 'none' },
      '10.10.0.63': { kind: 'source', encapsulation, leaseMs: 20_000 },
    } as const
    for (const [address, move] of Object.entries(moves))
      datapath.perform({
        ...local,
        kind: 'put-local-eid',
        eidPrefix: parseEidPrefix(`[7]${address}/32`)!,
        state: move.kind === 'source' ? 'local' : 'standby',
        dynamicPrefix: false,
        move,
      })
    const { localEids } = restoredBy(datapath)
    for (const [address, { leaseMs, ...move }] of Object.entries(moves)) {
      const eidPrefix = parseEidPrefix(`[7]${address}/32`)!
      const found = localEids.find((one) => formatEidPrefix(one.eidPrefix) === `[7]${address}/32`)
      t.match(found?.move, move, address)
      const left = found?.move?.leaseMs ?? 0
      t.ok(left > 0 && left <= leaseMs, `${left} ms of the lease are left`)
      datapath.perform({ kind: 'delete-local-eid', eidPrefix })
    }
  })

  await t.test('forwarding goes on without us, and a restart finds everything', async (t) => {
    datapath.close('keep')
    toSite('10.20.0.9', 4)
    events.length = 0
    datapath = open()
    const restored = datapath.restore()
    datapath.start()
    t.equal(datapath.counters().tallies['encapsulated'], 222, 'forwarded meanwhile')
    const text = restored.mapCache.map(
      ({ eidPrefix, action, encapsulations }) =>
        `${eidPrefix.address.bytes.join('.')}/${eidPrefix.maskLength} ${action} ${encapsulations.length}`,
    )
    t.same(text.sort(), ['10.20.0.0/24 forward 2', '10.30.0.1/32 forward 1'])
    t.match(restored.localEids, [
      {
        eidPrefix: parseEidPrefix('[7]10.10.0.5/32'),
        state: 'local',
        interfaceName: 'site0',
        mac: mac('host0'),
      },
    ])
    const [mapping] = datapath
      .mappingCounters()
      .filter(({ eidPrefix }) => eidPrefix === '[7]10.20.0.0/24')
    t.ok(mapping!.packets >= 19n, 'with its counts')
    toSite('10.40.0.1', 3)
    await until('three held', () => datapath.counters().hold.packets === 3)
    datapath.perform({ kind: 'drop-held', eid: parseEid('[7]10.40.0.1')!, reason: 'no-reply' })
    await until('hold-dropped', () => seen('hold-dropped').length > 0)
    t.match(seen('hold-dropped')[0], { packets: 3, reason: 'no-reply' })
  })

  await t.test('detaching leaves no pin and no device', async (t) => {
    datapath.close('detach')
    t.notOk(existsSync(pinDirectory) && readdirSync(pinDirectory).length > 0)
    const { stdout } = spawnSync('ip', ['-o', 'link'], { encoding: 'utf8' })
    t.notMatch(stdout, /gw-/)
    t.equal(datapath.ignoredRecords(), 0)
  })
  process.exit()

  function restoredBy(running: BpfDatapath) {
    return running.restore()
  }
}

function makeLinks(): void {
  const commands = [
    'link set dev lo up',
    'link add site0 type veth peer name host0',
    'link add core0 type veth peer name peer0',
    'link set dev site0 up',
    'link set dev host0 up',
    'link set dev core0 up',
    'link set dev peer0 up',
    'addr add 10.10.0.1/24 dev site0',
    'addr add 172.16.1.1/16 dev core0',
    ...['1', '2', '3', '4'].map(
      (last) => `neigh add 172.16.9.${last} dev core0 lladdr 02:00:00:00:09:0${last}`,
    ),
  ]
  for (const command of commands) {
    const result = spawnSync('ip', command.split(' '), { encoding: 'utf8' })
    if (result.status !== 0) throw new Error(`ip ${command}: ${result.stderr}`)
  }
  spawnSync('sh', [
    '-c',
    'echo 1 > /proc/sys/net/ipv4/ip_forward; for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done',
  ])
}

function configText(pinDirectory: string): string {
  return `
node: shell-test
roles: [itr, etr]
rlocs: [{address: 172.16.1.1, interface: core0}]
siteInterfaces: [{name: site0, instanceId: 7}]
dynamicEidPrefixes: [{prefix: 10.10.0.0/24, instanceId: 7, interface: site0}]
mapResolvers: [172.16.4.1]
mapServers: [{address: 172.16.4.1, key: {secretFile: key}}]
datapath: {pinDirectory: ${pinDirectory}, maximumMappings: 1024, maximumLocalEids: 256}
`
}

function ipv4Udp(
  source: string,
  destination: string,
  port: number,
  payload: Uint8Array,
): Uint8Array {
  const packet = new Uint8Array(28 + payload.length)
  const view = new DataView(packet.buffer)
  packet.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17])
  view.setUint16(2, packet.length)
  packet.set(parseIpAddress(source)!.bytes, 12)
  packet.set(parseIpAddress(destination)!.bytes, 16)
  view.setUint16(10, internetChecksum([packet.subarray(0, 20)]))
  view.setUint16(20, 40_000)
  view.setUint16(22, port)
  view.setUint16(24, 8 + payload.length)
  packet.set(payload, 28)
  return packet
}

function udpFrame(
  to: Uint8Array,
  from: Uint8Array,
  source: string,
  destination: string,
  payload: number,
): Uint8Array {
  const packet = ipv4Udp(source, destination, 5_000, new Uint8Array(payload))
  return Uint8Array.of(...to, ...from, 0x08, 0, ...packet)
}

/** A LISP packet of instance 7 from 172.16.9.1 for 10.10.0.5, as it comes in at core0. */
function lispFrame(mac: (name: string) => Uint8Array): Uint8Array {
  const inner = ipv4Udp('10.20.0.9', '10.10.0.5', 5_000, new Uint8Array(32))
  const data = Uint8Array.of(0x08, 0, 0, 0, 0, 0, 7, 0, ...inner)
  const outer = ipv4Udp('172.16.9.1', '172.16.1.1', 4341, data)
  return Uint8Array.of(...mac('core0'), ...mac('peer0'), 0x08, 0, ...outer)
}
