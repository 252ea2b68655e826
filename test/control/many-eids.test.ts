/**
 * Machines with many addresses: 64 EIDs of both families in two instance-IDs move as one. What does not
 * fit one datagram goes in several, and is agreed to as a whole or not at all.
 *
 *        A ── core ── B        A: the machine begins here
 *              │
 *              M
 */
import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import { equalIpAddresses, parseMac } from '../../src/lisp/address.js'
import { decodeMessage } from '../../src/lisp/message.js'
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

const MAP_SERVER = '203.0.113.9'
const PREFIXES = ['[7]10.1.0.0/16', '[7]2001:db8:1::/48', '[8]10.1.0.0/16', '[8]2001:db8:1::/48']
/** The least that every path of IPv6 carries, without the headers of IPv6 and UDP. */
const LARGEST_DATAGRAM = 1232
/** One register takes so many bytes on every path of IPv4. */
const LARGEST_REGISTER = 548

const numbers = Array.from({ length: 16 }, (_, index) => index + 1)
const MANY = [7, 8].flatMap((instanceId) => [
  ...numbers.map((number) => `[${instanceId}]10.1.0.${number}`),
  ...numbers.map((number) => `[${instanceId}]2001:db8:1::${number}`),
])

function rlocs(number: number) {
  return [`203.0.113.${number}`, `2001:db8:ffff::${number}`].map((text) => ({
    address: anAddress(text),
    interfaceName: 'core',
    priority: 1,
    weight: 100,
  }))
}

function aCloud(number: number, about: Partial<NodeConfig> = {}): NodeConfig {
  return aNodeConfig({
    node: `xtr-${number}`,
    xtrId: new Uint8Array(16).fill(number),
    rlocs: rlocs(number),
    mapServers: [aMapServer(MAP_SERVER)],
    mapResolvers: [anAddress(MAP_SERVER)],
    mobility: { ...aNodeConfig().mobility, key: aKey('mobility domain') },
    // A segment for each instance-ID, and an interface of the machine in each.
    dynamicEidPrefixes: PREFIXES.map((text) => ({
      eidPrefix: aPrefix(text),
      interfaceName: text.startsWith('[7]') ? 'site7' : 'site8',
    })),
    ...about,
  })
}

function aWorld(options: WorldOptions = {}, aboutA: Partial<NodeConfig> = {}) {
  const site = aSite({
    prefixes: PREFIXES.map((text) => ({ eidPrefix: aPrefix(text), acceptMoreSpecifics: true })),
  })
  const mapServer = { sites: [site], registrationMs: 180_000, maximumRegistrations: 1000 }
  const roles = ['map-server', 'map-resolver'] as const
  const world = createWorld(
    {
      a: aCloud(1, aboutA),
      b: aCloud(2),
      m: aNodeConfig({ node: 'mapping', roles: [...roles], rlocs: rlocs(9), mapServer }),
    },
    options,
  )
  attachAll(world, 'a')
  world.at(10, () => {
    for (const eid of MANY) world.speak(eid)
  })
  return world
}

type World = ReturnType<typeof aWorld>

const macOf = (eid: string): string =>
  eid.startsWith('[7]') ? '02:00:00:00:00:07' : '02:00:00:00:00:08'

function attachAll(world: Pick<ReturnType<typeof createWorld>, 'attach'>, site: string): void {
  for (const eid of MANY) world.attach([eid], site, parseMac(macOf(eid)))
}

function startMove(world: World, mode: 'live' | 'switch', id = mode): void {
  const command = { kind: 'start-move', eids: MANY.map(anEid), source: undefined, mode } as const
  world.at(1000, () => world.command('b', id, command))
}

function statesAt(world: World, site: string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { kind, state } of world.siteOf(site).node.snapshot(world.now()).mappingDatabase)
    if (kind === 'dynamic-eid') counts[String(state)] = (counts[String(state)] ?? 0) + 1
  return counts
}

