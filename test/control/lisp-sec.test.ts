/**
 * LISP-SEC (RFC 9303) through whole nodes: what an ITR believes, what Map-Resolver, Map-Server and ETR
 * do for it, and what somebody on the way can do against it.
 */
import t from 'tap'
import type { SecurityPolicy } from '../../src/config/node-config.js'
import { NOT_CLOSED } from '../../src/control/closed-network/closed-vocabulary.js'
import {
  deriveOneTimeKey,
  signEidAuthentication,
  signPacket,
  unwrapOneTimeKey,
} from '../../src/control/lisp-sec/lisp-sec-keys.js'
import { decodeMessage, type EncapsulatedControl, encodeMessage } from '../../src/lisp/message.js'
import {
  aKey,
  aMapping,
  aMapRequest,
  aNodeConfig,
  anAddress,
  aPrefix,
  aSite,
  hmac,
} from '../support/builders.js'
import { createConversation } from '../support/conversation.js'
import { registerBytes } from '../support/mapping-system.js'
import {
  aProtectedSystem,
  aSecurityPolicy,
  aWrappingKey,
  blockCipher,
  ETR,
  ETR_KEY,
  ITR,
  ITR_KEY,
  inShort,
  type ProtectedSystem,
  RESOLVER,
  RESOLVER_KEY,
  repliesOf,
  SERVER,
} from '../support/protected-system.js'

const primitives = { hmac, cipher: blockCipher }
const offer = (about: Partial<SecurityPolicy> = {}) => aSecurityPolicy({ mode: 'offer', ...about })

/** The ECM between these two, last sent. */
function ecmOf(system: ProtectedSystem, from: string, to: string): EncapsulatedControl {
  const found = system.path.filter((one) => one.from === from && one.to === to)
  const message = found.at(-1)!.sent.message
  if (message.kind !== 'encapsulated-control') throw new Error(message.kind)
  return message
}

function nonceOf(ecm: EncapsulatedControl): bigint {
  const inner = decodeMessage(ecm.message)
  return inner.kind === 'map-request' ? inner.nonce : 0n
}

/** The one-time key of an ECM, as the holder of `key` reads it. */
function keyIn(ecm: EncapsulatedControl, key = ITR_KEY): Uint8Array | undefined {
  const { oneTimeKey } = ecm.securityData!
  return unwrapOneTimeKey(oneTimeKey, key.secret, nonceOf(ecm), true, primitives)
}

t.test('the ETR signs, and the ITR believes it', async (t) => {
  const system = aProtectedSystem()
  system.hold(1000, '10.1.0.5')
  t.same(system.cached(1000), [`10.1.0.0/24 ${ETR}`])
  const [request, relayed, forwarded] = [
    ecmOf(system, ITR, RESOLVER),
    ecmOf(system, RESOLVER, SERVER),
    ecmOf(system, SERVER, ETR),
  ]
  t.equal(request.security, true)
  t.same(request.securityData!.eidAuthentication, { kdfId: 2 }, 'an EID-AD of four bytes')
  t.equal(request.securityData!.requestedHmacId, 2)
  const otk = keyIn(request)!
  t.same(keyIn(relayed, RESOLVER_KEY), otk, 'wrapped anew for the Map-Server')
  t.equal(keyIn(relayed, ITR_KEY), undefined)
  t.same(keyIn(forwarded, ETR_KEY), deriveOneTimeKey(2, otk, hmac), 'the ETR gets the derived key')
  const { proof } = forwarded.securityData!.eidAuthentication
  t.same(proof!.eidPrefixes, [aPrefix('10.1.0.0/24')])
  t.equal(proof!.etrCantSign, false)
  const [{ reply }] = repliesOf(system) as [ReturnType<typeof repliesOf>[number]]
  t.same(reply.security!.eidAuthentication.proof, proof, 'the EID-AD is copied')
  t.same(system.told(), [
    `${ITR} → ${RESOLVER} ecm S map-request`,
    `${RESOLVER} → ${SERVER} ecm S map-request`,
    `${SERVER} → ${ETR} ecm S map-request`,
    `${ETR} → ${ITR} map-reply S`,
  ])
})

