/** Many sites without a file: small runs of what `npm run scale` does at 1,000, and its command line. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadTopology } from '../../src/lab/topology.js'
import { percentiles, runScale } from '../../src/sim/scale-run.js'
import { createScaleTopology } from '../../src/sim/scale-topology.js'
import { temporaryDirectory } from '../support/fake-node.js'

const main = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.js')

t.test('60 moves among 12 sites under 1 % loss converge, with every invariant', async (t) => {
  const options = { sites: 12, eids: 8, moves: 60, loss: 0.01, seed: '1' }
  const result = runScale(options)
  t.equal(result.violation, undefined)
  t.same([result.moves, result.switched, result.unconverged], [60, 60, 0])
  t.ok(result.totals.lost > 0, 'something was lost indeed')
  const { p50, p90, p99, max } = result.convergenceMs
  t.ok(p50 > 0 && p50 < 500 && p50 <= p90 && p90 <= p99 && p99 <= max, `${p50} ${max}`)
  const { 'map-register': registers = 0 } = result.messagesPerMove
  t.ok(registers > 0.5 && registers < 4, `${registers} Map-Registers per move`)
  t.equal(runScale(options).hash, result.hash)
})

t.test('a lossless core loses no packet of a prepared move', async (t) => {
  const { ok, totals } = runScale({ sites: 4, eids: 10, moves: 20, loss: 0, seed: '2' })
  t.ok(ok)
  t.same(
    Object.keys(totals.reasons).filter((one) => one !== 'stale-neighbour'),
    [],
  )
})

t.test('a topology of many sites shares what it can and refuses what is too much', async (t) => {
  const { nodes, hosts } = createScaleTopology({ sites: 300, eids: 2 })
  t.same([nodes.length, hosts.length], [301, 600])
  t.equal(hosts[0]!.sockets, hosts[599]!.sockets)
  t.equal(new Set(hosts.map(({ eids }) => eids[0]!.address.bytes.join('.'))).size, 600)
  const keys = nodes.flatMap(({ nodeConfig }) => nodeConfig.mapServers.map(({ key }) => key.keyId))
  t.ok(Math.max(...keys) <= 255)
  t.throws(() => createScaleTopology({ sites: 1, eids: 1 }), RangeError)
  t.throws(() => createScaleTopology({ sites: 2, eids: 101 }), RangeError)
})

t.test('percentiles are nearest ranks', async (t) => {
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index)
  t.same(percentiles(hundred), { p50: 50, p90: 90, p99: 99, max: 100 })
  t.same(percentiles([]), { p50: 0, p90: 0, p99: 0, max: 0 })
})

t.test('the command line generates sites, and files for the lab', async (t) => {
  const godwit = (...words: string[]) =>
    spawnSync(process.execPath, [main, 'sim', ...words], { encoding: 'utf8' })
  const run = godwit('--generate', 'sites=5,eids=3', '--moves', '5', '--seed', '4')
  t.equal(run.status, 0, run.stderr)
  t.match(run.stdout, /moves +5, 5 switched/)
  t.match(run.stdout, /trace hash +[0-9a-f]{16}\nseed 4: every invariant holds/)
  const file = join(temporaryDirectory(), 'generated.yaml')
  const printed = godwit('generate', 'sites=3,eids=1,customers=1')
  writeFileSync(file, printed.stdout)
  const loaded = loadTopology(file)
  t.ok(loaded.ok, JSON.stringify(loaded))
  const swarm = godwit(file, '--swarm', '--seed', '2')
  t.equal(swarm.status, 0, `${swarm.stdout}${swarm.stderr}`)
  for (const [words, message] of [
    [['--generate', 'sites=x'], /"sites=x" is not a size/],
    [['--generate', 'sites=5000'], /5000 sites: 2 to 1000/],
    [['generate', 'sites=200,eids=100'], /links/],
    [[], /nothing to run/],
  ] as const) {
    const refused = godwit(...words)
    t.equal(refused.status, 2)
    t.match(refused.stderr, message)
  }
})
