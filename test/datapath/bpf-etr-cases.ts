/**
 * From the core, packet in and packet out: decapsulation (RFC 9300 §5.3), ECN (RFC 6040), the P bit
 * (RFC 9305), away EIDs, and every drop reason that a frame can reach.
 */
import t from 'tap'
import { LOCAL_EID_FLAGS, NODE_FLAGS } from '../../src/datapath/abi.generated.js'
import {
  bench,
  data,
  dropped,
  FAMILIES,
  fromCore,
  fromHost,
  HOST,
  inbound,
  limited,
  type OuterFields,
  REMOTE,
} from './bpf-fixtures.js'
import { addressBytes, ip, ipFrame, lispHeader, openFrame, PROTOCOL, tcp, udp } from './frames.js'
import { MAC, OWN_RLOC, PEER_RLOC, VERDICT } from './workbench.js'

t.test('decapsulation delivers exact packets in all four family combinations', async (t) => {
  for (const eid of FAMILIES) {
    const counter = bench.putLocal(HOST[eid], 'local', { mac: MAC.host })
    for (const rloc of FAMILIES) {
      const fields = { outer: { ttl: 20, trafficClass: 0xb8 } }
      const frame = fromCore(rloc, inbound(eid, { ttl: 60 }), fields)
      const { verdict, packet } = bench.fromCore(frame)
      t.equal(verdict, VERDICT.redirect, `IPv${eid} in IPv${rloc}`)
      const expected = inbound(eid, { ttl: 20, trafficClass: 0xb8 })
      t.same(packet, ipFrame(MAC.host, MAC.site, expected), 'TTL and DSCP of the outer header')
    }
    t.equal(bench.mappingCounter(counter).packets, 2)
    const low = bench.fromCore(fromCore(4, inbound(eid, { ttl: 5 }), { outer: { ttl: 60 } })).packet
    t.same(low.slice(14), inbound(eid, { ttl: 5 }), 'a TTL never grows')
  }
})

t.test('ECN is combined as RFC 6040 figure 4 says, all 16 cells', async (t) => {
  const table: readonly (readonly (number | 'drop')[])[] = [
    // outer Not-ECT, ECT(1), ECT(0), CE; rows inner in the same order
    [0, 0, 0, 'drop'],
    [1, 1, 1, 3],
    [2, 1, 2, 3],
    [3, 3, 3, 3],
  ]
  const before = bench.tallies('ecn-corrected')
  for (const eid of FAMILIES)
    for (const [inner, row] of table.entries())
      for (const [outer, result] of row.entries()) {
        const frame = fromCore(eid, inbound(eid, { trafficClass: 0x28 | inner }), {
          outer: { trafficClass: 0x28 | outer },
        })
        const name = `IPv${eid} inner ${inner} outer ${outer}`
        if (result === 'drop') dropped(t, 'ecn-not-ect-marked', () => bench.fromCore(frame), name)
        else {
          const expected = inbound(eid, { trafficClass: 0x28 | result })
          t.same(bench.fromCore(frame).packet.slice(14), expected, name)
        }
      }
  t.equal(bench.tallies('ecn-corrected'), before + 6, 'odd but legal cells are counted')
})

t.test('header bits: what RFC 9300 and RFC 9305 ignore is ignored, the rest refused', async (t) => {
  const run = (lisp: OuterFields['lisp'], inner = inbound(4, { trafficClass: 0x28 })) =>
    bench.fromCore(fromCore(4, inner, lisp ? { lisp } : {}))
  bench.putLocal(HOST[4], 'local', { mac: MAC.host })
  const bits = run({ flags: 0xf8, nonce: [1, 2, 3], low: 0xff })
  t.equal(bits.verdict, VERDICT.redirect, 'N, L, E, V and their fields')
  t.equal(run({ flags: 0x28 }).verdict, VERDICT.redirect, 'E without N')
  t.equal(run({ flags: 0x98, nonce: [9, 9, 9] }).verdict, VERDICT.redirect, 'N and V')
  dropped(t, 'unknown-eid', () => run({ flags: 0x00, instanceId: 7 }), 'no I bit: instance 0')
  dropped(t, 'unknown-eid', () => run({ instanceId: 8 }), 'another instance')
  dropped(t, 'malformed-outer', () => run({ flags: 0x09 }), 'encrypted (KK)')
  const gpe = run({ flags: 0x0c, nonce: [0, 0, 1] })
  t.same(gpe.packet.slice(14), inbound(4, { trafficClass: 0x28 }), 'P bit: the inner DSCP stays')
  const odd = run({ flags: 0xfc, nonce: [9, 9, 1], low: 0xff })
  t.same(odd.packet, gpe.packet, 'with the P bit too: N, L, E, V and what would be their fields')
  for (const next of [0, 2, 3, 0x80])
    dropped(t, 'unsupported-gpe', () => run({ flags: 0x0c, nonce: [0, 0, next] }), `next ${next}`)
})

