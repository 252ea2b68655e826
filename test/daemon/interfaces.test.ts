/** What the daemon notices of its interfaces, says of them, and does about them. */
import t from 'tap'
import type { Event } from '../../src/control/event.js'
import { createInterfaceFollowing } from '../../src/daemon/interface-following.js'
import {
  interfaceChanges,
  interfaceProblems,
  problemText,
} from '../../src/daemon/interface-state.js'
import type { NetworkInterface } from '../../src/datapath/network-interface.js'
import { aNodeConfig, anAddress } from '../support/builders.js'

const config = aNodeConfig({
  rlocs: [
    { address: anAddress('192.0.2.1'), interfaceName: 'core0', priority: 1, weight: 100 },
    { address: anAddress('fd00::1'), interfaceName: 'core0', priority: 1, weight: 100 },
  ] as never,
  siteInterfaces: [{ name: 'br0', instanceId: 7 }] as never,
})

const anInterface = (
  name: string,
  index: number,
  about: Partial<NetworkInterface> = {},
): NetworkInterface => ({
  ...{ name, index, mac: Uint8Array.of(2, 0, 0, 0, 0, index), mtu: 1500, addresses: [] },
  ...about,
})
const core = (index: number, about: Partial<NetworkInterface> = {}): NetworkInterface =>
  anInterface('core0', index, {
    addresses: ['192.0.2.1', 'fd00::1'].map((text) => ({
      address: anAddress(text),
      maskLength: 24,
    })),
    ...about,
  })
const tap = anInterface('tap7', 9)

t.test('an interface is amiss when it is not there, down, or without our RLOC', async (t) => {
  t.same(interfaceProblems(config, [core(1), anInterface('br0', 2), tap]), [])
  t.same(interfaceProblems(config, [core(1), tap]), [{ interfaceName: 'br0', reason: 'missing' }])
  const [first] = core(1).addresses
  t.same(
    interfaceProblems(config, [
      core(1, { addresses: [first!] }),
      anInterface('br0', 2, { down: true }),
      anInterface('tap7', 9, { down: true }),
    ]),
    [
      { interfaceName: 'br0', reason: 'down' },
      { interfaceName: 'core0', reason: 'address-missing', address: 'fd00::1' },
    ],
  )
})

t.test('an underlay interface that carries less than we send is amiss', async (t) => {
  const small = [core(1, { mtu: config.pathMtu - 1 }), anInterface('br0', 2, { mtu: 1280 })]
  const [problem, ...others] = interfaceProblems(config, small)
  t.match(problem, { interfaceName: 'core0', reason: 'mtu-too-small' })
  t.same(others, [])
  t.match(problemText(problem!), /^core0 carries 1499 bytes, fewer than pathMtu \(1500\)/)
})

t.test(
  'an interface that was made again has been renewed, one with another MAC altered',
  async (t) => {
    const before = [core(1), anInterface('br0', 2)]
    const changes = (...after: NetworkInterface[]) => interfaceChanges(config, before, after)
    t.same(changes(core(1), anInterface('br0', 2, { down: true }), tap), {
      renewed: [],
      altered: [],
    })
    t.same(changes(core(1), anInterface('br0', 5)), { renewed: ['br0'], altered: [] })
    t.same(changes(core(1, { mtu: 9000 }), anInterface('br0', 2)), {
      ...{ renewed: [], altered: ['core0'] },
    })
    t.same(
      changes(core(1)),
      { renewed: [], altered: [] },
      'what is gone has taken its programs along',
    )
  },
)

t.test('each change is said once, and leads to a new node or to other maps', async (t) => {
  const events: Event[] = []
  const done: string[] = []
  let interfaces: readonly NetworkInterface[] = [core(1), anInterface('br0', 2)]
  let reading = interfaces
  const following = createInterfaceFollowing({
    nodeConfig: () => config,
    interfaces: () => interfaces,
    raise: (event) => events.push(event),
    alter(next) {
      done.push('alter')
      interfaces = next
    },
    async renew() {
      done.push('renew')
      interfaces = reading
    },
  })
  const take = async (...next: NetworkInterface[]) => {
    reading = next
    await following.take(next)
    await following.take(next)
    return [events.splice(0).map(({ name, reason }) => `${name} ${reason}`), done.splice(0)]
  }
  t.same(await take(core(1), anInterface('br0', 2)), [[], []])
  t.same(await take(core(1)), [['interface-problem missing'], []])
  t.same(following.problems(), ['there is no interface br0'])
  t.same(await take(core(1), anInterface('br0', 3)), [
    ['interface-mended missing', 'interface-changed renewed'],
    ['renew'],
  ])
  t.same(await take(core(1, { mtu: 9000 }), anInterface('br0', 3)), [
    ['interface-changed altered'],
    ['alter'],
  ])
  t.same(following.problems(), [])
})
