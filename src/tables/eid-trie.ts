/**
 * A table keyed by EID-prefix: exact and longest match, more-specifics, and the holes between them.
 *
 * One path-compressed binary trie per instance-ID and family. A key is held as four 32-bit words, so
 * that a step costs one exclusive-or and one count of leading zeros, and a lookup allocates nothing
 * and builds no string. Knows nothing of time or of what its values mean.
 *
 * Standards: the least specific hole is RFC 9301 §8.4, more-specifics are RFC 9301 §5.5.
 */
import type { IpAddress } from '../lisp/address.js'
import { type Eid, type EidPrefix, eidPrefix } from '../lisp/eid.js'

export interface EidTrieEntry<Value> {
  readonly prefix: EidPrefix
  readonly value: Value
}

export interface EidTrie<Value> {
  readonly size: number
  /** Puts or replaces; returns the former value or undefined. */
  insert(prefix: EidPrefix, value: Value): Value | undefined
  /** Returns what was removed, undefined when nothing was there. */
  remove(prefix: EidPrefix): Value | undefined
  exact(prefix: EidPrefix): Value | undefined
  /** The most specific entry that covers `eid`. */
  longestMatch(eid: Eid): EidTrieEntry<Value> | undefined
  /** The most specific entry that covers the whole of `prefix`, itself included. */
  longestCovering(prefix: EidPrefix): EidTrieEntry<Value> | undefined
  /** `prefix` itself and every more-specific entry, coarse before fine. Not to be mixed with changes. */
  coveredBy(prefix: EidPrefix): Generator<EidTrieEntry<Value>>
  entries(): Generator<EidTrieEntry<Value>>
  /**
   * What comes after `prefix` (which need not be here; undefined: from the first on) in the order of
   * instance-ID, family, address, coarse before fine; of one instance-ID or of all. Costs what is
   * taken of it. Not to be mixed with changes.
   */
  after(
    prefix: EidPrefix | undefined,
    instanceId: number | undefined,
  ): Generator<EidTrieEntry<Value>>
  /** Entries of one instance-ID, or of all. */
  sizeOf(instanceId: number | undefined): number
  /**
   * The largest prefix around `eid` that overlaps no entry (RFC 9301 §8.4); undefined when an entry
   * covers `eid`.
   */
  leastSpecificHole(eid: Eid): EidPrefix | undefined
  /**
   * The largest prefix around `eid` in which every address has the same longest match as `eid`
   * (or none). What holds for `eid` may be said of all of it without naming more-specifics.
   */
  exclusivePrefix(eid: Eid): EidPrefix
}

