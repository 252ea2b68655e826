/**
 * Multicast among many sites in virtual time: receivers come and go, control messages get lost; does
 * everybody who listens steadily get every packet once, and what does a join cost?
 *
 * Two sources send to one SSM and one ASM group; the second source also sends to the SSM group, where
 * nobody may hear it. A receiver listens steadily from `STEADY_MS` after its join until its leave. The
 * core loses no data, so that a packet that is missing or comes twice is the fault of a list. Figures of
 * control messages are those of the time of the churn less refreshes, counted apart before it.
 */
import { createHmac } from 'node:crypto'
import { parseConfig } from '../config/load.js'
import type { NodeConfig } from '../config/node-config.js'
import type { DatapathEvent } from '../control/datapath-event.js'
import type { Input, Node, Output } from '../control/input-output.js'
import { createNode } from '../control/node.js'
import { createModelReplication, type ModelReplication } from '../datapath/model-replication.js'
import { formatIpAddress, type IpAddress, parseIpAddress } from '../lisp/address.js'
import type { Hmac } from '../lisp/authentication.js'
import type { Rloc } from '../lisp/locator.js'
import { decodeMessage } from '../lisp/message.js'
import type { MulticastGroup } from '../lisp/multicast/multicast-group.js'
import { createPrng } from './prng.js'
import { createTimeline } from './timeline.js'

export interface MulticastOptions {
  readonly seed: string
  /** Receiver sites, 2–2,000. */
  readonly sites: number
  /** Joins per second during the churn, and as many leaves. */
  readonly joinsPerSecond: number
  /** Share of control datagrams that the core loses. */
  readonly loss: number
  readonly churnMs: number
  /** A relay dies without a word so long after the beginning of the churn. */
  readonly relayDiesAfterMs?: number
}

export interface MulticastResult {
  readonly sites: number
  readonly relays: number
  readonly joins: number
  /** Packets that steady receivers should have got, got not, got more than once. */
  readonly expected: number
  readonly lost: number
  readonly duplicated: number
  /** Lost in the first `NOTICED_MS` after the death of a relay, and not counted as lost. */
  readonly lostWithRelay: number
  /** Packets of a source that nobody asked for that reached a listener. */
  readonly wrongSource: number
  /** From a join to the first packet, in ms, of joins while the source sent. */
  readonly joinToFirstPacketMs: { readonly p50: number; readonly p99: number; readonly max: number }
  readonly messagesPerJoin: Readonly<Record<string, number>>
  readonly bytesPerJoin: number
  /** At the end, at the Map-Server. */
  readonly mapServer: { readonly groups: number; readonly members: number }
  readonly longestList: number
  readonly ok: boolean
}

/** A lost Map-Notify is sent again after 3 s (RFC 9301 §5.7), a lost join within one. */
const STEADY_MS = 10_000
/** Five probes a second apart, 2.5 s between probes (relay-probes.ts), and the news of it. */
const NOTICED_MS = 8000
const PACKET_MS = 100
const SETTLE_MS = 12_000
const CONTROL_MS = { from: 5, to: 40 }
const DATA_MS = { from: 5, to: 25 }
const FAN_OUT = 64
const MAP_SERVER = '172.31.255.1'
const SECRET = 'of the simulator'

interface Site {
  readonly name: string
  readonly rloc: string
  readonly node: Node
  readonly replication: ModelReplication
  timerAt: number | undefined
  isDead: boolean
}

interface Listening {
  readonly site: Site
  readonly group: 'ssm' | 'asm'
  since: number
  until: number
  firstPacketAt: number | undefined
}

interface Packet {
  readonly flow: string
  readonly group: MulticastGroup
  readonly sentAt: number
  /** Site → how often it was delivered. */
  readonly delivered: Map<string, number>
}

