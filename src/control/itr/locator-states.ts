/**
 * What is known of the locators that packets are sent to, for whoever looks: whether probes are
 * answered, and the MTU of the path where it is smaller than the configured one.
 */
import type { Instant } from '../capabilities.js'
import type { LocatorStateView } from '../snapshot.js'
import type { InstalledMappings } from './installed-mappings.js'

/** The probed ones, then those of which only the path MTU is known (probing is off, or Proxy-ETRs). */
export function locatorStates(
  { probe, pathMtu }: Pick<InstalledMappings, 'probe' | 'pathMtu'>,
  now: Instant,
): LocatorStateView[] {
  const learnt = pathMtu.learnt()
  const probed = probe.views(now)
  const names = new Set(probed.map(({ rloc }) => rloc))
  const others = [...learnt.keys()].filter((rloc) => !names.has(rloc))
  return [...probed, ...others.map(unprobed)].map((one) => {
    const mtu = learnt.get(one.rloc)?.mtu
    return mtu === undefined ? one : { ...one, pathMtu: mtu }
  })
}

function unprobed(rloc: string): LocatorStateView {
  const nothing = { roundTripMs: undefined, lastReplyAgoMs: undefined, lossPercent: 0 }
  return { rloc, reachable: true, probing: false, ...nothing }
}
