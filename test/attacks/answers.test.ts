/**
 * Attacks that use what a node answers: amplification, answers used up in somebody else's name,
 * requests without end or in each other, floods of subscriptions, forged Map-Referrals. Measured
 * factors are told as comments.
 */
import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import { TARGETS_PER_SOURCE } from '../../src/control/answer-limits.js'
import type { MapReferral, ReferralRecord } from '../../src/lisp/map-referral.js'
import { encodeMessage, type MapRequest } from '../../src/lisp/message.js'
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
  aSubscriptionPolicy,
} from '../support/builders.js'
import { createConversation, type Reaction, sentOf } from '../support/conversation.js'
import { createTree, encapsulated, RESOLVER } from '../support/delegation-tree.js'
import { registerBytes } from '../support/mapping-system.js'

const ATTACKER = '198.51.100.66'
const VICTIM = '198.51.100.7'
const ETR = '192.0.2.1'
/** IPv4 and UDP headers, which both directions have. */
const HEADERS = 28

/** A Map-Server and Map-Resolver with `count` registered EIDs in 10.1.0.0/16. */
function aMappingSystem(count: number, about: Partial<NodeConfig> = {}) {
  const config = aNodeConfig({
    roles: ['map-server', 'map-resolver'],
    mapServer: { sites: [aSite()], registrationMs: 180_000, maximumRegistrations: 1000 },
    subscriptions: aSubscriptionPolicy(),
    ...about,
  })
  const talk = createConversation(config)
  const locators = [aLocator(ETR, { local: true }), aLocator('192.0.2.2')]
  for (let first = 0; first < count; first += 20) {
    const records = Array.from({ length: Math.min(20, count - first) }, (_, at) =>
      aMapping({ eidPrefix: eid(first + at), locators }),
    )
    const nonce = BigInt(first + 1)
    talk.bytes(0, ETR, registerBytes({ nonce, records, identity: anIdentity(0xaa) }))
  }
  return talk
}

function eid(at: number): string {
  return `10.1.${at >> 8}.${at & 255}/32`
}

function asking(eidPrefix: string, itrRloc: string, about: Partial<MapRequest> = {}): Uint8Array {
  return encapsulated(aMapRequest({ eidPrefix, itrRlocs: [anAddress(itrRloc)], ...about }))
}

function bytesOf(reactions: readonly Reaction[]): number {
  return reactions
    .flatMap(({ sent }) => sent)
    .reduce((sum, { bytes }) => sum + bytes.length + HEADERS, 0)
}

t.test(
  'RFC 9301 §5.4: what a Map-Server sends to one address on an attacker’s word is bounded in bytes and rate',
  async (t) => {
    const talk = aMappingSystem(0)
    // A prefix and as many more-specifics as fit one message: each answer names all (RFC 9301 §5.5).
    const prefixes = ['10.1.200.0/24', ...Array.from({ length: 8 }, (_, at) => eid(200 * 256 + at))]
    const locators = [aLocator(ETR, { local: true }), aLocator('192.0.2.2')]
    const records = prefixes.map((eidPrefix) => aMapping({ eidPrefix, locators }))
    talk.bytes(0, ETR, registerBytes({ nonce: 1n, records }))
    const flood: Reaction[] = []
    let received = 0
    for (let at = 0; at < 10_000; at += 1) {
      const bytes = asking(`10.1.200.${100 + (at % 150)}/32`, VICTIM, { nonce: BigInt(at) })
      received += bytes.length + HEADERS
      flood.push(talk.bytes(1000 + at, ATTACKER, bytes))
    }
    const sent = flood.flatMap((one) => one.sent)
    t.ok(sent.every(({ bytes }) => bytes.length + HEADERS <= 576))
    t.ok(sent.length <= 100 + 10 * 100, `${sent.length} answers in ten seconds`)
    const bytes = bytesOf(flood)
    t.comment(`${received} bytes of questions at 1000 a second, ${bytes} of answers`)
    t.ok(bytes <= (100 + 10 * 100) * 576)
    const [single] = sent.slice().sort((a, b) => b.bytes.length - a.bytes.length)
    const factor = (single!.bytes.length + HEADERS) / (asking(eid(0), VICTIM).length + HEADERS)
    t.comment(
      `largest answer to one record: ${single!.bytes.length} bytes, factor ${factor.toFixed(1)}`,
    )
    t.ok(factor > 4 && factor < 7, `factor ${factor}`)
  },
)

