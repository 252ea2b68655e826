import t from 'tap'
import { decodeMessage, encodeMessage } from '../../src/lisp/message.js'
import {
  aKey,
  aLocator,
  aMapping,
  aMapRequest,
  aNodeConfig,
  anAddress,
  anIdentity,
  aPrefix,
  aSite,
} from '../support/builders.js'
import { createMappingSystem, inWords, recordsOf } from '../support/mapping-system.js'

const ITR = '198.51.100.1'
const ETR = '192.0.2.1'
const mapServer = { sites: [aSite()], registrationMs: 180_000, maximumRegistrations: 1000 }
const config = aNodeConfig({ mapServer })

function withRegistrations(records: ReturnType<typeof aMapping>[], proxyReply = true) {
  const system = createMappingSystem(config)
  for (const [index, record] of records.entries()) {
    const identity = anIdentity(index + 1)
    const result = system.register(0, ETR, { nonce: 1n, identity, proxyReply, records: [record] })
    t.match(result.names, [/acknowledgement/, 'registration-added'])
  }
  return system
}

t.test(
  'a proxy reply has the mapping, A and L clear, and goes to where the request came from',
  async (t) => {
    const locators = [aLocator(ETR, { local: true }), aLocator('192.0.2.2', { reachable: false })]
    const system = withRegistrations([aMapping({ mapVersion: 9, locators })])
    const { sent, taken } = system.request(0, ITR, aMapRequest({ nonce: 77n }))
    t.ok(taken)
    t.match(sent, [{ from: '203.0.113.1', to: ITR, toPort: 61_000 }])
    t.match(sent[0]?.message, {
      kind: 'map-reply',
      rlocProbe: false,
      nonce: 77n,
      records: [
        {
          authoritative: false,
          mapVersion: 9,
          ttlMinutes: 15,
          locators: [
            { local: false, reachable: true },
            { local: false, reachable: false },
          ],
        },
      ],
    })
  },
)

t.test('the reply goes to the first ITR-RLOC of a family that we have', async (t) => {
  const v6only = aNodeConfig({ mapServer, rlocs: config.rlocs.slice(1) })
  const system = createMappingSystem(v6only)
  const itrRlocs = [ITR, '2001:db8:c::1', '2001:db8:c::2'].map(anAddress)
  const { sent } = system.request(0, '2001:db8:c::1', aMapRequest({ itrRlocs }))
  t.match(sent, [{ from: '2001:db8:f::1', to: '2001:db8:c::1' }])
  const none = system.request(0, '2001:db8:c::1', aMapRequest({ itrRlocs: [anAddress(ITR)] }))
  t.strictSame(none.names, ['map-reply-suppressed no-common-family'])
})

t.test(
  'best match and all more-specifics with one TTL, as in the example of RFC 9301 §5.5',
  async (t) => {
    const system = withRegistrations([
      aMapping({ eidPrefix: '2001:db8:1::/48', ttlMinutes: 20 }),
      aMapping({ eidPrefix: '2001:db8:1:1::/64', ttlMinutes: 7 }),
      aMapping({ eidPrefix: '2001:db8:1:2::/64', ttlMinutes: 9 }),
    ])
    const ask = (eidPrefix: string) =>
      recordsOf(system.request(0, ITR, aMapRequest({ eidPrefix })).sent[0])
    const prefixes = (eidPrefix: string) =>
      ask(eidPrefix).map((record) => inWords(record).split(' ')[0])
    t.strictSame(prefixes('2001:db8:1:1::1/128'), ['2001:db8:1:1::/64'])
    t.strictSame(prefixes('2001:db8:1:5::5/128'), [
      '2001:db8:1::/48',
      '2001:db8:1:1::/64',
      '2001:db8:1:2::/64',
    ])
    t.strictSame(
      ask('2001:db8:1:6::5/128').map((record) => record.ttlMinutes),
      [7, 7, 7],
    )
  },
)

