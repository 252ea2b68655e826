/**
 * IGMP and MLD in a whole xTR: from a report on a segment to the copies of the source's site, and back;
 * hosts that move between sites; two xTRs on a segment.
 */
import t from 'tap'
import type { NodeConfig } from '../../../src/config/node-config.js'
import type { SegmentOperation } from '../../../src/control/segment-vocabulary.js'
import { encodeIgmp } from '../../../src/lisp/multicast/igmp.js'
import type { MembershipMessage } from '../../../src/lisp/multicast/membership.js'
import { encodeMld } from '../../../src/lisp/multicast/mld.js'
import { aMembershipPolicy, aMulticastPolicy, anAddress } from '../../support/builders.js'
import { createGroupWorld, xtrConfig } from '../../support/group-world.js'

const GROUP = '(10.1.0.5,232.1.1.1)'
const MAC = Uint8Array.of(2, 0, 0, 0, 0, 7)

function aSite(index: number, about: Partial<NodeConfig['multicast']> = {}): NodeConfig {
  const membership = aMembershipPolicy()
  return xtrConfig(index, { multicast: aMulticastPolicy({ enabled: true, membership, ...about }) })
}

function aWorld(...configs: NodeConfig[]) {
  const world = createGroupWorld(configs)
  const hear = (
    name: string,
    message: MembershipMessage,
    from: { readonly address: string; readonly mac?: Uint8Array },
  ): void => {
    const isIpv4 = message.protocol === 'igmp'
    const source = anAddress(from.address)
    const destination = anAddress(isIpv4 ? '224.0.0.22' : 'ff02::16')
    const payload = isIpv4 ? encodeIgmp(message) : encodeMld(message, { source, destination })
    world.raise(name, {
      ...{ kind: 'segment-packet', interfaceName: 'site', protocol: message.protocol },
      ...{ mac: from.mac ?? MAC, source, destination, hopLimit: 1, routerAlert: true, payload },
    })
  }
  return {
    ...world,
    hear,
    address(name: string, four = '10.99.0.1', six = 'fe80::1'): void {
      for (const [family, text] of [
        [4, four],
        [6, six],
      ] as const)
        world.raise(name, {
          ...{ kind: 'segment-address', interfaceName: 'site', family, address: anAddress(text) },
        })
    },
    report(
      name: string,
      from: string,
      type: 'allow-new-sources' | 'block-old-sources' | 'mode-is-exclude' | 'change-to-include',
      group: string,
      ...sources: string[]
    ): void {
      const protocol = group.includes(':') ? 'mld' : 'igmp'
      const record = { type, group: anAddress(group), sources: sources.map(anAddress) }
      const message = { kind: 'source-membership-report', protocol, records: [record] } as const
      hear(name, message, { address: from })
    },
    queries(name: string): SegmentOperation[] {
      const all = world.xtr(name).performed.flatMap(({ operations }) => operations)
      return all.filter((one): one is SegmentOperation => one.kind === 'send-on-segment')
    },
  }
}

t.test('a report is registered and followed by copies, a leave ends them', async (t) => {
  const world = aWorld(aSite(1), aSite(2))
  world.address('site-2')
  t.same(
    world.queries('site-2').map(({ protocol }) => protocol),
    ['igmp', 'mld'],
    'asks from the first moment',
  )
  world.send('site-1', GROUP)
  world.report('site-2', '10.2.0.9', 'allow-new-sources', '232.1.1.1', '10.1.0.5')
  world.run(20)
  t.equal(world.xtr('site-1').entries.get(GROUP), '0 192.0.2.2 |')
  t.equal(world.xtr('site-2').entries.get(GROUP), '0 | site')
  world.report('site-2', '10.2.0.9', 'block-old-sources', '232.1.1.1', '10.1.0.5')
  world.run(1900)
  t.equal(world.xtr('site-1').entries.get(GROUP), '0 192.0.2.2 |', 'others are asked first')
  world.run(200)
  t.equal(world.xtr('site-1').entries.get(GROUP), '0 |')
  t.notOk(world.xtr('site-2').entries.has(GROUP))
})

t.test('without an address of the segment nothing is served', async (t) => {
  const world = aWorld(aSite(2))
  world.report('site-2', '10.2.0.9', 'mode-is-exclude', '239.1.1.1')
  t.same(world.groups('site-2'), [])
})

