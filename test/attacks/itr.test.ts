/**
 * Attacks on an ITR: answers nobody asked for, guessed nonces, answers that claim too much, forged
 * solicitations and Map-Notifies, hosts of its own site that scan. Traffic under a cached entry goes
 * on in each case, and what the mapping system is asked stays within limits.
 */
import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import { encodeSigned } from '../../src/lisp/authentication.js'
import { encodeMessage, type MapRequest } from '../../src/lisp/message.js'
import {
  aHeldPacket,
  aKey,
  aLocator,
  aMapping,
  aMapReply,
  aMapRequest,
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
  wordsOf,
} from '../support/conversation.js'

const SERVER = '203.0.113.8'
const ATTACKER = '198.51.100.66'
const ETR = '192.0.2.1'

function anItr(about: Partial<NodeConfig> = {}) {
  const server = { address: anAddress(SERVER), key: aKey(), proxyReply: true }
  const config = aNodeConfig({
    mapServers: [{ ...server, registerMs: 60_000, ttlMinutes: 15 }],
    mapResolvers: [anAddress(SERVER)],
    eidPrefixes: [{ eidPrefix: aPrefix('10.2.0.0/16'), interfaceName: 'site' }],
    rlocProbe: { enabled: false, intervalMs: 10_000, failures: 3 },
    ...about,
  })
  return createConversation(config)
}

type Conversation = ReturnType<typeof anItr>

function learn(talk: Conversation, at: number, mapping = aMapping(), eid = '10.1.0.5'): void {
  const [request] = requestsIn([talk.datapath(at, aHeldPacket(eid))])
  talk.message(at, ETR, aMapReply(request!.nonce, mapping))
}

/** The map-cache without our own entries. */
function cached(talk: Conversation, now: number): string[] {
  return talk.node
    .snapshot(now)
    .mapCache.filter(({ origin }) => origin !== 'local')
    .map(({ eidPrefix, locators }) => `${eidPrefix} ${locators.map(({ rloc }) => rloc).join(' ')}`)
}

const anSmr = (eid: string, about: Partial<MapRequest> = {}) =>
  aMapRequest({ solicitMapRequest: true, eidPrefix: `${eid}/32`, ...about })
const countOf = (names: readonly string[], name: string) =>
  names.filter((one) => one === name).length

t.test(
  'RFC 9301 §5.4: Map-Replies that nobody asked for change nothing, from whomever they seem to be',
  async (t) => {
    const talk = anItr()
    learn(talk, 0)
    for (const from of [ATTACKER, ETR, SERVER]) {
      const evil = aMapReply(4711n, aMapping({ locators: [ATTACKER] }))
      const result = talk.message(100, from, evil)
      t.same([result.names, result.words], [['map-reply-rejected unknown-nonce'], []], from)
      const probe = talk.message(100, from, { ...evil, rlocProbe: true })
      t.same([probe.names, probe.words], [['map-reply-rejected probe'], []])
    }
    t.same(cached(talk, 100), [`10.1.0.5/32 ${ETR}`])
  },
)

t.test(
  'RFC 9301 §9: a hundred thousand guessed nonces are counted, keep nothing, and shut nobody out',
  async (t) => {
    const talk = anItr()
    const [request] = requestsIn([talk.datapath(0, aHeldPacket('10.1.0.5'))])
    const names: string[] = []
    for (let guess = 0n; guess < 100_000n; guess += 1n) {
      const nonce =
        guess % 2n === 0n ? guess : (request!.nonce ^ (1n << (guess % 64n))) + (guess << 8n)
      if (nonce === request!.nonce) continue
      // Also from the address of the Map-Server: shutting out a source would shut that one out.
      const from = guess % 3n === 0n ? SERVER : ATTACKER
      const evil = aMapReply(BigInt.asUintN(64, nonce), aMapping({ locators: [ATTACKER] }))
      names.push(...talk.message(1, from, evil).names)
    }
    t.same([...new Set(names)], ['map-reply-rejected unknown-nonce'])
    t.ok(names.length > 99_000)
    t.same(cached(talk, 1), [])
    const answered = talk.message(2, SERVER, aMapReply(request!.nonce, aMapping()))
    t.ok(answered.names.includes('mapping-installed'), 'the true answer still counts')
  },
)

