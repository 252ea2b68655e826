/**
 * The ETR in literal conversations: an xTR with the static prefix 10.2.0.0/16 and the dynamic-EID
 * prefix 10.1.0.0/16, and a Map-Server that the test plays.
 */
import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import type { Output } from '../../src/control/input-output.js'
import { createNode } from '../../src/control/node.js'
import type { RestoredState } from '../../src/control/restored-state.js'
import type { StoredRecord } from '../../src/control/stored-record.js'
import { encodeSigned, verifyMessage } from '../../src/lisp/authentication.js'
import { formatEidPrefix } from '../../src/lisp/eid.js'
import type { Mapping } from '../../src/lisp/mapping.js'
import type { MapNotify, MapRegister, Message } from '../../src/lisp/message.js'
import { recordKey } from '../../src/store/store.js'
import {
  aKey,
  aLocator,
  aMapping,
  aMapRequest,
  aMapServer,
  aNodeConfig,
  anAddress,
  anEid,
  aPrefix,
  hmac,
  someCapabilities,
} from '../support/builders.js'
import {
  createConversation,
  namesOf,
  type Reaction,
  sentOf,
  wordsOf,
} from '../support/conversation.js'
import { MAC } from '../support/xtr-world.js'

const SERVER = '203.0.113.9'
const OWN = '203.0.113.1'
const HIGH = 1n << 63n

function anEtr(about: Partial<NodeConfig> = {}, restored: Partial<RestoredState> = {}) {
  return createConversation(etrConfig(about), restored)
}

function etrConfig(about: Partial<NodeConfig> = {}): NodeConfig {
  return aNodeConfig({
    rlocs: aNodeConfig().rlocs.slice(0, 1),
    mapServers: [aMapServer(SERVER)],
    mapResolvers: [anAddress(SERVER)],
    eidPrefixes: [{ eidPrefix: aPrefix('10.2.0.0/16'), interfaceName: 'site' }],
    dynamicEidPrefixes: [{ eidPrefix: aPrefix('10.1.0.0/16'), interfaceName: 'site' }],
    rlocProbe: { enabled: false, intervalMs: 10_000, failures: 3 },
    ...about,
  })
}

type Conversation = ReturnType<typeof anEtr>

function seen(eid = '10.1.0.5', interfaceName = 'site') {
  return {
    kind: 'local-eid-seen' as const,
    eid: anEid(eid),
    mac: MAC,
    interfaceName,
    how: 'arp' as const,
  }
}

const isReservation = ({ kind }: StoredRecord): boolean => kind === 'reservation'

function registersOf(reactions: readonly Reaction[]): MapRegister[] {
  return sentOf(reactions, 'map-register').map((one) => one.message as MapRegister)
}

function aNotify(nonce: bigint, records: readonly Mapping[], key = aKey()): Uint8Array {
  const notify: MapNotify = {
    kind: 'map-notify',
    nonce,
    keyId: 1,
    algorithm: 3,
    authenticationData: new Uint8Array(16),
    records,
    identity: undefined,
  }
  return encodeSigned(notify, key, hmac)
}

/** The Map-Server acknowledges a register, granting this version. */
function acknowledge(
  talk: Conversation,
  at: number,
  register: MapRegister,
  mapVersion: number,
): Reaction {
  const records = register.records.map((one) => ({ ...one, mapVersion }))
  return talk.bytes(at, SERVER, aNotify(register.nonce, records))
}

function elsewhere(mapVersion: number, rloc = '203.0.113.2'): Mapping {
  return aMapping({ mapVersion, locators: [rloc] })
}

/** 10.1.0.5 has come at 1000 and is registered as version 5. */
function aSettledEtr(about: Partial<NodeConfig> = {}): Conversation {
  const talk = anEtr(about)
  acknowledge(talk, 10, registersOf([talk.begun])[0]!, 1)
  const arrival = talk.datapath(1000, seen())
  acknowledge(talk, 1010, registersOf([arrival])[0]!, 5)
  return talk
}

t.test('the start puts the prefixes in the datapath and registers the static ones', async (t) => {
  const talk = anEtr()
  t.same(talk.begun.words, [
    'put-local-eid 10.1.0.0/16 prefix',
    'put-local-eid 10.2.0.0/16 local',
    'put-map-cache 10.2.0.0/16 native',
  ])
  const [register] = registersOf([talk.begun])
  t.match(register, {
    wantMapNotify: true,
    proxyReply: true,
    mergeRequest: false,
    useTtlForTimeout: false,
  })
  t.match(register?.records, [{ ttlMinutes: 15, mapVersion: 0, authoritative: true }])
  t.match(register?.identity, { siteId: 1n })
  t.same(
    talk.begun.written.filter(isReservation),
    [{ kind: 'reservation', scope: 'register', ceiling: 1000n }],
    'before it is sent',
  )
  t.ok(verifyMessage(sentOf([talk.begun], 'map-register')[0]!.bytes, aKey(), hmac))
})

