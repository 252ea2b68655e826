/**
 * Closed networks in literal conversations: what an xTR tells its datapath about mappings, and what it
 * does about what packets say (RFC 9300 §9, §10, §13.1, §16, RFC 9302 §7). It has 10.2.0.0/16 and the
 * dynamic-EID prefix 10.1.0.0/16; the remote site is 10.9.0.0/16 at 192.0.2.1 and 192.0.2.2.
 */
import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import {
  type ClosedSwitches,
  NOT_CLOSED,
} from '../../src/control/closed-network/closed-vocabulary.js'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import { encodeSigned } from '../../src/lisp/authentication.js'
import type { Mapping } from '../../src/lisp/mapping.js'
import type { MapRegister, MapRequest } from '../../src/lisp/message.js'
import {
  aHeldPacket,
  aKey,
  aLocator,
  aMapping,
  aMapReply,
  aMapRequest,
  aMapServer,
  aNodeConfig,
  anAddress,
  anEid,
  aPrefix,
  hmac,
} from '../support/builders.js'
import {
  createConversation,
  namesOf,
  type Reaction,
  requestsIn,
  sentOf,
  wordsOf,
} from '../support/conversation.js'
import { MAC } from '../support/xtr-world.js'

const SERVER = '203.0.113.9'
const PEER = '192.0.2.1'
const OTHER = '192.0.2.2'
const STRANGER = '198.51.100.77'
const FIVE_MINUTES = 300_000

function anXtr(closed: Partial<ClosedSwitches>, about: Partial<NodeConfig> = {}) {
  const config = aNodeConfig({
    rlocs: aNodeConfig().rlocs.slice(0, 1),
    mapServers: [aMapServer(SERVER)],
    mapResolvers: [anAddress(SERVER)],
    eidPrefixes: [{ eidPrefix: aPrefix('10.2.0.0/16'), interfaceName: 'site' }],
    dynamicEidPrefixes: [{ eidPrefix: aPrefix('10.1.0.0/16'), interfaceName: 'site' }],
    rlocProbe: { enabled: false, intervalMs: 10_000, failures: 3 },
    closedNetwork: { ...NOT_CLOSED, ...closed },
    ...about,
  })
  return createConversation(config)
}

type Conversation = ReturnType<typeof anXtr>

const probing = { rlocProbe: { enabled: true, intervalMs: 10_000, failures: 3 } }

function remote(mapVersion: number, rlocs: readonly string[] = [PEER, OTHER]): Mapping {
  return aMapping({ eidPrefix: '10.9.0.0/16', mapVersion, locators: rlocs })
}

function reply(talk: Conversation, at: number, request: MapRequest, mapping: Mapping): Reaction {
  return talk.message(at, SERVER, aMapReply(request.nonce, mapping))
}

function learn(talk: Conversation, at: number, mapping: Mapping): Reaction {
  const [request] = requestsIn([talk.datapath(at, aHeldPacket('10.9.0.5'))])
  return reply(talk, at, request!, mapping)
}

const facts = (words: readonly string[]) => words.filter((one) => one.includes('mapping-facts'))

function acknowledge(talk: Conversation, at: number, from: Reaction, mapVersion: number) {
  const register = sentOf([from], 'map-register')[0]!.message as MapRegister
  const { nonce } = register
  const records = register.records.map((one) => ({ ...one, mapVersion }))
  const head = { kind: 'map-notify', keyId: 1, algorithm: 3, identity: undefined } as const
  const notify = { ...head, nonce, authenticationData: new Uint8Array(16), records }
  return talk.bytes(at, SERVER, encodeSigned(notify, aKey(), hmac))
}

const stale: DatapathEvent = {
  kind: 'stale-map-version',
  eid: anEid('10.2.0.7'),
  sender: anAddress(PEER),
}

