/** `godwit replay`: a journal run again, as a readable timeline, and whether it decides the same. */
import { readFileSync } from 'node:fs'
import type { ReplayedStep, ReplayResult } from '../../journal/replay.js'
import { coloured } from '../columns.js'
import { type CliCommand, type CommandContext, numberOption } from '../command.js'
import { CliFailure } from '../failure.js'

export const replayCommands: readonly CliCommand[] = [
  {
    usage: 'replay <journal>',
    summary: 'run again what a daemon recorded, and compare its decisions',
    needsDaemon: false,
    options: [
      ['--until <seconds>', 'end so many seconds after the beginning of the journal'],
      ['--quiet', 'only the verdict'],
    ],
    examples: [
      'godwit replay /var/lib/godwit/cloud-a/journal/cloud-a-20250102T030405678Z-1.journal',
      'godwit replay incident.journal --until 60 --json',
    ],
    run,
  },
]

async function run(context: CommandContext): Promise<void> {
  const file = String(context.arguments[0])
  const { replayJournal } = await import('../../journal/replay.js')
  const seconds = numberOption(context, 'until')
  const isQuiet = context.options['quiet'] === true
  const result = replayJournal(linesOf(file), {
    ...(seconds === undefined ? {} : { untilMs: seconds * 1000 }),
    onStep(step) {
      if (isQuiet) return
      if (context.json) context.print(JSON.stringify(step))
      else printStep(context, step)
    },
  })
  if (context.json) context.print(JSON.stringify(verdictOf(result)))
  else for (const line of sentences(result)) context.print(line)
  if (result.header === undefined)
    throw new CliFailure(`${file} is no journal that this version can read`, undefined, 2)
  if (result.divergence !== undefined)
    throw new CliFailure('the decisions are not those of the journal', undefined, 1)
}

function linesOf(file: string): string[] {
  try {
    const lines = readFileSync(file, 'utf8').split('\n')
    // Behind the last line end there is nothing, or a line that is being written.
    return lines.slice(0, -1)
  } catch (cause) {
    throw new CliFailure(`${file} cannot be read: ${(cause as Error).message}`, undefined, 2)
  }
}

function printStep({ print, colour }: CommandContext, step: ReplayedStep): void {
  const time = new Date(step.at).toISOString().slice(11, 23)
  print(`${coloured(colour, 'dim', time)}  ${coloured(colour, 'bold', step.input)}`)
  for (const decision of step.decisions) print(`              → ${decision}`)
}

/** The whole outcome in one JSON object, after the steps. */
function verdictOf({ header, steps, divergence, ending }: ReplayResult): object {
  const { node, version, startedAt } = header ?? {}
  const at = startedAt === undefined ? undefined : new Date(startedAt).toISOString()
  return { node, version, startedAt: at, steps, ending, same: divergence === undefined, divergence }
}

function sentences({ header, steps, divergence, ending }: ReplayResult): string[] {
  if (header === undefined) return []
  const began = new Date(header.startedAt).toISOString()
  const about = `${header.node}, Godwit ${header.version}, from ${began}: ${steps} inputs`
  if (divergence === undefined) return [`${about}, the same decisions. ${ENDINGS[ending]}`]
  const { line, why, recorded, replayed } = divergence
  const lines = [`${about}, then in line ${line}: ${why}`]
  if (recorded !== undefined) lines.push(`  recorded: ${recorded || 'nothing'}`)
  if (replayed !== undefined) lines.push(`  replayed: ${replayed || 'nothing'}`)
  return lines
}

const ENDINGS: Readonly<Record<ReplayResult['ending'], string>> = {
  full: 'The journal was full.',
  'too-fast': 'The journal could not keep up with the node and was ended.',
  'too-large': 'One input was too large for the journal, which was ended.',
  stopped: 'The node was stopped or renewed.',
  'cut-off': 'The journal goes no further: the node runs still, or it died.',
  until: 'As far as asked for.',
}
