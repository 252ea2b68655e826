/**
 * Whole moves between xTR A and xTR B while a client behind C sends 1,000 packets a second, with a
 * Map-Server M looking on: all four are real nodes, time is virtual, links take 5 ms.
 *
 *        C ── core ── A   (vm1 begins here)
 *              │ └─── B
 *              M
 */
import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import type { MoveView } from '../../src/control/snapshot.js'
import {
  aKey,
  aMapServer,
  aNodeConfig,
  anAddress,
  anEid,
  aPrefix,
  aSite,
} from '../support/builders.js'
import { createWorld, type WorldOptions } from '../support/xtr-world.js'

const V4 = '10.1.0.5'
const V6 = '2001:db8:1::5'
const MAP_SERVER = '203.0.113.9'

function rlocs(address: string) {
  return [{ address: anAddress(address), interfaceName: 'core', priority: 1, weight: 100 }]
}

function anXtr(index: number, about: Partial<NodeConfig> = {}): NodeConfig {
  return aNodeConfig({
    node: `xtr-${index}`,
    xtrId: new Uint8Array(16).fill(index),
    rlocs: rlocs(`203.0.113.${index}`),
    mapServers: [aMapServer(MAP_SERVER)],
    mapResolvers: [anAddress(MAP_SERVER)],
    ...about,
  })
}

const mobility = { ...aNodeConfig().mobility, key: aKey('mobility domain') }

function aCloud(index: number, about: Partial<NodeConfig['mobility']> = {}): NodeConfig {
  return anXtr(index, {
    dynamicEidPrefixes: ['10.1.0.0/16', '2001:db8:1::/48'].map((text) => ({
      eidPrefix: aPrefix(text),
      interfaceName: 'site',
    })),
    mobility: { ...mobility, ...about },
  })
}

function aWorld(options: WorldOptions = {}, about: Partial<NodeConfig['mobility']> = {}) {
  const site = aSite({
    prefixes: ['10.1.0.0/16', '2001:db8:1::/48', '10.2.0.0/16'].map((text) => ({
      eidPrefix: aPrefix(text),
      acceptMoreSpecifics: true,
    })),
  })
  const mapServer = { sites: [site], registrationMs: 180_000, maximumRegistrations: 1000 }
  const world = createWorld(
    {
      a: aCloud(1, about),
      b: aCloud(2, about),
      c: anXtr(3, { eidPrefixes: [{ eidPrefix: aPrefix('10.2.0.0/16'), interfaceName: 'site' }] }),
      m: aNodeConfig({
        node: 'mapping',
        roles: ['map-server', 'map-resolver'],
        rlocs: rlocs(MAP_SERVER),
        mapServer,
      }),
    },
    options,
  )
  world.attach([V4, V6], 'a')
  world.at(10, () => {
    world.speak(V4)
    world.speak(V6)
  })
  return world
}

type World = ReturnType<typeof aWorld>

/** One packet a millisecond from the client to vm1, and a word of vm1 every 10 ms. */
function traffic(world: World, from: number, until: number): void {
  for (let at = from; at < until; at += 1) world.at(at, () => world.send('c', '10.2.0.7', V4, at))
  for (let at = from; at < until; at += 10)
    world.at(at, () => {
      world.speak(V4)
      world.speak(V6)
    })
}

function startMove(world: World, at: number, to: string, id: string): void {
  const eids = [anEid(V4), anEid(V6)]
  world.at(at, () => world.command(to, id, { kind: 'start-move', eids, source: undefined }))
}

function viewOf(world: World, site: string): MoveView {
  const { moves } = world.siteOf(site).node.snapshot(world.now())
  return moves[moves.length - 1]!
}

function ownerOf(world: World, eidPrefix: string): string | undefined {
  const { registrations } = world.siteOf('m').node.snapshot(world.now())
  return registrations.find((one) => one.eidPrefix === eidPrefix)?.owner
}

