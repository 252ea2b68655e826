import t from 'tap'
import type { NodeConfig } from '../../src/config/node-config.js'
import { unwrapOneTimeKey, wrapOneTimeKey } from '../../src/control/lisp-sec/lisp-sec-keys.js'
import { coversPrefix } from '../../src/lisp/eid.js'
import type { ReferralRecord } from '../../src/lisp/map-referral.js'
import { encodeMessage, type Message } from '../../src/lisp/message.js'
import { aLocator, aMapRequest, anAddress, aPrefix, aRandom, hmac } from '../support/builders.js'
import type { SentMessage } from '../support/conversation.js'
import {
  aDdt,
  aTreeNode,
  createTree,
  ETR,
  encapsulated,
  ITR,
  RESOLVER,
  toMapServers,
  toNodes,
  treeConfigs,
} from '../support/delegation-tree.js'
import { aSecurityPolicy, aWrappingKey, blockCipher, ITR_KEY } from '../support/protected-system.js'

const primitives = { hmac, cipher: blockCipher }

type Tree = ReturnType<typeof createTree>
const PROBER = '192.0.2.200'

/** What a node says to one DDT Map-Request. */
function referral(tree: Tree, node: string, eidPrefix: string): ReferralRecord {
  tree.forget()
  tree.deliver(node, PROBER, encapsulated(aMapRequest({ eidPrefix, nonce: 5n }), true))
  const answers = tree.left.filter(({ message }) => message.kind === 'map-referral')
  if (answers.length !== 1) throw new Error(`${answers.length} answers`)
  const { message, to } = answers[0]!
  if (message.kind !== 'map-referral' || message.nonce !== 5n || to !== PROBER) throw new Error(to)
  return message.records[0]!
}

function rlocsOf(record: ReferralRecord): string[] {
  return record.locators.map(({ rloc }) => Array.from(rloc.bytes).join('.'))
}

/** The only Map-Reply that left the tree for an ITR. */
function reply(tree: Tree): Extract<Message, { kind: 'map-reply' }> {
  const found = replies(tree)
  if (found.length !== 1) throw new Error(`${found.length} replies`)
  const [{ message }] = found as [SentMessage]
  if (message.kind !== 'map-reply') throw new Error(message.kind)
  return message
}

function replies(tree: Tree): SentMessage[] {
  return tree.left.filter(({ message }) => message.kind === 'map-reply')
}

function replaced(...about: NodeConfig[]): Tree {
  return createTree(treeConfigs(about))
}

