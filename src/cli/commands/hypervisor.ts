/** `godwit hypervisor`: the agent beside libvirt or QEMU that makes live migrations lossless. */
import { readFileSync } from 'node:fs'
import { parseEidText } from '../../config/address-text.js'
import { startAgent } from '../../hypervisor/agent.js'
import {
  DEFAULT_RUNTIME_DIRECTORY,
  HOOK_FILE,
  installHook,
  removeHook,
} from '../../hypervisor/hook-script.js'
import { startQmpAgent } from '../../hypervisor/qmp-agent.js'
import { type CliCommand, type CommandContext, textOption } from '../command.js'
import { CliFailure } from '../failure.js'
import { chooseTarget } from '../target.js'

const RUNTIME_OPTION = [
  '--runtime-directory <path>',
  `spool and socket of the hook (default ${DEFAULT_RUNTIME_DIRECTORY})`,
] as const

export const hypervisorCommands: readonly CliCommand[] = [
  {
    usage: 'hypervisor install',
    summary:
      'install the hook of libvirt; restart libvirtd (or virtqemud) once: it looks when it starts',
    needsDaemon: false,
    options: [
      ['--hook <path>', `where libvirt looks for it (default ${HOOK_FILE})`],
      RUNTIME_OPTION,
      ['--seen-as <path>', 'the same directory as libvirtd sees it, where that differs'],
      ['--force', 'replace the hook of somebody else; it is kept as .before-godwit'],
      ['--remove', 'remove our hook'],
    ],
    run: async (context) => runInstall(context),
  },
  {
    usage: 'hypervisor run',
    summary: 'follow the domains of this host and tell its daemon of their migrations',
    options: [
      ['--uri <uri>', 'libvirt connection (default qemu:///system)'],
      RUNTIME_OPTION,
      ['--mode <mode>', 'live (default) or switch: redirect as soon as a migration begins'],
      ['--eids <file>', 'JSON: domain name or UUID → list of EIDs, for domains without metadata'],
    ],
    run: runAgent,
  },
  {
    usage: 'hypervisor qmp <qmp> <eid...>',
    summary: 'the same for one QEMU without libvirt, by its QMP socket and the EIDs of its guest',
    options: [['--mode <mode>', 'live (default) or switch']],
    examples: ["godwit hypervisor qmp /run/vm1.qmp '[7]10.10.0.5' '[7]fd00:10::5' --node cloud-a"],
    run: runQmp,
  },
]

function runInstall(context: CommandContext): void {
  const file = textOption(context, 'hook') ?? HOOK_FILE
  if (context.options['remove'] === true) {
    context.print(removeHook(file) ? `removed ${file}` : `${file} is not ours, or not there`)
    return
  }
  const runtimeDirectory = textOption(context, 'runtimeDirectory') ?? DEFAULT_RUNTIME_DIRECTORY
  const seenAs = textOption(context, 'seenAs') ?? runtimeDirectory
  const force = context.options['force'] === true
  const outcome = installHook({ file, runtimeDirectory, seenAs, force })
  if (outcome === 'foreign') {
    const remedy = 'call ours from it, or replace it with --force (it is kept as .before-godwit)'
    throw new CliFailure(`${file} is a hook of somebody else`, remedy)
  }
  context.print(context.json ? JSON.stringify({ file, outcome }) : `${file}: ${outcome}`)
  if (!context.json && outcome === 'installed')
    context.print('restart libvirtd (or virtqemud) once: it looks for hooks when it starts')
}

async function runAgent(context: CommandContext): Promise<void> {
  const stop = await startAgent({
    uri: textOption(context, 'uri') ?? 'qemu:///system',
    socket: socketOf(context),
    runtimeDirectory: textOption(context, 'runtimeDirectory') ?? DEFAULT_RUNTIME_DIRECTORY,
    mode: modeOf(context),
    configured: readConfigured(textOption(context, 'eids')),
    log,
  })
  await untilToldToStop()
  stop()
}

async function runQmp(context: CommandContext): Promise<void> {
  const [qmp, eids] = context.arguments
  const texts = eids as readonly string[]
  const wrong = texts.find((text) => parseEidText(text, 0) === undefined)
  if (wrong !== undefined) throw new CliFailure(`"${wrong}" is not an EID`, 'as [7]10.10.0.5', 2)
  const socket = socketOf(context)
  const stop = startQmpAgent({ qmp: String(qmp), socket, eids: texts, mode: modeOf(context), log })
  await untilToldToStop()
  stop()
}

function socketOf(context: CommandContext): string {
  const target = chooseTarget(context.options)
  if (target.kind === 'socket') return target.path
  throw new CliFailure('the agent talks to a Unix socket', 'name it with --socket or --node', 2)
}

function modeOf(context: CommandContext): 'live' | 'switch' {
  const mode = textOption(context, 'mode') ?? 'live'
  if (mode === 'live' || mode === 'switch') return mode
  throw new CliFailure(`--mode "${mode}" is not known`, 'live or switch', 2)
}

function log(level: 'info' | 'warn', message: string, fields: object): void {
  const line = { time: new Date().toISOString(), level, message, ...fields }
  process.stderr.write(`${JSON.stringify(line)}\n`)
}

function untilToldToStop(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}

function readConfigured(file: string | undefined): Map<string, readonly string[]> {
  if (file === undefined) return new Map()
  let value: unknown
  try {
    value = JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new CliFailure(`${file} cannot be read: ${(cause as Error).message}`, undefined, 2)
  }
  const entries = Object.entries((value ?? {}) as Record<string, unknown>)
  const wrong = entries.find(
    ([, eids]) => !Array.isArray(eids) || eids.some((eid) => typeof eid !== 'string'),
  )
  if (wrong !== undefined)
    throw new CliFailure(`${file}: ${wrong[0]} has no list of EIDs`, undefined, 2)
  return new Map(entries as [string, string[]][])
}
