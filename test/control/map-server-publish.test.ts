/**
 * Publish/subscribe at the Map-Server (RFC 9437 §5, §6), in literal conversations: an xTR at 192.0.2.1
 * and 192.0.2.2 that has registered and subscribes; another at 192.0.2.9 whose registrations change.
 */
import t from 'tap'
import type { NodeConfig, SubscriptionPolicy } from '../../src/config/node-config.js'
import { verifyMessage } from '../../src/lisp/authentication.js'
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
  hmac,
} from '../support/builders.js'
import { createConversation } from '../support/conversation.js'
import {
  createMappingSystem,
  inWords,
  recordsOf,
  restarted,
  type Sent,
} from '../support/mapping-system.js'

const ITR = '192.0.2.1'
const SECOND = '192.0.2.2'
const ETR = '192.0.2.9'
const ME = anIdentity(0x11)
const OTHER = anIdentity(0x22)
const HEX = '11'.repeat(16)
const mapServer = { sites: [aSite()], registrationMs: 180_000, maximumRegistrations: 1000 }

function aConfig(policy: Partial<SubscriptionPolicy> = {}, about: Partial<NodeConfig> = {}) {
  return aNodeConfig({ mapServer, subscriptions: aSubscriptionPolicy(policy), ...about })
}

/** The subscriber has registered 10.1.200.1/32 with two RLOCs of its own. */
function aSystem(policy: Partial<SubscriptionPolicy> = {}, about: Partial<NodeConfig> = {}) {
  const system = createMappingSystem(aConfig(policy, about))
  const locators = [ITR, SECOND].map((rloc) => aLocator(rloc, { local: true }))
  const records = [aMapping({ eidPrefix: '10.1.200.1/32', locators })]
  system.register(0, ITR, { nonce: 1n, identity: ME, records })
  return system
}

type System = ReturnType<typeof aSystem>

function subscription(nonce: bigint, about: Partial<MapRequest> & { eidPrefix?: string } = {}) {
  const { eidPrefix = '10.1.0.5/32', ...rest } = about
  return aMapRequest({
    nonce,
    identity: ME,
    itrRlocs: [ITR, SECOND].map(anAddress),
    records: [{ subscribe: true, eidPrefix: aPrefix(eidPrefix) }],
    ...rest,
  })
}

let registerNonce = 10n
function registers(system: System, at: number, eidPrefix: string, rloc = ETR, ttlMinutes = 15) {
  registerNonce += 1n
  const locators = ttlMinutes === 0 ? [] : [aLocator(rloc, { local: true })]
  const records = [aMapping({ eidPrefix, locators, ttlMinutes })]
  const registered = system.register(at, rloc, { nonce: registerNonce, identity: OTHER, records })
  // Where a former RLOC is told, subscribers are told behind it.
  const behind = system.mapServer.deadline() === at ? system.deadline(at) : undefined
  if (behind === undefined) return registered
  const { sent, names } = registered
  return { ...registered, sent: [...sent, ...behind.sent], names: [...names, ...behind.names] }
}

/** Map-Notifies to the subscriber, in words. */
function told(sent: readonly Sent[]): string[] {
  return sent
    .filter(({ to, message }) => message.kind === 'map-notify' && [ITR, SECOND].includes(to))
    .map((one) => {
      const nonce = one.message.kind === 'map-notify' ? one.message.nonce : 0n
      return `${one.to} ${nonce} ${recordsOf(one).map(inWords).join(', ')}`
    })
}

function subscribed(system: System, at: number, nonce: bigint, eidPrefix = '10.1.0.5/32') {
  const result = system.request(at, ITR, subscription(nonce, { eidPrefix }))
  system.acknowledge(at, ITR, result.sent[0]!)
  return result
}

