/**
 * How a node addresses its control datagrams: from its RLOC of the destination's family, to UDP 4342
 * (RFC 9301 §4), and which locators it gives as its own. Decides nothing else.
 */
import type { NodeConfig } from '../config/node-config.js'
import { equalIpAddresses } from '../lisp/address.js'
import type { EidPrefix } from '../lisp/eid.js'
import {
  type Locator,
  locator,
  type Rloc,
  sortLocators,
  structuredLocator,
} from '../lisp/locator.js'
import type { Mapping } from '../lisp/mapping.js'
import type { Output } from './input-output.js'

/** RFC 9301 §4: LISP control packets. */
export const CONTROL_PORT = 4342

/** Our RLOC of the family of `to`, or undefined when we have none. */
export function sourceRloc(config: NodeConfig, to: Rloc): Rloc | undefined {
  return config.rlocs.find((one) => one.address.family === to.family)?.address
}

export function isOwnRloc(config: NodeConfig, rloc: Rloc): boolean {
  return config.rlocs.some((one) => equalIpAddresses(one.address, rloc))
}

/** Appends a `send`; false (and nothing appended) when we have no RLOC of that family. */
export function sendControl(
  config: NodeConfig,
  to: Rloc,
  bytes: Uint8Array,
  outputs: Output[],
  toPort: number = CONTROL_PORT,
): boolean {
  const from = sourceRloc(config, to)
  if (from === undefined) return false
  outputs.push({ kind: 'send', from, to, toPort, bytes })
  return true
}

/**
 * Our locator-set: every RLOC of ours, local and reachable, sorted (RFC 9301 §5.5). One that is to be
 * reached through RTRs is an explicit locator path with itself at the end (RFC 8060 §4.6).
 */
export function ownLocators(config: NodeConfig): readonly Locator[] {
  return sortLocators(
    config.rlocs.map(({ address, priority, weight, path = [] }) => {
      // Who takes joins says so (RFC 6831 §4); of others 255 does.
      const groups = config.multicast.pim?.joinSites
        ? { multicastPriority: priority, multicastWeight: weight }
        : {}
      const plain = locator(address, { priority, weight, ...groups, local: true, probe: false })
      if (path.length === 0) return plain
      const end = { lookup: false, probe: true, strict: true }
      const hops = [...path, { ...end, address: { kind: 'ip' as const, address } }]
      return structuredLocator({ kind: 'explicit-locator-path', hops }, plain) ?? plain
    }),
  )
}

/** The RLOC of the ETR that a locator stands for: the end of its path, or its address. */
export function endOfPath({ rloc, structure }: Locator): Rloc {
  if (structure?.kind !== 'explicit-locator-path') return rloc
  const end = structure.hops.at(-1)?.address
  return end?.kind === 'ip' ? end.address : rloc
}

/** An authoritative mapping of `eidPrefix` with these locators. */
export function ownMapping(
  eidPrefix: EidPrefix,
  locators: readonly Locator[],
  ttlMinutes: number,
  mapVersion: number,
): Mapping {
  return { eidPrefix, ttlMinutes, action: 'no-action', authoritative: true, mapVersion, locators }
}

/** True when any of these locators is ours; an RTR on the way to another one is not meant. */
export function namesUs(config: NodeConfig, locators: readonly Locator[]): boolean {
  return locators.some((one) => isOwnRloc(config, endOfPath(one)))
}