t.test(
  'a DDT node answers by what it has delegated and what it is authoritative for',
  async (t) => {
    const tree = createTree()

    t.test(
      'a delegation to nodes is a NODE-REFERRAL, one to Map-Servers an MS-REFERRAL',
      async (t) => {
        const node = referral(tree, '192.0.2.1', '10.1.2.3/32')
        t.match(node, {
          action: 'node-referral',
          ttlMinutes: 1440,
          incomplete: false,
          mapVersion: 0,
        })
        t.strictSame(node.eidPrefix, aPrefix('10.0.0.0/8'))
        t.strictSame(
          rlocsOf(node),
          ['192.0.2.11', '192.0.2.12'],
          'those authoritative for the prefix',
        )
        const server = referral(tree, '192.0.2.11', '10.1.2.3/32')
        t.match(server, {
          action: 'ms-referral',
          ttlMinutes: 1440,
          eidPrefix: aPrefix('10.1.0.0/16'),
        })
        t.strictSame(rlocsOf(server), ['192.0.2.21', '192.0.2.22'])
      },
    )

    t.test('a root that delegates a whole instance-ID does so in both families', async (t) => {
      for (const [asked, whole] of [
        ['[7]10.7.0.1/32', '[7]0.0.0.0/0'],
        ['[7]2001:db8::1/128', '[7]::/0'],
      ] as const) {
        const record = referral(tree, '192.0.2.1', asked)
        t.match(record, { action: 'ms-referral', eidPrefix: aPrefix(whole) })
        t.strictSame(rlocsOf(record), ['192.0.2.31'])
      }
    })

    t.test('an EID of another instance-ID is another key', async (t) => {
      const record = referral(tree, '192.0.2.1', '[8]10.1.2.3/32')
      t.match(record, { action: 'delegation-hole', eidPrefix: aPrefix('[8]0.0.0.0/0') })
      t.match(referral(tree, '192.0.2.11', '[8]10.1.2.3/32'), { action: 'not-authoritative' })
    })

    t.test('what is not delegated is a DELEGATION-HOLE of the least specific prefix', async (t) => {
      const hole = referral(tree, '192.0.2.11', '10.2.0.1/32')
      t.match(hole, { action: 'delegation-hole', ttlMinutes: 15, incomplete: false, locators: [] })
      t.strictSame(
        hole.eidPrefix,
        aPrefix('10.2.0.0/15'),
        'does not reach the delegated 10.1.0.0/16',
      )
      t.strictSame(
        referral(tree, '192.0.2.11', '10.200.0.1/32').eidPrefix,
        aPrefix('10.128.0.0/9'),
        'does not reach over the edge of 10.0.0.0/8',
      )
      t.strictSame(
        referral(tree, '192.0.2.23', '2001:db8:500::1/128').eidPrefix,
        aPrefix('2001:db8:500::/64'),
        'the example of RFC 8111 §9.5: sites 500:1::/64 and 500:2::/64 of 2001:db8:500::/48',
      )
    })

    t.test(
      'what it is not authoritative for is NOT-AUTHORITATIVE, the EID itself, TTL 0',
      async (t) => {
        const record = referral(tree, '192.0.2.11', '172.16.0.1/32')
        t.match(record, {
          action: 'not-authoritative',
          ttlMinutes: 0,
          incomplete: true,
          locators: [],
        })
        t.strictSame(record.eidPrefix, aPrefix('172.16.0.1/32'))
      },
    )

    t.test('a request for a wide prefix is answered for its first address', async (t) => {
      t.match(referral(tree, '192.0.2.1', '10.0.0.0/7'), { action: 'node-referral' })
    })

    t.test('a probe, a flood and a request without D bit get no referral', async (t) => {
      tree.forget()
      const probe = aMapRequest({ eidPrefix: '10.1.2.3/32', rlocProbe: true })
      tree.deliver('192.0.2.1', PROBER, encapsulated(probe, true))
      tree.deliver('192.0.2.1', PROBER, encapsulated(aMapRequest()))
      t.strictSame(tree.names(), [
        'map-referral-suppressed probe-through-mapping-system',
        'datagram-ignored not-an-xtr',
      ])
      tree.forget()
      const flooder = '192.0.2.201'
      for (let count = 0; count < 600; count += 1) {
        tree.deliver('192.0.2.1', flooder, encapsulated(aMapRequest(), true))
      }
      t.equal(tree.left.length, 500)
      t.match(referral(tree, '192.0.2.1', '10.1.2.3/32'), {}, 'nobody else suffers')
    })
  },
)

