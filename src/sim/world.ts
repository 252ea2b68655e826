/**
 * The world in one process: nodes, hosts, core and stores of a topology on one line of virtual time.
 *
 * Everything that happens comes from the timeline, everything random from the seed, everything seen
 * goes to the trace; the invariants are judged after each input of a node and once a second. What
 * goes wrong and who moves is decided elsewhere (faults.ts, mover.ts, or a script).
 */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'
import type { Command, CommandResult } from '../control/command.js'
import type { BlockCipher } from '../control/lisp-sec/lisp-sec-keys.js'
import { createModelDatapath, type ModelDatapath } from '../datapath/model-datapath.js'
import type { ModelPacket } from '../datapath/model-packet.js'
import { relayOf } from '../datapath/model-relay.js'
import { formatIpAddress } from '../lisp/address.js'
import type { Hmac } from '../lisp/authentication.js'
import { describeMessage } from '../lisp/describe.js'
import { MESSAGE_TYPE } from '../lisp/iana.js'
import { decodeMessage } from '../lisp/message.js'
import { provisionalGuardMs } from '../lisp/move-stamp.js'
import { createHosts, type Hosts, packetText } from './host.js'
import {
  createInvariants,
  type Invariant,
  type Invariants,
  MAXIMUM_REDIRECTS,
} from './invariants.js'
import { createLedger, type Ledger } from './ledger.js'
import { createNetwork, type Datagram, type Network, type NetworkOptions } from './network.js'
import { createPrng, type Prng } from './prng.js'
import {
  createSimulatedNode,
  type MakeNode,
  type SimulatedNode,
  type WrapNode,
} from './simulated-node.js'
import { createSimulatedStore } from './store.js'
import { createTimeline, type Timeline } from './timeline.js'
import type { NodeSpecification, SimulatedTopology } from './topology.js'
import { createTrace, type Trace } from './trace.js'

export interface Delays {
  readonly leastDelayMs: { readonly from: number; readonly to: number }
  readonly meanJitterMs: number
  readonly meanWriteMs: number
  readonly meanEventMs: number
  readonly meanHoldMs: number
}

/** A metropolitan core, a solid-state disk, a machine that is not busy. */
export const USUAL_DELAYS: Delays = {
  leastDelayMs: { from: 0.5, to: 15 },
  meanJitterMs: 0.2,
  meanWriteMs: 1,
  meanEventMs: 0.2,
  meanHoldMs: 0.05,
}

export interface WorldOptions {
  readonly seed: string
  readonly delays?: Delays
  /** Reasons of loss that the faults of this run explain; by default all of them. */
  readonly explainsLoss?: (reason: string) => boolean
  readonly maximumRedirects?: number
  readonly without?: readonly Invariant[]
  readonly wrap?: WrapNode
  readonly makeNode?: MakeNode
  readonly carries?: NetworkOptions['carries']
  readonly onLine?: (line: string) => void
  /** The tables of one node after the other are compared, all once per period: for many nodes. */
  readonly compareInTurn?: boolean
  /** What the clock of each node shows more than another's, in ms; none of them is right. */
  readonly clocks?: Readonly<Record<string, number>>
  /** All hosts announce themselves within this, in ms. */
  readonly announceMs?: number
  readonly maximumSteps?: number
}

export interface World {
  readonly topology: SimulatedTopology
  readonly timeline: Timeline
  readonly prng: Prng
  readonly network: Network
  readonly nodes: ReadonlyMap<string, SimulatedNode>
  readonly hosts: Hosts
  readonly ledger: Ledger
  readonly trace: Trace
  readonly invariants: Invariants
  /** Control datagrams sent, by kind; probes apart. */
  readonly sent: Map<string, number>
  node(name: string): SimulatedNode
  command(node: string, command: Command, onResult: (result: CommandResult) => void): void
  /** Takes the tables of a node as well: what redirected through it is gone. */
  reboot(node: string): void
  /** Nodes that were rebooted. */
  readonly rebooted: ReadonlySet<string>
  /** How often the tables are compared, in ms: once a second unless told otherwise. */
  compareEvery(everyMs: number): void
  /** Compares the tables of all nodes now. */
  compareAll(): void
  /** Commands without result. */
  unanswered(): number
  /** Share of datapath events that are lost from now on. */
  setEventLoss(share: number): void
  /** Every datagram that is sent is shown to it: the ear of an attacker. */
  onDatagram(listener: (datagram: Datagram, from: string) => void): void
  /** Every delivery to an endpoint is shown to it. */
  onDelivered(listener: (packet: ModelPacket, site: string) => void): void
  /** Lets time pass; throws `InvariantViolation`. */
  run(until: number): void
}

const COMPARE_EVERY_MS = 1000
/** The real hold's bound on EIDs. */
const MAXIMUM_HELD_EIDS = 65_536

const hmac: Hmac = (hash, key, data) => createHmac(hash, key).update(data).digest()
const blockCipher: BlockCipher = {
  encrypt: (key, block) =>
    createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(block),
  decrypt: (key, block) =>
    createDecipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(block),
}

