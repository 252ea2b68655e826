/**
 * Map-Request: where is this EID? Also the SMR, the SMR-invoked request and the RLOC-probe, which
 * differ in flags only (RFC 9301 §5.2; I and N bits RFC 9437 §4–5).
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |Type=1 |A|M|P|S|p|s|R|I|  Rsvd   |L|D|   IRC   | Record Count  |
 * |                         Nonce . . .                           |
 * |                         . . . Nonce                           |
 * |         Source-EID-AFI        |   Source EID Address  ...     |
 * |         ITR-RLOC-AFI 1        |    ITR-RLOC Address 1  ...    |
 * |                              ...                              |
 * |         ITR-RLOC-AFI n        |    ITR-RLOC Address n  ...    |
 * +-+-+ for each record -+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-++
 * |N|  Reserved   | EID mask-len  |        EID-Prefix-AFI         |
 * |                       EID-Prefix  ...                         |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |         Map-Reply EID-record of the sender, if M              |
 * |         xTR-ID (128), Site-ID (64), if I                      |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * IRC is the number of ITR-RLOCs less one. No ITR-RLOC at all is sent as a single one of AFI 0,
 * which takes back a subscription (RFC 9437 §5).
 */
import {
  readAfiAddress,
  readRecordEid,
  writeAfiAddress,
  writeEid,
  writeIpAddress,
  writeNoAddress,
} from './afi.js'
import { eidOf, rlocOf } from './afi-address.js'
import { type ByteReader, failDecoding, MalformedSignal, readU8, readU64 } from './byte-reader.js'
import { type ByteWriter, writeU8, writeU32, writeU64 } from './byte-writer.js'
import { MESSAGE_TYPE } from './iana.js'
import type { Rloc } from './locator.js'
import { type Mapping, readMapping, recordCount, writeMapping } from './mapping.js'
import type {
  Malformed,
  MapRequest,
  MapRequestRecord,
  StructuredMapRequestRecord,
} from './message.js'
import { readXtrIdentity, writeXtrIdentity } from './xtr-identity.js'

/** IRC has five bits and counts from one. */
const MAX_ITR_RLOCS = 32

/**
 * The message behind its first word. A Source EID, ITR-RLOC or Map-Reply record whose address is of
 * no use here is left out; likewise an EID-record, unless it is the only one. No record at all is
 * malformed: nothing is asked.
 */
export function readMapRequest(reader: ByteReader, word: number): MapRequest {
  const nonce = readU64(reader, 'Nonce')
  const sourceEid = eidOf(readAfiAddress(reader, 'Source-EID'))
  const itrRlocs = readItrRlocs(reader, ((word >>> 8) & 0x1f) + 1)
  const { records, structuredRecords } = readRecords(reader, word & 0xff)
  const message: MapRequest = {
    kind: 'map-request',
    authoritative: (word & AUTHORITATIVE) !== 0,
    rlocProbe: (word & RLOC_PROBE) !== 0,
    solicitMapRequest: (word & SOLICIT_MAP_REQUEST) !== 0,
    proxyItr: (word & PROXY_ITR) !== 0,
    smrInvoked: (word & SMR_INVOKED) !== 0,
    localXtr: (word & LOCAL_XTR) !== 0,
    doNotReply: (word & DO_NOT_REPLY) !== 0,
    nonce,
    sourceEid,
    itrRlocs,
    records,
    mapReplyRecord: (word & MAP_DATA) !== 0 ? readMapReplyRecord(reader) : undefined,
    identity: (word & IDENTITY) !== 0 ? readXtrIdentity(reader) : undefined,
  }
  return structuredRecords === undefined ? message : { ...message, structuredRecords }
}

