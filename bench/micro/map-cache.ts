/**
 * The ITR's map-cache: a hit, and taking in a Map-Reply's record, with the cache of a busy xTR.
 */
import { ipAddress } from '../../src/lisp/address.js'
import type { Eid } from '../../src/lisp/eid.js'
import { locator } from '../../src/lisp/locator.js'
import type { Mapping } from '../../src/lisp/mapping.js'
import { createMapCache } from '../../src/tables/map-cache.js'
import type { Subject } from './main.js'

export function mapCacheSubjects(): Subject[] {
  const cache = createMapCache({ maximumEntries: 2 * ENTRIES })
  for (let index = 0; index < ENTRIES; index += 1) {
    cache.insert([hostMapping(index)], { origin: 'map-reply' }, 0)
  }
  let turn = 0
  const next = (): number => {
    turn = (turn + 7_919) % ENTRIES
    return turn
  }
  const label = ENTRIES.toLocaleString('en')
  return [
    {
      name: `map-cache: hit among ${label} mappings`,
      run: () => cache.lookup(eid(next()), 1).kind === 'hit',
    },
    {
      name: `map-cache: replace one of ${label} mappings`,
      run: () =>
        cache.insert([hostMapping(next())], { origin: 'map-reply' }, 1).installed.length === 1,
    },
  ]
}

function hostMapping(index: number): Mapping {
  return {
    eidPrefix: { ...eid(index), maskLength: 32 },
    ttlMinutes: 1_440,
    action: 'no-action',
    authoritative: true,
    mapVersion: 1,
    locators: [LOCATOR],
  }
}

function eid(index: number): Eid {
  const bytes = Uint8Array.of(10, index >>> 16, index >>> 8, index)
  return { instanceId: 7, address: ipAddress(bytes) }
}

const LOCATOR = locator(ipAddress(Uint8Array.of(192, 0, 2, 1)))
const ENTRIES = 100_000