export function createEidTrie<Value extends NonNullable<unknown>>(): EidTrie<Value> {
  const roots = new Map<number, TrieNode<Value>>()
  /** The keys of `roots` in order. */
  const places: number[] = []
  const sizes = new Map<number, number>()
  const key: Key = { word0: 0, word1: 0, word2: 0, word3: 0 }
  let size = 0

  const setRoot = (place: number, root: TrieNode<Value> | undefined) => {
    if (root !== undefined) {
      roots.set(place, root)
      return
    }
    roots.delete(place)
    sizes.delete(place)
    places.splice(firstNotBelow(places, place), 1)
  }
  const count = (place: number, change: number) => {
    size += change
    sizes.set(place, (sizes.get(place) ?? 0) + change)
  }

  /** Sets `key` to the address; returns the root of its family and instance-ID. */
  const rootFor = (instanceId: number, address: IpAddress): TrieNode<Value> | undefined => {
    loadKey(key, address)
    return roots.get(rootKey(instanceId, address))
  }

  const covering = (instanceId: number, address: IpAddress, bits: number) => {
    let node = rootFor(instanceId, address)
    let best: EidTrieEntry<Value> | undefined
    while (node !== undefined && node.length <= bits && commonBits(node, key) >= node.length) {
      if (node.entry !== undefined) best = node.entry
      if (node.length === bits) break
      node = bitAt(key, node.length) === 0 ? node.zero : node.one
    }
    return best
  }

  return {
    get size() {
      return size
    },
    insert(prefix, value) {
      const place = rootKey(prefix.instanceId, prefix.address)
      loadKey(key, prefix.address)
      const entry = { prefix, value }
      const root = roots.get(place)
      const { node, former } = insertBelow(root, key, entry)
      if (root === undefined) places.splice(firstNotBelow(places, place), 0, place)
      roots.set(place, node)
      if (former === undefined) count(place, 1)
      return former?.value
    },
    remove(prefix) {
      const root = rootFor(prefix.instanceId, prefix.address)
      const target = descend(root, key, prefix.maskLength)
      if (root === undefined || target?.length !== prefix.maskLength) return undefined
      const former = target.entry
      if (former === undefined) return undefined
      target.entry = undefined
      const place = rootKey(prefix.instanceId, prefix.address)
      count(place, -1)
      setRoot(place, pruned(root, key, prefix.maskLength))
      return former.value
    },
    exact(prefix) {
      const node = descend(rootFor(prefix.instanceId, prefix.address), key, prefix.maskLength)
      return node?.length === prefix.maskLength ? node.entry?.value : undefined
    },
    longestMatch: (eid) => covering(eid.instanceId, eid.address, widthOf(eid.address)),
    longestCovering: (prefix) => covering(prefix.instanceId, prefix.address, prefix.maskLength),
    *coveredBy(prefix) {
      const node = descend(rootFor(prefix.instanceId, prefix.address), key, prefix.maskLength)
      if (node !== undefined) yield* below(node)
    },
    *entries() {
      for (const root of roots.values()) yield* below(root)
    },
    *after(prefix, instanceId) {
      const first = instanceId === undefined ? 0 : instanceId * 2
      const last = instanceId === undefined ? Number.POSITIVE_INFINITY : first + 1
      const from = prefix === undefined ? first : rootKey(prefix.instanceId, prefix.address)
      for (let index = firstNotBelow(places, Math.max(first, from)); ; index += 1) {
        const place = places[index]
        if (place === undefined || place > last) return
        const root = roots.get(place)!
        if (prefix === undefined || place !== from) yield* below(root)
        else {
          loadKey(key, prefix.address)
          yield* drained(laterThan(root, key, prefix.maskLength))
        }
      }
    },
    sizeOf(instanceId) {
      if (instanceId === undefined) return size
      return (sizes.get(instanceId * 2) ?? 0) + (sizes.get(instanceId * 2 + 1) ?? 0)
    },
    leastSpecificHole(eid) {
      if (covering(eid.instanceId, eid.address, widthOf(eid.address)) !== undefined)
        return undefined
      const length = exclusiveLength(
        rootFor(eid.instanceId, eid.address),
        key,
        widthOf(eid.address),
      )
      return eidPrefix(eid.instanceId, eid.address, length)
    },
    exclusivePrefix(eid) {
      const length = exclusiveLength(
        rootFor(eid.instanceId, eid.address),
        key,
        widthOf(eid.address),
      )
      return eidPrefix(eid.instanceId, eid.address, length)
    },
  }
}

interface TrieNode<Value> extends Readonly<Key> {
  readonly length: number
  /** Undefined in a pure branch, which always has two children. */
  entry: EidTrieEntry<Value> | undefined
  zero: TrieNode<Value> | undefined
  one: TrieNode<Value> | undefined
}

/** The address being looked for, as words. One per trie, loaded anew by each call: no allocation. */
interface Key {
  word0: number
  word1: number
  word2: number
  word3: number
}

function loadKey(key: Key, address: IpAddress): void {
  const bytes = address.bytes
  const isLong = bytes.length === 16
  key.word0 = wordAt(bytes, 0)
  key.word1 = isLong ? wordAt(bytes, 4) : 0
  key.word2 = isLong ? wordAt(bytes, 8) : 0
  key.word3 = isLong ? wordAt(bytes, 12) : 0
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
}

/** Bit `index` (0 = most significant) of a key or of a node's prefix. */
function bitAt(words: Readonly<Key>, index: number): number {
  const word =
    index < 32 ? words.word0 : index < 64 ? words.word1 : index < 96 ? words.word2 : words.word3
  return (word >>> (31 - (index & 31))) & 1
}

/** How many leading bits the loaded key shares with the node's words; up to 128. */
function commonBits(node: Readonly<Key>, key: Readonly<Key>): number {
  let different = node.word0 ^ key.word0
  if (different !== 0) return Math.clz32(different)
  different = node.word1 ^ key.word1
  if (different !== 0) return 32 + Math.clz32(different)
  different = node.word2 ^ key.word2
  if (different !== 0) return 64 + Math.clz32(different)
  different = node.word3 ^ key.word3
  return different === 0 ? 128 : 96 + Math.clz32(different)
}

function newNode<Value>(
  key: Readonly<Key>,
  length: number,
  entry: EidTrieEntry<Value> | undefined,
): TrieNode<Value> {
  return {
    word0: key.word0,
    word1: key.word1,
    word2: key.word2,
    word3: key.word3,
    length,
    entry,
    zero: undefined,
    one: undefined,
  }
}

