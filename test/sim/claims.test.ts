/**
 * Who has a machine when hosts disagree: clocks that differ, hypervisors that both claim it, machines
 * that move more often than one would like.
 */
import t from 'tap'
import { drawTiming, moveHost } from '../../src/sim/mover.js'
import { createPrng } from '../../src/sim/prng.js'
import { createWorld } from '../../src/sim/world.js'
import {
  BEGIN,
  type Carry,
  type Course,
  EID,
  KNOWN,
  liveWorld,
  migrate,
  outcome,
  stateAt,
} from '../support/live-world.js'
import { simulatedSize } from '../support/simulated.js'

t.setTimeout(120_000)

const [A, B] = ['cloud-1', 'cloud-2'] as const

/** It has been at home for a minute then. */
const FORGERY = BEGIN + 62_000
const FORGING_MS = 60_000
const FORGER = new Uint8Array([2, 0, 0, 0, 6, 6])

t.test('clocks that are 5 s apart change nothing in a live move', async (t) => {
  // Instants are never negative: the mapping system is right, one cloud is late, one early.
  const apart = [
    { [A]: 10_000, [B]: 0, mapping: 5000, 'customer-1': 2500 },
    { [A]: 0, [B]: 10_000, mapping: 5000, 'customer-1': 7500 },
  ]
  const outcomes = [undefined, ...apart].map((clocks) => {
    const course = liveWorld(undefined, clocks === undefined ? {} : { clocks })
    migrate(course, BEGIN, A, B, KNOWN)
    migrate(course, BEGIN + 600, B, A, { ...KNOWN, fails: true })
    migrate(course, BEGIN + 1200, B, A, { ...KNOWN, stoppedMs: undefined })
    const { lost, twice } = outcome(course, BEGIN + 9000)
    return { lost, twice, at: stateAt(course.world, A) }
  })
  t.same(outcomes[0]?.lost, [])
  for (const { lost, twice, at } of outcomes.slice(1)) {
    t.same(lost, [])
    t.equal(at, 'local')
    // Stamps of a clock fall differently; a unit of them is 66 µs, a packet comes every 2 ms.
    t.ok(Math.abs(twice - outcomes[0]!.twice) <= 2, `${twice} doubled, not ${outcomes[0]!.twice}`)
  }
})

t.test('a hypervisor claims a machine that runs elsewhere: it stays where it speaks', async (t) => {
  for (const isPrepared of [false, true]) {
    const course = liveWorld()
    const { world } = course
    const { eids } = world.hosts.byName('vm-1').specification
    const claim = (): void => world.command(B, { kind: 'endpoint-running', eids }, () => {})
    const start = { kind: 'start-move', eids, source: undefined, mode: 'live' } as const
    world.timeline.at(BEGIN, () => {
      if (isPrepared) world.command(B, start, claim)
      else claim()
    })
    // It is not mute: every 50 ms it says who it is.
    const speak = (): void => {
      world.hosts.announce(world.hosts.byName('vm-1'), 'arp')
      world.timeline.after(50, speak)
    }
    world.timeline.at(BEGIN, speak)
    world.run(BEGIN + 5000)
    const registered = () =>
      world
        .node('mapping')
        .snapshot()!
        .registrations.find(({ eidPrefix }) => eidPrefix === `${EID}/32`)
    const version = registered()?.mapVersion
    t.equal(stateAt(world, A), 'local')
    t.equal(stateAt(world, B), isPrepared ? 'away' : undefined, 'the other knows')
    outcome(course, BEGIN + 20_000)
    t.equal(registered()?.mapVersion, version, 'nobody claims it again')
  }
})

