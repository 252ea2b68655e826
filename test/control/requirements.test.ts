/**
 * Single requirements of RFC 9301 that no other conversation shows by itself: an ITR with two
 * Map-Resolvers, an ETR with a Map-Server that the test plays, and a Map-Server.
 */
import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import type { Output } from '../../src/control/input-output.js'
import { encodeSigned } from '../../src/lisp/authentication.js'
import type { Mapping } from '../../src/lisp/mapping.js'
import {
  decodeMessage,
  encodeMessage,
  type MapRegister,
  type MapReply,
  type MapRequest,
} from '../../src/lisp/message.js'
import {
  aHeldPacket,
  aKey,
  aLocator,
  aMapping,
  aMapRequest,
  aNodeConfig,
  anAddress,
  anEid,
  anIdentity,
  aPrefix,
  aSite,
  hmac,
} from '../support/builders.js'
import { createConversation, type Reaction, sentOf } from '../support/conversation.js'
import { createMappingSystem, inWords } from '../support/mapping-system.js'

const SERVER = '203.0.113.9'
const ITR = '198.51.100.1'
const noProbes = { enabled: false, intervalMs: 10_000, failures: 3 }

function anXtr(about: Partial<NodeConfig> = {}) {
  const server = { proxyReply: true, registerMs: 60_000, ttlMinutes: 15 }
  return createConversation(
    aNodeConfig({
      mapServers: [{ address: anAddress(SERVER), key: aKey(), ...server }],
      mapResolvers: [anAddress(SERVER)],
      eidPrefixes: [{ eidPrefix: aPrefix('10.2.0.0/16'), interfaceName: 'site' }],
      rlocProbe: noProbes,
      ...about,
    }),
  )
}

type Conversation = ReturnType<typeof anXtr>

function aReply(nonce: bigint, records: readonly Mapping[], rlocProbe = false): MapReply {
  return { kind: 'map-reply', rlocProbe, echoNonceCapable: false, nonce, records }
}

function requestOf(...reactions: readonly Reaction[]): MapRequest {
  const [first] = sentOf(reactions, 'map-request')
  const message = first?.inner ?? first?.message
  if (message?.kind !== 'map-request') throw new Error('no Map-Request was sent')
  return message
}

function learn(talk: Conversation, at: number, mapping: Mapping, eid = '10.1.0.5'): Reaction {
  const { nonce } = requestOf(talk.datapath(at, aHeldPacket(eid)))
  return talk.message(at, ITR, aReply(nonce, [mapping]))
}

t.test('a refresh asks for the cached prefix with its mask, without a source', async (t) => {
  const talk = anXtr()
  learn(talk, 0, aMapping({ eidPrefix: '10.1.0.0/16', ttlMinutes: 1 }))
  talk.runUntil(54_001)
  const about = { eidPrefix: aPrefix('10.1.0.0/16'), packets: 5n, bytes: 500n, idleMs: 20 }
  const request = requestOf(talk.datapath(54_002, { kind: 'map-cache-usage', ...about }))
  t.same(request.records, [{ subscribe: false, eidPrefix: aPrefix('10.1.0.0/16') }])
  t.equal(request.sourceEid, undefined)
  t.equal(request.smrInvoked, false, 'nobody solicited it')
})

t.test('a resolution that turns into a refresh loses its Source-EID', async (t) => {
  const talk = anXtr()
  const ask = aMapping({ action: 'send-map-request', locators: [], ttlMinutes: 600 })
  learn(talk, 0, ask)
  t.same(requestOf(talk.datapath(2000, aHeldPacket('10.1.0.5'))).sourceEid, anEid('10.2.0.7'))
  const about = { eidPrefix: aPrefix('10.1.0.5/32'), packets: 5n, bytes: 500n, idleMs: 20 }
  t.same(talk.datapath(2500, { kind: 'map-cache-usage', ...about }).sent, [], 'it is under way')
  const again = sentOf(talk.runUntil(3000), 'map-request').map((one) => one.inner)
  t.match(again, [{ sourceEid: undefined }])
})

