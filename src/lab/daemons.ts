/**
 * The daemons of a lab: their configurations and secrets, their start, and the wait until all
 * answer and every EID is registered. Waiting polls the API with a deadline; nothing sleeps on a
 * guess.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { join, resolve } from 'node:path'
import { parse } from 'yaml'
import {
  formatAddressText,
  parseAddressText,
  parsePrefixText,
  prefixCoversAddress,
} from '../config/address-text.js'
import type { Topology } from '../config/topology-schema.js'
import { apiRequest, listIn } from './api-request.js'
import { compiledFile, labPaths, namespaceFile, packageFile, socketOf } from './names.js'
import { runProgram } from './network.js'
import { recordedProcesses, startProcess } from './processes.js'
import { addressesOf, daemonNodes, type LoadedTopology } from './topology.js'

export type DaemonConfig = Readonly<Record<string, unknown>>

/** Changes a daemon's configuration before it is written; for tests and measurements. */
export type AdjustConfig = (node: string, config: DaemonConfig) => DaemonConfig

/** Writes configurations and random secrets of all daemons into the state of the topology. */
export function writeConfigurations(loaded: LoadedTopology, adjust: AdjustConfig): void {
  const { topology } = loaded
  const directory = labPaths(topology.name).config
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  for (const node of daemonNodes(topology)) {
    const config = adjust(node, daemonConfig(loaded, node))
    for (const secret of secretFiles(config)) {
      const file = join(directory, secret)
      if (existsSync(file)) continue
      writeFileSync(file, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 })
    }
    // JSON is YAML, and quotes everything.
    writeFileSync(configFile(topology.name, node), `${JSON.stringify(config, null, 2)}\n`)
  }
}

/** A node's configuration with what only the lab can know: name, socket, pins, store. */
function daemonConfig({ topology, directory }: LoadedTopology, node: string): DaemonConfig {
  const given = topology.topology.nodes[node]!.config
  const config = (
    typeof given === 'string' ? parse(readFileSync(resolve(directory, given), 'utf8')) : given
  ) as Record<string, Record<string, unknown> | undefined>
  const paths = labPaths(topology.name)
  const datapath = config['datapath'] ?? {}
  const pins = datapath['kind'] === 'none' ? {} : { pinDirectory: join(paths.pins, node) }
  return {
    node,
    ...config,
    datapath: { ...pins, ...datapath },
    api: { socket: socketOf(topology.name, node), ...config['api'] },
    store: { directory: join(paths.state, 'store', node), ...config['store'] },
  }
}

/** Starts the daemon of one node; its output goes to <state>/logs/<node>.log. */
export function startDaemon(topology: Topology, node: string): void {
  startProcess({
    topology: topology.name,
    node,
    name: node,
    command: [
      process.execPath,
      compiledFile('../daemon/main.js'),
      'run',
      configFile(topology.name, node),
    ],
    output: 'log',
  })
}

/** Resolves when the daemon of `node` answers; rejects with its last words when it does not. */
export async function waitUntilHealthy(
  topology: Topology,
  node: string,
  deadlineMs = HEALTH_DEADLINE_MS,
): Promise<void> {
  await poll(deadlineMs, async () => {
    const record = recordedProcesses(topology.name).find(({ name }) => name === node)
    if (record?.running === false) {
      throw new Error(`the daemon of ${node} has ended:\n${lastWords(topology.name, node)}`)
    }
    try {
      const answer = await apiRequest(socketOf(topology.name, node), '/v1/health')
      return answer.status === 200 ? undefined : `health says ${answer.status}`
    } catch (cause) {
      return (cause as Error).message
    }
  }).catch((cause: Error) => {
    throw new Error(`${node}: ${cause.message}\n${lastWords(topology.name, node)}`)
  })
}

/** Every host says on its link who it is, as a machine does that has just started. */
async function announceHosts(topology: Topology): Promise<void> {
  const hosts = Object.entries(topology.topology.nodes).filter(
    ([, { kind }]) => kind === 'endpoint' || kind === 'host',
  )
  await Promise.all(
    hosts.map(([node, { addresses }]) => {
      const commands = Object.entries(addresses).flatMap(([interfaceName, list]) =>
        list.map((text) => {
          const address = text.split('/')[0]!
          return `${PROBE()} announce ${interfaceName} ${isIPv6(address) ? 'na' : 'garp'} ${address}`
        }),
      )
      const netns = `--net=${namespaceFile(topology.name, node)}`
      return runProgram('nsenter', [netns, 'sh', '-c', commands.join(' && ') || ':'])
    }),
  )
}

