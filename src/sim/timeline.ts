/**
 * Virtual time: what happens when. Earlier first, of one moment in the order in which it was asked
 * for. Nothing here is random and nothing waits.
 */
import type { Instant } from '../control/capabilities.js'

export interface Timeline {
  now(): Instant
  /** Moments in the past mean now. */
  at(moment: Instant, run: () => void): void
  after(delayMs: number, run: () => void): void
  /** Lets everything happen up to and including `until`; `after` is called after each step. */
  run(until: Instant, afterStep?: () => void): void
  /** Steps so far. */
  steps(): number
}

interface Entry {
  readonly at: Instant
  readonly sequence: number
  readonly run: () => void
}

/** @param maximumSteps a world that does not come to rest is a bug: throws beyond it */
export function createTimeline(maximumSteps = 20_000_000): Timeline {
  const heap: Entry[] = []
  let now = 0
  let sequence = 0
  let steps = 0

  const before = (a: Entry, b: Entry): boolean =>
    a.at < b.at || (a.at === b.at && a.sequence < b.sequence)

  function push(entry: Entry): void {
    let place = heap.length
    heap.push(entry)
    while (place > 0) {
      const parent = (place - 1) >> 1
      if (!before(entry, heap[parent]!)) break
      heap[place] = heap[parent]!
      place = parent
    }
    heap[place] = entry
  }

  function pop(): Entry {
    const first = heap[0]!
    const last = heap.pop()!
    if (heap.length === 0) return first
    let place = 0
    for (;;) {
      let child = 2 * place + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1
      if (!before(heap[child]!, last)) break
      heap[place] = heap[child]!
      place = child
    }
    heap[place] = last
    return first
  }

  const at = (moment: Instant, run: () => void): void => {
    // Microseconds: differences in the last bits of a sum must not decide an order.
    const rounded = Math.round(moment * 1000) / 1000
    push({ at: Math.max(now, rounded), sequence, run })
    sequence += 1
  }

  return {
    now: () => now,
    at,
    after: (delayMs, run) => at(now + delayMs, run),
    run(until, afterStep) {
      while (heap.length > 0 && heap[0]!.at <= until) {
        const { at: moment, run } = pop()
        now = moment
        steps += 1
        if (steps > maximumSteps) throw new Error(`no rest after ${maximumSteps} steps`)
        run()
        afterStep?.()
      }
      now = Math.max(now, until)
    },
    steps: () => steps,
  }
}
