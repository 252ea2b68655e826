/**
 * What a packet to one EID meets in the kernel's tables at this moment: read from the maps themselves,
 * not from what we remember having written. A few map look-ups, for operators.
 */
import { formatIpAddress } from '../lisp/address.js'
import { type Eid, hostPrefix } from '../lisp/eid.js'
import {
  decodeBpfLocalEid,
  decodeBpfMapCacheEntry,
  LOCAL_EID_STATE,
  MAP_CACHE_ACTION,
} from './abi.generated.js'
import type { BpfMaps } from './bpf-maps.js'
import type { DatapathFinding } from './datapath.js'
import { eidKey, eidPrefixKey } from './eid-keys.js'
import type { LocatorSets } from './locator-sets.js'

/** Of each table what is found for the EID: its host entry, else that of its longest prefix. */
export function inspectTables(eid: Eid, maps: BpfMaps, sets: LocatorSets): DatapathFinding[] {
  const find = (
    hosts: string,
    prefixes: string,
  ): { match: DatapathFinding['match']; value: Uint8Array } | undefined => {
    const host = maps.lookup(hosts, eidKey(eid))
    if (host !== undefined) return { match: 'host', value: host }
    const prefix = maps.lookup(prefixes, eidPrefixKey(hostPrefix(eid)))
    return prefix === undefined ? undefined : { match: 'prefix', value: prefix }
  }
  const findings: DatapathFinding[] = []
  const local = find('local_eid_hosts', 'local_eid_prefixes')
  if (local !== undefined) {
    const { state } = decodeBpfLocalEid(local.value)
    const form = nameOf(LOCAL_EID_STATE, state)
    findings.push({ table: 'local-eid', match: local.match, form, rlocs: [] })
  }
  const cached = find('map_cache_hosts', 'map_cache_prefixes')
  if (cached !== undefined) {
    const { action, locatorSetId } = decodeBpfMapCacheEntry(cached.value)
    const form = nameOf(MAP_CACHE_ACTION, action)
    const rlocs = sets
      .encapsulations(locatorSetId)
      .map(({ locator }) => formatIpAddress(locator.rloc))
    findings.push({ table: 'map-cache', match: cached.match, form, rlocs })
  }
  return findings
}

function nameOf(names: Readonly<Record<string, number>>, value: number): string {
  const found = Object.entries(names).find(([, number]) => number === value)
  return found?.[0] ?? `unknown (${value})`
}
