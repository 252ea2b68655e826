/**
 * From the site into the tunnel, packet in and packet out: outer headers (RFC 9300 §5), choice of the
 * locator, path MTU, the way into the hold and out of it.
 */
import t from 'tap'
import { bench, dropped, limited } from './bpf-fixtures.js'
import { ip, ipFrame, lispHeader, openFrame, PROTOCOL, tcp, udp } from './frames.js'
import { data, FAMILIES, fromCore, fromHost, HOST, inbound, REMOTE } from './packets.js'
import { MAC, OWN_RLOC, PEER_RLOC, VERDICT } from './workbench.js'

t.test('encapsulation writes exact outer headers in all four family combinations', async (t) => {
  for (const rloc of FAMILIES)
    for (const eid of FAMILIES) {
      const counter = bench.putMapCache(REMOTE[eid], 'forward', [{ family: rloc }])
      const frame = fromHost(eid, { ttl: 33, trafficClass: 0xb9, dontFragment: true })
      const { verdict, packet } = bench.fromSite(frame)
      const opened = openFrame(packet)
      const inner = fromHost(eid, { ttl: 32, trafficClass: 0xb9, dontFragment: true }).slice(14)
      const outer = {
        source: OWN_RLOC[rloc],
        destination: PEER_RLOC[rloc],
        ttl: 32,
        trafficClass: 0xb9,
        dontFragment: true,
      }
      const expected = ip(outer, udp(0, 4341, new Uint8Array([...lispHeader({}), ...inner])))
      const name = `IPv${eid} in IPv${rloc}`
      t.equal(verdict, VERDICT.redirect, `${name}: sent`)
      t.same(opened.outer, expected.slice(0, opened.outer.length), `${name}: outer headers`)
      t.same(opened.inner, inner, `${name}: TTL one less, checksum right, the rest untouched`)
      t.equal(opened.destinationMac, MAC.router, `${name}: to the next hop`)
      t.equal(opened.sourceMac, MAC.core, `${name}: from the underlay interface`)
      t.equal(opened.ethertype, rloc === 4 ? 0x0800 : 0x86dd, `${name}: ethertype`)
      t.ok(opened.sourcePort >= 0xc000, `${name}: source port from the dynamic range`)
      if (rloc === 6) t.not(opened.flowLabel, 0, `${name}: flow label from the flow`)
      const counted = { packets: 1, bytes: inner.length, used: true }
      t.same(bench.mappingCounter(counter), counted, `${name}: counted`)
    }
})

t.test('the source port is constant per flow and spreads over flows', async (t) => {
  bench.putMapCache(REMOTE[4], 'forward', [{ family: 4 }])
  const portOf = (sourcePort: number, length = 10) =>
    openFrame(bench.fromSite(fromHost(4, {}, udp(sourcePort, 53, data(length)))).packet).sourcePort
  t.equal(portOf(1000, 10), portOf(1000, 400))
  const ports = new Set(Array.from({ length: 200 }, (_, i) => portOf(2000 + i)))
  t.ok(ports.size > 190, `${ports.size} of 200 flows differ`)
  const fragment = fromHost(4)
  const other = fromHost(4, {}, udp(7, 9, data(64)))
  for (const frame of [fragment, other]) {
    frame[20] = 0x20 // more fragments; the checksum is not looked at by the programs
  }
  const first = openFrame(bench.fromSite(fragment).packet).sourcePort
  const second = openFrame(bench.fromSite(other).packet).sourcePort
  t.equal(first, second, 'fragments hash by addresses alone')
})

t.test('flows spread over the locators of a set, and each stays with one', async (t) => {
  const destinations = ['198.51.100.2', '198.51.100.3']
  const locators = destinations.map((destination) => ({ family: 4 as const, destination }))
  bench.putMapCache(REMOTE[4], 'forward', locators)
  const lastByte = (port: number) =>
    bench.fromSite(fromHost(4, {}, udp(port, 1, data(8)))).packet[33]
  const chosen = Array.from({ length: 100 }, (_, i) => lastByte(3000 + i))
  t.same(new Set(chosen), new Set([2, 3]))
  t.same(
    Array.from({ length: 100 }, (_, i) => lastByte(3000 + i)),
    chosen,
    'stable',
  )
})

