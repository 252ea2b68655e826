/**
 * Token buckets by key, in bounded memory.
 *
 * Every key is one number: the moment at which its bucket will be full again (virtual scheduling of
 * ITU-T I.371, equal to a token bucket). When there are too many keys the one unused longest goes; a
 * bucket that is full says nothing, so that usually nothing is forgotten. Time comes from the caller.
 */
import type { Instant } from './capabilities.js'

export interface RateLimitOptions {
  /** Tokens in a full bucket, ≥ 1. */
  readonly burst: number
  readonly refillPerSecond: number
  /** Keys remembered, ≥ 1. */
  readonly maximumKeys: number
}

export interface RateLimit {
  /** Keys remembered now. */
  readonly size: number
  /**
   * Takes one token of `key`; false when there is none, and then nothing changes. With `keep` only
   * if so many remain for something more important.
   */
  take(key: string, now: Instant, keep?: number): boolean
  /** Takes one token, from the future if need be: returns the moment at which it may be used. */
  reserve(key: string, now: Instant): Instant
}

export function createRateLimit(options: RateLimitOptions): RateLimit {
  const intervalMs = 1000 / options.refillPerSecond
  const slackMs = (options.burst - 1) * intervalMs
  /** Key → moment at which its bucket is full; in the order of last use. */
  const fullAt = new Map<string, Instant>()

  const spend = (key: string, full: Instant) => {
    fullAt.delete(key)
    fullAt.set(key, full + intervalMs)
    if (fullAt.size <= options.maximumKeys) return
    for (const oldest of fullAt.keys()) {
      fullAt.delete(oldest)
      break
    }
  }

  return {
    get size() {
      return fullAt.size
    },
    take(key, now, keep = 0) {
      const full = Math.max(fullAt.get(key) ?? now, now)
      // The tolerance keeps a token that is due at this very moment from being lost to rounding.
      if (full - now > slackMs - keep * intervalMs + ROUNDING_MS) return false
      spend(key, full)
      return true
    },
    reserve(key, now) {
      const full = Math.max(fullAt.get(key) ?? now, now)
      spend(key, full)
      return Math.max(now, full - slackMs)
    },
  }
}

const ROUNDING_MS = 1e-6