t.test('a mapping that comes with a Map-Request is verified by a protected question', async (t) => {
  const system = aProtectedSystem({ itr: { closedNetwork: { ...NOT_CLOSED, glean: true } } })
  const mapReplyRecord = aMapping({ eidPrefix: '10.1.0.0/24' })
  const bytes = encodeMessage(aMapRequest({ mapReplyRecord }))
  system.carry(ITR, system.node(ITR).bytes(1000, '192.0.2.77', bytes))
  t.ok(ecmOf(system, ITR, RESOLVER).security)
  t.same(system.cached(1000), [`10.1.0.0/24 ${ETR}`], 'what the ETR signs, not what was brought')
})

t.test('the Map-Server proves its own answers: positive, and that there is nothing', async (t) => {
  const system = aProtectedSystem({ proxyReply: true })
  system.hold(1000, '10.1.0.5')
  system.hold(1000, '10.1.7.7')
  system.hold(1000, '10.3.0.1')
  const answers = system.path.filter(({ from, to }) => from === SERVER && to === ITR)
  t.same(
    answers.map(({ sent }) => inShort(sent.message)),
    ['map-reply S', 'map-reply S', 'map-reply S'],
  )
  t.same(system.cached(1000), ['10.1.0.0/24 198.51.100.9', '10.1.7.7/32', '10.2.0.0/15'])
  for (const { reply } of repliesOf(system)) {
    const { eidPrefixes, etrCantSign } = reply.security!.eidAuthentication.proof!
    t.same([eidPrefixes, etrCantSign], [[reply.records[0]!.eidPrefix], false])
  }
})

t.test('every request has a one-time key of its own', async (t) => {
  const system = aProtectedSystem()
  system.meddle((_, from) => (from === ITR ? undefined : new Uint8Array(0)))
  for (let index = 1; index <= 20; index += 1) system.hold(1000, `10.1.0.${index}`)
  system.runUntil(20_000)
  const keys = system.path.filter(({ from }) => from === ITR).map(({ sent }) => sent.message)
  const seen = keys.map((ecm) => Buffer.from(keyIn(ecm as EncapsulatedControl)!).toString('hex'))
  t.ok(seen.length > 60, `${seen.length} requests`)
  t.equal(new Set(seen).size, seen.length)
})

t.test('no byte of an answer can be changed on its way', async (t) => {
  const system = aProtectedSystem()
  let genuine: Uint8Array | undefined
  system.meddle((bytes, from, to) => {
    if (from !== ETR || to !== ITR) return bytes
    genuine = bytes
    return undefined
  })
  system.hold(1000, '10.1.0.5')
  const bytes = genuine!
  const itr = system.node(ITR)
  for (let at = 0; at < bytes.length; at += 1) {
    const forged = new Uint8Array(bytes)
    forged[at] = forged[at]! ^ 0x11
    const { words } = itr.bytes(1001, ETR, forged)
    t.same(words, [], `byte ${at}`)
  }
  t.same(system.cached(1001), [])
  t.match(itr.bytes(1002, ETR, bytes).words, [/put-map-cache 10.1.0.0\/24 forward/])
  const again = itr.bytes(1003, ETR, bytes)
  t.same(again.names, ['map-reply-rejected unknown-nonce'], 'nonce and key are forgotten after use')
})

t.test('an answer without LISP-SEC is not believed, whoever sends it', async (t) => {
  const system = aProtectedSystem()
  let nonce = 0n
  system.meddle((bytes, from) => {
    if (from !== ITR) return bytes
    nonce = nonceOf(decodeMessage(bytes) as EncapsulatedControl)
    return undefined
  })
  system.hold(1000, '10.1.0.5')
  const plain = { kind: 'map-reply', rlocProbe: false, echoNonceCapable: false, nonce } as const
  const forged = { ...plain, records: [aMapping({ locators: ['203.0.113.66'] })] }
  const reaction = system.node(ITR).message(1001, SERVER, forged)
  t.same(reaction.names, ['map-reply-rejected unprotected'])
  t.same(system.cached(1001), [])
  system.runUntil(40_000)
  t.equal(system.told().filter((one) => !one.includes('ecm S')).length, 0, 'it never asks plainly')
})

