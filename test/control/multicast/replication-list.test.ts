/**
 * What is copied to whom: replication lists as they come, good and bad, and the shape of trees.
 */
import t from 'tap'
import type { Encapsulation } from '../../../src/control/datapath-operation.js'
import {
  chooseCopies,
  entriesOf,
  listMapping,
  MAXIMUM_COPIES,
  MAXIMUM_LIST_ENTRIES,
} from '../../../src/control/multicast/replication-list.js'
import {
  createReplicationTree,
  type TreeNode,
} from '../../../src/control/multicast/replication-tree.js'
import { equalIpAddresses, formatIpAddress } from '../../../src/lisp/address.js'
import type { AfiAddress, ReplicationEntry } from '../../../src/lisp/afi-address.js'
import { decodeMessage, encodeMessage } from '../../../src/lisp/message.js'
import {
  formatGroup,
  groupAddress,
  groupOf,
  isLinkScoped,
  parseGroup,
} from '../../../src/lisp/multicast/multicast-group.js'
import { aNodeConfig, anAddress } from '../../support/builders.js'

const config = aNodeConfig()
const GROUP = parseGroup('(10.1.0.5,232.1.1.1)')!
const TERMS = { ttlMinutes: 15, mapVersion: 1, own: false }
const nothingDown = () => false

t.test('the name of a group survives its text and its bytes', async (t) => {
  for (const text of ['(*,239.1.1.1)', '[7](10.1.0.5,232.1.1.1)', '(2001:db8::1,ff3e::1)']) {
    t.equal(formatGroup(parseGroup(text)!), text)
    t.equal(formatGroup(groupOf(groupAddress(parseGroup(text)!))!), text)
  }
  for (const text of ['(10.1.0.5,10.1.1.1)', '(*,224.0.0.5)', '(10.1.0.5,ff3e::1)', '(*,ff02::1)'])
    t.equal(parseGroup(text), undefined, text)
  t.equal(isLinkScoped(anAddress('ff12::1')), true)
  t.equal(isLinkScoped(anAddress('ff18::1')), false)
})

t.test(
  'our own RLOC, an RLOC twice and RLOCs of no use here are left out and counted',
  async (t) => {
    const entries = ['192.0.2.1', '203.0.113.1', '192.0.2.1', '239.0.0.1', '192.0.2.2'].map(
      receiver,
    )
    const { copies, ignored } = chooseCopies(config, entries, 0, nothingDown)
    t.same(rlocsOf(copies), ['192.0.2.1', '192.0.2.2'])
    t.same(ignored, { ownRloc: 1, duplicate: 1, unsupported: 1, tooMany: 0 })
  },
)

t.test('a list of 10,000 entries is cut at its limits', async (t) => {
  const entries = Array.from({ length: 10_000 }, (_, n) => receiver(`10.99.${n >> 8}.${n & 255}`))
  const read = entriesOf(listMapping(GROUP, entries, TERMS))
  t.equal(read.entries.length, MAXIMUM_LIST_ENTRIES)
  t.equal(read.ignored, 10_000 - MAXIMUM_LIST_ENTRIES)
  const { copies, ignored } = chooseCopies(config, read.entries, 0, nothingDown)
  t.equal(copies.length, MAXIMUM_COPIES)
  t.equal(ignored.tooMany, MAXIMUM_LIST_ENTRIES - MAXIMUM_COPIES)
})

t.test('an ITR copies to the lowest level, a relay to the next one above its own', async (t) => {
  const entries = [
    { level: 1, address: ip('192.0.2.51') },
    { level: 2, address: ip('192.0.2.61') },
    receiver('192.0.2.1'),
  ]
  const at = (level: number) => rlocsOf(chooseCopies(config, entries, level, nothingDown).copies)
  for (const { source } of chooseCopies(config, entries, 0, nothingDown).copies)
    t.ok(
      config.rlocs.some(({ address }) => equalIpAddresses(address, source)),
      'sent from an RLOC of ours',
    )
  t.same(at(0), ['192.0.2.51'])
  t.same(at(1), ['192.0.2.61'])
  t.same(at(2), ['192.0.2.1'])
})

