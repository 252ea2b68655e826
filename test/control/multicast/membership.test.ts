/**
 * IGMP and MLD on one segment in virtual time: the tables and timers of RFC 3376 and RFC 3810, hosts and
 * queriers of older versions, limits, and hosts that move. With the default times: robustness 2, queries
 * every 125 s, answers within 10 s, so that a report counts for 260 s and a leave takes 2 s.
 */
import t from 'tap'
import { anAddress } from '../../support/builders.js'
import { aSegment } from '../../support/segment-world.js'

const G = '239.1.1.1'
const [A, B, C, D] = ['10.9.0.1', '10.9.0.2', '10.9.0.3', '10.9.0.4']
const H1 = '10.0.0.21'
const H2 = '10.0.0.22'
const MEMBERSHIP_MS = 260_000

/** `(A,G)` of letters. */
function names(...sources: string[]): string[] {
  return sources.map((source) => `(${source},${G})`).sort()
}
const ANY = `(*,${G})`

/** State as `IN sources` or `EX sources; excluded`. */
function stateOf(world: ReturnType<typeof aSegment>): string {
  const [view] = world.segment.listeners.views(world.now())
  if (view === undefined) return 'nobody'
  const sources = [...view.sources].sort().join(' ')
  return view.mode === 'include'
    ? `IN ${sources}`
    : `EX ${sources}; ${[...view.excluded].sort().join(' ')}`
}

/** The rows of RFC 3376 §6.4.1 and §6.4.2: state before, record, state after, what is asked. */
const ROWS: readonly (readonly [
  before: string[],
  record: string,
  after: string,
  asked: string[],
])[] = [
  [[`IS_IN ${G} ${A} ${B}`], `IS_IN ${G} ${B} ${C}`, `IN ${A} ${B} ${C}`, []],
  [[`IS_IN ${G} ${A} ${B}`], `IS_EX ${G} ${B} ${C}`, `EX ${B}; ${C}`, []],
  [[`IS_IN ${G} ${A} ${B}`], `ALLOW ${G} ${C}`, `IN ${A} ${B} ${C}`, []],
  [[`IS_IN ${G} ${A} ${B}`], `BLOCK ${G} ${B} ${C}`, `IN ${A} ${B}`, [`${G} ${B}`]],
  [[`IS_IN ${G} ${A} ${B}`], `TO_EX ${G} ${B} ${C}`, `EX ${B}; ${C}`, [`${G} ${B}`]],
  [[`IS_IN ${G} ${A} ${B}`], `TO_IN ${G} ${B} ${C}`, `IN ${A} ${B} ${C}`, [`${G} ${A}`]],
  // EXCLUDE (X={A}, Y={B}): somebody wants A, nobody B.
  [[`IS_EX ${G} ${B}`, `ALLOW ${G} ${A}`], `IS_IN ${G} ${B} ${C}`, `EX ${A} ${B} ${C}; `, []],
  [[`IS_EX ${G} ${B}`, `ALLOW ${G} ${A}`], `IS_EX ${G} ${A} ${B} ${C}`, `EX ${A} ${C}; ${B}`, []],
  [[`IS_EX ${G} ${B}`, `ALLOW ${G} ${A}`], `IS_EX ${G} ${D}`, `EX ${D}; `, []],
  [[`IS_EX ${G} ${B}`, `ALLOW ${G} ${A}`], `ALLOW ${G} ${B}`, `EX ${A} ${B}; `, []],
  [
    [`IS_EX ${G} ${B}`, `ALLOW ${G} ${A}`],
    `BLOCK ${G} ${A} ${B} ${C}`,
    `EX ${A} ${C}; ${B}`,
    [`${G} ${A} ${C}`],
  ],
  [
    [`IS_EX ${G} ${B}`, `ALLOW ${G} ${A}`],
    `TO_EX ${G} ${A} ${B} ${C}`,
    `EX ${A} ${C}; ${B}`,
    [`${G} ${A} ${C}`],
  ],
  [
    [`IS_EX ${G} ${B}`, `ALLOW ${G} ${A}`],
    `TO_IN ${G} ${C}`,
    `EX ${A} ${C}; ${B}`,
    [G, `${G} ${A}`],
  ],
]

