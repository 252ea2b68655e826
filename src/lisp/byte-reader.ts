/**
 * A bounds-checked cursor over a datagram, private to this room.
 *
 * Every read names the field it reads, in the RFC's words, and either advances or throws a
 * `MalformedSignal` with the absolute byte offset. Only `decodeMessage` catches it. The signal is
 * not an Error on purpose: capturing a stack for every bad datagram of a flood would cost more than
 * decoding a good one.
 */
import type { Malformed } from './message.js'

/** Every code that `Malformed.code` can have. */
export const MALFORMED_CODES = [
  'truncated',
  'trailing-bytes',
  'unknown-type',
  'unknown-version',
  'bad-end-marker',
  'unknown-sub-type',
  'unknown-afi',
  'unknown-lcaf',
  'unknown-oui',
  'unsupported-eid',
  'unsupported-rloc',
  'nesting-limit',
  'name-too-long',
  'bad-length',
  'bad-mask-length',
  'bad-count',
  'unknown-phase',
  'unknown-reason',
  'unknown-action',
  'unknown-ad-type',
  'bad-ip-version',
  'bad-ip-header',
  'fragmented',
  'not-udp',
  'data-port',
  'zero-checksum',
  'bad-checksum',
] as const
export type MalformedCode = (typeof MALFORMED_CODES)[number]

export class MalformedSignal {
  readonly malformed: Malformed

  constructor(malformed: Malformed) {
    this.malformed = malformed
  }
}

export interface ByteReader {
  readonly bytes: Uint8Array
  /** Next byte to read; absolute within `bytes`, also in a window. */
  offset: number
  /** First byte that may not be read. */
  readonly end: number
  /** What running over `end` means: the datagram is short, or an inner length field lies. */
  readonly shortCode: 'truncated' | 'bad-length'
}

export function byteReader(bytes: Uint8Array): ByteReader {
  return { bytes, offset: 0, end: bytes.length, shortCode: 'truncated' }
}

export function malformed(code: MalformedCode, offset: number, field: string): Malformed {
  return { kind: 'malformed', code, offset, field }
}

export function failDecoding(code: MalformedCode, offset: number, field: string): never {
  throw new MalformedSignal(malformed(code, offset, field))
}

export function remaining(reader: ByteReader): number {
  return reader.end - reader.offset
}

export function readU8(reader: ByteReader, field: string): number {
  return reader.bytes[advance(reader, 1, field)]!
}

export function readU16(reader: ByteReader, field: string): number {
  const at = advance(reader, 2, field)
  return (reader.bytes[at]! << 8) | reader.bytes[at + 1]!
}

export function readU32(reader: ByteReader, field: string): number {
  return word(reader.bytes, advance(reader, 4, field))
}

export function readU64(reader: ByteReader, field: string): bigint {
  const { bytes } = reader
  const at = advance(reader, 8, field)
  return (BigInt(word(bytes, at)) << 32n) | BigInt(word(bytes, at + 4))
}

/** A copy: what is decoded outlives the receive buffer. */
export function readBytes(reader: ByteReader, length: number, field: string): Uint8Array {
  const at = advance(reader, length, field)
  return reader.bytes.slice(at, at + length)
}

/** A view into the datagram, valid as long as the datagram is. */
export function readView(reader: ByteReader, length: number, field: string): Uint8Array {
  const at = advance(reader, length, field)
  return reader.bytes.subarray(at, at + length)
}

export function skipBytes(reader: ByteReader, length: number, field: string): void {
  advance(reader, length, field)
}

/** A reader of the next `length` bytes, which `reader` itself passes over. */
export function readWindow(reader: ByteReader, length: number, field: string): ByteReader {
  const offset = advance(reader, length, field)
  return { bytes: reader.bytes, offset, end: offset + length, shortCode: 'bad-length' }
}

function word(bytes: Uint8Array, at: number): number {
  const low = (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
  return bytes[at]! * 0x1000000 + low
}

function advance(reader: ByteReader, length: number, field: string): number {
  const at = reader.offset
  if (length > reader.end - at) failDecoding(reader.shortCode, at, field)
  reader.offset = at + length
  return at
}
