/**
 * Moves in which messages are late, lost, doubled or said again by somebody, as scripts: three clouds,
 * a customer site whose host sends 500 packets a second to vm-1, a mapping node. vm-1 begins in
 * cloud-1. Virtual time; whatever is not scripted is the same in each run.
 */
import { createHmac } from 'node:crypto'
import t from 'tap'
import { encodeSigned, type Hmac } from '../../src/lisp/authentication.js'
import { hostPrefix } from '../../src/lisp/eid.js'
import { locator } from '../../src/lisp/locator.js'
import { decodeMessage, type Message } from '../../src/lisp/message.js'
import { judgeRest, judgeSilence } from '../../src/sim/at-rest.js'
import type { Traffic } from '../../src/sim/host.js'
import { type MoveKind, moveHost } from '../../src/sim/mover.js'
import type { Datagram, NetworkOptions } from '../../src/sim/network.js'
import type { SimulatedNode } from '../../src/sim/simulated-node.js'
import { createWorld, type World } from '../../src/sim/world.js'
import { simulatedSize } from '../support/simulated.js'

const topology = simulatedSize()
const BEGIN = 2000
const hmac: Hmac = (hash, key, data) => createHmac(hash, key).update(data).digest()
const EID = '[7]10.10.0.1'
const TIMING = { blackoutMs: 0, switchMs: 5, announceMs: 1, how: 'arp' as const, lateMs: 500 }

type Carry = (message: Message, datagram: Datagram, path: string) => boolean | number

function aWorld(carry?: Carry, size = topology): { world: World; traffic: Traffic } {
  const carries: NetworkOptions['carries'] = (datagram, from, to) => {
    const message = decodeMessage(datagram.bytes)
    return message.kind === 'malformed'
      ? true
      : (carry?.(message, datagram, `${from}>${to}`) ?? true)
  }
  const delays = {
    leastDelayMs: { from: 2, to: 2 },
    meanJitterMs: 0,
    meanWriteMs: 0.5,
    meanEventMs: 0.1,
    meanHoldMs: 0.02,
  }
  const world = createWorld(size, { seed: 'scenario', delays, carries })
  const { hosts, timeline } = world
  const traffic = hosts.traffic(hosts.byName('host-1'), hosts.byName('vm-1'), 4)!
  const back = hosts.traffic(hosts.byName('vm-1'), hosts.byName('host-1'), 4)!
  for (const one of [traffic, back]) {
    const next = (): void => {
      hosts.send(one, 200)
      timeline.after(2, next)
    }
    timeline.at(BEGIN - 500, next)
  }
  return { world, traffic }
}

/** Moves vm-1 at a moment; resolves into the list it returns. */
function move(world: World, at: number, to: string, kind: MoveKind): string[] {
  const answers: string[] = []
  world.timeline.at(at, () => {
    const host = world.hosts.byName('vm-1')
    const socket = host.specification.sockets.find((one) => one.site === to)!
    moveHost(world, host, socket, kind, TIMING, ({ answer }) => answers.push(answer))
  })
  return answers
}

function lost({ world, traffic }: { world: World; traffic: Traffic }): (string | undefined)[] {
  return world.ledger.missing(traffic.books, 0).map((one) => one.reason)
}

/** Where the Map-Server has vm-1, and what each cloud has. */
function places(world: World) {
  const registrations = world.node('mapping').snapshot()!.registrations
  const rloc = registrations.find((one) => one.eidPrefix === `${EID}/32`)?.locators[0]?.rloc
  const stateAt = (name: string): string | undefined =>
    world
      .node(name)
      .snapshot()!
      .mappingDatabase.find((one) => one.eidPrefix === `${EID}/32`)?.state
  const clouds = ['cloud-1', 'cloud-2', 'cloud-3'].map(stateAt)
  return { registered: rloc?.replace('192.0.2.', 'cloud-'), clouds }
}

/** Where an xTR sends what is for vm-1. */
function locatorOf(node: SimulatedNode): string | undefined {
  const cached = node.snapshot()!.mapCache.find((one) => one.eidPrefix === `${EID}/32`)
  return cached?.locators[0]?.rloc
}

function rest(world: World, until: number): void {
  world.run(until)
  judgeRest(world, until - 1000 - 50)
}

