/**
 * A Map-Server and some xTRs in virtual time, for tests of multicast: what one sends, another receives
 * after a millisecond. Replication entries are kept as the datapath would; nothing forwards packets.
 */
import type { NodeConfig } from '../../src/config/node-config.js'
import type { Command } from '../../src/control/command.js'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import type { DatapathOperation } from '../../src/control/datapath-operation.js'
import type { Event } from '../../src/control/event.js'
import type { Node, Output } from '../../src/control/input-output.js'
import { createNode } from '../../src/control/node.js'
import type { RestoredState } from '../../src/control/restored-state.js'
import type { StoredRecord } from '../../src/control/stored-record.js'
import { formatIpAddress } from '../../src/lisp/address.js'
import { LISP_DATA_PORT } from '../../src/lisp/iana.js'
import { decodeMessage, type Message } from '../../src/lisp/message.js'
import {
  decapsulatePacket,
  decodeEncapsulatedPim,
} from '../../src/lisp/multicast/encapsulated-pim.js'
import { decodeTrace, type MulticastTrace, PROTOCOL_IGMP } from '../../src/lisp/multicast/mtrace.js'
import {
  formatGroup,
  type MulticastGroup,
  parseGroup,
} from '../../src/lisp/multicast/multicast-group.js'
import type { PimJoinPrune } from '../../src/lisp/multicast/pim.js'
import { isRemoval, recordKey } from '../../src/store/store.js'
import {
  aKey,
  aMulticastPolicy,
  aNodeConfig,
  anAddress,
  aPrefix,
  aSite,
  someCapabilities,
} from './builders.js'

export interface WorldMessage {
  readonly at: number
  readonly from: string
  readonly to: string
  readonly message: Message
  readonly bytes: Uint8Array
}

/** A join from xTR to xTR (RFC 6831). */
export interface WorldJoin {
  readonly at: number
  readonly from: string
  readonly to: string
  readonly instanceId: number
  readonly message: PimJoinPrune
}

export interface GroupXtr {
  readonly name: string
  readonly node: Node
  readonly rloc: string
  /** Group → `level rloc … | interface …`. */
  readonly entries: Map<string, string>
  readonly events: Event[]
  /** What it has stored, removals as well. */
  readonly stored: Map<string, StoredRecord>
  /** Everything that its datapath and its segments were told. */
  readonly performed: { readonly at: number; readonly operations: readonly DatapathOperation[] }[]
}

const MAP_SERVER = '203.0.113.1'

/** Site n is 10.n.0.0/16 at 192.0.2.n, interface `site`; its hosts may move to any other site. */
export function xtrConfig(index: number, about: Partial<NodeConfig> = {}): NodeConfig {
  const server = { address: anAddress(MAP_SERVER), key: aKey(), proxyReply: true }
  return aNodeConfig({
    node: `site-${index}`,
    xtrId: new Uint8Array(16).fill(index),
    rlocs: [
      { address: anAddress(`192.0.2.${index}`), interfaceName: 'core', priority: 1, weight: 100 },
    ],
    siteInterfaces: [{ name: 'site', instanceId: 0, proxyNeighbours: true }],
    eidPrefixes: [{ eidPrefix: aPrefix(`10.${index}.0.0/16`), interfaceName: 'site' }],
    dynamicEidPrefixes: [{ eidPrefix: aPrefix('10.200.0.0/16'), interfaceName: 'site' }],
    mapServers: [{ ...server, registerMs: 60_000, ttlMinutes: 15 }],
    mapResolvers: [anAddress(MAP_SERVER)],
    multicast: aMulticastPolicy({ enabled: true }),
    mobility: { ...aNodeConfig().mobility, key: aKey('mobility') },
    ...about,
  })
}

export function mapServerConfig(about: Partial<NodeConfig> = {}): NodeConfig {
  return aNodeConfig({
    node: 'mapping',
    roles: ['map-server', 'map-resolver'],
    rlocs: [{ address: anAddress(MAP_SERVER), interfaceName: 'core', priority: 1, weight: 100 }],
    mapServer: {
      sites: [
        aSite({
          name: 'all',
          prefixes: [{ eidPrefix: aPrefix('10.0.0.0/8'), acceptMoreSpecifics: true }],
          multicastRelay: true,
        }),
      ],
      registrationMs: 180_000,
      maximumRegistrations: 10_000,
    },
    ...about,
  })
}