t.test('off by default: no facts, no marks, no E bit', async (t) => {
  const talk = anXtr({})
  const words = [...talk.begun.words, ...learn(talk, 10, remote(4)).words]
  acknowledge(talk, 20, talk.begun, 3)
  t.same(facts(words), [])
  const put = learn(anXtr({}), 10, remote(4)).operations.find((o) => o.kind === 'put-map-cache')
  t.ok(put?.kind === 'put-map-cache' && put.encapsulations.every((one) => !one.closed))
  const probe = aMapRequest({ eidPrefix: '10.2.0.0/16', rlocProbe: true })
  const answer = talk.message(30, PEER, probe).sent[0]?.message
  t.match(answer, { kind: 'map-reply', echoNonceCapable: false })
})

t.test('cached mappings: their version goes along, and goes with them', async (t) => {
  const talk = anXtr({ mapVersions: true })
  const learned = learn(talk, 10, remote(4))
  t.same(facts(learned.words), ['put-mapping-facts remote 10.9.0.0/16 version 4'])
  const put = learned.operations.find((one) => one.kind === 'put-map-cache')
  t.ok(put?.kind === 'put-map-cache' && put.encapsulations.every((one) => one.closed))
  const cleared = talk.command(20, { kind: 'clear-map-cache', eidPrefix: undefined })
  t.same(facts(cleared.words), ['delete-mapping-facts remote 10.9.0.0/16'])
})

t.test(
  'our own version is put when a Map-Server has granted it, and goes when the EID goes',
  async (t) => {
    const talk = anXtr({ mapVersions: true })
    t.same(facts(talk.begun.words), ['put-mapping-facts own 10.2.0.0/16'], 'not known yet')
    t.same(facts(acknowledge(talk, 10, talk.begun, 3).words), [
      'put-mapping-facts own 10.2.0.0/16 version 3',
    ])
    const seen = { kind: 'local-eid-seen', mac: MAC, interfaceName: 'site', how: 'arp' } as const
    const arrival = talk.datapath(1000, { ...seen, eid: anEid('10.1.0.5') })
    t.same(facts(arrival.words), ['put-mapping-facts own 10.1.0.5/32'], 'nothing to compare with')
    t.same(facts(acknowledge(talk, 1010, arrival, 5).words), [
      'put-mapping-facts own 10.1.0.5/32 version 5',
    ])
    const gone = talk.command(2000, { kind: 'remove-eid', eidPrefix: aPrefix('10.1.0.5/32') })
    t.same(facts(gone.words), ['delete-mapping-facts own 10.1.0.5/32'])
  },
)

t.test(
  'a stale sender is solicited, refused after ten times, and told again every 30 s',
  async (t) => {
    const talk = anXtr({ mapVersions: true })
    acknowledge(talk, 10, talk.begun, 3)
    const reactions: Reaction[] = []
    let at = 1000
    for (; at < 60_000 && !namesOf(reactions).includes('stale-sender-refused'); at += 1000)
      reactions.push(talk.datapath(at, stale))
    const solicited = requestsIn(reactions)
    t.equal(solicited.length, 10, 'ten SMRs, no more than the rate')
    t.ok(solicited.every((one) => one.solicitMapRequest))
    const refusal = 'refuse-stale-version 10.2.0.0/16 192.0.2.1'
    t.same(wordsOf(reactions), [`${refusal} refused`])
    t.ok(at > 15_000, 'one per 3 s')
    const later = talk.runUntil(at + 30_000)
    t.ok(wordsOf(later).includes(`${refusal} accepted`), 'asked once more')
    const again = talk.datapath(at + 31_000, stale)
    t.equal(requestsIn([again]).length, 1)
    t.same(again.words, [`${refusal} refused`])
  },
)

t.test('older versions are dropped without a word when their TTL has passed', async (t) => {
  const talk = anXtr({ mapVersions: true })
  acknowledge(talk, 10, talk.begun, 3)
  const words = facts(wordsOf(talk.runUntil(15 * 60_000 + 20)))
  t.same(words, ['put-mapping-facts own 10.2.0.0/16 version 3 drop-stale'])
})