t.test('a Map-Server answers DDT requests for its sites', async (t) => {
  t.test('registered: the request goes to the ETR unaltered, and MS-ACK is said', async (t) => {
    const tree = createTree()
    tree.register('192.0.2.21', '10.1.0.5/32')
    const record = referral(tree, '192.0.2.21', '10.1.0.5/32')
    t.match(record, { action: 'ms-ack', ttlMinutes: 1440, eidPrefix: aPrefix('10.1.0.0/16') })
    const forwarded = tree.left.find(({ to }) => to === ETR)
    t.match(forwarded?.inner, { kind: 'map-request', nonce: 5n })
    t.match(forwarded?.message, { ddtOriginated: false, innerSourcePort: 61_000 })
  })

  t.test('registered with proxy reply: it answers the ITR itself', async (t) => {
    const tree = createTree()
    tree.register('192.0.2.21', '10.1.0.5/32', true)
    t.match(referral(tree, '192.0.2.21', '10.1.0.5/32'), { action: 'ms-ack' })
    t.match(reply(tree).records, [{ eidPrefix: aPrefix('10.1.0.5/32'), locators: [{}] }])
  })

  t.test('configured only: MS-NOT-REGISTERED for one minute', async (t) => {
    const tree = createTree()
    const record = referral(tree, '192.0.2.21', '10.1.0.5/32')
    t.match(record, { action: 'ms-not-registered', ttlMinutes: 1 })
    t.strictSame(record.eidPrefix, aPrefix('10.1.0.5/32'), 'its neighbour may register any moment')
    t.strictSame(
      referral(tree, '192.0.2.23', '2001:db8:500:1::9/128').eidPrefix,
      aPrefix('2001:db8:500:1::/64'),
      'a site without more-specifics is unregistered as a whole',
    )
  })

  t.test('the Incomplete bit is set unless all peer Map-Servers are configured', async (t) => {
    const tree = createTree()
    const complete = referral(tree, '192.0.2.21', '10.1.0.5/32')
    t.equal(complete.incomplete, false)
    t.strictSame(rlocsOf(complete), ['192.0.2.21', '192.0.2.22'])
    tree.register('192.0.2.31', '[7]10.7.0.0/16')
    for (const asked of ['[7]10.7.0.1/32', '[7]10.8.0.1/32']) {
      const { action, incomplete } = referral(tree, '192.0.2.31', asked)
      t.ok(incomplete, action)
    }
    t.match(referral(tree, '192.0.2.31', '[7]10.7.0.1/32'), {
      action: 'ms-ack',
      locators: [{ rloc: anAddress('192.0.2.31') }],
    })
  })

  t.test(
    'a delegation below a site is a referral, a site below a delegation is its own',
    async (t) => {
      const [server] = treeConfigs().filter(({ node }) => node === '192.0.2.21')
      const ddt = aDdt({
        delegations: [
          toNodes('10.1.7.0/24', '192.0.2.13'),
          toMapServers('10.0.0.0/8', '192.0.2.99'),
        ],
      })
      const tree = replaced({ ...server!, ddt })
      t.match(referral(tree, '192.0.2.21', '10.1.7.1/32'), { action: 'node-referral' })
      t.match(referral(tree, '192.0.2.21', '10.1.8.1/32'), { action: 'ms-not-registered' })
      t.match(referral(tree, '192.0.2.21', '10.9.8.1/32'), { action: 'ms-referral' })
    },
  )
})

