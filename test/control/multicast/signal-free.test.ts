/**
 * Signal-free multicast (RFC 8378) of several sites and one Map-Server, message by message.
 */
import t from 'tap'
import { locator } from '../../../src/lisp/locator.js'
import type { StructuredMapping } from '../../../src/lisp/mapping.js'
import { aMulticastPolicy, anAddress, aPrefix, aSite } from '../../support/builders.js'
import {
  aGroup,
  createGroupWorld,
  mapServerConfig,
  type WorldMessage,
  xtrConfig,
} from '../../support/group-world.js'

const SSM = '(10.1.0.5,232.1.1.1)'
const ASM = '(*,239.1.1.1)'

t.test('a receiver site registers (S,G) with its RLOC at level 128, a=1, P=1, M=0', async (t) => {
  const world = createGroupWorld([xtrConfig(2)])
  world.join('site-2', SSM)
  const [register] = registersOf(world.sent)
  t.match(register, { mergeRequest: true, proxyReply: true, wantMapNotify: false })
  const record = register!.structuredRecords![0]!
  t.match(record.eid, {
    kind: 'multicast-info',
    instanceId: 0,
    sourceMaskLength: 32,
    groupMaskLength: 32,
    source: { address: anAddress('10.1.0.5') },
    group: { address: anAddress('232.1.1.1') },
  })
  t.match(listOf(record), [{ level: 128, address: { address: anAddress('192.0.2.2') } }])
  t.ok(record.ttlMinutes > 0)
  t.equal(world.xtr('site-2').entries.get(SSM), '0 | site')
})

t.test('(*,G) is registered as (0/0,G)', async (t) => {
  const world = createGroupWorld([xtrConfig(2)])
  world.join('site-2', ASM)
  const record = registersOf(world.sent)[0]!.structuredRecords![0]!
  t.match(record.eid, { kind: 'multicast-info', sourceMaskLength: 0, groupMaskLength: 32 })
})

t.test('a change is said three times within a second, and a leave is a withdrawal', async (t) => {
  const world = createGroupWorld([xtrConfig(2)])
  world.join('site-2', SSM)
  world.run(3000)
  t.equal(registersOf(world.sent).length, 3)
  world.leave('site-2', SSM)
  world.run(3000)
  const all = registersOf(world.sent)
  t.equal(all.length, 6)
  t.equal(all.at(-1)!.structuredRecords![0]!.ttlMinutes, 0)
  t.equal(all.at(-1)!.mergeRequest, true)
  t.notOk(world.xtr('site-2').entries.has(SSM))
  t.same(world.groups('mapping'), [])
})

t.test('the last of several listeners withdraws, none before', async (t) => {
  const world = createGroupWorld([xtrConfig(2)])
  world.join('site-2', SSM, '10.2.0.1')
  world.join('site-2', SSM, '10.2.0.2')
  world.run(5000)
  const before = registersOf(world.sent).length
  world.leave('site-2', SSM, '10.2.0.1')
  world.run(5000)
  t.equal(registersOf(world.sent).length, before)
  world.leave('site-2', SSM, '10.2.0.2')
  world.run(5000)
  t.equal(registersOf(world.sent).length, before + 3)
})

t.test('the xTR of a source is told of every receiver before the source sends', async (t) => {
  const world = createGroupWorld([xtrConfig(1), xtrConfig(2), xtrConfig(3)])
  world.join('site-2', SSM)
  world.run(10)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.2 |')
  world.join('site-3', SSM)
  world.run(10)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.2 192.0.2.3 |')
  world.leave('site-2', SSM)
  world.run(10)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.3 |')
  t.equal(notifiesTo(world.sent, '192.0.2.1').length, 3, 'one Map-Notify for each change')
})

