/**
 * The MTU of a path as ICMP of the underlay tells it (RFC 9300 §7.2): which errors an ITR believes, how
 * far, how long, and what it writes into its datapath then.
 */
import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import { parseIpAddress } from '../../src/lisp/address.js'
import { readTooBigError } from '../../src/lisp/icmp-too-big.js'
import { aHeldPacket, aMapping, aMapReply, aNodeConfig, anAddress } from '../support/builders.js'
import { createConversation, type Reaction, requestsIn } from '../support/conversation.js'
import { type TooBigFields, tooBigError } from '../support/too-big-error.js'

const PEER = { 4: '192.0.2.1', 6: '2001:db8:2::1' } as const

/** An ITR that sends packets to `rloc` already. */
function sendingTo(rloc: string, about: Partial<NodeConfig> = {}, instanceId = 0) {
  const mapResolvers = [anAddress('203.0.113.8')]
  const rlocProbe = { enabled: false, intervalMs: 10_000, failures: 3 }
  const talk = createConversation(aNodeConfig({ mapResolvers, rlocProbe, ...about }))
  const name = instanceId === 0 ? '10.1.0.5' : `[${instanceId}]10.1.0.5`
  const [request] = requestsIn([talk.datapath(0, aHeldPacket(name))])
  const mapping = aMapping({ eidPrefix: `${name}/32`, locators: [rloc], ttlMinutes: 1440 })
  talk.message(1, '203.0.113.8', aMapReply(request!.nonce, mapping))
  const hear = (at: number, family: 4 | 6, fields: TooBigFields = {}) =>
    talk.datapath(at, {
      kind: 'path-too-narrow',
      rloc: anAddress(fields.destination ?? PEER[family]),
      packet: tooBigError(family, fields).slice(0, 192),
    })
  return { ...talk, hear }
}

/** The path MTUs that were written. */
function written(reaction: Reaction | readonly Reaction[]): number[] {
  return [reaction]
    .flat()
    .flatMap(({ operations }) =>
      operations.flatMap((one) =>
        one.kind === 'put-map-cache' ? one.encapsulations.map(({ pathMtu }) => pathMtu) : [],
      ),
    )
}

t.test(
  'RFC 9300 §7.2: an ICMP error about a packet of ours lowers the MTU towards that locator',
  async (t) => {
    for (const family of [4, 6] as const) {
      const talk = sendingTo(PEER[family])
      const lowered = talk.hear(100, family)
      t.same(written(lowered), [1400])
      t.same(lowered.words, [`put-map-cache 10.1.0.5/32 forward ${PEER[family]}`])
      const event = { rloc: PEER[family], pathMtu: 1400, formerMtu: 1500 }
      t.match(lowered.events, [{ name: 'path-mtu-lowered', ...event }])
      const view = { rloc: PEER[family], pathMtu: 1400, reachable: true }
      t.match(talk.node.snapshot(200).locators, [view])
      t.equal(talk.node.tables.sizes().narrowedPaths, 1)
      t.same(written(talk.hear(200, family, { mtu: 1350 })), [1350], 'the next bottleneck')
      const again = talk.hear(300, family, { mtu: 1400 })
      t.same(again.names, ['path-mtu-ignored not-smaller'], 'what was on its way meanwhile')
    }
  },
)

t.test('it is forgotten after ten minutes, and entries made meanwhile have it too', async (t) => {
  const talk = sendingTo(PEER[4])
  talk.hear(1000, 4)
  const [request] = requestsIn([talk.datapath(2000, aHeldPacket('10.1.0.6'))])
  const other = aMapping({ eidPrefix: '10.1.0.6/32', locators: [PEER[4]] })
  t.same(written(talk.message(2001, '203.0.113.8', aMapReply(request!.nonce, other))), [1400])
  t.same(written(talk.runUntil(600_999)), [], 'kept for ten minutes')
  const forgotten = talk.runUntil(601_000)
  t.same(written(forgotten), [1500, 1500], 'written anew for all that go there')
  const event = { name: 'path-mtu-forgotten', rloc: PEER[4], pathMtu: 1500, formerMtu: 1400 }
  t.match(
    forgotten.flatMap(({ events }) => events).filter(({ name }) => name.startsWith('path-mtu')),
    [event],
  )
  t.same(talk.node.snapshot(601_001).locators, [])
  t.same(written(talk.hear(602_000, 4)), [1400, 1400], 'and learnt again by the next error')
})

