/**
 * Names (RFC 9735) and places (RFC 10040) as EIDs: who may register them, what a Map-Server answers, and
 * what a site lets it say of where it is.
 */
import t from 'tap'
import type { SiteConfig } from '../../src/config/node-config.js'
import { MAXIMUM_PLACES_PER_INSTANCE } from '../../src/control/map-server/described-eid-server.js'
import type { StoredRecord } from '../../src/control/stored-record.js'
import type { AfiAddress, GeoLocation } from '../../src/lisp/afi-address.js'
import { describedEidOf, formatDescribedEid } from '../../src/lisp/described-eid.js'
import { structuredLocator } from '../../src/lisp/locator.js'
import type { StructuredMapping } from '../../src/lisp/mapping.js'
import { decodeMessage, type MapReply, type MapRequest } from '../../src/lisp/message.js'
import {
  aKey,
  aLocator,
  aMapping,
  aMapRequest,
  aNodeConfig,
  anAddress,
  anIdentity,
  aSite,
} from '../support/builders.js'
import {
  createMappingSystem,
  registerBytes,
  restarted,
  type Sent,
} from '../support/mapping-system.js'

const ITR = '198.51.100.1'
const ETR = '192.0.2.1'
const NAMES = 7
const PLACES = 8

const bytesOf = (text: string) => new TextEncoder().encode(text)
const inInstance = (instanceId: number, address: AfiAddress): AfiAddress => ({
  kind: 'instance',
  instanceId,
  idMaskLength: 0,
  address,
})
const aName = (text: string, instanceId = NAMES) =>
  inInstance(instanceId, { kind: 'name', name: bytesOf(text) })

/** Degrees with a sign; a radius in metres makes it a geo-prefix. */
function aPlace(latitude: number, longitude: number, radius?: number): GeoLocation {
  const angle = (value: number) => {
    const degrees = Math.floor(Math.abs(value))
    return { degrees, milliseconds: Math.round((Math.abs(value) - degrees) * 3_600_000) }
  }
  return {
    kind: 'geo-location',
    uncertainty: undefined,
    latitude: angle(latitude),
    north: latitude >= 0,
    longitude: angle(longitude),
    east: longitude >= 0,
    altitude: undefined,
    radius: radius === undefined ? undefined : { value: radius / 1000, unit: 'km' },
    address: { kind: 'none' },
  }
}

const aPlaceEid = (latitude: number, longitude: number, radius?: number) =>
  inInstance(PLACES, aPlace(latitude, longitude, radius))

function aRecord(eid: AfiAddress, about: Partial<StructuredMapping> = {}): StructuredMapping {
  const inner = eid.kind === 'instance' ? eid.address : eid
  const maskLength = inner.kind === 'name' ? (inner.name.length + 1) * 8 : 0
  const { eidPrefix: _, ...terms } = aMapping({ locators: [aLocator(ETR, { local: true })] })
  return { ...terms, eid, maskLength, ...about }
}

const aNamesSite = (prefix: string, about: Partial<SiteConfig> = {}) =>
  aSite({
    names: [{ prefix: { kind: 'name', instanceId: NAMES, name: bytesOf(prefix) } }],
    geo: { instanceId: PLACES, answers: 'all' },
    ...about,
  })

function aSystem(...sites: SiteConfig[]) {
  const all = sites.length === 0 ? [aNamesSite('ietf')] : sites
  const mapServer = { sites: all, registrationMs: 180_000, maximumRegistrations: 1000 }
  const config = aNodeConfig({ mapServer })
  const system = createMappingSystem(config)
  let nonce = 0n
  return {
    config,
    system,
    register(records: StructuredMapping[], about: object = {}, now = 0) {
      nonce += 1n
      const options = { nonce, records: [], structuredRecords: records, ...about }
      return system.register(now, ETR, options)
    },
    ask(eid: AfiAddress, about: Partial<MapRequest> = {}, now = 0, maskLength?: number) {
      const record = { subscribe: false, eid, maskLength: maskLength ?? aRecord(eid).maskLength }
      const request = { records: [], structuredRecords: [record], ...about }
      return system.request(now, ITR, aMapRequest(request))
    },
  }
}