t.test(
  'a source is asked for with LCAF 9 when it sends, and its list comes as LCAF 13',
  async (t) => {
    const world = createGroupWorld([xtrConfig(1), xtrConfig(2)])
    world.join('site-2', ASM)
    world.run(10)
    t.notOk(world.xtr('site-1').entries.has('(10.1.0.5,239.1.1.1)'))
    world.send('site-1', '(10.1.0.5,239.1.1.1)')
    world.run(10)
    t.equal(world.xtr('site-1').entries.get('(10.1.0.5,239.1.1.1)'), '0 192.0.2.2 |')
    const [notify] = notifiesTo(world.sent, '192.0.2.1')
    const record = notify!.structuredRecords![0]!
    t.match(record.eid, { kind: 'multicast-info', source: { address: anAddress('10.1.0.5') } })
    t.equal(listOf(record).length, 1)
  },
)

t.test('receivers of (*,G) and of (S,G) are both in the list of (S,G), each once', async (t) => {
  const world = createGroupWorld([xtrConfig(1), xtrConfig(2), xtrConfig(3)])
  world.send('site-1', '(10.1.0.5,239.1.1.1)')
  world.join('site-2', ASM)
  world.join('site-3', '(10.1.0.5,239.1.1.1)')
  world.join('site-3', ASM)
  world.run(20)
  const entry = world.xtr('site-1').entries.get('(10.1.0.5,239.1.1.1)')
  t.equal(entry, '0 192.0.2.2 192.0.2.3 |')
})

t.test('a register repeated five times is one member', async (t) => {
  const world = createGroupWorld([xtrConfig(1), xtrConfig(2)])
  for (let time = 0; time < 5; time += 1) {
    world.join('site-2', SSM)
    world.run(2000)
    world.run(60_000)
  }
  t.equal(world.groups('mapping')[0]?.members, 1)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.2 |')
})

t.test(
  'each site ages on its own: one that falls silent is left out, the others stay',
  async (t) => {
    const world = createGroupWorld([xtrConfig(1), xtrConfig(2), xtrConfig(3)])
    world.join('site-2', SSM)
    world.join('site-3', SSM)
    world.run(1500)
    world.lose(({ from }) => from === '192.0.2.3')
    world.run(200_000)
    t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.2 |')
    t.ok(world.names('mapping').includes('group-expired'))
  },
)

t.test('the same (S,G) in two instances never meet', async (t) => {
  const server = mapServerConfig()
  const sites = ['10.0.0.0/8', '[7]10.0.0.0/8'].map((prefix, index) =>
    aSite({
      name: `all-${index}`,
      prefixes: [{ eidPrefix: aPrefix(prefix), acceptMoreSpecifics: true }],
    }),
  )
  const both = aSite({ name: 'both', prefixes: sites.flatMap((one) => one.prefixes) })
  const config = { ...server, mapServer: { ...server.mapServer, sites: [both] } }
  const source = xtrConfig(1, {
    eidPrefixes: ['10.1.0.0/16', '[7]10.1.0.0/16'].map((prefix) => ({
      eidPrefix: aPrefix(prefix),
      interfaceName: 'site',
    })),
  })
  const world = createGroupWorld([source, xtrConfig(2), xtrConfig(3)], config)
  world.join('site-2', SSM)
  world.join('site-3', `[7]${SSM}`)
  world.run(20)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.2 |')
  t.equal(world.xtr('site-1').entries.get(`[7]${SSM}`), '0 192.0.2.3 |')
})

t.test('a group of an instance that the site does not have is refused', async (t) => {
  const world = createGroupWorld([xtrConfig(2)])
  world.join('site-2', `[9]${SSM}`)
  world.run(20)
  t.ok(world.names('mapping').includes('group-register-rejected foreign-instance'))
  t.same(world.groups('mapping'), [])
})

