/**
 * The Map-Server: accepts registrations, says who owns which EID-prefix, and tells those who lost one.
 *
 * This file is the role as the node sees it; what a Map-Register does stands in
 * map-register-handling.ts, how a Map-Request is answered in map-request-answers.ts.
 *
 * Supported standards: RFC 9301 §5.6, §5.7, §8.2, §8.3, §8.4; RFC 9302 §6 (versions);
 * RFC 9437 (publisher.ts); RFC 9303 §6.7 (map-request-answers.ts, lisp-sec-requests.ts).
 * Deviations: an old version is refused with a Map-Notify that carries the present mapping (RFC 9302
 * §5 drops it silently); a Map-Register repeated with its nonce is answered but not applied, else an
 * ETR that missed the Map-Notify could not learn its fate (RFC 9301 §5.6 drops it).
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type EidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import type {
  EncapsulatedControl,
  MapNotifyAck,
  MapRegister,
  MapReply,
  MapRequest,
} from '../../lisp/message.js'
import {
  createRegistrations,
  type Registration,
  type Registrations,
} from '../../tables/registrations.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { earliest } from '../deadlines.js'
import type { Output } from '../input-output.js'
import type { ProtectedRequest } from '../lisp-sec/lisp-sec-requests.js'
import { createGroupServer } from '../multicast/group-server.js'
import type { GroupCounts } from '../multicast/group-table.js'
import type { GroupView } from '../multicast/group-views.js'
import type { RegistrationView, SiteView, SubscriptionView } from '../snapshot.js'
import type { StoredRecord } from '../stored-record.js'
import { pageOf, type TablePage, type TableQuery } from '../table-pages.js'
import { createDescribedEidServer, type DescribedEidServer } from './described-eid-server.js'
import { tellAgain } from './former-rlocs.js'
import { createMapNotifyOutbox, type DurableOutputs } from './map-notify-outbox.js'
import { handleRegister } from './map-register-handling.js'
import { createMapRequestAnswers, type Standing } from './map-request-answers.js'
import { createPublisher, type Publisher } from './publisher.js'
import { createRegisterGuard, type Datagram } from './register-guard.js'
import { expireRegistrations, restoreRegistration } from './registration-lifetime.js'
import { restoredSpeaker } from './subscription-admission.js'

export interface MapServer {
  handleRegister(message: MapRegister, datagram: Datagram, now: Instant, outputs: Output[]): void
  handleNotifyAck(message: MapNotifyAck, datagram: Datagram, now: Instant, outputs: Output[]): void
  /** True when it answers a question of ours: a probe of a relay. */
  handleReply(reply: MapReply, now: Instant, outputs: Output[]): boolean
  /**
   * A Map-Request that came in an ECM. False when the prefix is registered by an ETR on this very
   * node without proxy reply: that ETR is to answer. Else it was answered, forwarded or suppressed.
   */
  handleRequest(
    request: MapRequest,
    ecm: EncapsulatedControl,
    datagram: Datagram,
    now: Instant,
    outputs: Output[],
    viaResolver?: boolean,
    security?: ProtectedRequest,
  ): boolean
  /** What a DDT query about the prefix is told (RFC 8111 §7.2); undefined outside all sites. */
  standingOf(asked: EidPrefix): Standing | undefined
  /** Whether one of the configured sites covers the prefix. */
  isResponsibleFor(eidPrefix: EidPrefix): boolean
  /** Takes back what an earlier run stored; records of other roles are passed over. */
  restore(records: readonly StoredRecord[], now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  /** One view per registrant: merged prefixes have several. */
  registrationViews(now: Instant): RegistrationView[]
  siteViews(): SiteView[]
  subscriptionViews(now: Instant): SubscriptionView[]
  groupViews(): GroupView[]
  groupCounts(): GroupCounts
  subscriptionCounts: Publisher['counts']
  /** Prefixes with registrants; `registrationPage` by prefix, whole prefixes only. */
  registrationCount(): number
  registrationPage(query: TableQuery, now: Instant): TablePage<RegistrationView>
  /** Names and places. */
  readonly described: Pick<DescribedEidServer, 'size' | 'page'>
}

/** Our choice: how long nonces of refreshes may wait to be written; see register-guard.ts. */
const NONCE_FLUSH_MS = 10_000

