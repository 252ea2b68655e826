/**
 * What must hold at every step, whatever the network does. A violation ends the run.
 *
 * I1 a packet is delivered at most once for each copy that the network made, and only a loss that
 *    the faults of this run explain is a loss. I2 the datapath sends only to RLOCs of nodes that may
 *    have the EID-prefix. I4 no packet is sent on more often than `MAXIMUM_REDIRECTS`, none dies of
 *    its TTL. I5 a Map-Reply with a nonce that nobody asked with changes nothing. I6 the hold keeps
 *    its limits, and nobody asks more than once a second for one EID-prefix (RFC 9301 §5.3).
 *    I7 the tables of the datapath are those of the control plane. I9 a datagram that was altered or
 *    forged changes nothing. I3, I8 and the places of all EIDs are judged at rest: see at-rest.ts.
 */
import type { Instant } from '../control/capabilities.js'
import type { Input, Output } from '../control/input-output.js'
import type { NodeSnapshot } from '../control/snapshot.js'
import type { ModelDatapath } from '../datapath/model-datapath.js'
import type { ModelPacket } from '../datapath/model-packet.js'
import { formatIpAddress } from '../lisp/address.js'
import { coversPrefix, type EidPrefix, formatEidPrefix } from '../lisp/eid.js'
import { MESSAGE_TYPE } from '../lisp/iana.js'
import { decodeMessage, type MapRequest, type Message } from '../lisp/message.js'
import { packetText } from './host.js'
import type { Datagram } from './network.js'
import type { NodeSpecification } from './topology.js'

export const INVARIANTS = ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9', 'I10'] as const
export type Invariant = (typeof INVARIANTS)[number]

/** Ends a run; caught where the run was started. */
export class InvariantViolation extends Error {
  readonly invariant: Invariant
  readonly at: Instant
  constructor(invariant: Invariant, message: string, at: Instant) {
    super(message)
    this.name = 'InvariantViolation'
    this.invariant = invariant
    this.at = at
  }
}

export interface InvariantOptions {
  readonly now: () => Instant
  readonly specifications: readonly NodeSpecification[]
  /** Not judged: tests leave out the quick ones to see whether the slow ones notice as well. */
  readonly without: readonly Invariant[]
  /** How often a packet may be sent on in this run. */
  readonly maximumRedirects: number
  /** Whether the faults of this run explain a loss for this reason. */
  readonly explainsLoss: (reason: string) => boolean
}

export interface Invariants {
  /** A node handled an input; its outputs are not performed yet. */
  observe(
    node: string,
    input: Input,
    datagram: Datagram | undefined,
    outputs: readonly Output[],
  ): void
  /** A new life of the node: its promises of rate begin anew. */
  restarted(node: string): void
  lost(packet: ModelPacket, reason: string, where: string): void
  tooOften(packet: ModelPacket, where: string): void
  redirected(packet: ModelPacket, where: string): void
  /** Once a second: I6 of the hold, I7. */
  compare(node: string, snapshot: NodeSnapshot, datapath: ModelDatapath): void
  violate(invariant: Invariant, message: string): void
}

/** A move adds one way back and one way on; more than three moves are never under way at once. */
export const MAXIMUM_REDIRECTS = 8
const REQUEST_INTERVAL_MS = 1000
/** Nonces remembered per node. */
const MAXIMUM_NONCES = 10_000