t.test(
  'of two xTRs of a site one registers and replicates, the querier if there is one',
  async (t) => {
    const siteXtrs = [anAddress('192.0.2.1'), anAddress('192.0.2.4')]
    const multicast = aMulticastPolicy({ enabled: true, siteXtrs })
    const shared = [{ eidPrefix: aPrefix('10.1.0.0/16'), interfaceName: 'site' }]
    const world = createGroupWorld([
      xtrConfig(1, { multicast }),
      xtrConfig(4, { multicast, eidPrefixes: shared }),
      xtrConfig(2),
    ])
    const group = '(10.1.0.5,239.1.1.1)'
    world.join('site-2', ASM)
    world.join('site-1', '(*,239.9.9.9)')
    world.join('site-4', '(*,239.9.9.9)')
    for (const name of ['site-1', 'site-4']) world.send(name, group)
    world.run(20)
    t.equal(world.xtr('site-1').entries.get(group), '0 192.0.2.2 |')
    t.equal(world.xtr('site-4').entries.get(group), '0 |', 'the other one makes no copies')
    t.same(receiversOf(world, '(*,239.9.9.9)'), ['192.0.2.1'])
    world.raise('site-1', { kind: 'site-querier', interfaceName: 'site', family: 4, ours: false })
    world.raise('site-4', { kind: 'site-querier', interfaceName: 'site', family: 4, ours: true })
    world.run(20)
    t.equal(world.xtr('site-1').entries.get(group), '0 |')
    t.equal(world.xtr('site-4').entries.get(group), '0 192.0.2.2 |')
    t.same(receiversOf(world, '(*,239.9.9.9)'), ['192.0.2.4'])
    t.equal(world.xtr('site-1').entries.get('(*,239.9.9.9)'), undefined)
  },
)

t.test(
  'beyond the fan-out relays copy: an ITR to the relays, these to the receivers',
  async (t) => {
    const multicast = aMulticastPolicy({ enabled: true, relayLevel: 1 })
    const relay = { multicast, eidPrefixes: [], dynamicEidPrefixes: [], siteInterfaces: [] }
    const server = mapServerConfig({
      groupServer: { fanOut: 2, maximumMembers: 1000, maximumMembersPerGroup: 1000 },
    })
    const world = createGroupWorld(
      [
        xtrConfig(1),
        xtrConfig(51, relay),
        xtrConfig(52, relay),
        ...[2, 3, 4, 5].map((n) => xtrConfig(n)),
      ],
      server,
    )
    world.run(100)
    world.join('site-2', SSM)
    world.join('site-3', SSM)
    world.run(20)
    t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.2 192.0.2.3 |', 'two: no relay')
    world.join('site-4', SSM)
    world.join('site-5', SSM)
    world.run(20)
    t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.51 192.0.2.52 |')
    const below = ['site-51', 'site-52'].map((name) => world.xtr(name).entries.get(SSM))
    t.equal(
      below.every((text) => text!.startsWith('1 ')),
      true,
    )
    const reached = below.flatMap((text) => text!.split(' ').filter((one) => one.includes('.')))
    t.same(reached.sort(), ['192.0.2.2', '192.0.2.3', '192.0.2.4', '192.0.2.5'])
    const stays = below[1]
    world.leave('site-2', SSM)
    world.run(20)
    t.ok(
      [below[0], stays].some(
        (text) =>
          [...world.xtr('site-52').entries.values()].includes(text!) ||
          [...world.xtr('site-51').entries.values()].includes(text!),
      ),
      'nobody else was moved',
    )
    for (const name of ['site-3', 'site-4', 'site-5']) world.leave(name, SSM)
    world.run(2000)
    t.notOk(world.xtr('site-51').entries.has(SSM), 'a relay of nobody forgets the group')
    t.notOk(world.xtr('site-52').entries.has(SSM))
  },
)

t.test('relays know before the ITR does', async (t) => {
  const multicast = aMulticastPolicy({ enabled: true, relayLevel: 1 })
  const relay = { multicast, eidPrefixes: [], dynamicEidPrefixes: [], siteInterfaces: [] }
  const server = mapServerConfig({
    groupServer: { fanOut: 1, maximumMembers: 1000, maximumMembersPerGroup: 1000 },
  })
  const world = createGroupWorld(
    [xtrConfig(1), xtrConfig(51, relay), xtrConfig(2), xtrConfig(3)],
    server,
  )
  world.run(100)
  world.join('site-2', SSM)
  world.run(20)
  world.lose(({ from, message }) => from === '192.0.2.51' && message.kind === 'map-notify-ack')
  world.join('site-3', SSM)
  world.run(500)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.2 |', 'waits for the relay')
  t.equal(world.xtr('site-51').entries.get(SSM), '1 192.0.2.2 192.0.2.3 |')
  world.run(600)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.51 |', 'but not for ever')
})

