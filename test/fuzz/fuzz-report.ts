/** The figures of a long fuzzing run as a document. */
import { execFileSync } from 'node:child_process'
import { cpus, release } from 'node:os'
import { type FileCoverage, sumOf } from './coverage.js'
import type { RunResult } from './decoder-run.js'
import type { NativeRun } from './native-run.js'

export interface Figures {
  readonly seed: number
  readonly result: RunResult
  readonly coverage: readonly FileCoverage[]
  readonly runs: readonly NativeRun[]
}

export function fuzzReport({ seed, result, coverage, runs }: Figures): string {
  const rate = Math.round(result.inputs / result.cpuSeconds)
  const total = sumOf(coverage)
  return [
    '# Fuzzing',
    '',
    'Written by `npm run fuzz -- --report bench/fuzz.md`; what is judged and how to replay a case stands',
    'in [docs/fuzzing.md](../docs/fuzzing.md).',
    '',
    `- commit ${git('rev-parse', '--short', 'HEAD')}, ${cpus().length} × ${cpus()[0]?.model.trim()}, Linux ${release()}, Node ${process.version}`,
    `- seed ${seed}: ${count(result.inputs)} inputs to the decoders, ${percent(result.decoded, result.inputs)} decoded, ` +
      `${count(rate)} a second of one core; findings: ${result.findings.length}`,
    `- heap after collection at the end, compared with half time: ${Math.round(result.heapGrowth / 1024)} KB`,
    '',
    '| decoder | inputs | decoded | slowest input |',
    '|---|---:|---:|---:|',
    ...result.perTarget.map(
      ({ name, inputs, decoded, slowestMs }) =>
        `| ${name} | ${count(inputs)} | ${percent(decoded, inputs)} | ${slowestMs.toFixed(2)} ms |`,
    ),
    '',
    `Branches taken by fuzzing alone (as V8 counts them, encoders left out): ${percent(total.taken, total.branches)}.`,
    '',
    '| file | branches | taken |',
    '|---|---:|---:|',
    ...coverage.map(
      ({ file, branches, taken }) =>
        `| ${file.replace(/\.js$/, '.ts')} | ${branches} | ${percent(taken, branches)} |`,
    ),
    '',
    'Under AddressSanitizer, UndefinedBehaviorSanitizer and libFuzzer:',
    '',
    '| harness | inputs | edges | result |',
    '|---|---:|---:|---|',
    ...runs.map(
      ({ harness, inputs, edges, failed }) =>
        `| ${harness} | ${count(inputs)} | ${edges} | ${failed ? 'failed' : 'nothing found'} |`,
    ),
    '',
  ].join('\n')
}

function count(value: number): string {
  return value.toLocaleString('en-GB')
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`
}

/** A long run is not lost for want of a repository. */
function git(...args: string[]): string {
  try {
    return execFileSync('git', args, { encoding: 'utf8', stdio: 'pipe' }).trim()
  } catch {
    return 'unknown'
  }
}
