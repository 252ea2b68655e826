/**
 * fast-check arbitraries of every message, within the ranges that the wire has. Values are in the
 * form that decoding gives: locators sorted, prefixes masked.
 */
import fc from 'fast-check'
import { type IpAddress, ipAddress } from '../../src/lisp/address.js'
import { type Eid, eidPrefix } from '../../src/lisp/eid.js'
import { LISP_DATA_PORT } from '../../src/lisp/iana.js'
import { type Locator, sortLocators } from '../../src/lisp/locator.js'
import { ACTIONS, type Mapping } from '../../src/lisp/mapping.js'
import type { Message } from '../../src/lisp/message.js'
import { MOVE_PHASES, MOVE_REASONS } from '../../src/lisp/move-phases.js'

const u8 = fc.integer({ min: 0, max: 255 })
const u64 = fc.bigInt({ min: 0n, max: 0xffffffffffffffffn })
const flag = fc.boolean()

function bytesOfLength(length: number): fc.Arbitrary<Uint8Array> {
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

const anyInstance = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffffffff }))
export const anyEid: fc.Arbitrary<Eid> = fc.record({
  instanceId: anyInstance,
  address: anyIpAddress,
})
export const anyEidPrefix = fc
  .tuple(anyEid, fc.nat(128))
  .map(([eid, mask]) =>
    eidPrefix(eid.instanceId, eid.address, eid.address.family === 4 ? mask % 33 : mask),
  )

const anyLocator: fc.Arbitrary<Locator> = fc.record({
  rloc: anyIpAddress,
  priority: u8,
  weight: u8,
  multicastPriority: u8,
  multicastWeight: u8,
  local: flag,
  probe: flag,
  reachable: flag,
})

const anyMapping: fc.Arbitrary<Mapping> = fc.record({
  eidPrefix: anyEidPrefix,
  ttlMinutes: fc.integer({ min: 0, max: 0xffffffff }),
  action: fc.constantFrom(...ACTIONS),
  authoritative: flag,
  mapVersion: fc.nat(4095),
  locators: fc.array(anyLocator, { maxLength: 5 }).map(sortLocators),
})
const anyRecords = fc.array(anyMapping, { maxLength: 4 })

const anyIdentity = fc.record({ xtrId: bytesOfLength(16), siteId: u64 })
const maybeIdentity = fc.option(anyIdentity, { nil: undefined })

const authenticated = {
  nonce: u64,
  keyId: u8,
  algorithm: u8,
  authenticationData: fc.constantFrom(0, 12, 16, 20, 32, 48).chain(bytesOfLength),
}

const anyMapRequest = fc.record({
  kind: fc.constant('map-request' as const),
  authoritative: flag,
  rlocProbe: flag,
  solicitMapRequest: flag,
  proxyItr: flag,
  smrInvoked: flag,
  localXtr: flag,
  doNotReply: flag,
  nonce: u64,
  sourceEid: fc.option(anyEid, { nil: undefined }),
  itrRlocs: fc.array(anyIpAddress, { maxLength: 32 }),
  records: fc.array(fc.record({ subscribe: flag, eidPrefix: anyEidPrefix }), {
    minLength: 1,
    maxLength: 4,
  }),
  mapReplyRecord: fc.option(anyMapping, { nil: undefined }),
  identity: maybeIdentity,
})

const anyMapReply = fc.record({
  kind: fc.constant('map-reply' as const),
  rlocProbe: flag,
  echoNonceCapable: flag,
  nonce: u64,
  records: anyRecords,
})

const anyMapRegister = fc.record({
  kind: fc.constant('map-register' as const),
  ...authenticated,
  proxyReply: flag,
  securityCapable: flag,
  eidNotify: flag,
  useTtlForTimeout: flag,
  mergeRequest: flag,
  wantMapNotify: flag,
  records: anyRecords,
  identity: maybeIdentity,
})

const anyMapNotify = fc.record({
  kind: fc.constantFrom('map-notify' as const, 'map-notify-ack' as const),
  ...authenticated,
  records: anyRecords,
  identity: maybeIdentity,
})

const anyPort = fc.integer({ min: 0, max: 65535 }).filter((port) => port !== LISP_DATA_PORT)
const anyEncapsulatedControl = fc
  .tuple(fc.oneof(fc.tuple(anyIpv4, anyIpv4), fc.tuple(anyIpv6, anyIpv6)), flag)
  .chain(([[innerSource, innerDestination], ddtOriginated]) =>
    fc.record({
      kind: fc.constant('encapsulated-control' as const),
      security: fc.constant(false),
      ddtOriginated: fc.constant(ddtOriginated),
      innerSource: fc.constant(innerSource),
      innerDestination: fc.constant(innerDestination),
      innerSourcePort: anyPort,
      innerDestinationPort: anyPort,
      message: fc.nat(64).chain(bytesOfLength),
    }),
  )

const anyMove = fc.record({
  kind: fc.constant('move' as const),
  ...authenticated,
  phase: fc.constantFrom(...MOVE_PHASES),
  reason: fc.constantFrom(...MOVE_REASONS),
  moveId: u64,
  endpointMac: bytesOfLength(6),
  senders: fc.array(anyIpAddress, { maxLength: 64 }),
  records: anyRecords,
  identity: anyIdentity,
})

export const anyMessage: fc.Arbitrary<Message> = fc.oneof(
  anyMapRequest,
  anyMapReply,
  anyMapRegister,
  anyMapNotify,
  anyEncapsulatedControl,
  anyMove,
)
