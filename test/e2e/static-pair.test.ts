/**
 * Real packets between two static sites, over both RLOC families.
 *
 *   host1 ── left ── core ── right ── host2       (mapping: Map-Server and Map-Resolver)
 *
 * Each RLOC family is brought up once; both EID families cross it: that makes the four
 * combinations.
 */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { AdjustConfig } from '../../src/lab/daemons.js'
import { labSkip, type RunningLab, startLab } from '../support/running-lab.js'

const HOST2 = { ipv4: '10.32.0.2', ipv6: 'fd00:32::2' } as const
const EID_FAMILIES = ['ipv4', 'ipv6'] as const
const PORT = '5000'

t.setTimeout(120_000)

/** Gives RLOCs of `family` the better priority. */
function prefer(family: 'ipv4' | 'ipv6'): AdjustConfig {
  return (_node, config) => ({
    ...config,
    rlocs: (config['rlocs'] as { address: string }[]).map((rloc) => ({
      ...rloc,
      priority: rloc.address.includes(':') === (family === 'ipv6') ? 1 : 2,
    })),
  })
}

for (const rlocFamily of ['ipv4', 'ipv6'] as const) {
  t.test(`between ${rlocFamily} RLOCs`, { skip: labSkip }, async (t) => {
    const lab = await startLab(t, 'static-pair.yaml', `e2e-${rlocFamily}`, {
      adjust: prefer(rlocFamily),
    })
    for (const family of EID_FAMILIES) {
      t.test(`an ${family} stream that starts cold loses nothing`, (t) =>
        checkStream(t, lab, rlocFamily, family),
      )
      t.test(`${family} TCP of 1500-byte hosts works from the first byte`, (t) =>
        checkTcp(t, lab, family),
      )
      t.test(`${family} packets too big for the tunnel are reported to their sender`, (t) =>
        checkPathMtu(t, lab, rlocFamily, family, 1500),
      )
    }
    t.test('a narrower link further on is learnt from ICMP, by sender and TCP alike', (t) =>
      checkNarrowLink(t, lab, rlocFamily),
    )
  })
}

async function checkStream(
  t: Test,
  lab: RunningLab,
  rlocFamily: 'ipv4' | 'ipv6',
  family: 'ipv4' | 'ipv6',
): Promise<void> {
  const file = join(lab.directory, `${family}.records`)
  const receiver = lab.probe('host2', 'stream', 'recv', '--port', PORT, '--records', file)
  const filter = `${rlocFamily === 'ipv4' ? 'ip' : 'ip6'} and udp dst port 4341`
  const words = ['-i', 'left', '-n', '-c', '20', '-w', join(lab.directory, `${family}.pcap`)]
  const capture = lab.start('core', 'tcpdump', ...words, filter)
  await Promise.all([receiver.says('listening'), capture.says('listening')])
  // DSCP 46 with ECT(0): both halves of the octet must cross the tunnel unchanged.
  const stream = ['--stream', `1,${HOST2[family]},${PORT}`, '--traffic-class', '186']
  const sent = await lab.probe('host1', 'stream', 'send', ...stream, '--count', '500').finished
  t.match(JSON.parse(sent.stdout), { streams: [{ sent: 500, errors: 0 }] })
  await new Promise((resolve) => setTimeout(resolve, 200))
  await receiver.stop()
  const records = lab.records(file)
  t.equal(records.length, 500, 'every packet arrived, the first among them')
  t.same(
    records.map(({ sequence }) => sequence),
    records.map((_, index) => index),
    'in order, once',
  )
  t.ok(
    records.every(({ trafficClass }) => trafficClass === 186),
    'DSCP and ECN arrived as they were sent',
  )
  t.ok(
    records.every(({ hopLimit }) => hopLimit > 0 && hopLimit < 64),
    'routers on the way are counted in the inner header',
  )
  const { stderr } = await capture.finished
  t.match(stderr, /20 packets captured/, `encapsulated between ${rlocFamily} RLOCs`)
}