t.test('a prepared move, one with a pause, and one that fails lose nothing', async (t) => {
  const one = aWorld()
  const { world } = one
  move(world, BEGIN, 'cloud-2', 'orchestrated')
  move(world, BEGIN + 1000, 'cloud-3', 'blackout')
  move(world, BEGIN + 2000, 'cloud-1', 'absent')
  const aborted = move(world, BEGIN + 5000, 'cloud-2', 'aborted')
  rest(world, BEGIN + 8000)
  t.same(lost(one), [])
  t.same(aborted, ['ready'])
  t.match(places(world), { registered: 'cloud-3', clouds: ['away', 'away', 'local'] })
  const held = world.node('cloud-1').datapath!.counters().hold
  t.ok(held.heldTotal > 900, `${held.heldTotal} packets waited for who never came, and went back`)
  t.equal(held.releasedTotal, held.heldTotal)
})

t.test('a prepare that the whole move overtakes is refused when it comes', async (t) => {
  const one = aWorld((message) =>
    message.kind === 'move' && message.phase === 'prepare' ? 400 : true,
  )
  const { world } = one
  move(world, BEGIN, 'cloud-2', 'impatient')
  rest(world, BEGIN + 5000)
  t.match(places(world), { registered: 'cloud-2', clouds: ['away', 'local'] })
  const moves = world.node('cloud-1').snapshot()!.moves
  const away = moves.filter((each) => each.trigger === 'orchestrated').map((each) => each.state)
  t.same(away, ['arrived'], 'the late prepare began nothing')
  t.ok(lost(one).length < 30, 'only what came before the confirmation is lost')
})

t.test('a prepare said again after its attempt is over changes nothing', async (t) => {
  const prepares: Datagram[] = []
  const one = aWorld((message, datagram) => {
    if (message.kind === 'move' && message.phase === 'prepare') prepares.push(datagram)
    return true
  })
  const { world } = one
  move(world, BEGIN, 'cloud-2', 'absent')
  world.timeline.at(BEGIN + 4000, () => world.network.send('cloud-2', prepares[0]!))
  rest(world, BEGIN + 8000)
  t.same(lost(one), [])
  t.match(places(world), { registered: 'cloud-1', clouds: ['local', undefined] })
})

t.test('a prepare that was held back with its end is called back at once', async (t) => {
  const prepares: Datagram[] = []
  const one = aWorld((message, datagram) => {
    if (message.kind === 'move' && message.phase === 'cancel')
      return world.timeline.now() > BEGIN + 4000
    if (message.kind !== 'move' || message.phase !== 'prepare') return true
    prepares.push(datagram)
    return world.timeline.now() > BEGIN + 3000
  })
  const { world } = one
  const answers = move(world, BEGIN, 'cloud-2', 'orchestrated')
  world.timeline.at(BEGIN + 4000, () => world.network.send('cloud-2', prepares[0]!))
  world.run(BEGIN + 4003)
  t.equal(places(world).clouds[0], 'away', 'the source has obeyed')
  world.run(BEGIN + 4020)
  t.equal(places(world).clouds[0], 'local', 'the destination has objected')
  rest(world, BEGIN + 9000)
  t.same(answers, ['source-unreachable'])
  t.ok(lost(one).length < 10, `${lost(one).length} packets met a destination that did not hold`)
})

t.test('an attempt that asks again for one EID more gets that one redirected too', async (t) => {
  const { nodes, hosts } = simulatedSize({ dualStack: true })
  const world = createWorld({ name: 'two families', nodes, hosts, moves: [] }, { seed: 'more' })
  world.run(BEGIN)
  const [one, two] = ['cloud-1', 'cloud-2'].map((name) => world.node(name).specification.nodeConfig)
  const eids = world.hosts.byName('vm-1').specification.eids
  const prepare = (nonce: bigint, count: number): void => {
    const message: Message = {
      kind: 'move',
      phase: 'prepare',
      reason: 'none',
      nonce,
      keyId: 0,
      algorithm: 0,
      authenticationData: new Uint8Array(0),
      moveId: 7n << 32n,
      endpointMac: new Uint8Array(6),
      senders: [],
      records: eids.slice(0, count).map((eid) => ({
        eidPrefix: hostPrefix(eid),
        ttlMinutes: 15,
        action: 'no-action' as const,
        authoritative: true,
        mapVersion: 0,
        locators: [locator(two!.rlocs[0]!.address)],
      })),
      identity: { xtrId: two!.xtrId, siteId: 0n },
    }
    const bytes = encodeSigned(message, two!.mobility.key!, hmac)
    const [from, to] = [two!.rlocs[0]!.address, one!.rlocs[0]!.address]
    world.node('cloud-1').receive({ from, fromPort: 4342, to, bytes, genuine: true })
  }
  const states = (): string[] =>
    world
      .node('cloud-1')
      .datapath!.view()
      .localEids.filter((each) => each.state !== 'prefix')
      .map((each) => each.state)
  prepare(200n, 1)
  t.same(states(), ['away', 'local'])
  prepare(201n, 2)
  t.same(states(), ['away', 'away'])
  world.run(BEGIN + 2000)
  t.same(states(), ['local', 'local'], 'and both come back when nobody knows of it')
})

