/**
 * The model datapath against the contract of datapath.ts and the rules of the BPF programs: order and
 * atomicity of replacements, limits of the hold, redirects, names of drops, rate limits of events, and
 * what a death of the control plane leaves.
 */
import t from 'tap'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import type { DatapathOperation } from '../../src/control/datapath-operation.js'
import { createModelDatapath } from '../../src/datapath/model-datapath.js'
import { type ModelPacket, modelFlow } from '../../src/datapath/model-packet.js'
import { formatIpAddress } from '../../src/lisp/address.js'
import { hostPrefix } from '../../src/lisp/eid.js'
import { createTimeline } from '../../src/sim/timeline.js'
import { aLocator, anAddress, anEid, aPrefix } from '../support/builders.js'

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 9)
const CLIENT = anEid('[7]10.20.0.2')
const VM = anEid('[7]10.10.0.5')
const HOME = { eidPrefix: hostPrefix(VM), interfaceName: 'br0' }

function aDatapath(hold: { packetsPerEid?: number; bytesTotal?: number } = {}) {
  const timeline = createTimeline()
  const events: DatapathEvent[] = []
  const out: string[] = []
  const datapath = createModelDatapath(
    {
      eidPrefixes: [{ eidPrefix: aPrefix('[7]10.30.0.0/24') }],
      dynamicEidPrefixes: [{ eidPrefix: aPrefix('[7]10.10.0.0/24') }],
      siteInterfaces: [{ name: 'br0' }],
      hold: {
        packetsPerEid: 100,
        bytesPerEid: 1_000_000,
        bytesTotal: 1_000_000,
        maximumEids: 2,
        longestMs: { 'map-cache-miss': 5000, 'endpoint-expected': 4000 },
        windowMs: 2000,
        provisionalGuardMs: 100,
        ...hold,
      },
      maximumMappings: 4,
      maximumLocalEids: 4,
    },
    {
      now: timeline.now,
      after: timeline.after,
      commandMs: () => 1,
      raise: (event) => events.push(event),
      transmit: (packet, _from, to) => out.push(`${packet.sequence} to ${formatIpAddress(to)}`),
      deliver: (packet, interfaceName) => out.push(`${packet.sequence} on ${interfaceName}`),
      native: (packet) => out.push(`${packet.sequence} native`),
      discard: (packet, reason) => out.push(`${packet.sequence} lost ${reason}`),
      frame: (kind) => out.push(kind),
    },
  )
  datapath.perform(local(aPrefix('[7]10.10.0.0/24'), 'local', { dynamicPrefix: true }))
  let sequence = 0
  const packet = (about: Partial<ModelPacket> = {}, destination = VM): ModelPacket => {
    sequence += 1
    const flow = modelFlow(CLIENT, destination)
    return { flow, sequence, sizeBytes: 100, ttl: 64, redirects: 0, ...about }
  }
  return {
    datapath,
    events,
    out,
    run: (ms: number) => timeline.run(timeline.now() + ms),
    core: (about?: Partial<ModelPacket>) =>
      datapath.fromCore(packet(about), anAddress('192.0.2.3')),
    site: (about?: Partial<ModelPacket>, to = VM) =>
      datapath.fromSite(packet(about, to), MAC, 'br0'),
    names: () => events.map((one) => one.kind),
  }
}

function local(
  eidPrefix: ReturnType<typeof aPrefix>,
  state: 'local' | 'standby' | 'away',
  about: { dynamicPrefix?: boolean; release?: boolean; reportSenders?: boolean } = {},
): DatapathOperation {
  return {
    kind: 'put-local-eid',
    eidPrefix,
    state,
    interfaceName: 'br0',
    mac: MAC,
    dynamicPrefix: about.dynamicPrefix ?? false,
    reportSenders: about.reportSenders ?? false,
    release: about.release === true ? [VM] : [],
  }
}

function mapping(
  action: 'forward' | 'native' | 'drop' | 'hold',
  to: readonly string[] = [],
  release = false,
): DatapathOperation {
  return {
    kind: 'put-map-cache',
    eidPrefix: hostPrefix(VM),
    action,
    encapsulations: to.map((rloc) => ({
      locator: aLocator(rloc),
      source: anAddress('192.0.2.1'),
      pathMtu: 1500,
    })),
    release: release ? [VM] : [],
  }
}

t.test('a miss holds, is reported once, and leaves in order before newer packets', async (t) => {
  const { datapath, site, out, run, names } = aDatapath()
  site()
  site()
  t.same(names(), ['local-eid-seen', 'packet-held'].slice(1), 'the sender is no EID of ours')
  datapath.perform(mapping('forward', ['192.0.2.2'], true))
  site()
  t.same(out, [], 'the newer one waits behind the held ones')
  run(2)
  t.same(out, ['1 to 192.0.2.2', '2 to 192.0.2.2', '3 to 192.0.2.2'])
  site()
  t.equal(out[3], '4 to 192.0.2.2', 'now at once')
  t.same(names(), ['packet-held', 'hold-released'])
})

