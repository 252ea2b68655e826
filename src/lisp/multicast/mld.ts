/**
 * MLD versions 1 and 2 (RFC 2710 §3, RFC 3810 §5): four types of ICMPv6, over the checksum of which
 * stands the IPv6 pseudo-header.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |     Type      |     Code      |           Checksum            |
 * | Maximum Response Code / Rsvd  |  Reserved / Number of Records |
 * |                  Multicast Address (not v2 report)            |
 * ~      v2: membership-bytes.ts                                  ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * Hop limit 1, router alert and a link-local source are for the caller to look at.
 */
import {
  byteReader,
  failDecoding,
  MalformedSignal,
  readU8,
  readU16,
  skipBytes,
} from '../byte-reader.js'
import {
  type ByteWriter,
  byteWriter,
  patchU16,
  writeBytes,
  writeU8,
  writeU16,
  writtenBytes,
} from '../byte-writer.js'
import { complement, type PacketAddresses, pseudoHeaderSum, sumWords } from '../checksum.js'
import type { Malformed } from '../message.js'
import type { MembershipMessage, MembershipQuery } from './membership.js'
import {
  readAddress,
  readGroupRecords,
  readSourceTerms,
  writeGroupRecords,
  writeSourceTerms,
} from './membership-bytes.js'

/** Internet protocol number of ICMPv6. */
export const PROTOCOL_ICMPV6 = 58

/**
 * What an ICMPv6 payload says of multicast listeners. Never throws; other ICMPv6 types are
 * 'unknown-type'.
 */
export function decodeMld(
  bytes: Uint8Array,
  addresses: PacketAddresses,
): MembershipMessage | Malformed {
  try {
    return readMld(bytes, addresses)
  } catch (error) {
    if (error instanceof MalformedSignal) return error.malformed
    throw error
  }
}

/** The payload with its checksum. Throws RangeError for a value of IGMP or one that does not fit. */
export function encodeMld(message: MembershipMessage, addresses: PacketAddresses): Uint8Array {
  if (message.protocol !== 'mld') throw new RangeError(`${message.protocol} in MLD`)
  const writer = byteWriter()
  switch (message.kind) {
    case 'membership-query':
      writeQuery(writer, message)
      break
    case 'membership-report':
      if (message.version !== 1) throw new RangeError('MLDv2 reports have records')
      writeHeader(writer, TYPE.reportV1, 0, 0)
      writeGroup(writer, message.group.bytes)
      break
    case 'membership-leave':
      writeHeader(writer, TYPE.done, 0, 0)
      writeGroup(writer, message.group.bytes)
      break
    case 'source-membership-report':
      writeHeader(writer, TYPE.reportV2, 0, message.records.length)
      writeGroupRecords(writer, message.records)
      break
  }
  const sum = checksumOf(writer.bytes.subarray(0, writer.offset), addresses)
  patchU16(writer, CHECKSUM_AT, sum)
  return writtenBytes(writer)
}

const TYPE = { query: 130, reportV1: 131, done: 132, reportV2: 143 } as const
const TYPES: readonly number[] = Object.values(TYPE)
const CHECKSUM_AT = 2
const SHORT_BYTES = 24
const QUERY_V2_BYTES = 28

function readMld(bytes: Uint8Array, addresses: PacketAddresses): MembershipMessage {
  const reader = byteReader(bytes)
  const type = readU8(reader, 'Type')
  if (!TYPES.includes(type)) failDecoding('unknown-type', 0, 'Type')
  skipBytes(reader, 3, 'Checksum')
  if (checksumOf(bytes, addresses) !== 0) failDecoding('bad-checksum', CHECKSUM_AT, 'Checksum')
  const maxResponseCode = readU16(reader, 'Maximum Response Code')
  const count = readU16(reader, 'Number of Records')
  if (type === TYPE.reportV2) {
    const records = readGroupRecords(reader, count, 16)
    return { kind: 'source-membership-report', protocol: 'mld', records }
  }
  const group = readAddress(reader, 16, 'Multicast Address')
  if (type === TYPE.reportV1) {
    return { kind: 'membership-report', protocol: 'mld', version: 1, group }
  }
  if (type === TYPE.done) return { kind: 'membership-leave', protocol: 'mld', group }
  const query = { kind: 'membership-query' as const, protocol: 'mld' as const, maxResponseCode }
  if (bytes.length >= QUERY_V2_BYTES) {
    return { ...query, version: 2, group, sourceTerms: readSourceTerms(reader, 16) }
  }
  // RFC 3810 §8.1: lengths between those of two versions are silently ignored.
  if (bytes.length !== SHORT_BYTES) failDecoding('bad-length', SHORT_BYTES, 'Query')
  return { ...query, version: 1, group }
}

function writeQuery(writer: ByteWriter, query: MembershipQuery): void {
  const { version, sourceTerms } = query
  if (version === 3 || (version === 2) !== (sourceTerms !== undefined)) {
    throw new RangeError(`no MLD query of version ${version}`)
  }
  writeHeader(writer, TYPE.query, query.maxResponseCode, 0)
  writeGroup(writer, query.group.bytes)
  if (sourceTerms !== undefined) writeSourceTerms(writer, sourceTerms)
}

function writeHeader(writer: ByteWriter, type: number, code: number, count: number): void {
  writeU8(writer, type)
  writeU8(writer, 0)
  writeU16(writer, 0)
  writeU16(writer, code)
  writeU16(writer, count)
}

function writeGroup(writer: ByteWriter, group: Uint8Array): void {
  if (group.length !== 16) throw new RangeError('an MLD group is an IPv6 address')
  writeBytes(writer, group)
}

function checksumOf(bytes: Uint8Array, { source, destination }: PacketAddresses): number {
  const { length } = bytes
  const pseudoHeader = pseudoHeaderSum(source, destination, PROTOCOL_ICMPV6, length)
  return complement(pseudoHeader + sumWords(bytes, 0, length))
}