export function runMulticast(options: MulticastOptions): MulticastResult {
  const { sites: count, loss } = options
  const prng = createPrng(`multicast ${options.seed} ${count}`)
  const chance = prng.split('loss')
  const timeline = createTimeline()
  const relayCount = count > FAN_OUT ? Math.ceil(count / FAN_OUT) + 1 : 0
  const byRloc = new Map<string, Site>()
  const all: Site[] = []
  const counts: Record<string, number> = {}
  let bytes = 0
  let counting = false
  let longestList = 0

  function add(name: string, config: object, seed: string): Site {
    const nodeConfig = configOf(name, config)
    const random = prng.split(seed)
    const node = createNode(nodeConfig, { random, hmac })
    const rloc = formatIpAddress(nodeConfig.rlocs[0]!.address)
    const replication = createModelReplication()
    const site: Site = { name, rloc, node, replication, timerAt: undefined, isDead: false }
    byRloc.set(rloc, site)
    all.push(site)
    return site
  }

  function feed(site: Site, input: Input): void {
    if (site.isDead) return
    const outputs: Output[] = []
    site.node.handle(input, timeline.now(), outputs)
    for (const output of outputs) perform(site, output)
    arm(site)
  }

  function arm(site: Site): void {
    const wanted = site.node.deadline()
    if (wanted === undefined) return
    const at = Math.max(timeline.now() + 0.5, wanted)
    if (site.timerAt !== undefined && site.timerAt <= at) return
    site.timerAt = at
    timeline.at(at, () => {
      if (site.timerAt !== at) return
      site.timerAt = undefined
      if ((site.node.deadline() ?? Number.POSITIVE_INFINITY) <= timeline.now())
        feed(site, { kind: 'deadline' })
      else arm(site)
    })
  }

  function perform(site: Site, output: Output): void {
    if (output.kind === 'persist') for (const next of output.then) perform(site, next)
    else if (output.kind === 'send') send(site, output)
    else if (output.kind === 'datapath') {
      const { operation } = output
      if (operation.kind === 'put-replication' || operation.kind === 'delete-replication') {
        site.replication.perform(operation)
        if (operation.kind === 'put-replication')
          longestList = Math.max(longestList, operation.copies.length)
      }
    }
  }

  function send(site: Site, { to, bytes: sent }: Extract<Output, { kind: 'send' }>): void {
    if (counting) note(sent)
    const target = byRloc.get(formatIpAddress(to))
    if (target === undefined || chance.chance(loss)) return
    const from = address(site.rloc)
    timeline.after(chance.between(CONTROL_MS.from, CONTROL_MS.to), () =>
      feed(target, { kind: 'datagram', from, fromPort: 4342, to, bytes: sent }),
    )
  }

  /** Messages about groups; what refreshes prefixes is no part of a join. */
  function note(sent: Uint8Array): void {
    const message = decodeMessage(sent)
    if (!('structuredRecords' in message)) return
    counts[message.kind] = (counts[message.kind] ?? 0) + 1
    bytes += sent.length
  }

  // ------------------------------------------------------------------ the world

  const mapping = add('mapping', mappingConfig(), 'mapping')
  const sources = [1, 2].map((n) => add(`source-${n}`, sourceConfig(n), `source ${n}`))
  const relays = Array.from({ length: relayCount }, (_, n) =>
    add(`relay-${n + 1}`, relayConfig(n + 1), `relay ${n + 1}`),
  )
  const receivers = Array.from({ length: count }, (_, n) =>
    add(`site-${n + 1}`, receiverConfig(n + 1), `site ${n + 1}`),
  )
  const groups = {
    ssm: { instanceId: 7, source: address('10.1.0.5'), group: address('232.1.1.1') },
    asm: { instanceId: 7, source: undefined, group: address('239.1.1.1') },
  }
  const listening = new Map<string, Listening>()
  const history: Listening[] = []
  const packets: Packet[] = []

  function raise(site: Site, event: DatapathEvent): void {
    feed(site, { kind: 'datapath', event })
  }

  function join(site: Site, name: 'ssm' | 'asm'): void {
    const since = timeline.now()
    const one = { site, group: name, since, until: Number.POSITIVE_INFINITY } as const
    const record: Listening = { ...one, firstPacketAt: undefined }
    listening.set(`${name} ${site.name}`, record)
    history.push(record)
    raise(site, { kind: 'group-joined', group: groups[name], interfaceName: 'site0' })
  }

  function leave(one: Listening): void {
    one.until = timeline.now()
    listening.delete(`${one.group} ${one.site.name}`)
    raise(one.site, { kind: 'group-left', group: groups[one.group], interfaceName: 'site0' })
  }

  function arrive(site: Site, packet: Packet, outerSource: Rloc | undefined): void {
    if (site.isDead) return
    const around = {
      now: timeline.now,
      transmit({ locator }: { locator: { rloc: Rloc } }): void {
        const target = byRloc.get(formatIpAddress(locator.rloc))
        if (target === undefined) return
        timeline.after(chance.between(DATA_MS.from, DATA_MS.to), () =>
          arrive(target, packet, address(site.rloc)),
        )
      },
      deliver(): void {
        packet.delivered.set(site.name, (packet.delivered.get(site.name) ?? 0) + 1)
        const name = packet.flow.startsWith('ssm') ? 'ssm' : 'asm'
        const one = listening.get(`${name} ${site.name}`)
        if (one !== undefined) one.firstPacketAt ??= timeline.now()
      },
    }
    if (outerSource !== undefined) site.replication.fromCore(packet.group, outerSource, around)
    else if (!site.replication.fromSite(packet.group, 'site0', around))
      raise(site, {
        kind: 'multicast-source-seen',
        group: packet.group,
        interfaceName: 'site0',
      })
  }

  function transmit(flow: string, source: number, group: IpAddress): void {
    const from = address(`10.${source}.0.5`)
    const name = { instanceId: 7, source: from, group }
    const packet = { flow, group: name, sentAt: timeline.now(), delivered: new Map() }
    packets.push(packet)
    arrive(sources[source - 1]!, packet, undefined)
  }

  function sendAll(): void {
    transmit('ssm', 1, groups.ssm.group)
    transmit('ssm wrong', 2, groups.ssm.group)
    transmit('asm 1', 1, groups.asm.group)
    transmit('asm 2', 2, groups.asm.group)
  }

  const churnFrom = 10_000 + SETTLE_MS
  const churnUntil = churnFrom + options.churnMs
  const end = churnUntil + SETTLE_MS
  let joins = 0
  const state = { records: [], localEids: [], mapCache: [] }
  for (const site of all) feed(site, { kind: 'restored', state })
  for (const [index, site] of receivers.entries())
    for (const name of ['ssm', 'asm'] as const)
      if (index % 2 === 0)
        timeline.at(2000 + prng.between(0, 5000), () => {
          join(site, name)
        })
  for (let at = 9000; at < end; at += PACKET_MS) timeline.at(at, sendAll)
  const interval = 1000 / options.joinsPerSecond
  for (let at = churnFrom; at < churnUntil; at += interval)
    timeline.at(at, () => {
      const name = prng.chance(0.5) ? 'ssm' : 'asm'
      const out = receivers.filter((one) => !listening.has(`${name} ${one.name}`))
      const inside = [...listening.values()].filter((one) => one.group === name)
      if (inside.length > 1) leave(prng.pick(inside))
      if (out.length > 0) {
        joins += 1
        join(prng.pick(out), name)
      }
    })
  const relayDiesAt = churnFrom + (options.relayDiesAfterMs ?? Number.POSITIVE_INFINITY)
  if (relayDiesAt < end)
    timeline.at(relayDiesAt, () => {
      const [first] = relays
      if (first !== undefined) first.isDead = true
    })
  timeline.at(churnFrom, () => {
    counting = true
  })
  timeline.at(churnUntil + 2000, () => {
    counting = false
  })
  timeline.run(end)

  // ------------------------------------------------------------------ judgement

  let [expected, lost, lostWithRelay, duplicated, wrongSource] = [0, 0, 0, 0, 0]
  for (const { flow, sentAt, delivered } of packets) {
    if (sentAt > end - 2000) continue
    for (const one of history) {
      const isSteady = one.since + STEADY_MS <= sentAt && sentAt + 1000 < one.until
      const times = delivered.get(one.site.name) ?? 0
      if (flow === 'ssm wrong') wrongSource += one.group === 'ssm' ? times : 0
      else if (isSteady && flow.startsWith(one.group)) {
        expected += 1
        const isNoticed = sentAt < relayDiesAt - DATA_MS.to || sentAt > relayDiesAt + NOTICED_MS
        if (times === 0 && isNoticed) lost += 1
        else if (times === 0) lostWithRelay += 1
      }
    }
    for (const times of delivered.values()) duplicated += Math.max(0, times - 1)
  }
  const waits = history
    .filter(({ since, firstPacketAt }) => since >= churnFrom && firstPacketAt !== undefined)
    .map(({ since, firstPacketAt }) => firstPacketAt! - since)
    .sort((a, b) => a - b)
  const at = (share: number): number =>
    Math.round(waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? 0)
  const sizes = mapping.node.tables.sizes()
  const perJoin = (value: number): number => Math.round((value / Math.max(1, joins)) * 100) / 100
  return {
    sites: count,
    relays: relayCount,
    joins,
    expected,
    lost,
    lostWithRelay,
    duplicated,
    wrongSource,
    joinToFirstPacketMs: { p50: at(0.5), p99: at(0.99), max: at(1) },
    messagesPerJoin: Object.fromEntries(
      Object.entries(counts).map(([kind, value]) => [kind, perJoin(value)]),
    ),
    bytesPerJoin: Math.round(perJoin(bytes)),
    mapServer: { groups: sizes.groups, members: sizes.groupMembers },
    longestList,
    ok: expected > 0 && lost + duplicated + wrongSource === 0,
  }
}

