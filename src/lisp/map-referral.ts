/**
 * Map-Referral: a DDT node says who knows more about an EID (RFC 8111 §6.4).
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |Type=6 |                Reserved               | Record Count  |
 * |                         Nonce (64)                            |
 * +-+-+ for each record -+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |                          Record TTL                           |
 * | Referral Count| EID mask-len  | ACT |A|I|     Reserved        |
 * |SigCnt |   Map Version Number  |            EID-AFI            |
 * |                          EID-prefix ...                       |
 * |            RLOC-records, see mapping.ts                       |
 * +-+-+ for each signature -+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |                      Original Record TTL                      |
 * |                      Signature Expiration                     |
 * |                      Signature Inception                      |
 * |            Key Tag            |           Sig Length          |
 * | Sig-Algorithm |    Reserved   |            Reserved           |
 * ~                             Signature                         ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * The two unassigned ACT values are malformed: unlike the drop of a Map-Reply there is nothing safe
 * to take them for. Whether a signature is right is not decided here (control/ddt-signing.ts).
 */
import { readRecordEid, writeAfiAddress, writeEid } from './afi.js'
import type { AfiAddress } from './afi-address.js'
import {
  type ByteReader,
  failDecoding,
  MalformedSignal,
  readBytes,
  readU8,
  readU16,
  readU32,
  readU64,
  skipBytes,
} from './byte-reader.js'
import {
  type ByteWriter,
  byteWriter,
  writeBytes,
  writeU8,
  writeU16,
  writeU32,
  writeU64,
  writtenBytes,
} from './byte-writer.js'
import type { EidPrefix } from './eid.js'
import { MESSAGE_TYPE } from './iana.js'
import type { Locator, OtherLocator } from './locator.js'
import { readLocators, recordCount, writeLocators } from './mapping.js'
import type { Malformed } from './message.js'

/** ACT values in the order of their numbers, RFC 8111 §6.1. */
export const REFERRAL_ACTIONS = [
  'node-referral',
  'ms-referral',
  'ms-ack',
  'ms-not-registered',
  'delegation-hole',
  'not-authoritative',
] as const
export type ReferralAction = (typeof REFERRAL_ACTIONS)[number]

/** RFC 8111 §6.4. */
export interface MapReferral {
  readonly kind: 'map-referral'
  readonly nonce: bigint
  readonly records: readonly ReferralRecord[]
  /** Absent when there are none. */
  readonly structuredRecords?: readonly StructuredReferralRecord[]
}

export interface ReferralTerms {
  /** Minutes. */
  readonly ttlMinutes: number
  readonly action: ReferralAction
  /** A bit. */
  readonly authoritative: boolean
  /** I bit: the referral set is not known to be complete. */
  readonly incomplete: boolean
  /** 12 bits. */
  readonly mapVersion: number
  /** The referral set, sorted ascending. */
  readonly locators: readonly Locator[]
  /** Absent when there are none. */
  readonly otherLocators?: readonly OtherLocator[]
  /** At most 15. */
  readonly signatures: readonly ReferralSignature[]
}

export interface ReferralRecord extends ReferralTerms {
  readonly eidPrefix: EidPrefix
}

/** A record of an EID that is no prefix of addresses: a range of instance-IDs, a name, … */
export interface StructuredReferralRecord extends ReferralTerms {
  readonly eid: AfiAddress
  readonly maskLength: number
}

/** RFC 8111 §6.4.1. */
export interface ReferralSignature {
  /** Minutes. */
  readonly originalTtl: number
  /** Seconds since 1970, 32 bits, like the next. */
  readonly expiration: number
  readonly inception: number
  readonly keyTag: number
  /** 1 RSA-SHA1, 2 RSA-SHA256. */
  readonly algorithm: number
  readonly signature: Uint8Array
}

/** The message behind its first word; a record of an unknown LCAF type is left out beside others. */
export function readMapReferral(reader: ByteReader, word: number): MapReferral {
  const nonce = readU64(reader, 'Nonce')
  const records: ReferralRecord[] = []
  const structuredRecords: StructuredReferralRecord[] = []
  let fault: Malformed | undefined
  for (let left = word & 0xff; left > 0; left -= 1) {
    const record = readRecord(reader)
    if ('eidPrefix' in record) records.push(record)
    else if ('eid' in record) structuredRecords.push(record)
    else fault ??= record
  }
  const empty = records.length + structuredRecords.length === 0
  if (empty && fault !== undefined) throw new MalformedSignal(fault)
  const message = { kind: 'map-referral' as const, nonce, records }
  return structuredRecords.length === 0 ? message : { ...message, structuredRecords }
}