t.test('the one-time key of one request opens no other', async (t) => {
  const system = aProtectedSystem()
  system.meddle((bytes, from) => (from === ITR ? undefined : bytes))
  system.hold(1000, '10.1.0.5')
  const first = ecmOf(system, ITR, RESOLVER)
  system.hold(1000, '10.1.0.6')
  const second = ecmOf(system, ITR, RESOLVER)
  const stolen = keyIn(first)!
  const reply = (nonce: bigint, otk: Uint8Array, eidPrefix: string): Uint8Array => {
    const proof = { etrCantSign: false, hmacId: 2, eidPrefixes: [aPrefix(eidPrefix)] }
    const eidAuthentication = signEidAuthentication(2, proof, otk, hmac)
    const security = { eidAuthentication, packetHmacId: 2, packetHmac: new Uint8Array(16) }
    const records = [aMapping({ eidPrefix, locators: ['203.0.113.66'] })]
    const form = { kind: 'map-reply', rlocProbe: false, echoNonceCapable: false } as const
    const bytes = encodeMessage({ ...form, nonce, records, security })
    return signPacket(bytes, 2, deriveOneTimeKey(2, otk, hmac)!, hmac)
  }
  const itr = system.node(ITR)
  const forged = itr.bytes(1001, ETR, reply(nonceOf(second), stolen, '10.1.0.6/32'))
  t.same(forged.names, ['map-reply-rejected eid-authentication'])
  const own = itr.bytes(1001, ETR, reply(nonceOf(first), stolen, '10.1.0.5/32'))
  t.match(own.words, [/put-map-cache 10.1.0.5\/32 forward 203.0.113.66/], 'only its own')
  // The OTK-AD of the first request in the second: the nonce is part of the wrapping key.
  const swapped = { ...second, securityData: first.securityData! }
  const { names } = system.node(RESOLVER).message(1002, ITR, swapped)
  t.same(names, ['datagram-ignored one-time-key'])
})

t.test('an ETR that claims more than the Map-Server proves is not believed in that', async (t) => {
  const system = aProtectedSystem()
  system.meddle((bytes, from, to) => {
    if (from !== ETR || to !== ITR) return bytes
    const reply = decodeMessage(bytes)
    if (reply.kind !== 'map-reply') return bytes
    const claims = ['10.1.0.0/24', '10.0.0.0/8', '10.9.0.0/24'].map((eidPrefix) => {
      return aMapping({ eidPrefix, locators: [ETR] })
    })
    // It holds the derived key, so its signature is right.
    const key = deriveOneTimeKey(2, keyIn(ecmOf(system, ITR, RESOLVER))!, hmac)!
    return signPacket(encodeMessage({ ...reply, records: claims }), 2, key, hmac)
  })
  system.hold(1000, '10.1.0.5')
  t.same(system.cached(1000), [`10.1.0.0/24 ${ETR}`])
  const itsEvents = system.reactions.flatMap(({ events }) => events)
  t.match(
    itsEvents.filter(({ reason }) => reason === 'over-claim'),
    [
      { eidPrefix: '10.0.0.0/8', severity: 'warning' },
      { eidPrefix: '10.9.0.0/24', severity: 'warning' },
    ],
  )
})