t.test(
  'an unanswered register is repeated: same bytes at first, then with a fresh nonce',
  async (t) => {
    const talk = anEtr()
    const first = sentOf([talk.begun], 'map-register')[0]!
    const steps = talk.runUntil(200_000)
    const sent = sentOf(steps, 'map-register')
    t.same(
      sent.slice(0, 9).map((one) => one.at),
      [100, 1100, 3100, 7100, 15_100, 31_100, 63_100, 123_100, 183_100],
      '0.1, 1, 2, 4 … 60 s apart',
    )
    const same = sent.filter((one) => Buffer.from(one.bytes).equals(Buffer.from(first.bytes)))
    t.equal(same.length, 3)
    const nonces = registersOf(steps).map((one) => one.nonce)
    t.ok(
      nonces.every((one, index) => index === 0 || one >= nonces[index - 1]!),
      'nonces never fall',
    )
    t.ok(nonces[4]! > nonces[0]!)
  },
)

t.test(
  'an acknowledged register is refreshed within the period, with the granted version',
  async (t) => {
    const talk = anEtr()
    acknowledge(talk, 10, registersOf([talk.begun])[0]!, 77)
    const steps = talk.runUntil(60_000)
    const [refresh] = sentOf(steps, 'map-register')
    t.ok(refresh!.at >= 51_000 && refresh!.at <= 60_000, `${refresh!.at}`)
    t.match((refresh?.message as MapRegister).records, [{ mapVersion: 77 }])
    t.match(talk.node.snapshot(60_000).mappingDatabase[1], { registered: true, mapVersion: 77 })
  },
)

t.test('many EIDs share few messages that pass every path', async (t) => {
  const talk = anEtr()
  acknowledge(talk, 10, registersOf([talk.begun])[0]!, 1)
  for (let host = 1; host <= 60; host += 1) {
    const arrival = talk.datapath(1000 + host, seen(`10.1.0.${host}`))
    acknowledge(talk, 1000 + host, registersOf([arrival])[0]!, 5)
  }
  const refresh = sentOf(talk.runUntil(60_000), 'map-register')
  t.ok(
    refresh.every((one) => one.bytes.length <= 548),
    'within 576 bytes of IPv4',
  )
  t.ok(refresh.length <= 10, `${refresh.length} messages for 61 EIDs`)
  const named = refresh.flatMap((one) => (one.message as MapRegister).records)
  t.equal(named.length, 61)
})

t.test('nonces continue above what an earlier run may have used', async (t) => {
  const restored = {
    records: [{ kind: 'reservation' as const, scope: 'register', ceiling: 5000n }],
  }
  const talk = anEtr({}, restored)
  t.equal(registersOf([talk.begun])[0]?.nonce, 5001n)
  t.same(talk.begun.written.filter(isReservation), [
    { kind: 'reservation', scope: 'register', ceiling: 6000n },
  ])
  const later: Reaction[] = []
  for (let host = 1; host <= 600; host += 1)
    later.push(talk.datapath(10, seen(`10.1.${host >> 8}.${host & 255}`)))
  t.match(
    later
      .flatMap((one) => one.written)
      .filter((one) => one.kind === 'reservation' && one.scope === 'register'),
    [{ ceiling: 6501n }],
  )
})

t.test('no nonce leaves before it is stored as used', async (t) => {
  const node = createNode(etrConfig(), someCapabilities())
  const outputs: Output[] = []
  const state = { records: [], localEids: [], mapCache: [] }
  node.handle({ kind: 'restored', state }, 0, outputs)
  t.notOk(outputs.some(({ kind }) => kind === 'send'))
  const [stored] = outputs.flatMap((one) =>
    one.kind === 'persist' && one.then.length > 0 ? [one] : [],
  )
  t.match(stored?.records, [{ kind: 'reservation', scope: 'register', ceiling: 1000n }])
  t.match(stored?.then, [{ kind: 'send', to: anAddress(SERVER) }], 'sent when that is durable')
})

