/**
 * RFC 9300 §13.1: after a locator-set has changed, the position of a bit means another locator to those
 * who have not heard of it; so locator-status-bits rest for five minutes.
 */

/** The use-LSB timer, in ms. */
export const USE_LSB_MS = 300_000
/** Beside an instance-ID eight fit (RFC 9300 §5.1). */
const MAXIMUM_BITS = 8

/** One bit for each of `reachable`, the first in bit 0; what is behind the eighth has none. */
export function statusBitsOf(reachable: readonly boolean[]): number {
  return reachable
    .slice(0, MAXIMUM_BITS)
    .reduce((bits, up, index) => bits | (up ? 1 << index : 0), 0)
}
