/**
 * The node as a whole: what reaches no role, and Move messages that must not be believed. The peer of
 * the moves is played by the test with its own key and numbers.
 */
import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import { createNode } from '../../src/control/node.js'
import type { StoredRecord } from '../../src/control/stored-record.js'
import { encodeSigned } from '../../src/lisp/authentication.js'
import { encodeMessage, type MapRegister, type MoveMessage } from '../../src/lisp/message.js'
import type { MovePhase } from '../../src/lisp/move-phases.js'
import {
  aKey,
  aMapping,
  aMapRegister,
  aMapRequest,
  aMapServer,
  aNodeConfig,
  anAddress,
  anEid,
  anIdentity,
  aPrefix,
  hmac,
  someCapabilities,
} from '../support/builders.js'
import { createConversation, namesOf, sentOf } from '../support/conversation.js'
import { MAC } from '../support/xtr-world.js'

const PEER = '203.0.113.2'
const SERVER = '203.0.113.9'
const DOMAIN = aKey('mobility domain')
const mobility = { ...aNodeConfig().mobility, key: DOMAIN, peers: [anAddress(PEER)] }

function anXtr(about: Partial<NodeConfig> = {}, records: readonly StoredRecord[] = []) {
  const config = aNodeConfig({
    mapServers: [aMapServer(SERVER)],
    mapResolvers: [anAddress(SERVER)],
    dynamicEidPrefixes: [{ eidPrefix: aPrefix('10.1.0.0/16'), interfaceName: 'site' }],
    mobility,
    ...about,
  })
  return createConversation(config, { records })
}

/** The EID comes and what was held for it has left, from both tables. */
function settledAt(talk: ReturnType<typeof anXtr>, at: number): void {
  const { eid } = seen()
  talk.datapath(at, seen())
  for (const _table of ['map-cache', 'local-eid'])
    talk.datapath(at + 1, { kind: 'hold-released', eid, packets: 0, heldMs: 0 })
}

function seen(eid = '10.1.0.5') {
  return {
    kind: 'local-eid-seen' as const,
    eid: anEid(eid),
    mac: MAC,
    interfaceName: 'site',
    how: 'arp' as const,
  }
}

function aMove(phase: MovePhase, nonce: bigint, about: Partial<MoveMessage> = {}): MoveMessage {
  return {
    kind: 'move',
    phase,
    nonce,
    keyId: 1,
    algorithm: 3,
    authenticationData: new Uint8Array(16),
    moveId: 0x1_0000_0007n,
    reason: 'none',
    records: [aMapping({ locators: [PEER] })],
    endpointMac: new Uint8Array(6),
    senders: [],
    identity: anIdentity(2),
    ...about,
  }
}

const signed = (message: MoveMessage, key = DOMAIN) => encodeSigned(message, key, hmac)

t.test(
  'what is no control message, or for a role not played, is counted and ignored',
  async (t) => {
    const talk = anXtr()
    const cases = [
      [new Uint8Array(0), 'truncated'],
      [new Uint8Array([0x90, 0, 0, 0]), 'unknown-type'],
      [new Uint8Array([0xf0, 0, 0, 0]), 'unknown-sub-type'],
      [encodeMessage(aMapRequest()).subarray(0, 20), 'truncated'],
      [encodeMessage(aMapRegister({ authenticationData: new Uint8Array(16) })), 'not-a-map-server'],
    ] as const
    for (const [bytes, reason] of cases) {
      const reaction = talk.bytes(10, '198.51.100.1', bytes)
      t.same(
        [reaction.names, reaction.sent, reaction.words],
        [[`datagram-ignored ${reason}`], [], []],
      )
    }
    const inner = encodeMessage(aMapRequest())
    const nested = encodeMessage({
      kind: 'encapsulated-control',
      security: false,
      ddtOriginated: false,
      innerSource: anAddress('10.9.9.9'),
      innerDestination: anAddress('10.1.0.5'),
      innerSourcePort: 61_000,
      innerDestinationPort: 4342,
      message: encodeMessage({
        kind: 'map-reply',
        rlocProbe: false,
        echoNonceCapable: false,
        nonce: 1n,
        records: [],
      }),
    })
    t.same(talk.bytes(10, '198.51.100.1', nested).names, [
      'datagram-ignored unexpected-inner-message',
    ])
    const server = createConversation(aNodeConfig({ roles: ['map-server', 'map-resolver'] }))
    t.same(server.bytes(10, '198.51.100.1', inner).names, ['datagram-ignored not-an-xtr'])
    const command = server.command(10, { kind: 'clear-map-cache', eidPrefix: undefined })
    t.match(command.results, [{ result: { ok: false, status: 503, code: 'not-an-xtr' } }])
  },
)

