/**
 * Fresh seeds through the swarm until the time is over or one fails: `--minutes M` (default 5),
 * `--from N` to begin with that seed instead of one made from the time of day, `--write` to keep the
 * figures in bench/soak.json and bench/results.md. Prints the first failing seed with the command
 * that replays it, and the end of its trace; exit code 1 then.
 */
import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { KeptSoak } from '../bench/elsewhere.js'
import { describeMachine } from '../bench/machine.js'
import { renewResultsPage } from '../bench/results-page.js'
import type { Topology } from '../src/config/topology-schema.js'
import { packageFile } from '../src/lab/names.js'
import { loadTopology } from '../src/lab/topology.js'
import { runSimulation } from '../src/sim/run.js'
import { readSimulatedTopology, type SimulatedTopology } from '../src/sim/topology.js'

const minutes = argument('--minutes') ?? 5
const first = argument('--from') ?? Math.floor(Date.now() / 1000)
const file = resolve(packageFile('topologies'), 'two-clouds.yaml')
process.exitCode = soak(simulated(topologyOf(file)))

function soak(topology: SimulatedTopology): number {
  const until = performance.now() + minutes * 60_000
  let seed = first
  for (; performance.now() < until; seed += 1) {
    const result = runSimulation(topology, { seed: String(seed), mode: 'swarm' })
    if (result.ok) continue
    const { invariant, message, atMs } = result.violation!
    say(result.tail.join('\n'))
    say(`seed ${seed}: ${invariant} at ${atMs} ms: ${message}`)
    say(`faults: ${result.faults}`)
    say(`replay: npx godwit sim ${file} --swarm --seed ${seed} --trace`)
    keep({ seeds: seed - first + 1, failedSeed: seed })
    return 1
  }
  say(`${seed - first} seeds from ${first} on: every invariant holds`)
  keep({ seeds: seed - first, failedSeed: null })
  return 0
}

function keep(found: Pick<KeptSoak, 'seeds' | 'failedSeed'>): void {
  if (!process.argv.includes('--write')) return
  const date = new Date().toISOString().slice(0, 10)
  const kept: KeptSoak = { ...describeMachine(), date, minutes, firstSeed: first, ...found }
  const target = packageFile('bench', 'soak.json')
  writeFileSync(target, `${JSON.stringify(kept, null, 2)}\n`)
  renewResultsPage(target)
}

function topologyOf(path: string): Topology {
  const loaded = loadTopology(path)
  if (!loaded.ok) throw new Error(`${path}: ${loaded.errors[0]?.problem}`)
  return loaded.topology
}

function simulated(topology: Topology): SimulatedTopology {
  const read = readSimulatedTopology(topology, () => '')
  if (!read.ok) throw new Error(`${read.errors[0]?.path}: ${read.errors[0]?.problem}`)
  return read.topology
}

function argument(name: string): number | undefined {
  const at = process.argv.indexOf(name)
  if (at < 0) return undefined
  const value = Number(process.argv[at + 1])
  if (!Number.isFinite(value) || value < 0) throw new RangeError(`${name} wants a number`)
  return value
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
