/**
 * The command line of the benchmark: what is measured, how often and for how long.
 */
import { Command, InvalidArgumentError } from 'commander'
import { LOADS, type Load, type LoadTimes } from './loads.js'
import type { Core } from './paths.js'
import type { Family } from './topology.js'

export const PARTS = [
  'cells',
  'latency',
  'resolution',
  'moves',
  'scale',
  'mobility',
  'evacuation',
  'multicast',
] as const
export type Part = (typeof PARTS)[number]
export const PATHS = ['v4/v4', 'v6/v4', 'v6/v6'] as const
export type Path = (typeof PATHS)[number]
const CORES: readonly Core[] = ['gso', 'mtu']

export interface BenchOptions {
  readonly quick: boolean
  readonly check: boolean
  readonly json: boolean
  readonly micro: boolean
  readonly vxlanGro: boolean
  readonly parts: readonly Part[]
  readonly paths: readonly Path[]
  readonly cores: readonly Core[]
  readonly loads: readonly Load[]
  readonly runs: number
  readonly times: LoadTimes
  readonly moves: number
  readonly mobility: { readonly moves: number; readonly intervalMs: number }
  /** So many endpoints leave a cloud in one call. */
  readonly evacuation: number
  /** No new round of cells begins after so many seconds; the medians are then of fewer runs. */
  readonly budgetSeconds: number
  /** Where results.json, .svg and .md go; undefined: only what was measured whole is kept. */
  readonly directory: string | undefined
  /** All of it was asked for: the files in bench/ may be replaced. */
  readonly complete: boolean
  /** Parts that were measured replace those of the files; the rest of the files stays. */
  readonly merge: boolean
}

/** Exits with 2 for a wrong command line, and with 0 after --help. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const words = [...PARTS, ...PATHS, ...CORES, ...LOADS].join(' ')
  const program = new Command('bench')
    .description('Godwit beside kernel VXLAN and plain forwarding, per CPU-second. Needs root.')
    .option('--quick', 'everything, short, in some four minutes', false)
    .option('--check', 'exit 1 when a target is missed, and say which', false)
    .option('--json', 'print the results as JSON instead of a table', false)
    .option('--micro', 'only the micro-benchmarks of codec and tables (no root)', false)
    .option(
      '--only <list>',
      `only these, comma-separated: ${words}`,
      splitList([...words.split(' ')]),
    )
    .option('--runs <number>', 'runs per cell and system', wholeNumber)
    .option('--seconds <number>', 'length of one run', positiveNumber)
    .option('--vxlan-gro <on|off>', 'GRO on the RLOC interfaces of VXLAN', onOff, true)
    .option('--merge', 'replace only the parts measured in the results that are there', false)
    .option('--out <directory>', 'write results.json, results.svg and results.md there')
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  program.parse(args as string[], { from: 'user' })
  const given = program.opts<{
    quick: boolean
    check: boolean
    json: boolean
    micro: boolean
    only?: string[]
    runs?: number
    seconds?: number
    vxlanGro: boolean
    out?: string
    merge: boolean
  }>()
  const only = given.only ?? []
  const preset = given.quick ? QUICK : FULL
  return {
    quick: given.quick,
    check: given.check,
    json: given.json,
    micro: given.micro,
    vxlanGro: given.vxlanGro,
    parts: partsOf(only),
    paths: chosen(PATHS, only),
    cores: chosen(CORES, only),
    loads: chosen(LOADS, only),
    runs: given.runs ?? preset.runs,
    times:
      given.seconds === undefined ? preset.times : timesOf(given.seconds, preset.times.attempts),
    moves: preset.moves,
    mobility: preset.mobility,
    evacuation: preset.evacuation,
    merge: given.merge,
    budgetSeconds: preset.budgetSeconds,
    directory: given.out,
    complete: only.length === 0,
  }
}

/** `v6/v4`: an IPv6 EID over an IPv4 RLOC. */
export function familiesOf(path: Path): { inner: Family; outer: Family } {
  return { inner: path[1] === '4' ? 4 : 6, outer: path.at(-1) === '4' ? 4 : 6 }
}

/** Naming a path, core or load means cells, unless parts are named as well. */
function partsOf(only: readonly string[]): readonly Part[] {
  const named = PARTS.filter((part) => only.includes(part))
  if (named.length > 0) return named
  return only.length > 0 ? ['cells'] : PARTS
}

function chosen<Word extends string>(all: readonly Word[], only: readonly string[]): Word[] {
  const named = all.filter((word) => only.includes(word))
  return named.length > 0 ? named : [...all]
}

function splitList(known: readonly string[]): (text: string) => string[] {
  return (text) => {
    const words = text.split(',').map((word) => word.trim())
    const wrong = words.filter((word) => !known.includes(word))
    if (wrong.length > 0) throw new InvalidArgumentError(`${wrong.join(', ')}: not one of these.`)
    return words
  }
}

function timesOf(seconds: number, attempts: number): LoadTimes {
  const warmUpMs = 150
  return { udpSeconds: seconds, tcpSeconds: seconds, warmUpMs, latencySeconds: seconds, attempts }
}

function wholeNumber(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('A whole number.')
  return value
}

function positiveNumber(text: string): number {
  const value = Number(text)
  if (!(value > 0 && value <= 60)) throw new InvalidArgumentError('Seconds, at most 60.')
  return value
}

function onOff(text: string): boolean {
  if (text !== 'on' && text !== 'off') throw new InvalidArgumentError('on or off.')
  return text === 'on'
}

const QUICK = {
  runs: 3,
  times: { udpSeconds: 0.25, tcpSeconds: 0.35, warmUpMs: 120, latencySeconds: 0.2, attempts: 1 },
  moves: 3,
  mobility: { moves: 4, intervalMs: 1_500 },
  evacuation: 100,
  budgetSeconds: 125,
}
/** Five rounds of the best of three short attempts; see `runLoad` for why not of long ones. */
const FULL = {
  runs: 5,
  times: { udpSeconds: 0.25, tcpSeconds: 0.5, warmUpMs: 200, latencySeconds: 0.5, attempts: 3 },
  moves: 8,
  // A pace that stays within the rates of SMRs (RFC 9301 §6.1): faster, the last ones would wait.
  mobility: { moves: 20, intervalMs: 3_000 },
  evacuation: 1_000,
  budgetSeconds: 3_600,
}
