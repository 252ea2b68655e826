import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import type { DdtConfig, NodeConfig } from '../../src/config/node-config.js'
import { keyTagOf, signedBytes } from '../../src/control/map-resolver/ddt-signing.js'
import { createSignatures } from '../../src/daemon/referral-signatures.js'
import { encodeReferralRecord, type ReferralRecord } from '../../src/lisp/map-referral.js'
import { encodeMessage } from '../../src/lisp/message.js'
import { aMapRequest, anAddress, aPrefix } from '../support/builders.js'
import {
  aDdt,
  aTreeNode,
  createTree,
  encapsulated,
  ITR,
  RESOLVER,
  toNodes,
} from '../support/delegation-tree.js'

const DAY = 86_400_000
const EPOCH = 1_800_000_000_000
const signatures = createSignatures((now) => EPOCH + now)
const [rootKey, childKey, thief] = [aKeyPair(), aKeyPair(), aKeyPair()]

function aKeyPair() {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return {
    privateKey: new Uint8Array(privateKey.export({ type: 'pkcs8', format: 'der' })),
    publicKey: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
  }
}

/** root .1 → .2, which knows 10.9.0.0/16 and nothing in it. */
function signedTree(
  child: Partial<DdtConfig> = {},
  delegation: Partial<DdtConfig['delegations'][number]> = {},
  root: Partial<DdtConfig> = {},
) {
  const toChild = { ...toNodes('10.9.0.0/16', '192.0.2.2'), keys: [childKey.publicKey] }
  const configs: NodeConfig[] = [
    aTreeNode('192.0.2.1', {
      ddt: aDdt({
        root: true,
        signingKeys: [rootKey],
        delegations: [{ ...toChild, ...delegation }],
        ...root,
      }),
    }),
    aTreeNode('192.0.2.2', {
      ddt: aDdt({ authoritative: [aPrefix('10.9.0.0/16')], signingKeys: [childKey], ...child }),
    }),
    aTreeNode(RESOLVER, {
      roles: ['map-resolver'],
      ddt: aDdt({ roots: [anAddress('192.0.2.1')], rootKeys: [rootKey.publicKey] }),
    }),
  ]
  return createTree(configs, { signatures })
}

function referralOf(tree: ReturnType<typeof createTree>, node: string): ReferralRecord {
  tree.forget()
  const request = aMapRequest({ eidPrefix: '10.9.0.1/32' })
  tree.deliver(node, '192.0.2.200', encapsulated(request, true))
  const [sent] = tree.left
  if (sent?.message.kind !== 'map-referral') throw new Error(String(sent?.message.kind))
  return sent.message.records[0]!
}

t.test(
  'a signed referral has a dated RSA-SHA256 signature of every key, and the next keys',
  async (t) => {
    const second = aKeyPair()
    const tree = signedTree({}, {}, { signingKeys: [rootKey, second] })
    const record = referralOf(tree, '192.0.2.1')
    t.equal(record.signatures.length, 2)
    for (const [index, key] of [rootKey, second].entries()) {
      const one = record.signatures[index]!
      t.match(one, { originalTtl: 1440, algorithm: 2, keyTag: keyTagOf(key.publicKey) })
      t.strictSame([one.inception, one.expiration], [1_799_996_400, 1_800_172_800])
      t.ok(signatures.verify(key.publicKey, signedBytes(record, one), one.signature))
      t.notOk(
        signatures.verify(
          key.publicKey,
          signedBytes({ ...record, mapVersion: 1 }, one),
          one.signature,
        ),
      )
      const prolonged = record.signatures.with(index, { ...one, expiration: one.expiration + 1 })
      const forged = { ...record, signatures: prolonged }
      t.notOk(signatures.verify(key.publicKey, signedBytes(forged, one), one.signature))
      // RFC 8111 §6.4.1: the entire record, zeros where signatures are.
      const whole = encodeReferralRecord(record)
      const covered = encodeReferralRecord(record).fill(0, whole.length - 2 * 256 - 20, -256 - 20)
      covered.fill(0, -256)
      t.strictSame(signedBytes(record, one), covered)
    }
    t.match(record.locators, [
      { structure: { kind: 'security-key', revoked: false, keys: [childKey.publicKey] } },
    ])
  },
)

t.test('signatures are kept, made anew in time, and fresh ones are limited', async (t) => {
  const tree = signedTree()
  const first = referralOf(tree, '192.0.2.2')
  tree.until(DAY / 4)
  t.strictSame(referralOf(tree, '192.0.2.2').signatures, first.signatures)
  tree.until(DAY)
  t.not(referralOf(tree, '192.0.2.2').signatures[0]!.expiration, first.signatures[0]!.expiration)
  tree.forget()
  for (let host = 0; host < 220; host += 1) {
    const request = aMapRequest({ eidPrefix: `10.8.0.${host}/32` })
    tree.deliver('192.0.2.2', '192.0.2.200', encapsulated(request, true))
  }
  const limited = tree.names().filter((name) => name === 'map-referral-suppressed signing-limit')
  t.equal(limited.length, 21, 'NOT-AUTHORITATIVE names each EID, so each needs a signature')
})

t.test(
  'a Map-Resolver with root keys follows what is signed with the keys it was given',
  async (t) => {
    const tree = signedTree()
    tree.ask('10.9.0.1/32')
    t.match(tree.left, [{ to: ITR, message: { kind: 'map-reply', records: [{ ttlMinutes: 15 }] } }])
    t.notOk(tree.names().some((name) => name.startsWith('map-referral-rejected')))
  },
)

