/**
 * Interworking (RFC 6832) and explicit locator paths (RFC 8060 §4.6) in literal conversations: what
 * Proxy-ITRs, RTRs and sites with a Proxy-ETR decide. Packets are in bpf-interwork-cases.ts.
 */
import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import type { PathHop } from '../../src/lisp/afi-address.js'
import { type Locator, structuredLocator } from '../../src/lisp/locator.js'
import type { Action, Mapping } from '../../src/lisp/mapping.js'
import type { MapRequest } from '../../src/lisp/message.js'
import {
  aKey,
  aMapping,
  aMapRequest,
  aNodeConfig,
  anAddress,
  anEid,
  aPrefix,
} from '../support/builders.js'
import { createConversation, type Reaction, sentOf, wordsOf } from '../support/conversation.js'

const RESOLVER = '203.0.113.8'
const ETR = '192.0.2.9'
const noProbes = { enabled: false, intervalMs: 10_000, failures: 3 }
const INTERWORKING = { petrRlocs: [], attracted: [], sites: [], translations: [] }

function aNode(about: Partial<NodeConfig> = {}) {
  const mapResolvers = [anAddress(RESOLVER)]
  return createConversation(aNodeConfig({ mapResolvers, rlocProbe: noProbes, ...about }))
}

type Conversation = ReturnType<typeof aNode>

function requestsOf(reaction: Reaction): MapRequest[] {
  return sentOf([reaction], 'map-request').map((one) => (one.inner ?? one.message) as MapRequest)
}

function reply(nonce: bigint, ...records: Mapping[]) {
  const kind = 'map-reply' as const
  return { kind, rlocProbe: false, echoNonceCapable: false, nonce, records }
}

function held(talk: Conversation, at: number, eid = '10.1.0.5'): Reaction {
  const source = anEid('10.2.0.7')
  return talk.datapath(at, { kind: 'packet-held', eid: anEid(eid), source, why: 'map-cache-miss' })
}

/** The words of the operations that this answer to a held packet brings. */
function learn(talk: Conversation, at: number, mapping: Mapping): readonly string[] {
  const [request] = requestsOf(held(talk, at))
  return talk.message(at, ETR, reply(request!.nonce, mapping)).words
}

function aHop(address: string, flags = 'S'): PathHop {
  return {
    lookup: flags.includes('L'),
    probe: flags.includes('P'),
    strict: flags.includes('S'),
    address: { kind: 'ip', address: anAddress(address) },
  }
}

function aPath(...hops: PathHop[]): Locator {
  return structuredLocator({ kind: 'explicit-locator-path', hops })!
}

const negative = (action: Action) => aMapping({ action, locators: [], eidPrefix: '10.1.0.0/16' })

t.test('a Proxy-ITR asks with the p bit, an ITR without', async (t) => {
  const asked = (roles: NodeConfig['roles']) => requestsOf(held(aNode({ roles }), 0))[0]
  t.match(asked(['pitr']), { proxyItr: true, rlocProbe: false })
  t.match(asked(['itr', 'etr']), { proxyItr: false })
  t.match(asked(['rtr']), { proxyItr: false }, 'an RTR is no Proxy-ITR')
})

t.test('a Proxy-ITR drops on behalf of ETRs: actions 3, 4 and 5', async (t) => {
  for (const action of ['drop', 'drop-policy-denied', 'drop-auth-failure'] as const) {
    const words = learn(aNode({ roles: ['pitr'] }), 0, negative(action))
    t.equal(words[0], 'put-map-cache 10.1.0.0/16 drop', action)
    t.equal(words[1], 'drop-held 10.1.0.5 negative-mapping', `${action}: also what waited`)
  }
})

t.test('what is to be forwarded natively goes out by the kernel without a Proxy-ETR', async (t) => {
  const words = learn(aNode(), 0, negative('natively-forward'))
  t.same(words, ['put-map-cache 10.1.0.0/16 native release 10.1.0.5'])
})