/** A response on its way to a host (RFC 6831 §12). */
export interface WorldTrace {
  readonly from: string
  readonly to: string
  readonly destination: string
  readonly trace: MulticastTrace
}

function isTrace(bytes: Uint8Array): boolean {
  const packet = decapsulatePacket(bytes)
  return typeof packet !== 'string' && packet.protocol === PROTOCOL_IGMP
}

function traceIn(
  bytes: Uint8Array,
  about: { readonly from: string; readonly to: string },
): WorldTrace {
  const packet = decapsulatePacket(bytes)
  const trace = typeof packet === 'string' ? undefined : decodeTrace(packet.payload)
  if (typeof packet === 'string' || trace === undefined) throw new Error('no trace')
  return { ...about, destination: formatIpAddress(packet.destination), trace }
}

interface InFlight {
  readonly from: string
  readonly to: string
  readonly bytes: Uint8Array
  readonly isJoin: boolean
}

function joinIn(
  bytes: Uint8Array,
  about: { readonly at: number; readonly from: string; readonly to: string },
): WorldJoin {
  const inner = decodeEncapsulatedPim(bytes)
  if (typeof inner === 'string') throw new Error(`malformed: ${inner}`)
  const { message, instanceId } = inner
  if (message.kind !== 'pim-join-prune') throw new Error(`no join: ${message.kind}`)
  return { ...about, instanceId, message }
}

export function aGroup(text: string): MulticastGroup {
  const group = parseGroup(text)
  if (group === undefined) throw new Error(`not a group: ${text}`)
  return group
}

