/**
 * LISP-SEC (RFC 9303) under everything that the simulator does to a network: moves, loss, duplication,
 * reordering, crashes. All nodes are strict, so that whatever is believed was proven.
 */
import t from 'tap'
import type { Node, Output } from '../../src/control/input-output.js'
import { decodeMessage } from '../../src/lisp/message.js'
import { runSimulation } from '../../src/sim/run.js'
import { createWorld } from '../../src/sim/world.js'
import { securedTopology } from '../support/secured-topology.js'
import { simulatedFile, simulatedSize } from '../support/simulated.js'

/** Map-Replies that nodes sent, probes apart. */
function counting() {
  const counts = { proven: 0, plain: 0 }
  const wrap = (node: Node): Node => ({
    ...node,
    handle(input, now, outputs) {
      const own: Output[] = []
      node.handle(input, now, own)
      for (const output of own) {
        if (output.kind !== 'send') continue
        const message = decodeMessage(output.bytes)
        if (message.kind !== 'map-reply' || message.rlocProbe) continue
        if (message.security === undefined) counts.plain += 1
        else counts.proven += 1
      }
      outputs.push(...own)
    },
  })
  return { counts, wrap }
}

for (const [name, proxyReply] of [
  ['Map-Servers answer', true],
  ['ETRs answer', false],
] as const)
  t.test(`10 seeds in which ${name}: every invariant holds under LISP-SEC`, async (t) => {
    const topology = securedTopology(simulatedSize({ customers: 2, endpoints: 2, proxyReply }))
    const { counts, wrap } = counting()
    let [sent, moves] = [0, 0]
    for (let seed = 1; seed <= 10; seed += 1) {
      const about = { seed: String(seed), mode: 'swarm', safetyMs: 5000 } as const
      const { ok, violation, faults, totals, ...result } = runSimulation(topology, {
        ...about,
        wrap,
      })
      sent += totals.sent
      moves += result.moves.length
      if (!ok) t.fail(`seed ${seed}: ${violation?.invariant} ${violation?.message} (${faults})`)
    }
    t.comment(`${counts.proven} proven answers, ${sent} packets, ${moves} moves`)
    t.ok(counts.proven > 20 && sent > 10_000 && moves > 20)
    t.equal(counts.plain, 0)
  })

t.test('down a delegation tree the one-time key reaches the Map-Server', async (t) => {
  const topology = securedTopology(simulatedFile('delegated.yaml'))
  const world = createWorld(topology, { seed: 'secured' })
  const { hosts, timeline } = world
  const traffic = hosts.traffic(hosts.byName('host1'), hosts.byName('host2'), 4)!
  const next = (): void => {
    hosts.send(traffic, 200)
    timeline.after(50, next)
  }
  timeline.at(3000, next)
  world.run(10_000)
  t.equal(world.ledger.missing(traffic.books, 8000).length, 0)
  const { mapCache } = world.node('left').snapshot()!
  t.ok(mapCache.some(({ locators }) => locators[0]?.rloc === '172.17.12.1'))
})