/** Throws RangeError for more than 255 records or 15 signatures of one. */
export function writeMapReferral(writer: ByteWriter, message: MapReferral): void {
  const { records, structuredRecords = [] } = message
  const count = recordCount(records, structuredRecords)
  writeU32(writer, ((MESSAGE_TYPE.mapReferral << 28) | count) >>> 0)
  writeU64(writer, message.nonce)
  for (const record of [...records, ...structuredRecords]) writeRecord(writer, record)
}

/** One record as bytes; signatures are made over some of it. */
export function encodeReferralRecord(
  record: ReferralRecord | StructuredReferralRecord,
): Uint8Array {
  const writer = byteWriter()
  writeRecord(writer, record)
  return writtenBytes(writer)
}

const AUTHORITATIVE = 0x1000
const INCOMPLETE = 0x0800
const MAP_VERSION_MASK = 0x0fff
const MAX_SIGNATURES = 15

function readRecord(reader: ByteReader): ReferralRecord | StructuredReferralRecord | Malformed {
  const ttlMinutes = readU32(reader, 'Record TTL')
  const count = readU8(reader, 'Referral Count')
  const offset = reader.offset
  const length = readU8(reader, 'EID mask-len')
  const actionAt = reader.offset
  const flags = readU16(reader, 'ACT')
  const version = readU16(reader, 'SigCnt')
  const eid = readRecordEid(reader, { length, offset })
  const { locators, otherLocators } = readLocators(reader, count)
  const signatures: ReferralSignature[] = []
  for (let left = version >> 12; left > 0; left -= 1) signatures.push(readSignature(reader))
  const action = REFERRAL_ACTIONS[flags >> 13]
  if (action === undefined) return failDecoding('unknown-action', actionAt, 'ACT')
  const terms = {
    ttlMinutes,
    action,
    authoritative: (flags & AUTHORITATIVE) !== 0,
    incomplete: (flags & INCOMPLETE) !== 0,
    mapVersion: version & MAP_VERSION_MASK,
    locators,
    ...(otherLocators === undefined ? {} : { otherLocators }),
    signatures,
  }
  if (!('kind' in eid)) return { eidPrefix: eid, ...terms }
  if (eid.kind === 'malformed') return eid
  return { eid: eid.eid, maskLength: eid.maskLength, ...terms }
}

function readSignature(reader: ByteReader): ReferralSignature {
  const originalTtl = readU32(reader, 'Original Record TTL')
  const expiration = readU32(reader, 'Signature Expiration')
  const inception = readU32(reader, 'Signature Inception')
  const keyTag = readU16(reader, 'Key Tag')
  const length = readU16(reader, 'Sig Length')
  const algorithm = readU8(reader, 'Sig-Algorithm')
  skipBytes(reader, 3, 'Reserved')
  const signature = readBytes(reader, length, 'Signature')
  return { originalTtl, expiration, inception, keyTag, algorithm, signature }
}

function writeRecord(writer: ByteWriter, record: ReferralRecord | StructuredReferralRecord): void {
  const { locators, otherLocators = [], signatures, mapVersion } = record
  if (mapVersion > MAP_VERSION_MASK) throw new RangeError('map-version has 12 bits')
  if (signatures.length > MAX_SIGNATURES) throw new RangeError(`${signatures.length} signatures`)
  writeU32(writer, record.ttlMinutes)
  writeU8(writer, locators.length + otherLocators.length)
  writeU8(writer, 'eid' in record ? record.maskLength : record.eidPrefix.maskLength)
  const action = REFERRAL_ACTIONS.indexOf(record.action) << 13
  const authoritative = record.authoritative ? AUTHORITATIVE : 0
  writeU16(writer, action | authoritative | (record.incomplete ? INCOMPLETE : 0))
  writeU16(writer, (signatures.length << 12) | mapVersion)
  if ('eid' in record) writeAfiAddress(writer, record.eid)
  else writeEid(writer, record.eidPrefix)
  writeLocators(writer, locators, otherLocators)
  for (const one of signatures) {
    writeU32(writer, one.originalTtl)
    writeU32(writer, one.expiration)
    writeU32(writer, one.inception)
    writeU16(writer, one.keyTag)
    writeU16(writer, one.signature.length)
    writeU8(writer, one.algorithm)
    writeU8(writer, 0)
    writeU16(writer, 0)
    writeBytes(writer, one.signature)
  }
}