t.test(
  'with Proxy-ETRs all non-LISP traffic is encapsulated to them, in any outer family',
  async (t) => {
    const petrRlocs = [anAddress('192.0.2.77')]
    const eidPrefixes = [{ eidPrefix: aPrefix('10.2.0.0/16'), interfaceName: 'site' }]
    const about = { interworking: { ...INTERWORKING, petrRlocs }, eidPrefixes }
    const words = learn(aNode(about), 0, negative('natively-forward'))
    t.same(words, ['put-map-cache 10.1.0.0/16 forward 192.0.2.77 release 10.1.0.5'])
    t.match(learn(aNode(about), 0, negative('drop'))[0], /drop$/, 'nothing else that is negative')

    const talk = aNode(about)
    const { nonce } = requestsOf(held(talk, 0, '2001:db8:9::1'))[0]!
    const answer = aMapping({
      action: 'natively-forward',
      locators: [],
      eidPrefix: '2001:db8:9::/48',
    })
    const six = talk.message(1, ETR, reply(nonce, answer))
    t.match(six.words[0], /^put-map-cache 2001:db8:9::\/48 forward 192\.0\.2\.77/, 'IPv6 over IPv4')
    t.match(
      talk.node.snapshot(1).mapCache.find((one) => one.eidPrefix === '2001:db8:9::/48'),
      { action: 'forward', locators: [{ rloc: '192.0.2.77' }] },
      'shown as what happens',
    )
    const own = held(talk, 10, '10.2.0.9')
    t.same(
      wordsOf([own]).filter((one) => one.includes('forward')),
      [],
      'own prefixes stay native',
    )
    t.same(sentOf(talk.runUntil(60_000), 'map-request'), [], 'Proxy-ETRs are not probed')
  },
)

t.test('an explicit locator path: every router takes the hop behind its own address', async (t) => {
  const [first, second] = ['203.0.113.21', '203.0.113.22']
  const path = aPath(aHop(first), aHop(second), aHop(ETR))
  const from = (address: string, roles: NodeConfig['roles']) => {
    const rlocs = [{ address: anAddress(address), interfaceName: 'core', priority: 1, weight: 100 }]
    return learn(aNode({ roles, rlocs }), 0, aMapping({ locators: [path] }))[0]
  }
  const forward = (to: string) => `put-map-cache 10.1.0.5/32 forward ${to} release 10.1.0.5`
  t.equal(from('203.0.113.1', ['itr']), forward(first), 'the ITR begins at its head')
  t.equal(from(first, ['rtr']), forward(second))
  t.equal(from(second, ['rtr']), forward(ETR), 'the last RTR sends to the ETR')
  t.equal(from(ETR, ['rtr']), 'put-map-cache 10.1.0.5/32 drop', 'it never goes on behind its end')
})

t.test(
  'a hop that does not answer is skipped unless it is strict, and only with the P bit',
  async (t) => {
    const rlocProbe = { enabled: true, intervalMs: 10_000, failures: 3 }
    const after = (flags: string) => {
      const talk = aNode({ rlocProbe })
      const path = aPath(aHop('203.0.113.21', flags), aHop(ETR, 'S'))
      const ttlMinutes = 1440
      t.match(
        learn(talk, 0, aMapping({ locators: [path], ttlMinutes }))[0],
        /forward 203\.0\.113\.21/,
      )
      const steps = talk.runUntil(30_000)
      const probed = new Set(sentOf(steps, 'map-request').map((one) => one.to))
      return { probed: [...probed], words: wordsOf(steps) }
    }
    const loose = after('P')
    t.same(loose.probed, ['203.0.113.21'], 'the ETR has no P bit here')
    t.same(loose.words, [`put-map-cache 10.1.0.5/32 forward ${ETR}`], 'skipped once it is down')
    const strict = after('PS')
    t.notOk(
      strict.words.some((one) => one.includes(ETR)),
      'a strict hop is never skipped',
    )
    t.same(after(''), { probed: [], words: [] }, 'without the P bit nobody is probed')
  },
)