t.test(
  'a doubted source leads to a question through the mapping system, within the rate',
  async (t) => {
    for (const why of ['rloc', 'map-version'] as const) {
      const talk = anXtr({ checkSources: true, mapVersions: true })
      learn(talk, 10, remote(4))
      const doubt = { kind: 'source-doubted', eid: anEid('10.9.0.6'), why } as const
      const asked = talk.datapath(2000, { ...doubt, sender: anAddress(STRANGER) })
      t.equal(asked.sent.length, 1, why)
      t.match(asked.sent[0], { to: SERVER }, 'never to who sent the packet')
      t.match(requestsIn([asked])[0], { smrInvoked: true })
      t.same(asked.words, [], 'the mapping stands meanwhile')
      t.same(talk.datapath(2100, { ...doubt, sender: anAddress(STRANGER) }).sent, [])
      const answered = reply(talk, 2200, requestsIn([asked])[0]!, remote(5, [STRANGER]))
      t.ok(answered.words.includes('put-map-cache 10.9.0.0/16 forward 198.51.100.77'))
    }
    const talk = anXtr({ checkSources: true })
    const unknown = { kind: 'source-doubted', eid: anEid('10.8.0.6'), why: 'rloc' } as const
    t.same(talk.datapath(2000, { ...unknown, sender: anAddress(STRANGER) }).sent, [], 'not cached')
  },
)

t.test('where sources are checked, every RLOC of a mapping may send', async (t) => {
  const locators = [aLocator(PEER), aLocator(OTHER, { priority: 200 })]
  const mapping = aMapping({ eidPrefix: '10.9.0.0/16', locators })
  const put = learn(anXtr({ checkSources: true }), 10, mapping).operations.find(
    (one) => one.kind === 'put-map-cache',
  )
  t.match(put, { encapsulations: [{ locator: { rloc: anAddress(PEER) } }] })
  t.match(put, { senders: [anAddress(PEER), anAddress(OTHER)] })
})

t.test('status bits: what goes down is probed and asked about, at most every 3 s', async (t) => {
  const talk = anXtr({ statusBits: true, mapVersions: true }, probing)
  t.ok(wordsOf(talk.runUntil(1)).length >= 0)
  t.same(facts(learn(talk, 10, remote(4)).words), [
    'put-mapping-facts remote 10.9.0.0/16 version 4 bits 3',
  ])
  const bits = (statusBits: number): DatapathEvent => ({
    kind: 'status-bits-changed',
    eid: anEid('10.9.0.6'),
    sender: anAddress(PEER),
    statusBits,
  })
  const down = talk.datapath(2000, bits(1))
  t.same(facts(down.words), ['put-mapping-facts remote 10.9.0.0/16 version 4 bits 1'])
  t.match(down.sent, [{ to: SERVER }], 'the mapping is asked for')
  const probed = sentOf(talk.runUntil(2001), 'map-request').filter((one) => one.to === OTHER)
  t.equal(probed.length, 1, 'and the locator probed at once')
  for (let at = 2100; at < 4900; at += 100)
    t.same(talk.datapath(at, bits(at % 200 === 0 ? 3 : 0)).words, [], 'flapping changes nothing')
})

t.test('status bits rest for five minutes after a locator-set has changed', async (t) => {
  const talk = anXtr({ statusBits: true, mapVersions: true })
  t.same(facts(talk.begun.words), ['put-mapping-facts own 10.2.0.0/16'], 'ours has just come')
  learn(talk, 10, remote(4))
  const doubt = { kind: 'source-doubted', eid: anEid('10.9.0.6'), why: 'map-version' } as const
  const asked = talk.datapath(2000, { ...doubt, sender: anAddress(PEER) })
  const changed = reply(talk, 2010, requestsIn([asked])[0]!, remote(5, [PEER, STRANGER]))
  t.same(facts(changed.words), ['put-mapping-facts remote 10.9.0.0/16 version 5'])
  const early = facts(wordsOf(talk.runUntil(FIVE_MINUTES - 1)))
  t.same(early, [])
  t.same(facts(wordsOf(talk.runUntil(FIVE_MINUTES + 2010))), [
    'put-mapping-facts own 10.2.0.0/16 bits 1',
    'put-mapping-facts remote 10.9.0.0/16 version 5 bits 3',
  ])
})