t.test('a one-time key that was not wrapped with a key of ours ends the message', async (t) => {
  for (const [sender, receiver] of [
    [ITR, RESOLVER],
    [RESOLVER, SERVER],
    [SERVER, ETR],
  ] as const) {
    const system = aProtectedSystem()
    system.hold(1000, '10.1.0.5')
    const ecm = ecmOf(system, sender, receiver)
    const { oneTimeKey } = ecm.securityData!
    const bent = new Uint8Array(oneTimeKey.key)
    bent[3] = bent[3]! ^ 1
    const clear = { ...oneTimeKey, wrappingId: 1, preamble: new Uint8Array(8) }
    for (const forged of [{ ...oneTimeKey, key: bent }, { ...oneTimeKey, keyId: 9 }, clear]) {
      const securityData = { ...ecm.securityData!, oneTimeKey: forged }
      const reaction = system.node(receiver).message(1001, sender, { ...ecm, securityData })
      t.same(reaction.names, ['datagram-ignored one-time-key'], `at ${receiver}`)
      t.same(reaction.sent, [])
    }
  }
})

t.test('strict nodes answer no request without LISP-SEC', async (t) => {
  const system = aProtectedSystem()
  const inner = aMapRequest({ eidPrefix: '10.1.0.5/32', itrRlocs: [anAddress(ITR)] })
  const ecm = {
    kind: 'encapsulated-control',
    security: false,
    ddtOriginated: false,
    innerSource: anAddress(ITR),
    innerDestination: anAddress('10.1.0.5'),
    innerSourcePort: 4342,
    innerDestinationPort: 4342,
    message: encodeMessage(inner),
  } as const
  for (const name of [RESOLVER, SERVER]) {
    const { sent, names } = system.node(name).message(1000, ITR, ecm)
    t.same([sent.length, names], [0, ['map-reply-suppressed unprotected']], name)
  }
  for (const message of [ecm, inner]) {
    const { sent, names } = system.node(ETR).message(1000, ITR, message)
    t.same([sent.length, names], [0, ['map-request-received unprotected']])
  }
  const probe = system.node(ETR).message(1000, ITR, { ...inner, rlocProbe: true })
  t.equal(probe.sent.length, 1, 'probes only tell whether an RLOC can be reached')
})

t.test('the Map-Server lets an ETR answer that can sign, and says so where none can', async (t) => {
  const [other, signer] = ['198.51.100.10', '198.51.100.11']
  const register = (system: ProtectedSystem, from: string, signs: boolean, nonce: bigint): void => {
    const records = [aMapping({ eidPrefix: '10.1.9.0/24', locators: [from] })]
    const about = { securityCapable: signs, mergeRequest: true, proxyReply: false, records, nonce }
    const identity = { xtrId: anAddress(`::${from}`).bytes, siteId: 1n }
    system.node(SERVER).bytes(500, from, registerBytes({ ...about, identity }))
  }
  const one = aProtectedSystem()
  register(one, other, false, 1n)
  register(one, signer, true, 1n)
  one.hold(1000, '10.1.9.1')
  const ecm = ecmOf(one, SERVER, signer)
  t.equal(ecm.securityData!.eidAuthentication.proof!.etrCantSign, true, 'another ETR cannot')

  const none = aProtectedSystem()
  register(none, other, false, 1n)
  none.hold(1000, '10.1.9.1')
  const [{ reply }] = repliesOf(none) as [ReturnType<typeof repliesOf>[number]]
  t.equal(reply.security!.eidAuthentication.proof!.etrCantSign, true)
  t.match(reply.records, [{ action: 'drop-policy-denied', locators: [] }])
  t.same(none.cached(1000), ['10.1.9.1/32'], 'genuine: there is nobody to be believed')
  none.told()
})

t.test('an ITR that only offers LISP-SEC asks plainly where nobody signs', async (t) => {
  const policy = offer({ mapResolvers: [{ address: anAddress(RESOLVER), key: ITR_KEY }] })
  const system = aProtectedSystem({
    itr: { security: policy },
    resolver: {
      security: offer({
        requesterKeys: [ITR_KEY],
        mapServers: [{ address: undefined, key: RESOLVER_KEY }],
      }),
    },
    server: { security: offer({ requesterKeys: [RESOLVER_KEY] }) },
    etrSecurity: undefined,
    siteSecurity: { mode: 'offer', key: ETR_KEY },
  })
  system.hold(1000, '10.1.0.5')
  t.same(system.cached(1000), [])
  system.runUntil(2000)
  t.same(system.cached(2000), [`10.1.0.0/24 ${ETR}`])
  t.same(
    system.told().filter((one) => one.startsWith(ITR)),
    [`${ITR} → ${RESOLVER} ecm S map-request`, `${ITR} → ${RESOLVER} ecm map-request`],
  )
})