t.test('a frame of an EID in a dynamic prefix is an arrival', async (t) => {
  const talk = anEtr()
  acknowledge(talk, 10, registersOf([talk.begun])[0]!, 1)
  const arrival = talk.datapath(1000, seen())
  t.same(arrival.words, [
    'put-local-eid 10.1.0.5/32 local release 10.1.0.5',
    'put-map-cache 10.1.0.5/32 native release 10.1.0.5',
  ])
  t.match(registersOf([arrival]), [{ records: [{ mapVersion: 0 }] }], 'no version: nobody told one')
  t.same(talk.datapath(1060, seen()).words, [], 'known')
  const [put] = arrival.operations
  t.match(put, { kind: 'put-local-eid', mac: MAC, reportSenders: true })
  acknowledge(talk, 1010, registersOf([arrival])[0]!, 5)
  const settled = talk.runUntil(3000)
  t.ok(namesOf(settled).includes('move-converged'), 'nobody was sending')
  t.match(talk.node.snapshot(3000).moves, [{ trigger: 'detected', state: 'converged' }])
})

t.test('EIDs whose first frames come together are registered together', async (t) => {
  const talk = anEtr()
  acknowledge(talk, 10, registersOf([talk.begun])[0]!, 1)
  const first = talk.datapath(1000, seen('10.1.0.5'), true)
  t.match(first.words, [/^put-local-eid 10.1.0.5.32 local/, /^put-map-cache 10.1.0.5.32 native/])
  t.same(first.sent, [], 'more is to come')
  const second = talk.datapath(1000, seen('10.1.0.6'))
  const [register, ...others] = registersOf([second])
  t.same(others, [])
  t.same(
    register?.records.map((one) => one.eidPrefix.address),
    [anAddress('10.1.0.5'), anAddress('10.1.0.6')],
  )
  t.same(registersOf([talk.datapath(1100, { ...seen(), kind: 'mac-seen' })]), [], 'once')
})

t.test('frames that are no arrival are counted and change nothing', async (t) => {
  const talk = anEtr()
  const cases = [
    [seen('192.0.2.1'), 'eid-not-allowed'],
    [seen('10.1.0.5', 'other'), 'wrong-interface'],
  ] as const
  for (const [event, reason] of cases) {
    const reaction = talk.datapath(100, event)
    t.same([reaction.names, reaction.words], [[`datagram-ignored ${reason}`], []])
  }
})

t.test('a Map-Server that stays silent is named, with what it was told', async (t) => {
  const talk = anEtr()
  const silent = talk
    .runUntil(20_000)
    .flatMap(({ events }) => events)
    .filter(({ name }) => name === 'registration-unacknowledged')
  t.match(silent, [
    { severity: 'warning', mapServer: SERVER, attempts: 3, eidPrefixes: ['10.2.0.0/16'] },
    { attempts: 4 },
    { attempts: 5 },
  ])
  const answered = anEtr()
  acknowledge(answered, 3000, registersOf(answered.runUntil(2999)).at(-1)!, 1)
  const names = answered.runUntil(20_000).flatMap((one) => one.names)
  t.notOk(names.includes('registration-unacknowledged'))
})

t.test('a Map-Notify naming another place is a departure', async (t) => {
  const talk = aSettledEtr()
  const left = talk.bytes(20_000, SERVER, aNotify(HIGH + 1n, [elsewhere(6)]))
  t.same(left.words, [
    'put-map-cache 10.1.0.5/32 forward 203.0.113.2 release 10.1.0.5',
    'put-local-eid 10.1.0.5/32 away release 10.1.0.5',
    'announce-gateway 10.1.0.5 site',
  ])
  t.ok(left.names.includes('eid-departed'))
  const [ack] = sentOf([left], 'map-notify-ack')
  t.match(ack?.message, { nonce: HIGH + 1n, records: [{ mapVersion: 6 }] })
  t.ok(verifyMessage(ack!.bytes, aKey(), hmac))
  const again = talk.bytes(20_100, SERVER, aNotify(HIGH + 1n, [elsewhere(6)]))
  t.same(again.words, [], 'a repetition is acknowledged and nothing else')
  t.equal(sentOf([again], 'map-notify-ack').length, 1)
  const named = registersOf(talk.runUntil(90_000)).flatMap((one) =>
    one.records.map((each) => each.eidPrefix.maskLength),
  )
  t.notOk(named.includes(32), 'no longer registered')

  t.test('stragglers are not believed for 300 ms, then a frame is an arrival', async (t) => {
    const other = aSettledEtr()
    other.bytes(20_000, SERVER, aNotify(HIGH + 1n, [elsewhere(6)]))
    t.same(other.datapath(20_299, seen()).names, ['datagram-ignored straggler'])
    t.ok(other.datapath(20_300, seen()).names.includes('eid-arrived arp'))
  })
  t.test('an EID that speaks in two places is believed ever more slowly', async (t) => {
    const flapping = aSettledEtr()
    let nonce = HIGH
    let at = 1100
    const quiet: number[] = []
    for (let round = 0; round < 4; round += 1) {
      nonce += 1n
      flapping.bytes(at, SERVER, aNotify(nonce, [elsewhere(10 + round)]))
      const from = at
      while (!flapping.datapath(at, seen()).names.includes('eid-arrived arp')) at += 50
      quiet.push(at - from)
    }
    t.same(quiet, [300, 1000, 2000, 4000])
    t.ok(flapping.node.snapshot(at).mappingDatabase.some((one) => one.state === 'local'))
  })
  t.test('an EID that leaves and comes back is believed at once, however often', async (t) => {
    const moving = aSettledEtr()
    for (let round = 0; round < 8; round += 1) {
      const at = 10_000 + round * 2000
      moving.bytes(at, SERVER, aNotify(HIGH + BigInt(round), [elsewhere(10 + 2 * round)]))
      const straggler = moving.datapath(at + 5, seen())
      t.same(straggler.names, ['datagram-ignored straggler'])
      const back = moving.datapath(at + 1200, seen())
      t.same(back.names, ['eid-arrived arp', 'map-register-sent register'], `return ${round}`)
      acknowledge(moving, at + 1210, registersOf([back])[0]!, 11 + 2 * round)
    }
  })
})

