/**
 * Who sent to the EIDs of this site in the last minute, as far as the datapath tells (`sender-seen`).
 *
 * RFC 9301 §6.1 names them as those to solicit when a mapping changes: the ITRs that have sent within
 * the last minute. Static prefixes are watched only when somebody needs it, because watching costs
 * every packet. At most 4,096 pairs of EID and sender, the one silent longest goes first.
 */
import { formatIpAddress } from '../../lisp/address.js'
import { type Eid, formatEid } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Instant } from '../capabilities.js'

export interface RecentSender {
  readonly eid: Eid
  readonly sender: Rloc
  readonly at: Instant
}

export interface RecentSenders {
  note(one: RecentSender): void
  /** Those of the last minute. */
  all(now: Instant): RecentSender[]
  /** Who sent to any of these EIDs in the last minute, each once, the latest first, at most `limit`. */
  to(eids: readonly Eid[], limit: number, now: Instant): Rloc[]
}

/** RFC 9301 §6.1: ITRs that have sent within the last minute. */
export const RECENT_MS = 60_000
/** Our choice: pairs of EID and sender, some 200 bytes each. */
export const MAXIMUM_RECENT_SENDERS = 4096

export function createRecentSenders(): RecentSenders {
  /** By EID and sender, in the order of the last packet. */
  const recent = new Map<string, RecentSender>()
  const all = (now: Instant): RecentSender[] =>
    [...recent.values()].filter(({ at }) => now - at < RECENT_MS)

  return {
    note(one) {
      const key = senderKey(one)
      recent.delete(key)
      recent.set(key, one)
      if (recent.size > MAXIMUM_RECENT_SENDERS)
        for (const oldest of recent.keys()) if (recent.delete(oldest)) break
    },
    all,
    to(eids, limit, now) {
      const wanted = new Set(eids.map(formatEid))
      const found = new Map<string, Rloc>()
      for (const { eid, sender } of all(now).reverse()) {
        if (found.size >= limit) break
        if (wanted.has(formatEid(eid))) found.set(formatIpAddress(sender), sender)
      }
      return [...found.values()]
    },
  }
}

/** One text for one EID and sender. */
export function senderKey({ eid, sender }: Pick<RecentSender, 'eid' | 'sender'>): string {
  return `${formatEid(eid)} ${formatIpAddress(sender)}`
}