/** `"ietf" 192.0.2.1`, or with the action when there is no locator. */
function inWords(sent: Sent | undefined): string[] {
  if (sent === undefined || !('structuredRecords' in sent.message)) return []
  const records = sent.message.structuredRecords as readonly StructuredMapping[]
  return records.map(({ eid, locators, action }) => {
    const where = locators.length === 0 ? action : `${locators.length} locator`
    return `${formatDescribedEid(describedEidOf(eid)!)} ${where}`
  })
}

t.test('a registered name answers for every name that begins with it', async (t) => {
  const { register, ask } = aSystem()
  const { answer, names } = register([aRecord(aName('ietf')), aRecord(aName('ietf.lisp.wg'))])
  t.strictSame(names, ['registration-added', 'registration-added'])
  t.match(answer?.message, { kind: 'map-notify', structuredRecords: { length: 2 } })
  const asked = (text: string) => inWords(ask(aName(text)).sent[0])
  t.strictSame(asked('ietf'), ['[7]"ietf" 1 locator'])
  t.strictSame(asked('ietf.lisp'), ['[7]"ietf" 1 locator'], 'the example of RFC 9735 §4')
  t.strictSame(asked('ietf.lisp.wg.chairs'), ['[7]"ietf.lisp.wg" 1 locator'], 'the longest')
  t.strictSame(asked('iet'), ['[7]"iet" natively-forward'])
  t.strictSame(inWords(ask(aName('ietf', 9)).sent[0]), ['[9]"ietf" natively-forward'])
  const reply = ask(aName('ietf.lisp'), { nonce: 9n }).sent[0]!
  t.match(reply, { to: ITR, toPort: 61_000, message: { kind: 'map-reply', nonce: 9n } })
  const [record] = (reply.message as MapReply).structuredRecords!
  t.match(record, { maskLength: 40, authoritative: false, locators: [{ local: false }] })
})

t.test('a request for a name must ask for all of it', async (t) => {
  const { register, ask } = aSystem()
  register([aRecord(aName('ietf'))])
  for (const maskLength of [72, 80])
    t.strictSame(inWords(ask(aName('ietf.lisp'), {}, 0, maskLength).sent[0]), [
      '[7]"ietf" 1 locator',
    ])
  const { sent, names } = ask(aName('ietf.lisp'), {}, 0, 40)
  t.strictSame([sent.length, names], [0, ['map-reply-suppressed bad-mask-length']])
})

t.test('names outside of what the site is configured for are refused', async (t) => {
  const red = aNamesSite('ietf.red', { name: 'red', keys: [aKey('red secret')] })
  const { register, ask } = aSystem(aNamesSite('ietf'), red)
  const refused = (text: string, about: object = {}) =>
    register([aRecord(aName(text))], about).names
  t.strictSame(refused('iana'), ['map-register-rejected prefix-not-configured'])
  t.strictSame(refused('ietf', { key: aKey('guess') }), [
    'map-register-rejected authentication-failed',
  ])
  t.strictSame(refused('ietf.red.one'), ['map-register-rejected prefix-not-allowed'])
  t.strictSame(refused('ietf.red.one', { key: aKey('red secret') }), ['registration-added'])
  const short = register([aRecord(aName('ietf'), { maskLength: 32 })])
  t.strictSame(short.names, ['map-register-rejected bad-mask-length'])
  t.equal(short.answer, undefined, 'what is not kept is not acknowledged')
  t.strictSame(inWords(ask(aName('ietf')).sent[0]), ['[7]"ietf" natively-forward'])
})

