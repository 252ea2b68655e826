/**
 * Proves rows: disables what a row names, in a copy of the tree, and runs the row's test, which must
 * fail. One row after the other; the working tree is never written.
 *
 * A row survives when its test still passes, and is unfit when the fragment cannot be disabled or the
 * test file breaks before it comes to the test: both prove nothing.
 */
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { disableC, disableTypeScript, openProject, type TypeScriptReader } from './disable.js'
import type { StandardsRow } from './standards-table.js'
import { runTestFile } from './test-outcomes.js'

export interface Mutant {
  readonly id: string
  readonly verdict: 'noticed' | 'survived' | 'unfit'
  /** What was disabled, or why nothing could be. */
  readonly how: string
}

const mutantTimeoutSeconds = 120
const notCopied = new Set(['.git', 'node_modules', '.tap', 'out'])

/** `random` is [0, 1); draws without repetition, in the order of the table. */
export function drawRows(
  rows: readonly StandardsRow[],
  count: number,
  random: () => number,
): StandardsRow[] {
  const left = [...rows]
  const drawn: StandardsRow[] = []
  while (drawn.length < count && left.length > 0)
    drawn.push(...left.splice(Math.floor(random() * left.length), 1))
  return drawn.sort((a, b) => a.line - b.line)
}

/** Mulberry32: the same seed draws the same rows everywhere. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Works on a built tree at `root`; `report` is called after each row. */
export async function mutateRows(
  root: string,
  rows: readonly StandardsRow[],
  report: (mutant: Mutant) => void,
): Promise<Mutant[]> {
  const copy = realpathSync(mkdtempSync(join(tmpdir(), 'godwit-conformance-')))
  const mutants: Mutant[] = []
  const project = openProject(root)
  try {
    cpSync(root, copy, {
      recursive: true,
      filter: (path) => !(dirname(path) === root && notCopied.has(path.slice(root.length + 1))),
    })
    symlinkSync(realpathSync(join(root, 'node_modules')), join(copy, 'node_modules'))
    for (const row of rows) {
      const mutant = await mutateRow(root, copy, project, row)
      mutants.push(mutant)
      report(mutant)
    }
  } finally {
    project.close()
    rmSync(copy, { recursive: true, force: true })
  }
  return mutants
}

async function mutateRow(
  root: string,
  copy: string,
  project: TypeScriptReader,
  row: StandardsRow,
): Promise<Mutant> {
  if (!row.test) return { id: row.id, verdict: 'unfit', how: 'the row names no test' }
  const changed: string[] = []
  const how: string[] = []
  try {
    for (const { file, fragment } of row.sources) {
      if (changed.includes(file))
        return { id: row.id, verdict: 'unfit', how: `${file} is named twice` }
      const disabled = disable(root, project, file, fragment)
      if (typeof disabled === 'string')
        return { id: row.id, verdict: 'unfit', how: `${file}: ${disabled}` }
      changed.push(file)
      how.push(`${file}: ${disabled.how}`)
      writeFileSync(join(copy, file), disabled.text)
    }
    const trouble = compile(copy, changed)
    if (trouble) return { id: row.id, verdict: 'unfit', how: trouble }
    const { file, name } = row.test
    const options = { root: copy, timeoutSeconds: mutantTimeoutSeconds, until: name }
    const outcome = await runTestFile(file, options)
    const result = outcome.tests.get(name)
    const noticed = result === 'failed' || (result === undefined && outcome.timedOut)
    if (!noticed && result !== 'passed') how.push(`the test was ${result ?? 'never reached'}`)
    const verdict = noticed ? 'noticed' : result === 'passed' ? 'survived' : 'unfit'
    return { id: row.id, verdict, how: how.join('; ') }
  } finally {
    for (const file of changed) cpSync(join(root, file), join(copy, file))
    compile(copy, changed)
  }
}

function disable(root: string, project: TypeScriptReader, file: string, fragment: string) {
  if (/\.[ch]$/.test(file)) return disableC(readFileSync(join(root, file), 'utf8'), fragment)
  const source = project.read(file)
  return source ? disableTypeScript(source, fragment) : 'not a file of the project'
}

/** Brings what runs up to the changed sources; what went wrong, or undefined. */
function compile(copy: string, files: readonly string[]): string | undefined {
  const scripts = files.filter((file) => file.endsWith('.ts'))
  if (scripts.length > 0) {
    // One file at a time and unchecked: the same output as the whole build, in a fraction of it.
    const options =
      '--noCheck --noResolve --ignoreConfig --verbatimModuleSyntax --rootDir . --outDir dist'
    const target = '--target ES2023 --module NodeNext --moduleResolution NodeNext'
    const compiler = join(copy, 'node_modules', '.bin', 'tsc')
    const run = spawnSync(compiler, [...`${options} ${target}`.split(' '), ...scripts], {
      cwd: copy,
      encoding: 'utf8',
    })
    if (run.status !== 0) return `does not compile: ${run.stdout.split('\n')[0]}`
  }
  if (files.some((file) => /\.[ch]$/.test(file))) {
    const run = spawnSync('bash', ['scripts/build-native.sh'], { cwd: copy, encoding: 'utf8' })
    if (run.status !== 0) return `does not compile: ${run.stderr.split('\n').slice(-5).join(' ')}`
  }
  return undefined
}
