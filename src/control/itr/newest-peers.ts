/**
 * The sites that this one has lately learned mappings of: whom its endpoints talk to.
 *
 * Of each learned mapping the locator that packets would go to first. Looks at 4,096 entries at the
 * most, so that a large map-cache does not stop the node; beyond that the choice is arbitrary.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import type { Rloc } from '../../lisp/locator.js'
import type { MapCache, MapCacheEntry } from '../../tables/map-cache.js'
import type { Instant } from '../capabilities.js'
import { usableLocators } from './encapsulation-choice.js'

const MAXIMUM_LOOKS = 4096

/** Each site once, the newest mapping first, at most `limit`; statements of our own are left out. */
export function newestPeers(
  config: NodeConfig,
  cache: MapCache,
  limit: number,
  now: Instant,
): Rloc[] {
  const learned: MapCacheEntry[] = []
  let looks = 0
  for (const entry of cache.entries()) {
    looks += 1
    if (looks > MAXIMUM_LOOKS) break
    const isOwn = entry.origin === 'local' || entry.origin === 'away'
    if (!isOwn && entry.expiresAt > now && entry.mapping.locators.length > 0) learned.push(entry)
  }
  learned.sort((a, b) => b.installedAt - a.installedAt)
  const found = new Map<string, Rloc>()
  for (const { mapping } of learned) {
    if (found.size >= limit) break
    const [first] = usableLocators(config, mapping.locators)
    if (first !== undefined) found.set(formatIpAddress(first.rloc), first.rloc)
  }
  return [...found.values()]
}