export function createWorld(topology: SimulatedTopology, options: WorldOptions): World {
  const prng = createPrng(options.seed)
  const delays = options.delays ?? USUAL_DELAYS
  const timeline = createTimeline(options.maximumSteps)
  const trace = createTrace(options.onLine)
  const ledger = createLedger(timeline.now)
  const nodes = new Map<string, SimulatedNode>()
  const names = new Map<string, string>()
  const sent = new Map<string, number>()
  const rebooted = new Set<string>()
  const listeners: ((datagram: Datagram, from: string) => void)[] = []
  const deliveries: ((packet: ModelPacket, site: string) => void)[] = []
  let eventLoss = 0
  let unanswered = 0
  let compareEveryMs = COMPARE_EVERY_MS

  const log = (text: string): void => trace.line(`${timeline.now()} ${text}`)
  const logPacket = (packet: ModelPacket, where: string, what: string, prefix: string): void => {
    const at = timeline.now()
    const { flow, sequence } = packet
    const text = (): string => `${at} ${where}: ${packetText(packet)} ${prefix}${what}`
    trace.packet(at, what, flow.hash, sequence, text)
  }
  const invariants = createInvariants({
    now: timeline.now,
    specifications: topology.nodes,
    without: options.without ?? [],
    maximumRedirects: options.maximumRedirects ?? MAXIMUM_REDIRECTS,
    explainsLoss: options.explainsLoss ?? (() => true),
  })

  const lose = (packet: ModelPacket, reason: string, where: string): void => {
    logPacket(packet, where, reason, 'lost: ')
    ledger.lost(packet, reason)
    invariants.lost(packet, reason, where)
  }

  const hosts = createHosts(topology.hosts, {
    timeline,
    ledger,
    datapath: (site) => nodes.get(site)?.datapath,
    lost: lose,
    delivered(packet, site) {
      logPacket(packet, site, 'delivered', '')
      for (const listener of deliveries) listener(packet, site)
    },
    tooOften: invariants.tooOften,
    log,
  })

  const network = createNetwork({
    timeline,
    prng: prng.split('network'),
    nodeOf: (rloc) => names.get(rloc),
    arrive(to, datagram) {
      const node = nodes.get(to)!
      if (node.isUp()) node.receive(datagram)
      else log(`${to}: nobody listens`)
    },
    arrivePacket: (to, packet, source) =>
      nodes.get(to)!.datapath?.fromCore(packet, source, packet.marks),
    packetLost: (packet, reason) => lose(packet, reason, 'core'),
    packetCopied: (packet) => ledger.copied(packet),
    note: (what, datagram, from, to) => log(`${from}>${to} ${what}: ${kindOf(datagram.bytes)}`),
    leastDelayMs: delays.leastDelayMs,
    meanJitterMs: delays.meanJitterMs,
    ...(options.carries === undefined ? {} : { carries: options.carries }),
  })

  function send(from: string, datagram: Datagram): void {
    const kind = kindOf(datagram.bytes)
    sent.set(kind, (sent.get(kind) ?? 0) + 1)
    const [at, to] = [timeline.now(), formatIpAddress(datagram.to)]
    const { bytes } = datagram
    trace.message(at, from, to, bytes, () => `${at} ${from} sends ${to} ${textOf(bytes)}`)
    for (const listener of listeners) listener(datagram, from)
    network.send(from, datagram)
  }

  function makeDatapath(spec: NodeSpecification, raise: SimulatedNode['raise']): ModelDatapath {
    const { name, config, nodeConfig } = spec
    const chance = prng.split(`hold/${name}`)
    const { missMs, endpointMs, ...limits } = config.hold
    const longestMs = { 'map-cache-miss': missMs, 'endpoint-expected': endpointMs }
    return createModelDatapath(
      {
        eidPrefixes: nodeConfig.eidPrefixes,
        dynamicEidPrefixes: nodeConfig.dynamicEidPrefixes,
        siteInterfaces: nodeConfig.siteInterfaces,
        hold: {
          ...limits,
          maximumEids: MAXIMUM_HELD_EIDS,
          longestMs,
          provisionalGuardMs: provisionalGuardMs(config.mobility.live.guardMs),
        },
        maximumMappings: config.datapath.maximumMappings,
        maximumLocalEids: config.datapath.maximumLocalEids,
        relay: relayOf(nodeConfig),
        ...(nodeConfig.closedNetwork === undefined ? {} : { closed: nodeConfig.closedNetwork }),
      },
      {
        now: () => timeline.now() + (options.clocks?.[name] ?? 0),
        after: timeline.after,
        commandMs: () => chance.between(0, 2 * delays.meanHoldMs),
        raise,
        copied: (packet) => ledger.copied(packet),
        transmit(packet, from, to, how) {
          packet.marks = how.fields
          invariants.redirected(packet, name)
          network.sendPacket(name, packet, from, to)
        },
        deliver: (packet) => hosts.receive(packet, name),
        native: (packet) => hosts.receive(packet, name),
        discard: (packet, reason) => lose(packet, reason, name),
        frame: (kind, eid, interfaceName) => hosts.frame(kind, eid, name, interfaceName),
      },
    )
  }

  function addNode(spec: NodeSpecification): void {
    const { name } = spec
    const raise: SimulatedNode['raise'] = (event) => node.raise(event)
    const datapath = spec.forwards ? makeDatapath(spec, raise) : undefined
    const store = createSimulatedStore(timeline, prng.split(`store/${name}`), delays.meanWriteMs)
    const node = createSimulatedNode(spec, {
      timeline,
      prng: prng.split(`node/${name}`),
      hmac,
      blockCipher,
      store,
      datapath,
      wrap: options.wrap,
      makeNode: options.makeNode,
      clockMs: options.clocks?.[name] ?? 0,
      eventMs: delays.meanEventMs,
      eventLoss: () => eventLoss,
      send: (datagram) => send(name, datagram),
      observe(input, datagram, outputs) {
        if (input.kind === 'restored') invariants.restarted(name)
        invariants.observe(name, input, datagram, outputs)
      },
      log: (text) => log(`${name}: ${text}`),
    })
    nodes.set(name, node)
    for (const { address } of spec.nodeConfig.rlocs) names.set(formatIpAddress(address), name)
  }

  function compareOne(node: SimulatedNode): void {
    const snapshot = node.datapath === undefined ? undefined : node.snapshot()
    if (snapshot !== undefined) invariants.compare(node.name, snapshot, node.datapath!)
  }

  function compare(): void {
    for (const node of nodes.values()) compareOne(node)
    timeline.after(compareEveryMs, compare)
  }

  function compareInTurn(all: readonly SimulatedNode[], turn: number): void {
    compareOne(all[turn]!)
    const next = (turn + 1) % all.length
    timeline.after(compareEveryMs / all.length, () => compareInTurn(all, next))
  }

  const nodeNamed = (name: string): SimulatedNode => {
    const found = nodes.get(name)
    if (found === undefined) throw new Error(`no node ${name}`)
    return found
  }

  for (const spec of topology.nodes) addNode(spec)
  // Like machines that are switched on one after the other.
  const start = prng.split('start')
  for (const node of nodes.values()) timeline.at(start.between(0, START_MS), () => node.start())
  for (const host of hosts.all)
    timeline.at(START_MS + start.between(0, options.announceMs ?? START_MS), () =>
      hosts.announce(host, 'arp'),
    )
  const inTurn = options.compareInTurn === true
  timeline.at(COMPARE_EVERY_MS, inTurn ? () => compareInTurn([...nodes.values()], 0) : compare)

  return {
    topology,
    timeline,
    prng,
    network,
    nodes,
    hosts,
    ledger,
    trace,
    invariants,
    sent,
    node: nodeNamed,
    command(name, command, onResult) {
      unanswered += 1
      log(`${name}: command ${command.kind}`)
      let answered = false
      nodeNamed(name).command(command, (result) => {
        if (answered) invariants.violate('I10', `${command.kind} at ${name} got two results`)
        answered = true
        unanswered -= 1
        log(`${name}: ${command.kind} ${result.ok ? 'ok' : result.code}`)
        onResult(result)
      })
    },
    reboot(name) {
      rebooted.add(name)
      nodeNamed(name).reboot()
    },
    rebooted,
    compareEvery(everyMs) {
      compareEveryMs = everyMs
    },
    compareAll() {
      for (const node of nodes.values()) compareOne(node)
    },
    unanswered: () => unanswered,
    setEventLoss(share) {
      eventLoss = share
    },
    onDatagram: (listener) => {
      listeners.push(listener)
    },
    onDelivered: (listener) => {
      deliveries.push(listener)
    },
    run: (until) => timeline.run(until),
  }
}

