/**
 * Encapsulated Control Message: a control message with IP and UDP headers of its own, so that it
 * can be addressed to an EID and carried to a Map-Resolver (RFC 9301 §5.8).
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |Type=8 |S|D|E|M|                  Reserved                     |
 * ~              Authentication Data of LISP-SEC, if S            ~
 * |                       IPv4 or IPv6 Header                     |
 * |       Source Port = xxxx      |       Dest Port = yyyy        |
 * |           UDP Length          |        UDP Checksum           |
 * |                      LISP control message                     |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * The figure of RFC 9301 shows E and M as reserved, its §12.6 names them; the NAT traversal draft
 * uses the same bits as R and N. Choice: both are carried as values and sent only when asked for.
 */
import { type IpAddress, ipAddress } from './address.js'
import {
  type ByteReader,
  failDecoding,
  readBytes,
  readU8,
  readU16,
  readView,
  readWindow,
  remaining,
  skipBytes,
} from './byte-reader.js'
import { type ByteWriter, writeBytes, writeU8, writeU16, writeU32 } from './byte-writer.js'
import { complement, pseudoHeaderSum, sumWords } from './checksum.js'
import { LISP_DATA_PORT, MESSAGE_TYPE, PROTOCOL_UDP } from './iana.js'
import type { EncapsulatedControl } from './message.js'
import {
  ECM_SECURITY,
  readEcmAuthenticationData,
  writeEcmAuthenticationData,
} from './security-data.js'

/**
 * The message behind its first word. Malformed unless the inner packet is one whole UDP datagram
 * with matching lengths, right checksums, a UDP checksum that is not zero, and neither port 4341.
 */
export function readEncapsulatedControl(reader: ByteReader, word: number): EncapsulatedControl {
  const security = (word & ECM_SECURITY) !== 0
  const securityData = security ? readEcmAuthenticationData(reader) : undefined
  const ip = readIpHeader(reader)
  const message: EncapsulatedControl = {
    kind: 'encapsulated-control',
    security,
    ddtOriginated: (word & DDT_ORIGINATED) !== 0,
    innerSource: ip.source,
    innerDestination: ip.destination,
    ...readUdp(ip),
  }
  if (securityData === undefined && (word & (TO_ETR | TO_MAP_SERVER)) === 0) return message
  return {
    ...message,
    ...(securityData === undefined ? {} : { securityData }),
    ...((word & TO_ETR) === 0 ? {} : { toEtr: true }),
    ...((word & TO_MAP_SERVER) === 0 ? {} : { toMapServer: true }),
  }
}

/**
 * Writes the message, with the S bit where it has authentication data. The inner packet is of the family of
 * `innerDestination`; an inner source of the other family is only informative (answers go to the
 * ITR-RLOCs) and is written as an IPv4-mapped address or, within IPv4, as the dummy address
 * 192.0.0.8 of RFC 7600. Throws RangeError for an inner port 4341 (RFC 9301 §5.8: MUST NOT).
 */
export function writeEncapsulatedControl(writer: ByteWriter, message: EncapsulatedControl): void {
  const { innerSourcePort, innerDestinationPort, innerDestination: destination } = message
  if (innerSourcePort === LISP_DATA_PORT || innerDestinationPort === LISP_DATA_PORT) {
    throw new RangeError(`port ${LISP_DATA_PORT} cannot be an inner port`)
  }
  const source = sourceOfFamily(message.innerSource, destination)
  const udpLength = UDP_HEADER_BYTES + message.message.length
  const { securityData } = message
  const flags =
    (securityData !== undefined ? ECM_SECURITY : 0) |
    (message.ddtOriginated ? DDT_ORIGINATED : 0) |
    (message.toEtr === true ? TO_ETR : 0) |
    (message.toMapServer === true ? TO_MAP_SERVER : 0)
  writeU32(writer, ((MESSAGE_TYPE.encapsulatedControl << 28) | flags) >>> 0)
  if (securityData !== undefined) writeEcmAuthenticationData(writer, securityData)
  if (destination.family === 4) writeIpv4Header(writer, source, destination, udpLength)
  else writeIpv6Header(writer, source, destination, udpLength)
  const udpStart = writer.offset
  writeU16(writer, innerSourcePort)
  writeU16(writer, innerDestinationPort)
  writeU16(writer, udpLength)
  writeU16(writer, 0)
  writeBytes(writer, message.message)
  const datagram = writer.bytes.subarray(udpStart, writer.offset)
  const sum = complement(udpSum(source, destination, datagram))
  // RFC 768: a computed zero is sent as all ones, because zero says "no checksum".
  putU16(writer.bytes, udpStart + 6, sum === 0 ? 0xffff : sum)
}

