/**
 * Encoded addresses of PIM (RFC 7761 §4.9.1) with join attributes (RFC 5384 §3.3, RFC 7887 §3, the
 * two LISP attributes of RFC 8059 §4–5), and what those attributes come to.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |  Addr Family  | Encoding Type |     Unicast Address ...       |  unicast
 * |  Addr Family  | Encoding Type |B| Reserved  |Z|   Mask Len    |  group, then address
 * |  Addr Family  | Encoding Type | Rsrvd   |S|W|R|   Mask Len    |  source, then address
 * |F|E| Attr_Type |    Length     |   Value ...                   |  if Encoding Type is 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * An attribute whose value is not as its RFC says is kept as 'other': what it spoils is a matter of
 * the sources it belongs to, not of the message (RFC 8059 §4: discard the affected ones).
 */
import { type IpAddress, ipAddress } from '../address.js'
import { type ByteReader, failDecoding, readBytes, readU8, remaining } from '../byte-reader.js'
import { type ByteWriter, writeBytes, writeU8 } from '../byte-writer.js'

export type JoinAttribute =
  | { readonly kind: 'transport'; readonly transport: Transport }
  | { readonly kind: 'receiver-rloc'; readonly rloc: IpAddress }
  /** Unknown, or with the type of a known one and a value that it may not have. */
  | {
      readonly kind: 'other'
      /** 0–63. */
      readonly type: number
      /** F bit: to be forwarded by routers that do not know it. */
      readonly forward: boolean
      readonly value: Uint8Array
    }

/** How data comes over the underlay: to a group, or to each receiver's RLOC (RFC 8059 §4). */
export type Transport = 'multicast' | 'unicast'

export interface EncodedUnicast {
  readonly address: IpAddress
  readonly attributes: readonly JoinAttribute[]
}

export interface EncodedGroup {
  readonly address: IpAddress
  readonly maskLength: number
  /** B bit: bidirectional. */
  readonly bidirectional: boolean
  /** Z bit: admin scope zone. */
  readonly zone: boolean
  readonly attributes: readonly JoinAttribute[]
}

export interface EncodedSource {
  readonly address: IpAddress
  readonly maskLength: number
  /** S bit. */
  readonly sparse: boolean
  /** W bit. */
  readonly wildcard: boolean
  /** R bit: RP tree. */
  readonly rpTree: boolean
  readonly attributes: readonly JoinAttribute[]
}

/** What the LISP attributes of one source say, all levels taken together. */
export interface JoinTerms {
  readonly transport: Transport | undefined
  readonly receiverRloc: IpAddress | undefined
}

/**
 * The terms of one source from the attributes of its three levels, the more specific level first
 * (RFC 7887 §3.2). Undefined when a level has one of them twice or with a value that it may not
 * have: the source is to be discarded (RFC 8059 §4, §5).
 */
export function joinTerms(...levels: readonly (readonly JoinAttribute[])[]): JoinTerms | undefined {
  let transport: Transport | undefined
  let receiverRloc: IpAddress | undefined
  for (const attributes of levels) {
    const transports = attributes.filter((one) => one.kind === 'transport')
    const receivers = attributes.filter((one) => one.kind === 'receiver-rloc')
    if (transports.length > 1 || receivers.length > 1 || attributes.some(isSpoiled)) {
      return undefined
    }
    transport ??= transports[0]?.transport
    receiverRloc ??= receivers[0]?.rloc
  }
  return { transport, receiverRloc }
}

export function readEncodedUnicast(reader: ByteReader, field: string): EncodedUnicast {
  const { family, withAttributes } = readFamily(reader, field)
  const address = readAddress(reader, family, field)
  return { address, attributes: withAttributes ? readAttributes(reader) : [] }
}

export function readEncodedGroup(reader: ByteReader): EncodedGroup {
  const { family, withAttributes } = readFamily(reader, 'Group Address')
  const flags = readU8(reader, 'B, Z')
  const maskLength = readMaskLength(reader, family)
  const address = readAddress(reader, family, 'Group Address')
  return {
    address,
    maskLength,
    bidirectional: (flags & BIDIRECTIONAL) !== 0,
    zone: (flags & ZONE) !== 0,
    attributes: withAttributes ? readAttributes(reader) : [],
  }
}

export function readEncodedSource(reader: ByteReader): EncodedSource {
  const { family, withAttributes } = readFamily(reader, 'Source Address')
  const flags = readU8(reader, 'S, W, R')
  const maskLength = readMaskLength(reader, family)
  const address = readAddress(reader, family, 'Source Address')
  return {
    address,
    maskLength,
    sparse: (flags & SPARSE) !== 0,
    wildcard: (flags & WILDCARD) !== 0,
    rpTree: (flags & RP_TREE) !== 0,
    attributes: withAttributes ? readAttributes(reader) : [],
  }
}

export function writeEncodedUnicast(writer: ByteWriter, value: EncodedUnicast): void {
  writeFamily(writer, value)
  writeBytes(writer, value.address.bytes)
  writeAttributes(writer, value.attributes)
}

export function writeEncodedGroup(writer: ByteWriter, value: EncodedGroup): void {
  writeFamily(writer, value)
  writeU8(writer, (value.bidirectional ? BIDIRECTIONAL : 0) | (value.zone ? ZONE : 0))
  writeU8(writer, value.maskLength)
  writeBytes(writer, value.address.bytes)
  writeAttributes(writer, value.attributes)
}