t.test('a probe reply counts when all is authoritative, for the locator it marks', async (t) => {
  const talk = anXtr({ rlocProbe: { enabled: true, intervalMs: 10_000, failures: 2 } })
  const [first, second] = ['192.0.2.1', '192.0.2.2']
  const locators = [aLocator(first), aLocator(second)]
  learn(talk, 0, aMapping({ ttlMinutes: 600, locators }))
  t.match(
    talk.runUntil(30_000).flatMap((one) => one.names),
    /locator-down/,
  )
  const state = (rloc: string) =>
    talk.node.snapshot(60_000).locators.find((one) => one.rloc === rloc)?.reachable
  t.same([state(first), state(second)], [false, false])

  const probeTo = (rloc: string, until: number): { at: number; nonce: bigint } => {
    for (let one = talk.next(until); one !== undefined; one = talk.next(until)) {
      const probe = one.sent.find((each) => each.to === rloc)
      if (probe?.message.kind !== 'map-request') continue
      t.match(probe.message, { rlocProbe: true, smrInvoked: false })
      t.equal(probe.message.sourceEid, undefined)
      t.same(probe.message.records, [{ subscribe: false, eidPrefix: aPrefix('10.1.0.5/32') }])
      return { at: one.at, nonce: probe.message.nonce }
    }
    throw new Error('no probe')
  }
  const marked = (rloc: string) =>
    aMapping({
      locators: [first, second].map((one) => aLocator(one, { probe: one === rloc, local: true })),
    })
  const probe = probeTo(first, 60_000)
  const half = [marked(first), { ...marked(first), authoritative: false }]
  const refused = talk.message(probe.at + 1, first, aReply(probe.nonce, half, true))
  t.same(refused.names, ['map-reply-rejected probe'], 'one record without A')
  t.equal(state(first), false)
  const heard = talk.message(
    probe.at + 2,
    '192.0.2.77',
    aReply(probe.nonce, [marked(second)], true),
  )
  t.same(heard.names, ['locator-up'], 'from whatever address it comes')
  t.same([state(first), state(second)], [false, true], 'the marked one is up, not the probed one')
})

t.test('ACT counts only where there is no locator', async (t) => {
  const act = 'drop' as const
  t.same(learn(anXtr(), 0, aMapping({ action: act })).words, [
    'put-map-cache 10.1.0.5/32 forward 192.0.2.1 release 10.1.0.5',
  ])
  const native = aMapping({ action: 'natively-forward', locators: [] })
  t.same(learn(anXtr(), 0, native).words, ['put-map-cache 10.1.0.5/32 native release 10.1.0.5'])
})

t.test('a register names xTR-ID and Site-ID and marks no locator as probed', async (t) => {
  const [sent] = sentOf([anXtr().begun], 'map-register')
  const register = sent?.message as MapRegister
  t.same(register.identity, { xtrId: new Uint8Array(16).fill(1), siteId: 1n })
  const locators = register.records.flatMap((one) => one.locators)
  t.same(
    locators.map((one) => [one.local, one.probe]),
    [
      [true, false],
      [true, false],
    ],
  )
})

t.test('answers to probes obey the ceiling of their RLOC', async (t) => {
  const mapCache = { ...aNodeConfig().mapCache, repliesPerLocatorPerSecond: 10 }
  const talk = anXtr({ mapCache })
  const probe = aMapRequest({ rlocProbe: true, eidPrefix: '10.2.0.1/32' })
  const answered = Array.from({ length: 50 }, (_, n) => talk.message(1000 + n / 100, ITR, probe))
  t.equal(sentOf(answered, 'map-reply').length, 10)
  t.equal(
    talk.message(1001, ITR, { ...probe, itrRlocs: [anAddress('198.51.100.2')] }).sent.length,
    1,
    'another RLOC does not wait',
  )
})

