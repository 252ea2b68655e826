/**
 * Who copies a group to whom just now, as one line: what the nodes' own APIs say, put together.
 */
import type { Topology } from '../../config/topology-schema.js'
import { apiRequest } from '../../lab/api-request.js'
import { socketOf } from '../../lab/names.js'
import { addressesOf, daemonNodes } from '../../lab/topology.js'

interface GroupAnswer {
  readonly group: string
  readonly side: string
  readonly copies: readonly string[]
  readonly interfaces: readonly string[]
}

/** `origin → north, relay1 (→ east, west)`: who copies `[7](S,G)` when its source is at `from`. */
export async function describeTree(
  topology: Topology,
  group: string,
  from: string,
): Promise<string> {
  const nodes = daemonNodes(topology)
  const names = new Map(
    nodes.flatMap((node) => addressesOf(topology, node).map((rloc) => [rloc, node])),
  )
  const hops = await Promise.all(
    nodes.map(async (node) => {
      const entry = (await groupsOf(topology, node)).find(
        (one) => one.group === group && one.side !== 'map-server',
      )
      const to = (entry?.copies ?? []).map((rloc) => names.get(rloc) ?? rloc).sort()
      return { node, to, isRelay: entry?.side === 'relay' }
    }),
  )
  const first = hops.find(({ node }) => node === from)?.to ?? []
  const below = (node: string): string => {
    const to = hops.find((one) => one.node === node && one.isRelay)?.to ?? []
    return to.length > 0 ? `${node} (→ ${to.join(', ')})` : node
  }
  return `${from} → ${first.map(below).join(', ') || 'nobody'}`
}

/** RLOCs that all nodes together copy each packet of `[7](S,G)` to. */
export async function copiesOf(topology: Topology, group: string): Promise<readonly string[]> {
  const all = await Promise.all(daemonNodes(topology).map((node) => groupsOf(topology, node)))
  const entries = all.flat().filter((one) => one.group === group && one.side !== 'map-server')
  return entries.flatMap(({ copies }) => copies)
}

/** All groups of a node, as its API says them. */
async function groupsOf(topology: Topology, node: string): Promise<readonly GroupAnswer[]> {
  const { body } = await apiRequest(socketOf(topology.name, node), '/v1/multicast/groups')
  return (body as { groups: readonly GroupAnswer[] }).groups
}
