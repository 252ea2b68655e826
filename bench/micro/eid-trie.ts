/**
 * Longest-prefix match and change in the EID trie, at several sizes: lookups hit places far apart, so
 * that the processor's caches help no more than they would in a Map-Server.
 */
import { ipAddress } from '../../src/lisp/address.js'
import { type Eid, eidPrefix } from '../../src/lisp/eid.js'
import { createEidTrie, type EidTrie } from '../../src/tables/eid-trie.js'
import type { Subject } from './main.js'

export function eidTrieSubjects(): Subject[] {
  return SIZES.flatMap((size) => {
    const trie = filledTrie(size)
    const eids = Array.from({ length: LOOKUPS }, (_, index) => scatteredEid(index, size))
    let turn = 0
    const next = (): Eid => {
      turn = (turn + 1) % LOOKUPS
      return eids[turn]!
    }
    const label = size.toLocaleString('en')
    return [
      {
        name: `eid-trie: longest match among ${label} hosts`,
        run: () => trie.longestMatch(next()),
      },
      {
        name: `eid-trie: remove and insert among ${label} hosts`,
        run: () => {
          const prefix = { ...next(), maskLength: 32 }
          const value = trie.remove(prefix)!
          return trie.insert(prefix, value) === undefined
        },
      },
    ]
  })
}

function filledTrie(size: number): EidTrie<number> {
  const trie = createEidTrie<number>()
  for (let index = 0; index < size; index += 1) {
    trie.insert(eidPrefix(7, address(index), 32), index + 1)
  }
  return trie
}

function scatteredEid(index: number, size: number): Eid {
  const scattered = Math.imul(index, 0x9e3779b1) >>> 0
  return { instanceId: 7, address: address(Math.floor((scattered / 2 ** 32) * size)) }
}

/** 10.0.0.0 and so on. */
function address(index: number) {
  return ipAddress(Uint8Array.of(10, index >>> 16, index >>> 8, index))
}

const SIZES = [1_000, 100_000, 1_000_000]
const LOOKUPS = 65_536