t.test('link layer padding does not travel through the tunnel', async (t) => {
  bench.putMapCache(REMOTE[4], 'forward', [{ family: 4 }])
  const frame = fromHost(4, {}, udp(1, 2, data(1)))
  const padded = new Uint8Array(60)
  padded.set(frame)
  t.equal(bench.fromSite(padded).packet.length, frame.length + 36)
})

t.test('what is not for the tunnel stays with the kernel, untouched', async (t) => {
  bench.putMapCache(REMOTE[4], 'forward', [{ family: 4 }])
  bench.putMapCache('10.9.0.0/16', 'native')
  bench.putLocal('10.1.0.0/24', 'local')
  const cases: readonly [string, Uint8Array][] = [
    ['TTL 1: the kernel sends time exceeded', fromHost(4, { ttl: 1 })],
    ['another MAC address', ipFrame(MAC.host, MAC.host, fromHost(4).slice(14))],
    ['IPv4 multicast', fromHost(4, { destination: '239.1.1.1' })],
    ['IPv4 link-local', fromHost(4, { destination: '169.254.1.1' })],
    ['IPv6 link-local', fromHost(6, { destination: 'fe80::1' })],
    ['IPv6 multicast', fromHost(6, { destination: 'ff05::1' })],
    ['a native mapping', fromHost(4, { destination: '10.9.1.1' })],
    ['our own static prefix', fromHost(4, { destination: '10.1.0.77' })],
    ['a broken header', ipFrame(MAC.site, MAC.host, Uint8Array.from([0x42, ...data(40)]))],
  ]
  for (const [name, frame] of cases) {
    const { verdict, packet } = bench.fromSite(frame)
    t.equal(verdict, VERDICT.pass, name)
    t.same(packet, frame, `${name}: unchanged`)
  }
  bench.deleteSite()
  t.equal(bench.fromSite(fromHost(4)).verdict, VERDICT.pass, 'not a site interface')
  bench.putSite(0)
})

t.test('packets without a mapping go into the hold with what must be remembered', async (t) => {
  const header = (purpose: number, family: number, type: number, index: number) => [
    2,
    purpose,
    0,
    0,
    7,
    family,
    2,
    1,
    0,
    0,
    index >> 8,
    index & 255,
    type >> 8,
    type & 255,
  ]
  const { site, core } = bench.network
  bench.putNode({ holdInterfaceIndex: site })
  bench.putMapCache('10.5.0.1', 'hold')
  const held = bench.tallies('held')
  for (const destination of ['10.5.0.1', '10.5.0.2', '10.5.0.3']) {
    const frame = fromHost(4, { destination })
    const { verdict, packet } = bench.fromSite(frame)
    t.equal(verdict, VERDICT.redirect)
    t.same([...packet.slice(0, 14)], header(1, 0, 0x0800, site))
    t.same(packet.slice(14), frame.slice(14), 'the packet itself is untouched')
  }
  for (const state of ['standby', 'draining', 'away-draining'] as const) {
    bench.putLocal(HOST[6], state)
    const { verdict, packet } = bench.fromCore(fromCore(4, inbound(6, { ttl: 9 })))
    t.equal(verdict, VERDICT.redirect, state)
    t.same([...packet.slice(0, 14)], header(2, 4, 0x86dd, core))
    t.same(packet.slice(14), inbound(6, { ttl: 9 }))
  }
  t.equal(bench.tallies('held'), held + 6)
  const large = udp(1, 2, data(2500))
  const whole = bench.fromSite(fromHost(4, { destination: '10.5.0.1' }, large), { gsoSize: 1000 })
  t.equal(whole.packet[7], 3, 'a super-packet counts as the packets that it can become')
  bench.putNode({})
  dropped(t, 'no-hold', () => bench.fromSite(fromHost(4, { destination: '10.5.0.3' })), 'no TAP')
})

