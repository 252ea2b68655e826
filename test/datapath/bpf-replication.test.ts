/**
 * Replication with real packets, in a network namespace of its own:
 *
 *   host0 ══ site0 [godwit] core0 ══ peer0      host2 ══ site2      (veth pairs, all ends in one namespace)
 *
 * Frames are put in at host0 and peer0; what arrives at peer0, host0 and host2 is captured. The file starts
 * itself again by `unshare --net`, so nothing of it remains.
 */
import { spawn, spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parseConfig } from '../../src/config/load.js'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import type { DatapathOperation } from '../../src/control/datapath-operation.js'
import {
  ensureBpfFilesystem,
  missingCapabilities,
  oldKernel,
} from '../../src/daemon/capabilities.js'
import { readInterfaces } from '../../src/daemon/interfaces.js'
import { type BpfDatapath, createBpfDatapath } from '../../src/datapath/bpf-datapath.js'
import { loadNativeAddon } from '../../src/datapath/native-addon.js'
import { PROBE } from '../../src/lab/daemons.js'
import { formatIpAddress, parseIpAddress } from '../../src/lisp/address.js'
import { parseEidPrefix } from '../../src/lisp/eid.js'
import { locator } from '../../src/lisp/locator.js'
import { formatGroup, parseGroup } from '../../src/lisp/multicast/multicast-group.js'
import { createFrameCapture } from './frame-capture.js'
import { arp, ethernet, ip, ipFrame, lispHeader, macText, openFrame, udp } from './frames.js'
import { data, groupMac } from './packets.js'

const GROUP = '239.1.1.1'
const SOURCE = '10.10.0.5'
const NAME = parseGroup(`[7](${SOURCE},${GROUP})`)!
const ANY = parseGroup(`[7](*,${GROUP})`)!
const REMOTE = '10.20.0.9'
const PEER_MAC = '02:00:00:00:09:01'

const lacking = oldKernel() ?? missingCapabilities() ?? ensureBpfFilesystem()
if (lacking !== undefined) {
  t.test('replication in the kernel', { skip: lacking }, async () => {})
} else if (process.env['GODWIT_TEST_NAMESPACE'] === undefined) {
  const file = fileURLToPath(import.meta.url)
  const env = { ...process.env, GODWIT_TEST_NAMESPACE: '1' }
  const inner = spawnSync('unshare', ['--net', process.execPath, file], { env, stdio: 'inherit' })
  process.exit(inner.status ?? 1)
} else {
  await runInside()
}

type Put = Extract<DatapathOperation, { kind: 'put-replication' }>

