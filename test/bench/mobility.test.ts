/**
 * Moves by five ways: what is published follows from the moves, and each way switches off what its
 * name says and nothing else. Nothing is measured here.
 */
import t from 'tap'
import { drawMobility } from '../../bench/mobility/chart.js'
import { summarise } from '../../bench/mobility/measure.js'
import { adjustFor, isLisp, WAYS } from '../../bench/mobility/ways.js'
import { formatMarkdown, formatTable } from '../../bench/report.js'
import {
  type Mobility,
  type MobilityMove,
  mergeResults,
  type Results,
} from '../../bench/results.js'

const aMove = (lost: number, longestGapMs: number, convergedMs: number | null): MobilityMove => ({
  sent: 4_000,
  lost,
  duplicated: 3,
  reordered: 1,
  downtimeMs: 201.4,
  longestGapMs,
  convergedMs,
})

const MOBILITY: Mobility = {
  commit: 'abc',
  date: '2026-01-01',
  packetsPerSecond: 1_000,
  streams: 4,
  ways: [
    summarise('route', [aMove(810, 250, 12), aMove(400, 230, 14), aMove(500, 1_035, 11)]),
    summarise('prepared', [aMove(0, 206, 9), aMove(0, 207, null), aMove(0, 211, null)]),
  ],
}

const EMPTY: Results = {
  machine: '2 × <Test> & Co',
  kernel: '6.18',
  commit: 'abc',
  date: '2026-01-01',
  mode: 'full',
  vxlanGro: true,
  idleBusyCpus: 0,
  seconds: 1,
  cells: [],
  latency: [],
  resolution: null,
  moves: null,
  scale: null,
  mobility: null,
  evacuation: null,
  multicast: null,
  targets: [],
}

t.test('a way is the medians of its moves, and has not converged when most have not', async (t) => {
  t.match(MOBILITY.ways[0], {
    lost: { median: 500, largest: 810 },
    lostInAll: 1_710,
    gapMs: { median: 250, largest: 1_035 },
    convergedMs: 12,
  })
  t.match(MOBILITY.ways[1], { lostInAll: 0, convergedMs: null })
  t.match(summarise('smr', []), { lostInAll: 0, gapMs: { median: 0 }, convergedMs: null })
})

t.test('table, page and picture show every way', async (t) => {
  const results = { ...EMPTY, mobility: MOBILITY }
  t.match(formatTable(results), /no LISP.* 1710 .* 500 \(810\)/)
  const page = formatMarkdown(results)
  t.match(page, '| prepared: live move, all of it | 12000 | 0 | 0 (0) | 207 (211) | not | 9 | 3 |')
  t.match(page, '![Packets lost and longest gap, five ways](mobility.svg)')
  const picture = drawMobility(MOBILITY, '2 × <Test> & Co')
  t.match(picture, '&lt;Test&gt; &amp; Co')
  t.equal(picture.match(/<circle /g)?.length, 12, 'a dot for each move in each of two panels')
  t.notMatch(picture, /NaN|undefined|Infinity/)
  t.notMatch(formatMarkdown(EMPTY), 'mobility.svg')
})

t.test('parts measured alone replace only themselves in earlier results', async (t) => {
  const former = { ...EMPTY, commit: 'old', mobility: MOBILITY }
  const newer = { ...MOBILITY, commit: 'new' }
  const merged = mergeResults(former, { ...EMPTY, commit: 'new', mobility: newer })
  t.match(merged, { commit: 'old', mobility: { commit: 'new' } })
  t.equal(mergeResults(former, EMPTY).mobility?.commit, 'abc')
})

t.test(
  'each way leaves on what its name says, and nothing else that carries the news',
  async (t) => {
    const switches = WAYS.map((way) => {
      const etr = adjustFor(way)('cloud-a', { roles: ['itr', 'etr'], mobility: { key: 1 } })
      const server = adjustFor(way)('mapping', { roles: ['map-server'] })
      return [way, isLisp(way), etr['mobility'], etr['publishSubscribe'], server['subscriptions']]
    })
    const off = { key: 1, redirect: false, solicit: false }
    t.same(switches, [
      ['route', false, { key: 1 }, undefined, undefined],
      ['away', true, { ...off, redirect: true }, { subscribe: false }, { accept: false }],
      ['smr', true, { ...off, solicit: true }, { subscribe: false }, { accept: false }],
      ['publish', true, off, { subscribe: true }, { accept: true }],
      ['prepared', true, { key: 1 }, undefined, undefined],
    ])
  },
)
