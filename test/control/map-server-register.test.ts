import t from 'tap'
import type { StoredRecord } from '../../src/control/stored-record.js'
import { verifyMessage } from '../../src/lisp/authentication.js'
import {
  aKey,
  aLocator,
  aMapping,
  aNodeConfig,
  anAddress,
  anIdentity,
  aPrefix,
  aSite,
  hmac,
} from '../support/builders.js'
import {
  createMappingSystem,
  inWords,
  recordsOf,
  registerBytes,
  restarted,
} from '../support/mapping-system.js'

const A = '192.0.2.1'
const B = '192.0.2.2'
const xtrA = anIdentity(0xaa)
const xtrB = anIdentity(0xbb)
const ownerA = 'aa'.repeat(16)
const ownerB = 'bb'.repeat(16)

const sites = (about: Parameters<typeof aSite>[0] = {}) => ({
  mapServer: { sites: [aSite(about)], registrationMs: 180_000, maximumRegistrations: 1000 },
})
const config = aNodeConfig(sites())
const at = (system: ReturnType<typeof createMappingSystem>, now: number) =>
  system.mapServer.registrationViews(now)
/** A record of the endpoint at `rloc` with a version. */
const record = (rloc: string, mapVersion = 0, eidPrefix = '10.1.0.5/32') =>
  aMapping({ eidPrefix, mapVersion, locators: [aLocator(rloc, { local: true })] })

t.test('a register is stored with its nonce before its Map-Notify leaves', async (t) => {
  const system = createMappingSystem(config)
  const result = system.register(0, A, { nonce: 5n, identity: xtrA, records: [record(A)] })
  t.equal(result.sentAtOnce, 0)
  t.match(result.written, [
    { kind: 'registration', site: 'blue', owner: ownerA, ownerRlocs: [anAddress(A)] },
    { kind: 'last-nonce', sender: `blue/${ownerA}/1`, nonce: 5n },
  ])
  const [notify] = result.sent
  t.match(notify, { from: '203.0.113.1', to: A, toPort: 4342 })
  t.match(notify?.message, { kind: 'map-notify', nonce: 5n, keyId: 1, algorithm: 3 })
  t.ok(verifyMessage(notify!.bytes, aKey(), hmac), 'signed with the key of the site')
  const version = recordsOf(notify)[0]!.mapVersion
  t.ok(version >= 1 && version <= 4095, 'the first version is drawn')
  t.match(at(system, 0), [{ eidPrefix: '10.1.0.5/32', mapVersion: version, expiresInMs: 180_000 }])
  t.match(result.names, ['map-notify-sent acknowledgement', 'registration-added'])
})

t.test('without M bit there is no Map-Notify', async (t) => {
  const system = createMappingSystem(config)
  const result = system.register(0, A, { wantMapNotify: false })
  t.equal(result.sent.length, 0)
  t.equal(at(system, 0).length, 1)
})

t.test(
  'a pure refresh extends the registration, is acknowledged at once and not written',
  async (t) => {
    const system = createMappingSystem(config)
    system.register(0, A, { nonce: 1n })
    const result = system.register(60_000, A, { nonce: 2n })
    t.equal(result.sentAtOnce, 1)
    t.strictSame(result.written, [])
    t.match(at(system, 60_000), [{ expiresInMs: 180_000, registeredAgoMs: 0 }])
    t.equal(system.mapServer.deadline(), 70_000, 'nonces wait for one batch')
    t.match(system.deadline(70_000).written, [{ kind: 'last-nonce', nonce: 2n }])
    t.equal(system.mapServer.deadline(), 240_000)
  },
)

t.test(
  'each algorithm of RFC 9301 §12.5 and each length of authentication data is accepted',
  async (t) => {
    for (const [algorithm, lengths] of [
      [1, [12, 20]],
      [2, [16, 32]],
      [3, [16, 32]],
    ] as const) {
      for (const macBytes of lengths) {
        const key = aKey('another', { keyId: 3, algorithm })
        const system = createMappingSystem(aNodeConfig(sites({ keys: [aKey(), key] })))
        const { sent } = system.register(0, A, { key, macBytes })
        const bytes = sent[0]?.bytes ?? new Uint8Array()
        t.ok(verifyMessage(bytes, key, hmac), `algorithm ${algorithm}`)
        t.match(sent[0]?.message, { keyId: 3 })
        const { message } = sent[0]!
        t.equal('authenticationData' in message && message.authenticationData.length, macBytes)
      }
    }
  },
)

