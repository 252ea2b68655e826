/**
 * From a locator-set to outer headers: which locators an ITR may use, and which of them it does.
 *
 * RFC 9301 §5.4: R=0 and priority 255 are never used, the best priority wins, weights are left to
 * the datapath. Our own RLOCs are never encapsulated to: such a packet would come back to us.
 * When probing holds every locator for down, the best ones are used nevertheless (our choice: a
 * probe that a firewall eats must not stop traffic that would pass, and dropping gains nothing).
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses } from '../../lisp/address.js'
import { maskedAddress } from '../../lisp/eid.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import { sourceRloc } from '../control-datagram.js'
import type { Encapsulation } from '../datapath-operation.js'
import { BLIND, nextStep, type PathSight } from './explicit-path.js'

/** The datapath has room for so many locators in one set. */
const MAXIMUM_ENCAPSULATIONS = 8

/** Locators that may carry unicast from here at all, whatever probing says. */
export function usableLocators(
  config: NodeConfig,
  locators: readonly Locator[],
): readonly Locator[] {
  return locators.filter(
    (one) => one.reachable && one.priority !== 255 && nextStep(config, one, BLIND) !== undefined,
  )
}

/**
 * The outer headers to use now; empty when no locator is usable. A locator with an explicit path
 * stands for its next hop (explicit-path.ts).
 */
export function chooseEncapsulations(
  config: NodeConfig,
  locators: readonly Locator[],
  isDown: (rloc: Rloc) => boolean,
  locatorOf: PathSight['locatorOf'] = BLIND.locatorOf,
): readonly Encapsulation[] {
  const usable = usableLocators(config, locators).flatMap((one) => {
    const up = nextStep(config, one, { isDown, locatorOf })
    const step = up ?? nextStep(config, one, { ...BLIND, locatorOf })
    return step?.kind === 'hop' ? [{ ...one, rloc: step.rloc }] : []
  })
  const up = usable.filter((one) => !isDown(one.rloc))
  const candidates = up.length > 0 ? up : usable
  const best = candidates.reduce((lowest, one) => Math.min(lowest, one.priority), 255)
  return candidates
    .filter((one) => one.priority === best)
    .slice(0, MAXIMUM_ENCAPSULATIONS)
    .map((locator) => encapsulationTo(config, locator))
}

/** The outer header towards a locator of a family that we have an RLOC of. */
export function encapsulationTo(config: NodeConfig, locator: Locator): Encapsulation {
  return {
    locator,
    source: sourceRloc(config, locator.rloc)!,
    pathMtu: config.pathMtu,
    ...formOf(config, locator.rloc),
  }
}

/** N, E and V have no place beside the P bit (RFC 9305 §3). */
function formOf(config: NodeConfig, rloc: Rloc): Pick<Encapsulation, 'gpe' | 'closed'> {
  if (speaksGpe(config, rloc)) return { gpe: true }
  return marksPackets(config) ? { closed: true } : {}
}

function marksPackets({ closedNetwork }: NodeConfig): boolean {
  if (closedNetwork === undefined) return false
  return closedNetwork.echoNonce || closedNetwork.statusBits || closedNetwork.mapVersions
}

/** RFC 9305 §5: the P bit goes only to ETRs known to understand it; configuration knows. */
function speaksGpe(config: NodeConfig, rloc: Rloc): boolean {
  return config.gpePeers.some(
    ({ address, maskLength }) =>
      address.family === rloc.family && equalIpAddresses(maskedAddress(rloc, maskLength), address),
  )
}
