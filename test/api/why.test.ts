/** `/v1/why` and what is made of it: verdicts, remarks, events, and several nodes compared. */
import t from 'tap'
import type { LoggedEvent } from '../../src/api/event-log.js'
import { explain, type WhyInput } from '../../src/api/why.js'
import type { WhyAnswer } from '../../src/api/why-views.js'
import { compareAnswers } from '../../src/cli/why-comparison.js'
import type { Event } from '../../src/control/event.js'
import type { NodeSnapshot } from '../../src/control/snapshot.js'
import { anEid } from '../support/builders.js'
import { aMove, createFakeNode } from '../support/fake-node.js'

const snapshot = createFakeNode().snapshot()
const [mapping] = snapshot.mapCache
const own = snapshot.mappingDatabase[1]!
const locator = mapping!.locators[0]!

function whyOf(eid: string, about: Partial<NodeSnapshot> = {}, more: Partial<WhyInput> = {}) {
  return explain({
    eid: anEid(eid),
    from: undefined,
    snapshot: { ...snapshot, ...about },
    findings: undefined,
    mapResolvers: ['172.16.4.1'],
    events: [],
    ...more,
  })
}

t.test('of a group it is told who copies and delivers it, (S,G) before (*,G)', async (t) => {
  const entry = {
    instanceId: 7,
    side: 'xtr',
    listeners: 0,
    registered: false,
    followed: true,
  } as const
  const about = { ...entry, level: 0, members: 0, interfaces: [], copies: [] }
  const groups = [
    { ...about, group: '[7](10.1.0.5,232.1.1.1)', copies: ['172.16.1.1', '172.16.2.1'] },
    { ...about, group: '[7](*,232.1.1.1)', interfaces: ['br0'] },
    { ...about, group: '[8](*,232.1.1.1)', instanceId: 8, interfaces: ['br9'] },
    { ...about, group: '[7](*,239.1.1.1)', side: 'map-server' as const, members: 3 },
  ]
  const text = (eid: string, from?: string): string =>
    whyOf(eid, { groups }, { from: from === undefined ? undefined : anEid(from) }).verdict.text
  t.match(text('[7]232.1.1.1', '[7]10.1.0.5'), /copied to 172\.16\.1\.1, 172\.16\.2\.1$/)
  t.match(text('[7]232.1.1.1', '[7]10.1.0.6'), /delivered on br0$/)
  t.match(text('[7]232.1.1.1'), /copied to .*; .*delivered on br0$/)
  t.match(text('[7]239.1.1.1'), /registered: .*by 3 sites/)
  t.match(text('[7]239.1.1.2'), /nobody has asked for/)
})

t.test('each state of a node has its verdict', async (t) => {
  const host = '[7]10.10.0.5'
  const cases: [string, string, Partial<NodeSnapshot>, RegExp][] = [
    ['delivered-here', host, {}, /^is here, on br0 \(02:00:00:00:00:05\)/],
    [
      'held-for-endpoint',
      host,
      { mappingDatabase: [{ ...own, state: 'standby' }] },
      /is expected on br0/,
    ],
    [
      'redirected',
      host,
      { mappingDatabase: [{ ...own, state: 'away' }] },
      /has left for 172\.16\.3\.1/,
    ],
    ['encapsulated', '[7]10.20.0.9', {}, /matches \[7\]10\.20\.0\.0\/24.*sent to 172\.16\.3\.1$/],
    ['dropped', '[7]10.20.0.200', {}, /the mapping says drop/],
    [
      'dropped',
      '[7]10.20.0.9',
      { mapCache: [{ ...mapping!, locators: [{ ...locator, reachable: false }] }] },
      /no locator of it can be used/,
    ],
    [
      'native',
      '[7]10.20.0.9',
      { mapCache: [{ ...mapping!, action: 'natively-forward' }] },
      /not LISP/,
    ],
    ['asked-for', '[7]10.99.0.1', {}, /held while 172\.16\.4\.1 is asked/],
    ['dropped', '[7]10.99.0.1', { roles: ['etr'] }, /no ITR/],
    ['registered', host, { roles: ['map-server'] }, /who asks is told 172\.16\.3\.1/],
    ['not-registered', '[7]10.11.0.1', { roles: ['map-server'] }, /registered by nobody/],
    ['no-packets', host, { roles: ['map-resolver'] }, /forwards no packets/],
  ]
  for (const [code, eid, about, text] of cases) {
    const { verdict } = whyOf(eid, about)
    t.equal(verdict.code, code)
    t.match(verdict.text, text)
  }
})

