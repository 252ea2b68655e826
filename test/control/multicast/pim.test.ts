/**
 * PIM beside the routers of a site (RFC 7761), message by message in virtual time.
 */
import t from 'tap'
import type { PimMessage } from '../../../src/lisp/multicast/pim.js'
import { anAddress, aPrefix } from '../../support/builders.js'
import { createConversation, namesOf, type Reaction, wordsOf } from '../../support/conversation.js'
import { aGroup, createGroupWorld, mapServerConfig, xtrConfig } from '../../support/group-world.js'
import {
  aHello,
  aJoinPrune,
  fromRouter,
  joinLines,
  ownAddress,
  pimMulticast,
  pimSaid,
} from '../../support/pim-router.js'

const OWN = '10.2.0.1'
const ROUTER = '10.2.0.7'
const OTHER = '10.2.0.8'
const SSM = '(10.1.0.5,232.1.1.1)'
const ASM = '(*,239.1.1.1)'

type Conversation = ReturnType<typeof createConversation>

function anXtr(about: Parameters<typeof pimMulticast>[0] = {}): Conversation {
  const node = createConversation(xtrConfig(2, { multicast: pimMulticast(about) }))
  node.datapath(0, ownAddress(OWN))
  return node
}

/** Runs the deadlines until then and lets the router speak. */
function hear(node: Conversation, at: number, router: string, message: PimMessage): Reaction[] {
  return [...node.runUntil(at), node.datapath(at, fromRouter(router, message))]
}

function groupNames(reactions: readonly Reaction[]): string[] {
  return namesOf(reactions).filter((name) => name.startsWith('group-'))
}

function reasons(reactions: readonly Reaction[]): (string | undefined)[] {
  return reactions
    .flatMap(({ events }) => events)
    .filter(({ name }) => name === 'pim-ignored')
    .map(({ reason }) => reason)
}

t.test(
  'Hellos go every 30 s with holdtime 105, the first within 5 s, and 0 at the end',
  async (t) => {
    const node = anXtr()
    const said = pimSaid(node.runUntil(70_000))
    t.equal(said.length, 3)
    t.ok(said[0]!.at <= 5000)
    t.equal(said[2]!.at - said[1]!.at, 30_000)
    t.match(said[0]!.message, {
      kind: 'pim-hello',
      options: [
        { kind: 'holdtime', seconds: 105 },
        { kind: 'lan-prune-delay', propagationDelay: 500, overrideInterval: 2500 },
        { kind: 'dr-priority', priority: 1 },
        { kind: 'generation-id' },
        { kind: 'join-attribute' },
      ],
    })
    const end = node.command(71_000, { kind: 'shutdown', withdraw: true })
    t.match(pimSaid([end])[0]?.message, { options: [{ kind: 'holdtime', seconds: 0 }] })
  },
)

t.test('without PIM in the configuration nothing is said or heard', async (t) => {
  const config = xtrConfig(2, { multicast: { ...pimMulticast(), pim: undefined } })
  const node = createConversation(config)
  node.datapath(0, ownAddress(OWN))
  node.datapath(1, fromRouter(ROUTER, aHello()))
  t.same(pimSaid(node.runUntil(60_000)), [])
})

t.test('a join of a neighbour is a listener of the interface, its prune ends it', async (t) => {
  for (const name of [SSM, ASM]) {
    const node = anXtr()
    hear(node, 1000, ROUTER, aHello())
    const joined = hear(node, 2000, ROUTER, aJoinPrune('join', aGroup(name), OWN))
    t.same(groupNames(joined), ['group-joined'])
    t.ok(wordsOf(joined).some((words) => words.startsWith('put-replication')))
    t.ok(joined.some(({ sent }) => sent.some(({ message }) => message.kind === 'map-register')))
    const left = hear(node, 3000, ROUTER, aJoinPrune('prune', aGroup(name), OWN))
    t.same(groupNames(left), ['group-left'], 'at once: nobody else could override')
  }
})

t.test('joined state ends with its holdtime, and a repeated join keeps it', async (t) => {
  const node = anXtr()
  hear(node, 0, ROUTER, aHello({ holdtime: 0xffff }))
  hear(node, 1000, ROUTER, aJoinPrune('join', aGroup(SSM), OWN, { holdtime: 210 }))
  hear(node, 101_000, ROUTER, aJoinPrune('join', aGroup(SSM), OWN, { holdtime: 210 }))
  // A shorter holdtime does not shorten what was promised (§4.5.2).
  hear(node, 102_000, ROUTER, aJoinPrune('join', aGroup(SSM), OWN, { holdtime: 10 }))
  t.same(groupNames(node.runUntil(310_900)), [])
  t.same(groupNames(node.runUntil(311_000)), ['group-left'])
})

