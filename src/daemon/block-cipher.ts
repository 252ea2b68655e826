/**
 * AES-128 on single blocks by node:crypto, for the key wrap of LISP-SEC (RFC 9303 §6.5).
 *
 * ECB here means one block without chaining; RFC 3394 chains by itself. A wrap uses one key twelve times
 * in a row, so the last one stays set up.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import type { BlockCipher } from '../control/lisp-sec/lisp-sec-keys.js'

export function createBlockCipher(): BlockCipher {
  const encrypt = lastKeyKept((key) => createCipheriv('aes-128-ecb', key, null))
  const decrypt = lastKeyKept((key) => createDecipheriv('aes-128-ecb', key, null))
  return { encrypt, decrypt }
}

interface Transform {
  setAutoPadding(padding: boolean): Transform
  update(block: Uint8Array): Buffer
}

function lastKeyKept(make: (key: Uint8Array) => Transform): BlockCipher['encrypt'] {
  let known: Uint8Array | undefined
  let transform: Transform | undefined
  return (key, block) => {
    if (transform === undefined || known === undefined || !isEqual(known, key)) {
      transform = make(key).setAutoPadding(false)
      known = new Uint8Array(key)
    }
    return new Uint8Array(transform.update(block))
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}
