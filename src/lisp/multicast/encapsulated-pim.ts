/**
 * A PIM message from xTR to xTR, LISP-encapsulated like data (RFC 6831 §3): what follows UDP port 4341.
 *
 *  LISP header with the instance-ID (RFC 9300 §5.3) | IPv4 or IPv6 header, protocol 103 | PIM
 *
 * The inner addresses are RLOCs. RFC 9301 §5.8 allows an Encapsulated Control Message for it as well; that
 * has no place for the instance-ID, so that it is not used here (our choice).
 */
import { type IpAddress, ipAddress } from '../address.js'
import { complement, sumWords } from '../checksum.js'
import { DATA_HEADER_BYTES, decodeDataHeader, encodeDataHeader } from '../data-header.js'
import { decodePim, encodePim, type PimMessage, PROTOCOL_PIM } from './pim.js'

export interface EncapsulatedPim {
  /** 0–2^24-1; 0 without one in the header. */
  readonly instanceId: number
  readonly source: IpAddress
  readonly destination: IpAddress
  readonly message: PimMessage
}

/** A whole inner packet of some protocol, as its parts. */
export interface EncapsulatedPacket {
  readonly instanceId: number
  readonly source: IpAddress
  readonly destination: IpAddress
  readonly protocol: number
  readonly payload: Uint8Array
}

/** Throws RangeError for inner addresses of two families, or a value that does not fit. */
export function encodeEncapsulatedPim(value: EncapsulatedPim): Uint8Array {
  const { instanceId, source, destination, message } = value
  const payload = encodePim(message, { source, destination })
  return encapsulatePacket({ instanceId, source, destination, protocol: PROTOCOL_PIM, payload })
}

/** LISP header, IP header, payload. Throws RangeError for addresses of two families. */
export function encapsulatePacket(packet: EncapsulatedPacket): Uint8Array {
  const { instanceId, source, destination, payload } = packet
  if (source.family !== destination.family) throw new RangeError('addresses of two families')
  const outer = encodeDataHeader({
    nonce: undefined,
    echoNonceRequest: false,
    mapVersions: undefined,
    instanceId,
    locatorStatusBits: undefined,
    nextProtocol: undefined,
    cryptoKeyId: 0,
  })
  const header = source.family === 4 ? ipv4Header(packet) : ipv6Header(packet)
  const bytes = new Uint8Array(outer.length + header.length + payload.length)
  bytes.set(outer)
  bytes.set(header, outer.length)
  bytes.set(payload, outer.length + header.length)
  return bytes
}

/**
 * What is behind UDP port 4341, or the reason why it is none: that of `decapsulatePacket`, 'not-pim', or
 * that of the PIM message. Never throws.
 */
export function decodeEncapsulatedPim(bytes: Uint8Array): EncapsulatedPim | string {
  const packet = decapsulatePacket(bytes)
  if (typeof packet === 'string') return packet
  const { instanceId, source, destination, protocol, payload } = packet
  if (protocol !== PROTOCOL_PIM) return 'not-pim'
  const message = decodePim(payload, { source, destination })
  if (message.kind === 'malformed') return message.code
  return { instanceId, source, destination, message }
}

/** 'data-header', or 'inner-packet': a fragment, lengths or checksum that are wrong. Never throws. */
export function decapsulatePacket(bytes: Uint8Array): EncapsulatedPacket | string {
  const outer = decodeDataHeader(bytes)
  if (outer === undefined || outer.cryptoKeyId !== 0 || outer.nextProtocol !== undefined)
    return 'data-header'
  const packet = bytes.subarray(DATA_HEADER_BYTES)
  const version = (packet[0] ?? 0) >> 4
  const inner = version === 4 ? readIpv4(packet) : version === 6 ? readIpv6(packet) : undefined
  if (inner === undefined) return 'inner-packet'
  return { instanceId: outer.instanceId ?? 0, ...inner }
}

type InnerPacket = Omit<EncapsulatedPacket, 'instanceId'>

function readIpv4(packet: Uint8Array): InnerPacket | undefined {
  const headerBytes = (packet[0]! & 0xf) * 4
  if (headerBytes < IPV4_BYTES || packet.length < headerBytes) return undefined
  const end = (packet[2]! << 8) | packet[3]!
  const isFragment = (packet[6]! & 0x3f) !== 0 || packet[7] !== 0
  if (isFragment || end < headerBytes || end > packet.length) return undefined
  if (complement(sumWords(packet, 0, headerBytes)) !== 0) return undefined
  return {
    source: ipAddress(packet.slice(12, 16)),
    destination: ipAddress(packet.slice(16, 20)),
    protocol: packet[9]!,
    payload: packet.subarray(headerBytes, end),
  }
}

function readIpv6(packet: Uint8Array): InnerPacket | undefined {
  if (packet.length < IPV6_BYTES) return undefined
  const end = IPV6_BYTES + ((packet[4]! << 8) | packet[5]!)
  if (end > packet.length) return undefined
  return {
    source: ipAddress(packet.slice(8, 24)),
    destination: ipAddress(packet.slice(24, 40)),
    protocol: packet[6]!,
    payload: packet.subarray(IPV6_BYTES, end),
  }
}

function ipv4Header({ source, destination, protocol, payload }: EncapsulatedPacket): Uint8Array {
  const header = new Uint8Array(IPV4_BYTES)
  const total = IPV4_BYTES + payload.length
  header.set([0x45, INTERNETWORK_CONTROL, total >> 8, total & 0xff])
  header.set([HOP_LIMIT, protocol], 8)
  header.set(source.bytes, 12)
  header.set(destination.bytes, 16)
  const sum = complement(sumWords(header, 0, IPV4_BYTES))
  header.set([sum >> 8, sum & 0xff], 10)
  return header
}

function ipv6Header({ source, destination, protocol, payload }: EncapsulatedPacket): Uint8Array {
  const { length } = payload
  const header = new Uint8Array(IPV6_BYTES)
  header.set([0x60 | (INTERNETWORK_CONTROL >> 4), (INTERNETWORK_CONTROL & 0xf) << 4])
  header.set([length >> 8, length & 0xff, protocol, HOP_LIMIT], 4)
  header.set(source.bytes, 8)
  header.set(destination.bytes, 24)
  return header
}

const IPV4_BYTES = 20
const IPV6_BYTES = 40
const INTERNETWORK_CONTROL = 0xc0
const HOP_LIMIT = 64