const aRelay = (index: number) =>
  xtrConfig(index, {
    multicast: aMulticastPolicy({ enabled: true, relayLevel: 1 }),
    siteInterfaces: [],
    eidPrefixes: [],
    dynamicEidPrefixes: [],
  })

/** A source site, two receiver sites below two relays. */
function aTree() {
  const groupServer = { fanOut: 1, maximumMembers: 1000, maximumMembersPerGroup: 1000 }
  const sites = [xtrConfig(1), aRelay(51), aRelay(52), xtrConfig(2), xtrConfig(3)]
  const world = createGroupWorld(sites, mapServerConfig({ groupServer }))
  world.run(5000)
  for (const name of ['site-2', 'site-3']) world.join(name, SSM)
  world.run(5000)
  const copiesAt = (name: string) => world.xtr(name).entries.get(SSM)
  return { world, copiesAt }
}

t.test('what hangs below a relay that has died hangs below another within seconds', async (t) => {
  const { world, copiesAt } = aTree()
  t.equal(copiesAt('site-1'), '0 192.0.2.51 192.0.2.52 |')
  world.lose(({ from, to }) => [from, to].includes('192.0.2.51'))
  world.run(4000)
  t.equal(copiesAt('site-1'), '0 192.0.2.51 192.0.2.52 |', 'it may be back in a moment')
  world.run(4000)
  t.equal(copiesAt('site-1'), '0 192.0.2.52 |')
  t.equal(copiesAt('site-52'), '1 192.0.2.2 192.0.2.3 |')
  t.ok(world.names('mapping').includes('relay-silent'))
  world.lose(({ from, to }) => [from, to].some((one) => /51|52/.test(one)))
  world.run(8000)
  t.equal(copiesAt('site-1'), '0 192.0.2.2 192.0.2.3 |', 'without relays the ITR copies to all')
  world.lose(() => false)
  world.run(6000)
  t.match(copiesAt('site-1'), /^0 192\.0\.2\.5[12] \|/, 'and it hangs below who answers first')
  t.ok(world.names('mapping').includes('relay-answers'))
})

t.test('a relay whose answers get lost now and then keeps what hangs below it', async (t) => {
  const { world, copiesAt } = aTree()
  const before = copiesAt('site-1')
  let answers = 0
  world.lose(({ from, message }) => {
    if (from !== '192.0.2.51' || message.kind !== 'map-reply') return false
    answers += 1
    return answers % 3 !== 0
  })
  world.run(60_000)
  t.ok(answers > 20)
  t.equal(copiesAt('site-1'), before)
  t.notOk(world.names('mapping').includes('relay-silent'))
})

t.test('a relay that never answered a probe is not judged by them', async (t) => {
  const groupServer = { fanOut: 1, maximumMembers: 1000, maximumMembersPerGroup: 1000 }
  const sites = [xtrConfig(1), aRelay(51), xtrConfig(2), xtrConfig(3)]
  const world = createGroupWorld(sites, mapServerConfig({ groupServer }))
  world.lose(({ from, message }) => from === '192.0.2.51' && message.kind === 'map-reply')
  // What the first run of the Map-Server heard before is forgotten.
  world.restartServer()
  world.run(5000)
  for (const name of ['site-2', 'site-3']) world.join(name, SSM)
  world.run(30_000)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.51 |')
})

