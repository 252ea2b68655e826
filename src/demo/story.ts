/**
 * The story as people read it: one line per thing that happens, a table at the end.
 *
 * Text only, no figures are made here. Colours only where a terminal shows them.
 */
import Table from 'cli-table3'
import type { MoveRow } from './analysis.js'
import type { PerformedMove } from './perform-move.js'
import type { DemoResult } from './result.js'

export interface Story {
  line(text: string): void
  move(number: number, count: number, move: PerformedMove): void
  summary(result: DemoResult, moves: readonly PerformedMove[]): void
}

/** Tells the story on `stream`. */
export function createStory(stream: NodeJS.WriteStream): Story {
  const paint = (code: number, text: string): string =>
    stream.isTTY ? `\u001b[${code}m${text}\u001b[0m` : text
  const line = (text: string): void => {
    stream.write(`${text}\n`)
  }
  return {
    line,
    move(number, count, move) {
      const mark = move.failure === undefined ? paint(32, '✓') : paint(31, '✗')
      const title = `${mark} move ${String(number).padStart(2)}/${count}  ${move.from} → ${move.to}`
      line(`${title}  ${move.trigger.padEnd(12)} ${describeTimeline(move)}`)
    },
    summary(result, moves) {
      line('')
      line(`${moveTable(result.moves, moves)}`)
      const { tcp } = result
      const megabytes = (tcp.bytes / 1e6).toFixed(0)
      line('')
      line(`first packets lost   ${result.firstPacketLost} (streams that started cold)`)
      line(
        `TCP                  ${megabytes} MB, ${tcp.corrupt} corrupt bytes, ${tcp.resets} resets, ` +
          `longest stall ${tcp.longestStallMs.toFixed(0)} ms`,
      )
      const refused = moves.reduce((sum, move) => sum + move.refusedFrames, 0)
      const leaked = moves.reduce((sum, move) => sum + move.leakedFrames, 0)
      line(`old cloud            ${leaked} frames delivered after a switch, ${refused} refused`)
      line(
        result.ok ? paint(32, verdictOf(result)) : paint(31, 'This run did not keep its promise.'),
      )
    },
  }
}

/**
 * `ready 4 ms, switch, endpoint seen 5 ms, …`: what happened, in milliseconds after the request.
 */
export function describeTimeline(move: PerformedMove): string {
  if (move.failure !== undefined) return `failed: ${move.failure}`
  const switched = { stage: 'switched', afterMs: (move.switchedNs - move.requestedNs) / 1e6 }
  const seen = new Set<string>()
  const steps = [...move.timeline, switched]
    .sort((left, right) => left.afterMs - right.afterMs)
    .filter(({ stage }) => stage !== 'requested' && !seen.has(stage) && seen.add(stage))
    .map(({ stage, afterMs }) => `${stage.replaceAll('-', ' ')} ${afterMs.toFixed(0)}`)
  return steps.length > 0 ? `${steps.join(' · ')} ms` : move.state
}

function verdictOf({ moves }: DemoResult): string {
  const lost = moves.reduce((sum, row) => sum + row.lost, 0)
  if (lost === 0) return 'Nothing was lost.'
  return `Prepared moves lost nothing; those that nobody had announced lost ${lost} packets.`
}

function moveTable(rows: readonly MoveRow[], moves: readonly PerformedMove[]): string {
  const table = new Table({
    head: ['move', 'trigger', 'family', 'sent', 'lost', 'dup', 'reord', 'gap ms', 'converged ms'],
    colAligns: ['right', 'left', 'left', ...Array(6).fill('right')] as never,
    style: { head: [], border: [], compact: true },
  })
  rows.forEach((row, index) => {
    const number = moves.length > 0 ? Math.floor(index / (rows.length / moves.length)) + 1 : index
    table.push([
      number,
      row.trigger,
      row.family,
      row.sent,
      row.lost,
      row.duplicated,
      row.reordered,
      row.longestGapMs.toFixed(1),
      row.convergedMs === null ? '-' : row.convergedMs.toFixed(1),
    ])
  })
  return table.toString()
}
