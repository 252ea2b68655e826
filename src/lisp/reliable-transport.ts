/**
 * Registrations over TCP, port 4342: the framing of the reliable transport draft as Wireshark reads
 * it, no RFC. Values and bytes of one message, and a stream that cuts a connection into messages.
 * When to connect, and what follows from a message, is not decided here.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |             Type              |            Length             |
 * |                         Message ID                            |
 * ~                         Message data                          ~
 * |              Message End Marker = 0x9FACADE9                  |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * Length counts the whole message. Eight bytes have neither ID nor data.
 */
import { readRecordEid, type StructuredEid, writeAfiAddress, writeEid } from './afi.js'
import {
  type ByteReader,
  byteReader,
  failDecoding,
  MalformedSignal,
  malformed,
  readBytes,
  readU8,
  readU16,
  readU32,
  remaining,
  skipBytes,
} from './byte-reader.js'
import {
  type ByteWriter,
  byteWriter,
  patchU16,
  writeBytes,
  writeU8,
  writeU16,
  writeU32,
  writtenBytes,
} from './byte-writer.js'
import type { EidPrefix } from './eid.js'
import { type Mapping, readMapping, type StructuredMapping, writeMapping } from './mapping.js'
import type { Malformed, XtrIdentity } from './message.js'
import { readXtrIdentity, writeXtrIdentity } from './xtr-identity.js'

export type ReliableMessage =
  | {
      readonly kind: 'error-notification'
      readonly messageId: number
      readonly code: number
      readonly offendingType: number
      readonly offendingLength: number
      readonly offendingId: number
      readonly data: Uint8Array
    }
  /** `message` is a whole Map-Register, authentication data included. */
  | { readonly kind: 'registration'; readonly messageId: number; readonly message: Uint8Array }
  | {
      readonly kind: 'registration-ack'
      readonly messageId: number
      readonly eid: EidPrefix | StructuredEid
    }
  | {
      readonly kind: 'registration-reject'
      readonly messageId: number
      /** 1 no valid site EID, 2 authentication failed, 3 locator-set not allowed, 4 other. */
      readonly reason: number
      readonly eid: EidPrefix | StructuredEid
    }
  | {
      readonly kind: 'registration-refresh'
      readonly messageId: number
      readonly scope: RefreshScope
      /** R bit: only what was rejected. */
      readonly rejectedOnly: boolean
      /** Undefined when the scope needs none. */
      readonly eid: EidPrefix | StructuredEid | undefined
    }
  | {
      readonly kind: 'mapping-notification'
      readonly messageId: number
      readonly identity: XtrIdentity
      readonly mapping: Mapping | StructuredMapping
    }
  /** Types 22–30, carried and not interpreted. */
  | {
      readonly kind: 'rloc-membership'
      readonly messageId: number
      readonly operation: MembershipOperation
      readonly data: Uint8Array
    }
  /** A type without a name here, or a message of eight bytes, which has no ID. */
  | {
      readonly kind: 'other'
      readonly type: number
      readonly messageId: number | undefined
      readonly data: Uint8Array
    }

/** In the order of their numbers. */
export const REFRESH_SCOPES = ['all', 'instance', 'address-family', 'covered', 'prefix'] as const
export type RefreshScope = (typeof REFRESH_SCOPES)[number]

/** In the order of their numbers, from 22. */
export const MEMBERSHIP_OPERATIONS = [
  'subscribe',
  'subscribe-ack',
  'subscribe-nack',
  'unsubscribe',
  'element-add',
  'element-delete',
  'refresh-request',
  'refresh-begin',
  'refresh-end',
] as const
export type MembershipOperation = (typeof MEMBERSHIP_OPERATIONS)[number]

/** The length field has 16 bits, so this is also the most that a stream holds back. */
export const MAX_RELIABLE_MESSAGE_BYTES = 0xffff

export interface ReliableStream {
  /**
   * What the bytes received next complete, in order. A Malformed of code 'bad-length' or
   * 'bad-end-marker' is the last: where the next message begins is not known, `broken` is true
   * from then on, and the connection is of no more use. Any other Malformed is one message.
   */
  push(chunk: Uint8Array): (ReliableMessage | Malformed)[]
  readonly broken: boolean
  /** Bytes of a message that is not complete, below `MAX_RELIABLE_MESSAGE_BYTES`. */
  readonly heldBytes: number
}

