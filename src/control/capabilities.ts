/**
 * What a node is given besides its inputs: moments, chance, and cryptography.
 *
 * Nothing else is ambient. The shell makes these of the system's clock, generator and OpenSSL; the
 * simulator of virtual time and a seed.
 */
import type { Hmac } from '../lisp/authentication.js'
import type { BlockCipher } from './lisp-sec/lisp-sec-keys.js'

/** Milliseconds, monotonic; zero is arbitrary. */
export type Instant = number

export interface Random {
  /** 64 bits, unpredictable in production. */
  nonce(): bigint
  /** [0, 1), for jitter. */
  fraction(): number
}

/** What a node is given at construction and may call at any time; nothing else is ambient. */
export interface Capabilities {
  readonly random: Random
  readonly hmac: Hmac
  /** For signed Map-Referrals (RFC 8111 §10); a node whose configuration names such keys needs it. */
  readonly signatures?: Signatures
  /** For LISP-SEC (RFC 9303); a node whose configuration names such keys needs it. */
  readonly blockCipher?: BlockCipher
}

/** RSASSA-PKCS1-v1_5 over SHA-256, and the time of day that signatures are dated with. */
export interface Signatures {
  /** `privateKey` is DER, PKCS #8. */
  sign(privateKey: Uint8Array, data: Uint8Array): Uint8Array
  /** `publicKey` is DER, SubjectPublicKeyInfo; false for bytes that are none. */
  verify(publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean
  /** Seconds since 1970 at this moment of the node's clock. */
  unixSeconds(now: Instant): number
}
