/**
 * A real PIM router in a node of a lab: zebra and pimd of FRR (Debian's package), started by path, each
 * with configuration, PID and sockets in the state of the topology: the machine's own FRR, if it runs
 * one, is not touched. Both end with the lab.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Topology } from '../config/topology-schema.js'
import { poll } from './daemons.js'
import { labPaths, namespaceFile } from './names.js'
import { runProgram } from './network.js'
import { startProcess } from './processes.js'

export interface PimRouter {
  /** What a command of vtysh prints, as `show ip pim neighbor json`. */
  show(command: string): Promise<string>
}

/** The sentence that says why there is no PIM router; undefined when there can be one. */
export function missingRouter(): string | undefined {
  const missing = [ZEBRA, PIMD, VTYSH].filter((file) => !existsSync(file))
  if (missing.length === 0) return undefined
  return `A PIM router is FRR's, and ${missing.join(', ')} is not installed (Debian: frr).`
}

/** Starts zebra and pimd in `node` with `pimConfig`; resolves when both answer. */
export async function startPimRouter(
  topology: Topology,
  node: string,
  pimConfig: readonly string[],
): Promise<PimRouter> {
  const directory = join(labPaths(topology.name).state, `frr-${node}`)
  mkdirSync(directory, { recursive: true })
  const zebraFile = join(directory, 'zebra.conf')
  const pimFile = join(directory, 'pimd.conf')
  writeFileSync(zebraFile, `hostname ${node}\n`)
  writeFileSync(pimFile, `hostname ${node}\n${pimConfig.join('\n')}\n`)
  // They give up root for this user.
  await runProgram('chown', ['-R', 'frr:frr', directory])
  const netns = `--net=${namespaceFile(topology.name, node)}`
  const socket = join(directory, 'zserv.api')
  const start = (program: string, file: string): void => {
    const name = `${node}-${program.split('/').at(-1)}`
    const pid = join(directory, `${name}.pid`)
    // Port 0: no TCP; vtysh comes by the socket.
    const files = ['-f', file, '-i', pid, '-z', socket, '--vty_socket', directory]
    startProcess({
      topology: topology.name,
      node,
      name,
      command: [program, ...files, '-P', '0'],
      output: 'log',
    })
  }
  const show = (command: string, ...more: string[]): Promise<string> =>
    runProgram('nsenter', [netns, VTYSH, '--vty_socket', directory, ...more, '-c', command])
  const answers = (daemon: string): Promise<void> =>
    poll(START_LIMIT_MS, () =>
      show('show version', '-d', daemon).then(
        () => undefined,
        (cause: Error) => cause.message,
      ),
    )
  start(ZEBRA, zebraFile)
  await answers('zebra')
  start(PIMD, pimFile)
  await answers('pimd')
  return { show }
}

const ZEBRA = '/usr/lib/frr/zebra'
const PIMD = '/usr/lib/frr/pimd'
const VTYSH = '/usr/bin/vtysh'
const START_LIMIT_MS = 10_000
