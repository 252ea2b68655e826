/** Keys and HMACs of LISP-SEC (RFC 9303): vectors of RFC 3394 and our own, and every byte tampered with. */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import t from 'tap'
import {
  type BlockCipher,
  deriveOneTimeKey,
  isGenuineEidAuthentication,
  isGenuinePacket,
  keyUnwrap,
  keyWrap,
  signEidAuthentication,
  signPacket,
  unwrapOneTimeKey,
  wrapOneTimeKey,
  wrappingKey,
} from '../../src/control/lisp-sec/lisp-sec-keys.js'
import { decodeMessage, encodeMessage } from '../../src/lisp/message.js'
import { aMapping, aPrefix, hmac } from '../support/builders.js'

const one = (run: typeof createCipheriv | typeof createDecipheriv) => {
  return (key: Uint8Array, block: Uint8Array): Uint8Array =>
    new Uint8Array(run('aes-128-ecb', key, null).setAutoPadding(false).update(block))
}
const cipher: BlockCipher = { encrypt: one(createCipheriv), decrypt: one(createDecipheriv) }
const primitives = { hmac, cipher }
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))
const SECRET = new TextEncoder().encode('lisp-test-key')
const NONCE = 0x0102030405060708n
const OTK = hex('101112131415161718191a1b1c1d1e1f')

t.test('AES key wrap is that of RFC 3394 §4.1', async (t) => {
  const kek = hex('000102030405060708090a0b0c0d0e0f')
  const key = hex('00112233445566778899aabbccddeeff')
  const wrapped = hex('1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5')
  t.same(keyWrap(kek, key, cipher), wrapped)
  t.same(keyUnwrap(kek, wrapped, cipher), key)
  t.equal(keyUnwrap(kek, wrapped.subarray(0, 20), cipher), undefined)
})

t.test('a one-time key is wrapped for one nonce and one secret', async (t) => {
  t.same(wrappingKey(NONCE, SECRET, hmac), hex('4a7da222a92fabb36d2c65db3394a5f3'))
  const data = wrapOneTimeKey(OTK, { id: 2, keyId: 5, secret: SECRET }, NONCE, primitives)
  t.same(data, {
    keyId: 5,
    wrappingId: 2,
    preamble: hex('66565dc93b103047'),
    key: hex('28b61c86519d5b3950b49ed53ce8ff01'),
  })
  t.same(unwrapOneTimeKey(data, SECRET, NONCE, false, primitives), OTK)
  t.equal(unwrapOneTimeKey(data, SECRET, NONCE + 1n, false, primitives), undefined)
  t.equal(unwrapOneTimeKey(data, OTK, NONCE, false, primitives), undefined)
  for (const field of ['preamble', 'key'] as const)
    for (let at = 0; at < data[field].length; at += 1) {
      const bytes = new Uint8Array(data[field])
      bytes[at] = bytes[at]! ^ 1
      const forged = { ...data, [field]: bytes }
      t.equal(unwrapOneTimeKey(forged, SECRET, NONCE, true, primitives), undefined)
    }
})

t.test('a key in clear counts on a protected path only, and unknown forms never', async (t) => {
  const clear = wrapOneTimeKey(OTK, { id: 1, keyId: 0, secret: SECRET }, NONCE, primitives)
  t.same(clear.key, OTK)
  t.same(unwrapOneTimeKey(clear, SECRET, NONCE, true, primitives), OTK)
  t.equal(unwrapOneTimeKey(clear, SECRET, NONCE, false, primitives), undefined)
  const other = { ...clear, wrappingId: 3 }
  t.equal(unwrapOneTimeKey(other, SECRET, NONCE, true, primitives), undefined)
})

t.test('the key of the Map-Server is derived as the KDF ID says', async (t) => {
  t.same(deriveOneTimeKey(2, OTK, hmac), hex('fa9f90d58242f9b31299a5df00fabd6a'))
  t.equal(deriveOneTimeKey(1, OTK, hmac)?.length, 16)
  t.notSame(deriveOneTimeKey(1, OTK, hmac), deriveOneTimeKey(2, OTK, hmac))
  t.equal(deriveOneTimeKey(3, OTK, hmac), undefined)
})

t.test('no byte of a protected Map-Reply can be changed', async (t) => {
  const serverKey = deriveOneTimeKey(2, OTK, hmac)!
  const eidPrefixes = [aPrefix('10.1.0.0/16')]
  const proof = { etrCantSign: false, hmacId: 2, eidPrefixes }
  const eidAuthentication = signEidAuthentication(2, proof, OTK, hmac)
  const security = { eidAuthentication, packetHmacId: 2, packetHmac: new Uint8Array(16) }
  const reply = {
    kind: 'map-reply',
    rlocProbe: false,
    echoNonceCapable: false,
    nonce: NONCE,
    records: [aMapping()],
    security,
  } as const
  const bytes = signPacket(encodeMessage(reply), 2, serverKey, hmac)
  const holds = (received: Uint8Array, otk: Uint8Array): boolean => {
    const message = decodeMessage(received)
    if (message.kind !== 'map-reply' || message.security === undefined) return false
    const { packetHmacId, eidAuthentication: eid } = message.security
    const key = deriveOneTimeKey(eid.kdfId, otk, hmac)
    return (
      eid.proof !== undefined &&
      key !== undefined &&
      isGenuineEidAuthentication(received, eid.proof, otk, hmac) &&
      isGenuinePacket(received, packetHmacId, key, hmac)
    )
  }
  t.equal(holds(bytes, OTK), true)
  t.equal(holds(bytes, SECRET), false, 'the key of another request: a replay')
  for (let at = 0; at < bytes.length; at += 1)
    for (const bit of [1, 0x80]) {
      const forged = new Uint8Array(bytes)
      forged[at] = forged[at]! ^ bit
      t.equal(holds(forged, OTK), false, `byte ${at}`)
    }
  t.equal(holds(bytes.subarray(0, -1), OTK), false)
})
