/**
 * Replication entries in the BPF map `replications`: who gets packets to a group (native/bpf/replicate.h).
 *
 * An entry is one element, so replacing it is one step. The RLOCs that it copies to stand in locator sets
 * of eight, shared by content: groups with the same receivers share them. Sets that nothing refers to any
 * more outlive the packets that are being copied by `LINGER_MS`. What an earlier run left goes on until it
 * is put again or removed, at the latest after `LEFTOVER_MS`: who still wants it has said so by then.
 */
import type { DatapathEvent } from '../control/datapath-event.js'
import type { DatapathOperation, Encapsulation } from '../control/datapath-operation.js'
import { equalIpAddresses } from '../lisp/address.js'
import type { Rloc } from '../lisp/locator.js'
import { type MulticastGroup, parseGroup } from '../lisp/multicast/multicast-group.js'
import {
  decodeBpfReplication,
  encodeBpfReplication,
  GROUP_KEY_BYTES,
  LIMITS,
  REPLICATION_BYTES,
} from './abi.generated.js'
import { usageOfCounter } from './bpf-counters.js'
import type { BpfMaps } from './bpf-maps.js'
import type { GroupCounter } from './datapath.js'
import { keyText } from './eid-keys.js'
import type { FreeIds } from './free-ids.js'
import { groupKey, groupOfKey } from './group-keys.js'
import type { LocatorSets } from './locator-sets.js'
import { OVERHEAD_BYTES } from './model-packet.js'

export type ReplicationOperation = Extract<
  DatapathOperation,
  { kind: 'put-replication' | 'delete-replication' | 'query-replication' }
>
type Put = Extract<ReplicationOperation, { kind: 'put-replication' }>

/** What an earlier run left about one group. */
export type RestoredGroup = Omit<Put, 'kind'>

export interface ReplicationTables {
  /** Throws `table-full`, `unknown-interface`, … ; then nothing has changed. */
  perform(operation: ReplicationOperation): void
  /** Takes over what stands in the map; after `sets.load()`. What is known already is only reported. */
  restore(): readonly RestoredGroup[]
  /** Of the entries named that there are. */
  counters(names: readonly string[]): readonly GroupCounter[]
  /** Stop all timers. */
  close(): void
}

export interface ReplicationParts {
  readonly maps: BpfMaps
  readonly sets: LocatorSets
  readonly counterIds: FreeIds
  readonly raise: (event: DatapathEvent) => void
  readonly interfaceIndex: (name: string) => number | undefined
  readonly interfaceName: (index: number) => string | undefined
  readonly ownRlocs: () => readonly Rloc[]
  /** Missing: the clock of this process; what is still to come then is forgotten by `close`. */
  readonly after?: (ms: number, run: () => void) => void
}

interface Entry {
  readonly group: MulticastGroup
  readonly counterId: number
  setIds: readonly number[]
  /** Of an earlier run, not put again yet. */
  isLeftover: boolean
}

/** Copying 256 times holds a CPU for 0.2 ms (measured); a CPU that loses its turn needs longer. */
const LINGER_MS = 1000
/** Our choice: longer than listeners are remembered without a report (RFC 9776 §8.4: 260 s). */
const LEFTOVER_MS = 300_000
const SET_LOCATORS = LIMITS['maximum-locators']

