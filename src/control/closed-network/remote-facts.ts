/**
 * What packets say about cached mappings in a closed network, kept in step with the map-cache: the
 * version that goes to their ETRs (RFC 9302 §7), and the locator-status-bits that their ITRs are
 * expected to send (RFC 9300 §10).
 *
 * The redirect of an EID that has left says no version: it is what we heard when it left, and is not
 * refreshed. Bits rest for five minutes when a locator-set changes. Nothing happens here unless the
 * configuration switches map-versions or status bits on.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type EidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { MapCacheEntry } from '../../tables/map-cache.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { statusBitsOf, USE_LSB_MS } from './use-lsb-timer.js'

export interface RemoteFacts {
  installed(entry: MapCacheEntry, now: Instant, outputs: Output[]): void
  removed(eidPrefix: EidPrefix, outputs: Output[]): void
  /** Its site sends these bits now; returns the RLOCs that it holds for down since. */
  takeStatusBits(entry: MapCacheEntry, statusBits: number, outputs: Output[]): readonly Rloc[]
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

interface Fact {
  readonly eidPrefix: EidPrefix
  readonly rlocs: string
  readonly mapVersion: number | undefined
  statusBits: number
  /** False while the use-LSB timer runs. */
  usesBits: boolean
}

export function createRemoteFacts({ closedNetwork }: NodeConfig): RemoteFacts {
  const { mapVersions = false, statusBits: usesStatusBits = false } = closedNetwork ?? {}
  const facts = new Map<string, Fact>()
  const resting = createDeadlines()

  function put(fact: Fact, outputs: Output[]): void {
    outputs.push({
      kind: 'datapath',
      operation: {
        kind: 'put-mapping-facts',
        side: 'remote',
        eidPrefix: fact.eidPrefix,
        mapVersion: mapVersions ? fact.mapVersion : undefined,
        statusBits: usesStatusBits && fact.usesBits ? fact.statusBits : undefined,
        dropStale: false,
      },
    })
  }

  return {
    installed(entry, now, outputs) {
      if (!mapVersions && !usesStatusBits) return
      const { eidPrefix, locators, mapVersion } = entry.mapping
      if (locators.length === 0) return this.removed(eidPrefix, outputs)
      const key = formatEidPrefix(eidPrefix)
      const rlocs = locators.map((one) => formatIpAddress(one.rloc)).join(' ')
      const former = facts.get(key)
      const version = entry.origin === 'away' ? undefined : mapVersion
      if (former?.rlocs === rlocs && former.mapVersion === version) return
      const changed = former !== undefined && former.rlocs !== rlocs
      if (changed && usesStatusBits) resting.set(key, now + USE_LSB_MS)
      const fact = {
        eidPrefix,
        rlocs,
        mapVersion: version,
        statusBits: statusBitsOf(locators.map((one) => one.reachable)),
        usesBits: resting.get(key) === undefined,
      }
      facts.set(key, fact)
      put(fact, outputs)
    },
    removed(eidPrefix, outputs) {
      const key = formatEidPrefix(eidPrefix)
      resting.cancel(key)
      if (!facts.delete(key)) return
      const operation = { kind: 'delete-mapping-facts', side: 'remote', eidPrefix } as const
      outputs.push({ kind: 'datapath', operation })
    },
    takeStatusBits(entry, statusBits, outputs) {
      const fact = facts.get(formatEidPrefix(entry.mapping.eidPrefix))
      if (fact === undefined || !fact.usesBits) return []
      const gone = fact.statusBits & ~statusBits
      fact.statusBits = statusBits
      put(fact, outputs)
      return entry.mapping.locators
        .filter((_, index) => index < 8 && (gone >> index) & 1)
        .map((one) => one.rloc)
    },
    handleDeadline(now, outputs) {
      for (const key of resting.due(now)) {
        const fact = facts.get(key)
        if (fact === undefined) continue
        fact.usesBits = true
        put(fact, outputs)
      }
    },
    deadline: () => resting.next(),
  }
}
