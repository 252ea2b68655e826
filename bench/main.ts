/**
 * `npm run bench`: Godwit beside kernel VXLAN and plain forwarding, per CPU-second.
 *
 * Exit 0: measured (with --check: all targets met); 1: a target missed, or could not run; 2: wrong
 * usage; 130: interrupted. Progress goes to stderr, the table or the JSON to stdout. What an earlier
 * run left behind, however it ended, is found by name and removed first.
 */
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { lockTopology, takeDown } from '../src/lab/lab.js'
import { packageFile } from '../src/lab/names.js'
import { missingRequirements } from '../src/lab/requirements.js'
import { compare } from './cells.js'
import { drawChart } from './chart.js'
import { BENCH_EVACUATION, measureEvacuation } from './evacuation/measure.js'
import { busyCpus, describeMachine } from './machine.js'
import { runMicro } from './micro/main.js'
import { drawMobility } from './mobility/chart.js'
import { BENCH_MOBILITY, measureMobility } from './mobility/measure.js'
import { BENCH_MOVES, measureMoves } from './moves.js'
import { measureMulticast } from './multicast.js'
import { drawMulticast } from './multicast-chart.js'
import { BENCH_MULTICAST } from './multicast-network.js'
import { type BenchOptions, parseOptions } from './options.js'
import { formatTable, targetText } from './report.js'
import { judgeTargets, mergeResults, type Results } from './results.js'
import { resultsPage } from './results-page.js'
import { measureScale } from './scale.js'
import { BENCH } from './topology.js'

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2))
  if (options.micro) {
    await runMicro(options.json)
    return 0
  }
  const missing = missingRequirements()
  if (missing.length > 0) {
    process.stderr.write(`${missing[0]}\n`)
    return 1
  }
  const unlock = lockTopology(BENCH)
  let demo: ChildProcess | undefined
  let cleaning: Promise<void> | undefined
  // Once: an interrupt ends the measurement, whose own end must not clean up a second time beside it.
  const cleanUp = (): Promise<void> => {
    cleaning ??= (async () => {
      if (demo !== undefined) await ended(demo)
      await takeDown(BENCH)
      await takeDown(BENCH_MOVES)
      await takeDown(BENCH_MOBILITY)
      await takeDown(BENCH_EVACUATION)
      await takeDown(BENCH_MULTICAST)
      unlock()
    })()
    return cleaning
  }
  const interrupted = onInterrupt(cleanUp)
  try {
    const results = await measure(options, (child) => {
      demo = child
    })
    write(results, options)
    return conclude(results, options)
  } catch (cause) {
    // What an interrupt broke is no failure of its own.
    if (interrupted()) return INTERRUPTED
    throw cause
  } finally {
    await cleanUp()
  }
}

async function measure(
  options: BenchOptions,
  onDemo: (child: ChildProcess | undefined) => void,
): Promise<Results> {
  const began = performance.now()
  const say = (line: string): void => {
    const seconds = ((performance.now() - began) / 1_000).toFixed(0).padStart(4)
    process.stderr.write(`# ${seconds} s  ${line}\n`)
  }
  const idleBusyCpus = await busyCpus(IDLE_MS)
  if (idleBusyCpus > QUIET_CPUS) {
    say(`${idleBusyCpus} CPUs are busy with other things: figures will be wrong`)
  }
  const { cells, latency, resolution } = await compare(options, say)
  // Free the machine of idle daemons before the next network comes up.
  await takeDown(BENCH)
  const { runs, times, vxlanGro, parts } = options
  const scale = parts.includes('scale')
    ? await measureScale({ runs, seconds: times.udpSeconds * times.attempts, vxlanGro }, say)
    : null
  await takeDown(BENCH)
  const moves = parts.includes('moves') ? await measureMoves(options.moves, say, onDemo) : null
  const mobility = parts.includes('mobility') ? await measureMobility(options.mobility, say) : null
  const evacuation = parts.includes('evacuation')
    ? await measureEvacuation(
        { name: BENCH_EVACUATION, endpoints: options.evacuation, atOnce: AT_ONCE },
        say,
      )
    : null
  const multicast = parts.includes('multicast')
    ? await measureMulticast({ runs, seconds: times.udpSeconds * times.attempts }, say)
    : null
  await takeDown(BENCH_MULTICAST)
  return {
    ...describeMachine(),
    date: new Date().toISOString().slice(0, 10),
    mode: !options.complete ? 'partial' : options.quick ? 'quick' : 'full',
    vxlanGro,
    idleBusyCpus,
    seconds: Math.round((performance.now() - began) / 1_000),
    cells,
    latency,
    resolution,
    moves,
    scale,
    mobility,
    evacuation,
    multicast,
    targets: judgeTargets(cells, scale),
  }
}

/** Parts of a measurement do not replace the published files; they are kept when told where. */
function write(measured: Results, options: BenchOptions): void {
  if (options.directory === undefined && !options.complete && !options.merge) return
  const directory = options.directory ?? packageFile('bench')
  mkdirSync(directory, { recursive: true })
  const results = options.merge ? mergeResults(readResults(directory), measured) : measured
  writeFileSync(join(directory, 'results.json'), `${JSON.stringify(results, null, 1)}\n`)
  writeFileSync(join(directory, 'results.svg'), drawChart(results))
  writeFileSync(join(directory, 'results.md'), resultsPage(directory))
  if (results.mobility !== null) {
    const picture = drawMobility(results.mobility, results.machine)
    writeFileSync(join(directory, 'mobility.svg'), picture)
  }
  if (results.multicast) {
    const picture = drawMulticast(results.multicast, results.machine)
    writeFileSync(join(directory, 'multicast.svg'), picture)
  }
  process.stderr.write(`# results are in ${directory}\n`)
}

function readResults(directory: string): Results {
  return JSON.parse(readFileSync(join(directory, 'results.json'), 'utf8')) as Results
}

function conclude(results: Results, options: BenchOptions): number {
  process.stdout.write(options.json ? `${JSON.stringify(results)}\n` : formatTable(results))
  if (!options.check) return 0
  const missed = results.targets.filter(({ met }) => !met)
  for (const target of missed) process.stderr.write(`missed: ${targetText(target)}\n`)
  if (results.targets.length === 0) process.stderr.write('nothing was measured that has a target\n')
  return missed.length > 0 || results.targets.length === 0 ? 1 : 0
}

/** The demo cleans up after itself when told to stop. */
function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once('close', () => resolve())
    child.kill('SIGTERM')
  })
}

/** The returned function says whether a signal has come. */
function onInterrupt(cleanUp: () => Promise<void>): () => boolean {
  let stopping = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stopping) return
      stopping = true
      process.stderr.write('# interrupted, cleaning up\n')
      cleanUp().finally(() => process.exit(INTERRUPTED))
    })
  }
  return () => stopping
}

const INTERRUPTED = 130

/** As the API has it by default. */
const AT_ONCE = 64
const IDLE_MS = 500
/** Above this the machine is not quiet enough. */
const QUIET_CPUS = 0.1

main().then(
  (code) => process.exit(code),
  (cause: Error) => {
    const reason = cause.cause === undefined ? '' : `\n${(cause.cause as Error).message}`
    process.stderr.write(`${cause.message}${reason}\n`)
    process.exit(1)
  },
)
