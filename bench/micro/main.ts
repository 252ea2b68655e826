/**
 * `npm run bench -- --micro`: how fast the codec and the tables are, in operations per second and ns.
 *
 * Every measured function's result is used, so that nothing is optimized away, and checked once
 * before it is measured: a fast wrong answer is none.
 */
import Benchmark from 'benchmark'
import { codecSubjects } from './codec.js'
import { eidTrieSubjects } from './eid-trie.js'
import { mapCacheSubjects } from './map-cache.js'

export interface Subject {
  readonly name: string
  /** One operation; its result must be truthy. */
  readonly run: () => unknown
}

export interface MicroResult {
  readonly name: string
  readonly operationsPerSecond: number
  readonly nanoseconds: number
  /** Relative margin of error in percent. */
  readonly marginPercent: number
}

/** Prints a line per subject, or with `json` one JSON array at the end. */
export async function runMicro(json: boolean): Promise<void> {
  const results: MicroResult[] = []
  for (const subjects of [codecSubjects, eidTrieSubjects, mapCacheSubjects]) {
    for (const subject of subjects()) {
      const result = measure(subject)
      results.push(result)
      if (!json) process.stdout.write(`${line(result)}\n`)
      // A moment for signals: a measurement never gives up the thread.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  if (json) process.stdout.write(`${JSON.stringify(results)}\n`)
}

function measure({ name, run }: Subject): MicroResult {
  if (!run()) throw new Error(`${name}: no result`)
  let last: unknown
  const benchmark = new Benchmark(
    name,
    () => {
      last = run()
    },
    { maxTime: SECONDS_PER_SUBJECT, minSamples: 5 },
  )
  benchmark.run({ async: false })
  if (!last || !benchmark.stats) throw new Error(`${name}: not measured`)
  return {
    name,
    operationsPerSecond: Math.round(1 / benchmark.stats.mean),
    nanoseconds: Number((benchmark.stats.mean * 1e9).toPrecision(3)),
    marginPercent: Number(benchmark.stats.rme.toFixed(1)),
  }
}

function line({ name, nanoseconds, operationsPerSecond, marginPercent }: MicroResult): string {
  const rate = operationsPerSecond.toLocaleString('en').padStart(12)
  return `${name.padEnd(52)} ${String(nanoseconds).padStart(8)} ns ${rate}/s ±${marginPercent} %`
}

const SECONDS_PER_SUBJECT = 0.5
