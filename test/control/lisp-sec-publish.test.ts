/**
 * Publish/subscribe under LISP-SEC (RFC 9437 §7.1): an ITR and a Map-Server that share no key make one
 * of the one-time key of the request; and subscriptions that only the configuration knows (§5).
 */
import t, { type Test } from 'tap'
import type { NodeConfig, WrappingKey } from '../../src/config/node-config.js'
import {
  deriveOneTimeKey,
  subscriptionKey,
  unwrapOneTimeKey,
  wrapOneTimeKey,
} from '../../src/control/lisp-sec/lisp-sec-keys.js'
import { verifyMessage } from '../../src/lisp/authentication.js'
import { decodeMessage, type EncapsulatedControl, encodeMessage } from '../../src/lisp/message.js'
import {
  aKey,
  aLocator,
  aMapping,
  aMapRequest,
  aNodeConfig,
  anAddress,
  aPrefix,
  aSite,
  aSubscriptionPolicy,
  hmac,
} from '../support/builders.js'
import { createConversation } from '../support/conversation.js'
import { registerBytes } from '../support/mapping-system.js'
import {
  aProtectedSystem,
  aSecurityPolicy,
  aWrappingKey,
  blockCipher,
  ETR,
  ITR,
  ITR_KEY,
  type ProtectedSystem,
  RESOLVER,
  RESOLVER_KEY,
  SERVER,
} from '../support/protected-system.js'

const ITR_ID = Buffer.from(anAddress(`::${ITR}`).bytes).toString('hex')
const primitives = { hmac, cipher: blockCipher }

function aListing(about: { readonly key?: ReturnType<typeof aKey> } = {}) {
  const one = { xtrId: ITR_ID, siteId: 1n, rlocs: [anAddress(ITR)], key: about.key }
  return aSubscriptionPolicy({ subscribers: [one], mapResolvers: [anAddress(RESOLVER)] })
}

/** The ITR subscribes, and is known at Map-Resolver and Map-Server, without a key. */
function aSystem(key: WrappingKey = ITR_KEY, itr: Partial<NodeConfig> = {}): ProtectedSystem {
  const mapResolvers = [{ address: anAddress(RESOLVER), key }]
  const mapServers = [{ address: undefined, key: { ...RESOLVER_KEY, wrapping: key.wrapping } }]
  const requesterKeys = [{ ...RESOLVER_KEY, wrapping: key.wrapping }]
  return aProtectedSystem({
    proxyReply: true,
    itr: {
      publishSubscribe: { subscribe: true, acceptUnsolicited: false },
      security: aSecurityPolicy({ mapResolvers }),
      ...itr,
    },
    resolver: {
      subscriptions: aListing(),
      security: aSecurityPolicy({ requesterKeys: [key], mapServers }),
    },
    server: { subscriptions: aListing(), security: aSecurityPolicy({ requesterKeys }) },
  })
}

function lastEcm(system: ProtectedSystem, from: string): EncapsulatedControl {
  const ecms = system.path.filter((one) => {
    return one.from === from && one.sent.message.kind === 'encapsulated-control'
  })
  return ecms.at(-1)!.sent.message as EncapsulatedControl
}

function subscriptionsAt(system: ProtectedSystem, name: string, now: number): string[] {
  const { subscriptions } = system.node(name).node.snapshot(now)
  return subscriptions.map(({ coverage, state }) => `${coverage} ${state}`)
}

/** The mapping of the ETR's prefix changes; the Map-Server publishes it. */
function moveAway(system: ProtectedSystem, now: number): void {
  const records = [aMapping({ eidPrefix: '10.1.0.0/24', locators: ['198.51.100.77'] })]
  const identity = { xtrId: new Uint8Array(16).fill(0x77), siteId: 1n }
  const bytes = registerBytes({ records, nonce: BigInt(now) << 20n, identity })
  system.carry(SERVER, system.node(SERVER).bytes(now, '198.51.100.77', bytes))
  system.runUntil(now)
}

