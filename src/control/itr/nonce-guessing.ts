/**
 * Whether somebody is guessing nonces (RFC 9301 §9: the 64-bit nonce is what proves a Map-Reply).
 *
 * Against a random nonce of 64 bits guessing is hopeless and this changes nothing. The nonce of a
 * Map-Request that subscribes must rise (RFC 9437 §5) and so has fewer random bits (subscriber.ts: 35);
 * with thousands of requests pending, some million guesses would hit one. So while many wrong nonces
 * come, a plain Map-Reply to such a request is not believed; the question is asked again without the
 * N bit, with all 64 bits drawn. Our choice: no source is shut out, because sources can be forged, and
 * the Map-Server's own address would be the first to be tried.
 */
import type { Instant } from '../capabilities.js'
import { createRateLimit } from '../rate-limit.js'

export interface NonceGuessing {
  /** A Map-Reply has come whose nonce is none of ours. */
  wrong(now: Instant): void
  /** True while more wrong nonces come than honest peers cause by late and repeated answers. */
  isUnderWay(now: Instant): boolean
}

/** Our choice: late answers after a restart, one of each pending request, come at once. */
const HARMLESS = { burst: 1000, refillPerSecond: 20, maximumKeys: 1 }
/** How long the suspicion stays after the last wrong nonce beyond the harmless rate. */
const SUSPICION_MS = 60_000

export function createNonceGuessing(): NonceGuessing {
  const harmless = createRateLimit(HARMLESS)
  let suspiciousUntil = Number.NEGATIVE_INFINITY
  return {
    wrong(now) {
      if (!harmless.take('all', now)) suspiciousUntil = now + SUSPICION_MS
    },
    isUnderWay: (now) => now < suspiciousUntil,
  }
}
