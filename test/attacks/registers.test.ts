/**
 * Attacks on the Map-Server through Map-Registers: forged and shortened authentication data, replays,
 * claims to what is not the sender's, somebody else's xTR-ID. Nothing is stored, nothing is answered,
 * each is counted with its reason.
 */
import t, { type Test } from 'tap'
import { type Hmac, signMessage, verifyMessage } from '../../src/lisp/authentication.js'
import { encodeMessage } from '../../src/lisp/message.js'
import {
  aKey,
  aLocator,
  aMapping,
  aMapRegister,
  aMapRequest,
  aNodeConfig,
  anAddress,
  anIdentity,
  aPrefix,
  aSite,
  aSubscriptionPolicy,
  hmac,
} from '../support/builders.js'
import { createMappingSystem, registerBytes, restarted } from '../support/mapping-system.js'

const A = '192.0.2.1'
const B = '192.0.2.2'
const RED_KEY = aKey('red secret')
const red = aSite({
  name: 'red',
  keys: [RED_KEY],
  prefixes: [{ eidPrefix: aPrefix('10.2.0.0/16'), acceptMoreSpecifics: true }],
})
const config = aNodeConfig({
  roles: ['map-server', 'map-resolver'],
  mapServer: { sites: [aSite(), red], registrationMs: 180_000, maximumRegistrations: 1000 },
  subscriptions: aSubscriptionPolicy(),
})
type System = ReturnType<typeof createMappingSystem>

const record = (rloc: string, eidPrefix = '10.1.0.5/32', mapVersion = 0) =>
  aMapping({ eidPrefix, mapVersion, locators: [aLocator(rloc, { local: true })] })
const registered = (system: System, now: number) =>
  system.mapServer
    .registrationViews(now)
    .map(({ eidPrefix, locators }) => `${eidPrefix} ${locators.map(({ rloc }) => rloc).join(' ')}`)

/** Sends it to an empty Map-Server; reasons of what was counted, after making sure it did nothing. */
function refused(t: Test, bytes: Uint8Array): readonly string[] {
  const system = createMappingSystem(config)
  const result = system.registerBytes(0, A, bytes)
  t.same([result.sent, result.written, registered(system, 0)], [[], [], []], 'no effect')
  return result.names
}

t.test(
  'RFC 9301 §5.6: authentication data of any wrong byte or length is refused without a word',
  async (t) => {
    const good = registerBytes({ records: [record(A)] })
    for (let at = 16; at < 32; at += 1) {
      const bytes = good.slice()
      bytes[at]! ^= 0x80
      const names = refused(t, bytes)
      t.same(names, ['map-register-rejected authentication-failed'], `byte ${at}`)
    }
    const message = aMapRegister({ records: [record(A)], keyId: 1, algorithm: 3 })
    for (const length of [0, 1, 4, 8, 12, 15, 17, 20, 31, 33, 64]) {
      const authenticationData = good.slice(16, 16 + Math.min(length, 16))
      const padded = new Uint8Array(length)
      padded.set(authenticationData)
      const bytes = encodeMessage({ ...message, authenticationData: padded })
      t.match(refused(t, bytes), [/^map-register-rejected authentication-failed$/], `${length}`)
    }
    const whole = registerBytes({ records: [record(A)], macBytes: 32 })
    const half = whole.slice()
    half.fill(0, 32, 48)
    t.same(refused(t, half), ['map-register-rejected authentication-failed'], 'half a MAC')
  },
)

