/**
 * Which workload brought which EIDs, through restarts of the daemon where it has a store.
 *
 * What was announced is registered by the node and survives in the datapath's tables; this list is
 * what withdrawing needs, and announcing again with other EIDs. It decides nothing: an EID that has
 * moved on meanwhile is not claimed back because it stands here. Bounded.
 */
import type { StoredRecord } from '../control/stored-record.js'
import type { Eid } from '../lisp/eid.js'

export interface Workload {
  readonly workloadId: string
  readonly name: string
  readonly kind: 'domain' | 'ovf'
  readonly eids: readonly Eid[]
}

export interface WorkloadBook {
  get(workloadId: string): Workload | undefined
  /**
   * Resolves when it is kept: false when the book is full and the workload is not in it yet. Rejects
   * when it cannot be stored; then it is not in the book.
   */
  put(workload: Workload): Promise<boolean>
  remove(workloadId: string): Promise<void>
  list(): readonly Workload[]
}

/** Where the book lies between two runs. */
export interface WorkloadKeeping {
  /** What an earlier run left; records of other kinds are passed over. */
  readonly records: readonly StoredRecord[]
  /** Resolves when they are durable. */
  save(records: readonly StoredRecord[]): Promise<void>
}

/** A book with what was kept; without `keeping` it is empty and ends with the process. */
export function createWorkloadBook(keeping?: WorkloadKeeping): WorkloadBook {
  const workloads = new Map<string, Workload>()
  for (const record of keeping?.records ?? [])
    if (record.kind === 'workload' && workloads.size < MAXIMUM_WORKLOADS) {
      const { workloadId, name, description, eids } = record
      workloads.set(workloadId, { workloadId, name, kind: description, eids })
    }

  return {
    get: (workloadId) => workloads.get(workloadId),
    async put(workload) {
      if (workloads.size >= MAXIMUM_WORKLOADS && !workloads.has(workload.workloadId)) return false
      const { kind: description, ...rest } = workload
      await keeping?.save([{ kind: 'workload', description, ...rest }])
      workloads.set(workload.workloadId, workload)
      return true
    },
    async remove(workloadId) {
      await keeping?.save([{ kind: 'workload-removed', workloadId }])
      workloads.delete(workloadId)
    },
    list: () => [...workloads.values()],
  }
}

export const MAXIMUM_WORKLOADS = 10_000
