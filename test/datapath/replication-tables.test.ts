/**
 * Replication entries as map elements, with maps that are plain tables: what is shared, what outlives a
 * packet that is being copied, what becomes of entries that nobody puts again.
 */
import t from 'tap'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import { decodeBpfReplication } from '../../src/datapath/abi.generated.js'
import type { BpfMaps } from '../../src/datapath/bpf-maps.js'
import { createReplicationTables } from '../../src/datapath/bpf-replication.js'
import { keyText } from '../../src/datapath/eid-keys.js'
import { createFreeIds } from '../../src/datapath/free-ids.js'
import { groupKey } from '../../src/datapath/group-keys.js'
import { createLocatorSets } from '../../src/datapath/locator-sets.js'
import { formatIpAddress, parseIpAddress } from '../../src/lisp/address.js'
import { groupNamed, putReplication } from './replication-puts.js'
import type { LocatorFields } from './workbench.js'

const SSM = '(10.1.0.2,232.1.1.1)'
const OTHER = '(10.1.0.2,232.1.1.2)'

/** Tables by map name; a second node on the same ones is a restart. */
function createTables() {
  const tables = new Map<string, Map<string, { key: Uint8Array; value: Uint8Array }>>()
  const table = (name: string) => {
    if (!tables.has(name)) tables.set(name, new Map())
    return tables.get(name)!
  }
  let full = false
  const maps: BpfMaps = {
    update(map, key, value) {
      if (full && map === 'replications') throw Object.assign(new Error(), { code: 'E2BIG' })
      table(map).set(keyText(key), { key, value })
    },
    remove: (map, key) => void table(map).delete(keyText(key)),
    lookup: (map, key) => table(map).get(keyText(key))?.value,
    read(map) {
      const all = [...table(map).values()]
      const join = (parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((one) => [...one]))
      const [keys, values] = [join(all.map(({ key }) => key)), join(all.map((one) => one.value))]
      return { count: all.length, keys, values }
    },
    counter: () => ({ packets: 0n, bytes: 0n, lastUsedNs: 0n }),
    clearCounter() {},
    sums: () => [],
  }
  const later: { ms: number; run: () => void }[] = []
  const raised: DatapathEvent[] = []
  const open = () => {
    const sets = createLocatorSets(
      {
        update: (key, value) => maps.update('locator_sets', key, value),
        remove: (key) => maps.remove('locator_sets', key),
        read: () => maps.read('locator_sets'),
      },
      64,
    )
    sets.load()
    return createReplicationTables({
      maps,
      sets,
      counterIds: createFreeIds(8),
      raise: (event) => raised.push(event),
      interfaceIndex: (name) => ({ site0: 5, site2: 6 })[name],
      interfaceName: (index) => ({ 5: 'site0', 6: 'site2' })[index],
      ownRlocs: () => [parseIpAddress('192.0.2.1')!],
      after: (ms, run) => later.push({ ms, run }),
    })
  }
  return {
    open,
    later,
    entry(text: string) {
      const value = table('replications').get(keyText(groupKey(groupNamed(text))))?.value
      return value && decodeBpfReplication(value)
    },
    sets: () => table('locator_sets').size,
    fill(now: boolean) {
      full = now
    },
  }
}

const many = (count: number): LocatorFields[] =>
  Array.from({ length: count }, (_, n) => ({ family: 4, destination: `198.51.100.${n}` }))

t.test('a list is sets of eight, shared by groups, IPv4 first, without ourselves', async (t) => {
  const world = createTables()
  const tables = world.open()
  const six: LocatorFields = { family: 6, pathMtu: 1280 }
  const to = [six, ...many(19), { family: 4 as const, destination: '192.0.2.1' }]
  tables.perform(putReplication(SSM, { to, on: ['site2', 'site0'], level: 3 }))
  const entry = world.entry(SSM)!
  t.match(entry, { copies: 20, level: 3, interfaceCount: 2, largest: 1280 - 56 })
  t.same(entry.interfaces.slice(0, 3), [6, 5, 0])
  t.equal(world.sets(), 3)
  tables.perform(putReplication(OTHER, { to, on: [], level: 0 }))
  t.equal(world.sets(), 3, 'the same ones')
  t.not(world.entry(OTHER)!.counterId, entry.counterId)
})

t.test('what a packet may be copying by outlives its entry', async (t) => {
  const world = createTables()
  const tables = world.open()
  tables.perform(putReplication(SSM, { to: many(9) }))
  const first = world.entry(SSM)!
  tables.perform(putReplication(SSM, { to: many(1) }))
  t.equal(world.entry(SSM)!.counterId, first.counterId, 'counts go on')
  t.equal(world.sets(), 3)
  t.ok(world.later[0]!.ms >= 100)
  world.later.shift()!.run()
  t.equal(world.sets(), 1)
  tables.perform({ kind: 'delete-replication', group: groupNamed(SSM) })
  t.equal(world.entry(SSM), undefined, 'gone at once')
  t.equal(world.sets(), 1)
  world.later.shift()!.run()
  t.equal(world.sets(), 0)
})

t.test('what cannot be put changes nothing', async (t) => {
  const world = createTables()
  const tables = world.open()
  tables.perform(putReplication(SSM, { to: many(2) }))
  const before = world.entry(SSM)
  const refused = (fields: Parameters<typeof putReplication>[1], text = SSM) =>
    t.throws(() => tables.perform(putReplication(text, fields)))
  refused({ on: ['nowhere'] })
  refused({ on: Array.from({ length: 65 }, () => 'site0') })
  refused({
    to: Array.from({ length: 257 }, (_, n) => ({
      family: 4,
      destination: `198.18.${n >> 8}.${n & 255}`,
    })),
  })
  world.fill(true)
  refused({ to: many(20) }, OTHER)
  t.same(world.entry(SSM), before)
  t.equal(world.sets(), 1, 'no set is left over')
})

t.test(
  'an entry of an earlier run goes on until it is put again, or for five minutes',
  async (t) => {
    const world = createTables()
    world.open().perform(putReplication(SSM, { to: many(9), on: ['site0'] }))
    const former = createTables()
    t.same(former.open().restore(), [], 'nothing on a first start')
    t.equal(former.later.length, 0)
    const tables = world.open()
    const [found, ...none] = tables.restore()
    t.same(none, [])
    t.match(found, { group: groupNamed(SSM), localInterfaces: ['site0'], level: 0 })
    t.same(
      found!.copies.map(({ locator }) => formatIpAddress(locator.rloc)),
      many(9).map(({ destination }) => destination),
    )
    tables.perform(putReplication(OTHER, { to: many(1) }))
    t.not(world.entry(OTHER)!.counterId, world.entry(SSM)!.counterId, 'its counter is taken')
    const [sweep] = world.later
    t.equal(sweep!.ms, 300_000)
    tables.perform(putReplication(SSM, { to: many(2) }))
    sweep!.run()
    t.ok(world.entry(SSM), 'it was put again')
    const again = world.open()
    again.restore()
    again.perform(putReplication(OTHER, { to: many(1) }))
    world.later.at(-1)!.run()
    t.equal(world.entry(SSM)?.copies, 2, 'its set is released, the sweep is another')
    world.later.find(({ ms }, at) => ms === 300_000 && at > 0)!.run()
    t.equal(world.entry(SSM), undefined, 'nobody wanted it')
    t.ok(world.entry(OTHER))
  },
)