t.test(
  'RFC 9437 §5: the nonce of a subscribing request has fewer random bits, so guesses against it lead to a plain request',
  async (t) => {
    const talk = anItr({ publishSubscribe: { subscribe: true, acceptUnsolicited: false } })
    const [request] = requestsIn([talk.datapath(0, aHeldPacket('10.1.0.5'))])
    t.ok(request!.records[0]!.subscribe)
    const evil = (nonce: bigint) => aMapReply(nonce, aMapping({ locators: [ATTACKER] }))
    for (let guess = 1n; guess <= 1001n; guess += 1n) talk.message(1, ATTACKER, evil(guess))
    const lucky = talk.message(2, ATTACKER, evil(request!.nonce))
    t.same(lucky.names, ['map-reply-rejected guessing'])
    t.same(cached(talk, 2), [])
    const [plain] = requestsIn(talk.runUntil(1500))
    t.notOk(plain!.records[0]!.subscribe)
    t.not(plain!.nonce >> 35n, request!.nonce >> 35n, 'all bits are drawn')
    talk.message(1501, SERVER, aMapReply(plain!.nonce, aMapping()))
    t.same(cached(talk, 1501), [`10.1.0.5/32 ${ETR}`])

    const calm = anItr({ publishSubscribe: { subscribe: true, acceptUnsolicited: false } })
    const [asked] = requestsIn([calm.datapath(0, aHeldPacket('10.1.0.5'))])
    calm.message(1, SERVER, aMapReply(asked!.nonce, aMapping()))
    t.same(cached(calm, 1), [`10.1.0.5/32 ${ETR}`], 'without guesses a plain answer is taken')
  },
)

t.test(
  'RFC 9301 §5.5: an answer may be as wide as it covers what was asked, but plants nothing beside it and takes nothing of ours',
  async (t) => {
    const talk = anItr()
    const [request] = requestsIn([talk.datapath(0, aHeldPacket('10.1.0.5'))])
    const result = talk.message(
      1,
      ETR,
      aMapReply(
        request!.nonce,
        aMapping({ eidPrefix: '10.1.0.0/24' }),
        aMapping({ eidPrefix: '10.7.0.0/16', locators: [ATTACKER] }),
        aMapping({ eidPrefix: '[9]10.1.0.0/24', locators: [ATTACKER] }),
      ),
    )
    t.ok(result.names.includes('map-reply-rejected unrelated-record'))
    t.same(cached(talk, 1), [`10.1.0.0/24 ${ETR}`])

    const [second] = requestsIn([talk.datapath(2, aHeldPacket('10.9.0.5'))])
    const all = aMapping({ eidPrefix: '0.0.0.0/0', locators: [ATTACKER] })
    const own = aMapping({ eidPrefix: '10.2.0.0/16', locators: [ATTACKER] })
    const wide = talk.message(3, ATTACKER, aMapReply(second!.nonce, all, own))
    t.notOk(
      wide.words.some((word) => word.includes('10.2.0.0/16')),
      'our own prefix stays ours',
    )
    t.match(
      talk.node.snapshot(3).mapCache.find(({ eidPrefix }) => eidPrefix === '10.2.0.0/16'),
      { origin: 'local', locators: [] },
    )
  },
)

t.test(
  'RFC 9301 §9: an unproven answer for half the Internet holds for a /16 around what was asked',
  async (t) => {
    const talk = anItr()
    const [request] = requestsIn([talk.datapath(0, aHeldPacket('10.9.0.5'))])
    const half = aMapping({ eidPrefix: '0.0.0.0/1', locators: [ATTACKER] })
    const beside = aMapping({ eidPrefix: '10.8.0.0/16', locators: [ATTACKER] })
    const inside = aMapping({ eidPrefix: '10.9.7.0/24', locators: [ATTACKER] })
    const result = talk.message(1, ETR, aMapReply(request!.nonce, half, beside, inside))
    t.ok(result.names.includes('map-reply-rejected wider-than-believed'))
    t.ok(result.names.includes('map-reply-rejected unrelated-record'))
    t.same(cached(talk, 1), [`10.9.0.0/16 ${ATTACKER}`, `10.9.7.0/24 ${ATTACKER}`])

    const [other] = requestsIn([talk.datapath(2, aHeldPacket('10.8.0.5'))])
    t.ok(other, 'what is beside it is asked for')
    const own = aMapping({ eidPrefix: '10.8.0.0/17' })
    t.notOk(talk.message(3, ETR, aMapReply(other!.nonce, own)).names.join().includes('wider'))

    const wide = { ...aNodeConfig().mapCache, widestAnswers: { ipv4: 0, ipv6: 0 } }
    const trusting = anItr({ mapCache: wide })
    const [asked] = requestsIn([trusting.datapath(0, aHeldPacket('10.9.0.5'))])
    trusting.message(1, ETR, aMapReply(asked!.nonce, half))
    t.same(cached(trusting, 1), [`0.0.0.0/1 ${ATTACKER}`], 'for who wants it so')
  },
)