t.test(
  'keys beside an ITR-RLOC, revoked or not, go unanswered, and the reply to the address',
  async (t) => {
    const plain = encodeMessage(aMapRequest({ eidPrefix: '10.2.0.1/32' }))
    const itrRloc = 4 + 8 + 2 // behind the first word, the nonce and no Source-EID
    for (const [at, revoked] of [0, 1].entries()) {
      const key = [1, 0, 6, revoked, 0, 2, 0xca, 0xfe, 0, 1, 198, 51, 100, 9]
      const lcaf = [0x40, 0x03, 0, 0, 11, 0, 0, key.length, ...key]
      const bytes = Uint8Array.of(...plain.slice(0, itrRloc), ...lcaf, ...plain.slice(itrRloc + 6))
      const [answer] = sentOf([anXtr().bytes(1000 + at, ITR, bytes)], 'map-reply')
      t.same(answer?.to, '198.51.100.9')
      const reply = answer?.message as MapReply
      t.notOk(
        reply.records[0]?.locators.some((locator) => locator.structure),
        'no keys come back',
      )
    }
  },
)

t.test('the answer to a probe leaves from the probed one of several RLOCs', async (t) => {
  const rlocs = ['203.0.113.1', '203.0.113.2'].map((text) => ({
    ...aNodeConfig().rlocs[0]!,
    address: anAddress(text),
  }))
  const { node } = anXtr({ rlocs })
  const bytes = encodeMessage(aMapRequest({ rlocProbe: true, eidPrefix: '10.2.0.1/32' }))
  for (const [index, { address: to }] of rlocs.entries()) {
    const outputs: Output[] = []
    const from = anAddress(ITR)
    node.handle({ kind: 'datagram', from, fromPort: 4342, to, bytes }, 1000, outputs)
    const [reply] = outputs.filter((one) => one.kind === 'send')
    t.same(reply?.from, to)
    const message = reply && decodeMessage(reply.bytes)
    const [record] = message?.kind === 'map-reply' ? message.records : []
    t.same(
      record?.locators.map((one) => one.probe),
      [index === 0, index === 1],
    )
  }
})

t.test('control messages are taken from any source port', async (t) => {
  for (const port of [4342, 61_000]) {
    const [reply] = anXtr().message(10, ITR, aMapRequest({ eidPrefix: '10.2.0.1/32' }), port).sent
    t.match(reply, { to: ITR, toPort: port })
  }
})

t.test(
  'an answer to a register gets no Map-Notify-Ack, an unsolicited notify gets one',
  async (t) => {
    const talk = anXtr()
    const [sent] = sentOf([talk.begun], 'map-register')
    const register = sent?.message as MapRegister
    const notify = (nonce: bigint): Uint8Array => {
      const { keyId, algorithm, records } = register
      const about = { nonce, keyId, algorithm, records, identity: undefined }
      const authenticationData = new Uint8Array(16)
      return encodeSigned({ kind: 'map-notify', ...about, authenticationData }, aKey(), hmac)
    }
    const answered = talk.bytes(10, SERVER, notify(register.nonce))
    t.same([answered.names, answered.sent], [['registration-acknowledged'], []])
    t.same(talk.bytes(11, SERVER, notify(register.nonce)).sent, [], 'nor does its repetition')
    const unasked = talk.bytes(20, SERVER, notify(1n << 63n))
    t.match(unasked.sent, [{ to: SERVER, toPort: 4342, message: { kind: 'map-notify-ack' } }])
  },
)

const sites = [aSite()]
const mapServer = { sites, registrationMs: 180_000, maximumRegistrations: 1000 }