/** The receiving side of one connection. */
export function createReliableStream(): ReliableStream {
  let held = new Uint8Array(0)
  let broken = false

  return {
    push(chunk) {
      if (broken) return []
      let bytes = chunk
      if (held.length > 0) {
        bytes = new Uint8Array(held.length + chunk.length)
        bytes.set(held)
        bytes.set(chunk, held.length)
      }
      const found: (ReliableMessage | Malformed)[] = []
      let at = 0
      while (bytes.length - at >= FRAME_HEADER_BYTES) {
        const length = (bytes[at + 2]! << 8) | bytes[at + 3]!
        if (!isFrameLength(length)) {
          found.push(malformed('bad-length', 2, 'Length'))
          broken = true
          break
        }
        if (bytes.length - at < length) break
        const message = decodeReliableMessage(bytes.subarray(at, at + length))
        found.push(message)
        at += length
        broken = message.kind === 'malformed' && message.code === 'bad-end-marker'
        if (broken) break
      }
      held = broken ? new Uint8Array(0) : bytes.slice(at)
      return found
    },
    get broken() {
      return broken
    },
    get heldBytes() {
      return held.length
    },
  }
}

/** One whole message, its length field included. Never throws; everything is a copy. */
export function decodeReliableMessage(bytes: Uint8Array): ReliableMessage | Malformed {
  try {
    return readReliableMessage(bytes)
  } catch (error) {
    if (error instanceof MalformedSignal) return error.malformed
    throw error
  }
}

/** Throws RangeError for a value that does not fit, or a message longer than its length field. */
export function encodeReliableMessage(message: ReliableMessage): Uint8Array {
  const writer = byteWriter()
  writeU16(writer, typeOf(message))
  writeU16(writer, 0)
  if (message.messageId !== undefined) writeU32(writer, message.messageId)
  else if ('data' in message && message.data.length > 0) throw new RangeError('data without an ID')
  writeData(writer, message)
  writeU32(writer, END_MARKER)
  patchU16(writer, 2, writer.offset)
  return writtenBytes(writer)
}

const END_MARKER = 0x9facade9
const FRAME_HEADER_BYTES = 4
const BARE_BYTES = 8
const WITH_ID_BYTES = 12
const REJECTED_ONLY = 0x8000

const TYPE = {
  'error-notification': 16,
  registration: 17,
  'registration-ack': 18,
  'registration-reject': 19,
  'registration-refresh': 20,
  'mapping-notification': 21,
} as const
const FIRST_MEMBERSHIP = 22

function isFrameLength(length: number): boolean {
  return length === BARE_BYTES || length >= WITH_ID_BYTES
}

function readReliableMessage(bytes: Uint8Array): ReliableMessage {
  const whole = byteReader(bytes)
  const type = readU16(whole, 'Type')
  const length = readU16(whole, 'Length')
  if (!isFrameLength(length) || length !== bytes.length) failDecoding('bad-length', 2, 'Length')
  const markerAt = length - 4
  const marker = readU32({ ...whole, offset: markerAt }, 'Message End Marker')
  if (marker !== END_MARKER) failDecoding('bad-end-marker', markerAt, 'Message End Marker')
  if (length === BARE_BYTES) {
    return { kind: 'other', type, messageId: undefined, data: new Uint8Array(0) }
  }
  const messageId = readU32(whole, 'Message ID')
  const data: ByteReader = { bytes, offset: 8, end: markerAt, shortCode: 'bad-length' }
  const message = readData(data, type, messageId)
  if (remaining(data) > 0) failDecoding('trailing-bytes', data.offset, 'Message data')
  return message
}

