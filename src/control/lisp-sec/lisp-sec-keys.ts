/**
 * The keys and HMACs of LISP-SEC (RFC 9303): how a one-time key (OTK) is wrapped for the next hop, how
 * the Map-Server's key is made from the ITR's, and how EID-AD and PKT-AD are proven.
 *
 * Supported: key wrapping 1 (none) and 2 (AES key wrap of RFC 3394 §2.2 under HKDF-SHA256), key
 * derivation 1 (HKDF-SHA1-128) and 2 (HKDF-SHA256), HMAC 1 (SHA-1-96) and 2 (SHA-256-128).
 * The RFC leaves open how HKDF is fed. Choices: salt and info empty, 16 bytes out; for the wrapping
 * key the input is nonce, `OTK-Key-Wrap` and the pre-shared key. §6.7.1 has the EID HMAC zero while it
 * is computed, §6.9 names the EID HMAC ID: the HMAC is, and a peer that zeroes the ID too is
 * understood. Who uses which key, and when, is decided elsewhere.
 */
import type { AuthenticationKey, Hmac } from '../../lisp/authentication.js'
import {
  type EidAuthentication,
  type EidProof,
  encodeEidAuthentication,
  type OneTimeKey,
  securityPlaces,
} from '../../lisp/security-data.js'

/** AES with a 128-bit key on single blocks of 16 bytes; returns a new block. Synchronous. */
export interface BlockCipher {
  encrypt(key: Uint8Array, block: Uint8Array): Uint8Array
  decrypt(key: Uint8Array, block: Uint8Array): Uint8Array
}

export interface LispSecPrimitives {
  readonly hmac: Hmac
  readonly cipher: BlockCipher
}

/** RFC 9303 §8.4. */
const KEY_WRAP = { none: 1, aes128: 2 } as const
/** RFC 9303 §8.5. */
export const KDF = { noPreference: 0, hkdfSha1: 1, hkdfSha256: 2 } as const
/** RFC 9303 §8.3. */
export const HMAC_ID = { noPreference: 0, sha1: 1, sha256: 2 } as const

export const OTK_BYTES = 16
const PREAMBLE_BYTES = 8
const NO_SALT = { sha1: new Uint8Array(20), sha256: new Uint8Array(32) }
const WRAP_LABEL = new TextEncoder().encode('OTK-Key-Wrap')

/** Whether both numbers of a request are known here; 0 leaves the choice to us. */
export function isSupported(kdfId: number, hmacId: number): boolean {
  return kdfId <= KDF.hkdfSha256 && hmacId <= HMAC_ID.sha256
}

/** HKDF (RFC 5869) with empty salt and info; 16 bytes. Undefined for a KDF that is not known. */
export function deriveOneTimeKey(
  kdfId: number,
  input: Uint8Array,
  hmac: Hmac,
): Uint8Array | undefined {
  if (kdfId !== KDF.hkdfSha1 && kdfId !== KDF.hkdfSha256) return undefined
  const hash = kdfId === KDF.hkdfSha1 ? 'sha1' : 'sha256'
  const pseudoRandomKey = hmac(hash, NO_SALT[hash], input)
  return new Uint8Array(hmac(hash, pseudoRandomKey, Uint8Array.of(1)).subarray(0, OTK_BYTES))
}

/** The key that wraps a one-time key: of the pre-shared secret and the nonce of the request. */
export function wrappingKey(nonce: bigint, secret: Uint8Array, hmac: Hmac): Uint8Array {
  return deriveOneTimeKey(KDF.hkdfSha256, concat(bytesOf64(nonce), WRAP_LABEL, secret), hmac)!
}

/**
 * The OTK-AD with this one-time key for the holder of `secret`. With wrapping 1 the key is in clear:
 * only for a path that is protected otherwise (RFC 9303 §6.4).
 */
