/**
 * What forwards packets, seen from above: carries out operations, raises events.
 *
 * Contract, the same for the kernel (bpf-datapath.ts) and the model:
 * - Operations take effect in the order given. Replacing an entry is one atomic step: a packet sees
 *   the old entry or the new one, never neither.
 * - `put-* … release`: everything held for those EIDs leaves in arrival order before any newer packet
 *   to them; afterwards `hold-released` is raised, once per EID.
 * - Counters survive the replacement of an entry, and a restart.
 * - When the control plane dies, forwarding goes on unchanged. What was held dies with it, and packets that
 *   would be held are dropped by the kernel (`no-hold` or the device's own counter) until it is back.
 * - An operation that fails raises `operation-failed` and changes nothing.
 */
import type { DatapathEvent } from '../control/datapath-event.js'
import type { DatapathOperation } from '../control/datapath-operation.js'
import type { RestoredState } from '../control/restored-state.js'

export interface Datapath {
  perform(operation: DatapathOperation): void
  /** What an earlier run left behind (empty on a first start). Called once, before the first `perform`. */
  restore(): Pick<RestoredState, 'localEids' | 'mapCache' | 'groups'>
  counters(): DatapathCounters
  /**
   * Per-mapping counts for `show map-cache`, of the entries named or of all; a map look-up each, for
   * operators, never on a hot path. Entries that do not exist are left out.
   */
  mappingCounters(wanted?: {
    readonly table: MappingCounter['table']
    readonly eidPrefixes: readonly string[]
  }): readonly MappingCounter[]
  /** The same of replication entries, by name as `formatGroup` writes it. */
  groupCounters(names: readonly string[]): readonly GroupCounter[]
  /** Stop. `keep` leaves programs and maps in the kernel, forwarding on. */
  close(how: 'detach' | 'keep'): void
}

/** Called in batches by the datapath; the array is reused. */
export type OnDatapathEvents = (events: readonly DatapathEvent[]) => void

export interface DatapathCounters {
  /** By kebab-case reason, derived from enum lisp_drop_reason: all reasons, also those at zero. */
  readonly drops: Readonly<Record<string, { readonly packets: number; readonly bytes: number }>>
  /** By kebab-case name, derived from enum lisp_tally. */
  readonly tallies: Readonly<Record<string, number>>
  readonly hold: {
    readonly packets: number
    readonly bytes: number
    readonly heldTotal: number
    readonly releasedTotal: number
    /** Releases that could not keep order because more came than could leave; absent without a hold. */
    readonly unsettledTotal?: number
    /** By HoldDropReason. */
    readonly dropped: Readonly<Record<string, number>>
  }
}

/** One entry as it stands in the kernel, found for one EID. */
export interface DatapathFinding {
  readonly table: 'map-cache' | 'local-eid'
  readonly match: 'host' | 'prefix'
  /** By the names of native/bpf: forward, draining, native, drop, hold; local, standby, away … */
  readonly form: string
  /** Where a forwarding entry leads. */
  readonly rlocs: readonly string[]
}

/** Packets to a group that its entry was found for, not copies. */
export interface GroupCounter {
  readonly group: string
  readonly packets: bigint
  readonly bytes: bigint
  /** Since the last packet of the site. */
  readonly idleMs: number | undefined
}

export interface MappingCounter {
  readonly table: 'map-cache' | 'local-eid'
  readonly eidPrefix: string
  readonly packets: bigint
  readonly bytes: bigint
  readonly idleMs: number | undefined
}
