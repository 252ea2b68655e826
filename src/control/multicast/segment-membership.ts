/**
 * IGMP or MLD on one segment: messages in and out, the querier and the listeners put together.
 *
 * Supported standards: IGMPv1 to 3 (RFC 1112, RFC 2236, RFC 3376), MLDv1 and 2 (RFC 2710, RFC 3810), as a
 * router. What is not from this link is not used (MLD: link-local source, hop limit 1, router alert,
 * RFC 3810 §6.2; IGMP has no such rule, and hosts without an address report from 0.0.0.0). With an older
 * version configured, queries are of it and newer reports are not heard, as a router of that version
 * would have it (RFC 3376 §7.3.1).
 */
import {
  equalIpAddresses,
  formatIpAddress,
  type IpAddress,
  ipAddress,
  isLinkLocal,
  isUnspecified,
  type MacAddress,
  parseIpAddress,
} from '../../lisp/address.js'
import { decodeIgmp, encodeIgmp } from '../../lisp/multicast/igmp.js'
import {
  type GroupRecord,
  type MembershipMessage,
  type MembershipQuery,
  maxResponseMs,
} from '../../lisp/multicast/membership.js'
import { decodeMld, encodeMld } from '../../lisp/multicast/mld.js'
import type { Instant } from '../capabilities.js'
import { earliest } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { push, report } from '../outputs.js'
import type { SegmentEvent } from '../segment-vocabulary.js'
import { createGroupQueries, type QueryText } from './group-queries.js'
import { lowerTimers } from './listener-state.js'
import {
  lastMemberMs,
  type MembershipTiming,
  maxResponseCode,
  queryIntervalCode,
} from './membership-timing.js'
import { createQuerier } from './querier.js'
import {
  createSegmentListeners,
  isHostOf,
  isSourceSpecific,
  type ListenerChange,
  type Question,
  type Reported,
  type SegmentListeners,
  type SegmentTerms,
} from './segment-listeners.js'
import type { SegmentView } from './segment-views.js'

export interface SegmentMembership {
  setAddress(address: IpAddress | undefined, now: Instant, outputs: Output[]): void
  receive(packet: SegmentPacketEvent, now: Instant, outputs: Output[]): void
  /** This host has just come: it is asked alone, and answers at once. */
  greet(mac: MacAddress, now: Instant, outputs: Output[]): void
  /** This host is gone for good. */
  bid(mac: MacAddress | undefined, address: IpAddress, now: Instant, outputs: Output[]): void
  readonly listeners: SegmentListeners
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  view(): SegmentView
}

export type SegmentPacketEvent = Extract<SegmentEvent, { kind: 'segment-packet' }>

export interface SegmentOptions extends Omit<SegmentTerms, 'newest'> {
  readonly family: 4 | 6
  /** IGMP 1–3, MLD 1–2: what we speak. */
  readonly version: number
  readonly timing: MembershipTiming
}

export interface SegmentHooks {
  readonly changed: ListenerChange
  /** Another one is querier, or we are again. */
  querierChanged(
    elected: IpAddress | undefined,
    isOurs: boolean,
    now: Instant,
    outputs: Output[],
  ): void
}

/** Our choice: hosts answer the first query after a start within this, not within ten seconds. */
const FIRST_RESPONSE_MS = 1000
/** Our choice: a host that has just come answers within this (IGMP cannot say less). */
const GREETING_MS = 100
/** Events about what was refused or ignored on a segment, but for those at severity debug. */
const NOTICE_EVERY_MS = 1000

