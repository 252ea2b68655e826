/**
 * A mapping system that is a delegation tree, whole nodes in virtual time: root, two levels of DDT
 * nodes, two Map-Servers, a Map-Resolver that knows only the root, and two sites that talk.
 */
import t from 'tap'
import { decodeMessage, type Message } from '../../src/lisp/message.js'
import type { NetworkOptions } from '../../src/sim/network.js'
import { createPrng } from '../../src/sim/prng.js'
import { createWorld } from '../../src/sim/world.js'
import { simulatedFile } from '../support/simulated.js'

const topology = simulatedFile('delegated.yaml')
const BEGIN = 3000

function lookups(seed: string, loss: number) {
  const prng = createPrng(seed)
  const steps: string[] = []
  const carries: NetworkOptions['carries'] = (datagram, from, to) => {
    const message = decodeMessage(datagram.bytes)
    if (prng.fraction() < loss) return false
    const inner =
      message.kind === 'encapsulated-control' ? decodeMessage(message.message) : undefined
    const ofTree = message.kind === 'map-referral' || inner?.kind === 'map-request'
    if (ofTree && message.kind !== 'malformed') steps.push(`${from} → ${to} ${wordOf(message)}`)
    return true
  }
  const world = createWorld(topology, { seed, carries })
  const { hosts, timeline } = world
  const there = hosts.traffic(hosts.byName('host1'), hosts.byName('host2'), 4)!
  const back = hosts.traffic(hosts.byName('host2'), hosts.byName('host1'), 4)!
  for (const one of [there, back]) {
    const next = (): void => {
      hosts.send(one, 200)
      timeline.after(50, next)
    }
    timeline.at(BEGIN, next)
  }
  world.run(30_000)
  const late = (traffic: typeof there) => world.ledger.missing(traffic.books, 20_000).length
  return { world, steps, late: late(there) + late(back) }
}

function wordOf(message: Message): string {
  return message.kind === 'map-referral' ? message.records[0]!.action : 'asks'
}

t.test('a first packet is resolved from the root down to the Map-Server of its site', async (t) => {
  const { world, steps, late } = lookups('delegation', 0)
  t.equal(late, 0)
  const east = steps.filter((step) => !/west|left/.test(step.replace(/^left → resolver/, '')))
  for (const step of [
    'left → resolver asks',
    'resolver → root asks',
    'root → resolver node-referral',
    'resolver → hub asks',
    'hub → resolver node-referral',
    'resolver → east asks',
    'east → resolver ms-referral',
    'resolver → ms-east asks',
    'ms-east → resolver ms-ack',
  ]) {
    t.ok(east.includes(step), step)
  }
  const { referrals } = world.node('resolver').snapshot()!
  t.strictSame(referrals.map(({ eidPrefix, kind }) => `${eidPrefix} ${kind}`).toSorted(), [
    '[7]0.0.0.0/0 node-referral',
    '[7]10.31.0.0/16 node-referral',
    '[7]10.31.0.0/24 ms-ack',
    '[7]10.32.0.0/16 node-referral',
    '[7]10.32.0.0/24 ms-ack',
  ])
})

t.test('under a tenth of loss every lookup comes to its end, in twenty runs', async (t) => {
  for (let run = 0; run < 20; run += 1) {
    const { world, late } = lookups(`lossy-${run}`, 0.1)
    const rlocs = (name: string) =>
      world
        .node(name)
        .snapshot()!
        .mapCache.flatMap((m) => m.locators)
    t.ok(
      rlocs('left').some(({ rloc }) => rloc === '172.17.12.1'),
      `run ${run}`,
    )
    t.ok(
      rlocs('right').some(({ rloc }) => rloc === '172.17.11.1'),
      `run ${run}`,
    )
    // Data packets are not subject to this loss, once the mapping is there.
    t.equal(late, 0, `run ${run}: nothing is lost after the lookups`)
  }
})
