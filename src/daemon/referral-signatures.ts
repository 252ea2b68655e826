/**
 * Public-key signatures for the delegation tree, by node:crypto: RSASSA-PKCS1-v1_5 over SHA-256.
 *
 * Keys arrive as DER on each call; parsed ones are kept, few at a time, because a resolver meets many
 * public keys. Bytes that are no key make a signature wrong, never an exception.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import type { Instant, Signatures } from '../control/capabilities.js'

/** `unixMilliseconds` tells the time of day at a moment of the node's clock. */
export function createSignatures(unixMilliseconds: (now: Instant) => number): Signatures {
  const parsed = new Map<string, KeyObject>()
  const keyOf = (der: Uint8Array, parse: (der: Buffer) => KeyObject): KeyObject => {
    const bytes = Buffer.from(der)
    const name = bytes.toString('base64')
    const known = parsed.get(name)
    if (known !== undefined) return known
    const key = parse(bytes)
    parsed.set(name, key)
    if (parsed.size > MAXIMUM_PARSED)
      for (const oldest of parsed.keys()) if (parsed.delete(oldest)) break
    return key
  }
  return {
    sign(privateKey, data) {
      const parse = (der: Buffer) => createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
      return new Uint8Array(sign('sha256', data, keyOf(privateKey, parse)))
    },
    verify(publicKey, data, signature) {
      const parse = (der: Buffer) => createPublicKey({ key: der, format: 'der', type: 'spki' })
      try {
        const key = keyOf(publicKey, parse)
        return key.asymmetricKeyType === 'rsa' && verify('sha256', data, key, signature)
      } catch {
        return false
      }
    },
    unixSeconds: (now) => unixMilliseconds(now) / 1000,
  }
}

const MAXIMUM_PARSED = 256
