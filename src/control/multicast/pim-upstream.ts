/**
 * What we have joined through the PIM routers of one link (RFC 7761 §4.5.4, §4.5.5).
 *
 * For each (*,G) and (S,G) one neighbour is asked, again every minute, as long as it is wanted. A join
 * of somebody else to the same neighbour is as good as ours; a prune of somebody else is overridden
 * within the override interval; a neighbour that has forgotten is told again. Joins that are due at
 * the same time go together. Which neighbour leads to a source is decided in site-pim.ts.
 */
import { equalIpAddresses, formatIpAddress, type IpAddress } from '../../lisp/address.js'
import { formatGroup, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { JoinPruneGroup, PimJoinPrune } from '../../lisp/multicast/pim.js'
import type { JoinAttribute } from '../../lisp/multicast/pim-addresses.js'
import type { Instant, Random } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'

export interface PimUpstream {
  /** Joined through this neighbour from now on; one that was asked before is told that it is over. */
  want(wanted: WantedGroup, neighbour: IpAddress, now: Instant, outputs: Output[]): void
  unwant(group: MulticastGroup, outputs: Output[]): void
  /** No neighbour leads there any more: nobody is left to be told. */
  forget(group: MulticastGroup): void
  /** Who is asked for it now. */
  neighbourOf(group: MulticastGroup): IpAddress | undefined
  /** Somebody on the link has joined or pruned through that neighbour (§4.5.5). */
  sawJoin(group: MulticastGroup, neighbour: IpAddress, holdtimeSeconds: number, now: Instant): void
  sawPrune(group: MulticastGroup, neighbour: IpAddress, now: Instant): void
  /** It has a new generation ID, or is new: it knows of nothing. */
  neighbourRestarted(neighbour: IpAddress, now: Instant): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  readonly size: number
}

export interface WantedGroup {
  readonly group: MulticastGroup
  /** The root of (*,G). */
  readonly rendezvousPoint: IpAddress | undefined
}

export interface UpstreamParts {
  readonly random: Random
  overrideIntervalMs(): number
  maySuppress(): boolean
  say(message: PimJoinPrune, outputs: Output[]): void
}

/** RFC 7761 §4.11. */
export const PERIODIC_MS = 60_000
export const JOIN_HOLDTIME_SECONDS = 210
/** Choice: a group is 44 bytes at most, so that the message passes every link without fragments. */
const GROUPS_PER_MESSAGE = 28

export function createPimUpstream(parts: UpstreamParts): PimUpstream {
  const { random } = parts
  const wanted = new Map<string, { readonly wanted: WantedGroup; neighbour: IpAddress }>()
  const deadlines = createDeadlines()

  function sooner(key: string, at: Instant): void {
    const planned = deadlines.get(key)
    if (planned !== undefined && at < planned) deadlines.set(key, at)
  }

  function soonerAtRandom(key: string, now: Instant): void {
    sooner(key, now + random.fraction() * parts.overrideIntervalMs())
  }

  function find(group: MulticastGroup, neighbour: IpAddress): string | undefined {
    const key = formatGroup(group)
    const one = wanted.get(key)
    return one !== undefined && equalIpAddresses(one.neighbour, neighbour) ? key : undefined
  }

  function sayPrune(one: WantedGroup, neighbour: IpAddress, outputs: Output[]): void {
    const groups = [joinPruneGroup(one, 'prune')]
    for (const message of joinPrunes(neighbour, groups)) parts.say(message, outputs)
  }

  return {
    want(one, neighbour, now, outputs) {
      const key = formatGroup(one.group)
      const former = wanted.get(key)
      if (former !== undefined && equalIpAddresses(former.neighbour, neighbour)) return
      wanted.set(key, { wanted: one, neighbour })
      for (const message of joinPrunes(neighbour, [joinPruneGroup(one, 'join')]))
        parts.say(message, outputs)
      if (former !== undefined) sayPrune(former.wanted, former.neighbour, outputs)
      deadlines.set(key, now + PERIODIC_MS)
    },
    unwant(group, outputs) {
      const key = formatGroup(group)
      const one = wanted.get(key)
      if (one === undefined) return
      wanted.delete(key)
      deadlines.cancel(key)
      sayPrune(one.wanted, one.neighbour, outputs)
    },
    forget(group) {
      wanted.delete(formatGroup(group))
      deadlines.cancel(formatGroup(group))
    },
    neighbourOf: (group) => wanted.get(formatGroup(group))?.neighbour,
    sawJoin(group, neighbour, holdtimeSeconds, now) {
      const key = find(group, neighbour)
      if (key === undefined || !parts.maySuppress()) return
      // §4.11: t_suppressed is 1.1 to 1.4 periods, never longer than that join holds.
      const suppressed = PERIODIC_MS * (1.1 + 0.3 * random.fraction())
      const until = now + Math.min(suppressed, holdtimeSeconds * 1000)
      if (until > deadlines.get(key)!) deadlines.set(key, until)
    },
    sawPrune(group, neighbour, now) {
      const key = find(group, neighbour)
      if (key !== undefined) soonerAtRandom(key, now)
    },
    neighbourRestarted(neighbour, now) {
      for (const [key, one] of wanted)
        if (equalIpAddresses(one.neighbour, neighbour)) soonerAtRandom(key, now)
    },
    handleDeadline(now, outputs) {
      const due = new Map<string, { neighbour: IpAddress; groups: JoinPruneGroup[] }>()
      for (const key of deadlines.due(now)) {
        const one = wanted.get(key)
        if (one === undefined) continue
        const to = formatIpAddress(one.neighbour)
        const together = due.get(to) ?? { neighbour: one.neighbour, groups: [] }
        together.groups.push(joinPruneGroup(one.wanted, 'join'))
        due.set(to, together)
        deadlines.set(key, now + PERIODIC_MS)
      }
      for (const { neighbour, groups } of due.values())
        for (const message of joinPrunes(neighbour, groups)) parts.say(message, outputs)
    },
    deadline: () => deadlines.next(),
    get size() {
      return wanted.size
    },
  }
}

/** One group of a message: its source, or the root of (*,G) with S, W and R (RFC 7761 §4.9.5). */
export function joinPruneGroup(
  { group: { source, group }, rendezvousPoint }: WantedGroup,
  what: 'join' | 'prune',
): JoinPruneGroup {
  const maskLength = group.bytes.length * 8
  const isAny = source === undefined
  const root = source ?? rendezvousPoint
  if (root === undefined) throw new RangeError('(*,G) without a rendezvous point')
  const sources = [
    {
      address: root,
      maskLength,
      sparse: true,
      wildcard: isAny,
      rpTree: isAny,
      attributes: [],
    },
  ]
  return {
    group: { address: group, maskLength, bidirectional: false, zone: false, attributes: [] },
    joined: what === 'join' ? sources : [],
    pruned: what === 'prune' ? sources : [],
  }
}

/**
 * As many messages to one neighbour as these groups need. Attributes of the neighbour hold for all
 * groups and sources of the message (RFC 7887 §3.2).
 */
export function joinPrunes(
  neighbour: IpAddress,
  groups: readonly JoinPruneGroup[],
  attributes: readonly JoinAttribute[] = [],
): PimJoinPrune[] {
  const messages: PimJoinPrune[] = []
  for (let at = 0; at < groups.length; at += GROUPS_PER_MESSAGE) {
    messages.push({
      kind: 'pim-join-prune',
      upstreamNeighbor: { address: neighbour, attributes },
      holdtime: JOIN_HOLDTIME_SECONDS,
      groups: groups.slice(at, at + GROUPS_PER_MESSAGE),
    })
  }
  return messages
}