t.test('an operation on an entry that drains comes behind the release', async (t) => {
  const { datapath, site, out, run } = aDatapath()
  site()
  datapath.perform(mapping('forward', ['192.0.2.2'], true))
  datapath.perform(mapping('forward', ['192.0.2.4']))
  datapath.perform({ kind: 'delete-map-cache', eidPrefix: hostPrefix(VM) })
  run(1)
  t.same(out, ['1 to 192.0.2.2'], 'by the entry that released it')
  run(1)
  site()
  t.equal(datapath.counters().hold.packets, 1, 'and then there is none')
})

t.test('each action does what its name says', async (t) => {
  const { datapath, site, out } = aDatapath()
  datapath.perform(mapping('native'))
  site()
  datapath.perform(mapping('drop'))
  site()
  datapath.perform(mapping('forward', []))
  site()
  datapath.perform(mapping('forward', ['192.0.2.2', '192.0.2.3']))
  site({ ttl: 1 })
  site({ sizeBytes: 1480 })
  t.same(out, [
    '1 native',
    '2 lost mapping-says-drop',
    '3 lost no-locator',
    '4 lost ttl-expired',
    '5 lost packet-too-big',
  ])
  const { drops, tallies } = datapath.counters()
  t.equal(drops['packet-too-big']?.bytes, 1480)
  t.equal(drops['no-hold']?.packets, 0)
  t.equal(tallies['native'], 1)
})

t.test('flows spread over locators by weight, and each stays on one', async (t) => {
  const { datapath, out, run } = aDatapath()
  const wide = {
    ...mapping('forward', ['192.0.2.2', '192.0.2.3']),
    eidPrefix: aPrefix('[7]10.40.0.0/16'),
  }
  datapath.perform(wide as DatapathOperation)
  for (let host = 0; host < 200; host += 1) {
    const flow = modelFlow(CLIENT, anEid(`[7]10.40.${host}.1`))
    for (const sequence of [1, 2])
      datapath.fromSite({ flow, sequence, sizeBytes: 100, ttl: 64, redirects: 0 }, MAC, 'br0')
  }
  run(1)
  const first = out.filter((_, index) => index % 2 === 0).map((one) => one.slice(5))
  const second = out.filter((_, index) => index % 2 === 1).map((one) => one.slice(5))
  t.same(first, second)
  const share = first.filter((one) => one === '192.0.2.2').length
  t.ok(share > 60 && share < 140, `${share} of 200`)
})

t.test('standby holds, the endpoint releases, newer packets stay behind', async (t) => {
  const { datapath, core, out, run, events } = aDatapath()
  core()
  t.same(out, ['1 lost unknown-eid'], 'a dynamic prefix is nobody')
  datapath.perform(local(HOME.eidPrefix, 'standby'))
  core()
  core()
  datapath.perform(local(HOME.eidPrefix, 'local', { release: true }))
  core()
  run(1)
  core()
  t.same(out.slice(1), ['2 on br0', '3 on br0', '4 on br0', '5 on br0'])
  t.match(events, [
    { kind: 'unknown-eid', eid: { instanceId: 7 } },
    { kind: 'packet-held', why: 'endpoint-expected' },
    { kind: 'hold-released', packets: 3 },
  ])
})

t.test('away sends on by the host entry, reports the sender, and costs one hop', async (t) => {
  const { datapath, core, out, run, events } = aDatapath()
  datapath.perform(local(HOME.eidPrefix, 'away'))
  core()
  datapath.perform(mapping('forward', ['192.0.2.2']))
  core()
  core({ ttl: 1 })
  run(100)
  core()
  t.same(out, ['1 lost away-unmapped', '2 to 192.0.2.2', '3 lost ttl-expired', '4 to 192.0.2.2'])
  t.same(
    events.map((one) => one.kind),
    ['away-eid-hit', 'away-eid-hit'],
    'one per 100 ms and sender',
  )
  t.equal(datapath.counters().tallies['reencapsulated'], 2)
})

t.test(
  'held packets go back when the EID is away again, through the way that is put first',
  async (t) => {
    const { datapath, core, out, run } = aDatapath()
    datapath.perform(local(HOME.eidPrefix, 'standby'))
    core()
    core()
    datapath.perform(mapping('forward', ['192.0.2.9'], true))
    datapath.perform(local(HOME.eidPrefix, 'away', { release: true }))
    core()
    run(3)
    t.same(out, ['1 to 192.0.2.9', '2 to 192.0.2.9', '3 to 192.0.2.9'])
  },
)

