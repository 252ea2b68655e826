/**
 * The fields that Map-Register, Map-Notify, Map-Notify-Ack and Move share behind their first word
 * (RFC 9301 §5.6). Whether the data is right is asked of authentication.ts.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |                         Nonce . . .                           |
 * |                         . . . Nonce                           |
 * |    Key ID     | Algorithm ID  |  Authentication Data Length   |
 * ~                     Authentication Data                       ~
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * The length lets a receiver step over the data of an algorithm that it does not know.
 */
import { type ByteReader, readBytes, readU8, readU16, readU64 } from './byte-reader.js'
import { type ByteWriter, writeBytes, writeU8, writeU16, writeU64 } from './byte-writer.js'
import type { Authenticated } from './message.js'

export function readAuthenticatedHeader(reader: ByteReader): Authenticated {
  const nonce = readU64(reader, 'Nonce')
  const keyId = readU8(reader, 'Key ID')
  const algorithm = readU8(reader, 'Algorithm ID')
  const length = readU16(reader, 'Authentication Data Length')
  const authenticationData = readBytes(reader, length, 'Authentication Data')
  return { nonce, keyId, algorithm, authenticationData }
}

export function writeAuthenticatedHeader(writer: ByteWriter, fields: Authenticated): void {
  writeU64(writer, fields.nonce)
  writeU8(writer, fields.keyId)
  writeU8(writer, fields.algorithm)
  writeU16(writer, fields.authenticationData.length)
  writeBytes(writer, fields.authenticationData)
}