t.test('a name ends with its time or its withdrawal, not with an old one', async (t) => {
  const { system, register, ask } = aSystem()
  register([aRecord(aName('ietf'))])
  register([aRecord(aName('ietf.a'))], {}, 100_000)
  t.match(
    system.runUntil(180_000).flatMap(({ result }) => result.names),
    ['registration-expired'],
  )
  t.strictSame(inWords(ask(aName('ietf'), {}, 180_000).sent[0]), ['[7]"ietf" natively-forward'])
  t.strictSame(inWords(ask(aName('ietf.a'), {}, 180_000).sent[0]), ['[7]"ietf.a" 1 locator'])
  const withdrawal = (nonce: bigint) =>
    register([aRecord(aName('ietf.a'), { ttlMinutes: 0 })], { nonce }, 190_000).names
  t.strictSame(withdrawal(1n), ['map-register-rejected replayed'])
  register([aRecord(aName('ietf.a'))], { nonce: 99n }, 190_000)
  t.strictSame(withdrawal(98n), ['map-register-rejected overtaken'])
  t.strictSame(inWords(ask(aName('ietf.a'), {}, 190_000).sent[0]), ['[7]"ietf.a" 1 locator'])
  t.strictSame(withdrawal(100n), ['registration-removed withdrawn'])
  t.strictSame(inWords(ask(aName('ietf.a'), {}, 190_000).sent[0]), ['[7]"ietf.a" natively-forward'])
})

t.test('locators of several xTRs are united where they ask for it', async (t) => {
  const { register, ask } = aSystem()
  const from = (byte: number, rloc: string, mergeRequest = true) =>
    register([aRecord(aName('ietf'), { locators: [aLocator(rloc)] })], {
      identity: anIdentity(byte),
      mergeRequest,
    })
  from(1, ETR)
  from(2, '192.0.2.2')
  t.strictSame(inWords(ask(aName('ietf')).sent[0]), ['[7]"ietf" 2 locator'])
  from(3, '192.0.2.3', false)
  t.strictSame(inWords(ask(aName('ietf')).sent[0]), ['[7]"ietf" 1 locator'])
})

t.test('without the P bit the question goes to the ETR, as it came', async (t) => {
  const { register, ask } = aSystem()
  register([aRecord(aName('ietf'))], { proxyReply: false })
  const { sent } = ask(aName('ietf.lisp'), { nonce: 5n })
  t.match(sent, [{ to: ETR, toPort: 4342, message: { kind: 'encapsulated-control' } }])
  const ecm = sent[0]!.message as { message: Uint8Array }
  t.match(decodeMessage(ecm.message), { kind: 'map-request', nonce: 5n, structuredRecords: [{}] })
})

t.test('a geo-point is answered by every geo-prefix that holds it', async (t) => {
  const { register, ask } = aSystem()
  // Berlin, Germany, and Paris, in kilometres around their middle.
  register([
    aRecord(aPlaceEid(51.16, 10.45, 450_000)),
    aRecord(aPlaceEid(52.52, 13.405, 25_000)),
    aRecord(aPlaceEid(48.857, 2.352, 20_000)),
  ])
  const asked = (latitude: number, longitude: number, radius?: number) =>
    inWords(ask(aPlaceEid(latitude, longitude, radius)).sent[0])
  t.strictSame(asked(52.5, 13.4), [
    '[8]51.16,10.45 r 450000 m 1 locator',
    '[8]52.52,13.405 r 25000 m 1 locator',
  ])
  t.strictSame(asked(48.1, 11.58), ['[8]51.16,10.45 r 450000 m 1 locator'])
  t.strictSame(asked(40, -74), ['[8]40,-74 natively-forward'])
  t.strictSame(asked(52.52, 13.405, 30_000), ['[8]51.16,10.45 r 450000 m 1 locator'], 'wider')
  t.match(ask(aPlaceEid(52.52, 200)).names, ['map-reply-suppressed no-records'])
})

t.test('a place that is as high as a mountain above a geo-prefix is not in it', async (t) => {
  const { register, ask } = aSystem()
  const at = (value: number, unit: 'm' | 'cm', radius?: number) =>
    inInstance(PLACES, { ...aPlace(46.5, 8, radius), altitude: { value, unit } })
  register([aRecord(at(500, 'm', 2000))])
  t.match(inWords(ask(at(200_000, 'cm')).sent[0]), [/46.5,8,500 r 2000 m 1 locator/])
  t.match(inWords(ask(at(4000, 'm')).sent[0]), [/natively-forward/])
  t.match(inWords(ask(aPlaceEid(46.5, 8)).sent[0]), [/1 locator/], 'height unknown')
})

