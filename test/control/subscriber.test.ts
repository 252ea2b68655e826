/**
 * Publish/subscribe on an xTR (RFC 9437 §4–§6), in literal conversations: an xTR at 203.0.113.1 with
 * the Map-Server and Map-Resolver 203.0.113.8 and one more Map-Resolver.
 */
import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import type { StoredRecord } from '../../src/control/stored-record.js'
import { encodeSigned, verifyMessage } from '../../src/lisp/authentication.js'
import type { Mapping } from '../../src/lisp/mapping.js'
import type { MapRequest } from '../../src/lisp/message.js'
import {
  aHeldPacket,
  aKey,
  aMapping,
  aMapReply,
  aNodeConfig,
  anAddress,
  aPrefix,
  hmac,
} from '../support/builders.js'
import { createConversation, type Reaction, requestsIn } from '../support/conversation.js'

const SERVER = '203.0.113.8'

function anXtr(about: Partial<NodeConfig> = {}, records: readonly StoredRecord[] = [], seed = 1) {
  const server = { address: anAddress(SERVER), key: aKey(), proxyReply: true }
  const config = aNodeConfig({
    siteId: 9n,
    mapServers: [{ ...server, registerMs: 60_000, ttlMinutes: 15 }],
    mapResolvers: [SERVER, '203.0.113.9'].map(anAddress),
    publishSubscribe: { subscribe: true, acceptUnsolicited: false },
    rlocProbe: { enabled: false, intervalMs: 10_000, failures: 3 },
    ...about,
  })
  return createConversation(config, { records }, seed)
}

type Conversation = ReturnType<typeof anXtr>

function ask(talk: Conversation, at: number, eid = '10.1.0.5'): MapRequest {
  return requestsIn([talk.datapath(at, aHeldPacket(eid))])[0]!
}

function notify(nonce: bigint, records: readonly Mapping[], key = aKey()): Uint8Array {
  const message = {
    kind: 'map-notify',
    nonce,
    keyId: key.keyId,
    algorithm: key.algorithm,
    authenticationData: new Uint8Array(16),
    records,
    identity: undefined,
  } as const
  return encodeSigned(message, key, hmac)
}

function publication(talk: Conversation, at: number, nonce: bigint, ...records: Mapping[]) {
  return talk.bytes(at, SERVER, notify(nonce, records))
}

/** Nonces of the Map-Notify-Acks, whose authentication is right. */
function acksOf(reaction: Reaction): bigint[] {
  return reaction.sent.flatMap(({ message, bytes }) =>
    message.kind === 'map-notify-ack' && verifyMessage(bytes, aKey(), hmac) ? [message.nonce] : [],
  )
}

/** Subscribes to 10.1.0.5 at moment 100; returns the nonce. */
function subscribe(talk: Conversation, mapping = aMapping({ mapVersion: 3 })): bigint {
  const { nonce } = ask(talk, 100)
  publication(talk, 110, nonce, mapping)
  return nonce
}

