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
  const key: Key = { word0: 0, word1: 0, word2: 0, word3: 0 }
  let size = 0

  const setRoot = (place: number, root: TrieNode<Value> | undefined) => {
    if (root === undefined) roots.delete(place)
    else roots.set(place, root)
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
      const { node, former } = insertBelow(roots.get(place), key, entry)
      roots.set(place, node)
      if (former === undefined) size += 1
      return former?.value
    },
    remove(prefix) {
      const root = rootFor(prefix.instanceId, prefix.address)
      const target = descend(root, key, prefix.maskLength)
      if (root === undefined || target?.length !== prefix.maskLength) return undefined
      const former = target.entry
      if (former === undefined) return undefined
      target.entry = undefined
      setRoot(rootKey(prefix.instanceId, prefix.address), pruned(root, key, prefix.maskLength))
      size -= 1
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

function* below<Value>(top: TrieNode<Value>): Generator<EidTrieEntry<Value>> {
  const stack = [top]
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node.one !== undefined) stack.push(node.one)
    if (node.zero !== undefined) stack.push(node.zero)
    if (node.entry !== undefined) yield node.entry
  }
}

function widthOf(address: IpAddress): number {
  return address.family === 4 ? 32 : 128
}

function rootKey(instanceId: number, address: IpAddress): number {
  return instanceId * 2 + (address.family === 6 ? 1 : 0)
}
