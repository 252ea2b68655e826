/**
 * Reads a topology file: YAML → schema with defaults → cross checks. All errors come back at once,
 * each with path, problem and hint. Also answers the questions that a reader of a topology asks
 * (who is at the other end of a link, which panel carries an endpoint). Builds nothing.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseDocument } from 'yaml'
import { validateTopology } from '../config/compiled-validators.js'
import { type ConfigError, formatConfigPath } from '../config/config-error.js'
import { schemaFindings } from '../config/schema-findings.js'
import { type Topology, type TopologyNode, TopologySchema } from '../config/topology-schema.js'

export interface LoadedTopology {
  readonly topology: Topology
  /** Where files named in the topology are looked for. */
  readonly directory: string
}

export type TopologyResult =
  | ({ readonly ok: true } & LoadedTopology)
  | { readonly ok: false; readonly errors: readonly ConfigError[] }

export interface InterfaceReference {
  readonly node: string
  readonly interfaceName: string
}

/** Reads and checks the file at `path`. */
export function loadTopology(path: string): TopologyResult {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const problem = `cannot be read: ${(cause as Error).message}`
    return { ok: false, errors: [{ path: '', problem, hint: 'see topologies/ for examples' }] }
  }
  const result = parseTopology(text)
  return result.ok ? { ...result, directory: dirname(resolve(path)) } : result
}

/** Checks a topology given as YAML text. */
export function parseTopology(text: string): TopologyResult {
  const document = parseDocument(text, { uniqueKeys: true })
  const yamlErrors = document.errors.map((error) => ({
    path: '',
    problem: `is not valid YAML: ${error.message.split('\n')[0]}`,
    hint: 'check indentation and quotes',
  }))
  if (yamlErrors.length > 0) return { ok: false, errors: yamlErrors }
  const filled: unknown = document.toJS({ maxAliasCount: 100 })
  const checked = { schema: TopologySchema, validate: validateTopology }
  const findings = schemaFindings(checked, filled)
  if (findings.length > 0) {
    const errors = findings.map(({ keys, problem, hint }) => ({
      path: formatConfigPath(keys),
      problem,
      hint,
    }))
    return { ok: false, errors }
  }
  const topology = filled as Topology
  const errors = crossCheck(topology)
  return errors.length > 0 ? { ok: false, errors } : { ok: true, topology, directory: '.' }
}

/** `node:interface` as two names. */
export function parseEndpoint(text: string): InterfaceReference {
  const at = text.indexOf(':')
  return { node: text.slice(0, at), interfaceName: text.slice(at + 1) }
}

/** The names of all interfaces of `node`, in the order of the links. */
export function interfacesOf(topology: Topology, node: string): string[] {
  return topology.topology.links
    .flatMap((link) => link.endpoints.map(parseEndpoint))
    .filter((endpoint) => endpoint.node === node)
    .map((endpoint) => endpoint.interfaceName)
}

/**
 * The other end of the link that ends in `node`:`interfaceName`, or undefined when there is none.
 */
export function peerOf(
  topology: Topology,
  node: string,
  interfaceName: string,
): InterfaceReference | undefined {
  for (const { endpoints } of topology.topology.links) {
    const [first, second] = [parseEndpoint(endpoints[0]!), parseEndpoint(endpoints[1]!)]
    if (first.node === node && first.interfaceName === interfaceName) return second
    if (second.node === node && second.interfaceName === interfaceName) return first
  }
  return undefined
}

/** The panel that `endpoint` is plugged into, or undefined when it cannot move. */
export function panelOf(topology: Topology, endpoint: string): string | undefined {
  for (const [name, node] of Object.entries(topology.topology.nodes)) {
    if (node.panel && peerOf(topology, name, node.panel.port)?.node === endpoint) return name
  }
  return undefined
}

/** The nodes that run godwitd, in the order of the file. */
export function daemonNodes(topology: Topology): string[] {
  return Object.entries(topology.topology.nodes)
    .filter(([, node]) => node.config !== undefined)
    .map(([name]) => name)
}

