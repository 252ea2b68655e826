/**
 * The door of this room: every LISP control message as a value, and `decodeMessage` /
 * `encodeMessage` between values and bytes (RFC 9301 §5, RFC 8111 §6, RFC 9304, and our own Move
 * message).
 *
 * Decoding never throws: any bytes give a `Message` or a `Malformed` with a code, the byte offset
 * and the field. Messages that carry authentication data keep it as parsed; whether it is right is
 * asked with `verifyMessage` of authentication.ts over the *original bytes*. Everything decoded is
 * a copy, except `EncapsulatedControl.message`. Bytes behind the last field are ignored, but not
 * behind an xTR-ID and Site-ID or LISP-SEC data, which a MAC should have covered.
 */
import type { AfiAddress } from './afi-address.js'
import { byteReader, failDecoding, MalformedSignal, readU32 } from './byte-reader.js'
import { byteWriter, writtenBytes } from './byte-writer.js'
import type { Eid, EidPrefix } from './eid.js'
import { readEncapsulatedControl, writeEncapsulatedControl } from './encapsulated-control.js'
import { MESSAGE_TYPE } from './iana.js'
import {
  type InfoReply,
  type InfoRequest,
  readInfoMessage,
  writeInfoMessage,
} from './info-message.js'
import type { Rloc } from './locator.js'
import { readMapNotify, readMapNotifyAck, writeMapNotify } from './map-notify.js'
import { type MapReferral, readMapReferral, writeMapReferral } from './map-referral.js'
import { readMapRegister, writeMapRegister } from './map-register.js'
import { readMapReply, writeMapReply } from './map-reply.js'
import { readMapRequest, writeMapRequest } from './map-request.js'
import type { Mapping, StructuredMapping } from './mapping.js'
import { readMove, writeMove } from './move-message.js'
import type { MovePhase, MoveReason } from './move-phases.js'
import type { EcmAuthenticationData, MapReplySecurity } from './security-data.js'

export type Message =
  | MapRequest
  | MapReply
  | MapRegister
  | MapNotify
  | MapNotifyAck
  | MapReferral
  | InfoRequest
  | InfoReply
  | EncapsulatedControl
  | MoveMessage

/** 128-bit xTR-ID and 64-bit Site-ID, RFC 9301 §5.6. */
export interface XtrIdentity {
  /** 16 bytes. */
  readonly xtrId: Uint8Array
  readonly siteId: bigint
}

/** RFC 9301 §5.2. */
export interface MapRequest {
  readonly kind: 'map-request'
  /** A bit: an authoritative answer is wanted. */
  readonly authoritative: boolean
  /** P bit. */
  readonly rlocProbe: boolean
  /** S bit. */
  readonly solicitMapRequest: boolean
  /** p bit: sent by a PITR. */
  readonly proxyItr: boolean
  /** s bit. */
  readonly smrInvoked: boolean
  /** L bit. */
  readonly localXtr: boolean
  /** D bit: do not reply. */
  readonly doNotReply: boolean
  readonly nonce: bigint
  /** Undefined is AFI 0. */
  readonly sourceEid: Eid | undefined
  /** 1–32 addresses (AFI 0 entries are not listed; empty when all were AFI 0). */
  readonly itrRlocs: readonly Rloc[]
  readonly records: readonly MapRequestRecord[]
  /** Records of EIDs that are no prefixes of addresses; absent when there are none. */
  readonly structuredRecords?: readonly StructuredMapRequestRecord[]
  /** M bit: the sender's own mapping; to be verified before use (RFC 9301 §5.3). */
  readonly mapReplyRecord: Mapping | undefined
  /** I bit (RFC 9437 §4). */
  readonly identity: XtrIdentity | undefined
}
export interface MapRequestRecord {
  /** N bit (RFC 9437): subscribe to this prefix. */
  readonly subscribe: boolean
  readonly eidPrefix: EidPrefix
}
export interface StructuredMapRequestRecord {
  readonly subscribe: boolean
  readonly eid: AfiAddress
  /** As on the wire, 0–255. */
  readonly maskLength: number
}

