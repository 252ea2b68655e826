/**
 * The news of a move reaches who sends to the endpoint by two ways: the site that was left solicits
 * (RFC 9301 §6.1), and the Map-Server publishes (RFC 9437). Either is enough, also when every third
 * control message is lost; without both, only the end of the record TTL would help.
 */
import t from 'tap'
import { decodeMessage } from '../../src/lisp/message.js'
import { moveHost } from '../../src/sim/mover.js'
import type { NetworkOptions } from '../../src/sim/network.js'
import { createPrng } from '../../src/sim/prng.js'
import { createWorld } from '../../src/sim/world.js'
import { simulatedSize } from '../support/simulated.js'

const BEGIN = 3000
const TIMING = { blackoutMs: 0, switchMs: 5, announceMs: 1, how: 'arp' as const, lateMs: 500 }

interface Ways {
  readonly smr: boolean
  readonly publish: boolean
  /** Share of the control messages after the move that are lost. */
  readonly loss: number
}

/** Milliseconds after a detected move until the customer's site knows the new place. */
function followsAfter({ smr, publish, loss }: Ways, seed: string, withinMs = 30_000) {
  const topology = simulatedSize()
  const nodes = topology.nodes.map((node) => ({
    ...node,
    nodeConfig: {
      ...node.nodeConfig,
      mobility: { ...node.nodeConfig.mobility, solicit: smr },
      publishSubscribe: { subscribe: publish, acceptUnsolicited: false },
    },
  }))
  const prng = createPrng(seed)
  const carries: NetworkOptions['carries'] = (datagram) => {
    const isNews = world.timeline.now() > BEGIN && decodeMessage(datagram.bytes).kind !== 'move'
    return !isNews || !prng.chance(loss)
  }
  const world = createWorld({ ...topology, nodes }, { seed, carries })
  const { hosts, timeline } = world
  const traffic = hosts.traffic(hosts.byName('host-1'), hosts.byName('vm-1'), 4)!
  const send = (): void => {
    hosts.send(traffic, 200)
    timeline.after(20, send)
  }
  timeline.at(BEGIN - 1000, send)
  timeline.at(BEGIN, () => {
    const host = hosts.byName('vm-1')
    const socket = host.specification.sockets.find((one) => one.site === 'cloud-2')!
    moveHost(world, host, socket, 'detected', TIMING, () => {})
  })
  for (let at = BEGIN; at < BEGIN + withinMs; at += 20) {
    world.run(at)
    const { mapCache } = world.node('customer-1').snapshot()!
    const entry = mapCache.find((one) => one.eidPrefix.endsWith('10.10.0.1/32'))
    if (entry?.locators[0]?.rloc === '192.0.2.2') return at - BEGIN
  }
  return undefined
}

t.test('solicitation alone and publication alone both bring the news of a move', async (t) => {
  const smr = followsAfter({ smr: true, publish: false, loss: 0 }, 'smr')
  const publish = followsAfter({ smr: false, publish: true, loss: 0 }, 'publish')
  t.ok(smr !== undefined && smr < 500, `SMR: ${smr} ms`)
  t.ok(publish !== undefined && publish < 100, `publication: ${publish} ms`)
  t.equal(followsAfter({ smr: false, publish: false, loss: 0 }, 'neither'), undefined)
})

t.test('and each does so while a third of the control messages is lost', async (t) => {
  for (const seed of ['1', '2', '3', '4']) {
    const smr = followsAfter({ smr: true, publish: false, loss: 1 / 3 }, seed, 120_000)
    const publish = followsAfter({ smr: false, publish: true, loss: 1 / 3 }, seed)
    const both = followsAfter({ smr: true, publish: true, loss: 1 / 3 }, seed)
    t.ok(smr !== undefined, `seed ${seed}, SMR: ${smr} ms`)
    t.ok(publish !== undefined, `seed ${seed}, publication: ${publish} ms`)
    t.ok(both !== undefined, `seed ${seed}, both: ${both} ms`)
  }
})