t.test('a circle reaches over the pole and the date line', async (t) => {
  const { register, ask } = aSystem()
  register([aRecord(aPlaceEid(89.9, 0, 50_000)), aRecord(aPlaceEid(0, 179.9, 50_000))])
  t.match(inWords(ask(aPlaceEid(89.9, 180)).sent[0]), [/89.9,0 r 50000 m 1 locator/])
  t.match(inWords(ask(aPlaceEid(0, -179.9)).sent[0]), [/0,179.9 r 50000 m 1 locator/])
  t.match(inWords(ask(aPlaceEid(0, -179)).sent[0]), [/natively-forward/])
})

t.test('what does not fit one message is cut at the smallest places, and said', async (t) => {
  const { register, ask } = aSystem()
  for (let size = 1; size <= 20; size += 1) register([aRecord(aPlaceEid(10, 10, size * 1000))])
  const { sent, events } = ask(aPlaceEid(10, 10))
  t.ok(sent[0]!.bytes.length <= 548)
  const kept = inWords(sent[0]).length
  t.match(inWords(sent[0])[0], /r 20000 m/)
  t.match(events, [{ name: 'map-reply-sent', reason: 'matches-cut', withheld: 20 - kept }])
})

t.test('a Map-Server gives out of a place what the policy of its site allows', async (t) => {
  const point = aPlaceEid(52.52, 13.405)
  const area = aPlaceEid(52.5, 13.4, 25_000)
  const answers = { none: [/denied/], areas: [/r 25000 m/], all: [/r 25000 m/, /52.52,13.405 1/] }
  for (const [policy, expected] of Object.entries(answers)) {
    const geo = { instanceId: PLACES, answers: policy as keyof typeof answers }
    const { register, ask, system } = aSystem(aNamesSite('ietf', { geo }))
    register([aRecord(point), aRecord(area)])
    t.match(inWords(ask(point).sent[0]), expected, policy)
    // Beside an RLOC of a name, and of an address.
    const here = structuredLocator({
      ...aPlace(52.52, 13.405),
      address: { kind: 'ip', address: anAddress(ETR) },
    })!
    const around = { ...aLocator(ETR), structure: aPlace(52.5, 13.4, 25_000) }
    const { rloc: _, ...other } = around
    register([aRecord(aName('ietf'), { locators: [here], otherLocators: [other] })])
    const named = ask(aName('ietf')).sent[0]!.message as MapReply
    const [record] = named.structuredRecords!
    t.equal(record!.locators[0]!.structure !== undefined, policy === 'all', `${policy}: point`)
    t.equal((record!.otherLocators ?? []).length === 1, policy !== 'none', `${policy}: area`)
    t.match(record!.locators, [{ rloc: anAddress(ETR) }], 'the address itself is no secret')
    system.register(0, ETR, { nonce: 50n, records: [aMapping({ locators: [here] })] })
    const { sent } = system.request(0, ITR, aMapRequest())
    const [locator] = (sent[0]!.message as MapReply).records[0]!.locators
    t.equal(locator!.structure !== undefined, policy === 'all', `${policy}: beside an address`)
    t.match(locator, { rloc: anAddress(ETR) })
  }
})

t.test('without a policy nothing is said of where a site is', async (t) => {
  const { geo: _, ...noPolicy } = aNamesSite('ietf')
  const { system } = aSystem(noPolicy)
  const address = { kind: 'ip', address: anAddress(ETR) } as const
  const list = structuredLocator({ kind: 'list', addresses: [address, aPlace(1, 2)] })!
  const hop = { lookup: false, probe: false, strict: true, address: { ...aPlace(1, 2), address } }
  const path = structuredLocator({ kind: 'explicit-locator-path', hops: [hop] })!
  system.register(0, ETR, { nonce: 1n, records: [aMapping({ locators: [list, path] })] })
  const { sent } = system.request(0, ITR, aMapRequest())
  const { locators } = (sent[0]!.message as MapReply).records[0]!
  t.equal(locators.length, 1, 'a path with a place inside would mean something else without it')
  t.strictSame([locators[0]!.rloc, locators[0]!.structure], [anAddress(ETR), undefined])
})