t.test('a subscription is confirmed by a Map-Notify with its nonce, signed', async (t) => {
  const system = aSystem()
  registers(system, 0, '10.1.0.5/32')
  const { sent, names, written } = system.request(1, ITR, subscription(500n))
  t.match(told(sent), [/^192\.0\.2\.1 500 10\.1\.0\.5\/32 → 192\.0\.2\.9 v\d+$/])
  t.equal(sent.length, 1, 'and by no Map-Reply')
  t.match(
    sent[0],
    { toPort: 4342, after: [] },
    'a packet waits for it: the store does not delay it',
  )
  t.ok(verifyMessage(sent[0]!.bytes, aKey(), hmac))
  t.ok(names.includes('subscription-added'))
  t.match(written, [{ kind: 'subscription', xtrId: HEX, removed: false }])
  system.acknowledge(2, ITR, sent[0]!)
  t.match(system.mapServer.subscriptionViews(2), [
    {
      eidPrefix: '10.1.0.5/32',
      xtrId: HEX,
      itrRlocs: [ITR, SECOND],
      state: 'subscribed',
      upToDate: true,
    },
  ])
})

t.test('every change is published with the next nonce', async (t) => {
  const system = aSystem()
  registers(system, 0, '10.1.0.5/32')
  subscribed(system, 1, 500n)
  const moved = registers(system, 2, '10.1.0.5/32', '192.0.2.8')
  t.match(told(moved.sent), [/^192\.0\.2\.1 501 10\.1\.0\.5\/32 → 192\.0\.2\.8/])
  t.ok(moved.names.includes('publication-sent publication'))
  const again = registers(system, 3, '10.1.0.5/32', '192.0.2.7')
  t.match(told(again.sent), [/^192\.0\.2\.1 502 10\.1\.0\.5\/32 → 192\.0\.2\.7/], 'unacknowledged')
  const refreshed = registers(system, 4, '10.1.0.5/32', '192.0.2.7')
  t.same(told(refreshed.sent), [], 'a refresh is no news')
})

t.test('who still delivers is told of a move before those who only send there', async (t) => {
  const system = aSystem()
  registers(system, 0, '10.1.0.5/32')
  subscribed(system, 1, 500n)
  const records = [aMapping({ eidPrefix: '10.1.0.5/32', locators: ['192.0.2.8'] })]
  registerNonce += 1n
  const moved = system.register(2, '192.0.2.8', { nonce: registerNonce, identity: OTHER, records })
  t.same(
    moved.notices.map(({ to }) => to),
    [ETR],
  )
  t.same(told(moved.sent), [])
  t.equal(system.mapServer.deadline(), 2, 'at once, but as work of its own')
  t.match(told(system.deadline(2).sent), [/^192\.0\.2\.1 501 /])
})

t.test('a nonce that does not rise is dropped silently', async (t) => {
  const system = aSystem()
  registers(system, 0, '10.1.0.5/32')
  subscribed(system, 1, 500n)
  for (const nonce of [500n, 499n, 1n]) {
    const { sent, names } = system.request(10, ITR, subscription(nonce))
    t.same(sent, [])
    t.ok(names.includes('subscription-refused nonce-not-greater'), names.join())
  }
  t.equal(system.request(5000, ITR, subscription(501n)).sent.length, 1)
})

t.test(
  'a forged high nonce that nobody acknowledges does not lock the subscriber out',
  async (t) => {
    const system = aSystem()
    registers(system, 0, '10.1.0.5/32')
    system.request(1, ITR, subscription(1n << 62n))
    t.match(told(system.request(4000, ITR, subscription(500n)).sent), [/192.0.2.1 500 /])
  },
)

t.test('a new request of the same xTR replaces its ITR-RLOCs', async (t) => {
  const system = aSystem()
  registers(system, 0, '10.1.0.5/32')
  subscribed(system, 1, 500n)
  const moved = system.request(5000, SECOND, subscription(501n, { itrRlocs: [anAddress(SECOND)] }))
  t.match(told(moved.sent), [/^192\.0\.2\.2 501/])
  system.acknowledge(5001, SECOND, moved.sent[0]!)
  t.match(told(registers(system, 5002, '10.1.0.5/32', '192.0.2.8').sent), [/^192\.0\.2\.2 502/])
})

