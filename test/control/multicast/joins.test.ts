/**
 * Joining sources at their xTRs (RFC 6831, RFC 8059, RFC 9798): three sites and a Map-Server, message by
 * message in virtual time.
 */
import t from 'tap'
import type { NodeConfig } from '../../../src/config/node-config.js'
import { embeddedRendezvousPoint } from '../../../src/control/multicast/rendezvous-point.js'
import { chooseRoot } from '../../../src/control/multicast/root-choice.js'
import { formatIpAddress } from '../../../src/lisp/address.js'
import { locator, type Rloc } from '../../../src/lisp/locator.js'
import { encodeEncapsulatedPim } from '../../../src/lisp/multicast/encapsulated-pim.js'
import type { PimMessage } from '../../../src/lisp/multicast/pim.js'
import type { JoinAttribute } from '../../../src/lisp/multicast/pim-addresses.js'
import { anAddress, aPrefix } from '../../support/builders.js'
import {
  aGroup,
  createGroupWorld,
  type GroupXtr,
  mapServerConfig,
  xtrConfig,
} from '../../support/group-world.js'
import {
  aHello,
  aJoinPrune,
  fromRouter,
  joinLines,
  linesOf,
  ownAddress,
  pimMulticast,
} from '../../support/pim-router.js'

const SSM = '(10.1.0.5,232.1.1.1)'
const JOIN = 'join (10.1.0.5,232.1.1.1) by 192.0.2.1'
const PRUNE = 'prune (10.1.0.5,232.1.1.1) by 192.0.2.1'

type Pim = Parameters<typeof pimMulticast>[0]

function joining(index: number, pim: Pim = {}, about: Partial<NodeConfig> = {}): NodeConfig {
  const joiners = [aPrefix('192.0.2.0/24')]
  return xtrConfig(index, {
    multicast: pimMulticast({ joinSites: true, joiners, ...pim }),
    ...about,
  })
}

function aWorld(pim: Pim = {}, about: Partial<NodeConfig> = {}) {
  const sites = [1, 2, 3].map((index) => joining(index, pim, about))
  return createGroupWorld(sites, mapServerConfig())
}

type World = ReturnType<typeof aWorld>

function linesFrom(world: World, rloc: string): string[] {
  return world.joins.filter(({ from }) => from === rloc).flatMap(({ message }) => linesOf(message))
}

/** Copies of the entry of a group, `rloc from source`. */
function copiesAt({ performed }: GroupXtr, group: string): string[] {
  let copies: string[] = []
  for (const { operations } of performed) {
    for (const one of operations) {
      if (one.kind !== 'put-replication' && one.kind !== 'delete-replication') continue
      if (formatGroupOf(one.group) !== group) continue
      copies =
        one.kind === 'delete-replication'
          ? []
          : one.copies.map((copy) => {
              return `${formatIpAddress(copy.locator.rloc)} from ${formatIpAddress(copy.source)}`
            })
    }
  }
  return copies
}

function formatGroupOf({ source, group }: ReturnType<typeof aGroup>): string {
  return `(${source === undefined ? '*' : formatIpAddress(source)},${formatIpAddress(group)})`
}

function refusals(xtr: GroupXtr): (string | undefined)[] {
  return xtr.events
    .filter(({ name }) => name === 'join-refused' || name === 'pim-ignored')
    .map(({ reason }) => reason)
}

/** A Join of site 2 as its packets, with these attributes of its upstream neighbour and source. */
function sendJoin(
  world: World,
  upstream: readonly JoinAttribute[],
  about: {
    readonly source?: readonly JoinAttribute[]
    readonly from?: string
    readonly inner?: string
    readonly group?: string
  } = {},
): void {
  const { source = [], from = '192.0.2.2', inner = from, group = SSM } = about
  const message = aJoinPrune('join', aGroup(group), '192.0.2.1')
  const said = {
    ...message,
    upstreamNeighbor: { ...message.upstreamNeighbor, attributes: upstream },
    groups: message.groups.map((one) => ({
      ...one,
      joined: one.joined.map((line) => ({ ...line, attributes: source })),
    })),
  }
  raise(world, said, from, inner)
}

