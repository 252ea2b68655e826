/**
 * ITR, Map-Resolver, Map-Server and ETR as four whole nodes that share keys for LISP-SEC (RFC 9303),
 * with a wire between them that can be listened to, changed and cut.
 *
 *   ITR .1 ──(ITR key)── Map-Resolver .50 ──(resolver key)── Map-Server .60 ──(ETR key)── ETR .9
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import type {
  EtrSecurity,
  NodeConfig,
  SecurityPolicy,
  SiteSecurity,
  WrappingKey,
} from '../../src/config/node-config.js'
import type { BlockCipher } from '../../src/control/lisp-sec/lisp-sec-keys.js'
import { decodeMessage, type MapReply, type Message } from '../../src/lisp/message.js'
import { aKey, aNodeConfig, anAddress, anEid, aPrefix, aSite } from './builders.js'
import { createConversation, type Reaction, type SentMessage } from './conversation.js'

export const ITR = '198.51.100.1'
export const RESOLVER = '192.0.2.50'
export const SERVER = '192.0.2.60'
export const ETR = '198.51.100.9'

const block = (run: typeof createCipheriv | typeof createDecipheriv) => {
  return (key: Uint8Array, one: Uint8Array): Uint8Array =>
    new Uint8Array(run('aes-128-ecb', key, null).setAutoPadding(false).update(one))
}
/** AES-128 by node:crypto. */
export const blockCipher: BlockCipher = {
  encrypt: block(createCipheriv),
  decrypt: block(createDecipheriv),
}

export function aWrappingKey(text: string, about: Partial<WrappingKey> = {}): WrappingKey {
  return { keyId: 1, wrapping: 2, secret: new TextEncoder().encode(text), ...about }
}
export const ITR_KEY = aWrappingKey('itr and resolver')
export const RESOLVER_KEY = aWrappingKey('resolver and server', { keyId: 2 })
export const ETR_KEY = aWrappingKey('server and etr', { keyId: 3 })

export function aSecurityPolicy(about: Partial<SecurityPolicy> = {}): SecurityPolicy {
  return { mode: 'require', mapResolvers: [], requesterKeys: [], mapServers: [], ...about }
}

export interface SystemOptions {
  readonly itr?: Partial<NodeConfig>
  readonly resolver?: Partial<NodeConfig>
  readonly server?: Partial<NodeConfig>
  readonly etr?: Partial<NodeConfig>
  readonly proxyReply?: boolean
  readonly etrSecurity?: EtrSecurity | undefined
  readonly siteSecurity?: SiteSecurity | undefined
}

function anOwnConfig(address: string, about: Partial<NodeConfig>): NodeConfig {
  const rlocs = [{ address: anAddress(address), interfaceName: 'core', priority: 1, weight: 100 }]
  return aNodeConfig({ node: 'node', rlocs, xtrId: anAddress(`::${address}`).bytes, ...about })
}

/** 10.1.0.0/24 of the site 10.1.0.0/16 is behind the ETR, which has registered it. */
export function aProtectedSystem(options: SystemOptions = {}) {
  const { proxyReply = false } = options
  const asEtr: EtrSecurity = { mode: 'require', keys: [ETR_KEY] }
  const etrSecurity = 'etrSecurity' in options ? options.etrSecurity : asEtr
  const ofSite: SiteSecurity = { mode: 'require', key: ETR_KEY }
  const siteSecurity = 'siteSecurity' in options ? options.siteSecurity : ofSite
  const rlocProbe = { enabled: false, intervalMs: 10_000, failures: 3 }
  const able = { blockCipher }
  const itr = anOwnConfig(ITR, {
    roles: ['itr'],
    rlocProbe,
    mapResolvers: [anAddress(RESOLVER)],
    security: aSecurityPolicy({
      mapResolvers: [{ address: anAddress(RESOLVER), key: ITR_KEY }],
    }),
    ...options.itr,
  })
  const resolver = anOwnConfig(RESOLVER, {
    roles: ['map-resolver'],
    mapServers: [toServer({})],
    security: aSecurityPolicy({
      requesterKeys: [ITR_KEY],
      mapServers: [{ address: anAddress(SERVER), key: RESOLVER_KEY }],
    }),
    ...options.resolver,
  })
  const site = aSite({
    prefixes: [{ eidPrefix: aPrefix('10.1.0.0/16'), acceptMoreSpecifics: true }],
    security: siteSecurity,
  })
  const server = anOwnConfig(SERVER, {
    roles: ['map-server'],
    mapServer: { sites: [site], registrationMs: 180_000, maximumRegistrations: 100 },
    security: aSecurityPolicy({ requesterKeys: [RESOLVER_KEY] }),
    ...options.server,
  })
  const etr = anOwnConfig(ETR, {
    roles: ['etr'],
    rlocProbe,
    eidPrefixes: [{ eidPrefix: aPrefix('10.1.0.0/24'), interfaceName: 'site' }],
    mapServers: [toServer({ proxyReply, security: etrSecurity })],
    ...options.etr,
  })
  const nodes = new Map(
    [itr, resolver, server, etr].map((config, index) => {
      const name = [ITR, RESOLVER, SERVER, ETR][index]!
      return [name, createConversation(config, {}, index + 1, able)]
    }),
  )
  return aWire(nodes)
}

