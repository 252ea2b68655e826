/**
 * One of the two tables in the kernel (map-cache, local EIDs): a hash of hosts, a trie of prefixes,
 * and here what each element refers to.
 *
 * Replacing an entry is one map write. With packets to release it is two: the draining form now,
 * and the final form by the hold's thread once the hold is empty. Until that has happened
 * ("pending"), later puts of the same entry go through the hold's thread as well, behind the first
 * one, else the first one's final form would overwrite theirs; what they no longer refer to is
 * freed afterwards.
 */
import { type Eid, type EidPrefix, hostPrefix, isHostPrefix } from '../lisp/eid.js'
import type { BpfMaps } from './bpf-maps.js'
import { eidKey, eidOfKey, eidPrefixKey, eidPrefixOfKey, keyText } from './eid-keys.js'
import type { FreeIds } from './free-ids.js'
import type { HeldPurpose, HoldReleases } from './hold-releases.js'

export interface Entry {
  readonly eidPrefix: EidPrefix
  readonly map: string
  readonly key: Uint8Array
  readonly counterId: number
  /** The final form, as bytes of the BPF struct. */
  value: Uint8Array
  /** What it refers to, given back when it is replaced or removed; 0 = nothing. */
  reference: number
}

interface Tracked extends Entry {
  pending: number
  lastReleased: Eid | undefined
  obsolete: number[]
  deleteWanted: boolean
}

export interface Put {
  readonly eidPrefix: EidPrefix
  /** The final form for this counter id. */
  readonly final: (counterId: number) => Uint8Array
  /** The form while the hold is emptied; undefined when the entry has none. */
  readonly draining: ((counterId: number) => Uint8Array) | undefined
  readonly reference: number
  readonly release: readonly Eid[]
  /** Of its releases: which copies of a live move are dropped. */
  readonly cut?: number
}

export interface EntryTable {
  put(put: Put): void
  /** False when there was none. */
  remove(eidPrefix: EidPrefix): boolean
  get(eidPrefix: EidPrefix): Entry | undefined
  /** Value that a packet to this EID finds: host first, then the longest prefix. */
  lookup(eid: Eid): Uint8Array | undefined
  entries(): Iterable<Entry>
  /** Take over an element found in a pinned map. */
  adopt(eidPrefix: EidPrefix, value: Uint8Array, counterId: number, reference: number): void
  /** All elements of both maps as they stand in the kernel. */
  readAll(): { eidPrefix: EidPrefix; value: Uint8Array }[]
}

export function createEntryTable(options: {
  readonly maps: BpfMaps
  readonly hostMap: string
  readonly prefixMap: string
  readonly valueBytes: number
  readonly purpose: HeldPurpose
  readonly counterIds: FreeIds
  readonly releases: () => HoldReleases
  readonly freeReference: (reference: number) => void
}): EntryTable {
  const { maps, purpose, counterIds } = options
  const tracked = new Map<string, Tracked>()
  const place = (eidPrefix: EidPrefix): { map: string; key: Uint8Array } =>
    isHostPrefix(eidPrefix)
      ? { map: options.hostMap, key: eidKey(eidPrefix) }
      : { map: options.prefixMap, key: eidPrefixKey(eidPrefix) }

  const newEntry = (eidPrefix: EidPrefix): Tracked => {
    const counterId = counterIds.allocate()
    if (counterId === undefined) throw new Error('counters-exhausted')
    maps.clearCounter(counterId)
    const { map, key } = place(eidPrefix)
    const initial = { value: new Uint8Array(0), reference: 0 }
    const flow = { pending: 0, lastReleased: undefined, obsolete: [], deleteWanted: false }
    return { eidPrefix, map, key, counterId, ...initial, ...flow }
  }

  const remove = (entry: Tracked): void => {
    maps.remove(entry.map, entry.key)
    tracked.delete(keyText(entry.key))
    options.freeReference(entry.reference)
    counterIds.free(entry.counterId)
  }

  const settle = (entry: Tracked): void => {
    entry.pending -= 1
    if (entry.pending > 0) return
    for (const reference of entry.obsolete.splice(0)) options.freeReference(reference)
    if (entry.deleteWanted) remove(entry)
  }

  const release = (
    entry: Tracked,
    eid: Eid,
    value: Uint8Array | undefined,
    announced: boolean,
    cut: number | undefined,
  ) => {
    entry.pending += 1
    entry.lastReleased = eid
    const flip = value && { map: entry.map, key: entry.key, value }
    const which = cut === undefined ? {} : { cut }
    const done = (): void => settle(entry)
    options.releases().release({ purpose, eid, flip, announced, done, ...which })
  }

  const write = (entry: Tracked, put: Put, final: Uint8Array): void => {
    const last = put.release.length - 1
    if (entry.pending > 0 && entry.lastReleased !== undefined) {
      if (last < 0) release(entry, entry.lastReleased, final, false, put.cut)
      put.release.forEach((eid, index) => {
        release(entry, eid, index === last ? final : undefined, true, put.cut)
      })
      return
    }
    const drains = put.draining !== undefined && last >= 0
    maps.update(entry.map, entry.key, drains ? put.draining!(entry.counterId) : final)
    put.release.forEach((eid, index) => {
      release(entry, eid, drains && index === last ? final : undefined, true, put.cut)
    })
  }

  return {
    put(put) {
      const text = keyText(place(put.eidPrefix).key)
      const known = tracked.get(text)
      const entry = known ?? newEntry(put.eidPrefix)
      const final = put.final(entry.counterId)
      const former = entry.reference
      if (known === undefined) tracked.set(text, entry)
      entry.deleteWanted = false
      try {
        write(entry, put, final)
      } catch (error) {
        if (known === undefined) {
          tracked.delete(text)
          counterIds.free(entry.counterId)
        }
        throw error
      }
      entry.value = final
      entry.reference = put.reference
      if (entry.pending > 0) entry.obsolete.push(former)
      else options.freeReference(former)
    },
    remove(eidPrefix) {
      const entry = tracked.get(keyText(place(eidPrefix).key))
      if (entry === undefined) return false
      if (entry.pending > 0) entry.deleteWanted = true
      else remove(entry)
      return true
    },
    get: (eidPrefix) => tracked.get(keyText(place(eidPrefix).key)),
    lookup(eid) {
      const host = tracked.get(keyText(eidKey(eid)))
      if (host !== undefined) return host.value
      return maps.lookup(options.prefixMap, eidPrefixKey(hostPrefix(eid)))
    },
    entries: () => tracked.values(),
    adopt(eidPrefix, value, counterId, reference) {
      const { map, key } = place(eidPrefix)
      const flow = { pending: 0, lastReleased: undefined, obsolete: [], deleteWanted: false }
      const entry = { eidPrefix, map, key, counterId, value, reference, ...flow }
      tracked.set(keyText(key), entry)
    },
    readAll() {
      const found: { eidPrefix: EidPrefix; value: Uint8Array }[] = []
      for (const map of [options.hostMap, options.prefixMap]) {
        const { count, keys, values } = maps.read(map)
        const keyBytes = count === 0 ? 0 : keys.length / count
        for (let index = 0; index < count; index += 1) {
          const at = index * keyBytes
          const host = map === options.hostMap
          const eid = host ? eidOfKey(keys, at) : undefined
          const eidPrefix = host ? eid && hostPrefix(eid) : eidPrefixOfKey(keys, at)
          if (eidPrefix === undefined) continue
          const valueAt = index * options.valueBytes
          const value = new Uint8Array(values.subarray(valueAt, valueAt + options.valueBytes))
          found.push({ eidPrefix, value })
        }
      }
      return found
    },
  }
}