export function createInvariants(options: InvariantOptions): Invariants {
  const { now, specifications } = options
  const nonces = new Map<string, Set<bigint>>()
  /** Node → EID-prefix → when. */
  const lastAsked = new Map<string, Map<string, Instant>>()
  const byName = new Map(specifications.map((one) => [one.name, one]))
  const rlocs = new Map<string, NodeSpecification>()
  for (const one of specifications)
    for (const { address } of one.nodeConfig.rlocs) rlocs.set(formatIpAddress(address), one)

  function violate(invariant: Invariant, message: string): void {
    if (options.without.includes(invariant)) return
    throw new InvariantViolation(invariant, message, now())
  }

  function noteRequest(node: string, request: MapRequest): void {
    const known = nonces.get(node) ?? new Set()
    nonces.set(node, known.add(request.nonce))
    if (known.size > MAXIMUM_NONCES) for (const oldest of known) if (known.delete(oldest)) break
    if (request.rlocProbe || request.solicitMapRequest) return
    // A Map-Server passes on what others ask.
    if (!byName.get(node)?.nodeConfig.roles.includes('itr')) return
    const asked = lastAsked.get(node) ?? new Map<string, Instant>()
    lastAsked.set(node, asked)
    for (const { eidPrefix } of request.records) {
      const key = formatEidPrefix(eidPrefix)
      const last = asked.get(key)
      asked.set(key, now())
      // A rate limit may round to the microsecond.
      if (last !== undefined && now() - last < REQUEST_INTERVAL_MS - 0.001)
        violate('I6', `${node} ${key} asked for twice within ${now() - last} ms`)
    }
  }

  function noteSent(node: string, bytes: Uint8Array): void {
    // Only requests are of interest, and decoding all else would be half of the work of a run.
    const type = bytes[0]! >> 4
    if (type !== MESSAGE_TYPE.mapRequest && type !== MESSAGE_TYPE.encapsulatedControl) return
    let message: Message | { readonly kind: 'malformed' } = decodeMessage(bytes)
    if (message.kind === 'encapsulated-control') message = decodeMessage(message.message)
    if (message.kind === 'map-request') noteRequest(node, message)
  }

  function mayBeAt(eidPrefix: EidPrefix, rloc: string): boolean {
    const { nodeConfig } = rlocs.get(rloc) ?? {}
    if (nodeConfig === undefined) return false
    return [...nodeConfig.eidPrefixes, ...nodeConfig.dynamicEidPrefixes].some(
      (one) => coversPrefix(one.eidPrefix, eidPrefix) || coversPrefix(eidPrefix, one.eidPrefix),
    )
  }

  function judgeOutput(node: string, output: Output): void {
    if (output.kind === 'send') noteSent(node, output.bytes)
    if (output.kind === 'persist') for (const one of output.then) judgeOutput(node, one)
    if (output.kind !== 'datapath' || output.operation.kind !== 'put-map-cache') return
    const { eidPrefix, encapsulations } = output.operation
    for (const { locator } of encapsulations) {
      const rloc = formatIpAddress(locator.rloc)
      if (!mayBeAt(eidPrefix, rloc))
        violate('I2', `${node} sends ${formatEidPrefix(eidPrefix)} to ${rloc}`)
    }
  }

  function judgeDatagram(node: string, datagram: Datagram, outputs: readonly Output[]): void {
    const acts = outputs.some((one) => one.kind === 'datapath' || one.kind === 'persist')
    if (!acts) return
    const message = decodeMessage(datagram.bytes)
    if (!datagram.genuine)
      violate('I9', `${node} acted on a ${message.kind} that was altered or forged`)
    const asked = message.kind !== 'map-reply' || nonces.get(node)?.has(message.nonce) === true
    if (!asked) violate('I5', `${node} acted on a Map-Reply it had not asked for`)
  }

  function compareLocalEids(node: string, snapshot: NodeSnapshot, datapath: ModelDatapath): void {
    const found = new Map(datapath.view().localEids.map((one) => [one.eidPrefix, one]))
    for (const { eidPrefix, kind, state } of snapshot.mappingDatabase) {
      const entry = found.get(eidPrefix)
      found.delete(eidPrefix)
      const wanted = kind === 'dynamic-prefix' ? 'prefix' : state
      if (entry?.settling || entry?.state === wanted) continue
      violate('I7', `${node}: ${eidPrefix} is ${wanted}, the datapath has it ${entry?.state}`)
    }
    for (const one of found.values())
      if (!one.settling) violate('I7', `${node}: the datapath still has ${one.eidPrefix}`)
  }

  function compareMapCache(node: string, snapshot: NodeSnapshot, datapath: ModelDatapath): void {
    const found = new Map(datapath.view().mapCache.map((one) => [one.eidPrefix, one]))
    for (const { eidPrefix, action, locators } of snapshot.mapCache) {
      const entry = found.get(eidPrefix)
      found.delete(eidPrefix)
      if (entry?.settling) continue
      const fits = entry !== undefined && ACTIONS_FOR[action]!.includes(entry.action)
      const names = locators.map((one) => one.rloc)
      const foreign = entry?.rlocs.filter((one) => !names.includes(one)) ?? []
      if (!fits || foreign.length > 0) {
        const has = `${entry?.action} ${entry?.rlocs.join(', ')}`
        violate('I7', `${node}: ${eidPrefix} is ${action} ${names.join(', ')}, not ${has}`)
      }
    }
    for (const one of found.values())
      if (!one.settling) violate('I7', `${node}: the datapath still maps ${one.eidPrefix}`)
  }

  return {
    violate,
    observe(node, _input, datagram, outputs) {
      for (const output of outputs) judgeOutput(node, output)
      if (datagram !== undefined) judgeDatagram(node, datagram, outputs)
    },
    restarted(node) {
      nonces.delete(node)
      lastAsked.delete(node)
    },
    lost(packet, reason, where) {
      const bounded = Number.isFinite(options.maximumRedirects)
      if (reason === 'ttl-expired' && bounded)
        violate('I4', `${packetText(packet)} went round in circles`)
      if (!options.explainsLoss(reason))
        violate('I1', `${packetText(packet)} was lost at ${where}: ${reason}`)
    },
    tooOften(packet, where) {
      violate('I1', `${packetText(packet)} was delivered once too often at ${where}`)
    },
    redirected(packet, where) {
      if (packet.redirects > options.maximumRedirects)
        violate(
          'I4',
          `${packetText(packet)} was sent on ${packet.redirects} times, last by ${where}`,
        )
    },
    compare(node, snapshot, datapath) {
      const limits = byName.get(node)!.config.hold
      const { packets, bytes } = datapath.counters().hold
      const eids = new Set([...datapath.waiting()].map((one) => one.flow.destinationText)).size
      if (bytes > limits.bytesTotal || packets > 2 * eids * limits.packetsPerEid)
        violate('I6', `${node} holds ${packets} packets of ${bytes} bytes`)
      compareLocalEids(node, snapshot, datapath)
      compareMapCache(node, snapshot, datapath)
    },
  }
}

/** What the datapath may do under an action; forward without usable locator drops or is native. */
const ACTIONS_FOR: Readonly<Record<string, readonly string[]>> = {
  forward: ['forward', 'drop', 'native'],
  'natively-forward': ['native'],
  'send-map-request': ['hold'],
  'no-action': ['drop'],
  drop: ['drop'],
  'drop-policy-denied': ['drop'],
  'drop-auth-failure': ['drop'],
}
