/**
 * IGMP, MLD and PIM against vectors packed by hand from the diagrams of their RFCs, and the LISP
 * join attributes of RFC 8059.
 */
import fc from 'fast-check'
import t from 'tap'
import type { Malformed } from '../../src/lisp/message.js'
import { decodeIgmp, encodeIgmp } from '../../src/lisp/multicast/igmp.js'
import {
  GROUP_RECORD_TYPES,
  type MembershipMessage,
  type MembershipQuery,
  maxResponseMs,
  queryIntervalSeconds,
} from '../../src/lisp/multicast/membership.js'
import { decodeMld, encodeMld } from '../../src/lisp/multicast/mld.js'
import { decodePim, encodePim, type PimMessage } from '../../src/lisp/multicast/pim.js'
import { type JoinAttribute, joinTerms } from '../../src/lisp/multicast/pim-addresses.js'
import { anAddress } from '../support/builders.js'
import {
  anyIpAddress,
  anyIpv4,
  anyIpv6,
  bytesOfLength,
  flag,
  u8,
  u16,
  u32,
} from './arbitrary-address.js'
import { bytesOf, hexOf, loadVectors, plainValue } from './plain-value.js'

interface Vector {
  readonly name: string
  readonly protocol: 'igmp' | 'mld' | 'pim'
  readonly family: 4 | 6
  readonly hex: string
}

const { messages, malformed } = loadVectors<{
  readonly messages: readonly (Vector & { value: unknown; canonical?: boolean })[]
  readonly malformed: readonly (Vector & { expect: { code: string; offset: number } })[]
}>('multicast.json')

const V4 = { source: anAddress('192.0.2.1'), destination: anAddress('224.0.0.22') }
const V6 = { source: anAddress('fe80::1'), destination: anAddress('ff02::16') }

function decode(vector: Vector, bytes = bytesOf(vector.hex)) {
  const addresses = vector.family === 4 ? V4 : V6
  if (vector.protocol === 'igmp') return decodeIgmp(bytes)
  return vector.protocol === 'mld' ? decodeMld(bytes, V6) : decodePim(bytes, addresses)
}

function encode(message: MembershipMessage | PimMessage, family: 4 | 6): Uint8Array {
  if (!('protocol' in message)) return encodePim(message, family === 4 ? V4 : V6)
  return message.protocol === 'igmp' ? encodeIgmp(message) : encodeMld(message, V6)
}

t.test('every vector decodes to its value and encodes to its bytes', async (t) => {
  for (const vector of messages) {
    const message = decode(vector)
    t.same(plainValue(message), vector.value, vector.name)
    if (message.kind === 'malformed') continue
    const bytes = encode(message, vector.family)
    if (vector.canonical !== false) t.equal(hexOf(bytes), vector.hex, vector.name)
    t.same(plainValue(decode(vector, bytes)), vector.value, vector.name)
  }
})

t.test('every malformed vector is refused with its code and offset', async (t) => {
  for (const vector of malformed) {
    t.match(decode(vector), { kind: 'malformed', ...vector.expect }, vector.name)
  }
})

t.test('a changed byte shows in the checksum', async (t) => {
  for (const vector of messages) {
    const covered = vector.name.startsWith('PIM register') ? 8 : bytesOf(vector.hex).length
    for (let at = 1; at < covered; at += 1) {
      const bytes = bytesOf(vector.hex)
      bytes[at]! ^= 0x40
      t.match(decode(vector, bytes), { code: 'bad-checksum' }, `${vector.name}, byte ${at}`)
    }
  }
})

/** Captured: FRR 10.3's pim6d as the neighbour of an xTR, with a host behind it that joins and leaves. */
const PIM6D = {
  hello: '200035820001000200030002000401f409c400130004000000010014000414b9b5ef',
  join: '2300c3750200fe8000000000000038e72bfffeb4da1e000100d202000080ff3e00000000000000000000000001020001000002000480fd000032000000000000000000000002',
  prune:
    '2300c3750200fe8000000000000038e72bfffeb4da1e000100d202000080ff3e00000000000000000000000001020000000102000480fd000032000000000000000000000002',
  goodbye: '200035850001000200000002000401f409c400130004000000010014000414b9b5ef',
} as const

