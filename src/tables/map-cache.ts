/**
 * The ITR's map-cache: what was learned about foreign EID-prefixes, and until when it may be believed.
 *
 * Holds positive and negative mappings alike, finds them by longest match, replaces covered entries
 * (RFC 9301 §5.5), turns record TTLs into moments (the one place that does) and stays within a limit.
 * It does not resolve, refresh or tell the datapath: callers act on what `insert` and `expire` return.
 * Times are milliseconds on the caller's clock.
 */
import { coversPrefix, type Eid, type EidPrefix } from '../lisp/eid.js'
import type { Mapping } from '../lisp/mapping.js'
import { createEidTrie } from './eid-trie.js'
import { createExpiryHeap, type ExpirySlot } from './expiry-heap.js'

/** local and away are our own statements: no Map-Reply about a larger prefix replaces them. */
export type MapCacheOrigin = 'map-reply' | 'map-notify' | 'gleaned' | 'away' | 'restored' | 'local'

export interface MapCacheEntry {
  readonly mapping: Mapping
  readonly origin: MapCacheOrigin
  readonly installedAt: number
  /** Infinity for an entry that only its owner removes. */
  readonly expiresAt: number
  /** A refresh is under way; kept by the ITR. */
  refreshing: boolean
  /** Last use the datapath told of, undefined when never; kept by the ITR. */
  lastUsedAt: number | undefined
}

export type MapCacheLookup =
  | { readonly kind: 'hit'; readonly entry: MapCacheEntry }
  /** The answer is known to be "no locator"; `entry.mapping.action` says what then. */
  | { readonly kind: 'negative'; readonly entry: MapCacheEntry }
  | { readonly kind: 'miss' }

export interface MapCacheInsertion {
  readonly origin: MapCacheOrigin
  /** Overrides the record TTL, in milliseconds; Infinity for entries of our own. */
  readonly lifetimeMs?: number
}

export interface MapCacheChange {
  /** What stands in the cache now, coarse before fine; empty for a record of TTL 0. */
  readonly installed: readonly MapCacheEntry[]
  /** What went without being replaced by the same prefix: covered, TTL 0, or evicted for room. */
  readonly removed: readonly { readonly entry: MapCacheEntry; readonly reason: RemovalReason }[]
}
export type RemovalReason = 'covered' | 'ttl-zero' | 'evicted'

export interface MapCache {
  readonly size: number
  lookup(eid: Eid, now: number): MapCacheLookup
  exact(eidPrefix: EidPrefix): MapCacheEntry | undefined
  /** The records of one reply, together: covered entries that the reply does not repeat are removed. */
  insert(records: readonly Mapping[], insertion: MapCacheInsertion, now: number): MapCacheChange
  remove(eidPrefix: EidPrefix): MapCacheEntry | undefined
  /** Removes and returns what is over at `now`, at most `MAXIMUM_EXPIRED_AT_ONCE`; call again for more. */
  expire(now: number): MapCacheEntry[]
  /** The moment at which the next entry is over. */
  nextExpiry(): number | undefined
  coveredBy(eidPrefix: EidPrefix): Generator<MapCacheEntry>
  entries(): Generator<MapCacheEntry>
  /** See `EidTrie`. */
  after(eidPrefix: EidPrefix | undefined, instanceId: number | undefined): Generator<MapCacheEntry>
  sizeOf(instanceId: number | undefined): number
  /** Whatever its age; for showing, not for forwarding. */
  longestMatch(eid: Eid): MapCacheEntry | undefined
}

/** Bounds one call of `expire`, so that a full cache that ages at once does not stop the node. */
export const MAXIMUM_EXPIRED_AT_ONCE = 1000

/** TTL 0xffffffff: the receiver decides (RFC 9301 §5.4). A day is what other implementations use. */
export const TTL_RECEIVER_DECIDES = 0xffffffff
/** Our choice: no mapping is believed for more than a day (VPP writes seconds into this field). */
export const MAXIMUM_TTL_MINUTES = 1440

/** Milliseconds for a record TTL in minutes: 0 stays 0, "receiver decides" and longer ones are a day. */
export function lifetimeOfTtl(ttlMinutes: number): number {
  return Math.min(ttlMinutes, MAXIMUM_TTL_MINUTES) * 60_000
}

