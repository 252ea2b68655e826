/**
 * What "forward natively" (RFC 9301 §5.4) becomes where Proxy-ETRs are configured (RFC 6832 §6):
 * encapsulation to them, so that packets of non-routable EIDs, or of a family that the underlay does
 * not have, reach the Internet.
 *
 * Our own prefixes stay native: what is behind us needs no detour. Proxy-ETRs are not probed, because
 * they have no mapping to answer a probe with (our choice; all of one reachable family share the load).
 */
import type { NodeConfig } from '../../config/node-config.js'
import { coversPrefix } from '../../lisp/eid.js'
import { locator } from '../../lisp/locator.js'
import type { MapCacheEntry } from '../../tables/map-cache.js'
import type { Encapsulation } from '../datapath-operation.js'
import { chooseEncapsulations } from './encapsulation-choice.js'

/** The outer headers for what this negative entry says to forward natively; empty: really native. */
export function proxyEncapsulations(
  config: NodeConfig,
  entry: MapCacheEntry,
): readonly Encapsulation[] {
  const rlocs = config.interworking?.petrRlocs ?? []
  if (rlocs.length === 0) return []
  const { eidPrefix, action } = entry.mapping
  if (action !== 'natively-forward' || entry.origin === 'local') return []
  const own = [...config.eidPrefixes, ...config.dynamicEidPrefixes]
  if (own.some((one) => coversPrefix(one.eidPrefix, eidPrefix))) return []
  return chooseEncapsulations(
    config,
    rlocs.map((rloc) => locator(rloc)),
    () => false,
  )
}
