/**
 * The model datapath of RTRs, Proxy-ETRs and Proxy-ITRs: the decisions of bpf-interwork-cases.ts on
 * abstract packets.
 */
import t from 'tap'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import { createModelDatapath } from '../../src/datapath/model-datapath.js'
import { type ModelPacket, modelFlow } from '../../src/datapath/model-packet.js'
import { relayOf } from '../../src/datapath/model-relay.js'
import { formatIpAddress } from '../../src/lisp/address.js'
import { hostPrefix } from '../../src/lisp/eid.js'
import { createTimeline } from '../../src/sim/timeline.js'
import { aLocator, aNodeConfig, anAddress, anEid, aPrefix } from '../support/builders.js'

const SENDER = '192.0.2.3'
const THERE = anEid('10.2.0.5')

function aRelay(roles: Parameters<typeof relayOf>[0]['roles']) {
  const interworking = {
    petrRlocs: [],
    attracted: [aPrefix('10.2.0.0/16')],
    sites: [aPrefix('10.1.0.0/16')],
    translations: [],
  }
  const timeline = createTimeline()
  const out: string[] = []
  const events: DatapathEvent[] = []
  const datapath = createModelDatapath(
    {
      eidPrefixes: [],
      dynamicEidPrefixes: [],
      siteInterfaces: [{ name: 'net0' }],
      hold: {
        packetsPerEid: 10,
        bytesPerEid: 10_000,
        bytesTotal: 10_000,
        maximumEids: 2,
        longestMs: { 'map-cache-miss': 5000, 'endpoint-expected': 4000 },
        windowMs: 2000,
        provisionalGuardMs: 100,
      },
      maximumMappings: 4,
      maximumLocalEids: 4,
      relay: relayOf(aNodeConfig({ roles, interworking })),
    },
    {
      now: timeline.now,
      after: timeline.after,
      commandMs: () => 1,
      raise: (event) => events.push(event),
      transmit: (packet, _from, to) => out.push(`to ${formatIpAddress(to)} ttl ${packet.ttl}`),
      deliver: () => out.push('delivered'),
      native: (packet) => out.push(`native ttl ${packet.ttl}`),
      discard: (_packet, reason) => out.push(reason),
      frame: (kind) => out.push(kind),
    },
  )
  const packet = (source: string, ttl = 64): ModelPacket => {
    const flow = modelFlow(anEid(source), THERE)
    return { flow, sequence: 1, sizeBytes: 100, ttl, redirects: 0 }
  }
  return {
    put(action: 'forward' | 'native' | 'drop', rloc?: string, release = false) {
      const locators = rloc === undefined ? [] : [aLocator(rloc)]
      const source = anAddress('203.0.113.1')
      datapath.perform({
        kind: 'put-map-cache',
        eidPrefix: hostPrefix(THERE),
        action,
        encapsulations: locators.map((locator) => ({ locator, source, pathMtu: 1500 })),
        release: release ? [THERE] : [],
      })
    },
    core(source = '10.1.0.9', ttl = 64) {
      datapath.fromCore(packet(source, ttl), anAddress(SENDER))
      return out.splice(0)
    },
    site(source = '198.51.100.2') {
      datapath.fromSite(packet(source), Uint8Array.of(2, 0, 0, 0, 0, 9), 'net0')
      return out.splice(0)
    },
    later() {
      timeline.run(timeline.now() + 10)
      return out.splice(0)
    },
    events,
    datapath,
  }
}

t.test('an RTR sends on, holds what it does not know, and never sends back', async (t) => {
  const { put, core, later, events, datapath } = aRelay(['rtr'])
  t.same(core(), [], 'held')
  t.match(events, [{ kind: 'packet-held', eid: THERE, why: 'map-cache-miss' }])
  put('forward', '192.0.2.9', true)
  t.same(later(), ['to 192.0.2.9 ttl 63'], 'released')
  t.same(core(), ['to 192.0.2.9 ttl 63'])
  t.same(core('10.1.0.9', 1), ['ttl-expired'], 'a loop of RTRs dies')
  t.equal(datapath.counters().tallies['reencapsulated'], 2)
  put('forward', SENDER)
  t.same(core(), ['loop'])
  put('drop')
  t.same(core(), ['mapping-says-drop'])
  put('native')
  t.same(core(), ['native-at-rtr'])
})

t.test(
  'a Proxy-ETR lets out the sites that it serves; with an RTR LISP sites go first',
  async (t) => {
    const { core } = aRelay(['petr'])
    t.same(core(), ['native ttl 63'])
    t.same(core('10.9.0.9'), ['unproxied-source'])
    t.same(core('10.1.0.9', 1), ['ttl-expired'])
    const both = aRelay(['rtr', 'petr'])
    t.same(both.core(), [], 'asked for first')
    both.put('native', undefined, true)
    t.same(both.later(), ['native ttl 63'])
    t.same(both.core('10.9.0.9'), ['unproxied-source'])
    both.put('forward', '192.0.2.9')
    t.same(both.core(), ['to 192.0.2.9 ttl 63'])
  },
)

t.test('a Proxy-ITR looks up what it attracts, and decapsulates nothing', async (t) => {
  const { put, site, core } = aRelay(['pitr'])
  put('forward', '192.0.2.9')
  t.same(site(), ['to 192.0.2.9 ttl 63'])
  t.same(core(), ['unknown-eid'])
  const flow = modelFlow(THERE, anEid('198.51.100.2'))
  const packet = { flow, sequence: 2, sizeBytes: 100, ttl: 64, redirects: 0 }
  const { datapath, later } = aRelay(['pitr'])
  datapath.fromSite(packet, Uint8Array.of(2, 0, 0, 0, 0, 9), 'net0')
  t.same(later(), ['native ttl 64'], 'all else is the kernel’s')
})