/** RFC 9301 §5.4. */
export interface MapReply {
  readonly kind: 'map-reply'
  readonly rlocProbe: boolean
  /** E bit. */
  readonly echoNonceCapable: boolean
  readonly nonce: bigint
  readonly records: readonly Mapping[]
  readonly structuredRecords?: readonly StructuredMapping[]
  /** S bit and what stands behind the records (RFC 9303 §6.2). */
  readonly security?: MapReplySecurity
}

/** Authentication fields common to Register, Notify, Notify-Ack and Move (RFC 9301 §5.6). */
export interface Authenticated {
  readonly nonce: bigint
  readonly keyId: number
  readonly algorithm: number
  /** As received; when encoding, its length is reserved, the bytes are zero until `signMessage`. */
  readonly authenticationData: Uint8Array
}

/** RFC 9301 §5.6. */
export interface MapRegister extends Authenticated {
  readonly kind: 'map-register'
  /** P bit: the Map-Server shall answer Map-Requests itself. */
  readonly proxyReply: boolean
  /** S bit. */
  readonly securityCapable: boolean
  /** E bit. */
  readonly eidNotify: boolean
  /** T bit: the record TTL is the lifetime of the registration. */
  readonly useTtlForTimeout: boolean
  /** a bit: merge locator-sets of several xTRs. */
  readonly mergeRequest: boolean
  /** M bit. */
  readonly wantMapNotify: boolean
  readonly records: readonly Mapping[]
  readonly structuredRecords?: readonly StructuredMapping[]
  readonly identity: XtrIdentity | undefined
}

/** RFC 9301 §5.7. */
export interface MapNotify extends Authenticated {
  readonly kind: 'map-notify'
  readonly records: readonly Mapping[]
  readonly structuredRecords?: readonly StructuredMapping[]
  readonly identity: XtrIdentity | undefined
}
export interface MapNotifyAck extends Authenticated {
  readonly kind: 'map-notify-ack'
  readonly records: readonly Mapping[]
  readonly structuredRecords?: readonly StructuredMapping[]
  readonly identity: XtrIdentity | undefined
}

/**
 * RFC 9301 §5.8. Inner header fields are those a role needs: the inner addresses (the destination
 * of a Map-Request is the EID), inner ports, and the control message itself, still as bytes.
 */
export interface EncapsulatedControl {
  readonly kind: 'encapsulated-control'
  /** S bit as received; sent when there is `securityData`. */
  readonly security: boolean
  /** D bit: sent by a DDT Map-Resolver. */
  readonly ddtOriginated: boolean
  readonly innerSource: Rloc
  readonly innerDestination: Rloc
  readonly innerSourcePort: number
  readonly innerDestinationPort: number
  /** The control message inside, without its UDP header. A view into the datagram when decoded. */
  readonly message: Uint8Array
  /** RFC 9303 §6.1. */
  readonly securityData?: EcmAuthenticationData
  /** E bit, RFC 9301 §12.6: for an ETR. R, "for an RTR", in the NAT traversal draft. */
  readonly toEtr?: boolean
  /** M bit: for a Map-Server. N, "relayed by an RTR", in the NAT traversal draft. */
  readonly toMapServer?: boolean
}

/**
 * Godwit's own message between the two xTRs of a move: Shared Extension, type 15 (RFC 9304),
 * sub-type `MOVE_SUB_TYPE`. Its body is laid out like a Map-Register; a foreign xTR counts and
 * drops it.
 *
 * - prepare (destination → source): stop delivering, redirect to me, I hold. Answer: prepared or
 *   refused.
 * - confirm (destination → source): the endpoint is here. Answer: ack.
 * - cancel (either way): the attempt is over. Answer: ack.
 * - solicited (source → destination): these senders were sent an SMR (`records` empty, `senders`
 *   set). Answer: ack.
 * - prepare-live (destination → source): copy to us what you deliver, as long as this is repeated.
 *   Answer: prepared or refused.
 * - stopped (source → destination): the endpoint does not run here any more, all comes to you from
 *   now on; reason `gone` when it will not come back. Answer: ack.
 */
