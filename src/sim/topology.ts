/**
 * From a topology file to what the simulator runs: nodes with their configurations, hosts with their
 * EIDs, and where each host may be plugged in. The same files describe labs of network namespaces;
 * routers and links mean paths there and nothing here (delays are drawn, not configured).
 *
 * Secrets are made from the names of their files: equal names, equal secrets, as in a lab.
 */
import { parseAddressText } from '../config/address-text.js'
import type { ConfigError } from '../config/config-error.js'
import { parseConfig } from '../config/load.js'
import type { NodeConfig } from '../config/node-config.js'
import type { Config } from '../config/schema.js'
import type { Topology, TopologyMove } from '../config/topology-schema.js'
import { type MacAddress, parseMac } from '../lisp/address.js'
import { coversEid, type Eid } from '../lisp/eid.js'

export interface SimulatedTopology {
  readonly name: string
  readonly nodes: readonly NodeSpecification[]
  readonly hosts: readonly HostSpecification[]
  readonly moves: readonly TopologyMove[]
}

export interface NodeSpecification {
  readonly name: string
  readonly config: Config
  readonly nodeConfig: NodeConfig
  /** Has a datapath. */
  readonly forwards: boolean
}

/** Where a host can be plugged in. */
export interface Socket {
  readonly site: string
  readonly interfaceName: string
}

export interface HostSpecification {
  readonly name: string
  readonly eids: readonly Eid[]
  readonly mac: MacAddress
  /** One for a host that stays. */
  readonly sockets: readonly Socket[]
  /** Index into `sockets`. */
  readonly initial: number
}

export type SimulatedTopologyResult =
  | { readonly ok: true; readonly topology: SimulatedTopology }
  | { readonly ok: false; readonly errors: readonly ConfigError[] }

/**
 * @param readText gives the text of a configuration that the topology names as a file
 * @returns all errors of all configurations, with the node in the path
 */
export function readSimulatedTopology(
  topology: Topology,
  readText: (file: string) => string,
): SimulatedTopologyResult {
  const nodes: NodeSpecification[] = []
  const errors: ConfigError[] = []
  for (const [name, node] of Object.entries(topology.topology.nodes)) {
    if (node.config === undefined) continue
    const text =
      typeof node.config === 'string'
        ? readText(node.config)
        : JSON.stringify({ node: name, ...node.config })
    const result = parseConfig(text, (file) => ({
      ok: true,
      text: `secret of ${file}`,
      worldReadable: false,
    }))
    if (!result.ok) {
      for (const error of result.errors)
        errors.push({ ...error, path: `topology.nodes.${name}.config.${error.path}` })
      continue
    }
    const { config, nodeConfig } = result
    nodes.push({ name, config, nodeConfig, forwards: config.datapath.kind !== 'none' })
  }
  if (errors.length > 0) return { ok: false, errors }
  const hosts = Object.keys(topology.topology.nodes).flatMap((name, index) =>
    hostNamed(topology, nodes, name, index),
  )
  return { ok: true, topology: { name: topology.name, nodes, hosts, moves: topology.moves } }
}

function hostNamed(
  topology: Topology,
  nodes: readonly NodeSpecification[],
  name: string,
  index: number,
): HostSpecification[] {
  const node = topology.topology.nodes[name]!
  if (node.kind !== 'host' && node.kind !== 'endpoint') return []
  for (const [interfaceName, texts] of Object.entries(node.addresses)) {
    const plug = otherEnd(topology, `${name}:${interfaceName}`)
    if (plug === undefined) continue
    const { sockets, initial } = socketsBehind(topology, plug)
    const spec = nodes.find((one) => one.name === sockets[initial]?.site)
    if (spec === undefined) continue
    const eids = texts.flatMap((text) => eidsOf(spec, sockets[initial]!, text))
    if (eids.length === 0) continue
    const given = node.macs[interfaceName]
    const made = Uint8Array.of(2, 0x68, 0, 0, index >> 8, index & 0xff)
    const mac = (given === undefined ? undefined : parseMac(given)) ?? made
    return [{ name, eids, mac, sockets, initial }]
  }
  return []
}

/** The address as an EID, if the node is responsible for it. */
function eidsOf({ nodeConfig }: NodeSpecification, socket: Socket, text: string): Eid[] {
  const address = parseAddressText(text.split('/')[0]!)
  const site = nodeConfig.siteInterfaces.find((one) => one.name === socket.interfaceName)
  if (address === undefined || site === undefined) return []
  const eid = { instanceId: site.instanceId, address }
  const own = [...nodeConfig.eidPrefixes, ...nodeConfig.dynamicEidPrefixes]
  return own.some(({ eidPrefix }) => coversEid(eidPrefix, eid)) ? [eid] : []
}

/** A host hangs on an xTR, or on a panel with a leg to each xTR it may move to. */
function socketsBehind(
  topology: Topology,
  plug: string,
): { sockets: readonly Socket[]; initial: number } {
  const [name = '', interfaceName = ''] = plug.split(':')
  const node = topology.topology.nodes[name]
  if (node?.panel === undefined || node.panel.port !== interfaceName)
    return { sockets: [socketAt(topology, plug)], initial: 0 }
  const sites = Object.keys(node.panel.legs)
  const sockets = sites.map((site) => {
    const leg = otherEnd(topology, `${name}:${node.panel!.legs[site]}`)
    return leg === undefined ? { site, interfaceName: '' } : socketAt(topology, leg)
  })
  return { sockets, initial: sites.indexOf(node.panel.active) }
}

/** A port of a bridge stands for the bridge. */
function socketAt(topology: Topology, plug: string): Socket {
  const [site = '', interfaceName = ''] = plug.split(':')
  const bridges = Object.entries(topology.topology.nodes[site]?.bridges ?? {})
  const bridge = bridges.find(([, { ports }]) => ports.includes(interfaceName))
  return { site, interfaceName: bridge?.[0] ?? interfaceName }
}

function otherEnd(topology: Topology, plug: string): string | undefined {
  for (const { endpoints } of topology.topology.links) {
    if (endpoints[0] === plug) return endpoints[1]
    if (endpoints[1] === plug) return endpoints[0]
  }
  return undefined
}