function raise(world: World, message: PimMessage, from: string, inner = from): void {
  const to = anAddress('192.0.2.1')
  const bytes = encodeEncapsulatedPim({
    instanceId: 0,
    source: anAddress(inner),
    destination: to,
    message,
  })
  world.raise('site-1', { kind: 'encapsulated-pim', from: anAddress(from), to, bytes })
}

const UNICAST = { kind: 'transport', transport: 'unicast' } as const
const MULTICAST = { kind: 'transport', transport: 'multicast' } as const
const at = (text: string): JoinAttribute => ({ kind: 'receiver-rloc', rloc: anAddress(text) })
const spoiled = (type: number, value: number[], forward = false): JoinAttribute => {
  return { kind: 'other', type, forward, value: Uint8Array.from(value) }
}

// ------------------------------------------------------------------ the receiver site

t.test(
  'a join of the site is sent to the RLOC of the source, once a minute, until nobody listens',
  async (t) => {
    const world = aWorld()
    world.join('site-2', SSM)
    world.run(100)
    t.same(linesFrom(world, '192.0.2.2'), [JOIN])
    t.match(world.joins[0], { to: '192.0.2.1', instanceId: 0, message: { holdtime: 210 } })
    world.run(180_000)
    t.same(linesFrom(world, '192.0.2.2'), [JOIN, JOIN, JOIN, JOIN])
    world.leave('site-2', SSM)
    world.run(180_000)
    t.same(linesFrom(world, '192.0.2.2').slice(4), [PRUNE])
    const registers = world.sent.filter(({ message }) => message.kind === 'map-register')
    t.notOk(
      registers.some(
        ({ message }) => (message as { structuredRecords?: unknown[] }).structuredRecords?.length,
      ),
      'the mapping system is not told of the group',
    )
  },
)

t.test('a join of a router of the site is sent on likewise', async (t) => {
  const world = aWorld()
  world.raise('site-2', ownAddress('10.2.0.1'))
  world.raise('site-2', fromRouter('10.2.0.7', aHello()))
  world.raise('site-2', fromRouter('10.2.0.7', aJoinPrune('join', aGroup(SSM), '10.2.0.1')))
  world.run(100)
  t.same(linesFrom(world, '192.0.2.2'), [JOIN])
})

t.test('transport and receiver are said once, at the upstream neighbour', async (t) => {
  const world = aWorld()
  world.join('site-2', SSM)
  world.run(100)
  const { message } = world.joins[0]!
  t.same(message.upstreamNeighbor.attributes, [UNICAST, at('192.0.2.2')])
  t.same(message.groups[0]!.group.attributes, [])
  t.same(message.groups[0]!.joined[0]!.attributes, [])
})

t.test('many groups of one source are joined by few messages', async (t) => {
  const world = aWorld()
  for (let index = 1; index <= 100; index += 1) world.join('site-2', `(10.1.0.5,232.1.2.${index})`)
  world.run(1000)
  const before = world.joins.length
  world.run(60_000)
  t.equal(world.joins.length - before, 4)
  t.equal(linesFrom(world, '192.0.2.2').length, 200)
  const asked = world.sent.filter(({ from, message }) => {
    return from === '192.0.2.2' && message.kind === 'encapsulated-control'
  })
  t.ok(asked.length <= 2, 'the source is looked up, not the groups')
})