t.test('what is not LISP data for us is passed on', async (t) => {
  const pass = (frame: Uint8Array, name: string) => {
    const result = bench.fromCore(frame)
    t.equal(result.verdict, VERDICT.pass, name)
    t.same(result.packet, frame, `${name}: unchanged`)
  }
  pass(fromCore(4, inbound(4), { outer: { destination: '192.0.2.9' } }), 'not our RLOC')
  pass(fromCore(6, inbound(4), { outer: { destination: '2001:db8:c::9' } }), 'not our IPv6 RLOC')
  const control = fromCore(4, inbound(4))
  control[37] = 0xf6 // port 4342
  pass(control, 'control message')
  const fragment = fromCore(4, inbound(4))
  fragment[20] = 0x20
  pass(fragment, 'a fragment: the kernel reassembles')
  pass(
    ipFrame(
      MAC.core,
      MAC.router,
      ip({ source: '1.1.1.1', destination: OWN_RLOC[4] }, tcp(1, 2, data(9))),
    ),
    'short',
  )
})

t.test('malformed packets are dropped by what is wrong with them', async (t) => {
  const frame = (inner: Uint8Array) => bench.fromCore(fromCore(4, inner))
  dropped(t, 'malformed-inner', () => frame(data(40)), 'no IP version')
  dropped(t, 'malformed-inner', () => frame(inbound(4).slice(0, 12)), 'truncated')
  dropped(t, 'malformed-inner', () => frame(inbound(4).slice(0, 60)), 'longer than it is')
  dropped(t, 'malformed-inner', () => frame(inbound(6).slice(0, 30)), 'half an IPv6 header')
  const longUdp = fromCore(4, inbound(4))
  longUdp[38] = 0x40
  dropped(t, 'malformed-outer', () => bench.fromCore(longUdp), 'UDP longer than IP')
  const cut = fromCore(6, inbound(4)).slice(0, -10)
  dropped(t, 'malformed-outer', () => bench.fromCore(cut), 'cut off')
  const tail = fromCore(4, new Uint8Array([...inbound(4), ...data(5)]))
  t.same(bench.fromCore(tail).packet.slice(14), inbound(4), 'bytes behind the inner packet are cut')
})

t.test('every other reason to drop', async (t) => {
  bench.putLocal('10.1.9.0/24', 'prefix')
  const to = (destination: string) => bench.fromCore(fromCore(4, inbound(4, { destination })))
  dropped(t, 'unknown-eid', () => to('10.1.9.9'), 'dynamic prefix, nobody home')
  dropped(t, 'unknown-eid', () => to('10.77.0.1'), 'not ours')
  bench.putLocal('10.1.8.1', 'local', { mac: MAC.host, interfaceIndex: 4000 })
  dropped(t, 'no-site-interface', () => to('10.1.8.1'), 'interface gone')
  bench.putMapCache(REMOTE[4], 'forward', [])
  dropped(t, 'no-locator', () => bench.fromSite(fromHost(4)), 'empty set')
  bench.putMapCache(REMOTE[4], 'forward', [{ family: 4, destination: '203.0.113.1' }])
  dropped(t, 'no-route-to-rloc', () => bench.fromSite(fromHost(4)), 'no route')
  bench.putMapCache(REMOTE[4], 'forward', [{ family: 4 }])
  const gso = { gsoSize: 1000 }
  const large = fromHost(4, { protocol: PROTOCOL.tcp }, tcp(1, 2, data(3000)))
  dropped(t, 'encapsulation-failed', () => bench.fromSite(large, gso), 'GSO of unknown type', 3)
  const inner = inbound(4, { protocol: PROTOCOL.tcp }, tcp(1, 2, data(3000)))
  dropped(t, 'decapsulation-failed', () => bench.fromCore(fromCore(4, inner), gso), 'the same', 3)

  const nest = (packet: Uint8Array) =>
    ip(
      { source: HOST[4], destination: REMOTE[4] },
      udp(5, 4341, new Uint8Array([...lispHeader({}), ...packet])),
    )
  const plain = inbound(4)
  const send = (packet: Uint8Array) => () => bench.fromSite(ipFrame(MAC.site, MAC.host, packet))
  t.equal(send(nest(plain))().verdict, VERDICT.redirect, 'a second LISP header is allowed')
  dropped(t, 'nested', send(nest(nest(plain))), 'a third is not')
})

