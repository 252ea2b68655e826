/**
 * A delegation tree to walk through: DDT nodes, Map-Servers and a Map-Resolver at fixed addresses, each
 * a whole node, with a wire between them that can be cut, forged and listened to.
 *
 *   root .1 ── 10/8, 2001:db8::/32 → .11 and .12 ── 10.1/16 → Map-Servers .21 and .22
 *          └── [7] whole → Map-Server .31          ├─ 2001:db8:500::/40 → Map-Server .23
 *                                                  └─ 10.66/16 → .13, which sends back: a loop
 */
import type { DdtConfig, NodeConfig } from '../../src/config/node-config.js'
import type { Capabilities } from '../../src/control/capabilities.js'
import { encodeSigned } from '../../src/lisp/authentication.js'
import { type EncapsulatedControl, encodeMessage, type MapRequest } from '../../src/lisp/message.js'
import {
  aKey,
  aMapping,
  aMapRegister,
  aMapRequest,
  aNodeConfig,
  anAddress,
  aPrefix,
  aSite,
  hmac,
} from './builders.js'
import { createConversation, type Reaction, type SentMessage } from './conversation.js'

export const RESOLVER = '192.0.2.50'
export const ITR = '198.51.100.1'
export const ETR = '198.51.100.9'

export type Conversation = ReturnType<typeof createConversation>

export function aDdt(about: Partial<DdtConfig> = {}): DdtConfig {
  return { ...aNodeConfig().ddt, ...about }
}

export function toNodes(prefix: string, ...nodes: string[]): DdtConfig['delegations'][number] {
  return { eidPrefix: aPrefix(prefix), nodes: nodes.map(anAddress), mapServers: [] }
}

export function toMapServers(prefix: string, ...servers: string[]) {
  return { eidPrefix: aPrefix(prefix), nodes: [], mapServers: servers.map(anAddress) }
}

export function aTreeNode(address: string, about: Partial<NodeConfig>): NodeConfig {
  const rlocs = [{ address: anAddress(address), interfaceName: 'core', priority: 1, weight: 100 }]
  return aNodeConfig({ node: address, roles: ['ddt-node'], rlocs, ...about })
}

/** Everything of the figure above; `about` replaces nodes or adds some. */
export function treeConfigs(about: readonly NodeConfig[] = []): NodeConfig[] {
  const peers = ['192.0.2.21', '192.0.2.22'].map(anAddress)
  const site = aSite({
    prefixes: [{ eidPrefix: aPrefix('10.1.0.0/16'), acceptMoreSpecifics: true }],
  })
  const fixed = (name: string, prefix: string) =>
    aSite({ name, prefixes: [{ eidPrefix: aPrefix(prefix), acceptMoreSpecifics: false }] })
  const serves = (sites: ReturnType<typeof aSite>[]): Partial<NodeConfig> => ({
    roles: ['map-server'],
    mapServer: { ...aNodeConfig().mapServer, sites },
  })
  const second = {
    authoritative: [aPrefix('10.0.0.0/8'), aPrefix('2001:db8::/32')],
    delegations: [
      toMapServers('10.1.0.0/16', '192.0.2.21', '192.0.2.22'),
      toMapServers('2001:db8:500::/40', '192.0.2.23'),
      toNodes('10.66.0.0/16', '192.0.2.13'),
    ],
  }
  const standard = [
    aTreeNode('192.0.2.1', {
      ddt: aDdt({
        root: true,
        delegations: [
          toNodes('10.0.0.0/8', '192.0.2.11', '192.0.2.12'),
          toNodes('2001:db8::/32', '192.0.2.11', '192.0.2.12'),
          toMapServers('[7]0.0.0.0/0', '192.0.2.31'),
          toMapServers('[7]::/0', '192.0.2.31'),
        ],
      }),
    }),
    aTreeNode('192.0.2.11', { ddt: aDdt(second) }),
    aTreeNode('192.0.2.12', { ddt: aDdt(second) }),
    aTreeNode('192.0.2.13', {
      ddt: aDdt({
        authoritative: [aPrefix('10.66.0.0/16')],
        delegations: [toNodes('10.66.0.0/16', '192.0.2.11')],
      }),
    }),
    aTreeNode('192.0.2.21', { ...serves([site]), ddt: aDdt({ peers }) }),
    aTreeNode('192.0.2.22', { ...serves([site]), ddt: aDdt({ peers }) }),
    aTreeNode('192.0.2.23', {
      ...serves([fixed('one', '2001:db8:500:1::/64'), fixed('two', '2001:db8:500:2::/64')]),
      ddt: aDdt({ authoritative: [aPrefix('2001:db8:500::/48')] }),
    }),
    aTreeNode('192.0.2.31', serves([fixed('seven', '[7]10.7.0.0/16')])),
    aTreeNode(RESOLVER, {
      roles: ['map-resolver'],
      ddt: aDdt({ roots: [anAddress('192.0.2.1')] }),
    }),
  ]
  const replaced = new Set(about.map(({ node }) => node))
  return [...standard.filter(({ node }) => !replaced.has(node)), ...about]
}