t.test('a prepare that was held back is refused once the source knows its end', async (t) => {
  const prepares: Datagram[] = []
  const one = aWorld((message, datagram) => {
    if (message.kind !== 'move' || message.phase !== 'prepare') return true
    prepares.push(datagram)
    return world.timeline.now() > BEGIN + 3500
  })
  const { world } = one
  const answers = move(world, BEGIN, 'cloud-2', 'orchestrated')
  world.timeline.at(BEGIN + 4000, () => world.network.send('cloud-2', prepares[0]!))
  rest(world, BEGIN + 9000)
  t.same(answers, ['source-unreachable'])
  t.same(lost(one), [])
  t.match(places(world), { registered: 'cloud-1', clouds: ['local'] })
})

t.test('a second attempt while the first is not called off remembers who was away', async (t) => {
  const one = aWorld((message) => !(message.kind === 'move' && message.phase === 'cancel' && deaf))
  let deaf = false
  const { world } = one
  move(world, BEGIN, 'cloud-2', 'orchestrated')
  world.run(BEGIN + 1000)
  deaf = true
  move(world, BEGIN + 1000, 'cloud-1', 'aborted')
  world.timeline.at(BEGIN + 1150, () => {
    const eids = world.hosts.byName('vm-1').specification.eids
    const source = world.node('cloud-2').specification.nodeConfig.rlocs[0]!.address
    world.command('cloud-1', { kind: 'start-move', eids, source }, (result) => {
      deaf = false
      const { moveId } = (result as { readonly value: { readonly moveId: string } }).value
      world.command('cloud-1', { kind: 'cancel-move', moveId }, () => {})
    })
  })
  world.run(BEGIN + 5000)
  t.match(places(world).clouds, ['away', 'local'], 'who still sends to cloud-1 is redirected')
  t.same(lost(one), [])
})

t.test('while a move is prepared the source answers who asks for the EID', async (t) => {
  const one = aWorld(undefined, simulatedSize({ proxyReply: false }))
  const { world } = one
  move(world, BEGIN, 'cloud-2', 'absent')
  const eidPrefix = undefined
  world.timeline.at(BEGIN + 100, () =>
    world.command('customer-1', { kind: 'clear-map-cache', eidPrefix }, () => {}),
  )
  world.run(BEGIN + 1500)
  const cached = world.node('customer-1').snapshot()!.mapCache
  const found = cached.find((each) => each.eidPrefix === `${EID}/32`)
  t.match(found, { origin: 'map-reply', locators: [{ rloc: '192.0.2.1' }] })
  rest(world, BEGIN + 6000)
  t.same(lost(one), [])
})

t.test('a rebooted xTR asks who still sends to those who left it to ask again', async (t) => {
  const one = aWorld()
  const { world, traffic } = one
  move(world, BEGIN, 'cloud-2', 'orchestrated')
  world.run(BEGIN + 1000)
  const customer = world.node('customer-1')
  t.equal(locatorOf(customer), '192.0.2.2')
  world.reboot('cloud-2')
  move(world, BEGIN + 1000, 'cloud-3', 'detected')
  world.timeline.at(BEGIN + 1100, () => world.node('cloud-2').start())
  world.run(BEGIN + 6000)
  t.equal(locatorOf(customer), '192.0.2.3', 'it followed although cloud-2 knows nothing')
  t.same(world.ledger.missing(traffic.books, BEGIN + 3000), [])
})

t.test('a late cancellation of the first attempt does not end the second', async (t) => {
  const one = aWorld((message) =>
    message.kind === 'move' && message.phase === 'cancel' ? 300 : true,
  )
  const { world } = one
  move(world, BEGIN, 'cloud-2', 'aborted')
  const answers = move(world, BEGIN + 100, 'cloud-2', 'orchestrated')
  rest(world, BEGIN + 6000)
  t.same(answers, ['ready'])
  t.same(lost(one), [])
  t.match(places(world), { registered: 'cloud-2', clouds: ['away', 'local'] })
})