t.test('RFC 9300 §7.2: an error that quotes no packet of ours is not believed', async (t) => {
  const talk = sendingTo(PEER[4])
  const refused: readonly [string, TooBigFields][] = [
    ['not-our-rloc', { source: '203.0.113.77' }],
    ['not-our-rloc', { to: '203.0.113.77' }],
    ['not-our-ports', { port: 4342 }],
    ['not-our-ports', { sourcePort: 0xbfff }],
    ['not-our-packet', { quoted: { dontFragment: false } }],
    ['not-our-packet', { lispFlags: 0 }],
    ['unknown-locator', { destination: '192.0.2.99' }],
    ['unknown-instance', { instanceId: 9 }],
    ['packet-fits', { innerBytes: 1000 }],
    ['malformed', { type: 11 }],
    ['malformed', { code: 3 }],
    ['malformed', { quotedBytes: 27 }],
    ['malformed', { quoted: { protocol: 6 } }],
    ['not-smaller', { mtu: 1500, innerBytes: 1600 }],
  ]
  for (const [index, [reason, fields]] of refused.entries()) {
    const reaction = talk.hear(100 + index, 4, fields)
    t.same(reaction.names, [`path-mtu-ignored ${reason}`], JSON.stringify(fields))
    t.same(reaction.words, [])
  }
  const checked = tooBigError(4)
  checked[20 + 8 + 20 + 7] = 1
  const event = { kind: 'path-too-narrow', rloc: anAddress(PEER[4]), packet: checked } as const
  t.same(talk.datapath(200, event).names, ['path-mtu-ignored not-our-packet'], 'a UDP checksum')
  t.same(written(talk.hear(300, 4, { quotedBytes: 28 })), [1400], 'a router that quotes 8 bytes')
})

t.test('the instance-ID that is quoted is one of what goes to the locator', async (t) => {
  const talk = sendingTo(PEER[4], {}, 7)
  t.same(talk.hear(100, 4).names, ['path-mtu-ignored unknown-instance'])
  t.same(written(talk.hear(200, 4, { instanceId: 7 })), [1400])
})

t.test('no error takes the MTU below the floor, and old routers name none', async (t) => {
  const low = sendingTo(PEER[4])
  t.same(written(low.hear(100, 4, { mtu: 68 })), [576], 'IPv4: our floor')
  const six = sendingTo(PEER[6])
  t.same(six.hear(100, 6, { mtu: 1279 }).names, ['path-mtu-ignored below-minimum'], 'RFC 8201 §4')
  t.same(written(six.hear(200, 6, { mtu: 1280 })), [1280])
  const old = sendingTo(PEER[4])
  t.same(written(old.hear(100, 4, { mtu: 0 })), [1492], 'RFC 1191 §7: the next plateau')
  t.same(written(old.hear(200, 4, { mtu: 0, innerBytes: 1400 })), [1006])
  t.same(written(old.hear(300, 4, { mtu: 0, innerBytes: 800 })), [576])
})

t.test('a flood of ever smaller values is limited', async (t) => {
  const talk = sendingTo(PEER[4])
  const reactions = Array.from({ length: 200 }, (_, at) =>
    talk.hear(100 + at, 4, { mtu: 1400 - at }),
  )
  t.equal(written(reactions).length, 4, 'four at once, then one in ten seconds')
  t.equal(
    reactions.flatMap(({ names }) => names).filter((one) => one.endsWith('rate-limited')).length,
    196,
  )
  t.same(written(talk.hear(11_000, 4, { mtu: 1000 })), [1000])
})

t.test('the switch turns it off', async (t) => {
  const talk = sendingTo(PEER[4], { pathMtuDiscovery: false })
  t.same(talk.hear(100, 4).names, ['path-mtu-ignored switched-off'])
})

t.test('the path to a Proxy-ETR is learnt for what is forwarded through it', async (t) => {
  const interworking = { petrRlocs: [anAddress(PEER[4])], attracted: [], sites: [] }
  const talk = sendingTo(PEER[6], { interworking: { ...interworking, translations: [] } })
  const [request] = requestsIn([talk.datapath(10, aHeldPacket('10.7.0.1'))])
  const negative = aMapping({
    eidPrefix: '10.7.0.0/16',
    action: 'natively-forward',
    locators: [],
  })
  const installed = talk.message(11, '203.0.113.8', aMapReply(request!.nonce, negative))
  t.same(written(installed), [1500])
  const lowered = talk.hear(100, 4)
  t.same(lowered.words, [`put-map-cache 10.7.0.0/16 forward ${PEER[4]}`])
  t.same(written(lowered), [1400])
})

t.test('an error is read with what it quotes, and never beyond its end', async (t) => {
  for (const family of [4, 6] as const) {
    const whole = tooBigError(family, { instanceId: 0x123456, mtu: 1300 })
    t.match(readTooBigError(whole), {
      mtu: 1300,
      quoted: {
        destination: parseIpAddress(PEER[family]),
        lengthBytes: (family === 4 ? 20 : 40) + 16 + 1460,
        lisp: { hasInstance: true, instanceId: 0x123456 },
      },
    })
    const headers = family === 4 ? 20 + 8 + 20 + 8 : 40 + 8 + 40 + 8
    for (let length = 0; length < headers; length += 1)
      t.equal(readTooBigError(whole.slice(0, length)), undefined, `${length} bytes`)
    for (let length = headers; length < headers + 8; length += 1)
      t.equal(readTooBigError(whole.slice(0, length))?.quoted.lisp, undefined)
    t.ok(readTooBigError(whole.slice(0, headers + 8))?.quoted.lisp)
  }
  t.equal(readTooBigError(Uint8Array.of(0x75, ...new Uint8Array(80))), undefined)
})