t.test('what is unsigned, wrongly signed or out of date is discarded', async (t) => {
  const rejections = (tree: ReturnType<typeof createTree>): string[] => {
    tree.ask('10.9.0.1/32')
    return tree.names().filter((name) => name.startsWith('map-referral-rejected'))
  }
  const bad = ['map-referral-rejected bad-signature']
  t.strictSame(rejections(signedTree({ signingKeys: [] })), ['map-referral-rejected unsigned'])
  t.strictSame(rejections(signedTree({ signingKeys: [thief] })), bad, 'not a key of that prefix')
  t.strictSame(rejections(signedTree({}, {}, { signingKeys: [thief] })), bad, 'not a root key')
  t.strictSame(
    rejections(signedTree({ signingKeys: [thief, childKey] })),
    [],
    'one good one will do',
  )
  t.strictSame(rejections(signedTree({ signingKeys: [] }, { keys: [] })), [], 'an unsigned part')

  const tree = signedTree()
  tree.dead.add('192.0.2.1')
  tree.ask('10.9.0.1/32', { nonce: 5n })
  tree.dead.clear()
  const record = referralOf(tree, '192.0.2.1')
  const [one] = record.signatures
  const forged = (about: Partial<ReferralRecord>, changed: object = {}): void => {
    const records = [{ ...record, signatures: [{ ...one!, ...changed }], ...about }]
    tree.deliver(RESOLVER, '192.0.2.1', encodeMessage({ kind: 'map-referral', nonce: 5n, records }))
  }
  tree.forget()
  forged({ ttlMinutes: 1441 })
  forged({ action: 'ms-referral' })
  forged({}, { algorithm: 1 })
  forged({}, { keyTag: one!.keyTag ^ 1 })
  forged({}, { expiration: one!.expiration + 1 })
  forged({}, { signature: one!.signature.slice(1) })
  t.strictSame(tree.names(), Array(6).fill(bad[0]))
  t.strictSame(tree.path, [])
  forged({ ttlMinutes: 1000 })
  t.equal(tree.path[0], '.50 → .2 map-request', 'less time than was signed is fine')
})

t.test('not before its inception and not after its expiration', async (t) => {
  for (const [at, ok] of [
    [-3_601_000, false],
    [-3_599_000, true],
    [2 * DAY - 1000, true],
    [2 * DAY + 1000, false],
  ] as const) {
    const tree = signedTree()
    const record = referralOf(tree, '192.0.2.1')
    const late = createTree(
      [
        aTreeNode('192.0.2.1', {}),
        aTreeNode('192.0.2.2', {}),
        aTreeNode(RESOLVER, {
          roles: ['map-resolver'],
          ddt: aDdt({ roots: [anAddress('192.0.2.1')], rootKeys: [rootKey.publicKey] }),
        }),
      ],
      { signatures: createSignatures((now) => EPOCH + at + now) },
    )
    late.dead.add('192.0.2.1').add('192.0.2.2')
    late.ask('10.9.0.1/32', { nonce: 5n })
    late.forget()
    const message = { kind: 'map-referral', nonce: 5n, records: [record] } as const
    late.deliver(RESOLVER, '192.0.2.1', encodeMessage(message))
    t.equal(late.path[0] === '.50 → .2 map-request', ok, `${at} ms after it was made`)
  }
})

t.test('a revoked key is believed no more, and proves only its own revocation', async (t) => {
  const byParent = signedTree({}, { revokedKeys: [childKey.publicKey] })
  const record = referralOf(byParent, '192.0.2.1')
  t.equal(record.ttlMinutes, 1440, 'told for as long as the key may be remembered')
  t.match(record.locators, [
    { structure: { revoked: false } },
    { structure: { revoked: true, keys: [childKey.publicKey] } },
  ])
  const replacing = aKeyPair()
  const keys = [childKey.publicKey, replacing.publicKey]
  const rejected = signedTree({}, { keys, revokedKeys: [childKey.publicKey] })
  rejected.ask('10.9.0.1/32')
  t.ok(rejected.names().includes('map-referral-rejected bad-signature'), 'the child still uses it')
  const renewed = signedTree(
    { signingKeys: [replacing] },
    { keys, revokedKeys: [childKey.publicKey] },
  )
  renewed.ask('10.9.0.1/32')
  t.match(renewed.left, [{ to: ITR, message: { kind: 'map-reply' } }])

  const bySelf = signedTree({}, { revokedKeys: [rootKey.publicKey] })
  bySelf.ask('10.9.0.1/32')
  t.ok(bySelf.names().includes('map-referral-rejected key-revoked'))
  bySelf.until(700)
  t.ok(bySelf.names().includes('map-referral-rejected bad-signature'), 'nothing else from that key')
})

t.test(
  'a node whose configuration has keys does not run without the means to use them',
  async (t) => {
    const ddt = aDdt({ root: true, signingKeys: [rootKey] })
    t.throws(() => createTree([aTreeNode('192.0.2.1', { ddt })]), /without the means to sign/)
    const trusting = aDdt({ roots: [anAddress('192.0.2.1')], rootKeys: [rootKey.publicKey] })
    const resolver = aTreeNode(RESOLVER, { roles: ['map-resolver'], ddt: trusting })
    t.throws(() => createTree([resolver]), /without the means to verify/)
  },
)

t.test('bytes that are no key verify nothing', async (t) => {
  const data = new Uint8Array(10)
  t.notOk(signatures.verify(new Uint8Array(5), data, new Uint8Array(256)))
  const good = signatures.sign(rootKey.privateKey, data)
  t.ok(signatures.verify(rootKey.publicKey, data, good))
  t.notOk(signatures.verify(childKey.publicKey, data, good))
})