export interface MoveMessage extends Authenticated {
  readonly kind: 'move'
  readonly phase: MovePhase
  /**
   * 64 bits, names the attempt: the destination's persisted counter in the high half, random low
   * half.
   */
  readonly moveId: bigint
  /** Why, in `refused` and `cancel`; 'none' elsewhere. */
  readonly reason: MoveReason
  /** One record per EID; in `prepare` and `confirm` the locator is the destination's. */
  readonly records: readonly Mapping[]
  /** In `prepared`: groups that go with the endpoint. */
  readonly structuredRecords?: readonly StructuredMapping[]
  /** 6 bytes; the endpoint's Ethernet address in `prepared`, all zero when unknown. */
  readonly endpointMac: Uint8Array
  /**
   * 20 bits, see move-stamp.ts; in `stopped` only: what is stamped before it the endpoint has seen.
   */
  readonly stamp?: number
  /** At most 64 ITRs: in `solicited` those solicited so far, in `prepared` who sent lately. */
  readonly senders: readonly Rloc[]
  readonly identity: XtrIdentity
}

/** A datagram that is no valid control message; the only way decoding can fail. */
export interface Malformed {
  readonly kind: 'malformed'
  /** Kebab-case, from a closed list: 'truncated', 'unknown-type', 'unknown-afi', 'bad-length', … */
  readonly code: string
  /** Byte offset in the datagram at which the problem was found. */
  readonly offset: number
  /** The field being read, in the RFC's words. */
  readonly field: string
}

/**
 * The message that a datagram of UDP port 4342 holds, or why it holds none. Never throws. The codes
 * are `MALFORMED_CODES` of byte-reader.ts; the offset counts from the start of `bytes`.
 */
export function decodeMessage(bytes: Uint8Array): Message | Malformed {
  try {
    return readMessage(bytes)
  } catch (error) {
    if (error instanceof MalformedSignal) return error.malformed
    throw error
  }
}

/**
 * The bytes of a message. Authentication data is written as given: `signMessage` fills it in.
 * Locators are written in ascending order (RFC 9301 §5.5). Throws RangeError for a value that does
 * not fit its field: more than 255 records, 255 locators, 32 ITR-RLOCs or 64 senders, a priority of
 * 300.
 */
export function encodeMessage(message: Message): Uint8Array {
  const writer = byteWriter()
  switch (message.kind) {
    case 'map-request':
      writeMapRequest(writer, message)
      break
    case 'map-reply':
      writeMapReply(writer, message)
      break
    case 'map-register':
      writeMapRegister(writer, message)
      break
    case 'map-notify':
    case 'map-notify-ack':
      writeMapNotify(writer, message)
      break
    case 'map-referral':
      writeMapReferral(writer, message)
      break
    case 'info-request':
    case 'info-reply':
      writeInfoMessage(writer, message)
      break
    case 'encapsulated-control':
      writeEncapsulatedControl(writer, message)
      break
    case 'move':
      writeMove(writer, message)
      break
  }
  return writtenBytes(writer)
}

function readMessage(bytes: Uint8Array): Message {
  const reader = byteReader(bytes)
  const word = readU32(reader, 'Type')
  switch (word >>> 28) {
    case MESSAGE_TYPE.mapRequest:
      return readMapRequest(reader, word)
    case MESSAGE_TYPE.mapReply:
      return readMapReply(reader, word)
    case MESSAGE_TYPE.mapRegister:
      return readMapRegister(reader, word)
    case MESSAGE_TYPE.mapNotify:
      return readMapNotify(reader, word)
    case MESSAGE_TYPE.mapNotifyAck:
      return readMapNotifyAck(reader, word)
    case MESSAGE_TYPE.mapReferral:
      return readMapReferral(reader, word)
    case MESSAGE_TYPE.info:
      return readInfoMessage(reader, word)
    case MESSAGE_TYPE.encapsulatedControl:
      return readEncapsulatedControl(reader, word)
    case MESSAGE_TYPE.sharedExtension:
      return readMove(reader, word)
    default:
      return failDecoding('unknown-type', 0, 'Type')
  }
}