/** The addresses of a node's interface (or bridge) without their prefix lengths. */
export function addressesOf(topology: Topology, node: string): string[] {
  const { addresses, bridges } = topology.topology.nodes[node]!
  const all = [
    ...Object.values(addresses).flat(),
    ...Object.values(bridges).flatMap((bridge) => bridge.addresses),
  ]
  return all.map((address) => address.split('/')[0]!)
}

function crossCheck(topology: Topology): ConfigError[] {
  const errors: ConfigError[] = []
  const nodes = topology.topology.nodes
  const seen = new Set<string>()
  topology.topology.links.forEach((link, index) => {
    for (const text of link.endpoints) {
      const path = `topology.links[${index}].endpoints`
      const { node } = parseEndpoint(text)
      if (nodes[node] === undefined) {
        errors.push({ path, problem: `there is no node ${node}`, hint: named(nodes) })
      }
      if (seen.has(text)) {
        errors.push({ path, problem: `${text} has a link already`, hint: 'one link per interface' })
      }
      seen.add(text)
    }
  })
  for (const [name, node] of Object.entries(nodes)) errors.push(...checkNode(topology, name, node))
  topology.moves.forEach((move, index) => {
    const path = `moves[${index}]`
    const panel = panelOf(topology, move.endpoint)
    if (panel === undefined) {
      const problem = `${move.endpoint} is not plugged into a panel`
      errors.push({ path: `${path}.endpoint`, problem, hint: 'only such endpoints can move' })
    } else if (nodes[panel]?.panel?.legs[move.to] === undefined) {
      const hint = `its legs: ${Object.keys(nodes[panel]?.panel?.legs ?? {}).join(', ')}`
      errors.push({ path: `${path}.to`, problem: `${panel} has no leg to ${move.to}`, hint })
    }
  })
  return errors
}

function checkNode(topology: Topology, name: string, node: TopologyNode): ConfigError[] {
  const errors: ConfigError[] = []
  const own = new Set(interfacesOf(topology, name))
  const path = `topology.nodes.${name}`
  const hint = `interfaces with a link: ${[...own].join(', ') || 'none'}`
  const wanted = [
    ...Object.keys(node.addresses).map((key) => [`addresses.${key}`, key] as const),
    ...Object.keys(node.macs).map((key) => [`macs.${key}`, key] as const),
    ...Object.entries(node.bridges).flatMap(([bridge, { ports }]) =>
      ports.map((port) => [`bridges.${bridge}.ports`, port] as const),
    ),
    ...(node.panel ? [node.panel.port, ...Object.values(node.panel.legs)] : []).map(
      (key) => ['panel', key] as const,
    ),
  ]
  for (const [where, key] of wanted) {
    if (!own.has(key))
      errors.push({ path: `${path}.${where}`, problem: `no link ends in ${key}`, hint })
  }
  const runsDaemon = node.kind === 'xtr' || node.kind === 'mapping'
  if (runsDaemon && node.config === undefined) {
    errors.push({ path: `${path}.config`, problem: 'missing', hint: `a ${node.kind} runs godwitd` })
  }
  if ((node.kind === 'panel') !== (node.panel !== undefined)) {
    errors.push({
      path: `${path}.panel`,
      problem: 'a panel, and only it, has legs',
      hint: 'see kind',
    })
  }
  if (node.panel && node.panel.legs[node.panel.active] === undefined) {
    const legs = Object.keys(node.panel.legs).join(', ')
    errors.push({ path: `${path}.panel.active`, problem: 'is not a leg', hint: `legs: ${legs}` })
  }
  if (node.panel && Object.keys(node.panel.legs).length > MAXIMUM_LEGS) {
    errors.push({
      path: `${path}.panel.legs`,
      problem: 'too many',
      hint: `at most ${MAXIMUM_LEGS}`,
    })
  }
  return errors
}

function named(nodes: Topology['topology']['nodes']): string {
  return `nodes: ${Object.keys(nodes).join(', ')}`
}

/** The size of `legs` in the panel's BPF map. */
const MAXIMUM_LEGS = 8
