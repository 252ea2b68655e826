/**
 * Map-Reply: these are the mappings (RFC 9301 §5.4). A record without locators is a negative reply.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |Type=2 |P|E|S|          Reserved               | Record Count  |
 * |                         Nonce . . .                           |
 * |                         . . . Nonce                           |
 * |                EID-records, see mapping.ts                    |
 * |       LISP-SEC authentication data, if S (RFC 9303)           |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { type ByteReader, readU64 } from './byte-reader.js'
import { type ByteWriter, writeU32, writeU64 } from './byte-writer.js'
import { MESSAGE_TYPE } from './iana.js'
import { readMappings, recordCount, writeMappings } from './mapping.js'
import type { MapReply } from './message.js'
import { MAP_REPLY_SECURITY, readMapReplySecurity, writeMapReplySecurity } from './security-data.js'

export function readMapReply(reader: ByteReader, word: number): MapReply {
  const nonce = readU64(reader, 'Nonce')
  const { records, structuredRecords } = readMappings(reader, word & 0xff)
  const message: MapReply = {
    kind: 'map-reply',
    rlocProbe: (word & RLOC_PROBE) !== 0,
    echoNonceCapable: (word & ECHO_NONCE) !== 0,
    nonce,
    records,
  }
  if (structuredRecords === undefined && (word & MAP_REPLY_SECURITY) === 0) return message
  return {
    ...message,
    ...(structuredRecords === undefined ? {} : { structuredRecords }),
    ...((word & MAP_REPLY_SECURITY) === 0 ? {} : { security: readMapReplySecurity(reader) }),
  }
}

export function writeMapReply(writer: ByteWriter, message: MapReply): void {
  const { records, structuredRecords, security } = message
  const flags =
    (message.rlocProbe ? RLOC_PROBE : 0) |
    (message.echoNonceCapable ? ECHO_NONCE : 0) |
    (security !== undefined ? MAP_REPLY_SECURITY : 0)
  const count = recordCount(records, structuredRecords)
  writeU32(writer, ((MESSAGE_TYPE.mapReply << 28) | flags | count) >>> 0)
  writeU64(writer, message.nonce)
  writeMappings(writer, records, structuredRecords)
  if (security !== undefined) writeMapReplySecurity(writer, security)
}

const RLOC_PROBE = 0x08000000
const ECHO_NONCE = 0x04000000