t.test('every record changes the state and asks as the tables of RFC 3376 §6.4 say', async (t) => {
  for (const [before, record, after, asked] of ROWS) {
    const world = aSegment()
    world.report(H1, ...before)
    world.run(3000)
    world.asked()
    world.report(H2, record)
    t.equal(stateOf(world), after, `${before.join(', ')}, then ${record}`)
    t.same(world.asked(), asked, `asked after ${record}`)
  }
})

/** IPv6 in place of IPv4, for the same tables. */
function six(text: string): string {
  return text.replace(G, 'ff1e::1').replace(/10\.9\.0\./g, '2001:db8::')
}

t.test('MLDv2 does the same with IPv6 addresses (RFC 3810 §7.4)', async (t) => {
  for (const [before, record, after, asked] of ROWS) {
    const world = aSegment({ family: 6 })
    world.report('fe80::21', ...before.map(six))
    world.run(3000)
    world.asked()
    world.report('fe80::22', six(record))
    t.equal(stateOf(world), six(after), `${before.join(', ')}, then ${record}`)
    t.same(world.asked(), asked.map(six), `asked after ${record}`)
  }
})

t.test('a source ends with its timer, a group with its last source (RFC 3376 §6.3)', async (t) => {
  const world = aSegment()
  world.report(H1, `IS_IN ${G} ${A}`)
  world.run(100_000)
  world.report(H1, `IS_IN ${G} ${B}`)
  world.run(MEMBERSHIP_MS - 100_001)
  t.same(world.joined(), names(A, B))
  world.run(1)
  t.same(world.joined(), names(B), 'A after 260 s')
  world.run(99_999)
  t.same(world.joined(), names(B))
  world.run(1)
  t.same(world.joined(), [])
  t.equal(stateOf(world), 'nobody')
})

t.test('EXCLUDE ends in INCLUDE of what is still asked for (RFC 3376 §6.5)', async (t) => {
  const world = aSegment()
  world.report(H1, `IS_EX ${G} ${B}`)
  world.run(100_000)
  world.report(H2, `ALLOW ${G} ${A}`)
  t.same(world.joined(), [ANY, ...names(A)].sort(), 'any source, and the one that a host names')
  world.run(MEMBERSHIP_MS - 100_000)
  t.equal(stateOf(world), `IN ${A}`)
  t.same(world.joined(), names(A))
})

t.test('in EXCLUDE mode a source that nobody asks for any more is excluded', async (t) => {
  const world = aSegment()
  world.report(H1, `IS_EX ${G}`)
  world.report(H2, `ALLOW ${G} ${A}`)
  world.run(200_000)
  world.report(H1, `IS_EX ${G} ${A}`)
  world.run(MEMBERSHIP_MS - 200_000)
  t.equal(stateOf(world), `EX ; ${A}`, 'its timer was not set anew, because A was known')
})

t.test(
  'a leave is asked about twice, a second apart, and ends after two (RFC 3376 §8.8)',
  async (t) => {
    const world = aSegment()
    world.report(H1, `TO_EX ${G}`)
    world.run(3000)
    world.asked()
    world.report(H1, `TO_IN ${G}`)
    t.same(world.asked(), [G])
    world.run(999)
    t.same(world.asked(), [])
    world.run(1)
    t.same(world.asked(), [G])
    world.run(999)
    t.same(world.owed(), [`${ANY} ${H1}`], 'not before')
    world.run(1)
    t.same(world.owed(), [])
    t.same(
      world.changes,
      [`+${ANY} ${H1}`, `-${ANY} ${H1}`],
      'the leave is the reverse of the join',
    )
  },
)

