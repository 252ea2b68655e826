/**
 * A source that dies for good in the middle of a move, with everything on its host: nobody redirects,
 * nobody solicits, no publication goes round. Senders are told by the destination all the same.
 */
import t from 'tap'
import type { World } from '../../src/sim/world.js'
import {
  BEGIN,
  type Carry,
  DOWN_MS,
  EID,
  KNOWN,
  liveWorld,
  migrate,
  RUN_MS,
  stateAt,
} from '../support/live-world.js'

t.setTimeout(120_000)

const [A, B] = ['cloud-1', 'cloud-2'] as const
const OTHERS = ['cloud-2', 'cloud-3', 'customer-1', 'mapping'] as const
/** From "prepared" to the machine running at B. */
const ARRIVAL_MS = RUN_MS + DOWN_MS
/** From the arrival until the customer sends to B: 0.7 s of silence, and a question. */
const FOLLOWED_MS = 900
/** A source that has answered is believed for 2 s. */
const ANSWERED_FOLLOWED_MS = 2300

/** The host of `site` is gone: nothing comes in, nothing goes out. */
function destroy(world: World, site: string): void {
  world.node(site).reboot()
  for (const other of OTHERS) {
    world.network.cut(site, other, true)
    world.network.cut(other, site, true)
  }
}

/** Where the customer sends packets for the machine. */
function wayOf(world: World): string | undefined {
  const row = world
    .node('customer-1')
    .snapshot()
    ?.mapCache.find((one) => one.eidPrefix === `${EID}/32`)
  return row?.locators[0]?.rloc
}

const rlocOf = (world: World, site: string): string | undefined => {
  const row = world
    .node('mapping')
    .snapshot()
    ?.registrations.find((one) => one.eidPrefix === `${EID}/32`)
  return stateAt(world, site) === 'local' ? row?.locators[0]?.rloc : undefined
}

for (const [step, dies, followedMs] of [
  ['it copies', { onReady: 50 }, FOLLOWED_MS],
  ['it copies, just before the stop', { onReady: RUN_MS - 1 }, FOLLOWED_MS],
  ['it redirects', { onStopped: 10 }, FOLLOWED_MS],
  ['the machine begins to run elsewhere', { onRunning: 0 }, FOLLOWED_MS],
  ['its answer to the confirmation is on its way', { onRunning: 4 }, ANSWERED_FOLLOWED_MS],
] as const)
  t.test(`when the source dies for good while ${step}, its senders are told`, async (t) => {
    const course = liveWorld()
    const { world } = course
    const script = Object.fromEntries(
      Object.entries(dies).map(([when, afterMs]) => [
        when,
        () => world.timeline.after(afterMs, () => destroy(world, A)),
      ]),
    )
    migrate(course, BEGIN, A, B, { ...KNOWN, ...script })
    world.run(BEGIN + ARRIVAL_MS + followedMs)
    const there = rlocOf(world, B)
    t.ok(there, 'it is registered at its destination')
    t.equal(wayOf(world), there, 'the customer sends to its destination')
    const before = course.traffic.books.deliveries.length
    world.run(BEGIN + ARRIVAL_MS + followedMs + 1000)
    const late = course.traffic.books.deliveries.slice(before, before + 400)
    t.ok(late.length > 300 && late.every((count) => count === 1), 'and nothing is lost any more')
  })

t.test('a source that confirms and dies before it has solicited anybody', async (t) => {
  const carry: Carry = (message, _datagram, from) =>
    !(message.kind === 'map-request' && message.solicitMapRequest && from === A)
  const course = liveWorld(carry)
  const { world } = course
  migrate(course, BEGIN, A, B, {
    ...KNOWN,
    onRunning: () => world.timeline.after(60, () => destroy(world, A)),
  })
  world.run(BEGIN + ARRIVAL_MS + ANSWERED_FOLLOWED_MS)
  t.equal(wayOf(world), rlocOf(world, B), 'the customer sends to its destination')
})

t.test('a source that lives is not spoken for', async (t) => {
  let solicited = 0
  const course = liveWorld((message, _datagram, from) => {
    if (message.kind === 'map-request' && message.solicitMapRequest && from === B) solicited += 1
    return true
  })
  migrate(course, BEGIN, A, B, KNOWN)
  course.world.run(BEGIN + 20_000)
  t.equal(wayOf(course.world), rlocOf(course.world, B))
  t.equal(solicited, 0, 'the destination solicits nobody')
})

t.test('a move nobody announced, from a source that died a moment before', async (t) => {
  const course = liveWorld()
  const { world } = course
  const { hosts, timeline } = world
  const vm = hosts.byName('vm-1')
  const socketAt = (site: string) => vm.specification.sockets.find((one) => one.site === site)!
  // B has had it before, and talks with the customer: it knows whom to tell.
  migrate(course, BEGIN, A, B, KNOWN)
  migrate(course, BEGIN + 3000, B, A, KNOWN)
  const at = BEGIN + 8000
  timeline.at(at, () => destroy(world, A))
  timeline.at(at + 20, () => {
    hosts.attach(vm, socketAt(B))
    hosts.announce(vm, 'arp')
  })
  world.run(at + 20 + FOLLOWED_MS)
  t.equal(stateAt(world, B), 'local')
  t.equal(wayOf(world), rlocOf(world, B), 'the customer sends to its destination')
})