/** How many of the EIDs are registered with exactly the RLOCs of this cloud. */
function registeredAt(world: World, number: number): number {
  const { registrations } = world.siteOf('m').node.snapshot(world.now())
  return registrations.filter(
    ({ locators }) =>
      locators.length > 0 &&
      locators.every((one) =>
        rlocs(number).some(({ address }) => equalIpAddresses(address, anAddress(one.rloc))),
      ),
  ).length
}

function arriveAtB(world: World): void {
  attachAll(world, 'b')
  world.command('b', 'running', { kind: 'endpoint-running', eids: MANY.map(anEid) })
}

for (const mode of ['switch', 'live'] as const)
  t.test(`64 EIDs of two instance-IDs move as one (${mode})`, async (t) => {
    const sizes = new Map<string, number[]>()
    const world = aWorld({
      carries(kind, _from, _to, at, bytes) {
        if (at >= 1000) sizes.set(kind, [...(sizes.get(kind) ?? []), bytes.length])
        return true
      },
    })
    world.run(900)
    t.equal(registeredAt(world, 1), MANY.length)
    startMove(world, mode)
    world.run(1100)
    t.match(world.results.get(mode)?.result, { ok: true, value: { state: 'ready' } })
    t.same(statesAt(world, 'b'), { standby: MANY.length })
    t.same(statesAt(world, 'a'), { [mode === 'live' ? 'local' : 'away']: MANY.length })
    arriveAtB(world)
    t.same(statesAt(world, 'b'), { local: MANY.length }, 'all in the same step')
    const wrong = world
      .siteOf('b')
      .node.snapshot(world.now())
      .mappingDatabase.filter(({ kind, eidPrefix, mac }) => {
        return kind === 'dynamic-eid' && mac !== macOf(eidPrefix)
      })
    t.same(wrong, [], 'and each with the MAC address of its interface')
    world.run(1200)
    t.same(statesAt(world, 'a'), { away: MANY.length })
    world.run(3000)
    t.equal(registeredAt(world, 2), MANY.length)
    const [move] = world.siteOf('b').node.snapshot(3000).moves.slice(-1)
    t.match(move, { trigger: 'orchestrated', state: 'converged' })
    t.equal(move?.eids.length, MANY.length)
    const [left] = world.siteOf('a').node.snapshot(3000).moves.slice(-1)
    t.match(left, { state: 'arrived' }, 'one move at the source as well')

    const prepared = sizes.get(mode === 'live' ? 'move prepare-live' : 'move prepare') ?? []
    t.ok(prepared.length > 1, 'more than one datagram takes')
    for (const [kind, all] of sizes)
      if (kind.startsWith('move')) t.ok(Math.max(...all) <= LARGEST_DATAGRAM, `${kind}: ${all}`)
    t.ok(Math.max(...sizes.get('map-register')!) <= LARGEST_REGISTER)
  })

t.test('of 64 EIDs one may not leave: none does', async (t) => {
  // Its source does not know the last one.
  const world = aWorld()
  world.run(900)
  const [last = ''] = MANY.slice(-1)
  world.command('a', 'remove', { kind: 'remove-eid', eidPrefix: aPrefix(`${last}/128`) })
  t.match(world.results.get('remove')?.result, { ok: true })
  const source = anAddress('203.0.113.1')
  const command = { kind: 'start-move', eids: MANY.map(anEid), source, mode: 'switch' } as const
  world.at(1000, () => world.command('b', 'one-short', command))
  world.run(3000)
  t.match(world.results.get('one-short')?.result, { ok: false, code: 'source-refused' })
  t.same(statesAt(world, 'a'), { local: MANY.length - 1 })
  t.same(statesAt(world, 'b'), {})
  t.equal(registeredAt(world, 2), 0)
})

