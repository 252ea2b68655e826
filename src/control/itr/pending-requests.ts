/**
 * Map-Requests on their way: who waits for which answer, when to ask again, when to give up.
 *
 * One request per EID-prefix, whatever the reasons to ask; at most one a second per EID-prefix,
 * strictly, also across answers (RFC 9301 §5.3); retries after 1, 2, 4, 4 … s, each to the next
 * Map-Resolver; after 10 unanswered the prefix is left alone for 30 s. The RFC gives no back-off:
 * 1 s doubling to 4 s is our choice (ten tries then span 35 s). Each retry has a new nonce, and an
 * answer to any of them counts. What an answer means is decided in itr.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { type Eid, type EidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { Instant, Random } from '../capabilities.js'
import { sendControl } from '../control-datagram.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import {
  type Algorithms,
  type Asked,
  FIRST_CHOICE,
  type ProtectedAsking,
  type Retry,
} from '../lisp-sec/lisp-sec-asking.js'
import { encapsulatedRequest } from './map-request-form.js'
import type { SubscribingForm } from './subscriber.js'

/** Called once with what the mapping system said; undefined = it did not answer in time. */
export type OnAnswer = (mapping: Mapping | undefined, now: Instant, outputs: Output[]) => void

export type Reason =
  /** Packets are held for it. */
  | { readonly kind: 'hold' }
  /** A cached mapping in use nears its end. */
  | { readonly kind: 'refresh' }
  /** Someone said that the mapping has changed (RFC 9301 §6.1). */
  | { readonly kind: 'smr' }
  /** Another role or an operator wants to know. */
  | { readonly kind: 'question'; readonly giveUpAt: Instant; readonly onAnswer: OnAnswer }

export interface PendingRequest {
  readonly key: string
  readonly eidPrefix: EidPrefix
  readonly source: Eid | undefined
  readonly nonces: bigint[]
  readonly startedAt: Instant
  attempts: number
  lastSentAt: Instant
  nextAt: Instant
  held: boolean
  refresh: boolean
  smrInvoked: boolean
  questions: { readonly giveUpAt: Instant; readonly onAnswer: OnAnswer }[]
  /** The last one sent has the N bit. */
  subscribing: boolean
  /** Not to be sent with the N bit again. */
  plain: boolean
  /** The one-time keys of `nonces` (RFC 9303 §6.4); they go when the request does. */
  readonly asked: Map<bigint, Asked>
  algorithms: Algorithms
  /** Not to be sent with LISP-SEC again. */
  unprotected: boolean
}

export type AskOutcome =
  | 'asked'
  | 'already-pending'
  | 'held-down'
  | 'too-many-pending'
  | 'no-map-resolver'

export interface PendingRequests {
  /** Asks for `eidPrefix`, or joins the request that is under way. */
  ask(
    eidPrefix: EidPrefix,
    source: Eid | undefined,
    reason: Reason,
    now: Instant,
    outputs: Output[],
  ): AskOutcome
  /** The request that carried this nonce; it stays pending until `finish`. */
  find(nonce: bigint): PendingRequest | undefined
  /** The request is answered; asks once more, in time, if a solicitation came meanwhile. */
  finish(request: PendingRequest, now: Instant, outputs: Output[]): void
  /** Asks again without the N bit, as soon as the rate allows. */
  askPlainly(request: PendingRequest): void
  /** Asks again without LISP-SEC, or for other algorithms, as soon as the rate allows. */
  askOtherwise(request: PendingRequest, retry: Retry): void
  /** A request is planned or sent. */
  isPending(eidPrefix: EidPrefix): boolean
  /** A request has been sent: what is learned now it cannot know. */
  isUnderWay(eidPrefix: EidPrefix): boolean
  /** Sends what is due; returns the requests given up, which are no longer pending. */
  handleDeadline(now: Instant, outputs: Output[]): readonly PendingRequest[]
  deadline(): Instant | undefined
  readonly size: number
}

