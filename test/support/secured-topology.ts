/**
 * A topology of the simulator in which every node uses LISP-SEC (RFC 9303) and answers and believes
 * nothing else: one key for ITRs, one between Map-Resolvers and Map-Servers, one for ETRs.
 */
import type { NodeConfig, WrappingKey } from '../../src/config/node-config.js'
import type { SimulatedTopology } from '../../src/sim/topology.js'

const wrapping = (text: string, keyId: number): WrappingKey => {
  return { keyId, wrapping: 2, secret: new TextEncoder().encode(`secret of ${text}`) }
}
const ITRS = wrapping('itrs', 1)
const SERVERS = wrapping('map-servers', 2)
const ETRS = wrapping('etrs', 3)

export function securedTopology(topology: SimulatedTopology): SimulatedTopology {
  const nodes = topology.nodes.map((node) => ({ ...node, nodeConfig: secured(node.nodeConfig) }))
  return { ...topology, nodes }
}

function secured(config: NodeConfig): NodeConfig {
  const sites = config.mapServer.sites.map((site) => {
    return { ...site, security: { mode: 'require', key: ETRS } as const }
  })
  return {
    ...config,
    security: {
      mode: 'require',
      mapResolvers: config.mapResolvers.map((address) => ({ address, key: ITRS })),
      requesterKeys: [ITRS, SERVERS],
      mapServers: [{ address: undefined, key: SERVERS }],
    },
    mapServers: config.mapServers.map((server) => {
      return { ...server, security: { mode: 'require', keys: [ETRS] } as const }
    }),
    mapServer: { ...config.mapServer, sites },
  }
}
