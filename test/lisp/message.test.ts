/**
 * Messages against vectors packed by hand from the diagrams of the RFCs, and against properties:
 * what is encoded decodes to itself, and no bytes whatever make decoding throw.
 */
import fc from 'fast-check'
import t from 'tap'
import { ipAddress, parseIpAddress } from '../../src/lisp/address.js'
import { MALFORMED_CODES } from '../../src/lisp/byte-reader.js'
import { describeMessage } from '../../src/lisp/describe.js'
import { parseEidPrefix } from '../../src/lisp/eid.js'
import { locator } from '../../src/lisp/locator.js'
import type { Mapping } from '../../src/lisp/mapping.js'
import {
  decodeMessage,
  type EncapsulatedControl,
  encodeMessage,
  type MapReply,
  type MapRequest,
  type Message,
  type MoveMessage,
} from '../../src/lisp/message.js'
import { anyMessage } from './arbitrary-message.js'
import {
  bytesOf,
  hexOf,
  loadVectors,
  type MalformedVector,
  type MessageVector,
  plainValue,
} from './plain-value.js'

const messages = loadVectors<MessageVector[]>('messages.json')
const malformed = loadVectors<MalformedVector[]>('malformed.json')

function decoded(bytes: Uint8Array): Message {
  const message = decodeMessage(bytes)
  if (message.kind === 'malformed') throw new Error(describeMessage(message))
  return message
}

t.test('every message vector decodes to its value and encodes to its bytes', async (t) => {
  for (const vector of messages) {
    const message = decodeMessage(bytesOf(vector.hex))
    t.same(plainValue(message), vector.value, vector.name)
    if (message.kind === 'malformed') continue
    // Reserved bits and addresses of unknown types are not carried.
    const expected = vector.canonical === false ? undefined : vector.hex
    if (expected !== undefined) t.equal(hexOf(encodeMessage(message)), expected, vector.name)
    t.same(plainValue(decodeMessage(encodeMessage(message))), vector.value, vector.name)
  }
})

t.test('every malformed vector is refused with its code and offset', async (t) => {
  for (const vector of malformed) {
    const result = decodeMessage(bytesOf(vector.hex))
    t.match(result, { kind: 'malformed', ...vector.expect }, vector.name)
  }
  // A datagram has no end marker, and no LISP message a version.
  const elsewhere = ['bad-end-marker', 'unknown-version']
  const seen = new Set([...malformed.map((vector) => vector.expect.code), ...elsewhere])
  t.same([...seen].toSorted(), MALFORMED_CODES.toSorted(), 'every code has a vector')
})

t.test('a message cut off anywhere is malformed', async (t) => {
  let cuts = 0
  for (const vector of messages) {
    const bytes = bytesOf(vector.hex)
    const message = decoded(bytes)
    // The AFI 0 at the end of a request is not missed.
    const tail = message.kind === 'info-request' ? 2 : 0
    for (let length = 0; length < bytes.length - tail; length += 1) {
      const result = decodeMessage(bytes.slice(0, length))
      cuts += 1
      if (result.kind === 'malformed' && result.offset <= length) continue
      t.fail(`${vector.name} cut to ${length} bytes gives ${message.kind}`)
    }
  }
  t.ok(cuts > 5_000, `${cuts} cuts`)
})

t.test('what is decoded does not change when the receive buffer is used again', async (t) => {
  for (const vector of messages) {
    const bytes = bytesOf(vector.hex)
    const message = decoded(bytes)
    if (message.kind === 'encapsulated-control') continue
    bytes.fill(0xff)
    t.same(plainValue(message), vector.value, vector.name)
  }
})

t.test('any message decodes from its encoding to itself', async (t) => {
  fc.assert(
    fc.property(anyMessage, (message) => {
      const bytes = encodeMessage(message)
      const again = decodeMessage(bytes)
      t.same(plainValue(again), plainValue(message))
      if (again.kind !== 'malformed') t.equal(hexOf(encodeMessage(again)), hexOf(bytes))
    }),
    { numRuns: 300, seed: 1 },
  )
})

t.test('any bytes give a message or a fault of a known code, described in one line', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => survives(bytes)),
    { numRuns: 3_000, seed: 2 },
  )
  t.pass('random bytes')
})

