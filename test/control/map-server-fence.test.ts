import t from 'tap'
import type { StoredRecord } from '../../src/control/stored-record.js'
import { verifyMessage } from '../../src/lisp/authentication.js'
import { formatEidPrefix } from '../../src/lisp/eid.js'
import {
  aKey,
  aLocator,
  aMapping,
  aNodeConfig,
  anAddress,
  anIdentity,
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
/** Where our own nonces begin: above those that xTRs count. */
const FIRST = 1n << 63n
const config = aNodeConfig({
  mapServer: { sites: [aSite()], registrationMs: 180_000, maximumRegistrations: 1000 },
})
const record = (rloc: string, mapVersion = 0, eidPrefix = '10.1.0.5/32') =>
  aMapping({ eidPrefix, mapVersion, locators: [aLocator(rloc, { local: true })] })

/** The endpoint registered at A under version 10, and a way to register it anywhere. */
function atA() {
  const system = createMappingSystem(config)
  const nonces = new Map<string, bigint>()
  const from = (rloc: string, now: number, ...records: ReturnType<typeof record>[]) => {
    const nonce = (nonces.get(rloc) ?? 0n) + 1n
    nonces.set(rloc, nonce)
    return system.register(now, rloc, { nonce, identity: rloc === A ? xtrA : xtrB, records })
  }
  from(A, 0, record(A, 10))
  const stands = (now: number) =>
    system.mapServer
      .registrationViews(now)
      .map((view) => `${view.locators.map(({ rloc }) => rloc).join(' ')} v${view.mapVersion}`)
  return { system, from, stands }
}

t.test('the version decides who owns an EID, row by row', async (t) => {
  const rows: [what: string, rloc: string, version: number, stands: string, answer: RegExp][] = [
    ['owner, equal: refresh', A, 10, `${A} v10`, /acknowledgement/],
    ['owner, null: refresh', A, 0, `${A} v10`, /acknowledgement/],
    ['owner, newer: stored', A, 12, `${A} v12`, /acknowledgement/],
    ['owner, older: its nonce is newer, so it counts', A, 9, `${A} v10`, /acknowledgement/],
    ['other, null: claims the next version', B, 0, `${B} v11`, /acknowledgement/],
    ['other, newer: claims', B, 15, `${B} v15`, /acknowledgement/],
    ['other, newer around the corner', B, 10 + 2048, `${B} v2058`, /acknowledgement/],
    ['other, equal: refused', B, 10, `${A} v10`, /refused/],
    ['other, older: refused', B, 9, `${A} v10`, /refused/],
    ['other, older around the corner', B, 10 + 2049, `${A} v10`, /refused/],
  ]
  for (const [what, rloc, version, expected, answer] of rows) {
    const { from, stands } = atA()
    const result = from(rloc, 1000, record(rloc, version))
    t.strictSame(stands(1000), [expected], what)
    const answers = result.names.filter(
      (name) => /^map-notify-sent/.test(name) && !/mapping-changed/.test(name),
    )
    t.equal(answers.length, 1, what)
    t.match(answers[0], answer, what)
    t.match(inWords(recordsOf(result.answer)[0]!), `10.1.0.5/32 → ${expected}`, 'and is told')
  }
})

t.test('a mapping that its owner changes gets another version', async (t) => {
  const { from, stands } = atA()
  const other = aMapping({ mapVersion: 10, locators: [aLocator(A, { priority: 9 })] })
  from(A, 1000, other)
  t.strictSame(stands(1000), [`${A} v11`])
})

t.test(
  'a refused message changes nothing, answers without M bit too, and keeps refreshes alive',
  async (t) => {
    const { system } = atA()
    const quiet = { identity: xtrB, wantMapNotify: false }
    system.register(0, B, { ...quiet, nonce: 1n, records: [record(B, 33, '10.1.0.6/32')] })
    const six = 33
    const result = system.register(60_000, B, {
      nonce: 9n,
      identity: xtrB,
      wantMapNotify: false,
      records: [record(B, 5), record(B, six, '10.1.0.6/32'), record(B, 0, '10.1.0.7/32')],
    })
    t.strictSame(recordsOf(result.sent[0]).map(inWords), [
      `10.1.0.5/32 → ${A} v10`,
      `10.1.0.6/32 → ${B} v${six}`,
    ])
    t.match(result.sent[0]?.message, { nonce: 9n })
    t.strictSame(result.written, [])
    t.strictSame(result.names, [
      'map-register-rejected version-not-newer',
      'map-notify-sent refused',
    ])
    const views = system.mapServer.registrationViews(60_000)
    t.strictSame(
      views.map((view) => [view.eidPrefix, view.expiresInMs]),
      [
        ['10.1.0.5/32', 120_000],
        ['10.1.0.6/32', 180_000],
      ],
    )
  },
)

t.test('two ETRs that register the same set keep it alive and take it from nobody', async (t) => {
  const { system, from } = atA()
  const both = aMapping({ locators: [A, B] })
  from(A, 0, both)
  const result = from(B, 100_000, both)
  t.strictSame(result.names, ['map-notify-sent acknowledgement'])
  t.strictSame(result.written, [])
  t.match(system.mapServer.registrationViews(100_000), [
    { owner: 'aa'.repeat(16), expiresInMs: 180_000 },
  ])
})

t.test('the version outlives expiry: a late claim must still exceed it', async (t) => {
  const { system, from, stands } = atA()
  system.runUntil(180_000)
  t.strictSame(stands(180_000), [])
  const late = from(B, 200_000, record(B, 10))
  t.match(late.names, ['map-register-rejected version-not-newer', 'map-notify-sent refused'])
  t.strictSame(recordsOf(late.sent[0]).map(inWords), ['10.1.0.5/32 → no-action v10'])
  from(B, 200_001, record(B, 11))
  t.strictSame(stands(200_001), [`${B} v11`])
  const own = atA()
  own.system.runUntil(180_000)
  own.from(A, 200_000, record(A, 10))
  t.strictSame(own.stands(200_000), [`${A} v11`], 'the former owner comes back under a new one')
})

t.test('a claim is told to every former RLOC until it is acknowledged', async (t) => {
  const { system, from } = atA()
  from(A, 10, aMapping({ mapVersion: 10, locators: [A, '2001:db8:a::1'] }))
  const six = '2001:db8:1::5/128'
  from(A, 20, record(A, 3, six))
  const claim = from(B, 1000, record(B, 20), record(B, 4, six))
  t.equal(claim.answer?.to, B)
  t.strictSame(
    claim.notices.map(({ to }) => to),
    [A, '2001:db8:a::1'],
  )
  t.match(claim.written, [
    { kind: 'reservation', scope: 'map-notify', ceiling: FIRST + 999n },
    { kind: 'registration-removed', owner: 'aa'.repeat(16) },
    { kind: 'registration', owner: 'bb'.repeat(16), mapVersion: 20 },
    { kind: 'registration-removed', owner: 'aa'.repeat(16) },
    { kind: 'registration', owner: 'bb'.repeat(16), mapVersion: 4 },
    { kind: 'last-nonce', sender: `blue/${'bb'.repeat(16)}/1` },
    {
      kind: 'pending-notify',
      owner: 'aa'.repeat(16),
      homeRlocs: [anAddress(A)],
      otherRlocs: [anAddress('2001:db8:a::1')],
    },
    { kind: 'pending-notify', owner: 'aa'.repeat(16), homeRlocs: [anAddress(A)] },
  ])
  const [toA, toA6] = claim.notices
  t.strictSame(recordsOf(toA).map(inWords), [`10.1.0.5/32 → ${B} v20`, `${six} → ${B} v4`])
  t.strictSame(recordsOf(toA6).map(inWords), [`10.1.0.5/32 → ${B} v20`])
  t.match(toA, { from: '203.0.113.1', toPort: 4342 })
  t.equal(toA6?.from, '2001:db8:f::1')
  t.ok(verifyMessage(toA!.bytes, aKey(), hmac))
  t.notOk(recordsOf(toA)[0]!.locators[0]!.local, 'the L bit is not ours to set')

  t.strictSame(system.acknowledge(1500, A, toA!).names, [])
  const resent = system
    .runUntil(60_000)
    .flatMap(({ at, result }) => result.sent.map((sent) => [at, sent.to]))
  const six6 = '2001:db8:a::1'
  t.strictSame(
    resent,
    [4000, 7000, 10_000, 16_000, 28_000, 52_000].map((at) => [at, six6]),
  )
})

t.test('the claimant is answered after the write, the former RLOCs are told before', async (t) => {
  const { system, from } = atA()
  const first = from(B, 1000, record(B, 20))
  const whole = ['registration-removed', 'registration', 'last-nonce', 'pending-notify']
  t.strictSame(first.answer?.after, whole)
  t.strictSame(first.notices[0]?.after, ['reservation'], 'its nonce is of a fresh block')
  const second = from(A, 2000, record(A, 21))
  t.strictSame(second.answer?.after, [...whole, 'pending-notify-removed'])
  t.strictSame(second.notices[0]?.after, [], 'nothing new to reserve')
  t.equal(second.sentAtOnce, 1)

  const again = restarted(config, system.store, 3000)
  t.match(again.result.written[0], { kind: 'reservation', scope: 'map-notify' })
  const soon = again.system.register(3001, B, {
    nonce: 50n,
    identity: xtrB,
    records: [record(B, 22)],
  })
  t.strictSame(soon.notices[0]?.after, ['reservation'], 'perhaps not yet written')
  const later = again.system.register(9000, A, {
    nonce: 50n,
    identity: xtrA,
    records: [record(A, 23)],
  })
  t.strictSame(later.notices[0]?.after, [])
})

t.test('a block of notify nonces is reserved long before the one before is used up', async (t) => {
  const { from } = atA()
  const ceilings: bigint[] = []
  let waited = 0
  for (let version = 11; version < 1211; version += 1) {
    const rloc = version % 2 === 1 ? B : A
    const { written, notices } = from(rloc, version * 1000, record(rloc, version))
    for (const one of written) if (one.kind === 'reservation') ceilings.push(one.ceiling)
    if (notices[0]!.after.length > 0) waited += 1
  }
  t.strictSame(
    ceilings.map((one) => one - FIRST),
    [999n, 1999n],
  )
  t.equal(waited, 1, 'only the very first')
})

t.test("one acknowledgement speaks for all RLOCs that are the former owner's own", async (t) => {
  const { system, from } = atA()
  const own = [aLocator(A, { local: true }), aLocator('2001:db8:a::1', { local: true })]
  from(A, 10, aMapping({ mapVersion: 10, locators: own }))
  const claim = from(B, 1000, record(B, 20))
  t.equal(claim.answer?.to, B)
  t.strictSame(
    claim.notices.map(({ to }) => to),
    [A, '2001:db8:a::1'],
  )
  system.acknowledge(1500, '2001:db8:a::1', claim.notices[1]!)
  t.strictSame(system.acknowledge(1501, A, claim.notices[0]!).names, [
    'map-notify-rejected settled-already',
  ])
  t.strictSame(
    system.runUntil(60_000).flatMap(({ result }) => result.sent),
    [],
  )
})

t.test('a notify nobody acknowledges is given up with an event', async (t) => {
  const { system, from } = atA()
  const claim = from(B, 0, record(B))
  const steps = system.runUntil(60_000).filter(({ result }) => result.names.length > 0)
  t.strictSame(
    steps.map(({ at, result }) => [at, result.names[0]]),
    [
      ...[3000, 6000, 9000, 15_000, 27_000, 51_000].map((at) => [
        at,
        'map-notify-sent mapping-changed',
      ]),
      [54_000, 'map-notify-unacknowledged no-acknowledgement'],
    ],
  )
  for (const { result } of steps.slice(0, -1)) {
    t.strictSame(result.sent[0]?.bytes, claim.notices[0]?.bytes, 'the same message')
  }
})

t.test('an acknowledgement that is forged or of another nonce stops nothing', async (t) => {
  const { system, from } = atA()
  const claim = from(B, 0, record(B))
  const notify = claim.notices[0]!
  t.strictSame(system.acknowledge(100, A, notify, aKey('wrong')).names, [
    'map-notify-rejected authentication-failed',
  ])
  t.strictSame(system.acknowledge(100, A, claim.answer!).names, [
    'map-notify-rejected unknown-nonce',
  ])
  t.match(system.deadline(3000).sent, [{ to: A }])
  system.acknowledge(3100, A, notify)
  t.strictSame(
    system.runUntil(60_000).flatMap(({ result }) => result.sent),
    [],
  )
})

t.test(
  'a null-version register of the former owner waits until it knows of its loss',
  async (t) => {
    const { system, from, stands } = atA()
    const claim = from(B, 0, record(B))
    const stale = from(A, 100, record(A))
    t.match(stale.names, ['map-register-rejected stale-until-notified', 'map-notify-sent refused'])
    t.strictSame(stands(100), [`${B} v11`])
    system.acknowledge(200, A, claim.notices[0]!)
    from(A, 300, record(A))
    t.strictSame(stands(300), [`${A} v12`], 'now it is a claim')
  },
)

t.test('coming home makes the notify that told of the loss void', async (t) => {
  const { system, from, stands } = atA()
  from(B, 0, record(B, 11))
  from(A, 1000, record(A, 12))
  t.strictSame(stands(1000), [`${A} v12`])
  const targets = system.runUntil(60_000).flatMap(({ result }) => result.sent.map(({ to }) => to))
  t.strictSame([...new Set(targets)], [B], 'only B still has something to learn')
})

t.test('a refresh delayed past a restart does not bring the former owner back', async (t) => {
  const { system, from } = atA()
  const refresh = registerBytes({ nonce: 2n, identity: xtrA, records: [record(A)] })
  system.registerBytes(1000, A, refresh)
  t.strictSame(
    [...system.store.values()].filter((one) => one.kind === 'last-nonce').map((one) => one.nonce),
    [1n],
    'the nonce of the refresh is not written yet',
  )
  from(B, 2000, record(B))
  const again = restarted(config, system.store, 3000).system
  t.strictSame(again.registerBytes(4000, A, refresh).names, ['map-register-rejected replayed'])
  t.match(again.mapServer.registrationViews(4000), [{ locators: [{ rloc: B }] }])
})

const owed = (store: ReadonlyMap<string, StoredRecord>) =>
  [...store.values()].flatMap((one) =>
    one.kind === 'pending-notify' ? [`${formatEidPrefix(one.eidPrefix)} ${one.owner[0]}`] : [],
  )

t.test('a Map-Notify that was owed when the Map-Server died is sent by its next run', async (t) => {
  const { system, from } = atA()
  const own = [aLocator(A, { local: true }), aLocator('2001:db8:a::1')]
  from(A, 10, aMapping({ mapVersion: 10, locators: own }), record(A, 3, '10.1.0.6/32'))
  from(B, 1000, record(B), record(B, 0, '10.1.0.6/32'))
  t.strictSame(owed(system.store), ['10.1.0.5/32 a', '10.1.0.6/32 a'])

  const { system: again, result } = restarted(config, system.store, 2000)
  t.strictSame(
    result.sent.map(({ to, after }) => [to, after[0]]),
    [
      [A, 'reservation'],
      ['2001:db8:a::1', 'reservation'],
    ],
  )
  t.strictSame(recordsOf(result.sent[0]).map(inWords), [
    `10.1.0.5/32 → ${B} v12`,
    `10.1.0.6/32 → ${B} v4`,
  ])
  t.ok(verifyMessage(result.sent[0]!.bytes, aKey(), hmac))

  const late = again.register(2500, A, { nonce: 60n, identity: xtrA, records: [record(A)] })
  t.match(late.names, ['map-register-rejected stale-until-notified', 'map-notify-sent refused'])
  t.match(again.mapServer.registrationViews(2500), [
    { locators: [{ rloc: B }] },
    { locators: [{ rloc: B }] },
  ])
  t.strictSame(
    again.deadline(5000).sent.map(({ to }) => to),
    [A, '2001:db8:a::1'],
    'repeated like the first time',
  )
  again.acknowledge(5100, A, result.sent[0]!)
  t.strictSame(owed(again.store), ['10.1.0.5/32 a'], 'another RLOC is still to be told')
  again.acknowledge(5200, A, result.sent[1]!)
  t.strictSame(owed(again.store), [])
  t.strictSame(restarted(config, again.store, 6000).result.sent, [])
})

t.test('what is owed to a former owner is forgotten when it is no longer true', async (t) => {
  const home = atA()
  home.from(B, 1000, record(B))
  home.from(A, 2000, record(A, 12))
  t.strictSame(owed(home.system.store), ['10.1.0.5/32 b'], 'only B has something to learn')

  const silent = atA()
  silent.from(B, 1000, record(B))
  silent.system.runUntil(60_000)
  t.strictSame(owed(silent.system.store), [], 'given up')

  const gone = atA()
  gone.from(B, 1000, record(B))
  const withdrawn = aMapping({ locators: [B], ttlMinutes: 0 })
  const store = new Map(gone.system.store)
  gone.from(B, 1100, withdrawn)
  t.strictSame(owed(gone.system.store), [], 'withdrawn')
  for (const [key, one] of store) if (one.kind === 'registration') store.delete(key)
  const { system, result } = restarted(config, store, 2000)
  t.strictSame([result.sent, owed(system.store)], [[], []], 'registered by nobody')
})

t.test('nonces of notifies go on above what an earlier run may have used', async (t) => {
  const { system, from } = atA()
  const first = from(B, 0, record(B)).notices[0]
  t.match(first?.message, { nonce: FIRST })
  const { system: again, result } = restarted(config, system.store, 1000)
  t.match(
    result.written.find((one) => one.kind === 'reservation'),
    { ceiling: FIRST + 1999n },
  )
  const claim = again.register(2000, A, { nonce: 50n, identity: xtrA, records: [record(A, 99)] })
  t.match(result.sent[0], { to: A, message: { nonce: FIRST + 1000n } }, 'what was owed')
  t.match(claim.notices[0], { to: B, message: { nonce: FIRST + 1001n } })
})

t.test('a former owner is told with the key it used, after a restart too', async (t) => {
  const second = aKey('second', { keyId: 2, algorithm: 2 })
  const twoKeys = aNodeConfig({
    mapServer: {
      sites: [aSite({ keys: [aKey(), second] })],
      registrationMs: 180_000,
      maximumRegistrations: 10,
    },
  })
  const system = createMappingSystem(twoKeys)
  system.register(0, A, { key: second, nonce: 1n, identity: xtrA, records: [record(A)] })
  const again = restarted(twoKeys, system.store, 1000).system
  const claim = again.register(2000, B, { nonce: 1n, identity: xtrB, records: [record(B)] })
  t.ok(verifyMessage(claim.answer!.bytes, aKey(), hmac))
  t.equal(claim.notices[0]?.to, A)
  t.ok(verifyMessage(claim.notices[0]!.bytes, second, hmac))
})
