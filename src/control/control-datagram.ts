/**
 * How a node addresses its control datagrams: from its RLOC of the destination's family, to UDP 4342
 * (RFC 9301 §4), and which locators it gives as its own. Decides nothing else.
 */
import type { NodeConfig } from '../config/node-config.js'
import { equalIpAddresses } from '../lisp/address.js'
import type { EidPrefix } from '../lisp/eid.js'
import { type Locator, type Rloc, sortLocators } from '../lisp/locator.js'
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

/** Our locator-set: every RLOC of ours, local and reachable, sorted (RFC 9301 §5.5). */
export function ownLocators(config: NodeConfig): readonly Locator[] {
  return sortLocators(
    config.rlocs.map((one) => ({
      rloc: one.address,
      priority: one.priority,
      weight: one.weight,
      multicastPriority: 255,
      multicastWeight: 0,
      local: true,
      probe: false,
      reachable: true,
    })),
  )
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

/** True when any of these locators is ours. */
export function namesUs(config: NodeConfig, locators: readonly Locator[]): boolean {
  return locators.some((one) => isOwnRloc(config, one.rloc))
}
