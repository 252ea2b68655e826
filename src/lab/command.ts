/**
 * `godwit lab`: topologies by hand.
 *
 * FILE is a topology file; where a topology is already up its name does as well. Human words go to
 * stderr, what was asked for to stdout, so that `--json` can be piped.
 */
import { existsSync } from 'node:fs'
import Table from 'cli-table3'
import type { Command } from 'commander'
import { formatConfigErrors } from '../config/config-error.js'
import {
  bringUp,
  execInNode,
  LabError,
  type LabStatus,
  labNames,
  labStatus,
  lockTopology,
  plugEndpoint,
  takeDown,
  topologyOf,
} from './lab.js'
import { packageFile } from './names.js'
import { missingRequirements } from './requirements.js'
import { type LoadedTopology, loadTopology } from './topology.js'

/** Adds `lab …` to the command line program. */
export function registerLabCommands(program: Command): void {
  // Needed by passThroughOptions: what follows the node belongs to the command.
  program.enablePositionalOptions()
  const lab = program.command('lab').enablePositionalOptions()
  lab.description('run topologies in network namespaces (root)')
  lab
    .command('up <file>')
    .description('build a topology and start its daemons')
    .option('--name <name>', 'another name, so that the same file can be up twice')
    .option('--no-daemons', 'network only')
    .action((file: string, options: { name?: string; daemons: boolean }) =>
      guarded(async () => {
        const loaded = renamed(load(file), options.name)
        const unlock = lockTopology(loaded.topology.name)
        try {
          await bringUp(loaded, { daemons: options.daemons, say })
        } finally {
          unlock()
        }
        const node = Object.keys(loaded.topology.topology.nodes)[0]
        say(`try: godwit lab exec --topology ${loaded.topology.name} ${node} -- ip address`)
      }),
    )
  lab
    .command('down [file]')
    .description('take a topology down and remove everything it left')
    .option('--all', 'all of them')
    .action((file: string | undefined, options: { all?: boolean }) =>
      guarded(async () => {
        if (file === undefined && !options.all) throw new LabError('Name a topology, or say --all.')
        const names = options.all ? labNames() : [nameOf(file!)]
        for (const name of names) {
          const unlock = lockTopology(name)
          try {
            await takeDown(name)
          } finally {
            unlock()
          }
          say(`${name} is down`)
        }
      }),
    )
  lab
    .command('status [file]')
    .description('what runs')
    .option('--json', 'for programs')
    .action((file: string | undefined, options: { json?: boolean }) =>
      guarded(async () => {
        const status = await labStatus(upTopology(file && nameOf(file), 'by name').topology)
        if (options.json) process.stdout.write(`${JSON.stringify(status)}\n`)
        else printStatus(status)
      }),
    )
  lab
    .command('exec <node> [command...]')
    .description('a command, or a shell, inside a node')
    .option('--topology <name>', 'when several are up')
    .passThroughOptions()
    .addHelpText('after', EXEC_EXAMPLES)
    .action((node: string, command: string[], options: { topology?: string }) =>
      guarded(async () => {
        process.exitCode = execInNode(upTopology(options.topology).topology, node, command)
      }),
    )
  lab
    .command('move <endpoint> <to>')
    .description('plug an endpoint into another cloud, unannounced: a detected move')
    .option('--topology <name>', 'when several are up')
    .action((endpoint: string, to: string, options: { topology?: string }) =>
      guarded(async () => {
        await plugEndpoint(upTopology(options.topology).topology, endpoint, to)
        say(`${endpoint} is plugged into ${to}`)
      }),
    )
  lab
    .command('list')
    .description('topologies that are up, and files that could be')
    .option('--json', 'for programs')
    .action((options: { json?: boolean }) =>
      guarded(async () => {
        const names = labNames()
        if (options.json) process.stdout.write(`${JSON.stringify(names)}\n`)
        else process.stdout.write(names.map((name) => `${name}\n`).join(''))
        if (names.length === 0) say(`none is up; files are in ${packageFile('topologies')}`)
      }),
    )
}

async function guarded(action: () => Promise<void>): Promise<void> {
  const missing = missingRequirements()
  if (missing.length > 0) {
    process.stderr.write(`${missing[0]}\n`)
    process.exitCode = 1
    return
  }
  try {
    await action()
  } catch (cause) {
    process.stderr.write(`${(cause as Error).message}\n`)
    process.exitCode = 1
  }
}

function load(file: string): LoadedTopology {
  const result = loadTopology(file)
  if (!result.ok) throw new LabError(formatConfigErrors(file, result.errors))
  return result
}

function renamed(loaded: LoadedTopology, name: string | undefined): LoadedTopology {
  if (name === undefined) return loaded
  if (!/^[a-z0-9][a-z0-9-]{0,23}$/.test(name)) throw new LabError(`${name} is not kebab-case.`)
  return { ...loaded, topology: { ...loaded.topology, name } }
}

/** A file's topology name, or the word itself when there is no such file. */
function nameOf(fileOrName: string): string {
  return existsSync(fileOrName) ? load(fileOrName).topology.name : fileOrName
}

function upTopology(name: string | undefined, how = 'with --topology NAME'): LoadedTopology {
  const names = name === undefined ? labNames() : [name]
  if (names.length === 0) throw new LabError('No topology is up; begin with: godwit lab up FILE')
  if (names.length > 1) {
    throw new LabError(`Several topologies are up (${names.join(', ')}): say which, ${how}.`)
  }
  const loaded = topologyOf(names[0]!)
  if (loaded === undefined) throw new LabError(`${names[0]} is not up.`)
  return loaded
}

function printStatus(status: LabStatus): void {
  const table = new Table({
    head: ['node', 'kind', 'namespace', 'daemon', 'pid'],
    style: { head: [], border: [], compact: true },
  })
  for (const { node, kind, namespace, healthy, pid } of status.nodes) {
    const daemon = healthy === undefined ? '-' : healthy ? 'healthy' : 'no answer'
    table.push([node, kind, namespace ? 'yes' : 'missing', daemon, pid ?? '-'])
  }
  process.stdout.write(`${status.name}: ${status.up ? 'up' : 'not complete'}\n${table}\n`)
  for (const [panel, node] of Object.entries(status.panels)) {
    process.stdout.write(`${panel}: connected to ${node ?? 'nobody'}\n`)
  }
}

const EXEC_EXAMPLES = `
Examples:
  godwit lab exec host1 -- ping 10.10.0.5
  godwit lab exec cloud-a -- godwit show map-cache
  godwit lab exec cloud-a -- godwit capture core0
  godwit lab exec --topology two-clouds vm1`

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