async function keepsKey(t: Test, key: WrappingKey): Promise<void> {
  const system = aSystem(key)
  system.hold(1000, '10.1.0.5')
  t.same(system.cached(1000), [`10.1.0.0/24 ${ETR}`])
  t.same(subscriptionsAt(system, ITR, 1000), ['10.1.0.0/24 subscribed'])
  t.same(subscriptionsAt(system, SERVER, 1000), ['10.1.0.0/24 subscribed'])
  const ecm = lastEcm(system, ITR)
  const { oneTimeKey } = ecm.securityData!
  const inner = decodeMessage(ecm.message)
  const nonce = inner.kind === 'map-request' ? inner.nonce : 0n
  const otk = unwrapOneTimeKey(oneTimeKey, key.secret, nonce, true, primitives)!
  const shared = subscriptionKey(otk, oneTimeKey, nonce, hmac)
  const width = new Uint8Array(8)
  new DataView(width.buffer).setBigUint64(0, nonce)
  const expected =
    key.wrapping === 1 ? otk : deriveOneTimeKey(2, Uint8Array.of(...otk, ...width), hmac)
  t.same(shared.secret, expected)
  const notify = system.path.find(
    ({ sent }) => sent.message.kind === 'map-notify' && sent.to === ITR,
  )!
  t.equal(verifyMessage(notify.sent.bytes, shared, hmac), true)
  t.equal(verifyMessage(notify.sent.bytes, aKey(), hmac), false)

  moveAway(system, 5000)
  t.same(system.cached(5000), ['10.1.0.0/24 198.51.100.77'], 'a publication under the same key')
  system.runUntil(5100)
  const acks = system.path.filter(({ sent }) => sent.message.kind === 'map-notify-ack')
  t.equal(acks.filter(({ from }) => from === ITR).length, 2)
}

t.test('the key of a subscription is derived from the one-time key and the nonce', async (t) => {
  await keepsKey(t, ITR_KEY)
})

t.test(
  'the key of a subscription is the one-time key itself where nothing wrapped it',
  async (t) => {
    await keepsKey(t, aWrappingKey('', { wrapping: 1 }))
  },
)

t.test('a one-time key begins one subscription and no second', async (t) => {
  const system = aSystem()
  system.hold(1000, '10.1.0.5')
  const used = lastEcm(system, RESOLVER)
  const inner = decodeMessage(used.message)
  if (inner.kind !== 'map-request') throw new Error(inner.kind)
  const server = system.node(SERVER)
  const same = server.message(1100, RESOLVER, used)
  t.same([same.sent, same.names], [[], ['subscription-refused nonce-not-greater']], 'a duplicate')
  // Who has stolen the key could wrap it for another nonce; the wrapping key is the Map-Resolver's.
  const otk = unwrapOneTimeKey(
    used.securityData!.oneTimeKey,
    RESOLVER_KEY.secret,
    inner.nonce,
    false,
    primitives,
  )!
  const nonce = inner.nonce + 9n
  const { keyId, secret } = RESOLVER_KEY
  const oneTimeKey = wrapOneTimeKey(otk, { id: 2, keyId, secret }, nonce, primitives)
  const again = server.message(1200, RESOLVER, {
    ...used,
    securityData: { ...used.securityData!, oneTimeKey },
    message: encodeMessage({ ...inner, nonce }),
  })
  t.ok(again.names.includes('subscription-refused one-time-key-used'))
  const reply = again.sent[0]!.message
  t.match(reply, { kind: 'map-reply', records: [{ action: 'drop-auth-failure', locators: [] }] })
})

