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
import { isInsideNamespace, runInsideNamespace } from '../datapath/addon-fixture.js'
import { aMembershipPolicy, aMulticastPolicy } from '../support/builders.js'
import { xtrConfig } from '../support/group-world.js'
import { ip, type SegmentHost, startHost, startSegmentNode } from '../support/segment-hosts.js'

if (isInsideNamespace) testInside()
else runInsideNamespace(fileURLToPath(import.meta.url))

/** Fast enough for a test; the shape is that of the standards. */
const TIMING = {
  robustness: 2,
  queryIntervalMs: 4000,
  queryResponseMs: 1000,
  lastMemberQueryMs: 200,
}
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
      for (const [line, group] of GROUPS) {
        const begun = node.moments.length
        await host!.tell(line.replace('join', 'leave'))
        const ms = await node.until(() => !node.joined().includes(group))
        t.ok(ms > LEAVE_MS * 0.8, `${group} ends after it was asked about: ${ms.toFixed(0)} ms`)
        const names = node.moments.slice(begun).map(({ event }) => event.name)
        t.equal(names.filter((one) => one === 'group-left').length, 1)
      }
      t.same(node.joined(), [])
    })
}
