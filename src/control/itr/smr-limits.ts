/**
 * Which solicitations are listened to at all (RFC 9301 §6.1): anybody can send an SMR from any
 * address, each one costs the mapping system a question, and a cached prefix has many EIDs.
 *
 * Bounded are: what one source asks for; what all those ask for that are not in the cached
 * locator-set (they can be anybody, so they share one bucket); what is asked about one cached prefix;
 * and the share of pending requests that solicitations may take from the packets that wait for a
 * mapping. The cached entry stays in any case: traffic does not depend on any of this.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses, formatIpAddress } from '../../lisp/address.js'
import { formatEidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { Instant } from '../capabilities.js'
import { createRateLimit } from '../rate-limit.js'

export interface SmrLimits {
  /** Why an SMR about an EID of this cached mapping is not followed; undefined when it is. */
  objectionTo(from: Rloc, cached: Mapping, now: Instant): SmrObjection | undefined
}

export type SmrObjection = 'pending-share' | 'prefix-rate' | 'source-rate' | 'stranger-rate'

/** Our choice: EIDs of one SMR that are looked at; we write one, others up to a handful. */
export const MAXIMUM_SMR_EIDS = 16
/** Our choice: a rack that leaves a coarse prefix at once, and what follows it. */
const PER_CACHED_PREFIX = { burst: 256, refillPerSecond: 64, maximumKeys: 16_384 }
/** Our choice: an xTR that has left and is not in the mapping yet is rare, and repeats itself. */
const STRANGERS = { burst: 100, refillPerSecond: 20, maximumKeys: 1 }
const MAXIMUM_SOURCES = 16_384
/** Of the pending requests; the rest is for packets that wait. */
const PENDING_SHARE = 1 / 2

/** @param pendingRequests how many requests are pending now */
export function createSmrLimits(config: NodeConfig, pendingRequests: () => number): SmrLimits {
  const { smrPerLocatorPerSecond, maximumPendingRequests } = config.mapCache
  const sources = createRateLimit({
    // What an xTR of ours sends to one RLOC in its first second: the burst and the refill.
    burst: Math.max(1, Math.ceil(2 * smrPerLocatorPerSecond)),
    refillPerSecond: smrPerLocatorPerSecond,
    maximumKeys: MAXIMUM_SOURCES,
  })
  const strangers = createRateLimit(STRANGERS)
  const prefixes = createRateLimit(PER_CACHED_PREFIX)

  return {
    objectionTo(from, cached, now) {
      if (pendingRequests() >= maximumPendingRequests * PENDING_SHARE) return 'pending-share'
      if (!sources.take(formatIpAddress(from), now)) return 'source-rate'
      const isStranger = !cached.locators.some(({ rloc }) => equalIpAddresses(rloc, from))
      if (isStranger && !strangers.take('all', now)) return 'stranger-rate'
      return prefixes.take(formatEidPrefix(cached.eidPrefix), now) ? undefined : 'prefix-rate'
    },
  }
}
