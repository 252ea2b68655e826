/**
 * Info-Request and Info-Reply: what does my address look like from over there? Type 7 of the NAT
 * traversal draft, which RFC 9301 leaves unassigned.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |Type=7 |R|                       Reserved                      |
 * |          nonce, key ID, algorithm, authentication data        |
 * |                              TTL                              |
 * |   Reserved    | EID mask-len  |        EID-prefix-AFI         |
 * |                          EID-prefix                           |
 * |      AFI = 0 (request), or LCAF type 7 (reply, R set)         |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * The draft shows one Key ID of 16 bits. Choice: read it as RFC 9301 reads that of a Map-Register,
 * so that one signature code serves all. A request that ends behind its EID is taken as well; some
 * are sent so.
 */
import { readAfiAddress, writeAfiAddress, writeNoAddress } from './afi.js'
import type { AfiAddress, NatTraversal } from './afi-address.js'
import { readAuthenticatedHeader, writeAuthenticatedHeader } from './authenticated-header.js'
import {
  type ByteReader,
  failDecoding,
  readU8,
  readU32,
  remaining,
  skipBytes,
} from './byte-reader.js'
import { type ByteWriter, writeU8, writeU32 } from './byte-writer.js'
import { MESSAGE_TYPE } from './iana.js'
import type { Authenticated } from './message.js'

interface InfoTerms extends Authenticated {
  /** Minutes that the answer may be believed. */
  readonly ttlMinutes: number
  /** Who asks: an address, an address within an instance, a name, or 'none'. */
  readonly eid: AfiAddress
  readonly maskLength: number
}

export interface InfoRequest extends InfoTerms {
  readonly kind: 'info-request'
}

export interface InfoReply extends InfoTerms {
  readonly kind: 'info-reply'
  readonly nat: NatTraversal
}

/** The message behind its first word. A reply without NAT-Traversal address is malformed. */
export function readInfoMessage(reader: ByteReader, word: number): InfoRequest | InfoReply {
  const header = readAuthenticatedHeader(reader)
  const ttlMinutes = readU32(reader, 'TTL')
  skipBytes(reader, 1, 'Reserved')
  const maskLength = readU8(reader, 'EID mask-len')
  const eid = readAfiAddress(reader, 'EID-prefix')
  const terms = { ...header, ttlMinutes, eid, maskLength }
  if ((word & REPLY) === 0) {
    if (remaining(reader) > 0) readAfiAddress(reader, 'AFI = 0')
    return { kind: 'info-request', ...terms }
  }
  const start = reader.offset
  const nat = readAfiAddress(reader, 'NAT-Traversal')
  if (nat.kind !== 'nat-traversal') {
    return failDecoding('unsupported-rloc', start, 'NAT-Traversal')
  }
  return { kind: 'info-reply', ...terms, nat }
}

export function writeInfoMessage(writer: ByteWriter, message: InfoRequest | InfoReply): void {
  const reply = message.kind === 'info-reply' ? REPLY : 0
  writeU32(writer, ((MESSAGE_TYPE.info << 28) | reply) >>> 0)
  writeAuthenticatedHeader(writer, message)
  writeU32(writer, message.ttlMinutes)
  writeU8(writer, 0)
  writeU8(writer, message.maskLength)
  writeAfiAddress(writer, message.eid)
  if (message.kind === 'info-reply') writeAfiAddress(writer, message.nat)
  else writeNoAddress(writer)
}

const REPLY = 0x08000000
