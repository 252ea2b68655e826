/**
 * LISP sites and a plain Internet host, both ways (RFC 6832), and packets along an explicit locator
 * path through two RTRs (RFC 8060 §4.6): topologies/interworking.yaml with real packets.
 */
import t, { type Test } from 'tap'
import { labSkip, type RunningLab, startLab } from '../support/running-lab.js'

t.setTimeout(120_000)

const INTERNET = { ipv4: '198.51.100.2', ipv6: '2001:db8:100::2' } as const
const HOST1 = { ipv4: '10.61.0.2', ipv6: 'fd00:61::2' } as const
const HOST2 = { ipv4: '10.62.0.2', ipv6: 'fd00:62::2' } as const
/** HOST2 as the Internet knows it. */
const OUTSIDE2 = { ipv4: '203.0.113.2', ipv6: '2001:db8:200::2' } as const
const FAMILIES = ['ipv4', 'ipv6'] as const
const PORT = '5001'

/** Every one of `count` pings is answered. */
async function pings(t: Test, lab: RunningLab, from: string, to: string, what: string) {
  const { stdout } = await lab.run(from, 'ping', '-c', '3', '-i', '0.1', '-W', '3', to)
  t.match(stdout, /3 received/, what)
}

/** TCP from the first byte: checksums of both directions, and the size of segments. */
async function tcp(t: Test, lab: RunningLab, from: string, at: string, to: string, what: string) {
  const serve = lab.probe(at, 'tcp', 'serve', '--port', PORT)
  await serve.says('listening')
  const options = ['--to', to, '--port', PORT, '--bytes', '2000000']
  const client = await lab.probe(from, 'tcp', 'connect', ...options).finished
  const server = await serve.finished
  t.match(JSON.parse(client.stdout), { corrupt: 0, resets: 0, complete: true }, what)
  t.equal(JSON.parse(server.stdout).received, JSON.parse(client.stdout).sent, `${what}: all bytes`)
}

/** Three pings and their answers. */
const EXPECTED_PACKETS = '6'

/**
 * Packets that match `filter` on an interface of the core while `during` runs, as many as
 * `EXPECTED_PACKETS`; what came within ten seconds when they stay fewer.
 */
async function seen(lab: RunningLab, link: string, filter: string, during: () => Promise<void>) {
  const tcpdump = ['tcpdump', '-i', link, '-c', EXPECTED_PACKETS, '-n', '-v', '-l', filter]
  const capture = lab.start('core', 'timeout', '10', ...tcpdump)
  await capture.says('listening')
  await during()
  return (await capture.finished).stdout
}

t.test('LISP sites and the rest of the Internet', { skip: labSkip }, async (t) => {
  const lab = await startLab(t, 'interworking.yaml', 'e2e-interworking')

  for (const family of FAMILIES) {
    t.test(
      `${family}: a plain host reaches a LISP host through the Proxy-ITR, and back`,
      async (t) => {
        const filter = 'udp port 4341'
        const outer = await seen(lab, 'near', filter, () =>
          pings(t, lab, 'internet', HOST1[family], 'no packet is lost, the first neither'),
        )
        t.match(outer, /172\.19\.3\.1\.\d+ > 172\.19\.1\.1\.4341/, 'from the RLOC of the Proxy-ITR')
        t.match(outer, /172\.19\.1\.1\.\d+ > 172\.19\.3\.1\.4341/, 'to the Proxy-ETR')
        await tcp(t, lab, 'internet', 'host1', HOST1[family], 'TCP from outside')
      },
    )
    t.test(`${family}: a LISP host reaches a plain host through the Proxy-ETR`, async (t) => {
      await pings(t, lab, 'host1', INTERNET[family], 'no packet is lost')
      await tcp(t, lab, 'host1', 'internet', INTERNET[family], 'TCP from inside')
    })
    t.test(`${family}: LISP-NAT lets a site out under routable addresses`, async (t) => {
      const version = family === 'ipv4' ? 'ip' : 'ip6'
      const plain = await seen(lab, 'proxy', `${version} host ${OUTSIDE2[family]}`, () =>
        pings(t, lab, 'host2', INTERNET[family], 'no packet is lost'),
      )
      t.notMatch(plain, /172\.19\./, 'natively')
      await pings(t, lab, 'internet', OUTSIDE2[family], 'and from outside')
      await tcp(t, lab, 'host2', 'internet', INTERNET[family], 'TCP from inside')
      await tcp(t, lab, 'internet', 'host2', OUTSIDE2[family], 'TCP from outside')
    })
    t.test(`${family}: packets follow the explicit locator path through two RTRs`, async (t) => {
      let first = ''
      const last = await seen(lab, 'far', 'udp dst port 4341', async () => {
        first = await seen(lab, 'rtr1', 'udp dst port 4341', () =>
          pings(t, lab, 'host1', HOST2[family], 'no packet is lost'),
        )
      })
      t.match(first, /172\.19\.1\.1\.\d+ > 172\.19\.5\.1\.4341/, 'near to the first RTR')
      t.match(first, /172\.19\.5\.1\.\d+ > 172\.19\.6\.1\.4341/, 'from there to the second')
      t.match(last, /172\.19\.6\.1\.\d+ > 172\.19\.2\.1\.4341/, 'from there to the ETR')
      await tcp(t, lab, 'host1', 'host2', HOST2[family], 'TCP along the path')
    })
  }
})