export function wrapOneTimeKey(
  otk: Uint8Array,
  wrapping: { readonly id: number; readonly keyId: number; readonly secret: Uint8Array },
  nonce: bigint,
  { hmac, cipher }: LispSecPrimitives,
): OneTimeKey {
  const { id, keyId, secret } = wrapping
  if (id === KEY_WRAP.none)
    return { keyId, wrappingId: id, preamble: new Uint8Array(PREAMBLE_BYTES), key: otk }
  const wrapped = keyWrap(wrappingKey(nonce, secret, hmac), otk, cipher)
  const preamble = wrapped.subarray(0, PREAMBLE_BYTES)
  return { keyId, wrappingId: KEY_WRAP.aes128, preamble, key: wrapped.subarray(PREAMBLE_BYTES) }
}

/**
 * The one-time key in an OTK-AD; undefined when it was not wrapped with `secret`, was changed on the
 * way, or has a form that is not known: the whole message is then to be discarded (RFC 9303 §6.5).
 * A key in clear is taken only where `allowClear` says that the path is protected.
 */
export function unwrapOneTimeKey(
  data: OneTimeKey,
  secret: Uint8Array,
  nonce: bigint,
  allowClear: boolean,
  { hmac, cipher }: LispSecPrimitives,
): Uint8Array | undefined {
  if (data.key.length !== OTK_BYTES || data.preamble.length !== PREAMBLE_BYTES) return undefined
  if (data.wrappingId === KEY_WRAP.none) {
    const isClear = allowClear && data.preamble.every((byte) => byte === 0)
    return isClear ? data.key : undefined
  }
  if (data.wrappingId !== KEY_WRAP.aes128) return undefined
  return keyUnwrap(wrappingKey(nonce, secret, hmac), concat(data.preamble, data.key), cipher)
}

/**
 * The key of a subscription that began with this one-time key (RFC 9437 §7.1): derived from it and the
 * nonce, or the one-time key itself where it was not wrapped. Choices: Key ID 0 and HMAC-SHA-256-128,
 * because the RFC names neither, and each part of the way has a Key ID of its own. Both parts must wrap
 * alike, else ITR and Map-Server mean different keys.
 */
export function subscriptionKey(
  otk: Uint8Array,
  { wrappingId }: OneTimeKey,
  nonce: bigint,
  hmac: Hmac,
): AuthenticationKey {
  const derived = (): Uint8Array =>
    deriveOneTimeKey(KDF.hkdfSha256, concat(otk, bytesOf64(nonce)), hmac)!
  const secret = wrappingId === KEY_WRAP.none ? otk : derived()
  return { keyId: 0, algorithm: 2, secret }
}

/** AES key wrap (RFC 3394 §2.2.1) of a key of whole 64-bit words, 16 bytes or more. */
export function keyWrap(kek: Uint8Array, key: Uint8Array, cipher: BlockCipher): Uint8Array {
  const words = key.length / 8
  const out = concat(INITIAL_VALUE, key)
  for (let round = 0; round < 6; round += 1)
    for (let word = 1; word <= words; word += 1) {
      const block = concat(out.subarray(0, 8), out.subarray(word * 8, word * 8 + 8))
      const sealed = cipher.encrypt(kek, block)
      addCounter(sealed, words * round + word)
      out.set(sealed.subarray(0, 8), 0)
      out.set(sealed.subarray(8), word * 8)
    }
  return out
}

/** RFC 3394 §2.2.2; undefined when the initial value does not come out (§2.2.3). */
export function keyUnwrap(
  kek: Uint8Array,
  wrapped: Uint8Array,
  cipher: BlockCipher,
): Uint8Array | undefined {
  const words = wrapped.length / 8 - 1
  if (!Number.isInteger(words) || words < 2) return undefined
  const out = new Uint8Array(wrapped)
  for (let round = 5; round >= 0; round -= 1)
    for (let word = words; word >= 1; word -= 1) {
      const block = concat(out.subarray(0, 8), out.subarray(word * 8, word * 8 + 8))
      addCounter(block, words * round + word)
      const opened = cipher.decrypt(kek, block)
      out.set(opened.subarray(0, 8), 0)
      out.set(opened.subarray(8), word * 8)
    }
  return isEqual(out.subarray(0, 8), INITIAL_VALUE) ? out.subarray(8) : undefined
}