export function createGroupWorld(configs: readonly NodeConfig[], server = mapServerConfig()) {
  const xtrs: GroupXtr[] = [server, ...configs].map((config, index) => ({
    name: config.node,
    node: createNode(config, someCapabilities(index + 1)),
    rloc: formatIpAddress(config.rlocs[0]!.address),
    entries: new Map(),
    events: [],
    stored: new Map(),
    performed: [],
  }))
  const byRloc = new Map<string, GroupXtr>()
  for (const [index, config] of [server, ...configs].entries())
    for (const { address } of config.rlocs) byRloc.set(formatIpAddress(address), xtrs[index]!)
  const sent: WorldMessage[] = []
  const joins: WorldJoin[] = []
  const traces: WorldTrace[] = []
  const flying: { at: number; order: number; one: InFlight }[] = []
  /** True: this datagram is lost. */
  let loses: (message: WorldMessage) => boolean = () => false
  let now = 0
  let order = 0
  let restarts = 0

  function perform(xtr: GroupXtr, output: Output): void {
    if (output.kind === 'event') xtr.events.push(output.event)
    if (output.kind === 'persist') {
      for (const record of output.records) xtr.stored.set(recordKey(record), record)
      for (const next of output.then) perform(xtr, next)
    }
    if (output.kind === 'send' && output.toPort === LISP_DATA_PORT && isTrace(output.bytes)) {
      const about = { from: formatIpAddress(output.from), to: formatIpAddress(output.to) }
      const one = traceIn(output.bytes, about)
      if (one.trace.kind === 'response') traces.push(one)
      order += 1
      const { bytes } = output
      flying.push({ at: now + 1, order, one: { ...about, bytes, isJoin: true } })
    } else if (output.kind === 'send' && output.toPort === LISP_DATA_PORT) {
      const one = joinIn(output.bytes, {
        at: now,
        from: formatIpAddress(output.from),
        to: formatIpAddress(output.to),
      })
      joins.push(one)
      order += 1
      flying.push({ at: now + 1, order, one: { ...one, bytes: output.bytes, isJoin: true } })
    } else if (output.kind === 'send') {
      const to = formatIpAddress(output.to)
      const { bytes } = output
      const message = decodeMessage(bytes)
      if (message.kind === 'malformed') throw new Error(`malformed: ${message.code}`)
      const one = { at: now, from: formatIpAddress(output.from), to, message, bytes }
      sent.push(one)
      order += 1
      if (!loses(one)) flying.push({ at: now + 1, order, one: { ...one, isJoin: false } })
    }
    if (output.kind !== 'datapath') return
    const { operation } = output
    xtr.performed.push({ at: now, operations: [operation] })
    if (operation.kind === 'delete-replication') xtr.entries.delete(formatGroup(operation.group))
    if (operation.kind !== 'put-replication') return
    const { group, copies, localInterfaces, level } = operation
    const rlocs = copies.map(({ locator }) => formatIpAddress(locator.rloc)).sort()
    const text = [...rlocs, '|', ...localInterfaces].join(' ')
    xtr.entries.set(formatGroup(group), `${level} ${text}`)
  }

  function feed(xtr: GroupXtr, input: Parameters<Node['handle']>[0]): void {
    const outputs: Output[] = []
    xtr.node.handle(input, now, outputs)
    for (const output of outputs) perform(xtr, output)
  }

  function runUntil(until: number): void {
    for (let steps = 0; ; steps += 1) {
      if (steps > 200_000) throw new Error('no end')
      flying.sort((a, b) => a.at - b.at || a.order - b.order)
      const next = flying[0]
      const due = xtrs
        .map((xtr) => ({ xtr, at: xtr.node.deadline() ?? Number.POSITIVE_INFINITY }))
        .reduce((first, one) => (one.at < first.at ? one : first))
      const at = Math.min(next?.at ?? Number.POSITIVE_INFINITY, due.at)
      if (at > until) break
      now = Math.max(now, at)
      if (next !== undefined && next.at <= due.at) {
        flying.shift()
        const { one } = next
        const target = byRloc.get(one.to)
        if (target === undefined) continue
        const [from, to] = [anAddress(one.from), anAddress(one.to)]
        const { bytes } = one
        if (!one.isJoin) feed(target, { kind: 'datagram', from, fromPort: 4342, to, bytes })
        else
          feed(target, { kind: 'datapath', event: { kind: 'encapsulated-pim', from, to, bytes } })
      } else feed(due.xtr, { kind: 'deadline' })
    }
    now = until
  }

  const state = { records: [], localEids: [], mapCache: [] }
  for (const xtr of xtrs) feed(xtr, { kind: 'restored', state })
  runUntil(1000)

  const find = (name: string): GroupXtr => {
    const found = xtrs.find((one) => one.name === name)
    if (found === undefined) throw new Error(`no ${name}`)
    return found
  }
  const raise = (name: string, event: DatapathEvent): void => {
    feed(find(name), { kind: 'datapath', event })
  }

  return {
    sent,
    joins,
    traces,
    xtr: find,
    raise,
    now: () => now,
    lose(which: (message: WorldMessage) => boolean): void {
      loses = which
    },
    /** Its daemon is another one; the datapath has gone on with `groups`. */
    restart(name: string, groups: NonNullable<RestoredState['groups']>): void {
      const one = find(name)
      const index = xtrs.indexOf(one)
      Object.assign(one, { node: createNode([server, ...configs][index]!, someCapabilities(77)) })
      one.entries.clear()
      feed(one, { kind: 'restored', state: { ...state, groups } })
    },
    join(name: string, group: string, host?: string): void {
      const about = host === undefined ? {} : { host: anAddress(host) }
      raise(name, { kind: 'group-joined', group: aGroup(group), interfaceName: 'site', ...about })
    },
    leave(name: string, group: string, host?: string): void {
      const about = host === undefined ? {} : { host: anAddress(host) }
      raise(name, { kind: 'group-left', group: aGroup(group), interfaceName: 'site', ...about })
    },
    /** The first packet of a source. */
    send(name: string, group: string): void {
      raise(name, { kind: 'multicast-source-seen', group: aGroup(group), interfaceName: 'site' })
    },
    command(name: string, command: Command): void {
      feed(find(name), { kind: 'command', commandId: 'c', command })
    },
    run(ms: number): void {
      runUntil(now + ms)
    },
    /** Ends the Map-Server and starts it again with what it had stored. */
    restartServer(): void {
      const one = find(server.node)
      const records = [...one.stored.values()].filter((record) => !isRemoval(record))
      restarts += 1
      Object.assign(one, { node: createNode(server, someCapabilities(1000 + restarts)) })
      feed(one, { kind: 'restored', state: { records, localEids: [], mapCache: [] } })
    },
    /** What a Map-Server or an xTR says of itself. */
    groups: (name: string) => find(name).node.snapshot(now).groups,
    names: (name: string) =>
      find(name).events.map(({ name: what, reason }) =>
        reason === undefined ? what : `${what} ${reason}`,
      ),
  }
}
