/**
 * A growing buffer in network byte order, private to this room.
 *
 * A value that does not fit its field is a mistake of the caller and throws a RangeError, because
 * silently written low bits would become somebody else's priority or mask length.
 */

export interface ByteWriter {
  bytes: Uint8Array
  offset: number
}

export function byteWriter(): ByteWriter {
  return { bytes: new Uint8Array(INITIAL_BYTES), offset: 0 }
}

/** The bytes written so far, in a buffer of their own. */
export function writtenBytes(writer: ByteWriter): Uint8Array {
  return writer.bytes.slice(0, writer.offset)
}

export function writeU8(writer: ByteWriter, value: number): void {
  const at = reserve(writer, 1)
  writer.bytes[at] = checked(value, 0xff)
}

export function writeU16(writer: ByteWriter, value: number): void {
  const at = reserve(writer, 2)
  writer.bytes[at] = checked(value, 0xffff) >>> 8
  writer.bytes[at + 1] = value
}

export function writeU32(writer: ByteWriter, value: number): void {
  const at = reserve(writer, 4)
  const bytes = writer.bytes
  bytes[at] = checked(value, 0xffffffff) >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

export function writeU64(writer: ByteWriter, value: bigint): void {
  if (value < 0n || value > 0xffffffffffffffffn) throw new RangeError(`${value} is not 64 bits`)
  writeU32(writer, Number(value >> 32n))
  writeU32(writer, Number(value & 0xffffffffn))
}

export function writeBytes(writer: ByteWriter, value: Uint8Array): void {
  const at = reserve(writer, value.length)
  writer.bytes.set(value, at)
}

/** Like `writeBytes`, for a field of fixed size. */
export function writeExactly(writer: ByteWriter, value: Uint8Array, length: number): void {
  if (value.length !== length) throw new RangeError(`${value.length} bytes instead of ${length}`)
  writeBytes(writer, value)
}

/** Overwrites two bytes written earlier: a length that is known only behind what it counts. */
export function patchU16(writer: ByteWriter, at: number, value: number): void {
  writer.bytes[at] = checked(value, 0xffff) >>> 8
  writer.bytes[at + 1] = value
}

// Choice: a Map-Register of one record with its trailer fits without growing.
const INITIAL_BYTES = 256

function reserve(writer: ByteWriter, length: number): number {
  const at = writer.offset
  const end = at + length
  if (end > writer.bytes.length) {
    const grown = new Uint8Array(Math.max(end, writer.bytes.length * 2))
    grown.set(writer.bytes)
    writer.bytes = grown
  }
  writer.offset = end
  return at
}

function checked(value: number, maximum: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= maximum) return value
  throw new RangeError(`${value} is not an integer within 0..${maximum}`)
}
