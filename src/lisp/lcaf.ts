/**
 * LISP Canonical Address Format, the address family in which addresses are more than an address
 * (RFC 8060, RFC 9306, RFC 10040): the header, and which body belongs to which type. The bodies are
 * in lcaf-paths.ts (where to go), lcaf-keys.ts (what is looked up) and lcaf-places.ts (where things
 * are); types not listed are stepped over by their length.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |           AFI = 16387         |     Rsvd1     |     Flags     |
 * |    Type       |     Rsvd2     |            Length             |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * Length counts what follows it. In type 2 the Rsvd2 octet holds the IID mask-len, in type 14 the B
 * bit.
 */
import type { AfiAddress, LcafAddress } from './afi-address.js'
import {
  type ByteReader,
  failDecoding,
  readBytes,
  readU8,
  readU16,
  readWindow,
  remaining,
  skipBytes,
} from './byte-reader.js'
import {
  type ByteWriter,
  patchU16,
  writeBytes,
  writeU8,
  writeU16,
  writeU32,
} from './byte-writer.js'
import { AFI, LCAF_TYPE } from './iana.js'
import * as keys from './lcaf-keys.js'
import * as paths from './lcaf-paths.js'
import * as places from './lcaf-places.js'

/** Reads one AFI-encoded address inside an LCAF; given by afi.ts, which knows the nesting depth. */
export type ReadNested = (reader: ByteReader) => AfiAddress
/** Writes one AFI-encoded address inside an LCAF. */
export type WriteNested = (writer: ByteWriter, value: AfiAddress) => void

/**
 * Reads from Rsvd1 on; the AFI has been read. An unknown type is a value, not a fault: what it
 * means depends on where the address stands (RFC 9306 §3). Bytes of a known type beyond what the
 * type defines are passed over.
 */
export function readLcaf(reader: ByteReader, readNested: ReadNested): LcafAddress {
  const start = reader.offset
  skipBytes(reader, 2, 'LCAF Flags')
  const type = readU8(reader, 'LCAF Type')
  const second = readU8(reader, 'LCAF Rsvd2')
  const length = readU16(reader, 'LCAF Length')
  const body = readWindow(reader, length, 'LCAF Length')
  // RFC 9306 §4: a vendor address whose OUI is not understood drops the whole message.
  if (type === LCAF_TYPE.vendor) failDecoding('unknown-oui', start + 2, 'LCAF OUI')
  const read = READERS.get(type)
  if (read !== undefined) return read(body, readNested, second)
  return { kind: 'unknown-lcaf', type, body: readBytes(body, remaining(body), 'LCAF body') }
}

/** The whole LCAF with its AFI. Throws RangeError for a value that does not fit its field. */
export function writeLcaf(writer: ByteWriter, value: LcafAddress, writeNested: WriteNested): void {
  writeU16(writer, AFI.lcaf)
  writeU16(writer, 0)
  writeU8(writer, value.kind === 'unknown-lcaf' ? value.type : TYPE_OF_KIND[value.kind])
  writeU8(writer, secondReserved(value))
  const lengthAt = writer.offset
  writeU16(writer, 0)
  writeBody(writer, value, writeNested)
  patchU16(writer, lengthAt, writer.offset - lengthAt - 2)
}

/** Header of a type 2 address whose nested address has `nestedBytes`, AFI included. */
export function writeInstanceIdHeader(
  writer: ByteWriter,
  instanceId: number,
  nestedBytes: number,
): void {
  writeU16(writer, AFI.lcaf)
  writeU16(writer, 0)
  writeU8(writer, LCAF_TYPE.instanceId)
  writeU8(writer, IID_MASK_LENGTH)
  writeU16(writer, 4 + nestedBytes)
  writeU32(writer, instanceId)
}

/** The type number of a value, for the order of locators {AFI, LCAF type} (RFC 8060 §3). */
export function lcafType(value: LcafAddress): number {
  return value.kind === 'unknown-lcaf' ? value.type : TYPE_OF_KIND[value.kind]
}

// Choice: all 32 bits of the instance-ID count. RFC 8060 §4.1 gives the field a meaning only for a
// range (AFI 0); both 0 and 32 are sent by other implementations, and receivers ignore it.
const IID_MASK_LENGTH = 32

type ReadBody = (body: ByteReader, readNested: ReadNested, second: number) => LcafAddress

