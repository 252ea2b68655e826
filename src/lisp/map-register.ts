/**
 * Map-Register: an ETR says which EID-prefixes it serves and where (RFC 9301 §5.6).
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |Type=3 |P|S|I|        Reserved         |E|T|a|R|M| Record Count|
 * |       nonce, key ID, algorithm, authentication data           |
 * |                EID-records, see mapping.ts                    |
 * |         xTR-ID (128), Site-ID (64), if I                      |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * Record Count is bits 24–31; the figure has no room to show it. R is reserved.
 */
import { readAuthenticatedHeader, writeAuthenticatedHeader } from './authenticated-header.js'
import type { ByteReader } from './byte-reader.js'
import { type ByteWriter, writeU32 } from './byte-writer.js'
import { MESSAGE_TYPE } from './iana.js'
import { readMappings, recordCount, writeMappings } from './mapping.js'
import type { MapRegister } from './message.js'
import { readLastXtrIdentity, writeXtrIdentity } from './xtr-identity.js'

export function readMapRegister(reader: ByteReader, word: number): MapRegister {
  const header = readAuthenticatedHeader(reader)
  const { records, structuredRecords } = readMappings(reader, word & 0xff)
  const message: MapRegister = {
    kind: 'map-register',
    proxyReply: (word & PROXY_REPLY) !== 0,
    securityCapable: (word & SECURITY) !== 0,
    eidNotify: (word & EID_NOTIFY) !== 0,
    useTtlForTimeout: (word & USE_TTL) !== 0,
    mergeRequest: (word & MERGE) !== 0,
    wantMapNotify: (word & WANT_MAP_NOTIFY) !== 0,
    nonce: header.nonce,
    keyId: header.keyId,
    algorithm: header.algorithm,
    authenticationData: header.authenticationData,
    records,
    identity: readLastXtrIdentity(reader, (word & IDENTITY) !== 0),
  }
  return structuredRecords === undefined ? message : { ...message, structuredRecords }
}

export function writeMapRegister(writer: ByteWriter, message: MapRegister): void {
  const { records, structuredRecords } = message
  const flags =
    (message.proxyReply ? PROXY_REPLY : 0) |
    (message.securityCapable ? SECURITY : 0) |
    (message.identity !== undefined ? IDENTITY : 0) |
    (message.eidNotify ? EID_NOTIFY : 0) |
    (message.useTtlForTimeout ? USE_TTL : 0) |
    (message.mergeRequest ? MERGE : 0) |
    (message.wantMapNotify ? WANT_MAP_NOTIFY : 0)
  const count = recordCount(records, structuredRecords)
  writeU32(writer, ((MESSAGE_TYPE.mapRegister << 28) | flags | count) >>> 0)
  writeAuthenticatedHeader(writer, message)
  writeMappings(writer, records, structuredRecords)
  if (message.identity !== undefined) writeXtrIdentity(writer, message.identity)
}

const PROXY_REPLY = 0x08000000
const SECURITY = 0x04000000
const IDENTITY = 0x02000000
const EID_NOTIFY = 0x00001000
const USE_TTL = 0x00000800
const MERGE = 0x00000400
const WANT_MAP_NOTIFY = 0x00000100
