/**
 * What one Map-Register does (RFC 9301 §5.6, §8.2): admitted, judged record by record, applied whole
 * or not at all. The former RLOCs are told at once; the acknowledgement waits until the change is
 * stored together with its nonce.
 *
 * The guard decides who may speak, the version fence whose record counts; this file carries their
 * verdicts out. Refreshes in a refused message still count as signs of life: they change nothing.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { encodeSigned } from '../../lisp/authentication.js'
import { type EidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import { isUsableRloc, sortLocators } from '../../lisp/locator.js'
import { nextMapVersion } from '../../lisp/map-version.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MapRegister } from '../../lisp/message.js'
import { lifetimeOfTtl, TTL_RECEIVER_DECIDES } from '../../tables/map-cache.js'
import {
  MAXIMUM_LOCATORS,
  type Registrant,
  type Registrations,
  registrationOf,
} from '../../tables/registrations.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { CONTROL_PORT } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import { siteProfile } from '../peer-profile.js'
import { tellFormerRlocs } from './former-rlocs.js'
import type { DurableOutputs, MapNotifyOutbox } from './map-notify-outbox.js'
import { statedMapping } from './map-request-answers.js'
import type { Publisher } from './publisher.js'
import {
  type Admission,
  type Datagram,
  hexOf,
  type RegisterGuard,
  senderName,
} from './register-guard.js'
import { changed, type RegistrationChange, rejected } from './registration-events.js'
import { recordsToStore, VERSION_MEMORY_MS } from './registration-lifetime.js'
import { siteKeyOwner } from './subscription-admission.js'
import { isTooLate, judgeRecord, type Verdict } from './version-fence.js'

/** All that a Map-Server holds. */
export interface MapServerState {
  readonly config: NodeConfig
  readonly capabilities: Capabilities
  readonly registrations: Registrations
  readonly guard: RegisterGuard
  readonly outbox: MapNotifyOutbox
  readonly publisher: Publisher
}

/** Handles a Map-Register, genuine or not; every record that is not applied gives an event. */
export function handleRegister(
  state: MapServerState,
  message: MapRegister,
  datagram: Datagram,
  now: Instant,
  outputs: Output[],
): void {
  const admission = state.guard.admit(message, datagram)
  if (!admission.ok) {
    outputs.push(rejected(admission.reason, datagram, message.records[0]?.eidPrefix))
    return
  }
  const records = message.records.map((record) => ({
    ...record,
    locators: sortLocators(record.locators.filter(({ rloc }) => isUsableRloc(rloc))),
  }))
  const received: Received = { message, records, datagram, admission, now }
  if (admission.repeated) {
    answerRepeated(state, received, outputs)
    return
  }
  if (admission.late && records.some((record) => comesTooLate(state, record, received))) {
    outputs.push(rejected('overtaken', datagram, records[0]?.eidPrefix))
    return
  }
  state.guard.accept(admission, message)
  introduce(state, received)
  const verdicts = records.map((record) => judge(state, record, received))
  if (verdicts.some((verdict) => verdict.kind === 'refuse')) {
    refuse(state, verdicts, received, outputs)
    return
  }
  const added = records.filter(({ eidPrefix }, index) => {
    return verdicts[index]!.kind === 'claim' && !isKnown(state.registrations, eidPrefix)
  })
  const full = isFull(state, admission.site.name, added.length)
  if (full !== undefined) {
    outputs.push(rejected(full, datagram, added[0]!.eidPrefix))
    return
  }
  applyAll(state, verdicts, received, outputs)
}

/** A Map-Register that has been authenticated; `records` are its own with sorted, usable locators. */
interface Received {
  readonly message: MapRegister
  readonly records: readonly Mapping[]
  readonly datagram: Datagram
  readonly admission: Extract<Admission, { ok: true }>
  readonly now: Instant
}

interface Change extends RegistrationChange {
  /** Of whom the store may hold a record of this prefix. */
  readonly formerOwners: readonly string[]
}

