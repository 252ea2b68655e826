/**
 * ICMP errors of the underlay (RFC 9300 §7.2): those about LISP data of ours are reported and passed on,
 * others are only passed on; and what the route to an RLOC has no room for.
 */
import t from 'tap'
import { formatIpAddress } from '../../src/lisp/address.js'
import { type TooBigFields, tooBigError } from '../support/too-big-error.js'
import { bench, dropped } from './bpf-fixtures.js'
import { ipFrame, udp } from './frames.js'
import { data, FAMILIES, fromHost, REMOTE } from './packets.js'
import { type Family, MAC, OWN_RLOC, VERDICT } from './workbench.js'

const frameOf = (family: Family, fields: TooBigFields = {}) =>
  ipFrame(MAC.core, MAC.router, tooBigError(family, { source: OWN_RLOC[family], ...fields }))

const reported = () => bench.raised.flatMap((one) => (one.kind === 'path-too-narrow' ? [one] : []))

t.test(
  'an ICMP error about LISP data of ours is reported with its head, and passed on',
  async (t) => {
    for (const family of FAMILIES) {
      const destination = family === 4 ? '198.51.100.40' : '2001:db8:d::40'
      const frame = frameOf(family, { destination })
      const tallied = bench.tallies('path-too-narrow')
      t.equal(bench.fromCore(frame).verdict, VERDICT.pass, 'the kernel gets it as well')
      t.equal(bench.tallies('path-too-narrow'), tallied + 1)
      await bench.drainEvents()
      const [event] = reported().filter(({ rloc }) => formatIpAddress(rloc) === destination)
      t.same(event?.packet, frame.slice(14, 14 + 192), `IPv${family}`)
    }
  },
)

t.test('an ICMP error about anything else is passed on and costs nothing', async (t) => {
  await bench.drainEvents()
  const [before, tallied] = [reported().length, bench.tallies('path-too-narrow')]
  for (const family of FAMILIES) {
    const others: readonly TooBigFields[] = [
      { source: family === 4 ? '192.0.2.9' : '2001:db8:c::9' },
      { to: family === 4 ? '192.0.2.9' : '2001:db8:c::9' },
      { port: 4342 },
      { sourcePort: 0xbfff },
      { type: family === 4 ? 11 : 3 },
      { quoted: { protocol: 6 } },
      { quotedBytes: 24 },
      ...(family === 4 ? [{ code: 3 }] : []),
    ]
    for (const fields of others)
      t.equal(bench.fromCore(frameOf(family, fields)).verdict, VERDICT.pass, JSON.stringify(fields))
  }
  await bench.drainEvents()
  t.equal(bench.tallies('path-too-narrow'), tallied)
  t.equal(reported().length, before)
})

t.test('a flood of ICMP errors is counted, and limited per RLOC and in all', async (t) => {
  const tallied = bench.tallies('path-too-narrow')
  const before = reported().length
  const startedAt = performance.now()
  const count = 300
  for (let i = 0; i < count; i++)
    bench.fromCore(frameOf(4, { destination: `198.51.100.${100 + (i % 100)}` }))
  const most = 50 + (performance.now() - startedAt + 20) / 10
  await bench.drainEvents()
  t.equal(bench.tallies('path-too-narrow'), tallied + count)
  const came = reported().length - before
  t.ok(came >= 1 && came <= most, `${came} of ${count}, at most ${most}`)
})

t.test('what the interface of the route has no room for is dropped for that reason', async (t) => {
  for (const rloc of FAMILIES) {
    // One that no smaller packet has gone to: next hops are kept for a moment.
    const destination = rloc === 4 ? '198.51.100.66' : '2001:db8:d::66'
    bench.putMapCache(REMOTE[4], 'forward', [{ family: rloc, destination, pathMtu: 9000 }])
    const frame = fromHost(4, { dontFragment: true }, udp(1, 2, data(1800)))
    dropped(t, 'too-big-for-route', () => bench.fromSite(frame), `IPv${rloc}`)
    bench.deleteMapCache(REMOTE[4])
  }
})
