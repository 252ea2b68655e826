/**
 * The move on real packets, and the proof that the measurement measures: with one mechanism
 * switched off, the figure that it protects gets worse.
 *
 * Each run is the demo itself, as a program, with fewer moves; what is checked is its JSON line.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { MoveRow } from '../../src/demo/analysis.js'
import type { DemoResult } from '../../src/demo/result.js'
import { labNames } from '../../src/lab/lab.js'
import { compiledFile } from '../../src/lab/names.js'
import { labSkip, startProgram } from '../support/running-lab.js'

/** Half the loss that 50 ms of 1,000 packets/s would be: far above noise, far below the effect. */
const VISIBLE_LOSS = 25

/**
 * Per family. The aim is 5 on a quiet machine: that is how long the news takes through two daemons
 * and the Map-Server. On a machine that runs other tests beside, each of them waits for its turn.
 */
const DETECTED_LOSS_LIMIT = 150

/** 50 ms of 1,000 packets a second, and as much again for a machine that is late itself. */
const GUARD_PACKETS = 100

t.setTimeout(240_000)

interface DemoRun {
  readonly code: number | null
  readonly result: DemoResult
  readonly stderr: string
}

async function runDemo(t: Test, name: string, ...args: string[]): Promise<DemoRun> {
  const demo = compiledFile('../demo/main.js')
  const program = startProgram(process.execPath, [demo, '--json', '--name', name, ...args])
  const { code, stdout, stderr } = await program.finished
  t.comment(stderr)
  const last = stdout.trim().split('\n').at(-1) ?? ''
  return { code, result: JSON.parse(last || '{}') as DemoResult, stderr }
}

function rowsOf(run: DemoRun, ...triggers: string[]): MoveRow[] {
  return run.result.moves.filter(({ trigger }) => triggers.includes(trigger))
}

t.test('moves lose nothing when prepared, little when detected', { skip: labSkip }, async (t) => {
  const out = mkdtempSync(join(tmpdir(), 'godwit-demo-'))
  t.teardown(() => rmSync(out, { recursive: true, force: true }))
  const triggers = ['--triggers', 'orchestrated,orchestrated,blackout,live,detected']
  const run = await runDemo(t, 'e2e-move', ...triggers, '--out', out)
  t.equal(run.code, 0)
  t.equal(run.result.ok, true)
  t.equal(run.result.firstPacketLost, 0)
  t.equal(run.result.moves.length, 10, 'a row per move and family')
  for (const row of rowsOf(run, 'orchestrated', 'blackout')) {
    t.match(row, { lost: 0, duplicated: 0, reordered: 0 }, `${row.trigger} ${row.family}`)
    t.ok(row.sent > 3_000, `${row.sent} packets were at stake`)
    t.ok(row.convergedMs !== null && row.convergedMs < 1_000, `converged in ${row.convergedMs} ms`)
  }
  for (const row of rowsOf(run, 'live')) {
    t.match(row, { lost: 0, reordered: 0 }, `live ${row.family}`)
    t.ok(row.longestGapMs >= 195, `it stood still: gap of ${row.longestGapMs} ms`)
    const { duplicated } = row.perDirection.toEndpoint
    t.ok(duplicated <= GUARD_PACKETS, `${duplicated} within the guard were doubled`)
  }
  for (const row of rowsOf(run, 'blackout')) {
    t.ok(row.longestGapMs >= 45, `the link really was dead: gap of ${row.longestGapMs} ms`)
  }
  for (const row of rowsOf(run, 'detected')) {
    t.ok(row.lost <= DETECTED_LOSS_LIMIT, `${row.lost} lost in a detected move (${row.family})`)
  }
  t.match(run.result.tcp, { corrupt: 0, resets: 0 })
  t.ok(run.result.tcp.bytes > 50_000_000)
  t.notOk(labNames().includes('e2e-move'), 'everything is taken down')

  t.test('the figures can be computed again from what was kept', async (t) => {
    const script = compiledFile('../demo/recompute.js')
    const again = await startProgram(process.execPath, [script, out]).finished
    t.same(JSON.parse(again.stdout), run.result, 'from packet records')
    t.ok(
      readdirSync(out).some((file) => file.endsWith('.pcap')),
      'captures are there',
    )
    const captured = await startProgram(process.execPath, [script, out, '--from-captures']).finished
    const seen = JSON.parse(captured.stdout) as DemoResult
    t.same(
      seen.moves.map(({ sent, lost, duplicated }) => ({ sent, lost, duplicated })),
      run.result.moves.map(({ sent, lost, duplicated }) => ({ sent, lost, duplicated })),
      'from captures at both ends',
    )
  })
})

t.test('without a mechanism, what it protects gets worse', { skip: labSkip }, async (t) => {
  // All at once: what they show is far above what they take from each other.
  const [hold, redirect, smr] = await Promise.all([
    runDemo(t, 'e2e-hold', '--without', 'hold', '--triggers', 'blackout,blackout'),
    runDemo(t, 'e2e-redirect', '--without', 'redirect', '--triggers', 'blackout,blackout'),
    runDemo(t, 'e2e-smr', '--without', 'smr', '--triggers', 'orchestrated'),
  ])
  t.test('without hold, packets that arrive before the endpoint are lost', async (t) => {
    lostVisibly(t, hold)
  })
  t.test('without redirect, packets that reach the old cloud are lost', async (t) => {
    lostVisibly(t, redirect)
  })
  t.test('without SMRs, senders stay on the detour', async (t) => {
    for (const row of rowsOf(smr, 'orchestrated')) {
      t.ok(
        row.convergedMs === null || row.convergedMs > 1_000,
        `${row.family} converged after ${row.convergedMs} ms`,
      )
    }
    t.equal(smr.result.moves.length, 2)
  })
})

function lostVisibly(t: Test, run: DemoRun): void {
  t.equal(run.code, 1)
  t.equal(rowsOf(run, 'blackout').length, 4, 'two moves of two families')
  for (const row of rowsOf(run, 'blackout')) {
    const { lost } = row.perDirection.toEndpoint
    t.ok(lost >= VISIBLE_LOSS, `${lost} ${row.family} packets lost`)
  }
}

t.test(
  'the demo says clearly what is wrong with its command line',
  { skip: labSkip },
  async (t) => {
    const demo = compiledFile('../demo/main.js')
    const wrong = await startProgram(process.execPath, [demo, '--without', 'luck']).finished
    t.equal(wrong.code, 2)
    t.match(wrong.stderr, /It is one of: hold, redirect, smr/)
    const absent = await startProgram(process.execPath, [demo, '--topology', './no.yaml']).finished
    t.equal(absent.code, 1)
    t.match(absent.stderr, /no\.yaml: 1 error/)
  },
)