t.test('a request forwarded in an ECM is answered to its ITR, at its inner port', async (t) => {
  const talk = anXtr()
  talk.datapath(5, seen())
  const ecm = (request = aMapRequest()) =>
    encodeMessage({
      kind: 'encapsulated-control',
      security: false,
      ddtOriginated: false,
      innerSource: anAddress('10.9.9.9'),
      innerDestination: anAddress('10.1.0.5'),
      innerSourcePort: 61_000,
      innerDestinationPort: 4342,
      message: encodeMessage(request),
    })
  t.match(talk.bytes(10, '203.0.113.9', ecm()).sent, [{ to: '198.51.100.1', toPort: 61_000 }])
  const probe = talk.bytes(20, '203.0.113.9', ecm(aMapRequest({ rlocProbe: true })))
  t.same([probe.sent, probe.names], [[], ['map-request-received encapsulated-probe']])
})

t.test('a node that nobody speaks to starts as well', async (t) => {
  const config = aNodeConfig({
    eidPrefixes: [{ eidPrefix: aPrefix('10.2.0.0/16'), interfaceName: 'site' }],
  })
  const node = createNode(config, someCapabilities())
  t.equal(node.deadline(), 0)
  t.same(node.snapshot(0).mapCache, [])
  const outputs: Parameters<typeof node.handle>[2] = []
  node.handle({ kind: 'deadline' }, 5, outputs)
  t.ok(outputs.some((one) => one.kind === 'datapath'))
  t.match(node.snapshot(5).mapCache, [{ eidPrefix: '10.2.0.0/16', origin: 'local' }])
})

t.test(
  'a prepare is answered only after the redirect, and repeated without doing it twice',
  async (t) => {
    const talk = anXtr()
    settledAt(talk, 5)
    const prepare = signed(aMove('prepare', 50n))
    const first = talk.bytes(10, PEER, prepare)
    t.same(first.words, [
      'put-map-cache 10.1.0.5/32 forward 203.0.113.2',
      'put-local-eid 10.1.0.5/32 away',
    ])
    t.match(
      first.operations[1],
      { state: 'away', proxyNeighbours: false },
      'it may still be on the segment and answers itself',
    )
    const [prepared] = sentOf([first], 'move')
    t.match(prepared?.message, {
      phase: 'prepared',
      nonce: 50n,
      moveId: 0x1_0000_0007n,
      endpointMac: MAC,
    })
    t.same(first.written, [{ kind: 'last-nonce', sender: `move/${'02'.repeat(16)}`, nonce: 50n }])
    const again = talk.bytes(30, PEER, prepare)
    t.same(again.words, [])
    t.match(sentOf([again], 'move')[0]?.message, { phase: 'prepared' })
    t.same(
      talk.datapath(40, seen()).names,
      ['datagram-ignored redirected'],
      'its own packets still leave here',
    )
    const named = sentOf(talk.runUntil(3900), 'map-register')
    t.same(named, [], 'nothing is registered for it')

    const confirmed = talk.bytes(100, PEER, signed(aMove('confirm', 51n)))
    t.ok(confirmed.names.includes('eid-departed'))
    const [settled] = confirmed.operations
    t.match(settled, { kind: 'put-local-eid', state: 'away' })
    t.notHas(settled, { proxyNeighbours: false }, 'from now on we answer in its place')
    t.match(sentOf([confirmed], 'move')[0]?.message, { phase: 'ack', nonce: 51n })
    const late = talk.bytes(120, PEER, prepare)
    t.match(sentOf([late], 'move')[0]?.message, { phase: 'refused', reason: 'superseded' })
    t.match(sentOf([talk.bytes(130, PEER, signed(aMove('cancel', 52n)))], 'move')[0]?.message, {
      phase: 'ack',
    })
    t.match(
      talk.node.snapshot(130).mappingDatabase[1],
      { state: 'away' },
      'a late cancel undoes nothing',
    )
  },
)

