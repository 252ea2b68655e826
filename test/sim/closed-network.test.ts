/**
 * Everything that closed networks allow, switched on in whole worlds: nonces, map-versions, status bits,
 * checked sources and gleaning must not lose a packet of an EID that moves.
 */
import t from 'tap'
import type { ClosedSwitches } from '../../src/control/closed-network/closed-vocabulary.js'
import { runSimulation } from '../../src/sim/run.js'
import type { SimulatedTopology } from '../../src/sim/topology.js'
import { simulatedFile, simulatedSize } from '../support/simulated.js'

const ALL: ClosedSwitches = {
  echoNonce: true,
  statusBits: true,
  mapVersions: true,
  checkSources: true,
  glean: true,
}

function closedNetwork(topology: SimulatedTopology): SimulatedTopology {
  // As mobility.peers: an xTR that an EID has left sends on what is meant for it.
  const relays = topology.nodes
    .filter((one) => one.nodeConfig.dynamicEidPrefixes.length > 0)
    .flatMap((one) => one.nodeConfig.rlocs.map(({ address }) => address))
  const nodes = topology.nodes.map((one) => {
    const { roles } = one.nodeConfig
    const isXtr = roles.includes('itr') && roles.includes('etr')
    return isXtr
      ? { ...one, nodeConfig: { ...one.nodeConfig, closedNetwork: { ...ALL, relays } } }
      : one
  })
  return { ...topology, nodes }
}

t.test(
  '12 seeds with everything on: every invariant holds, with faults and after them',
  async (t) => {
    let sent = 0
    for (const topology of [
      simulatedFile('two-clouds.yaml'),
      simulatedSize({ customers: 2, endpoints: 2, proxyReply: false }),
    ])
      for (let seed = 1; seed <= 6; seed += 1) {
        const options = { seed: `closed-${seed}`, mode: 'swarm' as const, safetyMs: 5000 }
        const result = runSimulation(closedNetwork(topology), options)
        const { violation, faults } = result
        if (!result.ok) t.fail(`${topology.name} ${seed}: ${violation?.message} (${faults})`)
        sent += result.totals.sent
      }
    t.ok(sent > 10_000, `${sent} packets`)
  },
)