t.test('an ITR that only offers it finds old mapping systems, and is not made to', async (t) => {
  const policy = offer({ mapResolvers: [{ address: anAddress(RESOLVER), key: ITR_KEY }] })
  const silent = aProtectedSystem({ itr: { security: policy } })
  silent.meddle((_, from) => (from === ITR ? undefined : new Uint8Array(0)))
  silent.hold(1000, '10.1.0.5')
  silent.runUntil(5000)
  t.same(
    silent.told().map((one) => one.includes('ecm S')),
    [true, true, false],
    'twice with LISP-SEC, then plainly',
  )
  const plain = aProtectedSystem({
    itr: { security: policy },
    resolver: { security: undefined },
    server: { security: undefined },
    etrSecurity: undefined,
    siteSecurity: undefined,
  })
  plain.hold(1000, '10.1.0.5')
  t.same(plain.cached(1000), [], 'a plain answer to a protected request is not believed')
  plain.runUntil(2000)
  t.same(plain.cached(2000), [`10.1.0.0/24 ${ETR}`])
})

t.test(
  'another algorithm than asked for is asked for, and only if the answer is genuine',
  async (t) => {
    const system = aProtectedSystem()
    const answer = (bytes: Uint8Array, forge: boolean): Uint8Array => {
      const reply = decodeMessage(bytes)
      if (reply.kind !== 'map-reply') return bytes
      const request = ecmOf(system, ITR, RESOLVER)
      const otk = keyIn(request)!
      const weak = signEidAuthentication(
        1,
        { ...reply.security!.eidAuthentication.proof!, hmacId: 1 },
        forge ? new Uint8Array(16) : otk,
        hmac,
      )
      const security = { eidAuthentication: weak, packetHmacId: 1, packetHmac: new Uint8Array(12) }
      return signPacket(
        encodeMessage({ ...reply, security }),
        1,
        deriveOneTimeKey(1, otk, hmac)!,
        hmac,
      )
    }
    let forge = true
    system.meddle((bytes, from, to) => (from === ETR && to === ITR ? answer(bytes, forge) : bytes))
    system.hold(1000, '10.1.0.5')
    t.ok(system.names().includes('map-reply-rejected eid-authentication'))
    forge = false
    system.runUntil(2000)
    t.ok(system.names().includes('map-reply-rejected algorithm'))
    t.equal(
      ecmOf(system, ITR, RESOLVER).securityData!.requestedHmacId,
      2,
      'the forger chose nothing',
    )
    t.same(system.cached(2000), [])
    system.runUntil(3000)
    const { requestedHmacId, eidAuthentication } = ecmOf(system, ITR, RESOLVER).securityData!
    t.same([requestedHmacId, eidAuthentication.kdfId], [1, 1], 'a second later, as it can be had')
    t.same(system.cached(3000), [`10.1.0.0/24 ${ETR}`])
  },
)

t.test('a Map-Server takes what it knows for an algorithm that it does not', async (t) => {
  const system = aProtectedSystem({ proxyReply: true })
  system.hold(1000, '10.1.0.5')
  const ecm = ecmOf(system, RESOLVER, SERVER)
  for (const [hmacId, kdfId, expected] of [
    [7, 9, [2, 2, 2]],
    [0, 0, [2, 2, 2]],
    [1, 1, [1, 1, 1]],
  ] as const) {
    const eidAuthentication = { kdfId }
    const securityData = { ...ecm.securityData!, requestedHmacId: hmacId, eidAuthentication }
    const { sent } = system.node(SERVER).message(1001, RESOLVER, { ...ecm, securityData })
    const reply = sent[0]!.message
    const security = reply.kind === 'map-reply' ? reply.security! : undefined
    const { eidAuthentication: eid, packetHmacId } = security!
    t.same([eid.kdfId, eid.proof!.hmacId, packetHmacId], expected)
  }
})

