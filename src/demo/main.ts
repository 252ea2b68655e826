/**
 * `npm run demo`: an endpoint moves between clouds while traffic flows, and every packet is
 * counted.
 *
 * Brings the topology up under a name of its own, starts the traffic, performs the moves of the
 * file, prints the story, judges, takes everything down. Exit 0: promise kept; 1: not, or could not
 * run; 2: wrong usage; 130: interrupted. Set-up words go to stderr; with --json the story does too.
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Command, InvalidArgumentError } from 'commander'
import type { TopologyMove } from '../config/topology-schema.js'
import type { AdjustConfig } from '../lab/daemons.js'
import { bringUp } from '../lab/lab.js'
import { labPaths, packageFile } from '../lab/names.js'
import { openPanel } from '../lab/panel.js'
import { type LoadedTopology, panelOf } from '../lab/topology.js'
import { computeFigures, type Trigger } from './analysis.js'
import { type Captures, startCaptures } from './captures.js'
import { inLab } from './in-lab.js'
import { monotonicNs, type PerformedMove, performMove } from './perform-move.js'
import { decodeRecords, type PacketRecord } from './records.js'
import { expectationOf, judge } from './result.js'
import type { SavedRun } from './saved-run.js'
import { createStory, type Story } from './story.js'
import { startTraffic, type Traffic } from './traffic.js'

const MECHANISMS = ['hold', 'redirect', 'smr'] as const
type Mechanism = (typeof MECHANISMS)[number]

/** One of the file's moves, in a way that it may not know. */
type DemoMove = Omit<TopologyMove, 'trigger'> & { readonly trigger: Trigger }

interface DemoOptions {
  readonly json: boolean
  readonly out?: string
  readonly without: readonly Mechanism[]
  readonly moves?: number
  readonly triggers?: string
  readonly topology: string
  readonly name: string
  readonly intervalMs: number
}

function main(): Promise<number> {
  const options = parseOptions()
  const file = options.topology.includes('/')
    ? options.topology
    : packageFile('topologies', `${options.topology.replace(/\.yaml$/, '')}.yaml`)
  return inLab(file, options.name, (loaded) =>
    run(loaded, chooseMoves(loaded.topology.moves, options), options),
  )
}

async function run(
  loaded: LoadedTopology,
  moves: readonly DemoMove[],
  options: DemoOptions,
): Promise<number> {
  const { topology } = loaded
  const story = createStory(options.json ? process.stderr : process.stdout)
  const say = (line: string): void => void process.stderr.write(`# ${line}\n`)
  await bringUp(loaded, { adjust: switchOff(options.without), say })

  const endpoint = moves[0]!.endpoint
  const hosts = Object.entries(topology.topology.nodes)
    .filter(([, { kind }]) => kind === 'host')
    .map(([name]) => name)
  const [host, coldHost] = [hosts[0]!, hosts.at(-1)]
  const directory = options.out ?? join(labPaths(topology.name).state, 'records')
  mkdirSync(directory, { recursive: true })
  const captures =
    options.out === undefined
      ? undefined
      : await startCaptures(topology, [endpoint, host], directory)
  const traffic = await startTraffic({
    topology,
    endpoint,
    host,
    coldHost: coldHost === host ? undefined : coldHost,
    directory,
    packetsPerSecond: PACKETS_PER_SECOND,
    tcpBytesPerSecond: TCP_BYTES_PER_SECOND,
  })
  story.line(`${endpoint} talks with ${host}: ${PACKETS_PER_SECOND} packets/s each way over IPv4`)
  story.line(`and IPv6, and a TCP connection in both directions. It moves ${moves.length} times,`)
  story.line('its addresses stay. Milliseconds after the request:')
  await pause(WARM_UP_MS)

  const performed = await performAll(loaded, moves, traffic, story, options)
  const endNs = monotonicNs()
  const tcp = await traffic.stop()
  await captures?.stop()
  const windows = performed
    .filter(({ state }) => state !== 'refused')
    .map((move, index, all) => ({
      trigger: move.trigger,
      fromNs: move.requestedNs - WINDOW_LEAD_NS,
      untilNs: (all[index + 1]?.requestedNs ?? endNs + 1e9) - WINDOW_LEAD_NS,
      switchedNs: move.switchedNs,
    }))
  const saved: SavedRun = {
    endpoint,
    streams: traffic.streams,
    windows,
    tcp,
    performed,
    expectedMoves: moves.length,
    // Microseconds matter here, and Date.now() has none.
    realtimeMinusMonotonicNs: (performance.timeOrigin + performance.now()) * 1e6 - monotonicNs(),
  }
  return conclude(saved, traffic, story, options, captures, directory)
}