t.test(
  'who answers the question keeps the group, and the rest is asked with the S flag',
  async (t) => {
    const world = aSegment()
    world.report(H1, `TO_EX ${G}`)
    world.report(H2, `TO_EX ${G}`)
    world.run(3000)
    world.asked()
    world.report(H1, `TO_IN ${G}`)
    world.run(500)
    world.report(H2, `IS_EX ${G}`)
    world.asked()
    world.run(500)
    t.same(
      world.asked(),
      [`${G} S`],
      'RFC 3376 §6.6.3.1: the timer is above the last member query time',
    )
    world.run(10_000)
    t.same(world.owed(), [`${ANY} ${H2}`])
  },
)

t.test(
  'sources that were answered and those that were not are asked apart (RFC 3376 §6.6.3.2)',
  async (t) => {
    const world = aSegment()
    world.report(H1, `IS_IN ${G} ${A} ${B}`)
    world.run(3000)
    world.asked()
    world.report(H1, `BLOCK ${G} ${A} ${B}`)
    t.same(world.asked(), [`${G} ${A} ${B}`])
    world.report(H2, `IS_IN ${G} ${B}`)
    world.run(1000)
    t.same(world.asked(), [`${G} ${B} S`, `${G} ${A}`])
    world.run(1000)
    t.same(world.joined(), names(B))
  },
)

t.test('many leaves of one group make one query in an interval', async (t) => {
  const world = aSegment()
  world.run(40_000)
  world.asked()
  for (let round = 0; round < 50; round += 1) {
    world.report(H1, `TO_EX ${G}`)
    world.report(H1, `TO_IN ${G}`)
    world.run(100)
  }
  t.ok(world.asked().filter((text) => text.startsWith(G)).length <= 6, 'five seconds, six queries')
})

t.test('questions about many groups are spread, and what waits keeps its timers', async (t) => {
  const world = aSegment({ maximumGroups: 1000, maximumGroupsPerHost: 1000 })
  world.run(40_000)
  const groups = Array.from({ length: 300 }, (_, i) => `239.2.${i >> 8}.${i & 255}`)
  world.report(H1, ...groups.map((group) => `TO_EX ${group}`))
  world.asked()
  world.report(H1, ...groups.map((group) => `TO_IN ${group}`))
  t.equal(world.asked().length, 100)
  world.run(1999)
  t.equal(world.joined().length, 300, 'none ends before it was asked about for two seconds')
  world.run(20_000)
  t.equal(world.joined().length, 0)
})

// ---------------------------------------------------------------------------------- the querier

t.test(
  'a querier begins with queries a quarter of the interval apart (RFC 3376 §8.6, §8.7)',
  async (t) => {
    const world = aSegment()
    world.run(300_000)
    t.same(
      world.sent.map(({ at }) => at),
      [0, 31_250, 156_250, 281_250],
    )
    t.ok(world.sent.every(({ text, to }) => text === 'general' && to === '224.0.0.1'))
    const [first, second] = world.sent.map(({ query }) => query)
    t.equal(first?.maxResponseCode, 10, 'our choice: after a start within a second')
    t.equal(second?.maxResponseCode, 100, 'then within ten')
    t.match(second?.sourceTerms, { robustness: 2, queryIntervalCode: 125 })
  },
)

t.test('a router of a higher address hears at once who is querier, once a second', async (t) => {
  const world = aSegment({ own: '10.0.0.5' })
  world.run(100_000)
  world.asked()
  for (let count = 0; count < 20; count += 1) {
    world.query('10.0.0.9')
    world.run(100)
  }
  world.run(1000)
  t.same(world.asked(), ['general', 'general', 'general'])
  world.run(120_000)
  t.same(world.asked(), [], 'and the next one after an interval')
  world.query('10.0.0.2')
  world.query('10.0.0.9')
  world.run(2000)
  t.same(world.asked(), [], 'not by us when another one is')
})

