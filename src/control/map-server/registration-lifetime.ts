/**
 * Registrations between the table and the store: what is written, taken back, and given up in time.
 *
 * In the store every registrant of a prefix is one record; a record with TTL 0 is a retired version
 * (nobody registers the prefix, but the version that a later register must exceed is known, for a
 * day). Refreshes are not written, so a stored expiry is old news: what was not removed when the
 * last run ended gets one whole registration time in which its xTR can refresh it.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { authenticationLength } from '../../lisp/authentication.js'
import { type EidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import { isNewerMapVersion, nextMapVersion } from '../../lisp/map-version.js'
import {
  type Registrant,
  type Registration,
  type Registrations,
  type RetiredVersion,
  registrationOf,
} from '../../tables/registrations.js'
import type { Instant } from '../capabilities.js'
import type { Output } from '../input-output.js'
import type { StoredRecord } from '../stored-record.js'
import type { RegisterGuard } from './register-guard.js'
import { removed } from './registration-events.js'

/** Our choice: a register that comes a day late is no longer a matter of messages on the way. */
export const VERSION_MEMORY_MS = 24 * 3_600_000
/** Bounds one deadline; what is left is due again at once. */
export const MAXIMUM_EXPIRED_AT_ONCE = 1000

type StoredRegistration = Extract<StoredRecord, { readonly kind: 'registration' }>

/**
 * What to write so that the store says of `eidPrefix` what the table says now. `formerOwners` are
 * those of whom the store may hold a record.
 */
export function recordsToStore(
  registrations: Registrations,
  eidPrefix: EidPrefix,
  formerOwners: Iterable<string>,
): StoredRecord[] {
  const registration = registrations.exact(eidPrefix)
  const retired = registrations.retired(eidPrefix)
  const current =
    registration !== undefined
      ? registration.registrants.map((registrant) => storedRegistrant(registration, registrant))
      : retired !== undefined
        ? [storedVersion(retired)]
        : []
  const owners = new Set(current.map(({ owner }) => owner))
  const superfluous: StoredRecord[] = []
  for (const owner of new Set(formerOwners)) {
    if (!owners.has(owner)) superfluous.push({ kind: 'registration-removed', eidPrefix, owner })
  }
  return [...superfluous, ...current]
}

/** Puts a stored record back, or removes it from the store when no site has the prefix any more. */
export function restoreRegistration(
  record: StoredRegistration,
  into: {
    readonly config: NodeConfig
    readonly registrations: Registrations
    readonly guard: RegisterGuard
  },
  now: Instant,
  outputs: Output[],
): void {
  const { registrations, guard, config } = into
  const { eidPrefix, site, owner, mapVersion } = record
  const configured = guard.sitePrefix(eidPrefix)
  const isHost = configured?.eidPrefix.maskLength !== eidPrefix.maskLength
  const allowed = configured?.site.name === site && (configured.acceptMoreSpecifics || !isHost)
  const source = record.ownerRlocs[0] ?? record.locators[0]?.rloc
  const key = guard.keyOf(site, owner)
  if (record.ttlMinutes === 0 && allowed) {
    const forgetAt = record.expiresAt
    registrations.retire({ eidPrefix, site, owner, nonce: 0n, mapVersion, forgetAt })
    return
  }
  if (!allowed || key === undefined || source === undefined) {
    const records = [{ kind: 'registration-removed', eidPrefix, owner } as const]
    const why = removed(eidPrefix, site, owner, 'no-longer-configured')
    outputs.push({ kind: 'persist', records, then: [why] })
    return
  }
  const registrant: Registrant = {
    owner,
    source,
    locators: record.locators,
    action: record.action,
    ttlMinutes: record.ttlMinutes,
    proxyReply: record.proxyReply,
    wantMapNotify: record.wantMapNotify,
    securityCapable: record.securityCapable ?? false,
    keyId: key.keyId,
    authenticationLength: authenticationLength(key.algorithm),
    nonce: 0n,
    registeredAt: now,
    expiresAt: Math.max(record.expiresAt, now + config.mapServer.registrationMs),
  }
  const beside = registrations.exact(eidPrefix)
  const version =
    beside !== undefined && isNewerMapVersion(beside.mapVersion, mapVersion)
      ? beside.mapVersion
      : mapVersion
  const about = {
    eidPrefix,
    site,
    mapVersion: version,
    merge: record.merge || beside !== undefined,
  }
  registrations.put(registrationOf(about, [...(beside?.registrants ?? []), registrant]))
}

