/**
 * The command line of `godwit`. Commands are rows of a table; this file makes the command line, the help
 * and the exit codes from them: 0 done, 1 refused or unreachable, 2 wrong usage or file.
 */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { createApiClient } from './api-client.js'
import type { CliCommand, CommandContext } from './command.js'
import { captureCommands } from './commands/capture.js'
import { checkConfigCommands } from './commands/check-config.js'
import { clearCommands } from './commands/clear.js'
import { decodeCommands } from './commands/decode.js'
import { eventCommands } from './commands/events.js'
import { hypervisorCommands } from './commands/hypervisor.js'
import { ligCommands } from './commands/lig.js'
import { moveCommands } from './commands/move.js'
import { replayCommands } from './commands/replay.js'
import { rigCommands } from './commands/rig.js'
import { showCommands } from './commands/show.js'
import { simCommands } from './commands/sim.js'
import { whyCommands } from './commands/why.js'
import { CliFailure } from './failure.js'
import { chooseTarget } from './target.js'

const COMMANDS: readonly CliCommand[] = [
  ...showCommands,
  ...moveCommands,
  ...ligCommands,
  ...rigCommands,
  ...whyCommands,
  ...eventCommands,
  ...clearCommands,
  ...decodeCommands,
  ...captureCommands,
  ...checkConfigCommands,
  ...simCommands,
  ...replayCommands,
  ...hypervisorCommands,
]

const GROUPS: Readonly<Record<string, string>> = {
  show: 'print a table of a node',
  clear: 'forget what can be learned again',
  hypervisor: 'live migrations of virtual machines: hook and agent',
}

/** Where output goes, and whether it may be coloured. */
export interface Terminal {
  /** One or more lines, without the last end of line. */
  print(text: string): void
  /** As it is: messages, and help for who used the command wrongly. */
  complain(text: string): void
  readonly colour: boolean
}

/** Runs `godwit WORDS`; resolves with the exit code. Rejects only at a mistake of ours. */
export async function runCommandLine(
  words: readonly string[],
  terminal: Terminal,
): Promise<number> {
  try {
    const program = await buildProgram(words, terminal)
    await program.parseAsync(words, { from: 'user' })
    return 0
  } catch (failure) {
    return report(failure, terminal)
  }
}

/** Lab commands bring the lab with them, so they are loaded on demand. */
async function buildProgram(words: readonly string[], terminal: Terminal): Promise<Command> {
  const program = new Command('godwit')
    .description('Operate a Godwit node: tables, moves, events.')
    .version(readVersion())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.print(text.replace(/\n$/, '')),
      writeErr: (text) => terminal.complain(text),
    })
    // For "lab exec NODE -- CMD", whose options belong to CMD.
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .addHelpText('after', EXAMPLES)
  const groups = new Map<string, Command>()
  for (const row of COMMANDS) addCommand(program, groups, row, terminal)
  const first = words.find((word) => !word.startsWith('-'))
  if (first === 'lab') {
    const { registerLabCommands } = await import('../lab/command.js')
    registerLabCommands(program)
  } else {
    program.command('lab').description('run topologies in network namespaces (root)')
  }
  return program
}

function addCommand(
  program: Command,
  groups: Map<string, Command>,
  row: CliCommand,
  { print, colour }: Terminal,
): void {
  const [first = '', ...rest] = row.usage.split(' ')
  const group = GROUPS[first]
  let parent = program
  if (group !== undefined) {
    parent = groups.get(first) ?? program.command(first).description(group)
    groups.set(first, parent)
  }
  const command = parent
    .command(group === undefined ? row.usage : rest.join(' '))
    .description(row.summary)
    .option('--json', 'print JSON')
  if (row.needsDaemon !== false) {
    command
      .option('--socket <path>', 'Unix socket of the daemon (default: the only one here)')
      .option('--node <name>', 'the daemon of this node, here or in a running lab')
      .option('--url <url>', 'http or https address of the daemon instead of a socket')
      .option('--ca <file>', 'with https: PEM of the CA that signed its certificate')
      .option('--cert <file>', 'with https: PEM of our client certificate')
      .option('--key <file>', 'with https: PEM of its key')
  }
  for (const [flags, description] of row.options ?? []) command.option(flags, description)
  if (row.examples !== undefined) {
    command.addHelpText('after', `\nExamples:\n${row.examples.map((one) => `  ${one}`).join('\n')}`)
  }
  command.action(async () => {
    const options = command.opts<Record<string, unknown>>()
    const context: CommandContext = {
      client: () => createApiClient(chooseTarget(options)),
      arguments: command.processedArgs as CommandContext['arguments'],
      options,
      json: options['json'] === true,
      colour,
      print,
    }
    await row.run(context)
  })
}

function readVersion(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

function report(failure: unknown, terminal: Terminal): number {
  if (failure instanceof CommanderError) {
    // Help and version are printed already and are no failures.
    return failure.exitCode === 0 ? 0 : 2
  }
  if (failure instanceof CliFailure) {
    const remedy = failure.remedy === undefined ? '' : `\n  ${failure.remedy}`
    terminal.complain(`godwit: ${failure.message}${remedy}\n`)
    return failure.exitCode
  }
  throw failure
}

const EXAMPLES = `
Examples:
  godwit show map-cache --node cloud-a
  godwit move '[7]10.10.0.5' '[7]fd00:10::5' --wait --node cloud-b
  godwit events --follow
  godwit why '[7]10.10.0.5' --node customer --lab two-clouds
  godwit lig 10.20.0.2 --instance-id 7
  godwit decode incident.pcap --keys keys.yaml
  godwit lab up topologies/two-clouds.yaml`