t.test('a request has the N bit and says who asks; a Map-Notify is the answer', async (t) => {
  const talk = anXtr()
  const request = ask(talk, 100)
  t.same(request.records, [{ subscribe: true, eidPrefix: aPrefix('10.1.0.5/32') }])
  t.same(request.identity, { xtrId: new Uint8Array(16).fill(1), siteId: 9n })
  t.equal(request.itrRlocs.length, 2)
  const answered = publication(talk, 110, request.nonce, aMapping({ mapVersion: 3 }))
  t.same(answered.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.1 release 10.1.0.5'])
  t.same(acksOf(answered), [request.nonce])
  t.match(talk.node.snapshot(110), {
    mapCache: [{ origin: 'map-notify' }],
    subscriptions: [{ side: 'xtr', eidPrefix: '10.1.0.5/32', state: 'subscribed' }],
  })
})

t.test('publications are followed and acknowledged; replays are not', async (t) => {
  const talk = anXtr()
  const nonce = subscribe(talk)
  const to = (rloc: string, mapVersion: number) => aMapping({ locators: [rloc], mapVersion })
  const first = publication(talk, 200, nonce + 1n, to('192.0.2.2', 4))
  t.same(first.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.2'])
  t.same(acksOf(first), [nonce + 1n])
  const again = publication(talk, 300, nonce + 1n, to('192.0.2.2', 4))
  t.same([again.words, acksOf(again)], [[], [nonce + 1n]], 'the acknowledgement was lost')
  const gap = publication(talk, 400, nonce + 7n, to('192.0.2.3', 5))
  t.same(gap.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.3'])
  const old = publication(talk, 500, nonce + 6n, to('192.0.2.2', 6))
  t.same([old.words, acksOf(old)], [[], []])
  t.ok(old.names.includes('publication-rejected replayed'))
  const later = talk.bytes(600, SERVER, notify(nonce + 8n, [to('192.0.2.9', 9)], aKey('other')))
  t.same([later.words, acksOf(later)], [[], []], 'a forged one')
  const behind = publication(talk, 700, nonce + 9n, to('192.0.2.1', 2))
  t.same(behind.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.3'], 'the newer one stands')
  t.same(acksOf(behind), [nonce + 9n])
})

t.test('only what was subscribed to can be published', async (t) => {
  const talk = anXtr()
  const nonce = subscribe(talk, aMapping({ eidPrefix: '10.1.0.0/24', mapVersion: 3 }))
  const inside = publication(talk, 200, nonce + 1n, aMapping({ eidPrefix: '10.1.0.77/32' }))
  t.same(inside.words, ['put-map-cache 10.1.0.77/32 forward 192.0.2.1'])
  const mixed = publication(
    talk,
    300,
    nonce + 2n,
    aMapping({ eidPrefix: '10.1.0.78/32' }),
    aMapping({ eidPrefix: '10.9.0.0/16' }),
  )
  t.same(mixed.words, ['put-map-cache 10.1.0.78/32 forward 192.0.2.1'])
  t.ok(mixed.names.includes('publication-rejected unrelated-record'))
  const apart = publication(talk, 400, nonce + 3n, aMapping({ eidPrefix: '10.9.0.0/16' }))
  t.same(apart.words, [])
})

t.test('TTL 0 removes the mapping, and the subscription stays', async (t) => {
  const talk = anXtr()
  const nonce = subscribe(talk)
  const gone = publication(
    talk,
    200,
    nonce + 1n,
    aMapping({ ttlMinutes: 0, locators: [], mapVersion: 3 }),
  )
  t.same(gone.words, ['delete-map-cache 10.1.0.5/32'])
  t.same(acksOf(gone), [nonce + 1n])
  const back = publication(talk, 300, nonce + 2n, aMapping({ mapVersion: 4 }))
  t.same(back.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.1'])
})

t.test('a plain Map-Reply is as good, and the third try asks plainly', async (t) => {
  const talk = anXtr()
  const { nonce } = ask(talk, 100)
  const answered = talk.message(110, SERVER, aMapReply(nonce, aMapping()))
  t.same(answered.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.1 release 10.1.0.5'])
  t.same(talk.node.snapshot(110).subscriptions, [])
  const silent = anXtr()
  const first = ask(silent, 100)
  const retries = requestsIn(silent.runUntil(4000))
  const tries = [first, ...retries].map((one) => one.records[0]!.subscribe)
  t.same(tries, [true, true, false])
  t.equal(retries[0]!.nonce, first.nonce + 1n, 'a known nonce is exceeded by one')
  t.equal(retries[1]!.identity, undefined)
})

t.test('a refusal is not taken for a mapping: the packet is asked for plainly', async (t) => {
  for (const action of ['drop-policy-denied', 'drop-auth-failure'] as const) {
    const talk = anXtr()
    const { nonce } = ask(talk, 100)
    const refused = talk.message(110, SERVER, aMapReply(nonce, aMapping({ locators: [], action })))
    t.same(refused.words, [])
    t.ok(refused.names.includes('subscription-refused map-server'))
    const [plain] = requestsIn(talk.runUntil(1100))
    t.equal(plain?.records[0]?.subscribe, false)
    const answered = talk.message(1110, SERVER, aMapReply(plain!.nonce, aMapping()))
    t.same(answered.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.1 release 10.1.0.5'])
  }
})

t.test('who is dismissed by the Map-Server subscribes again', async (t) => {
  const talk = anXtr()
  const nonce = subscribe(talk)
  const end = publication(
    talk,
    5000,
    nonce,
    aMapping({ locators: [], action: 'drop-auth-failure' }),
  )
  t.same(end.words, [], 'that is no mapping')
  const [request] = requestsIn([end])
  t.match(request?.records, [{ subscribe: true }])
  t.equal(request?.nonce, nonce + 1n)
})

t.test('what is no longer in the map-cache is taken back', async (t) => {
  const talk = anXtr()
  const nonce = subscribe(talk, aMapping({ ttlMinutes: 1 }))
  const [removal] = requestsIn(talk.runUntil(61_000)).filter(
    ({ itrRlocs }) => itrRlocs.length === 0,
  )
  t.match(removal, { nonce: nonce + 1n, records: [{ subscribe: true }] })
  t.not(removal?.identity, undefined)
  const confirmed = publication(talk, 61_010, nonce + 1n, aMapping())
  t.same([confirmed.words, acksOf(confirmed)], [[], [nonce + 1n]], 'acknowledged, not used')
  t.same(talk.node.snapshot(61_010).subscriptions, [])
})

t.test('nonces rise over a restart without a write for each prefix', async (t) => {
  const talk = anXtr()
  const written = talk.begun.written.filter(
    (one) => one.kind === 'reservation' && one.scope === 'subscription',
  )
  t.equal(written.length, 1)
  const before = ask(talk, 100).nonce
  const highest = publication(talk, 110, before + 99n, aMapping())
  t.same(acksOf(highest), [before + 99n])
  const after = ask(anXtr({}, written, 2), 100).nonce
  t.ok(after > before + 99n, `${after}`)
  t.ok(after < 1n << 63n, 'and keep out of the Map-Server’s own range')
})

t.test('publications that were not asked for need the switch', async (t) => {
  const off = { subscribe: false, acceptUnsolicited: false }
  const learned = (publishSubscribe: NodeConfig['publishSubscribe']) => {
    const talk = anXtr({ publishSubscribe })
    const request = ask(talk, 100)
    t.equal(request.records[0]!.subscribe, false)
    talk.message(110, SERVER, aMapReply(request.nonce, aMapping({ mapVersion: 3 })))
    return talk
  }
  const news = aMapping({ locators: ['192.0.2.2'], mapVersion: 4 })
  t.same(publication(learned(off), 200, 77n, news).words, [])
  const talk = learned({ ...off, acceptUnsolicited: true })
  const taken = publication(talk, 200, 77n, news)
  t.same(taken.words, ['put-map-cache 10.1.0.5/32 forward 192.0.2.2'])
  t.same(acksOf(taken), [77n])
  const older = publication(talk, 300, 76n, aMapping({ mapVersion: 5 }))
  t.same(older.words, [], 'their nonces must rise too')
})