t.test('100,000 damaged messages neither throw nor read beyond the datagram', async (t) => {
  const random = xorshift(0x9e3779b9)
  const originals = [...messages, ...malformed].map((vector) => bytesOf(vector.hex))
  const kinds = new Map<string, number>()
  for (let round = 0; round < 100_000; round += 1) {
    const original = originals[random() % originals.length]!
    // Placed inside a larger buffer of ones: reading outside would show as a longer message.
    const buffer = new Uint8Array(original.length + 64).fill(0xff)
    buffer.set(original, 32)
    const bytes = buffer.subarray(32, 32 + original.length)
    const flips = 1 + (random() % 4)
    for (let flip = 0; flip < flips && bytes.length > 0; flip += 1) {
      const at = random() % Math.min(bytes.length, 96)
      bytes[at] = random() & 0xff
    }
    const kind = decodeMessage(bytes).kind
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    if (round % 16 === 0) survives(bytes)
  }
  // Ten kinds of message and the fault: damage must not make all of them faults.
  t.equal(kinds.size, 11, JSON.stringify([...kinds]))
})

function survives(bytes: Uint8Array): void {
  const result = decodeMessage(bytes)
  const line = describeMessage(result)
  if (line === '' || /[\n\r]/.test(line) || line.length > 4_000) throw new Error(line)
  if (result.kind !== 'malformed') {
    const again = decodeMessage(encodeMessage(result))
    if (again.kind !== result.kind) throw new Error(`${line} encodes to ${describeMessage(again)}`)
    return
  }
  const known = MALFORMED_CODES.some((code) => code === result.code)
  if (!known || result.offset < 0 || result.offset > bytes.length) throw new Error(line)
}

function xorshift(seed: number): () => number {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
}

const rloc = parseIpAddress('192.0.2.1')!
const mapping: Mapping = {
  eidPrefix: parseEidPrefix('10.1.1.5/32')!,
  ttlMinutes: 1440,
  action: 'no-action',
  authoritative: true,
  mapVersion: 0,
  locators: [],
}
const reply: MapReply = {
  kind: 'map-reply',
  rlocProbe: false,
  echoNonceCapable: false,
  nonce: 1n,
  records: [mapping],
}

function ipv4At(index: number) {
  return ipAddress(Uint8Array.of(198, 18, index >> 8, index & 0xff))
}

t.test(
  'counts up to their limits are carried, and beyond them refused to the sender',
  async (t) => {
    const request = decoded(bytesOf(messages[0]!.hex)) as MapRequest
    const move = decoded(
      bytesOf(messages.find((vector) => vector.name.startsWith('move'))!.hex),
    ) as MoveMessage
    const addresses = (count: number) => Array.from({ length: count }, (_, index) => ipv4At(index))
    const records = (count: number) => Array.from({ length: count }, () => mapping)
    const locators = (count: number) => [
      { ...mapping, locators: addresses(count).map((address) => locator(address)) },
    ]
    const cases: [string, number, (count: number) => Message][] = [
      ['ITR-RLOCs', 32, (count) => ({ ...request, itrRlocs: addresses(count) })],
      ['records', 255, (count) => ({ ...reply, records: records(count) })],
      ['locators', 255, (count) => ({ ...reply, records: locators(count) })],
      ['senders', 64, (count) => ({ ...move, senders: addresses(count) })],
    ]
    for (const [name, limit, build] of cases) {
      const full = build(limit)
      t.same(plainValue(decodeMessage(encodeMessage(full))), plainValue(full), `${limit} ${name}`)
      t.throws(() => encodeMessage(build(limit + 1)), RangeError, `${limit + 1} ${name}`)
    }
  },
)

t.test('a number that does not fit its field is refused, not cut', async (t) => {
  const bad: Mapping[] = [
    { ...mapping, ttlMinutes: 2 ** 32 },
    { ...mapping, ttlMinutes: 1.5 },
    { ...mapping, mapVersion: 4096 },
    { ...mapping, locators: [locator(rloc, { priority: 300 })] },
    { ...mapping, locators: [locator(rloc, { weight: -1 })] },
  ]
  for (const record of bad) {
    t.throws(() => encodeMessage({ ...reply, records: [record] }), RangeError)
  }
  t.throws(() => encodeMessage({ ...reply, nonce: 2n ** 64n }), RangeError)
  t.throws(() => encodeMessage({ ...reply, nonce: -1n }), RangeError)
})