t.test('two ETRs behind one anycast RLOC are told apart by their xTR-IDs', async (t) => {
  const system = createMappingSystem(aNodeConfig({ mapServer }))
  const anycast = '192.0.2.100'
  const register = (now: number, byte: number, nonce: bigint, eidPrefix: string) => {
    const records = [aMapping({ eidPrefix, locators: [aLocator(anycast, { local: true })] })]
    return system.register(now, `192.0.2.${byte}`, { nonce, identity: anIdentity(byte), records })
  }
  t.match(register(0, 1, 900n, '10.1.0.1/32').names, [/acknowledgement/, /added/])
  t.match(register(1, 2, 5n, '10.1.0.2/32').names, [/acknowledgement/, /added/], 'its own nonces')
  t.same(
    system.mapServer.registrationViews(2).map((one) => [one.eidPrefix, one.owner.slice(0, 2)]),
    [
      ['10.1.0.1/32', '01'],
      ['10.1.0.2/32', '02'],
    ],
  )
})

t.test('many unsolicited Map-Notifies to one RLOC leave at a pace', async (t) => {
  const large = { ...mapServer, maximumRegistrations: 10_000 }
  const system = createMappingSystem(aNodeConfig({ mapServer: large }))
  let first = 0
  for (let host = 0; host < 80; host += 1) {
    const records = (rloc: string) => [
      aMapping({ eidPrefix: `10.1.0.${host}/32`, locators: [aLocator(rloc, { local: true })] }),
    ]
    const nonce = BigInt(host + 1)
    system.register(0, '192.0.2.1', {
      nonce,
      identity: anIdentity(1),
      records: records('192.0.2.1'),
    })
    const moved = { nonce, identity: anIdentity(2), records: records('192.0.2.2') }
    first += system.register(0, '192.0.2.2', moved).notices.length
  }
  t.equal(first, 50, 'a burst at once')
  const later = system.runUntil(100)
  t.equal(later.flatMap((one) => one.result.sent).length, 30)
  t.ok(later.at(-1)!.at >= 58, `the last one after ${later.at(-1)!.at} ms`)
})

t.test('a Map-Server that is no xTR drops Map-Replies', async (t) => {
  const roles: NodeConfig['roles'] = ['map-server', 'map-resolver']
  const talk = createConversation(aNodeConfig({ roles, mapServer }))
  const reply = talk.message(10, ITR, aReply(7n, [aMapping()]))
  t.same([reply.names, reply.sent, reply.written], [['datagram-ignored not-an-xtr'], [], []])
})

t.test('a Map-Resolver keeps no answer: the same question goes on again', async (t) => {
  const client = { address: anAddress(SERVER), key: aKey(), proxyReply: true }
  const server = { ...client, registerMs: 60_000, ttlMinutes: 15 }
  const system = createMappingSystem(aNodeConfig({ mapServer, mapServers: [server] }))
  for (const nonce of [1n, 2n])
    t.match(system.request(0, ITR, aMapRequest({ nonce, eidPrefix: '10.7.0.1/32' })).sent, [
      { to: SERVER, message: { kind: 'encapsulated-control' } },
    ])
})

t.test('only its own Map-Server configuration makes a Map-Server believe an ETR', async (t) => {
  const green = aSite({
    name: 'green',
    keys: [aKey('green')],
    prefixes: [{ eidPrefix: aPrefix('[9]10.1.0.0/16'), acceptMoreSpecifics: true }],
  })
  const system = createMappingSystem(
    aNodeConfig({ mapServer: { ...mapServer, sites: [aSite(), green] } }),
  )
  const records = [aMapping({ eidPrefix: '[9]10.1.0.5/32' })]
  t.match(system.register(0, '192.0.2.1', { records }).names, [/authentication-failed/])
  t.match(system.register(0, '192.0.2.1', { records, key: aKey('green') }).names, [/ack/, /added/])
  const { sent } = system.request(0, ITR, aMapRequest({ eidPrefix: '[9]10.1.0.5/32' }))
  const reply = sent[0]?.message.kind === 'map-reply' ? sent[0].message : undefined
  t.same(
    reply?.records.map(inWords).map((one) => one.split(' ')[0]),
    ['[9]10.1.0.5/32'],
  )
  const other = system.request(0, ITR, aMapRequest({ eidPrefix: '10.1.0.5/32' })).sent[0]?.message
  t.match(other, { records: [{ locators: [], action: 'natively-forward' }] }, 'instance 0 is empty')
})
