/**
 * Stored records ↔ protobuf bytes (records.proto).
 */
import protobuf from 'protobufjs/light.js'
import type { StoredRecord } from '../control/stored-record.js'
import { ipAddress } from '../lisp/address.js'
import { ACTIONS } from '../lisp/mapping.js'
import { groupReceiverMessage, groupReceiverOf, type StoredGroupReceiver } from './group-record.js'
import { locatorOf, type StoredLocator, storedLocator } from './locator-record.js'
import { RECORDS_DESCRIPTOR } from './records.generated.js'
import type { Removal } from './store.js'

export type KeptRecord = Exclude<StoredRecord, Removal>

export function encodeRecord(record: KeptRecord): Uint8Array {
  return schema.encode(schema.create(toMessage(record))).finish()
}

/**
 * Undefined when the bytes are no record: cut short, or of a kind that this version does not know.
 */
export function decodeRecord(bytes: Uint8Array): KeptRecord | undefined {
  try {
    return fromMessage(schema.toObject(schema.decode(bytes), { defaults: true }))
  } catch {
    // protobufjs throws RangeError or its own Error for whatever is not the format.
    return undefined
  }
}

function toMessage(record: KeptRecord): Record<string, unknown> {
  if (record.kind === 'reservation') {
    return { reservation: { scope: record.scope, ceiling: bytesOf64(record.ceiling) } }
  }
  if (record.kind === 'last-nonce') {
    return { lastNonce: { sender: record.sender, nonce: bytesOf64(record.nonce) } }
  }
  if (record.kind === 'subscription') return { subscription: subscriptionMessage(record) }
  if (record.kind === 'pending-notify') return { pendingNotify: notifyMessage(record) }
  if (record.kind === 'group-receiver') return { groupReceiver: groupReceiverMessage(record) }
  if (record.kind === 'own-locators') return { ownLocators: ownLocatorsMessage(record) }
  if (record.kind === 'workload') return { workload: workloadMessage(record) }
  if (record.kind === 'described-registration') {
    return { describedRegistration: { ...record, source: record.source.bytes } }
  }
  const { kind: _kind, eidPrefix, ownerRlocs, locators, action, ...plain } = record
  return {
    registration: {
      ...plain,
      eidPrefix: { ...eidPrefix, address: eidPrefix.address.bytes },
      ownerRlocs: ownerRlocs.map(({ bytes }) => bytes),
      locators: locators.map(storedLocator),
      action: ACTIONS.indexOf(action),
    },
  }
}

function ownLocatorsMessage(record: OwnLocators): Record<string, unknown> {
  const { locators, senders, expiresAt } = record
  return {
    expiresAt,
    locators: locators.map(storedLocator),
    senders: senders.map(({ eidPrefix, rloc }) => ({
      eidPrefix: { ...eidPrefix, address: eidPrefix.address.bytes },
      rloc: rloc.bytes,
    })),
  }
}

function ownLocatorsOf({ locators, senders, expiresAt }: StoredOwnLocators): OwnLocators {
  return {
    kind: 'own-locators',
    locators: locators.map(locatorOf),
    senders: senders.map(({ eidPrefix, rloc }) => ({
      eidPrefix: { ...eidPrefix, address: ipAddress(new Uint8Array(eidPrefix.address)) },
      rloc: ipAddress(new Uint8Array(rloc)),
    })),
    expiresAt,
  }
}

function workloadMessage({ workloadId, name, description, eids }: Workload) {
  const stored = eids.map(({ instanceId, address }) => ({ instanceId, address: address.bytes }))
  return { workloadId, name, ovf: description === 'ovf', eids: stored }
}

function workloadOf({ workloadId, name, ovf, eids }: StoredWorkload): Workload {
  return {
    kind: 'workload',
    workloadId,
    name,
    description: ovf ? 'ovf' : 'domain',
    eids: eids.map(({ instanceId, address }) => ({
      instanceId,
      address: ipAddress(new Uint8Array(address)),
    })),
  }
}

function describedOf({ source, record, ...plain }: StoredDescribed): Described {
  return {
    ...plain,
    kind: 'described-registration',
    source: ipAddress(new Uint8Array(source)),
    record: new Uint8Array(record),
  }
}

function notifyMessage(record: PendingNotify): Record<string, unknown> {
  const { kind: _kind, eidPrefix, homeRlocs, otherRlocs, ...plain } = record
  return {
    ...plain,
    eidPrefix: { ...eidPrefix, address: eidPrefix.address.bytes },
    homeRlocs: homeRlocs.map(({ bytes }) => bytes),
    otherRlocs: otherRlocs.map(({ bytes }) => bytes),
  }
}

function pendingNotifyOf(message: StoredNotify): PendingNotify {
  const { eidPrefix, homeRlocs, otherRlocs, ...plain } = message
  return {
    ...plain,
    kind: 'pending-notify',
    eidPrefix: { ...eidPrefix, address: ipAddress(new Uint8Array(eidPrefix.address)) },
    homeRlocs: homeRlocs.map((bytes) => ipAddress(new Uint8Array(bytes))),
    otherRlocs: otherRlocs.map((bytes) => ipAddress(new Uint8Array(bytes))),
  }
}

function subscriptionMessage(record: Subscription): Record<string, unknown> {
  const { kind: _kind, eidPrefix, itrRlocs, keyOwner, secret, ...plain } = record
  return {
    ...plain,
    siteId: bytesOf64(record.siteId),
    eidPrefix: { ...eidPrefix, address: eidPrefix.address.bytes },
    itrRlocs: itrRlocs.map(({ bytes }) => bytes),
    keyOwner: keyOwner ?? '',
    secret: secret ?? new Uint8Array(0),
    askedNonce: bytesOf64(record.askedNonce),
    nonceCeiling: bytesOf64(record.nonceCeiling),
  }
}

