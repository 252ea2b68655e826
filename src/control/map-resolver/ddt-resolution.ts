/**
 * A Map-Resolver's walk down the delegation tree (RFC 8111 §7.3, §8.1, §8.2): from the best referral it
 * has, or from the configured roots, to a Map-Server that says MS-ACK, or to the word that nobody is
 * there, which the ITR gets as a negative Map-Reply.
 *
 * Every request of an ITR is one pending walk, known by {ITR, EID}; a newer request of the same pair
 * takes its place and its nonce. Only an RLOC that was asked may answer, and each step must lead to a
 * more specific prefix than the last; a step that does not sends the walk to the root once.
 *
 * Choices: a node that is silent for half a second is passed over; each is asked twice, then the walk
 * ends without a word (RFC 8111 §7.3.2) and the cached referral that led there is forgotten. Where the
 * RFC contradicts itself (TTL of MS-NOT-REGISTERED, of NOT-AUTHORITATIVE, the MS-ACK branches) its
 * table and pseudocode are followed.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses, formatIpAddress } from '../../lisp/address.js'
import {
  coversEid,
  type EidPrefix,
  eidFromPrefix,
  formatEid,
  formatEidPrefix,
  hostPrefix,
} from '../../lisp/eid.js'
import { isUsableRloc, type Rloc } from '../../lisp/locator.js'
import type { MapReferral, ReferralRecord } from '../../lisp/map-referral.js'
import { encodeMessage } from '../../lisp/message.js'
import {
  createReferralCache,
  type Referral,
  type ReferralKind,
} from '../../tables/referral-cache.js'
import type { Instant } from '../capabilities.js'
import { isOwnRloc, sendControl, sourceRloc } from '../control-datagram.js'
import { createDeadlines } from '../deadlines.js'
import type { EventName } from '../event.js'
import type { Output } from '../input-output.js'
import { keyForMapServer, withSecurity } from '../lisp-sec/lisp-sec-requests.js'
import {
  type EncapsulatedRequest,
  nativelyForward,
  sendReply,
  suppressed,
  UNKNOWN_EID_TTL_MINUTES,
  UNREGISTERED_EID_TTL_MINUTES,
} from '../map-server/map-request-answers.js'
import type { Datagram } from '../map-server/register-guard.js'
import type { ReferralView } from '../snapshot.js'
import type { DdtTrust } from './ddt-trust.js'
import { createWalks, type Walk } from './ddt-walks.js'

export interface DdtResolution {
  /** Begins a walk for the first record of the request, or answers at once from the cache. */
  resolve(received: EncapsulatedRequest, replyTo: Rloc, now: Instant, outputs: Output[]): void
  handleReferral(message: MapReferral, datagram: Datagram, now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  /** Forgets all referrals. */
  clear(): void
  readonly pending: number
  views(now: Instant): ReferralView[]
}

/** Our choice: see the header. */
const ANSWER_WAIT_MS = 500
const ROUNDS = 2
/** Sends to one set of RLOCs even when it has one member. */
const MINIMUM_SENDS = 4
/** Our choice: RLOCs of one referral that are looked at. */
const MAXIMUM_REFERRAL_RLOCS = 16
/** RFC 8111 §7.3.4: a cap on the referrals of one walk; a tree of this depth does not exist. */
const MAXIMUM_REFERRALS_PER_WALK = 32
/** RFC 8111 §6.4: nothing is given out for longer than a day. */
const MAXIMUM_TTL_MINUTES = 1440
const MINUTE_MS = 60_000