async function runInside(): Promise<void> {
  makeLinks()
  const pinDirectory = `/sys/fs/bpf/gwrep-${process.pid}`
  // Also after a failed assertion: a pin outlives the namespace.
  process.on('exit', () => rmSync(pinDirectory, { recursive: true, force: true }))
  const addon = loadNativeAddon()
  const interfaces = await readInterfaces()
  const named = (name: string) => interfaces.find((one) => one.name === name)!
  const mac = (name: string) => macText(named(name).mac)
  const loaded = parseConfig(configText(pinDirectory), () => ({
    ok: true,
    text: 'not-a-secret-but-long-enough',
    worldReadable: false,
  }))
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors))
  const { config, nodeConfig } = loaded
  const events: DatapathEvent[] = []
  const open = (): BpfDatapath =>
    createBpfDatapath({
      config,
      nodeConfig,
      addon,
      interfaces,
      log() {},
      onEvents: (batch) => events.push(...batch),
      onPacketTooBig() {},
    })
  const sendFrom = (name: string) => (frame: Uint8Array) =>
    addon.sendFrame(named(name).index, frame)
  const capture = createFrameCapture(
    { peer0: sendFrom('core0'), host0: sendFrom('site0'), host2: sendFrom('site2') },
    '(udp and not port 5353) or arp',
  )
  t.teardown(() => capture.close())
  const fromHost = (payload: Uint8Array, fields = {}): void => {
    const packet = ip({ source: SOURCE, destination: GROUP, ...fields }, payload)
    sendFrom('host0')(ipFrame(groupMac(GROUP), mac('host0'), packet))
  }
  const put = (rlocs: readonly string[], more: Partial<Put> = {}): void =>
    datapath.perform({
      kind: 'put-replication',
      group: NAME,
      copies: rlocs.map((text) => ({
        locator: locator(parseIpAddress(text)!),
        source: parseIpAddress('172.16.1.1')!,
        pathMtu: 1500,
      })),
      localInterfaces: [],
      level: 0,
      ...more,
    })

  let datapath = open()
  t.same(datapath.restore(), { localEids: [], mapCache: [] }, 'nothing on a first start')
  datapath.perform({
    kind: 'put-local-eid',
    eidPrefix: parseEidPrefix('[7]10.10.0.0/24')!,
    state: 'local',
    interfaceName: 'site0',
    mac: undefined,
    dynamicPrefix: false,
    reportSenders: false,
    release: [],
  })
  datapath.start()

  await t.test('the first packet waits for the MAC addresses of all neighbours', async (t) => {
    const rlocs = ['172.16.8.1', '172.16.8.2', '172.16.8.3']
    put(rlocs)
    await capture.take()
    fromHost(udp(1000, 2000, data(8)))
    const asked = (await until(capture.take, (one) => one.peer0.length >= 3)).peer0
    t.same(asked.map(arpTarget).sort(), rlocs, 'each is asked for')
    for (const [index, sender] of rlocs.entries())
      sendFrom('peer0')(
        ethernet(
          mac('core0'),
          `02:00:00:00:08:0${index + 1}`,
          0x0806,
          arp({
            operation: 2,
            senderMac: `02:00:00:00:08:0${index + 1}`,
            sender,
            targetMac: mac('core0'),
            target: '172.16.1.1',
          }),
        ),
      )
    const arrived = (await until(capture.take, (one) => one.peer0.length >= 3)).peer0
    t.same(
      arrived
        .map((frame) => `${outerDestination(frame)} ${openFrame(frame).destinationMac}`)
        .sort(),
      rlocs.map((rloc, index) => `${rloc} 02:00:00:00:08:0${index + 1}`),
    )
  })

  await t.test('one packet goes to 256 sites and to two segments, each once', async (t) => {
    const rlocs = Array.from({ length: 256 }, (_, n) => `172.17.${n >> 4}.${n & 15}`)
    put(rlocs, { localInterfaces: ['site0', 'site2'] })
    await capture.take()
    const payload = udp(1000, 2000, data(100))
    fromHost(payload, { ttl: 9 })
    const { peer0, host0, host2 } = await until(capture.take, (one) => one.peer0.length >= 256)
    t.same(peer0.map(outerDestination).sort(), [...rlocs].sort())
    const inner = ip({ source: SOURCE, destination: GROUP, ttl: 8 }, payload)
    t.ok(peer0.every((frame) => String(openFrame(frame).inner) === String(inner)))
    t.same(host2, [ipFrame(groupMac(GROUP), mac('site2'), inner)])
    t.same(host0, [], 'not where it came from')
    put(Array.from({ length: 257 }, (_, n) => `172.17.${n >> 4}.${n & 15}`))
    await new Promise((resolve) => setImmediate(resolve))
    t.match(events.at(-1), { kind: 'operation-failed', reason: 'too-many-copies' })
  })

  await t.test(
    'what the core brings is delivered under the MAC address of the group',
    async (t) => {
      datapath.perform({
        kind: 'put-replication',
        group: ANY,
        copies: [],
        localInterfaces: ['site0', 'site2'],
        level: 0,
      })
      const inner = ip({ source: REMOTE, destination: GROUP, ttl: 20 }, udp(1, 2, data(50)))
      const lisp = new Uint8Array([...lispHeader({}), ...inner])
      const outer = ip(
        { source: '172.17.0.1', destination: '172.16.1.1', ttl: 60 },
        udp(3, 4341, lisp),
      )
      await capture.take()
      sendFrom('peer0')(ipFrame(mac('core0'), PEER_MAC, outer))
      const { host0, host2 } = await until(capture.take, (one) => one.host2.length > 0)
      t.same(host0, [ipFrame(groupMac(GROUP), mac('site0'), inner)])
      t.same(host2, [ipFrame(groupMac(GROUP), mac('site2'), inner)])
      datapath.perform({ kind: 'delete-replication', group: ANY })
    },
  )

  await t.test('no packet sees half of a list while it is replaced', async (t) => {
    const [even, odd] = [0, 1].map((rest) =>
      Array.from({ length: 12 }, (_, n) => `172.17.${rest}.${n}`),
    )
    put(even!)
    await capture.take()
    for (let n = 0; n < 400; n += 1) {
      if (n % 4 === 0) put(n % 8 === 0 ? odd! : even!)
      fromHost(udp(1000, 2000, Uint8Array.of(n >> 8, n & 255)))
    }
    const { peer0 } = await capture.take()
    const lists = new Map<number, string[]>()
    for (const frame of peer0) {
      const packet = openFrame(frame).inner
      const n = packet[28]! * 256 + packet[29]!
      lists.set(n, [...(lists.get(n) ?? []), outerDestination(frame)])
    }
    t.equal(lists.size, 400, 'every packet has gone')
    const whole = [even, odd].map((list) => String([...list!].sort()))
    t.ok([...lists.values()].every((list) => whole.includes(String(list.sort()))))
  })

  await t.test('a packet that does not fit leaves in halves, to all', async (t) => {
    put(['172.17.0.1', '172.17.0.2'])
    await capture.take()
    fromHost(udp(1000, 2000, data(1472)))
    const { peer0 } = await until(capture.take, (one) => one.peer0.length >= 4)
    const halves = peer0.map((frame) => `${outerDestination(frame)} ${offsetOf(frame)}`).sort()
    t.equal(new Set(halves).size, 4)
    t.same(
      halves.map((one) => one.split(' ')[0]),
      ['172.17.0.1', '172.17.0.1', '172.17.0.2', '172.17.0.2'],
    )
    const bytes = peer0.reduce((sum, frame) => sum + openFrame(frame).inner.length - 20, 0)
    t.equal(bytes, 2 * 1480, 'nothing is missing')
    const before = datapath.counters().drops['group-copy-too-big']!.packets
    fromHost(udp(1000, 2000, data(1472)), { dontFragment: true })
    t.same((await capture.take()).peer0, [], 'not when that is forbidden')
    t.equal(datapath.counters().drops['group-copy-too-big']!.packets, before + 2)
  })

  await t.test('a super-packet is copied whole, and cut where it leaves', async (t) => {
    run('ethtool -K core0 tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off')
    run('ethtool -K core0 tx-udp-segmentation off')
    put(['172.17.0.1', '172.17.0.2', '172.17.0.3'])
    const before = datapath.counters().tallies['replicated']!
    await capture.take()
    // One super-packet of 10 × 1000 bytes after the other, until the first has gone.
    const words = ['blast', '--to', GROUP, '--size', '1000', '--gso', '10', '--flows', '1']
    const child = spawn(PROBE(), [...words, '--port', '2000', '--rate', '100', '--seconds', '0.2'])
    await new Promise((resolve) => child.on('close', resolve))
    const { peer0 } = await until(capture.take, (one) => one.peer0.length >= 30)
    const packets = datapath.counters().tallies['replicated']! - before
    t.equal(packets % 10, 0, 'counted by what it stands for')
    t.ok(packets > 0)
    for (const rloc of ['172.17.0.1', '172.17.0.2', '172.17.0.3']) {
      const mine = peer0.filter((frame) => outerDestination(frame) === rloc)
      t.equal(mine.length, packets, rloc)
      t.ok(mine.every((frame) => openFrame(frame).inner.length === 1028))
    }
  })

  await t.test('usage counts packets, not copies, and remembers the site alone', async (t) => {
    datapath.perform({ kind: 'delete-replication', group: NAME })
    put(['172.17.0.1', '172.17.0.2'])
    const usage = async () => {
      events.length = 0
      datapath.perform({ kind: 'query-replication', group: NAME })
      await new Promise((resolve) => setImmediate(resolve))
      return events[0]
    }
    t.match(await usage(), { packets: 0n, bytes: 0n, idleMs: undefined })
    for (let n = 0; n < 3; n += 1) fromHost(udp(1, 2, data(72)))
    await capture.take()
    t.match(await usage(), { kind: 'replication-usage', packets: 3n, bytes: 300n, idleMs: Number })
    const [counter] = datapath.groupCounters([formatGroup(NAME), formatGroup(ANY)])
    t.match(counter, { group: formatGroup(NAME), packets: 3n, bytes: 300n })
  })

  await t.test('entries go on while nobody runs, and are found again', async (t) => {
    put(['172.17.0.1', '172.17.0.2'], { localInterfaces: ['site2'] })
    datapath.close('keep')
    await capture.take()
    fromHost(udp(1, 2, data(9)))
    t.equal((await until(capture.take, (one) => one.peer0.length >= 2)).peer0.length, 2)
    datapath = open()
    const { groups = [] } = datapath.restore()
    t.same(
      groups.map(({ group, copies, localInterfaces, level }) => [
        formatGroup(group),
        copies.map((one) => formatIpAddress(one.locator.rloc)),
        localInterfaces,
        level,
      ]),
      [[formatGroup(NAME), ['172.17.0.1', '172.17.0.2'], ['site2'], 0]],
    )
    datapath.start()
    put(['172.17.0.3'])
    await capture.take()
    fromHost(udp(1, 2, data(9)))
    t.same(
      (await until(capture.take, (one) => one.peer0.length >= 1)).peer0.map(outerDestination),
      ['172.17.0.3'],
    )
    datapath.perform({ kind: 'delete-replication', group: NAME })
    fromHost(udp(1, 2, data(9)))
    t.same((await capture.take()).peer0, [], 'none without an entry')
  })

  datapath.close('detach')
}