t.test(
  'with two neighbours a prune waits for the override, and a join ends the wait',
  async (t) => {
    const delay = { kind: 'lan-prune-delay', trackingSupport: false } as const
    const slow = aHello({ more: [{ ...delay, propagationDelay: 1000, overrideInterval: 4000 }] })
    const node = anXtr()
    hear(node, 0, ROUTER, slow)
    hear(node, 0, OTHER, slow)
    hear(node, 1000, ROUTER, aJoinPrune('join', aGroup(SSM), OWN))
    hear(node, 2000, ROUTER, aJoinPrune('prune', aGroup(SSM), OWN))
    t.same(groupNames(hear(node, 6000, OTHER, aJoinPrune('join', aGroup(SSM), OWN))), [])
    t.same(groupNames(node.runUntil(20_000)), [], 'somebody else still wants it')
    hear(node, 30_000, ROUTER, aJoinPrune('prune', aGroup(SSM), OWN))
    t.same(groupNames(node.runUntil(34_900)), [])
    const end = node.runUntil(35_000)
    t.same(groupNames(end), ['group-left'], 'after 1 s of propagation and 4 s of override')
    t.same(joinLines(end), ['prune (10.1.0.5,232.1.1.1) by 10.2.0.1'], 'a PruneEcho')
  },
)

t.test(
  'only neighbours, only what goes to all routers, only whole groups are believed',
  async (t) => {
    const node = anXtr()
    const join = aJoinPrune('join', aGroup(SSM), OWN)
    t.same(reasons(hear(node, 1, ROUTER, join)), ['not-a-neighbour'])
    hear(node, 10, ROUTER, aHello())
    t.same(reasons([node.datapath(11, fromRouter(ROUTER, join, { to: OWN }))]), [
      'not-to-all-routers',
    ])
    const linkScoped = { ...aGroup(SSM), group: anAddress('224.0.0.9') }
    t.same(reasons(hear(node, 12, ROUTER, aJoinPrune('join', linkScoped, OWN))), ['group'])
    const range = {
      ...join,
      groups: join.groups.map((one) => ({ ...one, group: { ...one.group, maskLength: 24 } })),
    }
    t.same(reasons(hear(node, 13, ROUTER, range)), ['group'])
    const fromNobody = { ...aGroup(SSM), source: anAddress('0.0.0.0') }
    t.same(reasons(hear(node, 14, ROUTER, aJoinPrune('join', fromNobody, OWN))), ['source'])
    const broken = fromRouter(ROUTER, join)
    if (broken.kind !== 'segment-packet') throw new Error('not a packet')
    const payload = broken.payload.map((byte, at) => (at === 3 ? byte ^ 1 : byte))
    t.same(reasons([node.datapath(15, { ...broken, payload })]), ['bad-checksum'])
    t.same(
      reasons(hear(node, 16, ROUTER, { kind: 'pim-other', type: 1, body: new Uint8Array(8) })),
      ['unspoken-type'],
    )
    t.same(groupNames(node.runUntil(5000)), [])
    // For another router: no affair of ours.
    const other = hear(node, 6000, ROUTER, aJoinPrune('join', aGroup(SSM), OTHER))
    t.same([...groupNames(other), ...reasons(other)], [])
  },
)

t.test('a source with attributes said twice is left aside, the others are taken', async (t) => {
  const node = anXtr()
  hear(node, 0, ROUTER, aHello())
  const join = aJoinPrune('join', aGroup(SSM), OWN)
  const [group] = join.groups
  const attribute = { kind: 'transport', transport: 'unicast' } as const
  const spoiled = { ...group!.joined[0]!, attributes: [attribute, attribute] }
  const good = { ...group!.joined[0]!, address: anAddress('10.1.0.6'), attributes: [attribute] }
  const said = { ...join, groups: [{ ...group!, joined: [spoiled, good] }] }
  const reactions = hear(node, 10, ROUTER, said)
  t.same(reasons(reactions), ['attributes'])
  const names = reactions
    .flatMap(({ events }) => events)
    .filter(({ name }) => name === 'group-joined')
  t.same(
    names.map(({ group }) => group),
    ['(10.1.0.6,232.1.1.1)'],
  )
})

