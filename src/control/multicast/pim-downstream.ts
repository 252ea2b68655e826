/**
 * What the PIM routers of one link have joined through us (RFC 7761 §4.5.1, §4.5.2).
 *
 * Per (*,G) and (S,G) of the link: joined until its expiry timer ends, or prune-pending while others may
 * still override the prune. What is joined is a listener of that interface like a host's report, and
 * what is pruned leaves. Prunes of one source off the RP tree, (S,G,rpt), change nothing: we send what
 * (*,G) gets, and a router drops what it does not want.
 */
import { formatGroup, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'

export interface PimDownstream {
  /** False: the limit of groups of this link is reached. */
  join(group: MulticastGroup, holdtimeSeconds: number, now: Instant, outputs: Output[]): boolean
  /** `waitMs`: how long others may override it; 0 when nobody else is on the link. */
  prune(group: MulticastGroup, waitMs: number, now: Instant, outputs: Output[]): void
  /** The link is no longer ours: everything leaves. */
  clear(now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  readonly size: number
}

export interface DownstreamParts {
  readonly maximumGroups: number
  joined(group: MulticastGroup, now: Instant, outputs: Output[]): void
  left(group: MulticastGroup, now: Instant, outputs: Output[]): void
  /** A prune that nobody has overridden is repeated, in case that a join was lost (§4.5.2). */
  echo(group: MulticastGroup, outputs: Output[]): void
}

/** §4.9.5: the state never expires. */
const FOREVER_SECONDS = 0xffff

export function createPimDownstream(parts: DownstreamParts): PimDownstream {
  const joined = new Map<string, MulticastGroup>()
  /** `expiry name` and `prune name`: a name that has the second one is prune-pending. */
  const deadlines = createDeadlines()

  function leave(key: string, now: Instant, outputs: Output[]): void {
    const group = joined.get(key)
    if (group === undefined) return
    joined.delete(key)
    deadlines.cancel(`${EXPIRY}${key}`)
    deadlines.cancel(`${PRUNE}${key}`)
    parts.left(group, now, outputs)
  }

  return {
    join(group, holdtimeSeconds, now, outputs) {
      const key = formatGroup(group)
      const isNew = !joined.has(key)
      if (isNew && joined.size >= parts.maximumGroups) return false
      joined.set(key, group)
      deadlines.cancel(`${PRUNE}${key}`)
      // §4.5.2: the timer is never shortened by a join.
      const until = deadlines.get(`${EXPIRY}${key}`) ?? now
      if (holdtimeSeconds === FOREVER_SECONDS) deadlines.cancel(`${EXPIRY}${key}`)
      else deadlines.set(`${EXPIRY}${key}`, Math.max(until, now + holdtimeSeconds * 1000))
      if (isNew) parts.joined(group, now, outputs)
      return true
    },
    prune(group, waitMs, now, outputs) {
      const key = formatGroup(group)
      if (!joined.has(key)) return
      if (waitMs === 0) leave(key, now, outputs)
      // A second prune does not give others more time, nor less.
      else if (deadlines.get(`${PRUNE}${key}`) === undefined)
        deadlines.set(`${PRUNE}${key}`, now + waitMs)
    },
    clear(now, outputs) {
      for (const key of [...joined.keys()]) leave(key, now, outputs)
    },
    handleDeadline(now, outputs) {
      for (const name of deadlines.due(now)) {
        const isPrune = name.startsWith(PRUNE)
        const key = name.slice(isPrune ? PRUNE.length : EXPIRY.length)
        const group = joined.get(key)
        if (group === undefined) continue
        leave(key, now, outputs)
        if (isPrune) parts.echo(group, outputs)
      }
    },
    deadline: () => deadlines.next(),
    get size() {
      return joined.size
    },
  }
}

const EXPIRY = 'expiry '
const PRUNE = 'prune '
