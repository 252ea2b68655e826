/**
 * Reading a node's tables without taking its time.
 *
 * A snapshot of 100,000 entries costs the node's own thread a quarter of a second (measured), and
 * clients ask page by page. So one that was dear is kept for ten times as long as it took, up to
 * five seconds: reading tables then never takes more than a tenth of the thread. Cheap ones are
 * always made anew; a command makes the next one new as well.
 */
import type { NodeSnapshot } from '../control/snapshot.js'

export interface TableReader {
  /** `ageMs`: how long ago these tables were so; 0 unless they are large. */
  read(): { readonly snapshot: NodeSnapshot; readonly ageMs: number }
  /** Something may have changed them. */
  forget(): void
}

export function createTableReader(snapshot: () => NodeSnapshot): TableReader {
  let kept: { readonly snapshot: NodeSnapshot; readonly takenAt: number } | undefined
  let timer: NodeJS.Timeout | undefined
  const forget = (): void => {
    clearTimeout(timer)
    kept = undefined
  }
  return {
    read() {
      const began = performance.now()
      if (kept !== undefined) return { snapshot: kept.snapshot, ageMs: began - kept.takenAt }
      const made = snapshot()
      const tookMs = performance.now() - began
      if (tookMs >= DEAR_MS) {
        kept = { snapshot: made, takenAt: began }
        timer = setTimeout(forget, Math.min(tookMs * KEPT_TIMES, MAXIMUM_KEPT_MS))
        timer.unref()
      }
      return { snapshot: made, ageMs: 0 }
    },
    forget,
  }
}

/** Choice: what nobody notices in a control plane; some 5,000 entries. */
const DEAR_MS = 20
const KEPT_TIMES = 10
const MAXIMUM_KEPT_MS = 5000