t.test('what is more specific is published to the subscriber of the whole', async (t) => {
  const system = aSystem()
  registers(system, 0, '10.1.0.0/16')
  subscribed(system, 1, 500n)
  const inside = registers(system, 2, '10.1.0.77/32', '192.0.2.8')
  t.match(told(inside.sent), [/^192\.0\.2\.1 501 10\.1\.0\.77\/32 → 192\.0\.2\.8/])
  t.same(told(registers(system, 3, '2001:db8:1::5/128').sent), [], 'what is elsewhere is not')
})

t.test('a withdrawn and an expired prefix are published with TTL 0', async (t) => {
  const system = aSystem()
  registers(system, 0, '10.1.0.5/32')
  subscribed(system, 1, 500n)
  const gone = registers(system, 2, '10.1.0.5/32', ETR, 0)
  const notify = gone.sent.find(({ to }) => to === ITR)
  t.match(recordsOf(notify), [{ ttlMinutes: 0, locators: [] }])
  system.acknowledge(3, ITR, notify!)
  const back = registers(system, 4, '10.1.0.5/32').sent.find(({ to }) => to === ITR)
  system.acknowledge(5, ITR, back!)
  const steps = system.runUntil(200_000)
  const expired = steps.flatMap(({ result }) => result.sent).filter(({ to }) => to === ITR)
  t.ok(expired.some((one) => recordsOf(one).some(({ ttlMinutes }) => ttlMinutes === 0)))
})

t.test('an unregistered EID gives a temporary subscription on its hole', async (t) => {
  const system = aSystem({ temporaryMs: 60_000 })
  const { sent } = system.request(1, ITR, subscription(500n))
  t.match(told(sent), [/500 10\.1\.0\.5\/32 → natively-forward/])
  system.acknowledge(2, ITR, sent[0]!)
  t.match(system.mapServer.subscriptionViews(2), [{ state: 'temporary', expiresInMs: 59_999 }])
  const come = registers(system, 3, '10.1.0.5/32')
  t.match(told(come.sent), [/501 10\.1\.0\.5\/32 → 192\.0\.2\.9/])
  const short = aSystem({ temporaryMs: 60_000 })
  subscribed(short, 1, 500n)
  short.runUntil(60_001)
  t.same(short.mapServer.subscriptionViews(60_002), [], 'and ends by itself')
})

t.test(
  'a removal is confirmed to where the request came from, and its nonce is kept',
  async (t) => {
    const system = aSystem()
    registers(system, 0, '10.1.0.5/32')
    subscribed(system, 1, 500n)
    const removal = subscription(501n, { itrRlocs: [] })
    const { sent, names } = system.request(2, SECOND, removal)
    t.match(told(sent), [/^192\.0\.2\.2 501 /])
    t.ok(names.includes('subscription-removed asked-for'))
    system.acknowledge(3, SECOND, sent[0]!)
    t.same(system.mapServer.subscriptionViews(3), [])
    t.same(told(registers(system, 4, '10.1.0.5/32', '192.0.2.8').sent), [], 'nothing is published')
    for (const nonce of [500n, 501n])
      t.same(system.request(5000, ITR, subscription(nonce)).sent, [], 'no replay brings it back')
    t.match(told(system.request(60_000, ITR, subscription(502n)).sent), [/502/])
  },
)

t.test('a removal inside of what is subscribed suppresses that part alone', async (t) => {
  const system = aSystem()
  registers(system, 0, '10.1.0.0/16')
  registers(system, 0, '10.1.0.5/32')
  subscribed(system, 1, 500n, '10.1.0.0/16')
  subscribed(system, 2, 900n)
  system.request(3, ITR, subscription(901n, { itrRlocs: [] }))
  t.same(told(registers(system, 4, '10.1.0.5/32', '192.0.2.8').sent), [])
  t.match(told(registers(system, 5, '10.1.0.6/32', '192.0.2.8').sent), [/501 10\.1\.0\.6\/32/])
})

