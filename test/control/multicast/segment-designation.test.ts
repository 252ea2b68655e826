/**
 * Which xTR of a site serves its segment: two of them, the sites that listen and send, and a Map-Server in
 * virtual time.
 */
import t from 'tap'
import type { NodeConfig } from '../../../src/config/node-config.js'
import { aMulticastPolicy, anAddress, aPrefix } from '../../support/builders.js'
import { createGroupWorld, type WorldMessage, xtrConfig } from '../../support/group-world.js'
import { pimMulticast } from '../../support/pim-router.js'

/** The xTRs of one site are `site-1` and `site-4`; `site-2` is another site. */
const SITE_XTRS = ['192.0.2.1', '192.0.2.4'].map(anAddress)
const SENT = '(10.1.0.5,239.1.1.1)'
const HEARD = '(*,239.9.9.9)'
/** Three probes a second apart, after an interval that varies. */
const NOTICED_MS = 4500

function twoXtrs(multicast: NodeConfig['multicast'], about: Partial<NodeConfig> = {}) {
  const shared = [{ eidPrefix: aPrefix('10.1.0.0/16'), interfaceName: 'site' }]
  return [
    xtrConfig(1, { multicast, ...about }),
    xtrConfig(4, { multicast, eidPrefixes: shared, ...about }),
  ]
}

function aSite(about: Partial<NodeConfig> = {}) {
  const multicast = aMulticastPolicy({ enabled: true, siteXtrs: SITE_XTRS })
  const world = createGroupWorld([...twoXtrs(multicast, about), xtrConfig(2)])
  for (const name of ['site-1', 'site-4']) world.join(name, HEARD)
  world.join('site-2', SENT)
  for (const name of ['site-1', 'site-4']) world.send(name, SENT)
  world.run(3000)
  return world
}

const isOf =
  (rloc: string) =>
  ({ from, to }: WorldMessage): boolean =>
    from === rloc || to === rloc

t.test('the other xTR takes over when the querier no longer answers, and gives back', async (t) => {
  const world = aSite()
  world.raise('site-1', { kind: 'site-querier', interfaceName: 'site', family: 4, ours: true })
  world.raise('site-4', { kind: 'site-querier', interfaceName: 'site', family: 4, ours: false })
  world.run(1000)
  const entries = (group: string) =>
    ['site-1', 'site-4'].map((name) => world.xtr(name).entries.get(group))
  t.same(entries(SENT), ['0 192.0.2.2 |', '0 |'])
  t.same(entries(HEARD), ['0 | site', undefined])
  world.lose(isOf('192.0.2.1'))
  world.run(NOTICED_MS)
  t.equal(world.xtr('site-4').entries.get(SENT), '0 192.0.2.2 |', 'it copies')
  t.equal(world.xtr('site-4').entries.get(HEARD), '0 | site', 'it delivers')
  const listed = world.groups('mapping').find(({ group }) => group === HEARD)?.copies
  t.ok(listed?.includes('192.0.2.4'), 'and it registers')
  t.ok(world.names('site-4').includes('locator-down'))
  world.lose(() => false)
  world.run(1500)
  t.same(entries(HEARD), ['0 | site', undefined], 'and the querier serves again')
  t.same(entries(SENT), ['0 192.0.2.2 |', '0 |'])
})

t.test('a querier that asks its hosts again is probed as soon as no probe is out', async (t) => {
  const world = aSite()
  world.lose(isOf('192.0.2.1'))
  const isDown = (): boolean => world.names('site-4').includes('locator-down')
  for (let ms = 0; ms < NOTICED_MS && !isDown(); ms += 1) world.run(1)
  world.lose(() => false)
  t.equal(world.xtr('site-4').entries.get(HEARD), '0 | site')
  world.raise('site-4', { kind: 'site-querier', interfaceName: 'site', family: 4, ours: false })
  world.run(5)
  t.equal(world.xtr('site-4').entries.get(HEARD), undefined)
})

t.test('xTRs that share no prefix answer each other, and nobody else', async (t) => {
  const dynamic = { eidPrefixes: [], dynamicEidPrefixes: [] }
  const foreign = {
    ...dynamic,
    eidPrefixes: [{ eidPrefix: aPrefix('10.4.0.0/16'), interfaceName: 'site' }],
  }
  const multicast = aMulticastPolicy({ enabled: true, siteXtrs: SITE_XTRS })
  const world = createGroupWorld([
    xtrConfig(1, { multicast }),
    xtrConfig(4, { multicast, ...foreign }),
  ])
  world.run(10_000)
  for (const name of ['site-1', 'site-4']) t.notOk(world.names(name).includes('locator-down'), name)
  const other = createGroupWorld([
    xtrConfig(1, { multicast }),
    xtrConfig(4, { multicast: aMulticastPolicy({ enabled: true }), ...foreign }),
  ])
  other.run(10_000)
  t.ok(other.names('site-1').includes('locator-down'), 'one that knows of no such site')
})

t.test(
  'who is joined by PIM copies for those who joined it, whoever serves the segment',
  async (t) => {
    const pim = { joinSites: true, joiners: [aPrefix('192.0.2.0/24')] }
    const multicast = { ...pimMulticast(pim), siteXtrs: SITE_XTRS }
    const world = createGroupWorld([
      ...twoXtrs(multicast),
      xtrConfig(2, { multicast: pimMulticast(pim) }),
    ])
    world.join('site-2', '(10.1.0.5,232.1.1.1)')
    world.run(100)
    const joined = ['site-1', 'site-4'].filter((name) =>
      world.xtr(name).entries.get('(10.1.0.5,232.1.1.1)')?.includes('192.0.2.2'),
    )
    t.equal(joined.length, 1, `${joined}: the one that the mapping named`)
    for (const name of ['site-1', 'site-4'])
      world.raise(name, {
        ...{ kind: 'site-querier', interfaceName: 'site', family: 4 },
        ours: !joined.includes(name),
      })
    world.run(100)
    t.equal(world.xtr(joined[0]!).entries.get('(10.1.0.5,232.1.1.1)'), '0 192.0.2.2 |')
  },
)

t.test('a substitute is silent about what the one without a daemon still delivers', async (t) => {
  const world = aSite()
  const delivered = () => world.send('site-4', '(10.2.0.5,239.9.9.9)')
  delivered()
  world.lose(isOf('192.0.2.1'))
  for (let second = 0; second < 8; second += 1) {
    delivered()
    world.run(1000)
    t.equal(world.xtr('site-4').entries.get(HEARD), undefined, `after ${second} s`)
  }
  t.ok(world.names('site-4').includes('locator-down'))
  const listed = world.groups('mapping').find(({ group }) => group === HEARD)?.copies
  t.ok(listed?.includes('192.0.2.4'), 'yet it is registered, and gets copies')
  world.run(2000)
  t.equal(world.xtr('site-4').entries.get(HEARD), '0 | site', 'and delivers when the other stops')
  delivered()
  t.equal(world.xtr('site-4').entries.get(HEARD), undefined)
})

t.test('who serves by right is not silenced by what others send', async (t) => {
  const world = aSite()
  world.send('site-1', '(10.2.0.5,239.9.9.9)')
  t.equal(world.xtr('site-1').entries.get(HEARD), '0 | site')
  world.lose(isOf('192.0.2.4'))
  world.run(NOTICED_MS)
  world.send('site-1', '(10.2.0.5,239.9.9.9)')
  t.equal(world.xtr('site-1').entries.get(HEARD), '0 | site')
})