t.test(
  'the lowest address is querier, and another one only as long as it asks (RFC 3376 §6.6.2)',
  async (t) => {
    const world = aSegment({ own: '10.0.0.5' })
    t.same(world.queriers, ['ours'])
    world.query('10.0.0.9')
    t.same(world.queriers, ['ours'], 'a higher one is not')
    world.run(1000)
    world.asked()
    world.query('10.0.0.2')
    t.same(world.queriers, ['ours', '10.0.0.2'])
    world.run(254_999)
    t.same(world.asked(), [], 'silent: 2 x 125 s + 5 s')
    world.run(1)
    t.same(world.queriers, ['ours', '10.0.0.2', 'ours'])
    t.same(world.asked(), ['general'])
    world.query('10.0.0.2')
    world.run(100_000)
    world.query('10.0.0.2')
    world.run(200_000)
    t.equal(world.queriers.at(-1), '10.0.0.2', 'each query is a new interval')
    world.query('10.0.0.1')
    t.equal(world.queriers.at(-1), '10.0.0.1', 'and a lower one takes its place')
  },
)

t.test('a switch that asks from 0.0.0.0 elects nobody (RFC 4541 §2.1.1)', async (t) => {
  const world = aSegment()
  world.query('0.0.0.0')
  t.same(world.queriers, ['ours'])
})

t.test('without an address we ask from 0.0.0.0, and give way to anybody', async (t) => {
  const world = aSegment({ own: '0.0.0.0' })
  t.equal(world.sent.length, 1)
  world.query('192.168.255.255')
  t.same(world.queriers, ['ours', '192.168.255.255'])
})

t.test(
  "the querier's robustness and interval hold for all (RFC 3376 §4.1.6, §4.1.7)",
  async (t) => {
    const world = aSegment()
    const terms = {
      suppressRouterProcessing: false,
      robustness: 3,
      queryIntervalCode: 20,
      sources: [],
    }
    world.query('10.0.0.2', { sourceTerms: terms })
    world.report(H1, `IS_EX ${G}`)
    world.run(69_999)
    t.same(world.joined(), [ANY])
    world.run(1)
    t.same(world.joined(), [], '3 x 20 s + 10 s')
    const silent = { ...terms, robustness: 0, queryIntervalCode: 0 }
    world.query('10.0.0.2', { sourceTerms: silent })
    world.report(H1, `IS_EX ${G}`)
    world.run(200_000)
    t.same(world.joined(), [ANY], 'zero says nothing: our own')
  },
)

t.test(
  'who is not querier asks nothing, and believes the questions of the one who is',
  async (t) => {
    const world = aSegment()
    world.report(H1, `TO_EX ${G}`)
    world.query('10.0.0.2')
    world.asked()
    world.report(H1, `TO_IN ${G}`)
    world.run(100)
    t.same(world.asked(), [])
    t.same(world.joined(), [ANY])
    world.query('10.0.0.2', { group: anAddress(G) })
    world.run(1999)
    t.same(world.joined(), [ANY])
    world.run(1)
    t.same(world.joined(), [], 'RFC 3376 §6.6.1: twice the response time of the query')
  },
)

t.test('a question with the S flag leaves timers alone (RFC 3376 §6.6.1)', async (t) => {
  const world = aSegment()
  world.report(H1, `TO_EX ${G}`)
  const terms = {
    suppressRouterProcessing: true,
    robustness: 2,
    queryIntervalCode: 125,
    sources: [],
  }
  world.query('10.0.0.2', { group: anAddress(G), sourceTerms: terms })
  world.run(10_000)
  t.same(world.joined(), [ANY])
})

t.test('the question of one who is not querier leaves timers alone', async (t) => {
  const world = aSegment()
  world.report(H1, `TO_EX ${G}`)
  world.query('10.0.0.200', { group: anAddress(G) })
  world.run(10_000)
  t.same(world.joined(), [ANY])
})

