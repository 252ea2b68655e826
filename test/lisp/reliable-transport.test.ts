/**
 * Messages of registrations over TCP against vectors packed by hand, and a connection cut into
 * pieces at every place.
 */
import fc from 'fast-check'
import t from 'tap'
import {
  createReliableStream,
  decodeReliableMessage,
  encodeReliableMessage,
  MAX_RELIABLE_MESSAGE_BYTES,
  MEMBERSHIP_OPERATIONS,
  REFRESH_SCOPES,
  type ReliableMessage,
} from '../../src/lisp/reliable-transport.js'
import { anyStructuredEid, bytesOfLength, flag, u8, u16, u32 } from './arbitrary-address.js'
import { anyEidPrefix, anyIdentity, anyMapping } from './arbitrary-message.js'
import { bytesOf, hexOf, loadVectors, plainValue } from './plain-value.js'

const { messages, malformed } = loadVectors<{
  readonly messages: readonly { name: string; hex: string; value: unknown }[]
  readonly malformed: readonly {
    name: string
    hex: string
    expect: { code: string; offset: number }
  }[]
}>('reliable.json')

function decoded(bytes: Uint8Array): ReliableMessage {
  const message = decodeReliableMessage(bytes)
  if (message.kind === 'malformed') throw new Error(`${message.code} at ${message.offset}`)
  return message
}

t.test('every vector decodes to its value and encodes to its bytes', async (t) => {
  for (const { name, hex, value } of messages) {
    const message = decoded(bytesOf(hex))
    t.same(plainValue(message), value, name)
    t.equal(hexOf(encodeReliableMessage(message)), hex, name)
  }
  const kinds = new Set(messages.map(({ value }) => (value as ReliableMessage).kind))
  t.equal(kinds.size, 8, 'every kind has a vector')
})

t.test('every malformed vector is refused with its code and offset', async (t) => {
  for (const { name, hex, expect } of malformed) {
    t.match(decodeReliableMessage(bytesOf(hex)), { kind: 'malformed', ...expect }, name)
  }
})

const id = { messageId: u32 }
const data = fc.nat(40).chain(bytesOfLength)
const anyEid = fc.oneof(
  anyEidPrefix,
  fc.record({
    kind: fc.constant('structured-eid' as const),
    eid: anyStructuredEid,
    maskLength: u8,
  }),
)
const is = <K extends ReliableMessage['kind']>(kind: K) => fc.constant(kind)
const anyReliable: fc.Arbitrary<ReliableMessage> = fc.oneof(
  fc.record({
    kind: is('error-notification'),
    ...id,
    code: u8,
    offendingType: u16,
    offendingLength: u16,
    offendingId: u32,
    data,
  }),
  fc.record({ kind: is('registration'), ...id, message: data }),
  fc.record({ kind: is('registration-ack'), ...id, eid: anyEid }),
  fc.record({ kind: is('registration-reject'), ...id, reason: u8, eid: anyEid }),
  fc.record({
    kind: is('registration-refresh'),
    ...id,
    scope: fc.constantFrom(...REFRESH_SCOPES),
    rejectedOnly: flag,
    eid: fc.option(anyEid, { nil: undefined }),
  }),
  fc.record({
    kind: is('mapping-notification'),
    ...id,
    identity: anyIdentity,
    mapping: anyMapping,
  }),
  fc.record({
    kind: is('rloc-membership'),
    ...id,
    operation: fc.constantFrom(...MEMBERSHIP_OPERATIONS),
    data,
  }),
  fc.record({ kind: is('other'), type: fc.integer({ min: 31, max: 0xffff }), ...id, data }),
)

t.test('any message decodes from its encoding to itself', async (t) => {
  fc.assert(
    fc.property(anyReliable, (message) => {
      const bytes = encodeReliableMessage(message)
      t.same(plainValue(decoded(bytes)), plainValue(message))
    }),
    { numRuns: 300, seed: 21 },
  )
})

t.test('a connection gives the same messages however it is cut', async (t) => {
  const whole = bytesOf(messages.map(({ hex }) => hex).join(''))
  const expected = messages.map(({ value }) => value)
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (sizes) => {
      const stream = createReliableStream()
      const found: unknown[] = []
      for (let at = 0, turn = 0; at < whole.length; turn += 1) {
        const size = sizes[turn % sizes.length]!
        found.push(...stream.push(whole.slice(at, at + size)).map(plainValue))
        at += size
      }
      t.same(found, expected)
      t.equal(stream.heldBytes, 0)
      t.equal(stream.broken, false)
    }),
    { numRuns: 60, seed: 22 },
  )
})

t.test('a bad message is one message; a bad frame is the end of the connection', async (t) => {
  const [ack] = messages.filter(({ name }) => name === 'registration ack')
  const find = (name: string) => malformed.find((one) => one.name === name)!.hex
  const stream = createReliableStream()
  const refused = `${find('ack for an unknown LCAF type')}${ack!.hex}`
  t.same(
    stream.push(bytesOf(refused)).map((one) => one.kind),
    ['malformed', 'registration-ack'],
  )
  t.equal(stream.broken, false)
  const kinds = stream.push(bytesOf(`${ack!.hex}${find('wrong end marker')}${ack!.hex}`))
  t.same(
    kinds.map((one) => one.kind),
    ['registration-ack', 'malformed'],
  )
  t.equal(stream.broken, true)
  t.same(stream.push(bytesOf(ack!.hex)), [], 'nothing is read any more')
  const short = createReliableStream()
  t.match(short.push(bytesOf('00120009')), [{ code: 'bad-length' }])
  t.equal(short.broken, true)
})

t.test('what a stream holds back is bounded by one message', async (t) => {
  const stream = createReliableStream()
  const header = bytesOf('0011ffff')
  stream.push(header)
  let pushed = header.length
  for (; pushed < MAX_RELIABLE_MESSAGE_BYTES - 1000; pushed += 1000) {
    t.same(stream.push(new Uint8Array(1000)), [])
  }
  t.equal(stream.heldBytes, pushed)
  stream.push(new Uint8Array(2000))
  t.equal(stream.broken, true, 'zeros are no end marker')
  t.equal(stream.heldBytes, 0)
  const message = new Uint8Array(MAX_RELIABLE_MESSAGE_BYTES - 12)
  const largest = encodeReliableMessage({ kind: 'registration', messageId: 1, message })
  t.equal(createReliableStream().push(largest)[0]?.kind, 'registration')
  const larger = new Uint8Array(message.length + 1)
  t.throws(
    () => encodeReliableMessage({ kind: 'registration', messageId: 1, message: larger }),
    RangeError,
  )
})

t.test('no bytes make a stream throw', async (t) => {
  fc.assert(
    fc.property(
      fc.constantFrom(...messages.map(({ hex }) => hex)),
      fc.array(fc.tuple(fc.nat(80), u8), { maxLength: 4 }),
      (hex, changes) => {
        const bytes = bytesOf(hex)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        for (const message of createReliableStream().push(bytes)) {
          if (message.kind === 'malformed') continue
          t.same(plainValue(decoded(encodeReliableMessage(message))), plainValue(message))
        }
      },
    ),
    { numRuns: 2_000, seed: 23 },
  )
  t.pass()
})
