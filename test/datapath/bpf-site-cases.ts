/**
 * What the site interface sees of its endpoints: source EIDs, ARP, neighbour discovery, RARP, and the
 * answers given for EIDs that are elsewhere (RFC 826, RFC 4861, RFC 5227).
 */
import t from 'tap'
import { LOCAL_EID_FLAGS, SEEN_BY, SITE_INTERFACE_FLAGS } from '../../src/datapath/abi.generated.js'
import { bench, limited } from './bpf-fixtures.js'
import { addressBytes, arp, ethernet, ipFrame, macBytes, neighbour } from './frames.js'
import { FAMILIES, fromHost, HOST, REMOTE } from './packets.js'
import { MAC, VERDICT } from './workbench.js'

t.test('a source EID of a dynamic prefix that is not known here is reported', async (t) => {
  bench.putSite(SITE_INTERFACE_FLAGS['dynamic-eids'])
  bench.putLocal('10.1.0.0/24', 'prefix')
  bench.putMapCache(REMOTE[4], 'forward', [{ family: 4 }])
  bench.putLocal('10.1.0.40', 'local', { mac: MAC.host })
  bench.putLocal('10.1.0.41', 'away')
  for (const source of ['10.1.0.40', '10.1.0.41', '10.1.0.42', '10.1.0.42', '10.99.0.1'])
    t.equal(bench.fromSite(fromHost(4, { source })).verdict, VERDICT.redirect, 'and sent')
  const event = await bench.event('local-eid-seen', '10.1.0.42')
  t.same(event?.mac, Uint8Array.from([2, 0, 0, 0, 1, 2]))
  t.equal(event?.interfaceIndex, bench.network.site)
  t.ok(await bench.event('local-eid-seen', '10.1.0.41'), 'away: it may have come back')
  for (const known of ['10.1.0.40', '10.99.0.1'])
    t.equal(bench.countEvents('local-eid-seen', known), 0, 'known, or not of a dynamic prefix')
  const again = fromHost(4, { source: '10.1.0.43' })
  await limited(t, 'local-eid-seen', '10.1.0.43', 50, () => bench.fromSite(again))
})

const ASKED = { 4: '10.1.0.50', 6: 'fd00:a::50' } as const
const OTHER_MAC = '02:00:00:00:01:99'

function ask(target: string, sender = '10.1.0.2', mac: string = MAC.host) {
  const request = arp({ operation: 1, senderMac: mac, sender, target })
  return bench.fromSite(ethernet(MAC.broadcast, mac, 0x0806, request))
}

/** `linkLayer` undefined: a solicitation without the source link-layer option. */
function solicit(
  target: string,
  source: string = HOST[6],
  linkLayer: string | undefined = MAC.host,
) {
  const fields = { type: 135, source, destination: 'ff02::1:ff00:50', target } as const
  const packet = neighbour(linkLayer === undefined ? fields : { ...fields, linkLayer })
  return bench.fromSite(ipFrame('33:33:ff:00:00:50', MAC.host, packet))
}

t.test('ARP and neighbour solicitations for EIDs elsewhere are answered exactly', async (t) => {
  bench.putSite(SITE_INTERFACE_FLAGS['proxy-neighbours'])
  bench.putLocal('fd00:a::/64', 'prefix')
  const before = bench.tallies('proxied-neighbour')
  for (const action of ['forward', 'hold', 'draining'] as const) {
    for (const family of FAMILIES) bench.putMapCache(ASKED[family], action, [{ family: 4 }])
    const reply = ask(ASKED[4])
    t.equal(reply.verdict, VERDICT.redirect, action)
    const fields = { senderMac: MAC.site, sender: ASKED[4], targetMac: MAC.host, target: HOST[4] }
    t.same(reply.packet, ethernet(MAC.host, MAC.site, 0x0806, arp({ operation: 2, ...fields })))
    const advertisement = neighbour({
      type: 136,
      flags: 0x60000000,
      source: ASKED[6],
      destination: HOST[6],
      target: ASKED[6],
      linkLayer: MAC.site,
    })
    for (const linkLayer of [MAC.host, undefined]) {
      const answer = linkLayer ? solicit(ASKED[6]) : solicit(ASKED[6], HOST[6], undefined)
      t.equal(answer.verdict, VERDICT.redirect)
      t.same(answer.packet, ipFrame(MAC.host, MAC.site, advertisement), 'with checksum')
    }
  }
  t.equal(bench.tallies('proxied-neighbour'), before + 9)
})