t.test('shares follow the weights of the best priority', async (t) => {
  const locators = [
    { ...locator, weight: 75 },
    { ...locator, rloc: '172.16.3.2', weight: 25 },
    { ...locator, rloc: '172.16.3.3', priority: 2 },
  ]
  const { verdict } = whyOf('[7]10.20.0.9', { mapCache: [{ ...mapping!, locators }] })
  t.match(verdict.text, 'sent to 172.16.3.1 (75 %), 172.16.3.2 (25 %)')
})

t.test('a datapath that says something else is pointed out', async (t) => {
  const missing = whyOf('[7]10.20.0.9', {}, { findings: [] })
  t.match(missing.remarks, [/the datapath has no entry for \[7\]10\.20\.0\.0\/24/])
  const entry = { table: 'map-cache', match: 'prefix', form: 'forward' } as const
  const other = whyOf('[7]10.20.0.9', {}, { findings: [{ ...entry, rlocs: ['172.16.9.9'] }] })
  t.match(other.remarks, [/sends to 172\.16\.9\.9, which the mapping does not name/])
  const same = whyOf('[7]10.20.0.9', {}, { findings: [{ ...entry, rlocs: ['172.16.3.1'] }] })
  t.same(same.remarks, [])
  const draining = whyOf(
    '[7]10.20.0.9',
    {},
    { findings: [{ ...entry, form: 'draining', rlocs: [] }] },
  )
  t.match(draining.remarks, [/is draining/])
  const local = { table: 'local-eid', match: 'host', form: 'away', rlocs: [] } as const
  const wrong = whyOf('[7]10.10.0.5', {}, { findings: [local] })
  t.match(wrong.remarks, [/the EID is local, the datapath has it as away/])
})

t.test('who does not answer is named', async (t) => {
  const at = new Date(0)
  const logged = (...events: Partial<Event>[]): LoggedEvent[] =>
    events.map((event, index) => ({
      ...{ number: index, id: `x-${index}`, at },
      event: { severity: 'debug', eidPrefix: '[7]10.20.9.9/32', ...event } as Event,
    }))
  const asked = (attempt: number) => ({ name: 'map-request-sent', attempt }) as const
  const remarks = (...events: Partial<Event>[]) =>
    whyOf('[7]10.20.9.9', {}, { events: logged(...events) }).remarks
  t.match(remarks(asked(1), asked(2), asked(3)), [/172\.16\.4\.1 has not answered 3 Map-Requests/])
  t.same(remarks(asked(1)), [], 'not yet')
  t.same(remarks(asked(1), asked(2), { name: 'map-reply-received' }), [])
  const silent: Partial<Event> = {
    name: 'registration-unacknowledged',
    mapServer: '172.16.4.1',
    attempts: 5,
    eidPrefix: undefined,
    eidPrefixes: ['[7]10.20.8.0/24', '[7]10.20.9.9/32'],
  }
  t.match(remarks(silent), [/Map-Server 172\.16\.4\.1 has not acknowledged 5 Map-Registers/])
  t.same(remarks(silent, { name: 'registration-acknowledged' }), [])
})

t.test('a path that is narrower than the configuration says is named', async (t) => {
  const locators = [{ ...snapshot.locators[0]!, pathMtu: 1400 }]
  t.match(whyOf('[7]10.20.0.9', { locators }).remarks, [/path to 172\.16\.3\.1 takes 1400 bytes/])
  const whole = whyOf('[7]10.20.0.9').remarks
  t.notOk(whole.some((one) => one.includes('path to')))
})

t.test('the source is judged as well', async (t) => {
  const from = (text: string) => whyOf('[7]10.20.0.9', {}, { from: anEid(text) }).remarks
  t.match(from('[7]10.10.0.5'), [/10\.10\.0\.5 is here/])
  t.match(from('[7]10.10.0.77'), [/may appear here .* has not been seen/])
  t.match(from('[7]192.0.2.1'), [/no EID of this site/])
})