t.test('a prepare waits until what was held for the EID has left', async (t) => {
  const talk = anXtr()
  const { eid } = seen()
  talk.datapath(5, seen())
  const prepare = signed(aMove('prepare', 50n))
  const released = { kind: 'hold-released', eid, packets: 3, heldMs: 2 } as const
  t.same(talk.bytes(10, PEER, prepare).words, [], 'the redirect would stand behind the release')
  talk.datapath(12, released)
  t.same(sentOf([talk.bytes(30, PEER, prepare)], 'move'), [], 'one table has released')
  talk.datapath(32, released)
  const [prepared] = sentOf([talk.bytes(50, PEER, prepare)], 'move')
  t.match(prepared?.message, { phase: 'prepared' })

  const silent = anXtr()
  silent.datapath(5, seen())
  t.same(sentOf([silent.bytes(1004, PEER, prepare)], 'move'), [])
  const [late] = sentOf([silent.bytes(1005, PEER, prepare)], 'move')
  t.match(late?.message, { phase: 'prepared' }, 'not for ever, should the end never be told')
})

t.test('a prepare that comes after the end of its attempt is refused', async (t) => {
  const talk = anXtr()
  settledAt(talk, 5)
  const moveId = 3n << 32n
  const records = [aMapping({ locators: [PEER] })]
  talk.bytes(20, PEER, signed(aMove('cancel', 51n, { moveId, records })))
  const late = talk.bytes(30, PEER, signed(aMove('prepare', 50n, { moveId })))
  t.match(sentOf([late], 'move')[0]?.message, { phase: 'refused', reason: 'superseded' })
  t.same(late.words, [])
  const next = talk.bytes(40, PEER, signed(aMove('prepare', 52n, { moveId: 4n << 32n })))
  t.match(sentOf([next], 'move')[0]?.message, { phase: 'prepared' }, 'the next attempt may')
})

t.test('who sends to an EID that nobody knows is asked to ask again, within limits', async (t) => {
  const talk = anXtr()
  const { eid } = seen()
  const sender = anAddress('198.51.100.7')
  const hit = (at: number) => talk.datapath(at, { kind: 'unknown-eid', eid, sender })
  const [smr] = sentOf([hit(1000)], 'map-request')
  t.match(smr, { to: '198.51.100.7' })
  t.match(smr?.message, {
    solicitMapRequest: true,
    doNotReply: true,
    sourceEid: eid,
    records: [{ eidPrefix: { maskLength: 32 } }],
  })
  const rest = [2000, 2001, 2002, 2003, 2004].map(hit)
  t.equal(sentOf(rest, 'map-request').length, 2, 'a bucket of four, the last for a departure')
  t.same(hit(2005).names, ['smr-suppressed eid-rate'])
  const elsewhere = { instanceId: eid.instanceId, address: anAddress('10.9.9.9') }
  const foreign = talk.datapath(3000, { kind: 'unknown-eid', eid: elsewhere, sender })
  t.same(foreign.names, [], 'nothing is said of an EID outside of our prefixes')
  talk.datapath(3001, seen())
  t.same(hit(10_000).names, [], 'nor of one that came meanwhile')
})

t.test('a confirm of a move that was never prepared counts by its version', async (t) => {
  const confirm = (nonce: bigint, mapVersion: number) => {
    const records = [aMapping({ mapVersion, locators: [PEER] })]
    return signed(aMove('confirm', nonce, { moveId: nonce << 32n, records }))
  }
  const stateOf = (talk: ReturnType<typeof anXtr>) =>
    talk.node.snapshot(100).mappingDatabase.find((one) => one.eidPrefix === '10.1.0.5/32')?.state
  const talk = anXtr()
  const arrival = talk.datapath(5, seen())
  const register = sentOf([arrival], 'map-register')[0]!.message as MapRegister
  const records = register.records.map((one) => ({ ...one, mapVersion: 9 }))
  const notify = { ...register, kind: 'map-notify' as const, records, identity: undefined }
  talk.bytes(8, SERVER, encodeSigned(notify, aKey(), hmac))
  for (const [nonce, version] of [
    [50n, 8],
    [51n, 9],
  ] as const) {
    const late = talk.bytes(10, PEER, confirm(nonce, version))
    t.match(sentOf([late], 'move')[0]?.message, { phase: 'ack' }, 'so that it is not repeated')
    t.equal(stateOf(talk), 'local', `version ${version} changes nothing`)
  }
  const departure = talk.bytes(20, PEER, confirm(52n, 10))
  t.ok(departure.names.includes('eid-departed'))
  t.equal(stateOf(talk), 'away')
})

