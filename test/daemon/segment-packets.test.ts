/**
 * IGMP and MLD with real hosts: kernels in namespaces that join and leave by sockets, and the shell and
 * the node that serve them. On a plain veth, and on bridges that snoop or do not, with another querier
 * beside us. Times are bounded from above generously, and from below where the standards say "not before".
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { MembershipPolicy } from '../../src/config/node-config.js'
import { loadNativeAddon } from '../../src/datapath/native-addon.js'
import { segmentFrame } from '../../src/datapath/segment-frames.js'
import { encodeIgmp } from '../../src/lisp/multicast/igmp.js'
import { isInsideNamespace, runInsideNamespace } from '../datapath/addon-fixture.js'
import { aMembershipPolicy, aMulticastPolicy, anAddress } from '../support/builders.js'
import { xtrConfig } from '../support/group-world.js'
import {
  interfaceNamed,
  ip,
  type SegmentHost,
  startHost,
  startSegmentNode,
} from '../support/segment-hosts.js'

// On a busy machine; alone it takes a sixth of it.
t.setTimeout(120_000)
if (isInsideNamespace) testInside()
else runInsideNamespace(fileURLToPath(import.meta.url))

/** Fast enough for a test; the shape is that of the standards. */
const TIMING = {
  robustness: 2,
  queryIntervalMs: 4000,
  queryResponseMs: 1000,
  lastMemberQueryMs: 200,
}
const HOST_MAC = '02:00:00:00:00:07'
const GREEDY_GROUPS = 100_000
/** As many as a frame of 1,280 bytes takes, and a divisor of the groups. */
const RECORDS_OF_REPORT = 100
const BURST_GROUPS = 2000
const ETHERNET_BYTES = 14
/** Of 239.16.0.0 and what follows. */
const groupBytes = (index: number): Uint8Array =>
  Uint8Array.of(239, 16 + (index >> 16), (index >> 8) & 0xff, index & 0xff)
const LEAVE_MS = TIMING.lastMemberQueryMs * TIMING.robustness

function configOf(about: Partial<MembershipPolicy> = {}) {
  const membership = aMembershipPolicy({ timing: TIMING, ...about })
  return xtrConfig(1, { multicast: aMulticastPolicy({ enabled: true, membership }) })
}

const GROUPS = [
  ['join 239.1.1.1', '(*,239.1.1.1)'],
  ['join 232.1.1.1 10.9.9.9', '(10.9.9.9,232.1.1.1)'],
  ['join ff1e::101', '(*,ff1e::101)'],
  ['join ff3e::101 2001:db8:9::9', '(2001:db8:9::9,ff3e::101)'],
] as const