const DDT_ORIGINATED = 0x04000000
const TO_ETR = 0x02000000
const TO_MAP_SERVER = 0x01000000
const UDP_HEADER_BYTES = 8
const IPV4_HEADER_BYTES = 20
const DONT_FRAGMENT = 0x4000
/** More Fragments and Fragment Offset. */
const FRAGMENTED = 0x3fff
// Choice: what hosts send; nobody on the way decrements it.
const HOP_LIMIT = 64
const IPV4_MAPPED_PREFIX = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff)
const DUMMY_IPV4 = ipAddress(Uint8Array.of(192, 0, 0, 8))

interface InnerPacket {
  readonly source: IpAddress
  readonly destination: IpAddress
  /** The UDP datagram, exactly. */
  readonly payload: ByteReader
}

function readIpHeader(reader: ByteReader): InnerPacket {
  const start = reader.offset
  const first = readU8(reader, 'inner IP version')
  if (first >> 4 === 4) return readIpv4Header(reader, start, (first & 0xf) * 4)
  if (first >> 4 === 6) return readIpv6Header(reader)
  return failDecoding('bad-ip-version', start, 'inner IP version')
}

function readIpv4Header(reader: ByteReader, start: number, headerBytes: number): InnerPacket {
  if (headerBytes < IPV4_HEADER_BYTES) failDecoding('bad-ip-header', start, 'inner IPv4 IHL')
  skipBytes(reader, 1, 'inner IPv4 DSCP')
  const totalLength = readU16(reader, 'inner IPv4 Total Length')
  if (totalLength < headerBytes) failDecoding('bad-length', start + 2, 'inner IPv4 Total Length')
  skipBytes(reader, 2, 'inner IPv4 Identification')
  const fragment = readU16(reader, 'inner IPv4 Fragment Offset')
  if ((fragment & FRAGMENTED) !== 0) {
    failDecoding('fragmented', start + 6, 'inner IPv4 Fragment Offset')
  }
  skipBytes(reader, 1, 'inner IPv4 TTL')
  const protocol = readU8(reader, 'inner IPv4 Protocol')
  if (protocol !== PROTOCOL_UDP) failDecoding('not-udp', start + 9, 'inner IPv4 Protocol')
  skipBytes(reader, 2, 'inner IPv4 Checksum')
  const source = ipAddress(readBytes(reader, 4, 'inner IPv4 Source'))
  const destination = ipAddress(readBytes(reader, 4, 'inner IPv4 Destination'))
  skipBytes(reader, headerBytes - IPV4_HEADER_BYTES, 'inner IPv4 Options')
  if (complement(sumWords(reader.bytes, start, start + headerBytes)) !== 0) {
    failDecoding('bad-checksum', start + 10, 'inner IPv4 Checksum')
  }
  const payload = readWindow(reader, totalLength - headerBytes, 'inner IPv4 payload')
  return { source, destination, payload }
}

