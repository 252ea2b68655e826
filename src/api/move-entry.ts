/** A move as the API shows it. */
import type { MoveView } from '../control/snapshot.js'
import { asJson, type MoveEntryView } from './views.js'

/** The snapshot's relative times, with wall-clock times beside them. */
export function entryOf(move: MoveView, now: number): MoveEntryView {
  const timeline = move.timeline.map(({ stage, agoMs }) => ({
    stage,
    agoMs,
    at: new Date(now - agoMs).toISOString(),
  }))
  return asJson({ ...move, timeline })
}
