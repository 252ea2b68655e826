/**
 * The byte door of the model: frames in, frames out, as the programs of native/bpf see them.
 *
 * Reads outer, LISP and inner headers (RFC 9300 §5, RFC 9305 §3), combines TTL, DSCP and ECN
 * (RFC 6040 §4.2), asks the model, and writes headers again. So the vectors of the programs are those
 * of the model. Not modelled: neighbours, super-packets, checksums beside those of IPv4 headers, the
 * split of packets that are too big, next hops; ports and flow labels are 0, as nothing tells their hash.
 */
import type { ClosedFields } from '../control/closed-network/closed-vocabulary.js'
import { equalIpAddresses, type IpAddress, isMulticast, type MacAddress } from '../lisp/address.js'
import { DATA_HEADER_BYTES, decodeDataHeader, encodeDataHeader } from '../lisp/data-header.js'
import type { Rloc } from '../lisp/locator.js'
import { isLinkScoped } from '../lisp/multicast/multicast-group.js'
import { internetChecksum } from './internet-checksum.js'
import type { ModelDatapath } from './model-datapath.js'
import { type ModelFlow, type ModelPacket, modelFlow } from './model-packet.js'
import type { ModelDropReason, ModelSurroundings } from './model-surroundings.js'

export type FrameOutcome =
  /** Not ours: the kernel goes on with it. */
  | { readonly kind: 'pass' }
  | { readonly kind: 'drop'; readonly reason: ModelDropReason }
  | { readonly kind: 'held' }
  /** The outer IP packet. */
  | { readonly kind: 'core'; readonly packet: Uint8Array }
  /** The inner IP packet, and to whom when that is known. */
  | {
      readonly kind: 'site'
      readonly packet: Uint8Array
      readonly mac: MacAddress | undefined
      readonly interfaceName: string
    }
  /** Of a packet to a group: all that became of it, in order; nothing when its only copy would go back. */
  | { readonly kind: 'copies'; readonly copies: readonly FrameOutcome[] }

export interface FrameDoor {
  /** For the model that `open` makes: what it does is written down here. */
  readonly surroundings: Pick<ModelSurroundings, 'transmit' | 'deliver' | 'native' | 'discard'>
  /** A frame on a site interface of this instance, addressed to it. */
  fromSite(
    model: ModelDatapath,
    frame: Uint8Array,
    interfaceName: string,
    instanceId: number,
  ): FrameOutcome
  /** A frame on the underlay. */
  fromCore(model: ModelDatapath, frame: Uint8Array): FrameOutcome
}

interface IpHeader {
  readonly source: IpAddress
  readonly destination: IpAddress
  /** As the header says; 0 is a jumbogram, which is not modelled. */
  readonly length: number
  readonly headerLength: number
  readonly trafficClass: number
  readonly ttl: number
  readonly protocol: number
  readonly isFragment: boolean
}

const ETHERNET_BYTES = 14
const UDP_BYTES = 8
const UDP = 17
const DATA_PORT = 4341
const GPE_IPV4 = 1
const GPE_IPV6 = 2
const NOT_ECT = 0
const ECT1 = 1
const ECT0 = 2
const CE = 3
const PASS: FrameOutcome = { kind: 'pass' }
const HELD: FrameOutcome = { kind: 'held' }