/** Numbers that were sent and not delivered, delivered twice, or delivered out of order. */
function verdict(world: World, from: number, until: number) {
  const numbers = world.deliveries.filter((one) => one.eid === V4).map((one) => one.number)
  const got = new Set(numbers)
  let lost = 0
  for (let number = from; number < until; number += 1) if (!got.has(number)) lost += 1
  const reordered = numbers.filter((one, index) => index > 0 && one < numbers[index - 1]!).length
  return { lost, duplicated: numbers.length - got.size, reordered }
}

/**
 * When C follows, its first direct packets (5 ms) arrive among the last that A relayed (10 ms): five at
 * most are overtaken in each move. Nothing else may be.
 */
const OVERTAKEN_PER_MOVE = 5

t.test('a first packet waits for its mapping and nothing is lost or overtaken', async (t) => {
  const world = aWorld()
  traffic(world, 100, 400)
  world.run(500)
  t.same(verdict(world, 100, 400), { lost: 0, duplicated: 0, reordered: 0 })
  const [first] = world.deliveries
  t.equal(first?.number, 100)
  t.equal(first?.at, 115, 'one round trip to the mapping system, then one way to A')
  const cache = world.siteOf('c').node.snapshot(500).mapCache
  t.match(cache.find((one) => one.eidPrefix === '10.1.0.5/32')?.locators, [{ rloc: '203.0.113.1' }])
})

t.test('an orchestrated move loses nothing and converges on the direct path', async (t) => {
  const world = aWorld()
  traffic(world, 100, 3000)
  startMove(world, 1000, 'b', 'move-1')
  world.run(1100)
  const answer = world.results.get('move-1')
  t.match(answer?.result, { ok: true, value: { state: 'ready', source: '203.0.113.1' } })
  t.equal(world.siteOf('a').localEids.get('10.1.0.5/32')?.state, 'away', 'redirected when ready')
  // The link switches 100 ms after "ready"; vm1 speaks at its next turn.
  world.attach([V4, V6], 'b')
  world.run(3500)

  const { lost, duplicated, reordered } = verdict(world, 100, 3000)
  t.same({ lost, duplicated }, { lost: 0, duplicated: 0 })
  t.ok(reordered <= OVERTAKEN_PER_MOVE, `${reordered} overtaken`)
  const move = viewOf(world, 'b')
  t.equal(move.state, 'converged')
  t.same(
    move.timeline.map((one) => one.stage),
    [
      'requested',
      'source-redirected',
      'ready',
      'endpoint-seen',
      'registered',
      'senders-solicited',
      'converged',
    ],
  )
  const moments = move.timeline.map((one) => 3500 - one.agoMs)
  t.same(
    moments,
    [...moments].sort((x, y) => x - y),
    'stages are stamped in order',
  )
  t.ok(
    moments[6]! - moments[3]! < 100,
    `converged ${moments[6]! - moments[3]!} ms after the endpoint was seen`,
  )

  const { node } = world.siteOf('b')
  const database = node.snapshot(3500).mappingDatabase.filter((one) => one.kind === 'dynamic-eid')
  t.same(
    database.map((one) => [one.eidPrefix, one.state, one.registered]),
    [
      ['10.1.0.5/32', 'local', true],
      ['2001:db8:1::5/128', 'local', true],
    ],
  )
  t.match(
    world
      .siteOf('c')
      .node.snapshot(3500)
      .mapCache.find((one) => one.eidPrefix === '10.1.0.5/32'),
    { locators: [{ rloc: '203.0.113.2' }] },
  )
  t.ok(world.announced.includes('a 10.1.0.5'), 'A tells its segment that it is the way now')
  t.notOk(world.drops.length, JSON.stringify(world.drops.slice(0, 3)))
})

