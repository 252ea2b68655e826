/** `godwit sim`: a topology file in virtual time, without root and without a kernel. */

import type { MoveRow, RunResult } from '../../sim/run.js'
import { type Column, formatDuration, formatTable } from '../columns.js'
import type { CliCommand, CommandContext } from '../command.js'
import { numberOption } from '../command.js'
import { CliFailure } from '../failure.js'

export const simCommands: readonly CliCommand[] = [
  {
    usage: 'sim <file>',
    summary: 'run a topology file in virtual time: its moves, or a swarm of faults',
    needsDaemon: false,
    options: [
      ['--seed <number>', 'what chance begins with (default 1); equal seeds, equal hashes'],
      ['--swarm', 'faults and moves drawn from the seed instead of the moves of the file'],
      ['--trace', 'print every event'],
    ],
    examples: [
      'godwit sim topologies/two-clouds.yaml',
      'godwit sim topologies/two-clouds.yaml --swarm --seed 17 --trace',
    ],
    run,
  },
]

async function run(context: CommandContext): Promise<void> {
  // Loaded here: other commands need no simulator.
  const { loadTopology } = await import('../../lab/topology.js')
  const { readSimulatedTopology } = await import('../../sim/topology.js')
  const { runSimulation } = await import('../../sim/run.js')
  const { formatConfigErrors } = await import('../../config/config-error.js')
  const { readFileSync } = await import('node:fs')
  const { resolve } = await import('node:path')
  const file = String(context.arguments[0])
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
  const reasons = Object.entries(totals.reasons).map(([name, count]) => `${name} ${count}`)
  if (reasons.length > 0) print(`lost        ${reasons.join(', ')}`)
  const sent = Object.entries(result.sent).map(([kind, count]) => `${kind} ${count}`)
  print(`control     ${sent.join(', ')}`)
  print(`time        ${formatDuration(result.virtualMs)} in ${result.steps} steps`)
  print(`trace hash  ${result.hash}`)
  if (result.violation === undefined) {
    print(`seed ${result.seed}: every invariant holds`)
    return
  }
  const { invariant, message, atMs } = result.violation
  print(`seed ${result.seed}: ${invariant} is violated at ${formatDuration(atMs)}: ${message}`)
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
