/**
 * Nodes that die and come back around a move, alone and in pairs: how soon everything leads to where
 * the host is again. The same picture as the test that kills daemons, in virtual time: two clouds, a
 * client, a mapping node, traffic all the time.
 */
import t from 'tap'
import { decodeMessage } from '../../src/lisp/message.js'
import { drawTiming, type MoveKind, moveHost } from '../../src/sim/mover.js'
import type { NetworkOptions } from '../../src/sim/network.js'
import { createPrng, type Prng } from '../../src/sim/prng.js'
import { createWorld, USUAL_DELAYS, type World } from '../../src/sim/world.js'
import { simulatedFile } from '../support/simulated.js'

t.setTimeout(180_000)

const topology = simulatedFile('two-clouds.yaml')
const RLOC: Readonly<Record<string, string>> = { 'cloud-a': '172.16.1.1', 'cloud-b': '172.16.2.1' }
const PREFIXES = ['[7]10.10.0.5/32', '[7]fd00:10::5/128']
const VICTIMS = ['client', 'mapping', 'cloud-a', 'cloud-b'] as const
const ACTIONS = ['none', 'orchestrated', 'detected', 'absent', 'impatient'] as const
const BEGIN = 4000
/** Once everybody is back; registers are repeated after 1, 2, 4 and 8 s. */
const LIMIT_MS = 15_000
const ROUNDS = 12
const SEEDS = 30

function aWorld(seed: string, carries?: NetworkOptions['carries']): World {
  const delays = { ...USUAL_DELAYS, leastDelayMs: { from: 0.5, to: 2 } }
  // While both ends of a redirect are down packets go round; that is not judged here.
  const maximumRedirects = Number.POSITIVE_INFINITY
  const world = createWorld(topology, {
    seed,
    delays,
    maximumRedirects,
    ...(carries === undefined ? {} : { carries }),
  })
  const { hosts, timeline } = world
  for (const other of ['vm1', 'vm2', 'vm3'])
    for (const family of [4, 6] as const)
      for (const ends of [
        ['host1', other],
        [other, 'host1'],
      ] as const) {
        const flow = hosts.traffic(hosts.byName(ends[0]), hosts.byName(ends[1]), family)!
        const next = (): void => {
          hosts.send(flow, 200)
          timeline.after(20, next)
        }
        timeline.at(BEGIN / 2, next)
      }
  world.run(BEGIN)
  return world
}

function moveAcross(world: World, kind: MoveKind, prng: Prng): void {
  const host = world.hosts.byName('vm1')
  const socket = host.specification.sockets.find((one) => one !== host.socket)!
  const switchMs = prng.pick([0, prng.below(60), prng.below(600)])
  moveHost(world, host, socket, kind, { ...drawTiming(prng), switchMs, lateMs: 500 }, () => {})
}

/** What does not lead to vm1; empty when everything does. */
function whatIsMissing(world: World): string {
  const site = world.hosts.byName('vm1').socket?.site
  if (site === undefined) return 'vm1 is plugged in nowhere'
  const [mapping, here, client] = ['mapping', site, 'client'].map((name) =>
    world.node(name).snapshot(),
  )
  for (const prefix of PREFIXES) {
    const own = <Row extends { eidPrefix: string }>(rows: readonly Row[] | undefined) =>
      rows?.find((one) => one.eidPrefix === prefix)
    if (own(mapping?.registrations)?.locators[0]?.rloc !== RLOC[site])
      return `${prefix} is not registered at ${site}`
    const local = own(here?.mappingDatabase)
    if (local?.state !== 'local' || !local.registered) return `${prefix} is not had by ${site}`
    if (own(client?.mapCache)?.locators[0]?.rloc !== RLOC[site])
      return `the client does not send ${prefix} to ${site}`
  }
  return ''
}

/** Kills one node or two somewhere in the course of a move; what is missing 15 s after they are back. */
function playRound(world: World, prng: Prng): string {
  const { timeline } = world
  const start = timeline.now() + 1
  const kind = prng.pick(ACTIONS)
  if (kind !== 'none') timeline.at(start, () => moveAcross(world, kind, prng))
  const victims = new Set([prng.pick(VICTIMS)])
  if (prng.chance(0.5)) victims.add(prng.pick(VICTIMS))
  let backAt = start + 1500
  const told: string[] = [kind]
  for (const name of victims) {
    const at = start + prng.pick([prng.below(30), prng.below(30), prng.below(400)])
    // Longer than three probes need to call a locator down.
    const back = at + 250 + prng.below(3500)
    backAt = Math.max(backAt, back)
    told.push(`${name} at ${at - start} for ${back - at} ms`)
    timeline.at(at, () => world.node(name).crash())
    timeline.at(back, () => world.node(name).start())
  }
  let at = backAt
  do {
    world.run(at)
    at += 100
  } while (whatIsMissing(world) !== '' && at < backAt + LIMIT_MS)
  const missing = whatIsMissing(world)
  world.run(timeline.now() + prng.below(1500))
  return missing === '' ? '' : `${missing} (${told.join(', ')})`
}

t.test('whoever dies in a move, alone or in pairs, everything leads home in 15 s', async (t) => {
  let rounds = 0
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const prng = createPrng(`restarts ${seed}`)
    const world = aWorld(`restarts ${seed}`)
    for (let round = 1; round <= ROUNDS; round += 1) {
      const missing = playRound(world, prng)
      rounds += 1
      if (missing === '') continue
      t.fail(`seed ${seed} round ${round}: ${missing}`)
      break
    }
  }
  t.equal(rounds, SEEDS * ROUNDS)
})

