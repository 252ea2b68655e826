/**
 * Many moves in one call, as when a host is emptied: paced by how many are not yet registered, with
 * progress, and a way back. A move that is registered only waits for its senders to come directly,
 * which costs this node nothing and takes a second when there are none.
 *
 * A batch decides nothing about a move; it only says when the next one begins. Its end is told by
 * events of the node, so that nothing is polled and a move that the node no longer lists is not lost.
 */
import { randomBytes } from 'node:crypto'
import type { Event } from '../control/event.js'
import { type Eid, formatEid } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import { type ApiContext, runCommand } from './context.js'
import { ApiError } from './errors.js'

export interface BatchItem {
  readonly eids: readonly Eid[]
  moveId: string | undefined
  state: 'waiting' | 'preparing' | 'ready' | 'registered' | 'converged' | 'failed' | 'cancelled'
  reason: string | undefined
}

export interface BatchOrder {
  readonly moves: readonly (readonly Eid[])[]
  readonly mode: 'switch' | 'live'
  readonly source: Rloc | undefined
  /** So many at once are under way and not yet registered. */
  readonly atOnce: number
}

export interface Batch {
  readonly batchId: string
  readonly startedAtMs: number
  endedAtMs: number | undefined
  readonly items: readonly BatchItem[]
}

export interface MoveBatches {
  /** Begins at once; 503 when too many batches are under way. */
  start(order: BatchOrder): Batch
  get(batchId: string): Batch | undefined
  /** Begins no more moves, and rolls back those whose endpoints have not arrived. */
  cancel(batch: Batch): Promise<void>
  list(): readonly Batch[]
  close(): void
}

const MAXIMUM_BATCHES = 16
export const MAXIMUM_BATCH_MOVES = 4_096

/** No batch yet; listens to the node's events until closed. */
export function createMoveBatches(context: ApiContext, nowMs: () => number): MoveBatches {
  const batches = new Map<string, Batch>()
  /** By name of the move: those that have not ended. */
  const underWay = new Map<string, Flight>()
  /** Ends that were told before the answer with the move's name. */
  const early = new Map<string, Event>()

  function hear(event: Event): void {
    const isEnd = event.name === 'move-converged' || event.name === 'move-failed'
    if (!isEnd && event.name !== 'move-registered') return
    const moveId = String(event['moveId'] ?? '')
    const one = underWay.get(moveId)
    if (one === undefined) {
      // Only while an answer is out can its move be one of ours.
      if (isEnd && preparing() && early.size < MAXIMUM_EARLY) early.set(moveId, event)
      return
    }
    const { item, pace } = one
    if (!isEnd) {
      if (item.state !== 'ready') return
      item.state = 'registered'
      pace.makeRoom()
      return
    }
    underWay.delete(moveId)
    const tookRoom = item.state !== 'registered'
    finish(item, event)
    if (tookRoom) pace.makeRoom()
    pace.ended()
  }

  function finish(item: BatchItem, event: Event): void {
    if (item.state === 'cancelled') return
    item.state = event.name === 'move-converged' ? 'converged' : 'failed'
    if (item.state === 'failed') item.reason = String(event.reason ?? 'failed')
  }

  const preparing = (): boolean =>
    [...batches.values()].some(({ items }) => items.some(({ state }) => state === 'preparing'))
  const unsubscribe = context.node.onEvent(hear)

  async function begin(item: BatchItem, order: BatchOrder, pace: Pace): Promise<void> {
    item.state = 'preparing'
    const { mode, source } = order
    try {
      const command = { kind: 'start-move', eids: item.eids, source, mode } as const
      const value = (await runCommand(context, command)) as { moveId?: string } | undefined
      item.moveId = String(value?.moveId ?? '')
      const event = early.get(item.moveId)
      early.delete(item.moveId)
      if (event === undefined) {
        item.state = 'ready'
        underWay.set(item.moveId, { item, pace })
        return
      }
      finish(item, event)
    } catch (cause) {
      const isSilent = cause instanceof ApiError && cause.code === 'mapping-system-silent'
      if (!(isSilent && pace.again(item))) item.state = 'failed'
      item.reason = cause instanceof Error ? cause.message : 'refused'
    }
    pace.makeRoom()
    pace.ended()
  }

  return {
    start(order) {
      if (batches.size >= MAXIMUM_BATCHES) {
        const done = [...batches.values()].find(({ endedAtMs }) => endedAtMs !== undefined)
        if (done === undefined)
          throw new ApiError(503, 'too-many-batches', `${MAXIMUM_BATCHES} batches are under way`)
        batches.delete(done.batchId)
      }
      const items = order.moves.map(
        (eids): BatchItem => ({ eids, moveId: undefined, state: 'waiting', reason: undefined }),
      )
      const batch: Batch = {
        batchId: randomBytes(8).toString('hex'),
        startedAtMs: nowMs(),
        endedAtMs: undefined,
        items,
      }
      batches.set(batch.batchId, batch)
      let [at, open] = [0, 0]
      const queue = [...items]
      const attempts = new Map<BatchItem, number>()
      const pace: Pace = {
        again(item) {
          const former = attempts.get(item) ?? 1
          if (former >= MAXIMUM_ATTEMPTS) return false
          attempts.set(item, former + 1)
          item.state = 'waiting'
          queue.push(item)
          return true
        },
        makeRoom() {
          open--
          advance()
        },
        ended() {
          if (items.every(hasEnded)) batch.endedAtMs ??= nowMs()
        },
      }
      const advance = (): void => {
        while (open < order.atOnce && at < queue.length) {
          const item = queue[at++]!
          if (item.state !== 'waiting') continue
          open++
          void begin(item, order, pace)
        }
      }
      advance()
      return batch
    },
    get: (batchId) => batches.get(batchId),
    async cancel(batch) {
      for (const item of batch.items) if (item.state === 'waiting') item.state = 'cancelled'
      for (const item of batch.items) {
        if (item.state !== 'ready' || item.moveId === undefined) continue
        const { moveId } = item
        try {
          await runCommand(context, { kind: 'cancel-move', moveId })
          // Its own event says that it failed; what it was asked for is what counts here.
          item.state = 'cancelled'
        } catch (cause) {
          // It has arrived meanwhile: then it stays.
          item.reason = (cause as Error).message
        }
      }
    },
    list: () => [...batches.values()],
    close: unsubscribe,
  }
}

/** `[7]10.10.0.5` and so on, with where each one stands. */
export function itemView({ eids, moveId, state, reason }: BatchItem) {
  return {
    eids: eids.map(formatEid),
    state,
    ...(moveId === undefined ? {} : { moveId }),
    ...(reason === undefined ? {} : { reason }),
  }
}

/** A move that has begun, and the batch that waits for it. */
interface Flight {
  readonly item: BatchItem
  readonly pace: Pace
}

interface Pace {
  /** Puts the item behind all others; false when it has been tried often enough. */
  again(item: BatchItem): boolean
  /** One less is under way: the next may begin. */
  makeRoom(): void
  /** A move has ended, perhaps the last one. */
  ended(): void
}

function hasEnded({ state }: BatchItem): boolean {
  return state === 'converged' || state === 'failed' || state === 'cancelled'
}

/**
 * A mapping system answers so many questions a second and lets the others wait in vain: who asks for a
 * thousand sources is among them. Whoever names the source need not ask.
 */
const MAXIMUM_ATTEMPTS = 4
const MAXIMUM_EARLY = 1_024