t.test('a Map-Resolver walks down the tree', async (t) => {
  t.test('from the root to the Map-Server, which sends the request to the ETR', async (t) => {
    const tree = createTree()
    tree.register('192.0.2.21', '10.1.0.5/32')
    tree.register('192.0.2.22', '10.1.0.5/32')
    tree.forget()
    tree.ask('10.1.0.5/32', { nonce: 4n })
    t.strictSame(tree.path, [
      '.50 → .1 map-request',
      '.1 → .50 node-referral',
      '.50 → .11 map-request',
      '.11 → .50 ms-referral',
      '.50 → .21 map-request',
      '.21 → .50 ms-ack',
    ])
    const requests = tree.carried.filter(({ message }) => message.kind !== 'map-referral')
    for (const { message } of requests) {
      t.match(message, { ddtOriginated: true, security: false, innerSourcePort: 61_000 })
    }
    t.match(tree.left, [{ to: ETR, inner: { nonce: 4n, itrRlocs: [anAddress(ITR)] } }])
    t.equal(replies(tree).length, 0, 'the ETR answers')
    tree.until(60_000)
    t.equal(tree.left.length, 1, 'nothing is repeated')
  })

  t.test('what it has learned shortens the next walk, and is shown', async (t) => {
    const tree = createTree()
    tree.register('192.0.2.21', '10.1.0.5/32')
    tree.register('192.0.2.22', '10.1.0.5/32')
    tree.ask('10.1.0.5/32')
    tree.forget()
    tree.ask('10.1.0.5/32', { nonce: 6n })
    t.strictSame(tree.path, ['.50 → .21 map-request', '.21 → .50 ms-ack'])
    const { referrals } = tree.nodes.get(RESOLVER)!.node.snapshot(0)
    t.match(referrals, [
      { eidPrefix: '10.0.0.0/8', kind: 'node-referral', rlocs: ['192.0.2.11', '192.0.2.12'] },
      { eidPrefix: '10.1.0.0/16', kind: 'ms-ack', expiresInMs: 1440 * 60_000 },
    ])
    tree.forget()
    tree.until(1441 * 60_000)
    tree.ask('10.1.0.5/32', { nonce: 7n })
    t.equal(tree.path[0], '.50 → .1 map-request', 'after a day it begins at the root again')
  })

  t.test('incomplete referrals are followed but not remembered', async (t) => {
    const tree = createTree()
    tree.register('192.0.2.31', '[7]10.7.0.0/16')
    tree.ask('[7]10.7.0.1/32')
    t.match(tree.path.at(-1), '.31 → .50 ms-ack')
    const { referrals } = tree.nodes.get(RESOLVER)!.node.snapshot(0)
    t.match(referrals, [{ eidPrefix: '[7]0.0.0.0/0', kind: 'ms-referral' }])
    t.equal(referrals.length, 1, 'the MS-ACK was incomplete')
  })

  t.test('a hole: negative Map-Reply for 15 minutes, and from the cache after that', async (t) => {
    const tree = createTree()
    tree.ask('2001:db8:500::1/128')
    const negative = { ttlMinutes: 15, action: 'natively-forward', locators: [] }
    const hole = aPrefix('2001:db8:500::/64')
    t.match(reply(tree).records, [{ ...negative, eidPrefix: hole, authoritative: false }])
    tree.forget()
    tree.until(60_000)
    tree.ask('2001:db8:500::2/128', { nonce: 9n })
    t.strictSame(tree.path, [], 'nobody is asked')
    t.match(reply(tree).records, [{ ...negative, eidPrefix: hole, ttlMinutes: 14 }])
    tree.forget()
    tree.until(16 * 60_000)
    tree.ask('2001:db8:500::2/128', { nonce: 10n })
    t.not(tree.path.length, 0, 'after 15 minutes they are asked again')
  })

  t.test('unregistered at every Map-Server: negative Map-Reply for a minute', async (t) => {
    const tree = createTree()
    tree.ask('10.1.0.5/32')
    t.strictSame(tree.path.slice(4), [
      '.50 → .21 map-request',
      '.21 → .50 ms-not-registered',
      '.50 → .22 map-request',
      '.22 → .50 ms-not-registered',
    ])
    t.match(reply(tree).records, [
      { eidPrefix: aPrefix('10.1.0.5/32'), ttlMinutes: 1, action: 'natively-forward' },
    ])
    tree.forget()
    tree.ask('10.1.0.5/32', { nonce: 11n })
    t.strictSame([tree.path.length, replies(tree).length], [0, 1], 'remembered')
    tree.until(61_000)
    tree.register('192.0.2.22', '10.1.0.5/32')
    tree.forget()
    tree.ask('10.1.0.5/32', { nonce: 13n })
    t.match(tree.left, [{ to: ETR }], 'registered at one of two')
  })

  t.test('a Map-Resolver without a root answers negatively at once', async (t) => {
    const tree = replaced(aTreeNode(RESOLVER, { roles: ['map-resolver'], ddt: aDdt() }))
    tree.ask('10.1.0.5/32')
    t.match(reply(tree).records, [{ ttlMinutes: 1, locators: [] }])
  })
})

