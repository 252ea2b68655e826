/**
 * Which branches of the decoders a run has taken, from what V8 writes into the directory named by
 * NODE_V8_COVERAGE. A branch is what V8 counts as one: a function, and every block in it that runs
 * another number of times than what is around it. Encoders stand in the same files and are left out.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface FileCoverage {
  /** src/…, of the compiled file. */
  readonly file: string
  readonly branches: number
  readonly taken: number
  /** First words of the branches that were not taken. */
  readonly missed: readonly string[]
}

interface V8Function {
  readonly functionName: string
  readonly ranges: readonly { startOffset: number; endOffset: number; count: number }[]
}

/** Files of src/lisp and src/capture that decode nothing. */
const NO_DECODERS =
  /\/(address|eid|described-eid|locator|describe|authentication|byte-writer|iana|map-version|packet-json|packet-text|instant|captured-frame)\.js$/
/** Decoders that no target feeds: named here and in docs/fuzzing.md, so that they are not forgotten. */
const NOT_FUZZED = /\/tcp-connections\.js$/
const ENCODER = /^(write|encode|put|sign|derive|pcapFileHeader|pcapRecord)/

/**
 * The coverage of `inputs` inputs from `seed` on, in a process of its own: V8 counts blocks only of
 * what it compiles while counting.
 */
export function measureCoverage(seed: number, inputs: number): FileCoverage[] {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-fuzz-'))
  try {
    const program = join(import.meta.dirname, '../../scripts/fuzz.js')
    const args = [program, '--no-coverage', '--seed', String(seed), '--inputs', String(inputs)]
    spawnSync(process.execPath, args, {
      env: { ...process.env, NODE_V8_COVERAGE: directory },
      stdio: 'ignore',
    })
    return readCoverage(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Of all files together. */
export function sumOf(coverage: readonly FileCoverage[]): { branches: number; taken: number } {
  return coverage.reduce(
    (sum, file) => ({ branches: sum.branches + file.branches, taken: sum.taken + file.taken }),
    { branches: 0, taken: 0 },
  )
}

/** One entry per decoder, sorted by name. */
function readCoverage(directory: string): FileCoverage[] {
  const files = new Map<string, FileCoverage>()
  for (const name of readdirSync(directory).filter((one) => one.endsWith('.json'))) {
    const report = JSON.parse(readFileSync(join(directory, name), 'utf8')) as {
      result: { url: string; functions: V8Function[] }[]
    }
    for (const { url, functions } of report.result) {
      const file = /\/dist\/(src\/(?:lisp|capture)\/.*)$/.exec(url)?.[1]
      if (file === undefined || NO_DECODERS.test(url) || NOT_FUZZED.test(url)) continue
      files.set(file, coverageOf(file, readFileSync(fileURLToPath(url), 'utf8'), functions))
    }
  }
  return [...files.values()].sort((a, b) => (a.file < b.file ? -1 : 1))
}

function coverageOf(file: string, text: string, functions: readonly V8Function[]): FileCoverage {
  let branches = 0
  let taken = 0
  const missed: string[] = []
  for (const { functionName, ranges } of functions) {
    if (ENCODER.test(functionName)) continue
    for (const { startOffset, endOffset, count } of ranges) {
      branches += 1
      if (count > 0) taken += 1
      else missed.push(excerpt(text, startOffset, endOffset))
    }
  }
  return { file, branches, taken, missed }
}

function excerpt(text: string, start: number, end: number): string {
  const line = text.slice(0, start).split('\n').length
  const words = text
    .slice(start, Math.min(end, start + 70))
    .replace(/\s+/g, ' ')
    .trim()
  return `line ${line}: ${words}`
}
