import t from 'tap'
import { formatEidPrefix } from '../../src/lisp/eid.js'
import { createExpiryHeap } from '../../src/tables/expiry-heap.js'
import { locatorBuckets, usableLocators } from '../../src/tables/locator-selection.js'
import { createMapCache, type MapCacheEntry } from '../../src/tables/map-cache.js'
import {
  createRegistrations,
  type Registrant,
  registrationOf,
} from '../../src/tables/registrations.js'
import { aLocator, aMapping, anAddress, anEid, aPrefix, aRandom } from '../support/builders.js'

const name = (entry: MapCacheEntry) => formatEidPrefix(entry.mapping.eidPrefix)

t.test('a heap gives what is due in order, whatever was moved and removed', async (t) => {
  const random = aRandom(3)
  const heap = createExpiryHeap<number>()
  const slots = Array.from({ length: 500 }, (_, index) => heap.add(index, random.fraction() * 1000))
  const at = new Map(slots.map((slot) => [slot.value, slot.at]))
  for (const slot of slots) {
    const choice = random.fraction()
    if (choice < 0.3) {
      heap.remove(slot)
      at.delete(slot.value)
    } else if (choice < 0.7) {
      heap.move(slot, random.fraction() * 1000)
      at.set(slot.value, slot.at)
    }
  }
  const expected = [...at].filter(([, moment]) => moment <= 600).sort((a, b) => a[1] - b[1])
  const due: number[] = []
  for (let value = heap.takeDue(600); value !== undefined; value = heap.takeDue(600))
    due.push(value)
  t.ok(due.length > 50)
  t.strictSame(
    due,
    expected.map(([value]) => value),
  )
  t.equal(heap.size, at.size - due.length)
  t.ok(heap.first()!.at > 600)
})

t.test('flows are shared by weight among the best priority only', async (t) => {
  const of = (...list: [priority: number, weight: number, reachable?: boolean][]) =>
    locatorBuckets(
      list.map(([priority, weight, reachable = true]) => ({ priority, weight, reachable })),
    )
  const shares = (result: ReturnType<typeof of>) =>
    result.indexes.map((_, position) => result.buckets.filter((one) => one === position).length)

  const weighted = of([1, 30], [1, 20], [1, 20], [1, 10])
  t.strictSame(weighted.indexes, [0, 1, 2, 3])
  t.strictSame(shares(weighted), [24, 16, 16, 8], '37.5, 25, 25 and 12.5 %')
  t.strictSame(shares(of([1, 0], [1, 0])), [32, 32], 'no weights: even')
  t.strictSame(shares(of([1, 1], [1, 1], [1, 1])), [22, 21, 21], 'what remains goes to the first')
  t.strictSame(shares(of([1, 0], [1, 50])), [0, 64], 'weight 0 beside another gets nothing')
  t.strictSame(of([2, 100], [1, 100]).indexes, [1], 'lower priority wins')
  t.strictSame(of([1, 100, false], [2, 100]).indexes, [1], 'an unreachable one is passed over')
  t.strictSame(of([255, 100]).indexes, [], '255 is never used')
  t.strictSame(of([255, 100]).buckets, new Uint8Array(64))
  t.strictSame(usableLocators([]), [])
  const many = of(...Array.from({ length: 10 }, (_, i): [number, number] => [1, i + 1]))
  t.strictSame(many.indexes, [2, 3, 4, 5, 6, 7, 8, 9], 'of more than eight the heaviest')
  t.equal(many.buckets.length, 64)
})

t.test('the map-cache tells hit, negative and miss apart and forgets in time', async (t) => {
  const cache = createMapCache({ maximumEntries: 100 })
  const insertion = { origin: 'map-reply' } as const
  cache.insert([aMapping({ eidPrefix: '10.1.0.0/16', ttlMinutes: 2 })], insertion, 1000)
  const negative = aMapping({
    eidPrefix: '10.2.0.0/16',
    ttlMinutes: 1,
    locators: [],
    action: 'natively-forward',
  })
  cache.insert([negative], insertion, 1000)
  t.equal(cache.lookup(anEid('10.1.2.3'), 1000).kind, 'hit')
  t.equal(cache.lookup(anEid('10.2.2.3'), 1000).kind, 'negative')
  t.equal(cache.lookup(anEid('10.3.2.3'), 1000).kind, 'miss')
  t.equal(cache.nextExpiry(), 61_000)
  t.strictSame(cache.expire(60_999), [])
  t.strictSame(cache.expire(61_000).map(name), ['10.2.0.0/16'])
  t.equal(cache.lookup(anEid('10.1.2.3'), 121_000).kind, 'miss', 'over, though not yet expired')
  t.strictSame(cache.expire(121_000).map(name), ['10.1.0.0/16'])
  t.equal(cache.nextExpiry(), undefined)
  t.equal(cache.size, 0)
})

t.test('record TTL 0 removes at once; 0xffffffff and more than a day mean a day', async (t) => {
  const cache = createMapCache({ maximumEntries: 100 })
  const insert = (ttlMinutes: number) =>
    cache.insert([aMapping({ ttlMinutes })], { origin: 'map-reply' }, 0)
  t.equal(insert(0xffffffff).installed[0]?.expiresAt, 86_400_000)
  t.equal(insert(86_400).installed[0]?.expiresAt, 86_400_000)
  const { installed, removed } = insert(0)
  t.strictSame(installed, [])
  t.strictSame(
    removed.map(({ entry, reason }) => [name(entry), reason]),
    [['10.1.0.5/32', 'ttl-zero']],
  )
  t.equal(cache.size, 0)
})

