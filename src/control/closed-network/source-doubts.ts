/**
 * What packets say against a cached mapping in a closed network, and what is done about it: ask the
 * mapping system, within the rates, and believe nothing else. RFC 9300 §10 (locator-status-bits), §16
 * (a source at an RLOC that its mapping does not name), RFC 9302 §7.2 (a newer version of it).
 *
 * Gleaning (RFC 9300 §9), the one exception: an unknown source is believed for 3 s to be where its
 * packet came from, once a minute, while the mapping system is asked; its own answer replaces that.
 * A mapping that comes with a Map-Request (RFC 9301 §5.3) is not even believed so long: it is a reason to
 * ask, and what is answered is used (RFC 9303 §6.9: the question is protected where that is required).
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type Eid, formatEid, formatEidPrefix, hostPrefix } from '../../lisp/eid.js'
import { type Locator, locator, type Rloc } from '../../lisp/locator.js'
import type { Instant } from '../capabilities.js'
import type { Output } from '../input-output.js'
import { usableLocators } from '../itr/encapsulation-choice.js'
import type { InstalledMappings } from '../itr/installed-mappings.js'
import type { OfKind } from '../itr/itr.js'
import type { PendingRequests } from '../itr/pending-requests.js'
import type { SmrFollowing } from '../itr/smr-following.js'
import { report } from '../outputs.js'
import { createRateLimit } from '../rate-limit.js'

export interface SourceDoubts {
  handleDoubt(event: OfKind<'source-doubted'>, now: Instant, outputs: Output[]): void
  handleStatusBits(event: OfKind<'status-bits-changed'>, now: Instant, outputs: Output[]): void
  /** `eid` is none of ours. */
  glean(event: OfKind<'source-unmapped'>, now: Instant, outputs: Output[]): void
  /** A Map-Request brought a mapping of `eid`, which is none of ours. Only where gleaning is on. */
  verify(eid: Eid, now: Instant, outputs: Output[]): void
}

/** RFC 9300 §10: reactions to status bits are limited; one per 3 s and mapping is our choice. */
const STATUS_BITS = { burst: 1, refillPerSecond: 1 / 3, maximumKeys: 16_384 }
/** RFC 9300 §9: what is gleaned lives for 3 s. */
const GLEANED_MS = 3000
const PER_GLEANED_EID = { burst: 1, refillPerSecond: 1 / 60, maximumKeys: 65_536 }
/** Our choice: inventing sources must not fill the map-cache, nor the Map-Resolver's time. */
const ALL_GLEANED = { burst: 100, refillPerSecond: 100, maximumKeys: 1 }

export function createSourceDoubts(
  config: NodeConfig,
  mappings: InstalledMappings,
  pending: PendingRequests,
  following: SmrFollowing,
): SourceDoubts {
  const { cache, probe, facts } = mappings
  const statusBitsLimit = createRateLimit(STATUS_BITS)
  const eidLimit = createRateLimit(PER_GLEANED_EID)
  const allLimit = createRateLimit(ALL_GLEANED)

  function learned(eid: Eid, now: Instant) {
    const found = cache.lookup(eid, now)
    return found.kind !== 'hit' || found.entry.origin === 'local' ? undefined : found.entry
  }

  function follow(
    eid: Eid,
    sender: Rloc,
    known: readonly Locator[],
    now: Instant,
    outputs: Output[],
  ): void {
    following.follow(eid, sender, known, now, outputs)
  }

  return {
    handleDoubt({ eid, sender, why }, now, outputs) {
      const entry = learned(eid, now)
      if (entry === undefined) return
      const about = { reason: why, eid: formatEid(eid), sender: formatIpAddress(sender) }
      report(outputs, 'source-doubted', 'notice', about)
      follow(eid, sender, entry.mapping.locators, now, outputs)
    },
    handleStatusBits({ eid, sender, statusBits }, now, outputs) {
      const entry = learned(eid, now)
      if (entry === undefined) return
      const eidPrefix = formatEidPrefix(entry.mapping.eidPrefix)
      if (!statusBitsLimit.take(eidPrefix, now)) return
      const gone = facts.takeStatusBits(entry, statusBits, outputs)
      const locators = gone.map(formatIpAddress)
      report(outputs, 'status-bits-changed', 'notice', { eidPrefix, statusBits, locators })
      for (const rloc of gone) probe.suspect(rloc, now)
      follow(eid, sender, entry.mapping.locators, now, outputs)
    },
    glean({ eid, sender }, now, outputs) {
      if (cache.lookup(eid, now).kind !== 'miss') return
      const name = formatEid(eid)
      const found = locator(sender, { priority: 1, weight: 0, reachable: true })
      if (usableLocators(config, [found]).length === 0) return
      if (!eidLimit.take(name, now) || !allLimit.take('all', now)) return
      const eidPrefix = hostPrefix(eid)
      const mapping = {
        eidPrefix,
        ttlMinutes: 1,
        action: 'no-action',
        authoritative: false,
        mapVersion: 0,
        locators: [found],
      } as const
      mappings.put(mapping, { origin: 'gleaned', lifetimeMs: GLEANED_MS }, [], now, outputs)
      report(outputs, 'source-gleaned', 'info', { eid: name, sender: formatIpAddress(sender) })
      pending.ask(eidPrefix, undefined, { kind: 'smr' }, now, outputs)
    },
    verify(eid, now, outputs) {
      if (config.closedNetwork?.glean !== true) return
      if (cache.lookup(eid, now).kind !== 'miss') return
      if (!eidLimit.take(formatEid(eid), now) || !allLimit.take('all', now)) return
      pending.ask(hostPrefix(eid), undefined, { kind: 'hold' }, now, outputs)
    },
  }
}
