/**
 * The ITR: from "packets are held for this EID" to a mapping, and keeping the mapping true.
 *
 * Supported standards: RFC 9301 §5.3–5.5 (requests, TTL; what a reply is worth: map-reply-handling.ts),
 * §6.1 (SMR).
 * Deviations: at most one SMR-invoked Map-Request per 3 s and EID-prefix is *recommended*; we allow a
 * burst of four, so that a host that moves twice is followed twice.
 *
 * Our own statements (local, expected, away) stand in the same cache; no Map-Reply replaces them,
 * except that of an away EID, which is only where we last heard that it went.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { type Eid, type EidPrefix, eidFromPrefix, formatEid, hostPrefix } from '../../lisp/eid.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import type { Action, Mapping } from '../../lisp/mapping.js'
import type { MapNotify, MapReply, MapRequest } from '../../lisp/message.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { createSourceDoubts, type SourceDoubts } from '../closed-network/source-doubts.js'
import type { DatapathEvent } from '../datapath-event.js'
import type { HoldGiveUpReason } from '../datapath-operation.js'
import { earliest } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { createProtectedAsking, FIRST_CHOICE } from '../lisp-sec/lisp-sec-asking.js'
import { report } from '../outputs.js'
import type { RestoredState } from '../restored-state.js'
import type { LocatorStateView, MapCacheView, SubscriptionView } from '../snapshot.js'
import type { StoredRecord } from '../stored-record.js'
import type { TablePage, TableQuery } from '../table-pages.js'
import { createAdoptedMappings } from './adopted-mappings.js'
import { usableLocators } from './encapsulation-choice.js'
import { createInstalledMappings } from './installed-mappings.js'
import { locatorStates } from './locator-states.js'
import { createMapReplyHandling } from './map-reply-handling.js'
import { createMissLimits } from './miss-limits.js'
import { newestPeers } from './newest-peers.js'
import {
  createPendingRequests,
  type OnAnswer,
  type PendingRequest,
  type PendingRequests,
} from './pending-requests.js'
import { createSmrFollowing } from './smr-following.js'
import { createSmrHandling } from './smr-handling.js'
import { createSubscriber } from './subscriber.js'
import { createUnregisteredChecks } from './unregistered-checks.js'

export type OfKind<Kind extends DatapathEvent['kind']> = Extract<DatapathEvent, { kind: Kind }>

export interface Itr {
  /** A packet waits for a mapping of `eid`. */
  handleHeld(event: OfKind<'packet-held'>, now: Instant, outputs: Output[]): void
  /** A host asks its segment for `eid`: resolve it, so that the gateway can answer for it. */
  handleWanted(event: OfKind<'eid-wanted'>, now: Instant, outputs: Output[]): void
  handleReply(reply: MapReply, bytes: Uint8Array, from: Rloc, now: Instant, outputs: Output[]): void
  /** True when it confirms or carries on a subscription of ours (RFC 9437). */
  handleNotify(
    notify: MapNotify,
    bytes: Uint8Array,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): boolean
  /** What packets say in a closed network. */
  readonly doubts: SourceDoubts
  handleNonceEcho(event: OfKind<'nonce-echo'>, now: Instant, outputs: Output[]): void
  handleSmr(request: MapRequest, from: Rloc, now: Instant, outputs: Output[]): void
  /** A router of the underlay says that a packet of ours was too big. */
  handlePathTooNarrow(event: OfKind<'path-too-narrow'>, now: Instant, outputs: Output[]): void
  handleUsage(event: OfKind<'map-cache-usage'>, now: Instant, outputs: Output[]): void
  /** Our own prefix or EID is here (native) or expected (hold); releases what waits for it. */
  putOwn(
    eidPrefix: EidPrefix,
    action: 'native' | 'hold',
    release: readonly Eid[],
    now: Instant,
    outputs: Output[],
  ): void
  /** An EID of ours is at the locators of `mapping` now; they must be usable from here. */
  putAway(mapping: Mapping, release: readonly Eid[], now: Instant, outputs: Output[]): void
  /** Our statement about it is over; packets to it are resolved again. */
  removeOwn(eidPrefix: EidPrefix, outputs: Output[]): void
  /** Gives up what is held for `eid`. */
  dropHeld(eid: Eid, reason: HoldGiveUpReason, outputs: Output[]): void
  /** Asks the mapping system; the answer changes no table. */
  question(eid: Eid, giveUpAt: Instant, onAnswer: OnAnswer, now: Instant, outputs: Output[]): void
  /** Usable locators known for `eid` at this moment, from any source. */
  knownLocators(eid: Eid, now: Instant): readonly Locator[]
  /** The first locator of learned mappings, each once, the newest mapping first, at most `limit`. */
  peers(limit: number, now: Instant): Rloc[]
  /** The version of the mapping that these come from; 0 without one. */
  knownVersion(eid: Eid, now: Instant): number
  /** Forgets learned entries at or below the prefix (all without one); returns how many. */
  clear(eidPrefix: EidPrefix | undefined, outputs: Output[]): number
  /** The first thing asked of it: numbers continue where an earlier run stopped. */
  open(records: readonly StoredRecord[], outputs: Output[]): void
  restore(state: RestoredState, now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  views(now: Instant): MapCacheView[]
  page(query: TableQuery, now: Instant): TablePage<MapCacheView>
  /** Entries of the map-cache. */
  size(): number
  unreachableLocators(): number
  /** Locators with a smaller path MTU than the configured one. */
  narrowedPaths(): number
  /** Probing holds this locator for down. */
  isDown(rloc: Rloc): boolean
  locatorViews(now: Instant): LocatorStateView[]
  subscriptionViews(now: Instant): SubscriptionView[]
  subscriptionCount(): number
}