t.test('of a path the strict hop is used while it is reachable, else the next one', async (t) => {
  const hop = (text: string) => ({ lookup: false, probe: true, strict: true, address: ip(text) })
  const hops = [hop('192.0.2.71'), hop('192.0.2.1')]
  const entries = [{ level: 128, address: { kind: 'explicit-locator-path', hops } as const }]
  t.same(rlocsOf(chooseCopies(config, entries, 0, nothingDown).copies), ['192.0.2.71'])
  const isDown = (rloc: Parameters<typeof formatIpAddress>[0]) =>
    formatIpAddress(rloc) === '192.0.2.71'
  t.same(rlocsOf(chooseCopies(config, entries, 0, isDown).copies), ['192.0.2.1'])
})

t.test('a list looks the same in a register, a reply and a notify', async (t) => {
  const record = listMapping(GROUP, [receiver('192.0.2.1'), receiver('192.0.2.2')], TERMS)
  const carried = { nonce: 1n, records: [], structuredRecords: [record] }
  const signed = {
    ...carried,
    keyId: 0,
    algorithm: 0,
    authenticationData: new Uint8Array(0),
    identity: undefined,
  } as const
  const flags = {
    proxyReply: true,
    securityCapable: false,
    eidNotify: false,
    useTtlForTimeout: false,
    mergeRequest: true,
    wantMapNotify: false,
  }
  for (const message of [
    { kind: 'map-register', ...signed, ...flags },
    { kind: 'map-reply', ...carried, rlocProbe: false, echoNonceCapable: false },
    { kind: 'map-notify', ...signed },
  ] as const) {
    const back = decodeMessage(encodeMessage(message))
    t.match(back, { kind: message.kind, structuredRecords: [{ eid: { kind: 'multicast-info' } }] })
    const again = back.kind === message.kind ? back.structuredRecords![0]! : undefined
    t.same(entriesOf(again!).entries, [receiver('192.0.2.1'), receiver('192.0.2.2')])
  }
})

t.test(
  'in a tree of two levels every receiver is reached once, nobody copies beyond',
  async (t) => {
    const tree = createReplicationTree(2, new Map())
    const relays = [...nodes('near', 2, 1), ...nodes('far', 4, 2)]
    const receivers = nodes('site', 8, 128)
    tree.arrange(receivers, relays)
    const reached: string[] = []
    const walk = (entries: readonly ReplicationEntry[]): void => {
      t.ok(entries.length <= 2)
      for (const { level, address } of entries) {
        const text = address.kind === 'ip' ? formatIpAddress(address.address) : ''
        const relay = relays.find((one) => one.address === address)
        if (level === 128) reached.push(text)
        else walk(tree.relayEntries(relay!.owner))
      }
    }
    walk(tree.rootEntries())
    t.equal(reached.length, 8)
    t.equal(new Set(reached).size, 8)
  },
)

t.test('nobody is moved when others come and go, only those of a relay that is gone', async (t) => {
  const tree = createReplicationTree(2, new Map())
  const relays = nodes('relay', 3, 1)
  tree.arrange(nodes('site', 9, 128), relays)
  const places = () =>
    new Map(
      relays.flatMap(({ owner }) =>
        tree.relayEntries(owner).map(({ address }) => [address, owner] as const),
      ),
    )
  const receivers = nodes('site', 9, 128)
  tree.arrange(receivers, relays)
  const before = places()
  tree.arrange([...receivers.slice(3), ...nodes('new', 4, 128)], relays)
  const after = places()
  for (const { address } of receivers.slice(3)) t.equal(after.get(address), before.get(address))
  tree.arrange(receivers, relays.slice(1))
  const moved = receivers.filter(({ address }) => places().get(address) !== before.get(address))
  t.ok(moved.every(({ address }) => before.get(address) === 'relay-0'))
})

function nodes(name: string, count: number, level: number): TreeNode[] {
  return Array.from({ length: count }, (_, index) => {
    const hash = [...name].reduce((sum, one) => (sum * 31 + one.charCodeAt(0)) & 255, 7)
    const address = ip(`10.${hash}.${level}.${index + 1}`)
    return { owner: `${name}-${index}`, address, level, nonce: 1n }
  })
}

function ip(text: string): AfiAddress {
  return { kind: 'ip', address: anAddress(text) }
}

function receiver(text: string): ReplicationEntry {
  return { level: 128, address: ip(text) }
}

function rlocsOf(copies: readonly Encapsulation[]): string[] {
  return copies.map(({ locator }) => formatIpAddress(locator.rloc))
}