t.test('events and moves about the EID are shown, others are not', async (t) => {
  const events = (
    [
      { name: 'eid-arrived', severity: 'notice', eid: '[7]10.10.0.5' },
      { name: 'eid-arrived', severity: 'notice', eid: '[7]10.10.0.6' },
      { name: 'registration-acknowledged', severity: 'debug', eidPrefix: '[7]10.10.0.5/32' },
      { name: 'move-requested', severity: 'notice', eids: ['[7]10.10.0.5'] },
      { name: 'move-converged', severity: 'notice', moveId: '0000000100000abc' },
      { name: 'locator-down', severity: 'warning', rloc: '172.16.3.1' },
      { name: 'locator-down', severity: 'warning', rloc: '172.16.3.77' },
    ] as const satisfies readonly Event[]
  ).map((event, number): LoggedEvent => ({ number, id: `x-${number}`, at: new Date(0), event }))
  const { events: shown, moves } = whyOf('[7]10.10.0.5', {}, { events })
  t.same(
    shown.map(({ number }) => number),
    [0, 2, 3, 4, 5],
  )
  t.same(
    moves.map(({ moveId }) => moveId),
    [aMove().moveId],
  )
  const many = Array.from({ length: 50 }, () => events[0]!)
  t.equal(whyOf('[7]10.10.0.5', {}, { events: many }).events.length, 20)
})

// ------------------------------------------------------------------------------- compared

function anAnswer(node: string, about: Partial<WhyAnswer>): WhyAnswer {
  return {
    node,
    roles: ['itr', 'etr'],
    rlocs: [`rloc of ${node}`],
    eid: '[7]10.10.0.5',
    verdict: { code: 'asked-for', text: 'is not in the map-cache' },
    remarks: [],
    registrations: [],
    locators: [],
    moves: [],
    events: [],
    ...about,
  }
}
const towards = (node: string) => [
  { rloc: `rloc of ${node}`, priority: 1, weight: 100, reachable: true },
]
const sendsTo = (node: string): Partial<WhyAnswer> => ({
  verdict: { code: 'encapsulated', text: 'packets are sent' },
  mapCache: {
    ...(mapping! as never as NonNullable<WhyAnswer['mapCache']>),
    locators: towards(node),
  },
})
const hasIt: Partial<WhyAnswer> = { verdict: { code: 'delivered-here', text: 'is here' } }
const hasLeft = (node: string): Partial<WhyAnswer> => ({
  verdict: { code: 'redirected', text: 'has left' },
  local: { ...(own as never as NonNullable<WhyAnswer['local']>), locators: towards(node) },
})
const registeredAt = (node: string): Partial<WhyAnswer> => ({
  roles: ['map-server'],
  verdict: { code: 'registered', text: 'is registered' },
  registrations: [
    {
      ...(snapshot.registrations[0]! as never as WhyAnswer['registrations'][number]),
      locators: towards(node),
    },
  ],
})

t.test('a stale sender, a lost EID, a circle and two owners are found', async (t) => {
  const good = compareAnswers([
    anAnswer('c', sendsTo('a')),
    anAnswer('a', hasIt),
    anAnswer('m', registeredAt('a')),
  ])
  t.same(good, { path: ['c: packets are sent', 'a: is here'], findings: [] })
  const stale = compareAnswers([
    anAnswer('c', sendsTo('a')),
    anAnswer('a', hasLeft('b')),
    anAnswer('b', hasIt),
    anAnswer('m', registeredAt('b')),
  ])
  t.same(stale.path.length, 3)
  t.match(stale.findings, [/^c is out of date: it sends to rloc of a, m says rloc of b/])
  const lost = compareAnswers([anAnswer('c', sendsTo('a')), anAnswer('a', {})])
  t.match(lost.findings, [/packets end at a, which does not have the EID/])
  const circle = compareAnswers([
    anAnswer('c', sendsTo('a')),
    anAnswer('a', hasLeft('b')),
    anAnswer('b', hasLeft('a')),
  ])
  t.match(circle.findings, [/circle: c → a → b → a/])
  const both = compareAnswers([
    anAnswer('a', hasIt),
    anAnswer('b', hasIt),
    anAnswer('m', registeredAt('b')),
  ])
  t.match(both.findings, [/a and b both have the EID/, /a has the EID, m has it registered at/])
  const unregistered = compareAnswers([
    anAnswer('a', hasIt),
    anAnswer('m', { roles: ['map-server'] }),
  ])
  t.match(unregistered.findings, [/not registered at m/])
  const unknown = compareAnswers([anAnswer('c', sendsTo('z')), anAnswer('a', hasIt)])
  t.match(unknown.path[1], /rloc of z: not asked/)
})
