/**
 * The xTR-ID and Site-ID at the end of a message that has the I bit (RFC 9301 §5.6, RFC 9437 §4):
 * 128 and 64 bits, behind the last record.
 */
import { type ByteReader, failDecoding, readBytes, readU64, remaining } from './byte-reader.js'
import { type ByteWriter, writeExactly, writeU64 } from './byte-writer.js'
import type { XtrIdentity } from './message.js'

export const XTR_IDENTITY_BYTES = 24

export function readXtrIdentity(reader: ByteReader): XtrIdentity {
  return { xtrId: readBytes(reader, 16, 'xTR-ID'), siteId: readU64(reader, 'Site-ID') }
}

/**
 * The trailer of a message with authentication data; undefined without the I bit. Nothing may
 * follow it: a MAC that stops before the trailer would let anybody append another 24 bytes.
 */
export function readLastXtrIdentity(reader: ByteReader, present: boolean): XtrIdentity | undefined {
  if (!present) return undefined
  const identity = readXtrIdentity(reader)
  if (remaining(reader) > 0) failDecoding('trailing-bytes', reader.offset, 'Site-ID')
  return identity
}

export function writeXtrIdentity(writer: ByteWriter, identity: XtrIdentity): void {
  writeExactly(writer, identity.xtrId, 16)
  writeU64(writer, identity.siteId)
}