function readIpv6Header(reader: ByteReader): InnerPacket {
  skipBytes(reader, 3, 'inner IPv6 Flow Label')
  const payloadLength = readU16(reader, 'inner IPv6 Payload Length')
  const nextHeaderAt = reader.offset
  const nextHeader = readU8(reader, 'inner IPv6 Next Header')
  if (nextHeader !== PROTOCOL_UDP) failDecoding('not-udp', nextHeaderAt, 'inner IPv6 Next Header')
  skipBytes(reader, 1, 'inner IPv6 Hop Limit')
  const source = ipAddress(readBytes(reader, 16, 'inner IPv6 Source'))
  const destination = ipAddress(readBytes(reader, 16, 'inner IPv6 Destination'))
  const payload = readWindow(reader, payloadLength, 'inner IPv6 payload')
  return { source, destination, payload }
}

function readUdp(
  ip: InnerPacket,
): Pick<EncapsulatedControl, 'innerSourcePort' | 'innerDestinationPort' | 'message'> {
  const reader = ip.payload
  const start = reader.offset
  const innerSourcePort = readU16(reader, 'inner UDP Source Port')
  const innerDestinationPort = readU16(reader, 'inner UDP Dest Port')
  if (innerSourcePort === LISP_DATA_PORT) failDecoding('data-port', start, 'inner UDP Source Port')
  if (innerDestinationPort === LISP_DATA_PORT) {
    failDecoding('data-port', start + 2, 'inner UDP Dest Port')
  }
  const length = readU16(reader, 'inner UDP Length')
  if (length !== reader.end - start) failDecoding('bad-length', start + 4, 'inner UDP Length')
  const checksum = readU16(reader, 'inner UDP Checksum')
  // RFC 9301 §5: control messages are never sent without a checksum.
  if (checksum === 0) failDecoding('zero-checksum', start + 6, 'inner UDP Checksum')
  const datagram = reader.bytes.subarray(start, reader.end)
  if (complement(udpSum(ip.source, ip.destination, datagram)) !== 0) {
    failDecoding('bad-checksum', start + 6, 'inner UDP Checksum')
  }
  const message = readView(reader, remaining(reader), 'LISP control message')
  return { innerSourcePort, innerDestinationPort, message }
}

function writeIpv4Header(
  writer: ByteWriter,
  source: IpAddress,
  destination: IpAddress,
  payloadLength: number,
): void {
  const start = writer.offset
  writeU16(writer, 0x4500)
  writeU16(writer, IPV4_HEADER_BYTES + payloadLength)
  writeU16(writer, 0)
  writeU16(writer, DONT_FRAGMENT)
  writeU8(writer, HOP_LIMIT)
  writeU8(writer, PROTOCOL_UDP)
  writeU16(writer, 0)
  writeBytes(writer, source.bytes)
  writeBytes(writer, destination.bytes)
  putU16(writer.bytes, start + 10, complement(sumWords(writer.bytes, start, writer.offset)))
}

function writeIpv6Header(
  writer: ByteWriter,
  source: IpAddress,
  destination: IpAddress,
  payloadLength: number,
): void {
  writeU32(writer, 0x60000000)
  writeU16(writer, payloadLength)
  writeU8(writer, PROTOCOL_UDP)
  writeU8(writer, HOP_LIMIT)
  writeBytes(writer, source.bytes)
  writeBytes(writer, destination.bytes)
}

function sourceOfFamily(source: IpAddress, destination: IpAddress): IpAddress {
  if (source.family === destination.family) return source
  if (destination.family === 4) return DUMMY_IPV4
  const bytes = new Uint8Array(16)
  bytes.set(IPV4_MAPPED_PREFIX)
  bytes.set(source.bytes, IPV4_MAPPED_PREFIX.length)
  return ipAddress(bytes)
}

/** Sum of pseudo-header and datagram, not yet folded. */
function udpSum(source: IpAddress, destination: IpAddress, datagram: Uint8Array): number {
  const { length } = datagram
  const pseudoHeader = pseudoHeaderSum(source, destination, PROTOCOL_UDP, length)
  return pseudoHeader + sumWords(datagram, 0, length)
}

function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value
}