t.test('a Map-Notify that was lost and overtaken is applied when it comes again', async (t) => {
  const talk = aSettledEtr()
  acknowledge(talk, 1020, registersOf([talk.datapath(1015, seen('10.1.0.6'))])[0]!, 5)
  const first = aNotify(HIGH + 1n, [elsewhere(6)])
  const second = aNotify(HIGH + 2n, [{ ...elsewhere(6), eidPrefix: aPrefix('10.1.0.6/32') }])
  const acksOf = (one: Reaction) => sentOf([one], 'map-notify-ack').map(({ message }) => message)
  t.ok(talk.bytes(2000, SERVER, second).names.includes('eid-departed'))
  const resent = talk.bytes(5000, SERVER, first)
  t.ok(resent.names.includes('eid-departed'))
  t.match(acksOf(resent), [{ nonce: HIGH + 1n }])
  t.same(resent.written, [], 'the floor stays where it is')
  const state = (talk: Conversation, at: number) =>
    talk.node
      .snapshot(at)
      .mappingDatabase.flatMap((one) =>
        one.kind === 'dynamic-eid' ? [`${one.eidPrefix} ${one.state}`] : [],
      )
  t.same(state(talk, 5000), ['10.1.0.5/32 away', '10.1.0.6/32 away'])

  const home = talk.datapath(9000, seen())
  acknowledge(talk, 9010, registersOf([home])[0]!, 7)
  for (const bytes of [first, second]) {
    const again = talk.bytes(9020, SERVER, bytes)
    t.same([again.names, again.words], [[], []], 'a repetition changes nothing')
    t.equal(acksOf(again).length, 1, 'and is acknowledged')
  }
  t.same(state(talk, 9020), ['10.1.0.5/32 local', '10.1.0.6/32 away'])

  const late = talk.bytes(9030, SERVER, aNotify(HIGH, [elsewhere(0)]))
  t.ok(late.names.includes('map-notify-rejected out-of-order'), 'no version says what it is worth')
  const records = [
    { kind: 'last-nonce' as const, sender: `map-notify/${SERVER}`, nonce: HIGH + 2n },
  ]
  const restarted = anEtr({}, { records })
  t.same(restarted.bytes(10, SERVER, first).names, ['map-notify-rejected replayed'])
  const last = restarted.bytes(20, SERVER, second)
  t.same([last.names, last.words], [[], []], 'handled before the restart')
  t.match(acksOf(last), [{ nonce: HIGH + 2n }])
})

t.test('a Map-Notify is believed only with the key, once, and not an older version', async (t) => {
  const talk = aSettledEtr()
  const forged = talk.bytes(2000, SERVER, aNotify(HIGH + 9n, [elsewhere(6)], aKey('guessed')))
  t.same(
    [forged.names, forged.words, forged.sent],
    [['map-notify-rejected authentication-failed'], [], []],
  )
  const old = talk.bytes(2001, SERVER, aNotify(HIGH + 9n, [elsewhere(4)]))
  t.ok(old.names.includes('map-notify-rejected older-version'), 'a claim we have outrun')
  const again = talk.bytes(2002, SERVER, aNotify(HIGH + 9n, [elsewhere(6)]))
  t.same([again.names, again.words], [[], []], 'a nonce counts once, whatever is said with it')
  const foreign = talk.bytes(
    2003,
    SERVER,
    aNotify(HIGH + 10n, [aMapping({ eidPrefix: '10.9.0.1/32' })]),
  )
  t.ok(foreign.names.includes('map-notify-rejected not-ours'))
  t.match(
    talk.node.snapshot(2003).mappingDatabase.find((one) => one.eidPrefix === '10.1.0.5/32'),
    { state: 'local' },
  )
})

