/**
 * Stamps of a live move: a moment of the source's clock in 20 bits, as it stands in the nonce of what
 * the source sends to the destination (data header of RFC 9300 §5.1, N=1; the meaning is ours).
 *
 * Units of 65.536 µs, the shift that a BPF program can afford; wraps after 68.7 s, so that two stamps
 * compare as long as they are less than half of that apart. Only stamps of one clock are compared.
 */
const STAMP_MASK = 0xfffff
const NANOSECONDS_PER_STAMP = 65_536

/** @param instantMs moment of the clock that stamps packets, in ms; 0 or later */
export function stampOf(instantMs: number): number {
  return Math.floor((instantMs * 1e6) / NANOSECONDS_PER_STAMP) % (STAMP_MASK + 1)
}

/** The stamp so many ms before this one. */
export function stampBefore(stamp: number, ms: number): number {
  return (stamp - Math.ceil((ms * 1e6) / NANOSECONDS_PER_STAMP)) & STAMP_MASK
}

/** Whether it is earlier than `cut`, by less than half of the circle. */
export function isBeforeStamp(stamp: number, cut: number): boolean {
  return ((stamp - cut) & STAMP_MASK) > STAMP_MASK / 2
}

/**
 * How far before the first redirected packet copies are delivered, in ms, when nobody says when the
 * endpoint has stopped. The source redirects when its hypervisor tells it of the stop, so the redirect
 * is later than the stop by as much as that news was late: measured 1 to 8 ms, our choice is 50 ms.
 */
export function provisionalGuardMs(guardMs: number): number {
  return guardMs + LATE_NEWS_MS
}

const LATE_NEWS_MS = 50