t.test('who asks to be copied to elsewhere than at itself is refused', async (t) => {
  const world = createGroupWorld([xtrConfig(2)])
  const liar = xtrConfig(2, {
    rlocs: [
      { address: anAddress('198.51.100.9'), interfaceName: 'core', priority: 1, weight: 100 },
    ],
  })
  const other = createGroupWorld([liar])
  other.join('site-2', SSM)
  const forged = other.sent.find(({ message }) => isGroupRegister(message))!
  const [from, to] = [anAddress('192.0.2.2'), anAddress('203.0.113.1')]
  const outputs: unknown[] = []
  const input = { kind: 'datagram', from, fromPort: 4342, to, bytes: forged.bytes } as const
  world.xtr('mapping').node.handle(input, world.now(), outputs as never)
  t.match(outputs, [{ event: { name: 'group-register-rejected', reason: 'foreign-rloc' } }])
  t.same(world.groups('mapping'), [])
})

t.test('what is lost on the way is repaired by the renewal', async (t) => {
  const world = createGroupWorld([xtrConfig(1), xtrConfig(2)])
  world.send('site-1', SSM)
  world.run(100)
  world.lose(({ message, to }) => message.kind === 'map-notify' && to === '192.0.2.1')
  world.join('site-2', SSM)
  world.run(2000)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 |')
  world.lose(() => false)
  world.run(60_000)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.2 |')
})

t.test('a restarted Map-Server knows its receivers, and takes new ones at once', async (t) => {
  const world = createGroupWorld([xtrConfig(1), xtrConfig(2), xtrConfig(3), xtrConfig(4)])
  world.send('site-1', SSM)
  world.join('site-2', SSM)
  world.join('site-3', SSM)
  world.join('site-4', SSM)
  world.run(2000)
  world.leave('site-3', SSM)
  world.run(2000)
  const before = world.sent.length
  world.restartServer()
  world.run(20)
  t.match(world.groups('mapping')[0], { members: 2, copies: ['192.0.2.2', '192.0.2.4'] })
  world.join('site-3', SSM)
  world.run(20)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.2 192.0.2.3 192.0.2.4 |')
  const lists = notifiesTo(world.sent.slice(before), '192.0.2.1').map(
    (one) => listOf(one.structuredRecords![0]!).length,
  )
  t.notOk(
    lists.some((length) => length < 2),
    'never one that lacks receivers',
  )
  world.leave('site-2', SSM)
  world.run(20)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.3 192.0.2.4 |', 'one that it took over')
  world.lose(({ from }) => from === '192.0.2.4')
  world.run(200_000)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.3 |', 'which age as ever')
  world.restartServer()
  world.run(20)
  t.match(world.groups('mapping')[0], { members: 1 }, 'and what has aged does not come back')
})

t.test('a restarted Map-Server knows its relays, and who hangs below them', async (t) => {
  const relay = (index: number) => {
    const multicast = aMulticastPolicy({ enabled: true, relayLevel: 1 })
    return xtrConfig(index, {
      multicast,
      siteInterfaces: [],
      eidPrefixes: [],
      dynamicEidPrefixes: [],
    })
  }
  const server = mapServerConfig({
    groupServer: { fanOut: 1, maximumMembers: 100, maximumMembersPerGroup: 100 },
  })
  const world = createGroupWorld(
    [xtrConfig(1), ...[2, 3, 4, 5].map((index) => xtrConfig(index)), relay(8), relay(9)],
    server,
  )
  world.run(5000)
  world.send('site-1', SSM)
  // Not in the order in which they stand in a store.
  for (const name of ['site-5', 'site-2', 'site-3', 'site-4']) {
    world.join(name, SSM)
    world.run(2000)
  }
  world.run(5000)
  const copies = () =>
    ['site-1', 'site-8', 'site-9'].map((name) => world.xtr(name).entries.get(SSM) ?? '').join('; ')
  const before = copies()
  t.match(before, /192\.0\.2\.[89]/, 'over relays')
  world.restartServer()
  world.run(5000)
  t.equal(copies(), before, 'each where it was')
  world.join('site-3', ASM)
  world.run(1000)
  t.equal(copies(), before)
})