t.test('twelve moves to and fro lose nothing and all converge', async (t) => {
  // Every 3 s: as often as SMRs and the Map-Requests they cause may be sent for one EID in the long run.
  const world = aWorld()
  traffic(world, 100, 38_500)
  const ready: boolean[] = []
  for (let index = 0; index < 12; index += 1) {
    const to = index % 2 === 0 ? 'b' : 'a'
    const start = 3000 * (index + 1)
    startMove(world, start, to, `move-${index}`)
    world.at(start + 100, () => {
      ready.push(world.results.get(`move-${index}`)?.result.ok === true)
      world.attach([V4, V6], to)
    })
  }
  world.run(40_000)
  t.same(ready, Array(12).fill(true))
  const { lost, duplicated, reordered } = verdict(world, 100, 38_500)
  t.same({ lost, duplicated }, { lost: 0, duplicated: 0 })
  t.ok(reordered <= 12 * OVERTAKEN_PER_MOVE, `${reordered} overtaken`)
  for (const [site, rloc] of [
    ['a', '203.0.113.1'],
    ['b', '203.0.113.2'],
  ] as const) {
    const { moves } = world.siteOf(site).node.snapshot(40_000)
    const here = moves.filter((one) => one.trigger === 'orchestrated' && one.destination === rloc)
    const states = here.map((one) => one.state)
    t.same(states, Array(6).fill('converged'), `all six to ${site}`)
  }
  t.equal(ownerOf(world, '10.1.0.5/32'), '01'.repeat(16), 'home again')
})

t.test('however often it moves, senders have followed within 3 s of the last move', async (t) => {
  let slowest = 0
  for (const [everyMs, moves] of [
    [2500, 30],
    [1000, 20],
    [700, 21],
  ] as const) {
    const world = aWorld()
    const end = 2000 + everyMs * (moves - 1)
    traffic(world, 100, end + 4000)
    for (let index = 0; index < moves; index += 1)
      world.at(2000 + everyMs * index, () => world.attach([V4, V6], index % 2 === 0 ? 'b' : 'a'))
    world.run(end + 5000)
    const home = moves % 2 === 0 ? '203.0.113.1' : '203.0.113.2'
    const cached = world.siteOf('c').mapCache.get('10.1.0.5/32')?.encapsulations[0]?.locator.rloc
    t.same(cached, anAddress(home), `every ${everyMs} ms`)
    const direct = world.deliveries.filter((one) => one.eid === V4 && one.at - one.number < 10)
    const detour = world.deliveries.filter((one) => one.eid === V4 && one.at - one.number >= 10)
    const followedAt = Math.max(...detour.map((one) => one.number))
    slowest = Math.max(slowest, followedAt - end)
    t.ok(followedAt <= end + 3100, `every ${everyMs} ms: after ${followedAt - end} ms`)
    t.ok(direct.length > 0)
    const { lost } = verdict(world, end + 50, end + 3900)
    t.equal(lost, 0, 'and nothing is lost on the detour')
  }
  t.ok(slowest > 500, 'the limits were met')
})

t.test('a detected move converges by itself and loses only what was on its way', async (t) => {
  const world = aWorld()
  traffic(world, 100, 3000)
  world.at(1000, () => world.attach([V4, V6], 'b'))
  world.run(4500)
  const { lost, duplicated, reordered } = verdict(world, 100, 3000)
  // Until A hears of it: one word of vm1 (0–10 ms), B to M to A (10 ms), and what C had sent (5 ms).
  t.ok(lost > 0 && lost <= 25, `${lost} lost`)
  t.equal(duplicated, 0)
  t.ok(reordered <= OVERTAKEN_PER_MOVE, `${reordered} overtaken`)
  const move = viewOf(world, 'b')
  t.match(move, { trigger: 'detected', state: 'converged' })
  t.equal(world.siteOf('a').localEids.get('10.1.0.5/32')?.state, 'away')
  t.ok(world.namesAt('a').includes('smr-sent'))
  t.ok(world.namesAt('a').includes('eid-departed'))
})

