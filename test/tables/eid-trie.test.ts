import t from 'tap'
import {
  coversEid,
  coversPrefix,
  type Eid,
  type EidPrefix,
  eidPrefix,
  formatEidPrefix,
  hostPrefix,
} from '../../src/lisp/eid.js'
import { createEidTrie } from '../../src/tables/eid-trie.js'
import { anEid, aPrefix, aRandom } from '../support/builders.js'

function trieOf(...prefixes: string[]) {
  const trie = createEidTrie<string>()
  for (const text of prefixes) trie.insert(aPrefix(text), text)
  return trie
}

t.test('the longest match wins, per instance-ID and family', async (t) => {
  const trie = trieOf('0.0.0.0/0', '10.0.0.0/8', '10.1.0.0/16', '[7]10.0.0.0/9', '::/0')
  t.equal(trie.longestMatch(anEid('10.1.2.3'))?.value, '10.1.0.0/16')
  t.equal(trie.longestMatch(anEid('10.2.2.3'))?.value, '10.0.0.0/8')
  t.equal(trie.longestMatch(anEid('192.0.2.1'))?.value, '0.0.0.0/0')
  t.equal(trie.longestMatch(anEid('[7]10.1.2.3'))?.value, '[7]10.0.0.0/9')
  t.equal(trie.longestMatch(anEid('[7]10.200.2.3')), undefined)
  t.equal(trie.longestMatch(anEid('2001:db8::1'))?.value, '::/0')
  t.equal(trie.longestCovering(aPrefix('10.0.0.0/12'))?.value, '10.0.0.0/8')
  t.equal(trie.longestCovering(aPrefix('[7]10.0.0.0/8')), undefined)
})

t.test(
  'more-specifics of the example of RFC 9301 §5.5 come with the prefix, coarse first',
  async (t) => {
    const all = ['2001:db8::/32', '2001:db8:1::/48', '2001:db8:1:1::/64', '2001:db8:1:2::/64']
    const trie = trieOf(...[...all].reverse())
    const below = (text: string) => [...trie.coveredBy(aPrefix(text))].map((entry) => entry.value)
    t.strictSame(below('2001:db8:1::/48'), all.slice(1))
    t.strictSame(below('2001:db8:1:1::/64'), ['2001:db8:1:1::/64'])
    t.strictSame(below('2001:db8:1:4::/62'), [])
    t.strictSame(
      [...trie.entries()].map((entry) => entry.value),
      all,
    )
  },
)

t.test('the least specific hole touches no entry and could not be larger', async (t) => {
  const hole = (trie: ReturnType<typeof trieOf>, text: string) => {
    const found = trie.leastSpecificHole(anEid(text))
    return found === undefined ? undefined : formatEidPrefix(found)
  }
  t.equal(hole(trieOf(), '192.0.2.1'), '0.0.0.0/0')
  t.equal(hole(trieOf('10.0.0.0/8'), '192.0.2.1'), '128.0.0.0/1')
  t.equal(hole(trieOf('10.0.0.0/8'), '11.0.0.1'), '11.0.0.0/8')
  t.equal(hole(trieOf('10.0.0.0/8'), '10.0.0.1'), undefined)
  t.equal(hole(trieOf('10.1.0.0/16', '10.2.0.0/16'), '10.3.0.1'), '10.3.0.0/16')
  t.equal(hole(trieOf('10.1.0.0/16', '10.2.0.0/16'), '10.4.0.1'), '10.4.0.0/14')
  t.equal(hole(trieOf('[7]10.0.0.0/8'), '10.0.0.1'), '0.0.0.0/0')
})

t.test(
  'the exclusive prefix shares its longest match with the EID, and no more-specific',
  async (t) => {
    const trie = trieOf('10.0.0.0/8', '10.1.1.0/24')
    const around = (text: string) => formatEidPrefix(trie.exclusivePrefix(anEid(text)))
    t.equal(around('10.128.0.1'), '10.128.0.0/9')
    t.equal(around('10.1.0.1'), '10.1.0.0/24')
    t.equal(around('10.1.1.1'), '10.1.1.0/24')
    t.equal(around('11.0.0.1'), '11.0.0.0/8')
  },
)

