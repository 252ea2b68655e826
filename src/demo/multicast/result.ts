/**
 * The verdict on a run with groups, as one value. Pure.
 *
 * `ok` is the promise: whoever has joined gets every packet once, also while its source or itself moves;
 * who asks for another source, or lives in another instance, gets nothing.
 */
import type { GroupFigures, GroupMoveRow, ReceiverRow } from './figures.js'

export interface MulticastResult {
  readonly receivers: readonly ReceiverRow[]
  readonly moves: readonly GroupMoveRow[]
  readonly ok: boolean
}

/** What `judgeGroups` has to know of the run beside the figures. */
export interface GroupExpectation {
  readonly memberships: number
  readonly moves: number
  /** Why moves failed that did. */
  readonly failures: readonly string[]
  readonly leastPackets: number
  /** Copies that were made of each packet that nobody had asked for. */
  readonly unaskedCopies: number
  /** Packets that counting sockets dropped: the machine, not the network. */
  readonly overflow: number
}

/** Judges; `reasons` says in words what was not as promised. */
export function judgeGroups(
  figures: GroupFigures,
  expected: GroupExpectation,
): { result: MulticastResult; reasons: string[] } {
  const { receivers, moves, elsewhere, leaked } = figures
  const reasons: string[] = [...expected.failures]
  const lost = receivers.reduce((sum, row) => sum + row.lost, 0)
  const doubled = receivers.reduce((sum, row) => sum + row.duplicated, 0)
  if (lost > 0)
    reasons.push(`${lost} packets lost after a join, ${elsewhere.lost} of them in no move`)
  if (doubled > 0)
    reasons.push(`${doubled} packets doubled, ${elsewhere.duplicated} of them in no move`)
  for (const row of receivers)
    if (row.joinToFirstPacketMs === null)
      reasons.push(`${row.receiver} joined ${row.group} and heard nothing`)
  const short = receivers.filter(({ received }) => received < expected.leastPackets)
  for (const { receiver, group, received } of short)
    reasons.push(`${receiver} got only ${received} packets of ${group}`)
  for (const [receiver, count] of Object.entries(leaked))
    reasons.push(`${count} packets that it had not asked for reached ${receiver}`)
  if (expected.unaskedCopies > 0)
    reasons.push(`${expected.unaskedCopies} copies were made of what nobody had asked for`)
  if (receivers.length < expected.memberships)
    reasons.push(`${expected.memberships - receivers.length} receivers are missing`)
  if (moves.length < expected.moves)
    reasons.push(`${expected.moves - moves.length} moves did not take place`)
  if (expected.overflow > 0)
    reasons.push(`the machine was too slow: ${expected.overflow} packets dropped by full sockets`)
  return { result: { receivers, moves, ok: reasons.length === 0 }, reasons }
}