export function writeMapRequest(writer: ByteWriter, message: MapRequest): void {
  const { itrRlocs, records, structuredRecords = [] } = message
  if (itrRlocs.length > MAX_ITR_RLOCS) throw new RangeError(`${itrRlocs.length} ITR-RLOCs`)
  const count = recordCount(records, structuredRecords)
  const counts = (Math.max(itrRlocs.length - 1, 0) << 8) | count
  writeU32(writer, ((MESSAGE_TYPE.mapRequest << 28) | flagsOf(message) | counts) >>> 0)
  writeU64(writer, message.nonce)
  if (message.sourceEid === undefined) writeNoAddress(writer)
  else writeEid(writer, message.sourceEid)
  for (const rloc of itrRlocs) writeIpAddress(writer, rloc)
  if (itrRlocs.length === 0) writeNoAddress(writer)
  for (const record of records) {
    writeU8(writer, record.subscribe ? SUBSCRIBE : 0)
    writeU8(writer, record.eidPrefix.maskLength)
    writeEid(writer, record.eidPrefix)
  }
  for (const record of structuredRecords) {
    writeU8(writer, record.subscribe ? SUBSCRIBE : 0)
    writeU8(writer, record.maskLength)
    writeAfiAddress(writer, record.eid)
  }
  if (message.mapReplyRecord !== undefined) writeMapping(writer, message.mapReplyRecord)
  if (message.identity !== undefined) writeXtrIdentity(writer, message.identity)
}

const AUTHORITATIVE = 0x08000000
const MAP_DATA = 0x04000000
const RLOC_PROBE = 0x02000000
const SOLICIT_MAP_REQUEST = 0x01000000
const PROXY_ITR = 0x00800000
const SMR_INVOKED = 0x00400000
const IDENTITY = 0x00100000
const LOCAL_XTR = 0x00004000
const DO_NOT_REPLY = 0x00002000
/** Top bit of the reserved octet of a record. */
const SUBSCRIBE = 0x80

function flagsOf(message: MapRequest): number {
  return (
    (message.authoritative ? AUTHORITATIVE : 0) |
    (message.mapReplyRecord !== undefined ? MAP_DATA : 0) |
    (message.rlocProbe ? RLOC_PROBE : 0) |
    (message.solicitMapRequest ? SOLICIT_MAP_REQUEST : 0) |
    (message.proxyItr ? PROXY_ITR : 0) |
    (message.smrInvoked ? SMR_INVOKED : 0) |
    (message.identity !== undefined ? IDENTITY : 0) |
    (message.localXtr ? LOCAL_XTR : 0) |
    (message.doNotReply ? DO_NOT_REPLY : 0)
  )
}

function readItrRlocs(reader: ByteReader, count: number): Rloc[] {
  const rlocs: Rloc[] = []
  for (let index = 0; index < count; index += 1) {
    const rloc = rlocOf(readAfiAddress(reader, 'ITR-RLOC'))
    if (rloc !== undefined) rlocs.push(rloc)
  }
  return rlocs
}

function readRecords(
  reader: ByteReader,
  count: number,
): {
  readonly records: MapRequestRecord[]
  readonly structuredRecords: StructuredMapRequestRecord[] | undefined
} {
  if (count === 0) failDecoding('bad-count', 3, 'Record Count')
  const records: MapRequestRecord[] = []
  let structuredRecords: StructuredMapRequestRecord[] | undefined
  let fault: Malformed | undefined
  for (let index = 0; index < count; index += 1) {
    const subscribe = (readU8(reader, 'N bit') & SUBSCRIBE) !== 0
    const offset = reader.offset
    const length = readU8(reader, 'EID mask-len')
    const eid = readRecordEid(reader, { length, offset })
    if (!('kind' in eid)) {
      records.push({ subscribe, eidPrefix: eid })
    } else if (eid.kind === 'structured-eid') {
      structuredRecords ??= []
      structuredRecords.push({ subscribe, eid: eid.eid, maskLength: eid.maskLength })
    } else fault ??= eid
  }
  if (records.length === 0 && structuredRecords === undefined && fault !== undefined) {
    throw new MalformedSignal(fault)
  }
  return { records, structuredRecords }
}

function readMapReplyRecord(reader: ByteReader): Mapping | undefined {
  const record = readMapping(reader)
  return 'eidPrefix' in record ? record : undefined
}