t.test('six moves in three minutes are followed each, without damping', async (t) => {
  for (const kind of ['detected', 'live'] as const) {
    const events: string[] = []
    const world = createWorld(simulatedSize(), {
      seed: kind,
      onLine: (line) => {
        if (line.includes('eid-conflict')) events.push(line)
      },
    })
    const { hosts, timeline } = world
    const host = hosts.byName('vm-1')
    const traffic = hosts.traffic(hosts.byName('host-1'), host, 4)!
    const send = (): void => {
      hosts.send(traffic, 200)
      timeline.after(50, send)
    }
    timeline.at(BEGIN - 1000, send)
    const followed: number[] = []
    const timing = { ...drawTiming(createPrng('six')), announceMs: 2, how: 'arp' as const }
    for (let move = 0; move < 6; move += 1) {
      const [begin, site] = [BEGIN + move * 30_000, move % 2 === 0 ? B : A]
      const socket = host.specification.sockets.find((one) => one.site === site)!
      let switchedAt: number | undefined
      timeline.at(begin, () =>
        moveHost(
          world,
          host,
          socket,
          kind,
          timing,
          () => {},
          () => {
            switchedAt = timeline.now()
          },
        ),
      )
      while (stateAt(world, site) !== 'local' || switchedAt === undefined) {
        world.run(Math.max(begin, timeline.now()) + 20)
        if (timeline.now() > begin + 20_000) break
      }
      followed.push(timeline.now() - (switchedAt ?? 0))
    }
    t.ok(
      followed.every((ms) => ms <= 1000),
      `${kind}: ${followed.join(', ')} ms`,
    )
    t.same(events, [])
  }
})

t.test('a source that dies after "ready": the destination confirms alone', async (t) => {
  const restartMs = 40_000
  for (const subscribe of [false, true]) {
    const course = liveWorld(undefined, { subscribe })
    const { world, traffic } = course
    migrate(course, BEGIN, A, B, {
      ...KNOWN,
      onReady: () => world.timeline.after(5, () => world.node(A).crash()),
    })
    world.run(BEGIN + 30_000)
    const registered = world
      .node('mapping')
      .snapshot()!
      .registrations.find(({ eidPrefix }) => eidPrefix === `${EID}/32`)
    t.equal(registered?.locators[0]?.rloc, '192.0.2.2')
    t.equal(stateAt(world, B), 'local')
    world.timeline.at(BEGIN + restartMs, () => world.node(A).start())
    outcome(course, BEGIN + restartMs + 10_000)
    t.same(world.ledger.missing(traffic.books, 0), [], 'whoever does not subscribe was told by it')
  }
})

t.test('a thousand forged announcements a second: who is at home keeps its address', async (t) => {
  for (const mute of [false, true]) {
    const said = { claims: 0, all: 0 }
    const carry: Carry = (message, _datagram, from) => {
      if (course.world.timeline.now() < FORGERY) return true
      said.all += 1
      if (message.kind === 'map-register' && from === B) said.claims += 1
      return true
    }
    const course: Course = liveWorld(carry, { mute })
    const { world, traffic } = course
    const { eids, sockets } = world.hosts.byName('vm-1').specification
    const { interfaceName } = sockets.find(({ site }) => site === B)!
    const forge = (): void => {
      world.node(B).datapath?.frameSeen(eids[0]!, FORGER, interfaceName, 'arp')
      world.timeline.after(1, forge)
    }
    world.timeline.at(FORGERY, forge)
    world.run(FORGERY + FORGING_MS)
    const { books } = traffic
    const late = world.ledger.missing(books, 0).filter(({ sequence }) => {
      const at = books.sentAt[sequence]!
      return at > FORGERY && at < FORGERY + FORGING_MS - 1000
    })
    const lostMs = late.length * 2
    const who = mute ? 'only answers' : 'talks'
    t.ok(lostMs < FORGING_MS / 20, `who ${who} loses ${lostMs} of ${FORGING_MS} ms`)
    t.ok(said.claims < 60, `${said.claims} registers of the forger's site`)
    t.ok(said.all < 1500, `${said.all} control messages in a minute`)
  }
})
