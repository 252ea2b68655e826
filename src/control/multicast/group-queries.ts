/**
 * Asking whether anybody is left: group-specific and group-and-source-specific queries, each said as
 * often as the robustness says (RFC 3376 §6.6.3, RFC 3810 §7.6.3).
 *
 * A group that is being asked about is not asked again at once for every further leave: what is new
 * goes with the next query, so that leaves make at most one query per group and interval, and
 * `MAXIMUM_PER_SECOND` per segment; what waits, waits with its timers as they are.
 */

import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import { type ListenerQuestion, type ListenerState, lowerTimers } from './listener-state.js'

export interface GroupQueries {
  /** Say this `times`; the first one now, if it may be. */
  ask(key: string, asked: ListenerQuestion, times: number, now: Instant): void
  forget(key: string): void
  /** Everything, when another router is querier. */
  forgetAll(): void
  /** The groups whose time has come. */
  due(now: Instant): readonly string[]
  /** One round of a group: lowers what is asked for the first time, and says what to send. */
  round(key: string, state: ListenerState, times: QueryTimes, now: Instant): readonly QueryText[]
  deadline(): Instant | undefined
  readonly size: number
}

export interface QueryTimes {
  /** Between two rounds. */
  readonly intervalMs: number
  /** From the first round until silence means no. */
  readonly lastMemberMs: number
}

/** One query. `suppress`: routers keep their timers, because somebody has answered already. */
export interface QueryText {
  readonly suppress: boolean
  /** Empty: about the group. */
  readonly sources: readonly string[]
}

interface Asking {
  group: number
  /** Rounds left, by source. */
  readonly sources: Map<string, number>
  /** Not asked yet: their timers are still as they were. */
  readonly fresh: Set<string>
}

/** Our choice: group-specific rounds of one segment in a second. */
const MAXIMUM_PER_SECOND = 100
/** RFC 3810 §5.1.10: what fits the smallest MTU of IPv6 beside the headers. */
const SOURCES_PER_QUERY = 64
const WHOLE_GROUP = '*'

export function createGroupQueries(): GroupQueries {
  const asking = new Map<string, Asking>()
  const deadlines = createDeadlines()
  let second = 0
  let rounds = 0

  function mayAsk(now: Instant): boolean {
    if (now - second >= 1000) {
      second = now
      rounds = 0
    }
    rounds += 1
    return rounds <= MAXIMUM_PER_SECOND
  }

  function begin(one: Asking, to: Instant, state: ListenerState): void {
    const group = one.fresh.delete(WHOLE_GROUP)
    lowerTimers(state, { group, sources: [...one.fresh] }, to)
    one.fresh.clear()
  }

  /** RFC 3376 §6.6.3.2: one query with what has been answered meanwhile, one with what has not. */
  function textsOf(one: Asking, state: ListenerState, until: Instant): QueryText[] {
    const texts: QueryText[] = []
    const isAnswered = state.mode === 'exclude' && state.until > until
    if (one.group > 0) texts.push({ suppress: isAnswered, sources: [] })
    const answered: string[] = []
    const open: string[] = []
    for (const key of one.sources.keys()) {
      const source = state.sources.get(key)
      if (source?.until === undefined) continue
      if (source.until > until) answered.push(key)
      else open.push(key)
    }
    // §6.6.3.2: beside a query about the group, that about what has been answered says nothing.
    if (one.group === 0) texts.push(...inPieces(true, answered))
    texts.push(...inPieces(false, open))
    return texts
  }

  return {
    ask(key, asked, times, now) {
      if (!asked.group && asked.sources.length === 0) return
      const one = asking.get(key) ?? { group: 0, sources: new Map(), fresh: new Set() }
      if (!asking.has(key)) deadlines.set(key, now)
      asking.set(key, one)
      if (asked.group) {
        one.group = times
        one.fresh.add(WHOLE_GROUP)
      }
      for (const source of asked.sources) {
        one.sources.set(source, times)
        one.fresh.add(source)
      }
    },
    forget(key) {
      asking.delete(key)
      deadlines.cancel(key)
    },
    forgetAll() {
      for (const key of asking.keys()) deadlines.cancel(key)
      asking.clear()
    },
    due: (now) => deadlines.due(now),
    round(key, state, { intervalMs, lastMemberMs }, now) {
      const one = asking.get(key)
      if (one === undefined) return []
      if (one.group === 0 && one.sources.size === 0) {
        // The interval after the last question is over: the next leave is asked about at once.
        asking.delete(key)
        return []
      }
      deadlines.set(key, now + intervalMs)
      if (!mayAsk(now)) return []
      begin(one, now + lastMemberMs, state)
      const texts = textsOf(one, state, now + lastMemberMs)
      one.group = Math.max(0, one.group - 1)
      for (const [source, left] of one.sources) {
        if (left > 1) one.sources.set(source, left - 1)
        else one.sources.delete(source)
      }
      return texts
    },
    deadline: () => deadlines.next(),
    get size() {
      return asking.size
    },
  }
}

function inPieces(suppress: boolean, sources: readonly string[]): QueryText[] {
  const texts: QueryText[] = []
  for (let at = 0; at < sources.length; at += SOURCES_PER_QUERY)
    texts.push({ suppress, sources: sources.slice(at, at + SOURCES_PER_QUERY) })
  return texts
}
