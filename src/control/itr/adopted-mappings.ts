/**
 * Asking again for the mappings that an earlier run of this node left in the datapath.
 *
 * What was adopted is only what was in use when the earlier run ended: without version, and of the
 * locator-set no more than the locators that packets went to, which may be the second choice of a
 * moment. Nobody tells us about changes in between, so the mapping system is asked at once, at a pace
 * that a Map-Server's limit of replies to one RLOC can bear; retries are those of every request.
 */
import type { EidPrefix } from '../../lisp/eid.js'
import type { MapCache } from '../../tables/map-cache.js'
import type { Instant } from '../capabilities.js'
import type { Output } from '../input-output.js'
import type { PendingRequests } from './pending-requests.js'

export interface AdoptedMappings {
  /** These stand in the cache as `restored`; the first of them are asked for now. */
  begin(eidPrefixes: readonly EidPrefix[], now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** Our choice: 50 a second, half of what a Map-Server answers to one RLOC unless told otherwise. */
const PORTION = 10
const PORTION_MS = 200

export function createAdoptedMappings(cache: MapCache, pending: PendingRequests): AdoptedMappings {
  /** Bounded by the size of the map-cache; the last is asked for first. */
  let left: EidPrefix[] = []
  let nextAt: Instant | undefined

  function askPortion(now: Instant, outputs: Output[]): void {
    for (const eidPrefix of left.splice(-PORTION)) {
      const entry = cache.exact(eidPrefix)
      if (entry?.origin !== 'restored') continue
      entry.refreshing = true
      pending.ask(eidPrefix, undefined, { kind: 'refresh' }, now, outputs)
    }
    nextAt = left.length === 0 ? undefined : now + PORTION_MS
  }

  return {
    begin(eidPrefixes, now, outputs) {
      left = [...eidPrefixes]
      askPortion(now, outputs)
    },
    handleDeadline(now, outputs) {
      if (nextAt !== undefined && nextAt <= now) askPortion(now, outputs)
    },
    deadline: () => nextAt,
  }
}