t.test(
  'without acknowledgement it is said at 0, 3, 6, 9, 15, 27 and 51 s to each RLOC',
  async (t) => {
    const system = aSystem()
    registers(system, 0, '10.1.0.5/32')
    subscribed(system, 0, 500n)
    registers(system, 0, '10.1.0.5/32', '192.0.2.8')
    const steps = system.runUntil(170_000)
    const times = steps.flatMap(({ at, result }) =>
      told(result.sent).map((text) => `${at / 1000} ${text.split(' ').slice(0, 2).join(' ')}`),
    )
    const first = [3, 6, 9, 15, 27, 51].map((at) => `${at} ${ITR} 501`)
    const second = [54, 57, 60, 63, 69, 81, 105].map((at) => `${at} ${SECOND} 501`)
    t.same(times.slice(0, 13), [...first, ...second])
    t.same(times.slice(13), [`108 ${ITR} 501`, `168 ${SECOND} 501`], 'then once a minute')
  },
)

t.test('a confirmation that is never acknowledged ends in one Map-Notify with ACT 5', async (t) => {
  const system = aSystem()
  registers(system, 0, '10.1.0.5/32')
  system.request(0, ITR, subscription(500n, { itrRlocs: [anAddress(ITR)] }))
  const steps = system.runUntil(100_000)
  const last = steps
    .flatMap(({ result }) => result.sent)
    .filter(({ to }) => to === ITR)
    .at(-1)
  t.match(last?.message, { nonce: 500n, records: [{ action: 'drop-auth-failure', locators: [] }] })
  t.same(system.mapServer.subscriptionViews(100_000), [])
})

t.test('an acknowledgement with the wrong key counts for nothing', async (t) => {
  const system = aSystem()
  registers(system, 0, '10.1.0.5/32')
  const { sent } = system.request(0, ITR, subscription(500n))
  system.acknowledge(1, ITR, sent[0]!, aKey('somebody else'))
  t.match(system.mapServer.subscriptionViews(2), [{ state: 'offered', upToDate: false }])
})

t.test('after a restart it goes on above every nonce it may have used', async (t) => {
  const system = aSystem()
  registers(system, 0, '10.1.0.5/32')
  subscribed(system, 1, 500n)
  const second = restarted(aConfig(), system.store, 10)
  t.match(second.system.mapServer.subscriptionViews(10), [{ xtrId: HEX, eidPrefix: '10.1.0.5/32' }])
  const said = second.system.runUntil(2000).flatMap(({ result }) => result.sent)
  t.match(told(said), [/^192\.0\.2\.1 \d+ 10\.1\.0\.5\/32 → 192\.0\.2\.9/], 'what is true is told')
  const notify = said[0]!.message
  t.ok(notify.kind === 'map-notify' && notify.nonce > 500n)
  t.same(second.system.request(3000, ITR, subscription(500n)).sent, [], 'and old requests stay old')
})

t.test('who may not subscribe is answered as RFC 9437 says', async (t) => {
  const listed = [{ xtrId: HEX, siteId: 1n, rlocs: [anAddress(ITR)], key: aKey() }]
  const replies = (policy: Partial<SubscriptionPolicy>, from: string, request: MapRequest) => {
    const system = aSystem(policy)
    registers(system, 0, '10.1.0.5/32')
    const { sent, names } = system.request(1, from, request)
    t.equal(system.mapServer.subscriptionViews(1).length, 0)
    const why = names.find((name) => name.startsWith('subscription-refused'))
    return [sent[0]?.message.kind, recordsOf(sent[0])[0]?.action, why]
  }
  const stranger = subscription(1n, { identity: anIdentity(0x33) })
  const refused = 'subscription-refused'
  t.same(
    replies({ subscribers: listed }, ITR, stranger),
    ['map-reply', 'drop-policy-denied', `${refused} not-listed`],
    'policy: ACT 4',
  )
  t.same(
    replies({ subscribers: listed }, ITR, subscription(1n)),
    ['map-reply', 'drop-auth-failure', `${refused} foreign-itr-rloc`],
    'not its RLOCs: ACT 5',
  )
  t.same(
    replies({}, ITR, stranger),
    ['map-reply', 'no-action', `${refused} unknown-xtr`],
    'no security association: a plain reply',
  )
  t.same(
    replies({}, '198.51.100.66', subscription(1n)),
    ['map-reply', 'no-action', `${refused} untrusted-resolver`],
    'by another way than our own Map-Resolver',
  )
  t.same(replies({ accept: false }, ITR, subscription(1n)), [
    'map-reply',
    'no-action',
    `${refused} not-offered`,
  ])
  t.same(replies({}, ITR, subscription(1n, { identity: undefined })), [
    'map-reply',
    'no-action',
    `${refused} no-xtr-id`,
  ])
  t.same(replies({ maximumPerXtr: 0 }, ITR, subscription(1n)), [
    'map-reply',
    'no-action',
    `${refused} too-many-of-this-xtr`,
  ])
})