export function createMapCache(options: { readonly maximumEntries: number }): MapCache {
  const trie = createEidTrie<Slotted>()
  const positive = createExpiryHeap<Slotted>()
  const negative = createExpiryHeap<Slotted>()
  const heapOf = ({ mapping }: MapCacheEntry) => (mapping.locators.length > 0 ? positive : negative)

  const take = (slotted: Slotted): MapCacheEntry => {
    trie.remove(slotted.entry.mapping.eidPrefix)
    heapOf(slotted.entry).remove(slotted.slot)
    return slotted.entry
  }

  const put = (entry: MapCacheEntry) => {
    const slotted: { entry: MapCacheEntry; slot: ExpirySlot<Slotted> } = {
      entry,
      slot: undefined as never,
    }
    slotted.slot = heapOf(entry).add(slotted, entry.expiresAt)
    const former = trie.insert(entry.mapping.eidPrefix, slotted)
    if (former !== undefined) heapOf(former.entry).remove(former.slot)
  }

  /** Entries below `eidPrefix` that a record for it replaces, and those that stay. */
  const below = (eidPrefix: EidPrefix) => {
    const replaced: Slotted[] = []
    let soonest = Number.POSITIVE_INFINITY
    for (const { value } of trie.coveredBy(eidPrefix)) {
      if (value.entry.mapping.eidPrefix.maskLength === eidPrefix.maskLength) continue
      if (isOurOwn(value.entry)) soonest = Math.min(soonest, value.entry.expiresAt)
      else replaced.push(value)
    }
    return { replaced, soonest }
  }

  return {
    get size() {
      return trie.size
    },
    lookup(eid, now) {
      const entry = trie.longestMatch(eid)?.value.entry
      if (entry === undefined || entry.expiresAt <= now) return MISS
      return entry.mapping.locators.length > 0
        ? { kind: 'hit', entry }
        : { kind: 'negative', entry }
    },
    exact: (eidPrefix) => trie.exact(eidPrefix)?.entry,

    insert(records, insertion, now) {
      const removed: { entry: MapCacheEntry; reason: RemovalReason }[] = []
      const installed: MapCacheEntry[] = []
      const coarseFirst = [...records].sort(
        (a, b) => a.eidPrefix.maskLength - b.eidPrefix.maskLength,
      )
      for (const [index, mapping] of coarseFirst.entries()) {
        const { replaced, soonest } = below(mapping.eidPrefix)
        for (const slotted of replaced) removed.push({ entry: take(slotted), reason: 'covered' })
        const lifetimeMs = insertion.lifetimeMs ?? shortestLifetime(coarseFirst, index)
        if (lifetimeMs <= 0) {
          const former = trie.exact(mapping.eidPrefix)
          if (former !== undefined) removed.push({ entry: take(former), reason: 'ttl-zero' })
          continue
        }
        // RFC 9301 §5.5: a less specific entry expires no later than the soonest more-specific.
        const entry: MapCacheEntry = {
          mapping,
          origin: insertion.origin,
          installedAt: now,
          expiresAt: Math.min(now + lifetimeMs, soonest),
          refreshing: false,
          lastUsedAt: undefined,
        }
        put(entry)
        installed.push(entry)
      }
      while (trie.size > options.maximumEntries) {
        // Negative entries first: a scan brings them by the thousand, traffic needs the others. What
        // is left without an end is our own; it is never given up for something learned.
        const soonest = [negative.first(), positive.first()].find(
          (one) => one !== undefined && Number.isFinite(one.at),
        )
        if (soonest === undefined) break
        removed.push({ entry: take(soonest.value), reason: 'evicted' })
      }
      return settled(installed, removed)
    },

    remove(eidPrefix) {
      const slotted = trie.exact(eidPrefix)
      return slotted === undefined ? undefined : take(slotted)
    },
    expire(now) {
      const expired: MapCacheEntry[] = []
      while (expired.length < MAXIMUM_EXPIRED_AT_ONCE) {
        const slotted = negative.takeDue(now) ?? positive.takeDue(now)
        if (slotted === undefined) break
        trie.remove(slotted.entry.mapping.eidPrefix)
        expired.push(slotted.entry)
      }
      return expired
    },
    nextExpiry() {
      const at = Math.min(
        negative.first()?.at ?? Number.POSITIVE_INFINITY,
        positive.first()?.at ?? Number.POSITIVE_INFINITY,
      )
      return at === Number.POSITIVE_INFINITY ? undefined : at
    },
    *coveredBy(eidPrefix) {
      for (const { value } of trie.coveredBy(eidPrefix)) yield value.entry
    },
    *entries() {
      for (const { value } of trie.entries()) yield value.entry
    },
    *after(eidPrefix, instanceId) {
      for (const { value } of trie.after(eidPrefix, instanceId)) yield value.entry
    },
    sizeOf: (instanceId) => trie.sizeOf(instanceId),
    longestMatch: (eid) => trie.longestMatch(eid)?.value.entry,
  }
}

interface Slotted {
  readonly entry: MapCacheEntry
  readonly slot: ExpirySlot<Slotted>
}

const MISS: MapCacheLookup = { kind: 'miss' }

/** Of a record and the more-specifics in the same reply (RFC 9301 §5.5); 0 only when its own is 0. */
function shortestLifetime(coarseFirst: readonly Mapping[], index: number): number {
  const { eidPrefix, ttlMinutes } = coarseFirst[index]!
  let shortest = ttlMinutes
  for (const { eidPrefix: other, ttlMinutes: ttl } of coarseFirst.slice(index + 1)) {
    if (ttl > 0 && ttl < shortest && coversPrefix(eidPrefix, other)) shortest = ttl
  }
  return lifetimeOfTtl(shortest)
}

function isOurOwn(entry: MapCacheEntry): boolean {
  return entry.origin === 'local' || entry.origin === 'away'
}

/** An entry that was covered and came back with the same reply is not "removed"; nor is one evicted installed. */
function settled(
  installed: readonly MapCacheEntry[],
  removed: readonly { readonly entry: MapCacheEntry; readonly reason: RemovalReason }[],
): MapCacheChange {
  if (removed.length === 0) return { installed, removed }
  const gone = new Set(removed.map(({ entry }) => entry))
  const standing = installed.filter((entry) => !gone.has(entry))
  const returned = createEidTrie<MapCacheEntry>()
  for (const entry of standing) returned.insert(entry.mapping.eidPrefix, entry)
  return {
    installed: standing,
    removed: removed.filter(({ entry }) => returned.exact(entry.mapping.eidPrefix) === undefined),
  }
}