t.test('while draining, packets wait as long as earlier ones are in the hold', async (t) => {
  bench.putNode({ holdInterfaceIndex: bench.network.site })
  const waits = (run: () => unknown) => {
    const before = bench.tallies('held')
    run()
    return bench.tallies('held') > before
  }
  for (const action of ['draining', 'native-draining'] as const) {
    const destination = action === 'draining' ? '10.6.0.1' : '10.6.0.2'
    const send = () => bench.fromSite(fromHost(4, { destination }))
    t.ok(waits(send), `${action}: no mapping yet`)
    bench.putMapCache(destination, action, [{ family: 4 }])
    t.ok(waits(send), 'two are in the hold')
    bench.emptyHold()
    t.notOk(waits(send), 'the hold is empty')
    const { verdict, packet } = send()
    if (action === 'draining')
      t.same(openFrame(packet).inner, fromHost(4, { destination, ttl: 63 }).slice(14))
    else t.equal(verdict, VERDICT.pass, 'to the kernel')
    bench.putMapCache(destination, 'hold')
    t.ok(waits(send), 'a new wait begins')
    bench.putMapCache(destination, action, [{ family: 4 }])
    t.ok(waits(send), 'and is in front of what comes now')
    bench.emptyHold()
  }
  bench.putMapCache(HOST[4], 'forward', [{ family: 4 }])
  for (const state of ['draining', 'away-draining'] as const) {
    const deliver = () => bench.fromCore(fromCore(4, inbound(4)))
    bench.putLocal(HOST[4], 'standby')
    t.ok(waits(deliver), `${state}: the endpoint is not there yet`)
    bench.putLocal(HOST[4], state, { mac: MAC.host })
    t.ok(waits(deliver), 'two are in the hold')
    bench.emptyHold()
    t.notOk(waits(deliver), 'the hold is empty')
    const inner = deliver().packet
    if (state === 'draining') t.same(inner, ipFrame(MAC.host, MAC.site, inbound(4)))
    else t.same(openFrame(inner).inner, inbound(4, { ttl: 63 }))
  }
  bench.deleteMapCache(HOST[4])
  bench.deleteLocal(HOST[4])
  bench.putNode({})
})

t.test('what comes out of the hold is encapsulated or delivered, never held again', async (t) => {
  const released = (purpose: number, packet: Uint8Array, mark = 2) => {
    const { site } = bench.network
    const type = packet[0]! >> 4 === 4 ? [8, 0] : [0x86, 0xdd]
    const header = [mark, purpose, 0, 0, 7, 0, 2, 0, 0, 0, site >> 8, site & 255, ...type]
    return bench.run('hold_ingress', Uint8Array.from([...header, ...packet]))
  }
  const outgoing = (destination: string) => fromHost(4, { destination }).slice(14)
  for (const action of ['forward', 'draining'] as const) {
    bench.putMapCache('10.5.0.2', action, [{ family: 6 }])
    const opened = openFrame(released(1, outgoing('10.5.0.2')).packet)
    t.same(opened.inner, fromHost(4, { destination: '10.5.0.2', ttl: 63 }).slice(14), action)
  }
  bench.putMapCache('10.5.0.4', 'native')
  bench.putMapCache('10.5.0.5', 'drop')
  bench.putMapCache('10.5.0.1', 'hold')
  t.equal(
    released(1, outgoing('10.5.0.4')).verdict,
    VERDICT.pass,
    'native, no route: to the kernel',
  )
  dropped(t, 'mapping-says-drop', () => released(1, outgoing('10.5.0.5')), 'drop')
  dropped(t, 'no-hold', () => released(1, outgoing('10.5.0.1')), 'action hold')
  dropped(t, 'no-hold', () => released(1, outgoing('10.5.0.3')), 'still no mapping')
  bench.putLocal('10.5.0.3', 'local', { mac: MAC.host })
  t.equal(
    released(1, outgoing('10.5.0.3')).verdict,
    VERDICT.redirect,
    'meanwhile the EID came here',
  )

  for (const state of ['local', 'draining'] as const) {
    bench.putLocal(HOST[4], state, { mac: MAC.host })
    const { verdict, packet } = released(2, inbound(4))
    t.equal(verdict, VERDICT.redirect, state)
    t.same(packet, ipFrame(MAC.host, MAC.site, inbound(4)), `${state}: to the endpoint`)
  }
  bench.putMapCache(HOST[4], 'forward', [{ family: 4 }])
  for (const state of ['away', 'away-draining'] as const) {
    bench.putLocal(HOST[4], state)
    const opened = openFrame(released(2, inbound(4)).packet)
    t.same(opened.inner, inbound(4, { ttl: 63 }), `${state}: to where the EID is now`)
  }
  bench.deleteMapCache(HOST[4])
  bench.putLocal(HOST[4], 'standby')
  dropped(t, 'no-hold', () => released(2, inbound(4)), 'standby')
  bench.putLocal(HOST[4], 'prefix')
  dropped(t, 'unknown-eid', () => released(2, inbound(4)), 'gone')
  dropped(t, 'hold-header', () => released(4, inbound(4)), 'unknown purpose')
  dropped(t, 'hold-header', () => released(2, inbound(4), 0x33), 'a frame of somebody else')
  bench.deleteLocal('10.5.0.3')
  bench.deleteLocal(HOST[4])
})