t.test(
  'where more-specifics do not fit, the reply is narrowed to where there are none',
  async (t) => {
    const system = createMappingSystem(config)
    system.register(0, ETR, { nonce: 1n, records: [aMapping({ eidPrefix: '10.1.0.0/16' })] })
    for (let host = 0; host < 40; host += 1) {
      const records = [aMapping({ eidPrefix: `10.1.0.${host}/32` })]
      system.register(0, ETR, { nonce: BigInt(host + 2), records })
    }
    const { sent } = system.request(0, ITR, aMapRequest({ eidPrefix: '10.1.64.1/32' }))
    t.match(recordsOf(sent[0]), [{ eidPrefix: aPrefix('10.1.64.0/18'), locators: [{}] }])
    t.ok(sent[0]!.bytes.length <= 548)
  },
)

t.test(
  'a configured EID that is not registered is forwarded natively for one minute',
  async (t) => {
    const fixed = aSite({
      name: 'fixed',
      keys: [aKey('fixed')],
      prefixes: [{ eidPrefix: aPrefix('10.4.0.0/16'), acceptMoreSpecifics: false }],
    })
    const system = createMappingSystem(
      aNodeConfig({ mapServer: { ...mapServer, sites: [aSite(), fixed] } }),
    )
    const reply = (eidPrefix: string) =>
      recordsOf(system.request(0, ITR, aMapRequest({ eidPrefix })).sent[0])
    t.match(reply('10.1.0.5/32'), [
      {
        eidPrefix: aPrefix('10.1.0.5/32'),
        ttlMinutes: 1,
        action: 'natively-forward',
        locators: [],
      },
    ])
    t.match(reply('10.4.3.2/32'), [{ eidPrefix: aPrefix('10.4.0.0/16'), ttlMinutes: 1 }])
  },
)

t.test(
  'an EID outside all sites is forwarded natively for 15 minutes, with the largest hole',
  async (t) => {
    const system = createMappingSystem(config)
    const reply = (eidPrefix: string) =>
      recordsOf(system.request(0, ITR, aMapRequest({ eidPrefix })).sent[0])
    t.match(reply('192.0.2.77/32'), [
      { eidPrefix: aPrefix('128.0.0.0/1'), ttlMinutes: 15, action: 'natively-forward' },
    ])
    t.match(reply('10.0.0.1/32'), [{ eidPrefix: aPrefix('10.0.0.0/16') }])
    t.match(reply('[9]10.1.0.5/32'), [{ eidPrefix: aPrefix('[9]0.0.0.0/0') }])
  },
)

t.test(
  'a request for a prefix wider than what is registered is answered for its first address',
  async (t) => {
    const system = withRegistrations([aMapping({ eidPrefix: '10.1.0.0/24' })])
    const { sent } = system.request(0, ITR, aMapRequest({ eidPrefix: '10.1.0.0/16' }))
    t.match(recordsOf(sent[0]), [{ eidPrefix: aPrefix('10.1.0.0/24'), locators: [{}] }])
  },
)

t.test('without P bit the request goes unaltered to one ETR of the best priority', async (t) => {
  const locators = [
    aLocator('192.0.2.1', { priority: 2 }),
    aLocator('192.0.2.2', { priority: 1 }),
    aLocator('192.0.2.3', { priority: 0, reachable: false }),
  ]
  const system = withRegistrations([aMapping({ locators })], false)
  const request = aMapRequest({ nonce: 5n, itrRlocs: [anAddress(ITR), anAddress('2001:db8:c::1')] })
  const { sent, names } = system.request(0, ITR, request)
  t.strictSame(names, ['map-request-forwarded'])
  t.match(sent, [{ from: '203.0.113.1', to: '192.0.2.2', toPort: 4342 }])
  const ecm = sent[0]?.message
  t.match(ecm, {
    kind: 'encapsulated-control',
    innerSourcePort: 61_000,
    innerDestinationPort: 4342,
  })
  t.match(ecm, { innerDestination: anAddress('10.1.0.5') })
  const inside = ecm?.kind === 'encapsulated-control' ? ecm.message : new Uint8Array()
  t.strictSame(new Uint8Array(inside), encodeMessage(request))
  t.match(decodeMessage(inside), { nonce: 5n, itrRlocs: [{}, {}] })
})

t.test('a registration without proxy reply at this very node is left to its ETR', async (t) => {
  const system = withRegistrations([aMapping({ locators: ['203.0.113.1'] })], false)
  const { sent, taken } = system.request(0, ITR, aMapRequest())
  t.notOk(taken)
  t.strictSame(sent, [])
})