t.test('a claim that never reached the Map-Server does not stop the way home', async (t) => {
  const one = aWorld(
    (message, _datagram, path) => !(message.kind === 'map-register' && path.startsWith('cloud-2')),
  )
  const { world } = one
  move(world, BEGIN, 'cloud-2', 'orchestrated')
  move(world, BEGIN + 1500, 'cloud-1', 'orchestrated')
  rest(world, BEGIN + 8000)
  t.same(lost(one), [])
  t.match(places(world), { registered: 'cloud-1', clouds: ['local', 'away'] })
})

t.test('a late Map-Notify does not move away who came home', async (t) => {
  const one = aWorld((message, _datagram, path) =>
    message.kind === 'map-notify' && message.nonce >= 1n << 63n && path === 'mapping>cloud-1'
      ? 3000
      : true,
  )
  const { world } = one
  move(world, BEGIN, 'cloud-2', 'orchestrated')
  move(world, BEGIN + 1000, 'cloud-1', 'orchestrated')
  rest(world, BEGIN + 8000)
  t.same(lost(one), [])
  t.match(places(world), { registered: 'cloud-1', clouds: ['local', 'away'] })
})

t.test('a refresh after the claim of another is refused, and tells the loser', async (t) => {
  const one = aWorld((message, _datagram, path) => {
    const notice = message.kind === 'map-notify' && message.nonce >= 1n << 63n
    if (path === 'mapping>cloud-1' && notice) return false
    return !(path === 'cloud-2>cloud-1' && message.kind === 'move')
  })
  const { world } = one
  move(world, BEGIN, 'cloud-2', 'detected')
  world.run(BEGIN + 5000)
  t.same(places(world), { registered: 'cloud-2', clouds: ['local', 'local', undefined] })
  rest(world, BEGIN + 75_000)
  t.match(places(world), { registered: 'cloud-2', clouds: ['away', 'local'] })
})

t.test('a source that dies while it redirects takes the EID back when it is told', async (t) => {
  const one = aWorld(
    (message, _datagram, path) =>
      !(message.kind === 'map-reply' && path === 'mapping>cloud-1' && world.timeline.now() > BEGIN),
  )
  const { world } = one
  move(world, BEGIN, 'cloud-2', 'absent')
  world.timeline.at(BEGIN + 300, () => world.node('cloud-1').crash())
  world.timeline.at(BEGIN + 400, () => world.node('cloud-1').start())
  world.run(BEGIN + 1900)
  t.equal(places(world).clouds[0], 'away', 'it redirects on, as its tables say')
  rest(world, BEGIN + 5000)
  t.match(places(world), { registered: 'cloud-1', clouds: ['local', undefined] })
  t.same(lost(one), [])
})

t.test('a destination that dies with packets on hold loses those and nothing after', async (t) => {
  const one = aWorld()
  const { world, traffic } = one
  move(world, BEGIN, 'cloud-2', 'absent')
  world.timeline.at(BEGIN + 300, () => world.node('cloud-2').crash())
  world.timeline.at(BEGIN + 350, () => world.node('cloud-2').start())
  world.run(BEGIN + 12_000)
  const reasons = lost(one)
  t.ok(reasons.includes('hold-lost'), 'what was held died')
  const late = world.ledger.missing(traffic.books, BEGIN + 9000)
  t.same(late, [], 'the service is back')
  t.match(places(world), { registered: 'cloud-1', clouds: ['local'] })
})

t.test('every packet is delivered or has a reason, whatever dies', async (t) => {
  const { world } = aWorld()
  move(world, BEGIN, 'cloud-2', 'detected')
  world.timeline.at(BEGIN + 3, () => world.node('cloud-2').crash())
  world.timeline.at(BEGIN + 200, () => world.node('cloud-2').start())
  world.timeline.at(BEGIN + 100, () => world.reboot('customer-1'))
  world.timeline.at(BEGIN + 300, () => world.node('customer-1').start())
  world.run(BEGIN + 3000)
  for (const host of world.hosts.all) world.hosts.attach(host, undefined)
  world.run(BEGIN + 15_000)
  judgeSilence(world)
  const { sent, delivered, lost: missing, reasons } = world.ledger.totals()
  t.equal(sent, delivered + missing)
  t.equal(
    missing,
    Object.values(reasons).reduce((sum, one) => sum + one, 0),
  )
})