t.test('silent and lying nodes', async (t) => {
  t.test('a silent RLOC is passed over after half a second', async (t) => {
    const tree = createTree()
    tree.register('192.0.2.22', '10.1.0.5/32')
    tree.dead.add('192.0.2.11').add('192.0.2.21')
    tree.ask('10.1.0.5/32')
    tree.until(3000)
    t.match(tree.left.at(-1), { to: ETR, inner: { kind: 'map-request' } })
    t.equal(tree.left.length, 1 + 1, 'the Map-Notify of the register and the request')
  })

  t.test('when all are silent the walk ends without a word, and begins further up', async (t) => {
    const tree = createTree()
    tree.ask('10.1.0.5/32')
    tree.until(61_000)
    tree.forget()
    tree.dead.add('192.0.2.21').add('192.0.2.22')
    tree.ask('10.1.0.5/32', { nonce: 21n })
    tree.until(70_000)
    t.strictSame(tree.names().slice(-1), ['ddt-walk-ended no-answer'])
    t.equal(tree.left.length, 0)
    t.strictSame(
      tree.path,
      Array(4)
        .fill(0)
        .map((_, n) => `.50 → .2${n % 2 === 0 ? 2 : 1} map-request`),
    )
    tree.dead.clear()
    tree.forget()
    tree.ask('10.1.0.5/32', { nonce: 22n })
    t.match(tree.path[0], /\.50 → \.1[12] map-request/, 'the referral that led there is forgotten')
  })

  t.test(
    'a referral that leads no further down goes to the root once, then is negative',
    async (t) => {
      const tree = createTree()
      tree.ask('10.66.0.1/32')
      t.match(tree.path.join(), /\.50 → \.13 map-request,\.13 → \.50 node-referral/)
      t.equal(tree.path.filter((one) => one === '.13 → .50 node-referral').length, 1)
      t.match(reply(tree).records, [{ eidPrefix: aPrefix('10.66.0.1/32'), ttlMinutes: 1 }])
      tree.forget()
      // From the cached referral: once more through the root before it gives up.
      tree.ask('10.66.0.1/32', { nonce: 31n })
      t.match(tree.path.join(), /\.50 → \.1 map-request/)
      t.equal(replies(tree).length, 1)
    },
  )

  t.test('a tree that never ends is left after 32 referrals', async (t) => {
    const chain = Array.from({ length: 100 }, (_, depth) => {
      const eidPrefix = `2001:db8::/${33 + depth > 128 ? 128 : 33 + depth}`
      const next = `203.0.113.${depth + 1}`
      return aTreeNode(`203.0.113.${depth}`, {
        ddt: aDdt({
          authoritative: [aPrefix('2001:db8::/32')],
          delegations: [toNodes(eidPrefix, next)],
        }),
      })
    })
    const resolver = aTreeNode(RESOLVER, {
      roles: ['map-resolver'],
      ddt: aDdt({ roots: [anAddress('203.0.113.0')] }),
    })
    const tree = createTree([...chain, resolver])
    tree.ask('2001:db8::/128')
    t.equal(tree.carried.filter(({ message }) => message.kind === 'map-referral').length, 33)
    t.match(reply(tree).records, [{ locators: [], ttlMinutes: 1 }])
  })

  t.test(
    'NOT-AUTHORITATIVE by a cached referral leads to the root, at the root to no',
    async (t) => {
      const stale = aTreeNode('192.0.2.11', {
        ddt: aDdt({ authoritative: [aPrefix('10.9.0.0/16')] }),
      })
      const gone = aTreeNode('192.0.2.12', {
        ddt: aDdt({ authoritative: [aPrefix('10.9.0.0/16')] }),
      })
      const tree = replaced(stale, gone)
      tree.ask('10.9.0.1/32')
      t.match(reply(tree).records, [{ ttlMinutes: 15 }])
      tree.forget()
      tree.ask('10.1.0.5/32', { nonce: 41n })
      t.match(tree.path, [
        /map-request/,
        /not-authoritative/,
        '.50 → .1 map-request',
        '.1 → .50 node-referral',
        /map-request/,
        /not-authoritative/,
      ])
      t.match(reply(tree).records, [{ eidPrefix: aPrefix('10.1.0.5/32'), ttlMinutes: 1 }])
    },
  )
})