t.test('a hop with the L bit is looked up; packets wait for the answer', async (t) => {
  const talk = aNode()
  const path = aPath(aHop('10.99.0.1', 'LS'), aHop(ETR))
  const [request] = requestsOf(held(talk, 0))
  const first = talk.message(1, ETR, reply(request!.nonce, aMapping({ locators: [path] })))
  t.same(first.words, ['put-map-cache 10.1.0.5/32 hold'])
  const [lookup] = requestsOf(first)
  t.same(lookup?.records[0]?.eidPrefix, aPrefix('10.99.0.1/32'), 'asks the mapping system')
  const hop = aMapping({ eidPrefix: '10.99.0.0/24', locators: ['203.0.113.33'], ttlMinutes: 1 })
  const second = talk.message(2, ETR, reply(lookup!.nonce, hop))
  t.ok(
    second.words.includes('put-map-cache 10.1.0.5/32 forward 203.0.113.33 release 10.1.0.5'),
    second.words.join('; '),
  )
  const gone = talk.runUntil(60_500)
  t.ok(wordsOf(gone).includes('put-map-cache 10.1.0.5/32 hold'), 'its mapping has expired')
  t.same(
    requestsOf(gone.at(-1)!).map((one) => one.records[0]?.eidPrefix),
    [aPrefix('10.99.0.1/32')],
    'and is asked for again',
  )
})

t.test(
  'a site behind RTRs registers a path that ends at itself, and knows itself in it',
  async (t) => {
    const server = anAddress('203.0.113.7')
    const address = anAddress('203.0.113.1')
    const path = [aHop('203.0.113.21', 'PS')]
    const talk = aNode({
      rlocs: [{ address, interfaceName: 'core', priority: 1, weight: 100, path }],
      eidPrefixes: [{ eidPrefix: aPrefix('10.2.0.0/16'), interfaceName: 'site' }],
      mapServers: [
        { address: server, key: aKey(), proxyReply: true, registerMs: 60_000, ttlMinutes: 15 },
      ],
    })
    const [register] = sentOf([talk.begun, ...talk.runUntil(1000)], 'map-register')
    const message = register?.message
    const [locator] = message?.kind === 'map-register' ? message.records[0]!.locators : []
    t.same(locator?.structure, {
      kind: 'explicit-locator-path',
      hops: [aHop('203.0.113.21', 'PS'), aHop('203.0.113.1', 'PS')],
    })
    t.same(locator?.rloc, anAddress('203.0.113.21'), 'who knows no paths begins at the first RTR')
    const probe = aMapRequest({ rlocProbe: true, eidPrefix: '10.2.0.0/16' })
    const [answer] = sentOf([talk.message(2000, ETR, probe)], 'map-reply')
    const record = answer?.message.kind === 'map-reply' ? answer.message.records[0] : undefined
    t.match(
      record?.locators,
      [{ probe: true }],
      'a probe of its RLOC marks the path that ends there',
    )
  },
)

t.test('an RTR answers probes for what goes through it, others only for their own', async (t) => {
  const probe = aMapRequest({ rlocProbe: true })
  const at = (roles: NodeConfig['roles']) =>
    sentOf([aNode({ roles }).message(0, ETR, probe)], 'map-reply')
  const [answer] = at(['rtr'])
  t.match(answer?.message, {
    rlocProbe: true,
    nonce: 7n,
    records: [{ authoritative: true, locators: [{ probe: true, rloc: anAddress('203.0.113.1') }] }],
  })
  t.same(at(['itr', 'etr']), [])
  const plain = aMapRequest({ rlocProbe: false })
  t.same(sentOf([aNode({ roles: ['rtr'] }).message(0, ETR, plain)], 'map-reply'), [], 'only probes')
})
