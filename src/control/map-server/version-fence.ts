/**
 * Whether a registered record may change what the Map-Server holds: the fence around ownership.
 *
 * Concept: every registration has one owner and a Map-Version (RFC 9302). Nonces order the messages of
 * one xTR; they say nothing about two xTRs that both claim an EID. The version does: a claim must be
 * newer than what it replaces, so that a late refresh of the xTR that an EID has left cannot take the
 * EID back. A null version (0) claims by order of arrival, as plain RFC 9301 does.
 *
 * Deviation: RFC 9302 §5 has an old version dropped silently; we refuse and let the sender know,
 * because the loser of a race must learn where its EID went. This file decides about one record and
 * changes nothing; authentication and prefixes were checked before.
 */
import { equalLocatorSets } from '../../lisp/locator.js'
import { isNewerMapVersion, nextMapVersion } from '../../lisp/map-version.js'
import type { Mapping } from '../../lisp/mapping.js'
import {
  MAXIMUM_LOCATORS,
  MAXIMUM_MERGED_REGISTRANTS,
  type Registration,
  type RetiredVersion,
} from '../../tables/registrations.js'

export type Verdict =
  /** Nothing changes but the moment of expiry. */
  | { readonly kind: 'refresh' }
  /** The sender's own part is replaced (or added to those merged) under this version. */
  | { readonly kind: 'store'; readonly mapVersion: number }
  /** The sender becomes the one owner. */
  | { readonly kind: 'claim'; readonly mapVersion: number }
  | { readonly kind: 'withdraw' }
  /** A withdrawal of something that is not the sender's: nothing happens. */
  | { readonly kind: 'ignore'; readonly reason: 'withdrawn-by-other' | 'not-registered' }
  | { readonly kind: 'refuse'; readonly reason: RefusalReason }

export type RefusalReason =
  | 'version-not-newer'
  | 'stale-until-notified'
  | 'too-many-registrants'
  | 'too-many-locators'

/** A record and all that its verdict depends on. */
export interface RecordInQuestion {
  /** Its locators sorted. */
  readonly record: Mapping
  /** xTR-ID in hex or source RLOC. */
  readonly owner: string
  /** a bit. */
  readonly merge: boolean
  readonly proxyReply: boolean
  readonly wantMapNotify: boolean
  readonly securityCapable?: boolean
  readonly registration: Registration | undefined
  readonly retired: RetiredVersion | undefined
  /** False where the site's nonces need not rise and so do not order one sender's messages. */
  readonly noncesRise: boolean
  /** The sender lost this prefix and has not yet acknowledged the Map-Notify that says so. */
  readonly notifyUnacknowledged: boolean
  /** Draws the first version of a prefix, 1–4095 (RFC 9302 §6: at random). */
  readonly firstVersion: () => number
}

/** The verdict on one record; never throws. */
export function judgeRecord(question: RecordInQuestion): Verdict {
  const { record, registration, retired } = question
  const withdraws = record.ttlMinutes === 0 || (question.merge && record.locators.length === 0)
  if (withdraws) return judgeWithdrawal(question)
  if (record.locators.length > MAXIMUM_LOCATORS) {
    return { kind: 'refuse', reason: 'too-many-locators' }
  }
  if (registration === undefined) {
    if (retired === undefined) {
      return { kind: 'claim', mapVersion: record.mapVersion || question.firstVersion() }
    }
    return retired.owner === question.owner
      ? { kind: 'claim', mapVersion: newerOf(record.mapVersion, retired.mapVersion) }
      : judgeClaim(question, retired.mapVersion)
  }
  const own = registration.registrants.find((r) => r.owner === question.owner)
  if (own !== undefined && (question.merge || registration.registrants.length === 1)) {
    return judgeOwner(question, registration)
  }
  if (own === undefined && question.merge && registration.merge) {
    return judgeJoin(question, registration)
  }
  // Two ETRs of one site may both register the whole set (RFC 9301 §8.2 with P=1): a record that says
  // what already stands keeps it alive and takes it from nobody.
  const agrees =
    !registration.merge &&
    (record.mapVersion === 0 || record.mapVersion === registration.mapVersion) &&
    record.locators.length > 0 &&
    equalLocatorSets(record.locators, registration.locators)
  if (agrees) return { kind: 'refresh' }
  return judgeClaim(question, registration.mapVersion)
}