t.test('groups of a link have a limit, neighbours have one', async (t) => {
  const config = xtrConfig(2, { multicast: { ...pimMulticast(), maximumGroups: 3 } })
  const node = createConversation(config)
  node.datapath(0, ownAddress(OWN))
  hear(node, 1, ROUTER, aHello())
  const refused: Reaction[] = []
  for (let index = 1; index <= 5; index += 1)
    refused.push(
      ...hear(node, 2, ROUTER, aJoinPrune('join', aGroup(`(10.1.0.5,232.1.1.${index})`), OWN)),
    )
  t.same(reasons(refused), ['too-many-groups', 'too-many-groups'])
  const strangers: Reaction[] = []
  for (let index = 1; index <= 70; index += 1)
    strangers.push(...hear(node, 3, `10.2.1.${index}`, aHello()))
  t.equal(reasons(strangers).filter((one) => one === 'too-many-neighbours').length, 7)
})

t.test('(*,G) towards another rendezvous point than ours is refused', async (t) => {
  const rendezvousPoints = [{ groups: aPrefix('239.0.0.0/8'), address: anAddress('10.1.0.99') }]
  const node = anXtr({ rendezvousPoints })
  hear(node, 0, ROUTER, aHello())
  const other = aJoinPrune('join', aGroup(ASM), OWN, { root: '10.1.0.98' })
  t.same(reasons(hear(node, 1, ROUTER, other)), ['other-rendezvous-point'])
  const ours = aJoinPrune('join', aGroup(ASM), OWN, { root: '10.1.0.99' })
  t.same(groupNames(hear(node, 2, ROUTER, ours)), ['group-joined'])
})

t.test('IPv6: joins come to our link-local address', async (t) => {
  const node = createConversation(xtrConfig(2, { multicast: pimMulticast() }))
  node.datapath(0, ownAddress('fe80::1'))
  hear(node, 1, 'fe80::7', aHello())
  const name = aGroup('(2001:db8::5,ff3e::1)')
  t.same(groupNames(hear(node, 2, 'fe80::7', aJoinPrune('join', name, 'fe80::1'))), [
    'group-joined',
  ])
  t.same(groupNames(hear(node, 3, 'fe80::7', aJoinPrune('prune', name, 'fe80::1'))), ['group-left'])
})

t.test('a lost assert silences us on that link for 3 minutes, a won one is answered', async (t) => {
  const node = anXtr()
  hear(node, 0, ROUTER, aHello({ holdtime: 0xffff }))
  hear(node, 1, ROUTER, aJoinPrune('join', aGroup(SSM), OWN, { holdtime: 0xffff }))
  const anAssert = (metricPreference: number): PimMessage => ({
    kind: 'pim-assert',
    group: aJoinPrune('join', aGroup(SSM), OWN).groups[0]!.group,
    source: { address: anAddress('10.1.0.5'), attributes: [] },
    rpTree: false,
    metricPreference,
    metric: 10,
  })
  const won = hear(node, 1000, ROUTER, anAssert(251))
  t.match(pimSaid(won).at(-1)?.message, { kind: 'pim-assert', metricPreference: 250, metric: 0 })
  const lost = hear(node, 2000, ROUTER, anAssert(110))
  t.ok(wordsOf(lost).some((words) => words.startsWith('delete-replication')))
  const again = node.runUntil(182_000)
  t.ok(wordsOf(again).some((words) => words.startsWith('put-replication')))
  hear(node, 190_000, ROUTER, anAssert(110))
  const gone = hear(node, 191_000, ROUTER, aHello({ generation: 8 }))
  t.ok(
    wordsOf(gone).some((words) => words.startsWith('put-replication')),
    'the winner restarted',
  )
})

t.test(
  'the Designated Router is the highest priority, without priorities the highest address',
  async (t) => {
    const node = anXtr({ drPriority: 5 })
    const router = () => node.node.snapshot(0).pimLinks[0]?.designatedRouter
    t.equal(router(), OWN)
    hear(node, 0, ROUTER, aHello({ priority: 4 }))
    t.equal(router(), OWN)
    hear(node, 1, OTHER, aHello({ priority: 6 }))
    t.equal(router(), OTHER)
    hear(node, 2, OTHER, { kind: 'pim-hello', options: [] })
    t.equal(router(), OTHER)
    hear(node, 3, OTHER, aHello({ holdtime: 0 }))
    t.equal(router(), OWN)
    t.same(
      namesOf(node.runUntil(200_000)).filter((name) => name === 'pim-neighbour-lost silent').length,
      1,
    )
  },
)

