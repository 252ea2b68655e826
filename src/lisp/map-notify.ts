/**
 * Map-Notify and Map-Notify-Ack: a Map-Server confirms or announces registrations, and the receiver
 * acknowledges an announcement (RFC 9301 §5.7). Both have the layout of a Map-Register.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |Type=4/5 |I|            Reserved               | Record Count  |
 * |       nonce, key ID, algorithm, authentication data           |
 * |                EID-records, see mapping.ts                    |
 * |         xTR-ID (128), Site-ID (64), if I                      |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * Type is bits 0–3, I is bit 4. RFC 9301 shows I as reserved; the NAT traversal draft uses it to
 * say that the trailer of the Map-Register is copied. Choice: read it, and send it with an identity
 * only.
 */
import { readAuthenticatedHeader, writeAuthenticatedHeader } from './authenticated-header.js'
import type { ByteReader } from './byte-reader.js'
import { type ByteWriter, writeU32 } from './byte-writer.js'
import { MESSAGE_TYPE } from './iana.js'
import { readMappings, recordCount, writeMappings } from './mapping.js'
import type { MapNotify, MapNotifyAck } from './message.js'
import { readLastXtrIdentity, writeXtrIdentity } from './xtr-identity.js'

export function readMapNotify(reader: ByteReader, word: number): MapNotify {
  return { kind: 'map-notify', ...readBody(reader, word) }
}

export function readMapNotifyAck(reader: ByteReader, word: number): MapNotifyAck {
  return { kind: 'map-notify-ack', ...readBody(reader, word) }
}

export function writeMapNotify(writer: ByteWriter, message: MapNotify | MapNotifyAck): void {
  const isNotify = message.kind === 'map-notify'
  const type = isNotify ? MESSAGE_TYPE.mapNotify : MESSAGE_TYPE.mapNotifyAck
  const identity = message.identity !== undefined ? IDENTITY : 0
  const { records, structuredRecords } = message
  const count = recordCount(records, structuredRecords)
  writeU32(writer, ((type << 28) | identity | count) >>> 0)
  writeAuthenticatedHeader(writer, message)
  writeMappings(writer, records, structuredRecords)
  if (message.identity !== undefined) writeXtrIdentity(writer, message.identity)
}

const IDENTITY = 0x08000000

function readBody(reader: ByteReader, word: number): Omit<MapNotify, 'kind'> {
  const header = readAuthenticatedHeader(reader)
  const { records, structuredRecords } = readMappings(reader, word & 0xff)
  const identity = readLastXtrIdentity(reader, (word & IDENTITY) !== 0)
  const body = { ...header, records, identity }
  return structuredRecords === undefined ? body : { ...body, structuredRecords }
}
