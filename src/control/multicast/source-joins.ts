/**
 * Drawing the packets of our site's sources to us when another site listens (RFC 8378 §5.2.1).
 *
 * A source that is an endpoint of our own segment sends where we hear it. One behind a router of the site
 * does so only when it is joined: (S,G) towards the source, and (*,G) towards the rendezvous point where
 * that is in the site. Joined as long as some other site wants the group.
 */
import type { NodeConfig } from '../../config/node-config.js'
import type { IpAddress } from '../../lisp/address.js'
import {
  anySource,
  formatGroup,
  type MulticastGroup,
} from '../../lisp/multicast/multicast-group.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import type { Output } from '../input-output.js'
import type { PimLinks } from './pim-links.js'
import { rendezvousPointOf } from './rendezvous-point.js'

export interface SourceJoins {
  /** Whether any other site wants this group of ours. */
  update(group: MulticastGroup, isWanted: boolean, now: Instant, outputs: Output[]): void
  /** The rendezvous point of a group is in this site. */
  hasRoot(group: MulticastGroup): boolean
}

export function createSourceJoins(
  config: NodeConfig,
  database: MappingDatabase,
  links: Pick<PimLinks, 'want' | 'unwant'>,
): SourceJoins {
  const configured = config.multicast.pim?.rendezvousPoints ?? []
  /** Name of (*,G) → names because of which it is joined. */
  const reasons = new Map<string, Set<string>>()

  /** Where packets of this address come from, if it lives in this site behind a router. */
  function behindRouter(instanceId: number, address: IpAddress): DatabaseEntry | undefined {
    const entry = database.match({ instanceId, address })
    if (entry === undefined || entry.state === 'away') return undefined
    return entry.kind === 'dynamic-eid' && entry.mac !== undefined ? undefined : entry
  }

  function isHere(instanceId: number, address: IpAddress): boolean {
    const entry = database.match({ instanceId, address })
    return entry !== undefined && entry.state !== 'away'
  }

  function updateRoot(
    group: MulticastGroup,
    isWanted: boolean,
    now: Instant,
    outputs: Output[],
  ): void {
    const name = anySource(group)
    const because = reasons.get(formatGroup(name)) ?? new Set()
    const rendezvousPoint = rendezvousPointOf(configured, group.group)
    const entry = rendezvousPoint && behindRouter(group.instanceId, rendezvousPoint)
    if (isWanted && entry !== undefined) {
      because.add(formatGroup(group))
      reasons.set(formatGroup(name), because)
      links.want({ group: name, rendezvousPoint }, entry.interfaceName, now, outputs)
      return
    }
    if (!because.delete(formatGroup(group)) || because.size > 0) return
    reasons.delete(formatGroup(name))
    links.unwant(name, outputs)
  }

  return {
    update(group, isWanted, now, outputs) {
      updateRoot(group, isWanted, now, outputs)
      const { source, instanceId } = group
      if (source === undefined) return
      const entry = isWanted ? behindRouter(instanceId, source) : undefined
      if (entry === undefined) links.unwant(group, outputs)
      else links.want({ group, rendezvousPoint: undefined }, entry.interfaceName, now, outputs)
    },
    hasRoot({ instanceId, group }) {
      const root = rendezvousPointOf(configured, group)
      return root !== undefined && isHere(instanceId, root)
    },
  }
}