t.test('the hold refuses what is too much, and gives up what is too old', async (t) => {
  const { datapath, site, out, run, events } = aDatapath({ packetsPerEid: 2 })
  for (let count = 0; count < 3; count += 1) site()
  t.same(out, ['3 lost hold-packets'], 'the newest')
  site({}, anEid('[7]10.10.0.6'))
  site({}, anEid('[7]10.10.0.7'))
  t.equal(out[1], '5 lost hold-eids')
  run(5001)
  t.same(out.slice(2), ['1 lost hold-time', '2 lost hold-time', '4 lost hold-time'])
  t.match(events.at(-1), { kind: 'hold-dropped', packets: 1, reason: 'hold-time' })
  const small = aDatapath({ bytesTotal: 150 })
  small.site()
  small.site()
  t.same(small.out, ['2 lost hold-total'])
  small.datapath.perform({ kind: 'drop-held', eid: VM, reason: 'no-reply' })
  small.run(1)
  t.equal(small.out[1], '1 lost no-reply')
  t.same(small.datapath.counters().hold.dropped, { 'hold-total': 1, 'no-reply': 1 })
  t.equal(datapath.counters().hold.packets, 0)
})

t.test('endpoints are reported when they are not here, at most every 50 ms', async (t) => {
  const { datapath, run, events } = aDatapath()
  const speak = (eid = VM) => datapath.frameSeen(eid, MAC, 'br0', 'arp')
  speak()
  speak()
  speak(anEid('[7]10.99.0.1'))
  run(50)
  speak()
  t.equal(events.length, 2, 'the stranger is in no dynamic prefix')
  datapath.perform(local(HOME.eidPrefix, 'local', { reportSenders: true }))
  run(50)
  speak()
  t.equal(events.length, 2, 'it is here, with this MAC address')
  datapath.frameSeen(VM, Uint8Array.of(2, 0, 0, 0, 0, 8), 'br0', 'arp')
  t.equal(events.length, 3, 'another one is news')
  datapath.macSeen(MAC, 'br0')
  t.match(events[3], { kind: 'mac-seen', interfaceName: 'br0' })
})

t.test('senders of an EID are reported once a second each', async (t) => {
  const { datapath, core, run, events } = aDatapath()
  datapath.perform(local(HOME.eidPrefix, 'local', { reportSenders: true }))
  core()
  core()
  run(1000)
  core()
  t.same(
    events.map((one) => one.kind),
    ['sender-seen', 'sender-seen'],
  )
})

t.test('counters survive a replacement and answer questions', async (t) => {
  const { datapath, site, run, events } = aDatapath()
  datapath.perform(mapping('forward', ['192.0.2.2']))
  site()
  run(40)
  datapath.perform(mapping('forward', ['192.0.2.3']))
  datapath.perform({ kind: 'query-usage', eidPrefix: hostPrefix(VM) })
  t.match(events.at(-1), { packets: 1n, bytes: 100n, idleMs: 40 })
  const row = datapath.mappingCounters().find((one) => one.table === 'map-cache')
  t.match(row, { eidPrefix: '[7]10.10.0.5/32', packets: 1n })
})

t.test('a full table and an unknown interface change nothing and say so', async (t) => {
  const { datapath, events } = aDatapath()
  for (const last of [1, 2, 3, 4, 5])
    datapath.perform({
      ...(mapping('native') as object),
      eidPrefix: aPrefix(`[7]10.10.0.${last}/32`),
    } as DatapathOperation)
  datapath.perform({
    ...(local(HOME.eidPrefix, 'local') as object),
    interfaceName: 'eth9',
  } as DatapathOperation)
  t.match(events, [
    { kind: 'operation-failed', operation: 'put-map-cache' },
    { kind: 'operation-failed', operation: 'put-local-eid' },
  ])
  t.equal(datapath.view().mapCache.length, 4)
})

t.test('without control plane it forwards on, holds nothing, and is found again', async (t) => {
  const { datapath, core, site, out, run } = aDatapath()
  datapath.perform(mapping('forward', ['192.0.2.2']))
  datapath.perform(local(HOME.eidPrefix, 'standby'))
  core()
  datapath.perform(local(HOME.eidPrefix, 'local', { release: true }))
  datapath.crash()
  run(10)
  t.same(out, ['1 lost hold-lost'], 'the release died too')
  core()
  site()
  t.same(out.slice(1), ['2 lost no-hold', '3 to 192.0.2.2'])
  const found = datapath.restore()
  t.match(found.localEids, [{ state: 'local', interfaceName: 'br0' }], 'without the prefix itself')
  t.same(found.mapCache, [], 'an EID that is here has no way to elsewhere')
  core()
  t.equal(out.at(-1), '4 on br0', 'what drained when it died is final now')
  datapath.forget()
  t.same(datapath.view(), { mapCache: [], localEids: [] })
})
