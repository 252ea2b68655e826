/**
 * LISP-SEC authentication data (RFC 9303 §6.1 in an Encapsulated Control Message, §6.2 in a
 * Map-Reply): what the fields are and how they are packed. Keys, wrapping and HMACs are computed by
 * whoever holds the keys; `securityPlaces` tells where the bytes are that they are computed over.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |  AD Type = 1  |   Reserved    |       Requested HMAC ID       |  ECM only
 * |          OTK Length           |    Key ID     | OTK Wrap. ID  |
 * |            One-Time-Key Preamble (64), One-Time-Key           |
 * |         EID-AD Length         |            KDF ID             |  both
 * | Record Count  |E|  Reserved   |          EID HMAC ID          |
 * |   Reserved    | EID mask-len  |   EID-AFI, EID-Prefix  ...    |
 * ~                           EID HMAC                            ~
 * |         PKT-AD Length         |          PKT HMAC ID          |  Map-Reply only
 * ~                           PKT HMAC                            ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * Lengths of EID-AD and PKT-AD count themselves, OTK Length counts preamble and key. An ITR sends
 * an EID-AD of 4 bytes. No padding.
 */
import { readEidPrefix, writeEid } from './afi.js'
import {
  type ByteReader,
  byteReader,
  failDecoding,
  readBytes,
  readU8,
  readU16,
  readU32,
  readWindow,
  remaining,
  skipBytes,
} from './byte-reader.js'
import {
  type ByteWriter,
  byteWriter,
  patchU16,
  writeBytes,
  writeExactly,
  writeU8,
  writeU16,
  writeU32,
  writtenBytes,
} from './byte-writer.js'
import type { EidPrefix } from './eid.js'
import { MESSAGE_TYPE } from './iana.js'
import { readMappings } from './mapping.js'

/** RFC 9303 §6.1, AD type 1. */
export interface EcmAuthenticationData {
  /** 0 no preference, 1 AUTH-HMAC-SHA-1-96, 2 AUTH-HMAC-SHA-256-128. */
  readonly requestedHmacId: number
  readonly oneTimeKey: OneTimeKey
  readonly eidAuthentication: EidAuthentication
}

/** The OTK-AD. With NULL-KEY-WRAP-128 the preamble is zero and `key` is the key itself. */
export interface OneTimeKey {
  /** 0–255: which pre-shared key wraps it. */
  readonly keyId: number
  /** 1 NULL-KEY-WRAP-128, 2 AES-KEY-WRAP-128+HKDF-SHA256. */
  readonly wrappingId: number
  /** 8 bytes. */
  readonly preamble: Uint8Array
  /** 16 bytes for both wrapping functions. */
  readonly key: Uint8Array
}

/** The EID-AD. */
export interface EidAuthentication {
  /** 0 no preference, 1 HKDF-SHA1-128, 2 HKDF-SHA256. */
  readonly kdfId: number
  /** Absent from an ITR, which asks with the KDF ID alone. */
  readonly proof?: EidProof
}

export interface EidProof {
  /** E bit: some ETR of this prefix cannot do LISP-SEC. */
  readonly etrCantSign: boolean
  readonly hmacId: number
  /** At most 255. */
  readonly eidPrefixes: readonly EidPrefix[]
  /** Keyed with the ITR's one-time key, over the whole EID-AD with this field zero. */
  readonly hmac: Uint8Array
}

/** RFC 9303 §6.2, AD type 1. */
export interface MapReplySecurity {
  readonly eidAuthentication: EidAuthentication
  /** The PKT-AD. */
  readonly packetHmacId: number
  /** Keyed with the Map-Server's one-time key, over the whole message with this field zero. */
  readonly packetHmac: Uint8Array
}

/** Byte offsets within a message. */
export interface SecurityPlaces {
  /** The EID-AD from its length field on. */
  readonly eidAuthentication: Span
  /** Undefined when the EID-AD is an ITR's. */
  readonly eidHmac: Span | undefined
  /** Undefined in an Encapsulated Control Message. */
  readonly packetHmac: Span | undefined
}

export interface Span {
  readonly at: number
  readonly length: number
}

export function readEcmAuthenticationData(reader: ByteReader): EcmAuthenticationData {
  const start = reader.offset
  if (readU8(reader, 'AD Type') !== LISP_SEC) failDecoding('unknown-ad-type', start, 'AD Type')
  skipBytes(reader, 1, 'Reserved')
  const requestedHmacId = readU16(reader, 'Requested HMAC ID')
  const lengthAt = reader.offset
  const length = readU16(reader, 'OTK Length')
  if (length < PREAMBLE_BYTES) failDecoding('bad-length', lengthAt, 'OTK Length')
  const oneTimeKey = {
    keyId: readU8(reader, 'Key ID'),
    wrappingId: readU8(reader, 'OTK Wrapping ID'),
    preamble: readBytes(reader, PREAMBLE_BYTES, 'OTK Preamble'),
    key: readBytes(reader, length - PREAMBLE_BYTES, 'OTK'),
  }
  return { requestedHmacId, oneTimeKey, eidAuthentication: readEidAuthentication(reader) }
}

export function writeEcmAuthenticationData(writer: ByteWriter, data: EcmAuthenticationData): void {
  const { oneTimeKey } = data
  writeU8(writer, LISP_SEC)
  writeU8(writer, 0)
  writeU16(writer, data.requestedHmacId)
  writeU16(writer, PREAMBLE_BYTES + oneTimeKey.key.length)
  writeU8(writer, oneTimeKey.keyId)
  writeU8(writer, oneTimeKey.wrappingId)
  writeExactly(writer, oneTimeKey.preamble, PREAMBLE_BYTES)
  writeBytes(writer, oneTimeKey.key)
  writeEidAuthentication(writer, data.eidAuthentication)
}