t.test('the xTR of the source is chosen by M-Priority and M-Weight', async (t) => {
  const config = joining(2)
  const up = (_rloc: Rloc): boolean => false
  const site = (text: string, multicastPriority: number, multicastWeight = 1) => {
    return locator(anAddress(text), { multicastPriority, multicastWeight })
  }
  const choose = (locators: ReturnType<typeof site>[], isDown = up, group = SSM) => {
    const chosen = chooseRoot(config, aGroup(group), locators, isDown)
    return chosen && formatIpAddress(chosen)
  }
  const [a, b, c] = ['192.0.2.91', '192.0.2.92', '192.0.2.93']
  t.equal(choose([site(a!, 2), site(b!, 1), site(c!, 255)]), b)
  t.equal(choose([site(a!, 255), site(b!, 255)]), undefined, 'uLISP')
  t.equal(
    choose([site(a!, 2), site(b!, 1)], (rloc) => formatIpAddress(rloc) === b),
    a,
  )
  t.equal(choose([site(a!, 1), { ...site(b!, 0), reachable: false }]), a)
  const counts = new Map<string | undefined, number>()
  for (let index = 0; index < 200; index += 1) {
    const group = `(10.1.0.5,232.1.${index >> 4}.${index & 15})`
    const chosen = choose([site(a!, 1, 75), site(b!, 1, 25)], up, group)
    counts.set(chosen, (counts.get(chosen) ?? 0) + 1)
  }
  t.ok(counts.get(a)! > 110 && counts.get(b)! > 20, `${[...counts]}`)
  t.ok(choose([site(a!, 1, 0), site(b!, 1, 0)]), 'weights of 0 are alike')
})

t.test(
  'over a core with groups the RLOC is of the family of the source, else any that can be reached',
  async (t) => {
    const both = [
      { address: anAddress('192.0.2.2'), interfaceName: 'core', priority: 1, weight: 100 },
      { address: anAddress('2001:db8::2'), interfaceName: 'core', priority: 1, weight: 100 },
    ]
    const four = locator(anAddress('192.0.2.91'), { multicastPriority: 2 })
    const six = locator(anAddress('2001:db8::91'), { multicastPriority: 1 })
    const choose = (config: NodeConfig, locators: (typeof four)[]) => {
      const chosen = chooseRoot(config, aGroup(SSM), locators, () => false)
      return chosen && formatIpAddress(chosen)
    }
    const unicast = joining(2, {}, { rlocs: both })
    t.equal(choose(unicast, [four, six]), '192.0.2.91')
    t.equal(choose(unicast, [six]), '2001:db8::91')
    t.equal(choose(joining(2), [six]), undefined, 'no RLOC of ours of that family')
    const carried = joining(2, { underlayMulticast: true }, { rlocs: both })
    t.equal(choose(carried, [four, six]), '192.0.2.91')
    t.equal(choose(carried, [six]), undefined)
  },
)

t.test('another xTR of the source is joined when the first one is down', async (t) => {
  const twoRlocs = ['192.0.2.1', '192.0.2.11'].map((text, index) => ({
    address: anAddress(text),
    interfaceName: 'core',
    priority: index + 1,
    weight: 100,
  }))
  const rlocProbe = { enabled: true, intervalMs: 10_000, failures: 2 }
  const mapServers = xtrConfig(1).mapServers
  const world = createGroupWorld(
    [joining(1, {}, { rlocs: twoRlocs }), joining(2, {}, { rlocProbe, mapServers })],
    mapServerConfig(),
  )
  world.join('site-2', SSM)
  world.run(100)
  t.same(linesFrom(world, '192.0.2.2'), [JOIN])
  // What site 2 sends to the EIDs of site 1 has its RLOCs probed.
  const eid = { instanceId: 0, address: anAddress('10.1.0.5') }
  const source = { instanceId: 0, address: anAddress('10.2.0.5') }
  world.raise('site-2', { kind: 'packet-held', eid, source, why: 'map-cache-miss' })
  world.run(1000)
  world.lose(({ from, to }) => from === '192.0.2.1' || to === '192.0.2.1')
  world.run(45_000)
  t.ok(linesFrom(world, '192.0.2.2').includes('join (10.1.0.5,232.1.1.1) by 192.0.2.11'))
  t.equal(linesFrom(world, '192.0.2.2').filter((line) => line === PRUNE).length, 1)
})