t.test('a refused register is claimed again on fresh evidence, and yields on old', async (t) => {
  const talk = anEtr()
  acknowledge(talk, 10, registersOf([talk.begun])[0]!, 1)
  const arrival = registersOf([talk.datapath(1000, seen())])[0]!
  const refused = talk.bytes(1010, SERVER, aNotify(arrival.nonce, [elsewhere(40)]))
  t.ok(refused.names.includes('registration-refused'))
  t.match(registersOf([refused]), [{ records: [{ mapVersion: 41 }] }], 'at once, the version after')
  const twice = talk.bytes(1020, SERVER, aNotify(registersOf([refused])[0]!.nonce, [elsewhere(41)]))
  t.same(registersOf([twice]), [], 'not at once the second time')
  t.ok(twice.names.includes('eid-conflict'))
  const [later] = sentOf(talk.runUntil(2100), 'map-register')
  t.equal(later?.at, 2020, 'after 1 s')
  t.match((later?.message as MapRegister).records, [{ mapVersion: 42 }])

  const settled = aSettledEtr()
  const refresh = registersOf(settled.runUntil(62_000)).find((one) =>
    one.records.some((each) => each.eidPrefix.maskLength === 32),
  )!
  const yielded = settled.bytes(62_010, SERVER, aNotify(refresh.nonce, [elsewhere(9)]))
  t.ok(yielded.words.includes('put-local-eid 10.1.0.5/32 away release 10.1.0.5'))
})

t.test('senders of an EID that left get an SMR, within the rate', async (t) => {
  const talk = aSettledEtr()
  talk.bytes(20_000, SERVER, aNotify(HIGH + 1n, [elsewhere(6)]))
  const hit = (at: number, sender: string) =>
    talk.datapath(at, { kind: 'away-eid-hit', eid: anEid('10.1.0.5'), sender: anAddress(sender) })
  const [smr] = hit(20_100, '198.51.100.3').sent
  t.match(smr, {
    to: '198.51.100.3',
    toPort: 4342,
    message: { solicitMapRequest: true, doNotReply: true },
  })
  t.match(smr?.message, {
    sourceEid: anEid('10.1.0.5'),
    records: [{ eidPrefix: aPrefix('10.1.0.5/32') }],
  })
  t.same(hit(20_200, '198.51.100.3').names, ['smr-suppressed told-just-now'])
  const repeated: number[] = []
  for (let at = 20_300; at <= 26_100; at += 100)
    if (hit(at, '198.51.100.3').sent.length > 0) repeated.push(at)
  t.same(repeated, [21_100, 22_100, 23_100, 26_100], 'a token is left')
  acknowledge(talk, 27_510, registersOf([talk.datapath(27_500, seen())])[0]!, 7)
  talk.bytes(27_600, SERVER, aNotify(HIGH + 2n, [elsewhere(8)]))
  t.equal(hit(27_700, '198.51.100.3').sent.length, 1, 'for the next departure')
  t.equal(hit(27_700, '198.51.100.4').sent.length, 1, 'another sender has its own bucket')
  t.same(hit(27_800, '203.0.113.2').names, ['smr-suppressed is-destination'])
  const off = aSettledEtr({ mobility: { ...aNodeConfig().mobility, solicit: false } })
  off.bytes(20_000, SERVER, aNotify(HIGH + 1n, [elsewhere(6)]))
  const silent = off.datapath(20_100, {
    kind: 'away-eid-hit',
    eid: anEid('10.1.0.5'),
    sender: anAddress('198.51.100.3'),
  })
  t.same([silent.sent, silent.names], [[], ['smr-suppressed switched-off']])
})