function judgeWithdrawal(question: RecordInQuestion): Verdict {
  const { registration, owner } = question
  if (registration === undefined) return { kind: 'ignore', reason: 'not-registered' }
  return registration.registrants.some((registrant) => registrant.owner === owner)
    ? { kind: 'withdraw' }
    : { kind: 'ignore', reason: 'withdrawn-by-other' }
}

/**
 * Whether a message that a later one of its sender has overtaken comes too late for this prefix. It
 * may speak of what is the sender's alone, if the sender has not spoken of it since, and of what is
 * nobody's; held back by somebody, it must not take anything from who came later.
 */
export function isTooLate(
  owner: string,
  nonce: bigint,
  registration: Registration | undefined,
  retired: RetiredVersion | undefined,
): boolean {
  const before = [retired, ...(registration?.registrants ?? [])]
  return before.some((one) => one !== undefined && (one.owner !== owner || one.nonce > nonce))
}

function judgeClaim(question: RecordInQuestion, current: number): Verdict {
  const { mapVersion } = question.record
  if (mapVersion === 0) {
    return question.notifyUnacknowledged
      ? { kind: 'refuse', reason: 'stale-until-notified' }
      : { kind: 'claim', mapVersion: nextMapVersion(current) }
  }
  return isNewerMapVersion(mapVersion, current)
    ? { kind: 'claim', mapVersion }
    : { kind: 'refuse', reason: 'version-not-newer' }
}

function judgeOwner(question: RecordInQuestion, registration: Registration): Verdict {
  const { record } = question
  const current = registration.mapVersion
  if (isNewerMapVersion(record.mapVersion, current))
    return { kind: 'store', mapVersion: record.mapVersion }
  const older = record.mapVersion !== 0 && record.mapVersion !== current
  // Where nonces rise, a later message of the owner itself is later, whatever version it remembers.
  if (older && !question.noncesRise) return { kind: 'refuse', reason: 'version-not-newer' }
  const own = registration.registrants.find((registrant) => registrant.owner === question.owner)!
  const sameMapping =
    equalLocatorSets(record.locators, own.locators) &&
    (record.locators.length > 0 || record.action === own.action)
  // RFC 9302 §6: a mapping that has changed carries another version.
  if (!sameMapping) return { kind: 'store', mapVersion: nextMapVersion(current) }
  const sameTerms =
    record.ttlMinutes === own.ttlMinutes &&
    question.proxyReply === own.proxyReply &&
    question.wantMapNotify === own.wantMapNotify &&
    (question.securityCapable ?? false) === (own.securityCapable ?? false) &&
    question.merge === registration.merge
  return sameTerms ? { kind: 'refresh' } : { kind: 'store', mapVersion: current }
}

function judgeJoin(question: RecordInQuestion, registration: Registration): Verdict {
  if (registration.registrants.length >= MAXIMUM_MERGED_REGISTRANTS) {
    return { kind: 'refuse', reason: 'too-many-registrants' }
  }
  if (registration.locators.length + question.record.locators.length > MAXIMUM_LOCATORS) {
    return { kind: 'refuse', reason: 'too-many-locators' }
  }
  return {
    kind: 'store',
    mapVersion: newerOf(question.record.mapVersion, registration.mapVersion),
  }
}

/** The version told if it is newer than the current one, else the one after the current. */
function newerOf(told: number, current: number): number {
  return isNewerMapVersion(told, current) ? told : nextMapVersion(current)
}