function testInside(): void {
  const addon = loadNativeAddon()
  ip('link set dev lo up')

  /** A bridge `site` with two hosts behind it, or with none a veth. */
  async function aSegment(t: Test, bridge?: string): Promise<SegmentHost[]> {
    const hosts: SegmentHost[] = []
    if (bridge === undefined) hosts.push(await startHost('site'))
    else {
      ip(`link add dev site type bridge stp_state 0 forward_delay 0 ${bridge}`.trim())
      for (const port of ['port1', 'port2']) {
        hosts.push(await startHost(port))
        ip(`link set dev ${port} master site`)
      }
      ip('link set dev site up')
    }
    ip('address add 10.1.0.1/16 dev site')
    ip('address add fe80::1/64 dev site nodad')
    for (const [index, host] of hosts.entries()) {
      await host.tell('set ipv6/conf/eth0/accept_dad 0')
      await host.tell(`address 10.1.0.${index + 10}/16`)
      await host.tell(`address fe80::${index + 10}/64`)
    }
    t.teardown(async () => {
      for (const host of hosts) await host.end()
      // A veth goes with the namespace of its host, some time after its end.
      spawnSync('ip', ['link', 'del', 'dev', 'site'], { stdio: 'ignore' })
    })
    return hosts
  }

  const segments = [
    ['a plain veth', undefined],
    ['a bridge without snooping', 'mcast_snooping 0'],
    ['a bridge that snoops', 'mcast_snooping 1'],
    [
      'a bridge that snoops and asks itself',
      'mcast_snooping 1 mcast_querier 1 mcast_igmp_version 3 mcast_mld_version 2',
    ],
  ] as const
  for (const [name, bridge] of segments)
    t.test(`hosts join and leave on ${name}, any source and one, IPv4 and IPv6`, async (t) => {
      const [host] = await aSegment(t, bridge)
      const node = startSegmentNode(configOf(), addon)
      t.teardown(() => node.stop())
      for (const [line, group] of GROUPS) {
        await host!.tell(line)
        await node.until(() => node.joined().includes(group))
      }
      const hosts = node.listeners().flatMap((one) => one.hosts)
      t.ok(hosts.includes('10.1.0.10'), 'tracked by address')
      // What the kernel itself joins on the link is none of ours.
      t.same(node.joined().sort(), GROUPS.map(([, group]) => group).sort())
      const begun = node.moments.length
      const left = performance.now()
      for (const [line] of GROUPS) await host!.tell(line.replace('join', 'leave'))
      await node.until(() => node.joined().length < GROUPS.length)
      const ms = performance.now() - left
      t.ok(ms > LEAVE_MS * 0.8, `none ends before it was asked about: ${ms.toFixed(0)} ms`)
      await node.until(() => node.joined().length === 0)
      const names = node.moments.slice(begun).map(({ event }) => event.name)
      t.equal(names.filter((one) => one === 'group-left').length, GROUPS.length)
      t.same(node.joined(), [])
    })

  t.test('hosts forced to older versions join and leave, and SSM is not for them', async (t) => {
    const [host] = await aSegment(t)
    const node = startSegmentNode(configOf(), addon)
    t.teardown(() => node.stop())
    const rounds = [
      ['ipv4/conf/eth0/force_igmp_version 2', '239.1.1.1', 2],
      ['ipv4/conf/eth0/force_igmp_version 1', '239.1.1.2', 1],
      ['ipv6/conf/eth0/force_mld_version 1', 'ff1e::101', 1],
    ] as const
    for (const [sysctl, group, version] of rounds) {
      await host!.tell(`set ${sysctl}`)
      await host!.tell(`join ${group}`)
      await node.until(() => node.joined().includes(`(*,${group})`))
      t.equal(node.listeners().find((one) => one.group === group)?.version, version, sysctl)
    }
    await host!.tell('join 232.1.1.1 10.9.9.9')
    const refused = (): boolean =>
      node.moments.some(({ event }) => event.reason === 'any-source-in-ssm-range')
    await node.until(refused)
    t.notOk(node.joined().some((group) => group.includes('232.1.1.1')))
    await host!.tell('leave ff1e::101')
    const ms = await node.until(() => !node.joined().includes('(*,ff1e::101)'))
    t.ok(ms > LEAVE_MS * 0.8, `Done is asked about: ${ms.toFixed(0)} ms`)
  })

  t.test(
    'of two queriers on a bridge the lower asks, and the other one when it is gone',
    async (t) => {
      const [host] = await aSegment(t, 'mcast_snooping 1')
      // The second one is a router of the segment too, on a port of the same bridge.
      ip('link add other type veth peer name port3')
      ip('link set dev port3 master site')
      for (const link of ['port3', 'other']) ip(`link set dev ${link} up`)
      ip('address add 10.1.0.2/16 dev other')
      ip('address add fe80::2/64 dev other nodad')
      t.teardown(() => ip('link del dev other'))
      const timing = { ...TIMING, queryIntervalMs: 1000, queryResponseMs: 500 }
      const config = configOf({ timing })
      const ours = startSegmentNode(config, addon)
      const [site] = config.siteInterfaces
      const theirs = startSegmentNode(
        { ...config, siteInterfaces: [{ ...site!, name: 'other' }] },
        addon,
      )
      t.teardown(() => theirs.stop())
      const isQuerier = (node: typeof ours): string =>
        node
          .segments()
          .map(({ isQuerier, querier }) => `${isQuerier} ${querier}`)
          .join(', ')
      await theirs.until(() => isQuerier(theirs) === 'false 10.1.0.1, false fe80::1')
      t.equal(isQuerier(ours), 'true 10.1.0.1, true fe80::1')
      await host!.tell('join 239.1.1.1')
      await theirs.until(() => theirs.joined().includes('(*,239.1.1.1)'))
      t.ok(ours.joined().includes('(*,239.1.1.1)'), 'both know what is listened to')
      await host!.tell('leave 239.1.1.1')
      await theirs.until(() => !theirs.joined().includes('(*,239.1.1.1)'))
      t.notOk(
        theirs.sent.some(({ payload, protocol }) => protocol === 'igmp' && payload[4] !== 0),
        'and only the querier asks about it',
      )
      ours.stop()
      await theirs.until(() => isQuerier(theirs) === 'true 10.1.0.2, true fe80::2')
      await host!.tell('join 239.1.1.2')
      await theirs.until(() => theirs.joined().includes('(*,239.1.1.2)'))
    },
  )

  t.test('a host that joins 100,000 groups meets its limit, and the others go on', async (t) => {
    const [host] = await aSegment(t, 'mcast_snooping 1')
    ip('link add greedy type veth peer name port3')
    ip('link set dev port3 master site')
    for (const link of ['port3', 'greedy']) ip(`link set dev ${link} up`)
    t.teardown(() => ip('link del dev greedy'))
    const node = startSegmentNode(configOf(), addon)
    t.teardown(() => node.stop())
    const { index, mac } = interfaceNamed('greedy')
    const [source, destination] = [anAddress('10.1.0.99'), anAddress('224.0.0.22')]
    for (let first = 0; first < GREEDY_GROUPS; first += RECORDS_OF_REPORT) {
      const records = Array.from({ length: RECORDS_OF_REPORT }, (_, at) => ({
        type: 'change-to-exclude' as const,
        group: { family: 4 as const, bytes: groupBytes(first + at) },
        sources: [],
      }))
      const message = { kind: 'source-membership-report', protocol: 'igmp', records } as const
      const about = { interfaceName: 'greedy', protocol: 'igmp', source, destination } as const
      const payload = encodeIgmp(message)
      addon.sendFrame(index, segmentFrame({ kind: 'send-on-segment', ...about, payload }, mac))
      // A burst of all of them would fill the kernel's queues, not our tables.
      if (first % BURST_GROUPS === 0) await new Promise(setImmediate)
    }
    await host!.tell('join 239.1.1.1')
    await node.until(() => node.joined().includes('(*,239.1.1.1)'))
    const [four] = node.segments()
    const greedy = node.listeners().filter(({ hosts }) => hosts.includes('10.1.0.99'))
    t.equal(greedy.length, aMembershipPolicy().maximumGroupsPerHost)
    t.ok(four!.refused > GREEDY_GROUPS / 2, `${four!.refused} joins refused of ${GREEDY_GROUPS}`)
    const refusals = node.moments.filter(({ event }) => event.name === 'group-refused')
    t.same(new Set(refusals.map(({ event }) => event.reason)), new Set(['too-many-groups-of-host']))
  })

  t.test(
    'what is no IGMP, MLD or PIM, or too short for it, is counted by its reason',
    async (t) => {
      await aSegment(t)
      const node = startSegmentNode(configOf(), addon)
      t.teardown(() => node.stop())
      ip('link add stranger type veth peer name site2')
      t.teardown(() => ip('link del dev stranger'))
      for (const link of ['stranger', 'site2']) ip(`link set dev ${link} up`)
      const config = configOf()
      const [site] = config.siteInterfaces
      node.packets.follow({ ...config, siteInterfaces: [{ ...site!, name: 'site2' }] }, [
        interfaceNamed('site2'),
      ])
      const { index, mac } = interfaceNamed('stranger')
      const about = { interfaceName: 'site2', source: anAddress('10.1.0.9') } as const
      const destination = anAddress('224.0.0.13')
      const payload = new Uint8Array(8)
      const pim = {
        kind: 'send-on-segment',
        protocol: 'pim',
        ...about,
        destination,
        payload,
      } as const
      const frame = segmentFrame(pim, mac)
      const spoiled = (at: number, byte: number): Uint8Array => {
        const copy = frame.slice()
        copy[at] = byte
        return copy
      }
      addon.sendFrame(index, frame)
      addon.sendFrame(index, spoiled(ETHERNET_BYTES + 6, 0x20))
      addon.sendFrame(index, spoiled(ETHERNET_BYTES, 0x41))
      addon.sendFrame(index, spoiled(ETHERNET_BYTES + 3, 200))
      const drops = () => node.packets.counters().drops
      await node.until(() => drops()['segment-cut-short'] === 1)
      t.match(drops(), { 'segment-fragment': 1, 'segment-ip-header': 1, 'segment-cut-short': 1 })
      const before = node.packets.counters().packets['pim-sent'] ?? 0
      node.packets.send({ ...pim, interfaceName: 'site9' })
      node.packets.send({ ...pim, destination: anAddress('10.1.0.1') })
      t.match(drops(), { 'send-without-interface': 1, 'send-without-address': 1 })
      node.packets.send(pim)
      t.equal(node.packets.counters().packets['pim-sent'], before + 1)
    },
  )

  t.test(
    'a host that has come without a word is known by the answer to its greeting',
    async (t) => {
      const [host] = await aSegment(t)
      await host!.tell('join 239.1.1.1')
      await host!.tell('join ff1e::101')
      // Long after its own reports: nobody asks before it is greeted.
      await new Promise((resolve) => setTimeout(resolve, 1500))
      const timing = { ...TIMING, queryIntervalMs: 100_000, queryResponseMs: 90_000 }
      const node = startSegmentNode(configOf({ timing, enabled: true }), addon)
      t.teardown(() => node.stop())
      await node.until(() => node.joined().length === 2)
      const answered = (): number => {
        const { packets } = node.packets.counters()
        return (packets['igmp-received'] ?? 0) + (packets['mld-received'] ?? 0)
      }
      const before = answered()
      const eid = {
        instanceId: 0,
        address: { family: 4, bytes: Uint8Array.of(10, 200, 0, 7) },
      } as const
      await host!.tell(`mac ${HOST_MAC}`)
      node.raise({
        ...{ kind: 'local-eid-seen', eid, interfaceName: 'site', how: 'arp' },
        mac: Uint8Array.from(HOST_MAC.split(':'), (byte) => Number.parseInt(byte, 16)),
      })
      const ms = await node.until(() => answered() >= before + 2)
      t.ok(ms < 2000, `IGMP and MLD after ${ms.toFixed(0)} ms`)
    },
  )
}
