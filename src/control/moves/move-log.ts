/**
 * The record of every move: what the API shows, and nothing that the protocol depends on.
 *
 * A stage is stamped with the moment of the fact, not of the conclusion, and only once. The last
 * 1,000 moves are kept; the oldest finished one goes first.
 */
import { formatIpAddress } from '../../lisp/address.js'
import { type Eid, formatEid } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Instant } from '../capabilities.js'
import type { MoveStage, MoveView } from '../snapshot.js'

export interface MoveRecord {
  readonly id: bigint
  /** 16 hex digits; unique on this node. */
  readonly name: string
  readonly trigger: MoveView['trigger']
  readonly eids: readonly Eid[]
  state: MoveView['state']
  source: Rloc | undefined
  destination: Rloc
  reason: string | undefined
  readonly timeline: { stage: MoveStage; at: Instant }[]
}

export interface MoveLog {
  add(
    move: Pick<MoveRecord, 'id' | 'trigger' | 'eids' | 'source' | 'destination'>,
    state: MoveView['state'],
  ): MoveRecord
  byName(name: string): MoveRecord | undefined
  byId(id: bigint): MoveRecord | undefined
  views(now: Instant): MoveView[]
  view(name: string, now: Instant): MoveView | undefined
  readonly size: number
  underWay(): number
}

const MAXIMUM_MOVES = 1000

export function moveName(id: bigint): string {
  return id.toString(16).padStart(16, '0')
}

export function createMoveLog(): MoveLog {
  const moves = new Map<string, MoveRecord>()

  function makeRoom(): void {
    if (moves.size < MAXIMUM_MOVES) return
    for (const [name, one] of moves)
      if (isFinished(one)) {
        moves.delete(name)
        return
      }
    // All under way at once: the oldest is forgotten here, the protocol goes on with it.
    for (const name of moves.keys()) {
      moves.delete(name)
      return
    }
  }

  return {
    add(move, state) {
      makeRoom()
      const record: MoveRecord = {
        ...move,
        name: moveName(move.id),
        state,
        reason: undefined,
        timeline: [],
      }
      moves.set(record.name, record)
      return record
    },
    byName: (name) => moves.get(name),
    byId: (id) => moves.get(moveName(id)),
    views: (now) => [...moves.values()].map((one) => moveView(one, now)),
    view(name, now) {
      const found = moves.get(name)
      return found === undefined ? undefined : moveView(found, now)
    },
    get size() {
      return moves.size
    },
    underWay: () => [...moves.values()].filter((one) => !isFinished(one)).length,
  }
}

export function isFinished(record: MoveRecord): boolean {
  return record.state === 'converged' || record.state === 'failed'
}

/** Stamps a stage; false when it was stamped before. */
export function stamp(record: MoveRecord, stage: MoveStage, at: Instant): boolean {
  if (record.timeline.some((one) => one.stage === stage)) return false
  record.timeline.push({ stage, at })
  return true
}

export function moveView(record: MoveRecord, now: Instant): MoveView {
  return {
    moveId: record.name,
    trigger: record.trigger,
    state: record.state,
    eids: record.eids.map(formatEid),
    source: record.source === undefined ? undefined : formatIpAddress(record.source),
    destination: formatIpAddress(record.destination),
    reason: record.reason,
    timeline: record.timeline.map(({ stage, at }) => ({ stage, agoMs: now - at })),
  }
}