/**
 * Resolves when the Map-Server knows every static EID-prefix and every host inside a dynamic one.
 * Hosts announce themselves again now and then, since a datapath may attach after the first time.
 */
export async function waitUntilRegistered(
  topology: Topology,
  deadlineMs = REGISTRATION_DEADLINE_MS,
): Promise<void> {
  const servers = daemonNodes(topology).filter((node) =>
    rolesOf(topology, node).includes('map-server'),
  )
  const expected = expectedRegistrations(topology)
  if (servers.length === 0 || expected.length === 0) return
  let turn = 0
  await poll(deadlineMs, async () => {
    if (turn++ % TURNS_PER_ANNOUNCEMENT === 0) await announceHosts(topology)
    const known = new Set<string>()
    for (const server of servers) {
      const { body } = await apiRequest(socketOf(topology.name, server), '/v1/registrations')
      for (const entry of listIn(body)) {
        known.add(String(entry['eidPrefix']).replace(/^\[\d+\]/, ''))
      }
    }
    const missing = expected.filter((prefix) => !known.has(prefix))
    return missing.length === 0 ? undefined : `not registered: ${missing.join(', ')}`
  })
}

/** All EID-prefixes that the Map-Server must know when everything is up, as canonical text. */
export function expectedRegistrations(topology: Topology): string[] {
  const expected = new Set<string>()
  const dynamic = new Set<string>()
  for (const node of daemonNodes(topology)) {
    const config = topology.topology.nodes[node]!.config
    if (typeof config !== 'object') continue
    const own = config as Record<string, { prefix: string }[] | undefined>
    for (const { prefix } of own['eidPrefixes'] ?? []) expected.add(prefix)
    for (const { prefix } of own['dynamicEidPrefixes'] ?? []) dynamic.add(prefix)
  }
  for (const [name, { kind }] of Object.entries(topology.topology.nodes)) {
    if (kind !== 'endpoint' && kind !== 'host') continue
    for (const text of addressesOf(topology, name)) {
      const address = parseAddressText(text)
      if (address === undefined) continue
      const covers = [...dynamic].some((prefix) => {
        const parsed = parsePrefixText(prefix)
        return parsed !== undefined && prefixCoversAddress(parsed, address)
      })
      if (covers) expected.add(`${formatAddressText(address)}/${address.family === 4 ? 32 : 128}`)
    }
  }
  return [...expected]
}

/** The path of the traffic tool. */
export function PROBE(): string {
  return packageFile('build', 'tools', 'godwit-probe')
}

/** The last lines of a daemon's log. */
function lastWords(topology: string, name: string): string {
  try {
    const text = readFileSync(join(labPaths(topology).logs, `${name}.log`), 'utf8')
    return text.trimEnd().split('\n').slice(-LOG_LINES).join('\n')
  } catch {
    return '(no log)'
  }
}

/**
 * Asks until `question` gives undefined; an answer is the reason to go on waiting, and the last
 * one is in the error when `deadlineMs` has passed. A throw of the question ends it at once.
 */
export async function poll(
  deadlineMs: number,
  question: () => Promise<string | undefined>,
): Promise<void> {
  const until = performance.now() + deadlineMs
  for (;;) {
    const reason = await question()
    if (reason === undefined) return
    if (performance.now() > until) throw new Error(`${reason} (waited ${deadlineMs / 1000} s)`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

function configFile(topology: string, node: string): string {
  return join(labPaths(topology).config, `${node}.yaml`)
}

function rolesOf(topology: Topology, node: string): readonly string[] {
  const config = topology.topology.nodes[node]!.config
  return typeof config === 'object' ? ((config['roles'] as string[] | undefined) ?? []) : []
}

/** All values of `secretFile` without a slash, wherever they are. */
function secretFiles(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    key === 'secretFile' && typeof inner === 'string' && !inner.includes('/')
      ? [inner]
      : secretFiles(inner),
  )
}

const HEALTH_DEADLINE_MS = 60_000
const REGISTRATION_DEADLINE_MS = 60_000
const POLL_MS = 20
const TURNS_PER_ANNOUNCEMENT = 50
const LOG_LINES = 15
