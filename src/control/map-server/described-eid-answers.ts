/**
 * How the Map-Server answers Map-Requests for names (RFC 9735 §4) and places (RFC 10040 §5).
 *
 * Negative answers are as for addresses (RFC 9301 §8.3): nothing is natively forwarded to a name, but
 * the action is the one that an ITR of addresses would get. What a site's policy withholds is answered
 * with "drop/policy-denied", so that the ITR knows that asking again is of no use. Rates are limited as
 * for addresses (answer-limits.ts).
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { nameMaskLength } from '../../lisp/afi-address.js'
import { type DescribedEid, describedEidOf, formatDescribedEid } from '../../lisp/described-eid.js'
import type { Locator, OtherLocator, Rloc } from '../../lisp/locator.js'
import type { Action, StructuredMapping } from '../../lisp/mapping.js'
import { encodeMessage, type StructuredMapRequestRecord } from '../../lisp/message.js'
import {
  type DescribedRegistration,
  type DescribedRegistrations,
  unitedRecord,
} from '../../tables/described-registrations.js'
import { usableLocators } from '../../tables/locator-selection.js'
import { createAnswerLimits } from '../answer-limits.js'
import type { Instant } from '../capabilities.js'
import { CONTROL_PORT, endOfPath, isOwnRloc, sendControl, sourceRloc } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import { requiresSecurity } from '../lisp-sec/lisp-sec-requests.js'
import { report } from '../outputs.js'
import { geoPolicies, mayTellPlace, withoutSecretPlaces } from './geo-policy.js'
import {
  type EncapsulatedRequest,
  forwardRequest,
  MAXIMUM_REQUEST_RECORDS,
  MESSAGE_BYTES,
  replyTarget,
  UNKNOWN_EID_TTL_MINUTES,
  UNREGISTERED_EID_TTL_MINUTES,
} from './map-request-answers.js'

export interface DescribedAnswers {
  /** Every record is answered or sent on, or an event says why not. */
  answer(received: EncapsulatedRequest, now: Instant, outputs: Output[]): void
}