t.test('forged and stray referrals', async (t) => {
  const forged = (about: Partial<ReferralRecord>, nonce = 50n) =>
    encodeMessage({
      kind: 'map-referral',
      nonce,
      records: [
        {
          eidPrefix: aPrefix('10.0.0.0/8'),
          ttlMinutes: 1440,
          action: 'node-referral',
          authoritative: true,
          incomplete: false,
          mapVersion: 0,
          locators: [aLocator('192.0.2.66')],
          signatures: [],
          ...about,
        },
      ],
    })
  /** The Map-Resolver waits for the root, which is silent. */
  const waiting = () => {
    const tree = createTree()
    tree.dead.add('192.0.2.1')
    tree.ask('10.1.0.5/32', { nonce: 50n })
    tree.forget()
    return tree
  }

  t.test('only who was asked, about what was asked, by the nonce, in one record', async (t) => {
    const tree = waiting()
    tree.deliver(RESOLVER, '192.0.2.99', forged({}))
    tree.deliver(RESOLVER, '192.0.2.1', forged({}, 51n))
    tree.deliver(RESOLVER, '192.0.2.1', forged({ eidPrefix: aPrefix('10.2.0.0/16') }))
    tree.deliver(RESOLVER, '192.0.2.1', forged({ eidPrefix: aPrefix('[7]10.0.0.0/8') }))
    const empty = encodeMessage({ kind: 'map-referral', nonce: 50n, records: [] })
    tree.deliver(RESOLVER, '192.0.2.1', empty)
    t.strictSame(tree.names(), [
      'map-referral-rejected unasked-source',
      'map-referral-rejected no-request',
      'map-referral-rejected other-prefix',
      'map-referral-rejected other-prefix',
      'map-referral-rejected not-one-record',
    ])
    t.strictSame(tree.path, [])
    tree.deliver(RESOLVER, '192.0.2.1', forged({}))
    t.strictSame(
      tree.left.map(({ to }) => to),
      ['192.0.2.66'],
      'the walk was not disturbed',
    )
  })

  t.test('a node that is no Map-Resolver ignores a Map-Referral', async (t) => {
    const tree = createTree()
    tree.deliver('192.0.2.21', '192.0.2.1', forged({}))
    t.strictSame(tree.names(), ['datagram-ignored not-a-map-resolver'])
  })

  t.test('a less specific referral sends the walk to the root, there it is ignored', async (t) => {
    const tree = createTree()
    tree.ask('10.1.0.5/32')
    tree.until(61_000)
    tree.forget()
    tree.dead.add('192.0.2.21').add('192.0.2.22').add('192.0.2.1')
    tree.ask('10.1.0.5/32', { nonce: 50n })
    tree.deliver(RESOLVER, '192.0.2.21', forged({}))
    t.match(tree.path.at(-1), '.50 → .1 map-request')
    t.ok(tree.names().includes('map-referral-rejected less-specific'))
  })

  t.test('a referral to ourselves, to multicast or to nobody is not followed', async (t) => {
    const tree = waiting()
    const locators = [RESOLVER, '224.0.0.1', '2001:db8::66'].map((rloc) => aLocator(rloc))
    tree.deliver(RESOLVER, '192.0.2.1', forged({ locators }))
    t.match(reply(tree).records, [{ locators: [], ttlMinutes: 1 }])
  })
})

