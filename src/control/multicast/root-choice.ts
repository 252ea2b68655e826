/**
 * Through which xTR of its site a source is joined, and where the core carries it (RFC 6831 §4, §9).
 *
 * M-Priority and M-Weight decide among the locators of the source: 255 is a locator that does no
 * multicast, and where all are so the site is one without LISP multicast (uLISP). Locators of the
 * family of the source come first; where the core carries groups there are no others, because outer
 * and inner family are the same there (§9.2). The weight is laid out over the names of groups, so
 * that all joins of one group meet at one xTR.
 */
import type { NodeConfig } from '../../config/node-config.js'
import type { IpAddress } from '../../lisp/address.js'
import { coversEid } from '../../lisp/eid.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import { formatGroup, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import { sourceRloc } from '../control-datagram.js'

/** M-Priority of a locator that must not be joined (RFC 9301 §5.4). */
const NOT_FOR_MULTICAST = 255

/** The RLOC to join at, undefined when the site has none that does multicast and that we can reach. */
export function chooseRoot(
  config: NodeConfig,
  group: MulticastGroup,
  locators: readonly Locator[],
  isDown: (rloc: Rloc) => boolean,
): Rloc | undefined {
  const able = locators.filter(
    ({ multicastPriority, reachable, rloc }) =>
      multicastPriority !== NOT_FOR_MULTICAST &&
      reachable &&
      sourceRloc(config, rloc) !== undefined,
  )
  const suited = suitedTo(config, able, group.group.family)
  const up = suited.filter(({ rloc }) => !isDown(rloc))
  const candidates = up.length > 0 ? up : suited
  const best = candidates.reduce((least, one) => Math.min(least, one.multicastPriority), 255)
  return byWeight(
    candidates.filter(({ multicastPriority }) => multicastPriority === best),
    formatGroup(group),
  )?.rloc
}

function suitedTo(config: NodeConfig, able: readonly Locator[], family: 4 | 6): readonly Locator[] {
  const alike = able.filter(({ rloc }) => rloc.family === family)
  if (isCarriedByCore(config)) return alike
  return alike.length > 0 ? alike : able
}

/** The group of the core that carries a group of sites (RFC 9798), its own address without one. */
export function coreGroupOf(config: NodeConfig, group: IpAddress): IpAddress {
  const groups = config.multicast.pim?.underlayGroups ?? []
  let best: (typeof groups)[number] | undefined
  for (const one of groups) {
    if (!coversEid(one.groups, { instanceId: 0, address: group })) continue
    if (best === undefined || one.groups.maskLength > best.groups.maskLength) best = one
  }
  return best?.address ?? group
}

export function isCarriedByCore({ multicast }: NodeConfig): boolean {
  return multicast.pim?.underlayMulticast === true
}

function byWeight(candidates: readonly Locator[], name: string): Locator | undefined {
  // All of weight 0: alike (RFC 9301 §5.4).
  const total = candidates.reduce((sum, { multicastWeight }) => sum + multicastWeight, 0)
  const share = (one: Locator): number => (total === 0 ? 1 : one.multicastWeight)
  let point = hash(name) % Math.max(1, total === 0 ? candidates.length : total)
  for (const one of candidates) {
    if (point < share(one)) return one
    point -= share(one)
  }
  return undefined
}

/** FNV-1a; only to spread names. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1)
    value = Math.imul(value ^ text.charCodeAt(at), 0x01000193) >>> 0
  return value
}
