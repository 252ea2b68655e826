/**
 * Who of several routers forwards a group onto one link (RFC 7761 §4.6).
 *
 * Only as much as is needed beside other routers: an Assert that is better than what we would say makes
 * us be silent about that group on that link for the assert time; one that is worse is answered with
 * ours. We never begin, because no packet of a group that we forward onto a link comes back from it
 * to us; whoever sees ours does. The metric of a path through LISP is a constant, so that among our own
 * kind the address decides.
 */
import { compareIpAddresses, type IpAddress } from '../../lisp/address.js'
import { formatGroup, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { PimAssert } from '../../lisp/multicast/pim.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'

export interface PimAsserts {
  /** `forwards`: we send this group onto the link. */
  handleAssert(
    assert: PimAssert,
    group: MulticastGroup,
    from: IpAddress,
    forwards: boolean,
    now: Instant,
    outputs: Output[],
  ): void
  /** Somebody else forwards (S,G), or (*,G) as a whole, onto this link. */
  isLoser(group: MulticastGroup): boolean
  /** That router has gone: what it has won is open again (§4.6.1). */
  forget(winner: IpAddress, now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

export interface AssertParts {
  own(): IpAddress
  say(message: PimAssert, outputs: Output[]): void
  /** We have lost it or may forward it again. */
  changed(group: MulticastGroup, now: Instant, outputs: Output[]): void
}

/** RFC 7761 §4.11. */
const ASSERT_MS = 180_000
/** §4.6.3: the highest of a shared tree loses against every source tree. */
const CANCELLED_METRIC = 0xffff_ffff
/** Our choice: after every routing protocol of a site; a router with a native path is to win. */
const METRIC_PREFERENCE = 250
const METRIC = 0
/** Choice: as many groups as a link may join. */
const MAXIMUM_LOST = 4096

export function createPimAsserts(parts: AssertParts): PimAsserts {
  const lost = new Map<string, { readonly group: MulticastGroup; readonly winner: IpAddress }>()
  const deadlines = createDeadlines()

  function reopen(key: string, now: Instant, outputs: Output[]): void {
    const one = lost.get(key)
    if (one === undefined) return
    lost.delete(key)
    deadlines.cancel(key)
    parts.changed(one.group, now, outputs)
  }

  return {
    handleAssert(assert, group, from, forwards, now, outputs) {
      const key = formatGroup(group)
      const isCancel = assert.rpTree && assert.metric === CANCELLED_METRIC
      const known = lost.get(key)
      if (isCancel || !isBetter(assert, from, parts.own(), group)) {
        // §4.6.1: the winner says something worse: it has no path any more.
        if (known !== undefined && compareIpAddresses(known.winner, from) === 0)
          reopen(key, now, outputs)
        if (forwards && !isCancel) parts.say(ownAssert(assert, group), outputs)
        return
      }
      if (known === undefined && lost.size >= MAXIMUM_LOST) return
      lost.set(key, { group, winner: from })
      deadlines.set(key, now + ASSERT_MS)
      if (known === undefined) parts.changed(group, now, outputs)
    },
    isLoser: (group) => lost.has(formatGroup(group)),
    forget(winner, now, outputs) {
      for (const [key, one] of [...lost])
        if (compareIpAddresses(one.winner, winner) === 0) reopen(key, now, outputs)
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) reopen(key, now, outputs)
    },
    deadline: () => deadlines.next(),
  }
}

/** §4.6.3: source trees before the shared tree, then preference, metric, and the higher address. */
function isBetter(
  { rpTree, metricPreference, metric }: PimAssert,
  from: IpAddress,
  own: IpAddress,
  { source }: MulticastGroup,
): boolean {
  const ownRpTree = source === undefined
  if (rpTree !== ownRpTree) return !rpTree
  if (metricPreference !== METRIC_PREFERENCE) return metricPreference < METRIC_PREFERENCE
  if (metric !== METRIC) return metric < METRIC
  return compareIpAddresses(from, own) > 0
}

function ownAssert({ group, source }: PimAssert, name: MulticastGroup): PimAssert {
  return {
    kind: 'pim-assert',
    group,
    source,
    rpTree: name.source === undefined,
    metricPreference: METRIC_PREFERENCE,
    metric: METRIC,
  }
}
