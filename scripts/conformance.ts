/**
 * `npm run conformance`: whether docs/standards.md tells the truth. Runs every test file that a met
 * row names, once, and ends with one line of counts; exit 0 only when nothing is missing and every
 * met row is proven.
 *
 *   --json                 the result as JSON instead of a table
 *   --no-run               only whether files, fragments and names are there
 *   --section TEXT, --id A,B   only rows whose section contains TEXT, or with these ids
 *   --mutate               disable the sources of 40 MUST rows, one row after the other: their tests
 *                          must fail  [--seed N] [--rows N | --all]
 *   --standards FILE       another table, relative to the root; --root DIR another built tree
 */
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { countRows, type JudgedRow, judgeRow } from './conformance/judge.js'
import { drawRows, mutateRows, seededRandom } from './conformance/mutate.js'
import { isMust, readStandards, type StandardsRow } from './conformance/standards-table.js'
import { type FileOutcome, runTestFile } from './conformance/test-outcomes.js'

const fileTimeoutSeconds = 300
const parallelFiles = 2

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    'no-run': { type: 'boolean', default: false },
    mutate: { type: 'boolean', default: false },
    all: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    rows: { type: 'string', default: '40' },
    section: { type: 'string', default: '' },
    id: { type: 'string' },
    root: { type: 'string' },
    standards: { type: 'string', default: 'docs/standards.md' },
  },
})
const root = resolve(options.root ?? join(import.meta.dirname, '..', '..'))
process.exit(await main())

async function main(): Promise<number> {
  const { rows, errors } = readStandards(readFileSync(join(root, options.standards), 'utf8'))
  for (const error of errors) console.error(`${options.standards}:${error}`)
  if (errors.length > 0) return 1
  const ids = options.id?.split(',')
  const wanted = rows.filter(
    (row) =>
      row.section.toLowerCase().includes(options.section.toLowerCase()) &&
      (ids === undefined || ids.includes(row.id)),
  )
  return options.mutate ? await mutate(wanted) : await check(wanted)
}

async function check(rows: readonly StandardsRow[]): Promise<number> {
  const outcomes = options['no-run'] ? undefined : await runAll(rows)
  const judged = rows.map((row) => judgeRow(root, row, outcomes))
  const counts = countRows(judged)
  if (options.json) console.log(JSON.stringify(asJson(judged), null, 2))
  else {
    printSections(judged)
    for (const { row, objection } of judged)
      if (objection !== undefined) console.log(`line ${row.line}: ${row.id}: ${objection}`)
    console.log(
      `conformance: ${counts.met} met, ${counts['not applicable']} not applicable, ` +
        `${counts.deviates} deviating, ${counts.missing} missing of ${rows.length}`,
    )
  }
  return counts.missing === 0 && counts.unproven === 0 ? 0 : 1
}

/** Each file once; what needs the whole machine (test/e2e) alone. */
async function runAll(rows: readonly StandardsRow[]): Promise<Map<string, FileOutcome>> {
  const outcomes = new Map<string, FileOutcome>()
  const files = [...new Set(rows.flatMap((row) => (row.test ? [row.test.file] : [])))].sort()
  const runOne = async (file: string): Promise<void> => {
    const startedAt = performance.now()
    outcomes.set(file, await runTestFile(file, { root, timeoutSeconds: fileTimeoutSeconds }))
    console.error(`${file}: ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
  }
  const together = files.filter((file) => !file.startsWith('test/e2e/'))
  const workers = Array.from({ length: parallelFiles }, async () => {
    for (let file = together.shift(); file !== undefined; file = together.shift())
      await runOne(file)
  })
  await Promise.all(workers)
  for (const file of files.filter((one) => one.startsWith('test/e2e/'))) await runOne(file)
  return outcomes
}

function printSections(judged: readonly JudgedRow[]): void {
  const sections = groupBySection(judged)
  console.log('   met   n/a   dev  miss  section')
  for (const [section, rows] of sections) {
    const counts = countRows(rows)
    const figures = [counts.met, counts['not applicable'], counts.deviates, counts.missing]
    console.log(`${figures.map((figure) => String(figure).padStart(6)).join('')}  ${section}`)
  }
}

function groupBySection(judged: readonly JudgedRow[]): Map<string, JudgedRow[]> {
  const sections = new Map<string, JudgedRow[]>()
  for (const one of judged) {
    const rows = sections.get(one.row.section) ?? []
    sections.set(one.row.section, [...rows, one])
  }
  return sections
}

function asJson(judged: readonly JudgedRow[]): object {
  return {
    counts: { ...countRows(judged), of: judged.length },
    rows: judged.map(({ row, objection }) => ({
      id: row.id,
      section: row.section,
      level: row.level,
      status: row.status,
      test: row.test ? `${row.test.file} › ${row.test.name}` : undefined,
      objection,
    })),
  }
}

async function mutate(rows: readonly StandardsRow[]): Promise<number> {
  const candidates = rows.filter((row) => row.status === 'met' && (options.all || isMust(row)))
  const drawn = options.all
    ? candidates
    : drawRows(candidates, Number(options.rows), seededRandom(Number(options.seed)))
  const mutants = await mutateRows(root, drawn, (mutant) => {
    if (!options.json) console.log(`${mutant.verdict.padEnd(9)} ${mutant.id}  ${mutant.how}`)
  })
  if (options.json) console.log(JSON.stringify(mutants, null, 2))
  const bad = mutants.filter((mutant) => mutant.verdict !== 'noticed')
  const seed = options.all ? '' : ` (seed ${options.seed})`
  if (!options.json)
    console.log(`mutation: ${mutants.length - bad.length} of ${mutants.length} noticed${seed}`)
  return bad.length > 0 || mutants.length === 0 ? 1 : 0
}
