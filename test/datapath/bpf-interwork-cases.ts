/**
 * Interworking (RFC 6832) and RTRs, packet in and packet out: relays of packets whose EID is not here,
 * what a Proxy-ITR attracts, and LISP-NAT with every checksum.
 */
import t from 'tap'
import { NODE_FLAGS, SITE_INTERFACE_FLAGS } from '../../src/datapath/abi.generated.js'
import { bench, dropped } from './bpf-fixtures.js'
import {
  addressBytes,
  checksum,
  concat,
  ip,
  ipFrame,
  lispHeader,
  openFrame,
  PROTOCOL,
  tcp,
  udp,
} from './frames.js'
import { data, FAMILIES, fromCore, fromHost, HOST, REMOTE } from './packets.js'
import { type Family, MAC, OWN_RLOC, PEER_RLOC, VERDICT } from './workbench.js'

const ELSEWHERE = { 4: '100.64.9.2', 6: 'fd64:9::2' } as const
/** Routed by the workbench: out of the underlay. */
const INTERNET = { 4: '198.51.100.77', 6: '2001:db8:d::77' } as const
const SITE = { 4: '10.2.0.0/16', 6: 'fd00:b::/32' } as const
const NEXT = { 4: '198.51.100.9', 6: '2001:db8:d::9' } as const

const through = (family: Family, destination: string, ttl = 60) =>
  ip({ source: REMOTE[family], destination, ttl }, udp(2000, 1000, data(64)))

t.test('an RTR sends on by its map-cache: outer TTL one less, in every family', async (t) => {
  bench.putNode({ flags: NODE_FLAGS.rtr })
  for (const eid of FAMILIES) {
    for (const rloc of FAMILIES)
      for (const next of FAMILIES) {
        const name = `IPv${eid} in IPv${rloc} to IPv${next}`
        const counter = bench.putMapCache(ELSEWHERE[eid], 'forward', [
          { family: next, destination: NEXT[next] },
        ])
        const frame = fromCore(rloc, through(eid, ELSEWHERE[eid]), { outer: { ttl: 30 } })
        const { verdict, packet } = bench.fromCore(frame)
        const opened = openFrame(packet)
        const inner = through(eid, ELSEWHERE[eid], 29)
        const outer = ip(
          { source: OWN_RLOC[next], destination: NEXT[next], ttl: 29, dontFragment: true },
          udp(0, 4341, concat(lispHeader({}), inner)),
        )
        t.equal(verdict, VERDICT.redirect, name)
        t.same(opened.outer, outer.slice(0, opened.outer.length), `${name}: outer`)
        t.same(opened.inner, inner, `${name}: inner`)
        t.equal(bench.mappingCounter(counter).packets, 1, `${name}: counted`)
      }
    const dying = fromCore(4, through(eid, ELSEWHERE[eid]), { outer: { ttl: 1 } })
    dropped(t, 'ttl-expired', () => bench.fromCore(dying), 'a loop of RTRs dies')
  }
  bench.putNode({})
})

t.test('an RTR drops what would go back, what is to be dropped, and what is no LISP', async (t) => {
  bench.putNode({ flags: NODE_FLAGS.rtr })
  const frame = fromCore(4, through(4, ELSEWHERE[4]))
  const run = () => bench.fromCore(frame)
  bench.putMapCache(ELSEWHERE[4], 'forward', [{ family: 4, destination: PEER_RLOC[4] }])
  dropped(t, 'loop', run, 'back to who sent it')
  bench.putMapCache(ELSEWHERE[4], 'drop')
  dropped(t, 'mapping-says-drop', run, 'a negative mapping')
  bench.putMapCache(ELSEWHERE[4], 'native')
  dropped(t, 'native-at-rtr', run, 'only a Proxy-ETR lets packets out')
  bench.putMapCache(ELSEWHERE[4], 'forward', [])
  dropped(t, 'no-locator', run, 'an empty set')
  bench.deleteMapCache(ELSEWHERE[4])
  bench.putNode({})
  dropped(t, 'unknown-eid', run, 'without the role')
})

