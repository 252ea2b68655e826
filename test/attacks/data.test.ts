/**
 * Attacks with data packets on the datapath (its model, which obeys the same vectors as the
 * programs): an inner destination that is an RLOC or nobody, a loop of two xTRs that each send an EID
 * to the other, floods for unknown EIDs, and scans through the hold.
 */
import t from 'tap'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import type { DatapathOperation } from '../../src/control/datapath-operation.js'
import { createModelDatapath } from '../../src/datapath/model-datapath.js'
import { type ModelPacket, modelFlow } from '../../src/datapath/model-packet.js'
import { formatIpAddress } from '../../src/lisp/address.js'
import { type Eid, hostPrefix } from '../../src/lisp/eid.js'
import { createTimeline } from '../../src/sim/timeline.js'
import { aLocator, anAddress, anEid, aPrefix } from '../support/builders.js'

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 9)
const ATTACKER = anAddress('198.51.100.66')
const VM = anEid('[7]10.10.0.5')
const HOST = anEid('[7]10.20.0.2')

function aSite(own: string, transmit: (packet: ModelPacket, to: string) => void = () => {}) {
  const timeline = createTimeline()
  const events: DatapathEvent[] = []
  const lost: string[] = []
  const delivered: ModelPacket[] = []
  const datapath = createModelDatapath(
    {
      eidPrefixes: [],
      dynamicEidPrefixes: [{ eidPrefix: aPrefix('[7]10.10.0.0/24') }],
      siteInterfaces: [{ name: 'br0' }],
      hold: {
        ...{ packetsPerEid: 10, bytesPerEid: 10_000, bytesTotal: 100_000, maximumEids: 64 },
        longestMs: { 'map-cache-miss': 5000, 'endpoint-expected': 4000 },
        windowMs: 2000,
        provisionalGuardMs: 100,
      },
      ...{ maximumMappings: 100, maximumLocalEids: 100 },
    },
    {
      now: timeline.now,
      after: timeline.after,
      commandMs: () => 1,
      raise: (event) => events.push(event),
      transmit: (packet, _from, to) => transmit(packet, formatIpAddress(to)),
      deliver: (packet) => delivered.push(packet),
      native: () => lost.push('native'),
      discard: (_packet, reason) => lost.push(reason),
      frame: () => {},
    },
  )
  datapath.perform(local(aPrefix('[7]10.10.0.0/24'), 'local', true))
  return { datapath, events, lost, delivered, own: anAddress(own), timeline }
}

function local(
  eidPrefix: ReturnType<typeof aPrefix>,
  state: 'local' | 'away',
  dynamicPrefix = false,
): DatapathOperation {
  const about = { interfaceName: 'br0', mac: MAC, reportSenders: false, release: [] }
  return { kind: 'put-local-eid', eidPrefix, state, dynamicPrefix, ...about }
}

function towards(rloc: string, source: string): DatapathOperation {
  const encapsulation = {
    locator: aLocator(rloc),
    source: anAddress(source),
    pathMtu: 1500,
  }
  const eidPrefix = hostPrefix(VM)
  const encapsulations = [encapsulation]
  return { kind: 'put-map-cache', eidPrefix, action: 'forward', encapsulations, release: [] }
}

function packet(destination: Eid, sequence: number, about: Partial<ModelPacket> = {}): ModelPacket {
  const flow = modelFlow(HOST, destination)
  return { flow, sequence, sizeBytes: 100, ttl: 64, redirects: 0, ...about }
}

t.test(
  'RFC 9300 §16: a packet whose inner destination is an RLOC or an address of nobody leaves nowhere',
  async (t) => {
    const site = aSite('192.0.2.1', () => t.fail('was sent on'))
    for (const [at, to] of ['192.0.2.1', '192.0.2.2', '[7]192.0.2.1', '[9]10.10.0.5', '127.0.0.1']
      .map((text) => anEid(text))
      .entries())
      site.datapath.fromCore(packet(to, at), ATTACKER)
    t.same(site.delivered, [])
    t.equal(site.lost.length, 5)
    t.ok(
      site.lost.every((reason) => reason !== 'native'),
      site.lost.join(', '),
    )
  },
)

t.test(
  'RFC 9300 §5.3: two xTRs that each send an EID to the other end a packet by its inner TTL or after one redirect',
  async (t) => {
    let hops = 0
    const pass = (packet: ModelPacket, to: string): void => {
      hops += 1
      if (hops > 1000) throw new Error('a loop without end')
      const [target, other] = to === '192.0.2.1' ? [one, two] : [two, one]
      target.datapath.fromCore(packet, other.own)
    }
    const one = aSite('192.0.2.1', pass)
    const two = aSite('192.0.2.2', pass)
    for (const site of [one, two]) site.datapath.perform(local(hostPrefix(VM), 'away'))
    one.datapath.perform(towards('192.0.2.2', '192.0.2.1'))
    two.datapath.perform(towards('192.0.2.1', '192.0.2.2'))
    one.datapath.fromCore(packet(VM, 1), ATTACKER)
    t.ok(hops <= 64, `${hops} hops of one packet with TTL 64`)
    t.same([...one.lost, ...two.lost].length, 1, [...one.lost, ...two.lost].join(', '))
    hops = 0
    one.datapath.fromCore(packet(VM, 2, { ttl: 3 }), ATTACKER)
    t.ok(hops <= 3, `${hops} hops with TTL 3`)
  },
)

t.test(
  'RFC 9301 §6.1: a flood for unknown EIDs of a dynamic prefix raises few events and fills no table',
  async (t) => {
    const site = aSite('192.0.2.1')
    for (let at = 0; at < 10_000; at += 1) {
      const eid = anEid(`[7]10.10.0.${at & 255}`)
      site.datapath.fromCore(packet(eid, at), ATTACKER)
    }
    t.equal(site.lost.length, 10_000)
    t.ok(site.events.length <= 256, `${site.events.length} events of 10,000 packets`)
    site.datapath.perform(local(hostPrefix(VM), 'local'))
    site.datapath.fromCore(packet(VM, 1), ATTACKER)
    t.equal(site.delivered.length, 1, 'who is here is served')
  },
)

t.test(
  'RFC 9301 §5.3: a scan through the hold is bounded in EIDs and bytes, a cached EID passes by it',
  async (t) => {
    const sent: number[] = []
    const site = aSite('192.0.2.1', ({ sequence }) => sent.push(sequence))
    site.datapath.perform(towards('192.0.2.2', '192.0.2.1'))
    for (let at = 0; at < 5000; at += 1)
      site.datapath.fromSite(packet(anEid(`[7]10.30.${at >> 8}.${at & 255}`), at), MAC, 'br0')
    const held = site.events.filter(({ kind }) => kind === 'packet-held')
    t.ok(held.length <= 64, `${held.length} EIDs held of 5000`)
    t.ok(site.lost.length >= 5000 - 64)
    site.datapath.fromSite(packet(VM, 9999), MAC, 'br0')
    t.same(sent, [9999])
  },
)
