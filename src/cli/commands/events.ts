/** `godwit events`: what happened, and what happens. */
import { coloured, fieldText } from '../columns.js'
import {
  type CliCommand,
  type CommandContext,
  numberOption,
  queryString,
  textOption,
} from '../command.js'
import { CliFailure } from '../failure.js'

export const eventCommands: readonly CliCommand[] = [
  {
    usage: 'events',
    summary: 'the last events of the daemon, or all as they happen',
    options: [
      ['--follow', 'stay and print events as they happen'],
      ['--name <names>', 'only these, separated by commas'],
      ['--backlog <number>', 'begin with the last N (default 1000, with --follow none)'],
    ],
    examples: [
      'godwit events --follow --name move-requested,move-converged,move-failed',
      'godwit events --backlog 20 --json',
    ],
    run: runEvents,
  },
]

async function runEvents(context: CommandContext): Promise<void> {
  const follow = context.options['follow'] === true
  const query = queryString({
    follow: follow ? undefined : false,
    backlog: numberOption(context, 'backlog') ?? (follow ? undefined : 1000),
    name: textOption(context, 'name'),
  })
  await context.client().events(`/v1/events${query}`, (name, data) => {
    context.print(context.json ? data : formatEvent(name, data, context.colour))
  })
  if (follow) throw new CliFailure('the daemon ended the stream', 'was it stopped? see its log')
}

function formatEvent(name: string, data: string, colour: boolean): string {
  const { at, severity, name: _, ...fields } = JSON.parse(data) as Record<string, unknown>
  if (name === 'gap') return coloured(colour, 'yellow', `… ${fields['missed']} events are gone`)
  const time = String(at).slice(11, 23)
  const tint = SEVERITY_COLOURS[String(severity)]
  const label = String(severity).padEnd(7)
  const rest = Object.entries(fields)
    .map(([key, value]) => `${key}=${fieldText(value)}`)
    .join(' ')
  const shown = tint === undefined ? label : coloured(colour, tint, label)
  return `${time}  ${shown}  ${coloured(colour, 'bold', name)}${rest === '' ? '' : `  ${rest}`}`
}

const SEVERITY_COLOURS: Readonly<Record<string, 'red' | 'yellow' | 'dim'>> = {
  error: 'red',
  warning: 'yellow',
  debug: 'dim',
}