t.test(
  'a host that arrives is asked alone, and one that has left is heard of no more',
  async (t) => {
    const world = aWorld(aSite(1), aSite(2))
    world.address('site-1')
    world.address('site-2')
    const eid = { instanceId: 0, address: anAddress('10.200.0.7') }
    const seen = {
      kind: 'local-eid-seen',
      eid,
      mac: MAC,
      interfaceName: 'site',
      how: 'arp',
    } as const
    world.raise('site-1', seen)
    world.run(5000)
    // IPv6 groups are reported from a link-local address, which is no EID.
    world.report('site-1', '10.200.0.7', 'mode-is-exclude', '239.1.1.1')
    world.report('site-1', 'fe80::7', 'mode-is-exclude', 'ff1e::1')
    world.run(1000)
    t.equal(world.groups('site-1').filter(({ registered }) => registered).length, 2)
    const before = world.queries('site-2').length
    world.raise('site-2', seen)
    const greetings = world.queries('site-2').slice(before)
    t.same(
      greetings.map(({ protocol, mac }) => [protocol, mac]),
      [
        ['igmp', MAC],
        ['mld', MAC],
      ],
    )
    world.report('site-2', '10.200.0.7', 'mode-is-exclude', '239.1.1.1')
    world.report('site-2', 'fe80::7', 'mode-is-exclude', 'ff1e::1')
    world.run(50)
    t.equal(world.groups('site-2').filter(({ registered }) => registered).length, 2)
    t.same(
      world.groups('site-1').filter(({ listeners }) => listeners > 0),
      [],
      'at once, and without having asked anybody',
    )
  },
)

t.test('what a host listens to goes along with its prepared move, of both families', async (t) => {
  const world = aWorld(aSite(1), aSite(2))
  world.address('site-1')
  world.address('site-2')
  const eid = { instanceId: 0, address: anAddress('10.200.0.7') }
  world.raise('site-1', {
    ...{ kind: 'local-eid-seen', eid, mac: MAC, interfaceName: 'site', how: 'arp' },
  })
  world.run(5000)
  world.report('site-1', '10.200.0.7', 'mode-is-exclude', '239.1.1.1')
  world.report('site-1', 'fe80::7', 'mode-is-exclude', 'ff1e::1')
  world.run(1000)
  world.command('site-2', { kind: 'start-move', eids: [eid], source: anAddress('192.0.2.1') })
  world.run(100)
  t.same(
    world
      .groups('site-2')
      .filter(({ registered }) => registered)
      .map(({ group }) => group)
      .sort(),
    ['(*,239.1.1.1)', '(*,ff1e::1)'],
  )
})

t.test(
  'of two xTRs on a segment the elected querier registers, a foreign querier decides nothing',
  async (t) => {
    const siteXtrs = [anAddress('192.0.2.2'), anAddress('192.0.2.3')]
    const querierCandidates = [anAddress('10.99.0.3')]
    const membership = aMembershipPolicy({ querierCandidates })
    const world = aWorld(aSite(2, { siteXtrs, membership }))
    world.address('site-2', '10.99.0.9')
    world.report('site-2', '10.2.0.9', 'mode-is-exclude', '239.1.1.1')
    const registered = (): boolean => world.groups('site-2')[0]?.registered === true
    t.ok(registered())
    const terms = {
      suppressRouterProcessing: false,
      robustness: 2,
      queryIntervalCode: 125,
      sources: [],
    }
    const query: MembershipMessage = {
      ...{ kind: 'membership-query', protocol: 'igmp', version: 3, maxResponseCode: 100 },
      ...{ group: anAddress('0.0.0.0'), sourceTerms: terms },
    }
    world.hear('site-2', query, { address: '10.99.0.3' })
    t.notOk(registered(), 'the other xTR does')
    world.hear('site-2', query, { address: '10.99.0.1' })
    t.ok(registered(), 'a switch cannot: the lowest RLOC of the site does')
  },
)

t.test('a host that is refused does not disturb the others', async (t) => {
  const world = aWorld(aSite(1), aSite(2))
  world.address('site-2')
  for (let number = 0; number < 200; number += 1)
    world.report('site-2', '10.2.0.66', 'mode-is-exclude', `239.9.0.${number}`)
  t.equal(world.xtr('site-2').node.tables.sizes().listenedGroups, 20)
  const mac = Uint8Array.of(2, 0, 0, 0, 0, 8)
  const record = { type: 'mode-is-exclude', group: anAddress('239.1.1.1'), sources: [] } as const
  const message = { kind: 'source-membership-report', protocol: 'igmp', records: [record] } as const
  world.hear('site-2', message, { address: '10.2.0.9', mac })
  t.ok(world.groups('site-2').some(({ group }) => group === '(*,239.1.1.1)'))
  t.ok(world.names('site-2').includes('group-refused too-many-groups-of-host'))
})