t.test('locators are sent in ascending order, IPv4 before IPv6', async (t) => {
  const texts = ['2001:db8::1', '198.51.100.1', '192.0.2.200', '192.0.2.9']
  const locators = texts.map((text) => locator(parseIpAddress(text)!))
  const sent = decoded(encodeMessage({ ...reply, records: [{ ...mapping, locators }] })) as MapReply
  t.same(
    sent.records[0]!.locators.map((value) => plainValue(value.rloc)),
    ['192.0.2.9', '192.0.2.200', '198.51.100.1', '2001:db8::1'],
  )
})

t.test('an encapsulated message is of the family of its destination', async (t) => {
  const ecm: EncapsulatedControl = {
    kind: 'encapsulated-control',
    security: true,
    ddtOriginated: false,
    innerSource: rloc,
    innerDestination: parseIpAddress('2001:db8::5')!,
    innerSourcePort: 4342,
    innerDestinationPort: 4342,
    message: encodeMessage(reply),
  }
  const six = decoded(encodeMessage(ecm)) as EncapsulatedControl
  t.equal(plainValue(six.innerSource), '::ffff:192.0.2.1', 'an IPv4 source is mapped')
  t.equal(six.security, false, 'security data is not invented')
  t.equal(six.securityData, undefined)
  t.equal(decoded(six.message).kind, 'map-reply', 'the message inside is whole')
  const swapped = { ...ecm, innerSource: ecm.innerDestination, innerDestination: rloc }
  const four = decoded(encodeMessage(swapped)) as EncapsulatedControl
  t.equal(plainValue(four.innerSource), '192.0.0.8', 'an IPv6 source has no IPv4 form')
  t.throws(() => encodeMessage({ ...ecm, innerSourcePort: 4341 }), RangeError)
  t.throws(() => encodeMessage({ ...ecm, innerDestinationPort: 4341 }), RangeError)
})

t.test('damage to an encapsulated message shows in its checksums', async (t) => {
  const vector = messages.find((entry) => entry.name === 'ECM around a map-request over IPv6')!
  const bytes = bytesOf(vector.hex)
  // From the inner addresses on every byte is covered by the UDP checksum.
  for (let at = 12; at < bytes.length; at += 1) {
    const damaged = bytes.slice()
    damaged[at]! ^= 0x40
    t.equal(decodeMessage(damaged).kind, 'malformed', `byte ${at}`)
  }
})

t.test('descriptions name what matters and never the authentication data', async (t) => {
  const lines = messages.map((vector) => describeMessage(decoded(bytesOf(vector.hex))))
  const line = (name: string) => lines[messages.findIndex((vector) => vector.name === name)]
  t.equal(
    line('map-request that subscribes'),
    'map-request nonce 0x0102030405060708 itr [192.0.2.1] [10.1.0.0/16 subscribe]' +
      ' xtr 000102030405060708090a0b0c0d0e0f site 170',
  )
  t.equal(
    line('map-reply to a probe'),
    'map-reply nonce 0x0102030405060708 rloc-probe' +
      ' [10.1.0.0/16 ttl 1440 authoritative [192.0.2.1 1/100 local probe]]',
  )
  t.equal(
    line('ECM around a map-request over IPv6'),
    'encapsulated-control [2001:db8:9::1]:61000 → [2001:db8:1::5]:4342 68 bytes',
  )
  t.equal(
    line('negative map-reply with ACT 1'),
    'map-reply nonce 0x0102030405060708 [10.1.0.0/16 ttl 15 natively-forward]',
  )
  t.equal(
    describeMessage(decodeMessage(new Uint8Array(2))),
    'malformed: truncated at byte 0 (Type)',
  )
  const secret = '000102030405060708090a0b0c0d0e0f10111213'
  t.ok(messages.some((vector) => vector.hex.includes(secret)))
  t.notOk(lines.some((text) => text.includes(secret)))
})
