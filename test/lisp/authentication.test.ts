/**
 * Message authentication (RFC 9301 §5.6, §5.7, §9) against vectors computed with an independent
 * HMAC and HKDF, and against everything that must not verify.
 */
import t from 'tap'
import {
  type AlgorithmId,
  type AuthenticatedMessage,
  type AuthenticationKey,
  authenticationCoverage,
  authenticationLength,
  deriveKey,
  encodeSigned,
  signMessage,
  verifyMessage,
} from '../../src/lisp/authentication.js'
import { decodeMessage } from '../../src/lisp/message.js'
import { bytesOf, hexOf, loadVectors, nodeHmac } from './plain-value.js'

interface SealedVector {
  readonly name: string
  readonly hex: string
  readonly kind: AuthenticatedMessage['kind']
  readonly algorithm: AlgorithmId
  readonly keyId: number
  readonly authenticationData: string
  readonly coverage: 'whole' | 'without-trailer'
}
interface KeyVector {
  readonly name: string
  readonly input: string
  readonly salt: string
  readonly length: number
  readonly key: string
}
const vectors = loadVectors<{ secret: string; messages: SealedVector[]; keys: KeyVector[] }>(
  'authentication.json',
)

function keyOf(vector: SealedVector, given: Partial<AuthenticationKey> = {}): AuthenticationKey {
  const { keyId, algorithm } = vector
  return { keyId, algorithm, secret: bytesOf(vectors.secret), ...given }
}

function authenticated(vector: SealedVector): AuthenticatedMessage {
  const message = decodeMessage(bytesOf(vector.hex))
  if (message.kind !== vector.kind) throw new Error(`${vector.name} is a ${message.kind}`)
  return message as AuthenticatedMessage
}

t.test('keys are derived as HKDF with SHA-256 does', async (t) => {
  for (const { name, input, salt, length, key } of vectors.keys) {
    const derived = deriveKey(bytesOf(input), bytesOf(salt), length, nodeHmac)
    t.equal(hexOf(derived), key, name)
  }
})

t.test(
  'every sealed vector verifies, with what its MAC covers, and is left as it was',
  async (t) => {
    for (const vector of vectors.messages) {
      const bytes = bytesOf(vector.hex)
      const coverage = authenticationCoverage(bytes, keyOf(vector), nodeHmac)
      t.equal(coverage, vector.coverage, vector.name)
      t.equal(verifyMessage(bytes, keyOf(vector), nodeHmac), true, vector.name)
      t.equal(hexOf(bytes), vector.hex, vector.name)
    }
  },
)

t.test('signing gives the authentication data of the vector', async (t) => {
  for (const vector of vectors.messages) {
    if (vector.coverage !== 'whole') continue
    const bytes = bytesOf(vector.hex)
    // Whatever stands in the three fields before is overwritten.
    bytes.fill(0xee, 12, 14)
    bytes.fill(0xee, 16, 16 + vector.authenticationData.length / 2)
    t.equal(hexOf(signMessage(bytes, keyOf(vector), nodeHmac)), vector.hex, vector.name)
    const encoded = encodeSigned(authenticated(vector), keyOf(vector), nodeHmac)
    t.equal(hexOf(encoded), vector.hex, vector.name)
  }
})

t.test('a changed byte anywhere is noticed', async (t) => {
  for (const vector of vectors.messages) {
    // What a MAC without the trailer does not protect is known to be unprotected.
    const uncovered = vector.coverage === 'whole' ? 0 : 24
    const bytes = bytesOf(vector.hex)
    const noticed: number[] = []
    for (let at = 0; at < bytes.length - uncovered; at += 1) {
      const changed = bytes.slice()
      changed[at]! ^= 0x01
      if (!verifyMessage(changed, keyOf(vector), nodeHmac)) noticed.push(at)
    }
    t.equal(noticed.length, bytes.length - uncovered, vector.name)
  }
})

