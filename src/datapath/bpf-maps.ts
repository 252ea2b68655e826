/**
 * Access to the maps of one loaded BPF object: names bound, per-CPU values summed.
 *
 * Keys and values stay bytes; their meaning is with the callers.
 */
import { type BpfCounter, COUNTER_BYTES, decodeBpfCounter } from './abi.generated.js'
import { keyText } from './eid-keys.js'
import type { NativeAddon, NativeHandle } from './native-addon.js'

export interface BpfMaps {
  update(map: string, key: Uint8Array, value: Uint8Array): void
  remove(map: string, key: Uint8Array): void
  lookup(map: string, key: Uint8Array): Uint8Array | undefined
  read(map: string): { count: number; keys: Uint8Array; values: Uint8Array }
  /** Sum over all CPUs, last use the latest; zeros when the id has no counter. */
  counter(id: number): BpfCounter
  /** Counts start at zero when an id is given to another mapping. */
  clearCounter(id: number): void
  /** Sums of the first `words` 64-bit numbers of a per-CPU array element. */
  sums(map: string, index: number, words: number): bigint[]
}

export function createBpfMaps(addon: NativeAddon, object: NativeHandle): BpfMaps {
  return {
    update: (map, key, value) => addon.updateMap(object, map, key, value),
    remove: (map, key) => {
      addon.deleteMap(object, map, key)
    },
    lookup: (map, key) => addon.lookupMap(object, map, key),
    read: (map) => addon.readMap(object, map),
    counter(id) {
      const values = addon.lookupMap(object, 'mapping_counters', u32Key(id))
      if (values === undefined) return BPF_COUNTER_ZERO
      let { packets, bytes, lastUsedNs } = BPF_COUNTER_ZERO
      for (let at = 0; at + COUNTER_BYTES <= values.length; at += COUNTER_BYTES) {
        const one = decodeBpfCounter(values, at)
        packets += one.packets
        bytes += one.bytes
        if (one.lastUsedNs > lastUsedNs) lastUsedNs = one.lastUsedNs
      }
      return { packets, bytes, lastUsedNs }
    },
    clearCounter(id) {
      const values = addon.lookupMap(object, 'mapping_counters', u32Key(id))
      if (values === undefined) return
      addon.updateMap(object, 'mapping_counters', u32Key(id), new Uint8Array(values.length))
    },
    sums(map, index, words) {
      const totals = Array.from({ length: words }, () => 0n)
      const values = addon.lookupMap(object, map, u32Key(index))
      if (values === undefined) return totals
      const view = new DataView(values.buffer, values.byteOffset, values.byteLength)
      for (let at = 0; at + words * 8 <= values.length; at += words * 8) {
        for (let word = 0; word < words; word += 1) {
          totals[word]! += view.getBigUint64(at + word * 8, true)
        }
      }
      return totals
    },
  }
}

/** New elements first, then the stale ones go: nothing that stays is ever missing. */
export function replaceAll(
  maps: BpfMaps,
  map: string,
  wanted: ReadonlyMap<string, { key: Uint8Array; value: Uint8Array }>,
): void {
  for (const { key, value } of wanted.values()) maps.update(map, key, value)
  const { count, keys } = maps.read(map)
  const keyBytes = count === 0 ? 0 : keys.length / count
  for (let index = 0; index < count; index += 1) {
    const key = new Uint8Array(keys.subarray(index * keyBytes, (index + 1) * keyBytes))
    if (!wanted.has(keyText(key))) maps.remove(map, key)
  }
}

/** A 32-bit map key in host order (little-endian). */
export function u32Key(value: number): Uint8Array {
  const key = new Uint8Array(4)
  new DataView(key.buffer).setUint32(0, value, true)
  return key
}

const BPF_COUNTER_ZERO: BpfCounter = { packets: 0n, bytes: 0n, lastUsedNs: 0n }
