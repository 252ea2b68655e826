/**
 * The decoders of group membership, PIM and the reliable transport under test. The first byte of a
 * multicast input says which protocol and family the rest is; its checksum is put right after damage,
 * or nothing else would ever be read.
 */
import type { Malformed } from '../../src/lisp/message.js'
import { decodeIgmp, encodeIgmp } from '../../src/lisp/multicast/igmp.js'
import {
  type MembershipMessage,
  maxResponseMs,
  queryIntervalSeconds,
} from '../../src/lisp/multicast/membership.js'
import { decodeMld, encodeMld } from '../../src/lisp/multicast/mld.js'
import { decodePim, encodePim, type PimMessage } from '../../src/lisp/multicast/pim.js'
import { joinTerms } from '../../src/lisp/multicast/pim-addresses.js'
import {
  createReliableStream,
  decodeReliableMessage,
  encodeReliableMessage,
  type ReliableMessage,
} from '../../src/lisp/reliable-transport.js'
import { bytesOf, loadVectors } from '../lisp/plain-value.js'
import { anAddress } from '../support/builders.js'
import type { Target } from './campaign.js'
import { repairGroupMessage } from './repair-checksums.js'

interface GroupVector {
  readonly protocol: 'igmp' | 'mld' | 'pim'
  readonly family: 4 | 6
  readonly hex: string
}

interface Decoded {
  readonly how: number
  readonly value: MembershipMessage | PimMessage | Malformed
}

const V4 = { source: anAddress('192.0.2.1'), destination: anAddress('224.0.0.22') }
const V6 = { source: anAddress('fe80::1'), destination: anAddress('ff02::16') }
const [IGMP, MLD, PIM4, PIM6] = [0, 1, 2, 3]

export const multicastTarget: Omit<Target<Decoded>, 'seeds'> = {
  name: 'multicast',
  weight: 4,
  decode(bytes) {
    const how = (bytes[0] ?? 0) & 3
    return { how, value: decodeAs(how, bytes.subarray(1)) }
  },
  isDecoded: ({ value }) => value.kind !== 'malformed',
  encode(decoded) {
    const { how, value } = decoded
    if (value.kind === 'malformed') return undefined
    return { bytes: Uint8Array.of(how, ...encodeAs(how, value)), value: decoded }
  },
  repair(input) {
    const how = (input[0] ?? 0) & 3
    const addresses = how === IGMP || how === PIM4 ? undefined : [V6.source, V6.destination]
    const pseudo = addresses?.map(({ bytes }) => bytes)
    repairGroupMessage(input.subarray(1), pseudo, how === MLD ? 58 : 103)
  },
  use({ value }) {
    if (value.kind === 'membership-query') {
      maxResponseMs(value)
      queryIntervalSeconds(value)
    }
    if (value.kind !== 'pim-join-prune') return
    for (const { group, joined, pruned } of value.groups) {
      for (const source of [...joined, ...pruned]) {
        joinTerms(source.attributes, group.attributes, value.upstreamNeighbor.attributes)
      }
    }
  },
}

function decodeAs(how: number, bytes: Uint8Array): Decoded['value'] {
  if (how === IGMP) return decodeIgmp(bytes)
  if (how === MLD) return decodeMld(bytes, V6)
  return decodePim(bytes, how === PIM6 ? V6 : V4)
}

function encodeAs(how: number, value: MembershipMessage | PimMessage): Uint8Array {
  if (!('protocol' in value)) return encodePim(value, how === PIM6 ? V6 : V4)
  return value.protocol === 'igmp' ? encodeIgmp(value) : encodeMld(value, V6)
}

export function multicastSeeds(): Uint8Array[] {
  const { messages, malformed } = loadVectors<{
    messages: GroupVector[]
    malformed: GroupVector[]
  }>('multicast.json')
  return [...messages, ...malformed].map(({ protocol, family, hex }) => {
    const how = protocol === 'igmp' ? IGMP : protocol === 'mld' ? MLD : family === 4 ? PIM4 : PIM6
    return Uint8Array.of(how!, ...bytesOf(hex))
  })
}

export const reliableTarget: Omit<Target<ReliableMessage | Malformed>, 'seeds'> = {
  name: 'reliable',
  weight: 3,
  decode: decodeReliableMessage,
  isDecoded: (value) => value.kind !== 'malformed',
  encode(value) {
    if (value.kind === 'malformed') return undefined
    return { bytes: encodeReliableMessage(value), value }
  },
}

/** A connection in pieces: where it is cut must not matter, and what is held back is bounded. */
export const streamTarget: Omit<Target<readonly unknown[]>, 'seeds'> = {
  name: 'stream',
  weight: 1,
  decode(bytes, turn) {
    const stream = createReliableStream()
    const step = turn === 0 ? Math.max(1, bytes.length) : 1 + (bytes.length >> 3)
    const items: unknown[] = []
    for (let at = 0; at < bytes.length; at += step) {
      items.push(...stream.push(bytes.subarray(at, at + step)))
      if (stream.heldBytes > MOST_HELD_BYTES) throw new Error(`${stream.heldBytes} bytes held`)
    }
    return items
  },
  isDecoded: (items) => items.some((item) => (item as { kind: string }).kind !== 'malformed'),
}
const MOST_HELD_BYTES = 0xffff

export function reliableSeeds(): Uint8Array[] {
  const { messages, malformed = [] } = loadVectors<{
    messages: { hex: string }[]
    malformed?: { hex: string }[]
  }>('reliable.json')
  return [...messages, ...malformed].map(({ hex }) => bytesOf(hex))
}

/** Two messages behind each other. */
export function streamSeeds(): Uint8Array[] {
  const messages = reliableSeeds()
  return messages.map((bytes, at) =>
    Uint8Array.of(...messages[(at + 1) % messages.length]!, ...bytes),
  )
}