t.test('what is not genuine or not allowed is counted by reason and changes nothing', async (t) => {
  const strict = aNodeConfig(sites({ xtrIds: [ownerA] }))
  const rejections = (
    about: Parameters<typeof registerBytes>[0],
    bend?: (b: Uint8Array) => void,
  ) => {
    const system = createMappingSystem(strict)
    const bytes = registerBytes({ identity: xtrA, ...about })
    bend?.(bytes)
    const result = system.registerBytes(0, A, bytes)
    t.strictSame([result.sent, result.written, at(system, 0)], [[], [], []])
    return result.names
  }
  t.strictSame(rejections({ key: aKey('wrong') }), ['map-register-rejected authentication-failed'])
  const flip = (bytes: Uint8Array) => {
    bytes[40]! ^= 1
  }
  t.match(rejections({}, flip), [/authentication-failed|prefix-not/])
  t.strictSame(rejections({ key: aKey('site secret', { keyId: 9 }) }), [
    'map-register-rejected unknown-key',
  ])
  t.strictSame(rejections({ key: aKey('site secret', { algorithm: 2 }) }), [
    'map-register-rejected unknown-key',
  ])
  t.strictSame(rejections({ identity: xtrB }), ['map-register-rejected xtr-not-allowed'])
  t.strictSame(rejections({ identity: undefined }), ['map-register-rejected xtr-not-allowed'])
  t.strictSame(rejections({ records: [] }), ['map-register-rejected no-records'])
  t.strictSame(rejections({ records: [record(A, 0, '10.9.0.1/32')] }), [
    'map-register-rejected prefix-not-configured',
  ])
  t.strictSame(rejections({ records: [record(A, 0, '[7]10.1.0.5/32')] }), [
    'map-register-rejected prefix-not-configured',
  ])
  t.strictSame(
    rejections({ records: [record(A), record(A, 0, '10.9.0.1/32')] }),
    ['map-register-rejected prefix-not-allowed'],
    'one foreign record spoils the message',
  )
})

t.test('more-specifics are accepted only where the site says so', async (t) => {
  const prefixes = [{ eidPrefix: aPrefix('10.1.0.0/16'), acceptMoreSpecifics: false }]
  const system = createMappingSystem(aNodeConfig(sites({ prefixes })))
  t.strictSame(system.register(0, A, { nonce: 1n }).names, [
    'map-register-rejected prefix-not-allowed',
  ])
  const whole = [record(A, 0, '10.1.0.0/16')]
  t.match(system.register(0, A, { nonce: 2n, records: whole }).names, [/map-notify-sent/, /added/])
})

t.test('a prefix of one site cannot be registered with the key of another', async (t) => {
  const green = aSite({
    name: 'green',
    keys: [aKey('green secret')],
    prefixes: [{ eidPrefix: aPrefix('10.1.5.0/24'), acceptMoreSpecifics: true }],
  })
  const system = createMappingSystem(
    aNodeConfig({
      mapServer: { sites: [aSite(), green], registrationMs: 180_000, maximumRegistrations: 10 },
    }),
  )
  const inGreen = record(A, 0, '10.1.5.1/32')
  t.strictSame(system.register(0, A, { records: [inGreen] }).names, [
    'map-register-rejected authentication-failed',
  ])
  t.strictSame(system.register(0, A, { records: [record(A), inGreen] }).names, [
    'map-register-rejected prefix-not-allowed',
  ])
  t.match(system.register(0, A, { records: [inGreen], key: aKey('green secret') }).sent, [
    { to: A },
  ])
  t.match(system.mapServer.siteViews(), [
    { name: 'blue', registrations: 0 },
    { name: 'green', registrations: 1 },
  ])
})

t.test('a nonce that does not rise is a replay, also after a restart', async (t) => {
  const system = createMappingSystem(config)
  const old = registerBytes({ nonce: 7n, records: [record(A)] })
  system.registerBytes(0, A, old)
  const moved = registerBytes({ nonce: 8n, records: [record('192.0.2.7')] })
  system.registerBytes(1000, A, moved)
  t.strictSame(system.registerBytes(2000, A, old).names, ['map-register-rejected replayed'])
  t.strictSame(system.registerBytes(2000, '198.51.100.66', old).sent, [], 'from anywhere')
  t.match(at(system, 2000), [{ locators: [{ rloc: '192.0.2.7' }] }])

  const again = restarted(config, system.store, 5000).system
  t.strictSame(again.registerBytes(6000, A, old).names, ['map-register-rejected replayed'])
  t.strictSame(again.registerBytes(6000, A, moved).names, ['map-register-rejected replayed'])
  const fresh = again.register(7000, A, { nonce: 9n, records: [record(A)] })
  t.match(fresh.names, [/sent mapping-changed/, /sent acknowledgement/, /^registration-changed/])
})

