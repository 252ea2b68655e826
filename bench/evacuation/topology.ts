/**
 * The network of an evacuation: topologies/two-clouds.yaml with a farm of endpoints in each cloud.
 *
 * A farm is one namespace that carries the address of every endpoint that runs there. An endpoint
 * stops when its address is taken from one farm, and runs when the other has it: each moves by itself,
 * and a packet that comes where it is not any more is lost as it is with a machine.
 */

import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { packageFile } from '../../src/lab/names.js'
import { type LoadedTopology, parseTopology } from '../../src/lab/topology.js'

export const FARMS = { 'cloud-a': 'farm-a', 'cloud-b': 'farm-b' } as const
export const EVACUATION_INSTANCE_ID = 7

/** The address of the endpoint of that number, from 0. */
export function endpointAddress(number: number): string {
  return `10.40.${FIRST_BLOCK + Math.floor(number / 250)}.${1 + (number % 250)}`
}

/** Two clouds with farms, under the name given. */
export function evacuationTopology(name: string): LoadedTopology {
  const text = readFileSync(packageFile('topologies', 'two-clouds.yaml'), 'utf8')
  const document = parse(text) as Document
  const { nodes, links } = document.topology
  Object.entries(FARMS).forEach(([cloud, farm], index) => {
    const { bridges, config } = nodes[cloud]!
    bridges!['br0']!.addresses.push(GATEWAY)
    bridges!['br0']!.ports.push(farm)
    config!.dynamicEidPrefixes!.push({
      prefix: PREFIX,
      instanceId: EVACUATION_INSTANCE_ID,
      interface: 'br0',
    })
    nodes[farm] = {
      kind: 'host',
      macs: { eth0: MAC },
      addresses: { eth0: [`10.40.0.${index + 2}/16`] },
      routes: [{ to: 'default', via: '10.40.0.1' }],
    }
    links.push({ endpoints: [`${cloud}:${farm}`, `${farm}:eth0`] })
  })
  const site = nodes['mapping']!.config!.mapServer!.sites[0]!
  site.prefixes.push({
    prefix: PREFIX,
    instanceId: EVACUATION_INSTANCE_ID,
    acceptMoreSpecifics: true,
  })
  const result = parseTopology(JSON.stringify({ ...document, name, moves: [] }))
  if (!result.ok) throw new Error(`the topology is wrong: ${JSON.stringify(result.errors)}`)
  return result
}

/** Of the file, what is added to. */
interface Document {
  readonly topology: {
    readonly nodes: Record<string, NodeText>
    readonly links: { readonly endpoints: readonly string[] }[]
  }
}

interface NodeText {
  readonly bridges?: Record<string, { addresses: string[]; ports: string[] }>
  readonly config?: {
    readonly dynamicEidPrefixes?: object[]
    readonly mapServer?: { readonly sites: { readonly prefixes: object[] }[] }
  }
  readonly [field: string]: unknown
}

const PREFIX = '10.40.0.0/16'
/** A machine takes its MAC address along, and the source tells the destination which it is. */
const MAC = '02:00:0a:28:00:01'
const GATEWAY = '10.40.0.1/16'
/** 10.40.0.x is the gateway's and the farms' own. */
const FIRST_BLOCK = 1