t.test('a querier of another version is reported (RFC 3376 §7.3.1)', async (t) => {
  const world = aSegment()
  world.receive(
    {
      kind: 'membership-query',
      protocol: 'igmp',
      version: 2,
      maxResponseCode: 100,
      group: anAddress('0.0.0.0'),
    },
    '10.0.0.2',
  )
  t.match(
    world.events.find(({ name }) => name === 'querier-version-differs'),
    { theirs: 2, ours: 3, from: '10.0.0.2' },
  )
  t.equal(world.queriers.at(-1), '10.0.0.2', 'and is elected all the same')
})

// ---------------------------------------------------------------------------------- older versions

t.test('a report of IGMPv2 joins any source, and its leave is asked about', async (t) => {
  const world = aSegment()
  world.older(H1, G, 2)
  t.same(world.joined(), [ANY])
  world.run(3000)
  world.asked()
  world.leave(H1, G)
  t.same(world.asked(), [G])
  world.run(2000)
  t.same(world.joined(), [])
})

t.test(
  'beside a host of IGMPv2, BLOCK and source lists of TO_EX are not believed (RFC 3376 §7.3.2)',
  async (t) => {
    const world = aSegment()
    world.older(H1, G, 2)
    world.report(H2, `TO_EX ${G} ${A}`)
    t.equal(stateOf(world), 'EX ; ')
    world.report(H2, `BLOCK ${G} ${A}`)
    t.equal(stateOf(world), 'EX ; ')
    world.report(H2, `IS_EX ${G}`)
    world.run(MEMBERSHIP_MS - 1)
    world.report(H2, `IS_EX ${G}`)
    world.run(1)
    world.report(H2, `TO_EX ${G} ${A}`)
    t.equal(stateOf(world), `EX ${A}; `, 'after the Older Version Host Present Interval')
  },
)

t.test('beside a host of IGMPv1 nobody leaves but by silence (RFC 3376 §7.3.2)', async (t) => {
  const world = aSegment()
  world.older(H1, G, 1)
  world.leave(H2, G)
  world.report(H2, `TO_IN ${G}`)
  world.run(100_000)
  t.same(world.joined(), [ANY])
  world.run(MEMBERSHIP_MS)
  t.same(world.joined(), [])
})

t.test('MLDv1 reports and Done do what those of IGMPv2 do (RFC 3810 §8.3.2)', async (t) => {
  const world = aSegment({ family: 6 })
  world.older('fe80::21', 'ff1e::1', 1)
  t.same(world.joined(), ['(*,ff1e::1)'])
  world.report('fe80::22', 'TO_EX ff1e::1 2001:db8::1')
  t.equal(stateOf(world), 'EX ; ')
  world.run(MEMBERSHIP_MS - 2000)
  world.asked()
  world.leave('fe80::21', 'ff1e::1')
  t.same(world.asked(), ['ff1e::1'])
  world.run(2000)
  t.same(world.joined(), [])
})

t.test(
  'as a router of an older version we ask like one and do not hear newer reports',
  async (t) => {
    const two = aSegment({ version: 2 })
    t.match(two.sent[0]?.query, { version: 2, maxResponseCode: 10 })
    two.report(H1, `IS_EX ${G}`)
    t.same(two.joined(), [])
    t.same(two.reasons(), ['membership-ignored newer-version'])
    two.older(H1, G, 2)
    t.same(two.joined(), [ANY])
    two.asked()
    two.leave(H1, G)
    t.same(two.asked(), [G])
    const one = aSegment({ version: 1 })
    t.match(one.sent[0]?.query, { version: 1, maxResponseCode: 0 })
    one.older(H1, G, 1)
    one.leave(H1, G)
    one.run(100_000)
    t.same(one.joined(), [ANY], 'IGMPv1 knows no leave')
    const mld = aSegment({ family: 6, version: 1 })
    t.match(mld.sent[0]?.query, { version: 1, maxResponseCode: 1000 })
  },
)

// ---------------------------------------------------------------------------------- what is not taken