t.test('a less specific reply replaces covered entries, but none of our own', async (t) => {
  const cache = createMapCache({ maximumEntries: 100 })
  const put = (eidPrefix: string, origin: 'map-reply' | 'local' | 'away', lifetimeMs?: number) =>
    cache.insert(
      [aMapping({ eidPrefix, ttlMinutes: 60 })],
      lifetimeMs === undefined ? { origin } : { origin, lifetimeMs },
      0,
    )
  put('10.1.1.0/24', 'map-reply')
  put('10.1.2.0/24', 'local', Number.POSITIVE_INFINITY)
  put('10.1.3.7/32', 'away', 5000)
  const more = put('10.1.1.9/32', 'map-reply')
  t.strictSame(more.removed, [], 'a more specific one is added')
  const { installed, removed } = put('10.1.0.0/16', 'map-reply')
  t.strictSame(removed.map(({ entry }) => name(entry)).sort(), ['10.1.1.0/24', '10.1.1.9/32'])
  t.equal(installed[0]?.expiresAt, 5000, 'no later than the soonest more-specific (RFC 9301 §5.5)')
  t.equal(cache.size, 3)
})

t.test('the records of one reply go in together and do not remove each other', async (t) => {
  const cache = createMapCache({ maximumEntries: 100 })
  const reply = [
    aMapping({ eidPrefix: '10.1.1.0/24', ttlMinutes: 5 }),
    aMapping({ eidPrefix: '10.1.0.0/16', ttlMinutes: 9 }),
  ]
  cache.insert(reply, { origin: 'map-reply' }, 0)
  cache.insert([aMapping({ eidPrefix: '10.1.2.0/24' })], { origin: 'map-reply' }, 0)
  const { installed, removed } = cache.insert(reply, { origin: 'map-reply' }, 1000)
  t.strictSame(installed.map(name), ['10.1.0.0/16', '10.1.1.0/24'])
  t.strictSame(
    removed.map(({ entry }) => name(entry)),
    ['10.1.2.0/24'],
  )
  t.equal(installed[0]?.expiresAt, 301_000)
  t.equal(cache.lookup(anEid('10.1.1.1'), 1000).kind, 'hit')
})

t.test('a full map-cache gives up what would have been over first, never our own', async (t) => {
  const cache = createMapCache({ maximumEntries: 2 })
  const own = { origin: 'local', lifetimeMs: Number.POSITIVE_INFINITY } as const
  cache.insert([aMapping({ eidPrefix: '10.9.0.0/16' })], own, 0)
  cache.insert([aMapping({ eidPrefix: '10.1.0.0/16', ttlMinutes: 2 })], { origin: 'map-reply' }, 0)
  const { installed, removed } = cache.insert(
    [aMapping({ eidPrefix: '10.2.0.0/16', ttlMinutes: 9 })],
    { origin: 'map-reply' },
    0,
  )
  t.equal(installed.length, 1)
  t.strictSame(
    removed.map(({ entry, reason }) => [name(entry), reason]),
    [['10.1.0.0/16', 'evicted']],
  )
  const refused = cache.insert(
    [aMapping({ eidPrefix: '10.3.0.0/16', ttlMinutes: 1 })],
    { origin: 'map-reply' },
    0,
  )
  t.strictSame(refused.installed, [], 'the newest goes if it is the first to end')
  t.equal(cache.size, 2)
})

t.test('registrations are found, merged, retired and counted by site', async (t) => {
  const table = createRegistrations()
  const registrant = (owner: string, rloc: string, expiresAt: number): Registrant => ({
    owner,
    source: anAddress(rloc),
    locators: [aLocator(rloc), aLocator('192.0.2.9', { priority: expiresAt })],
    action: 'no-action',
    ttlMinutes: 15,
    proxyReply: true,
    wantMapNotify: true,
    keyId: 1,
    nonce: 1n,
    authenticationLength: 16,
    registeredAt: 0,
    expiresAt,
  })
  const about = { eidPrefix: aPrefix('10.1.0.5/32'), site: 'blue', mapVersion: 3, merge: true }
  table.put(
    registrationOf(about, [registrant('b', '192.0.2.2', 20), registrant('a', '192.0.2.1', 10)]),
  )
  const found = table.longestMatch(anEid('10.1.0.5'))
  t.strictSame(
    found?.locators,
    [aLocator('192.0.2.1'), aLocator('192.0.2.2'), aLocator('192.0.2.9', { priority: 10 })],
    'sorted, each RLOC once, the later registrant wins',
  )
  t.equal(table.nextExpiry(), 10)
  t.equal(table.registrationsOfSite('blue'), 1)
  table.retire({ ...about, owner: 'a', nonce: 1n, forgetAt: 500 })
  t.equal(table.longestMatch(anEid('10.1.0.5')), undefined)
  t.equal(table.retired(about.eidPrefix)?.mapVersion, 3)
  t.equal(table.registrationsOfSite('blue'), 0)
  t.equal(table.size, 1)
  t.equal(table.takeDue(499), undefined)
  t.match(table.takeDue(500), { retired: { owner: 'a' } })
  t.equal(table.size, 0)
})
