/**
 * `godwit sim`: a topology in virtual time, without root and without a kernel: a file, or as many
 * sites as asked for. `godwit sim generate` prints a file of the lab's form.
 */

import type { MoveRow, RunResult } from '../../sim/run.js'
import type { Percentiles, ScaleResult } from '../../sim/scale-run.js'
import { type Column, formatDuration, formatTable } from '../columns.js'
import type { CliCommand, CommandContext } from '../command.js'
import { numberOption, textOption } from '../command.js'
import { CliFailure } from '../failure.js'
import { readSizes } from './sim-sizes.js'

export const simCommands: readonly CliCommand[] = [
  {
    usage: 'sim [file] [size]',
    summary: 'run a topology in virtual time: its moves, or a swarm of faults',
    needsDaemon: false,
    options: [
      ['--seed <number>', 'what chance begins with (default 1); equal seeds, equal hashes'],
      ['--swarm', 'faults and moves drawn from the seed instead of the moves of the file'],
      ['--generate <size>', 'no file: random moves among so many sites, as sites=1000,eids=100'],
      ['--moves <number>', 'with --generate: how many moves (default ten per site)'],
      ['--loss <percent>', 'with --generate: what the core loses (default 1)'],
      ['--trace', 'print every event'],
    ],
    examples: [
      'godwit sim topologies/two-clouds.yaml',
      'godwit sim topologies/two-clouds.yaml --swarm --seed 17 --trace',
      'godwit sim --generate sites=100,eids=100 --moves 1000',
      'godwit sim generate sites=4,eids=2,customers=1 > topology.yaml',
    ],
    run,
  },
]

async function run(context: CommandContext): Promise<void> {
  const [file, size] = context.arguments
  const generated = textOption(context, 'generate')
  if (generated !== undefined) return runGenerated(context, generated)
  if (file === 'generate') return printTopology(context, String(size ?? ''))
  if (file === undefined)
    throw new CliFailure('nothing to run', 'name a file, or --generate sites=100,eids=100', 2)
  return runFile(context, String(file))
}

async function runFile(context: CommandContext, file: string): Promise<void> {
  // Loaded here: other commands need no simulator.
  const { loadTopology } = await import('../../lab/topology.js')
  const { readSimulatedTopology } = await import('../../sim/topology.js')
  const { runSimulation } = await import('../../sim/run.js')
  const { formatConfigErrors } = await import('../../config/config-error.js')
  const { readFileSync } = await import('node:fs')
  const { resolve } = await import('node:path')
  const loaded = loadTopology(file)
  if (!loaded.ok) throw new CliFailure(formatConfigErrors(file, loaded.errors), undefined, 2)
  const { topology, directory } = loaded
  const read = readSimulatedTopology(topology, (name) =>
    readFileSync(resolve(directory, name), 'utf8'),
  )
  if (!read.ok) throw new CliFailure(formatConfigErrors(file, read.errors), undefined, 2)
  const swarm = context.options['swarm'] === true || topology.moves.length === 0
  const result = runSimulation(read.topology, {
    seed: String(numberOption(context, 'seed') ?? 1),
    mode: swarm ? 'swarm' : 'story',
    ...(context.options['trace'] === true ? { onLine: context.print } : {}),
  })
  if (context.json) context.print(JSON.stringify(result, null, 2))
  else printResult(context, result)
  if (!result.ok) throw new CliFailure('an invariant does not hold', undefined, 1)
}

/** Sites and moves from numbers: what `npm run scale` measures. */
async function runGenerated(context: CommandContext, text: string): Promise<void> {
  const { runScale } = await import('../../sim/scale-run.js')
  const { sites, eids } = readSizes(text, { sites: 100, eids: 100 })
  const moves = numberOption(context, 'moves')
  let result: ScaleResult
  try {
    result = runScale({
      sites,
      eids,
      seed: String(numberOption(context, 'seed') ?? 1),
      loss: (numberOption(context, 'loss') ?? 1) / 100,
      ...(moves === undefined ? {} : { moves }),
      ...(context.options['trace'] === true ? { onLine: context.print } : {}),
    })
  } catch (cause) {
    if (cause instanceof RangeError) throw new CliFailure(cause.message, undefined, 2)
    throw cause
  }
  if (context.json) context.print(JSON.stringify(result, null, 2))
  else printScale(context, result)
  if (!result.ok) throw new CliFailure('an invariant does not hold', undefined, 1)
}