t.test(
  'RFC 9301 §5.6: a MAC that begins with zero helps nobody, and all bytes are compared',
  async (t) => {
    // A nonce whose MAC begins with zero: a comparison as text would end there and believe anything.
    let bytes = new Uint8Array(0) as Uint8Array
    for (let nonce = 1n; bytes[16] !== 0; nonce += 1n)
      bytes = registerBytes({ nonce, records: [record(A)] })
    const forged = bytes.slice()
    for (let at = 17; at < 32; at += 1) forged[at]! ^= 0xff
    t.same(refused(t, forged), ['map-register-rejected authentication-failed'])
    const zeroes = bytes.slice()
    zeroes.fill(0, 16, 32)
    t.same(refused(t, zeroes), ['map-register-rejected authentication-failed'], 'all zero')

    // How often the computed MAC is read does not depend on where the received one differs.
    const reads: number[] = []
    for (const at of [16, 23, 31]) {
      const wrong = bytes.slice()
      wrong[at]! ^= 1
      let count = 0
      const counting: Hmac = (...about) =>
        new Proxy(hmac(...about), {
          get(target, key) {
            if (typeof key === 'string' && /^\d+$/.test(key)) count += 1
            const value: unknown = Reflect.get(target, key)
            return typeof value === 'function' ? value.bind(target) : value
          },
        })
      t.notOk(verifyMessage(wrong, aKey('site secret', { algorithm: 2 }), counting))
      const signed = signMessage(wrong.slice(), aKey('site secret', { algorithm: 2 }), hmac)
      signed[at]! ^= 1
      count = 0
      t.notOk(verifyMessage(signed, aKey('site secret', { algorithm: 2 }), counting))
      reads.push(count)
    }
    t.same(reads, [32, 32, 32], 'with and without xTR-ID, 16 bytes each, wherever it differs')
  },
)

t.test(
  'RFC 9301 §5.6: a recorded Map-Register is known as a replay from any address, also after a restart',
  async (t) => {
    const system = createMappingSystem(config)
    const stolen = registerBytes({ nonce: 5n, identity: anIdentity(0xbb), records: [record(B)] })
    system.registerBytes(0, B, stolen)
    const { answer } = system.register(1000, A, { nonce: 1n, records: [record(A)] })
    t.ok(answer, 'the endpoint has moved')
    system.register(2000, B, { nonce: 6n, identity: anIdentity(0xbb), records: [] })
    system.register(2000, B, {
      nonce: 7n,
      identity: anIdentity(0xbb),
      records: [record(B, '10.1.0.6/32')],
    })
    const before = registered(system, 2000)
    for (const from of [A, B, '198.51.100.66']) {
      const result = system.registerBytes(3000, from, stolen)
      t.same(result.names, ['map-register-rejected replayed'], from)
      t.same(result.sent, [])
    }
    const { system: second } = restarted(config, system.store, 4000)
    for (const from of [B, '198.51.100.66']) {
      const result = second.registerBytes(5000, from, stolen)
      t.same(result.names, ['map-register-rejected replayed'], `${from} after the restart`)
      t.same([result.sent, result.written], [[], []])
    }
    t.same(registered(second, 5000), before)
  },
)

t.test(
  'RFC 9301 §5.7: the last Map-Register sent again is answered a limited number of times',
  async (t) => {
    const system = createMappingSystem(config)
    const bytes = registerBytes({ nonce: 5n, records: [record(A)] })
    system.registerBytes(0, A, bytes)
    const answers = Array.from({ length: 1000 }, (_, at) => system.registerBytes(at, A, bytes))
    t.equal(answers.filter(({ sent }) => sent.length > 0).length, 16)
    t.same(answers.at(-1)!.names, ['map-register-rejected repeated-too-often'])
  },
)

t.test(
  'RFC 9301 §8.2: a key registers nothing outside its site, and nothing beside it in one message',
  async (t) => {
    for (const claims of [
      ['10.2.0.0/16'],
      ['10.0.0.0/8'],
      ['0.0.0.0/0'],
      ['::/0'],
      ['[1]10.1.0.5/32'],
      ['10.1.0.5/32', '10.2.0.5/32'],
      ['10.1.0.5/32', '0.0.0.0/0'],
      [...Array.from({ length: 200 }, (_, at) => `10.1.1.${at}/32`), '10.2.0.1/32'],
    ]) {
      const system = createMappingSystem(config)
      const records = claims.map((eidPrefix) => record(A, eidPrefix))
      const result = system.register(0, A, { records })
      t.match(result.names, [/^map-register-rejected /], claims.slice(-2).join(' '))
      t.same([result.sent, result.written, registered(system, 0)], [[], [], []])
    }
  },
)

