/**
 * fast-check arbitraries of every AFI-encoded address, three levels deep at most, in the form that
 * decoding gives.
 */
import fc from 'fast-check'
import { type IpAddress, ipAddress } from '../../src/lisp/address.js'
import { type AfiAddress, ENCAPSULATIONS, type LcafAddress } from '../../src/lisp/afi-address.js'
import { LCAF_TYPE } from '../../src/lisp/iana.js'

export const u8 = fc.integer({ min: 0, max: 255 })
export const u16 = fc.nat(0xffff)
export const u32 = fc.integer({ min: 0, max: 0xffffffff })
export const u64 = fc.bigInt({ min: 0n, max: 0xffffffffffffffffn })
export const flag = fc.boolean()

export function bytesOfLength(length: number): fc.Arbitrary<Uint8Array> {
  // Copied, because fast-check may hand out a view of a larger buffer.
  return fc
    .uint8Array({ minLength: length, maxLength: length })
    .map((bytes) => Uint8Array.from(bytes))
}

export const anyIpv4: fc.Arbitrary<IpAddress> = bytesOfLength(4).map(ipAddress)
export const anyIpv6: fc.Arbitrary<IpAddress> = fc
  .oneof(
    bytesOfLength(16),
    fc.array(fc.constantFrom(0, 0, 1, 255), { minLength: 16, maxLength: 16 }),
  )
  .map((bytes) => ipAddress(Uint8Array.from(bytes)))
export const anyIpAddress = fc.oneof(anyIpv4, anyIpv6)

const anyName = fc
  .array(fc.integer({ min: 1, max: 255 }), { maxLength: 20 })
  .map((bytes) => Uint8Array.from(bytes))
const someBytes = fc.nat(12).chain(bytesOfLength)
const maskLength = fc.nat(128)

const anyFlatAddress: fc.Arbitrary<AfiAddress> = fc.oneof(
  fc.constant<AfiAddress>({ kind: 'none' }),
  fc.record({ kind: fc.constant('ip' as const), address: anyIpAddress }),
  fc.record({ kind: fc.constant('mac' as const), mac: bytesOfLength(6) }),
  fc.record({ kind: fc.constant('name' as const), name: anyName }),
)

const anyPorts = fc.record({ low: u16, high: u16 })
const anyAngle = fc.record({ degrees: fc.nat(0x7fff), minutes: u8, seconds: u8 })
const anyDegrees = fc.record({ degrees: u8, milliseconds: fc.nat(0xffffff) })
const signed32 = fc.integer({ min: -0x80000000, max: 0x7ffffffe })
const registered: readonly number[] = Object.values(LCAF_TYPE)

function natOf(address: fc.Arbitrary<AfiAddress>) {
  return fc.record({
    kind: fc.constant('nat-traversal' as const),
    mapServerPort: u16,
    etrPort: u16,
    globalEtrRloc: address,
    mapServerRloc: address,
    privateEtrRloc: address,
    rtrRlocs: fc.array(address, { maxLength: 3 }),
  })
}

export const anyNatTraversal = natOf(anyFlatAddress)

/** One of every kind of LCAF around `address`. */
function lcafsOf(address: fc.Arbitrary<AfiAddress>): readonly fc.Arbitrary<LcafAddress>[] {
  const is = <K extends LcafAddress['kind']>(kind: K) => fc.constant(kind)
  const hop = fc.record({ lookup: flag, probe: flag, strict: flag, address })
  return [
    fc.constant<LcafAddress>({ kind: 'null-body' }),
    fc.record({ kind: is('list'), addresses: fc.array(address, { maxLength: 4 }) }),
    fc.record({ kind: is('instance'), instanceId: u32, idMaskLength: u8, address }),
    fc.record({ kind: is('as-number'), asNumber: u32, address }),
    fc.record({
      kind: is('application-data'),
      trafficClass: fc.nat(0xffffff),
      protocol: u8,
      localPorts: anyPorts,
      remotePorts: anyPorts,
      address,
    }),
    fc.record({
      kind: is('geo-coordinates'),
      latitude: anyAngle,
      north: flag,
      longitude: anyAngle,
      east: flag,
      altitude: fc.option(signed32, { nil: undefined }),
      address,
    }),
    fc.record({ kind: is('opaque-key'), keyFieldCount: u8, wildcards: u16, key: someBytes }),
    natOf(address),
    fc.record({ kind: is('nonce-locator'), nonce: fc.nat(0xffffff), address }),
    fc.record({
      kind: is('multicast-info'),
      instanceId: u32,
      sourceMaskLength: maskLength,
      groupMaskLength: maskLength,
      source: address,
      group: address,
    }),
    fc.record({ kind: is('explicit-locator-path'), hops: fc.array(hop, { maxLength: 4 }) }),
    fc.record({
      kind: is('security-key'),
      keyAlgorithm: u8,
      revoked: flag,
      keys: fc.array(someBytes, { maxLength: 3 }),
      address,
    }),
    fc.record({
      kind: is('source-dest-key'),
      sourceMaskLength: maskLength,
      destinationMaskLength: maskLength,
      source: address,
      destination: address,
    }),
    fc.record({
      kind: is('replication-list'),
      entries: fc.array(fc.record({ level: u8, address }), { maxLength: 4 }),
    }),
    fc.record({ kind: is('json'), binary: flag, json: someBytes, address }),
    fc.record({ kind: is('key-value'), key: address, value: address }),
    fc.record({
      kind: is('encapsulation-format'),
      formats: fc.subarray([...ENCAPSULATIONS]),
      address,
    }),
    fc.record({
      kind: is('geo-location'),
      uncertainty: fc.option(u16, { nil: undefined }),
      latitude: anyDegrees,
      north: flag,
      longitude: anyDegrees,
      east: flag,
      altitude: fc.option(
        fc.record({ value: signed32, unit: fc.constantFrom('m' as const, 'cm' as const) }),
        { nil: undefined },
      ),
      radius: fc.option(
        fc.record({ value: u16, unit: fc.constantFrom('m' as const, 'km' as const) }),
        { nil: undefined },
      ),
      address,
    }),
    fc.record({
      kind: is('unknown-lcaf'),
      type: u8.filter((type) => !registered.includes(type)),
      body: someBytes,
    }),
  ]
}

/** Every kind of address, LCAF within LCAF. */
export const anyAfiAddress: fc.Arbitrary<AfiAddress> = fc.oneof(
  anyFlatAddress,
  ...lcafsOf(fc.oneof({ arbitrary: anyFlatAddress, weight: 3 }, ...lcafsOf(anyFlatAddress))),
)

/** What a record may have for its EID when that is no prefix of addresses. */
export const anyStructuredEid: fc.Arbitrary<AfiAddress> = fc.oneof(
  fc.record({ kind: fc.constant('name' as const), name: anyName }),
  ...lcafsOf(anyFlatAddress).slice(3, -1),
)

/** Any LCAF of a known type, with or without an address to send to. */
export const anyStructuredRloc: fc.Arbitrary<LcafAddress> = fc.oneof(
  ...lcafsOf(anyFlatAddress).slice(0, -1),
)
