/**
 * Every AFI-encoded address: vectors packed by hand from the diagrams of RFC 8060, RFC 9735 and
 * RFC 10040, and the rules for what is not understood (RFC 9306).
 */
import fc from 'fast-check'
import t from 'tap'
import { formatIpAddress } from '../../src/lisp/address.js'
import { readAfiAddress, writeAfiAddress } from '../../src/lisp/afi.js'
import {
  type AfiAddress,
  equalAfiAddresses,
  nameMaskLength,
  rlocOf,
} from '../../src/lisp/afi-address.js'
import { byteReader } from '../../src/lisp/byte-reader.js'
import { byteWriter, writtenBytes } from '../../src/lisp/byte-writer.js'
import { LCAF_TYPE } from '../../src/lisp/iana.js'
import { equalLocatorSets, structuredLocator } from '../../src/lisp/locator.js'
import { decodeMessage, type MapReply } from '../../src/lisp/message.js'
import { anyAfiAddress } from './arbitrary-address.js'
import { bytesOf, hexOf, loadVectors, plainValue } from './plain-value.js'

interface AddressVector {
  readonly name: string
  readonly hex: string
  readonly value: unknown
  /** The address that packets go to, where there is one. */
  readonly rloc?: string
  readonly source: string
  readonly canonical?: boolean
}

const vectors = loadVectors<AddressVector[]>('addresses.json')

function encoded(value: AfiAddress): Uint8Array {
  const writer = byteWriter()
  writeAfiAddress(writer, value)
  return writtenBytes(writer)
}

function decoded(hex: string): AfiAddress {
  return readAfiAddress(byteReader(bytesOf(hex)), 'Address')
}

t.test('every address vector decodes to its value and encodes to its bytes', async (t) => {
  const types = new Set<number>()
  for (const vector of vectors) {
    const value = decoded(vector.hex)
    t.same(plainValue(value), vector.value, vector.name)
    const again = hexOf(encoded(value))
    if (vector.canonical !== false) t.equal(again, vector.hex, vector.name)
    t.same(plainValue(decoded(again)), vector.value, vector.name)
    const rloc = rlocOf(value)
    t.equal(rloc === undefined ? undefined : formatIpAddress(rloc), vector.rloc, vector.name)
    if (vector.hex.startsWith('4003')) types.add(Number.parseInt(vector.hex.slice(8, 10), 16))
  }
  const known = Object.values(LCAF_TYPE).filter((type) => type !== LCAF_TYPE.vendor)
  t.same(
    known.filter((type) => !types.has(type)),
    [],
    'every registered type has a vector',
  )
})

t.test('any address decodes from its encoding to itself, and only to itself', async (t) => {
  fc.assert(
    fc.property(anyAfiAddress, anyAfiAddress, (value, other) => {
      const bytes = encoded(value)
      const again = readAfiAddress(byteReader(bytes), 'Address')
      t.same(plainValue(again), plainValue(value))
      t.equal(hexOf(encoded(again)), hexOf(bytes))
      t.ok(equalAfiAddresses(again, value))
      t.equal(equalAfiAddresses(value, other), hexOf(encoded(other)) === hexOf(bytes))
    }),
    { numRuns: 400, seed: 11 },
  )
})

/** A Map-Reply of one record for 10.1.0.0/16 with these locators, each an encoded address. */
function replyWith(...locators: string[]): Uint8Array {
  const count = locators.length.toString(16).padStart(2, '0')
  const records = locators.map((hex) => `0164ff000001${hex}`).join('')
  return bytesOf(`200000010102030405060708000005a0${count}100000000000010a010000${records}`)
}

const PLAIN = '0001c0000201'
const NAME = '0011727472 00'.replace(' ', '')
const UNKNOWN = '40030000c8000004deadbeef'
const PATH = '400300000a000010' + '00020001c6336401' + '00000001c6336402'

t.test('locators are in the order of AFI and LCAF type, those without address apart', async (t) => {
  const replicas = '400300000d00000a' + '00000080' + '0001c0000202'
  const bytes = replyWith(replicas, NAME, PATH, `00022001${'0db8'.padEnd(28, '0')}`, PLAIN)
  const message = decodeMessage(bytes) as MapReply
  t.equal(message.kind, 'map-reply')
  const [record] = message.records
  t.same(
    record?.locators.map((one) => [formatIpAddress(one.rloc), one.structure?.kind]),
    [
      ['192.0.2.1', undefined],
      ['2001:db8::', undefined],
      ['198.51.100.1', 'explicit-locator-path'],
      ['192.0.2.2', 'replication-list'],
    ],
  )
  t.match(record?.otherLocators, [{ priority: 1, weight: 100, structure: { kind: 'name' } }])
})