t.test('roles on one node hand the key on in memory', async (t) => {
  const rlocs = [{ address: anAddress(SERVER), interfaceName: 'core', priority: 1, weight: 100 }]
  const site = aSite({ security: { mode: 'require', key: ETR_KEY } })
  const config = aNodeConfig({
    roles: ['map-resolver', 'map-server', 'etr'],
    rlocs,
    rlocProbe: { enabled: false, intervalMs: 10_000, failures: 3 },
    eidPrefixes: [{ eidPrefix: aPrefix('10.1.0.0/24'), interfaceName: 'site' }],
    mapServers: [
      {
        address: anAddress(SERVER),
        key: aKey(),
        proxyReply: false,
        registerMs: 60_000,
        ttlMinutes: 15,
        security: { mode: 'require', keys: [ETR_KEY] },
      },
    ],
    mapServer: { sites: [site], registrationMs: 180_000, maximumRegistrations: 100 },
    security: aSecurityPolicy({ requesterKeys: [ITR_KEY] }),
  })
  const whole = createConversation(config, {}, 9, { blockCipher })
  const register = whole.begun.sent.find(({ message }) => message.kind === 'map-register')!
  t.match(register.message, { securityCapable: true, proxyReply: false })
  whole.bytes(1, SERVER, register.bytes)
  const system = aProtectedSystem()
  system.hold(1000, '10.1.0.5')
  const request = system.path.find(({ from }) => from === ITR)!
  const { sent } = whole.bytes(1000, ITR, request.sent.bytes)
  t.same(
    sent.map(({ to, message }) => `${to} ${inShort(message)}`),
    [`${ITR} map-reply S`],
  )
  const itr = aProtectedSystem()
  itr.meddle(() => undefined)
  itr.hold(1000, '10.1.0.5')
  const { words } = itr.node(ITR).bytes(1001, SERVER, sent[0]!.bytes)
  t.match(words, [/put-map-cache 10.1.0.0\/24 forward/])
})

t.test('without a key for its Map-Resolver a strict ITR asks nobody', async (t) => {
  const system = aProtectedSystem({ itr: { security: aSecurityPolicy() } })
  system.hold(1000, '10.1.0.5')
  t.same(system.told(), [])
  t.ok(system.names().includes('resolution-failed no-key'))
})

t.test('a Map-Resolver hands no key to a Map-Server with which it shares none', async (t) => {
  const stranger = aWrappingKey('somebody else')
  const security = aSecurityPolicy({
    requesterKeys: [ITR_KEY],
    mapServers: [{ address: anAddress('192.0.2.61'), key: stranger }],
  })
  const system = aProtectedSystem({ resolver: { security } })
  system.hold(1000, '10.1.0.5')
  t.same(system.told(), [`${ITR} → ${RESOLVER} ecm S map-request`])
  t.ok(system.names().includes('map-reply-suppressed no-key-for-map-server'))
})

t.test('a key in clear is taken where the configuration calls the path secured', async (t) => {
  const clear = { ...ITR_KEY, wrapping: 1 as const }
  const system = aProtectedSystem({
    itr: {
      security: aSecurityPolicy({ mapResolvers: [{ address: anAddress(RESOLVER), key: clear }] }),
    },
    resolver: {
      security: aSecurityPolicy({
        requesterKeys: [clear],
        mapServers: [{ address: undefined, key: RESOLVER_KEY }],
      }),
    },
  })
  system.hold(1000, '10.1.0.5')
  t.equal(ecmOf(system, ITR, RESOLVER).securityData!.oneTimeKey.wrappingId, 1)
  t.equal(ecmOf(system, RESOLVER, SERVER).securityData!.oneTimeKey.wrappingId, 2)
  t.same(system.cached(1000), [`10.1.0.0/24 ${ETR}`])
})
