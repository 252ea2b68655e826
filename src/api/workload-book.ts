/**
 * Which workload brought which EIDs, for as long as this daemon runs.
 *
 * What was announced is registered by the node and survives a restart there; this list does not: a
 * workload announced before it can be withdrawn by announcing it again and deleting it then, or EID
 * by EID. Bounded; it decides nothing.
 */
import type { Eid } from '../lisp/eid.js'

export interface Workload {
  readonly workloadId: string
  readonly name: string
  readonly kind: 'domain' | 'ovf'
  readonly eids: readonly Eid[]
}

export interface WorkloadBook {
  get(workloadId: string): Workload | undefined
  /** False when the book is full and the workload is not in it yet. */
  put(workload: Workload): boolean
  remove(workloadId: string): void
  list(): readonly Workload[]
}

/** An empty book. */
export function createWorkloadBook(): WorkloadBook {
  const workloads = new Map<string, Workload>()
  return {
    get: (workloadId) => workloads.get(workloadId),
    put(workload) {
      if (workloads.size >= MAXIMUM_WORKLOADS && !workloads.has(workload.workloadId)) return false
      workloads.set(workload.workloadId, workload)
      return true
    },
    remove(workloadId) {
      workloads.delete(workloadId)
    },
    list: () => [...workloads.values()],
  }
}

export const MAXIMUM_WORKLOADS = 10_000
