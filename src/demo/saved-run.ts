/**
 * What `--out` keeps beside packet records, so that the figures can be computed again.
 */
import type { MoveWindow, StreamDescription } from './analysis.js'
import type { PerformedMove } from './perform-move.js'
import type { TcpReport } from './traffic.js'

export interface SavedRun {
  readonly endpoint: string
  readonly streams: readonly StreamDescription[]
  readonly windows: readonly MoveWindow[]
  readonly tcp: { readonly connect: TcpReport; readonly serve: TcpReport }
  readonly performed: readonly PerformedMove[]
  readonly expectedMoves: number
  /** Capture times are wall-clock; packet records are monotonic. */
  readonly realtimeMinusMonotonicNs: number
}
