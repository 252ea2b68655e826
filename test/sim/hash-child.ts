/** A short swarm in a process of its own; prints the hash of its trace. */
import { runSimulation } from '../../src/sim/run.js'
import { simulatedSize } from '../support/simulated.js'

const seed = process.argv[2] ?? '1'
const result = runSimulation(simulatedSize(), { seed, mode: 'swarm', safetyMs: 3000 })
process.stdout.write(result.hash)
