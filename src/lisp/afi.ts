/**
 * AFI-encoded addresses: a 16-bit address family and as many bytes as it wants (RFC 9301 §5.1).
 *
 * Three different rules for what is not understood: an unknown AFI has no known length and drops
 * the message (RFC 9301 §5.1); an unknown LCAF type is stepped over and drops only what it names
 * (RFC 9306 §3); a family that is known but of no use in its place (a MAC address as an RLOC) is
 * treated like the latter. EIDs of instance-ID 0 are plain, all others are wrapped in LCAF 2.
 */
import { addressBits, type IpAddress, ipAddress } from './address.js'
import {
  type ByteReader,
  failDecoding,
  malformed,
  readBytes,
  readU8,
  readU16,
  remaining,
} from './byte-reader.js'
import { type ByteWriter, writeBytes, writeU16 } from './byte-writer.js'
import { type Eid, type EidPrefix, eidPrefix } from './eid.js'
import { AFI } from './iana.js'
import { readLcaf, writeInstanceIdHeader } from './lcaf.js'
import type { Rloc } from './locator.js'
import type { Malformed } from './message.js'

/** Whatever an AFI-encoded address can be; most places use only some of it. */
export type AfiAddress =
  | { readonly kind: 'none' }
  | { readonly kind: 'ip'; readonly address: IpAddress }
  | { readonly kind: 'mac'; readonly mac: Uint8Array }
  /** RFC 9735, without the NUL at its end. */
  | { readonly kind: 'name'; readonly name: Uint8Array }
  | { readonly kind: 'instance'; readonly instanceId: number; readonly address: AfiAddress }
  | { readonly kind: 'list'; readonly addresses: readonly AfiAddress[] }
  | { readonly kind: 'unknown-lcaf'; readonly type: number }

export function readAfiAddress(reader: ByteReader, field: string): AfiAddress {
  return readNestedAddress(reader, field, 0)
}

/**
 * An EID-prefix whose mask length was read before it. Returns a Malformed, with the reader behind
 * the address, when the address is of a kind that cannot be an EID here; throws when the datagram
 * cannot be read on or the mask is longer than the address. Bits beyond the mask are cleared.
 */
export function readEidPrefix(
  reader: ByteReader,
  mask: { readonly length: number; readonly offset: number },
): EidPrefix | Malformed {
  const start = reader.offset
  const value = readAfiAddress(reader, 'EID-Prefix')
  const eid = eidOf(value)
  if (eid === undefined) {
    const code = holdsUnknownLcaf(value) ? 'unknown-lcaf' : 'unsupported-eid'
    return malformed(code, start, 'EID-Prefix')
  }
  if (mask.length > addressBits(eid.address.family)) {
    failDecoding('bad-mask-length', mask.offset, 'EID mask-len')
  }
  return eidPrefix(eid.instanceId, eid.address, mask.length)
}

/** The EID that an address names, or undefined: AFI 0, a name, a range of instances, … */
export function eidOf(value: AfiAddress): Eid | undefined {
  if (value.kind === 'ip') return { instanceId: 0, address: value.address }
  if (value.kind !== 'instance' || value.address.kind !== 'ip') return undefined
  return { instanceId: value.instanceId, address: value.address.address }
}

/** The RLOC that an address names: the address itself or the first one of an AFI-List. */
export function rlocOf(value: AfiAddress): Rloc | undefined {
  if (value.kind === 'ip') return value.address
  if (value.kind !== 'list') return undefined
  for (const entry of value.addresses) {
    if (entry.kind === 'ip') return entry.address
  }
  return undefined
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

function holdsUnknownLcaf(value: AfiAddress): boolean {
  if (value.kind === 'instance') return holdsUnknownLcaf(value.address)
  return value.kind === 'unknown-lcaf'
}