function kindOf(bytes: Uint8Array): string {
  const known = KINDS_BY_TYPE[bytes[0]! >> 4]
  if (known !== undefined) return known
  const message = decodeMessage(bytes)
  if (message.kind === 'move') return `move ${message.phase}`
  if (message.kind === 'encapsulated-control') return kindOf(message.message)
  if (message.kind === 'map-request' && message.rlocProbe) return 'probe'
  if (message.kind === 'map-request' && message.solicitMapRequest) return 'smr'
  if (message.kind === 'map-reply' && message.rlocProbe) return 'probe-reply'
  return message.kind
}

function textOf(bytes: Uint8Array): string {
  const message = decodeMessage(bytes)
  if (message.kind !== 'encapsulated-control') return describeMessage(message)
  return `encapsulated ${describeMessage(decodeMessage(message.message))}`
}

/** All nodes start within this, all hosts announce themselves within the next. */
const START_MS = 50
/** Kinds that the first byte tells, so that most datagrams are not decoded to be counted. */
const KINDS_BY_TYPE: Readonly<Record<number, string>> = {
  [MESSAGE_TYPE.mapRegister]: 'map-register',
  [MESSAGE_TYPE.mapNotify]: 'map-notify',
  [MESSAGE_TYPE.mapNotifyAck]: 'map-notify-ack',
}