/** What an earlier run left is believed this long, should nobody answer what is asked about it. */
const RESTORED_LIFETIME_MS = 60_000
const FOREVER = Number.POSITIVE_INFINITY

export function createItr(config: NodeConfig, capabilities: Capabilities): Itr {
  const mappings = createInstalledMappings(config, capabilities)
  const { cache } = mappings
  const asking = createProtectedAsking(config, capabilities)
  const subscriber = createSubscriber(config, capabilities, cache, {
    outstanding(nonce) {
      const request = pending.find(nonce)
      return request?.subscribing === true ? request.eidPrefix : undefined
    },
    confirmed(notify, now, outputs) {
      const request = pending.find(notify.nonce)
      if (request !== undefined)
        replies.answered(request, notify.records, 'map-notify', now, outputs)
    },
    refused(nonce, now, outputs) {
      const request = pending.find(nonce)
      if (request !== undefined) replies.refuseSubscription(request, now, outputs)
    },
    published: (records, now, outputs) => replies.published(records, now, outputs),
    renew(eidPrefix, now, outputs) {
      pending.ask(eidPrefix, undefined, { kind: 'refresh' }, now, outputs)
    },
    associationOf(nonce) {
      const asked = pending.find(nonce)?.asked.get(nonce)
      return asked === undefined ? undefined : asking?.subscriptionKey(asked, nonce)
    },
    protect(nonce, resolver) {
      const asked = asking?.protect(nonce, resolver, 0, FIRST_CHOICE)
      return typeof asked === 'object' ? asked.data : undefined
    },
  })
  const pending: PendingRequests = createPendingRequests(
    config,
    capabilities.random,
    subscriber.form,
    asking,
  )
  const following = createSmrFollowing(
    pending,
    (eid, now) => cache.lookup(eid, now).kind !== 'miss',
  )

  const handleSmr = createSmrHandling(config, cache, following, () => pending.size)
  const misses = createMissLimits(config)
  const adopted = createAdoptedMappings(cache, pending)
  const unregistered = createUnregisteredChecks(cache, pending)
  const replies = createMapReplyHandling(config, {
    mappings,
    asking,
    subscriber,
    pending,
    following,
    unregistered,
    askForHops,
  })

  /** A packet of `source` needs a mapping; what is asked for already costs nobody anything. */
  function askFor(eid: Eid, source: Eid, now: Instant, outputs: Output[]) {
    const eidPrefix = hostPrefix(eid)
    if (!pending.isPending(eidPrefix) && !misses.take(source, now)) return 'source-rate'
    return pending.ask(eidPrefix, source, { kind: 'hold' }, now, outputs)
  }

  function resolve(eid: Eid, source: Eid, now: Instant, outputs: Output[]): void {
    const outcome = askFor(eid, source, now, outputs)
    if (outcome === 'asked' || outcome === 'already-pending') return
    // RFC 9301 §5.3 hold-down: packets must not wait for an answer that nobody will ask for.
    mappings.dropHeld(eid, 'rate-limited', outputs)
    report(outputs, 'resolution-failed', 'notice', { reason: outcome, eid: formatEid(eid) })
  }

  /** The L bit of an explicit locator path: who the next hop is, only the mapping system knows. */
  function askForHops(now: Instant, outputs: Output[]): void {
    for (const eid of mappings.wantedHops())
      pending.ask(hostPrefix(eid), undefined, { kind: 'hold' }, now, outputs)
  }

  function giveUp(request: PendingRequest, now: Instant, outputs: Output[]): void {
    report(outputs, 'resolution-failed', 'warning', { reason: 'no-reply', eidPrefix: request.key })
    if (request.held) mappings.dropHeld(eidFromPrefix(request.eidPrefix), 'no-reply', outputs)
    following.settled(request.key, undefined, now, outputs)
  }

  return {
    doubts: createSourceDoubts(config, mappings, pending, following),
    handleNonceEcho: (event, now, outputs) => mappings.echo.handleEcho(event, now, outputs),
    handleHeld(one, now, outputs) {
      mappings.noteHeld(one.eid)
      const found = cache.lookup(one.eid, now)
      if (found.kind === 'miss') return resolve(one.eid, one.source, now, outputs)
      const action = mappings.actionOf(found.entry)
      // Held before the entry was there: let it go under the present entry.
      if (action !== 'hold') return mappings.apply(found.entry, [one.eid], now, outputs)
      // An expected endpoint releases it by coming; ACT send-map-request: the packet asks.
      if (found.entry.origin !== 'local') resolve(one.eid, one.source, now, outputs)
    },
    handleWanted(one, now, outputs) {
      if (cache.lookup(one.eid, now).kind === 'miss') askFor(one.eid, one.source, now, outputs)
    },
    handleReply: replies.handleReply,
    handleNotify: (notify, bytes, from, now, outputs) =>
      subscriber.handleNotify(notify, bytes, from, now, outputs),
    open: (records, outputs) => subscriber.restore(records, outputs),
    handleSmr,
    handlePathTooNarrow: (event, now, outputs) =>
      mappings.pathMtu.handleError(event.packet, now, outputs),
    handleUsage(one, now, outputs) {
      const entry = cache.exact(one.eidPrefix)
      if (entry === undefined || one.idleMs === undefined) return
      entry.lastUsedAt = now - one.idleMs
      if (entry.lastUsedAt < entry.installedAt || !Number.isFinite(entry.expiresAt)) return
      entry.refreshing = true
      pending.ask(one.eidPrefix, undefined, { kind: 'refresh' }, now, outputs)
    },
    putOwn(eidPrefix, action, release, now, outputs) {
      const mapping = negative(
        eidPrefix,
        action === 'hold' ? 'send-map-request' : 'natively-forward',
      )
      mappings.put(mapping, { origin: 'local', lifetimeMs: FOREVER }, release, now, outputs)
    },
    putAway(mapping, release, now, outputs) {
      mappings.put(mapping, { origin: 'away', lifetimeMs: FOREVER }, release, now, outputs)
    },
    removeOwn: (eidPrefix, outputs) => {
      mappings.remove(eidPrefix, 'no-longer-ours', outputs)
    },
    dropHeld: (eid, reason, outputs) => mappings.dropHeld(eid, reason, outputs),
    question(eid, giveUpAt, onAnswer, now, outputs) {
      const reason = { kind: 'question' as const, giveUpAt, onAnswer }
      const outcome = pending.ask(hostPrefix(eid), undefined, reason, now, outputs)
      if (outcome !== 'asked' && outcome !== 'already-pending') onAnswer(undefined, now, outputs)
    },
    knownLocators(eid, now) {
      const found = cache.lookup(eid, now)
      return found.kind === 'hit' ? usableLocators(config, found.entry.mapping.locators) : []
    },
    peers: (limit, now) => newestPeers(config, cache, limit, now),
    knownVersion(eid, now) {
      const found = cache.lookup(eid, now)
      return found.kind === 'hit' ? found.entry.mapping.mapVersion : 0
    },
    clear(eidPrefix, outputs) {
      const entries = [...(eidPrefix === undefined ? cache.entries() : cache.coveredBy(eidPrefix))]
      const learned = entries.filter((one) => one.origin !== 'local' && one.origin !== 'away')
      for (const entry of learned) mappings.remove(entry.mapping.eidPrefix, 'cleared', outputs)
      return learned.length
    },
    restore(state, now, outputs) {
      const stale: EidPrefix[] = []
      for (const one of state.mapCache) {
        if (cache.exact(one.eidPrefix) !== undefined) continue
        // What holds asks by itself, packet by packet.
        if (one.action !== 'hold') stale.push(one.eidPrefix)
        const locators = one.encapsulations.map((encapsulation) => encapsulation.locator)
        const mapping = { ...negative(one.eidPrefix, RESTORED_ACTION[one.action]), locators }
        mappings.adopt(mapping, one.action, RESTORED_LIFETIME_MS, now, outputs)
      }
      adopted.begin(stale, now, outputs)
    },
    handleDeadline(now, outputs) {
      mappings.handleDeadline(now, outputs)
      askForHops(now, outputs)
      following.handleDeadline(now, outputs)
      adopted.handleDeadline(now, outputs)
      unregistered.handleDeadline(now, outputs)
      for (const request of pending.handleDeadline(now, outputs)) giveUp(request, now, outputs)
      subscriber.handleDeadline(now, outputs)
    },
    deadline: () =>
      earliest(
        mappings.deadline(),
        following.deadline(),
        adopted.deadline(),
        pending.deadline(),
        subscriber.deadline(),
      ),
    subscriptionViews: (now) => subscriber.views(now),
    subscriptionCount: () => subscriber.count(),
    views: (now) => mappings.views(now),
    page: (query, now) => mappings.page(query, now),
    size: () => cache.size,
    isDown: (rloc) => mappings.probe.isDown(rloc),
    unreachableLocators: () => mappings.probe.unreachable(),
    narrowedPaths: () => mappings.pathMtu.learnt().size,
    locatorViews: (now) => locatorStates(mappings, now),
  }
}

function negative(eidPrefix: EidPrefix, action: Action): Mapping {
  const ttlMinutes = 1
  return { eidPrefix, ttlMinutes, action, authoritative: false, mapVersion: 0, locators: [] }
}

const RESTORED_ACTION: Readonly<Record<'forward' | 'native' | 'drop' | 'hold', Action>> = {
  forward: 'no-action',
  native: 'natively-forward',
  drop: 'drop',
  hold: 'send-map-request',
}