t.test('random insertions and removals agree with a linear scan', async (t) => {
  for (const seed of [1, 2, 3, 4]) differential(seed, t)
})

function differential(seed: number, t: Pick<typeof import('tap').default, 'fail' | 'ok'>) {
  const random = aRandom(seed)
  const below = (limit: number) => Math.floor(random.fraction() * limit)
  // Few distinct bits, so that prefixes nest, touch and repeat.
  const randomEid = (): Eid => {
    const bytes = new Uint8Array(below(2) === 0 ? 4 : 16)
    for (const at of [0, 1, bytes.length - 1]) bytes[at] = below(4) * 0x55
    return {
      instanceId: below(2) * 9,
      address: { family: bytes.length === 4 ? 4 : 6, bytes },
    }
  }
  const randomPrefix = (): EidPrefix => {
    const eid = randomEid()
    const lengths = [0, 1, 5, 8, 9, 16, 17, 24, 31, 32, 33, 64, 120, 127, 128]
    const length = Math.min(lengths[below(lengths.length)]!, eid.address.bytes.length * 8)
    return eidPrefix(eid.instanceId, eid.address, length)
  }
  const trie = createEidTrie<number>()
  const scan = new Map<string, { prefix: EidPrefix; value: number }>()
  for (let step = 0; step < 3000; step += 1) {
    const prefix = randomPrefix()
    const text = formatEidPrefix(prefix)
    if (below(5) < 3) {
      const former = trie.insert(prefix, step)
      if (former !== scan.get(text)?.value) return t.fail(`insert ${text} at ${seed}/${step}`)
      scan.set(text, { prefix, value: step })
    } else {
      if (trie.remove(prefix) !== scan.get(text)?.value) return t.fail(`remove ${text}`)
      scan.delete(text)
    }
    if (trie.size !== scan.size) return t.fail(`size at ${seed}/${step}`)
    const eid = randomEid()
    const problem = difference(trie, [...scan.values()], eid, randomPrefix())
    if (problem !== undefined) return t.fail(`${problem} at ${seed}/${step}`)
  }
  t.ok(scan.size > 50, `seed ${seed} ends with ${scan.size} entries`)
}

function difference(
  trie: ReturnType<typeof createEidTrie<number>>,
  entries: readonly { prefix: EidPrefix; value: number }[],
  eid: Eid,
  prefix: EidPrefix,
): string | undefined {
  const longest = (covering: typeof entries) =>
    covering.reduce<(typeof entries)[number] | undefined>(
      (best, entry) =>
        best === undefined || entry.prefix.maskLength > best.prefix.maskLength ? entry : best,
      undefined,
    )
  const match = longest(entries.filter((entry) => coversEid(entry.prefix, eid)))
  if (trie.longestMatch(eid)?.value !== match?.value) return 'longestMatch'
  const covering = longest(entries.filter((entry) => coversPrefix(entry.prefix, prefix)))
  if (trie.longestCovering(prefix)?.value !== covering?.value) return 'longestCovering'
  const inside = entries.filter((entry) => coversPrefix(prefix, entry.prefix))
  const found = [...trie.coveredBy(prefix)].map((entry) => entry.value)
  const sorted = (values: number[]) => values.sort((a, b) => a - b).join()
  if (sorted(found) !== sorted(inside.map((entry) => entry.value))) return 'coveredBy'
  const exclusive = largestExclusive(entries, match?.prefix.maskLength ?? 0, eid)
  if (formatEidPrefix(trie.exclusivePrefix(eid)) !== exclusive) return 'exclusivePrefix'
  const hole = trie.leastSpecificHole(eid)
  const expected = match === undefined ? exclusive : undefined
  return (hole === undefined ? undefined : formatEidPrefix(hole)) === expected
    ? undefined
    : 'leastSpecificHole'
}

