/**
 * Where a packet for a locator goes next from here: to the locator itself, or along its explicit
 * locator path (RFC 8060 §4.6).
 *
 * Whoever finds an RLOC of its own in the path goes on behind it, everybody else begins at its head.
 * A hop that cannot be used is skipped unless its S bit forbids that. The L bit asks the mapping
 * system for the hop's address; the RFC names no instance-ID for it: our choice is 0, or that of the
 * hop's own LCAF. Without the P bit a hop is never probed, so it never counts as down.
 * At the end of the path is the ETR; a path that ends at ourselves leads nowhere from here.
 */
import type { NodeConfig } from '../../config/node-config.js'
import type { ExplicitLocatorPath, PathHop } from '../../lisp/afi-address.js'
import type { Eid } from '../../lisp/eid.js'
import { isUsableRloc, type Locator, type Rloc } from '../../lisp/locator.js'
import { isOwnRloc, sourceRloc } from '../control-datagram.js'

export type PathStep =
  | { readonly kind: 'hop'; readonly rloc: Rloc }
  /** The mapping system has to be asked for this hop first. */
  | { readonly kind: 'lookup'; readonly eid: Eid }

/** What is known of hops here and now. */
export interface PathSight {
  isDown(rloc: Rloc): boolean
  /** A locator of this EID that packets can go to. */
  locatorOf(eid: Eid): Rloc | 'unknown' | 'nowhere'
}

/** Nothing is down, nothing was looked up. */
export const BLIND: PathSight = { isDown: () => false, locatorOf: () => 'unknown' }

/** The path of this locator, when it has one. */
export function pathOf({ structure }: Locator): ExplicitLocatorPath | undefined {
  return structure?.kind === 'explicit-locator-path' ? structure : undefined
}

/** The next step towards `locator`; undefined when there is none from here. */
export function nextStep(
  config: NodeConfig,
  locator: Locator,
  sight: PathSight,
): PathStep | undefined {
  const path = pathOf(locator)
  if (path === undefined)
    return canReach(config, locator.rloc) ? { kind: 'hop', rloc: locator.rloc } : undefined
  for (const hop of hopsAhead(config, path)) {
    const step = stepOf(config, hop, sight)
    if (step !== undefined) return step
    if (hop.strict) return undefined
  }
  return undefined
}

/** The RLOCs that may be probed for this locator from here: hops with the P bit, up to a strict one. */
export function probedRlocs(config: NodeConfig, locator: Locator, sight: PathSight): Rloc[] {
  const path = pathOf(locator)
  if (path === undefined) return [locator.rloc]
  const rlocs: Rloc[] = []
  for (const hop of hopsAhead(config, path)) {
    const step = hop.probe ? stepOf(config, hop, { ...sight, isDown: () => false }) : undefined
    if (step?.kind === 'hop') rlocs.push(step.rloc)
    if (hop.strict) break
  }
  return rlocs
}

/** RFC 8060 §4.6: the hops behind our own address. */
function hopsAhead(config: NodeConfig, { hops }: ExplicitLocatorPath): readonly PathHop[] {
  const own = hops.findLastIndex(
    ({ address }) => address.kind === 'ip' && isOwnRloc(config, address.address),
  )
  return hops.slice(own + 1)
}

function stepOf(config: NodeConfig, hop: PathHop, sight: PathSight): PathStep | undefined {
  const eid = eidOfHop(hop)
  if (eid === undefined) return undefined
  const rloc = hop.lookup ? sight.locatorOf(eid) : eid.address
  if (rloc === 'unknown') return { kind: 'lookup', eid }
  if (rloc === 'nowhere') return undefined
  if (!canReach(config, rloc) || (hop.probe && sight.isDown(rloc))) return undefined
  return { kind: 'hop', rloc }
}

function eidOfHop({ address }: PathHop): Eid | undefined {
  if (address.kind === 'ip') return { instanceId: 0, address: address.address }
  if (address.kind !== 'instance' || address.address.kind !== 'ip') return undefined
  return { instanceId: address.instanceId, address: address.address.address }
}

function canReach(config: NodeConfig, rloc: Rloc): boolean {
  return isUsableRloc(rloc) && !isOwnRloc(config, rloc) && sourceRloc(config, rloc) !== undefined
}
