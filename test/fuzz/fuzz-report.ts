/** The figures of a long fuzzing run: what is kept of them, and the document that is made of it. */
import type { Machine } from '../../bench/machine.js'
import { type FileCoverage, sumOf } from './coverage.js'
import type { RunResult } from './decoder-run.js'
import type { NativeRun } from './native-run.js'

export interface Figures {
  readonly seed: number
  readonly result: RunResult
  readonly coverage: readonly FileCoverage[]
  readonly runs: readonly NativeRun[]
}

/** bench/fuzz.json. */
export interface KeptFuzz extends Machine {
  readonly node: string
  readonly date: string
  readonly seed: number
  readonly inputs: number
  readonly decodedPercent: number
  /** Inputs a second of one core. */
  readonly perSecond: number
  readonly findings: number
  readonly heapGrowthKb: number
  readonly branchesPercent: number
  readonly decoders: readonly {
    readonly name: string
    readonly inputs: number
    readonly decodedPercent: number
    readonly slowestMs: number
  }[]
  readonly files: readonly {
    readonly file: string
    readonly branches: number
    readonly takenPercent: number
  }[]
  readonly natives: readonly Omit<NativeRun, 'output'>[]
}

export function keptFigures(figures: Figures, machine: Machine): KeptFuzz {
  const { seed, result, coverage, runs } = figures
  const total = sumOf(coverage)
  return {
    ...machine,
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
    seed,
    inputs: result.inputs,
    decodedPercent: percent(result.decoded, result.inputs),
    perSecond: Math.round(result.inputs / result.cpuSeconds),
    findings: result.findings.length,
    heapGrowthKb: Math.round(result.heapGrowth / 1024),
    branchesPercent: percent(total.taken, total.branches),
    decoders: result.perTarget.map(({ name, inputs, decoded, slowestMs }) => {
      const rounded = Math.round(slowestMs * 100) / 100
      return { name, inputs, decodedPercent: percent(decoded, inputs), slowestMs: rounded }
    }),
    files: coverage.map(({ file, branches, taken }) => {
      return {
        file: file.replace(/\.js$/, '.ts'),
        branches,
        takenPercent: percent(taken, branches),
      }
    }),
    natives: runs.map(({ harness, inputs, edges, failed }) => ({ harness, inputs, edges, failed })),
  }
}

export function fuzzReport(kept: KeptFuzz): string {
  return [
    '# Fuzzing',
    '',
    'Written by `npm run fuzz -- --report bench/fuzz.md`; what is judged and how to replay a case stands',
    'in [docs/fuzzing.md](../docs/fuzzing.md).',
    '',
    `- commit ${kept.commit}, ${kept.machine}, Linux ${kept.kernel}, Node ${kept.node}, ${kept.date}`,
    `- seed ${kept.seed}: ${count(kept.inputs)} inputs to the decoders, ${kept.decodedPercent} % decoded, ` +
      `${count(kept.perSecond)} a second of one core; findings: ${kept.findings}`,
    `- heap after collection at the end, compared with half time: ${kept.heapGrowthKb} KB`,
    '',
    '| decoder | inputs | decoded | slowest input |',
    '|---|---:|---:|---:|',
    ...kept.decoders.map(
      ({ name, inputs, decodedPercent, slowestMs }) =>
        `| ${name} | ${count(inputs)} | ${decodedPercent} % | ${slowestMs.toFixed(2)} ms |`,
    ),
    '',
    `Branches taken by fuzzing alone (as V8 counts them, encoders left out): ${kept.branchesPercent} %.`,
    '',
    '| file | branches | taken |',
    '|---|---:|---:|',
    ...kept.files.map(
      ({ file, branches, takenPercent }) => `| ${file} | ${branches} | ${takenPercent} % |`,
    ),
    '',
    'Under AddressSanitizer, UndefinedBehaviorSanitizer and libFuzzer:',
    '',
    '| harness | inputs | edges | result |',
    '|---|---:|---:|---|',
    ...kept.natives.map(
      ({ harness, inputs, edges, failed }) =>
        `| ${harness} | ${count(inputs)} | ${edges} | ${failed ? 'failed' : 'nothing found'} |`,
    ),
    '',
  ].join('\n')
}

function count(value: number): string {
  return value.toLocaleString('en-GB')
}

/** Of a whole, to a tenth. */
function percent(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.round((1_000 * part) / whole) / 10
}