t.test(
  'the Hello, Join, Prune and goodbye of an IPv6 router are read, checksums as well',
  async (t) => {
    const from = anAddress('fe80::b468:9eff:fe1a:8443')
    const addresses = { source: from, destination: anAddress('ff02::d') }
    const read = (name: keyof typeof PIM6D) => decodePim(bytesOf(PIM6D[name]), addresses)
    t.match(read('hello'), {
      kind: 'pim-hello',
      options: [
        { kind: 'holdtime', seconds: 3 },
        { kind: 'lan-prune-delay', propagationDelay: 500, overrideInterval: 2500 },
        { kind: 'dr-priority', priority: 1 },
        { kind: 'generation-id', id: 0x14b9b5ef },
      ],
    })
    t.match(read('goodbye'), { options: [{ kind: 'holdtime', seconds: 0 }] })
    const source = {
      address: anAddress('fd00:32::2'),
      sparse: true,
      wildcard: false,
      rpTree: false,
    }
    for (const [name, joined, pruned] of [
      ['join', [source], []],
      ['prune', [], [source]],
    ] as const) {
      const message = read(name)
      t.match(message, {
        kind: 'pim-join-prune',
        upstreamNeighbor: { address: anAddress('fe80::38e7:2bff:feb4:da1e') },
        holdtime: 210,
        groups: [{ group: { address: anAddress('ff3e::102') }, joined, pruned }],
      })
      if (message.kind === 'pim-join-prune')
        t.equal(hexOf(encodePim(message, addresses)), PIM6D[name], 'and written alike')
    }
  },
)

const group = { kind: 'membership-query' as const, group: V4.destination }

t.test('response and interval codes mean what their RFCs say', async (t) => {
  const query = (given: Partial<MembershipQuery>): MembershipQuery => ({
    ...group,
    protocol: 'igmp',
    version: 2,
    maxResponseCode: 0,
    ...given,
  })
  const cases: [Partial<MembershipQuery>, number][] = [
    [{ version: 1, maxResponseCode: 0 }, 10_000],
    [{ version: 2, maxResponseCode: 100 }, 10_000],
    [{ version: 2, maxResponseCode: 255 }, 25_500],
    [{ version: 3, maxResponseCode: 127 }, 12_700],
    [{ version: 3, maxResponseCode: 128 }, 12_800],
    [{ version: 3, maxResponseCode: 255 }, 3_174_400],
    [{ protocol: 'mld', version: 1, maxResponseCode: 65_535 }, 65_535],
    [{ protocol: 'mld', version: 2, maxResponseCode: 32_767 }, 32_767],
    [{ protocol: 'mld', version: 2, maxResponseCode: 32_768 }, 32_768],
    [{ protocol: 'mld', version: 2, maxResponseCode: 65_535 }, 8_387_584],
  ]
  for (const [given, ms] of cases) t.equal(maxResponseMs(query(given)), ms, JSON.stringify(given))
  const terms = { suppressRouterProcessing: false, robustness: 2, sources: [] }
  const interval = (code: number) =>
    queryIntervalSeconds(query({ version: 3, sourceTerms: { ...terms, queryIntervalCode: code } }))
  t.same([interval(125), interval(128), interval(255)], [125, 128, 31_744])
  t.equal(queryIntervalSeconds(query({})), undefined)
})