export function createReplicationTables(parts: ReplicationParts): ReplicationTables {
  const { maps, sets, counterIds } = parts
  const entries = new Map<string, Entry>()
  const timers = new Set<NodeJS.Timeout>()

  function later(ms: number, run: () => void): void {
    if (parts.after !== undefined) {
      parts.after(ms, run)
      return
    }
    const timer = setTimeout(() => {
      timers.delete(timer)
      run()
    }, ms)
    timer.unref()
    timers.add(timer)
  }

  function acquireSets(copies: readonly Encapsulation[]): number[] {
    const ids: number[] = []
    for (let at = 0; at < copies.length; at += SET_LOCATORS) {
      const id = sets.acquireCopies(copies.slice(at, at + SET_LOCATORS))
      if (id === undefined) {
        for (const one of ids) sets.release(one)
        throw new Error('locator-sets-exhausted')
      }
      ids.push(id)
    }
    return ids
  }

  function releaseLater(ids: readonly number[]): void {
    if (ids.length > 0)
      later(LINGER_MS, () => {
        for (const id of ids) sets.release(id)
      })
  }

  function newEntry(group: MulticastGroup): Entry {
    const counterId = counterIds.allocate()
    if (counterId === undefined) throw new Error('counters-exhausted')
    maps.clearCounter(counterId)
    return { group, counterId, setIds: [], isLeftover: false }
  }

  function put({ group, copies, localInterfaces, level }: Put): void {
    const interfaces = localInterfaces.map((name) => {
      const index = parts.interfaceIndex(name)
      if (index === undefined) throw new Error('unknown-interface')
      return index
    })
    const wanted = inOrder(copies, parts.ownRlocs())
    if (wanted.length > LIMITS['maximum-copies']) throw new Error('too-many-copies')
    if (interfaces.length > LIMITS['maximum-group-interfaces'])
      throw new Error('too-many-interfaces')
    const key = groupKey(group)
    const known = entries.get(keyText(key))
    const entry = known ?? newEntry(group)
    const setIds = acquireSets(wanted)
    try {
      const value = {
        counterId: entry.counterId,
        copies: wanted.length,
        largest: largestOf(wanted),
        level,
        interfaceCount: interfaces.length,
        interfaces,
        setIds,
      }
      maps.update('replications', key, encodeBpfReplication(value))
    } catch (error) {
      for (const id of setIds) sets.release(id)
      if (known === undefined) counterIds.free(entry.counterId)
      throw error
    }
    releaseLater(entry.setIds)
    entry.setIds = setIds
    entry.isLeftover = false
    entries.set(keyText(key), entry)
  }

  function remove(group: MulticastGroup): void {
    const key = groupKey(group)
    const entry = entries.get(keyText(key))
    if (entry === undefined) return
    maps.remove('replications', key)
    entries.delete(keyText(key))
    counterIds.free(entry.counterId)
    releaseLater(entry.setIds)
  }

  function adopt(group: MulticastGroup, key: Uint8Array, value: Uint8Array) {
    const bpf = decodeBpfReplication(value)
    const setIds = bpf.setIds.slice(0, Math.ceil(bpf.copies / SET_LOCATORS))
    if (!entries.has(keyText(key))) {
      const held = setIds.filter((id) => sets.retain(id))
      if (held.length < setIds.length || !counterIds.reserve(bpf.counterId)) {
        for (const id of held) sets.release(id)
        maps.remove('replications', key)
        return undefined
      }
      const entry = { group, counterId: bpf.counterId, setIds, isLeftover: true }
      entries.set(keyText(key), entry)
    }
    const names = bpf.interfaces.slice(0, bpf.interfaceCount).map(parts.interfaceName)
    return {
      group,
      copies: setIds.flatMap((id) => sets.encapsulations(id)),
      localInterfaces: names.filter((name) => name !== undefined),
      level: bpf.level,
    }
  }

  return {
    perform(operation) {
      if (operation.kind === 'put-replication') put(operation)
      else if (operation.kind === 'delete-replication') remove(operation.group)
      else {
        const { group } = operation
        const entry = entries.get(keyText(groupKey(group)))
        const usage = usageOfCounter(entry?.counterId, maps)
        parts.raise({ kind: 'replication-usage', group, ...usage })
      }
    },
    restore() {
      const { count, keys, values } = maps.read('replications')
      const found: RestoredGroup[] = []
      for (let index = 0; index < count; index += 1) {
        const at = index * GROUP_KEY_BYTES
        const key = new Uint8Array(keys.subarray(at, at + GROUP_KEY_BYTES))
        const group = groupOfKey(key)
        const value = values.subarray(index * REPLICATION_BYTES, (index + 1) * REPLICATION_BYTES)
        const one = group && adopt(group, key, value)
        if (one !== undefined) found.push(one)
        else if (group === undefined) maps.remove('replications', key)
      }
      if ([...entries.values()].some(({ isLeftover }) => isLeftover))
        later(LEFTOVER_MS, () => {
          for (const { group, isLeftover } of [...entries.values()]) if (isLeftover) remove(group)
        })
      return found
    },
    counters: (names) =>
      names.flatMap((name) => {
        const group = parseGroup(name)
        const entry = group && entries.get(keyText(groupKey(group)))
        return entry === undefined
          ? []
          : [{ group: name, ...usageOfCounter(entry.counterId, maps) }]
      }),
    close() {
      for (const timer of timers) clearTimeout(timer)
      timers.clear()
    },
  }
}

/** IPv4 first: the programs change the size of the outer header once at most. Never to ourselves. */
function inOrder(copies: readonly Encapsulation[], own: readonly Rloc[]): Encapsulation[] {
  return copies
    .filter(({ locator }) => !own.some((one) => equalIpAddresses(one, locator.rloc)))
    .sort((a, b) => a.locator.rloc.family - b.locator.rloc.family)
}

/** The largest inner packet that fits everywhere; 65535 without copies. */
function largestOf(copies: readonly Encapsulation[]): number {
  return copies.reduce(
    (least, { locator, pathMtu }) => Math.min(least, pathMtu - OVERHEAD_BYTES[locator.rloc.family]),
    0xffff,
  )
}