t.test('a message cut off or lengthened is refused by its MAC or by decoding', async (t) => {
  for (const vector of vectors.messages) {
    const bytes = bytesOf(vector.hex)
    // A MAC that stops before the trailer cannot tell that the trailer is gone; decoding can.
    const accepted = (changed: Uint8Array) =>
      verifyMessage(changed, keyOf(vector), nodeHmac) && decodeMessage(changed).kind !== 'malformed'
    t.equal(accepted(bytes), true, vector.name)
    for (let length = 0; length < bytes.length; length += 1) {
      if (accepted(bytes.slice(0, length))) t.fail(`${vector.name} cut to ${length} bytes`)
    }
    for (let more = 1; more <= 48; more += 1) {
      const longer = new Uint8Array(bytes.length + more)
      longer.set(bytes)
      if (accepted(longer)) t.fail(`${vector.name} with ${more} bytes more`)
    }
  }
})

t.test('another secret, key ID or algorithm does not verify', async (t) => {
  for (const vector of vectors.messages) {
    const others: Partial<AuthenticationKey>[] = [
      { secret: bytesOf(`${vectors.secret}00ff`) },
      { keyId: vector.keyId + 1 },
      { algorithm: vector.algorithm === 3 ? 2 : 3 },
      { algorithm: vector.algorithm === 1 ? 2 : 1 },
    ]
    for (const given of others) {
      const verified = verifyMessage(bytesOf(vector.hex), keyOf(vector, given), nodeHmac)
      t.equal(verified, false, `${vector.name}: ${Object.keys(given)}`)
    }
  }
})

t.test('an empty or overlong MAC, and messages without one, never verify', async (t) => {
  const vector = vectors.messages.find((entry) => entry.algorithm === 2)!
  const message = authenticated(vector)
  for (const length of [0, 1, 12, 15, 17, 20, 31, 33, 64]) {
    const bytes = bytesOf(vector.hex)
    const resized = new Uint8Array(bytes.length - 16 + length)
    resized.set(bytes.subarray(0, 16))
    resized.set(bytes.subarray(32), 16 + length)
    resized.set([0, length], 14)
    t.equal(verifyMessage(resized, keyOf(vector), nodeHmac), false, `${length} bytes`)
    t.throws(() => signMessage(resized, keyOf(vector), nodeHmac), RangeError, `${length} bytes`)
  }
  const request = bytesOf(vector.hex)
  request[0] = 0x10
  t.equal(verifyMessage(request, keyOf(vector), nodeHmac), false, 'a Map-Request')
  t.throws(() => signMessage(request, keyOf(vector), nodeHmac), RangeError)
  t.equal(verifyMessage(new Uint8Array(0), keyOf(vector), nodeHmac), false, 'nothing')
  t.equal(message.kind, 'map-register')
})

t.test('the MAC of one message type is none of another', async (t) => {
  const key = keyOf(vectors.messages.find((entry) => entry.algorithm === 3)!)
  const notify = vectors.messages.find((entry) => entry.kind === 'map-notify')!
  const bytes = encodeSigned(authenticated(notify), { ...key, algorithm: 3 }, nodeHmac)
  t.equal(verifyMessage(bytes, key, nodeHmac), true)
  bytes[0] = 0x58
  t.equal(verifyMessage(bytes, key, nodeHmac), false, 'a Map-Notify turned into its Ack')
})

t.test('an answer keeps the peer’s length when the algorithm knows it', async (t) => {
  const register = vectors.messages.find((entry) => entry.name.includes('algorithm 2, 32'))!
  const message = authenticated(register)
  const lengthWith = (algorithm: AlgorithmId, asked: number) => {
    const asking = { ...message, authenticationData: new Uint8Array(asked) }
    const bytes = encodeSigned(asking, keyOf(register, { algorithm }), nodeHmac)
    t.equal(verifyMessage(bytes, keyOf(register, { algorithm }), nodeHmac), true)
    const again = decodeMessage(bytes) as AuthenticatedMessage
    return again.authenticationData.length
  }
  t.equal(lengthWith(2, 32), 32)
  t.equal(lengthWith(2, 0), 16)
  t.equal(lengthWith(1, 32), 12)
  t.equal(lengthWith(1, 20), 20)
  t.equal(lengthWith(3, 7), 16)
  t.same(
    [1, 2, 3, 4].map((id) => authenticationLength(id)),
    [12, 16, 16, 0],
  )
  t.same(
    [1, 2, 3, 4].map((id) => authenticationLength(id, true)),
    [20, 32, 32, 0],
  )
})
