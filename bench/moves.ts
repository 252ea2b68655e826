/**
 * Move convergence: the demo's own orchestrated moves with its own traffic and analysis, under a name
 * of its own; from the switch of the link to the first packet that came without redirection.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { compiledFile } from '../src/lab/names.js'
import { type Moves, median, rounded } from './results.js'

export const BENCH_MOVES = 'bench-moves'

interface DemoRow {
  readonly trigger: string
  readonly family: string
  readonly lost: number
  readonly longestGapMs: number
  readonly convergedMs: number | null
}

/** `onStart` gets the process, so that an interrupt reaches it. Rejects when the demo says nothing. */
export async function measureMoves(
  count: number,
  say: (line: string) => void,
  onStart: (child: ChildProcess | undefined) => void,
): Promise<Moves> {
  const triggers = Array.from({ length: count }, () => 'orchestrated').join(',')
  const words = ['--json', '--triggers', triggers, '--name', BENCH_MOVES]
  const program = compiledFile('../demo/main.js')
  const child = spawn(process.execPath, [program, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
  onStart(child)
  const { output, errors } = await new Promise<{ output: string; errors: string }>((resolve) => {
    let [output, errors] = ['', '']
    child.stdout.on('data', (data) => {
      output += data
    })
    child.stderr.on('data', (data) => {
      errors += data
    })
    child.on('close', () => resolve({ output, errors }))
  })
  onStart(undefined)
  const line = output.trim().split('\n').at(-1) ?? ''
  if (!line.startsWith('{')) throw new Error(`the demo failed: ${errors.trim().slice(-2_000)}`)
  const rows = (JSON.parse(line) as { moves: DemoRow[] }).moves
  const converged = rows.flatMap(({ convergedMs }) => convergedMs ?? [])
  const moves = {
    count,
    lost: rows.reduce((sum, { lost }) => sum + lost, 0),
    medianConvergedMs: rounded(median(converged)) ?? Number.NaN,
    maximumConvergedMs: rounded(Math.max(...converged)) ?? Number.NaN,
    longestGapMs: rounded(Math.max(...rows.map(({ longestGapMs }) => longestGapMs))) ?? Number.NaN,
    rows: rows.map((row) => ({ ...row })),
  }
  say(`moves: converged after ${moves.medianConvergedMs} ms (median), lost ${moves.lost}`)
  return moves
}