/** Why so many more registrations of this site do not fit; undefined when they do. */
function isFull(state: MapServerState, site: string, added: number): string | undefined {
  const { maximumRegistrations, sites } = state.config.mapServer
  if (added === 0) return undefined
  const total = state.registrations.size + added
  if (total > maximumRegistrations) return 'too-many-registrations'
  // What is left when it gets tight is for sites that have less than an equal share.
  if (total <= maximumRegistrations * FREE_SHARE) return undefined
  const ofSite = state.registrations.heldBySite(site) + added
  return ofSite > maximumRegistrations / sites.length ? 'too-many-of-this-site' : undefined
}

/** Our choice: up to here any site may register as much as it likes. */
const FREE_SHARE = 3 / 4

function comesTooLate(state: MapServerState, record: Mapping, received: Received): boolean {
  const { registrations } = state
  const { eidPrefix } = record
  const { admission, message } = received
  const present = registrations.exact(eidPrefix)
  return isTooLate(admission.owner, message.nonce, present, registrations.retired(eidPrefix))
}

function judge(state: MapServerState, record: Mapping, received: Received): Verdict {
  const { admission, message } = received
  return judgeRecord({
    record,
    owner: admission.owner,
    merge: wantsMerge(received),
    proxyReply: message.proxyReply,
    wantMapNotify: message.wantMapNotify,
    securityCapable: message.securityCapable,
    registration: state.registrations.exact(record.eidPrefix),
    retired: state.registrations.retired(record.eidPrefix),
    noncesRise: !siteProfile(admission.site).anyNonce,
    notifyUnacknowledged: state.outbox.isUnacknowledged(admission.owner, record.eidPrefix),
    firstVersion: () => 1 + Math.floor(state.capabilities.random.fraction() * 4095),
  })
}

function applyAll(
  state: MapServerState,
  verdicts: readonly Verdict[],
  received: Received,
  outputs: Output[],
): void {
  const changes: Change[] = []
  const told: Mapping[] = []
  for (const [index, record] of received.records.entries()) {
    const verdict = verdicts[index]!
    if (verdict.kind === 'refresh') refresh(state, record, received)
    if (verdict.kind === 'ignore') {
      outputs.push(rejected(verdict.reason, received.datagram, record.eidPrefix))
    }
    const change = apply(state, record, verdict, received)
    if (change !== undefined) changes.push(change)
    told.push(recordAsRegistered(state, record, verdict))
  }
  const ack = received.message.wantMapNotify
    ? mapNotify(state, told, received, 'acknowledgement')
    : []
  if (changes.length === 0) {
    outputs.push(...ack)
    return
  }
  const { admission, now } = received
  const site = admission.site.name
  const durable: DurableOutputs = { records: [], then: [...ack] }
  const senders = new Set([admission.sender])
  for (const change of changes) {
    durable.records.push(
      ...recordsToStore(state.registrations, change.eidPrefix, change.formerOwners),
    )
    durable.then.push(changed(change, admission.owner, site))
    for (const former of change.before?.registrants ?? []) {
      senders.add(senderName(site, former.owner, former.keyId))
    }
  }
  durable.records.push(...state.guard.durableNonces(senders))
  // The former site is told before the change is durable: every millisecond it goes on delivering is
  // loss, and being told is no promise. If we die in between, the register that was never acknowledged
  // comes again and the same is said again. Only the nonce of the notify must be safe to use.
  const notices: DurableOutputs = { records: [], then: [] }
  tellFormerRlocs(state, changes, { own: ownRlocs(received), site: admission.site, now }, notices)
  durable.records.push(...state.outbox.recordsToStore())
  if (notices.records.length === 0) outputs.push(...notices.then)
  else outputs.push({ kind: 'persist', records: notices.records, then: notices.then })
  // Who delivers on loses packets, subscribers only go a longer way: they are told behind it.
  const later = notices.then.length > 0
  for (const { eidPrefix, before, after } of changes) {
    const isNews = before === undefined || before.mapVersion !== after?.mapVersion
    if (isNews) state.publisher.changed(eidPrefix, received.now, outputs, later)
  }
  outputs.push({ kind: 'persist', records: durable.records, then: durable.then })
}

/** Who registers can subscribe: its xTR-ID, its RLOCs and a key that we share are known now. */
function introduce(
  state: MapServerState,
  { message, admission, datagram, records }: Received,
): void {
  const { identity } = message
  if (identity === undefined || admission.owner !== hexOf(identity.xtrId)) return
  const local = records.flatMap(({ locators }) => locators.filter((one) => one.local))
  state.publisher.heard({
    xtrId: admission.owner,
    siteId: identity.siteId,
    rlocs: [datagram.from, ...local.slice(0, MAXIMUM_LOCATORS).map(({ rloc }) => rloc)],
    key: admission.key,
    keyOwner: siteKeyOwner(admission.site.name),
    authenticationLength: message.authenticationData.length,
  })
}

