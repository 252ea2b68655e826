/**
 * The ITR in literal conversations: an xTR at 203.0.113.1 and 2001:db8:f::1 with two Map-Resolvers;
 * every timer and every refusal has its moment here.
 */
import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import { chooseEncapsulations } from '../../src/control/itr/encapsulation-choice.js'
import { locator } from '../../src/lisp/locator.js'
import type { Mapping } from '../../src/lisp/mapping.js'
import type { MapRequest } from '../../src/lisp/message.js'
import {
  aHeldPacket,
  aLocator,
  aMapping,
  aMapReply,
  aMapRequest,
  aNodeConfig,
  anAddress,
  anEid,
  aPrefix,
} from '../support/builders.js'
import {
  createConversation,
  namesOf,
  type Reaction,
  sentOf,
  wordsOf,
} from '../support/conversation.js'

const RESOLVERS = ['203.0.113.8', '203.0.113.9']
const noProbes = { enabled: false, intervalMs: 10_000, failures: 3 }

function anItr(about: Partial<NodeConfig> = {}) {
  const config = aNodeConfig({
    mapResolvers: RESOLVERS.map(anAddress),
    eidPrefixes: [{ eidPrefix: aPrefix('10.2.0.0/16'), interfaceName: 'site' }],
    rlocProbe: noProbes,
    ...about,
  })
  return createConversation(config)
}

type Conversation = ReturnType<typeof anItr>

function requestOf(reaction: Reaction | readonly Reaction[]): MapRequest {
  const [first] = sentOf(Array.isArray(reaction) ? reaction : [reaction as Reaction], 'map-request')
  const message = first?.inner ?? first?.message
  if (message?.kind !== 'map-request') throw new Error('no Map-Request was sent')
  return message
}

/** Learns a mapping the usual way at `at` and returns what that brought. */
function learn(talk: Conversation, at: number, mapping: Mapping, eid = '10.1.0.5'): Reaction {
  const { nonce } = requestOf(talk.datapath(at, aHeldPacket(eid)))
  return talk.message(at, '198.51.100.9', aMapReply(nonce, mapping))
}