t.test('places of one instance-ID are limited, and those that are there stay', async (t) => {
  const { register, ask } = aSystem()
  for (let first = 0; first < MAXIMUM_PLACES_PER_INSTANCE; first += 128) {
    const places = Array.from({ length: 128 }, (_, at) =>
      aRecord(aPlaceEid(((first + at) % 90) + 0.5, (first + at) / 50, 1000)),
    )
    register(places)
  }
  const full = register([aRecord(aPlaceEid(-5, -5, 1000))])
  t.strictSame(full.names, ['map-register-rejected too-many-places'])
  t.strictSame(register([aRecord(aPlaceEid(0.5, 0, 1000))]).names, [], 'a refresh')
  t.match(inWords(ask(aPlaceEid(0.5, 0)).sent[0]), [/r 1000 m 1 locator/])
})

/** The same Map-Server after a crash: only what it wrote is known. */
function crashed(config: ReturnType<typeof aNodeConfig>, store: Map<string, StoredRecord>) {
  const { system, result } = restarted(config, store, 1000)
  const ask = (eid: AfiAddress, now = 2000) => {
    const record = { subscribe: false, eid, maskLength: aRecord(eid).maskLength }
    const request = aMapRequest({ records: [], structuredRecords: [record] })
    return inWords(system.request(now, ITR, request).sent[0])
  }
  return { system, result, ask }
}

t.test('names and places are known after a restart, until nobody refreshes them', async (t) => {
  const { config, system, register } = aSystem()
  register([aRecord(aName('ietf'))])
  register([aRecord(aPlaceEid(10, 10, 1000))])
  const again = crashed(config, system.store)
  t.strictSame(again.ask(aName('ietf.lisp')), ['[7]"ietf" 1 locator'])
  t.match(again.ask(aPlaceEid(10, 10)), [/r 1000 m 1 locator/])
  t.strictSame(again.ask(aName('other')), ['[7]"other" natively-forward'], 'at once')
  const ended = again.system.runUntil(181_000).flatMap(({ result }) => result.names)
  t.strictSame(
    ended.filter((name) => name === 'registration-expired'),
    ['registration-expired', 'registration-expired'],
  )
  t.notOk([...again.system.store.keys()].some((key) => key.startsWith('described')))
})

t.test('a name is written before it is acknowledged, and not with every refresh', async (t) => {
  const { register } = aSystem()
  const first = register([aRecord(aName('ietf'))])
  t.strictSame(first.answer?.after, ['described-registration', 'last-nonce'])
  const refresh = register([aRecord(aName('ietf'))])
  t.strictSame([refresh.answer?.after, refresh.written.length], [[], 0])
})

t.test('what the configuration took from a site is not restored', async (t) => {
  const { config, system, register } = aSystem()
  register([aRecord(aName('ietf'))])
  const { sites } = aNodeConfig({ mapServer: config.mapServer }).mapServer
  const mapServer = { ...config.mapServer, sites: sites.map((site) => ({ ...site, names: [] })) }
  const again = crashed({ ...config, mapServer }, system.store)
  t.strictSame(again.result.names, ['registration-removed no-longer-configured'])
  t.notOk([...again.system.store.keys()].some((key) => key.startsWith('described')))
})