t.test('too big for the path: dropped, and the sender can be told', async (t) => {
  for (const rloc of FAMILIES) {
    const overhead = rloc === 4 ? 36 : 56
    const destination = `10.44.0.${rloc}`
    bench.putMapCache(destination, 'forward', [{ family: rloc, pathMtu: 1400 }])
    const payload = (size: number) => udp(1, 2, data(size - 28 - overhead))
    const fits = fromHost(4, { destination }, payload(1400))
    const tooBig = fromHost(4, { destination, dontFragment: true }, payload(1401))
    t.equal(bench.fromSite(fits).verdict, VERDICT.redirect, 'just fits')
    dropped(t, 'packet-too-big', () => bench.fromSite(tooBig), 'one byte more')
    const event = await bench.event('packet-too-big', destination)
    t.equal(event?.mtu, 1400 - overhead, 'what the sender may send')
    t.equal(event?.headLength, 192)
    t.same(event?.head, tooBig.slice(14, 14 + 192), 'the head for the ICMP error to quote')
    t.equal(event?.interfaceIndex, bench.network.site)
    const large = fromHost(4, { destination, protocol: PROTOCOL.tcp }, tcp(1, 2, data(3000)))
    const segment = 1400 - overhead - 40
    const gso = (gsoSize: number) => () => bench.fromSite(large, { gsoSize })
    dropped(t, 'packet-too-big', gso(segment + 1), 'a super-packet by its segments', 3)
    dropped(t, 'encapsulation-failed', gso(segment), 'smaller segments pass the check', 3)
  }
  const destination = '10.44.0.9'
  bench.putMapCache(destination, 'forward', [{ family: 4, pathMtu: 1400 }])
  const tooBig = fromHost(4, { destination, dontFragment: true }, udp(1, 2, data(1400)))
  await limited(t, 'packet-too-big', destination, 100, () => bench.fromSite(tooBig))
})

t.test('too big but without DF: to be split in two, within limits', async (t) => {
  const destination = '10.45.0.1'
  bench.putMapCache(destination, 'forward', [{ family: 4, pathMtu: 1400 }])
  bench.putNode({ holdInterfaceIndex: bench.network.site })
  const frame = fromHost(4, { destination }, udp(1, 2, data(1400)))
  const before = bench.tallies('fragmented')
  const { verdict, packet } = bench.fromSite(frame)
  t.equal(verdict, VERDICT.redirect)
  t.equal(packet[1], 3, 'purpose: fragment')
  t.same(packet.slice(14), frame.slice(14), 'untouched')
  t.equal(bench.tallies('fragmented'), before + 1)
  const half = fromHost(4, { destination }, udp(1, 2, data(700))).slice(14)
  const back = bench.run('hold_ingress', Uint8Array.from([...packet.slice(0, 14), ...half]))
  t.same(openFrame(back.packet).inner.slice(20), half.slice(20), 'a half that comes back is sent')
  const six = fromHost(6, {}, udp(1, 2, data(1400)))
  bench.putMapCache(REMOTE[6], 'forward', [{ family: 4, pathMtu: 1400 }])
  dropped(t, 'packet-too-big', () => bench.fromSite(six), 'never IPv6')
  const refused = bench.drops('packet-too-big')
  for (let i = 0; i < 1500; i++) bench.fromSite(frame)
  const split = bench.tallies('fragmented') - before
  t.ok(split >= 1000 && split + bench.drops('packet-too-big') - refused === 1501, `${split} split`)
  bench.putNode({})
})