/** The EID-AD with its HMAC under the ITR's one-time key (RFC 9303 §6.7.1). */
export function signEidAuthentication(
  kdfId: number,
  proof: Omit<EidProof, 'hmac'>,
  otk: Uint8Array,
  hmac: Hmac,
): EidAuthentication {
  const empty = { kdfId, proof: { ...proof, hmac: new Uint8Array(hmacBytes(proof.hmacId)) } }
  const digest = macOf(proof.hmacId, otk, encodeEidAuthentication(empty), hmac)
  return { kdfId, proof: { ...proof, hmac: digest } }
}

/** Fills in the PKT HMAC of an encoded Map-Reply, in place (RFC 9303 §6.8). */
export function signPacket(
  bytes: Uint8Array,
  packetHmacId: number,
  key: Uint8Array,
  hmac: Hmac,
): Uint8Array {
  const place = securityPlaces(bytes)?.packetHmac
  if (place === undefined) throw new RangeError('a Map-Reply without PKT-AD')
  bytes.fill(0, place.at, place.at + place.length)
  bytes.set(macOf(packetHmacId, key, bytes, hmac), place.at)
  return bytes
}

/** Whether the EID-AD of a received Map-Reply is the Map-Server's: keyed with our own OTK. */
export function isGenuineEidAuthentication(
  bytes: Uint8Array,
  proof: EidProof,
  otk: Uint8Array,
  hmac: Hmac,
): boolean {
  const places = securityPlaces(bytes)
  if (places?.eidHmac === undefined) return false
  const { at, length } = places.eidAuthentication
  const copy = bytes.slice(at, at + length)
  const hmacAt = places.eidHmac.at - at
  copy.fill(0, hmacAt)
  if (isEqual(macOf(proof.hmacId, otk, copy, hmac), proof.hmac)) return true
  // A peer that follows the words of §6.9: the EID HMAC ID is zero as well.
  copy.fill(0, EID_HMAC_ID_AT, EID_HMAC_ID_AT + 2)
  return isEqual(macOf(proof.hmacId, otk, copy, hmac), proof.hmac)
}

/** Whether the PKT-AD covers exactly the message received, under the Map-Server's OTK. */
export function isGenuinePacket(
  bytes: Uint8Array,
  packetHmacId: number,
  key: Uint8Array,
  hmac: Hmac,
): boolean {
  const place = securityPlaces(bytes)?.packetHmac
  if (place === undefined || place.length !== hmacBytes(packetHmacId)) return false
  const copy = new Uint8Array(bytes)
  copy.fill(0, place.at, place.at + place.length)
  const said = bytes.subarray(place.at, place.at + place.length)
  return isEqual(macOf(packetHmacId, key, copy, hmac), said)
}

/** Bytes of an HMAC; 0 for one that is not known, which equals nothing. */
export function hmacBytes(hmacId: number): number {
  return hmacId === HMAC_ID.sha1 ? 12 : hmacId === HMAC_ID.sha256 ? 16 : 0
}

/** RFC 3394 §2.2.3.1. */
const INITIAL_VALUE = new Uint8Array(8).fill(0xa6)
/** Behind EID-AD Length, KDF ID, Record Count and flags. */
const EID_HMAC_ID_AT = 6

function macOf(hmacId: number, key: Uint8Array, data: Uint8Array, hmac: Hmac): Uint8Array {
  const hash = hmacId === HMAC_ID.sha1 ? 'sha1' : 'sha256'
  return new Uint8Array(hmac(hash, key, data).subarray(0, hmacBytes(hmacId)))
}

/** Exclusive-or of a 64-bit counter into the first word; counters stay below 256. */
function addCounter(block: Uint8Array, counter: number): void {
  block[7] = block[7]! ^ counter
}

/** In constant time for equal lengths; empty ones are never equal: no HMAC is no proof. */
function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length === 0 || a.length !== b.length) return false
  let difference = 0
  for (let index = 0; index < a.length; index += 1) difference |= a[index]! ^ b[index]!
  return difference === 0
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

function bytesOf64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value)
  return bytes
}