for (const phase of ['prepare', 'prepared', 'confirm', 'ack'] as const)
  t.test(`one ${phase} of several is lost and said again: all 64 move`, async (t) => {
    const said: string[] = []
    const world = aWorld({
      carries(kind, _from, _to, _at, bytes) {
        if (kind !== `move ${phase}`) return true
        said.push(bytes.join(' '))
        return said.length !== 2
      },
    })
    world.run(900)
    startMove(world, 'switch')
    world.run(1500)
    t.match(world.results.get('switch')?.result, { ok: true, value: { state: 'ready' } })
    arriveAtB(world)
    world.run(3000)
    t.ok(new Set(said).size > 1, 'there were several')
    t.ok(said.lastIndexOf(said[1]!) > 1, 'the lost one was said again')
    t.same(statesAt(world, 'a'), { away: MANY.length })
    t.same(statesAt(world, 'b'), { local: MANY.length })
    t.equal(registeredAt(world, 2), MANY.length)
  })

t.test(
  'a confirm whose parcels come apart redirects everything with the first of them',
  async (t) => {
    let confirms = 0
    const world = aWorld({
      carries(kind, _from, _to, at) {
        if (kind !== 'move confirm') return true
        confirms += 1
        return confirms === 1 || at > 1400
      },
    })
    world.run(900)
    startMove(world, 'live')
    world.run(1100)
    t.same(statesAt(world, 'a'), { local: MANY.length })
    arriveAtB(world)
    world.run(1200)
    t.same(statesAt(world, 'a'), { away: MANY.length }, 'also those not named yet')
    world.run(3500)
    const [left] = world.siteOf('a').node.snapshot(3500).moves.slice(-1)
    t.match(left, { state: 'arrived' })
  },
)

t.test('a register of several is lost: it is repeated, and the move waits for all', async (t) => {
  let registers = 0
  const world = aWorld({
    carries(kind, from, _to, at, bytes) {
      if (kind !== 'map-register' || from !== 'b') return true
      const message = decodeMessage(bytes)
      const isLast =
        message.kind === 'map-register' &&
        message.records.some(({ eidPrefix }) => equalIpAddresses(eidPrefix.address, LAST.address))
      if (isLast) registers += 1
      return !isLast || at > 1300
    },
  })
  world.run(900)
  startMove(world, 'switch')
  world.run(1100)
  arriveAtB(world)
  world.run(1200)
  const stages = () => {
    const [move] = world.siteOf('b').node.snapshot(world.now()).moves.slice(-1)
    return move?.timeline.map(({ stage }) => stage) ?? []
  }
  t.notOk(stages().includes('registered'), 'not before the last of them')
  world.run(4000)
  t.ok(registers > 1)
  t.ok(stages().includes('registered'))
  t.equal(registeredAt(world, 2), MANY.length)
})

t.test(
  'a machine with 64 EIDs that comes by itself is one move for each of its interfaces',
  async (t) => {
    const world = aWorld()
    world.run(900)
    startMove(world, 'switch')
    world.run(1100)
    arriveAtB(world)
    world.run(5000)
    attachAll(world, 'a')
    for (const eid of MANY) world.speak(eid)
    world.run(7000)
    t.same(statesAt(world, 'a'), { local: MANY.length })
    t.same(statesAt(world, 'b'), { away: MANY.length })
    t.equal(registeredAt(world, 1), MANY.length)
    const detected = world
      .siteOf('a')
      .node.snapshot(7000)
      .moves.filter(({ trigger }) => trigger === 'detected')
    t.same(
      detected.slice(-2).map(({ eids }) => eids.length),
      [MANY.length / 2, MANY.length / 2],
    )
  },
)

t.test('65 EIDs are too many for one move or one event', async (t) => {
  const world = aWorld()
  world.run(100)
  const eids = [...MANY, '[7]10.1.1.1'].map(anEid)
  world.command('b', 'move', { kind: 'start-move', eids, source: undefined })
  t.match(world.results.get('move')?.result, { ok: false, status: 400, code: 'bad-eid-count' })
  world.command('b', 'event', { kind: 'endpoint-running', eids })
  t.match(world.results.get('event')?.result, { ok: false, status: 400, code: 'bad-eid-count' })
})

const LAST = anEid(MANY.at(-1)!)