export function createDdtResolution(
  config: NodeConfig,
  trust: DdtTrust | undefined,
): DdtResolution {
  const roots = config.ddt.roots
  const cache = createReferralCache(config.ddt.maximumReferrals)
  const walks = createWalks(config.mapCache.maximumPendingRequests)
  const deadlines = createDeadlines()

  // ------------------------------------------------------------------ walks

  function end(walk: Walk): void {
    walks.end(walk)
    deadlines.cancel(walk.key)
  }

  function follow(
    walk: Walk,
    set: Pick<Referral, 'rlocs' | 'keys'> & { readonly via: EidPrefix | undefined },
    toMapServers: boolean,
    now: Instant,
    outputs: Output[],
  ): void {
    walk.targets = set.rlocs
    walk.keys = set.keys
    walk.via = set.via
    walk.toMapServers = toMapServers
    // Spreads the load over the members; the nonce is random.
    walk.next = Number(walk.nonce % BigInt(set.rlocs.length))
    walk.sends = 0
    walk.unregisteredAt.clear()
    ask(walk, now, outputs)
  }

  function toRoot(walk: Walk, now: Instant, outputs: Output[]): void {
    walk.viaRoot = true
    const keys = trust?.rootKeys ?? []
    follow(walk, { rlocs: roots, keys, via: undefined }, false, now, outputs)
  }

  /** Asks the next RLOC of the set that has not refused; ends the walk when all have had their turns. */
  function ask(walk: Walk, now: Instant, outputs: Output[]): void {
    const { targets, unregisteredAt } = walk
    if (walk.sends >= Math.max(MINIMUM_SENDS, ROUNDS * targets.length)) {
      if (unregisteredAt.size > 0) {
        answerNegatively(walk, hostPrefix(walk.eid), UNREGISTERED_EID_TTL_MINUTES, outputs)
        return
      }
      // RFC 8111 §7.3.2: without a word; the ITR asks again and then begins further up.
      if (walk.via !== undefined) cache.remove(walk.via)
      end(walk)
      outputs.push(walkEvent('ddt-walk-ended', walk, { reason: 'no-answer' }))
      return
    }
    let target = targets[walk.next % targets.length]!
    for (let tried = 0; tried < targets.length; tried += 1) {
      target = targets[walk.next % targets.length]!
      walk.next += 1
      if (!unregisteredAt.has(formatIpAddress(target))) break
    }
    walk.sends += 1
    transmit(walk, target, outputs)
    deadlines.set(walk.key, now + ANSWER_WAIT_MS)
  }

  function transmit(walk: Walk, target: Rloc, outputs: Output[]): void {
    const { ecm } = walk.received
    // RFC 8111 §7.3.2: the ITR's security data is for the Map-Server and for nobody on the way.
    walk.securitySent = walk.toMapServers && ecm.securityData !== undefined
    const data = walk.securitySent ? securityFor(walk.received, target) : undefined
    if (walk.securitySent && data === undefined) {
      outputs.push(suppressed('no-key-for-map-server', walk.received))
      return
    }
    const bytes = encodeMessage({ ...withSecurity(ecm, data), ddtOriginated: true })
    sendControl(config, target, bytes, outputs)
    outputs.push(
      walkEvent('ddt-request-sent', walk, {
        reason: walk.via === undefined ? 'root' : walk.toMapServers ? 'map-server' : 'node',
        to: formatIpAddress(target),
        attempt: walk.sends,
      }),
    )
  }

  /** A node without LISP-SEC of its own hands on what it got. */
  function securityFor({ ecm, security }: EncapsulatedRequest, target: Rloc) {
    if (security === undefined) return ecm.securityData
    const key = keyForMapServer(config, target)
    return key === undefined ? undefined : security.wrappedFor(key)
  }

  function answerNegatively(
    walk: Walk,
    prefix: EidPrefix,
    ttlMinutes: number,
    outputs: Output[],
  ): void {
    end(walk)
    sendReply(config, walk.received, walk.replyTo, [nativelyForward(prefix, ttlMinutes)], outputs)
  }

  /** The walk is in a blind alley: once more from the root, and then it is over (RFC 8111 §8.2). */
  function lost(walk: Walk, now: Instant, outputs: Output[]): void {
    if (walk.viaRoot || roots.length === 0) {
      answerNegatively(walk, hostPrefix(walk.eid), UNREGISTERED_EID_TTL_MINUTES, outputs)
      return
    }
    if (walk.via !== undefined) cache.remove(walk.via)
    toRoot(walk, now, outputs)
  }

  // -------------------------------------------------------------- referrals

  /** An MS-ACK speaks of those that were asked; a referral of those that it names. */
  function keysAfter(walk: Walk, record: ReferralRecord): readonly Uint8Array[] {
    return record.action === 'ms-ack' ? walk.keys : (trust?.childKeys(record) ?? [])
  }

  function remember(
    walk: Walk,
    record: ReferralRecord,
    rlocs: readonly Rloc[],
    now: Instant,
  ): void {
    // RFC 8111 §6.4: an incomplete set SHOULD NOT be cached.
    if (record.incomplete || record.ttlMinutes === 0 || !isCacheable(record.action)) return
    const { eidPrefix, action: kind } = record
    const ttlMinutes = Math.min(record.ttlMinutes, MAXIMUM_TTL_MINUTES)
    const keys = keysAfter(walk, record)
    cache.put({ eidPrefix, kind, rlocs, keys, expiresAt: now + ttlMinutes * MINUTE_MS })
  }

  /** Why a referral is not listened to; undefined when it is. */
  function objection(
    walk: Walk,
    record: ReferralRecord,
    datagram: Datagram,
    now: Instant,
  ): string | undefined {
    if (!walk.targets.some((target) => equalIpAddresses(target, datagram.from))) {
      return 'unasked-source'
    }
    if (!coversEid(record.eidPrefix, walk.eid)) return 'other-prefix'
    return trust?.objectionTo(record, walk.keys, now)
  }

  function handleRecord(
    walk: Walk,
    record: ReferralRecord,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): void {
    const { eidPrefix, action } = record
    const reached = walk.via?.maskLength ?? -1
    if (action === 'not-authoritative') lost(walk, now, outputs)
    else if (eidPrefix.maskLength < reached) {
      outputs.push(walkEvent('map-referral-rejected', walk, { reason: 'less-specific' }))
      if (!walk.viaRoot) toRoot(walk, now, outputs)
    } else if (action === 'delegation-hole') {
      remember(walk, record, [], now)
      answerNegatively(walk, eidPrefix, UNKNOWN_EID_TTL_MINUTES, outputs)
    } else if (action === 'ms-ack') acknowledged(walk, record, from, now, outputs)
    else if (action === 'ms-not-registered') unregistered(walk, record, from, now, outputs)
    else descend(walk, record, reached, now, outputs)
  }

  function descend(
    walk: Walk,
    record: ReferralRecord,
    reached: number,
    now: Instant,
    outputs: Output[],
  ): void {
    const { eidPrefix, action } = record
    const rlocs = usableRlocs(record)
    walk.referrals += 1
    // RFC 8111 §7.3.4: it must be more specific than the last one, or it is a loop.
    const isLoop = eidPrefix.maskLength === reached || rlocs.length === 0
    if (isLoop || walk.referrals > MAXIMUM_REFERRALS_PER_WALK) {
      lost(walk, now, outputs)
      return
    }
    remember(walk, record, rlocs, now)
    const keys = keysAfter(walk, record)
    follow(walk, { rlocs, keys, via: eidPrefix }, action === 'ms-referral', now, outputs)
  }

  function acknowledged(
    walk: Walk,
    record: ReferralRecord,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): void {
    const rlocs = usableRlocs(record)
    remember(walk, record, rlocs.length > 0 ? rlocs : [from], now)
    if (walk.received.ecm.securityData !== undefined && !walk.securitySent) {
      // RFC 8111 §7.3.2: it did not get the security data, so the ETR could not answer with it.
      const again = { rlocs: [from], keys: walk.keys, via: record.eidPrefix }
      follow(walk, again, true, now, outputs)
    } else end(walk)
  }

  function unregistered(
    walk: Walk,
    record: ReferralRecord,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): void {
    walk.unregisteredAt.add(formatIpAddress(from))
    if (walk.targets.some((one) => !walk.unregisteredAt.has(formatIpAddress(one)))) {
      ask(walk, now, outputs)
      return
    }
    remember(walk, record, [], now)
    answerNegatively(walk, record.eidPrefix, UNREGISTERED_EID_TTL_MINUTES, outputs)
  }

  function usableRlocs(record: ReferralRecord): Rloc[] {
    return record.locators
      .map(({ rloc }) => rloc)
      .filter((rloc) => isUsableRloc(rloc) && sourceRloc(config, rloc) !== undefined)
      .filter((rloc) => !isOwnRloc(config, rloc))
      .filter((rloc, at, all) => all.findIndex((one) => equalIpAddresses(one, rloc)) === at)
      .slice(0, MAXIMUM_REFERRAL_RLOCS)
  }

  function startFrom(walk: Walk, referral: Referral | undefined, now: Instant, outputs: Output[]) {
    if (referral === undefined) return toRoot(walk, now, outputs)
    const { kind, eidPrefix: via, rlocs, keys } = referral
    return follow(walk, { rlocs, keys, via }, kind !== 'node-referral', now, outputs)
  }

  return {
    resolve(received, replyTo, now, outputs) {
      const first = received.request.records[0]
      if (first === undefined) return
      const eid = eidFromPrefix(first.eidPrefix)
      const same = walks.find(replyTo, eid)
      if (same !== undefined) {
        walks.replace(same, received)
        return
      }
      const referral = cache.match(eid, now)
      if (isNegative(referral)) {
        const minutes = Math.max(1, Math.ceil((referral.expiresAt - now) / MINUTE_MS))
        const negative = nativelyForward(referral.eidPrefix, minutes)
        sendReply(config, received, replyTo, [negative], outputs)
        return
      }
      if (referral === undefined && roots.length === 0) {
        const nothing = nativelyForward(hostPrefix(eid), UNREGISTERED_EID_TTL_MINUTES)
        sendReply(config, received, replyTo, [nothing], outputs)
        return
      }
      const problem = walks.objectionTo(received, replyTo)
      if (problem !== undefined) {
        outputs.push(suppressed(problem, received))
        return
      }
      startFrom(walks.begin(received, replyTo, eid), referral, now, outputs)
    },

    handleReferral(message, datagram, now, outputs) {
      const walk = walks.byNonce(message.nonce)
      const record = message.records[0]
      const from = formatIpAddress(datagram.from)
      const reject = (reason: string): void => {
        const severity = reason === 'no-request' ? 'debug' : 'notice'
        const event = { name: 'map-referral-rejected', severity, reason, from } as const
        outputs.push({ kind: 'event', event })
      }
      if (walk === undefined) return reject('no-request')
      // RFC 8111 §6: the answer to one question is one record.
      if (record === undefined || message.records.length !== 1) return reject('not-one-record')
      const problem = objection(walk, record, datagram, now)
      if (problem !== undefined) return reject(problem)
      outputs.push(
        walkEvent('map-referral-received', walk, {
          reason: record.action,
          from,
          eidPrefix: formatEidPrefix(record.eidPrefix),
        }),
      )
      handleRecord(walk, record, datagram.from, now, outputs)
    },

    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const walk = walks.byKey(key)
        if (walk !== undefined) ask(walk, now, outputs)
      }
    },
    deadline: () => deadlines.next(),
    clear: () => cache.clear(),
    get pending() {
      return walks.size
    },
    views: (now) => [...cache.entries()].map((referral) => viewOf(referral, now)),
  }
}

function isNegative(referral: Referral | undefined): referral is Referral {
  return referral?.kind === 'delegation-hole' || referral?.kind === 'ms-not-registered'
}

function isCacheable(action: ReferralRecord['action']): action is ReferralKind {
  return action !== 'not-authoritative'
}

function walkEvent(
  name: EventName,
  walk: Walk,
  fields: { readonly [field: string]: string | number },
): Output {
  const { itr, eid } = walk
  return { kind: 'event', event: { name, severity: 'debug', itr, eid: formatEid(eid), ...fields } }
}

function viewOf(referral: Referral, now: Instant): ReferralView {
  return {
    eidPrefix: formatEidPrefix(referral.eidPrefix),
    instanceId: referral.eidPrefix.instanceId,
    kind: referral.kind,
    rlocs: referral.rlocs.map(formatIpAddress),
    expiresInMs: Math.max(0, referral.expiresAt - now),
  }
}