function printScale({ print }: CommandContext, result: ScaleResult): void {
  const { totals, convergenceMs, gapMs } = result
  const spread = ({ p50, p90, p99, max }: Percentiles): string =>
    `p50 ${formatDuration(p50)}, p90 ${formatDuration(p90)}, p99 ${formatDuration(p99)}, ` +
    `longest ${formatDuration(max)}`
  print(`sites       ${result.sites}, ${result.sites * result.eids} EIDs`)
  print(`moves       ${result.moves}, ${result.switched} switched, ${result.unconverged} too slow`)
  print(`converged   ${spread(convergenceMs)}`)
  print(`longest gap ${spread(gapMs)}`)
  print(
    `control     ${result.messagesPerMoveTotal} messages per move, ` +
      `${result.backgroundPerSiteMinute} per site and minute without moves`,
  )
  print(`packets     ${totals.sent} sent, ${totals.lost} lost (${reasonsOf(totals.reasons)})`)
  print(`time        ${formatDuration(result.virtualMs)} in ${result.steps} steps`)
  print(`trace hash  ${result.hash}`)
  printVerdict(print, result)
}

async function printTopology(context: CommandContext, text: string): Promise<void> {
  const { generateTopology } = await import('../../sim/generated-topology.js')
  const { stringify } = await import('yaml')
  const { sites, eids, customers } = readSizes(text, { sites: 3, eids: 1, customers: 0 })
  const endpoints = sites * eids
  const links = endpoints * (sites + 1) + customers
  if (sites > 200 || customers > 200 || links > MAXIMUM_LINKS) {
    const problem = `${sites} sites, ${endpoints} EIDs and ${customers} customers are ${links} links`
    throw new CliFailure(problem, `up to ${MAXIMUM_LINKS}; more run with --generate`, 2)
  }
  const topology = generateTopology({
    clouds: sites,
    customers,
    endpoints,
    dualStack: false,
    proxyReply: true,
  })
  context.print(context.json ? JSON.stringify(topology, null, 2) : stringify(topology).trimEnd())
}

function reasonsOf(reasons: Readonly<Record<string, number>>): string {
  const all = Object.entries(reasons).map(([name, count]) => `${name} ${count}`)
  return all.join(', ') || 'none'
}

function printVerdict(
  print: CommandContext['print'],
  { seed, violation }: Pick<RunResult, 'seed' | 'violation'>,
): void {
  if (violation === undefined) {
    print(`seed ${seed}: every invariant holds`)
    return
  }
  const { invariant, message, atMs } = violation
  print(`seed ${seed}: ${invariant} is violated at ${formatDuration(atMs)}: ${message}`)
}

function printResult(context: CommandContext, result: RunResult): void {
  const { print, colour } = context
  const { totals } = result
  print(formatTable(MOVE_COLUMNS, result.moves, 'no moves', colour))
  print('')
  print(`faults      ${result.faults}`)
  print(
    `packets     ${totals.sent} sent, ${totals.lost} lost, ${totals.duplicated} duplicated, ` +
      `${totals.reordered} reordered`,
  )
  if (totals.lost > 0) print(`lost        ${reasonsOf(totals.reasons)}`)
  const sent = Object.entries(result.sent).map(([kind, count]) => `${kind} ${count}`)
  print(`control     ${sent.join(', ')}`)
  print(`time        ${formatDuration(result.virtualMs)} in ${result.steps} steps`)
  print(`trace hash  ${result.hash}`)
  printVerdict(print, result)
}

const MOVE_COLUMNS: readonly Column<MoveRow>[] = [
  { title: 'AT', text: ({ startedAt }) => formatDuration(startedAt), align: 'right' },
  { title: 'HOST', text: ({ host }) => host },
  { title: 'TO', text: ({ to }) => to },
  { title: 'MOVE', text: ({ kind }) => kind },
  { title: 'ANSWER', text: ({ answer }) => answer },
  {
    title: 'SWITCHED',
    text: ({ startedAt, switchedAt }) =>
      switchedAt === undefined ? '-' : `+${formatDuration(switchedAt - startedAt)}`,
    align: 'right',
  },
  { title: 'LOST', text: ({ lost }) => String(lost), align: 'right' },
  { title: 'BY NEIGHBOURS', text: ({ lostBeside }) => String(lostBeside), align: 'right' },
  { title: 'DUPLICATED', text: ({ duplicated }) => String(duplicated), align: 'right' },
  { title: 'LONGEST GAP', text: ({ gapMs }) => formatDuration(gapMs), align: 'right' },
]

/** A lab of more is more than a machine wants to see in one file. */
const MAXIMUM_LINKS = 20_000