export function createDescribedAnswers(
  config: NodeConfig,
  registrations: DescribedRegistrations,
): DescribedAnswers {
  const limits = createAnswerLimits(config)
  const geoAnswers = geoPolicies(config)

  function suppress(reason: string, received: EncapsulatedRequest, outputs: Output[]): void {
    const asked = describedEidOf(received.request.structuredRecords![0]!.eid)!
    report(outputs, 'map-reply-suppressed', 'debug', {
      reason,
      from: formatIpAddress(received.datagram.from),
      eidPrefix: formatDescribedEid(asked),
    })
  }

  function objectionTo({ request, security }: EncapsulatedRequest): string | undefined {
    if (request.rlocProbe) return 'probe-through-mapping-system'
    if (request.itrRlocs.length === 0) return 'no-itr-rloc'
    if (request.doNotReply) return 'do-not-reply'
    if (security !== undefined) return 'no-proof-for-names'
    return requiresSecurity(config) ? 'unprotected' : undefined
  }

  /** What may be said of the matches, and how many did not fit. */
  function stated(matches: readonly DescribedRegistration[], bytes: number) {
    const records: StructuredMapping[] = []
    let left = bytes
    let cut = 0
    for (const match of matches) {
      const answers = geoAnswers(match.site)
      const record = withoutSecretPlaces(unitedRecord(match), answers)
      if (!mayTellPlace(record.eid, answers)) continue
      left -= recordBytes(record)
      if (records.length > 0 && left < 0) cut += 1
      else records.push(record)
    }
    return { records, cut }
  }

  function reply(
    received: EncapsulatedRequest,
    replyTo: Rloc,
    records: readonly StructuredMapping[],
    outputs: Output[],
    cut = 0,
  ): void {
    const form = { kind: 'map-reply', rlocProbe: false, echoNonceCapable: false } as const
    const { nonce } = received.request
    const bytes = encodeMessage({ ...form, nonce, records: [], structuredRecords: records })
    sendControl(config, replyTo, bytes, outputs, received.ecm.innerSourcePort || CONTROL_PORT)
    report(outputs, 'map-reply-sent', cut > 0 ? 'notice' : 'debug', {
      to: formatIpAddress(replyTo),
      eidPrefix: formatDescribedEid(describedEidOf(records[0]!.eid)!),
      records: records.length,
      action: records[0]!.action,
      ...(cut > 0 ? { reason: 'matches-cut', withheld: cut } : {}),
    })
  }

  function toEtr(
    received: EncapsulatedRequest,
    match: DescribedRegistration,
    outputs: Output[],
  ): void {
    const { locators } = unitedRecord(match)
    const sendable = locators.filter((one) => {
      const end = endOfPath(one)
      return sourceRloc(config, end) !== undefined && !isOwnRloc(config, end)
    })
    const usable = usableLocators(sendable)
    const pick = Number(received.request.nonce % BigInt(usable.length || 1))
    const chosen = sendable[usable[pick] ?? -1]
    if (chosen === undefined) suppress('no-usable-locator', received, outputs)
    else forwardRequest(config, received, endOfPath(chosen), outputs)
  }

  function answerRecord(
    received: EncapsulatedRequest,
    asked: StructuredMapRequestRecord,
    replyTo: Rloc,
    now: Instant,
    outputs: Output[],
  ): void {
    const eid = describedEidOf(asked.eid)!
    if (!isWhole(asked, eid)) {
      suppress('bad-mask-length', received, outputs)
      return
    }
    const text = formatDescribedEid(eid)
    if (!limits.take(received.datagram.from, replyTo, text, now)) {
      suppress('rate-limited', received, outputs)
      return
    }
    const matches = registrations.matches(eid)
    const [best] = matches
    if (best === undefined) {
      const isOurs = config.mapServer.sites.some(
        ({ names = [], geo }) =>
          geo?.instanceId === eid.instanceId ||
          names.some(({ prefix }) => prefix.instanceId === eid.instanceId),
      )
      const ttlMinutes = isOurs ? UNREGISTERED_EID_TTL_MINUTES : UNKNOWN_EID_TTL_MINUTES
      reply(received, replyTo, [negative(asked, 'natively-forward', ttlMinutes)], outputs)
      return
    }
    const proxied = matches.filter(({ registrants }) => registrants.some((r) => r.proxyReply))
    if (proxied.length === 0) {
      toEtr(received, best, outputs)
      return
    }
    const { records, cut } = stated(proxied, MESSAGE_BYTES[replyTo.family])
    const denied = negative(asked, 'drop-policy-denied', UNREGISTERED_EID_TTL_MINUTES)
    reply(received, replyTo, records.length === 0 ? [denied] : records, outputs, cut)
  }

  return {
    answer(received, now, outputs) {
      const { request } = received
      const replyTo = replyTarget(config, request.itrRlocs)
      const objection = objectionTo(received)
      if (objection !== undefined || replyTo === undefined) {
        suppress(objection ?? 'no-common-family', received, outputs)
        return
      }
      const asked = request.structuredRecords ?? []
      for (const record of asked.slice(0, MAXIMUM_REQUEST_RECORDS))
        answerRecord(received, record, replyTo, now, outputs)
      if (asked.length > MAXIMUM_REQUEST_RECORDS) suppress('too-many-records', received, outputs)
    },
  }
}

/**
 * RFC 9735 §4: a request for a name asks with the length of the whole of it; the NUL at its end may be
 * counted or not, because the text says "the name string" and its example counts it.
 */
function isWhole({ maskLength }: StructuredMapRequestRecord, eid: DescribedEid): boolean {
  if (eid.kind !== 'name') return true
  const whole = nameMaskLength(eid.name)
  // A mask length is 8 bits: of a name longer than that it can only say "all of it".
  return maskLength === whole || maskLength === whole - 8 || whole > 0xff
}

function negative(
  { eid, maskLength }: StructuredMapRequestRecord,
  action: Action,
  ttlMinutes: number,
): StructuredMapping {
  const terms = { ttlMinutes, action, authoritative: false, mapVersion: 0, locators: [] }
  return { eid, maskLength, ...terms }
}

/** At most so many bytes on the wire. */
function recordBytes({ eid, locators, otherLocators = [] }: StructuredMapping): number {
  const all: readonly (Locator | OtherLocator)[] = [...locators, ...otherLocators]
  return all.reduce((sum, one) => {
    const structure = one.structure === undefined ? 18 : addressBytes(one.structure)
    return sum + 8 + structure
  }, 12 + addressBytes(eid))
}

/** Of an address that came in a message, by the room that its parts take. */
function addressBytes(value: unknown): number {
  if (value instanceof Uint8Array) return value.length + 2
  if (typeof value !== 'object' || value === null) return 4
  return Object.values(value).reduce((sum: number, part) => sum + addressBytes(part), 6)
}
