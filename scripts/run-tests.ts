/**
 * Runs the test files under tap and says how it went: a line per file, the whole output of a file
 * that failed, every skipped test by name and reason, and a closing count of tests.
 *
 * `--unit` leaves out what needs root or seconds (test/e2e). Other arguments are file name fragments.
 */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { createInterface } from 'node:readline'

interface FileResult {
  name: string
  lines: string[]
  passed: number
  failed: number
  skipped: string[]
}

/** Files whose figures are those of an idle machine: they run alone … */
const NEEDS_QUIET = /\/test\/(bench|demo|e2e|store|tables)\/|\/api\/large-tables|\/native-hold/
/** … but for these, which build networks and are indifferent to what runs beside them. */
const INDIFFERENT = [
  'capture',
  'closed-network',
  'hold-limits',
  'hypervisors',
  'interworking',
  'kill',
  'mininet',
  'pim',
  'reload',
  'static-pair',
  'why-and-replay',
].map((name) => `/e2e/${name}.test.js`)
/** The longest begin first, so that none is left over when all others are done. */
const LONGEST = ['e2e/kill', 'fuzz/decoders', 'e2e/why-and-replay', 'e2e/reload']
const root = join(import.meta.dirname, '..', '..')
const testDirectory = join(root, 'dist', 'test')
process.exit(await main(process.argv.slice(2)))

async function main(args: string[]): Promise<number> {
  const unit = args.includes('--unit')
  const fragments = args.filter((arg) => !arg.startsWith('--'))
  const files = findTests(testDirectory)
    .filter((file) => !(unit && file.includes('/e2e/')))
    .filter((file) => fragments.length === 0 || fragments.some((part) => file.includes(part)))
    .sort()
  if (files.length === 0) {
    console.error('no test file matches')
    return 1
  }
  if (!existsSync(join(root, '.tap', 'plugins'))) await run(['build'], () => {})
  const results: FileResult[] = []
  let current: FileResult = { name: '', lines: [], passed: 0, failed: 0, skipped: [] }
  const startedAt = performance.now()
  const take = (line: string): void => {
    current.lines.push(line)
    const point = /^( *)(not ok|ok) \d+(?: - (.*))?$/.exec(line)
    if (!point) return
    const [, indent, verdict, description = ''] = point
    const skip = /^(.*?) # SKIP ?(.*)$/.exec(description)
    if (skip) current.skipped.push(`${skip[1]} (${skip[2] || 'no reason given'})`)
    if (indent !== '') {
      // Tests are what stands one level inside a file; assertions are deeper.
      if (indent?.length === 4 && !skip) verdict === 'ok' ? current.passed++ : current.failed++
      return
    }
    current.name = description.replace(/ # time=.*/, '')
    if (verdict !== 'ok' && current.failed === 0) current.failed = 1
    report(current, description)
    results.push(current)
    current = { name: '', lines: [], passed: 0, failed: 0, skipped: [] }
  }
  let exitCode = 0
  for (const group of inGroups(files)) {
    const options = ['--reporter=tap', `--jobs=${group.jobs}`]
    exitCode = Math.max(exitCode, await run(['run', ...options, ...group.files], take))
  }
  const total = (pick: (result: FileResult) => number) =>
    results.reduce((sum, result) => sum + pick(result), 0)
  for (const result of results)
    for (const skipped of result.skipped) console.log(`skipped: ${result.name}: ${skipped}`)
  const failed = total((result) => result.failed)
  console.log(`${results.length} files in ${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
  console.log(
    `${total((result) => result.passed)} passed, ${failed} failed, ${total((result) => result.skipped.length)} skipped`,
  )
  return failed > 0 || exitCode !== 0 || results.length !== files.length ? 1 : 0
}

/** What does not need a quiet machine runs two files at a time, the rest alone. */
function inGroups(files: readonly string[]): { jobs: number; files: string[] }[] {
  const needsQuiet = (file: string): boolean =>
    NEEDS_QUIET.test(file) && !INDIFFERENT.some((name) => file.endsWith(name))
  const alone = files.filter(needsQuiet)
  const together = files.filter((file) => !needsQuiet(file))
  const rank = (file: string): number => {
    const place = LONGEST.findIndex((part) => file.includes(part))
    return place < 0 ? LONGEST.length : place
  }
  return [
    { jobs: 2, files: together.sort((a, b) => rank(a) - rank(b)) },
    { jobs: 1, files: alone },
  ].filter((group) => group.files.length > 0)
}

function report(result: FileResult, description: string): void {
  const time = /# time=([\d.]+)ms/.exec(description)?.[1] ?? '?'
  const mark = result.failed > 0 ? 'FAIL' : 'ok  '
  console.log(`${mark} ${result.name}  ${result.passed} tests, ${Math.round(Number(time))} ms`)
  if (result.failed > 0) console.log(result.lines.join('\n'))
}

function findTests(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => relative(root, join(directory, name)))
}

/** Resolves with tap's exit code; `onLine` gets its standard output line by line. */
function run(args: string[], onLine: (line: string) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(root, 'node_modules', '.bin', 'tap'), args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    createInterface({ input: child.stdout }).on('line', onLine)
    child.on('error', reject)
    child.on('close', (code) => resolve(code ?? 1))
  })
}
