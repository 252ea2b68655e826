/**
 * LISP Canonical Address Format, the address family in which addresses are more than an address
 * (RFC 8060, RFC 9306). One row of `READERS` per type that is acted upon; every other type is
 * stepped over by its length.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |           AFI = 16387         |     Rsvd1     |     Flags     |
 * |    Type       |     Rsvd2     |            Length             |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * Length counts what follows it. In type 2 the Rsvd2 octet holds the IID mask-len.
 */
import type { AfiAddress } from './afi.js'
import {
  type ByteReader,
  failDecoding,
  readU8,
  readU16,
  readU32,
  readWindow,
  remaining,
  skipBytes,
} from './byte-reader.js'
import { type ByteWriter, writeU8, writeU16, writeU32 } from './byte-writer.js'
import { AFI, LCAF_TYPE } from './iana.js'

/** Reads one AFI-encoded address inside an LCAF; given by afi.ts, which knows the nesting depth. */
export type ReadNested = (reader: ByteReader) => AfiAddress

/**
 * Reads from Rsvd1 on; the AFI has been read. An unknown type is a value, not a fault: what it
 * means depends on where the address stands (RFC 9306 §3). Bytes of a known type beyond what the
 * type defines are passed over.
 */
export function readLcaf(reader: ByteReader, readNested: ReadNested): AfiAddress {
  const start = reader.offset
  skipBytes(reader, 2, 'LCAF Flags')
  const type = readU8(reader, 'LCAF Type')
  skipBytes(reader, 1, 'LCAF Rsvd2')
  const length = readU16(reader, 'LCAF Length')
  const body = readWindow(reader, length, 'LCAF Length')
  // RFC 9306 §4: a vendor address whose OUI is not understood drops the whole message.
  if (type === LCAF_TYPE.vendor) failDecoding('unknown-oui', start + 2, 'LCAF OUI')
  const read = READERS.get(type)
  return read === undefined ? { kind: 'unknown-lcaf', type } : read(body, readNested)
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

// Choice: all 32 bits of the instance-ID count. RFC 8060 §4.1 gives the field a meaning only for a
// range (AFI 0); both 0 and 32 are sent by other implementations, and receivers ignore it.
const IID_MASK_LENGTH = 32

// Choice: far above any list seen; each entry costs at least two bytes of the LCAF anyway.
const AFI_LIST_LIMIT = 64

const READERS: ReadonlyMap<number, (body: ByteReader, readNested: ReadNested) => AfiAddress> =
  new Map([
    [LCAF_TYPE.afiList as number, readAfiList],
    [LCAF_TYPE.instanceId, readInstanceId],
  ])

/** RFC 8060 §4.10.1: addresses one after the other. */
function readAfiList(body: ByteReader, readNested: ReadNested): AfiAddress {
  const addresses: AfiAddress[] = []
  while (remaining(body) > 0) {
    if (addresses.length === AFI_LIST_LIMIT) failDecoding('bad-count', body.offset, 'AFI-List')
    addresses.push(readNested(body))
  }
  return { kind: 'list', addresses }
}

/** RFC 8060 §4.1: Instance ID (32), AFI, address; AFI 0 makes it a range of instances. */
function readInstanceId(body: ByteReader, readNested: ReadNested): AfiAddress {
  const instanceId = readU32(body, 'Instance ID')
  return { kind: 'instance', instanceId, address: readNested(body) }
}
