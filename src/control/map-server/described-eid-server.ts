/**
 * The Map-Server's part in names (RFC 9735) and places (RFC 10040): who registers, what is answered.
 *
 * A name is answered by the longest registered one that it begins with, under its registered length
 * (RFC 9735 §4); a place by every registered one that holds it (RFC 10040 §5), the largest first, as
 * many as fit one message. What a site says of where it is passes its policy (geo-policy.ts). Without
 * the P bit the request goes on to the ETR of the best match.
 *
 * What is kept over a restart stands in described-eid-memory.ts. Choices: they carry no map-version; a
 * late Map-Register waits for its refresh; a subscription (RFC 9437) is answered once, like any question,
 * and nobody is told of changes, because no packet of an ITR is sent by a name: who asks for one asks
 * again when its TTL is over; LISP-SEC proves prefixes of addresses only, so that a protected question
 * about a name is not answered.
 */
import type { NodeConfig, SiteConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type AfiAddress, nameMaskLength } from '../../lisp/afi-address.js'
import { encodeSigned } from '../../lisp/authentication.js'
import {
  coversDescribedEid,
  type DescribedEid,
  describedEidOf,
  formatDescribedEid,
} from '../../lisp/described-eid.js'
import { isUsableRloc } from '../../lisp/locator.js'
import type { StructuredMapping } from '../../lisp/mapping.js'
import type { MapRegister, MapRequest } from '../../lisp/message.js'
import {
  createDescribedRegistrations,
  type DescribedRegistrant,
  type DescribedRegistration,
} from '../../tables/described-registrations.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { sendControl } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import { createRateLimit } from '../rate-limit.js'
import type { DescribedEidView } from '../snapshot.js'
import type { StoredRecord } from '../stored-record.js'
import type { DescribedQuery, TablePage } from '../table-pages.js'
import { createDescribedAnswers } from './described-eid-answers.js'
import {
  describedRecordsToStore,
  describedRemoval,
  restoredRegistrant,
} from './described-eid-memory.js'
import { describedEidPage } from './described-eid-views.js'
import type { DurableOutputs } from './map-notify-outbox.js'
import { lifetimeOf } from './map-register-handling.js'
import type { EncapsulatedRequest } from './map-request-answers.js'
import { type Admission, type Datagram, type RegisterGuard, senderName } from './register-guard.js'