t.test('in the SSM range nobody joins any source (RFC 4604 §2.2)', async (t) => {
  const world = aSegment()
  world.report(H1, 'IS_EX 232.1.1.1', `TO_EX 232.1.1.2 ${A}`)
  world.older(H1, '232.1.1.3', 2)
  t.same(world.joined(), [])
  t.ok(world.reasons().every((one) => one === 'group-refused any-source-in-ssm-range'))
  world.report(H1, `ALLOW 232.1.1.1 ${A}`)
  t.same(world.joined(), [`(${A},232.1.1.1)`])
  world.run(3000)
  world.asked()
  world.report(H1, 'TO_IN 232.1.1.1')
  t.same(world.asked(), [`232.1.1.1 ${A}`], 'and no query is about the whole group')
  const v6 = aSegment({ family: 6 })
  v6.report('fe80::21', 'IS_EX ff3e::1', 'IS_EX ff3e:20::1')
  t.same(v6.joined(), ['(*,ff3e:20::1)'], 'ff3x::/32 only')
})

t.test('groups of the link and what is no group are nobody’s affair', async (t) => {
  const world = aSegment()
  world.report(H1, 'IS_EX 224.0.0.251', 'IS_EX 224.0.0.22')
  t.same(world.joined(), [])
  t.same(world.reasons(), [], 'every host reports some')
  world.report(H1, 'IS_EX 10.1.1.1')
  t.same(world.reasons(), ['group-refused not-a-group'])
  world.report(H1, `IS_IN ${G} 224.1.1.1 0.0.0.0 ${A}`)
  t.same(world.joined(), names(A), 'sources that can be none are left out')
})

t.test('MLD from beyond the link is not used (RFC 3810 §6.2)', async (t) => {
  const record = { type: 'mode-is-exclude', group: anAddress('ff1e::1'), sources: [] } as const
  const message = { kind: 'source-membership-report', protocol: 'mld', records: [record] } as const
  for (const [from, more] of [
    ['2001:db8::21', {}],
    ['::', {}],
    ['fe80::21', { hopLimit: 2 }],
    ['fe80::21', { routerAlert: false }],
  ] as const) {
    const world = aSegment({ family: 6 })
    world.receive(message, from, more)
    t.same(world.joined(), [])
    t.same(world.reasons(), ['membership-ignored not-of-the-link'])
    world.receive(message, 'fe80::21')
    t.same(world.joined(), ['(*,ff1e::1)'])
  }
})

t.test('broken messages and what we said ourselves change nothing', async (t) => {
  const world = aSegment()
  world.receiveBytes(Uint8Array.of(0x11, 0, 0, 0, 1, 2, 3, 4), '10.0.0.1')
  t.same(world.reasons(), ['membership-ignored bad-checksum'])
  world.query('10.0.0.5')
  t.same(world.queriers, ['ours'])
})

t.test('a host that reports from 0.0.0.0 listens, without a name', async (t) => {
  const world = aSegment()
  world.report('0.0.0.0', `IS_EX ${G}`)
  t.same(world.owed(), [`${ANY} -`])
})

// ---------------------------------------------------------------------------------- hosts

t.test('every host is told of once, and the last one is the leave', async (t) => {
  const world = aSegment()
  world.report(H1, `IS_IN ${G} ${A}`)
  world.report(H2, `IS_IN ${G} ${A} ${B}`)
  t.same(world.owed(), [`(${A},${G}) ${H1}`, `(${A},${G}) ${H2}`, `(${B},${G}) ${H2}`].sort())
  world.report(H1, `TO_IN ${G}`)
  t.same(world.owed(), [`(${A},${G}) ${H2}`, `(${B},${G}) ${H2}`].sort())
  world.run(2000)
  t.same(world.owed(), [], 'H2 did not answer')
})

t.test('with fast leave the last host that is known of is not asked about', async (t) => {
  const world = aSegment({ fastLeave: true })
  world.report(H1, `IS_IN ${G} ${A} ${B}`)
  world.report(H2, `IS_EX ${G}`)
  world.asked()
  world.report(H2, `TO_IN ${G}`)
  t.same(world.joined(), names(A, B), 'what the other one wants stays')
  world.report(H1, `BLOCK ${G} ${A}`)
  t.same(world.joined(), names(B))
  world.report(H1, `BLOCK ${G} ${B}`)
  t.same(world.joined(), [])
  t.same(world.asked(), [])
})