async function checkTcp(t: Test, lab: RunningLab, family: 'ipv4' | 'ipv6'): Promise<void> {
  const serve = lab.probe('host2', 'tcp', 'serve', '--port', '5001')
  await serve.says('listening')
  const options = ['--to', HOST2[family], '--port', '5001', '--bytes', '20000000']
  const [client, server] = await Promise.all([
    lab.probe('host1', 'tcp', 'connect', ...options).finished,
    serve.finished,
  ])
  const [near, far] = [JSON.parse(client.stdout), JSON.parse(server.stdout)]
  t.match(near, { corrupt: 0, resets: 0, complete: true })
  t.match(far, { corrupt: 0, resets: 0, complete: true })
  t.equal(far.received, near.sent, 'all bytes arrived')
  t.equal(near.received, far.sent)
  t.ok(near.sent >= 20_000_000)
  t.ok(near.longestStallMs < 2_000, `longest stall ${near.longestStallMs} ms`)
}

async function checkPathMtu(
  t: Test,
  lab: RunningLab,
  rlocFamily: 'ipv4' | 'ipv6',
  family: 'ipv4' | 'ipv6',
  pathMtu: number,
): Promise<void> {
  const file = join(lab.directory, `${family}-big.records`)
  const receiver = lab.probe('host2', 'stream', 'recv', '--port', PORT, '--records', file)
  await receiver.says('listening')
  await lab.run('host1', 'ip', 'route', 'flush', 'cache')
  await lab.run('host1', 'ip', '-6', 'route', 'flush', 'cache')
  const stream = ['--stream', `2,${HOST2[family]},${PORT}`, '--size', '1440', '--rate', '50']
  await lab.probe('host1', 'stream', 'send', ...stream, '--count', '30').finished
  await new Promise((resolve) => setTimeout(resolve, 200))
  await receiver.stop()
  // The path less LISP, UDP and the outer IP header (RFC 9300 §7).
  const mtu = pathMtu - 16 - (rlocFamily === 'ipv4' ? 20 : 40)
  const route = await lab.run('host1', 'ip', 'route', 'get', HOST2[family])
  t.match(route.stdout, new RegExp(`mtu ${mtu}\\b`), 'the sender has learnt what fits')
  const received = lab.records(file).length
  t.ok(received >= 25, `${received} of 30 arrived: fragmented by their sender once it knew`)
}

/** The route of the core to the right site takes 1400 bytes, its interface more: as from further on. */
async function checkNarrowLink(
  t: Test,
  lab: RunningLab,
  rlocFamily: 'ipv4' | 'ipv6',
): Promise<void> {
  const [version, prefix, about]: [string, string, string[]] =
    rlocFamily === 'ipv4'
      ? ['-4', '172.17.2.0/24', ['proto', 'kernel', 'scope', 'link', 'src', '172.17.2.254']]
      : ['-6', 'fd00:d:2::/64', ['proto', 'kernel', 'metric', '256']]
  const narrowed = ['route', 'replace', prefix, 'dev', 'right', ...about, 'mtu', 'lock', '1400']
  const changed = await lab.run('core', 'ip', version, ...narrowed)
  t.equal(changed.code, 0, changed.stderr)
  for (const family of ['-4', '-6']) await lab.run('host1', 'ip', family, 'route', 'flush', 'cache')
  await checkTcp(t, lab, 'ipv4')
  for (const family of EID_FAMILIES) await checkPathMtu(t, lab, rlocFamily, family, 1400)
  const { body } = await lab.api('left', '/v1/locators')
  const { locators } = body as { locators: { rloc: string; pathMtu?: number }[] }
  t.same(
    locators.filter(({ pathMtu }) => pathMtu !== undefined).map(({ pathMtu }) => pathMtu),
    [1400],
  )
}
