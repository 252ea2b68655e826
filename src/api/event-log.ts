/**
 * The last events, numbered, and those who follow them.
 *
 * Bounded: the backlog by count, followers by number; a follower that does not keep up is its
 * route's affair. Ids are `<start>-<number>`, so that one from an earlier run of the daemon is
 * recognised as such and answered with the whole backlog.
 */
import type { Event } from '../control/event.js'

export interface LoggedEvent {
  readonly number: number
  readonly id: string
  readonly at: Date
  readonly event: Event
}

export interface EventLog {
  append(event: Event, at: Date): void
  /** Undefined when there are `MAXIMUM_FOLLOWERS` already; else ends the subscription. */
  follow(listener: (entry: LoggedEvent) => void): (() => void) | undefined
  /** What came after `lastId`, oldest first; `missed` counts those no longer in the backlog. */
  since(lastId: string): { entries: readonly LoggedEvent[]; missed: number }
  /** The last `count` events, oldest first. */
  latest(count: number): readonly LoggedEvent[]
  followers(): number
}

/** A log that remembers `capacity` events; `startedAt` tells its ids from those of other runs. */
export function createEventLog(startedAt: Date, capacity = BACKLOG_EVENTS): EventLog {
  const run = startedAt.getTime().toString(36)
  const backlog: LoggedEvent[] = []
  const listeners = new Set<(entry: LoggedEvent) => void>()
  let count = 0
  return {
    append(event, at) {
      count += 1
      const entry = { number: count, id: `${run}-${count}`, at, event }
      backlog.push(entry)
      if (backlog.length > capacity) backlog.shift()
      for (const listener of listeners) listener(entry)
    },
    follow(listener) {
      if (listeners.size >= MAXIMUM_FOLLOWERS) return undefined
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    since(lastId) {
      const [itsRun, itsNumber] = lastId.split('-')
      const last = itsRun === run ? Number(itsNumber) : 0
      const after = Number.isInteger(last) && last <= count ? last : 0
      const entries = backlog.filter(({ number }) => number > after)
      return { entries, missed: count - after - entries.length }
    },
    latest(wanted) {
      return wanted === 0 ? [] : backlog.slice(-wanted)
    },
    followers() {
      return listeners.size
    },
  }
}

/** Choice: several moves' worth of events, about 300 KB. */
export const BACKLOG_EVENTS = 1000

/** Each follower costs a connection and up to MAXIMUM_UNSENT_BYTES. */
export const MAXIMUM_FOLLOWERS = 64
