/**
 * The mapping: EID-prefix → locator-set, TTL, action. The one noun that every message and every
 * table shares (RFC 9301 §5.4 EID-record). The record codec, used by Map-Reply, Map-Register,
 * Map-Notify and Map-Notify-Ack alike, stands below.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |                          Record TTL                           |
 * | Locator Count | EID mask-len  | ACT |A|      Reserved         |
 * | Rsvd  |  Map-Version Number   |       EID-Prefix-AFI          |
 * |                          EID-Prefix                           |
 * +-+-+ for each locator -+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |    Priority   |    Weight     |  M Priority   |   M Weight    |
 * |        Unused Flags     |L|p|R|           Loc-AFI             |
 * |                             Locator                           |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * A locator whose address is of an unknown LCAF type is left out (RFC 9306 §3); a record whose EID
 * is, is left out when others remain and makes the message malformed when it is the only one. A
 * record whose EID is no prefix of addresses, an (S,G) or a name, is a `StructuredMapping` and
 * stands in a list of its own, so that no table meets one by accident. The unassigned ACT values 6
 * and 7 are read as 'drop'. Reserved bits are zero and ignored.
 */
import {
  readAfiAddress,
  readRecordEid,
  type StructuredEid,
  writeAfiAddress,
  writeEid,
  writeIpAddress,
} from './afi.js'
import { type AfiAddress, type LcafAddress, rlocOf } from './afi-address.js'
import { type ByteReader, MalformedSignal, readU8, readU16, readU32 } from './byte-reader.js'
import { type ByteWriter, byteWriter, writeU8, writeU16, writeU32 } from './byte-writer.js'
import type { EidPrefix } from './eid.js'
import { type Locator, type OtherLocator, type Rloc, sortLocators } from './locator.js'
import type { Malformed } from './message.js'

/**
 * ACT values in the order of their numbers, RFC 9301 §5.4 and §12.3. Looked at only when there are
 * no locators.
 */
export const ACTIONS = [
  'no-action',
  'natively-forward',
  'send-map-request',
  'drop',
  'drop-policy-denied',
  'drop-auth-failure',
] as const
export type Action = (typeof ACTIONS)[number]

/** What an EID-record says beside its EID. */
export interface MappingTerms {
  /** Minutes; 0 = remove at once, 0xffffffff = the receiver decides. */
  readonly ttlMinutes: number
  readonly action: Action
  /** A bit: set by an ETR, never by a proxying Map-Server. */
  readonly authoritative: boolean
  /** 12 bits, 0 = "no version" (RFC 9302 §6.1). */
  readonly mapVersion: number
  /** Sorted ascending, IPv4 before IPv6 (RFC 9301 §5.5). Empty = negative mapping. */
  readonly locators: readonly Locator[]
  /** Locators that hold no address; sent behind the others. Absent when there are none. */
  readonly otherLocators?: readonly OtherLocator[]
}

export interface Mapping extends MappingTerms {
  readonly eidPrefix: EidPrefix
}

/** A mapping of an EID that is no prefix of addresses: an (S,G), a name, a geo-point, … */
export interface StructuredMapping extends MappingTerms {
  readonly eid: AfiAddress
  /** As on the wire, 0–255. */
  readonly maskLength: number
}

/** The records of a message, in the two lists that they are kept in. */
export interface ReadRecords {
  readonly records: Mapping[]
  readonly structuredRecords: StructuredMapping[] | undefined
}

/** Most records in a message: the count has 8 bits (RFC 9301 §5.4). */
const MAX_RECORDS = 255

/**
 * `count` records. Those with an EID of no use here are left out; when that leaves none of one or
 * more, throws the first one's fault.
 */
export function readMappings(reader: ByteReader, count: number): ReadRecords {
  const records: Mapping[] = []
  let structuredRecords: StructuredMapping[] | undefined
  let fault: Malformed | undefined
  for (let index = 0; index < count; index += 1) {
    const record = readMapping(reader)
    if ('eidPrefix' in record) {
      records.push(record)
    } else if ('eid' in record) {
      structuredRecords ??= []
      structuredRecords.push(record)
    } else fault ??= record
  }
  if (records.length === 0 && structuredRecords === undefined && fault !== undefined) {
    throw new MalformedSignal(fault)
  }
  return { records, structuredRecords }
}

/** One record, or a Malformed with the reader behind the record when its EID is of no use here. */
export function readMapping(reader: ByteReader): Mapping | StructuredMapping | Malformed {
  const ttlMinutes = readU32(reader, 'Record TTL')
  const locatorCount = readU8(reader, 'Locator Count')
  const maskOffset = reader.offset
  const maskLength = readU8(reader, 'EID mask-len')
  const action = readU16(reader, 'ACT')
  const mapVersion = readU16(reader, 'Map-Version Number') & MAP_VERSION_MASK
  const eidPrefix = readRecordEid(reader, { length: maskLength, offset: maskOffset })
  const found = readLocators(reader, locatorCount)
  const mapping = {
    // Of another kind only until the next statement, which is rarely true.
    eidPrefix: eidPrefix as EidPrefix,
    ttlMinutes,
    action: ACTIONS[action >> 13] ?? 'drop',
    authoritative: (action & AUTHORITATIVE) !== 0,
    mapVersion,
    locators: found.locators,
  }
  if ('kind' in eidPrefix) return withoutPrefix(mapping, eidPrefix, found.otherLocators)
  return found.otherLocators === undefined
    ? mapping
    : { ...mapping, otherLocators: found.otherLocators }
}