function readData(data: ByteReader, type: number, messageId: number): ReliableMessage {
  switch (type) {
    case TYPE['error-notification']:
      return readErrorNotification(data, messageId)
    case TYPE.registration:
      return { kind: 'registration', messageId, message: rest(data) }
    case TYPE['registration-ack']:
      return { kind: 'registration-ack', messageId, eid: readEid(data) }
    case TYPE['registration-reject']: {
      const reason = readU8(data, 'Reason')
      skipBytes(data, 2, 'Reserved')
      return { kind: 'registration-reject', messageId, reason, eid: readEid(data) }
    }
    case TYPE['registration-refresh']:
      return readRefresh(data, messageId)
    case TYPE['mapping-notification']: {
      const identity = readXtrIdentity(data)
      const mapping = readMapping(data)
      if ('kind' in mapping) throw new MalformedSignal(mapping)
      return { kind: 'mapping-notification', messageId, identity, mapping }
    }
  }
  const operation = MEMBERSHIP_OPERATIONS[type - FIRST_MEMBERSHIP]
  if (operation === undefined) return { kind: 'other', type, messageId, data: rest(data) }
  return { kind: 'rloc-membership', messageId, operation, data: rest(data) }
}

function readErrorNotification(data: ByteReader, messageId: number): ReliableMessage {
  const code = readU8(data, 'Error Code')
  skipBytes(data, 3, 'Reserved')
  return {
    kind: 'error-notification',
    messageId,
    code,
    offendingType: readU16(data, 'Offending Message Type'),
    offendingLength: readU16(data, 'Offending Message Length'),
    offendingId: readU32(data, 'Offending Message ID'),
    data: rest(data),
  }
}

function readRefresh(data: ByteReader, messageId: number): ReliableMessage {
  const at = data.offset
  const scope = REFRESH_SCOPES[readU8(data, 'Scope')]
  if (scope === undefined) return failDecoding('unknown-type', at, 'Scope')
  const rejectedOnly = (readU16(data, 'R bit') & REJECTED_ONLY) !== 0
  const eid = remaining(data) === 0 ? undefined : readEid(data)
  return { kind: 'registration-refresh', messageId, scope, rejectedOnly, eid }
}

function readEid(data: ByteReader): EidPrefix | StructuredEid {
  const offset = data.offset
  const length = readU8(data, 'EID prefix length')
  const eid = readRecordEid(data, { length, offset })
  if ('kind' in eid && eid.kind === 'malformed') throw new MalformedSignal(eid)
  return eid
}

function rest(data: ByteReader): Uint8Array {
  return readBytes(data, remaining(data), 'Message data')
}

function typeOf(message: ReliableMessage): number {
  if (message.kind === 'other') return message.type
  if (message.kind !== 'rloc-membership') return TYPE[message.kind]
  return FIRST_MEMBERSHIP + MEMBERSHIP_OPERATIONS.indexOf(message.operation)
}

function writeData(writer: ByteWriter, message: ReliableMessage): void {
  switch (message.kind) {
    case 'error-notification':
      writeU8(writer, message.code)
      writeBytes(writer, new Uint8Array(3))
      writeU16(writer, message.offendingType)
      writeU16(writer, message.offendingLength)
      writeU32(writer, message.offendingId)
      writeBytes(writer, message.data)
      break
    case 'registration':
      writeBytes(writer, message.message)
      break
    case 'registration-ack':
      writeRecordEid(writer, message.eid)
      break
    case 'registration-reject':
      writeU8(writer, message.reason)
      writeU16(writer, 0)
      writeRecordEid(writer, message.eid)
      break
    case 'registration-refresh':
      writeU8(writer, REFRESH_SCOPES.indexOf(message.scope))
      writeU16(writer, message.rejectedOnly ? REJECTED_ONLY : 0)
      if (message.eid !== undefined) writeRecordEid(writer, message.eid)
      break
    case 'mapping-notification':
      writeXtrIdentity(writer, message.identity)
      writeMapping(writer, message.mapping)
      break
    case 'rloc-membership':
    case 'other':
      writeBytes(writer, message.data)
      break
  }
}

function writeRecordEid(writer: ByteWriter, eid: EidPrefix | StructuredEid): void {
  writeU8(writer, eid.maskLength)
  if ('kind' in eid) writeAfiAddress(writer, eid.eid)
  else writeEid(writer, eid)
}