t.test(
  'a site that an endpoint left is told directly, also when the Map-Server is dead',
  async (t) => {
    let isDead = false
    const told: string[] = []
    const carries: WorldOptions['carries'] = (kind, from, to) => {
      if (kind === 'move confirm') told.push(`${from} ${to}`)
      return !(isDead && (from === 'm' || to === 'm'))
    }
    const world = aWorld({ carries })
    traffic(world, 100, 4000)
    world.at(1000, () => world.attach([V4, V6], 'b'))
    world.run(1999)
    t.same(told, [], 'B cannot know the version of what has never been there')
    isDead = true
    world.attach([V4, V6], 'a')
    world.run(3000)
    t.same(told, ['a b'], 'both EIDs in one message')
    const states = ['10.1.0.5/32', '2001:db8:1::5/128'].map((key) => {
      return ['a', 'b'].map((site) => world.siteOf(site).localEids.get(key)?.state).join(' ')
    })
    t.same(states, ['local away', 'local away'])
    t.match(viewOf(world, 'a'), { trigger: 'detected', eids: ['10.1.0.5', '2001:db8:1::5'] })
    t.equal(viewOf(world, 'b').destination, '203.0.113.1')
    isDead = false
    world.run(9000)
    // One word of vm1 (0-10 ms), A to B (5 ms), and what C had sent (5 ms).
    const { lost } = verdict(world, 1990, 3900)
    t.ok(lost <= 20, `${lost} lost`)
    t.equal(ownerOf(world, '10.1.0.5/32'), '01'.repeat(16))
    t.equal(ownerOf(world, '2001:db8:1::5/128'), '01'.repeat(16))
  },
)

t.test(
  'the endpoint that never comes: held packets go back and the source delivers again',
  async (t) => {
    const world = aWorld()
    traffic(world, 100, 5000)
    startMove(world, 1000, 'b', 'move-1')
    world.run(6000)
    t.match(world.results.get('move-1')?.result, { ok: true })
    t.match(viewOf(world, 'b'), { state: 'failed', reason: 'endpoint-absent' })
    t.match(viewOf(world, 'a'), { state: 'failed', reason: 'endpoint-absent' })
    t.equal(world.siteOf('a').localEids.get('10.1.0.5/32')?.state, 'local')
    t.equal(
      world.siteOf('b').localEids.get('10.1.0.5/32'),
      undefined,
      'B knows nothing of it any more',
    )
    t.equal(world.siteOf('b').mapCache.get('10.1.0.5/32'), undefined)
    const { lost, duplicated } = verdict(world, 100, 5000)
    t.same({ lost, duplicated }, { lost: 0, duplicated: 0 })
    t.equal(
      world
        .siteOf('m')
        .node.snapshot(6000)
        .registrations.find((one) => one.eidPrefix === '10.1.0.5/32')?.owner,
      '01'.repeat(16),
      'the mapping system never heard of the attempt',
    )
  },
)

t.test('a silent endpoint is looked for from "ready" until it is seen', async (t) => {
  const world = aWorld()
  for (let at = 100; at < 3000; at += 1) world.at(at, () => world.send('c', '10.2.0.7', V4, at))
  startMove(world, 1000, 'b', 'move-1')
  world.at(1330, () => world.attach([V4, V6], 'b'))
  world.run(3500)
  t.match(viewOf(world, 'b'), { state: 'converged' })
  const [readyAt] = world.events.filter(({ event }) => event.name === 'move-prepared')
  const sought = world.solicited.filter(({ eid }) => eid === V4)
  t.same(
    sought.map(({ at, site }) => [at - readyAt!.at, site]),
    [0, 100, 200, 300, 400].map((after) => [after, 'b']),
  )
  t.equal(world.solicited.length, 2 * sought.length, 'both its EIDs, never at the source')
  const { lost, duplicated } = verdict(world, 100, 3000)
  t.same({ lost, duplicated }, { lost: 0, duplicated: 0 })

  const absent = aWorld()
  startMove(absent, 1000, 'b', 'move-1')
  absent.run(10_000)
  t.match(viewOf(absent, 'b'), { state: 'failed', reason: 'endpoint-absent' })
  t.equal(absent.solicited.length, 2 * 20, 'for 2 s')
})

t.test('a cancelled move is undone at once, and a second attempt succeeds', async (t) => {
  const world = aWorld()
  traffic(world, 100, 4000)
  startMove(world, 1000, 'b', 'move-1')
  world.at(1200, () => {
    const { moveId } = viewOf(world, 'b')
    world.command('b', 'cancel-1', { kind: 'cancel-move', moveId })
  })
  startMove(world, 2000, 'b', 'move-2')
  world.at(2100, () => world.attach([V4, V6], 'b'))
  world.run(1500)
  t.match(world.results.get('cancel-1')?.result, {
    ok: true,
    value: { state: 'failed', reason: 'operator' },
  })
  t.equal(world.siteOf('a').localEids.get('10.1.0.5/32')?.state, 'local')
  world.run(4500)
  t.match(viewOf(world, 'b'), { state: 'converged' })
  const { lost, duplicated } = verdict(world, 100, 4000)
  t.same({ lost, duplicated }, { lost: 0, duplicated: 0 })
})