/** Both lists, at most `MAX_RECORDS` together; the count stands in the message header. */
export function writeMappings(
  writer: ByteWriter,
  mappings: readonly Mapping[],
  structured: readonly StructuredMapping[] = [],
): void {
  recordCount(mappings, structured)
  for (const mapping of mappings) writeMapping(writer, mapping)
  for (const mapping of structured) writeMapping(writer, mapping)
}

/** For the Record Count field. Throws RangeError beyond `MAX_RECORDS`. */
export function recordCount(
  records: readonly unknown[],
  structured: readonly unknown[] = [],
): number {
  const count = records.length + structured.length
  if (count > MAX_RECORDS) throw new RangeError(`${count} records`)
  return count
}

/** How many bytes this record takes in a message. Throws RangeError for what cannot be written. */
export function mappingBytes(mapping: Mapping | StructuredMapping): number {
  const writer = byteWriter()
  writeMapping(writer, mapping)
  return writer.offset
}

/** One record, its locators in ascending order (RFC 9301 §5.5: MUST). */
export function writeMapping(writer: ByteWriter, mapping: Mapping | StructuredMapping): void {
  if (mapping.mapVersion > MAP_VERSION_MASK) throw new RangeError('map-version has 12 bits')
  const { locators, otherLocators = [] } = mapping
  writeU32(writer, mapping.ttlMinutes)
  writeU8(writer, locators.length + otherLocators.length)
  writeU8(writer, 'eid' in mapping ? mapping.maskLength : mapping.eidPrefix.maskLength)
  const action = ACTIONS.indexOf(mapping.action) << 13
  writeU16(writer, action | (mapping.authoritative ? AUTHORITATIVE : 0))
  writeU16(writer, mapping.mapVersion)
  if ('eid' in mapping) writeAfiAddress(writer, mapping.eid)
  else writeEid(writer, mapping.eidPrefix)
  writeLocators(writer, locators, otherLocators)
}

/** `count` RLOC-records, those with an address in ascending order. */
export function readLocators(
  reader: ByteReader,
  count: number,
): {
  readonly locators: readonly Locator[]
  readonly otherLocators: OtherLocator[] | undefined
} {
  const locators: Locator[] = []
  let otherLocators: OtherLocator[] | undefined
  for (let index = 0; index < count; index += 1) {
    const read = readLocator(reader)
    if (read === undefined) continue
    if ('rloc' in read) {
      locators.push(read)
      continue
    }
    otherLocators ??= []
    otherLocators.push(read)
  }
  // A peer that does not sort would otherwise number the locator-status-bits differently.
  return { locators: sortLocators(locators), otherLocators }
}

/** Locators in ascending order, those without an address behind them. */
export function writeLocators(
  writer: ByteWriter,
  locators: readonly Locator[],
  otherLocators: readonly OtherLocator[] = [],
): void {
  for (const value of sortLocators(locators)) writeLocator(writer, value)
  for (const value of otherLocators) writeLocator(writer, value)
}

const AUTHORITATIVE = 0x1000
const MAP_VERSION_MASK = 0x0fff
const LOCAL = 0x0004
const PROBE = 0x0002
const REACHABLE = 0x0001

function withoutPrefix(
  { eidPrefix: _, ...terms }: Mapping,
  eid: StructuredEid | Malformed,
  otherLocators: readonly OtherLocator[] | undefined,
): StructuredMapping | Malformed {
  if (eid.kind === 'malformed') return eid
  const mapping = { eid: eid.eid, maskLength: eid.maskLength, ...terms }
  return otherLocators === undefined ? mapping : { ...mapping, otherLocators }
}

function readLocator(reader: ByteReader): Locator | OtherLocator | undefined {
  const priority = readU8(reader, 'Priority')
  const weight = readU8(reader, 'Weight')
  const multicastPriority = readU8(reader, 'M Priority')
  const multicastWeight = readU8(reader, 'M Weight')
  const flags = readU16(reader, 'Unused Flags')
  const address = readAfiAddress(reader, 'Locator')
  const terms = {
    // Undefined only where `withStructure` removes it.
    rloc: address.kind === 'ip' ? address.address : (rlocOf(address) as Rloc),
    priority,
    weight,
    multicastPriority,
    multicastWeight,
    local: (flags & LOCAL) !== 0,
    probe: (flags & PROBE) !== 0,
    reachable: (flags & REACHABLE) !== 0,
  }
  return address.kind === 'ip' ? terms : withStructure(terms, address)
}

/** RFC 9306 §3: what is of an unknown type is not there. */
function withStructure(value: Locator, structure: AfiAddress): Locator | OtherLocator | undefined {
  if (structure.kind === 'none' || structure.kind === 'unknown-lcaf') return undefined
  if (value.rloc !== undefined) return { ...value, structure: structure as LcafAddress }
  const { rloc: _, ...terms } = value
  return { ...terms, structure }
}

function writeLocator(writer: ByteWriter, value: Locator | OtherLocator): void {
  writeU8(writer, value.priority)
  writeU8(writer, value.weight)
  writeU8(writer, value.multicastPriority)
  writeU8(writer, value.multicastWeight)
  const local = value.local ? LOCAL : 0
  const probe = value.probe ? PROBE : 0
  writeU16(writer, local | probe | (value.reachable ? REACHABLE : 0))
  if (value.structure !== undefined) writeAfiAddress(writer, value.structure)
  else if ('rloc' in value) writeIpAddress(writer, value.rloc)
}
