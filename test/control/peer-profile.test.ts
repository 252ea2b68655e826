import t from 'tap'
import type { SiteConfig } from '../../src/config/node-config.js'
import { PEER_PROFILES, type PeerProfileName } from '../../src/config/schema.js'
import { PEER_PROFILE, siteProfile } from '../../src/control/peer-profile.js'
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
import { createConversation, sentOf } from '../support/conversation.js'
import { createMappingSystem, registerBytes } from '../support/mapping-system.js'

const ETR = '192.0.2.1'

function systemOf(about: Partial<SiteConfig>) {
  const sites = [aSite(about)]
  const mapServer = { sites, registrationMs: 180_000, maximumRegistrations: 1000 }
  return createMappingSystem(aNodeConfig({ mapServer }))
}

t.test('strict is the default and forgives nothing', async (t) => {
  t.strictSame(Object.keys(PEER_PROFILE).toSorted(), [...PEER_PROFILES].toSorted())
  t.ok(Object.values(PEER_PROFILE.strict).every((part) => part === false))
  t.equal(siteProfile(aSite({})), PEER_PROFILE.strict)
  const { profile: _, ...unnamed } = aSite()
  t.equal(siteProfile(unnamed), PEER_PROFILE.strict)
})

t.test(
  'nonces that do not rise are accepted where the profile says so, and only there',
  async (t) => {
    const accepted = (about: Partial<SiteConfig>): boolean => {
      const system = systemOf(about)
      system.register(0, ETR, { nonce: 9000n })
      const { names } = system.register(1, ETR, { nonce: 5n, wantMapNotify: false })
      return !names.includes('map-register-rejected replayed')
    }
    const tolerant = PEER_PROFILES.filter((profile) => accepted({ profile }))
    t.strictSame(tolerant, ['rfc6830', 'lispers-net', 'opendaylight'])
    t.ok(accepted({ legacyNonces: true }), 'the older key says the same')
    t.equal(siteProfile(aSite({ legacyNonces: true })).keyIdZeroMeansAny, false, 'and no more')
  },
)

t.test(
  'key ID 0 stands for the key of that algorithm, and is answered with key ID 0',
  async (t) => {
    const zero = aKey('site secret', { keyId: 0 })
    const register = (profile: PeerProfileName) =>
      systemOf({ profile }).register(0, ETR, { nonce: 1n, key: zero })
    t.strictSame(register('strict').names, ['map-register-rejected unknown-key'])
    const { answer } = register('cisco')
    t.match(answer?.message, { kind: 'map-notify', keyId: 0 })
    t.ok(verifyMessage(answer!.bytes, zero, hmac))
    const wrong = aKey('another secret', { keyId: 0 })
    const refused = systemOf({ profile: 'cisco' }).register(0, ETR, { nonce: 1n, key: wrong })
    t.strictSame(refused.names, ['map-register-rejected authentication-failed'], 'never unsigned')
    const other = aKey('site secret', { keyId: 9 })
    const ninth = systemOf({ profile: 'cisco' }).register(0, ETR, { nonce: 1n, key: other })
    t.strictSame(ninth.names, ['map-register-rejected unknown-key'], 'another ID still names a key')
  },
)

t.test('both lengths of authentication data are accepted from everybody, and copied', async (t) => {
  for (const [algorithm, lengths] of [
    [1, [12, 20]],
    [2, [16, 32]],
    [3, [16, 32]],
  ] as const) {
    const key = aKey('site secret', { algorithm })
    for (const macBytes of lengths) {
      const system = systemOf({ keys: [key] })
      const { answer } = system.register(0, ETR, { nonce: 1n, key, macBytes })
      t.match(answer?.message, { kind: 'map-notify', authenticationData: { length: macBytes } })
    }
  }
})

t.test('a peer behind a NAT is answered to its source port', async (t) => {
  const port = (profile: PeerProfileName) => {
    const sites = [aSite({ profile })]
    const mapServer = { sites, registrationMs: 180_000, maximumRegistrations: 1000 }
    const node = createConversation(aNodeConfig({ roles: ['map-server'], mapServer }))
    return node.bytes(1, ETR, registerBytes({ nonce: 1n }), 33_333).sent[0]?.toPort
  }
  t.equal(port('strict'), 4342)
  t.equal(port('lispers-net'), 33_333)
})

t.test('the merge bit is not acted on for peers that misuse it', async (t) => {
  const merged = (profile: PeerProfileName): number => {
    const system = systemOf({ profile })
    for (const [index, rloc] of ['192.0.2.1', '192.0.2.2'].entries()) {
      const records = [aMapping({ locators: [aLocator(rloc)] })]
      const identity = anIdentity(index + 1)
      system.register(index, rloc, { nonce: 1n, identity, records, mergeRequest: true })
    }
    return system.mapServer.registrationViews(2).length
  }
  t.equal(merged('strict'), 2)
  t.equal(merged('opendaylight'), 1)
})

t.test('an ETR speaks to its Map-Server in the dialect of the profile', async (t) => {
  const registerOf = (profile: PeerProfileName | undefined) => {
    const server = {
      address: anAddress('203.0.113.50'),
      key: aKey('site secret', { keyId: 3, algorithm: 2 }),
      proxyReply: true,
      registerMs: 60_000,
      ttlMinutes: 15,
      ...(profile === undefined ? {} : { profile }),
    }
    const etr = createConversation(
      aNodeConfig({
        mapServers: [server],
        siteInterfaces: [{ name: 'site0', instanceId: 0, proxyNeighbours: true }],
        eidPrefixes: [{ eidPrefix: aPrefix('10.1.0.0/24'), interfaceName: 'site0' }],
      }),
    )
    const [sent] = sentOf([etr.begun, ...etr.runUntil(2000)], 'map-register')
    const message = sent!.message
    if (message.kind !== 'map-register') throw new Error(message.kind)
    return { keyId: message.keyId, macBytes: message.authenticationData.length }
  }
  t.strictSame(registerOf(undefined), { keyId: 3, macBytes: 16 })
  t.strictSame(registerOf('strict'), { keyId: 3, macBytes: 16 })
  t.strictSame(registerOf('rfc6830'), { keyId: 0, macBytes: 32 })
})
