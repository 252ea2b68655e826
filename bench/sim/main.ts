/**
 * `npm run scale`: how the mapping system and the moves behave from 10 to 1,000 sites, in virtual time.
 *
 * Each size runs in a process of its own, so that its memory is its own. Writes bench/scale.json,
 * bench/scale.svg and bench/scale.md when all sizes were asked for, else only prints. No root.
 * Exit code 1 when an invariant does not hold.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { packageFile } from '../../src/lab/names.js'
import { runScale } from '../../src/sim/scale-run.js'
import { describeMachine } from '../machine.js'
import { renewResultsPage } from '../results-page.js'
import {
  drawScale,
  formatScale,
  formatScaleTable,
  type ScaleReport,
  type ScaleRow,
} from './report.js'

const ALL_SITES = [10, 30, 100, 300, 1000]
const MAXIMUM_HEAP_MB = 6000

const program = new Command('scale')
  .description('Random moves among 10 to 1,000 simulated sites under loss')
  .option('--sites <list>', 'only these numbers of sites, comma-separated', numbers, ALL_SITES)
  .option('--eids <number>', 'EIDs per site', Number, 100)
  .option('--loss <share>', 'share of messages and packets that the core loses', Number, 0.01)
  .option('--seed <text>', 'what chance begins with', '1')
  .option('--out <directory>', 'write scale.json, scale.svg and scale.md there')
  .option('--one', 'run the size in this process and print its result as JSON', false)
program.parse()
const options = program.opts<{
  sites: number[]
  eids: number
  loss: number
  seed: string
  out?: string
  one: boolean
}>()
if (options.one) runOne()
else process.exitCode = runAll()

function runOne(): void {
  const { eids, loss, seed } = options
  const began = performance.now()
  const result = runScale({ sites: options.sites[0]!, eids, loss, seed })
  const wallSeconds = Math.round((performance.now() - began) / 100) / 10
  const { user, system } = process.cpuUsage()
  const cpuSeconds = Math.round((user + system) / 100_000) / 10
  const memoryMb = Math.round(process.resourceUsage().maxRSS / 1024)
  process.stdout.write(JSON.stringify({ ...result, cpuSeconds, wallSeconds, memoryMb }))
}

function runAll(): number {
  const rows = options.sites.map((sites) => {
    const words = ['--one', '--sites', sites, '--eids', options.eids, '--loss', options.loss]
    const text = execFileSync(
      process.execPath,
      [
        // Most of what a run makes is short-lived.
        '--max-semi-space-size=64',
        `--max-old-space-size=${MAXIMUM_HEAP_MB}`,
        import.meta.filename,
        ...words.map(String),
        '--seed',
        options.seed,
      ],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const row = JSON.parse(text) as ScaleRow
    const { violation } = row
    const verdict =
      violation === undefined
        ? 'every invariant holds'
        : `${violation.invariant} at ${violation.atMs} ms: ${violation.message}`
    process.stderr.write(`${sites} sites: ${verdict}, ${row.wallSeconds} s\n`)
    return row
  })
  const { eids, loss } = options
  const date = new Date().toISOString().slice(0, 10)
  const report: ScaleReport = {
    ...describeMachine(),
    node: process.version,
    date,
    eids,
    loss,
    rows,
  }
  process.stdout.write(`${formatScaleTable(report)}\n`)
  const complete = ALL_SITES.every((sites) => options.sites.includes(sites))
  const directory = options.out ?? (complete ? packageFile('bench') : undefined)
  if (directory !== undefined) {
    writeFileSync(join(directory, 'scale.json'), `${JSON.stringify(report, null, 2)}\n`)
    writeFileSync(join(directory, 'scale.svg'), drawScale(report))
    writeFileSync(join(directory, 'scale.md'), formatScale(report))
    renewResultsPage(join(directory, 'scale.json'))
  }
  return rows.every(({ ok }) => ok) ? 0 : 1
}

function numbers(text: string): number[] {
  const all = text.split(',').map(Number)
  if (all.some((one) => !Number.isInteger(one))) throw new InvalidArgumentError('as 10,100')
  return all
}