export function writeEncodedSource(writer: ByteWriter, value: EncodedSource): void {
  writeFamily(writer, value)
  const wildcard = value.wildcard ? WILDCARD : 0
  writeU8(writer, (value.sparse ? SPARSE : 0) | wildcard | (value.rpTree ? RP_TREE : 0))
  writeU8(writer, value.maskLength)
  writeBytes(writer, value.address.bytes)
  writeAttributes(writer, value.attributes)
}

const BIDIRECTIONAL = 0x80
const ZONE = 0x01
const SPARSE = 0x04
const WILDCARD = 0x02
const RP_TREE = 0x01
const FORWARD = 0x80
const LAST = 0x40
const ATTRIBUTE_TYPE = 0x3f
/** RFC 8059 §8. */
const TRANSPORT = 5
const RECEIVER_RLOC = 6
/** RFC 5384 §3.3: the encoding type of addresses with attributes. */
const WITH_ATTRIBUTES = 1
const TRANSPORTS = ['multicast', 'unicast'] as const
// Choice: one of each type; two octets at least are spent on each anyway.
const ATTRIBUTE_LIMIT = 64

function isSpoiled(attribute: JoinAttribute): boolean {
  if (attribute.kind !== 'other') return false
  return attribute.type === TRANSPORT || attribute.type === RECEIVER_RLOC
}

function readFamily(
  reader: ByteReader,
  field: string,
): { readonly family: 4 | 6; readonly withAttributes: boolean } {
  const at = reader.offset
  const number = readU8(reader, `${field} Family`)
  const encoding = readU8(reader, `${field} Encoding Type`)
  if (number !== 1 && number !== 2) return failDecoding('unknown-afi', at, `${field} Family`)
  // RFC 7761 §4.9.1: an unknown encoding has no known length.
  if (encoding > WITH_ATTRIBUTES) failDecoding('unknown-type', at + 1, `${field} Encoding Type`)
  return { family: number === 1 ? 4 : 6, withAttributes: encoding === WITH_ATTRIBUTES }
}

function readMaskLength(reader: ByteReader, family: 4 | 6): number {
  const at = reader.offset
  const maskLength = readU8(reader, 'Mask Len')
  if (maskLength > (family === 4 ? 32 : 128)) failDecoding('bad-mask-length', at, 'Mask Len')
  return maskLength
}

function readAddress(reader: ByteReader, family: 4 | 6, field: string): IpAddress {
  return ipAddress(readBytes(reader, family === 4 ? 4 : 16, field))
}

function readAttributes(reader: ByteReader): JoinAttribute[] {
  const attributes: JoinAttribute[] = []
  for (;;) {
    const at = reader.offset
    if (attributes.length === ATTRIBUTE_LIMIT) failDecoding('bad-count', at, 'Attr_Type')
    const first = readU8(reader, 'Attr_Type')
    const length = readU8(reader, 'Attribute Length')
    if (length > remaining(reader)) failDecoding('bad-length', at + 1, 'Attribute Length')
    const value = readBytes(reader, length, 'Attribute Value')
    attributes.push(attributeOf(first & ATTRIBUTE_TYPE, (first & FORWARD) !== 0, value))
    if ((first & LAST) !== 0) return attributes
  }
}

function attributeOf(type: number, forward: boolean, value: Uint8Array): JoinAttribute {
  if (type === TRANSPORT && !forward && value.length === 1) {
    const transport = TRANSPORTS[value[0]!]
    if (transport !== undefined) return { kind: 'transport', transport }
  }
  if (type === RECEIVER_RLOC && !forward) {
    const addressBytes = value[0] === 1 ? 4 : value[0] === 2 ? 16 : undefined
    if (addressBytes !== undefined && value.length === 1 + addressBytes) {
      return { kind: 'receiver-rloc', rloc: ipAddress(value.slice(1)) }
    }
  }
  return { kind: 'other', type, forward, value }
}

function writeFamily(
  writer: ByteWriter,
  { address, attributes }: { readonly address: IpAddress; readonly attributes: readonly unknown[] },
): void {
  writeU8(writer, address.family === 4 ? 1 : 2)
  writeU8(writer, attributes.length === 0 ? 0 : WITH_ATTRIBUTES)
}

function writeAttributes(writer: ByteWriter, attributes: readonly JoinAttribute[]): void {
  if (attributes.length > ATTRIBUTE_LIMIT) throw new RangeError(`${attributes.length} attributes`)
  for (const [index, attribute] of attributes.entries()) {
    const [type, value] = encodedAttribute(attribute)
    if (type > ATTRIBUTE_TYPE) throw new RangeError(`attribute type ${type} has more than 6 bits`)
    const forward = attribute.kind === 'other' && attribute.forward ? FORWARD : 0
    writeU8(writer, type | forward | (index === attributes.length - 1 ? LAST : 0))
    writeU8(writer, value.length)
    writeBytes(writer, value)
  }
}

function encodedAttribute(attribute: JoinAttribute): readonly [number, Uint8Array] {
  switch (attribute.kind) {
    case 'transport':
      return [TRANSPORT, Uint8Array.of(TRANSPORTS.indexOf(attribute.transport))]
    case 'receiver-rloc': {
      const { family, bytes } = attribute.rloc
      return [RECEIVER_RLOC, Uint8Array.of(family === 4 ? 1 : 2, ...bytes)]
    }
    case 'other':
      return [attribute.type, attribute.value]
  }
}
