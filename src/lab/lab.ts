/**
 * A lab is a topology that is up: namespaces, links, panels, daemons. Up, down, status.
 *
 * Coming up always begins with taking down what an earlier run of the same name left behind,
 * however it ended; what there is is found by name (namespaces.., pins, state), never by a list
 * that a crash could have kept from being written. A lock names the process at work, so that one
 * run never takes another's network away.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Topology } from '../config/topology-schema.js'
import { apiRequest } from './api-request.js'
import {
  type AdjustConfig,
  PROBE,
  startDaemon,
  waitUntilHealthy,
  waitUntilRegistered,
  writeConfigurations,
} from './daemons.js'
import {
  BPF_FILE_SYSTEM,
  compiledFile,
  LAB_DIRECTORY,
  labPaths,
  namespaceFile,
  socketOf,
} from './names.js'
import { buildNetwork, runProgram } from './network.js'
import { openPanel, setUpPanels } from './panel.js'
import {
  listDirectory,
  namespacesOf,
  recordedProcesses,
  startTimeOf,
  stopProcesses,
} from './processes.js'
import { daemonNodes, type LoadedTopology, panelOf } from './topology.js'

export interface UpOptions {
  readonly adjust?: AdjustConfig
  /** False: network and panels only. */
  readonly daemons?: boolean
  /** Told what is happening, one line at a time. */
  readonly say?: (line: string) => void
}

export interface NodeStatus {
  readonly node: string
  readonly kind: string
  readonly namespace: boolean
  /** Of the daemon; undefined when the node has none or it does not run. */
  readonly pid: number | undefined
  readonly healthy: boolean | undefined
  readonly socket: string | undefined
}

export interface LabStatus {
  readonly name: string
  readonly up: boolean
  readonly nodes: readonly NodeStatus[]
  /** Panel → the node its endpoint is connected to. */
  readonly panels: Readonly<Record<string, string | undefined>>
}

/** Says why a lab cannot be touched; the message is for people. */
export class LabError extends Error {
  override name = 'LabError'
}

/** Builds the topology and waits until it works. On failure everything is taken down again. */
export async function bringUp(loaded: LoadedTopology, options: UpOptions = {}): Promise<void> {
  const { topology } = loaded
  const say = options.say ?? (() => {})
  const began = performance.now()
  const seconds = (): string => ((performance.now() - began) / 1000).toFixed(1)
  await takeDown(topology.name)
  try {
    mountBpfFileSystem()
    const paths = labPaths(topology.name)
    mkdirSync(paths.state, { recursive: true })
    mkdirSync(paths.pins, { recursive: true })
    writeFileSync(paths.topologyFile, JSON.stringify(loaded))
    await buildNetwork(topology)
    await setUpPanels(topology)
    say(`network up: ${Object.keys(topology.topology.nodes).length} nodes (${seconds()} s)`)
    if (options.daemons === false) return
    writeConfigurations(loaded, options.adjust ?? ((_node, config) => config))
    const nodes = daemonNodes(topology)
    for (const node of nodes) startDaemon(topology, node)
    await Promise.all(nodes.map((node) => waitUntilHealthy(topology, node)))
    say(`daemons healthy: ${nodes.join(', ')} (${seconds()} s)`)
    await waitUntilRegistered(topology)
    say(`all EIDs registered (${seconds()} s)`)
  } catch (cause) {
    await takeDown(topology.name)
    throw cause
  }
}

/** Ends all processes, removes namespaces, pins and state. Nothing there is no error. */
export async function takeDown(name: string): Promise<void> {
  const paths = labPaths(name)
  const namespaces = namespacesOf(name)
  await stopProcesses(name, namespaces, STOP_GRACE_MS)
  if (namespaces.length > 0) {
    const lines = namespaces.map((namespace) => `netns del ${namespace}\n`)
    await runProgram('ip', ['-batch', '-'], lines.join(''))
  }
  rmSync(paths.pins, { recursive: true, force: true })
  rmSync(paths.state, { recursive: true, force: true })
}

/**
 * Takes the lock of a topology for this process; throws a LabError naming the holder when another
 * living process has it. The returned function gives it back.
 */
export function lockTopology(name: string): () => void {
  mkdirSync(LAB_DIRECTORY, { recursive: true })
  const file = join(LAB_DIRECTORY, `${name}.lock`)
  const mine = `${process.pid} ${startTimeOf(process.pid)}\n`
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      writeFileSync(file, mine, { flag: 'wx' })
      return () => rmSync(file, { force: true })
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    }
    const [pid = '', startTime] = readText(file).trim().split(' ')
    const holder = startTimeOf(Number(pid))
    if (holder !== undefined && holder === startTime) {
      throw new LabError(`Topology ${name} is in use by process ${pid}; wait for it or end it.`)
    }
    // Whoever wrote it is gone.
    rmSync(file, { force: true })
  }
  throw new LabError(`The lock ${file} changes hands all the time; try again.`)
}

/** The names of all topologies that have state or namespaces here. */
export function labNames(): string[] {
  const fromState = listDirectory(LAB_DIRECTORY).filter((name) => !name.endsWith('.lock'))
  const fromNamespaces = listDirectory('/run/netns').flatMap(
    (name) => /^gw-([a-z0-9-]+)\./.exec(name)?.[1] ?? [],
  )
  return [...new Set([...fromState, ...fromNamespaces])].sort()
}