t.test('nonces are counted per xTR-ID and key', async (t) => {
  const config = aNodeConfig(sites({ keys: [aKey(), aKey('other', { keyId: 2 })] }))
  const system = createMappingSystem(config)
  system.register(0, A, { nonce: 100n })
  t.match(system.register(1, A, { nonce: 3n, key: aKey('other', { keyId: 2 }) }).sent, [{ to: A }])
  const elsewhere = [record(B, 0, '10.1.0.6/32')]
  t.match(system.register(2, B, { nonce: 4n, identity: xtrB, records: elsewhere }).sent, [
    { to: B },
  ])
  t.match(system.register(3, A, { nonce: 20n }).names, ['map-register-rejected replayed'])
})

t.test('a register that another one of the same xTR has overtaken is taken once', async (t) => {
  const system = createMappingSystem(config)
  const about = (host: number): string => `10.1.0.${host}/32`
  const say = (nonce: bigint, host: number) =>
    registerBytes({ nonce, records: [record(A, 0, about(host))] })
  system.registerBytes(0, A, say(100n, 1))
  system.registerBytes(1, A, say(103n, 2))
  const late = say(102n, 3)
  t.match(system.registerBytes(2, A, late).sent, [{ message: { nonce: 102n } }])
  t.strictSame(system.registerBytes(3, A, late).names, ['map-register-rejected replayed'])
  t.equal(at(system, 3).length, 3)
  const stored = [...system.store.values()].flatMap((o) => (o.kind === 'last-nonce' ? o.nonce : []))
  t.strictSame(stored, [103n], 'the highest counts after a restart')
  const again = restarted(config, system.store, 4).system
  t.strictSame(again.registerBytes(5, A, say(101n, 4)).names, ['map-register-rejected replayed'])
  t.strictSame(
    system.registerBytes(6, A, say(39n, 5)).names,
    ['map-register-rejected replayed'],
    '64 below the highest',
  )
  t.match(system.registerBytes(7, A, say(40n, 5)).sent, [{ message: { nonce: 40n } }])
})

t.test('a register that was overtaken takes nothing back and nothing from others', async (t) => {
  const system = createMappingSystem(config)
  const from = (rloc: string, nonce: bigint, identity: typeof xtrA, at: number, host: number) =>
    system.registerBytes(
      at,
      rloc,
      registerBytes({ nonce, identity, records: [record(rloc, 0, `10.1.0.${host}/32`)] }),
    )
  const overtaken = ['map-register-rejected overtaken']
  from(A, 10n, xtrA, 0, 1)
  from(B, 10n, xtrB, 0, 2)
  // 11 said where 10.1.0.1 was before, 12 was first to say that it is not there any more.
  const gone = aMapping({ eidPrefix: '10.1.0.1/32', ttlMinutes: 0, locators: [] })
  system.registerBytes(1, A, registerBytes({ nonce: 12n, identity: xtrA, records: [gone] }))
  t.strictSame(from(A, 11n, xtrA, 2, 1).names, overtaken)
  from(A, 14n, xtrA, 3, 3)
  t.strictSame(from(A, 13n, xtrA, 4, 2).names, overtaken, 'held back until B had claimed it')
  t.match(at(system, 5), [{ eidPrefix: '10.1.0.2/32' }, { eidPrefix: '10.1.0.3/32' }])
})

t.test(
  'without xTR-ID the first locator of its own names the sender, not the source address',
  async (t) => {
    const system = createMappingSystem(config)
    const bytes = registerBytes({ nonce: 9n, identity: undefined, records: [record(A)] })
    system.registerBytes(0, A, bytes)
    t.match(at(system, 0), [{ owner: A }])
    system.register(1, A, { nonce: 10n, identity: undefined, records: [record(A)] })
    t.strictSame(
      system.registerBytes(1, '198.51.100.66', bytes).names,
      ['map-register-rejected replayed'],
      'a replay from a forged source meets the nonce of the original',
    )
  },
)