export function createTree(
  configs: readonly NodeConfig[] = treeConfigs(),
  able: Partial<Capabilities> = {},
) {
  const nodes = new Map<string, Conversation>()
  for (const config of configs) nodes.set(config.node, createConversation(config, {}, 1, able))
  const dead = new Set<string>()
  const reactions: Reaction[] = []
  /** What left the tree: to ITRs and ETRs. */
  const left: SentMessage[] = []
  /** What was carried within. */
  const carried: SentMessage[] = []
  let now = 0

  const carry = (reaction: Reaction): void => {
    reactions.push(reaction)
    for (const sent of reaction.sent) {
      const node = nodes.get(sent.to)
      if (node === undefined) {
        left.push(sent)
        continue
      }
      carried.push(sent)
      if (dead.has(sent.to) || dead.has(sent.from)) continue
      if (carried.length > 10_000) throw new Error('messages without end')
      for (let copies = tree.fate(); copies > 0; copies -= 1) {
        carry(node.bytes(now, sent.from, sent.bytes))
      }
    }
  }

  const tree = {
    /** How often the next message is delivered. */
    fate: (): number => 1,
    nodes,
    dead,
    left,
    carried,
    reactions,
    get now() {
      return now
    },
    /** 'from → to kind' of what was carried, Map-Referrals with their action. */
    get path(): string[] {
      return carried.map(({ from, to, message, inner }) => {
        const what =
          message.kind === 'map-referral' ? message.records[0]!.action : (inner ?? message).kind
        return `${from.slice(7)} → ${to.slice(7)} ${what}`
      })
    },
    names: () => reactions.flatMap((one) => one.names),
    forget(): void {
      for (const list of [left, carried, reactions]) list.length = 0
    },
    deliver(to: string, from: string, bytes: Uint8Array): void {
      carry(nodes.get(to)!.bytes(now, from, bytes))
    },
    register(mapServer: string, eidPrefix: string, proxyReply = false): void {
      const records = [aMapping({ eidPrefix, locators: [ETR] })]
      const nonce = BigInt(now + 1)
      const authenticationData = new Uint8Array(16)
      const message = aMapRegister({ proxyReply, records, nonce, authenticationData })
      carry(nodes.get(mapServer)!.bytes(now, ETR, encodeSigned(message, aKey(), hmac)))
    },
    /** A Map-Request of an ITR in an ECM to the Map-Resolver. */
    ask(eidPrefix: string, about: Partial<MapRequest> = {}, itr = ITR): void {
      const itrRlocs = [anAddress(itr)]
      const request = aMapRequest({ eidPrefix, itrRlocs, nonce: BigInt(now + 1000), ...about })
      this.deliver(RESOLVER, itr, encapsulated(request))
    },
    /** Lets time pass in all nodes, in order. */
    until(moment: number): void {
      for (;;) {
        let first: { at: number; node: Conversation } | undefined
        for (const node of nodes.values()) {
          const at = node.node.deadline()
          if (at !== undefined && at <= moment && (first === undefined || at < first.at)) {
            first = { at, node }
          }
        }
        if (first === undefined) break
        now = Math.max(now, first.at)
        const reaction = first.node.next(now)
        if (reaction !== undefined) carry(reaction)
      }
      now = moment
    },
  }
  return tree
}

/** A Map-Request as an ITR sends it, or with `ddt` as a Map-Resolver does. */
export function encapsulated(
  request: MapRequest,
  ddt = false,
  about: Partial<EncapsulatedControl> = {},
): Uint8Array {
  const eid = request.records[0]!.eidPrefix.address
  return encodeMessage({
    kind: 'encapsulated-control',
    security: false,
    ddtOriginated: ddt,
    innerSource: request.itrRlocs[0]!,
    innerDestination: eid,
    innerSourcePort: 61_000,
    innerDestinationPort: 4342,
    message: encodeMessage(request),
    ...about,
  })
}