/** The topmost node whose prefix lies within the first `bits` bits of the loaded key. */
function descend<Value>(
  root: TrieNode<Value> | undefined,
  key: Readonly<Key>,
  bits: number,
): TrieNode<Value> | undefined {
  let node = root
  while (node !== undefined && node.length < bits) {
    if (commonBits(node, key) < node.length) return undefined
    node = bitAt(key, node.length) === 0 ? node.zero : node.one
  }
  return node !== undefined && commonBits(node, key) >= bits ? node : undefined
}

function insertBelow<Value>(
  node: TrieNode<Value> | undefined,
  key: Readonly<Key>,
  entry: EidTrieEntry<Value>,
): { node: TrieNode<Value>; former: EidTrieEntry<Value> | undefined } {
  const length = entry.prefix.maskLength
  if (node === undefined) return { node: newNode(key, length, entry), former: undefined }
  const common = Math.min(commonBits(node, key), node.length, length)
  if (common === node.length && common === length) {
    const former = node.entry
    node.entry = entry
    return { node, former }
  }
  if (common === node.length) {
    const side = bitAt(key, common) === 0 ? 'zero' : 'one'
    const below = insertBelow(node[side], key, entry)
    node[side] = below.node
    return { node, former: below.former }
  }
  if (common === length) {
    const above = newNode(key, length, entry)
    above[bitAt(node, common) === 0 ? 'zero' : 'one'] = node
    return { node: above, former: undefined }
  }
  const branch = newNode<Value>(key, common, undefined)
  const leaf = newNode(key, length, entry)
  branch.zero = bitAt(key, common) === 0 ? leaf : node
  branch.one = bitAt(key, common) === 0 ? node : leaf
  return { node: branch, former: undefined }
}

/** Takes out the nodes that have lost their purpose on the path to the first `bits` bits of the key. */
function pruned<Value>(
  node: TrieNode<Value>,
  key: Readonly<Key>,
  bits: number,
): TrieNode<Value> | undefined {
  if (node.length < bits) {
    const side = bitAt(key, node.length) === 0 ? 'zero' : 'one'
    const child = node[side]
    if (child !== undefined) node[side] = pruned(child, key, bits)
  }
  if (node.entry !== undefined || (node.zero !== undefined && node.one !== undefined)) return node
  return node.zero ?? node.one
}

function exclusiveLength(
  root: TrieNode<unknown> | undefined,
  key: Readonly<Key>,
  width: number,
): number {
  let node = root
  while (node !== undefined) {
    const common = commonBits(node, key)
    // All that stands below shares exactly `common` bits with the key: one more bit excludes it.
    if (common < node.length) return common + 1
    if (node.length === width) return width
    const next = bitAt(key, node.length) === 0 ? node.zero : node.one
    if (next === undefined) {
      const hasSibling = node.zero !== undefined || node.one !== undefined
      return hasSibling ? node.length + 1 : node.length
    }
    node = next
  }
  return 0
}

function below<Value>(top: TrieNode<Value>): Generator<EidTrieEntry<Value>> {
  return drained([top])
}

/** The last one first: all that the nodes hold, coarse before fine, zeros before ones. */
function* drained<Value>(stack: TrieNode<Value>[]): Generator<EidTrieEntry<Value>> {
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node.one !== undefined) stack.push(node.one)
    if (node.zero !== undefined) stack.push(node.zero)
    if (node.entry !== undefined) yield node.entry
  }
}

/** Subtrees that hold what comes after the first `bits` bits of the key; the first of them last. */
function laterThan<Value>(
  root: TrieNode<Value>,
  key: Readonly<Key>,
  bits: number,
): TrieNode<Value>[] {
  const later: TrieNode<Value>[] = []
  let node: TrieNode<Value> | undefined = root
  while (node !== undefined) {
    const common = Math.min(commonBits(node, key), node.length, bits)
    if (common < node.length) {
      // Below the key's prefix all comes after it; beside it, what is on the side of ones.
      if (common === bits || bitAt(node, common) === 1) later.push(node)
      break
    }
    const isExact: boolean = node.length === bits
    if (node.one !== undefined && (isExact || bitAt(key, node.length) === 0)) later.push(node.one)
    if (isExact && node.zero !== undefined) later.push(node.zero)
    if (isExact) break
    node = bitAt(key, node.length) === 0 ? node.zero : node.one
  }
  return later
}

/** Where `value` stands or belongs in an ascending list. */
function firstNotBelow(ascending: readonly number[], value: number): number {
  let [low, high] = [0, ascending.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ascending[middle]! < value) low = middle + 1
    else high = middle
  }
  return low
}

function widthOf(address: IpAddress): number {
  return address.family === 4 ? 32 : 128
}

function rootKey(instanceId: number, address: IpAddress): number {
  return instanceId * 2 + (address.family === 6 ? 1 : 0)
}