t.test('another Map-Resolver that is trusted may pass subscriptions on', async (t) => {
  const system = aSystem({ mapResolvers: [anAddress('198.51.100.66')] })
  registers(system, 0, '10.1.0.5/32')
  t.match(told(system.request(1, '198.51.100.66', subscription(500n)).sent), [/^192.0.2.1 500/])
})

t.test('a Map-Resolver passes on no subscription in a foreign name', async (t) => {
  const key = aKey()
  const server = { address: anAddress('203.0.113.77'), key, proxyReply: true }
  const config = aNodeConfig({
    roles: ['map-resolver'],
    mapServers: [{ ...server, registerMs: 60_000, ttlMinutes: 15 }],
    subscriptions: aSubscriptionPolicy({
      subscribers: [{ xtrId: HEX, siteId: 1n, rlocs: [anAddress(ITR), anAddress(SECOND)], key }],
    }),
  })
  const forwarded = (from: string, request: MapRequest): string => {
    const talk = createConversation(config)
    const { sent } = talk.message(10, from, {
      kind: 'encapsulated-control',
      security: false,
      ddtOriginated: false,
      innerSource: anAddress(from),
      innerDestination: anAddress('10.1.0.5'),
      innerSourcePort: 4342,
      innerDestinationPort: 4342,
      message: encodeMessage(request),
    })
    const inner = sent[0]?.inner
    if (inner?.kind !== 'map-request') return 'nothing'
    return `${inner.records[0]!.subscribe} ${inner.identity === undefined}`
  }
  t.equal(forwarded(ITR, subscription(500n)), 'true false')
  t.equal(forwarded('198.51.100.66', subscription(500n)), 'false true', 'from another place')
  t.equal(forwarded(ITR, subscription(500n, { identity: OTHER })), 'false true', 'as another xTR')
  t.equal(forwarded(ITR, subscription(500n, { itrRlocs: [anAddress(ETR)] })), 'false true')
  const site = { ...ME, siteId: 2n }
  t.equal(forwarded(ITR, subscription(500n, { identity: site })), 'false true', 'another site')
})

t.test('the tables are bounded, and so is the pace of one xTR', async (t) => {
  const system = aSystem({ maximumPerXtr: 3 })
  const kinds = [1, 2, 3, 4].map((host) => {
    const request = subscription(500n, { eidPrefix: `10.1.0.${host}/32` })
    return system.request(1, ITR, request).sent[0]?.message.kind
  })
  t.same(kinds, ['map-notify', 'map-notify', 'map-notify', 'map-reply'])
})

t.test('an ETR that wants to answer itself has no subscribers', async (t) => {
  const system = aSystem()
  registerNonce += 1n
  const records = [aMapping({ eidPrefix: '10.1.0.5/32', locators: [ETR] })]
  const options = { nonce: registerNonce, identity: OTHER, proxyReply: false, records }
  system.register(0, ETR, options)
  const { sent, names } = system.request(1, ITR, subscription(500n))
  t.match(sent, [{ to: ETR, message: { kind: 'encapsulated-control' } }])
  t.ok(names.includes('subscription-refused no-proxy-reply'))
})