t.test(
  'Move messages are believed only from peers, with the key, fresh and not reflected',
  async (t) => {
    const talk = anXtr()
    talk.datapath(5, seen())
    const refuses = (from: string, bytes: Uint8Array, reason: string) => {
      const reaction = talk.bytes(10, from, bytes)
      t.same(
        [reaction.names, reaction.words, reaction.sent],
        [[`move-message-rejected ${reason}`], [], []],
      )
    }
    refuses('198.51.100.66', signed(aMove('prepare', 50n)), 'unknown-xtr')
    refuses(PEER, signed(aMove('prepare', 50n), aKey('guessed')), 'authentication-failed')
    refuses(PEER, signed(aMove('prepare', 50n, { identity: anIdentity(1) })), 'reflected')
    refuses(PEER, signed(aMove('prepared', 50n)), 'unexpected-answer')
    const tampered = signed(aMove('prepare', 50n))
    tampered[60]! ^= 1
    const reaction = talk.bytes(10, PEER, tampered)
    t.same(reaction.words, [])

    const reason = (about: Partial<MoveMessage>) =>
      (
        sentOf([talk.bytes(20, PEER, signed(aMove('prepare', 60n, about)))], 'move')[0]
          ?.message as MoveMessage
      ).reason
    t.equal(
      reason({ records: [aMapping({ eidPrefix: '10.1.0.9/32', locators: [PEER] })] }),
      'not-local',
    )
    t.equal(
      reason({ records: [aMapping({ eidPrefix: '10.9.0.1/32', locators: [PEER] })] }),
      'prefix-not-allowed',
    )
    t.equal(
      reason({ records: [aMapping({ eidPrefix: '10.1.0.0/24', locators: [PEER] })] }),
      'prefix-not-allowed',
    )
    t.equal(reason({ records: [] }), 'not-local')
    talk.bytes(30, PEER, signed(aMove('cancel', 1000n)))
    refuses(PEER, signed(aMove('prepare', 700n)), 'replayed')
    const stored = [
      { kind: 'last-nonce' as const, sender: `move/${'02'.repeat(16)}`, nonce: 1000n },
    ]
    const restarted = anXtr({}, stored)
    t.same(
      restarted.bytes(10, PEER, signed(aMove('prepare', 1000n))).names,
      ['move-message-rejected replayed'],
      'a restart forgets no nonce',
    )
    const closed = anXtr({ mobility: { ...mobility, key: undefined } })
    t.same(closed.bytes(10, PEER, signed(aMove('prepare', 1n))).names, [
      'move-message-rejected no-mobility-key',
    ])
  },
)

t.test('a later attempt of the same destination takes over, another xTR may not', async (t) => {
  const talk = anXtr({ mobility: { ...mobility, peers: [] } })
  settledAt(talk, 5)
  talk.bytes(10, PEER, signed(aMove('prepare', 50n)))
  const other = aMove('prepare', 9n, {
    identity: anIdentity(3),
    moveId: 0x9_0000_0001n,
    records: [aMapping({ locators: ['203.0.113.3'] })],
  })
  const answer = sentOf([talk.bytes(20, '203.0.113.3', signed(other))], 'move')[0]
  t.match(answer?.message, { phase: 'refused', reason: 'move-in-progress' })
  const later = talk.bytes(30, PEER, signed(aMove('prepare', 51n, { moveId: 0x2_0000_0001n })))
  t.match(sentOf([later], 'move')[0]?.message, { phase: 'prepared' })
  const cancel = talk.bytes(40, PEER, signed(aMove('cancel', 52n)))
  t.same(cancel.words, [], 'the first attempt is over already')
  const back = talk.bytes(50, PEER, signed(aMove('cancel', 53n, { moveId: 0x2_0000_0001n })))
  t.same(back.words, [
    'put-local-eid 10.1.0.5/32 local release 10.1.0.5',
    'put-map-cache 10.1.0.5/32 native release 10.1.0.5',
  ])
  t.equal(sentOf([back], 'map-register').length, 1, 'registered again')
})

