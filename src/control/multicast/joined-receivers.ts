/**
 * The source site of joins between xTRs: who has joined what of ours, and where copies go (RFC 6831 §4,
 * §8.1, RFC 8059 §5).
 *
 * A Join comes LISP-encapsulated to one of our RLOCs from an ETR: its source address is that ETR's RLOC,
 * and only configured ones are believed, because a join asks for a stream of packets to somebody. With
 * unicast transport every ETR is an outgoing interface of its own, to its Receiver-RLOC, which must be a
 * configured one too; with multicast transport all meet at one group of the core. Every outgoing
 * interface is tagged with the RLOC that was joined: it is the outer source of its copies.
 */
import type { NodeConfig } from '../../config/node-config.js'
import {
  compareIpAddresses,
  formatIpAddress,
  type IpAddress,
  isMulticast,
} from '../../lisp/address.js'
import { coversEid, type Eid } from '../../lisp/eid.js'
import { isUsableRloc, locator, type Rloc } from '../../lisp/locator.js'
import { decodeEncapsulatedPim } from '../../lisp/multicast/encapsulated-pim.js'
import {
  anySource,
  formatGroup,
  type MulticastGroup,
} from '../../lisp/multicast/multicast-group.js'
import type { PimJoinPrune } from '../../lisp/multicast/pim.js'
import type { Instant } from '../capabilities.js'
import { isOwnRloc } from '../control-datagram.js'
import type { DatapathEvent } from '../datapath-event.js'
import type { Encapsulation } from '../datapath-operation.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { encapsulationTo } from '../itr/encapsulation-choice.js'
import { report } from '../outputs.js'
import { type NamedJoin, namedJoins } from './join-prune-names.js'
import { reportLeftAside } from './pim-links.js'
import { isCarriedByCore } from './root-choice.js'

