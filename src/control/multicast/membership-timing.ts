/**
 * The times of IGMP and MLD (RFC 3376 §8, RFC 3810 §9), and how queries say them.
 *
 * MLD calls some of them otherwise (last listener for last member) and means the same. All are
 * milliseconds. Codes on the wire are rounded down to what they can say, which asks for an answer
 * earlier, never later, than we wait for it.
 */

/** What an operator sets; the rest follows. */
export interface MembershipTiming {
  /** 1–7: so many messages in a row, less one, may be lost. */
  readonly robustness: number
  readonly queryIntervalMs: number
  /** Within which hosts answer a general query. */
  readonly queryResponseMs: number
  /** Between the queries that ask whether anybody is left, and within which they are answered. */
  readonly lastMemberQueryMs: number
}

/** RFC 3376 §8.4: how long a report counts. */
export function membershipMs(timing: MembershipTiming): number {
  return timing.robustness * timing.queryIntervalMs + timing.queryResponseMs
}

/** RFC 3376 §8.5: how long a querier that says nothing is one. */
export function otherQuerierMs(timing: MembershipTiming): number {
  return timing.robustness * timing.queryIntervalMs + timing.queryResponseMs / 2
}

/** RFC 3376 §8.6, with queries a quarter of the interval apart. */
export function startupIntervalMs(timing: MembershipTiming): number {
  return timing.queryIntervalMs / 4
}

/** RFC 3376 §8.8, §8.9: from the first question whether anybody is left until nobody is. */
export function lastMemberMs(timing: MembershipTiming): number {
  return timing.lastMemberQueryMs * timing.robustness
}

/** RFC 3376 §8.13: how long a host of an older version is taken to be there. */
export function olderHostMs(timing: MembershipTiming): number {
  return membershipMs(timing)
}

/** The Max Resp Code of a query. RFC 3376 §4.1.1, RFC 2236 §2.2, RFC 3810 §5.1.3, RFC 2710 §3.4. */
export function maxResponseCode(protocol: 'igmp' | 'mld', version: number, ms: number): number {
  if (protocol === 'mld') return version === 1 ? Math.min(ms, 0xffff) : floatCode(ms, 16)
  if (version === 1) return 0
  const tenths = Math.max(1, Math.floor(ms / 100))
  return version === 2 ? Math.min(tenths, 0xff) : floatCode(tenths, 8)
}

/** The QQIC of a query (RFC 3376 §4.1.7). */
export function queryIntervalCode(ms: number): number {
  return floatCode(Math.floor(ms / 1000), 8)
}

/** Values from half of the range on: three bits of exponent, the rest mantissa with a hidden one. */
function floatCode(value: number, bits: 8 | 16): number {
  const half = 1 << (bits - 1)
  if (value < half) return value
  const mantissaBits = bits - 4
  for (let exponent = 0; exponent < 8; exponent += 1) {
    const mantissa = value >> (exponent + 3)
    if (mantissa < 2 << mantissaBits) {
      return half | (exponent << mantissaBits) | (mantissa & ((1 << mantissaBits) - 1))
    }
  }
  return (1 << bits) - 1
}
