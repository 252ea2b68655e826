/**
 * From packet records to the figures of receivers and moves. Pure.
 *
 * What a receiver should have got is what its source sent from the first packet that reached it after
 * its join until shortly before its leave. What came of any other stream has leaked. A packet belongs to
 * the move in whose window it was sent.
 */
import type { Family } from '../analysis.js'
import type { PacketRecord } from '../records.js'

export interface GroupStream {
  readonly id: number
  readonly family: Family
  /** As `(10.40.0.5,232.1.1.1)` or `(*,239.1.1.1)`: as receivers ask for it. */
  readonly group: string
}

export interface Stay {
  readonly joinedNs: number
  /** Undefined: until the end. */
  leftNs: number | undefined
}

export interface Membership {
  readonly receiver: string
  /** Undefined: nobody sends what it asks for. */
  readonly stream: number | undefined
  readonly stays: readonly Stay[]
}

export interface ReceiverRow {
  readonly receiver: string
  readonly family: Family
  readonly group: string
  readonly received: number
  /** Of the slowest of its joins; null when one of them brought nothing. */
  readonly joinToFirstPacketMs: number | null
  readonly lost: number
  readonly duplicated: number
}

export interface GroupMoveWindow {
  readonly what: string
  readonly fromNs: number
  readonly untilNs: number
}

export interface GroupMoveRow {
  readonly what: string
  readonly lost: number
  readonly duplicated: number
}

export interface GroupFigures {
  readonly receivers: readonly ReceiverRow[]
  readonly moves: readonly GroupMoveRow[]
  /** Lost or doubled in no window. */
  readonly elsewhere: { readonly lost: number; readonly duplicated: number }
  /** Packets of streams that the host had not asked for, by host. */
  readonly leaked: Readonly<Record<string, number>>
}

/** Computes everything; `received` by receiver, `sent` and it in any order. */
export function computeGroupFigures(
  streams: readonly GroupStream[],
  memberships: readonly Membership[],
  sent: readonly PacketRecord[],
  received: ReadonlyMap<string, readonly PacketRecord[]>,
  windows: readonly GroupMoveWindow[],
): GroupFigures {
  const rows: ReceiverRow[] = []
  const moves = windows.map(({ what }) => ({ what, lost: 0, duplicated: 0 }))
  const elsewhere = { lost: 0, duplicated: 0 }
  const bookFor = (sentNs: number): { lost: number; duplicated: number } => {
    const index = windows.findIndex(({ fromNs, untilNs }) => sentNs >= fromNs && sentNs < untilNs)
    return moves[index] ?? elsewhere
  }
  for (const { receiver, stream: id, stays } of memberships) {
    const stream = streams.find((one) => one.id === id)
    if (stream === undefined) continue
    const arrivals = (received.get(receiver) ?? []).filter((one) => one.stream === id)
    const wanted = sent.filter((one) => one.stream === id)
    const { missing, doubled, count, slowestNs } = compare(wanted, arrivals, stays)
    for (const sentNs of missing) bookFor(sentNs).lost += 1
    for (const sentNs of doubled) bookFor(sentNs).duplicated += 1
    rows.push({
      receiver,
      family: stream.family,
      group: stream.group,
      received: count,
      joinToFirstPacketMs: slowestNs === undefined ? null : Math.round(slowestNs / 1e4) / 100,
      lost: missing.length,
      duplicated: doubled.length,
    })
  }
  return { receivers: rows, moves, elsewhere, leaked: leaks(memberships, received) }
}

interface Comparison {
  /** When those that never came were sent. */
  readonly missing: readonly number[]
  /** When those that came again were sent, once per copy too many. */
  readonly doubled: readonly number[]
  /** Different packets that came. */
  readonly count: number
  readonly slowestNs: number | undefined
}

function compare(
  sent: readonly PacketRecord[],
  arrivals: readonly PacketRecord[],
  stays: readonly Stay[],
): Comparison {
  const seen = new Set<number>()
  const doubled: number[] = []
  for (const { sequence, sentNs } of arrivals) {
    if (seen.has(sequence)) doubled.push(sentNs)
    seen.add(sequence)
  }
  const missing: number[] = []
  let slowestNs: number | undefined = 0
  for (const { joinedNs, leftNs = Number.POSITIVE_INFINITY } of stays) {
    const first = arrivals
      .filter(({ receivedNs = 0 }) => receivedNs >= joinedNs && receivedNs < leftNs)
      .reduce<PacketRecord | undefined>(earlier, undefined)
    if (first === undefined) {
      slowestNs = undefined
      continue
    }
    if (slowestNs !== undefined) slowestNs = Math.max(slowestNs, first.receivedNs! - joinedNs)
    for (const { sequence, sentNs } of sent) {
      const isDue = sentNs >= first.sentNs && sentNs < leftNs - LEAVING_NS
      if (isDue && !seen.has(sequence)) missing.push(sentNs)
    }
  }
  return { missing, doubled, count: seen.size, slowestNs }
}

function earlier(best: PacketRecord | undefined, one: PacketRecord): PacketRecord {
  return best === undefined || one.receivedNs! < best.receivedNs! ? one : best
}

function leaks(
  memberships: readonly Membership[],
  received: ReadonlyMap<string, readonly PacketRecord[]>,
): Record<string, number> {
  const leaked: Record<string, number> = {}
  for (const [receiver, records] of received) {
    const own = memberships.filter((one) => one.receiver === receiver).map(({ stream }) => stream)
    const asked = new Set(own)
    const foreign = records.filter(({ stream }) => !asked.has(stream)).length
    if (foreign > 0) leaked[receiver] = foreign
  }
  return leaked
}

/** What was on its way when a host left is nobody's loss. Far more than any path takes. */
const LEAVING_NS = 50e6
