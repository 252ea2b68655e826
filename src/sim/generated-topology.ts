/**
 * Topologies from numbers, for swarms and for scale: clouds that endpoints move between, customer
 * sites that talk to them, one mapping node. The same form as a file in topologies/.
 */
import type { NodeKind, Topology, TopologyNode } from '../config/topology-schema.js'

export interface GeneratedSize {
  /** 1–200. */
  readonly clouds: number
  /** Customer sites with one host each, 0–200. */
  readonly customers: number
  /** Endpoints that can be plugged into every cloud, 1–60,000; all begin in turn. */
  readonly endpoints: number
  /** Both families, or IPv4 alone. */
  readonly dualStack: boolean
  /** The Map-Server answers for the sites (P bit), or forwards to them. */
  readonly proxyReply: boolean
}

interface Key {
  readonly id: number
  readonly secretFile: string
}

const INSTANCE_ID = 7
const MAP_SERVER = '192.0.2.250'

/** A valid topology of that size; its names are cloud-1…, customer-1…, vm-1…, mapping. */
export function generateTopology(size: GeneratedSize): Topology {
  const nodes: Record<string, TopologyNode> = {}
  const links: Topology['topology']['links'] = []
  const link = (one: string, other: string): void => {
    links.push({ endpoints: [one, other], mtu: 1500 })
  }
  const clouds = range(size.clouds).map((index) => `cloud-${index}`)
  for (const index of range(size.clouds)) nodes[`cloud-${index}`] = cloud(size, index)
  for (const index of range(size.customers)) {
    nodes[`customer-${index}`] = customer(size, index)
    nodes[`host-${index}`] = node('host', {
      addresses: { eth0: both(size, `10.20.${index}.2/24`, `fd00:20:${index}::2/64`) },
    })
    link(`customer-${index}:site0`, `host-${index}:eth0`)
  }
  for (const index of range(size.endpoints)) {
    const [high, low] = [index >> 8, index & 0xff]
    nodes[`vm-${index}`] = node('endpoint', {
      addresses: {
        eth0: both(size, `10.10.${high}.${low}/16`, `fd00:10::${index.toString(16)}/64`),
      },
    })
    const active = clouds[(index - 1) % clouds.length]!
    const legs = Object.fromEntries(clouds.map((name, at) => [name, `leg${at + 1}`]))
    nodes[`panel-${index}`] = node('panel', { panel: { port: 'vm', legs, active } })
    link(`vm-${index}:eth0`, `panel-${index}:vm`)
    for (const [at, name] of clouds.entries())
      link(`panel-${index}:leg${at + 1}`, `${name}:vm${index}`)
  }
  nodes['mapping'] = mapping(size)
  return { name: 'generated', topology: { nodes, links }, moves: [] }
}

function cloud(size: GeneratedSize, index: number): TopologyNode {
  const ports = range(size.endpoints).map((endpoint) => `vm${endpoint}`)
  return node('xtr', {
    bridges: { br0: { ports, addresses: [] } },
    config: {
      ...xtr(size, `192.0.2.${index}`, { id: index, secretFile: `clouds-${index}.key` }, 'br0'),
      dynamicEidPrefixes: prefixes(size, '10.10.0.0/16', 'fd00:10::/64', 'br0'),
      mobility: { key: { secretFile: 'mobility.key' } },
    },
  })
}

function customer(size: GeneratedSize, index: number): TopologyNode {
  return node('xtr', {
    config: {
      ...xtr(size, `198.51.100.${index}`, { id: 1, secretFile: `customer-${index}.key` }, 'site0'),
      eidPrefixes: prefixes(size, `10.20.${index}.0/24`, `fd00:20:${index}::/64`, 'site0'),
    },
  })
}

function xtr(size: GeneratedSize, rloc: string, key: Key, site: string) {
  return {
    roles: ['itr', 'etr'],
    rlocs: [{ address: rloc, interface: 'core0' }],
    siteInterfaces: [{ name: site, instanceId: INSTANCE_ID }],
    mapServers: [{ address: MAP_SERVER, key, proxyReply: size.proxyReply }],
    mapResolvers: [MAP_SERVER],
  }
}

function mapping(size: GeneratedSize): TopologyNode {
  const open = { acceptMoreSpecifics: true }
  const cloudKeys = range(size.clouds).map((index) => ({
    id: index,
    secretFile: `clouds-${index}.key`,
  }))
  const sites = range(size.customers).map((index) => ({
    name: `customer-${index}`,
    keys: [{ id: 1, secretFile: `customer-${index}.key` }],
    prefixes: prefixes(size, `10.20.${index}.0/24`, `fd00:20:${index}::/64`),
  }))
  const shared = prefixes(size, '10.10.0.0/16', 'fd00:10::/64')
  const clouds = {
    name: 'clouds',
    keys: cloudKeys,
    prefixes: shared.map((one) => ({ ...one, ...open })),
  }
  return node('mapping', {
    config: {
      roles: ['map-server', 'map-resolver'],
      rlocs: [{ address: MAP_SERVER, interface: 'core0' }],
      datapath: { kind: 'none' },
      mapServer: { sites: [clouds, ...sites] },
    },
  })
}

function prefixes(size: GeneratedSize, v4: string, v6: string, site?: string) {
  const where = site === undefined ? {} : { interface: site }
  return both(size, v4, v6).map((prefix) => ({ prefix, instanceId: INSTANCE_ID, ...where }))
}

function both(size: GeneratedSize, v4: string, v6: string): string[] {
  return size.dualStack ? [v4, v6] : [v4]
}

function node(kind: NodeKind, about: Partial<TopologyNode>): TopologyNode {
  // The schema's union of literals comes from a list, which its static type does not follow.
  const given = { kind, addresses: {}, macs: {}, routes: [], bridges: {}, ...about }
  return given as unknown as TopologyNode
}

/** 1 … count. */
function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1)
}