t.test('a changed locator-set of our own is told to who sent in the last minute', async (t) => {
  const sender = (at: number, eid: string, rloc: string, system: Conversation) =>
    system.datapath(at, { kind: 'sender-seen', eid: anEid(eid), sender: anAddress(rloc) })
  const one = anEtr()
  const seenRecords = new Map<string, StoredRecord>()
  const keep = (reactions: readonly Reaction[]) => {
    for (const record of reactions.flatMap(({ written }) => written))
      seenRecords.set(recordKey(record), record)
  }
  one.datapath(1000, seen())
  sender(2000, '10.1.0.5', '198.51.100.3', one)
  sender(50_000, '10.1.0.5', '198.51.100.1', one)
  sender(50_000, '10.2.0.9', '198.51.100.1', one)
  const stop = { kind: 'shutdown', withdraw: false } as const
  keep([one.begun, one.command(70_000, stop)])

  const again = (rlocs: NodeConfig['rlocs']) =>
    anEtr(
      { rlocs },
      {
        records: [...seenRecords.values()],
        localEids: [
          {
            eidPrefix: aPrefix('10.1.0.5/32'),
            state: 'local',
            interfaceName: 'site',
            mac: undefined,
          },
        ],
      },
    )
  const [rloc] = aNodeConfig().rlocs
  const same = again([rloc!])
  t.notOk(same.begun.names.includes('own-locators-changed'))

  const changed = again([{ ...rloc!, address: anAddress('203.0.113.2') }])
  t.ok(changed.begun.names.includes('own-locators-changed'))
  t.match(wordsOf([changed.begun]), ['put-local-eid 10.1.0.0/16 prefix'])
  const statics = (reactions: readonly Reaction[]) =>
    reactions.flatMap(({ operations }) =>
      operations.flatMap((each) =>
        each.kind === 'put-local-eid' && each.eidPrefix.maskLength === 16 && !each.dynamicPrefix
          ? [each.reportSenders]
          : [],
      ),
    )
  t.strictSame(statics([changed.begun]), [true], 'who sends to static prefixes is named')
  t.strictSame(sentOf(changed.runUntil(10), 'map-request').filter(isSmr), [], 'not registered yet')

  const told = (reactions: readonly Reaction[]) =>
    sentOf(reactions, 'map-request')
      .filter(isSmr)
      .map(({ from, to, message }) => `${from} ${to} ${eidsOf(message)}`)
  const [register] = registersOf([changed.begun])
  const ack = changed.bytes(20, SERVER, aNotify(register!.nonce, register!.records))
  t.strictSame(told([ack, ...changed.runUntil(30)]), ['203.0.113.2 198.51.100.1 10.2.0.9/32'])
  // The mapping system still names the former RLOC: that is no other place.
  const asked = sentOf([changed.begun], 'map-request').find(({ inner }) => inner !== undefined)!
  const nonce = asked.inner?.kind === 'map-request' ? asked.inner.nonce : 0n
  const reply = {
    kind: 'map-reply' as const,
    rlocProbe: false,
    echoNonceCapable: false,
    nonce,
    records: [aMapping({ eidPrefix: '10.1.0.5/32', mapVersion: 7, locators: [OWN] })],
  }
  const [dynamic] = registersOf([changed.message(40, SERVER, reply), ...changed.runUntil(60)])
  t.equal(dynamic?.records[0]?.locators[0]?.rloc.bytes[3], 2, 'registered from the new RLOC')
  const later = changed.bytes(70, SERVER, aNotify(dynamic!.nonce, dynamic!.records))
  t.strictSame(told([later, ...changed.runUntil(1000)]), ['203.0.113.2 198.51.100.1 10.1.0.5/32'])
  sender(2000, '10.1.0.5', '198.51.100.1', changed)
  sender(2000, '10.1.0.5', '198.51.100.4', changed)
  const end = changed.runUntil(61_000)
  t.strictSame(told(end), ['203.0.113.2 198.51.100.4 10.1.0.5/32'], 'each once')
  t.strictSame(statics(end), [false], 'and no longer')
  sender(62_000, '10.1.0.5', '198.51.100.5', changed)
  t.strictSame(told(changed.runUntil(64_000)), [])
})

const isSmr = ({ message }: { message: Message }) =>
  message.kind === 'map-request' && message.solicitMapRequest
const eidsOf = (message: Message) =>
  message.kind === 'map-request'
    ? message.records.map(({ eidPrefix }) => formatEidPrefix(eidPrefix)).join(' ')
    : ''

t.test('a redirect whose packets come back from its destination for a second ends', async (t) => {
  const hit = (at: number, sender: string) =>
    departed.datapath(at, {
      kind: 'away-eid-hit',
      eid: anEid('10.1.0.5'),
      sender: anAddress(sender),
    })
  const departed = anEtr()
  departed.datapath(0, seen())
  const elsewhere = aMapping({ eidPrefix: '10.1.0.5/32', mapVersion: 9, locators: ['203.0.113.2'] })
  departed.bytes(1000, SERVER, aNotify(HIGH, [elsewhere]))
  for (let at = 2000; at < 2900; at += 100) t.same(hit(at, '203.0.113.2').words, [])
  // A pause, and packets of others, are not what goes round.
  for (let at = 4000; at < 6000; at += 100) t.same(hit(at, '198.51.100.1').words, [])
  for (let at = 6000; at < 7000; at += 100) t.same(hit(at, '203.0.113.2').words, [])
  const end = hit(7000, '203.0.113.2')
  t.same(end.words, ['delete-local-eid 10.1.0.5/32', 'delete-map-cache 10.1.0.5/32'])
  t.ok(end.names.includes('eid-removed redirect-loop'))
})

