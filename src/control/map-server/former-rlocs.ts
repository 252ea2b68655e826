/**
 * Who is told that an EID-prefix has another locator-set: every RLOC of the former one that is not
 * the new registrant's (RFC 9301 §5.7, unsolicited Map-Notify).
 *
 * Who still has to acknowledge is stored with the change itself: a former owner that was never told
 * would go on with refreshes of the null version, and these, to a Map-Server that has forgotten that
 * it owes a Map-Notify, are claims like any other (RFC 9301 §5.6 orders by arrival). After a restart
 * the same RLOCs are told again, from the registration as it stands then.
 */
import type { SiteConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type AuthenticationKey, authenticationLength } from '../../lisp/authentication.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { Registrations } from '../../tables/registrations.js'
import type { Instant } from '../capabilities.js'
import type { StoredRecord } from '../stored-record.js'
import type { DurableOutputs, MapNotifyOutbox, PendingNotify } from './map-notify-outbox.js'
import {
  AUTHENTICATION_BYTES,
  MESSAGE_BYTES,
  recordBytes,
  statedMapping,
} from './map-request-answers.js'
import type { RegisterGuard } from './register-guard.js'
import type { RegistrationChange } from './registration-events.js'

/** What of a Map-Server is needed to tell. */
export interface Teller {
  readonly registrations: Registrations
  readonly guard: RegisterGuard
  readonly outbox: MapNotifyOutbox
}

/** By whom and when the prefixes were taken. */
export interface Claim {
  /** RLOCs at which the registrant itself is, as text: it is answered and not told. */
  readonly own: ReadonlySet<string>
  readonly site: SiteConfig
  readonly now: Instant
}

/** One message per RLOC with all that one Map-Register has changed. */
export function tellFormerRlocs(
  { outbox }: Teller,
  changes: readonly RegistrationChange[],
  { own, site, now }: Claim,
  durable: DurableOutputs,
): void {
  const notices = new Map<string, FormerRloc>()
  for (const { eidPrefix, before, after } of changes) {
    outbox.supersede(eidPrefix)
    if (before === undefined || after === undefined) continue
    if (before.mapVersion === after.mapVersion) continue
    const mapping = statedMapping(after)
    for (const registrant of before.registrants) {
      const { owner, keyId } = registrant
      const key = keyOf(site, keyId)
      const bytes = registrant.authenticationLength
      const source = { rloc: registrant.source, local: true }
      for (const { rloc, local } of [source, ...registrant.locators]) {
        const name = formatIpAddress(rloc)
        if (own.has(name)) continue
        note(notices, name, { rloc, home: local, owner, key, bytes, records: [mapping] })
      }
    }
  }
  announceAll(outbox, notices, now, durable)
}

/**
 * Takes back who had not acknowledged when the last run ended, and tells them what is registered
 * now. Needs the registrations to be restored; what is registered no more needs not be told.
 */
export function tellAgain(
  { registrations, guard, outbox }: Teller,
  records: readonly StoredRecord[],
  now: Instant,
  durable: DurableOutputs,
): void {
  const notices = new Map<string, FormerRloc>()
  for (const record of records) {
    if (record.kind !== 'pending-notify') continue
    outbox.restorePending(record)
    const registration = registrations.exact(record.eidPrefix)
    const site = guard.sitePrefix(record.eidPrefix)?.site
    if (registration === undefined || site === undefined) continue
    const { owner, keyId } = record
    const key = keyOf(site, keyId)
    const bytes = authenticationLength(key.algorithm)
    const mapping = statedMapping(registration)
    for (const [home, rlocs] of rlocsOf(record))
      for (const rloc of rlocs) {
        // Of all sites: one RLOC may be known to two of them, under different keys.
        const name = [site.name, keyId, owner, formatIpAddress(rloc)].join(' ')
        note(notices, name, { rloc, home, owner, key, bytes, records: [mapping] })
      }
  }
  announceAll(outbox, notices, now, durable)
  durable.records.push(...outbox.recordsToStore())
}

function rlocsOf(record: PendingNotify): readonly [home: boolean, rlocs: readonly Rloc[]][] {
  return [
    [true, record.homeRlocs],
    [false, record.otherRlocs],
  ]
}

interface FormerRloc {
  readonly rloc: Rloc
  /** The registrant's own: where it registered from, or a locator with L bit. */
  readonly home: boolean
  readonly owner: string
  readonly key: AuthenticationKey
  /** Length of the authentication data. */
  readonly bytes: number
  readonly records: Mapping[]
}

function note(notices: Map<string, FormerRloc>, name: string, about: FormerRloc): void {
  const known = notices.get(name)
  const mapping = about.records[0]!
  if (known === undefined) notices.set(name, about)
  else if (known.records.at(-1) !== mapping) known.records.push(mapping)
}

function announceAll(
  outbox: MapNotifyOutbox,
  notices: ReadonlyMap<string, FormerRloc>,
  now: Instant,
  durable: DurableOutputs,
): void {
  for (const { rloc, home, owner, key, bytes, records } of notices.values()) {
    for (const batch of batchesOf(records, rloc)) {
      const notice = { target: rloc, owner, home, key, authenticationLength: bytes, records: batch }
      outbox.announce(notice, now, durable)
    }
  }
}

function keyOf(site: SiteConfig, keyId: number): AuthenticationKey {
  const named = site.keys.find((key) => key.keyId === keyId)
  // Key ID 0 of a peer that has no key IDs: it shall read 0 in what we send it, too.
  return named ?? (keyId === 0 ? { ...site.keys[0]!, keyId } : site.keys[0]!)
}

/** Records in portions that fit one message to `to`; a record too large for any goes alone. */
function batchesOf(records: readonly Mapping[], to: Rloc): Mapping[][] {
  const batches: Mapping[][] = []
  let left = 0
  for (const record of records) {
    const bytes = recordBytes(record)
    if (bytes > left) {
      batches.push([])
      left = MESSAGE_BYTES[to.family] - AUTHENTICATION_BYTES
    }
    batches.at(-1)!.push(record)
    left -= bytes
  }
  return batches
}
