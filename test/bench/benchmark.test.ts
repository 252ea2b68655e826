/**
 * The benchmark's arithmetic and its network: what is published must follow from the runs, and a
 * target must be missed when it is missed. Nothing is measured here.
 */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { drawChart } from '../../bench/chart.js'
import type { Figure, Load } from '../../bench/loads.js'
import { drawMulticast } from '../../bench/multicast-chart.js'
import { leafRloc, multicastTopology, relayRloc } from '../../bench/multicast-network.js'
import { familiesOf, parseOptions } from '../../bench/options.js'
import type { Core, System } from '../../bench/paths.js'
import { formatMarkdown, formatTable } from '../../bench/report.js'
import { judgeTargets, makeCell, median, type Results, type Run } from '../../bench/results.js'
import { resultsPage } from '../../bench/results-page.js'
import { benchmarkTopology } from '../../bench/topology.js'
import { parseConfig } from '../../src/config/load.js'
import { packageFile } from '../../src/lab/names.js'

t.test(
  'a cell is the median of each system, and null where a system was not measured',
  async (t) => {
    t.equal(median([5, 1, 3]), 3)
    t.equal(median([4, 1]), 2.5)
    t.equal(median([]), undefined)
    const cell = makeCell({ path: 'v4/v4', core: 'gso', load: 'udp64' }, [
      ...runsOf('godwit', [190_000, 210_000, 1]),
      ...runsOf('vxlan', [100_000, 130_000, 120_000]),
    ])
    t.equal(cell.godwit, 190_000)
    t.equal(cell.vxlan, 120_000)
    t.equal(cell.plain, null)
    t.equal(cell.runs.length, 6)
    t.equal(cell.cpuNsPerPacket['vxlan'], 8_333)
  },
)

t.test('every target is judged by its own bar', async (t) => {
  const judge = (core: Core, load: Load, godwit: number, rfc9305?: number) =>
    judgeTargets([cellOf(core, load, { godwit, vxlan: 100, plain: 150, rfc9305 })], null).map(
      ({ target, met }) => [target, met],
    )
  t.same(judge('gso', 'udp64', 140), [[1.4, true]])
  t.same(judge('mtu', 'udp1400', 139), [[1.4, false]])
  t.same(judge('gso', 'tcp1', 100), [[1, true]])
  t.same(judge('gso', 'udpgso', 99), [[1, false]])
  t.same(judge('mtu', 'tcp4', 90, 109), [
    [0.9, true],
    [1.1, false],
  ])
  t.same(judge('mtu', 'udpgso', 10), [], 'no target was set for cut super-packets')
  const scale = {
    entries: { small: 10, large: 1_100_000 },
    fillMs: 1,
    cpuNsPerPacket: { small: 1, large: 2.1, largeHosts: 2, largePrefixes: 3 },
    ratio: 2.1,
    runs: [],
  }
  t.same(
    judgeTargets([], scale).map(({ met }) => met),
    [false],
  )
})

t.test('table, page and picture show what was measured and what was missed', async (t) => {
  const cells = [
    cellOf('gso', 'udp64', { godwit: 130_000, vxlan: 100_000, plain: 150_000 }),
    cellOf('mtu', 'tcp1', { godwit: 9, vxlan: 10, plain: 8, rfc9305: 12 }),
  ]
  const results: Results = {
    machine: '2 × <Test> & Co',
    kernel: '6.18',
    commit: 'abc',
    date: '2026-01-01',
    mode: 'full',
    vxlanGro: true,
    idleBusyCpus: 0,
    seconds: 1,
    cells,
    latency: [],
    resolution: null,
    moves: null,
    scale: null,
    mobility: null,
    evacuation: null,
    multicast: null,
    targets: judgeTargets(cells, null),
  }
  const table = formatTable(results)
  t.match(table, 'missed: v4/v4 gso udp64, Godwit / VXLAN: 1.3, wanted ≥ 1.4')
  t.match(table, '2 of 3 targets met')
  t.match(
    formatMarkdown(results),
    '| v4/v4 | mtu | tcp1 | 9.00 (12.00) | 10.00 | 8.00 | 0.90 (1.20) |',
  )
  const chart = drawChart(results)
  t.match(chart, '&lt;Test&gt; &amp; Co')
  const bars = chart.match(/<rect /g) ?? []
  t.equal(bars.length, 1 + 5 + 4, 'background, five bars, four entries of the legend')
  t.notMatch(chart, /NaN|undefined/)
})