t.test('the same message again is answered again, and nothing else happens', async (t) => {
  const system = createMappingSystem(config)
  const bytes = registerBytes({ nonce: 5n, records: [record(A)] })
  const first = system.registerBytes(0, A, bytes)
  const again = system.registerBytes(1000, A, bytes)
  t.strictSame(again.names, ['map-register-rejected repeated', 'map-notify-sent repeated'])
  t.equal(again.sentAtOnce, 0, 'behind the write of the first')
  t.strictSame(recordsOf(again.sent[0]).map(inWords), recordsOf(first.sent[0]).map(inWords))
  t.match(at(system, 1000), [{ registeredAgoMs: 1000 }])
  for (let repetition = 2; repetition <= 16; repetition += 1) system.registerBytes(1000, A, bytes)
  t.strictSame(system.registerBytes(1000, A, bytes).names, [
    'map-register-rejected repeated-too-often',
  ])
  const other = registerBytes({ nonce: 5n, records: [record(B)] })
  t.strictSame(system.registerBytes(1000, A, other).names, ['map-register-rejected replayed'])
})

t.test('a site with legacy nonces takes them in any order', async (t) => {
  const system = createMappingSystem(aNodeConfig(sites({ legacyNonces: true })))
  system.register(0, A, { nonce: 7n })
  t.match(system.register(1, A, { nonce: 7n }).names, ['map-notify-sent acknowledgement'])
  t.match(system.register(2, A, { nonce: 3n }).names, ['map-notify-sent acknowledgement'])
  t.match(at(system, 2), [{ registeredAgoMs: 0 }])
})

t.test('a registration that is not refreshed expires after three minutes', async (t) => {
  const system = createMappingSystem(config)
  system.register(0, A, { nonce: 1n })
  t.strictSame(system.deadline(179_999).names, [])
  const { names, written } = system.deadline(180_000)
  t.strictSame(names, ['registration-expired'])
  t.match(written, [{ kind: 'registration', owner: ownerA, ttlMinutes: 0, locators: [] }])
  t.strictSame(at(system, 180_000), [])
  t.equal(system.mapServer.deadline(), 180_000 + 86_400_000, 'the version is kept for a day')
  t.match(system.deadline(180_000 + 86_400_000).written, [{ kind: 'registration-removed' }])
  t.equal(system.mapServer.deadline(), undefined)
})

t.test('with T bit the record TTL is the lifetime', async (t) => {
  const system = createMappingSystem(config)
  const records = [aMapping({ ttlMinutes: 1 })]
  system.register(0, A, { nonce: 1n, useTtlForTimeout: true, records })
  t.match(at(system, 0), [{ expiresInMs: 60_000 }])
  const endless = [aMapping({ ttlMinutes: 0xffffffff })]
  system.register(0, A, { nonce: 2n, useTtlForTimeout: true, records: endless })
  t.match(at(system, 0), [{ expiresInMs: 180_000 }])
})

t.test('TTL 0 withdraws, but only by the owner', async (t) => {
  const system = createMappingSystem(config)
  const { sent } = system.register(0, A, { nonce: 1n, identity: xtrA, records: [record(A)] })
  const version = recordsOf(sent[0])[0]!.mapVersion
  const gone = [{ ...record(A), ttlMinutes: 0 }]
  const other = system.register(1, B, { nonce: 1n, identity: xtrB, records: gone })
  t.strictSame(other.names, [
    'map-register-rejected withdrawn-by-other',
    'map-notify-sent acknowledgement',
  ])
  t.equal(at(system, 1).length, 1)
  const own = system.register(2, A, { nonce: 2n, identity: xtrA, records: gone })
  t.match(own.names, ['map-notify-sent acknowledgement', 'registration-removed withdrawn'])
  t.match(recordsOf(own.sent[0]), [{ ttlMinutes: 0, mapVersion: version }])
  t.strictSame(at(system, 2), [])
  t.match(own.written, [
    { kind: 'registration', ttlMinutes: 0, mapVersion: version },
    { kind: 'last-nonce', nonce: 2n },
  ])
})

t.test('a bit: locator-sets of several xTRs are merged, each expires alone', async (t) => {
  const system = createMappingSystem(config)
  const merge = { mergeRequest: true }
  system.register(0, A, { ...merge, nonce: 1n, identity: xtrA, records: [record(A)] })
  const joined = system.register(9000, B, {
    ...merge,
    nonce: 1n,
    identity: xtrB,
    records: [record(B)],
  })
  t.match(recordsOf(joined.answer)[0]?.locators, [{ rloc: anAddress(A) }, { rloc: anAddress(B) }])
  t.equal(at(system, 9000).length, 2, 'one view per registrant')
  t.match(joined.notices[0], { to: A, message: { kind: 'map-notify' } }, 'the other member is told')
  system.acknowledge(9001, A, joined.notices[0]!)
  const steps = system.runUntil(180_000)
  t.match(steps.at(-1), { at: 180_000, result: { names: ['registration-expired'] } })
  t.match(at(system, 180_000), [{ owner: ownerB, locators: [{ rloc: B }] }])
  // a=0 takes the prefix for one xTR alone.
  system.register(180_001, B, { nonce: 2n, identity: xtrB, records: [record(B)] })
  t.match(at(system, 180_001), [{ owner: ownerB }])
})