// ------------------------------------------------------------------ towards sources of the site

/** Site 1 has a router before its sources; site 2 listens. */
function aSiteBehindARouter(about: Parameters<typeof pimMulticast>[0] = {}) {
  const world = createGroupWorld(
    [xtrConfig(1, { multicast: pimMulticast(about) }), xtrConfig(2)],
    mapServerConfig({
      groupServer: {
        ...mapServerConfig().groupServer,
        rendezvousPoints: [{ groups: aPrefix('239.0.0.0/8'), address: anAddress('10.1.0.99') }],
      },
    }),
  )
  return world
}

t.test('when another site listens, the source behind a router is joined through it', async (t) => {
  const world = aSiteBehindARouter()
  world.raise('site-1', ownAddress('10.1.0.1'))
  world.raise('site-1', fromRouter('10.1.0.2', aHello()))
  world.join('site-2', SSM)
  world.run(20)
  t.same(joinLines(world.xtr('site-1').performed), ['join (10.1.0.5,232.1.1.1) by 10.1.0.2'])
  world.run(60_000)
  t.equal(joinLines(world.xtr('site-1').performed).length, 2, 'once a minute')
  world.leave('site-2', SSM)
  world.run(3000)
  t.equal(joinLines(world.xtr('site-1').performed).at(-1), 'prune (10.1.0.5,232.1.1.1) by 10.1.0.2')
})

t.test('for groups without a source the rendezvous point of the site is joined', async (t) => {
  const rendezvousPoints = [{ groups: aPrefix('239.0.0.0/8'), address: anAddress('10.1.0.99') }]
  const world = aSiteBehindARouter({ rendezvousPoints })
  world.raise('site-1', ownAddress('10.1.0.1'))
  world.raise('site-1', fromRouter('10.1.0.2', aHello()))
  world.join('site-2', ASM)
  world.run(20)
  t.same(joinLines(world.xtr('site-1').performed), ['join (*/10.1.0.99,239.1.1.1) by 10.1.0.2'])
  world.leave('site-2', ASM)
  world.run(3000)
  t.equal(
    joinLines(world.xtr('site-1').performed).at(-1),
    'prune (*/10.1.0.99,239.1.1.1) by 10.1.0.2',
  )
})

t.test(
  'the way to a source: a configured neighbour first, and a join waits for a neighbour',
  async (t) => {
    const sourceRoutes = [{ sources: aPrefix('10.1.0.0/24'), neighbour: anAddress('10.1.0.3') }]
    const world = aSiteBehindARouter({ sourceRoutes })
    world.raise('site-1', ownAddress('10.1.0.1'))
    world.raise('site-1', fromRouter('10.1.0.2', aHello({ priority: 100 })))
    world.join('site-2', SSM)
    world.run(20)
    t.same(joinLines(world.xtr('site-1').performed), [])
    world.raise('site-1', fromRouter('10.1.0.3', aHello()))
    t.same(joinLines(world.xtr('site-1').performed), ['join (10.1.0.5,232.1.1.1) by 10.1.0.3'])
  },
)

t.test(
  'a join of another router is enough for both, its prune is overridden, a restart repeated',
  async (t) => {
    const world = aSiteBehindARouter()
    const said = () => joinLines(world.xtr('site-1').performed).length
    world.raise('site-1', ownAddress('10.1.0.1'))
    world.raise('site-1', fromRouter('10.1.0.2', aHello({ holdtime: 0xffff })))
    world.raise('site-1', fromRouter('10.1.0.4', aHello({ holdtime: 0xffff })))
    world.join('site-2', SSM)
    world.run(50_000)
    // 10.1.0.4 has the higher address: it is asked.
    t.same(joinLines(world.xtr('site-1').performed), ['join (10.1.0.5,232.1.1.1) by 10.1.0.4'])
    const join = aJoinPrune('join', aGroup(SSM), '10.1.0.4')
    world.raise('site-1', fromRouter('10.1.0.2', join))
    world.run(60_000)
    t.equal(said(), 1, 'suppressed for 66 to 84 s')
    world.run(40_000)
    t.equal(said(), 2)
    world.raise('site-1', fromRouter('10.1.0.2', aJoinPrune('prune', aGroup(SSM), '10.1.0.4')))
    world.run(2600)
    t.equal(said(), 3, 'within the override interval')
    world.raise('site-1', fromRouter('10.1.0.4', aHello({ generation: 99 })))
    world.run(2600)
    t.equal(said(), 4)
  },
)
