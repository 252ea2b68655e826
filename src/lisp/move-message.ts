/**
 * Move: our own message between the two xTRs of a move, a Shared Extension (RFC 9304).
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |Type=15|       Sub-type        | Phase | Reason| Record Count  |
 * |                         Nonce . . .                           |
 * |                         . . . Nonce                           |
 * |    Key ID     | Algorithm ID  |  Authentication Data Length   |
 * ~                     Authentication Data                       ~
 * |                        Move ID . . .                          |
 * |                        . . . Move ID                          |
 * |                   Endpoint MAC address . . .                  |
 * |    . . . Endpoint MAC         |         Sender Count          |
 * |          Sender-AFI           |    Sender Address  ...        |
 * |                EID-records, see mapping.ts                    |
 * |                 xTR-ID (128), Site-ID (64)                    |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * In a *stopped* the field of the MAC address is Reserved (28) and Stamp (20). Records whose EID is an
 * (S,G) are groups that go with the endpoint: those it listens to, and those that it sends to with their
 * replication lists; in `prepared` only.
 * The first 16 bytes and the authentication data are those of a Map-Register, so that one signature
 * code serves all. Both ends are ours: what is not understood is malformed, nothing is stepped
 * over.
 */
import { readAfiAddress, writeIpAddress } from './afi.js'
import { rlocOf } from './afi-address.js'
import { readAuthenticatedHeader, writeAuthenticatedHeader } from './authenticated-header.js'
import {
  type ByteReader,
  failDecoding,
  readBytes,
  readU16,
  readU64,
  remaining,
} from './byte-reader.js'
import { type ByteWriter, writeExactly, writeU16, writeU32, writeU64 } from './byte-writer.js'
import { MESSAGE_TYPE, MOVE_SUB_TYPE } from './iana.js'
import type { Rloc } from './locator.js'
import { readMappings, recordCount, writeMappings } from './mapping.js'
import type { MoveMessage } from './message.js'
import { MOVE_PHASES, MOVE_REASONS } from './move-phases.js'
import { readXtrIdentity, writeXtrIdentity } from './xtr-identity.js'

/** Choice: enough to say "most of them"; the destination solicits the rest itself. */
const MAX_MOVE_SENDERS = 64

const NO_MAC = new Uint8Array(6)

function stampIn(bytes: Uint8Array): number {
  return ((bytes[3]! & 0xf) << 16) | (bytes[4]! << 8) | bytes[5]!
}

function stampBytes(stamp: number): Uint8Array {
  return Uint8Array.of(0, 0, 0, (stamp >>> 16) & 0xf, (stamp >>> 8) & 0xff, stamp & 0xff)
}

export function readMove(reader: ByteReader, word: number): MoveMessage {
  // RFC 9304 §3: an unknown sub-type is dropped.
  if (((word >>> 16) & 0xfff) !== MOVE_SUB_TYPE) failDecoding('unknown-sub-type', 0, 'Sub-type')
  const phase = MOVE_PHASES[(word >>> 12) & 0xf]
  if (phase === undefined) return failDecoding('unknown-phase', 2, 'Phase')
  const reason = MOVE_REASONS[(word >>> 8) & 0xf]
  if (reason === undefined) return failDecoding('unknown-reason', 2, 'Reason')
  const header = readAuthenticatedHeader(reader)
  const moveId = readU64(reader, 'Move ID')
  const endpointMac = readBytes(reader, 6, 'Endpoint MAC')
  const senders = readSenders(reader)
  const { records, structuredRecords } = readMappings(reader, word & 0xff)
  const identity = readXtrIdentity(reader)
  if (remaining(reader) > 0) failDecoding('trailing-bytes', reader.offset, 'Site-ID')
  const message: MoveMessage = {
    kind: 'move',
    phase,
    reason,
    ...header,
    moveId,
    ...(phase === 'stopped'
      ? { endpointMac: NO_MAC, stamp: stampIn(endpointMac) }
      : { endpointMac }),
    senders,
    records,
    identity,
  }
  return structuredRecords === undefined ? message : { ...message, structuredRecords }
}

export function writeMove(writer: ByteWriter, message: MoveMessage): void {
  const { senders, records, structuredRecords } = message
  if (senders.length > MAX_MOVE_SENDERS) throw new RangeError(`${senders.length} senders`)
  const type = (MESSAGE_TYPE.sharedExtension << 28) | (MOVE_SUB_TYPE << 16)
  const phase = MOVE_PHASES.indexOf(message.phase) << 12
  const reason = MOVE_REASONS.indexOf(message.reason) << 8
  const count = recordCount(records, structuredRecords)
  writeU32(writer, (type | phase | reason | count) >>> 0)
  writeAuthenticatedHeader(writer, message)
  writeU64(writer, message.moveId)
  const stopped = message.phase === 'stopped'
  writeExactly(writer, stopped ? stampBytes(message.stamp ?? 0) : message.endpointMac, 6)
  writeU16(writer, senders.length)
  for (const sender of senders) writeIpAddress(writer, sender)
  writeMappings(writer, records, structuredRecords)
  writeXtrIdentity(writer, message.identity)
}

function readSenders(reader: ByteReader): Rloc[] {
  const countOffset = reader.offset
  const count = readU16(reader, 'Sender Count')
  if (count > MAX_MOVE_SENDERS) failDecoding('bad-count', countOffset, 'Sender Count')
  const senders: Rloc[] = []
  for (let index = 0; index < count; index += 1) {
    const offset = reader.offset
    const rloc = rlocOf(readAfiAddress(reader, 'Sender'))
    if (rloc === undefined) return failDecoding('unsupported-rloc', offset, 'Sender')
    senders.push(rloc)
  }
  return senders
}
