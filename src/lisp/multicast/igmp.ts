/**
 * IGMP versions 1 to 3 (RFC 1112 appendix I, RFC 2236 §2, RFC 3376 §4), the payload of IP protocol 2.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |     Type      | Max Resp Code |           Checksum            |
 * |             Group Address, or (v3 report) Number of Records   |
 * ~      v3: membership-bytes.ts                                  ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * The version of a query follows from its length and code (RFC 3376 §7.1). Router alert, TTL 1 and
 * the source address are for the caller to look at.
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
import { complement, sumWords } from '../checksum.js'
import type { Malformed } from '../message.js'
import type { MembershipMessage, MembershipQuery } from './membership.js'
import {
  readAddress,
  readGroupRecords,
  readSourceTerms,
  writeGroupRecords,
  writeSourceTerms,
} from './membership-bytes.js'

/** Internet protocol number of IGMP. */
export const PROTOCOL_IGMP = 2

/** What the payload of an IGMP packet says. Never throws; bytes behind the last field count into
 * the checksum and are ignored (RFC 3376 §4.1.10). */
export function decodeIgmp(bytes: Uint8Array): MembershipMessage | Malformed {
  try {
    return readIgmp(bytes)
  } catch (error) {
    if (error instanceof MalformedSignal) return error.malformed
    throw error
  }
}

/** The payload with its checksum. Throws RangeError for a value of MLD or one that does not fit. */
export function encodeIgmp(message: MembershipMessage): Uint8Array {
  if (message.protocol !== 'igmp') throw new RangeError(`${message.protocol} in IGMP`)
  const writer = byteWriter()
  switch (message.kind) {
    case 'membership-query':
      writeQuery(writer, message)
      break
    case 'membership-report':
      writeHeader(writer, message.version === 1 ? TYPE.reportV1 : TYPE.reportV2, 0)
      writeGroup(writer, message.group.bytes)
      break
    case 'membership-leave':
      writeHeader(writer, TYPE.leave, 0)
      writeGroup(writer, message.group.bytes)
      break
    case 'source-membership-report':
      writeHeader(writer, TYPE.reportV3, 0)
      writeU16(writer, 0)
      writeU16(writer, message.records.length)
      writeGroupRecords(writer, message.records)
      break
  }
  patchU16(writer, CHECKSUM_AT, complement(sumWords(writer.bytes, 0, writer.offset)))
  return writtenBytes(writer)
}

const TYPE = { query: 0x11, reportV1: 0x12, reportV2: 0x16, leave: 0x17, reportV3: 0x22 } as const
const CHECKSUM_AT = 2
const SHORT_BYTES = 8
const QUERY_V3_BYTES = 12

function readIgmp(bytes: Uint8Array): MembershipMessage {
  const reader = byteReader(bytes)
  const type = readU8(reader, 'Type')
  const code = readU8(reader, 'Max Resp Code')
  skipBytes(reader, 2, 'Checksum')
  if (complement(sumWords(bytes, 0, bytes.length)) !== 0) {
    failDecoding('bad-checksum', CHECKSUM_AT, 'Checksum')
  }
  if (type === TYPE.reportV3) {
    skipBytes(reader, 2, 'Reserved')
    const count = readU16(reader, 'Number of Group Records')
    const records = readGroupRecords(reader, count, 4)
    return { kind: 'source-membership-report', protocol: 'igmp', records }
  }
  const group = readAddress(reader, 4, 'Group Address')
  switch (type) {
    case TYPE.query: {
      const query = { kind: 'membership-query' as const, protocol: 'igmp' as const, group }
      if (bytes.length >= QUERY_V3_BYTES) {
        const sourceTerms = readSourceTerms(reader, 4)
        return { ...query, version: 3, maxResponseCode: code, sourceTerms }
      }
      // RFC 3376 §7.1: lengths between those of two versions are silently ignored.
      if (bytes.length !== SHORT_BYTES) failDecoding('bad-length', SHORT_BYTES, 'Query')
      return { ...query, version: code === 0 ? 1 : 2, maxResponseCode: code }
    }
    case TYPE.reportV1:
      return { kind: 'membership-report', protocol: 'igmp', version: 1, group }
    case TYPE.reportV2:
      return { kind: 'membership-report', protocol: 'igmp', version: 2, group }
    case TYPE.leave:
      return { kind: 'membership-leave', protocol: 'igmp', group }
    default:
      return failDecoding('unknown-type', 0, 'Type')
  }
}

function writeQuery(writer: ByteWriter, query: MembershipQuery): void {
  const { version, maxResponseCode, sourceTerms } = query
  if ((version === 3) !== (sourceTerms !== undefined) || (version === 1) !== isV1(query)) {
    throw new RangeError(`no IGMP query of version ${version}`)
  }
  writeHeader(writer, TYPE.query, maxResponseCode)
  writeGroup(writer, query.group.bytes)
  if (sourceTerms !== undefined) writeSourceTerms(writer, sourceTerms)
}

/** Without source terms a code of zero is what makes it version 1. */
function isV1({ maxResponseCode, sourceTerms }: MembershipQuery): boolean {
  return maxResponseCode === 0 && sourceTerms === undefined
}

function writeHeader(writer: ByteWriter, type: number, code: number): void {
  writeU8(writer, type)
  writeU8(writer, code)
  writeU16(writer, 0)
}

function writeGroup(writer: ByteWriter, group: Uint8Array): void {
  if (group.length !== 4) throw new RangeError('an IGMP group is an IPv4 address')
  writeBytes(writer, group)
}
