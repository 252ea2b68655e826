/**
 * Named moments at which a role wants to be called: one table instead of timers.
 *
 * A name has at most one deadline; setting it again replaces it. The table only tells what is due;
 * what that means is the role's affair.
 */
import { createExpiryHeap, type ExpirySlot } from '../tables/expiry-heap.js'
import type { Instant } from './capabilities.js'

export interface Deadlines {
  readonly size: number
  /** Sets or replaces the deadline of `key`. */
  set(key: string, at: Instant): void
  cancel(key: string): void
  /** The deadline of `key`, undefined when it has none. */
  get(key: string): Instant | undefined
  /** The earliest deadline of all, undefined when there is none. */
  next(): Instant | undefined
  /** Takes out and returns the names whose deadline is not after `now`, earliest first. */
  due(now: Instant): string[]
}

export function createDeadlines(): Deadlines {
  const heap = createExpiryHeap<string>()
  const slots = new Map<string, ExpirySlot<string>>()
  return {
    get size() {
      return slots.size
    },
    set(key, at) {
      const slot = slots.get(key)
      if (slot === undefined) slots.set(key, heap.add(key, at))
      else heap.move(slot, at)
    },
    cancel(key) {
      const slot = slots.get(key)
      if (slot === undefined) return
      heap.remove(slot)
      slots.delete(key)
    },
    get: (key) => slots.get(key)?.at,
    next: () => heap.first()?.at,
    due(now) {
      const keys: string[] = []
      for (let key = heap.takeDue(now); key !== undefined; key = heap.takeDue(now)) {
        slots.delete(key)
        keys.push(key)
      }
      return keys
    },
  }
}

/** The earliest of the moments given, undefined when there is none. */
export function earliest(...moments: readonly (Instant | undefined)[]): Instant | undefined {
  let first: Instant | undefined
  for (const one of moments)
    if (one !== undefined && (first === undefined || one < first)) first = one
  return first
}