function subscriptionOf(message: StoredSubscription): Subscription {
  const { eidPrefix, itrRlocs, keyOwner, secret, ...plain } = message
  return {
    ...plain,
    kind: 'subscription',
    siteId: numberOf64(message.siteId),
    eidPrefix: { ...eidPrefix, address: ipAddress(new Uint8Array(eidPrefix.address)) },
    itrRlocs: itrRlocs.map((bytes) => ipAddress(new Uint8Array(bytes))),
    keyOwner: keyOwner === '' ? undefined : keyOwner,
    secret: secret.length === 0 ? undefined : new Uint8Array(secret),
    askedNonce: numberOf64(message.askedNonce),
    nonceCeiling: numberOf64(message.nonceCeiling),
  }
}

function fromMessage(message: Record<string, unknown>): KeptRecord | undefined {
  const kinds = message as unknown as StoredMessage
  const { reservation, lastNonce, registration, subscription, pendingNotify } = kinds
  if (pendingNotify) return pendingNotifyOf(pendingNotify)
  if (kinds.ownLocators) return ownLocatorsOf(kinds.ownLocators)
  if (kinds.workload) return workloadOf(kinds.workload)
  if (kinds.groupReceiver) return groupReceiverOf(kinds.groupReceiver)
  if (kinds.describedRegistration) return describedOf(kinds.describedRegistration)
  if (subscription) return subscriptionOf(subscription)
  if (reservation) {
    const { scope, ceiling } = reservation
    return { kind: 'reservation', scope, ceiling: numberOf64(ceiling) }
  }
  if (lastNonce) {
    return { kind: 'last-nonce', sender: lastNonce.sender, nonce: numberOf64(lastNonce.nonce) }
  }
  if (!registration) return undefined
  const { eidPrefix, ownerRlocs, locators, action, securityCapable, ...plain } = registration
  const actionName = ACTIONS[action]
  if (actionName === undefined) return undefined
  return {
    ...plain,
    kind: 'registration',
    eidPrefix: { ...eidPrefix, address: ipAddress(new Uint8Array(eidPrefix.address)) },
    ownerRlocs: ownerRlocs.map((bytes) => ipAddress(new Uint8Array(bytes))),
    locators: locators.map(locatorOf),
    action: actionName,
    ...(securityCapable === true ? { securityCapable } : {}),
  }
}

function bytesOf64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value)
  return bytes
}

function numberOf64(bytes: Uint8Array): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0)
}

type Registration = KeptRecord & { kind: 'registration' }
type Subscription = KeptRecord & { kind: 'subscription' }
type Workload = KeptRecord & { kind: 'workload' }
interface StoredWorkload {
  readonly workloadId: string
  readonly name: string
  readonly ovf: boolean
  readonly eids: readonly { readonly instanceId: number; readonly address: Uint8Array }[]
}
type OwnLocators = KeptRecord & { kind: 'own-locators' }
interface StoredOwnLocators {
  readonly locators: readonly StoredLocator[]
  readonly senders: readonly { readonly eidPrefix: StoredPrefix; readonly rloc: Uint8Array }[]
  readonly expiresAt: number
}
interface StoredPrefix {
  readonly instanceId: number
  readonly address: Uint8Array
  readonly maskLength: number
}
type Described = KeptRecord & { kind: 'described-registration' }
type StoredDescribed = Omit<Described, 'kind' | 'source'> & { readonly source: Uint8Array }
type PendingNotify = KeptRecord & { kind: 'pending-notify' }
type StoredNotify = Omit<PendingNotify, 'kind' | 'eidPrefix' | 'homeRlocs' | 'otherRlocs'> & {
  readonly eidPrefix: StoredPrefix
  readonly homeRlocs: readonly Uint8Array[]
  readonly otherRlocs: readonly Uint8Array[]
}
type StoredSubscription = Omit<
  Subscription,
  | 'kind'
  | 'siteId'
  | 'eidPrefix'
  | 'itrRlocs'
  | 'keyOwner'
  | 'secret'
  | 'askedNonce'
  | 'nonceCeiling'
> & {
  readonly siteId: Uint8Array
  readonly eidPrefix: StoredPrefix
  readonly itrRlocs: readonly Uint8Array[]
  readonly keyOwner: string
  readonly secret: Uint8Array
  readonly askedNonce: Uint8Array
  readonly nonceCeiling: Uint8Array
}
interface StoredMessage {
  readonly reservation?: { readonly scope: string; readonly ceiling: Uint8Array }
  readonly subscription?: StoredSubscription
  readonly pendingNotify?: StoredNotify
  readonly ownLocators?: StoredOwnLocators
  readonly workload?: StoredWorkload
  readonly groupReceiver?: StoredGroupReceiver
  readonly describedRegistration?: StoredDescribed
  readonly lastNonce?: { readonly sender: string; readonly nonce: Uint8Array }
  readonly registration?: Omit<
    Registration,
    'kind' | 'eidPrefix' | 'ownerRlocs' | 'locators' | 'action'
  > & {
    readonly eidPrefix: StoredPrefix
    readonly ownerRlocs: readonly Uint8Array[]
    readonly locators: readonly StoredLocator[]
    readonly action: number
  }
}

const schema = protobuf.Root.fromJSON(RECORDS_DESCRIPTOR).lookupType('godwit.StoredRecord')