t.test('an RTR holds a miss and sends it on from the hold', async (t) => {
  const { core } = bench.network
  bench.putNode({ flags: NODE_FLAGS.rtr, holdInterfaceIndex: core })
  const held = bench.fromCore(fromCore(6, through(4, ELSEWHERE[4]), { outer: { ttl: 30 } }))
  t.equal(held.verdict, VERDICT.redirect, 'into the hold')
  t.same(held.packet.slice(14), through(4, ELSEWHERE[4], 30), 'as it came out of the tunnel')
  t.equal(held.packet[1], 1, 'it waits for a mapping')
  t.equal(held.packet[5], 6, 'and came from the core')
  dropped(t, 'no-hold', () => bench.run('hold_ingress', held.packet), 'no mapping came')
  bench.putMapCache(ELSEWHERE[4], 'forward', [{ family: 4, destination: NEXT[4] }])
  const before = bench.tallies('reencapsulated')
  const out = bench.run('hold_ingress', held.packet)
  t.equal(out.verdict, VERDICT.redirect)
  t.same(openFrame(out.packet).inner, through(4, ELSEWHERE[4], 29), 'one hop more')
  t.equal(bench.tallies('reencapsulated'), before + 1)
  bench.putMapCache(ELSEWHERE[4], 'native')
  dropped(t, 'native-at-rtr', () => bench.run('hold_ingress', held.packet), 'no LISP site')
  bench.emptyHold()
  bench.deleteMapCache(ELSEWHERE[4])
  bench.putNode({})
})

t.test('a Proxy-ETR lets out packets of the sites that it serves, and no others', async (t) => {
  bench.putNode({ flags: NODE_FLAGS.petr })
  for (const family of FAMILIES) {
    const frame = fromCore(4, through(family, INTERNET[family]), { outer: { ttl: 30 } })
    dropped(t, 'unproxied-source', () => bench.fromCore(frame), `IPv${family} of nobody`)
    bench.putForeign('proxied_sites', SITE[family])
    const before = bench.tallies('proxied')
    const { verdict, packet } = bench.fromCore(frame)
    t.equal(verdict, VERDICT.redirect, `IPv${family} by the kernel's routes`)
    t.same(packet, ipFrame(MAC.router, MAC.core, through(family, INTERNET[family], 29)))
    t.equal(bench.tallies('proxied'), before + 1)
    const other = fromCore(4, through(family, INTERNET[family]), { lisp: { instanceId: 8 } })
    dropped(t, 'unproxied-source', () => bench.fromCore(other), 'another instance')
    const dying = fromCore(4, through(family, INTERNET[family], 1))
    dropped(t, 'ttl-expired', () => bench.fromCore(dying), 'at the end of its TTL')
  }
  bench.putNode({})
  const run = () => bench.fromCore(fromCore(4, through(4, INTERNET[4])))
  dropped(t, 'unknown-eid', run, 'without the role')
})

t.test('a Proxy-ITR encapsulates what it attracts, from its RLOC, and nothing else', async (t) => {
  bench.putSite(SITE_INTERFACE_FLAGS.proxy)
  for (const family of FAMILIES) {
    bench.putMapCache(REMOTE[family], 'forward', [{ family }])
    t.equal(bench.fromSite(fromHost(family)).verdict, VERDICT.pass, `IPv${family} not attracted`)
    bench.putForeign('attracted_prefixes', SITE[family])
    const { verdict, packet } = bench.fromSite(fromHost(family))
    t.equal(verdict, VERDICT.redirect, `IPv${family} attracted`)
    const source = addressBytes(OWN_RLOC[family])
    const at = family === 4 ? 12 : 8
    t.same(openFrame(packet).outer.slice(at, at + source.length), source, 'outer source')
    const other = fromHost(family, { destination: ELSEWHERE[family] })
    t.equal(bench.fromSite(other).verdict, VERDICT.pass, 'another destination is not looked up')
    bench.deleteMapCache(REMOTE[family])
    const missed = () => bench.fromSite(fromHost(family))
    dropped(t, 'no-hold', missed, 'attracted without a mapping: it has to wait')
  }
  const tunnelled = () => bench.fromCore(fromCore(4, through(4, ELSEWHERE[4])))
  dropped(t, 'unknown-eid', tunnelled, 'a Proxy-ITR decapsulates nothing')
  bench.putSite(0)
})