t.test('Map-Requests for our own are answered, with authority and our locators', async (t) => {
  const talk = aSettledEtr()
  const [reply] = talk.message(2000, '198.51.100.1', aMapRequest(), 61_000).sent
  t.match(reply, { to: '198.51.100.1', toPort: 61_000, from: OWN })
  t.match(reply?.message, {
    kind: 'map-reply',
    nonce: 7n,
    records: [{ authoritative: true, mapVersion: 5, locators: [{ local: true, probe: false }] }],
  })
  const one = talk.message(2100, '198.51.100.1', aMapRequest({ eidPrefix: '10.2.3.4/32' }))
  t.match(one.sent[0]?.message, { records: [{ eidPrefix: aPrefix('10.2.0.0/16') }] })
  t.match(talk.message(2200, '198.51.100.1', aMapRequest({ eidPrefix: '10.9.0.1/32' })).names, [
    'map-request-received not-ours',
  ])
  t.match(talk.message(2200, '198.51.100.1', aMapRequest({ doNotReply: true })).names, [
    'map-request-received do-not-reply',
  ])
  t.match(
    talk.message(2200, '198.51.100.1', aMapRequest({ itrRlocs: [anAddress('2001:db8::1')] })).names,
    ['map-request-received no-itr-rloc'],
  )
  const burst = [1, 2, 3, 4].map((n) => talk.message(2300 + n, '198.51.100.1', aMapRequest()))
  t.equal(sentOf(burst, 'map-reply').length, 3, 'four in a burst, one was used')
  t.same(burst[3]?.names, ['map-reply-suppressed rate'])
})

t.test(
  'a probe is answered from the probed RLOC with the p bit, also for an EID that left',
  async (t) => {
    const talk = aSettledEtr()
    const probe = aMapRequest({ rlocProbe: true })
    const [reply] = talk.message(2000, '198.51.100.1', probe).sent
    t.match(reply?.message, {
      rlocProbe: true,
      records: [{ authoritative: true, locators: [{ probe: true }] }],
    })
    talk.bytes(20_000, SERVER, aNotify(HIGH + 1n, [elsewhere(6)]))
    const [other] = talk.message(20_100, '198.51.100.1', probe).sent
    t.match(other?.message, {
      records: [
        { authoritative: true, locators: [{ probe: false, rloc: anAddress('203.0.113.2') }] },
      ],
    })
  },
)

t.test('a probe of an IPv6 RLOC is answered from there, to an IPv6 RLOC', async (t) => {
  const talk = anEtr({ rlocs: aNodeConfig().rlocs })
  const itrRlocs = ['198.51.100.1', '2001:db8:9::1'].map((text) => anAddress(text))
  const records = [{ subscribe: false, eidPrefix: aPrefix('10.2.0.0/16') }]
  const probe = (rlocs: typeof itrRlocs) =>
    aMapRequest({ rlocProbe: true, records, itrRlocs: rlocs })
  t.match(talk.message(2000, '2001:db8:9::1', probe(itrRlocs)).sent, [
    { from: '2001:db8:f::1', to: '2001:db8:9::1' },
  ])
  const [other] = talk.message(3000, '2001:db8:9::1', probe(itrRlocs.slice(0, 1))).sent
  t.match(other, { from: OWN, to: '198.51.100.1' }, 'where there is none, from elsewhere')
})

t.test('operators add and remove EIDs', async (t) => {
  const talk = anEtr()
  const add = (at: number, eidPrefix: string, interfaceName = 'site') =>
    talk.command(at, { kind: 'add-eid', eidPrefix: aPrefix(eidPrefix), interfaceName })
  t.match(add(10, '10.9.0.1/32').results, [
    { result: { ok: false, status: 400, code: 'eid-not-allowed' } },
  ])
  t.match(add(10, '10.1.0.0/24').results, [{ result: { ok: false, code: 'eid-not-allowed' } }])
  t.match(add(10, '10.1.0.5/32').results, [{ result: { ok: true } }])
  t.match(add(11, '10.1.0.5/32').results, [
    { result: { ok: false, status: 409, code: 'already-local' } },
  ])
  const removed = talk.command(20, { kind: 'remove-eid', eidPrefix: aPrefix('10.1.0.5/32') })
  t.match(registersOf([removed]), [{ wantMapNotify: false, records: [{ ttlMinutes: 0 }] }])
  t.same(removed.words, ['delete-local-eid 10.1.0.5/32', 'delete-map-cache 10.1.0.5/32'])
  const unknown = talk.command(30, { kind: 'remove-eid', eidPrefix: aPrefix('10.1.0.5/32') })
  t.match(unknown.results, [{ result: { ok: false, status: 404, code: 'no-such-eid' } }])
  const end = talk.command(40, { kind: 'shutdown', withdraw: true })
  t.match(end.results, [{ result: { ok: true, value: { withdrawn: 1 } } }])
  t.match(registersOf([end]), [{ records: [{ ttlMinutes: 0, eidPrefix: aPrefix('10.2.0.0/16') }] }])
})

