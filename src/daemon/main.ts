#!/usr/bin/env node
/**
 * `godwitd`: command line, checks before the start, signals, exit status.
 *
 * Exit status: 0 after a graceful stop, 1 when the environment lacks something, 2 for an invalid
 * configuration, 70 (EX_SOFTWARE) for our own bugs, which leave the datapath forwarding.
 */
import { readFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { Command } from 'commander'
import { formatConfigErrors } from '../config/config-error.js'
import { loadConfig } from '../config/load.js'
import type { Config } from '../config/schema.js'
import { ensureBpfFilesystem, missingCapabilities, oldKernel } from './capabilities.js'
import type { Daemon } from './daemon.js'

async function run(configPath: string): Promise<void> {
  const loaded = loadConfig(configPath)
  if (!loaded.ok) {
    process.stderr.write(`${formatConfigErrors(configPath, loaded.errors)}\n`)
    process.exit(2)
  }
  const lacking = lackingFor(loaded.config)
  if (lacking !== undefined) fail(lacking)
  raisePriority()
  // What has not run for a while would be forgotten, and compiled again when a move comes.
  setFlagsFromString('--no-flush-bytecode')
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)
  // Only now: checking a configuration needs neither the native addon nor the store.
  const { startDaemon } = await import('./daemon.js')
  const daemon = await startDaemon({ configPath, loaded, version }).catch((error: unknown) =>
    fail(describeFailure(error)),
  )
  handleSignals(daemon)
}

function handleSignals(daemon: Daemon): void {
  let reloading: Promise<void> = Promise.resolve()
  process.on('SIGHUP', () => {
    // One after the other: the last configuration written is the one that counts.
    reloading = reloading.then(() => daemon.reload())
  })
  let stopping = false
  const stop = (onStop?: 'keep'): void => {
    if (stopping) return
    stopping = true
    setTimeout(() => process.exit(0), STOP_MS).unref()
    daemon.stop(onStop).then(() => process.exit(0), crash)
  }
  process.on('SIGTERM', () => stop())
  process.on('SIGINT', () => stop())
  // Choice: the one signal left that Node does not use itself. What starts next takes over.
  process.on('SIGUSR2', () => stop('keep'))
}

function checkConfig(configPath: string): void {
  const loaded = loadConfig(configPath)
  if (!loaded.ok) {
    process.stderr.write(`${formatConfigErrors(configPath, loaded.errors)}\n`)
    process.exitCode = 2
    return
  }
  if (loaded.warnings.length > 0) {
    process.stderr.write(`${formatConfigErrors(configPath, loaded.warnings, 'warning')}\n`)
  }
  process.stdout.write(`${configPath}: valid\n`)
}

/** The first thing that the configured datapath needs and this machine lacks. */
function lackingFor(config: Config): string | undefined {
  if (config.datapath.kind === 'none') return undefined
  return oldKernel() ?? missingCapabilities() ?? ensureBpfFilesystem()
}

/** As routing daemons do: packets wait for what is decided here, and it takes little time. */
function raisePriority(): void {
  try {
    setPriority(NICENESS)
  } catch {
    // Without the privilege it works all the same, only later on a busy machine.
  }
}

function fail(sentence: string): never {
  process.stderr.write(`godwitd: ${sentence}\n`)
  process.exit(1)
}

function crash(error: unknown): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  process.stderr.write(`godwitd: internal error, forwarding goes on without control: ${text}\n`)
  process.exit(70)
}

function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code, operation, verifierLog } = error as Error & Record<string, unknown>
  const where = operation === undefined ? '' : ` (${String(operation)}: ${String(code)})`
  const log = typeof verifierLog === 'string' && verifierLog !== '' ? `\n${verifierLog}` : ''
  return `${error.message}${where}${log}`
}

function readVersion(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

// Choice: less than the 10 s after which a supervisor would kill, and than a person's patience.
const STOP_MS = 1_900
// Choice: before whatever else runs beside it, behind what the kernel itself wants.
const NICENESS = -10
const version = readVersion()

const program = new Command('godwitd')
  .description('LISP tunnel router, Map-Server and Map-Resolver of one node')
  .version(version)
  .showHelpAfterError()
program
  .command('run', { isDefault: true })
  .description('run the node that the configuration file describes (the default)')
  .argument('<config>', 'YAML file; keys are explained in docs/configuration.md')
  .action(run)
program
  .command('check-config')
  .description('say everything that is wrong with a configuration file; exit 2 if anything is')
  .argument('<config>', 'YAML file')
  .action(checkConfig)
await program.parseAsync()