t.test(
  'the page of results is what the files beside it make, and has every measurement',
  async (t) => {
    const page = resultsPage(packageFile('bench'))
    t.equal(readFileSync(packageFile('bench', 'results.md'), 'utf8'), page)
    for (const command of ['bench', 'migrate', 'scale', 'soak', 'attack', 'fuzz'])
      t.match(page, `npm run ${command}`)
    t.match(page, 'multicast-sim.js')
    t.notMatch(page, /NaN|undefined|\[object/)
  },
)

t.test('naming a load means cells, naming a part means that part', async (t) => {
  const only = (words: string) => parseOptions(['--only', words])
  t.same(only('v4/v4,udp64').parts, ['cells'])
  t.same(only('v4/v4,udp64').paths, ['v4/v4'])
  t.same(only('scale').parts, ['scale'])
  t.equal(only('scale').complete, false)
  t.equal(parseOptions(['--quick']).complete, true)
  t.same(parseOptions(['--seconds', '0.5']).times.udpSeconds, 0.5)
  t.same(familiesOf('v6/v4'), { inner: 6, outer: 4 })
})

t.test(
  'the network’s daemons have configurations without errors, by the RLOC family wanted',
  async (t) => {
    for (const rlocFamily of [4, 6] as const) {
      const { topology } = benchmarkTopology({ rlocFamily, maximumMappings: 1_200_000 })
      for (const node of ['xa', 'xb', 'mapping']) {
        const config = topology.topology.nodes[node]!.config as Record<string, unknown>
        const text = JSON.stringify({ node, ...config })
        const result = parseConfig(text, SECRET)
        t.same(result.ok ? [] : result.errors, [], `${node} over IPv${rlocFamily}`)
      }
      const rlocs = (topology.topology.nodes['xa']!.config as { rlocs: { address: string }[] })
        .rlocs
      const best = rlocs.find((one) => (one as { priority?: number }).priority === 1)
      t.equal(best?.address.includes(':'), rlocFamily === 6)
    }
  },
)

t.test('copies of a multicast packet: table, page and picture', async (t) => {
  const row = {
    fanOut: 64,
    shape: 'tree',
    packetsPerSecond: 4_688,
    packetsPerCpuSecond: 20_000,
    copiesPerCpuSecond: 1_280_000,
    cpuNsPerCopy: 781,
    rootNsPerPacket: 5_672,
    lossPercent: 0,
    runs: [],
  } as const
  const rows = [{ ...row, shape: 'head-end', rootNsPerPacket: 43_809 } as const, row]
  const multicast = { commit: 'abc', date: '2026-01-01', rows }
  const picture = drawMulticast(multicast, '2 × <Test>')
  t.match(picture, /&lt;Test&gt;/)
  t.equal(picture.match(/<rect [^>]*fill="#5b7fa6"/g)!.length, 3, 'a bar a panel, and its legend')
  t.ok(picture.includes('>43.8<') && picture.includes('>781<'))
  const topology = multicastTopology()
  t.equal(topology.topology.topology.nodes['relay']!.kind, 'xtr')
  t.equal(relayRloc(15), '172.29.1.116')
  t.equal(leafRloc(256), '198.18.1.0')
  t.ok(parseOptions(['--only', 'multicast']).parts.includes('multicast'))
})

function runsOf(system: System, values: readonly number[]): Run<Figure>[] {
  return values.map((perCpuSecond, round) => ({
    system,
    round,
    perCpuSecond,
    perSecond: perCpuSecond,
    cpuNsPerPacket: 1e9 / perCpuSecond,
    busyCpus: 1,
  }))
}

function cellOf(
  core: Core,
  load: Load,
  values: { godwit: number; vxlan: number; plain: number; rfc9305?: number | undefined },
) {
  const runs = Object.entries(values).flatMap(([system, value]) =>
    value === undefined ? [] : runsOf(system as System, [value]),
  )
  return makeCell({ path: 'v4/v4', core, load }, runs)
}

/** Another one for each file. */
const SECRET = (path: string) =>
  ({ ok: true, text: `the secret of ${path}`, worldReadable: false }) as const