/** Extends a registration; nothing else about it changes, so nothing is written. */
function refresh(state: MapServerState, record: Mapping, received: Received): void {
  const { admission, message, now } = received
  const registration = state.registrations.exact(record.eidPrefix)
  if (registration === undefined) return
  const { registrants } = registration
  const own = registrants.findIndex((registrant) => registrant.owner === admission.owner)
  // Another ETR of the site that says the same keeps the one registrant alive.
  const at = Math.max(0, own)
  const expiresAt = now + lifetimeOf(state.config, message, record)
  const source = own < 0 ? registrants[at]!.source : received.datagram.from
  const nonce = own < 0 ? registrants[at]!.nonce : message.nonce
  const renewed = { ...registrants[at]!, source, nonce, registeredAt: now, expiresAt }
  state.registrations.put(registrationOf(registration, registrants.with(at, renewed)))
}

/** Carries out a claim, a store or a withdrawal; undefined for verdicts that change nothing. */
function apply(
  state: MapServerState,
  record: Mapping,
  verdict: Verdict,
  received: Received,
): Change | undefined {
  const { registrations } = state
  const { eidPrefix } = record
  const { owner, site } = received.admission
  const before = registrations.exact(eidPrefix)
  const others = before?.registrants.filter((registrant) => registrant.owner !== owner) ?? []
  const retired = registrations.retired(eidPrefix)
  const formerOwners = before?.registrants.map((one) => one.owner) ?? []
  if (retired !== undefined) formerOwners.push(retired.owner)

  if (verdict.kind === 'withdraw' && before !== undefined) {
    if (others.length === 0) {
      const forgetAt = received.now + VERSION_MEMORY_MS
      const { mapVersion } = before
      const { nonce } = received.message
      registrations.retire({ eidPrefix, site: site.name, owner, nonce, mapVersion, forgetAt })
    } else {
      const mapVersion = nextMapVersion(before.mapVersion)
      registrations.put(registrationOf({ ...before, mapVersion }, others))
    }
    return { eidPrefix, before, after: registrations.exact(eidPrefix), formerOwners }
  }
  if (verdict.kind !== 'claim' && verdict.kind !== 'store') return undefined
  const merge = wantsMerge(received)
  const kept = verdict.kind === 'store' && merge ? others : []
  const registrants = [...kept, registrantOf(state.config, record, received)]
  const about = { eidPrefix, site: site.name, mapVersion: verdict.mapVersion, merge }
  const after = registrationOf(about, registrants)
  registrations.put(after)
  return { eidPrefix, before, after, formerOwners }
}

function refuse(
  state: MapServerState,
  verdicts: readonly Verdict[],
  received: Received,
  outputs: Output[],
): void {
  const told: Mapping[] = []
  for (const [index, record] of received.records.entries()) {
    const verdict = verdicts[index]!
    if (verdict.kind === 'refresh') refresh(state, record, received)
    if (verdict.kind === 'refuse') {
      outputs.push(rejected(verdict.reason, received.datagram, record.eidPrefix))
    }
    told.push(...currentMapping(state, record))
  }
  // Also without M bit: the loser of a race must learn where its EID is.
  outputs.push(...mapNotify(state, told, received, 'refused'))
}

/** The very message that was accepted last: RFC 9301 §5.7, its Map-Notify was lost. */
function answerRepeated(state: MapServerState, received: Received, outputs: Output[]): void {
  const { admission, message, datagram } = received
  outputs.push(rejected('repeated', datagram, received.records[0]?.eidPrefix))
  if (!message.wantMapNotify) return
  const told = received.records.flatMap((record) => currentMapping(state, record))
  // Queued behind what the first one wrote: it is not acknowledged before that is durable.
  const { sender } = admission
  const nonce = { kind: 'last-nonce', sender, nonce: message.nonce } as const
  const then = mapNotify(state, told, received, 'repeated')
  outputs.push({ kind: 'persist', records: [nonce], then })
}

