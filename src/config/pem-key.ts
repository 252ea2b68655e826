/**
 * RSA keys of a signed delegation tree, from PEM as a file has it to DER as the core takes it.
 *
 * Throws on text that is no such key; the cross checks ask first and say it better.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'

/** PKCS #8. */
export function privateKeyDer(pem: Uint8Array): Uint8Array {
  const key = rsa(createPrivateKey(Buffer.from(pem)))
  return new Uint8Array(key.export({ type: 'pkcs8', format: 'der' }))
}

/** SubjectPublicKeyInfo; of a private key, its public half. */
export function publicKeyDer(pem: Uint8Array): Uint8Array {
  const key = rsa(createPublicKey(Buffer.from(pem)))
  return new Uint8Array(key.export({ type: 'spki', format: 'der' }))
}

function rsa(key: KeyObject): KeyObject {
  if (key.asymmetricKeyType !== 'rsa') throw new Error(`a key of type ${key.asymmetricKeyType}`)
  return key
}
