/**
 * Following solicitations (RFC 9301 §6.1): which SMR leads to a Map-Request, and when.
 *
 * Supported standards: one SMR-invoked Map-Request per 3 s and EID is recommended; ours is a token
 * bucket (burst 4), so that a quick second move is followed as quickly as the first. A token is paid
 * for a request, not for an SMR: what comes while a request is planned shares it, and what comes
 * while one is under way leads to another only if the answer does not say what the SMR meant. An xTR
 * that an EID has left solicits each of our RLOCs, and is content when the answer no longer names it.
 * Over the rate one question trails, so the last move of a quick series is followed within 3 s.
 */
import { equalIpAddresses } from '../../lisp/address.js'
import { type Eid, formatEid, formatEidPrefix, hostPrefix } from '../../lisp/eid.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import { createRateLimit } from '../rate-limit.js'
import type { PendingRequests } from './pending-requests.js'

export interface SmrFollowing {
  /** `cached`: the locators known for the EID when the SMR came. */
  follow(eid: Eid, from: Rloc, cached: readonly Locator[], now: Instant, outputs: Output[]): void
  /** The request for this EID-prefix is over; `answer` is undefined when there was none. */
  settled(
    eidPrefix: string,
    answer: readonly Locator[] | undefined,
    now: Instant,
    outputs: Output[],
  ): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

interface Unsettled {
  readonly eid: Eid
  /** Who was in the mapping when it solicited; undefined when somebody else did as well. */
  leavers: Rloc[] | undefined
}

const LIMIT = { burst: 4, refillPerSecond: 1 / 3, maximumKeys: 65_536 }
/** EIDs with a trailing question, and with solicitations during a request. */
const MAXIMUM_WAITING = 16_384
const MAXIMUM_LEAVERS = 8

/** @param isCached whether there still is something to bring up to date */
export function createSmrFollowing(
  pending: PendingRequests,
  isCached: (eid: Eid, now: Instant) => boolean,
): SmrFollowing {
  const limit = createRateLimit(LIMIT)
  const trailing = createDeadlines()
  const trailingEids = new Map<string, Eid>()
  const unsettled = new Map<string, Unsettled>()

  function ask(eid: Eid, now: Instant, outputs: Output[]): void {
    const eidPrefix = hostPrefix(eid)
    const key = formatEidPrefix(eidPrefix)
    if (pending.isPending(eidPrefix) || limit.take(key, now)) {
      pending.ask(eidPrefix, undefined, { kind: 'smr' }, now, outputs)
      return
    }
    report(outputs, 'smr-suppressed', 'info', { reason: 'invoked-rate', eid: formatEid(eid) })
    if (trailingEids.has(key) || trailingEids.size >= MAXIMUM_WAITING) return
    trailing.set(key, limit.reserve(key, now))
    trailingEids.set(key, eid)
  }

  return {
    follow(eid, from, cached, now, outputs) {
      const eidPrefix = hostPrefix(eid)
      if (!pending.isUnderWay(eidPrefix)) {
        ask(eid, now, outputs)
        return
      }
      const key = formatEidPrefix(eidPrefix)
      const one = unsettled.get(key) ?? { eid, leavers: [] }
      if (!unsettled.has(key) && unsettled.size >= MAXIMUM_WAITING) return
      const isLeaver = cached.some(({ rloc }) => equalIpAddresses(rloc, from))
      if (isLeaver && (one.leavers?.length ?? 0) < MAXIMUM_LEAVERS) one.leavers?.push(from)
      else one.leavers = undefined
      unsettled.set(key, one)
    },
    settled(eidPrefix, answer, now, outputs) {
      const one = unsettled.get(eidPrefix)
      if (one === undefined) return
      unsettled.delete(eidPrefix)
      const stays = (leaver: Rloc): boolean =>
        answer?.some(({ rloc }) => equalIpAddresses(rloc, leaver)) ?? true
      if (one.leavers === undefined || one.leavers.some(stays)) ask(one.eid, now, outputs)
    },
    handleDeadline(now, outputs) {
      for (const key of trailing.due(now)) {
        const eid = trailingEids.get(key)
        trailingEids.delete(key)
        // The token is paid already.
        if (eid !== undefined && isCached(eid, now))
          pending.ask(hostPrefix(eid), undefined, { kind: 'smr' }, now, outputs)
      }
    },
    deadline: () => trailing.next(),
  }
}