/** The Map-Notify that answers a Map-Register: its nonce, its key, to where it came from. */
function mapNotify(
  state: MapServerState,
  records: readonly Mapping[],
  received: Received,
  reason: 'acknowledgement' | 'refused' | 'repeated',
): Output[] {
  if (records.length === 0) return []
  const { datagram, admission } = received
  const { nonce, keyId, algorithm, authenticationData } = received.message
  const bytes = encodeSigned(
    {
      kind: 'map-notify',
      nonce,
      keyId,
      algorithm,
      authenticationData,
      records,
      identity: undefined,
    },
    admission.key,
    state.capabilities.hmac,
  )
  const event = {
    name: 'map-notify-sent',
    severity: 'debug',
    reason,
    to: formatIpAddress(datagram.from),
    nonce: nonce.toString(16),
    attempt: 1,
    eidPrefixes: records.map((record) => formatEidPrefix(record.eidPrefix)),
  } as const
  const toPort = siteProfile(admission.site).notifyToSourcePort ? datagram.fromPort : CONTROL_PORT
  return [
    { kind: 'send', from: datagram.to, to: datagram.from, toPort, bytes },
    { kind: 'event', event },
  ]
}

/** The record as the acknowledgement shows it: with its version, or the merged set. */
function recordAsRegistered(state: MapServerState, record: Mapping, verdict: Verdict): Mapping {
  const registration = state.registrations.exact(record.eidPrefix)
  if (verdict.kind === 'withdraw' || registration === undefined) {
    const mapVersion = state.registrations.retired(record.eidPrefix)?.mapVersion
    return { ...record, mapVersion: mapVersion ?? record.mapVersion }
  }
  if (verdict.kind === 'ignore' || registration.merge) return statedMapping(registration)
  return { ...record, mapVersion: registration.mapVersion }
}

/** How the prefix stands now. Without registrant but with a known version: no locators, TTL 0. */
function currentMapping(state: MapServerState, record: Mapping): Mapping[] {
  const registration = state.registrations.exact(record.eidPrefix)
  if (registration !== undefined) return [statedMapping(registration)]
  const retired = state.registrations.retired(record.eidPrefix)
  if (retired === undefined) return []
  const { mapVersion } = retired
  return [{ ...record, mapVersion, ttlMinutes: 0, authoritative: false, locators: [] }]
}

function isKnown(registrations: Registrations, eidPrefix: EidPrefix): boolean {
  return (
    registrations.exact(eidPrefix) !== undefined || registrations.retired(eidPrefix) !== undefined
  )
}

function registrantOf(config: NodeConfig, record: Mapping, received: Received): Registrant {
  const { message, admission, datagram, now } = received
  return {
    owner: admission.owner,
    source: datagram.from,
    locators: record.locators,
    action: record.action,
    ttlMinutes: record.ttlMinutes,
    proxyReply: message.proxyReply,
    wantMapNotify: message.wantMapNotify,
    securityCapable: message.securityCapable,
    keyId: admission.key.keyId,
    authenticationLength: message.authenticationData.length,
    nonce: message.nonce,
    registeredAt: now,
    expiresAt: now + lifetimeOf(config, message, record),
  }
}

/** Milliseconds. RFC 9301 §5.6: with the T bit the record TTL is the lifetime, else the configured time. */
export function lifetimeOf(
  config: NodeConfig,
  message: MapRegister,
  record: Pick<Mapping, 'ttlMinutes'>,
): number {
  return message.useTtlForTimeout && record.ttlMinutes !== TTL_RECEIVER_DECIDES
    ? lifetimeOfTtl(record.ttlMinutes)
    : config.mapServer.registrationMs
}

/** Addresses at which the sender itself is: it gets the acknowledgement and no further notify. */
function ownRlocs(received: Received): ReadonlySet<string> {
  const own = new Set([formatIpAddress(received.datagram.from)])
  for (const record of received.records) {
    for (const { rloc } of record.locators) own.add(formatIpAddress(rloc))
  }
  return own
}

/** RFC 9301 §5.6: the a bit, unless the site's peers are known to misuse it. */
function wantsMerge({ message, admission }: Received): boolean {
  return message.mergeRequest && !siteProfile(admission.site).ignoreMergeBit
}