export interface DescribedEidServer {
  /** False when the Map-Register is not about names and places alone. */
  handleRegister(message: MapRegister, datagram: Datagram, now: Instant, outputs: Output[]): boolean
  /** False when nothing but addresses or groups is asked for; else answered, sent on or dropped. */
  handleRequest(received: EncapsulatedRequest, now: Instant, outputs: Output[]): boolean
  /** Takes back what an earlier run stored, behind the nonces; other records are passed over. */
  restore(records: readonly StoredRecord[], now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  readonly size: number
  page(query: DescribedQuery, now: Instant): TablePage<DescribedEidView>
}

/** Our choice: names and places of one Map-Server, some 500 bytes each. */
const MAXIMUM_DESCRIBED = 100_000
/** Our choice: what one site may hold of them. */
const MAXIMUM_DESCRIBED_PER_SITE = 10_000
/** Our choice: every one of them is looked at for a place that is asked for. */
export const MAXIMUM_PLACES_PER_INSTANCE = 4096
/** As for prefixes: more xTRs than this with one name is a fault. */
const MAXIMUM_REGISTRANTS = 16
/** HMACs tried per second for names and places, whosoever: an attacker's datagrams cost no more. */
const TRIALS = { burst: 2000, refillPerSecond: 2000, maximumKeys: 1 }
/** Our choice: up to here any site may register as many places of an instance as it likes. */
const FREE_SHARE = 3 / 4

/** Whether all that the message is about are names and places. */
export function isAboutDescribed({
  records,
  structuredRecords = [],
}: Pick<MapRequest | MapRegister, 'structuredRecords'> & {
  readonly records: readonly unknown[]
}): boolean {
  if (records.length > 0 || structuredRecords.length === 0) return false
  return structuredRecords.every(({ eid }) => describedEidOf(eid) !== undefined)
}

export function createDescribedEidServer(
  config: NodeConfig,
  capabilities: Capabilities,
  guard: RegisterGuard,
): DescribedEidServer {
  const { sites, registrationMs } = config.mapServer
  const registrations = createDescribedRegistrations()
  const trials = createRateLimit(TRIALS)
  const answers = createDescribedAnswers(config, registrations)

  function rejected(reason: string, datagram: Datagram, eid: AfiAddress, outputs: Output[]): void {
    const there = describedEidOf(eid)
    report(outputs, 'map-register-rejected', reason === 'repeated' ? 'debug' : 'warning', {
      reason,
      from: formatIpAddress(datagram.from),
      eidPrefix: there === undefined ? undefined : formatDescribedEid(there),
    })
  }

  function admit(message: MapRegister, datagram: Datagram, now: Instant): Admission {
    // As for prefixes the first record says whose keys to try; places may be of several sites.
    const first = describedEidOf(message.structuredRecords![0]!.eid)!
    const candidates = sites.filter((site) => mayRegister(site, first))
    if (candidates.length === 0)
      return { ok: false, reason: 'prefix-not-configured', site: undefined }
    const tried = candidates.filter(() => trials.take('', now))
    const admission = guard.admitFrom(tried, message, datagram)
    if (!admission.ok) return admission
    const isForeign = message.structuredRecords!.some(
      ({ eid }) => ownerOf(sites, describedEidOf(eid)!, admission.site) !== admission.site,
    )
    if (isForeign) return { ok: false, reason: 'prefix-not-allowed', site: admission.site.name }
    return admission
  }

  /** Why this record cannot be kept; undefined when it can. */
  function objection(record: StructuredMapping, eid: DescribedEid, site: SiteConfig) {
    // RFC 9735 §3: the mask length counts the bits of the name and of its NUL.
    const isShort = eid.kind === 'name' && record.maskLength !== nameMaskLength(eid.name)
    if (isShort) return 'bad-mask-length'
    if (registrations.exact(eid, site.name) !== undefined) return undefined
    if (registrations.size >= MAXIMUM_DESCRIBED) return 'too-many-registrations'
    if (registrations.ofSite(site.name) >= MAXIMUM_DESCRIBED_PER_SITE)
      return 'too-many-of-this-site'
    return eid.kind === 'place' ? noRoomFor(eid.instanceId, site) : undefined
  }

  function noRoomFor(instanceId: number, site: SiteConfig): string | undefined {
    const places = registrations.placesIn(instanceId)
    if (places >= MAXIMUM_PLACES_PER_INSTANCE) return 'too-many-places'
    // What is left when it gets tight is for sites that have less than an equal share.
    if (places < MAXIMUM_PLACES_PER_INSTANCE * FREE_SHARE) return undefined
    const sharing = sites.filter(({ geo }) => geo?.instanceId === instanceId).length
    const share = MAXIMUM_PLACES_PER_INSTANCE / sharing
    return registrations.placesOf(site.name) >= share ? 'too-many-of-this-site' : undefined
  }

  /** Puts it into the table; what the store has to learn of it goes into `durable`. */
  function put(after: DescribedRegistration, durable: DurableOutputs): void {
    const before = registrations.exact(after.eid, after.site)
    const records = describedRecordsToStore(before, after)
    registrations.put(after)
    if (records.length === 0) return
    // A former owner's refresh that is sent again after a restart must not count.
    const senders = [...(before?.registrants ?? []), ...after.registrants].map((one) =>
      senderName(after.site, one.owner, one.keyId),
    )
    durable.records.push(...records, ...guard.durableNonces(new Set(senders)))
  }

  /** Keeps, renews or withdraws one record; false when it was refused. */
  function apply(
    record: StructuredMapping,
    about: Registering,
    outputs: Output[],
    durable: DurableOutputs,
  ): boolean {
    const { message, datagram, now, owner, site } = about
    const eid = describedEidOf(record.eid)!
    const reason = objection(record, eid, site)
    if (reason !== undefined) {
      rejected(reason, datagram, record.eid, outputs)
      return false
    }
    const before = registrations.exact(eid, site.name)?.registrants ?? []
    const others = before.filter((one) => one.owner !== owner)
    const event = { site: site.name, owner, eidPrefix: formatDescribedEid(eid) }
    if (record.ttlMinutes === 0) {
      put({ eid, site: site.name, registrants: others }, durable)
      if (others.length < before.length)
        report(durable.then, 'registration-removed', 'info', { ...event, reason: 'withdrawn' })
      return true
    }
    const registrant: DescribedRegistrant = {
      owner,
      source: datagram.from,
      keyId: about.keyId,
      record: { ...record, locators: record.locators.filter(({ rloc }) => isUsableRloc(rloc)) },
      proxyReply: message.proxyReply,
      expiresAt: now + lifetimeOf(config, message, record),
    }
    // RFC 9301 §5.6, a bit: locator-sets are united only where it is asked for.
    const kept = message.mergeRequest ? others.slice(-(MAXIMUM_REGISTRANTS - 1)) : []
    put({ eid, site: site.name, registrants: [...kept, registrant] }, durable)
    if (before.length === 0) report(durable.then, 'registration-added', 'info', event)
    return true
  }

  function acknowledge(
    message: MapRegister,
    datagram: Datagram,
    admission: Extract<Admission, { ok: true }>,
    records: readonly StructuredMapping[],
    outputs: Output[],
  ): void {
    if (!message.wantMapNotify || records.length === 0) return
    const { nonce, keyId, algorithm, authenticationData } = message
    const header = { nonce, keyId, algorithm, authenticationData, identity: undefined }
    const notify = {
      kind: 'map-notify',
      ...header,
      records: [],
      structuredRecords: records,
    } as const
    const bytes = encodeSigned(notify, admission.key, capabilities.hmac)
    sendControl(config, datagram.from, bytes, outputs)
  }

  /** Puts a stored registrant back, or has it forgotten when it is not its site's any more. */
  function takeBack(record: StoredDescribed, now: Instant, durable: DurableOutputs): void {
    const found = restoredRegistrant(record, now + registrationMs)
    const site = sites.find(({ name }) => name === record.site)
    if (found === undefined || site === undefined || ownerOf(sites, found.eid, site) !== site) {
      const { site, name, owner } = record
      durable.records.push({ kind: 'described-registration-removed', site, name, owner })
      const reason = 'no-longer-configured'
      report(durable.then, 'registration-removed', 'info', { reason, eidPrefix: name, site, owner })
      return
    }
    const { eid, registrant } = found
    const beside = registrations.exact(eid, site.name)?.registrants ?? []
    registrations.put({ eid, site: site.name, registrants: [...beside, registrant] })
  }

  return {
    handleRegister(message, datagram, now, outputs) {
      if (!isAboutDescribed(message)) return false
      const records = message.structuredRecords ?? []
      const admission = admit(message, datagram, now)
      const refusal = !admission.ok ? admission.reason : admission.late ? 'overtaken' : undefined
      if (!admission.ok || refusal !== undefined) {
        rejected(refusal!, datagram, records[0]!.eid, outputs)
        return true
      }
      if (admission.repeated) {
        rejected('repeated', datagram, records[0]!.eid, outputs)
        acknowledge(message, datagram, admission, records, outputs)
        return true
      }
      guard.accept(admission, message)
      const { owner, site, key } = admission
      const about = { message, datagram, now, owner, site, keyId: key.keyId }
      const durable: DurableOutputs = { records: [], then: [] }
      const kept = records.filter((record) => apply(record, about, outputs, durable))
      acknowledge(message, datagram, admission, kept, durable.then)
      if (durable.records.length === 0) outputs.push(...durable.then)
      else outputs.push({ kind: 'persist', ...durable })
      return true
    },
    handleRequest(received, now, outputs) {
      if (!isAboutDescribed(received.request)) return false
      answers.answer(received, now, outputs)
      return true
    },
    restore(records, now, outputs) {
      const durable: DurableOutputs = { records: [], then: [] }
      for (const record of records)
        if (record.kind === 'described-registration') takeBack(record, now, durable)
      if (durable.records.length > 0) outputs.push({ kind: 'persist', ...durable })
    },
    handleDeadline(now, outputs) {
      const durable: DurableOutputs = { records: [], then: [] }
      for (const { eid, owner, site } of registrations.takeDue(now)) {
        const eidPrefix = formatDescribedEid(eid)
        durable.records.push(describedRemoval(eid, site, owner))
        report(durable.then, 'registration-expired', 'notice', { eidPrefix, site, owner })
      }
      if (durable.records.length > 0) outputs.push({ kind: 'persist', ...durable })
    },
    deadline: () => registrations.nextExpiry(),
    get size() {
      return registrations.size
    },
    page: (query, now) => describedEidPage(registrations, query, now),
  }
}

interface Registering {
  readonly message: MapRegister
  readonly datagram: Datagram
  readonly now: Instant
  readonly owner: string
  readonly site: SiteConfig
  readonly keyId: number
}

type StoredDescribed = Extract<StoredRecord, { readonly kind: 'described-registration' }>

function mayRegister(site: SiteConfig, eid: DescribedEid): boolean {
  if (eid.kind === 'place') return site.geo?.instanceId === eid.instanceId
  return (site.names ?? []).some(({ prefix }) => coversDescribedEid(prefix, eid))
}

/** Whose an EID is: the longest configured name decides; of a place whoever says it is its own. */
function ownerOf(
  sites: readonly SiteConfig[],
  eid: DescribedEid,
  claimant: SiteConfig,
): SiteConfig | undefined {
  if (eid.kind === 'place') return mayRegister(claimant, eid) ? claimant : undefined
  let owner: SiteConfig | undefined
  let longest = -1
  for (const site of sites)
    for (const { prefix } of site.names ?? []) {
      if (prefix.name.length <= longest || !coversDescribedEid(prefix, eid)) continue
      longest = prefix.name.length
      owner = site
    }
  return owner
}