t.test('a locator of an unknown LCAF type is not there; alone it leaves none', async (t) => {
  const beside = decodeMessage(replyWith(UNKNOWN, PLAIN)) as MapReply
  t.equal(beside.records[0]?.locators.length, 1)
  t.equal(beside.records[0]?.otherLocators, undefined)
  const alone = decodeMessage(replyWith(UNKNOWN)) as MapReply
  t.same(alone.records[0]?.locators, [], 'as with Locator Count 0')
  const within = decodeMessage(replyWith(`4003000001000012${UNKNOWN}${PLAIN}`)) as MapReply
  t.equal(formatIpAddress(within.records[0]!.locators[0]!.rloc), '192.0.2.1', 'in an AFI-List')
})

t.test('an EID of an unknown LCAF type, alone, drops the message, also within', async (t) => {
  const request = (eid: string) =>
    decodeMessage(bytesOf(`100000010102030405060708000${'0'}0001c00002010020${eid}`))
  t.match(request(UNKNOWN), { kind: 'malformed', code: 'unknown-lcaf', offset: 22 })
  const inInstance = `4003000002200010${'00000007'}${UNKNOWN}`
  t.match(request(inInstance), { kind: 'malformed', code: 'unknown-lcaf', offset: 22 })
})

t.test('a message with an AFI that is not known is dropped, wherever it stands', async (t) => {
  const places: [string, number][] = [
    ['10000001010203040506070800630001c0000201002000010a010105', 12],
    ['10000001010203040506070800000063c0000201002000010a010105', 14],
    ['10000001010203040506070800000001c0000201002000630a010105', 22],
  ]
  for (const [hex, offset] of places) {
    t.match(decodeMessage(bytesOf(hex)), { kind: 'malformed', code: 'unknown-afi', offset })
  }
  const locator = decodeMessage(replyWith(PLAIN, '0063c0000201'))
  t.match(locator, { kind: 'malformed', code: 'unknown-afi' })
  const within = decodeMessage(replyWith(`4003000001000006${'0063c0000201'}`))
  t.match(within, { kind: 'malformed', code: 'unknown-afi' })
})

t.test('a vendor LCAF drops the whole message, wherever it stands', async (t) => {
  const vendor = '40030000ff000006' + '00' + '0003ba' + 'beef'
  t.match(decodeMessage(replyWith(PLAIN, vendor)), { kind: 'malformed', code: 'unknown-oui' })
  const listed = `400300000100000e${vendor}`
  t.match(decodeMessage(replyWith(PLAIN, listed)), { kind: 'malformed', code: 'unknown-oui' })
})

t.test('a change of the path is a change of the locator-set', async (t) => {
  const [one] = (decodeMessage(replyWith(PATH)) as MapReply).records
  const [same] = (decodeMessage(replyWith(PATH)) as MapReply).records
  const [other] = (decodeMessage(replyWith(`${PATH.slice(0, -1)}3`)) as MapReply).records
  const [plain] = (decodeMessage(replyWith('0001c6336401')) as MapReply).records
  t.equal(equalLocatorSets(one!.locators, same!.locators), true)
  t.equal(equalLocatorSets(one!.locators, other!.locators), false)
  t.equal(equalLocatorSets(one!.locators, plain!.locators), false)
  t.equal(structuredLocator({ kind: 'null-body' }), undefined, 'nowhere to send to')
})

t.test('a name ends at its first NUL, has one, and may be empty', async (t) => {
  t.same(plainValue(decoded('001100')), { kind: 'name', name: '' })
  t.throws(() => decoded('001161'), 'no NUL')
  const name = (length: number): AfiAddress => ({
    kind: 'name',
    name: new Uint8Array(length).fill(0x61),
  })
  t.same(plainValue(decoded(hexOf(encoded(name(254))))), plainValue(name(254)))
  t.throws(() => encoded(name(255)), RangeError)
  t.throws(() => encoded({ kind: 'name', name: Uint8Array.of(1, 0, 1) }), RangeError)
})

t.test('the mask length of a name counts its bits and those of its NUL', async (t) => {
  const text = (name: string) => nameMaskLength(new TextEncoder().encode(name))
  t.same([text('ietf'), text('ietf.lisp'), text('')], [40, 80, 8])
})

t.test('lists are bounded both ways, and nesting is', async (t) => {
  const list = (count: number): AfiAddress => ({
    kind: 'list',
    addresses: Array.from({ length: count }, () => ({ kind: 'none' as const })),
  })
  const replicas = (count: number): AfiAddress => ({
    kind: 'replication-list',
    entries: Array.from({ length: count }, () => ({ level: 1, address: { kind: 'none' } })),
  })
  for (const [build, limit] of [
    [list, 64],
    [replicas, 255],
  ] as const) {
    const full = build(limit)
    t.same(plainValue(decoded(hexOf(encoded(full)))), plainValue(full))
    t.throws(() => encoded(build(limit + 1)), RangeError)
  }
  const nested = (depth: number): AfiAddress =>
    depth === 0 ? { kind: 'none' } : { kind: 'list', addresses: [nested(depth - 1)] }
  t.same(plainValue(decoded(hexOf(encoded(nested(4))))), plainValue(nested(4)))
  t.throws(() => decoded(hexOf(encoded(nested(5)))), 'one level too deep')
})