t.test('a source without LISP is joined through the core as it is', async (t) => {
  const world = aWorld({ underlayMulticast: true })
  world.raise('site-2', ownAddress('192.0.2.2', 'core'))
  world.raise('site-2', fromRouter('192.0.2.254', aHello(), { interfaceName: 'core' }))
  const elsewhere = '(10.77.0.5,232.1.1.1)'
  world.join('site-2', elsewhere)
  world.run(5000)
  t.same(world.joins, [])
  const lines = joinLines(world.xtr('site-2').performed)
  t.same(lines, ['join (10.77.0.5,232.1.1.1) by 192.0.2.254'])
  const without = aWorld()
  without.join('site-2', elsewhere)
  without.run(5000)
  t.ok(refusals(without.xtr('site-2')).includes('root-without-lisp'))
})

t.test('where the core carries groups, (S-RLOC,G) is joined there as well', async (t) => {
  const world = aWorld({ underlayMulticast: true })
  world.raise('site-2', ownAddress('192.0.2.2', 'core'))
  world.raise('site-2', fromRouter('192.0.2.254', aHello(), { interfaceName: 'core' }))
  world.join('site-2', SSM)
  world.run(100)
  t.same(world.joins[0]!.message.upstreamNeighbor.attributes, [MULTICAST, at('232.1.1.1')])
  const lines = () => joinLines(world.xtr('site-2').performed)
  t.same(lines(), ['join (192.0.2.1,232.1.1.1) by 192.0.2.254'])
  world.leave('site-2', SSM)
  world.run(100)
  t.same(lines().slice(1), ['prune (192.0.2.1,232.1.1.1) by 192.0.2.254'])
})

t.test('a group of the core is the receiver only where the core carries groups', async (t) => {
  const underlayGroups = [{ groups: aPrefix('232.1.0.0/16'), address: anAddress('232.200.0.1') }]
  for (const underlayMulticast of [false, true]) {
    const world = aWorld({ underlayMulticast, underlayGroups })
    world.join('site-2', SSM)
    world.run(100)
    const [, receiver] = world.joins[0]!.message.upstreamNeighbor.attributes
    t.same(receiver, at(underlayMulticast ? '232.200.0.1' : '192.0.2.2'))
    const copies = copiesAt(world.xtr('site-1'), SSM)
    const to = underlayMulticast ? '232.200.0.1' : '192.0.2.2'
    t.same(copies, [`${to} from 192.0.2.1`])
  }
})

