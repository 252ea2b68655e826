/**
 * What an ITR believes of a Map-Reply, and what of it enters the map-cache.
 *
 * Supported standards: RFC 9301 §5.4-5.5 (nonce, actions, several records), RFC 9302 §5 (a record older
 * than the cached one of the same prefix is ignored), RFC 9303 §6.9 (only what LISP-SEC proves),
 * RFC 9437 §5 (a refused subscription). Publications and confirmations by Map-Notify install the same
 * way; whether those are genuine is decided in subscriber.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { coversPrefix, formatEidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import { isNewerMapVersion } from '../../lisp/map-version.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MapReply } from '../../lisp/message.js'
import type { MapCacheEntry, MapCacheInsertion } from '../../tables/map-cache.js'
import type { Instant } from '../capabilities.js'
import { namesUs } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import type { ProtectedAsking } from '../lisp-sec/lisp-sec-asking.js'
import { report } from '../outputs.js'
import { believedWidth } from './answer-width.js'
import type { InstalledMappings } from './installed-mappings.js'
import { createNonceGuessing } from './nonce-guessing.js'
import type { PendingRequest, PendingRequests } from './pending-requests.js'
import type { SmrFollowing } from './smr-following.js'
import type { Subscriber } from './subscriber.js'
import { isStillUnregistered, type UnregisteredChecks } from './unregistered-checks.js'

/** Where a mapping that is not our own was learned from. */
type Learned = Extract<MapCacheEntry['origin'], 'map-reply' | 'map-notify'>

export interface MapReplyHandling {
  handleReply(reply: MapReply, bytes: Uint8Array, from: Rloc, now: Instant, outputs: Output[]): void
  /** False when none of the records answers the request. */
  answered(
    request: PendingRequest,
    records: readonly Mapping[],
    origin: Learned,
    now: Instant,
    outputs: Output[],
  ): boolean
  /** RFC 9437 §5: ACT 4 and 5 refuse the subscription, not the packets; those are asked for plainly. */
  refuseSubscription(request: PendingRequest, now: Instant, outputs: Output[]): void
  /** Mappings that a Map-Server has published. */
  published(records: readonly Mapping[], now: Instant, outputs: Output[]): void
}

/** A mapping that names ourselves is wrong or will be soon: ask again after this. */
const OWN_LOCATOR_LIFETIME_MS = 15_000