t.test('after a restart the mapping system says what became of each EID', async (t) => {
  const restored = (state: 'local' | 'standby' | 'away', dynamic = '10.1.0.5/32') => ({
    localEids: [{ eidPrefix: aPrefix(dynamic), state, interfaceName: 'site', mac: MAC }],
    mapCache:
      state === 'away'
        ? [
            {
              eidPrefix: aPrefix(dynamic),
              action: 'forward' as const,
              encapsulations: [
                { locator: aLocator('203.0.113.2'), source: anAddress(OWN), pathMtu: 1500 },
              ],
            },
          ]
        : [],
  })
  const stateOf = (talk: Conversation, at: number) =>
    talk.node.snapshot(at).mappingDatabase.find((one) => one.eidPrefix === '10.1.0.5/32')?.state
  const answer = (
    talk: Conversation,
    at: number,
    reactions: readonly Reaction[],
    mapping: Mapping,
  ) => {
    const inner = sentOf(reactions, 'map-request')[0]?.inner
    const nonce = inner?.kind === 'map-request' ? inner.nonce : 0n
    return talk.message(at, SERVER, {
      kind: 'map-reply',
      rlocProbe: false,
      echoNonceCapable: false,
      nonce,
      records: [mapping],
    })
  }
  t.test('an EID whose departure was certain stays answered for on the segment', async (t) => {
    for (const proxyNeighbours of [true, false]) {
      const { localEids, mapCache } = restored('away')
      const talk = anEtr({}, { localEids: [{ ...localEids[0]!, proxyNeighbours }], mapCache })
      const put = talk.begun.operations.find(
        (one) => one.kind === 'put-local-eid' && one.state === 'away',
      )
      t.match(put, proxyNeighbours ? { state: 'away' } : { proxyNeighbours: false })
      t.equal(put !== undefined && 'proxyNeighbours' in put, !proxyNeighbours)
      const asked = sentOf(talk.runUntil(6000), 'map-request')
      t.ok(asked.length > 3, 'and the mapping system is asked until it answers')
    }
  })
  const hosts = (reactions: readonly Reaction[]) =>
    registersOf(reactions)
      .flatMap((one) => one.records)
      .filter((one) => one.eidPrefix.maskLength === 32)

  const here = anEtr({}, restored('local'))
  t.same(hosts([here.begun]), [], 'asked before it is claimed')
  t.match(hosts([answer(here, 10, [here.begun], elsewhere(8, OWN))]), [{ mapVersion: 8 }])
  const moved = anEtr({}, restored('local'))
  answer(moved, 10, [moved.begun], elsewhere(9))
  t.equal(stateOf(moved, 10), 'away', 'it was claimed elsewhere meanwhile')
  const silent = anEtr({}, restored('local'))
  const later = silent.runUntil(1500)
  t.match(hosts(later), [{ mapVersion: 0 }], 'nobody knows: it is here')
  t.equal(later[later.length - 1]?.at, 1500)

  const away = anEtr({}, restored('away'))
  t.equal(stateOf(away, 1), 'away')
  answer(away, 10, [away.begun], elsewhere(8, OWN))
  t.equal(stateOf(away, 10), 'local', 'the move never happened')

  const expected = anEtr({}, restored('standby'))
  t.equal(stateOf(expected, 1999), 'standby')
  const gone = expected.runUntil(3600)
  t.equal(stateOf(expected, 3600), undefined)
  t.ok(wordsOf(gone).includes('drop-held 10.1.0.5 endpoint-absent'))
  const came = anEtr({}, restored('standby'))
  t.ok(came.datapath(500, seen()).names.includes('eid-arrived arp'))
  came.runUntil(5000)
  t.equal(stateOf(came, 5000), 'local')
  const stranger = anEtr({}, restored('local', '192.0.2.1/32'))
  t.ok(stranger.begun.words.includes('delete-local-eid 192.0.2.1/32'), 'no longer configured')
})