/** The topology as it was brought up, or undefined when it is not up. */
export function topologyOf(name: string): LoadedTopology | undefined {
  const text = readText(labPaths(name).topologyFile)
  return text === '' ? undefined : (JSON.parse(text) as LoadedTopology)
}

/** What runs and what does not. */
export async function labStatus(topology: Topology): Promise<LabStatus> {
  const namespaces = new Set(namespacesOf(topology.name))
  const records = recordedProcesses(topology.name)
  const daemons = new Set(daemonNodes(topology))
  const nodes = await Promise.all(
    Object.entries(topology.topology.nodes).map(async ([node, { kind }]): Promise<NodeStatus> => {
      const namespace = namespaces.has(namespaceFile(topology.name, node).split('/').at(-1)!)
      if (!daemons.has(node)) {
        return { node, kind, namespace, pid: undefined, healthy: undefined, socket: undefined }
      }
      const record = records.find(({ name, running }) => name === node && running)
      const socket = socketOf(topology.name, node)
      const answer = await apiRequest(socket, '/v1/health', { timeoutMs: 1_000 }).catch(() => {})
      return { node, kind, namespace, pid: record?.pid, healthy: answer?.status === 200, socket }
    }),
  )
  const up = nodes.every(({ namespace, healthy }) => namespace && healthy !== false)
  const panels: Record<string, string | undefined> = {}
  for (const [name, node] of Object.entries(topology.topology.nodes)) {
    if (!node.panel || !namespaces.has(namespaceFile(topology.name, name).split('/').at(-1)!))
      continue
    const panel = openPanel(topology, name)
    panels[name] = panel.active()
    panel.close()
  }
  return { name: topology.name, up, nodes, panels }
}

/**
 * Runs a command (default: a shell) in the namespace of `node` with this terminal; its exit code.
 */
export function execInNode(topology: Topology, node: string, command: readonly string[]): number {
  if (topology.topology.nodes[node] === undefined) {
    const names = Object.keys(topology.topology.nodes).join(', ')
    throw new LabError(`${topology.name} has no node ${node}; it has ${names}.`)
  }
  const shell = process.env['SHELL'] ?? '/bin/sh'
  const words = command.length > 0 ? command : [shell]
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    PS1: `${node}# `,
    PATH: `${ownCommands(topology.name)}:${process.env['PATH'] ?? ''}`,
  }
  // Where there is no daemon, the command shall look for one as it always does.
  if (daemonNodes(topology).includes(node)) env['GODWIT_SOCKET'] = socketOf(topology.name, node)
  const netns = `--net=${namespaceFile(topology.name, node)}`
  const result = spawnSync('nsenter', [netns, ...words], { stdio: 'inherit', env })
  return result.status ?? 1
}

/** A directory with `godwit` and `godwitd` of this build: nobody has to have installed them. */
function ownCommands(topology: string): string {
  const directory = join(labPaths(topology).state, 'bin')
  mkdirSync(directory, { recursive: true })
  for (const [name, module] of [
    ['godwit', '../cli/main.js'],
    ['godwitd', '../daemon/main.js'],
  ] as const) {
    const script = `#!/bin/sh\nexec '${process.execPath}' '${compiledFile(module)}' "$@"\n`
    writeFileSync(join(directory, name), script, { mode: 0o755 })
  }
  return directory
}

/** Plugs an endpoint into another cloud, and lets it say so (RARP) as a hypervisor would. */
export async function plugEndpoint(
  topology: Topology,
  endpoint: string,
  to: string,
): Promise<void> {
  const name = panelOf(topology, endpoint)
  if (name === undefined) throw new LabError(`${endpoint} is not plugged into a panel.`)
  const panel = openPanel(topology, name)
  try {
    panel.flip(to)
  } catch (cause) {
    throw new LabError((cause as Error).message)
  } finally {
    panel.close()
  }
  await announceEndpoint(topology, endpoint)
}

/** RARP on every interface of the endpoint: what QEMU sends when a guest resumes. */
export async function announceEndpoint(topology: Topology, endpoint: string): Promise<void> {
  const netns = `--net=${namespaceFile(topology.name, endpoint)}`
  for (const interfaceName of Object.keys(topology.topology.nodes[endpoint]!.addresses)) {
    await runProgram('nsenter', [netns, PROBE(), 'announce', interfaceName, 'rarp'])
  }
}

/** One bpffs for all; a mount of its own in `ip netns exec` would vanish with that process. */
function mountBpfFileSystem(): void {
  const mounted = readText('/proc/mounts')
    .split('\n')
    .some((line) => {
      const [, where, type] = line.split(' ')
      return where === BPF_FILE_SYSTEM && type === 'bpf'
    })
  if (mounted) return
  const result = spawnSync('mount', ['-t', 'bpf', 'bpf', BPF_FILE_SYSTEM], { encoding: 'utf8' })
  if (result.status !== 0) {
    throw new LabError(`The BPF file system cannot be mounted: ${result.stderr.trim()}`)
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

/** A daemon detaches its programs and withdraws what it registered in far less. */
const STOP_GRACE_MS = 1_500
