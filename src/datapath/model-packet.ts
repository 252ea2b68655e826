/**
 * A packet as the model sees it: who, to whom, which one of its flow, how large, how far it may go.
 *
 * Texts and hash of a flow are computed once, because a world carries many packets and few flows.
 */
import type { ClosedFields } from '../control/closed-network/closed-vocabulary.js'
import { type Eid, formatEid } from '../lisp/eid.js'

/** Outer headers in bytes, with UDP and LISP: IPv4 20 + 8 + 8, IPv6 40 + 8 + 8. */
export const OVERHEAD_BYTES = { 4: 36, 6: 56 } as const

export interface ModelFlow {
  readonly source: Eid
  readonly destination: Eid
  /** Canonical texts, the keys of the host tables. */
  readonly sourceText: string
  readonly destinationText: string
  /** 32 bits; chooses the locator. */
  readonly hash: number
}

export interface ModelPacket {
  readonly flow: ModelFlow
  readonly sequence: number
  /** Inner packet from its IP header. */
  readonly sizeBytes: number
  /** Inner DSCP and ECN; only bytes have them (model-frames.ts). */
  readonly trafficClass?: number
  /** LISP headers that it carries already, up to 2 (RFC 9300 §3). */
  readonly lispHeaders?: number
  /** Inner TTL or hop limit: one less for every encapsulation. */
  ttl: number
  /** How often it was sent on because its EID was away. */
  redirects: number
  /** What the LISP header says that it travels under, in a closed network. */
  marks?: ClosedFields | undefined
  /** It came from the core to an RTR and waits there. */
  relayed?: true
  /** What the source of a live move has written on it, on its way to the destination. */
  mark?: PacketMark | undefined
}

export interface PacketMark {
  readonly kind: 'copy' | 'redirect'
  readonly stamp: number
}

/** Initial TTL of hosts. */
export const INITIAL_TTL = 64

export function modelFlow(source: Eid, destination: Eid): ModelFlow {
  const [sourceText, destinationText] = [formatEid(source), formatEid(destination)]
  return { source, destination, sourceText, destinationText, hash: hashOf(source, destination) }
}

/** FNV-1a over both addresses, 32 bits, with a final mix: neighbouring hosts must spread. */
function hashOf(source: Eid, destination: Eid): number {
  let hash = 0x811c9dc5
  for (const bytes of [source.address.bytes, destination.address.bytes])
    for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b) >>> 0
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) >>> 0
  return (hash ^ (hash >>> 16)) >>> 0
}
