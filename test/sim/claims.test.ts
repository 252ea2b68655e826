/**
 * Who has a machine when hosts disagree: clocks that differ, hypervisors that both claim it, machines
 * that move more often than one would like.
 */
import t from 'tap'
import { drawTiming, moveHost } from '../../src/sim/mover.js'
import { createPrng } from '../../src/sim/prng.js'
import { createWorld } from '../../src/sim/world.js'
import { BEGIN, EID, KNOWN, liveWorld, migrate, outcome, stateAt } from '../support/live-world.js'
import { simulatedSize } from '../support/simulated.js'

t.setTimeout(120_000)

const [A, B] = ['cloud-1', 'cloud-2'] as const

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
  const [leaseMs, restartMs] = [30_000, 40_000]
  for (const subscribe of [false, true]) {
    const course = liveWorld(undefined, { subscribe })
    const { world, traffic } = course
    migrate(course, BEGIN, A, B, {
      ...KNOWN,
      onReady: () => world.timeline.after(5, () => world.node(A).crash()),
    })
    world.run(BEGIN + leaseMs)
    const registered = world
      .node('mapping')
      .snapshot()!
      .registrations.find(({ eidPrefix }) => eidPrefix === `${EID}/32`)
    t.equal(registered?.locators[0]?.rloc, '192.0.2.2')
    t.equal(stateAt(world, B), 'local')
    world.timeline.at(BEGIN + restartMs, () => world.node(A).start())
    outcome(course, BEGIN + restartMs + 10_000)
    const { books } = traffic
    const sentAt = world.ledger.missing(books, 0).map(({ sequence }) => books.sentAt[sequence]!)
    // Pinned copies serve who does not follow until their lease is over; who subscribes follows.
    if (subscribe) t.same(sentAt, [])
    else t.ok(Math.min(...sentAt) > BEGIN + leaseMs - 10, `lost from ${Math.min(...sentAt)} on`)
    t.ok(
      sentAt.every((at) => at < BEGIN + restartMs + 100),
      'its next run knows better',
    )
  }
})