t.test('the queue of walks', async (t) => {
  const silent = () => {
    const tree = createTree()
    tree.dead.add('192.0.2.1')
    return tree
  }

  t.test(
    'a newer request of the same ITR takes the place and the nonce of the older',
    async (t) => {
      const tree = silent()
      tree.ask('10.1.0.5/32', { nonce: 60n })
      tree.until(400)
      tree.ask('10.1.0.5/32', { nonce: 61n })
      t.equal(tree.carried.length, 1, 'no second walk')
      tree.until(600)
      t.match(tree.carried[1]?.inner, { nonce: 61n })
      tree.ask('10.1.0.5/32', { nonce: 62n }, '198.51.100.2')
      t.match(tree.carried[2]?.inner, { nonce: 62n }, 'another ITR walks for itself')
      tree.register('192.0.2.21', '10.1.0.5/32')
      tree.register('192.0.2.22', '10.1.0.5/32')
      tree.dead.clear()
      tree.forget()
      tree.until(5000)
      const nonces = tree.left.map(({ inner }) =>
        inner?.kind === 'map-request' ? inner.nonce : 0n,
      )
      t.strictSame(new Set(nonces), new Set([61n, 62n]))
    },
  )

  t.test(
    'one ITR has at most 256 walks under way, and a foreign nonce is not taken over',
    async (t) => {
      const tree = silent()
      for (let host = 0; host < 300; host += 1) {
        const eidPrefix = `10.1.${host >> 8}.${host & 255}/32`
        // The general limit of replies to one RLOC is 100 a second.
        if (host % 100 === 0) tree.until(tree.now + 10)
        tree.ask(eidPrefix, { nonce: BigInt(10_000 + host) })
      }
      const names = tree.names()
      const limited = names.filter((name) => /rate-limited|too-many-of-this-itr/.test(name)).length
      t.ok(limited >= 44, `${limited} refused`)
      tree.forget()
      tree.ask('10.1.9.9/32', { nonce: 10_000n }, '198.51.100.2')
      t.strictSame(tree.names(), ['map-reply-suppressed nonce-in-use'])
    },
  )
})

t.test('the referral cache is bounded and holes go before delegations', async (t) => {
  const small = aTreeNode(RESOLVER, {
    roles: ['map-resolver'],
    ddt: aDdt({ roots: [anAddress('192.0.2.1')], maximumReferrals: 16 }),
  })
  const tree = replaced(small)
  for (let instance = 100; instance < 200; instance += 1) {
    tree.until(tree.now + 100)
    tree.ask(`[${instance}]10.1.0.5/32`)
    if (instance === 100) tree.ask('10.1.0.5/32', { nonce: 3n })
  }
  const { referrals } = tree.nodes.get(RESOLVER)!.node.snapshot(tree.now)
  t.equal(referrals.length, 16)
  t.ok(
    referrals.some(({ eidPrefix, kind }) => eidPrefix === '10.0.0.0/8' && kind === 'node-referral'),
  )
})

t.test('security data of the ITR goes to Map-Servers and to nobody on the way', async (t) => {
  const securityData = {
    requestedHmacId: 2,
    oneTimeKey: {
      keyId: 1,
      wrappingId: 1,
      preamble: new Uint8Array(8),
      key: new Uint8Array(16).fill(7),
    },
    eidAuthentication: { kdfId: 2 },
  }
  const walked = (eidPrefix: string, ...about: NodeConfig[]): string[] => {
    const tree = replaced(...about)
    const request = aMapRequest({ eidPrefix, nonce: 70n, itrRlocs: [anAddress(ITR)] })
    for (const server of ['192.0.2.21', '192.0.2.22']) tree.register(server, '10.1.0.5/32')
    tree.forget()
    tree.deliver(RESOLVER, ITR, encapsulated(request, false, { security: true, securityData }))
    return tree.carried
      .filter(({ from }) => from === RESOLVER)
      .map(({ to, message }) => `${to} ${'securityData' in message ? 'secured' : 'plain'}`)
  }
  t.strictSame(walked('10.1.0.5/32'), ['192.0.2.1 plain', '192.0.2.11 plain', '192.0.2.21 secured'])
  // Reached as a node, it turns out to be the Map-Server itself.
  const node = aTreeNode('192.0.2.1', {
    ddt: aDdt({ root: true, delegations: [toNodes('10.0.0.0/8', '192.0.2.21')] }),
  })
  t.strictSame(
    walked('10.1.0.5/32', node),
    ['192.0.2.1 plain', '192.0.2.21 plain', '192.0.2.21 secured'],
    'asked again with it',
  )
})

