/**
 * fast-check arbitraries of every message, within the ranges that the wire has. Values are in the
 * form that decoding gives: locators sorted, prefixes masked.
 */
import fc from 'fast-check'
import type { LcafAddress } from '../../src/lisp/afi-address.js'
import { type Eid, eidPrefix } from '../../src/lisp/eid.js'
import { LISP_DATA_PORT } from '../../src/lisp/iana.js'
import {
  type Locator,
  type OtherLocator,
  sortLocators,
  structuredLocator,
} from '../../src/lisp/locator.js'
import { REFERRAL_ACTIONS } from '../../src/lisp/map-referral.js'
import { ACTIONS, type Mapping, type StructuredMapping } from '../../src/lisp/mapping.js'
import type { Message } from '../../src/lisp/message.js'
import { MOVE_PHASES, MOVE_REASONS } from '../../src/lisp/move-phases.js'
import {
  anyIpAddress,
  anyIpv4,
  anyIpv6,
  anyNatTraversal,
  anyStructuredEid,
  anyStructuredRloc,
  bytesOfLength,
  flag,
  u8,
  u16,
  u32,
  u64,
} from './arbitrary-address.js'

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

const terms = {
  priority: u8,
  weight: u8,
  multicastPriority: u8,
  multicastWeight: u8,
  local: flag,
  probe: flag,
  reachable: flag,
}
const anyPlainLocator: fc.Arbitrary<Locator> = fc.record({ rloc: anyIpAddress, ...terms })
const anyLocator: fc.Arbitrary<Locator> = fc.oneof(
  { arbitrary: anyPlainLocator, weight: 3 },
  {
    arbitrary: fc
      .tuple(anyStructuredRloc, fc.record(terms))
      .map(([structure, given]) => structuredLocator(structure as LcafAddress, given))
      .filter((value) => value !== undefined),
    weight: 1,
  },
)
const anyOtherLocator: fc.Arbitrary<OtherLocator> = fc.record({
  ...terms,
  structure: fc.constantFrom<OtherLocator['structure'][]>(
    { kind: 'name', name: Uint8Array.of(114, 116, 114) },
    { kind: 'mac', mac: Uint8Array.of(2, 0, 0, 0, 0, 1) },
    { kind: 'opaque-key', keyFieldCount: 1, wildcards: 2, key: Uint8Array.of(3) },
  ),
})
const locators = {
  locators: fc.array(anyLocator, { maxLength: 5 }).map((values) => sortLocators(values)),
}
const anyOtherLocators = fc.oneof(
  { arbitrary: fc.constant({}), weight: 4 },
  {
    arbitrary: fc.record({
      otherLocators: fc.array(anyOtherLocator, { minLength: 1, maxLength: 2 }),
    }),
    weight: 1,
  },
)

const mappingTerms = {
  ttlMinutes: fc.integer({ min: 0, max: 0xffffffff }),
  action: fc.constantFrom(...ACTIONS),
  authoritative: flag,
  mapVersion: fc.nat(4095),
  ...locators,
}

export const anyMapping: fc.Arbitrary<Mapping> = fc
  .tuple(fc.record({ eidPrefix: anyEidPrefix, ...mappingTerms }), anyOtherLocators)
  .map(([mapping, others]) => ({ ...mapping, ...others }))
const anyRecords = fc.array(anyMapping, { maxLength: 4 })
const anyStructuredMapping: fc.Arbitrary<StructuredMapping> = fc
  .tuple(fc.record({ eid: anyStructuredEid, maskLength: u8, ...mappingTerms }), anyOtherLocators)
  .map(([mapping, others]) => ({ ...mapping, ...others }))

/** With a list of its own for structured records in one message of five. */
function maybeStructured<T, S>(message: fc.Arbitrary<T>, record: fc.Arbitrary<S>) {
  const records = fc.array(record, { minLength: 1, maxLength: 3 })
  return fc.oneof(
    { arbitrary: message, weight: 4 },
    {
      arbitrary: fc
        .tuple(message, records)
        .map(([value, structuredRecords]) => ({ ...value, structuredRecords })),
      weight: 1,
    },
  )
}