t.test('an endpoint that will come brings its groups and lists along', async (t) => {
  const world = createGroupWorld([xtrConfig(1), xtrConfig(2), xtrConfig(3), xtrConfig(4)])
  const eid = { instanceId: 0, address: anAddress('10.200.0.7') }
  const mac = new Uint8Array(6).fill(2)
  const seen = { kind: 'local-eid-seen', eid, mac, interfaceName: 'site', how: 'arp' } as const
  world.raise('site-1', seen)
  world.run(5000)
  const sends = '(10.200.0.7,239.5.5.5)'
  world.send('site-1', sends)
  world.join('site-3', '(*,239.5.5.5)')
  world.join('site-1', '(*,239.5.5.5)', '10.1.0.9')
  world.join('site-1', '(*,239.6.6.6)', '10.200.0.7')
  world.send('site-4', '(10.4.0.5,239.6.6.6)')
  world.run(50)
  t.equal(world.xtr('site-1').entries.get(sends), '0 192.0.2.3 | site')
  world.command('site-2', { kind: 'start-move', eids: [eid], source: anAddress('192.0.2.1') })
  world.run(100)
  t.equal(
    world.xtr('site-2').entries.get('(*,239.6.6.6)'),
    '0 | site',
    'delivered where it will be, before anybody there has asked',
  )
  t.notOk(world.names('site-2').includes('move-prepared'), 'what it listens to has not come yet')
  world.raise('site-2', usageOf('(*,239.6.6.6)', 0n))
  t.notOk(world.names('site-2').includes('move-prepared'))
  world.raise('site-2', usageOf('(*,239.6.6.6)', 1n))
  t.ok(world.names('site-2').includes('move-prepared'), 'it is not here yet')
  t.equal(world.xtr('site-2').entries.get(sends), '0 192.0.2.1 192.0.2.3 |', 'what it sends')
  const both = '0 192.0.2.1 192.0.2.2 |'
  t.equal(world.xtr('site-4').entries.get('(10.4.0.5,239.6.6.6)'), both, 'what it listens to')
  world.raise('site-2', seen)
  world.join('site-2', '(*,239.6.6.6)', '10.200.0.7')
  world.leave('site-1', '(*,239.6.6.6)', '10.200.0.7')
  world.run(50)
  t.equal(world.xtr('site-2').entries.get(sends), '0 192.0.2.1 192.0.2.3 |')
  t.notOk(
    world.xtr('site-1').entries.get(sends)?.includes('192.'),
    'the former site copies no more',
  )
  t.equal(world.xtr('site-4').entries.get('(10.4.0.5,239.6.6.6)'), '0 192.0.2.2 |')
})

t.test('a live migration may take longer than a group is joined ahead', async (t) => {
  const world = createGroupWorld([xtrConfig(1), xtrConfig(2)])
  const eid = { instanceId: 0, address: anAddress('10.200.0.7') }
  const mac = new Uint8Array(6).fill(2)
  const [first, later] = ['(*,239.6.6.6)', '(*,239.7.7.7)']
  world.raise('site-1', { kind: 'local-eid-seen', eid, mac, interfaceName: 'site', how: 'arp' })
  world.run(5000)
  world.join('site-1', first, '10.200.0.7')
  world.run(50)
  const source = anAddress('192.0.2.1')
  world.command('site-2', { kind: 'start-move', eids: [eid], source, mode: 'live' })
  world.run(20_000)
  world.join('site-1', later, '10.200.0.7')
  world.run(40_000)
  t.equal(world.xtr('site-2').entries.get(first), '0 | site', 'after a minute')
  t.equal(world.xtr('site-2').entries.get(later), '0 | site', 'joined while its memory was copied')
  world.lose(() => true)
  world.run(40_000)
  t.notOk(world.xtr('site-2').entries.has(first), 'until nobody speaks of it any more')
})

