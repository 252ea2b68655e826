/**
 * Runs the test files, a process each, and says how it went: a line per file, the whole output of a
 * file that failed, every skipped test by name and reason, and a closing count of tests.
 *
 * `--unit` leaves out what needs root or seconds (test/e2e). Other arguments are file name fragments.
 * The files are tap's and print TAP; its runner is not used, because it loads a module hook into every
 * Node process that a test starts: measured, a daemon costs 1.6 s of processor to start then, and
 * 0.55 s without. What runs beside what is decided in testing/schedule.ts.
 */
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { runTestProcess, type TestFileResult } from './testing/run-file.js'
import { groupsOf } from './testing/schedule.js'

const root = join(import.meta.dirname, '..', '..')
const testDirectory = join(root, 'dist', 'test')
process.exitCode = await main(process.argv.slice(2))

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
  const startedAt = performance.now()
  const results: TestFileResult[] = []
  for (const { jobs, files: group } of groupsOf(files)) {
    const queue = group.values()
    const work = async (): Promise<void> => {
      for (const file of queue) {
        const result = await runTestProcess(root, file)
        report(result)
        results.push(result)
      }
    }
    await Promise.all(Array.from({ length: jobs }, work))
  }
  return summarize(results, performance.now() - startedAt)
}

function report(result: TestFileResult): void {
  const mark = result.failed > 0 ? 'FAIL' : 'ok  '
  console.log(`${mark} ${result.file}  ${result.passed} tests, ${Math.round(result.elapsedMs)} ms`)
  if (result.failed > 0) console.log(result.lines.join('\n'))
}

function summarize(results: readonly TestFileResult[], elapsedMs: number): number {
  for (const { file, skipped } of results)
    for (const one of skipped) console.log(`skipped: ${file}: ${one}`)
  const total = (pick: (result: TestFileResult) => number) =>
    results.reduce((sum, result) => sum + pick(result), 0)
  const failed = total((result) => result.failed)
  const skipped = total((result) => result.skipped.length)
  console.log(`${results.length} files in ${(elapsedMs / 1000).toFixed(0)} s`)
  console.log(`${total((result) => result.passed)} passed, ${failed} failed, ${skipped} skipped`)
  return failed > 0 ? 1 : 0
}

function findTests(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => relative(root, join(directory, name)))
}