t.test(
  'who signs Map-Replies is known after a restart, and a change of it is stored',
  async (t) => {
    const key = { keyId: 3, wrapping: 2, secret: new Uint8Array(16) } as const
    const site = aSite({ security: { mode: 'offer', key } })
    const about = {
      mapServer: { sites: [site], registrationMs: 180_000, maximumRegistrations: 10 },
    }
    const config = aNodeConfig(about)
    const system = createMappingSystem(config)
    const signs = (written: readonly StoredRecord[]) =>
      written.flatMap((one) => (one.kind === 'registration' ? [one.securityCapable] : []))
    const first = system.register(0, A, { nonce: 1n, identity: xtrA, records: [record(A)] })
    t.same(signs(first.written), [undefined])
    const able = { nonce: 2n, identity: xtrA, records: [record(A)], securityCapable: true }
    t.same(signs(system.register(1, A, able).written), [true])
    t.same(signs(system.register(2, A, { ...able, nonce: 3n }).written), [], 'a refresh')
    const again = restarted(config, system.store, 1000)
    t.same(signs(again.system.register(1001, A, { ...able, nonce: 4n }).written), [], 'still known')
  },
)

t.test('that a registration is merged is known after a restart', async (t) => {
  const system = createMappingSystem(config)
  const merge = { mergeRequest: true }
  system.register(0, A, { ...merge, nonce: 1n, identity: xtrA, records: [record(A)] })
  const again = restarted(config, system.store, 1000).system
  const joined = again.register(2000, B, {
    ...merge,
    nonce: 1n,
    identity: xtrB,
    records: [record(B)],
  })
  t.match(recordsOf(joined.answer)[0]?.locators, [{ rloc: anAddress(A) }, { rloc: anAddress(B) }])
  t.equal(at(again, 2000).length, 2, 'and not taken over by who joins')
})

t.test('a full Map-Server refuses new prefixes and still refreshes old ones', async (t) => {
  const { sites: blue } = sites().mapServer
  const small = { sites: blue, registrationMs: 180_000, maximumRegistrations: 2 }
  const system = createMappingSystem(aNodeConfig({ mapServer: small }))
  system.register(0, A, { nonce: 1n, records: [record(A), record(A, 0, '10.1.0.6/32')] })
  t.strictSame(system.register(1, A, { nonce: 2n, records: [record(A, 0, '10.1.0.7/32')] }).names, [
    'map-register-rejected too-many-registrations',
  ])
  t.equal(at(system, 1).length, 2)
  t.match(system.register(2, A, { nonce: 3n }).names, [/acknowledgement/])
})

t.test(
  'after a restart registrations stand, with versions, and get time to be refreshed',
  async (t) => {
    const system = createMappingSystem(config)
    const v6 = record(A, 0, '2001:db8:1::5/128')
    const { sent } = system.register(0, A, { nonce: 1n, records: [record(A), v6] })
    system.register(1, A, { nonce: 2n, records: [{ ...v6, ttlMinutes: 0 }] })
    const [version] = recordsOf(sent[0]).map((one) => one.mapVersion)
    const { system: again } = restarted(config, system.store, 500_000)
    t.match(at(again, 500_000), [
      { eidPrefix: '10.1.0.5/32', owner: ownerA, mapVersion: version, expiresInMs: 180_000 },
    ])
    const elsewhere = aNodeConfig(
      sites({ prefixes: [{ eidPrefix: aPrefix('10.2.0.0/16'), acceptMoreSpecifics: true }] }),
    )
    const reconfigured = restarted(elsewhere, system.store, 500_000)
    t.strictSame(at(reconfigured.system, 500_000), [])
    t.match(reconfigured.result.names, [/no-longer-configured/, /no-longer-configured/])
    t.strictSame(
      [...reconfigured.system.store.values()].filter(({ kind }) => kind === 'registration'),
      [],
    )
  },
)