t.test('an unknown source is gleaned for 3 s while the mapping system is asked', async (t) => {
  const unmapped = (eid: string): DatapathEvent => ({
    kind: 'source-unmapped',
    eid: anEid(eid),
    sender: anAddress(PEER),
  })
  const talk = anXtr({ glean: true })
  const gleaned = talk.datapath(1000, unmapped('10.9.0.6'))
  const put = gleaned.operations.find((one) => one.kind === 'put-map-cache')
  t.match(put, { encapsulations: [{ locator: { priority: 1, weight: 0 } }] })
  t.same(gleaned.words, ['put-map-cache 10.9.0.6/32 forward 192.0.2.1'])
  const [request] = requestsIn([gleaned])
  t.match(gleaned.sent, [{ to: SERVER }])
  const answered = reply(talk, 1500, request!, remote(4, [OTHER]))
  t.ok(answered.words.includes('put-map-cache 10.9.0.0/16 forward 192.0.2.2'))
  t.ok(answered.words.includes('delete-map-cache 10.9.0.6/32'), 'the answer replaces it')

  const silent = anXtr({ glean: true })
  silent.datapath(1000, unmapped('10.9.0.6'))
  t.notOk(wordsOf(silent.runUntil(3999)).includes('delete-map-cache 10.9.0.6/32'))
  t.ok(wordsOf(silent.runUntil(4001)).includes('delete-map-cache 10.9.0.6/32'), 'after 3 s')
  t.same(silent.datapath(4500, unmapped('10.9.0.6')).words, [], 'and not again for a minute')
  t.same(silent.datapath(4600, unmapped('10.1.0.9')).words, [], 'never one of our own prefixes')
  const many = Array.from({ length: 300 }, (_, i) => unmapped(`10.8.${i >> 8}.${i & 255}`))
  const put100 = many.filter((one) => silent.datapath(5000, one).words.length > 0)
  t.equal(put100.length, 100, 'inventing sources is limited')
})

t.test('a mapping that comes with a Map-Request is asked for, never used', async (t) => {
  const bring = (eid: string): Partial<MapRequest> => ({
    sourceEid: anEid(eid),
    itrRlocs: [anAddress(STRANGER)],
    records: [{ subscribe: false, eidPrefix: aPrefix('10.2.0.0/16') }],
    mapReplyRecord: aMapping({ eidPrefix: `${eid}/32`, locators: [aLocator(STRANGER)] }),
  })
  const talk = anXtr({ glean: true })
  const brought = talk.message(1000, STRANGER, aMapRequest(bring('10.9.0.6')))
  t.same(brought.words, [], 'nothing of it is installed')
  const [request] = requestsIn([brought])
  t.match(request, { smrInvoked: false, records: [{ eidPrefix: aPrefix('10.9.0.6/32') }] })
  t.ok(reply(talk, 1500, request!, remote(4)).words.some((one) => one.includes(PEER)))
  const asked = (one: Reaction): number => requestsIn([one]).length
  t.equal(asked(talk.message(2000, STRANGER, aMapRequest(bring('10.9.0.7')))), 0, 'cached')
  t.equal(asked(talk.message(2000, STRANGER, aMapRequest(bring('10.1.0.9')))), 0, 'ours')
  const open = anXtr({ glean: false })
  t.equal(asked(open.message(1000, STRANGER, aMapRequest(bring('10.9.0.6')))), 0, 'not asked to')
})

