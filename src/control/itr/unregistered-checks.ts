/**
 * Asking again for EIDs that were "not registered now" when a packet wanted them.
 *
 * Such a negative answer stands for a minute (RFC 9301 §8.3), but may be wrong in the next second: a
 * host that comes, or a Map-Server that lost its store and waits for its sites to register. The
 * datapath does not count what it leaves to the kernel's routing, so use cannot be asked for. Our
 * choice: each such entry is asked for three times more; the same answer does not lengthen its life,
 * so that only a packet that wants it begins anew.
 */
import { type EidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MapCache, MapCacheEntry } from '../../tables/map-cache.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import type { PendingRequests } from './pending-requests.js'

export interface UnregisteredChecks {
  /** Entries that an answer has installed now. */
  installed(entries: readonly MapCacheEntry[], now: Instant): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

interface Check {
  readonly eidPrefix: EidPrefix
  done: number
}

/** After the answer, and after each other. */
const PAUSES_MS: readonly number[] = [4000, 8000, 16_000]
/** At most 56 requests a second; who scans a site does not make us scan the mapping system thrice. */
const MAXIMUM_CHECKED = 512
const UNREGISTERED_TTL_MINUTES = 1

export function createUnregisteredChecks(
  cache: MapCache,
  pending: PendingRequests,
): UnregisteredChecks {
  const checks = new Map<string, Check>()
  const deadlines = createDeadlines()

  function check(key: string, one: Check, now: Instant, outputs: Output[]): void {
    const entry = cache.exact(one.eidPrefix)
    if (entry === undefined || !isUnregistered(entry.mapping)) {
      checks.delete(key)
      return
    }
    pending.ask(one.eidPrefix, undefined, { kind: 'refresh' }, now, outputs)
    one.done += 1
    const pause = PAUSES_MS[one.done]
    if (pause === undefined) checks.delete(key)
    else deadlines.set(key, now + pause)
  }

  return {
    installed(entries, now) {
      for (const { mapping } of entries) {
        if (!isUnregistered(mapping) || checks.size >= MAXIMUM_CHECKED) continue
        const key = formatEidPrefix(mapping.eidPrefix)
        checks.set(key, { eidPrefix: mapping.eidPrefix, done: 0 })
        deadlines.set(key, now + PAUSES_MS[0]!)
      }
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const one = checks.get(key)
        if (one !== undefined) check(key, one, now, outputs)
      }
    },
    deadline: () => deadlines.next(),
  }
}

/** True when the answer says only what the entry says already: nobody registers it. */
export function isStillUnregistered(former: MapCacheEntry, answer: Mapping): boolean {
  const learned = former.origin === 'map-reply' || former.origin === 'map-notify'
  const same = former.mapping.action === answer.action && learned
  return same && isUnregistered(former.mapping) && isUnregistered(answer)
}

function isUnregistered({ locators, ttlMinutes }: Mapping): boolean {
  return locators.length === 0 && ttlMinutes > 0 && ttlMinutes <= UNREGISTERED_TTL_MINUTES
}