t.test('a restarted ITR asks at once for what it took over', async (t) => {
  let silent = false
  // The first locator of cloud-a does not answer probes: the second is used, and alone adopted.
  const world = aWorld('adopted', (datagram) => {
    const message = decodeMessage(datagram.bytes)
    const probed = message.kind === 'map-reply' && message.rlocProbe
    const first = message.kind === 'map-reply' && message.records[0]?.locators.find((o) => o.probe)
    return !(silent && probed && first && first.rloc.family === 4)
  })
  const locators = (): string[] | undefined =>
    world
      .node('client')
      .snapshot()
      ?.mapCache.find(({ eidPrefix }) => eidPrefix === PREFIXES[0])
      ?.locators.map(({ rloc }) => rloc)
  t.same(locators(), ['172.16.1.1', 'fd00:c:1::1'])
  silent = true
  world.run(BEGIN + 20_000)
  const down = world
    .node('client')
    .snapshot()
    ?.locators.find(({ rloc }) => rloc === '172.16.1.1')
  t.equal(down?.reachable, false, 'the second locator is in use')
  silent = false
  world.node('client').crash()
  world.run(BEGIN + 20_100)
  world.node('client').start()
  world.run(BEGIN + 20_200)
  t.same(locators(), ['172.16.1.1', 'fd00:c:1::1'], 'the whole mapping again')
})

t.test('the answers of a Map-Server that forgot everything are not believed long', async (t) => {
  let mute = false
  const world = aWorld('forgetful', (datagram) => {
    // The sites do not register again until the end: only the clients can notice.
    const message = decodeMessage(datagram.bytes)
    return !(message.kind === 'map-register' && mute)
  })
  t.equal(whatIsMissing(world), '')
  mute = true
  world.node('mapping').crash()
  world.node('mapping').loseStore()
  world.node('mapping').start()
  const eidPrefix = undefined
  world.command('client', { kind: 'clear-map-cache', eidPrefix }, () => {})
  world.run(world.timeline.now() + 500)
  t.match(whatIsMissing(world), /not registered/)
  const cached = world
    .node('client')
    .snapshot()
    ?.mapCache.find((o) => o.eidPrefix === PREFIXES[0])
  t.equal(cached?.action, 'natively-forward', 'not registered now, says the Map-Server')
  mute = false
  for (const site of ['cloud-a', 'cloud-b']) {
    world.node(site).crash()
    world.node(site).start()
  }
  world.run(world.timeline.now() + 8000)
  t.equal(whatIsMissing(world), '', 'it registers again, and who waits for it asks again soon')
})

t.test('a former site learns of its loss from the next run of the Map-Server', async (t) => {
  const world = aWorld('owed')
  const { network, timeline } = world
  const registered = (): string | undefined =>
    world
      .node('mapping')
      .snapshot()
      ?.registrations.find(({ eidPrefix }) => eidPrefix === PREFIXES[0])?.locators[0]?.rloc
  // Nobody can tell cloud-a: neither the Map-Server nor the new site.
  network.cut('mapping', 'cloud-a', true)
  network.cut('cloud-b', 'cloud-a', true)
  moveAcross(world, 'detected', createPrng('owed'))
  world.run(timeline.now() + 3000)
  t.equal(registered(), RLOC['cloud-b'])
  world.node('mapping').crash()
  world.run(timeline.now() + 500)
  network.cut('mapping', 'cloud-a', false)
  world.node('mapping').start()
  const state = (): string | undefined =>
    world
      .node('cloud-a')
      .snapshot()
      ?.mappingDatabase.find(({ eidPrefix }) => eidPrefix === PREFIXES[0])?.state
  world.run(timeline.now() + 500)
  t.equal(state(), 'away', 'told at once, not when its next refresh is refused')
  // Longer than a refresh.
  for (let second = 0; second < 65; second += 1) {
    world.run(timeline.now() + 1000)
    if (registered() !== RLOC['cloud-b']) break
  }
  t.equal(registered(), RLOC['cloud-b'])
})

t.test('packets do not go round for long between a dead source and a restarted site', async (t) => {
  const world = aWorld('round')
  const { timeline } = world
  // The destination waits, the source redirects, the host never leaves; then both die.
  moveAcross(world, 'absent', createPrng('round'))
  world.run(timeline.now() + 30)
  for (const name of ['cloud-a', 'cloud-b']) world.node(name).crash()
  world.run(timeline.now() + 200)
  world.node('cloud-b').start()
  const reasons = () => world.ledger.totals().reasons
  let rounds = 0
  for (let second = 0; second < 15; second += 1) {
    const before = reasons()['ttl-expired'] ?? 0
    world.run(timeline.now() + 1000)
    if ((reasons()['ttl-expired'] ?? 0) > before) rounds += 1
  }
  t.ok(rounds > 0, 'they did go round')
  t.ok(rounds <= 3, `for ${rounds} s at most`)
  t.ok((reasons()['unknown-eid'] ?? 0) > 0, 'and are dropped for a reason that says why')
  world.node('cloud-a').start()
  world.run(timeline.now() + LIMIT_MS)
  t.equal(whatIsMissing(world), '')
})