export function createSegmentMembership(
  options: SegmentOptions,
  hooks: SegmentHooks,
): SegmentMembership {
  const { family, interfaceName } = options
  const protocol = family === 4 ? 'igmp' : 'mld'
  const newest = family === 4 ? 3 : 2
  const querier = createQuerier(options.timing)
  const queries = createGroupQueries()
  const listeners = createSegmentListeners({ ...options, newest }, hooks.changed)
  let refused = 0
  let ignored = 0
  let noticeAfter = Number.NEGATIVE_INFINITY

  // ------------------------------------------------------------------ queries of ours

  function send(
    query: Omit<MembershipQuery, 'kind' | 'protocol' | 'version' | 'sourceTerms'>,
    text: QueryText,
    mac: MacAddress | undefined,
    outputs: Output[],
  ): void {
    const source = querier.address()
    if (source === undefined) return
    const { robustness, queryIntervalMs } = querier.timing()
    const sources = text.sources.map((one) => parseIpAddress(one)!)
    const terms = {
      suppressRouterProcessing: text.suppress,
      // RFC 3376 §4.1.6: what three bits cannot say is zero.
      robustness: robustness > 7 ? 0 : robustness,
      queryIntervalCode: queryIntervalCode(queryIntervalMs),
      sources,
    }
    const version = options.version as 1 | 2 | 3
    const message: MembershipQuery = {
      kind: 'membership-query',
      protocol,
      version,
      ...query,
      ...(version === newest ? { sourceTerms: terms } : {}),
    }
    const isGeneral = isUnspecified(query.group)
    const destination = isGeneral ? ALL_HOSTS[family] : query.group
    const payload =
      protocol === 'igmp' ? encodeIgmp(message) : encodeMld(message, { source, destination })
    const about = { interfaceName, protocol, source, destination, payload } as const
    push(outputs, { kind: 'send-on-segment', ...about, ...(mac === undefined ? {} : { mac }) })
  }

  function sendGeneral(responseMs: number, mac: MacAddress | undefined, outputs: Output[]): void {
    const code = maxResponseCode(protocol, options.version, responseMs)
    const text = { suppress: false, sources: [] }
    send({ group: ANY_GROUP[family], maxResponseCode: code }, text, mac, outputs)
  }

  function askRound(key: string, now: Instant, outputs: Output[]): void {
    const state = listeners.state(key)
    const group = listeners.group(key)
    if (state === undefined || group === undefined) {
      queries.forget(key)
      return
    }
    const { lastMemberQueryMs } = options.timing
    const times = { intervalMs: lastMemberQueryMs, lastMemberMs: lastMemberMs(querier.timing()) }
    const maxCode = maxResponseCode(protocol, options.version, lastMemberQueryMs)
    for (const text of queries.round(key, state, times, now)) {
      const isAboutSources = text.sources.length > 0
      // Older versions cannot ask about sources, and nobody joins an SSM group as a whole.
      if (isAboutSources ? options.version !== newest : isSourceSpecific(group)) continue
      send({ group, maxResponseCode: maxCode }, text, undefined, outputs)
    }
    listeners.touched(key, now)
  }

  function ask(questions: readonly Question[], now: Instant, outputs: Output[]): void {
    // RFC 3376 §6.4.2: only the querier asks; the others hear it ask.
    if (!querier.isOurs() || options.version === 1) return
    for (const question of questions)
      queries.ask(question.key, question, querier.timing().robustness, now)
    runQueries(now, outputs)
  }

  function runQueries(now: Instant, outputs: Output[]): void {
    for (const key of queries.due(now)) askRound(key, now, outputs)
  }

  // ------------------------------------------------------------------ messages of others

  function ignore(
    reason: string,
    packet: SegmentPacketEvent,
    now: Instant,
    outputs: Output[],
  ): void {
    ignored += 1
    report(outputs, 'membership-ignored', severityAt(now), {
      ...{ reason, interfaceName, protocol, from: formatIpAddress(packet.source) },
    })
  }

  /** The first of a second is told aloud. */
  function severityAt(now: Instant): 'notice' | 'debug' {
    if (now < noticeAfter) return 'debug'
    noticeAfter = now + NOTICE_EVERY_MS
    return 'notice'
  }

  function handleQuery(
    query: MembershipQuery,
    packet: SegmentPacketEvent,
    now: Instant,
    outputs: Output[],
  ): void {
    if (query.version !== options.version && !isUnspecified(packet.source))
      report(outputs, 'querier-version-differs', severityAt(now), {
        ...{ interfaceName, protocol, from: formatIpAddress(packet.source) },
        ...{ theirs: query.version, ours: options.version },
      })
    if (querier.heard(query, packet.source, now)) tellQuerier(now, outputs)
    if (querier.isOurs() || query.sourceTerms?.suppressRouterProcessing === true) return
    if (isUnspecified(query.group)) return
    // RFC 3376 §6.6.1: what the querier asks about ends, unless somebody answers.
    const key = formatIpAddress(query.group)
    const state = listeners.state(key)
    if (state === undefined) return
    const sources = (query.sourceTerms?.sources ?? []).map(formatIpAddress)
    const lowered = { group: sources.length === 0, sources }
    lowerTimers(state, lowered, now + maxResponseMs(query) * querier.timing().robustness)
    listeners.touched(key, now)
  }

  function tellQuerier(now: Instant, outputs: Output[]): void {
    const elected = querier.elected()
    if (!querier.isOurs()) queries.forgetAll()
    const isOurs = querier.isOurs()
    const name = elected ?? querier.address()
    report(outputs, 'querier-elected', 'notice', {
      ...{ interfaceName, protocol, ours: isOurs, querier: name && formatIpAddress(name) },
    })
    hooks.querierChanged(elected, isOurs, now, outputs)
  }

  function handleReport(
    version: number,
    records: readonly GroupRecord[],
    packet: SegmentPacketEvent,
    now: Instant,
    outputs: Output[],
  ): void {
    if (version > options.version) {
      ignore('newer-version', packet, now, outputs)
      return
    }
    const reported: Reported = { host: packet.source, mac: packet.mac, version, records }
    const outcome = listeners.report(reported, querier.timing(), now)
    for (const [reason, count] of outcome.refused) {
      refused += count
      report(outputs, 'group-refused', severityAt(now) === 'notice' ? 'warning' : 'debug', {
        ...{ reason, interfaceName, host: formatIpAddress(packet.source), records: count },
      })
    }
    ask(outcome.questions, now, outputs)
  }

  function handleMessage(
    message: MembershipMessage,
    packet: SegmentPacketEvent,
    now: Instant,
    outputs: Output[],
  ): void {
    if (message.kind === 'membership-query') handleQuery(message, packet, now, outputs)
    else if (message.kind === 'source-membership-report')
      handleReport(newest, message.records, packet, now, outputs)
    else if (message.kind === 'membership-report') {
      // RFC 3376 §7.3.2: IS_EX({}) is what an older report says.
      const record = { type: 'mode-is-exclude', group: message.group, sources: [] } as const
      handleReport(message.version, [record], packet, now, outputs)
    } else {
      // And TO_IN({}) what an older leave says. IGMPv1 has none.
      const record = { type: 'change-to-include', group: message.group, sources: [] } as const
      handleReport(newest - 1, [record], packet, now, outputs)
    }
  }

  return {
    setAddress(address, now, outputs) {
      // RFC 4541 §2.1.1: without an address, 0.0.0.0; whoever has one is querier before us.
      const own = address ?? (family === 4 ? NOWHERE : undefined)
      const wasOurs = querier.isOurs()
      querier.setAddress(own, now)
      if (querier.isOurs() !== wasOurs) tellQuerier(now, outputs)
      this.handleDeadline(now, outputs)
    },
    receive(packet, now, outputs) {
      const own = querier.address()
      // Also what the bridge itself asks in our name.
      if (own !== undefined && equalIpAddresses(packet.source, own) && !isUnspecified(own)) return
      const message =
        protocol === 'igmp' ? decodeIgmp(packet.payload) : decodeMld(packet.payload, packet)
      if (message.kind === 'malformed') return ignore(message.code, packet, now, outputs)
      const isOfLink =
        isLinkLocal(packet.source) && packet.hopLimit === 1 && packet.routerAlert === true
      if (protocol === 'mld' && !isOfLink) return ignore('not-of-the-link', packet, now, outputs)
      handleMessage(message, packet, now, outputs)
    },
    greet(mac, _now, outputs) {
      sendGeneral(GREETING_MS, mac, outputs)
    },
    bid(mac, address, now, outputs) {
      ask(listeners.drop(isHostOf(mac, address), now), now, outputs)
    },
    listeners,
    handleDeadline(now, outputs) {
      for (const step of querier.handleDeadline(now)) {
        if (step.kind === 'elected') tellQuerier(now, outputs)
        else {
          const { queryResponseMs } = querier.timing()
          const ms = step.first ? Math.min(FIRST_RESPONSE_MS, queryResponseMs) : queryResponseMs
          sendGeneral(ms, undefined, outputs)
        }
      }
      runQueries(now, outputs)
      listeners.handleDeadline(now)
    },
    deadline: () => earliest(querier.deadline(), queries.deadline(), listeners.deadline()),
    view() {
      const own = querier.address()
      const elected = querier.elected() ?? own
      const { queryIntervalMs, robustness } = querier.timing()
      return {
        ...{ interfaceName, family, version: options.version, isQuerier: querier.isOurs() },
        address: own && formatIpAddress(own),
        querier: elected && formatIpAddress(elected),
        ...{ queryIntervalMs, robustness, refused, ignored },
        ...listeners.counts(),
      }
    },
  }
}

const NOWHERE = ipAddress(new Uint8Array(4))
const ANY_GROUP = { 4: NOWHERE, 6: ipAddress(new Uint8Array(16)) } as const
const ALL_HOSTS = { 4: parseIpAddress('224.0.0.1')!, 6: parseIpAddress('ff02::1')! } as const
