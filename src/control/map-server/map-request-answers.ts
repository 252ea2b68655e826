/**
 * How the Map-Server answers a Map-Request that came through the mapping system (RFC 9301 §8.3).
 *
 * A registered prefix whose xTR asked for it (P bit) is answered here, with all more-specifics
 * (RFC 9301 §5.5), never authoritative and without L bits (§5.4); else the request goes on unaltered
 * to one ETR. A configured prefix that nobody registers is natively forwarded for one minute, an EID
 * outside all sites for 15 minutes.
 *
 * Choices: where more-specifics do not fit one message, or one of them is not ours to answer, the reply
 * is narrowed to the part of the prefix that has none: always true, one record. Under a prefix that
 * accepts more-specifics the one-minute answer covers the asked prefix alone, because a mobile host
 * next to it may register in the next second.
 */
import type { NodeConfig, WrappingKey } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type EidPrefix, eidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import { isUsableRloc, type Locator, type Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import {
  type EncapsulatedControl,
  encodeMessage,
  type MapReply,
  type MapRequest,
  type MapRequestRecord,
} from '../../lisp/message.js'
import type { EcmAuthenticationData } from '../../lisp/security-data.js'
import { usableLocators } from '../../tables/locator-selection.js'
import {
  mergedLocators,
  type Registration,
  type Registrations,
} from '../../tables/registrations.js'
import { createAnswerLimits } from '../answer-limits.js'
import type { Instant } from '../capabilities.js'
import { CONTROL_PORT, endOfPath, isOwnRloc, sendControl, sourceRloc } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import {
  type EtrTask,
  type Proof,
  type ProtectedRequest,
  requiresSecurity,
  withSecurity,
} from '../lisp-sec/lisp-sec-requests.js'
import { geoPolicies, withoutSecretPlaces } from './geo-policy.js'
import type { Publisher } from './publisher.js'
import type { Datagram, RegisterGuard } from './register-guard.js'

/** A Map-Request with the headers in which it came. */
export interface EncapsulatedRequest {
  readonly request: MapRequest
  readonly ecm: EncapsulatedControl
  readonly datagram: Datagram
  /** It came to the Map-Resolver of this very node. */
  readonly viaResolver?: boolean
  /** Its one-time key was opened (RFC 9303); missing: it came without LISP-SEC. */
  readonly security?: ProtectedRequest | undefined
}

export interface MapRequestAnswers {
  /**
   * Answers or forwards every record. False when the request is for an ETR on this very node: the
   * Map-Server has nothing to say and no one else to send it to.
   */
  answer(received: EncapsulatedRequest, now: Instant, outputs: Output[]): boolean
  /** What a Map-Reply would say of the prefix, in a message that is signed; undefined: ask an ETR. */
  signedAnswer(asked: EidPrefix, family: 4 | 6): readonly Mapping[] | undefined
  /** How the prefix stands with us; undefined outside all sites. */
  standingOf(asked: EidPrefix): Standing | undefined
}

/** What a DDT query is told about a prefix of a site (RFC 8111 §7.2). */
export interface Standing {
  readonly registered: boolean
  /** The configured prefix. */
  readonly sitePrefix: EidPrefix
  /** The part around the asked prefix in which nothing is registered; itself when that is unknown. */
  readonly hole: EidPrefix
}

/** Our choice: requests carry one record (RFC 9301 §5.3: SHOULD); each further one is amplification. */
export const MAXIMUM_REQUEST_RECORDS = 8
/** RFC 9301 §8.3: an EID that is in no site. */
export const UNKNOWN_EID_TTL_MINUTES = 15
/** RFC 9301 §8.3: a site's EID that is not registered now. */
export const UNREGISTERED_EID_TTL_MINUTES = 1
/** Records in one message: the whole packet within 576 or 1280 bytes (RFC 9301 §5), less IP and UDP
 * headers and the twelve bytes before the first record. */
export const MESSAGE_BYTES = { 4: 576 - 20 - 8 - 12, 6: 1280 - 40 - 8 - 12 }
/** EID-AD with one IPv6 prefix of an instance, and PKT-AD (RFC 9303 §6.2). */
const SECURITY_BYTES = 4 + 8 + 4 + 12 + 16 + 16 + 4 + 16
/** Key ID, algorithm, length and the longest authentication data. */
export const AUTHENTICATION_BYTES = 4 + 32

export function createMapRequestAnswers(
  config: NodeConfig,
  registrations: Registrations,
  guard: RegisterGuard,
  publisher: () => Publisher,
): MapRequestAnswers {
  const limits = createAnswerLimits(config)
  const geoAnswers = geoPolicies(config)
  const siteSecurity = new Map(
    config.mapServer.sites.map(({ name, security }) => [name, security?.key] as const),
  )

  const answerRecord = (
    received: EncapsulatedRequest,
    record: MapRequestRecord,
    replyTo: Rloc,
    now: Instant,
    outputs: Output[],
  ): boolean => {
    const asked = formatEidPrefix(record.eidPrefix)
    if (!limits.take(received.datagram.from, replyTo, asked, now)) {
      outputs.push(suppressed('rate-limited', received, record.eidPrefix))
      return true
    }
    const match = matchOf(record.eidPrefix)
    const { security } = received
    if (security === undefined && mustBeProtected(record.eidPrefix)) {
      outputs.push(suppressed('unprotected', received, record.eidPrefix))
      return true
    }
    const bytes = MESSAGE_BYTES[replyTo.family] - (security === undefined ? 0 : SECURITY_BYTES)
    if (record.subscribe) {
      const asked = {
        received,
        record,
        records: answerWithin(record.eidPrefix, bytes - AUTHENTICATION_BYTES),
        temporary: match === undefined,
        refuse(action: Mapping['action']): void {
          const refusal = nativelyForward(record.eidPrefix, UNREGISTERED_EID_TTL_MINUTES)
          sendReply(config, received, replyTo, [{ ...refusal, action }], outputs)
        },
      }
      if (publisher().subscribe(asked, now, outputs) === 'taken') return true
    }
    const records = answerWithin(record.eidPrefix, bytes)
    if (records === undefined) return toEtr(received, record, match!, replyTo, outputs)
    // RFC 9303 §6.7, first row: proven for the longest prefix that is registered.
    const eidPrefixes = [match?.eidPrefix ?? records[0]!.eidPrefix]
    sendReply(config, received, replyTo, records, outputs, { eidPrefixes, etrCantSign: false })
    return true
  }

  const mustBeProtected = (asked: EidPrefix): boolean =>
    requiresSecurity(config) || guard.sitePrefix(asked)?.site.security?.mode === 'require'

  /** No registrant wants a proxy reply: an ETR answers, with LISP-SEC one that can sign. */
  const toEtr = (
    received: EncapsulatedRequest,
    record: MapRequestRecord,
    match: Registration,
    replyTo: Rloc,
    outputs: Output[],
  ): boolean => {
    if (received.security === undefined) return forward(config, received, match, outputs)
    const key = siteSecurity.get(match.site)
    const able = match.registrants.filter((one) => key !== undefined && one.securityCapable)
    const etrCantSign = able.length < match.registrants.length
    const proof = { eidPrefixes: [match.eidPrefix], etrCantSign }
    if (key !== undefined && able.length > 0)
      return forward(config, received, match, outputs, {
        locators: mergedLocators(able),
        task: received.security.forEtr(proof),
        key,
      })
    // Third row: nobody can sign; the E bit says that a plain request might find somebody.
    const nobody = nativelyForward(record.eidPrefix, UNREGISTERED_EID_TTL_MINUTES)
    const refusal: Mapping = { ...nobody, action: 'drop-policy-denied' }
    sendReply(config, received, replyTo, [refusal], outputs, proof)
    return true
  }

  /**
   * A prefix wider than all that is registered is answered for its first address. RFC 9301 §5.5 wants
   * an answer that is no longer than the question, but there is nothing to say that holds for all of
   * it: "forward natively" would be wrong of the registered parts.
   */
  const matchOf = (asked: EidPrefix): Registration | undefined =>
    registrations.longestCovering(asked) ?? registrations.longestMatch(asked)

  /** The records of an answer; undefined when the ETR is to answer itself. */
  const answerWithin = (asked: EidPrefix, bytes: number): Mapping[] | undefined => {
    const match = matchOf(asked)
    if (match === undefined) return [negativeMapping(asked, registrations, guard)]
    if (!match.registrants.some((registrant) => registrant.proxyReply)) return undefined
    // RFC 10040 §9: what a site does not give out of where it is stays here.
    const state = (one: Registration) =>
      withoutSecretPlaces(statedMapping(one), geoAnswers(one.site))
    return positiveRecords(match, asked, registrations, bytes, state)
  }

  return {
    signedAnswer: (asked, family) =>
      answerWithin(asked, MESSAGE_BYTES[family] - AUTHENTICATION_BYTES),
    answer(received, now, outputs) {
      const { request } = received
      if (publisher().unsubscribe(received, now, outputs)) return true
      const replyTo = replyTarget(config, request.itrRlocs)
      const objection = objectionTo(request, replyTo)
      if (objection !== undefined || replyTo === undefined) {
        outputs.push(suppressed(objection ?? 'no-common-family', received))
        return true
      }
      let ours = true
      for (const [index, record] of request.records.entries()) {
        if (index >= MAXIMUM_REQUEST_RECORDS) {
          outputs.push(suppressed('too-many-records', received))
          break
        }
        ours = answerRecord(received, record, replyTo, now, outputs) && ours
      }
      return ours
    },
    standingOf(asked) {
      const configured = guard.sitePrefix(asked)
      if (configured === undefined) return undefined
      const match = registrations.longestCovering(asked) ?? registrations.longestMatch(asked)
      const registered = match !== undefined
      const hole = registered ? asked : negativeMapping(asked, registrations, guard).eidPrefix
      return { registered, sitePrefix: configured.eidPrefix, hole }
    },
  }
}

/** The first ITR-RLOC that we can send to (RFC 9301 §5.5); undefined when there is none. */
export function replyTarget(config: NodeConfig, itrRlocs: readonly Rloc[]): Rloc | undefined {
  return itrRlocs.find((rloc) => isUsableRloc(rloc) && sourceRloc(config, rloc) !== undefined)
}

/** Why a request through the mapping system gets no answer at all; undefined when it may. */
export function objectionTo(request: MapRequest, replyTo: Rloc | undefined): string | undefined {
  // RFC 9301 §5.2: a probe must not come through a Map-Resolver or Map-Server.
  if (request.rlocProbe) return 'probe-through-mapping-system'
  // RFC 9301 §5.3: no ITR-RLOC, no answer.
  if (request.itrRlocs.length === 0) return 'no-itr-rloc'
  if (request.doNotReply) return 'do-not-reply'
  if (request.records.length === 0) return 'no-records'
  return replyTo === undefined ? 'no-common-family' : undefined
}

/**
 * Sends a Map-Reply to `replyTo`, to the port from which the request was sent (RFC 9301 §5); proven,
 * when the request came with LISP-SEC (RFC 9303 §6.7).
 */
export function sendReply(
  config: NodeConfig,
  received: EncapsulatedRequest,
  replyTo: Rloc,
  records: readonly Mapping[],
  outputs: Output[],
  proof: Proof = { eidPrefixes: [records[0]!.eidPrefix], etrCantSign: false },
): void {
  const { nonce } = received.request
  const form = { kind: 'map-reply', rlocProbe: false, echoNonceCapable: false } as const
  const reply: MapReply = { ...form, nonce, records }
  const bytes = received.security?.reply(reply, proof) ?? encodeMessage(reply)
  const port = received.ecm.innerSourcePort || CONTROL_PORT
  sendControl(config, replyTo, bytes, outputs, port)
  outputs.push({
    kind: 'event',
    event: {
      name: 'map-reply-sent',
      severity: 'debug',
      to: formatIpAddress(replyTo),
      eidPrefix: formatEidPrefix(records[0]!.eidPrefix),
      records: records.length,
      locators: records[0]!.locators.length,
      action: records[0]!.action,
    },
  })
}

/** Sends the request on in a fresh ECM, everything inside unaltered (RFC 9301 §8.3). */
export function forwardRequest(
  config: NodeConfig,
  received: EncapsulatedRequest,
  to: Rloc,
  outputs: Output[],
  securityData?: EcmAuthenticationData,
): void {
  const { ecm, security } = received
  // What was opened is never sent on as it came: it was wrapped for us.
  const onward = security === undefined ? ecm : withSecurity(ecm, securityData)
  const bytes = encodeMessage({ ...onward, ddtOriginated: false })
  sendControl(config, to, bytes, outputs)
  const first = received.request.records[0]
  outputs.push({
    kind: 'event',
    event: {
      name: 'map-request-forwarded',
      severity: 'debug',
      to: formatIpAddress(to),
      eidPrefix: first === undefined ? undefined : formatEidPrefix(first.eidPrefix),
    },
  })
}

/** The event of a request that is not answered. */
export function suppressed(
  reason: string,
  received: EncapsulatedRequest,
  prefix: EidPrefix | undefined = received.request.records[0]?.eidPrefix,
): Output {
  return {
    kind: 'event',
    event: {
      name: 'map-reply-suppressed',
      severity: 'debug',
      reason,
      from: formatIpAddress(received.datagram.from),
      eidPrefix: prefix === undefined ? undefined : formatEidPrefix(prefix),
    },
  }
}

/** A negative answer: forward natively for so long. */
export function nativelyForward(prefix: EidPrefix, ttlMinutes: number): Mapping {
  return {
    eidPrefix: prefix,
    ttlMinutes,
    action: 'natively-forward',
    authoritative: false,
    mapVersion: 0,
    locators: [],
  }
}

/** What the Map-Server itself says about a registration: A bit and L bits clear (RFC 9301 §5.4). */
export function statedMapping(registration: Registration): Mapping {
  const { registrants } = registration
  return {
    eidPrefix: registration.eidPrefix,
    ttlMinutes: registrants.reduce((least, r) => Math.min(least, r.ttlMinutes), 0xffffffff),
    action: registration.locators.length > 0 ? 'no-action' : registrants[0]!.action,
    authoritative: false,
    mapVersion: registration.mapVersion,
    locators: registration.locators.map(withoutOwnership),
  }
}

function withoutOwnership(locator: Locator): Locator {
  return locator.local || locator.probe ? { ...locator, local: false, probe: false } : locator
}

function negativeMapping(
  asked: EidPrefix,
  registrations: Registrations,
  guard: RegisterGuard,
): Mapping {
  const configured = guard.sitePrefix(asked)
  if (configured === undefined) {
    const hole = guard.hole(asked)
    // A prefix asked for that reaches over the edge of a site: its first address is in the site.
    if (hole !== undefined) return nativelyForward(hole, UNKNOWN_EID_TTL_MINUTES)
  }
  if (configured?.acceptMoreSpecifics === false) {
    const free = registrations.exclusivePrefix(asked)
    const length = Math.max(free.maskLength, configured.eidPrefix.maskLength)
    const hole = eidPrefix(asked.instanceId, asked.address, length)
    return nativelyForward(hole, UNREGISTERED_EID_TTL_MINUTES)
  }
  const free = registrations.exclusivePrefix(asked)
  const length = Math.max(free.maskLength, asked.maskLength)
  const hole = eidPrefix(asked.instanceId, asked.address, length)
  return nativelyForward(hole, UNREGISTERED_EID_TTL_MINUTES)
}

function positiveRecords(
  match: Registration,
  asked: EidPrefix,
  registrations: Registrations,
  bytes: number,
  state: (registration: Registration) => Mapping,
): Mapping[] {
  const records: Mapping[] = []
  let left = bytes
  for (const registration of registrations.coveredBy(match.eidPrefix)) {
    const mapping = state(registration)
    left -= recordBytes(mapping)
    const proxied = registration.registrants.some((registrant) => registrant.proxyReply)
    if (records.length > 0 && (left < 0 || !proxied)) {
      const narrow = registrations.exclusivePrefix(asked)
      return [{ ...records[0]!, eidPrefix: narrow }]
    }
    records.push(mapping)
  }
  // RFC 9301 §5.5: records returned together have one TTL.
  const ttlMinutes = records.reduce((least, m) => Math.min(least, m.ttlMinutes), 0xffffffff)
  return records.map((mapping) => ({ ...mapping, ttlMinutes }))
}

/** Size of an EID-record on the wire, with the LCAF of an instance-ID counted always. */
export function recordBytes(mapping: Mapping): number {
  const locatorBytes = mapping.locators.reduce((sum, one) => sum + 8 + one.rloc.bytes.length, 0)
  return 12 + 14 + mapping.eidPrefix.address.bytes.length + locatorBytes
}

/** An ETR that signs, and what it needs for it. */
interface EtrChoice {
  readonly locators: readonly Locator[]
  readonly task: EtrTask
  readonly key: WrappingKey
}

function forward(
  config: NodeConfig,
  received: EncapsulatedRequest,
  match: Registration,
  outputs: Output[],
  choice?: EtrChoice,
): boolean {
  const locators = choice?.locators ?? match.locators
  // To the ETR itself: RTRs on the way to it answer for nobody.
  const sendable = locators.filter((one) => sourceRloc(config, endOfPath(one)) !== undefined)
  const usable = usableLocators(sendable)
  const chosen = sendable[usable[Number(received.request.nonce % BigInt(usable.length || 1))] ?? -1]
  if (chosen === undefined) {
    outputs.push(suppressed('no-usable-locator', received, match.eidPrefix))
    return true
  }
  if (isOwnRloc(config, endOfPath(chosen))) {
    if (received.security !== undefined) received.security.localTask = choice?.task
    return false
  }
  const data = choice?.task.wrappedFor(choice.key)
  forwardRequest(config, received, endOfPath(chosen), outputs, data)
  return true
}
