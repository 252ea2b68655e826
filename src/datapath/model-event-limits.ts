/**
 * The token buckets of events in the model: one report of a kind, EID and peer per interval, as in
 * native/bpf/report.h. Bounded like the LRU map there: the oldest bucket makes room.
 */

/** Entries of the `event_limits` map. */
const MAXIMUM_BUCKETS = 65_536

/** Whether a report under this key may go out now; it then counts as sent. */
export function createEventLimits(now: () => number): (key: string, intervalMs: number) => boolean {
  const lastAt = new Map<string, number>()
  return (key, intervalMs) => {
    const last = lastAt.get(key)
    if (last !== undefined && now() - last < intervalMs) return false
    lastAt.set(key, now())
    if (lastAt.size > MAXIMUM_BUCKETS)
      for (const oldest of lastAt.keys()) if (lastAt.delete(oldest)) break
    return true
  }
}