t.test(
  'of an embedded-RP group the rendezvous point is looked up, and its RLOC joined in the core',
  async (t) => {
    const rendezvous = anAddress('2001:db8:1::9')
    const group = 'ff7e:940:2001:db8:1::1'
    t.same(embeddedRendezvousPoint(anAddress(group)), rendezvous)
    t.same(embeddedRendezvousPoint(anAddress('ff7e:941:2001:db8:1::1')), undefined, 'over 64 bits')
    t.same(embeddedRendezvousPoint(anAddress('ff7e:0930:2001:db8:1::1')), rendezvous)
    for (const wrong of ['ff3e:0930:2001:db8:1::1', 'ff7e:0030:2001:db8:1::1', 'ff7e:0900:2001::1'])
      t.same(embeddedRendezvousPoint(anAddress(wrong)), undefined)
    const six = (index: number): Partial<NodeConfig> => ({
      rlocs: [
        {
          address: anAddress(`192.0.2.${index}`),
          interfaceName: 'core',
          priority: 1,
          weight: 100,
        },
        {
          address: anAddress(`2001:db8:ff::${index}`),
          interfaceName: 'core',
          priority: 1,
          weight: 100,
        },
      ],
      eidPrefixes: [{ eidPrefix: aPrefix(`2001:db8:${index}::/48`), interfaceName: 'site' }],
    })
    const server = mapServerConfig()
    const [site] = server.mapServer.sites
    const prefixes = [{ eidPrefix: aPrefix('2001:db8::/32'), acceptMoreSpecifics: true }]
    const world = createGroupWorld(
      [1, 2].map((index) => joining(index, { underlayMulticast: true }, six(index))),
      { ...server, mapServer: { ...server.mapServer, sites: [{ ...site!, prefixes }] } },
    )
    world.raise('site-2', ownAddress('fe80::2', 'core'))
    world.raise('site-2', fromRouter('fe80::fe', aHello(), { interfaceName: 'core' }))
    world.join('site-2', '(*,ff7e:930:2001:db8:1::1)')
    world.run(100)
    const { message, to } = world.joins[0]!
    t.equal(to, '2001:db8:ff::1')
    t.match(message.groups[0]!.joined[0], { address: rendezvous, wildcard: true, rpTree: true })
    t.match(joinLines(world.xtr('site-2').performed), [
      /^join \(20010db800ff00000000000000000001,ff7e0930/,
    ])
  },
)

t.test(
  '(*,G) is joined at the xTR of the configured rendezvous point, without one nowhere',
  async (t) => {
    const rendezvousPoints = [{ groups: aPrefix('239.0.0.0/8'), address: anAddress('10.1.0.99') }]
    const world = aWorld({ rendezvousPoints })
    world.join('site-2', '(*,239.1.1.1)')
    world.run(100)
    t.same(linesFrom(world, '192.0.2.2'), ['join (*/10.1.0.99,239.1.1.1) by 192.0.2.1'])
    t.same(copiesAt(world.xtr('site-1'), '(*,239.1.1.1)'), ['192.0.2.2 from 192.0.2.1'])
    world.send('site-1', '(10.1.0.5,239.1.1.1)')
    world.run(100)
    t.same(copiesAt(world.xtr('site-1'), '(10.1.0.5,239.1.1.1)'), ['192.0.2.2 from 192.0.2.1'])
    const without = aWorld()
    without.join('site-2', '(*,239.1.1.1)')
    t.same(refusals(without.xtr('site-2')), ['no-rendezvous-point'])
  },
)

// ------------------------------------------------------------------ the source site

t.test('every ETR that joins with unicast transport gets copies of its own', async (t) => {
  const world = aWorld()
  world.join('site-2', SSM)
  world.join('site-3', SSM)
  world.run(100)
  const copies = () => copiesAt(world.xtr('site-1'), SSM)
  t.same(copies(), ['192.0.2.2 from 192.0.2.1', '192.0.2.3 from 192.0.2.1'])
  world.leave('site-2', SSM)
  world.run(100)
  t.same(copies(), ['192.0.2.3 from 192.0.2.1'])
})

t.test(
  'a restart copies on to who has joined, until they say so again or are silent',
  async (t) => {
    const world = aWorld()
    const copy = { locator: locator(anAddress('192.0.2.2')), source: anAddress('192.0.2.1') }
    const copies = [{ ...copy, pathMtu: 1500 }]
    const copying = { group: aGroup(SSM), copies, localInterfaces: [], level: 0 }
    const there = () => copiesAt(world.xtr('site-1'), SSM)
    world.restart('site-1', [copying])
    world.run(59_000)
    t.same(there(), ['192.0.2.2 from 192.0.2.1'], 'joins come once a minute')
    sendJoin(world, [UNICAST, at('192.0.2.2')])
    world.run(160_000)
    t.same(there(), ['192.0.2.2 from 192.0.2.1'], 'it has said so')
    world.run(60_000)
    t.same(there(), [])
  },
)

t.test('an ETR that falls silent is left out after its holdtime', async (t) => {
  const world = aWorld()
  sendJoin(world, [UNICAST, at('192.0.2.2')])
  t.same(copiesAt(world.xtr('site-1'), SSM), ['192.0.2.2 from 192.0.2.1'])
  world.run(209_000)
  t.same(copiesAt(world.xtr('site-1'), SSM).length, 1)
  world.run(2000)
  t.same(copiesAt(world.xtr('site-1'), SSM), [])
})

t.test(
  'with multicast transport all meet at one copy to the group, from the RLOC that they joined',
  async (t) => {
    const world = aWorld({ underlayMulticast: true })
    sendJoin(world, [MULTICAST])
    sendJoin(world, [MULTICAST], { from: '192.0.2.3' })
    t.same(copiesAt(world.xtr('site-1'), SSM), ['232.1.1.1 from 192.0.2.1'])
    const plain = aWorld()
    sendJoin(plain, [MULTICAST])
    t.same(copiesAt(plain.xtr('site-1'), SSM), [])
    t.same(refusals(plain.xtr('site-1')), ['no-underlay-multicast'])
  },
)

t.test('of several RLOCs each is the source of the copies to those who joined it', async (t) => {
  const rlocs = ['192.0.2.1', '192.0.2.11'].map((text) => {
    return { address: anAddress(text), interfaceName: 'core', priority: 1, weight: 100 }
  })
  const world = createGroupWorld([joining(1, {}, { rlocs }), joining(2)], mapServerConfig())
  const said = (from: string, own: string): void => {
    const message = aJoinPrune('join', aGroup(SSM), own)
    const attributes = [UNICAST, at(from)]
    const upstreamNeighbor = { ...message.upstreamNeighbor, attributes }
    const inner = { source: anAddress(from), destination: anAddress(own) }
    const bytes = encodeEncapsulatedPim({
      instanceId: 0,
      ...inner,
      message: { ...message, upstreamNeighbor },
    })
    world.raise('site-1', {
      kind: 'encapsulated-pim',
      from: inner.source,
      to: inner.destination,
      bytes,
    })
  }
  said('192.0.2.2', '192.0.2.1')
  said('192.0.2.3', '192.0.2.11')
  t.same(copiesAt(world.xtr('site-1'), SSM), [
    '192.0.2.2 from 192.0.2.1',
    '192.0.2.3 from 192.0.2.11',
  ])
})

t.test('a join draws the source from behind the router of its site', async (t) => {
  const world = aWorld()
  world.raise('site-1', ownAddress('10.1.0.1'))
  world.raise('site-1', fromRouter('10.1.0.2', aHello()))
  world.join('site-2', SSM)
  world.run(100)
  const lines = () => joinLines(world.xtr('site-1').performed)
  t.same(lines(), ['join (10.1.0.5,232.1.1.1) by 10.1.0.2'])
  world.leave('site-2', SSM)
  world.run(100)
  t.same(lines().slice(1), ['prune (10.1.0.5,232.1.1.1) by 10.1.0.2'])
})

t.test(
  'joins are believed of configured ETRs only, by the source address of the Join',
  async (t) => {
    const refused = (act: (world: World) => void, pim: Pim = {}): (string | undefined)[] => {
      const world = aWorld(pim)
      act(world)
      t.same(copiesAt(world.xtr('site-1'), SSM), [])
      return refusals(world.xtr('site-1'))
    }
    const terms = [UNICAST, at('192.0.2.2')]
    t.same(
      refused((world) => sendJoin(world, terms, { from: '198.51.100.9' })),
      ['not-a-joiner'],
    )
    t.same(
      refused((world) => sendJoin(world, terms, { from: '198.51.100.9', inner: '192.0.2.2' })),
      ['other-source'],
    )
    t.same(
      refused((world) => sendJoin(world, terms), { joiners: [] }),
      ['not-a-joiner'],
    )
    t.same(
      refused((world) => sendJoin(world, terms), { joinSites: false }),
      ['joins-not-taken'],
    )
    t.same(
      refused((world) => sendJoin(world, [UNICAST, at('198.51.100.9')])),
      ['receiver-rloc'],
      'a victim',
    )
    t.same(
      refused((world) => sendJoin(world, [UNICAST, at('192.0.2.1')])),
      ['receiver-rloc'],
      'ourselves',
    )
    t.same(
      refused((world) => sendJoin(world, terms, { group: '(10.2.0.5,232.1.1.1)' })),
      ['root-not-here'],
    )
    t.same(
      refused((world) => raise(world, aHello(), '192.0.2.2')),
      ['unspoken-type'],
    )
    const upstream = aJoinPrune('join', aGroup(SSM), '192.0.2.9')
    t.same(
      refused((world) => raise(world, upstream, '192.0.2.2')),
      ['not-for-us'],
    )
  },
)

t.test(
  'a Transport attribute is taken at every level, said twice or wrongly it spoils its sources',
  async (t) => {
    const copies = (
      ...args: Parameters<typeof sendJoin> extends [unknown, ...infer Rest] ? Rest : never
    ) => {
      const world = aWorld()
      sendJoin(world, ...args)
      return [...copiesAt(world.xtr('site-1'), SSM), ...refusals(world.xtr('site-1'))]
    }
    const receiver = at('192.0.2.2')
    const good = ['192.0.2.2 from 192.0.2.1']
    t.same(copies([UNICAST, receiver]), good)
    t.same(copies([receiver], { source: [UNICAST] }), good)
    t.same(
      copies([MULTICAST, receiver], { source: [UNICAST] }),
      good,
      'the source is more specific',
    )
    t.same(copies([UNICAST, UNICAST, receiver]), ['attributes'])
    t.same(copies([spoiled(5, [2]), receiver]), ['attributes'])
    t.same(copies([spoiled(5, [1, 0]), receiver]), ['attributes'])
    t.same(copies([spoiled(5, [1], true), receiver]), ['attributes'])
  },
)

t.test(
  'a Receiver-RLOC said twice, of an unknown family or a wrong length spoils its sources',
  async (t) => {
    const copies = (upstream: readonly JoinAttribute[]) => {
      const world = aWorld()
      sendJoin(world, upstream)
      return [...copiesAt(world.xtr('site-1'), SSM), ...refusals(world.xtr('site-1'))]
    }
    t.same(copies([UNICAST]), ['192.0.2.2 from 192.0.2.1'], 'without one it is the ETR')
    t.same(copies([UNICAST, at('192.0.2.2'), at('192.0.2.2')]), ['attributes'])
    t.same(copies([UNICAST, spoiled(6, [3, 192, 0, 2, 2])]), ['attributes'])
    t.same(copies([UNICAST, spoiled(6, [1, 192, 0, 2])]), ['attributes'])
    t.same(copies([UNICAST, spoiled(6, [1, 192, 0, 2, 2], true)]), ['attributes'])
    t.same(
      copies([UNICAST, spoiled(7, [1])]),
      ['192.0.2.2 from 192.0.2.1'],
      'others are no affair of ours',
    )
  },
)

t.test(
  'the new site of a receiver joins while its move is prepared, the former leaves',
  async (t) => {
    const world = aWorld()
    const eid = { instanceId: 0, address: anAddress('10.200.0.7') }
    const mac = new Uint8Array(6).fill(2)
    const seen = { kind: 'local-eid-seen', eid, mac, interfaceName: 'site', how: 'arp' } as const
    world.raise('site-2', seen)
    world.join('site-2', SSM, '10.200.0.7')
    world.run(5000)
    t.same(copiesAt(world.xtr('site-1'), SSM), ['192.0.2.2 from 192.0.2.1'])
    world.command('site-3', { kind: 'start-move', eids: [eid], source: anAddress('192.0.2.2') })
    world.run(100)
    t.same(linesFrom(world, '192.0.2.3'), [JOIN], 'nobody there has asked yet')
    const both = ['192.0.2.2 from 192.0.2.1', '192.0.2.3 from 192.0.2.1']
    t.same(copiesAt(world.xtr('site-1'), SSM), both)
    t.notOk(world.names('site-3').includes('move-prepared'), 'until packets come')
    const usage = { kind: 'replication-usage', group: aGroup(SSM), bytes: 0n } as const
    world.raise('site-3', { ...usage, packets: 1n, idleMs: undefined })
    t.ok(world.names('site-3').includes('move-prepared'))
    world.raise('site-3', seen)
    world.join('site-3', SSM, '10.200.0.7')
    world.leave('site-2', SSM, '10.200.0.7')
    world.run(100)
    t.same(copiesAt(world.xtr('site-1'), SSM), ['192.0.2.3 from 192.0.2.1'])
    t.equal(linesFrom(world, '192.0.2.2').at(-1), PRUNE)
  },
)

t.test('a receiver that was to come and did not is pruned again', async (t) => {
  const world = aWorld()
  const eid = { instanceId: 0, address: anAddress('10.200.0.7') }
  const mac = new Uint8Array(6).fill(2)
  world.raise('site-2', { kind: 'local-eid-seen', eid, mac, interfaceName: 'site', how: 'arp' })
  world.join('site-2', SSM, '10.200.0.7')
  world.run(5000)
  world.command('site-3', { kind: 'start-move', eids: [eid], source: anAddress('192.0.2.2') })
  world.run(35_000)
  t.same(linesFrom(world, '192.0.2.3'), [JOIN, PRUNE])
  t.same(copiesAt(world.xtr('site-1'), SSM), ['192.0.2.2 from 192.0.2.1'])
})

t.test(
  'a root that moves: its former xTR solicits the ETRs, they prune there and join at the new one',
  async (t) => {
    const world = aWorld()
    const source = anAddress('10.200.0.5')
    const mac = Uint8Array.of(2, 0, 0, 0, 0, 5)
    const eid = { instanceId: 0, address: source }
    const seen = (name: string): void =>
      world.raise(name, { kind: 'local-eid-seen', eid, mac, interfaceName: 'site', how: 'arp' })
    seen('site-1')
    world.run(1000)
    world.join('site-2', '(10.200.0.5,232.1.1.1)')
    world.run(1000)
    t.same(linesFrom(world, '192.0.2.2'), ['join (10.200.0.5,232.1.1.1) by 192.0.2.1'])
    t.same(copiesAt(world.xtr('site-1'), '(10.200.0.5,232.1.1.1)'), ['192.0.2.2 from 192.0.2.1'])
    seen('site-3')
    world.run(3000)
    t.same(linesFrom(world, '192.0.2.2').slice(1), [
      'join (10.200.0.5,232.1.1.1) by 192.0.2.3',
      'prune (10.200.0.5,232.1.1.1) by 192.0.2.1',
    ])
    t.same(copiesAt(world.xtr('site-1'), '(10.200.0.5,232.1.1.1)'), [])
    t.same(copiesAt(world.xtr('site-3'), '(10.200.0.5,232.1.1.1)'), ['192.0.2.2 from 192.0.2.3'])
  },
)

t.test('groups and receivers have limits', async (t) => {
  const world = aWorld()
  for (let index = 0; index < 150; index += 1)
    sendJoin(world, [UNICAST], { group: `(10.1.0.5,232.1.3.${index})` })
  t.equal(refusals(world.xtr('site-1')).filter((one) => one === 'too-many-groups').length, 50)
  const wide = aWorld({ joiners: [aPrefix('192.0.0.0/16')] })
  for (let index = 0; index < 300; index += 1)
    sendJoin(wide, [UNICAST], { from: `192.0.${3 + (index >> 8)}.${index & 255}` })
  t.equal(refusals(wide.xtr('site-1')).filter((one) => one === 'too-many-receivers').length, 44)
  t.equal(copiesAt(wide.xtr('site-1'), SSM).length, 256)
})
