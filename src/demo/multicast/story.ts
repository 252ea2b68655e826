/**
 * The story of the groups as people read it: one line per thing that happens, two tables at the end.
 *
 * Text only, no figures are made here. Colours only where a terminal shows them.
 */
import Table from 'cli-table3'
import type { PerformedMove } from '../perform-move.js'
import { describeTimeline } from '../story.js'
import type { MulticastResult } from './result.js'

export interface GroupStory {
  line(text: string): void
  begin(): void
  joined(receiver: string, group: string, source: string | undefined): void
  left(receiver: string, group: string, source: string | undefined): void
  moved(endpoint: string, move: PerformedMove): void
  summary(result: MulticastResult, reasons: readonly string[]): void
}

/** Tells the story on `stream`; times are seconds after `begin`. */
export function createGroupStory(stream: NodeJS.WriteStream): GroupStory {
  let beganAt = performance.now()
  const paint = (code: number, text: string): string =>
    stream.isTTY ? `\u001b[${code}m${text}\u001b[0m` : text
  const line = (text: string): void => void stream.write(`${text}\n`)
  const timed = (text: string): void => {
    const seconds = ((performance.now() - beganAt) / 1000).toFixed(1)
    line(`${seconds.padStart(5)} ${text}`)
  }
  return {
    line,
    begin() {
      beganAt = performance.now()
      line('camera sends to five groups, 1,000 packets/s each: IPv4 and IPv6, source-specific and')
      line(
        'any-source, and one that nobody asks for. twin sends to the source-specific ones from the',
      )
      line('same address in instance 8.')
      line('Seconds after that:')
    },
    joined: (receiver, group, source) => timed(`${receiver} joins ${nameOf(group, source)}`),
    left: (receiver, group, source) => timed(`${receiver} leaves ${nameOf(group, source)}`),
    moved(endpoint, move) {
      const mark = move.failure === undefined ? paint(32, '✓') : paint(31, '✗')
      timed(`${mark} ${endpoint} moves ${move.from} → ${move.to}: ${describeTimeline(move)}`)
    },
    summary(result, reasons) {
      line('')
      line(receiverTable(result))
      line('')
      line(moveTable(result))
      for (const reason of reasons) line(`  ${reason}`)
      line(
        result.ok
          ? paint(32, 'Everybody got everything once, and nobody what was not theirs.')
          : paint(31, 'This run did not keep its promise.'),
      )
    },
  }
}

function nameOf(group: string, source: string | undefined): string {
  return `(${source ?? '*'},${group})`
}

function receiverTable({ receivers }: MulticastResult): string {
  const table = new Table({
    head: ['receiver', 'group', 'received', 'join to first packet ms', 'lost', 'dup'],
    colAligns: ['left', 'left', ...Array(4).fill('right')] as never,
    style: { head: [], border: [], compact: true },
  })
  for (const row of receivers) {
    const first = row.joinToFirstPacketMs?.toFixed(1) ?? '-'
    table.push([row.receiver, row.group, row.received, first, row.lost, row.duplicated])
  }
  return table.toString()
}

function moveTable({ moves }: MulticastResult): string {
  const table = new Table({
    head: ['move', 'lost', 'dup'],
    colAligns: ['left', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  })
  for (const { what, lost, duplicated } of moves) table.push([what, lost, duplicated])
  return table.toString()
}
