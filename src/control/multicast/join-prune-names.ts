/**
 * Which (*,G) and (S,G) a Join/Prune names, and what of it is left aside (RFC 7761 §4.9.5, RFC 8059 §4).
 *
 * Left aside are: ranges, groups of one link, bidirectional groups, sources that no host can be, and
 * sources whose attributes are said twice or wrongly. Prunes off the RP tree, (S,G,rpt), are no error:
 * they are counted neither here nor there.
 */
import { addressBits, type IpAddress, isMulticast, isUnspecified } from '../../lisp/address.js'
import { isLinkScoped, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { JoinPruneGroup, PimJoinPrune } from '../../lisp/multicast/pim.js'
import {
  type EncodedGroup,
  type EncodedSource,
  type JoinTerms,
  joinTerms,
} from '../../lisp/multicast/pim-addresses.js'

/** One line of a Join/Prune. */
export interface NamedJoin {
  readonly what: 'join' | 'prune'
  readonly group: MulticastGroup
  /** The rendezvous point of (*,G). */
  readonly root: IpAddress
  readonly terms: JoinTerms
}

/** Why lines are left aside, and how many. */
export interface LeftAside {
  readonly group: number
  readonly source: number
  readonly attributes: number
}

export function namedJoins(
  { upstreamNeighbor, groups }: PimJoinPrune,
  instanceId: number,
): { readonly named: readonly NamedJoin[]; readonly leftAside: LeftAside } {
  const named: NamedJoin[] = []
  const leftAside = { group: 0, source: 0, attributes: 0 }

  function take(what: NamedJoin['what'], { group }: JoinPruneGroup, source: EncodedSource): void {
    if (source.rpTree && !source.wildcard) return
    const isHost = source.maskLength === addressBits(source.address.family)
    const isAny = source.wildcard && source.rpTree
    if (!isHost || source.wildcard !== source.rpTree || !mayBe(source.address, group.address)) {
      leftAside.source += 1
      return
    }
    const terms = joinTerms(source.attributes, group.attributes, upstreamNeighbor.attributes)
    if (terms === undefined) {
      leftAside.attributes += 1
      return
    }
    const name = { instanceId, source: isAny ? undefined : source.address, group: group.address }
    named.push({ what, group: name, root: source.address, terms })
  }

  for (const one of groups) {
    if (!isUsableGroup(one.group)) {
      leftAside.group += 1
      continue
    }
    // A join and a prune of the same name in one message: the join, said last, holds.
    for (const source of one.pruned) take('prune', one, source)
    for (const source of one.joined) take('join', one, source)
  }
  return { named, leftAside }
}

function isUsableGroup({ address, maskLength, bidirectional }: EncodedGroup): boolean {
  if (maskLength !== addressBits(address.family) || bidirectional) return false
  return isMulticast(address) && !isLinkScoped(address)
}

function mayBe(source: IpAddress, group: IpAddress): boolean {
  return source.family === group.family && !isMulticast(source) && !isUnspecified(source)
}
