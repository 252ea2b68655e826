/**
 * How many misses one host of a site may cause: a scan must not take the mapping system, the table of
 * pending requests or the map-cache away from the other hosts (RFC 9301 §5.3 limits Map-Requests per
 * EID-prefix only).
 *
 * One token bucket per inner source EID, in proportion to the table of pending requests: a tenth of
 * it at once, and so many a second that a source whose questions are never answered (35 s each)
 * holds less than a quarter of it.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { type Eid, formatEid } from '../../lisp/eid.js'
import type { Instant } from '../capabilities.js'
import { createRateLimit } from '../rate-limit.js'

export interface MissLimits {
  /** Whether a packet of `source` may lead to a Map-Request; takes a token when it may. */
  take(source: Eid, now: Instant): boolean
}

/** Share of the pending requests that one source may ask for at once. */
const BURST_SHARE = 1 / 10
/** Share per second: 35 s of it and the burst are 0.24. */
const REFILL_SHARE = 1 / 250
const MAXIMUM_SOURCES = 4096

export function createMissLimits(config: NodeConfig): MissLimits {
  const { maximumPendingRequests } = config.mapCache
  const limit = createRateLimit({
    burst: Math.max(1, Math.ceil(maximumPendingRequests * BURST_SHARE)),
    refillPerSecond: Math.max(1, maximumPendingRequests * REFILL_SHARE),
    maximumKeys: MAXIMUM_SOURCES,
  })
  return { take: (source, now) => limit.take(formatEid(source), now) }
}
