/**
 * `npm run migrate`: a real virtual machine is live-migrated by libvirt between two clouds while
 * traffic flows, and every packet is counted.
 *
 * Exit 0: nothing was lost in any completed migration, the aborted one stayed, TCP intact; 1: not,
 * or it could not run; 2: wrong usage; 130: interrupted. The story goes to stderr with --json.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { formatConfigErrors } from '../config/config-error.js'
import { bringUp, lockTopology, takeDown } from '../lab/lab.js'
import { labPaths, packageFile } from '../lab/names.js'
import { missingRequirements } from '../lab/requirements.js'
import { loadTopology } from '../lab/topology.js'
import type { MoveMode } from './clouds.js'
import { migrationsPage, type PageFacts } from './page.js'
import { runProgramme } from './programme.js'
import type { MigrateResult } from './result.js'

interface MigrateOptions {
  readonly json: boolean
  readonly migrations: number
  readonly short: boolean
  readonly baseline?: number
  readonly mode: MoveMode
  readonly name: string
  readonly out?: string
  readonly write: boolean
}

/** The outcome of this run as it is published. */
function writePage(result: MigrateResult, about: PageFacts): void {
  writeFileSync(packageFile('bench', 'migrations.md'), migrationsPage(result, about))
}

async function main(): Promise<number> {
  const options = parseOptions()
  const missing = missingRequirements()
  if (missing.length > 0) {
    process.stderr.write(`${missing[0]}\n`)
    return 1
  }
  const file = packageFile('topologies', 'hypervisors.yaml')
  const result = loadTopology(file)
  if (!result.ok) {
    process.stderr.write(`${formatConfigErrors(file, result.errors)}\n`)
    return 1
  }
  const loaded = { ...result, topology: { ...result.topology, name: options.name } }
  const unlock = lockTopology(options.name)
  let cleaning: Promise<void> | undefined
  const cleanUp = (): Promise<void> => {
    cleaning ??= takeDown(options.name).then(unlock)
    return cleaning
  }
  let stopping = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stopping) return
      stopping = true
      process.stderr.write('# interrupted, cleaning up\n')
      cleanUp().finally(() => process.exit(130))
    })
  }
  const story = options.json ? process.stderr : process.stdout
  const say = (line: string): void => void story.write(`${line}\n`)
  const loadBefore = loadavg()[0]!
  try {
    await bringUp(loaded, { say: (line) => process.stderr.write(`# ${line}\n`) })
    const directory = options.out ?? join(labPaths(options.name).state, 'records')
    mkdirSync(directory, { recursive: true })
    const { migrations, short, mode } = options
    const outcome = await runProgramme(loaded.topology, {
      migrations,
      specials: !short,
      baseline: baselineOf(options),
      mode,
      directory,
      say,
    })
    for (const reason of outcome.reasons) say(`  ${reason}`)
    say(outcome.result.ok ? 'Kept: nothing was lost.' : 'Not kept.')
    if (options.out !== undefined) {
      writeFileSync(join(directory, 'result.json'), `${JSON.stringify(outcome.result, null, 2)}\n`)
    }
    if (options.write) {
      const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}, Linux ${release()}`
      const command = ['npm run migrate --', ...process.argv.slice(2)].join(' ')
      writePage(outcome.result, { machine, command, loadBefore })
    }
    if (options.json) process.stdout.write(`${JSON.stringify(outcome.result)}\n`)
    return outcome.result.ok ? 0 : 1
  } finally {
    await cleanUp()
  }
}

/** The short form only shows that it works: once in place, which costs a second. */
function baselineOf({ short, baseline }: MigrateOptions): { inPlace: number; beside: number } {
  if (baseline !== undefined) return { inPlace: baseline, beside: baseline }
  return short ? { inPlace: 1, beside: 0 } : { inPlace: BASELINE_TURNS, beside: BASELINE_TURNS }
}

function parseOptions(): MigrateOptions {
  const program = new Command('migrate')
    .description('A virtual machine is live-migrated between clouds; every packet is counted.')
    .option('--json', 'end with one JSON line on stdout', false)
    .option('--migrations <number>', 'to and fro so many times', wholeNumber, 20)
    .option('--short', 'the plain migrations only: none aborted, limited, killed or paused', false)
    .option(
      '--baseline <number>',
      'so often, to compare: paused in place, and migrated there and back beside itself',
      wholeNumber,
    )
    .option(
      '--mode <mode>',
      'live, switch, or none: no agents, moves are detected',
      readMode,
      'live',
    )
    .option('--name <name>', 'run under this name, so that two can run at once', 'migrate')
    .option('--out <directory>', 'keep packet records and the result')
    .option('--write', 'write bench/migrations.md', false)
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  return program.parse().opts<MigrateOptions>()
}

function readMode(text: string): string {
  if (!['live', 'switch', 'none'].includes(text))
    throw new InvalidArgumentError('live, switch, none.')
  return text
}

function wholeNumber(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > 1_000) {
    throw new InvalidArgumentError('A whole number up to 1000.')
  }
  return value
}

const BASELINE_TURNS = 4

main().then(
  (code) => process.exit(code),
  (cause: Error) => {
    process.stderr.write(`${cause.message}\n`)
    process.exit(1)
  },
)