export function createMapReplyHandling(
  config: NodeConfig,
  parts: {
    readonly mappings: InstalledMappings
    readonly asking: ProtectedAsking | undefined
    readonly subscriber: Subscriber
    readonly pending: PendingRequests
    readonly following: SmrFollowing
    readonly unregistered: UnregisteredChecks
    /** Asks for the next hops of explicit locator paths that are not known. */
    askForHops(now: Instant, outputs: Output[]): void
  },
): MapReplyHandling {
  const { mappings, asking, subscriber, pending, following, unregistered } = parts
  const { cache } = mappings
  const guessing = createNonceGuessing()

  /** @param request what it answers; undefined for a publication */
  function install(
    mapping: Mapping,
    origin: Learned,
    request: PendingRequest | undefined,
    now: Instant,
    outputs: Output[],
  ): void {
    const former = cache.exact(mapping.eidPrefix)
    if (former !== undefined && request?.held !== true && isStillUnregistered(former, mapping))
      return
    const eidPrefix = formatEidPrefix(mapping.eidPrefix)
    const refusal = former === undefined ? undefined : refusalOf(config, former, mapping)
    if (former !== undefined && refusal !== undefined) {
      report(outputs, 'map-reply-rejected', 'info', { reason: refusal, eidPrefix })
      // The old answer stands, and what waits for an answer has one.
      if (former.origin !== 'local') mappings.apply(former, [], now, outputs)
      return
    }
    const ours = mapping.locators.length > 0 && namesUs(config, mapping.locators)
    if (ours) report(outputs, 'map-reply-rejected', 'notice', { reason: 'own-locator', eidPrefix })
    const insertion = insertionFor(former, ours && mapping.ttlMinutes > 0, origin)
    const entries = mappings.put(mapping, insertion, [], now, outputs)
    parts.askForHops(now, outputs)
    unregistered.installed(entries, now)
    for (const entry of entries)
      report(outputs, 'mapping-installed', 'info', {
        eidPrefix,
        mapVersion: mapping.mapVersion,
        locators: mapping.locators.map((one) => formatIpAddress(one.rloc)),
        action: mappings.actionOf(entry),
      })
  }

  function handleAnswer(
    request: PendingRequest,
    records: readonly Mapping[],
    origin: Learned,
    now: Instant,
    outputs: Output[],
  ): void {
    const fitting = records.filter((one) => answers(request, one))
    const narrowFirst = fitting.sort((a, b) => b.eidPrefix.maskLength - a.eidPrefix.maskLength)
    report(outputs, 'map-reply-received', 'debug', {
      eidPrefix: request.key,
      waitedMs: now - request.startedAt,
      records: records.length,
      reason: origin,
    })
    for (const one of request.questions.splice(0)) one.onAnswer(narrowFirst[0], now, outputs)
    const installs = request.held || request.refresh || request.smrInvoked
    if (installs) {
      // Only what belongs to the answer: a reply must not plant unrelated prefixes in the cache.
      const widest = narrowFirst[narrowFirst.length - 1]!.eidPrefix
      const scope = coversPrefix(widest, request.eidPrefix) ? widest : request.eidPrefix
      const related = records.filter((one) => coversPrefix(scope, one.eidPrefix))
      if (related.length < records.length)
        report(outputs, 'map-reply-rejected', 'notice', { reason: 'unrelated-record' })
      for (const mapping of coarseFirst(related)) install(mapping, origin, request, now, outputs)
    }
    pending.finish(request, now, outputs)
    following.settled(request.key, installs ? narrowFirst[0]!.locators : undefined, now, outputs)
  }

  /** The records of a reply as far as LISP-SEC proves them (RFC 9303 §6.9); undefined: none of it. */
  function believed(
    request: PendingRequest,
    reply: MapReply,
    bytes: Uint8Array,
    reject: (reason: string) => void,
    outputs: Output[],
  ): readonly Mapping[] | undefined {
    if (asking === undefined) return reply.records
    const verdict = asking.judge(reply, bytes, request.asked.get(reply.nonce))
    if (verdict.kind === 'nobody-signs') {
      pending.askOtherwise(request, 'plainly')
      return undefined
    }
    if (verdict.kind === 'discard') {
      reject(verdict.reason)
      if (verdict.retry !== undefined) pending.askOtherwise(request, verdict.retry)
      return undefined
    }
    for (const one of verdict.overClaims)
      report(outputs, 'map-reply-rejected', 'warning', {
        reason: 'over-claim',
        eidPrefix: formatEidPrefix(one),
      })
    return verdict.records
  }

  /** What is not proven is believed in the neighbourhood of what was asked for. */
  function narrowed(
    request: PendingRequest,
    records: readonly Mapping[],
    outputs: Output[],
  ): readonly Mapping[] {
    const verdict = believedWidth(records, request.eidPrefix, config.mapCache.widestAnswers)
    for (const one of verdict.narrowed)
      report(outputs, 'map-reply-rejected', 'info', {
        reason: 'wider-than-believed',
        eidPrefix: formatEidPrefix(one),
      })
    return verdict.records
  }

  function answered(
    request: PendingRequest,
    records: readonly Mapping[],
    origin: Learned,
    now: Instant,
    outputs: Output[],
  ): boolean {
    if (!records.some((one) => answers(request, one))) return false
    handleAnswer(request, records, origin, now, outputs)
    return true
  }

  function refuseSubscription(request: PendingRequest, now: Instant, outputs: Output[]): void {
    subscriber.refused(request.eidPrefix, now, outputs)
    pending.askPlainly(request)
  }

  return {
    handleReply(reply, bytes, from, now, outputs) {
      const reject = (reason: string): void =>
        report(outputs, 'map-reply-rejected', 'notice', { reason, from: formatIpAddress(from) })
      if (reply.rlocProbe) {
        if (!mappings.probe.handleReply(reply, now, outputs)) return reject('probe')
        mappings.echo.learn(from, reply.echoNonceCapable, now, outputs)
        return
      }
      const request = pending.find(reply.nonce)
      if (request === undefined) {
        guessing.wrong(now)
        return reject('unknown-nonce')
      }
      const records = believed(request, reply, bytes, reject, outputs)
      if (records === undefined) return
      if (request.subscribing && records.every(refusesSubscription))
        return refuseSubscription(request, now, outputs)
      // What is proven was not guessed.
      const isProven = request.asked.has(reply.nonce)
      if (request.subscribing && !isProven && guessing.isUnderWay(now)) {
        pending.askPlainly(request)
        return reject('guessing')
      }
      if (request.subscribing) subscriber.answeredPlainly(request.eidPrefix)
      const held = isProven ? records : narrowed(request, records, outputs)
      if (!answered(request, held, 'map-reply', now, outputs)) reject('not-covering')
    },
    answered,
    refuseSubscription,
    published(records, now, outputs) {
      for (const mapping of coarseFirst(records))
        install(mapping, 'map-notify', undefined, now, outputs)
    },
  }
}

/** True when the record answers what the request asked: covers it, or is part of a refreshed prefix. */
function answers(request: PendingRequest, record: Mapping): boolean {
  return (
    coversPrefix(record.eidPrefix, request.eidPrefix) ||
    (request.refresh && coversPrefix(request.eidPrefix, record.eidPrefix))
  )
}

/** Why `offered` must not replace the cached `former` of the same prefix, or undefined. */
function refusalOf(
  config: NodeConfig,
  former: MapCacheEntry,
  offered: Mapping,
): string | undefined {
  if (former.origin === 'local') return 'own-mapping'
  const leadsNowhere = offered.locators.length === 0 || namesUs(config, offered.locators)
  if (former.origin === 'away' && leadsNowhere) return 'away-mapping'
  const [cached, version] = [former.mapping.mapVersion, offered.mapVersion]
  const older = isNewerMapVersion(cached, version)
  return older ? 'older-version' : undefined
}

function insertionFor(
  former: MapCacheEntry | undefined,
  ours: boolean,
  origin: Learned,
): MapCacheInsertion {
  if (former?.origin === 'away') return { origin: 'away', lifetimeMs: Number.POSITIVE_INFINITY }
  return ours ? { origin, lifetimeMs: OWN_LOCATOR_LIFETIME_MS } : { origin }
}

/** A coarse record removes what it covers; the finer ones then stand on it. */
function coarseFirst(records: readonly Mapping[]): Mapping[] {
  return [...records].sort((a, b) => a.eidPrefix.maskLength - b.eidPrefix.maskLength)
}

function refusesSubscription({ locators, action }: Mapping): boolean {
  return (
    locators.length === 0 && (action === 'drop-policy-denied' || action === 'drop-auth-failure')
  )
}
