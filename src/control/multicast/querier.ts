/**
 * Whether we ask the hosts of a segment, and when (RFC 3376 §6.6.2, RFC 3810 §7.6.2).
 *
 * Every router begins as querier; who hears a query from a lower address is silent until that one has
 * been silent for the Other Querier Present Interval; a higher one is contradicted soon (our
 * choice). What the querier says of robustness and interval holds for all (RFC 3376 §4.1.6,
 * §4.1.7), within `MAXIMUM_INTERVAL_MS`. A query from 0.0.0.0 is of a switch that snoops (RFC 4541
 * §2.1.1) and elects nobody. Older versions of queriers are a matter of configuration (RFC 3376
 * §7.3.1): the caller reports them.
 */
import { compareIpAddresses, type IpAddress, isUnspecified } from '../../lisp/address.js'
import { type MembershipQuery, queryIntervalSeconds } from '../../lisp/multicast/membership.js'
import type { Instant } from '../capabilities.js'
import { type MembershipTiming, otherQuerierMs, startupIntervalMs } from './membership-timing.js'

export interface Querier {
  /** Our address on the segment; undefined: we only listen. Another one begins anew. */
  setAddress(address: IpAddress | undefined, now: Instant): void
  address(): IpAddress | undefined
  isOurs(): boolean
  /** The other one that is elected. */
  elected(): IpAddress | undefined
  /** Of the elected querier, where it says any; else as configured. */
  timing(): MembershipTiming
  /** A query of another router; true when that changes who is querier. */
  heard(query: MembershipQuery, from: IpAddress, now: Instant): boolean
  /** 'query': it is time for a general query. 'elected': the other one is silent, we are querier. */
  handleDeadline(now: Instant): readonly QuerierStep[]
  deadline(): Instant | undefined
}

/** `first` of those after a start: hosts shall answer soon. */
export type QuerierStep = { readonly kind: 'query'; readonly first: boolean } | { kind: 'elected' }

/** Our choice: an interval heard from another querier counts up to this. */
const MAXIMUM_INTERVAL_MS = 3_600_000
/** Our choice: we answer queries of higher addresses so often at most. */
const CONTRADICTION_MS = 1000

export function createQuerier(configured: MembershipTiming): Querier {
  let own: IpAddress | undefined
  let other: { address: IpAddress; until: Instant } | undefined
  let timing = configured
  let nextQueryAt: Instant | undefined
  /** Queries of the start that are still to come. */
  let startup = 0
  let isFirst = false
  let askedAt: Instant | undefined

  /**
   * A router that has just come is querier until it hears us, which may take a query interval: two xTRs
   * would serve the segment meanwhile. So it hears us at once.
   */
  function contradict(now: Instant): void {
    if (nextQueryAt === undefined) return
    const soon = askedAt === undefined ? now : Math.max(now, askedAt + CONTRADICTION_MS)
    nextQueryAt = Math.min(nextQueryAt, soon)
  }

  function begin(now: Instant): void {
    other = undefined
    timing = configured
    startup = configured.robustness
    isFirst = true
    nextQueryAt = own === undefined ? undefined : now
  }

  return {
    setAddress(address, now) {
      const same = address && own ? compareIpAddresses(address, own) === 0 : address === own
      own = address
      if (!same) begin(now)
    },
    address: () => own,
    isOurs: () => own !== undefined && other === undefined,
    elected: () => other?.address,
    timing: () => timing,
    heard(query, from, now) {
      if (isUnspecified(from)) return false
      // Whoever has no address of its own to be elected with lets anybody be it.
      const isLower = own === undefined || isUnspecified(own) || compareIpAddresses(from, own) < 0
      const isBetter = other === undefined || compareIpAddresses(from, other.address) <= 0
      if (!isLower && other === undefined) contradict(now)
      if (!isLower || !isBetter) return false
      const before = other
      timing = adopted(configured, query)
      other = { address: from, until: now + otherQuerierMs(timing) }
      nextQueryAt = undefined
      return before === undefined || compareIpAddresses(before.address, from) !== 0
    },
    handleDeadline(now) {
      const steps: QuerierStep[] = []
      if (other !== undefined && other.until <= now) {
        other = undefined
        timing = configured
        // RFC 3376 §6.6.2: general queries again, without those of a start.
        startup = 0
        nextQueryAt = own === undefined ? undefined : now
        steps.push({ kind: 'elected' })
      }
      if (nextQueryAt !== undefined && nextQueryAt <= now) {
        steps.push({ kind: 'query', first: isFirst })
        askedAt = now
        isFirst = false
        startup -= 1
        const wait = startup > 0 ? startupIntervalMs(timing) : timing.queryIntervalMs
        nextQueryAt = now + wait
      }
      return steps
    },
    deadline: () => other?.until ?? nextQueryAt,
  }
}

function adopted(configured: MembershipTiming, query: MembershipQuery): MembershipTiming {
  const seconds = queryIntervalSeconds(query) ?? 0
  const robustness = query.sourceTerms?.robustness ?? 0
  return {
    ...configured,
    // Zero says nothing, in both.
    robustness: robustness === 0 ? configured.robustness : robustness,
    queryIntervalMs:
      seconds === 0 ? configured.queryIntervalMs : Math.min(seconds * 1000, MAXIMUM_INTERVAL_MS),
  }
}