t.test('requests that must not be answered are counted by reason', async (t) => {
  const system = withRegistrations([aMapping()])
  const suppressed = (about: Parameters<typeof aMapRequest>[0]) => {
    const { sent, names } = system.request(0, ITR, aMapRequest(about))
    t.strictSame(sent, [])
    return names
  }
  t.strictSame(suppressed({ rlocProbe: true }), [
    'map-reply-suppressed probe-through-mapping-system',
  ])
  t.strictSame(suppressed({ itrRlocs: [] }), ['map-reply-suppressed no-itr-rloc'])
  t.strictSame(suppressed({ doNotReply: true }), ['map-reply-suppressed do-not-reply'])
  t.strictSame(suppressed({ itrRlocs: [anAddress('224.0.0.1')] }), [
    'map-reply-suppressed no-common-family',
  ])
})

t.test('each record of a request is answered, up to a limit', async (t) => {
  const system = withRegistrations([aMapping()])
  const records = Array.from({ length: 10 }, (_, host) => ({
    subscribe: false,
    eidPrefix: aPrefix(`10.1.0.${host}/32`),
  }))
  const { sent, names } = system.request(0, ITR, aMapRequest({ records }))
  t.equal(sent.length, 8)
  t.equal(names.at(-1), 'map-reply-suppressed too-many-records')
})

t.test(
  'Map-Replies for one prefix to one RLOC: four at once, then one in three seconds',
  async (t) => {
    const system = withRegistrations([aMapping(), aMapping({ eidPrefix: '2001:db8:1::5/128' })])
    const ask = (now: number, eidPrefix = '10.1.0.5/32', rloc = ITR) => {
      const itrRlocs = [anAddress(rloc)]
      return system.request(now, ITR, aMapRequest({ eidPrefix, itrRlocs })).sent.length
    }
    t.strictSame(
      [0, 0, 0, 0, 0].map((now) => ask(now)),
      [1, 1, 1, 1, 0],
    )
    t.equal(ask(0, '2001:db8:1::5/128'), 1, 'the other family of the endpoint does not wait')
    t.equal(ask(0, '10.1.0.5/32', '198.51.100.2'), 1, 'nor another ITR')
    t.strictSame(
      [2999, 3000, 3001, 6000].map((now) => ask(now)),
      [0, 1, 0, 1],
    )
  },
)

t.test('one RLOC gets no more than the configured number of replies in a second', async (t) => {
  const system = createMappingSystem(
    aNodeConfig({ mapServer, mapCache: { ...config.mapCache, repliesPerLocatorPerSecond: 10 } }),
  )
  let answered = 0
  for (let host = 0; host < 50; host += 1) {
    const eidPrefix = `10.1.0.${host}/32`
    answered += system.request(0, ITR, aMapRequest({ eidPrefix })).sent.length
  }
  t.equal(answered, 10)
})

t.test('a Map-Resolver sends on what is of no site of its own, and never in circles', async (t) => {
  const elsewhere = '203.0.113.200'
  const client = {
    address: anAddress(elsewhere),
    key: aKey(),
    proxyReply: true,
    registerMs: 60_000,
    ttlMinutes: 15,
  }
  const system = createMappingSystem(aNodeConfig({ mapServer, mapServers: [client] }))
  const foreign = aMapRequest({ eidPrefix: '10.7.0.1/32' })
  const { sent } = system.request(0, ITR, foreign)
  t.match(sent, [{ to: elsewhere, toPort: 4342, message: { kind: 'encapsulated-control' } }])
  t.match(system.request(0, ITR, aMapRequest()).sent, [{ to: ITR }], 'its own it answers')
  const back = system.request(0, elsewhere, { ...foreign, nonce: 8n })
  t.match(
    back.sent,
    [{ to: ITR, message: { kind: 'map-reply' } }],
    'not back to where it came from',
  )
  const circle = Array.from({ length: 6 }, () => system.request(0, ITR, foreign).sent.length)
  t.strictSame(circle, [1, 1, 1, 0, 0, 0])
})
