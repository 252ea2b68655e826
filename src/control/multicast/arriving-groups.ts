/**
 * Groups of an endpoint that is about to arrive: until their packets come here.
 *
 * A site that has just joined gets its first copy when the Map-Server has told relays and sources of it. An
 * endpoint that is switched over earlier would miss what is sent meanwhile, so a move waits: the
 * datapath is asked every few milliseconds whether packets of each group have come. Our choice, no
 * standard says so. What nobody sends to just now cannot be told from what is late, so the wait is short.
 */
import { formatGroup, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { Instant } from '../capabilities.js'
import type { DatapathEvent } from '../datapath-event.js'
import type { Output } from '../input-output.js'
import { push, report } from '../outputs.js'

export interface ArrivingGroups {
  /** Calls `done` once: when packets of every group have come, or after `WAIT_MS`. */
  waitFor(groups: readonly MulticastGroup[], done: Done, now: Instant, outputs: Output[]): void
  handleUsage(event: UsageEvent, now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

type Done = (now: Instant, outputs: Output[]) => void
type UsageEvent = Extract<DatapathEvent, { kind: 'replication-usage' }>

interface Wait {
  readonly missing: Map<string, MulticastGroup>
  readonly since: Instant
  readonly done: Done
}

/** Some tens of milliseconds are usual; packets for the endpoint are held here meanwhile. */
const WAIT_MS = 200
const ASK_AGAIN_MS = 5
/** Moves that wait at the same time; more of them do not. */
const MAXIMUM_WAITS = 64

export function createArrivingGroups(): ArrivingGroups {
  let waits: Wait[] = []
  let nextAsk: Instant | undefined

  function ask(now: Instant, outputs: Output[]): void {
    const asked = new Map(waits.flatMap(({ missing }) => [...missing]))
    for (const group of asked.values()) push(outputs, { kind: 'query-replication', group })
    nextAsk = waits.length > 0 ? now + ASK_AGAIN_MS : undefined
  }

  function finish(over: (wait: Wait) => boolean, now: Instant, outputs: Output[]): void {
    const ended = waits.filter(over)
    waits = waits.filter((wait) => !over(wait))
    for (const { missing, since, done } of ended) {
      const [silent] = missing.keys()
      report(outputs, 'groups-arrived', silent === undefined ? 'info' : 'notice', {
        ...(silent === undefined ? {} : { reason: 'silent', group: silent }),
        silent: missing.size,
        afterMs: now - since,
      })
      done(now, outputs)
    }
  }

  return {
    waitFor(groups, done, now, outputs) {
      if (groups.length === 0 || waits.length >= MAXIMUM_WAITS) {
        done(now, outputs)
        return
      }
      const missing = new Map(groups.map((group) => [formatGroup(group), group]))
      waits.push({ missing, since: now, done })
      ask(now, outputs)
    },
    handleUsage({ group, packets }, now, outputs) {
      if (packets === 0n || waits.length === 0) return
      const key = formatGroup(group)
      for (const { missing } of waits) missing.delete(key)
      finish(({ missing }) => missing.size === 0, now, outputs)
    },
    handleDeadline(now, outputs) {
      if (nextAsk === undefined || nextAsk > now) return
      finish(({ since }) => now - since >= WAIT_MS, now, outputs)
      ask(now, outputs)
    },
    deadline: () => nextAsk,
  }
}