t.test('a value of the wrong protocol or version is refused', async (t) => {
  const report = (protocol: 'igmp' | 'mld', address: string, version: 1 | 2 = 1) => ({
    kind: 'membership-report' as const,
    protocol,
    version,
    group: anAddress(address),
  })
  t.throws(() => encodeIgmp(report('mld', 'ff3e::5')), RangeError)
  t.throws(() => encodeIgmp(report('igmp', 'ff3e::5')), RangeError)
  t.throws(() => encodeMld(report('igmp', '232.1.1.1'), V6), RangeError)
  t.throws(() => encodeMld(report('mld', '232.1.1.1'), V6), RangeError)
  t.throws(() => encodeMld(report('mld', 'ff3e::5', 2), V6), RangeError)
  const query = { ...group, protocol: 'igmp' as const, maxResponseCode: 1 }
  t.throws(() => encodeIgmp({ ...query, version: 3 }), RangeError, 'version 3 without its terms')
  t.throws(() => encodeIgmp({ ...query, version: 1 }), RangeError, 'version 1 with a code')
  t.throws(() => encodeMld({ ...query, protocol: 'mld', version: 3 }, V6), RangeError)
})

const unicast: JoinAttribute = { kind: 'transport', transport: 'unicast' }
const multicast: JoinAttribute = { kind: 'transport', transport: 'multicast' }
const receiver: JoinAttribute = { kind: 'receiver-rloc', rloc: anAddress('192.0.2.7') }
const other = (type: number): JoinAttribute => ({
  kind: 'other',
  type,
  forward: false,
  value: Uint8Array.of(9),
})

t.test('the more specific level of join attributes counts', async (t) => {
  t.match(joinTerms([multicast], [receiver], [unicast]), {
    transport: 'multicast',
    receiverRloc: { family: 4 },
  })
  t.same(joinTerms([], [], []), { transport: undefined, receiverRloc: undefined })
  t.match(joinTerms([other(9)], [unicast]), { transport: 'unicast' }, 'others do not matter')
})

t.test('a doubled or spoiled LISP attribute discards the source at any level', async (t) => {
  const bad: JoinAttribute[][] = [[unicast, unicast], [receiver, receiver], [other(5)], [other(6)]]
  for (const attributes of bad) {
    t.equal(joinTerms(attributes, [], []), undefined)
    t.equal(joinTerms([], attributes, []), undefined)
    t.equal(joinTerms([], [], attributes), undefined)
  }
})

const anyAttribute: fc.Arbitrary<JoinAttribute> = fc.oneof(
  fc.constant(unicast),
  fc.constant(multicast),
  fc.record({ kind: fc.constant('receiver-rloc' as const), rloc: anyIpAddress }),
  fc.record({
    kind: fc.constant('other' as const),
    type: fc.integer({ min: 7, max: 63 }),
    forward: flag,
    value: fc.nat(8).chain(bytesOfLength),
  }),
)
const attributes = fc.array(anyAttribute, { maxLength: 3 })
const anyUnicast = fc.record({ address: anyIpAddress, attributes })
const masked = { address: anyIpAddress, maskLength: fc.nat(32), attributes }
const anyGroup = fc.record({ ...masked, bidirectional: flag, zone: flag })
const anySource = fc.record({ ...masked, sparse: flag, wildcard: flag, rpTree: flag })
const is = <K extends string>(kind: K) => fc.constant(kind)
const anyOption = fc.oneof(
  fc.record({ kind: is('holdtime'), seconds: u16 }),
  fc.record({
    kind: is('lan-prune-delay'),
    trackingSupport: flag,
    propagationDelay: fc.nat(0x7fff),
    overrideInterval: u16,
  }),
  fc.record({ kind: is('dr-priority'), priority: u32 }),
  fc.record({ kind: is('generation-id'), id: u32 }),
  fc.record({ kind: is('join-attribute') }),
  fc.record({ kind: is('address-list'), addresses: fc.array(anyUnicast, { maxLength: 2 }) }),
  fc.record({
    kind: is('other'),
    type: fc.integer({ min: 30, max: 0xffff }),
    value: fc.nat(8).chain(bytesOfLength),
  }),
)
const sources = fc.array(anySource, { maxLength: 3 })
const anyPim: fc.Arbitrary<PimMessage> = fc.oneof(
  fc.record({ kind: is('pim-hello'), options: fc.array(anyOption, { maxLength: 5 }) }),
  fc.record({
    kind: is('pim-join-prune'),
    upstreamNeighbor: anyUnicast,
    holdtime: u16,
    groups: fc.array(fc.record({ group: anyGroup, joined: sources, pruned: sources }), {
      maxLength: 3,
    }),
  }),
  fc.record({
    kind: is('pim-assert'),
    group: anyGroup,
    source: anyUnicast,
    rpTree: flag,
    metricPreference: fc.nat(0x7fffffff),
    metric: u32,
  }),
)

