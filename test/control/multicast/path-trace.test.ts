/**
 * Traces of multicast paths through two xTRs (RFC 6831 §12), message by message.
 */
import t from 'tap'
import type { DatapathEvent } from '../../../src/control/datapath-event.js'
import { formatIpAddress } from '../../../src/lisp/address.js'
import { encapsulatePacket } from '../../../src/lisp/multicast/encapsulated-pim.js'
import {
  decodeTrace,
  encodeTrace,
  hopsOf,
  type MulticastTrace,
} from '../../../src/lisp/multicast/mtrace.js'
import { anAddress, aPrefix } from '../../support/builders.js'
import {
  createGroupWorld,
  type GroupXtr,
  mapServerConfig,
  xtrConfig,
} from '../../support/group-world.js'
import { aHello, fromRouter, ownAddress, pimMulticast } from '../../support/pim-router.js'

const SSM = '(10.1.0.5,232.1.1.1)'
const ROUTER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 7)

function aTrace(about: Partial<MulticastTrace> = {}): MulticastTrace {
  return {
    kind: 'request',
    hops: 16,
    group: anAddress('232.1.1.1'),
    source: anAddress('10.1.0.5'),
    destination: anAddress('10.2.0.50'),
    responseAddress: anAddress('10.2.0.50'),
    responseTtl: 64,
    queryId: 0x123456,
    blocks: new Uint8Array(0),
    ...about,
  }
}

function traceOnSegment(trace: MulticastTrace, to = '10.2.0.1'): DatapathEvent {
  return {
    kind: 'segment-packet',
    interfaceName: 'site',
    protocol: 'igmp',
    mac: ROUTER_MAC,
    source: anAddress('10.2.0.7'),
    destination: anAddress(to),
    hopLimit: 64,
    routerAlert: false,
    payload: encodeTrace(trace),
  }
}

function aWorld() {
  const joiners = [aPrefix('192.0.2.0/24')]
  const multicast = pimMulticast({ joinSites: true, joiners })
  const sites = [1, 2].map((index) => xtrConfig(index, { multicast }))
  const world = createGroupWorld(sites, mapServerConfig())
  world.raise('site-1', ownAddress('10.1.0.1'))
  world.raise('site-2', ownAddress('10.2.0.1'))
  world.join('site-2', SSM)
  world.run(100)
  return world
}

/** Traces that an xTR has sent onto its segment, and where to. */
function tracesOf({ performed }: GroupXtr) {
  return performed.flatMap(({ operations }) =>
    operations.flatMap((one) => {
      if (one.kind !== 'send-on-segment' || one.protocol !== 'igmp') return []
      const trace = decodeTrace(one.payload)
      return trace === undefined
        ? []
        : [{ to: formatIpAddress(one.destination), mac: one.mac, trace }]
    }),
  )
}

function hopTexts(trace: MulticastTrace): string[] {
  return hopsOf(trace).map(({ incoming, outgoing, previousHop, forwardingCode }) => {
    const [from, to, next] = [incoming, outgoing, previousHop].map(formatIpAddress)
    return `${from} ${to} ${next} ${forwardingCode}`
  })
}

const ETR_HOP = '192.0.2.2 10.2.0.1 192.0.2.1 0'

t.test(
  'a trace shows both xTRs and ends at the source, its response goes to who asked',
  async (t) => {
    const world = aWorld()
    world.raise('site-2', traceOnSegment(aTrace()))
    world.run(100)
    const [response] = world.traces
    t.match(response, { from: '192.0.2.1', to: '192.0.2.2', destination: '10.2.0.50' })
    t.equal(response!.trace.kind, 'response')
    t.equal(response!.trace.queryId, 0x123456)
    t.same(hopTexts(response!.trace), [ETR_HOP, '10.1.0.1 192.0.2.1 0.0.0.0 0'])
  },
)

t.test('a trace goes on to the router that leads to the source', async (t) => {
  const world = aWorld()
  world.raise('site-1', fromRouter('10.1.0.2', aHello()))
  world.raise('site-2', traceOnSegment(aTrace(), '224.0.0.2'))
  world.run(100)
  const [sent] = tracesOf(world.xtr('site-1'))
  t.equal(sent?.to, '224.0.0.2')
  t.same(hopTexts(sent!.trace), [ETR_HOP, '10.1.0.1 192.0.2.1 10.1.0.2 0'])
  t.equal(sent!.trace.kind, 'request')
})

t.test('where nothing is joined the response says so at once', async (t) => {
  const world = aWorld()
  world.raise('site-2', traceOnSegment(aTrace({ group: anAddress('232.9.9.9') })))
  const [sent] = tracesOf(world.xtr('site-2'))
  t.match(sent, { to: '10.2.0.50', mac: ROUTER_MAC })
  t.equal(sent!.trace.kind, 'response')
  t.same(hopTexts(sent!.trace), ['0.0.0.0 10.2.0.1 0.0.0.0 5'])
})

t.test(
  'what is for others, too long, too often, broken or of a stranger goes no further',
  async (t) => {
    const world = aWorld()
    const none = (event: DatapathEvent, name = 'site-2'): void => {
      world.raise(name, event)
      world.run(10)
      t.same([...world.traces, ...tracesOf(world.xtr('site-2'))], [])
    }
    none(traceOnSegment(aTrace(), '10.2.0.99'))
    none(traceOnSegment(aTrace({ kind: 'response' })))
    none(traceOnSegment(aTrace({ hops: 1, blocks: new Uint8Array(32) })))
    const broken = traceOnSegment(aTrace())
    if (broken.kind === 'segment-packet') broken.payload[10]! ^= 1
    none(broken)
    const [source, to] = [anAddress('198.51.100.9'), anAddress('192.0.2.1')]
    const inner = {
      instanceId: 0,
      source,
      destination: to,
      protocol: 2,
      payload: encodeTrace(aTrace()),
    }
    none({ kind: 'encapsulated-pim', from: source, to, bytes: encapsulatePacket(inner) }, 'site-1')
    const flood = aWorld()
    for (let index = 0; index < 50; index += 1) flood.raise('site-2', traceOnSegment(aTrace()))
    flood.run(10)
    t.ok(flood.traces.length <= 21, `${flood.traces.length}`)
  },
)