const READERS: ReadonlyMap<number, ReadBody> = new Map<number, ReadBody>([
  [LCAF_TYPE.nullBody, () => ({ kind: 'null-body' })],
  [LCAF_TYPE.afiList, paths.readAfiList],
  [LCAF_TYPE.instanceId, keys.readInstanceId],
  [LCAF_TYPE.asNumber, places.readAsNumber],
  [LCAF_TYPE.applicationData, keys.readApplicationData],
  [LCAF_TYPE.geoCoordinates, places.readGeoCoordinates],
  [LCAF_TYPE.opaqueKey, keys.readOpaqueKey],
  [LCAF_TYPE.natTraversal, paths.readNatTraversal],
  [LCAF_TYPE.nonceLocator, paths.readNonceLocator],
  [LCAF_TYPE.multicastInfo, keys.readMulticastInfo],
  [LCAF_TYPE.explicitLocatorPath, paths.readExplicitLocatorPath],
  [LCAF_TYPE.securityKey, keys.readSecurityKey],
  [LCAF_TYPE.sourceDestKey, keys.readSourceDestKey],
  [LCAF_TYPE.replicationList, paths.readReplicationList],
  [LCAF_TYPE.json, places.readJson],
  [LCAF_TYPE.keyValue, keys.readKeyValue],
  [LCAF_TYPE.encapsulationFormat, paths.readEncapsulationFormat],
  [LCAF_TYPE.geoLocation, places.readGeoLocation],
])

const TYPE_OF_KIND: {
  readonly [kind in Exclude<LcafAddress['kind'], 'unknown-lcaf'>]: number
} = {
  'null-body': LCAF_TYPE.nullBody,
  list: LCAF_TYPE.afiList,
  instance: LCAF_TYPE.instanceId,
  'as-number': LCAF_TYPE.asNumber,
  'application-data': LCAF_TYPE.applicationData,
  'geo-coordinates': LCAF_TYPE.geoCoordinates,
  'opaque-key': LCAF_TYPE.opaqueKey,
  'nat-traversal': LCAF_TYPE.natTraversal,
  'nonce-locator': LCAF_TYPE.nonceLocator,
  'multicast-info': LCAF_TYPE.multicastInfo,
  'explicit-locator-path': LCAF_TYPE.explicitLocatorPath,
  'security-key': LCAF_TYPE.securityKey,
  'source-dest-key': LCAF_TYPE.sourceDestKey,
  'replication-list': LCAF_TYPE.replicationList,
  json: LCAF_TYPE.json,
  'key-value': LCAF_TYPE.keyValue,
  'encapsulation-format': LCAF_TYPE.encapsulationFormat,
  'geo-location': LCAF_TYPE.geoLocation,
}

function secondReserved(value: LcafAddress): number {
  if (value.kind === 'instance') return value.idMaskLength
  return value.kind === 'json' && value.binary ? places.JSON_BINARY : 0
}

function writeBody(writer: ByteWriter, value: LcafAddress, writeNested: WriteNested): void {
  switch (value.kind) {
    case 'null-body':
      break
    case 'list':
      paths.writeAfiList(writer, value.addresses, writeNested)
      break
    case 'instance':
      keys.writeInstanceId(writer, value, writeNested)
      break
    case 'as-number':
      places.writeAsNumber(writer, value, writeNested)
      break
    case 'application-data':
      keys.writeApplicationData(writer, value, writeNested)
      break
    case 'geo-coordinates':
      places.writeGeoCoordinates(writer, value, writeNested)
      break
    case 'opaque-key':
      keys.writeOpaqueKey(writer, value)
      break
    case 'nat-traversal':
      paths.writeNatTraversal(writer, value, writeNested)
      break
    case 'nonce-locator':
      paths.writeNonceLocator(writer, value, writeNested)
      break
    case 'multicast-info':
      keys.writeMulticastInfo(writer, value, writeNested)
      break
    case 'explicit-locator-path':
      paths.writeExplicitLocatorPath(writer, value, writeNested)
      break
    case 'security-key':
      keys.writeSecurityKey(writer, value, writeNested)
      break
    case 'source-dest-key':
      keys.writeSourceDestKey(writer, value, writeNested)
      break
    case 'replication-list':
      paths.writeReplicationList(writer, value, writeNested)
      break
    case 'json':
      places.writeJson(writer, value, writeNested)
      break
    case 'key-value':
      writeNested(writer, value.key)
      writeNested(writer, value.value)
      break
    case 'encapsulation-format':
      paths.writeEncapsulationFormat(writer, value, writeNested)
      break
    case 'geo-location':
      places.writeGeoLocation(writer, value, writeNested)
      break
    case 'unknown-lcaf':
      writeBytes(writer, value.body)
      break
  }
}