t.test('with a new one-time key nonces begin anew, also lower', async (t) => {
  const first = aSystem()
  first.hold(1000, '10.1.0.5')
  const server = first.node(SERVER)
  // An ITR that has lost everything: its nonces begin below those that the Map-Server knows.
  const known = decodeMessage(lastEcm(first, ITR).message)
  const lower = known.kind === 'map-request' ? known.nonce - 1000n : 0n
  const stranger = aSystem(ITR_KEY, {})
  stranger.hold(1000, '10.1.0.5')
  const ecm = lastEcm(stranger, RESOLVER)
  const inner = decodeMessage(ecm.message)
  if (inner.kind !== 'map-request') throw new Error(inner.kind)
  const request = (nonce: bigint, fill: number) => {
    const otk = new Uint8Array(16).fill(fill)
    const { keyId, secret } = RESOLVER_KEY
    const oneTimeKey = wrapOneTimeKey(otk, { id: 2, keyId, secret }, nonce, primitives)
    const securityData = { ...ecm.securityData!, oneTimeKey }
    return { ...ecm, securityData, message: encodeMessage({ ...inner, nonce }) }
  }
  const anew = server.message(2000, RESOLVER, request(lower, 1))
  t.ok(anew.names.includes('subscription-renewed'))
  t.match(anew.sent[0]!.message, { kind: 'map-notify', nonce: lower })
  const old = server.message(2100, RESOLVER, request(lower - 1n, 1))
  t.ok(old.names.includes('subscription-refused nonce-not-greater'), 'the same key: a replay')

  // After a restart nobody knows which keys were used: nonces must rise.
  const written = first.reactions.concat(anew).flatMap((one) => one.written)
  const record = written.filter((one) => one.kind === 'subscription').at(-1)!
  t.ok(record.kind === 'subscription' && record.secret?.length === 16, 'its key is stored')
  const next = createConversation(
    aNodeConfig({
      roles: ['map-server'],
      rlocs: [{ address: anAddress(SERVER), interfaceName: 'core', priority: 1, weight: 100 }],
      mapServer: { sites: [aSite()], registrationMs: 180_000, maximumRegistrations: 100 },
      subscriptions: aListing(),
      security: aSecurityPolicy({ requesterKeys: [RESOLVER_KEY] }),
    }),
    { records: [record] },
    3,
    { blockCipher },
  )
  const refused = next.message(3000, RESOLVER, request(lower - 5n, 2))
  t.ok(refused.names.includes('subscription-refused nonce-not-greater'))
  const rising = next.message(3100, RESOLVER, request(lower + 5000n, 3))
  t.ok(rising.names.includes('subscription-renewed'))
})

t.test('what is no longer used is taken back under LISP-SEC', async (t) => {
  const system = aSystem()
  system.hold(1000, '10.1.0.5')
  t.same(subscriptionsAt(system, SERVER, 1000), ['10.1.0.0/24 subscribed'])
  system.runUntil(16 * 60_000)
  t.same(subscriptionsAt(system, SERVER, 16 * 60_000), [])
  const last = lastEcm(system, ITR)
  t.equal(last.security, true)
  t.match(decodeMessage(last.message), { itrRlocs: [], records: [{ subscribe: true }] })
})

t.test('an I bit without xTR-ID and Site-ID behind the records is dropped', async (t) => {
  const system = aSystem()
  const identity = { xtrId: anAddress(`::${ITR}`).bytes, siteId: 1n }
  const records = [{ subscribe: true, eidPrefix: aPrefix('10.1.0.5/32') }]
  const whole = encodeMessage(aMapRequest({ identity, records, itrRlocs: [anAddress(ITR)] }))
  system.hold(1000, '10.1.0.5')
  const ecm = lastEcm(system, RESOLVER)
  for (const length of [whole.length - 24, whole.length - 8, whole.length - 1]) {
    const message = whole.subarray(0, length)
    const { sent, names } = system.node(SERVER).message(2000, RESOLVER, { ...ecm, message })
    t.same([sent, names], [[], ['datagram-ignored truncated']])
  }
})