t.test('RFC 9301 §5.4: one source that names ever new addresses is bounded as well', async (t) => {
  const talk = aMappingSystem(1)
  const flood = Array.from({ length: 20_000 }, (_, at) => {
    const victim = `100.64.${at >> 8}.${at & 255}`
    return talk.bytes(1000 + at / 20, ATTACKER, asking(eid(0), victim, { nonce: BigInt(at) }))
  })
  const sent = flood.flatMap((one) => one.sent)
  const perSecond = 100 * TARGETS_PER_SOURCE
  t.ok(sent.length <= 2 * perSecond, `${sent.length} answers in a second`)
  t.ok(sent.length >= perSecond, 'a Map-Resolver that asks for many is not held up')
})

t.test(
  'RFC 9301 §5.4: questions in somebody’s name do not use up the answers to its own',
  async (t) => {
    const talk = aMappingSystem(20)
    for (let at = 0; at < 5000; at += 1)
      talk.bytes(1000 + at / 5, ATTACKER, asking(eid(at % 20), VICTIM, { nonce: BigInt(at) }))
    for (let at = 0; at < 20; at += 1) {
      const own = talk.bytes(2000, VICTIM, asking(eid(at), VICTIM, { nonce: BigInt(90_000 + at) }))
      t.same(own.names, ['map-reply-sent'], eid(at))
    }

    const etr = createConversation(
      aNodeConfig({ eidPrefixes: [{ eidPrefix: aPrefix('10.2.0.0/16'), interfaceName: 'site' }] }),
    )
    const probe = (nonce: bigint) =>
      encodeMessage(
        aMapRequest({
          ...{ nonce, rlocProbe: true, eidPrefix: '10.2.0.1/32' },
          itrRlocs: [anAddress(VICTIM)],
        }),
      )
    const flood = Array.from({ length: 5000 }, (_, at) =>
      etr.bytes(1000 + at / 5, ATTACKER, probe(BigInt(at))),
    )
    const answers = flood.flatMap((one) => one.sent)
    t.ok(answers.length <= 200, `${answers.length} probes answered of 5000`)
    t.ok(bytesOf(flood) <= 200 * 200, 'small ones')
    t.equal(etr.bytes(2000, VICTIM, probe(99_999n)).sent.length, 1, 'it may probe all the same')
  },
)

t.test('RFC 9301 §5.3: a Map-Request of 255 records is answered for eight', async (t) => {
  const talk = aMappingSystem(255)
  const records = Array.from({ length: 255 }, (_, at) => ({
    subscribe: false,
    eidPrefix: aPrefix(eid(at)),
  }))
  const result = talk.bytes(1000, VICTIM, asking(eid(0), VICTIM, { records }))
  t.equal(result.sent.length, 8)
  t.ok(result.names.includes('map-reply-suppressed too-many-records'))
  const etr = createConversation(
    aNodeConfig({
      eidPrefixes: Array.from({ length: 100 }, (_, at) => ({
        eidPrefix: aPrefix(`10.1.0.${at}/32`),
        interfaceName: 'site',
      })),
    }),
  )
  const direct = encodeMessage(aMapRequest({ records, itrRlocs: [anAddress(VICTIM)] }))
  const answered = etr.bytes(1000, VICTIM, direct)
  t.match(answered.sent, [{ message: { kind: 'map-reply' } }])
  const [{ message }] = answered.sent as [Reaction['sent'][number]]
  t.equal('records' in message && message.records.length, 16)
})