/** RFC 9301 §5.3: MUST, at most one Map-Request a second per EID-prefix. */
const MINIMUM_SPACING_MS = 1000
/** RFC 9301 §5.3: after 10 unanswered requests wait 30 s. */
const MAXIMUM_ATTEMPTS = 10
const HOLD_DOWN_MS = 30_000
const FIRST_RETRY_MS = 1000
const MAXIMUM_RETRY_MS = 4000
/** Questions on one prefix; more are answered "no reply" at once. */
const MAXIMUM_QUESTIONS = 64

/** How a request for the prefix is to subscribe, after so many tries (RFC 9437). */
export type Subscribes = (
  eidPrefix: EidPrefix,
  attempt: number,
  outputs: Output[],
) => SubscribingForm | undefined

export function createPendingRequests(
  config: NodeConfig,
  random: Random,
  subscribes: Subscribes = () => undefined,
  asking?: ProtectedAsking,
): PendingRequests {
  const byKey = new Map<string, PendingRequest>()
  const byNonce = new Map<bigint, PendingRequest>()
  /** When a prefix was last asked for; kept a second beyond the request. Insertion order = time order. */
  const lastSent = new Map<string, Instant>()
  const heldDown = new Map<string, Instant>()
  const deadlines = createDeadlines()
  const maximum = config.mapCache.maximumPendingRequests
  let resolverIndex = 0

  function transmit(request: PendingRequest, now: Instant, outputs: Output[]): void {
    const resolvers = config.mapResolvers
    // A retry means that this Map-Resolver did not answer: the next one becomes the preferred one.
    if (request.attempts > 0) resolverIndex = (resolverIndex + 1) % resolvers.length
    const resolver = resolvers[resolverIndex % resolvers.length]!
    const subscription = isTable(request)
      ? subscribes(request.eidPrefix, request.plain ? Infinity : request.attempts, outputs)
      : undefined
    const nonce = subscription?.nonce ?? random.nonce()
    request.subscribing = subscription !== undefined
    request.attempts += 1
    request.lastSentAt = now
    request.nonces.push(nonce)
    byNonce.set(nonce, request)
    lastSent.delete(request.key)
    lastSent.set(request.key, now)
    forgetOld(lastSent, now - MINIMUM_SPACING_MS, maximum)
    const protection = protect(request, nonce, resolver)
    const eidPrefix = request.key
    if (protection === 'unable') {
      const event = { name: 'resolution-failed', severity: 'warning', reason: 'no-key' } as const
      outputs.push({ kind: 'event', event: { ...event, eidPrefix } })
    } else {
      const data = protection?.data
      sendControl(
        config,
        resolver,
        encapsulatedRequest(config, request, nonce, subscription, data),
        outputs,
      )
    }
    const reason = request.smrInvoked ? 'smr' : request.refresh ? 'refresh' : 'resolve'
    outputs.push({
      kind: 'event',
      event: {
        name: 'map-request-sent',
        severity: 'debug',
        reason,
        eidPrefix,
        attempt: request.attempts,
        ...(request.asked.has(nonce) ? { security: 'lisp-sec' } : {}),
      },
    })
    const delay = Math.min(FIRST_RETRY_MS * 2 ** (request.attempts - 1), MAXIMUM_RETRY_MS)
    request.nextAt = now + delay
  }

  function protect(
    request: PendingRequest,
    nonce: bigint,
    resolver: Rloc,
  ): Asked | 'unable' | undefined {
    if (asking === undefined || request.unprotected) return undefined
    const { attempts, algorithms } = request
    const asked = asking.protect(nonce, resolver, attempts - 1, algorithms)
    if (asked === 'plainly') return undefined
    if (asked !== 'unable') request.asked.set(nonce, asked)
    return asked
  }

  function askSoon(request: PendingRequest): void {
    request.nextAt = request.lastSentAt + MINIMUM_SPACING_MS
    schedule(request)
  }

  function schedule(request: PendingRequest): void {
    let at = request.nextAt
    for (const question of request.questions) at = Math.min(at, question.giveUpAt)
    deadlines.set(request.key, at)
  }

  function remove(request: PendingRequest): void {
    byKey.delete(request.key)
    for (const nonce of request.nonces) byNonce.delete(nonce)
    request.asked.clear()
    deadlines.cancel(request.key)
  }

  function start(eidPrefix: EidPrefix, source: Eid | undefined, now: Instant): PendingRequest {
    const key = formatEidPrefix(eidPrefix)
    const earliest = (lastSent.get(key) ?? Number.NEGATIVE_INFINITY) + MINIMUM_SPACING_MS
    const request: PendingRequest = {
      key,
      eidPrefix,
      source,
      nonces: [],
      startedAt: now,
      attempts: 0,
      lastSentAt: Number.NEGATIVE_INFINITY,
      nextAt: Math.max(now, earliest),
      held: false,
      refresh: false,
      smrInvoked: false,
      questions: [],
      subscribing: false,
      plain: false,
      asked: new Map(),
      algorithms: FIRST_CHOICE,
      unprotected: false,
    }
    byKey.set(key, request)
    return request
  }

  function ask(
    eidPrefix: EidPrefix,
    source: Eid | undefined,
    reason: Reason,
    now: Instant,
    outputs: Output[],
  ): AskOutcome {
    if (config.mapResolvers.length === 0) return 'no-map-resolver'
    const key = formatEidPrefix(eidPrefix)
    let request = byKey.get(key)
    const known = request !== undefined
    if (request === undefined) {
      if ((heldDown.get(key) ?? now) > now) return 'held-down'
      if (byKey.size >= maximum) return 'too-many-pending'
      request = start(eidPrefix, source, now)
    }
    if (reason.kind === 'question') {
      if (request.questions.length >= MAXIMUM_QUESTIONS) return 'too-many-pending'
      request.questions.push(reason)
    } else if (reason.kind === 'hold') request.held = true
    else if (reason.kind === 'refresh') request.refresh = true
    else request.smrInvoked = true
    if (request.nextAt <= now) transmit(request, now, outputs)
    schedule(request)
    return known ? 'already-pending' : 'asked'
  }

  function isWanted(request: PendingRequest): boolean {
    return request.held || request.refresh || request.smrInvoked || request.questions.length > 0
  }

  /** The answer goes into the map-cache, where it must be kept true. */
  function isTable(request: PendingRequest): boolean {
    return request.held || request.refresh || request.smrInvoked
  }

  return {
    ask,
    find: (nonce) => byNonce.get(nonce),
    finish(request, now, outputs) {
      remove(request)
      heldDown.delete(request.key)
      for (const question of request.questions.splice(0)) question.onAnswer(undefined, now, outputs)
    },
    askPlainly(request) {
      request.plain = true
      askSoon(request)
    },
    askOtherwise(request, retry) {
      if (retry === 'plainly') request.unprotected = true
      else request.algorithms = retry
      askSoon(request)
    },
    isPending: (eidPrefix) => byKey.has(formatEidPrefix(eidPrefix)),
    isUnderWay: (eidPrefix) => (byKey.get(formatEidPrefix(eidPrefix))?.attempts ?? 0) > 0,
    handleDeadline(now, outputs) {
      const givenUp: PendingRequest[] = []
      for (const key of deadlines.due(now)) {
        const request = byKey.get(key)
        if (request === undefined) continue
        const late = request.questions.filter((one) => one.giveUpAt <= now)
        request.questions = request.questions.filter((one) => one.giveUpAt > now)
        if (!isWanted(request)) remove(request)
        else if (request.nextAt > now) schedule(request)
        else if (request.attempts < MAXIMUM_ATTEMPTS) {
          transmit(request, now, outputs)
          schedule(request)
        } else {
          remove(request)
          heldDown.set(key, now + HOLD_DOWN_MS)
          forgetOld(heldDown, now, maximum)
          late.push(...request.questions.splice(0))
          givenUp.push(request)
        }
        for (const question of late) question.onAnswer(undefined, now, outputs)
      }
      return givenUp
    },
    deadline: () => deadlines.next(),
    get size() {
      return byKey.size
    },
  }
}

/** Drops leading entries not after `limit`, and the oldest above `maximum`. */
function forgetOld(table: Map<string, Instant>, limit: Instant, maximum: number): void {
  for (const [key, at] of table) {
    if (at > limit && table.size <= maximum) return
    table.delete(key)
  }
}