t.test('questions that are not ours to answer stay with the kernel', async (t) => {
  const unanswered = (result: { verdict: number }, name: string) =>
    t.equal(result.verdict, VERDICT.pass, name)
  for (const family of FAMILIES) bench.putMapCache(ASKED[family], 'forward', [{ family: 4 }])
  unanswered(ask(ASKED[4], '0.0.0.0'), 'ARP probe (RFC 5227)')
  unanswered(solicit(ASKED[6], '::'), 'duplicate address detection (RFC 4862)')
  unanswered(ask(ASKED[4], ASKED[4]), 'gratuitous ARP: the asker asks for its own address')
  unanswered(solicit(ASKED[6], ASKED[6]), 'the same with IPv6')
  unanswered(ask(ASKED[4], HOST[4], MAC.site), 'our own frames')
  for (const family of FAMILIES) bench.putLocal(ASKED[family], 'local', { mac: OTHER_MAC })
  unanswered(ask(ASKED[4]), 'the endpoint is here and answers itself')
  unanswered(solicit(ASKED[6]), 'the same with IPv6')
  const flags = LOCAL_EID_FLAGS['no-proxy']
  for (const family of FAMILIES) bench.putLocal(ASKED[family], 'away', { flags })
  unanswered(ask(ASKED[4]), 'on its way out: it may still answer itself')
  unanswered(solicit(ASKED[6]), 'the same with IPv6')
  for (const family of FAMILIES) bench.putLocal(ASKED[family], 'away')
  t.equal(ask(ASKED[4]).verdict, VERDICT.redirect, 'once it has gone we answer')
  t.equal(solicit(ASKED[6]).verdict, VERDICT.redirect, 'the same with IPv6')
  for (const family of FAMILIES) bench.deleteLocal(ASKED[family])
  for (const family of FAMILIES) bench.putMapCache(ASKED[family], 'native')
  unanswered(ask(ASKED[4]), 'native: the gateway itself')
  bench.putMapCache('10.66.0.9', 'forward', [{ family: 4 }])
  unanswered(ask('10.66.0.9'), 'outside the dynamic prefixes')
  for (const family of FAMILIES) bench.deleteMapCache(ASKED[family])
  unanswered(ask(ASKED[4]), 'no mapping yet')
  unanswered(solicit(ASKED[6]), 'the same with IPv6')
  const wanted = await bench.event('eid-wanted', ASKED[4])
  t.same(wanted?.peer.slice(0, 4), addressBytes(HOST[4]), 'but it is asked for')
  t.same((await bench.event('eid-wanted', ASKED[6]))?.peer, addressBytes(HOST[6]))
  await limited(t, 'eid-wanted', '10.1.0.51', 1000, () => ask('10.1.0.51'))
  bench.putSite(0)
  for (const family of FAMILIES) bench.putMapCache(ASKED[family], 'forward', [{ family: 4 }])
  unanswered(ask(ASKED[4]), 'not switched on')
})

t.test('endpoints show themselves by ARP, neighbour discovery and RARP', async (t) => {
  bench.putSite(SITE_INTERFACE_FLAGS['dynamic-eids'])
  const { site } = bench.network
  bench.putLocal('10.1.0.60', 'local', { mac: MAC.host })
  ask('10.1.0.1', '10.1.0.60')
  ask('10.1.0.1', '10.1.0.61', MAC.site)
  ask('10.1.0.62', '10.1.0.62', OTHER_MAC)
  bench.putLocal('10.1.0.63', 'local', { mac: MAC.host })
  ask('10.1.0.1', '10.1.0.63', OTHER_MAC)
  solicit('fd00:a::1', 'fd00:a::64')
  const fields = { type: 136, destination: 'ff02::1', linkLayer: MAC.host } as const
  const unsolicited = neighbour({ ...fields, source: 'fe80::5', target: 'fd00:a::65' })
  bench.fromSite(ipFrame('33:33:00:00:00:01', MAC.host, unsolicited))
  const rarp = arp({ operation: 3, senderMac: OTHER_MAC, sender: '0.0.0.0', target: '0.0.0.0' })
  bench.fromSite(ethernet(MAC.broadcast, OTHER_MAC, 0x8035, rarp))
  const gratuitous = await bench.event('local-eid-seen', '10.1.0.62')
  t.equal(gratuitous?.detail, SEEN_BY.arp)
  t.same(gratuitous?.mac, macBytes(OTHER_MAC))
  t.same((await bench.event('local-eid-seen', '10.1.0.63'))?.mac, macBytes(OTHER_MAC), 'new MAC')
  const byDiscovery = SEEN_BY['neighbour-advertisement']
  t.equal((await bench.event('local-eid-seen', 'fd00:a::64'))?.detail, byDiscovery)
  t.equal((await bench.event('local-eid-seen', 'fd00:a::65'))?.detail, byDiscovery)
  const announced = await bench.event('mac-seen')
  t.same(announced?.mac, macBytes(OTHER_MAC))
  t.equal(announced?.interfaceIndex, site)
  for (const silent of ['10.1.0.60', '10.1.0.61'])
    t.equal(bench.countEvents('local-eid-seen', silent), 0, 'known, or our own frame')
})