t.test('a site with listeners follows the list of a roaming source once it is there', async (t) => {
  const world = createGroupWorld([xtrConfig(1), xtrConfig(2), xtrConfig(3)])
  const eid = { instanceId: 0, address: anAddress('10.200.0.7') }
  const mac = new Uint8Array(6).fill(2)
  const group = '(10.200.0.7,232.5.5.5)'
  world.join('site-2', group)
  world.join('site-3', group)
  world.run(50)
  t.equal(world.xtr('site-2').entries.get(group), '0 | site')
  t.notOk(world.names('site-2').includes('group-followed'))
  // No Map-Server tells it by itself.
  world.lose(({ message }) => message.kind === 'map-register')
  world.raise('site-2', { kind: 'local-eid-seen', eid, mac, interfaceName: 'site', how: 'arp' })
  world.run(50)
  t.equal(world.xtr('site-2').entries.get(group), '0 192.0.2.3 | site')
})

t.test('a move waits only shortly for a group that nobody sends to', async (t) => {
  const world = createGroupWorld([xtrConfig(1), xtrConfig(2)])
  const eid = { instanceId: 0, address: anAddress('10.200.0.7') }
  const mac = new Uint8Array(6).fill(2)
  const seen = { kind: 'local-eid-seen', eid, mac, interfaceName: 'site', how: 'arp' } as const
  world.raise('site-1', seen)
  world.join('site-1', '(*,239.6.6.6)', '10.200.0.7')
  world.run(5000)
  world.command('site-2', { kind: 'start-move', eids: [eid], source: anAddress('192.0.2.1') })
  world.run(150)
  t.notOk(world.names('site-2').includes('move-prepared'))
  const asked = world.xtr('site-2').performed.flatMap(({ operations }) => operations)
  const questions = asked.filter(({ kind }) => kind === 'query-replication').length
  t.ok(questions > 10 && questions <= 40, `the datapath was asked ${questions} times`)
  world.run(100)
  t.ok(world.names('site-2').includes('groups-arrived silent'))
  t.ok(world.names('site-2').includes('move-prepared'))
  t.equal(world.xtr('site-2').entries.get('(*,239.6.6.6)'), '0 | site')
  world.run(30_000)
  t.notOk(world.xtr('site-2').entries.has('(*,239.6.6.6)'), 'it never came: no longer delivered')
})

t.test('(S,G) is registered at the Map-Servers of its source, (*,G) at all', async (t) => {
  const other = { ...xtrConfig(2).mapServers[0]!, multicastSources: [aPrefix('10.9.0.0/16')] }
  const world = createGroupWorld([xtrConfig(2, { mapServers: [other] })])
  world.join('site-2', SSM)
  world.run(5)
  t.same(registersOf(world.sent), [])
  world.join('site-2', '(10.9.0.5,232.1.1.1)')
  world.join('site-2', ASM)
  world.run(5)
  t.equal(registersOf(world.sent).length, 2)
})

t.test('the new site of a source is told its list when it registers the source', async (t) => {
  const world = createGroupWorld([xtrConfig(1), xtrConfig(2), xtrConfig(3)])
  const group = '(10.200.0.7,232.5.5.5)'
  const seen = (name: string) =>
    world.raise(name, {
      kind: 'local-eid-seen',
      eid: { instanceId: 0, address: anAddress('10.200.0.7') },
      mac: new Uint8Array(6).fill(2),
      interfaceName: 'site',
      how: 'arp',
    })
  seen('site-1')
  world.join('site-3', group)
  world.run(20)
  t.equal(world.xtr('site-1').entries.get(group), '0 192.0.2.3 |')
  seen('site-2')
  world.run(20)
  t.equal(world.xtr('site-2').entries.get(group), '0 192.0.2.3 |', 'before its first packet')
  t.notOk(world.xtr('site-1').entries.has(group))
})

