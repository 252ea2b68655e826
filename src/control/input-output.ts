/**
 * What goes into a node and what comes out of it: the vocabulary between it and its shell (daemon or
 * simulator).
 *
 * A node is a pure state machine: `handle(input, now, outputs)` appends what is to be done, and the
 * shell does it: operations and datagrams first, then the rest, each in order. A run is fully
 * described by the configuration, the seed and the list of (now, input). Nothing in this room knows
 * sockets, clocks, randomness or async.
 *
 * The words themselves: capabilities.ts, datapath-event.ts, datapath-operation.ts, command.ts,
 * stored-record.ts, restored-state.ts and event.ts.
 */
import type { Rloc } from '../lisp/locator.js'
import type { Instant } from './capabilities.js'
import type { Command, CommandResult } from './command.js'
import type { DatapathEvent } from './datapath-event.js'
import type { DatapathOperation } from './datapath-operation.js'
import type { Event } from './event.js'
import type { RestoredState } from './restored-state.js'
import type { NodeSnapshot } from './snapshot.js'
import type { StoredRecord } from './stored-record.js'
import type { NodeTables } from './table-pages.js'

export type Input =
  | {
      readonly kind: 'datagram'
      readonly from: Rloc
      readonly fromPort: number
      readonly to: Rloc
      readonly bytes: Uint8Array
    }
  | {
      readonly kind: 'datapath'
      readonly event: DatapathEvent
      /** Further events of the same batch follow at once: what can be said together waits for them. */
      readonly more?: true
    }
  | { readonly kind: 'command'; readonly commandId: string; readonly command: Command }
  | { readonly kind: 'restored'; readonly state: RestoredState }
  | { readonly kind: 'deadline' }

export type Output =
  | {
      readonly kind: 'send'
      readonly from: Rloc
      readonly to: Rloc
      readonly toPort: number
      readonly bytes: Uint8Array
    }
  | { readonly kind: 'datapath'; readonly operation: DatapathOperation }
  /** `then` is performed only after `record` is durable: nothing acknowledged is lost. */
  | {
      readonly kind: 'persist'
      readonly records: readonly StoredRecord[]
      readonly then: readonly Output[]
    }
  | { readonly kind: 'result'; readonly commandId: string; readonly result: CommandResult }
  | { readonly kind: 'event'; readonly event: Event }

export interface Node {
  /** Appends to `outputs`; the shell reuses the array. Never throws on remote input. */
  handle(input: Input, now: Instant, outputs: Output[]): void
  /** The earliest moment at which a `deadline` input is wanted, or undefined. */
  deadline(): Instant | undefined
  snapshot(now: Instant): NodeSnapshot
  readonly tables: NodeTables
}