t.test('a one-time key is wrapped for the Map-Server that a walk has reached', async (t) => {
  const [first, second] = [aWrappingKey('first'), aWrappingKey('second', { keyId: 4 })]
  const resolver = aTreeNode(RESOLVER, {
    roles: ['map-resolver'],
    ddt: aDdt({ roots: [anAddress('192.0.2.1')] }),
    security: aSecurityPolicy({
      requesterKeys: [ITR_KEY],
      mapServers: [
        { address: anAddress('192.0.2.21'), key: first },
        { address: anAddress('192.0.2.22'), key: second },
      ],
    }),
  })
  const asked = (servers: readonly string[], keys: NodeConfig['security']): SentMessage[] => {
    const delegations = [toMapServers('10.0.0.0/8', ...servers)]
    const root = aTreeNode('192.0.2.1', { ddt: aDdt({ root: true, delegations }) })
    const tree = createTree(treeConfigs([root, { ...resolver, security: keys }]), { blockCipher })
    const request = aMapRequest({
      eidPrefix: '10.1.0.5/32',
      nonce: 70n,
      itrRlocs: [anAddress(ITR)],
    })
    const wrapped = { id: 2, keyId: ITR_KEY.keyId, secret: ITR_KEY.secret }
    const oneTimeKey = wrapOneTimeKey(new Uint8Array(16).fill(7), wrapped, 70n, primitives)
    const eidAuthentication = { kdfId: 2 }
    const securityData = { requestedHmacId: 2, oneTimeKey, eidAuthentication }
    const about = { security: true, securityData }
    tree.deliver(RESOLVER, ITR, encapsulated(request, false, about))
    tree.until(10_000)
    return tree.carried.filter(({ from, to }) => from === RESOLVER && servers.includes(to))
  }
  const opened = ({ message }: SentMessage, key: typeof first): Uint8Array | undefined =>
    message.kind === 'encapsulated-control' && message.securityData !== undefined
      ? unwrapOneTimeKey(message.securityData.oneTimeKey, key.secret, 70n, false, primitives)
      : undefined
  const sent = asked(['192.0.2.21', '192.0.2.22'], resolver.security)
  t.ok(sent.length >= 2, `${sent.length} requests`)
  for (const one of sent) {
    const key = one.to === '192.0.2.21' ? first : second
    t.strictSame(opened(one, key), new Uint8Array(16).fill(7), one.to)
  }
  const stranger = aSecurityPolicy({ requesterKeys: [ITR_KEY] })
  t.strictSame(asked(['192.0.2.21'], stranger), [], 'no key is shared with it')
})

t.test('lookups under loss, duplication and delay end, and end right', async (t) => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const random = aRandom(seed)
    const tree = createTree()
    tree.register('192.0.2.21', '10.1.0.5/32')
    tree.register('192.0.2.22', '10.1.0.5/32')
    tree.forget()
    tree.fate = () => (random.fraction() < 0.2 ? 0 : random.fraction() < 0.1 ? 2 : 1)
    const asked = ['10.1.0.5/32', '10.200.0.1/32', '2001:db8:500::1/128']
    // As an ITR asks: once a second, each time with a new nonce, until it has an answer.
    const open = new Set(asked)
    for (let second = 0; second < 12 && open.size > 0; second += 1) {
      for (const eidPrefix of open) tree.ask(eidPrefix, { nonce: random.nonce() })
      tree.until((second + 1) * 1000)
      for (const { to, message, inner } of tree.left) {
        if (to === ETR && inner?.kind === 'map-request') open.delete('10.1.0.5/32')
        if (to !== ITR || message.kind !== 'map-reply') continue
        const { eidPrefix, locators } = message.records[0]!
        t.strictSame(locators, [], 'only holes are answered by the Map-Resolver')
        const hole = asked.find((one) => coversPrefix(eidPrefix, aPrefix(one)))
        t.not(hole, '10.1.0.5/32', `seed ${seed}: a registered EID is never denied`)
        open.delete(hole ?? '')
      }
    }
    t.strictSame([...open], [], `seed ${seed}`)
    tree.until(60_000)
    t.equal(tree.nodes.get(RESOLVER)!.node.deadline(), undefined, 'no walk is left over')
  }
})