async function performAll(
  { topology }: LoadedTopology,
  moves: readonly DemoMove[],
  traffic: Traffic,
  story: Story,
  options: DemoOptions,
): Promise<PerformedMove[]> {
  const endpoint = moves[0]!.endpoint
  const panel = openPanel(topology, panelOf(topology, endpoint)!)
  const instanceId = instanceOf(topology.topology.nodes[moves[0]!.to]?.config)
  const performed: PerformedMove[] = []
  try {
    for (const { to, trigger } of moves) {
      const began = performance.now()
      const move = await performMove(
        { topology, endpoint, instanceId, panel, traffic },
        to,
        trigger,
      )
      performed.push(move)
      story.move(performed.length, moves.length, move)
      await pause(Math.max(0, options.intervalMs - (performance.now() - began)))
    }
  } finally {
    panel.close()
  }
  return performed
}

function conclude(
  saved: SavedRun,
  traffic: Traffic,
  story: Story,
  options: DemoOptions,
  captures: Captures | undefined,
  directory: string,
): number {
  const [sent, received]: PacketRecord[][] = [[], []]
  for (const file of traffic.recordFiles) {
    const { kind, records } = decodeRecords(readFileSync(file))
    for (const record of records) (kind === 'sent' ? sent : received)!.push(record)
  }
  const figures = computeFigures(saved.streams, sent!, received!, saved.windows)
  const expected = expectationOf(saved.expectedMoves, saved.performed)
  const { result, reasons } = judge(figures, saved.tcp, expected)
  story.summary(result, saved.performed)
  for (const reason of reasons) story.line(`  ${reason}`)
  if (options.out !== undefined) {
    writeFileSync(join(directory, 'run.json'), `${JSON.stringify(saved, null, 2)}\n`)
    const what = captures === undefined ? 'Records' : 'Records and captures'
    process.stderr.write(
      `# ${what} are in ${directory}; compute the figures from them again with\n`,
    )
    process.stderr.write(`#   node ${packageFile('dist/src/demo/recompute.js')} ${directory}\n`)
  }
  if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`)
  return result.ok ? 0 : 1
}

function parseOptions(): DemoOptions {
  const program = new Command('demo')
    .description('An endpoint moves between clouds while traffic flows; every packet is counted.')
    .option('--json', 'end with one JSON line on stdout', false)
    .option('--out <directory>', 'keep packet records and captures, for computing it all again')
    .option('--without <mechanism>', `switch one off: ${MECHANISMS.join(', ')}`, collect, [])
    .option('--moves <number>', 'only so many', wholeNumber)
    .option('--triggers <list>', 'moves of these triggers, comma-separated, instead of the file’s')
    .option('--topology <file>', 'a file, or a name in topologies/', 'two-clouds')
    .option('--name <name>', 'run under this name, so that two can run at once', 'demo')
    .option('--interval-ms <number>', 'from one move to the next', wholeNumber, INTERVAL_MS)
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  return program.parse().opts<DemoOptions>()
}

function collect(value: string, former: readonly string[]): string[] {
  if (!(MECHANISMS as readonly string[]).includes(value)) {
    throw new InvalidArgumentError(`It is one of: ${MECHANISMS.join(', ')}.`)
  }
  return [...former, value]
}

function wholeNumber(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('A whole number.')
  return value
}

/** The file's moves, or as many of given triggers, there and back between the file's clouds. */
function chooseMoves(moves: readonly DemoMove[], options: DemoOptions): DemoMove[] {
  const triggers = options.triggers?.split(',') as Trigger[] | undefined
  const chosen = triggers
    ? triggers.map((trigger, index) => ({ ...moves[index % moves.length]!, trigger }))
    : [...moves]
  if (chosen.length === 0) throw new Error('this topology has no moves')
  return chosen.slice(0, options.moves ?? chosen.length)
}

/** Senders hear of a move by SMR and by publication: without the one, the other is off as well. */
function switchOff(mechanisms: readonly Mechanism[]): AdjustConfig {
  const off = Object.fromEntries(
    mechanisms.map((mechanism) => [mechanism === 'smr' ? 'solicit' : mechanism, false]),
  )
  const publishSubscribe = mechanisms.includes('smr')
    ? { publishSubscribe: { subscribe: false } }
    : {}
  return (_node, config) =>
    (config['roles'] as string[]).includes('etr') && mechanisms.length > 0
      ? {
          ...config,
          ...publishSubscribe,
          mobility: { ...(config['mobility'] as object | undefined), ...off },
        }
      : config
}

function instanceOf(config: unknown): number {
  const prefixes = (config as { dynamicEidPrefixes?: { instanceId?: number }[] } | undefined)
    ?.dynamicEidPrefixes
  return prefixes?.[0]?.instanceId ?? 0
}

const PACKETS_PER_SECOND = 1_000
/** Each way; twelve moves of 3 s make some 580 MB. */
const TCP_BYTES_PER_SECOND = 8_000_000
const WARM_UP_MS = 1_000
const WINDOW_LEAD_NS = 1_000_000
/**
 * Twelve moves a→b→a at this pace stay within the token buckets of SMRs and Map-Replies (burst 4,
 * one per 3 s, RFC 9301 §6.1): faster, and the last ones would wait for their turn.
 */
const INTERVAL_MS = 3_000

main().then(
  (code) => process.exit(code),
  (cause: Error) => {
    process.stderr.write(`${cause.message}\n`)
    process.exit(1)
  },
)
