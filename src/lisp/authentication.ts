/**
 * Message authentication of Map-Register, Map-Notify, Map-Notify-Ack, Info-Request, Info-Reply and
 * Move (RFC 9301 §5.6, §9).
 *
 * HMAC is a capability handed in (`Hmac`): the addon's in the daemon, node:crypto's elsewhere.
 *
 * The RFC leaves three things open. Choices: the key of algorithm 3 is HKDF-SHA256 (RFC 5869) with
 * the nonce before the pre-shared key as input, the string of the message type as salt, empty info
 * and 32 bytes out. The length of the authentication data is the truncated one of the algorithm's
 * name, but the untruncated one is accepted, because most deployed peers send it. The MAC covers
 * the xTR-ID and Site-ID, because they name the sender; on receipt a MAC that stops before them is
 * accepted too, and told apart by `authenticationCoverage`.
 */

import { MESSAGE_TYPE } from './iana.js'
import type { InfoReply, InfoRequest } from './info-message.js'
import type { MoveMessage } from './message.js'
import { encodeMessage, type MapNotify, type MapNotifyAck, type MapRegister } from './message.js'
import { XTR_IDENTITY_BYTES } from './xtr-identity.js'

/** HMAC of `data` under `key`; returns 20 bytes (sha1) or 32 bytes (sha256). Synchronous. */
export type Hmac = (hash: 'sha1' | 'sha256', key: Uint8Array, data: Uint8Array) => Uint8Array

/** Algorithm 1 HMAC-SHA-1-96, 2 HMAC-SHA-256-128, 3 HMAC-SHA256-128+HKDF-SHA256. */
export type AlgorithmId = 1 | 2 | 3

export interface AuthenticationKey {
  /** 0–255. */
  readonly keyId: number
  readonly algorithm: AlgorithmId
  readonly secret: Uint8Array
}

export type AuthenticatedMessage =
  | MapRegister
  | MapNotify
  | MapNotifyAck
  | InfoRequest
  | InfoReply
  | MoveMessage

/**
 * Bytes of authentication data: 12 (SHA-1-96) or 16, as the algorithms are named; with `legacy` the
 * whole hash, 20 or 32, for peers of the RFC 6830 era. 0 for an algorithm that is not known.
 */
export function authenticationLength(algorithm: number, legacy = false): number {
  return LENGTHS[algorithm]?.[legacy ? 1 : 0] ?? 0
}

/**
 * The message with key ID, algorithm and authentication data filled in. The length of the message's
 * own `authenticationData` is kept when the algorithm allows it, so that an answer copied from a
 * request speaks the peer's dialect; else it is the truncated length.
 */
export function encodeSigned(
  message: AuthenticatedMessage,
  key: AuthenticationKey,
  hmac: Hmac,
): Uint8Array {
  const asked = message.authenticationData.length
  const allowed = LENGTHS[key.algorithm]?.includes(asked) === true
  const authenticationData = new Uint8Array(allowed ? asked : authenticationLength(key.algorithm))
  const { keyId, algorithm } = key
  const encoded = encodeMessage({ ...message, keyId, algorithm, authenticationData })
  return signMessage(encoded, key, hmac)
}

/**
 * Fills key ID, algorithm and authentication data of an encoded message in place and returns it.
 * Throws RangeError when the bytes are no message with authentication, or the length reserved in
 * them is none of the algorithm's.
 */
export function signMessage(bytes: Uint8Array, key: AuthenticationKey, hmac: Hmac): Uint8Array {
  const length = reservedLength(bytes)
  if (!isAuthenticated(bytes) || LENGTHS[key.algorithm]?.includes(length) !== true) {
    throw new RangeError(`${length} bytes of authentication data for algorithm ${key.algorithm}`)
  }
  bytes[KEY_ID_AT] = key.keyId
  bytes[ALGORITHM_AT] = key.algorithm
  bytes.fill(0, DATA_AT, DATA_AT + length)
  bytes.set(digest(bytes, key, hmac).subarray(0, length), DATA_AT)
  return bytes
}

/**
 * Whether the authentication data of a received datagram is that of `key`: same key ID, same
 * algorithm, a length the algorithm allows, and the MAC itself, compared in constant time
 * (RFC 9301 §5.6, §5.7). False for bytes that are no such message. Does not write to `bytes`.
 */
export function verifyMessage(bytes: Uint8Array, key: AuthenticationKey, hmac: Hmac): boolean {
  return authenticationCoverage(bytes, key, hmac) !== undefined
}

/**
 * What the right MAC of a message covers; undefined when it is wrong. 'without-trailer' means that
 * xTR-ID and Site-ID are not protected and must not be believed more than the source address.
 */
