/**
 * A Solicit-Map-Request at the ITR (RFC 9301 §6.1): which EIDs it is about, whether there is anything
 * to bring up to date, and whether it is listened to (smr-limits.ts). What then is asked and when
 * stands in smr-following.ts. The cached entry stays in any case: a forged SMR costs no traffic.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type Eid, eidFromPrefix, formatEid } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { MapRequest } from '../../lisp/message.js'
import type { MapCache } from '../../tables/map-cache.js'
import type { Instant } from '../capabilities.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import type { SmrFollowing } from './smr-following.js'
import { createSmrLimits, MAXIMUM_SMR_EIDS } from './smr-limits.js'

/** @param pendingRequests how many requests are pending now */
export function createSmrHandling(
  config: NodeConfig,
  cache: MapCache,
  following: SmrFollowing,
  pendingRequests: () => number,
): (request: MapRequest, from: Rloc, now: Instant, outputs: Output[]) => void {
  const limits = createSmrLimits(config, pendingRequests)

  return (request, from, now, outputs) => {
    const source = formatIpAddress(from)
    const suppress = (reason: string, eid: string): void =>
      report(outputs, 'smr-suppressed', 'info', { reason, eid, from: source })
    let looks = 0
    for (const [name, eid] of eidsOf(request)) {
      looks += 1
      if (looks > MAXIMUM_SMR_EIDS) {
        suppress('too-many-records', name)
        return
      }
      const found = cache.lookup(eid, now)
      // RFC 9301 §6.1: without a cache entry there is nothing to bring up to date.
      const ignored = found.kind === 'miss' || found.entry.origin === 'local'
      const reason = ignored ? 'no-cache-entry' : 'accepted'
      report(outputs, 'smr-received', 'info', { reason, eid: name, from: source })
      if (found.kind !== 'hit' || ignored) continue
      const { mapping } = found.entry
      const objection = limits.objectionTo(from, mapping, now)
      if (objection === undefined) following.follow(eid, from, mapping.locators, now, outputs)
      else suppress(objection, name)
    }
  }
}

/** The changed EID is in the record, in the Source-EID, or in both: implementations differ. */
function eidsOf({ records, sourceEid }: MapRequest): Map<string, Eid> {
  const eids = new Map<string, Eid>()
  for (const { eidPrefix } of records) {
    const eid = eidFromPrefix(eidPrefix)
    eids.set(formatEid(eid), eid)
  }
  if (sourceEid !== undefined) eids.set(formatEid(sourceEid), sourceEid)
  return eids
}