t.test('a configured subscription begins with the nonce of both sides', async (t) => {
  const configured = [{ eidPrefix: aPrefix('10.1.0.0/16'), nonce: 500n }]
  const listed = aListing({ key: aKey() })
  const subscribers = listed.subscribers.map((one) => ({ ...one, configured }))
  const server = createConversation(
    aNodeConfig({
      roles: ['map-server'],
      rlocs: [{ address: anAddress(SERVER), interfaceName: 'core', priority: 1, weight: 100 }],
      mapServer: { sites: [aSite()], registrationMs: 180_000, maximumRegistrations: 100 },
      subscriptions: { ...listed, subscribers },
    }),
  )
  const itr = createConversation(
    aNodeConfig({
      roles: ['itr'],
      rlocs: [{ address: anAddress(ITR), interfaceName: 'core', priority: 1, weight: 100 }],
      mapResolvers: [anAddress(RESOLVER)],
      mapServers: [
        {
          address: anAddress(SERVER),
          key: aKey(),
          proxyReply: true,
          registerMs: 60_000,
          ttlMinutes: 15,
        },
      ],
      publishSubscribe: { subscribe: true, acceptUnsolicited: false, configured },
    }),
  )
  const first = server.runUntil(100).flatMap(({ sent }) => sent)
  t.match(first, [{ to: ITR, message: { kind: 'map-notify', nonce: 501n } }])
  const heard = itr.bytes(200, SERVER, first[0]!.bytes)
  t.ok(heard.names.includes('publication-received'))
  t.match(heard.sent, [{ to: SERVER, message: { kind: 'map-notify-ack', nonce: 501n } }])
  server.bytes(300, ITR, heard.sent[0]!.bytes)
  const records = [aMapping({ eidPrefix: '10.1.3.0/24', locators: [ETR] })]
  const news = server.bytes(400, ETR, registerBytes({ records, nonce: 1n }))
  const told = news.sent.find(({ to }) => to === ITR)!
  t.match(told.message, { kind: 'map-notify', nonce: 502n })
  t.match(itr.bytes(500, SERVER, told.bytes).words, [
    /put-map-cache 10.1.3.0\/24 forward 198.51.100.9/,
  ])
  const replayed = itr.bytes(600, SERVER, first[0]!.bytes)
  t.same(replayed.names, ['publication-rejected replayed'])
})

t.test('an xTR that is told much already gets plain answers to new subscriptions', async (t) => {
  const listed = aListing({ key: aKey() })
  const server = createConversation(
    aNodeConfig({
      roles: ['map-resolver', 'map-server'],
      rlocs: [{ address: anAddress(SERVER), interfaceName: 'core', priority: 1, weight: 100 }],
      mapServer: { sites: [aSite()], registrationMs: 180_000, maximumRegistrations: 100_000 },
      subscriptions: { ...listed, maximumPerXtr: 100, maximum: 100 },
      mapCache: { ...aNodeConfig().mapCache, repliesPerLocatorPerSecond: 10_000 },
    }),
  )
  const subscribe = (nonce: bigint, eidPrefix: string, at: number) => {
    const identity = { xtrId: anAddress(`::${ITR}`).bytes, siteId: 1n }
    const records = [{ subscribe: true, eidPrefix: aPrefix(eidPrefix) }]
    const message = aMapRequest({ identity, records, nonce, itrRlocs: [anAddress(ITR)] })
    return server.message(at, ITR, {
      kind: 'encapsulated-control',
      security: false,
      ddtOriginated: false,
      innerSource: anAddress(ITR),
      innerDestination: anAddress('10.1.0.5'),
      innerSourcePort: 4342,
      innerDestinationPort: 4342,
      message: encodeMessage(message),
    })
  }
  t.match(subscribe(1000n, '10.1.0.0/16', 0).sent, [{ message: { kind: 'map-notify' } }])
  // Each change makes the publication before it void: one Map-Notify more.
  for (let nonce = 1; nonce <= 42; nonce += 1) {
    // The same RLOC: nobody has to be told before the subscribers.
    const locators = [aLocator(ETR, { weight: nonce })]
    const records = Array.from({ length: 250 }, (_, host) => {
      return aMapping({ eidPrefix: `10.1.9.${host}/32`, locators })
    })
    server.bytes(1, ETR, registerBytes({ records, nonce: BigInt(nonce) }))
  }
  const [answer] = subscribe(2_000_000n, '10.1.200.1/32', 1).sent
  t.match(answer!.message, { kind: 'map-reply' })
  t.match(subscribe(2_000_001n, '10.1.200.2/32', 5000).sent, [{ message: { kind: 'map-notify' } }])
})