t.test('lost control messages delay a move but do not break it', async (t) => {
  const seen = new Set<string>()
  // The first of every kind on every way disappears.
  const carries: WorldOptions['carries'] = (kind, from, to) => {
    const key = `${kind} ${from} ${to}`
    const again = seen.has(key)
    seen.add(key)
    return again
  }
  const world = aWorld({ carries })
  traffic(world, 5000, 14_000)
  startMove(world, 9000, 'b', 'move-1')
  world.run(10_300)
  t.match(world.results.get('move-1')?.result, { ok: true })
  world.attach([V4, V6], 'b')
  world.run(20_000)
  const move = viewOf(world, 'b')
  t.equal(move.state, 'converged', JSON.stringify(move.timeline))
  const { lost, duplicated } = verdict(world, 5000, 14_000)
  t.same({ lost, duplicated }, { lost: 0, duplicated: 0 })
  t.equal(ownerOf(world, '10.1.0.5/32'), '02'.repeat(16))
  t.ok(
    seen.has('move confirm b a') && seen.has('map-notify m b'),
    'what was lost would have mattered',
  )
})

t.test(
  'a silent destination: the source asks the mapping system and takes the EIDs back',
  async (t) => {
    let cut = false
    const world = aWorld({ carries: (_kind, from, to) => !(cut && (from === 'b' || to === 'b')) })
    startMove(world, 1000, 'b', 'move-1')
    world.run(1100)
    t.equal(world.siteOf('a').localEids.get('10.1.0.5/32')?.state, 'away')
    cut = true
    world.run(4900)
    t.equal(world.siteOf('a').localEids.get('10.1.0.5/32')?.state, 'away', 'patience of twice 2 s')
    world.run(5200)
    t.equal(world.siteOf('a').localEids.get('10.1.0.5/32')?.state, 'local')
    t.match(viewOf(world, 'a'), { state: 'failed', reason: 'endpoint-absent' })
  },
)

t.test('a named source that was never heard of is unknown, in bounded time', async (t) => {
  const world = aWorld({ carries: (kind) => !(kind.startsWith('move') && cut) })
  let cut = true
  const ask = (at: number, id: string): void => {
    const source = anAddress('203.0.113.1')
    const command = { kind: 'start-move', eids: [anEid(V4)], source } as const
    world.at(at, () => world.command('b', id, command))
  }
  ask(1000, 'stranger')
  world.run(4000)
  const unknown = { result: { ok: false, status: 404, code: 'unknown-xtr' } }
  t.match(world.results.get('stranger'), { at: 3000, ...unknown })
  cut = false
  ask(6000, 'heard')
  world.run(12_000)
  cut = true
  ask(13_000, 'silent')
  world.run(16_000)
  const silent = { result: { ok: false, status: 504, code: 'source-unreachable' } }
  t.match(world.results.get('silent'), silent, 'who has spoken before is only silent')
})

t.test('a source that does not answer fails the move and leaves nothing behind', async (t) => {
  const world = aWorld({ carries: (kind) => !kind.startsWith('move') })
  startMove(world, 1000, 'b', 'move-1')
  world.run(5000)
  t.match(world.results.get('move-1'), {
    at: 3010,
    result: { ok: false, status: 504, code: 'source-unreachable' },
  })
  t.match(viewOf(world, 'b'), { state: 'failed', reason: 'source-unreachable' })
  t.equal(world.siteOf('b').localEids.get('10.1.0.5/32'), undefined)
  t.equal(world.siteOf('a').localEids.get('10.1.0.5/32')?.state, 'local')
})