t.test('beside a host of an older version a fast leave is asked about all the same', async (t) => {
  const world = aSegment({ fastLeave: true })
  world.older(H1, G, 2)
  world.asked()
  world.leave(H1, G)
  t.same(world.asked(), [G], 'another one may have kept quiet')
  t.same(world.joined(), [ANY])
})

t.test('what a host that has moved away listened to ends at once', async (t) => {
  const world = aSegment()
  world.report(H1, `IS_IN ${G} ${A}`, 'IS_EX 239.1.1.2')
  world.report(H2, 'IS_EX 239.1.1.2')
  world.asked()
  world.act((outputs) =>
    world.segment.bid(
      Uint8Array.of(2, 0, 10, 0, 0, 21),
      anAddress('10.77.0.1'),
      world.now(),
      outputs,
    ),
  )
  t.same(world.owed(), [`(*,239.1.1.2) ${H2}`])
  t.same(world.asked(), [], 'nobody is asked: it is known who is left')
  world.act((outputs) => world.segment.bid(undefined, anAddress(H2), world.now(), outputs))
  t.same(world.owed(), [], 'by address as well')
})

t.test(
  'where others may have kept quiet, the groups of a moved host are asked about',
  async (t) => {
    const world = aSegment()
    world.older(H1, G, 2)
    world.asked()
    world.act((outputs) => world.segment.bid(undefined, anAddress(H1), world.now(), outputs))
    t.same(world.asked(), [G])
    t.same(world.joined(), [ANY])
    world.run(2000)
    t.same(world.joined(), [])
  },
)

t.test('a host that has come is asked alone', async (t) => {
  const world = aSegment()
  world.asked()
  const mac = Uint8Array.of(2, 0, 0, 0, 0, 7)
  world.act((outputs) => world.segment.greet(mac, world.now(), outputs))
  t.match(world.sent, [{ text: 'general', to: '224.0.0.1', mac: '020000000007' }])
  t.equal(world.sent[0]?.query.maxResponseCode, 1)
})

// ---------------------------------------------------------------------------------- limits

t.test('a host that joins 100,000 groups gets its share, and the others theirs', async (t) => {
  const world = aSegment({ maximumGroups: 60, maximumGroupsPerHost: 50 })
  for (let first = 0; first < 100_000; first += 100) {
    const records = Array.from({ length: 100 }, (_, i) => {
      const number = first + i
      return `IS_EX 239.${number >> 16}.${(number >> 8) & 255}.${number & 255}`
    })
    world.report(H1, ...records)
  }
  t.equal(world.joined().length, 50)
  t.equal(world.segment.view().refused, 99_950)
  const loud = world.events.filter(({ severity }) => severity === 'warning')
  t.equal(loud.length, 1, 'said aloud once a second')
  t.equal(loud[0]?.reason, 'too-many-groups-of-host')
  const others = Array.from({ length: 20 }, (_, i) => `IS_EX 238.0.0.${i}`)
  world.report(H2, ...others)
  t.equal(world.joined().length, 60, 'up to the limit of the segment')
  t.ok(world.reasons().includes('group-refused too-many-groups'))
  world.report(H2, ...others.slice(0, 5).map((text) => text.replace('IS_EX', 'TO_IN')))
  world.run(2000)
  world.report(H2, 'IS_EX 238.0.0.19')
  t.ok(world.joined().includes('(*,238.0.0.19)'), 'and again when others have left')
})

t.test('sources beyond the limit of a group are not served, and counted', async (t) => {
  const world = aSegment({ maximumSources: 3 })
  world.report(H1, `IS_IN ${G} ${A} ${B} ${C} ${D}`)
  t.same(world.joined(), names(A, B, C))
  t.same(world.reasons().at(-1), 'group-refused too-many-sources')
  t.equal(world.segment.view().refused, 1)
})