t.test('RFC 9301 §6.1: a flood of forged SMRs takes no traffic and few requests', async (t) => {
  const talk = anItr()
  learn(talk, 0)
  const reactions: Reaction[] = []
  // 1000 a second for ten seconds, in turn from the ETR itself, one stranger and ever new ones.
  for (let at = 0; at < 10_000; at += 1) {
    const from = [ETR, ATTACKER, `100.64.${(at >> 8) & 255}.${at & 255}`][at % 3]!
    reactions.push(talk.message(1000 + at, from, anSmr('10.1.0.5', { nonce: BigInt(at) })))
    for (const step of talk.runUntil(1000 + at)) reactions.push(step)
  }
  const asked = requestsIn(reactions)
  t.ok(asked.length >= 3 && asked.length <= 14, `${asked.length} requests came of 10,000 SMRs`)
  t.ok(asked.every(({ smrInvoked }) => smrInvoked))
  t.notOk(
    wordsOf(reactions).some((word) => /delete|drop|hold/.test(word)),
    'the entry is not touched while nobody answers',
  )
  t.same(cached(talk, 11_000), [`10.1.0.5/32 ${ETR}`])
})

t.test(
  'RFC 9301 §6.1: SMRs about each EID of one cached prefix are bounded per source, per prefix and in all',
  async (t) => {
    const flood = (from: (at: number) => string) => {
      const talk = anItr()
      learn(talk, 0, aMapping({ eidPrefix: '10.1.0.0/16' }))
      const reactions: Reaction[] = []
      for (let at = 0; at < 20_000; at += 1) {
        const eid = `10.1.${at >> 8}.${at & 255}`
        reactions.push(talk.message(1000 + at / 20, from(at), anSmr(eid, { nonce: BigInt(at) })))
      }
      const asked = requestsIn(reactions).length
      const miss = talk.datapath(2001, aHeldPacket('10.8.0.1'))
      t.equal(requestsIn([miss]).length, 1, 'a packet that waits is asked for at once')
      return { asked, names: namesOf(reactions) }
    }
    const known = flood(() => ETR)
    t.ok(known.asked <= 200 + 100 + 1, `${known.asked} of one member of the mapping`)
    t.ok(countOf(known.names, 'smr-suppressed source-rate') > 19_000)
    const stranger = flood(() => ATTACKER)
    t.ok(stranger.asked <= 100 + 20 + 1, `${stranger.asked} of one stranger`)
    const everybody = flood((at) => `100.64.${at >> 8}.${at & 255}`)
    t.ok(everybody.asked <= 100 + 20 + 1, `${everybody.asked} of 20,000 strangers`)
    t.ok(countOf(everybody.names, 'smr-suppressed stranger-rate') > 19_000)
  },
)

t.test(
  'RFC 9301 §6.1: many members of a locator-set that solicit are bounded by their prefix, and leave half of the pending requests to packets',
  async (t) => {
    const members = Array.from({ length: 40 }, (_, at) => `192.0.2.${at + 1}`)
    const mapping = aMapping({ eidPrefix: '10.1.0.0/16', locators: members })
    const flood = (maximumPendingRequests: number) => {
      const base = aNodeConfig().mapCache
      const talk = anItr({ mapCache: { ...base, maximumPendingRequests } })
      learn(talk, 0, mapping)
      const reactions = Array.from({ length: 8000 }, (_, at) =>
        talk.message(1000 + at / 8, members[at % 40]!, anSmr(`10.1.${at >> 8}.${at & 255}`)),
      )
      return { talk, asked: requestsIn(reactions).length, names: namesOf(reactions) }
    }
    const wide = flood(10_000)
    t.ok(wide.asked <= 256 + 64 + 1, `${wide.asked} requests in a second`)
    t.ok(wide.names.includes('smr-suppressed prefix-rate'))
    const narrow = flood(100)
    t.equal(narrow.asked, 50)
    t.ok(narrow.names.includes('smr-suppressed pending-share'))
    t.equal(requestsIn([narrow.talk.datapath(2001, aHeldPacket('10.8.0.1'))]).length, 1)
  },
)

t.test('RFC 9301 §5.2: an SMR of 255 records is looked at for sixteen', async (t) => {
  const talk = anItr()
  learn(talk, 0, aMapping({ eidPrefix: '10.1.0.0/16' }))
  const records = Array.from({ length: 255 }, (_, at) => ({
    subscribe: false,
    eidPrefix: aPrefix(`10.1.1.${at}/32`),
  }))
  const bytes = encodeMessage(anSmr('10.1.0.5', { records }))
  const result = talk.bytes(1000, ETR, bytes)
  t.equal(countOf(result.names, 'smr-received accepted'), 16)
  t.equal(countOf(result.names, 'smr-suppressed too-many-records'), 1)
  t.equal(requestsIn([result]).length, 16)
})