t.test('a miss asks once, and the reply installs and releases', async (t) => {
  const talk = anItr()
  const asked = talk.datapath(100, aHeldPacket('10.1.0.5'))
  t.equal(asked.sent.length, 1)
  const [ecm] = asked.sent
  t.match(ecm, { to: RESOLVERS[0], toPort: 4342, from: '203.0.113.1' })
  const request = requestOf(asked)
  t.match(request, { smrInvoked: false, rlocProbe: false, solicitMapRequest: false })
  t.same(request.sourceEid, anEid('10.2.0.7'))
  t.same(request.records, [{ subscribe: false, eidPrefix: aPrefix('10.1.0.5/32') }])
  t.equal(request.itrRlocs.length, 2, 'all our RLOCs')
  t.same(talk.datapath(105, aHeldPacket('10.1.0.5')).sent, [], 'already pending')

  const answered = talk.message(110, '198.51.100.1', aMapReply(request.nonce, aMapping()))
  t.same(answered.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.1 release 10.1.0.5'])
  t.ok(answered.names.includes('mapping-installed'))
  const again = talk.message(111, '198.51.100.1', aMapReply(request.nonce, aMapping()))
  t.same(again.names, ['map-reply-rejected unknown-nonce'], 'a nonce answers once')
})

t.test(
  'retries after 1, 2, 4 … s to the other resolver, gives up after ten, holds off 30 s',
  async (t) => {
    const talk = anItr()
    talk.datapath(0, aHeldPacket('10.1.0.5'))
    const steps = talk.runUntil(34_999)
    const requests = sentOf(steps, 'map-request')
    t.same(
      requests.map((one) => one.at),
      [1000, 3000, 7000, 11_000, 15_000, 19_000, 23_000, 27_000, 31_000],
    )
    t.same([...new Set(requests.slice(0, 2).map((one) => one.to))].sort(), RESOLVERS)
    t.same(wordsOf(steps), [])
    const [end] = talk.runUntil(35_000)
    t.same(end?.words, ['drop-held 10.1.0.5 no-reply'])
    t.same(end?.names, ['resolution-failed no-reply'])
    t.same(talk.datapath(36_000, aHeldPacket('10.1.0.5')).names, ['resolution-failed held-down'])
    t.same(talk.datapath(36_000, aHeldPacket('10.1.0.5')).words, [
      'drop-held 10.1.0.5 rate-limited',
    ])
    t.equal(talk.datapath(65_001, aHeldPacket('10.1.0.5')).sent.length, 1, 'and again after 30 s')
  },
)

t.test('one request a second per EID-prefix, strictly, also across answers', async (t) => {
  const talk = anItr()
  learn(talk, 1000, aMapping())
  talk.command(1100, { kind: 'clear-map-cache', eidPrefix: undefined })
  t.same(talk.datapath(1200, aHeldPacket('10.1.0.5')).sent, [], 'asked 200 ms ago')
  t.same(
    sentOf(talk.runUntil(2500), 'map-request').map((one) => one.at),
    [2000],
  )
  t.equal(
    talk.datapath(1300, aHeldPacket('10.1.0.6')).sent.length,
    1,
    'another EID is another prefix',
  )
})

t.test('an answer to an earlier try still counts', async (t) => {
  const talk = anItr()
  const { nonce } = requestOf(talk.datapath(0, aHeldPacket('10.1.0.5')))
  talk.runUntil(1500)
  t.ok(
    namesOf([talk.message(1600, '198.51.100.1', aMapReply(nonce, aMapping()))]).includes(
      'mapping-installed',
    ),
  )
})

t.test('replies that nobody asked for, or about something else, change nothing', async (t) => {
  const talk = anItr()
  t.same(talk.message(10, '198.51.100.1', aMapReply(99n, aMapping())).names, [
    'map-reply-rejected unknown-nonce',
  ])
  const { nonce } = requestOf(talk.datapath(20, aHeldPacket('10.1.0.5')))
  const other = aMapping({ eidPrefix: '10.3.0.0/16' })
  const wrong = talk.message(30, '198.51.100.1', aMapReply(nonce, other))
  t.same([wrong.names, wrong.words], [['map-reply-rejected not-covering'], []])
  const mixed = talk.message(40, '198.51.100.1', aMapReply(nonce, other, aMapping()))
  t.same(mixed.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.1 release 10.1.0.5'])
  t.ok(mixed.names.includes('map-reply-rejected unrelated-record'))
})

t.test('what a negative mapping asks for is what happens', async (t) => {
  const cases = [
    ['natively-forward', ['put-map-cache 10.1.0.0/16 native release 10.1.0.5']],
    ['drop', ['put-map-cache 10.1.0.0/16 drop', 'drop-held 10.1.0.5 negative-mapping']],
    [
      'drop-policy-denied',
      ['put-map-cache 10.1.0.0/16 drop', 'drop-held 10.1.0.5 negative-mapping'],
    ],
    ['no-action', ['put-map-cache 10.1.0.0/16 drop', 'drop-held 10.1.0.5 negative-mapping']],
    ['send-map-request', ['put-map-cache 10.1.0.0/16 hold']],
  ] as const
  for (const [action, expected] of cases) {
    const talk = anItr()
    const negative = aMapping({ eidPrefix: '10.1.0.0/16', action, locators: [] })
    t.same(learn(talk, 100, negative).words, expected, action)
    if (action === 'send-map-request')
      t.equal(talk.datapath(2000, aHeldPacket('10.1.0.6')).sent.length, 1, 'a further packet asks')
  }
})

t.test('a covering reply releases all that it covers, and later misses under it', async (t) => {
  const talk = anItr()
  const { nonce } = requestOf(talk.datapath(0, aHeldPacket('10.1.0.5')))
  talk.datapath(1, aHeldPacket('10.1.0.6'))
  talk.datapath(2, aHeldPacket('10.9.0.1'))
  const covering = aMapping({ eidPrefix: '10.1.0.0/16' })
  t.same(talk.message(10, '198.51.100.1', aMapReply(nonce, covering)).words, [
    'put-map-cache 10.1.0.0/16 forward 192.0.2.1 release 10.1.0.5 10.1.0.6',
  ])
  t.same(talk.datapath(11, aHeldPacket('10.1.0.7')).words, [
    'put-map-cache 10.1.0.0/16 forward 192.0.2.1 release 10.1.0.7',
  ])
})

t.test('locators: reachable ones of the best priority and of a family we have', async (t) => {
  const put = (about: Partial<NodeConfig>, ...locators: Mapping['locators']) =>
    learn(anItr(about), 100, aMapping({ locators })).words
  const v4only = { rlocs: aNodeConfig().rlocs.slice(0, 1) }
  const release = 'release 10.1.0.5'
  t.same(put({}, aLocator('192.0.2.1', { priority: 2 }), aLocator('192.0.2.2')), [
    `put-map-cache 10.1.0.5/32 forward 192.0.2.2 ${release}`,
  ])
  t.same(put({}, aLocator('192.0.2.1'), aLocator('192.0.2.2')), [
    `put-map-cache 10.1.0.5/32 forward 192.0.2.1 192.0.2.2 ${release}`,
  ])
  t.same(
    put({}, aLocator('192.0.2.1', { reachable: false }), aLocator('192.0.2.2', { priority: 9 })),
    [`put-map-cache 10.1.0.5/32 forward 192.0.2.2 ${release}`],
  )
  t.same(put(v4only, aLocator('192.0.2.1', { priority: 5 }), aLocator('2001:db8::2')), [
    `put-map-cache 10.1.0.5/32 forward 192.0.2.1 ${release}`,
  ])
  const none = ['put-map-cache 10.1.0.5/32 drop', 'drop-held 10.1.0.5 no-locator']
  t.same(put({}, aLocator('192.0.2.1', { priority: 255 })), none)
  t.same(put({}, locator(anAddress('203.0.113.1'))), none, 'never to ourselves')
  t.same(put({}, aLocator('224.0.0.5')), none)
})

t.test(
  'TTL 0 removes at once, an unused entry expires, a used one is asked for in time',
  async (t) => {
    const talk = anItr()
    const { nonce } = requestOf(talk.datapath(0, aHeldPacket('10.1.0.5')))
    talk.message(1, '198.51.100.1', aMapReply(nonce, aMapping({ ttlMinutes: 1 })))
    const early = talk.runUntil(54_001)
    t.same(wordsOf(early), ['query-usage 10.1.0.5/32'])
    t.ok(early[0]!.at >= 48_001, 'between 80 and 90 % of the TTL')
    const eidPrefix = aPrefix('10.1.0.5/32')
    const usage = { kind: 'map-cache-usage' as const, eidPrefix, packets: 5n, bytes: 500n }
    t.same(talk.datapath(54_002, { ...usage, idleMs: undefined }).sent, [], 'never used')
    const refresh = talk.datapath(54_003, { ...usage, idleMs: 20 })
    t.equal(requestOf(refresh).sourceEid, undefined, 'a refresh has no source')
    const removed = talk.message(
      54_020,
      '198.51.100.1',
      aMapReply(requestOf(refresh).nonce, aMapping({ ttlMinutes: 0 })),
    )
    t.same(removed.words, ['delete-map-cache 10.1.0.5/32'])
    learn(talk, 60_000, aMapping({ ttlMinutes: 1 }))
    t.ok(wordsOf(talk.runUntil(120_000)).includes('delete-map-cache 10.1.0.5/32'), 'expired unused')
  },
)

t.test('a record older than the cached one of the same prefix is ignored', async (t) => {
  const talk = anItr()
  learn(talk, 0, aMapping({ mapVersion: 7, locators: ['192.0.2.7'] }))
  const smr = aMapRequest({ solicitMapRequest: true, doNotReply: true })
  const { nonce } = requestOf(talk.message(2000, '192.0.2.1', smr))
  const older = talk.message(2010, '198.51.100.1', aMapReply(nonce, aMapping({ mapVersion: 6 })))
  t.ok(older.names.includes('map-reply-rejected older-version'))
  t.match(older.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.7'])
  const next = requestOf(talk.message(4000, '192.0.2.1', smr))
  const newer = talk.message(
    4010,
    '198.51.100.1',
    aMapReply(next.nonce, aMapping({ mapVersion: 8 })),
  )
  t.same(newer.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.1'])
})

t.test(
  'an SMR is followed through the mapping system, within the rate, never to its sender',
  async (t) => {
    const talk = anItr()
    const byRecord = aMapRequest({ solicitMapRequest: true, doNotReply: true })
    const unknown = talk.message(0, '192.0.2.66', byRecord)
    t.same([unknown.names, unknown.sent], [['smr-received no-cache-entry'], []])
    learn(talk, 0, aMapping())
    const followed = talk.message(5000, '192.0.2.66', byRecord)
    t.equal(followed.sent[0]?.to, RESOLVERS[0])
    t.equal(requestOf(followed).smrInvoked, true)
    t.same(followed.words, [], 'the old entry stays until the answer')
    t.same(sentOf(talk.runUntil(5999), 'map-request'), [])

    const bySource = { ...byRecord, records: [], sourceEid: anEid('10.1.0.5') }
    t.match(
      talk.node.snapshot(6000).mapCache.map((one) => one.eidPrefix),
      /10.1.0.5/,
    )
    t.ok(
      talk
        .message(6000, '192.0.2.66', { ...bySource, records: byRecord.records })
        .names.includes('smr-received accepted'),
    )
  },
)

t.test('of a storm of SMRs four are followed, and one more when it may be', async (t) => {
  const talk = anItr()
  learn(talk, 0, aMapping({ ttlMinutes: 60 }))
  const smr = aMapRequest({ solicitMapRequest: true, doNotReply: true })
  const reactions: Reaction[] = []
  const answer = (steps: readonly Reaction[]): void => {
    reactions.push(...steps)
    for (const one of sentOf(steps, 'map-request')) {
      const nonce = one.inner?.kind === 'map-request' ? one.inner.nonce : 0n
      reactions.push(
        talk.message(one.at + 1, '198.51.100.1', aMapReply(nonce, aMapping({ ttlMinutes: 60 }))),
      )
    }
  }
  for (let at = 10_000; at < 20_000; at += 50) {
    answer(talk.runUntil(at))
    answer([talk.message(at, '192.0.2.66', smr)])
  }
  for (let at = 20_000; at < 40_000; at += 250) answer(talk.runUntil(at))
  const asked = sentOf(reactions, 'map-request').map((one) => one.at)
  t.equal(asked[0], 10_000)
  t.ok(
    asked.every((at, index) => index === 0 || at - asked[index - 1]! >= 1000),
    asked.join(),
  )
  t.ok(asked.length >= 7 && asked.length <= 9, `four, then one in three seconds: ${asked.join()}`)
  const last = asked[asked.length - 1]!
  t.ok(last > 19_950 && last < 23_000, 'the last word is asked for after the storm')
  t.ok(namesOf(reactions).includes('smr-suppressed invoked-rate'))
})

t.test('two solicitations of one departure cost one request', async (t) => {
  const former = aMapping({ ttlMinutes: 60, locators: ['192.0.2.1', '2001:db8:a::1'] })
  const smr = aMapRequest({ solicitMapRequest: true, doNotReply: true })
  const requestsAfter = (answer: string, second: string): number => {
    const talk = anItr()
    learn(talk, 0, former)
    const [request] = sentOf([talk.message(10_000, '192.0.2.1', smr)], 'map-request')
    t.same(talk.message(10_001, second, smr).sent, [], 'it is under way')
    const nonce = request?.inner?.kind === 'map-request' ? request.inner.nonce : 0n
    const reply = aMapReply(nonce, aMapping({ ttlMinutes: 60, locators: [answer] }))
    const replied = talk.message(10_010, '198.51.100.1', reply)
    return sentOf([replied, ...talk.runUntil(11_500)], 'map-request').length
  }
  t.equal(requestsAfter('192.0.2.9', '2001:db8:a::1'), 0, 'it has left, as both said')
  t.equal(requestsAfter('2001:db8:a::1', '2001:db8:a::1'), 1, 'the answer is from before')
  t.equal(requestsAfter('192.0.2.9', '192.0.2.66'), 1, 'a stranger may mean something newer')
})

t.test(
  'probes: interval, three unanswered, the next priority, up again only by a probe',
  async (t) => {
    const talk = anItr({ rlocProbe: { enabled: true, intervalMs: 10_000, failures: 3 } })
    const mapping = aMapping({
      ttlMinutes: 600,
      locators: [aLocator('192.0.2.1'), aLocator('192.0.2.2', { priority: 2 })],
    })
    learn(talk, 0, mapping)
    /** Answers probes to these RLOCs until `until`. */
    const answering = (until: number, alive: readonly string[]): Reaction[] => {
      const steps: Reaction[] = []
      for (let one = talk.next(until); one !== undefined; one = talk.next(until)) {
        steps.push(one)
        for (const probe of one.sent) {
          if (probe.message.kind !== 'map-request' || !alive.includes(probe.to)) continue
          const record = aMapping({ locators: [aLocator(probe.to, { probe: true, local: true })] })
          const reply = { ...aMapReply(probe.message.nonce, record), rlocProbe: true }
          steps.push(talk.message(one.at + 3, probe.to, reply))
        }
      }
      return steps
    }
    const both = answering(60_000, ['192.0.2.1', '192.0.2.2'])
    const probes = sentOf(both, 'map-request')
    t.ok(
      probes.every((one) => one.inner === undefined && one.toPort === 4342),
      'direct, never in an ECM',
    )
    const gaps = probes.filter((one) => one.to === '192.0.2.1').map((one) => one.at)
    for (const [index, at] of gaps.entries())
      if (index > 0) t.ok(at - gaps[index - 1]! >= 7500 && at - gaps[index - 1]! <= 12_510)
    t.match(talk.node.snapshot(60_000).locators, [
      { rloc: '192.0.2.1', reachable: true, roundTripMs: 3 },
      {},
    ])

    const dead = answering(85_000, ['192.0.2.2'])
    const down = dead.find((one) => one.names.includes('locator-down'))
    t.same(down?.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.2'])
    const tries = sentOf(dead, 'map-request').filter(
      (one) => one.to === '192.0.2.1' && one.at < down!.at,
    )
    t.same(
      tries.map((one) => down!.at - one.at),
      [3000, 2000, 1000],
    )

    const back = answering(110_000, ['192.0.2.1', '192.0.2.2'])
    const up = back.find((one) => one.names.includes('locator-up'))
    t.same(up?.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.1'])
  },
)

t.test('when every locator is down the best one is used all the same', async (t) => {
  const talk = anItr({ rlocProbe: { enabled: true, intervalMs: 10_000, failures: 3 } })
  learn(talk, 0, aMapping({ ttlMinutes: 600 }))
  const steps = talk.runUntil(30_000)
  t.ok(namesOf(steps).includes('locator-down'))
  t.same(wordsOf(steps), ['put-map-cache 10.1.0.5/32 forward 192.0.2.1'])
})

t.test('a query asks and answers, and touches no table', async (t) => {
  const talk = anItr()
  const asked = talk.command(0, { kind: 'query-mapping', eid: anEid('10.1.0.5') })
  t.same(asked.results, [])
  const answered = talk.message(
    10,
    '198.51.100.1',
    aMapReply(requestOf(asked).nonce, aMapping({ mapVersion: 3 })),
  )
  t.match(answered.results, [
    { result: { ok: true, value: { eidPrefix: '10.1.0.5/32', mapVersion: 3 } } },
  ])
  t.same(answered.words, [])
  talk.command(2000, { kind: 'query-mapping', eid: anEid('10.1.0.9') })
  const silent = talk.runUntil(7000)
  t.match(
    silent.flatMap((one) => one.results.map((each) => ({ at: one.at, ...each }))),
    [{ at: 6000, result: { ok: false, status: 504, code: 'no-reply' } }],
  )
  t.equal(sentOf(silent, 'map-request').length, 2, 'at 1 and 3 s, then nobody asks any more')
})

t.test('clearing the map-cache leaves our own prefixes', async (t) => {
  const talk = anItr()
  learn(talk, 0, aMapping())
  const cleared = talk.command(10, { kind: 'clear-map-cache', eidPrefix: undefined })
  t.same(cleared.words, ['delete-map-cache 10.1.0.5/32'])
  t.match(cleared.results, [{ result: { ok: true, value: { removed: 1 } } }])
  t.same(
    talk.node.snapshot(10).mapCache.map((one) => one.eidPrefix),
    ['10.2.0.0/16'],
  )
})

t.test('what an earlier run cached is believed for a minute', async (t) => {
  const restored = {
    mapCache: [
      {
        eidPrefix: aPrefix('10.1.0.5/32'),
        action: 'forward' as const,
        encapsulations: [
          { locator: aLocator('192.0.2.1'), source: anAddress('203.0.113.1'), pathMtu: 1500 },
        ],
      },
    ],
  }
  const config = aNodeConfig({ mapResolvers: RESOLVERS.map(anAddress), rlocProbe: noProbes })
  const talk = createConversation(config, restored)
  t.same(talk.begun.words, [], 'the datapath has it already')
  t.match(talk.node.snapshot(10).mapCache, [{ origin: 'restored', expiresInMs: 59_990 }])
  t.same(wordsOf(talk.runUntil(60_000)), [
    'query-usage 10.1.0.5/32',
    'delete-map-cache 10.1.0.5/32',
  ])
})

t.test(
  'the P bit is asked for towards peers that are known to speak RFC 9305, and no others',
  async (t) => {
    const { address } = aPrefix('192.0.2.0/24')
    const config = aNodeConfig({ gpePeers: [{ address, maskLength: 24 }] })
    const locators = [aLocator('192.0.2.1'), aLocator('198.51.100.1')]
    const chosen = chooseEncapsulations(config, locators, () => false)
    t.same(
      chosen.map(({ gpe }) => gpe),
      [true, undefined],
    )
  },
)
