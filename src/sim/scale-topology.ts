/**
 * A thousand sites without a file: every site is an xTR, every EID lives at one of them and may move
 * to any other, one mapping node knows all. A file of the lab's form would need a link from each EID
 * to each site (a hundred million of them); here all hosts share one list of sockets.
 *
 * Sites sign with one of 250 keys, because a key ID is one byte on the wire (RFC 9301 §5.6).
 */
import { parseConfig } from '../config/load.js'
import { ipAddress } from '../lisp/address.js'
import type { Eid } from '../lisp/eid.js'
import type { HostSpecification, NodeSpecification, SimulatedTopology, Socket } from './topology.js'

export interface ScaleSize {
  /** 2–1,000. */
  readonly sites: number
  /** EIDs per site at the beginning, 1–100. */
  readonly eids: number
}

const MAXIMUM_SITES = 1000
export const MAXIMUM_EIDS = 100

/** Throws RangeError beyond the bounds. Nodes are site-1…, mapping; hosts eid-1…, dealt in turn. */
export function createScaleTopology({ sites, eids }: ScaleSize): SimulatedTopology {
  if (!(Number.isInteger(sites) && sites >= 2 && sites <= MAXIMUM_SITES))
    throw new RangeError(`${sites} sites: 2 to ${MAXIMUM_SITES} are possible`)
  if (!(Number.isInteger(eids) && eids >= 1 && eids <= MAXIMUM_EIDS))
    throw new RangeError(`${eids} EIDs per site: 1 to ${MAXIMUM_EIDS} are possible`)
  const nodes = Array.from({ length: sites }, (_, index) => siteNode(index + 1))
  const sockets = nodes.map(({ name }): Socket => ({ site: name, interfaceName: 'site0' }))
  const hosts = Array.from({ length: sites * eids }, (_, index): HostSpecification => {
    const name = `eid-${index + 1}`
    const mac = Uint8Array.of(2, 0x73, 0, index >> 16, (index >> 8) & 0xff, index & 0xff)
    return { name, eids: [eidOf(index + 1)], mac, sockets, initial: index % sites }
  })
  const name = `${sites} sites of ${eids} EIDs`
  return { name, nodes: [...nodes, mappingNode(Math.min(sites, KEYS))], hosts, moves: [] }
}

function siteNode(index: number): NodeSpecification {
  const keyId = ((index - 1) % KEYS) + 1
  const [high, low] = [index >> 8, index & 0xff]
  return nodeOf(`site-${index}`, {
    roles: ['itr', 'etr'],
    rlocs: [{ address: `172.16.${high}.${low}`, interface: 'core0' }],
    siteInterfaces: [{ name: 'site0', instanceId: INSTANCE_ID }],
    dynamicEidPrefixes: [{ ...ALL_EIDS, interface: 'site0' }],
    mapServers: [{ address: MAP_SERVER, key: { id: keyId, secretFile: `${keyId}.key` } }],
    mapResolvers: [MAP_SERVER],
    mobility: { key: { secretFile: 'mobility.key' } },
    // Each xTR probes whomever it sends to; once a minute, so that moves are not lost among probes.
    rlocProbe: { intervalSeconds: 60 },
  })
}

function mappingNode(keys: number): NodeSpecification {
  const all = Array.from({ length: keys }, (_, index) => ({
    id: index + 1,
    secretFile: `${index + 1}.key`,
  }))
  const prefixes = [{ ...ALL_EIDS, acceptMoreSpecifics: true }]
  return nodeOf('mapping', {
    roles: ['map-server', 'map-resolver'],
    rlocs: [{ address: MAP_SERVER, interface: 'core0' }],
    datapath: { kind: 'none' },
    mapServer: { sites: [{ name: 'sites', keys: all, prefixes }] },
  })
}

function nodeOf(name: string, config: object): NodeSpecification {
  const result = parseConfig(JSON.stringify({ node: name, ...config }), (file) => ({
    ok: true,
    text: `secret of ${file}`,
    worldReadable: false,
  }))
  // We wrote it ourselves.
  if (!result.ok) throw new Error(`${name}: ${JSON.stringify(result.errors[0])}`)
  const forwards = result.config.datapath.kind !== 'none'
  return { name, config: result.config, nodeConfig: result.nodeConfig, forwards }
}

/** 10.0.0.1, 10.0.0.2 … */
function eidOf(number: number): Eid {
  const bytes = Uint8Array.of(10, number >> 16, (number >> 8) & 0xff, number & 0xff)
  return { instanceId: INSTANCE_ID, address: ipAddress(bytes) }
}

const INSTANCE_ID = 7
const ALL_EIDS = { prefix: '10.0.0.0/8', instanceId: INSTANCE_ID }
const MAP_SERVER = '172.31.255.1'
const KEYS = 250