function anyMembership(
  protocol: 'igmp' | 'mld',
  address: typeof anyIpv4,
): fc.Arbitrary<MembershipMessage> {
  const addresses = fc.array(address, { maxLength: 4 })
  const named = { protocol: fc.constant(protocol), group: address }
  return fc.oneof(
    fc.record({
      kind: is('membership-query'),
      ...named,
      version: fc.constant(protocol === 'igmp' ? (3 as const) : (2 as const)),
      maxResponseCode: u8,
      sourceTerms: fc.record({
        suppressRouterProcessing: flag,
        robustness: fc.nat(7),
        queryIntervalCode: u8,
        sources: addresses,
      }),
    }),
    fc.record({ kind: is('membership-report'), ...named, version: fc.constant(1 as const) }),
    fc.record({ kind: is('membership-leave'), ...named }),
    fc.record({
      kind: is('source-membership-report'),
      protocol: fc.constant(protocol),
      records: fc.array(
        fc.record({
          type: fc.constantFrom(...GROUP_RECORD_TYPES),
          group: address,
          sources: addresses,
        }),
        { maxLength: 4 },
      ),
    }),
  )
}

t.test('any message decodes from its encoding to itself', async (t) => {
  const check = (message: MembershipMessage | PimMessage, again: object) =>
    t.same(plainValue(again), plainValue(message))
  fc.assert(
    fc.property(
      anyPim,
      anyMembership('igmp', anyIpv4),
      anyMembership('mld', anyIpv6),
      (pim, igmp, mld) => {
        check(pim, decodePim(encodePim(pim, V4), V4))
        check(pim, decodePim(encodePim(pim, V6), V6))
        check(igmp, decodeIgmp(encodeIgmp(igmp)))
        check(mld, decodeMld(encodeMld(mld, V6), V6))
      },
    ),
    { numRuns: 200, seed: 31 },
  )
})

t.test('no bytes make decoding throw', async (t) => {
  const seen = new Set<string>()
  fc.assert(
    fc.property(
      fc.constantFrom(...messages),
      fc.array(fc.tuple(fc.nat(80), u8), { maxLength: 3 }),
      fc.nat(90),
      (vector, changes, length) => {
        const bytes = bytesOf(vector.hex).slice(0, length)
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
        repairChecksum(bytes, vector)
        const result: MembershipMessage | PimMessage | Malformed = decode(vector, bytes)
        seen.add(result.kind)
        if (result.kind !== 'malformed') encode(result, vector.family)
      },
    ),
    { numRuns: 5_000, seed: 32 },
  )
  t.ok(seen.size >= 8, [...seen].join())
})

/** Finds the checksum that decoding accepts, so that what lies behind it is reached. */
function repairChecksum(bytes: Uint8Array, vector: Vector): void {
  if (bytes.length < 4) return
  bytes[2] = 0
  bytes[3] = 0
  const words = [...bytes]
  if (vector.family === 6) {
    words.push(...V6.source.bytes, ...V6.destination.bytes)
    if (bytes.length % 2 === 1) words.splice(bytes.length, 0, 0)
    words.push(0, bytes.length, 0, vector.protocol === 'mld' ? 58 : 103)
  }
  let sum = 0
  for (let at = 0; at < words.length; at += 2) sum += words[at]! * 256 + (words[at + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  bytes[2] = (~sum >> 8) & 0xff
  bytes[3] = ~sum & 0xff
}
