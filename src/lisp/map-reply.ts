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
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * The S bit and the LISP-SEC data behind the records (RFC 9303) are not looked at and not sent.
 */
import { type ByteReader, readU64 } from './byte-reader.js'
import { type ByteWriter, writeU32, writeU64 } from './byte-writer.js'
import { MESSAGE_TYPE } from './iana.js'
import { readMappings, writeMappings } from './mapping.js'
import type { MapReply } from './message.js'

export function readMapReply(reader: ByteReader, word: number): MapReply {
  return {
    kind: 'map-reply',
    rlocProbe: (word & RLOC_PROBE) !== 0,
    echoNonceCapable: (word & ECHO_NONCE) !== 0,
    nonce: readU64(reader, 'Nonce'),
    records: readMappings(reader, word & 0xff),
  }
}

export function writeMapReply(writer: ByteWriter, message: MapReply): void {
  const flags = (message.rlocProbe ? RLOC_PROBE : 0) | (message.echoNonceCapable ? ECHO_NONCE : 0)
  writeU32(writer, ((MESSAGE_TYPE.mapReply << 28) | flags | message.records.length) >>> 0)
  writeU64(writer, message.nonce)
  writeMappings(writer, message.records)
}

const RLOC_PROBE = 0x08000000
const ECHO_NONCE = 0x04000000