/** What stands behind the last record of a Map-Reply with the S bit; nothing may follow it. */
export function readMapReplySecurity(reader: ByteReader): MapReplySecurity {
  const start = reader.offset
  if (readU8(reader, 'AD Type') !== LISP_SEC) failDecoding('unknown-ad-type', start, 'AD Type')
  skipBytes(reader, 3, 'Reserved')
  const eidAuthentication = readEidAuthentication(reader)
  const packet = readCountedWindow(reader, 'PKT-AD Length')
  const packetHmacId = readU16(packet, 'PKT HMAC ID')
  const packetHmac = readBytes(packet, remaining(packet), 'PKT HMAC')
  // The HMAC covers the message; bytes behind it would be nobody's.
  if (remaining(reader) > 0) failDecoding('trailing-bytes', reader.offset, 'PKT-AD')
  return { eidAuthentication, packetHmacId, packetHmac }
}

export function writeMapReplySecurity(writer: ByteWriter, security: MapReplySecurity): void {
  writeU32(writer, LISP_SEC * 0x1000000)
  writeEidAuthentication(writer, security.eidAuthentication)
  writeU16(writer, 4 + security.packetHmac.length)
  writeU16(writer, security.packetHmacId)
  writeBytes(writer, security.packetHmac)
}

/** The EID-AD as bytes, for computing its HMAC with `proof.hmac` all zero. */
export function encodeEidAuthentication(value: EidAuthentication): Uint8Array {
  const writer = byteWriter()
  writeEidAuthentication(writer, value)
  return writtenBytes(writer)
}

/**
 * Where the HMACs of a message are that `decodeMessage` took for an Encapsulated Control Message or
 * a Map-Reply with LISP-SEC data; undefined for any other bytes. For checking what was received,
 * reserved bits included.
 */
export function securityPlaces(bytes: Uint8Array): SecurityPlaces | undefined {
  if (bytes.length < 4) return undefined
  const reader = byteReader(bytes)
  const word = readU32(reader, 'Type')
  const type = word >>> 28
  if (type === MESSAGE_TYPE.encapsulatedControl && (word & ECM_SECURITY) !== 0) {
    // AD Type and HMAC ID, then OTK-AD.
    const eidStart = 8 + 4 + ((bytes[8]! << 8) | bytes[9]!)
    return eidPlaces(bytes, eidStart, undefined)
  }
  if (type !== MESSAGE_TYPE.mapReply || (word & MAP_REPLY_SECURITY) === 0) return undefined
  skipBytes(reader, 8, 'Nonce')
  readMappings(reader, word & 0xff)
  const eidStart = reader.offset + 4
  const packetStart = eidStart + lengthAt(bytes, eidStart)
  const packetHmac = { at: packetStart + 4, length: lengthAt(bytes, packetStart) - 4 }
  return eidPlaces(bytes, eidStart, packetHmac)
}

/** S bits of an Encapsulated Control Message and of a Map-Reply. */
export const ECM_SECURITY = 0x08000000
export const MAP_REPLY_SECURITY = 0x02000000

/** The only authentication data type of both registries with a definition (RFC 9303 §8). */
const LISP_SEC = 1
const PREAMBLE_BYTES = 8
const ETR_CANT_SIGN = 0x80

function readEidAuthentication(reader: ByteReader): EidAuthentication {
  const body = readCountedWindow(reader, 'EID-AD Length')
  const kdfId = readU16(body, 'KDF ID')
  if (remaining(body) === 0) return { kdfId }
  const count = readU8(body, 'EID-AD Record Count')
  const etrCantSign = (readU8(body, 'E bit') & ETR_CANT_SIGN) !== 0
  const hmacId = readU16(body, 'EID HMAC ID')
  const eidPrefixes: EidPrefix[] = []
  for (let index = 0; index < count; index += 1) {
    skipBytes(body, 1, 'Reserved')
    const offset = body.offset
    const length = readU8(body, 'EID mask-len')
    eidPrefixes.push(readEidPrefix(body, { length, offset }))
  }
  const hmac = readBytes(body, remaining(body), 'EID HMAC')
  return { kdfId, proof: { etrCantSign, hmacId, eidPrefixes, hmac } }
}

function writeEidAuthentication(writer: ByteWriter, { kdfId, proof }: EidAuthentication): void {
  const start = writer.offset
  writeU16(writer, 4)
  writeU16(writer, kdfId)
  if (proof === undefined) return
  writeU8(writer, proof.eidPrefixes.length)
  writeU8(writer, proof.etrCantSign ? ETR_CANT_SIGN : 0)
  writeU16(writer, proof.hmacId)
  for (const eidPrefix of proof.eidPrefixes) {
    writeU8(writer, 0)
    writeU8(writer, eidPrefix.maskLength)
    writeEid(writer, eidPrefix)
  }
  writeBytes(writer, proof.hmac)
  patchU16(writer, start, writer.offset - start)
}

/** A reader of what a length covers that counts its own two bytes. */
function readCountedWindow(reader: ByteReader, field: string): ByteReader {
  const start = reader.offset
  const length = readU16(reader, field)
  if (length < 4) failDecoding('bad-length', start, field)
  return readWindow(reader, length - 2, field)
}

function eidPlaces(bytes: Uint8Array, at: number, packetHmac: Span | undefined): SecurityPlaces {
  const length = lengthAt(bytes, at)
  const reader = { ...byteReader(bytes), offset: at }
  const { proof } = readEidAuthentication(reader)
  const hmacBytes = proof?.hmac.length ?? 0
  const eidHmac =
    proof === undefined ? undefined : { at: at + length - hmacBytes, length: hmacBytes }
  return { eidAuthentication: { at, length }, eidHmac, packetHmac }
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}