// -------------------------------------------------------------------------------- LISP-NAT

const INSIDE = { 4: '10.1.0.0/24', 6: 'fd00:a::/64' } as const
const OUTSIDE = { 4: '203.0.113.0/24', 6: '2001:db8:200::/64' } as const
/** HOST, seen from outside. */
const SEEN = { 4: '203.0.113.2', 6: '2001:db8:200::2' } as const

/** A transport segment with its checksum over the pseudo-header at `at`. */
function summed(
  family: Family,
  ends: { source: string; destination: string },
  protocol: number,
  segment: Uint8Array,
  at: number,
): Uint8Array {
  const length = [segment.length >> 8, segment.length & 255]
  const tail = family === 4 ? [0, protocol, ...length] : [0, 0, ...length, 0, 0, 0, protocol]
  const addresses = concat(addressBytes(ends.source), addressBytes(ends.destination))
  const sum = checksum(concat(addresses, Uint8Array.from(tail)), segment)
  const whole = Uint8Array.from(segment)
  whole[at] = sum >> 8
  whole[at + 1] = sum & 255
  return ip({ ...ends, protocol }, whole)
}

const SEGMENTS = [
  { name: 'TCP', protocol: () => PROTOCOL.tcp, segment: tcp(1, 2, data(33)), at: 16 },
  { name: 'UDP', protocol: () => PROTOCOL.udp, segment: udp(1, 2, data(33)), at: 6 },
] as const
const ECHO = Uint8Array.from([128, 0, 0, 0, 0, 1, 0, 1, 7, 7])

t.test(
  'LISP-NAT translates the source where packets leave natively, and corrects checksums',
  async (t) => {
    bench.putNode({ flags: NODE_FLAGS.nat })
    for (const family of FAMILIES) {
      bench.putTranslation(INSIDE[family], OUTSIDE[family])
      bench.putMapCache(INTERNET[family], 'native')
      const ends = (source: string) => ({ source, destination: INTERNET[family] })
      const out = (packet: Uint8Array) => bench.fromSite(ipFrame(MAC.site, MAC.host, packet))
      for (const { name, protocol, segment, at } of SEGMENTS) {
        const make = (source: string) => summed(family, ends(source), protocol(), segment, at)
        const { verdict, packet } = out(make(HOST[family]))
        t.equal(verdict, VERDICT.pass, `IPv${family} ${name} goes on to the kernel`)
        t.same(packet.slice(14), make(SEEN[family]), `IPv${family} ${name}: exact packet`)
      }
      const bare = out(ip(ends(HOST[family]), udp(1, 2, data(9)))).packet.slice(14)
      t.same(bare, ip(ends(SEEN[family]), udp(1, 2, data(9))), 'no UDP checksum stays none')
      const same = ip(
        { source: ELSEWHERE[family], destination: INTERNET[family] },
        udp(1, 2, data(9)),
      )
      t.same(out(same).packet.slice(14), same, 'other sources are left alone')
      bench.putLocal(INTERNET[family], 'local', { mac: MAC.host })
      const stays = ip(ends(HOST[family]), udp(1, 2, data(9)))
      t.same(out(stays).packet.slice(14), stays, 'what does not leave the site is left alone')
      bench.deleteLocal(INTERNET[family])
    }
    const six = { source: HOST[6], destination: INTERNET[6] }
    const echo = (source: string) => summed(6, { ...six, source }, PROTOCOL.icmp6, ECHO, 2)
    const sent = bench.fromSite(ipFrame(MAC.site, MAC.host, echo(HOST[6]))).packet
    t.same(sent.slice(14), echo(SEEN[6]), 'ICMPv6 has a checksum over the addresses')
    const strange = ipFrame(MAC.site, MAC.host, ip({ ...six, protocol: 44 }, data(40)))
    dropped(t, 'untranslatable', () => bench.fromSite(strange), 'behind extension headers')
    for (const family of FAMILIES) bench.deleteMapCache(INTERNET[family])
    bench.putNode({})
  },
)

