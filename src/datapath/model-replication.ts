/**
 * Replication as an executable specification: which copies of a packet to a group leave, and where to.
 *
 * The contract of `put-replication` (datapath-operation.ts): (S,G) before (*,G), and that one entry
 * alone; what a site sends is copied to other sites at level 0, what the core brings to others above
 * it, never to where it came from. Time, delivery and loss are its surroundings' part.
 */
import type { DatapathOperation, Encapsulation } from '../control/datapath-operation.js'
import { equalIpAddresses } from '../lisp/address.js'
import type { Rloc } from '../lisp/locator.js'
import { anySource, formatGroup, type MulticastGroup } from '../lisp/multicast/multicast-group.js'

export interface ReplicationSurroundings {
  now(): number
  /** Of the packet; missing: its bytes are not counted. */
  readonly sizeBytes?: number
  /** One copy leaves towards another RLOC. */
  transmit(copy: Encapsulation): void
  /** One copy leaves on a segment of ours. */
  deliver(interfaceName: string): void
}

export type ReplicationOperation = Extract<
  DatapathOperation,
  { kind: 'put-replication' | 'delete-replication' }
>

export interface ModelReplication {
  perform(operation: ReplicationOperation): void
  /** False without an (S,G) entry: the source is to be reported. */
  fromSite(group: MulticastGroup, interfaceName: string, around: ReplicationSurroundings): boolean
  /** False when it is dropped: nobody listens here. */
  fromCore(group: MulticastGroup, outerSource: Rloc, around: ReplicationSurroundings): boolean
  usage(group: MulticastGroup): {
    readonly packets: number
    readonly bytes: number
    /** Of the last packet from a site. */
    readonly lastSentAt: number | undefined
  }
  /** What an earlier control plane has put. */
  entries(): readonly Put[]
  clear(): void
  readonly size: number
}

type Put = Extract<ReplicationOperation, { kind: 'put-replication' }>

interface Entry {
  put: Put
  packets: number
  bytes: number
  lastSentAt: number | undefined
}

export function createModelReplication(): ModelReplication {
  const entries = new Map<string, Entry>()

  const find = (group: MulticastGroup): Entry | undefined =>
    entries.get(formatGroup(group)) ?? entries.get(formatGroup(anySource(group)))

  function count(entry: Entry, { sizeBytes = 0 }: ReplicationSurroundings): void {
    entry.packets += 1
    entry.bytes += sizeBytes
  }

  return {
    get size() {
      return entries.size
    },
    perform(operation) {
      const key = formatGroup(operation.group)
      if (operation.kind === 'delete-replication') {
        entries.delete(key)
        return
      }
      const known = entries.get(key)
      // A copy to ourselves would never leave.
      const copies = operation.copies.filter(
        ({ locator, source }) => !equalIpAddresses(locator.rloc, source),
      )
      const put = { ...operation, copies }
      if (known === undefined)
        entries.set(key, { put, packets: 0, bytes: 0, lastSentAt: undefined })
      else known.put = put
    },
    fromSite(group, interfaceName, around) {
      const entry = find(group)
      if (entry !== undefined) {
        count(entry, around)
        entry.lastSentAt = around.now()
        const { copies, localInterfaces, level } = entry.put
        if (level === 0) for (const copy of copies) around.transmit(copy)
        for (const name of localInterfaces) if (name !== interfaceName) around.deliver(name)
      }
      return entries.has(formatGroup(group))
    },
    fromCore(group, outerSource, around) {
      const entry = find(group)
      if (entry === undefined) return false
      const { copies, localInterfaces, level } = entry.put
      if (localInterfaces.length === 0 && (level === 0 || copies.length === 0)) return false
      count(entry, around)
      for (const name of localInterfaces) around.deliver(name)
      if (level === 0) return true
      for (const copy of copies)
        if (!equalIpAddresses(copy.locator.rloc, outerSource)) around.transmit(copy)
      return true
    },
    entries: () => [...entries.values()].map(({ put }) => put),
    clear: () => entries.clear(),
    usage(group) {
      const entry = entries.get(formatGroup(group))
      const { packets = 0, bytes = 0, lastSentAt } = entry ?? {}
      return { packets, bytes, lastSentAt }
    },
  }
}