export interface JoinedReceivers {
  handleEvent(
    event: Extract<DatapathEvent, { kind: 'encapsulated-pim' }>,
    now: Instant,
    outputs: Output[],
  ): void
  /** Copies for a group: of those who joined it, and of (S,G) of those who joined (*,G). */
  copiesOf(group: MulticastGroup): readonly Encapsulation[]
  /** Groups whose root is no longer here, with the ETRs that have joined them; they are forgotten. */
  takeDeparted(): readonly {
    readonly group: MulticastGroup
    readonly root: IpAddress
    readonly etrs: readonly Rloc[]
  }[]
  /**
   * Copies that an earlier run made: kept as if joined just now, because who has joined says so once a
   * minute only. What was joined as (*,G) is restored as (S,G), where a prune of it does not reach it.
   */
  restore(group: MulticastGroup, copies: readonly Encapsulation[], now: Instant): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

export interface JoinedParts {
  /** This source or rendezvous point lives in this site. */
  isHere(root: Eid): boolean
  changed(group: MulticastGroup, now: Instant, outputs: Output[]): void
}

interface Joined {
  readonly group: MulticastGroup
  readonly root: IpAddress
  /** By the RLOC of the ETR and ours. */
  readonly receivers: Map<string, Receiver>
}

interface Receiver {
  readonly etr: Rloc
  /** Ours, that it has joined. */
  readonly own: Rloc
  /** Where its copies go: itself, or a group of the core. */
  readonly to: IpAddress
}

/** Receivers of one group: what the datapath copies to for one packet. */
const MAXIMUM_RECEIVERS = 256
/** RFC 7761 §4.11: three and a half times the period of joins. */
const HOLDTIME_SECONDS = 210
/** RFC 7761 §4.9.5: never expires. */
const FOREVER_SECONDS = 0xffff

export function createJoinedReceivers(config: NodeConfig, parts: JoinedParts): JoinedReceivers {
  const policy = config.multicast.pim
  const joined = new Map<string, Joined>()
  /** `group|receiver`. */
  const deadlines = createDeadlines()

  function ignore(reason: string, from: Rloc, outputs: Output[]): void {
    report(outputs, 'join-refused', 'notice', { reason, from: formatIpAddress(from) })
  }

  function isJoiner(rloc: Rloc): boolean {
    const eid = { instanceId: 0, address: rloc }
    return isUsableRloc(rloc) && policy!.joiners.some((one) => coversEid(one, eid))
  }

  function remove(key: string, name: string, now: Instant, outputs: Output[]): void {
    const one = joined.get(key)
    if (one === undefined || !one.receivers.delete(name)) return
    deadlines.cancel(`${key}|${name}`)
    if (one.receivers.size === 0) joined.delete(key)
    parts.changed(one.group, now, outputs)
  }

  function isRootHere({ instanceId }: MulticastGroup, root: IpAddress): boolean {
    return parts.isHere({ instanceId, address: root })
  }

  /** Where copies for this line go; a word when it cannot be obeyed. */
  function receiverOf({ group, terms }: NamedJoin, etr: Rloc): IpAddress | string {
    // RFC 6831 knows no other transport: without the attribute it is that of the core.
    if ((terms.transport ?? 'multicast') === 'multicast') {
      if (!isCarriedByCore(config)) return 'no-underlay-multicast'
      const to = terms.receiverRloc
      const core = to !== undefined && isMulticast(to) ? to : group.group
      return config.rlocs.some(({ address }) => address.family === core.family) ? core : 'family'
    }
    const to = terms.receiverRloc ?? etr
    if (!isJoiner(to) || isOwnRloc(config, to)) return 'receiver-rloc'
    return config.rlocs.some(({ address }) => address.family === to.family) ? to : 'family'
  }

  function join(
    line: NamedJoin,
    own: Rloc,
    etr: Rloc,
    holdtime: number,
    now: Instant,
  ): string | Joined {
    const { group, root } = line
    if (!isRootHere(group, root)) return 'root-not-here'
    const to = receiverOf(line, etr)
    if (typeof to === 'string') return to
    return add(group, root, { etr, own, to }, holdtime, now)
  }

  /** The group with this receiver, or why not. */
  function add(
    group: MulticastGroup,
    root: IpAddress,
    receiver: Receiver,
    holdtime: number,
    now: Instant,
  ): string | Joined {
    const key = formatGroup(group)
    const one = joined.get(key) ?? { group, root, receivers: new Map() }
    if (!joined.has(key) && joined.size >= config.multicast.maximumSources) return 'too-many-groups'
    const name = `${formatIpAddress(receiver.etr)} ${formatIpAddress(receiver.own)}`
    if (!one.receivers.has(name) && one.receivers.size >= MAXIMUM_RECEIVERS)
      return 'too-many-receivers'
    joined.set(key, one)
    one.receivers.set(name, receiver)
    if (holdtime === FOREVER_SECONDS) deadlines.cancel(`${key}|${name}`)
    else deadlines.set(`${key}|${name}`, now + holdtime * 1000)
    return one
  }

  function obey(
    message: PimJoinPrune,
    etr: Rloc,
    own: Rloc,
    instanceId: number,
    now: Instant,
    outputs: Output[],
  ): void {
    const { named, leftAside } = namedJoins(message, instanceId)
    reportLeftAside(undefined, etr, leftAside, outputs)
    for (const line of named) {
      const key = formatGroup(line.group)
      if (line.what === 'prune') {
        remove(key, `${formatIpAddress(etr)} ${formatIpAddress(own)}`, now, outputs)
        continue
      }
      const result = join(line, own, etr, message.holdtime, now)
      if (typeof result === 'string') ignore(result, etr, outputs)
      else parts.changed(line.group, now, outputs)
    }
    report(outputs, 'join-received', 'debug', {
      from: formatIpAddress(etr),
      to: formatIpAddress(own),
      lines: named.length,
    })
  }

  /** Why a packet is not obeyed at all; undefined: it is. */
  function reasonAgainst(
    { from, to }: { readonly from: Rloc; readonly to: Rloc },
    inner: { readonly source: IpAddress; readonly destination: IpAddress },
    upstream: IpAddress | undefined,
  ): string | undefined {
    if (policy?.joinSites !== true) return 'joins-not-taken'
    if (upstream === undefined) return 'unspoken-type'
    if (!isOwnRloc(config, to) || compareIpAddresses(inner.destination, to) !== 0)
      return 'not-for-us'
    if (compareIpAddresses(upstream, to) !== 0) return 'not-for-us'
    // RFC 9798 §3.2: ETRs are told apart by the source address, which is one of theirs.
    if (compareIpAddresses(inner.source, from) !== 0) return 'other-source'
    if (!isJoiner(from)) return 'not-a-joiner'
    return undefined
  }

  return {
    handleEvent({ from, to, bytes }, now, outputs) {
      const inner = decodeEncapsulatedPim(bytes)
      if (typeof inner === 'string') {
        ignore(inner, from, outputs)
        return
      }
      const { message, instanceId } = inner
      const isJoin = message.kind === 'pim-join-prune'
      const upstream = isJoin ? message.upstreamNeighbor.address : undefined
      const reason = reasonAgainst({ from, to }, inner, upstream)
      if (reason !== undefined) ignore(reason, from, outputs)
      else if (isJoin) obey(message, from, to, instanceId, now, outputs)
    },
    copiesOf(group) {
      const exact = joined.get(formatGroup(group))?.receivers.values() ?? []
      const shared =
        group.source === undefined
          ? []
          : (joined.get(formatGroup(anySource(group)))?.receivers.values() ?? [])
      const copies = new Map<string, Encapsulation>()
      for (const { to, own } of [...exact, ...shared]) {
        const key = formatIpAddress(to)
        if (copies.has(key) || copies.size >= MAXIMUM_RECEIVERS) continue
        const sameFamily = own.family === to.family
        const chosen = encapsulationTo(config, locator(to))
        copies.set(key, sameFamily ? { ...chosen, source: own } : chosen)
      }
      return [...copies.values()]
    },
    restore(group, copies, now) {
      const { source } = group
      if (policy?.joinSites !== true || source === undefined) return
      for (const { locator: to, source: own } of copies)
        if (isOwnRloc(config, own) && !isOwnRloc(config, to.rloc))
          add(group, source, { etr: to.rloc, own, to: to.rloc }, HOLDTIME_SECONDS, now)
    },
    takeDeparted() {
      return [...joined].flatMap(([key, { group, root, receivers }]) => {
        if (isRootHere(group, root)) return []
        joined.delete(key)
        for (const name of receivers.keys()) deadlines.cancel(`${key}|${name}`)
        return [{ group, root, etrs: [...receivers.values()].map(({ etr }) => etr) }]
      })
    },
    handleDeadline(now, outputs) {
      for (const due of deadlines.due(now)) {
        const at = due.indexOf('|')
        remove(due.slice(0, at), due.slice(at + 1), now, outputs)
      }
    },
    deadline: () => deadlines.next(),
  }
}
