/**
 * AFI-encoded addresses: a 16-bit address family and as many bytes as it wants (RFC 9301 §5.1).
 *
 * Three different rules for what is not understood: an unknown AFI has no known length and drops
 * the message (RFC 9301 §5.1); an unknown LCAF type is stepped over and drops only what it names
 * (RFC 9306 §3); a vendor LCAF of an unknown OUI drops the message (RFC 9306 §4). EIDs of
 * instance-ID 0 are plain, all others are wrapped in LCAF 2.
 */
import { addressBits, type IpAddress, ipAddress } from './address.js'
import { type AfiAddress, eidOf, holdsUnknownLcaf } from './afi-address.js'
import {
  type ByteReader,
  failDecoding,
  malformed,
  readBytes,
  readU8,
  readU16,
  remaining,
} from './byte-reader.js'
import { type ByteWriter, writeBytes, writeExactly, writeU8, writeU16 } from './byte-writer.js'
import { type Eid, type EidPrefix, eidPrefix } from './eid.js'
import { AFI } from './iana.js'
import { readLcaf, writeInstanceIdHeader, writeLcaf } from './lcaf.js'
import type { Malformed } from './message.js'

/** The EID of a record that is more than a prefix of addresses. */
export interface StructuredEid {
  readonly kind: 'structured-eid'
  readonly eid: AfiAddress
  /** As on the wire, 0–255; bits of the name where `eid` is a name (RFC 9735 §4). */
  readonly maskLength: number
}

export function readAfiAddress(reader: ByteReader, field: string): AfiAddress {
  return readNestedAddress(reader, field, 0)
}

/**
 * An EID whose mask length was read before it. Returns a Malformed, with the reader behind the
 * address, when the address is none or of an unknown LCAF type; throws when the datagram cannot be
 * read on or the mask is longer than the address. Bits beyond the mask are cleared.
 */
export function readRecordEid(
  reader: ByteReader,
  mask: { readonly length: number; readonly offset: number },
): EidPrefix | StructuredEid | Malformed {
  const start = reader.offset
  const value = readAfiAddress(reader, 'EID-Prefix')
  const eid = eidOf(value)
  if (eid !== undefined) {
    if (mask.length > addressBits(eid.address.family)) {
      failDecoding('bad-mask-length', mask.offset, 'EID mask-len')
    }
    return eidPrefix(eid.instanceId, eid.address, mask.length)
  }
  if (holdsUnknownLcaf(value)) return malformed('unknown-lcaf', start, 'EID-Prefix')
  if (value.kind === 'none') return malformed('unsupported-eid', start, 'EID-Prefix')
  return { kind: 'structured-eid', eid: value, maskLength: mask.length }
}

/** Like `readRecordEid`, where only a prefix of addresses is of use: throws for all else. */
export function readEidPrefix(
  reader: ByteReader,
  mask: { readonly length: number; readonly offset: number },
): EidPrefix {
  const start = reader.offset
  const value = readRecordEid(reader, mask)
  if (!('kind' in value)) return value
  if (value.kind === 'malformed') return failDecoding('unknown-lcaf', start, 'EID-Prefix')
  return failDecoding('unsupported-eid', start, 'EID-Prefix')
}

export function writeNoAddress(writer: ByteWriter): void {
  writeU16(writer, AFI.none)
}

export function writeIpAddress(writer: ByteWriter, address: IpAddress): void {
  writeU16(writer, address.family === 4 ? AFI.ipv4 : AFI.ipv6)
  writeBytes(writer, address.bytes)
}

/** AFI and address of an EID or of the address part of an EID-prefix. */
export function writeEid(writer: ByteWriter, eid: Eid): void {
  if (eid.instanceId !== 0) {
    writeInstanceIdHeader(writer, eid.instanceId, 2 + eid.address.bytes.length)
  }
  writeIpAddress(writer, eid.address)
}

/** Any address. Throws RangeError for a name with a NUL inside or of more than 254 bytes. */
export function writeAfiAddress(writer: ByteWriter, value: AfiAddress): void {
  switch (value.kind) {
    case 'none':
      writeNoAddress(writer)
      break
    case 'ip':
      writeIpAddress(writer, value.address)
      break
    case 'mac':
      writeU16(writer, AFI.mac)
      writeExactly(writer, value.mac, 6)
      break
    case 'name':
      writeName(writer, value.name)
      break
    default:
      writeLcaf(writer, value, writeAfiAddress)
      break
  }
}

// Choice: the deepest combination with a meaning is an AFI-List of instance-IDs of addresses.
const NESTING_LIMIT = 4

// Choice: a mask length is 8 bits and counts bits of the name, so that longer names cannot be EIDs.
const NAME_LIMIT = 255

function readNestedAddress(reader: ByteReader, field: string, depth: number): AfiAddress {
  const start = reader.offset
  const afi = readU16(reader, `${field}-AFI`)
  switch (afi) {
    case AFI.none:
      return NO_ADDRESS
    case AFI.ipv4:
      return { kind: 'ip', address: ipAddress(readBytes(reader, 4, field)) }
    case AFI.ipv6:
      return { kind: 'ip', address: ipAddress(readBytes(reader, 16, field)) }
    case AFI.mac:
      return { kind: 'mac', mac: readBytes(reader, 6, field) }
    case AFI.distinguishedName:
      return { kind: 'name', name: readName(reader, field) }
    case AFI.lcaf:
      if (depth === NESTING_LIMIT) failDecoding('nesting-limit', start, field)
      return readLcaf(reader, (nested) => readNestedAddress(nested, field, depth + 1))
    default:
      return failDecoding('unknown-afi', start, `${field}-AFI`)
  }
}

const NO_ADDRESS: AfiAddress = { kind: 'none' }

/** RFC 9735 §3: ends at the first NUL, which is not optional. */
function readName(reader: ByteReader, field: string): Uint8Array {
  const start = reader.offset
  const limit = Math.min(remaining(reader), NAME_LIMIT)
  for (let length = 0; length < limit; length += 1) {
    if (reader.bytes[start + length] !== 0) continue
    const name = readBytes(reader, length, field)
    readU8(reader, field)
    return name
  }
  if (limit === NAME_LIMIT) failDecoding('name-too-long', start, field)
  return failDecoding(reader.shortCode, start, field)
}

function writeName(writer: ByteWriter, name: Uint8Array): void {
  if (name.length >= NAME_LIMIT) throw new RangeError(`a name of ${name.length} bytes`)
  if (name.includes(0)) throw new RangeError('a name with a NUL inside')
  writeU16(writer, AFI.distinguishedName)
  writeBytes(writer, name)
  writeU8(writer, 0)
}