t.test('a site joins no more groups than its limit', async (t) => {
  const multicast = aMulticastPolicy({ enabled: true, maximumGroups: 3 })
  const world = createGroupWorld([xtrConfig(2, { multicast })])
  for (let index = 1; index <= 5; index += 1) world.join('site-2', `(*,239.1.1.${index})`)
  t.equal(world.groups('site-2').length, 3)
  t.equal(world.names('site-2').filter((one) => one === 'group-refused too-many-groups').length, 2)
})

function usageOf(group: string, packets: bigint) {
  const about = { group: aGroup(group), packets, bytes: 0n, idleMs: undefined }
  return { kind: 'replication-usage', ...about } as const
}

t.test('a restart goes on copying, to segments and sites, until it knows better', async (t) => {
  const world = createGroupWorld([xtrConfig(1), xtrConfig(2)])
  const copies = ['192.0.2.2', '192.0.2.9'].map((text) => ({
    locator: locator(anAddress(text)),
    source: anAddress('192.0.2.1'),
    pathMtu: 1500,
  }))
  const groups = [
    { group: aGroup(SSM), copies, localInterfaces: ['site'], level: 0 },
    { group: aGroup(ASM), copies: [], localInterfaces: ['site'], level: 0 },
    { group: aGroup('(10.1.0.5,239.1.1.1)'), copies, localInterfaces: ['site'], level: 0 },
    { group: aGroup('(10.9.0.5,232.1.1.9)'), copies, localInterfaces: [], level: 0 },
  ]
  const before = world.xtr('site-1').performed.length
  world.restart('site-1', groups)
  const { entries, performed } = world.xtr('site-1')
  const all = performed.slice(before).flatMap(({ operations }) => operations)
  const removed = all.filter(({ kind }) => kind === 'delete-replication')
  t.match(removed, [{ group: aGroup('(10.9.0.5,232.1.1.9)') }], 'a source that is not ours')
  t.equal(removed.length, 1)
  t.equal(entries.get(SSM), '0 192.0.2.2 192.0.2.9 | site')
  t.equal(entries.get(ASM), '0 | site')
  t.equal(entries.get('(10.1.0.5,239.1.1.1)'), '0 192.0.2.2 192.0.2.9 | site')
  world.run(5000)
  t.equal(entries.get(SSM), '0 | site', 'the Map-Server knows of no receiver')
  world.join('site-1', SSM)
  world.run(31_250 + 4_000)
  t.equal(entries.get(ASM), '0 | site', 'who did not hear the first query is asked once more')
  world.run(5_000)
  t.equal(entries.get(SSM), '0 | site', 'who has reported stays')
  t.notOk(entries.has(ASM), 'who has not is forgotten')
})

t.test('what the next configuration still serves is not withdrawn', async (t) => {
  const world = createGroupWorld([xtrConfig(1), xtrConfig(2)])
  world.join('site-2', SSM)
  world.run(5000)
  const about = { kind: 'shutdown', withdraw: true } as const
  world.command('site-2', { ...about, keepingGroupsOf: [0] })
  world.run(100)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 192.0.2.2 |')
  world.command('site-2', { ...about, keepingGroupsOf: [8] })
  world.run(100)
  t.equal(world.xtr('site-1').entries.get(SSM), '0 |', 'of another instance')
})

function registersOf(sent: readonly WorldMessage[]) {
  return sent.flatMap(({ message }) =>
    message.kind === 'map-register' && message.structuredRecords !== undefined ? [message] : [],
  )
}

function isGroupRegister(message: WorldMessage['message']): boolean {
  return message.kind === 'map-register' && message.structuredRecords !== undefined
}

function notifiesTo(sent: readonly WorldMessage[], rloc: string) {
  return sent.flatMap(({ message, to }) =>
    message.kind === 'map-notify' && to === rloc && message.structuredRecords !== undefined
      ? [message]
      : [],
  )
}

function listOf(record: StructuredMapping) {
  const structure = record.locators[0]?.structure
  return structure?.kind === 'replication-list' ? structure.entries : []
}

function receiversOf(world: ReturnType<typeof createGroupWorld>, group: string) {
  return world.groups('mapping').find((one) => one.group === group)?.copies ?? []
}