/**
 * Retires what was not refreshed, forgets old versions; at most `MAXIMUM_EXPIRED_AT_ONCE` of them.
 * Returns the prefixes of which something else is true now.
 */
export function expireRegistrations(
  registrations: Registrations,
  now: Instant,
  outputs: Output[],
): EidPrefix[] {
  const changed: EidPrefix[] = []
  const records: StoredRecord[] = []
  const then: Output[] = []
  for (let count = 0; count < MAXIMUM_EXPIRED_AT_ONCE; count += 1) {
    const due = registrations.takeDue(now)
    if (due === undefined) break
    if ('retired' in due) {
      const { eidPrefix, site, owner } = due.retired
      records.push({ kind: 'registration-removed', eidPrefix, owner })
      then.push(removed(eidPrefix, site, owner, 'version-forgotten'))
    } else {
      expire(due.registration, registrations, now, then)
      changed.push(due.registration.eidPrefix)
      const owners = due.registration.registrants.map(({ owner }) => owner)
      records.push(...recordsToStore(registrations, due.registration.eidPrefix, owners))
    }
  }
  if (records.length > 0) outputs.push({ kind: 'persist', records, then })
  return changed
}

function expire(
  registration: Registration,
  registrations: Registrations,
  now: Instant,
  then: Output[],
): void {
  const { eidPrefix, site, mapVersion } = registration
  const alive = registration.registrants.filter((registrant) => registrant.expiresAt > now)
  const gone = registration.registrants.filter((registrant) => registrant.expiresAt <= now)
  if (alive.length > 0) {
    const about = { ...registration, mapVersion: nextMapVersion(mapVersion) }
    registrations.put(registrationOf(about, alive))
  } else {
    const { owner } = gone.at(-1)!
    const forgetAt = now + VERSION_MEMORY_MS
    registrations.retire({ eidPrefix, site, owner, nonce: 0n, mapVersion, forgetAt })
  }
  for (const { owner } of gone) {
    const prefix = formatEidPrefix(eidPrefix)
    const event = { name: 'registration-expired', severity: 'notice' } as const
    then.push({
      kind: 'event',
      event: { ...event, eidPrefix: prefix, site, owner, merged: alive.length > 0 },
    })
  }
}

function storedRegistrant(registration: Registration, registrant: Registrant): StoredRegistration {
  return {
    kind: 'registration',
    site: registration.site,
    eidPrefix: registration.eidPrefix,
    owner: registrant.owner,
    ownerRlocs: [registrant.source],
    mapVersion: registration.mapVersion,
    locators: registrant.locators,
    action: registrant.action,
    ttlMinutes: registrant.ttlMinutes,
    proxyReply: registrant.proxyReply,
    wantMapNotify: registrant.wantMapNotify,
    ...(registrant.securityCapable === true ? { securityCapable: true } : {}),
    merge: registration.merge,
    expiresAt: registrant.expiresAt,
  }
}

function storedVersion(version: RetiredVersion): StoredRegistration {
  return {
    kind: 'registration',
    site: version.site,
    eidPrefix: version.eidPrefix,
    owner: version.owner,
    ownerRlocs: [],
    mapVersion: version.mapVersion,
    locators: [],
    action: 'no-action',
    ttlMinutes: 0,
    proxyReply: false,
    wantMapNotify: false,
    merge: false,
    expiresAt: version.forgetAt,
  }
}