export function createMapServer(config: NodeConfig, capabilities: Capabilities): MapServer {
  const registrations = createRegistrations()
  const guard = createRegisterGuard(config, capabilities.hmac)
  const outbox = createMapNotifyOutbox(config, capabilities.hmac)
  const answers = createMapRequestAnswers(config, registrations, guard, () => publisher)
  const publisher: Publisher = createPublisher(config, capabilities.hmac, {
    registrations,
    answerFor: answers.signedAnswer,
  })
  const { admission } = publisher
  const groups = createGroupServer(config, capabilities, {
    guard,
    outbox,
    registrations,
    admission,
  })
  const described = createDescribedEidServer(config, capabilities, guard)
  const listening: Publisher = {
    ...publisher,
    changed(eidPrefix, now, outputs, later) {
      publisher.changed(eidPrefix, now, outputs, later)
      groups.sourceChanged(eidPrefix, now, outputs)
    },
  }
  const state = { config, capabilities, registrations, guard, outbox, publisher: listening }
  let flushAt: Instant | undefined

  return {
    handleRegister(message, datagram, now, outputs) {
      const aboutGroups = message.records.length === 0 && message.structuredRecords !== undefined
      const taken = described.handleRegister(message, datagram, now, outputs)
      if (aboutGroups && !taken) groups.handleRegister(message, datagram, now, outputs)
      else if (!taken) handleRegister(state, message, datagram, now, outputs)
      if (guard.dirtyCount > 0) flushAt ??= now + NONCE_FLUSH_MS
    },
    handleNotifyAck(message, datagram, now, outputs) {
      if (publisher.handleAck(message, datagram, now, outputs)) return
      const group = outbox.handleAck(message, datagram, outputs)
      if (group !== undefined) groups.acknowledged(group, now, outputs)
    },
    handleReply: groups.handleReply,
    handleRequest(request, ecm, datagram, now, outputs, viaResolver = false, security) {
      const received = { request, ecm, datagram, viaResolver, security }
      if (groups.handleRequest(received, now, outputs)) return true
      if (described.handleRequest(received, now, outputs)) return true
      return answers.answer(received, now, outputs)
    },
    standingOf: (asked) => answers.standingOf(asked),
    isResponsibleFor: (eidPrefix) => guard.sitePrefix(eidPrefix) !== undefined,

    restore(records, now, outputs) {
      // Nonces first: they tell with which key each owner spoke.
      for (const record of records) {
        if (record.kind === 'last-nonce') guard.restore(record)
        if (record.kind === 'reservation') outbox.restore(record)
      }
      for (const record of records) {
        if (record.kind !== 'registration') continue
        restoreRegistration(record, state, now, outputs)
        const speaker = restoredSpeaker(record, guard.keyOf(record.site, record.owner))
        if (speaker !== undefined) publisher.heard(speaker)
      }
      for (const record of records) {
        if (record.kind === 'subscription') publisher.restore(record, now)
      }
      publisher.open(now)
      groups.restore(records, now)
      described.restore(records, now, outputs)
      const again: DurableOutputs = { records: [outbox.open(now)], then: [] }
      tellAgain(state, records, now, again)
      outputs.push({ kind: 'persist', ...again })
    },
    handleDeadline(now, outputs) {
      for (const eidPrefix of expireRegistrations(registrations, now, outputs))
        listening.changed(eidPrefix, now, outputs)
      groups.handleDeadline(now, outputs)
      described.handleDeadline(now, outputs)
      outbox.handleDeadline(now, outputs)
      publisher.handleDeadline(now, outputs)
      if (flushAt === undefined || flushAt > now) return
      const records = guard.dirtyNonces()
      if (records.length > 0) outputs.push({ kind: 'persist', records, then: [] })
      flushAt = guard.dirtyCount > 0 ? now + NONCE_FLUSH_MS : undefined
    },
    deadline() {
      const told = earliest(outbox.deadline(), publisher.deadline(), groups.deadline())
      return earliest(registrations.nextExpiry(), earliest(told, described.deadline()), flushAt)
    },

    registrationViews(now) {
      return [...registrations.entries()].flatMap((registration) => viewsOf(registration, now))
    },
    siteViews: () => siteViews(config, registrations),
    subscriptionViews: (now) => publisher.views(now),
    groupViews: () => groups.views(),
    groupCounts: () => groups.counts(),
    subscriptionCounts: () => publisher.counts(),
    described,
    registrationCount: () => registrations.sizeOf(undefined),
    registrationPage: (query, now) =>
      pageOf(
        registrations,
        query,
        ({ eidPrefix }) => eidPrefix,
        (registration) => viewsOf(registration, now),
      ),
  }
}

function viewsOf(registration: Registration, now: Instant): RegistrationView[] {
  const { eidPrefix, site, mapVersion } = registration
  return registration.registrants.map((registrant) => ({
    eidPrefix: formatEidPrefix(eidPrefix),
    instanceId: eidPrefix.instanceId,
    site,
    owner: registrant.owner,
    locators: registrant.locators.map(({ rloc, priority, weight, reachable }) => ({
      rloc: formatIpAddress(rloc),
      priority,
      weight,
      reachable,
    })),
    mapVersion,
    proxyReply: registrant.proxyReply,
    expiresInMs: registrant.expiresAt - now,
    registeredAgoMs: now - registrant.registeredAt,
  }))
}

function siteViews(config: NodeConfig, registrations: Registrations): SiteView[] {
  return config.mapServer.sites.map((site) => ({
    name: site.name,
    prefixes: site.prefixes.map(({ eidPrefix, acceptMoreSpecifics }) => ({
      prefix: formatEidPrefix(eidPrefix),
      instanceId: eidPrefix.instanceId,
      acceptMoreSpecifics,
    })),
    registrations: registrations.registrationsOfSite(site.name),
  }))
}