/** What `take` gives, put together until enough has come. */
async function until<Name extends string>(
  take: () => Promise<Record<Name, Uint8Array[]>>,
  isEnough: (found: Record<Name, Uint8Array[]>) => boolean,
): Promise<Record<Name, Uint8Array[]>> {
  const end = performance.now() + 10_000
  const found = await take()
  while (!isEnough(found)) {
    if (performance.now() > end) break
    await new Promise((resolve) => setTimeout(resolve, 5))
    const more = await take()
    for (const name of Object.keys(more) as Name[]) found[name].push(...more[name])
  }
  return found
}

function outerDestination(frame: Uint8Array): string {
  return [...frame.subarray(30, 34)].join('.')
}

function arpTarget(frame: Uint8Array): string {
  return [...frame.subarray(38, 42)].join('.')
}

/** Flags and offset of the inner packet. */
function offsetOf(frame: Uint8Array): number {
  const { inner } = openFrame(frame)
  return inner[6]! * 256 + inner[7]!
}

function run(command: string): void {
  const [word = '', ...rest] = command.split(' ')
  const result = spawnSync(word, rest, { encoding: 'utf8' })
  if (result.status !== 0) throw new Error(`${command}: ${result.stderr}`)
}

function makeLinks(): void {
  const devices = ['site0', 'host0', 'site2', 'host2', 'core0', 'peer0']
  const commands = [
    'link set dev lo up',
    'link add site0 type veth peer name host0',
    'link add site2 type veth peer name host2',
    'link add core0 type veth peer name peer0',
    ...devices.map((name) => `link set dev ${name} up`),
    'addr add 10.10.0.1/24 dev site0',
    `addr add ${SOURCE}/32 dev host0`,
    `route add ${GROUP}/32 dev host0 src ${SOURCE}`,
    'addr add 172.16.1.1/16 dev core0',
    `neigh add 172.16.9.1 dev core0 lladdr ${PEER_MAC}`,
    'route add 172.17.0.0/16 via 172.16.9.1',
  ]
  for (const command of commands) run(`ip ${command}`)
  spawnSync('sh', [
    '-c',
    'echo 1 > /proc/sys/net/ipv4/ip_forward; for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done',
  ])
}

function configText(pinDirectory: string): string {
  return `
node: replication-test
roles: [itr, etr]
rlocs: [{address: 172.16.1.1, interface: core0}]
siteInterfaces: [{name: site0, instanceId: 7}, {name: site2, instanceId: 7}]
eidPrefixes: [{prefix: 10.10.0.0/24, instanceId: 7, interface: site0}]
mapResolvers: [172.16.4.1]
mapServers: [{address: 172.16.4.1, key: {secretFile: key}}]
multicast: {enabled: true, maximumGroups: 64, maximumSources: 64}
datapath: {pinDirectory: ${pinDirectory}, maximumMappings: 1024, maximumLocalEids: 256}
`
}