t.test(
  'RFC 9301 §5.8: an ECM in an ECM, or around anything but a Map-Request, is counted and dropped',
  async (t) => {
    const talk = aMappingSystem(1)
    const wrap = (message: Uint8Array): Uint8Array =>
      encodeMessage({
        kind: 'encapsulated-control',
        ...{ security: false, ddtOriginated: false },
        innerSource: anAddress(VICTIM),
        innerDestination: anAddress('10.1.0.0'),
        ...{ innerSourcePort: 4342, innerDestinationPort: 4342 },
        message,
      })
    let nested: Uint8Array = asking(eid(0), VICTIM)
    for (let depth = 0; depth < 20; depth += 1) {
      nested = wrap(nested)
      const result = talk.bytes(1000, ATTACKER, nested)
      t.same([result.names, result.sent], [['datagram-ignored unexpected-inner-message'], []])
    }
    const register = wrap(registerBytes({ nonce: 1n << 40n, identity: anIdentity(0xaa) }))
    const inside = talk.bytes(1000, ETR, register)
    t.same(inside.names, ['datagram-ignored unexpected-inner-message'], 'genuine all the same')
    const probe = asking(eid(0), VICTIM, { rlocProbe: true })
    t.same(talk.bytes(1000, ATTACKER, probe).names, [
      'map-reply-suppressed probe-through-mapping-system',
    ])
  },
)

t.test(
  'RFC 9301 §8.4: a request that two Map-Resolvers send to each other ends by itself',
  async (t) => {
    const [one, two] = ['203.0.113.1', '203.0.113.2'].map((own, index, both) =>
      createConversation(
        aNodeConfig({
          roles: ['map-resolver'],
          rlocs: [{ address: anAddress(own), interfaceName: 'core', priority: 1, weight: 100 }],
          mapServers: [both[1 - index]!, '203.0.113.3'].map((address) => ({
            ...{ address: anAddress(address), key: aKey(), proxyReply: true },
            ...{ registerMs: 60_000, ttlMinutes: 15 },
          })),
        }),
      ),
    ) as [ReturnType<typeof createConversation>, ReturnType<typeof createConversation>]
    let waiting = [{ to: one, from: VICTIM, bytes: asking('10.5.0.1/32', VICTIM) }]
    let hops = 0
    for (; waiting.length > 0 && hops < 100; hops += 1) {
      const { to, from, bytes } = waiting.shift()!
      const { sent } = to.bytes(hops, from, bytes)
      const other = to === one ? two : one
      for (const each of sent)
        if (each.to !== '203.0.113.3')
          waiting.push({ to: other, from: each.from, bytes: each.bytes })
    }
    t.ok(hops <= 10, `${hops} hops`)
    waiting = []
  },
)

t.test(
  'RFC 9437 §7.2: subscriptions are bounded per xTR and in all, and one refused still gets its answer',
  async (t) => {
    const subscriptions = aSubscriptionPolicy({ maximum: 150, maximumPerXtr: 100 })
    const talk = aMappingSystem(255, { subscriptions })
    const second = anIdentity(0xbb)
    const records = [
      aMapping({ eidPrefix: '10.1.9.9/32', locators: [aLocator('192.0.2.9', { local: true })] }),
    ]
    talk.bytes(0, '192.0.2.9', registerBytes({ nonce: 1n, records, identity: second }))
    const subscribe = (from: string, byte: number, at: number) =>
      talk.bytes(
        1000 + 20 * at,
        from,
        asking(eid(at), from, {
          nonce: BigInt(5000 + at),
          identity: anIdentity(byte),
          records: [{ subscribe: true, eidPrefix: aPrefix(eid(at)) }],
        }),
      )
    const all: Reaction[] = []
    for (let at = 0; at < 255; at += 1) all.push(subscribe(ETR, 0xaa, at))
    for (let at = 0; at < 255; at += 1) all.push(subscribe('192.0.2.9', 0xbb, at))
    const names = all.flatMap((one) => one.names)
    t.equal(names.filter((one) => one === 'subscription-added').length, 150)
    t.ok(names.includes('subscription-refused too-many-of-this-xtr'))
    t.ok(names.includes('subscription-refused too-many-subscriptions'))
    t.equal(sentOf(all, 'map-reply').length, 510 - 150)
    t.equal(talk.node.snapshot(9000).subscriptions.length, 150)
    // Who is nobody's xTR gets no state at all, whatever xTR-IDs it invents.
    for (let at = 0; at < 300; at += 1) {
      const unknown = asking(eid(at % 255), ATTACKER, {
        ...{ nonce: BigInt(at), identity: anIdentity(at & 0x7f) },
        records: [{ subscribe: true, eidPrefix: aPrefix(eid(at % 255)) }],
      })
      talk.bytes(10_000 + at * 10, ATTACKER, unknown)
    }
    t.equal(talk.node.snapshot(20_000).subscriptions.length, 150)
  },
)