t.test(
  'RFC 9301 §5.6: 255 records of 255 locators cost one message and stay bounded',
  async (t) => {
    const system = createMappingSystem(config)
    const locators = Array.from({ length: 255 }, (_, at) => aLocator(`192.0.3.${at}`))
    const records = Array.from({ length: 8 }, (_, at) =>
      aMapping({ eidPrefix: `10.1.0.${at}/32`, locators }),
    )
    system.register(0, A, { nonce: 1n, records })
    const small = Array.from({ length: 255 }, (_, at) => record(A, `10.1.1.${at}/32`))
    for (let nonce = 2n; nonce < 12n; nonce += 1n) {
      const shifted = small.map((one) => ({
        ...one,
        eidPrefix: aPrefix(`10.1.${nonce}.${one.eidPrefix.address.bytes[3]}/32`),
      }))
      system.register(Number(nonce), A, { nonce, records: shifted })
    }
    t.ok(registered(system, 20).length <= config.mapServer.maximumRegistrations)
    const counts = Uint8Array.from(registerBytes({ records: [record(A)] }))
    counts[3] = 255
    const resigned = signMessage(counts, aKey(), hmac)
    t.throws(() => system.registerBytes(0, A, resigned), /malformed/, 'more records than bytes')
  },
)

t.test(
  'RFC 9301 §8.2: a site that fills the Map-Server, also by withdrawing, leaves room for the others',
  async (t) => {
    const system = createMappingSystem(config)
    const names: string[] = []
    for (let nonce = 1n; nonce <= 100n; nonce += 1n) {
      const records = Array.from({ length: 20 }, (_, at) =>
        record(A, `10.1.${nonce}.${at}/32`),
      ).map((one) => ({ ...one, ttlMinutes: 15 }))
      names.push(...system.register(Number(nonce), A, { nonce: 2n * nonce, records }).names)
      const gone = records.map((one) => ({ ...one, ttlMinutes: 0 }))
      system.register(Number(nonce), A, { nonce: 2n * nonce + 1n, records: gone })
    }
    t.ok(names.includes('map-register-rejected too-many-of-this-site'))
    for (let nonce = 1n; nonce <= 12n; nonce += 1n) {
      const records = Array.from({ length: 20 }, (_, at) => record(B, `10.2.${nonce}.${at}/32`))
      const about = { key: RED_KEY, nonce, identity: anIdentity(0xbb), records }
      t.ok(system.register(1000, B, about).answer, `${20n * nonce} of the other site`)
    }
  },
)

t.test(
  'RFC 9437 §1.1: the key of another site does not make its owner the xTR whose xTR-ID it gives',
  async (t) => {
    const system = createMappingSystem(config)
    const victim = anIdentity(0xaa)
    system.register(0, A, { nonce: 1n, identity: victim, records: [record(A)] })
    // The thief has the key of site red, and registers red's own prefix under the victim's xTR-ID.
    const theft = { key: RED_KEY, nonce: 9n, identity: victim }
    const thief = system.register(1, B, { ...theft, records: [record(B, '10.2.0.1/32')] })
    t.ok(thief.answer, 'as a registration it is in order')
    const subscribe = (from: string, itrRloc: string, nonce: bigint) =>
      system.request(2, from, {
        ...aMapRequest({ nonce, identity: victim }),
        itrRlocs: [anAddress(itrRloc)],
        records: [{ subscribe: true, eidPrefix: aPrefix('10.1.0.5/32') }],
      })
    const stolen = subscribe(B, B, 50n)
    t.ok(stolen.names.includes('subscription-refused foreign-itr-rloc'), stolen.names.join(', '))
    t.same(
      stolen.sent.map(({ message }) => message.kind),
      ['map-reply'],
    )
    const own = subscribe(A, A, 60n)
    t.ok(own.names.includes('subscription-added'), own.names.join(', '))
    t.ok(verifyMessage(own.sent[0]!.bytes, aKey(), hmac), 'told with the key of its own site')
  },
)