t.test(
  'a confirmation without a prepare is a departure, unless it is older than what we know',
  async (t) => {
    const talk = anXtr()
    const register = sentOf([talk.datapath(5, seen())], 'map-register')[0]!.message
    if (register.kind !== 'map-register') throw new Error('no register')
    const notify = {
      ...register,
      kind: 'map-notify' as const,
      records: register.records.map((one) => ({ ...one, mapVersion: 9 })),
    }
    talk.bytes(10, '203.0.113.9', encodeSigned(notify, aKey(), hmac))
    const old = aMove('confirm', 50n, { records: [aMapping({ locators: [PEER], mapVersion: 8 })] })
    t.same(talk.bytes(20, PEER, signed(old)).words, [])
    const fresh = aMove('confirm', 51n, {
      moveId: 8n,
      records: [aMapping({ locators: [PEER], mapVersion: 10 })],
    })
    const left = talk.bytes(30, PEER, signed(fresh))
    t.ok(left.names.includes('eid-departed'))
    t.ok(left.words.includes('put-local-eid 10.1.0.5/32 away'))
  },
)

t.test('the MAC that the source told is evidence for every EID of the move', async (t) => {
  const talk = anXtr()
  const eids = [anEid('10.1.0.5'), anEid('10.1.0.6')]
  const started = talk.command(10, { kind: 'start-move', eids, source: anAddress(PEER) })
  const [prepare] = sentOf([started], 'move')
  if (prepare?.message.kind !== 'move') throw new Error('no prepare')
  const told = ['10.1.0.5/32', '10.1.0.6/32'].map((eidPrefix) =>
    aMapping({ eidPrefix, locators: [PEER], mapVersion: 20 }),
  )
  const { nonce, moveId } = prepare.message
  const ready = talk.bytes(
    15,
    PEER,
    signed(aMove('prepared', nonce, { moveId, records: told, endpointMac: MAC })),
  )
  t.match(ready.results, [{ result: { ok: true, value: { state: 'ready' } } }])
  t.same(talk.datapath(20, { kind: 'mac-seen', mac: MAC, interfaceName: 'other' }).words, [])
  const came = talk.datapath(30, { kind: 'mac-seen', mac: MAC, interfaceName: 'site' })
  t.equal(came.words.filter((one) => one.includes('local release')).length, 2)
  const [register] = sentOf([came], 'map-register')
  t.match(register?.message, { records: [{ mapVersion: 21 }, { mapVersion: 21 }] })
  const confirms = [...sentOf([came], 'move'), ...sentOf(talk.runUntil(700), 'move')]
  t.same(
    confirms.map((one) => one.at),
    [30, 50, 90, 170, 330, 650],
    'repeated after 20, 40, 80, 160, 320 ms',
  )
  t.equal(
    new Set(confirms.map((one) => Buffer.from(one.bytes).toString('hex'))).size,
    1,
    'same bytes',
  )
})

t.test('the hold and failures of the datapath are told as events', async (t) => {
  const talk = anXtr()
  const eid = anEid('10.1.0.5')
  t.same(talk.datapath(1, { kind: 'hold-released', eid, packets: 3, heldMs: 7 }).names, [
    'hold-released',
  ])
  t.same(talk.datapath(2, { kind: 'hold-dropped', eid, packets: 3, reason: 'hold-time' }).names, [
    'hold-dropped hold-time',
  ])
  const failed = talk.datapath(3, {
    kind: 'operation-failed',
    operation: 'put-map-cache',
    reason: 'table-full',
  })
  t.same(namesOf([failed]), ['datapath-operation-failed table-full'])
})