export const anyIdentity = fc.record({ xtrId: bytesOfLength(16), siteId: u64 })
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

const anyEidAuthentication = fc.oneof(
  fc.record({ kdfId: u16 }),
  fc.record({
    kdfId: u16,
    proof: fc.record({
      etrCantSign: flag,
      hmacId: u16,
      eidPrefixes: fc.array(anyEidPrefix, { maxLength: 3 }),
      hmac: fc.constantFrom(0, 12, 16).chain(bytesOfLength),
    }),
  }),
)
const anySecuredMapReply = fc
  .tuple(
    anyMapReply,
    fc.record({
      eidAuthentication: anyEidAuthentication,
      packetHmacId: u16,
      packetHmac: fc.constantFrom(0, 12, 16).chain(bytesOfLength),
    }),
  )
  .map(([reply, security]) => ({ ...reply, security }))

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

const anySecuredEncapsulatedControl = fc
  .tuple(
    anyEncapsulatedControl,
    fc.record({
      requestedHmacId: u16,
      oneTimeKey: fc.record({
        keyId: u8,
        wrappingId: u8,
        preamble: bytesOfLength(8),
        key: fc.constantFrom(0, 16, 24).chain(bytesOfLength),
      }),
      eidAuthentication: anyEidAuthentication,
    }),
    fc.constantFrom({}, { toEtr: true }, { toMapServer: true }),
  )
  .map(([message, securityData, bits]) => ({ ...message, security: true, securityData, ...bits }))

const anyPlainMove = fc
  .record({
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
  .chain((move) =>
    move.phase === 'stopped'
      ? fc.nat(0xfffff).map((stamp) => ({ ...move, endpointMac: new Uint8Array(6), stamp }))
      : fc.constant(move),
  )
const anyMove = maybeStructured(anyPlainMove, anyStructuredMapping)

const anySignature = fc.record({
  originalTtl: u32,
  expiration: u32,
  inception: u32,
  keyTag: u16,
  algorithm: u8,
  signature: fc.nat(40).chain(bytesOfLength),
})
const referralTerms = {
  ttlMinutes: u32,
  action: fc.constantFrom(...REFERRAL_ACTIONS),
  authoritative: flag,
  incomplete: flag,
  mapVersion: fc.nat(4095),
  ...locators,
  signatures: fc.array(anySignature, { maxLength: 15 }),
}
const anyMapReferral = maybeStructured(
  fc.record({
    kind: fc.constant('map-referral' as const),
    nonce: u64,
    records: fc.array(fc.record({ eidPrefix: anyEidPrefix, ...referralTerms }), { maxLength: 3 }),
  }),
  fc.record({ eid: anyStructuredEid, maskLength: u8, ...referralTerms }),
)

const info = {
  ...authenticated,
  ttlMinutes: u32,
  eid: anyStructuredEid,
  maskLength: u8,
}
const anyInfoRequest = fc.record({ kind: fc.constant('info-request' as const), ...info })
const anyInfoReply = fc.record({
  kind: fc.constant('info-reply' as const),
  ...info,
  nat: anyNatTraversal,
})

export const anyMessage: fc.Arbitrary<Message> = fc.oneof(
  maybeStructured(
    anyMapRequest,
    fc.record({ subscribe: flag, eid: anyStructuredEid, maskLength: u8 }),
  ),
  maybeStructured(anyMapReply, anyStructuredMapping),
  maybeStructured(anySecuredMapReply, anyStructuredMapping),
  maybeStructured(anyMapRegister, anyStructuredMapping),
  maybeStructured(anyMapNotify, anyStructuredMapping),
  anyMapReferral,
  anyInfoRequest,
  anyInfoReply,
  anyEncapsulatedControl,
  anySecuredEncapsulatedControl,
  anyMove,
)