t.test(
  'RFC 9301 §5.7: a forged Map-Notify changes nothing and is not acknowledged, nor one for another',
  async (t) => {
    const talk = anItr({ publishSubscribe: { subscribe: true, acceptUnsolicited: false } })
    learn(talk, 0)
    const evil = (nonce: bigint, key = aKey()) =>
      encodeSigned(
        {
          kind: 'map-notify',
          ...{ nonce, keyId: 0, algorithm: 0, authenticationData: new Uint8Array(16) },
          records: [aMapping({ locators: [ATTACKER], mapVersion: 4000 })],
          identity: undefined,
        },
        key,
        hmac,
      )
    for (const from of [SERVER, ATTACKER])
      for (let nonce = 1n; nonce < 200n; nonce += 1n) {
        const result = talk.bytes(10, from, evil(nonce << 40n, aKey('guess')))
        t.same(result.names, ['map-notify-rejected authentication-failed'])
        t.same([result.sent, result.words, result.written], [[], [], []])
      }
    t.same(cached(talk, 10), [`10.1.0.5/32 ${ETR}`])
  },
)

t.test(
  'RFC 9301 §5.3: a host that scans is bounded and its neighbours are still served',
  async (t) => {
    const talk = anItr()
    learn(talk, 0)
    const scan: Reaction[] = []
    for (let at = 0; at < 20_000; at += 1) {
      const eid = `10.1.${64 + (at >> 8)}.${at & 255}`
      scan.push(talk.datapath(1000 + at / 10, aHeldPacket(eid, '10.2.0.66')))
    }
    const asked = requestsIn(scan).length
    t.ok(asked >= 1000 && asked <= 1000 + 2 * 40 + 1, `${asked} requests of 20,000 misses`)
    t.ok(countOf(namesOf(scan), 'resolution-failed source-rate') > 18_000)
    t.ok(
      wordsOf(scan).every((word) => /^drop-held .* rate-limited$/.test(word)),
      'what is refused does not stay in the hold',
    )
    t.equal(requestsIn([talk.datapath(3001, aHeldPacket('10.1.200.1', '10.2.0.8'))]).length, 1)
    // Asking the segment for an address costs the same.
    const wanted = { kind: 'eid-wanted' as const, source: anEid('10.2.0.66') }
    const more = Array.from({ length: 5000 }, (_, at) =>
      talk.datapath(3002, { ...wanted, eid: anEid(`10.3.${at >> 8}.${at & 255}`) }),
    )
    t.ok(requestsIn(more).length <= 2)
    t.same(cached(talk, 3002), [`10.1.0.5/32 ${ETR}`])
  },
)

t.test(
  'RFC 9301 §5.5: negative answers of a scan push each other out of a full map-cache, established entries stay',
  async (t) => {
    const mapCache = { ...aNodeConfig().mapCache, maximumEntries: 100 }
    const talk = anItr({ mapCache })
    // Established entries that end earlier than what the scan brings.
    for (let at = 1; at <= 50; at += 1) {
      const mapping = aMapping({ eidPrefix: `10.1.0.${at}/32`, ttlMinutes: 2 })
      learn(talk, at, mapping, `10.1.0.${at}`)
    }
    for (let at = 0; at < 900; at += 1) {
      const eid = `10.4.${at >> 8}.${at & 255}`
      const nothing = {
        eidPrefix: `${eid}/32`,
        locators: [],
        action: 'drop',
        ttlMinutes: 15,
      } as const
      learn(talk, 1000 + at, aMapping(nothing), eid)
    }
    const entries = cached(talk, 2000)
    t.ok(talk.node.tables.sizes().mapCache <= 100)
    t.equal(entries.filter((one) => one.endsWith(ETR)).length, 50, 'all of them')
  },
)

t.test(
  'RFC 9301 §5.4: a mapping of 255 locators and 400 such mappings keep probing within its limit',
  async (t) => {
    const talk = anItr({ rlocProbe: { enabled: true, intervalMs: 10_000, failures: 3 } })
    for (let at = 0; at < 40; at += 1) {
      const locators = Array.from({ length: 255 }, (_, one) =>
        aLocator(`100.${64 + at}.0.${one + 1 === 256 ? 0 : one + 1}`),
      )
      learn(talk, at, aMapping({ eidPrefix: `10.1.${at}.1/32`, locators }), `10.1.${at}.1`)
    }
    t.ok(talk.node.snapshot(100).locators.length <= 4096)
  },
)