/** An ICMP error of a router on the way about a packet of `host`. */
function tooBig(family: Family, host: string): Uint8Array {
  const quoted = ip({ source: host, destination: INTERNET[family] }, data(24))
  const ends = { source: PEER_RLOC[family], destination: host }
  const head = family === 4 ? [3, 4, 0, 0, 0, 0, 5, 0] : [2, 0, 0, 0, 0, 0, 5, 0]
  const message = concat(Uint8Array.from(head), quoted)
  if (family === 6) return summed(6, ends, PROTOCOL.icmp6, message, 2)
  const sum = checksum(message)
  message.set([sum >> 8, sum & 255], 2)
  return ip({ ...ends, protocol: PROTOCOL.icmp }, message)
}

t.test('LISP-NAT translates the destination where packets come back', async (t) => {
  bench.putNode({ flags: NODE_FLAGS.nat })
  for (const family of FAMILIES) {
    const ends = (destination: string) => ({ source: INTERNET[family], destination })
    for (const { name, protocol, segment, at } of SEGMENTS) {
      const make = (to: string) => summed(family, ends(to), protocol(), segment, at)
      const back = bench.fromCore(ipFrame(MAC.core, MAC.router, make(SEEN[family])))
      t.equal(back.verdict, VERDICT.pass, `IPv${family} ${name} goes on to the kernel`)
      t.same(back.packet.slice(14), make(HOST[family]), `IPv${family} ${name}: exact packet`)
    }
    const other = ipFrame(MAC.core, MAC.router, ip(ends(OWN_RLOC[family]), udp(1, 2, data(9))))
    t.same(bench.fromCore(other).packet, other, 'other destinations are left alone')
  }
  const later = ip({ source: INTERNET[4], destination: SEEN[4] }, data(40))
  later.set([0, 5], 6) // at offset 40 of a datagram
  later.set([0, 0], 10)
  const sum = checksum(later.slice(0, 20))
  later.set([sum >> 8, sum & 255], 10)
  const { packet } = bench.fromCore(ipFrame(MAC.core, MAC.router, later))
  t.same(packet.slice(34), later.slice(20), 'a later fragment has no transport header to correct')
  t.equal(checksum(packet.slice(14, 34)), 0, 'its own header is right')
  t.same(packet.slice(30, 34), addressBytes(HOST[4]))
  for (const family of FAMILIES) {
    const error = (to: string) => tooBig(family, to)
    const back = bench.fromCore(ipFrame(MAC.core, MAC.router, error(SEEN[family]))).packet
    t.same(back.slice(14), error(HOST[family]), `IPv${family} too-big, also what it quotes`)
    const pong = { source: INTERNET[family], destination: SEEN[family] }
    const reply = family === 4 ? ip({ ...pong, protocol: 1 }, data(60)) : undefined
    if (reply === undefined) continue
    const plain = bench.fromCore(ipFrame(MAC.core, MAC.router, reply)).packet
    t.same(plain.slice(34), reply.slice(20), 'what is no error quotes nothing')
  }
  bench.putNode({})
  const frame = ipFrame(MAC.core, MAC.router, later)
  t.same(bench.fromCore(frame).packet, frame, 'without translations nothing is looked at')
})
