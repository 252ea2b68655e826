/**
 * What becomes of hints on their way to the node: told, or counted by the reason why not. The addon is
 * played; real sockets are in test/e2e/hypervisors.test.ts.
 */
import t from 'tap'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import { createAddressHints } from '../../src/daemon/address-hints.js'
import type { NativeHandle } from '../../src/datapath/native-addon.js'
import type { NetworkInterface } from '../../src/datapath/network-interface.js'
import { aNodeConfig, anAddress, aPrefix } from '../support/builders.js'
import { dhcpv4Frame, dhcpv6Frame } from '../support/hint-frames.js'

const SITE: NetworkInterface = {
  name: 'site',
  index: 3,
  mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
  mtu: 1500,
  addresses: [{ address: anAddress('10.1.0.1'), maskLength: 16 }],
}
const CONFIG = aNodeConfig({
  siteInterfaces: [{ name: 'site', instanceId: 0, proxyNeighbours: true }],
  dynamicEidPrefixes: ['10.1.0.0/16', 'fd00:1::/64'].map((prefix) => ({
    eidPrefix: aPrefix(prefix),
    interfaceName: 'site',
  })),
})

function someHints() {
  const open = new Map<object, (frames: readonly Uint8Array[]) => void>()
  const events: DatapathEvent[] = []
  const hints = createAddressHints({
    addon: {
      openFrames(_index, _filter, onFrames) {
        const handle = {}
        open.set(handle, onFrames)
        return handle as NativeHandle
      },
      frameStatistics: () => ({ truncated: 0, droppedByKernel: 2 }),
      closeFrames: (handle) => void open.delete(handle),
    },
    log: () => {},
    now: () => 1000,
    onEvents: (more) => void events.push(...more),
  })
  const hear = (...frames: readonly Uint8Array[]): void => [...open.values()][0]?.(frames)
  return { hints, events, hear, open }
}

const ack = (yiaddr: string): Uint8Array => dhcpv4Frame({ op: 2, type: 5, yiaddr })

t.test('an address of a dynamic prefix is told, others are counted by their reason', async (t) => {
  const { hints, events, hear } = someHints()
  hints.follow(CONFIG, [SITE])
  hear(ack('10.1.0.5'), ack('10.9.0.5'), dhcpv6Frame(7, ['fd00:1::5']), new Uint8Array(5))
  t.match(events, [{ kind: 'eid-hinted', interfaceName: 'site', how: 'dhcpv4' }])
  t.equal(events.length, 1)
  t.match(hints.counters(), {
    heard: { dhcpv4: 2, dhcpv6: 1 },
    drops: {
      ...{ 'outside-dynamic-prefixes': 1, 'no-own-address': 1, 'cut-short': 1 },
      ...{ 'rate-limited': 0, 'queue-full': 4 },
    },
  })
})

t.test('a flood of forged leases is cut off at what the bucket holds', async (t) => {
  const { hints, events, hear } = someHints()
  hints.follow(CONFIG, [SITE])
  for (let number = 0; number < 1000; number += 1) hear(ack(`10.1.${number >> 8}.${number & 255}`))
  t.equal(events.length, 256)
  t.equal(hints.counters().drops['rate-limited'], 1000 - 256)
})

t.test('it listens only where it is switched on, until the interface goes', async (t) => {
  const { hints, open } = someHints()
  const mobility = { ...CONFIG.mobility, dhcpSnooping: false }
  hints.follow({ ...CONFIG, mobility }, [SITE])
  t.equal(open.size, 0)
  hints.follow({ ...CONFIG, dynamicEidPrefixes: [] }, [SITE])
  t.equal(open.size, 0, 'no EID may appear there')
  hints.follow(CONFIG, [SITE])
  const first = [...open.keys()]
  t.equal(first.length, 2, 'one socket of each family')
  hints.follow(CONFIG, [SITE])
  t.same([...open.keys()], first, 'they stay')
  hints.follow(CONFIG, [{ ...SITE, index: 4 }])
  t.notOk(
    [...open.keys()].some((one) => first.includes(one)),
    'made again, opened again',
  )
  hints.close()
  t.equal(open.size, 0)
  t.equal(hints.counters().drops['queue-full'], 8)
})