export function authenticationCoverage(
  bytes: Uint8Array,
  key: AuthenticationKey,
  hmac: Hmac,
): 'whole' | 'without-trailer' | undefined {
  if (!isAuthenticated(bytes)) return undefined
  const length = reservedLength(bytes)
  const end = DATA_AT + length
  if (bytes[KEY_ID_AT] !== key.keyId || bytes[ALGORITHM_AT] !== key.algorithm) return undefined
  if (LENGTHS[key.algorithm]?.includes(length) !== true || bytes.length < end) return undefined
  const received = bytes.subarray(DATA_AT, end)
  // Not slice(): of a Buffer it would be a view, and zeroing would reach the sender's bytes.
  const zeroed = Uint8Array.from(bytes)
  zeroed.fill(0, DATA_AT, end)
  if (equalInConstantTime(digest(zeroed, key, hmac), received)) return 'whole'
  if (!hasOptionalTrailer(bytes) || bytes.length < end + XTR_IDENTITY_BYTES) return undefined
  const shorter = zeroed.subarray(0, zeroed.length - XTR_IDENTITY_BYTES)
  const matches = equalInConstantTime(digest(shorter, key, hmac), received)
  return matches ? 'without-trailer' : undefined
}

/** RFC 5869 with SHA-256 and empty info; `lengthBytes` 1–32, which is one round. */
export function deriveKey(
  inputKey: Uint8Array,
  salt: Uint8Array,
  lengthBytes: number,
  hmac: Hmac,
): Uint8Array {
  const pseudoRandomKey = hmac('sha256', salt, inputKey)
  return hmac('sha256', pseudoRandomKey, FIRST_ROUND).subarray(0, lengthBytes)
}

const NONCE_AT = 4
const KEY_ID_AT = 12
const ALGORITHM_AT = 13
const LENGTH_AT = 14
const DATA_AT = 16

/** Per algorithm the truncated and the whole length. */
const LENGTHS: { readonly [algorithm: number]: readonly [number, number] } = {
  1: [12, 20],
  2: [16, 32],
  3: [16, 32],
}

const FIRST_ROUND = Uint8Array.of(1)

/** RFC 9301 §5.6–5.7; the strings of type 7 and of the Move message are ours. */
const SALTS: { readonly [type: number]: Uint8Array } = {
  [MESSAGE_TYPE.mapRegister]: asciiBytes('Map-Register Authentication'),
  [MESSAGE_TYPE.mapNotify]: asciiBytes('Map-Notify Authentication'),
  [MESSAGE_TYPE.mapNotifyAck]: asciiBytes('Map-Notify-Ack Authentication'),
  [MESSAGE_TYPE.info]: asciiBytes('Info-Request Authentication'),
  [MESSAGE_TYPE.sharedExtension]: asciiBytes('Godwit Move Authentication'),
}

function asciiBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}

function messageType(bytes: Uint8Array): number {
  return bytes[0]! >> 4
}

function isAuthenticated(bytes: Uint8Array): boolean {
  return bytes.length >= DATA_AT && SALTS[messageType(bytes)] !== undefined
}

function reservedLength(bytes: Uint8Array): number {
  return (bytes[LENGTH_AT]! << 8) | bytes[LENGTH_AT + 1]!
}

/** The I bit of a Map-Register or Map-Notify; a Move always covers its trailer. */
function hasOptionalTrailer(bytes: Uint8Array): boolean {
  const type = messageType(bytes)
  if (type === MESSAGE_TYPE.sharedExtension || type === MESSAGE_TYPE.info) return false
  return (bytes[0]! & (type === MESSAGE_TYPE.mapRegister ? 0x02 : 0x08)) !== 0
}

function digest(zeroed: Uint8Array, key: AuthenticationKey, hmac: Hmac): Uint8Array {
  if (key.algorithm === 1) return hmac('sha1', key.secret, zeroed)
  if (key.algorithm === 2) return hmac('sha256', key.secret, zeroed)
  const inputKey = new Uint8Array(8 + key.secret.length)
  inputKey.set(zeroed.subarray(NONCE_AT, NONCE_AT + 8))
  inputKey.set(key.secret, 8)
  const perMessageKey = deriveKey(inputKey, SALTS[messageType(zeroed)]!, 32, hmac)
  return hmac('sha256', perMessageKey, zeroed)
}

/** Compares as many bytes as were received; the time does not depend on where they differ. */
function equalInConstantTime(computed: Uint8Array, received: Uint8Array): boolean {
  let difference = computed.length < received.length ? 1 : 0
  for (let index = 0; index < received.length; index += 1) {
    difference |= (computed[index] ?? 0) ^ received[index]!
  }
  return difference === 0
}