/** The shortest prefix around `eid`, not shorter than its match, that has no entry inside it. */
function largestExclusive(
  entries: readonly { prefix: EidPrefix }[],
  matchLength: number,
  eid: Eid,
): string {
  for (let length = matchLength; length < hostPrefix(eid).maskLength; length += 1) {
    const candidate = eidPrefix(eid.instanceId, eid.address, length)
    const free = entries.every(
      ({ prefix }) =>
        !coversPrefix(candidate, prefix) ||
        (prefix.maskLength === length && length === matchLength),
    )
    if (free) return formatEidPrefix(candidate)
  }
  return formatEidPrefix(hostPrefix(eid))
}

t.test('a hundred times the entries do not cost a hundred times the time', async (t) => {
  const few = lookupMs(1000)
  const many = lookupMs(100_000)
  t.comment(`${Math.round(1 / many)} thousand lookups/s among 100,000 entries`)
  // Measured 3 to 10, by the caches of the processor; a linear search would be at 100.
  t.ok(many < 40 * few, `${(many / few).toFixed(1)} times`)
})

/** Milliseconds per lookup among `count` random hosts; the best of several rounds. */
function lookupMs(count: number): number {
  const random = aRandom(5)
  const trie = createEidTrie<number>()
  const eids: Eid[] = []
  for (let index = 0; index < count; index += 1) {
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, Math.floor(random.fraction() * 2 ** 32))
    const eid: Eid = { instanceId: 0, address: { family: 4, bytes } }
    eids.push(eid)
    trie.insert(hostPrefix(eid), index)
  }
  const rounds = Math.max(3, 30_000 / count)
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < rounds; round += 1) {
    const started = performance.now()
    for (const eid of eids) {
      if (trie.longestMatch(eid) === undefined) throw new Error('a host was not found')
    }
    best = Math.min(best, (performance.now() - started) / count)
  }
  return best
}

t.test('what comes after a prefix is in order, whether the prefix is there or not', async (t) => {
  const texts = [
    '0.0.0.0/0',
    '10.0.0.0/8',
    '10.0.0.0/16',
    '10.1.0.0/16',
    '10.1.0.0/24',
    '10.1.128.0/17',
    '10.128.0.0/9',
    '::/0',
    'fd00::/8',
    '[7]10.0.0.0/8',
    '[9]10.0.0.0/8',
    '[9]fd00::1/128',
  ]
  const trie = trieOf(...[...texts].reverse())
  const after = (text: string | undefined, instanceId?: number) =>
    [...trie.after(text === undefined ? undefined : aPrefix(text), instanceId)].map(
      (one) => one.value,
    )
  t.same(after(undefined), texts)
  for (const [index, text] of texts.entries()) t.same(after(text), texts.slice(index + 1), text)
  t.same(after('10.1.0.0/17')[0], '10.1.0.0/24', 'between a prefix and what is in it')
  t.same(after('10.1.0.128/25')[0], '10.1.128.0/17', 'between a prefix and its neighbour')
  t.same(after('10.1.0.0/17', 0).at(-1), 'fd00::/8')
  t.same(after('9.0.0.0/8')[0], '10.0.0.0/8')
  t.same(after('10.255.0.0/16')[0], '::/0')
  t.same(after('10.0.0.0/12')[0], '10.0.0.0/16')
  t.same(after('[8]::/0')[0], '[9]10.0.0.0/8')
  t.same(after('[9]fd00::1/128'), [])
  t.same(after(undefined, 9), texts.slice(-2))
  t.same(after('[7]10.0.0.0/8', 9), texts.slice(-2))
  t.same([trie.sizeOf(0), trie.sizeOf(7), trie.sizeOf(8), trie.sizeOf(undefined)], [9, 1, 0, 12])
  trie.remove(aPrefix('[7]10.0.0.0/8'))
  trie.remove(aPrefix('fd00::/8'))
  t.same(after('::/0'), texts.slice(-2))
  t.same([trie.sizeOf(0), trie.sizeOf(7), trie.sizeOf(undefined)], [8, 0, 10])
})