function toServer(about: Partial<NodeConfig['mapServers'][number]>) {
  const times = { registerMs: 60_000, ttlMinutes: 15, proxyReply: false }
  return { address: anAddress(SERVER), key: aKey(), ...times, ...about }
}

type Conversation = ReturnType<typeof createConversation>
/** What becomes of a datagram: other bytes, itself, or nothing. */
export type Meddler = (bytes: Uint8Array, from: string, to: string) => Uint8Array | undefined

function aWire(nodes: ReadonlyMap<string, Conversation>) {
  const path: { readonly from: string; readonly to: string; readonly sent: SentMessage }[] = []
  const reactions: Reaction[] = []
  let meddler: Meddler = (bytes) => bytes

  function carry(from: string, reaction: Reaction): void {
    const waiting = [{ from, reaction }]
    for (let steps = 0; waiting.length > 0; steps += 1) {
      if (steps > 500) throw new Error('messages without end')
      const { from: sender, reaction: one } = waiting.shift()!
      reactions.push(one)
      for (const sent of one.sent) {
        path.push({ from: sender, to: sent.to, sent })
        const bytes = meddler(sent.bytes, sender, sent.to)
        const receiver = nodes.get(sent.to)
        if (bytes === undefined || receiver === undefined) continue
        waiting.push({ from: sent.to, reaction: receiver.bytes(one.at, sender, bytes) })
      }
    }
  }

  for (const [name, node] of nodes) carry(name, node.begun)

  const system = {
    path,
    reactions,
    node: (name: string): Conversation => nodes.get(name)!,
    meddle(next: Meddler): void {
      meddler = next
    },
    carry,
    /** A packet of the ITR's site waits for this EID. */
    hold(at: number, eid: string): void {
      const source = anEid('10.2.0.7')
      const event = { kind: 'packet-held', eid: anEid(eid), source, why: 'map-cache-miss' } as const
      carry(ITR, nodes.get(ITR)!.datapath(at, event))
    },
    /** Deadlines of all nodes up to `until`, in time. */
    runUntil(until: number): void {
      for (let steps = 0; ; steps += 1) {
        if (steps > 5000) throw new Error('deadlines without end')
        const due = [...nodes]
          .map(([name, { node }]) => ({ name, at: node.deadline() ?? Infinity }))
          .sort((a, b) => a.at - b.at)[0]!
        if (due.at > until) return
        carry(due.name, nodes.get(due.name)!.next(until)!)
      }
    },
    /** What the ITR has in its map-cache: '10.1.0.0/24 198.51.100.9'. */
    cached: (now: number): string[] =>
      nodes
        .get(ITR)!
        .node.snapshot(now)
        .mapCache.map(({ eidPrefix, locators }) =>
          [eidPrefix, ...locators.map(({ rloc }) => rloc)].join(' '),
        ),
    /** 'from → to message' of all that went over the wire since the last call. */
    told(): string[] {
      return path.splice(0).map(({ from, to, sent }) => `${from} → ${to} ${inShort(sent.message)}`)
    },
    /** Names and reasons of events since the last call. */
    names: (): string[] => reactions.splice(0).flatMap(({ names }) => names),
  }
  system.told()
  system.names()
  return system
}

export type ProtectedSystem = ReturnType<typeof aProtectedSystem>

/** 'ecm S map-request', 'map-reply S', 'map-reply'. */
export function inShort(message: Message): string {
  if (message.kind === 'encapsulated-control') {
    const mark = message.security ? ' S' : ''
    return `ecm${mark} ${decodeMessage(message.message).kind}`
  }
  return message.kind === 'map-reply' && message.security !== undefined
    ? 'map-reply S'
    : message.kind
}

/** The Map-Replies among the datagrams so far, with their bytes. */
export function repliesOf(system: ProtectedSystem): { bytes: Uint8Array; reply: MapReply }[] {
  return system.path.flatMap(({ sent: { bytes, message } }) =>
    message.kind === 'map-reply' ? [{ bytes, reply: message }] : [],
  )
}