export function createFrameDoor(ownRlocs: readonly Rloc[]): FrameDoor {
  /** By flow, which copies of a packet share. */
  const bytesOf = new WeakMap<ModelFlow, Uint8Array>()
  let outcomes: FrameOutcome[] = []
  let sequence = 0

  function pack(
    bytes: Uint8Array,
    header: IpHeader,
    instanceId: number,
    change: { ttl: number; trafficClass: number },
  ): ModelPacket {
    sequence += 1
    const source = { instanceId, address: header.source }
    const destination = { instanceId, address: header.destination }
    const packet: ModelPacket = {
      flow: modelFlow(source, destination),
      sequence,
      sizeBytes: header.length,
      ttl: change.ttl,
      trafficClass: change.trafficClass,
      lispHeaders: countLispHeaders(bytes),
      redirects: 0,
    }
    bytesOf.set(packet.flow, bytes.slice(0, header.length))
    return packet
  }

  /** The inner packet with the TTL and traffic class that it has now. */
  function inner(packet: ModelPacket): Uint8Array {
    const bytes = (bytesOf.get(packet.flow) ?? new Uint8Array()).slice()
    rewrite(bytes, packet.ttl, packet.trafficClass ?? 0)
    return bytes
  }

  function run(packet: ModelPacket, act: () => void): FrameOutcome {
    outcomes = []
    act()
    const [first = HELD, ...others] = outcomes
    const isPlain = others.length === 0 && (first === PASS || first.kind === 'drop')
    if (isPlain || !isMulticast(packet.flow.destination.address)) return others.at(-1) ?? first
    return { kind: 'copies', copies: outcomes }
  }

  return {
    surroundings: {
      transmit(packet, from, to, how) {
        const lisp = encodeDataHeader({
          ...(how.fields ?? { nonce: undefined, echoNonceRequest: false }),
          mapVersions: how.fields?.mapVersions,
          locatorStatusBits: how.fields?.locatorStatusBits,
          instanceId: packet.flow.destination.instanceId,
          nextProtocol: how.gpe ? nextProtocolOf(packet.flow.destination.address) : undefined,
          cryptoKeyId: 0,
        })
        outcomes.push({
          kind: 'core',
          packet: encapsulated(packet, from, to, lisp, inner(packet)),
        })
      },
      deliver(packet, interfaceName, mac) {
        outcomes.push({ kind: 'site', packet: inner(packet), mac, interfaceName })
      },
      native() {
        outcomes.push(PASS)
      },
      discard(_packet, reason) {
        outcomes.push({ kind: 'drop', reason })
      },
    },
    fromSite(model, frame, interfaceName, instanceId) {
      const bytes = frame.subarray(ETHERNET_BYTES)
      const header = readIp(bytes)
      if (header === undefined || header.length > bytes.length) return PASS
      if (header.ttl <= 1 || belongsToKernel(header.destination)) return PASS
      const packet = pack(bytes, header, instanceId, header)
      return run(packet, () => model.fromSite(packet, frame.slice(6, 12), interfaceName))
    },
    fromCore(model, frame) {
      const outer = readOuter(frame.subarray(ETHERNET_BYTES), ownRlocs)
      if (outer.kind !== 'lisp') return outer
      const header = readIp(outer.payload)
      const isByCore = isMulticast(outer.ip.destination)
      const drop = (reason: ModelDropReason): FrameOutcome => ({ kind: 'drop', reason })
      if (header === undefined || header.length > outer.innerRoom) return drop('malformed-inner')
      const { gpe, ip } = outer
      if (gpe !== undefined && gpe !== nextProtocolOf(header.source)) return drop('unsupported-gpe')
      const ecn = combineEcn(header.trafficClass & 3, ip.trafficClass & 3)
      if (ecn === 'drop') return drop('ecn-not-ect-marked')
      // RFC 9305 §4.2: with the P bit the inner DSCP stays.
      const dscp = (gpe === undefined ? ip : header).trafficClass & ~3
      const change = { ttl: Math.min(header.ttl, ip.ttl), trafficClass: dscp | ecn }
      // The reverse path is not modelled: it is a matter of next hops.
      if (isByCore && !isMulticast(header.destination)) return drop('unknown-group')
      const packet = pack(outer.payload, header, outer.instanceId, change)
      const fields = gpe === undefined ? outer.fields : undefined
      return run(packet, () => model.fromCore(packet, ip.source, fields))
    },
  }
}

type Outer =
  | {
      readonly kind: 'lisp'
      readonly ip: IpHeader
      readonly payload: Uint8Array
      /** Bytes that the outer header leaves for the inner packet. */
      readonly innerRoom: number
      readonly instanceId: number
      readonly gpe: number | undefined
      readonly fields: ClosedFields
    }
  | Extract<FrameOutcome, { kind: 'pass' | 'drop' }>

function readOuter(bytes: Uint8Array, ownRlocs: readonly Rloc[]): Outer {
  const ip = readIp(bytes)
  const pass = { kind: 'pass' } as const
  const malformed = { kind: 'drop', reason: 'malformed-outer' } as const
  if (ip === undefined || ip.protocol !== UDP || ip.isFragment) return pass
  const isIpv4 = ip.source.family === 4
  // Options are the kernel's business.
  if (isIpv4 && ip.headerLength !== 20) return pass
  const at = ip.headerLength
  const overhead = at + UDP_BYTES + DATA_HEADER_BYTES
  if (bytes.length < overhead || word(bytes, at + 2) !== DATA_PORT) return pass
  const isGroup = isMulticast(ip.destination)
  if (!isGroup && !ownRlocs.some((own) => equalIpAddresses(own, ip.destination))) return pass
  const udpLength = word(bytes, at + 4)
  if (udpLength > ip.length - at || udpLength < UDP_BYTES + DATA_HEADER_BYTES) return malformed
  if (ip.length < overhead || ip.length > bytes.length) return malformed
  const header = decodeDataHeader(bytes.subarray(at + UDP_BYTES))!
  if (header.cryptoKeyId !== 0) return malformed
  return {
    kind: 'lisp',
    ip,
    payload: bytes.subarray(overhead),
    innerRoom: ip.length - overhead,
    instanceId: header.instanceId ?? 0,
    gpe: header.nextProtocol,
    fields: header,
  }
}

