/**
 * What DHCP and duplicate address detection say of EIDs, in literal conversations: an xTR with the
 * dynamic-EID prefix 10.1.0.0/16, whose segment is asked and whose host answers or does not.
 */
import t from 'tap'
import { MAXIMUM_HINTED_EIDS } from '../../src/control/etr/hinted-eids.js'
import { aMapServer, aNodeConfig, anAddress, anEid, aPrefix } from '../support/builders.js'
import { createConversation, namesOf, type Reaction, sentOf } from '../support/conversation.js'
import { MAC } from '../support/xtr-world.js'

const SERVER = '203.0.113.9'
const OTHER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 0x77)

function anXtr() {
  return createConversation(
    aNodeConfig({
      rlocs: aNodeConfig().rlocs.slice(0, 1),
      mapServers: [aMapServer(SERVER)],
      mapResolvers: [anAddress(SERVER)],
      dynamicEidPrefixes: [{ eidPrefix: aPrefix('10.1.0.0/16'), interfaceName: 'site' }],
      rlocProbe: { enabled: false, intervalMs: 10_000, failures: 3 },
    }),
  )
}

function hinted(eid = '10.1.0.5', about: { interfaceName?: string; mac?: Uint8Array } = {}) {
  const { interfaceName = 'site', mac = MAC } = about
  return {
    kind: 'eid-hinted' as const,
    eid: anEid(eid),
    interfaceName,
    mac,
    how: 'dhcpv4' as const,
  }
}

function seen(eid = '10.1.0.5', mac = MAC) {
  return {
    kind: 'local-eid-seen' as const,
    eid: anEid(eid),
    mac,
    interfaceName: 'site',
    how: 'arp' as const,
  }
}

/** When the segment was asked. */
function questions(reactions: readonly Reaction[]): number[] {
  return reactions.flatMap(({ at, operations }) =>
    operations.filter(({ kind }) => kind === 'solicit-endpoint').map(() => at),
  )
}

t.test('a lease that nobody takes is asked about five times and claims nothing', async (t) => {
  const talk = anXtr()
  const said = talk.datapath(1000, hinted())
  t.same(said.names, ['eid-hinted dhcpv4'])
  t.same(said.operations, [], 'the address is not there yet')
  const after = talk.runUntil(20_000)
  t.same(questions(after), [1100, 1300, 1700, 2500, 3500])
  t.same(sentOf([said, ...after], 'map-register'), [])
})

t.test('the host that answers is registered, and is asked no more', async (t) => {
  const talk = anXtr()
  talk.datapath(1000, hinted())
  t.same(questions(talk.runUntil(1100)), [1100])
  const answered = [talk.datapath(1105, seen()), ...talk.runUntil(5000)]
  t.ok(namesOf(answered).includes('eid-arrived arp'))
  t.ok(sentOf(answered, 'map-register').length > 0)
  t.same(questions(answered), [])
  t.same(talk.datapath(6000, hinted()).names, ['eid-hint-ignored already-here'], 'it renews')
  t.same(questions(talk.runUntil(9900)), [])
})

t.test('an address that got another host is asked for, until that one answers', async (t) => {
  const talk = anXtr()
  talk.datapath(1000, seen())
  talk.datapath(2000, hinted('10.1.0.5', { mac: OTHER_MAC }))
  t.same(questions(talk.runUntil(2100)), [2100])
  talk.datapath(2110, seen('10.1.0.5', OTHER_MAC))
  t.same(questions(talk.runUntil(9000)), [])
})

t.test('hints outside the prefixes or on another interface ask nothing', async (t) => {
  const talk = anXtr()
  for (const one of [hinted('10.9.0.5'), hinted('10.1.0.5', { interfaceName: 'other' })])
    t.same(talk.datapath(1000, one).names, ['eid-hint-ignored outside-dynamic-prefixes'])
  t.same(questions(talk.runUntil(9000)), [])
})

t.test('hints without end neither put off the first question nor multiply them', async (t) => {
  const talk = anXtr()
  const all: Reaction[] = []
  for (let at = 1000; at < 2000; at += 10)
    all.push(...talk.runUntil(at), talk.datapath(at, hinted()))
  const asked = questions([...all, ...talk.runUntil(20_000)])
  t.equal(asked[0], 1100)
  t.ok(asked.length <= 10 + 5, `${asked.length} questions for 100 hints in a second`)
})

t.test(`no more than ${MAXIMUM_HINTED_EIDS} EIDs are asked for at one time`, async (t) => {
  const talk = anXtr()
  const names = Array.from({ length: MAXIMUM_HINTED_EIDS + 1 }, (_, index) => {
    return talk.datapath(1000, hinted(`10.1.${1 + (index >> 8)}.${index & 255}`)).names[0]
  })
  t.equal(names.at(-2), 'eid-hinted dhcpv4')
  t.equal(names.at(-1), 'eid-hint-ignored too-many-sought')
  talk.runUntil(9000)
  t.same(talk.datapath(9000, hinted()).names, ['eid-hinted dhcpv4'], 'and then others')
})