const hmac: Hmac = (hash, key, data) => createHmac(hash, key).update(data).digest()

function address(text: string): IpAddress {
  const parsed = parseIpAddress(text)
  if (parsed === undefined) throw new Error(`not an address: ${text}`)
  return parsed
}

function configOf(node: string, config: object): NodeConfig {
  const text = JSON.stringify({ node, ...config })
  const result = parseConfig(text, () => ({ ok: true, text: SECRET, worldReadable: false }))
  // We wrote it ourselves.
  if (!result.ok) throw new Error(`${node}: ${JSON.stringify(result.errors[0])}`)
  return result.nodeConfig
}

function mappingConfig(): object {
  const prefixes = [{ prefix: '10.0.0.0/8', instanceId: 7, acceptMoreSpecifics: true }]
  const keys = [{ id: 1, secretFile: 'site.key' }]
  return {
    roles: ['map-server', 'map-resolver'],
    rlocs: [{ address: MAP_SERVER, interface: 'core0' }],
    datapath: { kind: 'none' },
    mapServer: { sites: [{ name: 'all', keys, prefixes, multicastRelay: true }] },
    groupServer: { fanOut: FAN_OUT },
  }
}

function xtrOf(rloc: string, more: object): object {
  return {
    roles: ['itr', 'etr'],
    rlocs: [{ address: rloc, interface: 'core0' }],
    siteInterfaces: [{ name: 'site0', instanceId: 7 }],
    mapServers: [{ address: MAP_SERVER, key: { id: 1, secretFile: 'site.key' } }],
    mapResolvers: [MAP_SERVER],
    multicast: { enabled: true },
    ...more,
  }
}

function sourceConfig(index: number): object {
  const prefix = { prefix: `10.${index}.0.0/16`, instanceId: 7, interface: 'site0' }
  return xtrOf(`172.16.255.${index}`, { eidPrefixes: [prefix] })
}

function receiverConfig(index: number): object {
  const [high, low] = [index >> 8, index & 0xff]
  const prefix = { prefix: `10.${100 + high}.${low}.0/24`, instanceId: 7, interface: 'site0' }
  return xtrOf(`172.16.${high}.${low}`, { eidPrefixes: [prefix] })
}

function relayConfig(index: number): object {
  const prefix = { prefix: `10.254.${index}.0/24`, instanceId: 7, interface: 'site0' }
  return xtrOf(`172.17.0.${index}`, {
    eidPrefixes: [prefix],
    multicast: { enabled: true, relayLevel: 1, relayInstances: [7] },
  })
}