/** Undefined when it is no sound IP packet. */
function readIp(bytes: Uint8Array): IpHeader | undefined {
  const version = (bytes[0] ?? 0) >> 4
  if (bytes.length < 20) return undefined
  if (version === 6) {
    if (bytes.length < 40) return undefined
    return {
      source: { family: 6, bytes: bytes.slice(8, 24) },
      destination: { family: 6, bytes: bytes.slice(24, 40) },
      length: word(bytes, 4) + 40,
      headerLength: 40,
      trafficClass: (word(bytes, 0) >> 4) & 0xff,
      ttl: bytes[7]!,
      protocol: bytes[6]!,
      isFragment: false,
    }
  }
  const headerLength = (bytes[0]! & 15) * 4
  const length = word(bytes, 2)
  if (version !== 4 || headerLength < 20 || length < headerLength) return undefined
  return {
    source: { family: 4, bytes: bytes.slice(12, 16) },
    destination: { family: 4, bytes: bytes.slice(16, 20) },
    length,
    headerLength,
    trafficClass: bytes[1]!,
    ttl: bytes[8]!,
    protocol: bytes[9]!,
    isFragment: (word(bytes, 6) & 0x3fff) !== 0,
  }
}

/** RFC 6040 figure 4; the outer CE on an inner packet that cannot carry it is a drop. */
function combineEcn(inner: number, outer: number): number | 'drop' {
  if (inner === NOT_ECT) return outer === CE ? 'drop' : NOT_ECT
  if (outer === CE) return CE
  return inner === ECT0 && outer === ECT1 ? ECT1 : inner
}

/** Link-local, and what is no address of anybody: the kernel's own routing handles them. */
function belongsToKernel(address: IpAddress): boolean {
  if (isMulticast(address)) return isLinkScoped(address)
  const [first, second] = [address.bytes[0]!, address.bytes[1]!]
  if (address.family === 6) return first === 0xfe && (second & 0xc0) === 0x80
  return first >= 240 || first === 127 || first === 0 || (first === 169 && second === 254)
}

function nextProtocolOf({ family }: IpAddress): number {
  return family === 4 ? GPE_IPV4 : GPE_IPV6
}

/** LISP headers on the packet, the outermost two at most. */
function countLispHeaders(bytes: Uint8Array): number {
  let [count, rest] = [0, bytes]
  while (count < 2) {
    const ip = readIp(rest)
    if (ip === undefined || ip.protocol !== UDP) return count
    if (rest.length < ip.headerLength + 4 || word(rest, ip.headerLength + 2) !== DATA_PORT)
      return count
    count += 1
    rest = rest.subarray(ip.headerLength + UDP_BYTES + DATA_HEADER_BYTES)
  }
  return count
}

function rewrite(bytes: Uint8Array, ttl: number, trafficClass: number): void {
  if (bytes[0]! >> 4 === 4) {
    bytes[1] = trafficClass
    bytes[8] = ttl
    writeIpv4Checksum(bytes, (bytes[0]! & 15) * 4)
  } else {
    const first = (word(bytes, 0) & 0xf00f) | (trafficClass << 4)
    bytes.set([first >> 8, first & 0xff])
    bytes[7] = ttl
  }
}

function encapsulated(
  packet: ModelPacket,
  from: Rloc,
  to: Rloc,
  lisp: Uint8Array,
  inner: Uint8Array,
): Uint8Array {
  const udpLength = UDP_BYTES + lisp.length + inner.length
  const headerLength = to.family === 4 ? 20 : 40
  const bytes = new Uint8Array(headerLength + udpLength)
  const view = new DataView(bytes.buffer)
  const trafficClass = packet.trafficClass ?? 0
  if (to.family === 4) {
    bytes.set([0x45, trafficClass, 0, 0, 0, 0, 0x40, 0, packet.ttl, UDP])
    view.setUint16(2, bytes.length)
    bytes.set(from.bytes, 12)
    bytes.set(to.bytes, 16)
    writeIpv4Checksum(bytes, headerLength)
  } else {
    view.setUint32(0, (0x60000000 | (trafficClass << 20)) >>> 0)
    view.setUint16(4, udpLength)
    bytes.set([UDP, packet.ttl], 6)
    bytes.set(from.bytes, 8)
    bytes.set(to.bytes, 24)
  }
  view.setUint16(headerLength + 2, DATA_PORT)
  view.setUint16(headerLength + 4, udpLength)
  bytes.set(lisp, headerLength + UDP_BYTES)
  bytes.set(inner, headerLength + UDP_BYTES + lisp.length)
  return bytes
}

function writeIpv4Checksum(bytes: Uint8Array, headerLength: number): void {
  bytes.set([0, 0], 10)
  const sum = internetChecksum([bytes.subarray(0, headerLength)])
  bytes.set([sum >> 8, sum & 0xff], 10)
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}
