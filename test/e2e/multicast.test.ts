/**
 * Groups on real packets, and the proof that the measurement measures: without one relay of the tree the
 * figures get worse.
 *
 * The run is the demo itself, as a program, with fewer moves and packets and a cut at its end; what is
 * checked is its JSON line.
 */
import t, { type Test } from 'tap'
import type { MulticastResult } from '../../src/demo/multicast/result.js'
import { missingRouter } from '../../src/lab/frr.js'
import { labNames } from '../../src/lab/lab.js'
import { compiledFile } from '../../src/lab/names.js'
import { labSkip, startProgram } from '../support/running-lab.js'

/** Of a stream, per move of a receiver: what is on its way to both sites when the link switches. */
const UNDER_WAY = 1

t.setTimeout(240_000)

interface DemoRun {
  readonly code: number | null
  readonly result: MulticastResult
  readonly stderr: string
}

async function runDemo(t: Test, name: string, ...args: string[]): Promise<DemoRun> {
  const demo = compiledFile('../demo/multicast/main.js')
  const program = startProgram(process.execPath, [demo, '--json', '--name', name, ...args])
  const { code, stdout, stderr } = await program.finished
  t.comment(stderr)
  const last = stdout.trim().split('\n').at(-1) ?? ''
  return { code, result: JSON.parse(last || '{}') as MulticastResult, stderr }
}

t.test(
  'receivers get everything once while sources and receivers move',
  { skip: labSkip },
  async (t) => {
    const short = ['--moves', '2', '--packets', '2000', '--cut', 'relay1']
    const run = await runDemo(t, 'e2e-groups', ...short)
    const { receivers, moves } = run.result
    t.equal(receivers.length, missingRouter() === undefined ? 13 : 11)
    for (const row of receivers) {
      const name = `${row.receiver} ${row.group}`
      t.ok(row.duplicated <= (row.receiver === 'viewer' ? UNDER_WAY : 0), name)
      t.ok(row.received >= 2000, `${name}: ${row.received}`)
      t.ok(row.joinToFirstPacketMs !== null, `${name}: after ${row.joinToFirstPacketMs} ms`)
    }
    t.same(new Set(receivers.map(({ family }) => family)), new Set(['ipv4', 'ipv6']))
    t.match(run.stderr, /origin → .*relay1 \(→ /, 'by a tree')
    t.match(run.stderr, 'east is copied nothing of it after', 'its last receiver had left')
    const [source, receiver, cut] = moves
    t.match(source, { what: 'camera: origin → east', lost: 0, duplicated: 0 })
    t.match(receiver, { what: 'viewer: west → north' })
    const streams = receivers.filter((row) => row.receiver === 'viewer').length
    t.ok(receiver!.lost <= UNDER_WAY * streams, `${receiver!.lost} lost`)
    t.notOk(labNames().includes('e2e-groups'), 'everything is taken down')

    t.test('without a relay of the tree packets are missing, and the run says so', async (t) => {
      const lost = receivers.reduce((sum, row) => sum + row.lost, 0)
      t.ok(lost > 500, `${lost} packets lost`)
      t.match(cut, { what: 'relay1: cut off', lost: lost - receiver!.lost }, 'none before')
      t.equal(run.result.ok, false)
      t.equal(run.code, 1)
    })
  },
)
