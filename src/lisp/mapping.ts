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
 * is, is left out when others remain and makes the message malformed when it is the only one. The
 * unassigned ACT values 6 and 7 are read as 'drop'. Reserved bits are zero and ignored.
 */
import { readAfiAddress, readEidPrefix, rlocOf, writeEid, writeIpAddress } from './afi.js'
import { type ByteReader, MalformedSignal, readU8, readU16, readU32 } from './byte-reader.js'
import { type ByteWriter, writeU8, writeU16, writeU32 } from './byte-writer.js'
import type { EidPrefix } from './eid.js'
import { type Locator, sortLocators } from './locator.js'
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

export interface Mapping {
  readonly eidPrefix: EidPrefix
  /** Minutes; 0 = remove at once, 0xffffffff = the receiver decides. */
  readonly ttlMinutes: number
  readonly action: Action
  /** A bit: set by an ETR, never by a proxying Map-Server. */
  readonly authoritative: boolean
  /** 12 bits, 0 = "no version" (RFC 9302 §6.1). */
  readonly mapVersion: number
  /** Sorted ascending, IPv4 before IPv6 (RFC 9301 §5.5). Empty = negative mapping. */
  readonly locators: readonly Locator[]
}

/** Most records in a message and locators in a record: both counts are 8 bits (RFC 9301 §5.4). */
export const MAX_RECORDS = 255
export const MAX_LOCATORS = 255

/**
 * `count` records. Those with an EID of no use here are left out; when that leaves none of one or
 * more, throws the first one's fault.
 */
export function readMappings(reader: ByteReader, count: number): Mapping[] {
  const mappings: Mapping[] = []
  let fault: Malformed | undefined
  for (let index = 0; index < count; index += 1) {
    const record = readMapping(reader)
    if (!('kind' in record)) mappings.push(record)
    else fault ??= record
  }
  if (mappings.length === 0 && fault !== undefined) throw new MalformedSignal(fault)
  return mappings
}

/** One record, or a Malformed with the reader behind the record when its EID is of no use here. */
export function readMapping(reader: ByteReader): Mapping | Malformed {
  const ttlMinutes = readU32(reader, 'Record TTL')
  const locatorCount = readU8(reader, 'Locator Count')
  const maskOffset = reader.offset
  const maskLength = readU8(reader, 'EID mask-len')
  const action = readU16(reader, 'ACT')
  const mapVersion = readU16(reader, 'Map-Version Number') & MAP_VERSION_MASK
  const eidPrefix = readEidPrefix(reader, { length: maskLength, offset: maskOffset })
  const locators: Locator[] = []
  for (let index = 0; index < locatorCount; index += 1) {
    const read = readLocator(reader)
    if (read !== undefined) locators.push(read)
  }
  if ('kind' in eidPrefix) return eidPrefix
  return {
    eidPrefix,
    ttlMinutes,
    action: ACTIONS[action >> 13] ?? 'drop',
    authoritative: (action & AUTHORITATIVE) !== 0,
    mapVersion,
    // A peer that does not sort would otherwise number the locator-status-bits differently.
    locators: sortLocators(locators),
  }
}

/** Records one after the other, at most `MAX_RECORDS`; the count stands in the message header. */
export function writeMappings(writer: ByteWriter, mappings: readonly Mapping[]): void {
  if (mappings.length > MAX_RECORDS) throw new RangeError(`${mappings.length} records`)
  for (const mapping of mappings) writeMapping(writer, mapping)
}

/** One record, its locators in ascending order (RFC 9301 §5.5: MUST). */
export function writeMapping(writer: ByteWriter, mapping: Mapping): void {
  if (mapping.mapVersion > MAP_VERSION_MASK) throw new RangeError('map-version has 12 bits')
  writeU32(writer, mapping.ttlMinutes)
  writeU8(writer, mapping.locators.length)
  writeU8(writer, mapping.eidPrefix.maskLength)
  const action = ACTIONS.indexOf(mapping.action) << 13
  writeU16(writer, action | (mapping.authoritative ? AUTHORITATIVE : 0))
  writeU16(writer, mapping.mapVersion)
  writeEid(writer, mapping.eidPrefix)
  for (const value of sortLocators(mapping.locators)) writeLocator(writer, value)
}

const AUTHORITATIVE = 0x1000
const MAP_VERSION_MASK = 0x0fff
const LOCAL = 0x0004
const PROBE = 0x0002
const REACHABLE = 0x0001

function readLocator(reader: ByteReader): Locator | undefined {
  const priority = readU8(reader, 'Priority')
  const weight = readU8(reader, 'Weight')
  const multicastPriority = readU8(reader, 'M Priority')
  const multicastWeight = readU8(reader, 'M Weight')
  const flags = readU16(reader, 'Unused Flags')
  const rloc = rlocOf(readAfiAddress(reader, 'Locator'))
  if (rloc === undefined) return undefined
  return {
    rloc,
    priority,
    weight,
    multicastPriority,
    multicastWeight,
    local: (flags & LOCAL) !== 0,
    probe: (flags & PROBE) !== 0,
    reachable: (flags & REACHABLE) !== 0,
  }
}

function writeLocator(writer: ByteWriter, value: Locator): void {
  writeU8(writer, value.priority)
  writeU8(writer, value.weight)
  writeU8(writer, value.multicastPriority)
  writeU8(writer, value.multicastWeight)
  const local = value.local ? LOCAL : 0
  const probe = value.probe ? PROBE : 0
  writeU16(writer, local | probe | (value.reachable ? REACHABLE : 0))
  writeIpAddress(writer, value.rloc)
}
