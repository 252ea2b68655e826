/**
 * Elements of the BPF map `locator_sets`, shared by content.
 *
 * Equal sets of encapsulations share one element, because a site's whole map-cache usually leads to
 * few sets of locators. An element is written before the first entry refers to it and removed after
 * the last one left: a packet never finds an id without an element. Elements are never changed.
 */
import type { Encapsulation } from '../control/datapath-operation.js'
import { isMulticast } from '../lisp/address.js'
import type { Rloc } from '../lisp/locator.js'
import { locatorBuckets } from '../tables/locator-selection.js'
import {
  type BpfLocator,
  decodeBpfLocatorSet,
  encodeBpfLocatorSet,
  LIMITS,
  LOCATOR_FLAGS,
  LOCATOR_SET_BYTES,
} from './abi.generated.js'
import { addressOf, keyText } from './eid-keys.js'
import { createFreeIds } from './free-ids.js'

/** What this file needs of the map: write, delete and read all. */
export interface LocatorSetMap {
  update(key: Uint8Array, value: Uint8Array): void
  remove(key: Uint8Array): void
  read(): { count: number; keys: Uint8Array; values: Uint8Array }
}

export interface LocatorSets {
  /**
   * Id of the element with exactly these encapsulations, one reference more; undefined when full.
   * `senders` fill the room behind them: no flow is given to those.
   */
  acquire(encapsulations: readonly Encapsulation[], senders?: readonly Rloc[]): number | undefined
  /** The same for all of them, in the order given: at most eight, chosen by their place (replication). */
  acquireCopies(encapsulations: readonly Encapsulation[]): number | undefined
  /** One reference less; the element goes with the last one. Id 0 is ignored. */
  release(id: number): void
  /** One reference more to an element that was read back; false when there is none of that id. */
  retain(id: number): boolean
  /** What an element stands for; empty when there is none. */
  encapsulations(id: number): readonly Encapsulation[]
  /** Read pinned elements; none has a reference until `retain`. */
  load(): void
  /** Remove the elements that nothing refers to. */
  sweep(): void
}

export function createLocatorSets(map: LocatorSetMap, maximum: number): LocatorSets {
  const ids = createFreeIds(maximum)
  const byContent = new Map<string, number>()
  const sets = new Map<number, { readonly value: Uint8Array; references: number }>()

  const remove = (id: number, value: Uint8Array): void => {
    map.remove(idKey(id))
    sets.delete(id)
    if (byContent.get(keyText(value)) === id) byContent.delete(keyText(value))
    ids.free(id)
  }
  const acquireValue = (value: Uint8Array): number | undefined => {
    const known = byContent.get(keyText(value))
    if (known !== undefined) {
      sets.get(known)!.references += 1
      return known
    }
    const id = ids.allocate()
    if (id === undefined) return undefined
    try {
      map.update(idKey(id), value)
    } catch (error) {
      ids.free(id)
      throw error
    }
    sets.set(id, { value, references: 1 })
    byContent.set(keyText(value), id)
    return id
  }
  return {
    acquire: (encapsulations, senders = []) => acquireValue(encodeSet(encapsulations, senders)),
    acquireCopies: (encapsulations) => {
      const count = encapsulations.length
      const locators = encapsulations.map(bpfLocator)
      return acquireValue(encodeBpfLocatorSet({ count, buckets: new Uint8Array(), locators }))
    },
    release(id) {
      const set = sets.get(id)
      if (set === undefined) return
      set.references -= 1
      if (set.references <= 0) remove(id, set.value)
    },
    retain(id) {
      const set = sets.get(id)
      if (set === undefined) return false
      set.references += 1
      return true
    },
    encapsulations: (id) => {
      const set = sets.get(id)
      return set === undefined ? [] : decodeSet(set.value)
    },
    load() {
      const { count, keys, values } = map.read()
      const view = new DataView(keys.buffer, keys.byteOffset, keys.byteLength)
      for (let index = 0; index < count; index += 1) {
        const id = view.getUint32(index * 4, true)
        if (!ids.reserve(id)) continue
        const at = index * LOCATOR_SET_BYTES
        const value = new Uint8Array(values.subarray(at, at + LOCATOR_SET_BYTES))
        sets.set(id, { value, references: 0 })
        byContent.set(keyText(value), id)
      }
    },
    sweep() {
      for (const [id, set] of [...sets]) if (set.references <= 0) remove(id, set.value)
    },
  }
}

function encodeSet(encapsulations: readonly Encapsulation[], senders: readonly Rloc[]): Uint8Array {
  const { indexes, buckets } = locatorBuckets(encapsulations.map(({ locator }) => locator))
  const locators = indexes
    .slice(0, LIMITS['maximum-locators'])
    .map((index) => bpfLocator(encapsulations[index]!))
  if (locators.length > 0)
    locators.push(...senders.slice(0, LIMITS['maximum-locators'] - locators.length).map(onlySender))
  return encodeBpfLocatorSet({ count: locators.length, buckets, locators })
}

function bpfLocator({ locator, source, pathMtu, gpe, closed }: Encapsulation): BpfLocator {
  return {
    family: locator.rloc.family,
    flags:
      (gpe ? LOCATOR_FLAGS.gpe : 0) |
      (closed ? LOCATOR_FLAGS.closed : 0) |
      (isMulticast(locator.rloc) ? LOCATOR_FLAGS.group : 0),
    pathMtu,
    source: source.bytes,
    destination: locator.rloc.bytes,
  }
}

/** A path MTU of 0 tells it from a locator. */
function onlySender(rloc: Rloc): BpfLocator {
  const none = { flags: 0, pathMtu: 0, source: new Uint8Array(16) }
  return { ...none, family: rloc.family, destination: rloc.bytes }
}

/** Priorities are gone (only the best one is in a set); the weight is the number of buckets. */
function decodeSet(value: Uint8Array): Encapsulation[] {
  const set = decodeBpfLocatorSet(value)
  const encapsulations: Encapsulation[] = []
  for (const [index, bpf] of set.locators.slice(0, set.count).entries()) {
    const rloc = addressOf(bpf.family, bpf.destination)
    const source = addressOf(bpf.family, bpf.source)
    if (rloc === undefined || source === undefined || bpf.pathMtu === 0) continue
    const weight = set.buckets.filter((bucket) => bucket === index).length
    encapsulations.push({
      locator: {
        rloc,
        priority: 1,
        weight,
        multicastPriority: 255,
        multicastWeight: 0,
        local: false,
        probe: false,
        reachable: true,
      },
      source,
      pathMtu: bpf.pathMtu,
      ...(bpf.flags & LOCATOR_FLAGS.gpe ? { gpe: true } : {}),
      ...(bpf.flags & LOCATOR_FLAGS.closed ? { closed: true } : {}),
    })
  }
  return encapsulations
}

function idKey(id: number): Uint8Array {
  const key = new Uint8Array(4)
  new DataView(key.buffer).setUint32(0, id, true)
  return key
}