t.test('a source that is mapped to another RLOC is dropped when sources are checked', async (t) => {
  bench.putLocal(HOST[4], 'local', { mac: MAC.host })
  bench.putMapCache(REMOTE[4], 'forward', [{ family: 4 }])
  const from = (source: string) => bench.fromCore(fromCore(4, inbound(4), { outer: { source } }))
  t.equal(from('198.51.100.66').verdict, VERDICT.redirect, 'off by default')
  bench.putNode({ flags: NODE_FLAGS['check-sources'] })
  t.equal(from(PEER_RLOC[4]).verdict, VERDICT.redirect, 'the mapped RLOC')
  dropped(t, 'spoofed-source', () => from('198.51.100.66'), 'another RLOC')
  bench.deleteMapCache(REMOTE[4])
  t.equal(from('198.51.100.66').verdict, VERDICT.redirect, 'unmapped cannot be judged')
  bench.putNode({})
})

t.test('an away EID is sent on, in place or with another outer family', async (t) => {
  const there = { 4: '198.51.100.9', 6: '2001:db8:d::9' } as const
  for (const eid of FAMILIES) {
    bench.putLocal(HOST[eid], 'away')
    for (const rloc of FAMILIES)
      for (const next of FAMILIES) {
        const name = `IPv${eid} in IPv${rloc} to IPv${next}`
        bench.putMapCache(HOST[eid], 'forward', [{ family: next, destination: there[next] }])
        const fields = { outer: { ttl: 30, trafficClass: 0x2b } }
        const frame = fromCore(rloc, inbound(eid, { trafficClass: 0x01 }), fields)
        frame[rloc === 4 ? 40 : 60] = 0x12 // a UDP checksum, which must not travel on
        const { verdict, packet } = bench.fromCore(frame)
        const opened = openFrame(packet)
        const inner = inbound(eid, { ttl: 29, trafficClass: 0x2b })
        const ends = { source: OWN_RLOC[next], destination: there[next] }
        const outer = ip(
          { ...ends, ttl: 29, trafficClass: 0x2b, dontFragment: true },
          udp(0, 4341, new Uint8Array([...lispHeader({}), ...inner])),
        )
        t.equal(verdict, VERDICT.redirect, name)
        t.same(opened.outer, outer.slice(0, opened.outer.length), `${name}: outer`)
        t.same(opened.inner, inner, `${name}: inner with CE and the TTL one less`)
      }
    const dying = fromCore(4, inbound(eid), { outer: { ttl: 1 } })
    dropped(t, 'ttl-expired', () => bench.fromCore(dying), 'loops die')
    bench.deleteMapCache(HOST[eid])
    const frame = fromCore(4, inbound(eid))
    dropped(t, 'away-unmapped', () => bench.fromCore(frame), 'nobody knows where')
    bench.deleteLocal(HOST[eid])
  }
})

t.test('a UDP super-packet is rewritten in place for the VXLAN-GPE device', async (t) => {
  bench.putNode({ gpeInterfaceIndex: bench.network.core })
  for (const eid of FAMILIES)
    for (const rloc of FAMILIES) {
      bench.putLocal(HOST[eid], 'local', { mac: MAC.host })
      const inner = inbound(eid, {}, udp(1, 2, data(3000)))
      const frame = fromCore(rloc, inner, { lisp: { flags: 0xb8, nonce: [9, 9, 9], low: 5 } })
      const { verdict, packet } = bench.fromCore(frame, { gsoSize: 1000 })
      const gpe = { flags: 0x0c, nonce: [0, 0, eid === 4 ? 1 : 2] as [number, number, number] }
      t.equal(verdict, VERDICT.pass)
      t.same(packet, fromCore(rloc, inner, { lisp: gpe }), `IPv${eid} in IPv${rloc}`)
    }
  bench.putNode({})
})