t.test(
  'RFC 9437 §7.2: subscriptions of one xTR beyond its rate are answered plainly',
  async (t) => {
    const { mapCache } = aNodeConfig()
    const talk = aMappingSystem(1, {
      subscriptions: aSubscriptionPolicy({ maximum: 10_000, maximumPerXtr: 10_000 }),
      mapCache: { ...mapCache, repliesPerLocatorPerSecond: 10_000 },
    })
    const all = Array.from({ length: 3000 }, (_, at) =>
      talk.bytes(
        1000,
        ETR,
        asking(eid(at), ETR, {
          ...{ nonce: BigInt(5000 + at), identity: anIdentity(0xaa) },
          records: [{ subscribe: true, eidPrefix: aPrefix(eid(at)) }],
        }),
      ),
    )
    const names = all.flatMap((one) => one.names)
    t.equal(names.filter((one) => one === 'subscription-added').length, 2000)
    t.equal(names.filter((one) => one === 'subscription-refused rate-limited').length, 1000)
    t.equal(sentOf(all, 'map-reply').length, 1000)
  },
)

t.test('RFC 9301 §8: a flood of Info-Requests is counted and not answered', async (t) => {
  for (const talk of [aMappingSystem(1), createConversation(aNodeConfig())]) {
    const flood = Array.from({ length: 1000 }, (_, at) =>
      talk.bytes(
        1000,
        ATTACKER,
        encodeMessage({
          kind: 'info-request',
          ...{ nonce: BigInt(at), keyId: 1, algorithm: 3, authenticationData: new Uint8Array(16) },
          ...{ ttlMinutes: 1440, maskLength: 32 },
          eid: { kind: 'ip', address: anAddress('10.1.0.1') },
        }),
      ),
    )
    t.same(
      flood.flatMap(({ sent }) => sent),
      [],
    )
    t.equal(flood.filter(({ names }) => names.length === 1).length, 1000, 'each is counted once')
  }
})

t.test(
  'RFC 8111 §7.3: a Map-Referral is believed only of who was asked, with the nonce of the question, for the EID asked, and leads down',
  async (t) => {
    const tree = createTree()
    tree.fate = () => 0
    tree.ask('10.1.0.5/32', { nonce: 77n })
    const evil = (about: Partial<ReferralRecord>, nonce = 77n): Uint8Array => {
      const record: ReferralRecord = {
        eidPrefix: aPrefix('10.0.0.0/8'),
        ttlMinutes: 1440,
        action: 'node-referral',
        authoritative: true,
        incomplete: false,
        mapVersion: 0,
        locators: [aLocator(ATTACKER)],
        signatures: [],
        ...about,
      }
      const message: MapReferral = { kind: 'map-referral', nonce, records: [record] }
      return encodeMessage(message)
    }
    const tell = (from: string, bytes: Uint8Array): readonly string[] => {
      tree.forget()
      tree.deliver(RESOLVER, from, bytes)
      return tree.names()
    }
    const ROOT = '192.0.2.1'
    t.same(tell(ATTACKER, evil({})), ['map-referral-rejected unasked-source'])
    for (let nonce = 100n; nonce < 1100n; nonce += 1n)
      t.same(tell(ROOT, evil({}, nonce)), ['map-referral-rejected no-request'])
    t.same(tell(ROOT, evil({ eidPrefix: aPrefix('10.2.0.0/16') })), [
      'map-referral-rejected other-prefix',
    ])
    t.same(tell(ROOT, evil({ eidPrefix: aPrefix('[7]10.0.0.0/8') })), [
      'map-referral-rejected other-prefix',
    ])
    t.same(tree.nodes.get(RESOLVER)!.node.snapshot(0).referrals, [], 'nothing was learned')
    tell(ROOT, evil({ eidPrefix: aPrefix('10.0.0.0/8'), locators: [aLocator('192.0.2.11')] }))
    const upward = tell('192.0.2.11', evil({ eidPrefix: aPrefix('0.0.0.0/0') }))
    t.ok(upward.includes('map-referral-rejected less-specific'), upward.join(', '))
    const { referrals } = tree.nodes.get(RESOLVER)!.node.snapshot(0)
    t.notMatch(JSON.stringify(referrals), ATTACKER)
  },
)
