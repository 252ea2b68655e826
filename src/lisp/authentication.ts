/**
 * Message authentication of Map-Register, Map-Notify, Map-Notify-Ack and Move (RFC 9301 §5.6, §9).
 *
 * HMAC is a capability handed in (`Hmac`): the addon's in the daemon, node:crypto's elsewhere. The
 * key of algorithm 3 is derived per message by HKDF over {nonce, PSK} (conformance A5).
 */

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