function anEchoingXtr() {
  const talk = anXtr({ echoNonce: true }, probing)
  learn(talk, 10, remote(4))
  const steps: Reaction[] = []
  /** Answers probes; E as each RLOC offers it. */
  const run = (until: number, offers: (rloc: string) => boolean, answers = true): Reaction[] => {
    const done: Reaction[] = []
    for (let one = talk.next(until); one !== undefined; one = talk.next(until)) {
      done.push(one)
      for (const { to, message } of one.sent) {
        if (message.kind !== 'map-request' || !message.rlocProbe || !answers) continue
        const head = { kind: 'map-reply', rlocProbe: true, nonce: message.nonce } as const
        const records = [remote(4)]
        done.push(talk.message(one.at + 1, to, { ...head, echoNonceCapable: offers(to), records }))
      }
    }
    steps.push(...done)
    return done
  }
  return { talk, run }
}

/** The moment at which the peer is first asked. */
function askedAt(run: ReturnType<typeof anEchoingXtr>['run']): number {
  for (let at = 100; at < 20_000; at += 100)
    if (wordsOf(run(at, () => true)).includes('request-nonce-echo 192.0.2.1 nonce')) return at
  throw new Error('never asked')
}

const echo = (rloc: string, echoed: boolean): DatapathEvent => ({
  kind: 'nonce-echo',
  rloc: anAddress(rloc),
  echoed,
})

t.test('echoes are asked only of those that offer them, with a nonce for each', async (t) => {
  const { run } = anEchoingXtr()
  const asked = run(20_000, () => true).flatMap((one) =>
    one.operations.flatMap((o) => (o.kind === 'request-nonce-echo' && o.nonce ? [o.nonce] : [])),
  )
  t.ok(asked.length >= 2)
  t.equal(new Set(asked).size, asked.length, 'never the same nonce')
  t.ok(asked.every((nonce) => nonce < 2 ** 24))
  const one = anEchoingXtr().run(20_000, (rloc) => rloc === PEER)
  const words = wordsOf(one).filter((word) => word.startsWith('request-nonce-echo'))
  t.ok(words.includes('request-nonce-echo 192.0.2.1 nonce'))
  t.notOk(
    words.some((word) => word.includes(OTHER)),
    'E was 0 in its Map-Reply',
  )
})

t.test('our own Map-Replies offer it where it is switched on', async (t) => {
  const probe = aMapRequest({ eidPrefix: '10.2.0.0/16', rlocProbe: true })
  const answer = anXtr({ echoNonce: true }).message(30, PEER, probe).sent[0]?.message
  t.match(answer, { kind: 'map-reply', echoNonceCapable: true })
})

t.test('no echo for 3 s among packets means down, until a probe is answered', async (t) => {
  const { talk, run } = anEchoingXtr()
  const at = askedAt(run)
  const missed = [100, 1000, 3000, 3100].map((ms) => talk.datapath(at + ms, echo(PEER, false)))
  t.same(
    missed.map((one) => one.names.includes('locator-down')),
    [false, false, false, true],
  )
  t.ok(missed[3]!.words.includes('request-nonce-echo 192.0.2.1 no'))
  t.ok(missed[3]!.words.includes('put-map-cache 10.9.0.0/16 forward 192.0.2.2'))
  t.same(talk.datapath(at + 3200, echo(PEER, true)).words, [], 'a late echo is data')
  t.ok(namesOf(run(at + 3300, () => true)).includes('locator-up'), 'probed at once')
})

t.test('an echo ends the question; silence says nothing and ends it after 10 s', async (t) => {
  const { talk, run } = anEchoingXtr()
  const echoed = talk.datapath(askedAt(run) + 100, echo(PEER, true))
  t.same(echoed.words, ['request-nonce-echo 192.0.2.1 no'])
  const words = wordsOf(run(40_000, () => true))
  t.ok(words.includes('request-nonce-echo 192.0.2.2 no'), 'the other has said nothing at all')
  t.notOk(namesOf(run(60_000, () => true)).includes('locator-down'))
})
