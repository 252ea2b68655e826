/** Topologies for the tests of the simulator, read once. */
import { join } from 'node:path'
import { loadTopology } from '../../src/lab/topology.js'
import { type GeneratedSize, generateTopology } from '../../src/sim/generated-topology.js'
import { readSimulatedTopology, type SimulatedTopology } from '../../src/sim/topology.js'

const root = join(import.meta.dirname, '..', '..', '..')

/** A file of topologies/, as the simulator reads it. */
export function simulatedFile(name: string): SimulatedTopology {
  const loaded = loadTopology(join(root, 'topologies', name))
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors))
  return simulated(loaded.topology)
}

/** Three clouds, a customer, one endpoint, IPv4, unless told otherwise. */
export function simulatedSize(about: Partial<GeneratedSize> = {}): SimulatedTopology {
  const usual = { clouds: 3, customers: 1, endpoints: 1, dualStack: false, proxyReply: true }
  return simulated(generateTopology({ ...usual, ...about }))
}

function simulated(topology: Parameters<typeof readSimulatedTopology>[0]): SimulatedTopology {
  const read = readSimulatedTopology(topology, () => '')
  if (!read.ok) throw new Error(JSON.stringify(read.errors))
  return read.topology
}