t.test('each protection, switched off, costs what it protects', async (t) => {
  const lossWithout = (about: Partial<NodeConfig['mobility']>) => {
    const world = aWorld({}, about)
    traffic(world, 100, 3000)
    startMove(world, 1000, 'b', 'move-1')
    world.at(1100, () => world.attach([V4, V6], undefined))
    world.at(1150, () => world.attach([V4, V6], 'b'))
    world.run(3000)
    return {
      lost: verdict(world, 100, 2990).lost,
      cache: world.siteOf('c').mapCache.get('10.1.0.5/32'),
    }
  }
  t.equal(lossWithout({}).lost, 0)
  t.ok(lossWithout({ hold: false }).lost > 40, 'the blackout is lost')
  t.ok(lossWithout({ redirect: false }).lost > 40, 'what reaches the source is lost')
  const { lost, cache } = lossWithout({ solicit: false })
  t.equal(lost, 0, 'the redirect carries on without SMR')
  t.match(
    cache,
    { encapsulations: [{ locator: { rloc: anAddress('203.0.113.1') } }] },
    'C stays on the detour',
  )
})

t.test('moves that make no sense are refused and change nothing', async (t) => {
  const world = aWorld({}, { peers: [anAddress('203.0.113.1'), anAddress('203.0.113.2')] })
  const ask = (id: string, site: string, eids: readonly string[], source?: string) => {
    const command = {
      kind: 'start-move' as const,
      eids: eids.map(anEid),
      source: source === undefined ? undefined : anAddress(source),
    }
    world.command(site, id, command)
    return world.results.get(id)?.result
  }
  world.run(100)
  t.match(ask('1', 'b', ['192.0.2.1']), { ok: false, status: 404, code: 'eid-not-allowed' })
  t.match(ask('2', 'a', [V4]), { ok: false, status: 409, code: 'already-local' })
  t.match(ask('3', 'b', [V4], '198.51.100.77'), { ok: false, status: 404, code: 'unknown-xtr' })
  t.match(ask('4', 'b', [V4], '203.0.113.2'), {
    ok: false,
    status: 400,
    code: 'source-is-this-node',
  })
  t.match(ask('5', 'c', [V4]), { ok: false, status: 503, code: 'no-mobility-key' })
  t.match(ask('6', 'b', []), { ok: false, status: 400, code: 'bad-eid-count' })
  t.equal(ask('7', 'b', [V4]), undefined, 'under way')
  t.match(ask('8', 'b', [V4]), { ok: false, status: 409, code: 'move-in-progress' })
  world.run(200)
  t.match(world.results.get('7')?.result, { ok: true })
  t.match(
    ask('9', 'a', [V4]),
    { ok: false, status: 409, code: 'move-in-progress' },
    'leaving just now',
  )
  t.equal(
    world
      .siteOf('b')
      .node.snapshot(200)
      .moves.filter((one) => one.trigger === 'orchestrated').length,
    1,
  )
})

t.test(
  'an EID that is registered nowhere can be expected, and is dropped with its reason',
  async (t) => {
    const world = aWorld()
    world.run(50)
    const eids = [anEid('10.1.0.77')]
    world.command('b', 'move-1', { kind: 'start-move', eids, source: undefined })
    world.run(100)
    t.match(world.results.get('move-1')?.result, {
      ok: true,
      value: { state: 'ready', source: undefined },
    })
    world.at(200, () => world.send('b', '10.1.0.8', '10.1.0.77', 1))
    world.run(2500)
    t.match(viewOf(world, 'b'), { state: 'failed', reason: 'endpoint-absent' })
    t.match(world.drops, [{ number: 1, reason: 'endpoint-absent' }])
  },
)

t.test('after a move the forgotten EID ages out of the source', async (t) => {
  const world = aWorld()
  traffic(world, 100, 1500)
  startMove(world, 1000, 'b', 'move-1')
  world.at(1100, () => world.attach([V4, V6], 'b'))
  world.run(15 * 60_000)
  t.equal(
    world.siteOf('a').localEids.get('10.1.0.5/32')?.state,
    'away',
    'as long as a mapping may name A',
  )
  world.run(16 * 60_000 + 2000)
  t.equal(world.siteOf('a').localEids.get('10.1.0.5/32'), undefined)
  t.equal(world.siteOf('a').mapCache.get('10.1.0.5/32'), undefined)
  t.ok(world.namesAt('a').includes('eid-removed'))
})