t.test('TCP with data goes through the GRO pair, marked with its instance', async (t) => {
  const { core } = bench.network
  bench.putNode({ groEntryInterfaceIndex: core })
  bench.putLocal(HOST[6], 'local', { mac: MAC.host })
  const segment = inbound(6, { protocol: PROTOCOL.tcp }, tcp(1, 2, data(1200)))
  const { packet } = bench.fromCore(fromCore(4, segment))
  const marked = ipFrame('02:47:00:00:07:04', '02:47:00:00:07:04', segment)
  t.same(packet, marked)
  t.same(bench.run('gro_ingress', packet).packet, ipFrame(MAC.host, MAC.site, segment), 'exit')
  const bare = inbound(6, { protocol: PROTOCOL.tcp }, tcp(1, 2, data(0)))
  t.same(bench.fromCore(fromCore(4, bare)).packet, ipFrame(MAC.host, MAC.site, bare), 'ACKs do not')
  const chatter = ipFrame('33:33:00:00:00:01', MAC.host, segment)
  t.equal(bench.run('gro_ingress', chatter).verdict, VERDICT.pass, 'not ours')

  // Settled: whose EID it is is asked behind the pair.
  bench.putNode({ groEntryInterfaceIndex: core, flags: NODE_FLAGS.settled })
  const stranger = inbound(
    6,
    { protocol: PROTOCOL.tcp, destination: '2001:db8:9::9' },
    tcp(1, 2, data(1200)),
  )
  const early = bench.fromCore(fromCore(4, stranger)).packet
  t.same(early, ipFrame('02:47:00:00:07:04', '02:47:00:00:07:04', stranger), 'before it is known')
  dropped(t, 'unknown-eid', () => bench.run('gro_ingress', early), 'unknown behind the pair')
  dropped(t, 'unknown-eid', () => bench.fromCore(fromCore(4, stranger)), 'then before it')
  t.same(bench.fromCore(fromCore(4, segment)).packet, marked, 'what is known still goes there')
  bench.putNode({})
})

t.test('a packet from the VXLAN-GPE device without tunnel metadata is dropped', async (t) => {
  const frame = ipFrame(MAC.core, MAC.router, inbound(4))
  dropped(t, 'malformed-outer', () => bench.run('gpe_ingress', frame), 'no tunnel key')
})

t.test('senders are reported, once per sender', async (t) => {
  const flags = LOCAL_EID_FLAGS['report-senders']
  bench.putLocal(HOST[4], 'local', { mac: MAC.host, flags })
  const from = (source: string) => bench.fromCore(fromCore(4, inbound(4), { outer: { source } }))
  await limited(t, 'sender-seen', HOST[4], 1000, () => from('198.51.100.2'))
  const seen = await bench.event('sender-seen', HOST[4])
  t.same(seen?.peer.slice(0, 4), Uint8Array.from([198, 51, 100, 2]))
  t.equal(seen?.peerFamily, 4)
  const away = 'fd00:a::77'
  bench.putLocal(away, 'away')
  bench.putMapCache(away, 'forward', [{ family: 4 }])
  const packet = fromCore(6, inbound(6, { destination: away }))
  await limited(t, 'away-eid-hit', away, 100, () => bench.fromCore(packet))
  const hit = await bench.event('away-eid-hit', away)
  t.same(hit?.peer, addressBytes(PEER_RLOC[6]))
  t.equal(hit?.peerFamily, 6)
  const before = bench.countEvents('sender-seen', HOST[4])
  from('198.51.100.3')
  bench.putLocal('10.1.0.78', 'local', { mac: MAC.host, flags })
  bench.fromCore(fromCore(4, inbound(4, { destination: '10.1.0.78' })))
  await bench.event('sender-seen', '10.1.0.78')
  t.equal(bench.countEvents('sender-seen', HOST[4]), before + 1, 'another sender is another event')
})