t.test('a Map-Register of before the last change is not believed after a crash', async (t) => {
  const { config, system } = aSystem()
  const byOf = (nonce: bigint, byte: number, ttlMinutes = 3) =>
    registerBytes({
      ...{ nonce, records: [], identity: anIdentity(byte) },
      structuredRecords: [aRecord(aName('ietf'), { ttlMinutes })],
    })
  system.registerBytes(0, ETR, byOf(1n, 1))
  const refresh = byOf(2n, 1)
  system.registerBytes(100, ETR, refresh)
  system.registerBytes(200, ETR, byOf(1n, 2))
  const { system: again } = crashed(config, system.store)
  t.strictSame(again.registerBytes(2000, ETR, refresh).names, ['map-register-rejected replayed'])
  system.registerBytes(300, ETR, byOf(2n, 2, 0))
  const after = crashed(config, system.store)
  t.strictSame(
    after.system.registerBytes(2000, ETR, byOf(1n, 2)).names,
    ['map-register-rejected replayed'],
    'the withdrawal stands',
  )
})

t.test('one site can not take all places of an instance from another', async (t) => {
  const red = aNamesSite('red', { name: 'red', keys: [aKey('red secret')] })
  const { register } = aSystem(aNamesSite('blue'), red)
  let refused: readonly string[] = []
  for (let first = 0; first < MAXIMUM_PLACES_PER_INSTANCE; first += 128) {
    const places = Array.from({ length: 128 }, (_, at) =>
      aRecord(aPlaceEid(((first + at) % 90) + 0.5, (first + at) / 50, 1000)),
    )
    refused = register(places, { key: aKey('red secret') }).names
  }
  t.strictSame(new Set(refused), new Set(['map-register-rejected too-many-of-this-site']))
  t.strictSame(register([aRecord(aPlaceEid(-5, -5, 1000))]).names, ['registration-added'])
})

t.test('requests for names that must not be answered are counted by reason', async (t) => {
  const { register, ask, system } = aSystem()
  register([aRecord(aName('ietf'))])
  const reason = (about: Partial<MapRequest>) => ask(aName('ietf'), about).names
  t.strictSame(reason({ rlocProbe: true }), ['map-reply-suppressed probe-through-mapping-system'])
  t.strictSame(reason({ itrRlocs: [] }), ['map-reply-suppressed no-itr-rloc'])
  t.strictSame(reason({ doNotReply: true }), ['map-reply-suppressed do-not-reply'])
  for (let times = 0; times < 4; times += 1) t.equal(ask(aName('ietf')).sent.length, 1)
  t.strictSame(reason({}), ['map-reply-suppressed rate-limited'])
  const one = { subscribe: false, eid: aName('x'), maskLength: 16 }
  const many = aMapRequest({ records: [], structuredRecords: Array(9).fill(one) })
  t.match(system.request(60_000, ITR, many).names.at(-1), 'map-reply-suppressed too-many-records')
})

t.test(
  'an operator reads names and places page by page, each registrant with its time',
  async (t) => {
    const { register, system } = aSystem()
    const names = ['ietf.b', 'ietf.a', 'ietf.c']
    register([...names.map((text) => aRecord(aName(text))), aRecord(aPlaceEid(52.5, 13.25, 2000))])
    const { described } = system.mapServer
    t.equal(described.size, 4)
    const whole = described.page({ limit: 1000 }, 60_000)
    const eids = ['[7]"ietf.a"', '[7]"ietf.b"', '[7]"ietf.c"', '[8]52.5,13.25 r 2000 m']
    t.strictSame([whole.entries.map(({ eid }) => eid), whole.next], [eids, undefined])
    t.match(whole.entries[0], {
      kind: 'name',
      instanceId: NAMES,
      locators: [{ rloc: ETR }],
      expiresInMs: 120_000,
    })
    const read: string[] = []
    let after: string | undefined
    for (let pages = 0; pages < 2; pages += 1) {
      const page = described.page({ limit: 2, after, instanceId: NAMES }, 0)
      t.equal(page.total, 3)
      read.push(...page.entries.map(({ eid }) => eid))
      after = page.next
    }
    t.strictSame([read, after], [eids.slice(0, 3), undefined])
    t.strictSame(described.page({ limit: 1, instanceId: PLACES }, 0).total, 1)
  },
)
