/**
 * What the datapath has been told to do with packets to groups: one entry per name, put when it changes.
 *
 * (S,G) serves the listeners of (S,G) and of (*,G), because the datapath takes the first name that matches
 * and no other: so whoever joins or leaves (*,G) changes the entries of every (S,G) of it, and those alone
 * are looked at. What an entry should say is decided in site-multicast.ts; nothing wanted is no entry.
 */
import { formatIpAddress } from '../../lisp/address.js'
import {
  anySource,
  formatGroup,
  type MulticastGroup,
} from '../../lisp/multicast/multicast-group.js'
import type { Instant } from '../capabilities.js'
import type { DatapathOperation, Encapsulation } from '../datapath-operation.js'
import type { Output } from '../input-output.js'
import { push, report } from '../outputs.js'
import type { ChosenCopies } from './replication-list.js'

export interface ReplicationEntries {
  /** Brings the entry of this name up to date. */
  install(group: MulticastGroup, now: Instant, outputs: Output[]): void
  /** The name itself and, of (*,G), every (S,G) that has an entry. */
  installAll(group: MulticastGroup, now: Instant, outputs: Output[]): void
  /** Every entry again. */
  reinstall(now: Instant, outputs: Output[]): void
  has(group: MulticastGroup): boolean
  /** Names with an entry. */
  names(): ReadonlyMap<string, MulticastGroup>
  readonly size: number
}

export interface WantedEntry {
  /** Segments with listeners. */
  readonly local: readonly string[]
  /** RLOCs that get copies, and how many were left out, by reason. */
  readonly chosen: ChosenCopies
  /** An entry is wanted although nobody gets anything: the source shall not be reported again. */
  readonly isFollowed: boolean
}

export interface ReplicationEntryParts {
  /** Of the tree: 0 copies what the site sends, others what the core brings. */
  readonly level: number
  wanted(group: MulticastGroup): WantedEntry
  /** Copies of this group are sent, or not any more. */
  copying(group: MulticastGroup, isCopied: boolean, now: Instant, outputs: Output[]): void
}

type PutReplication = Extract<DatapathOperation, { kind: 'put-replication' }>

/** RLOCs that an event names. */
const MAXIMUM_SHOWN = 16

export function createReplicationEntries(parts: ReplicationEntryParts): ReplicationEntries {
  const { level } = parts
  /** Name → what the entry says. */
  const installed = new Map<string, string>()
  const groups = new Map<string, MulticastGroup>()
  /** (*,G) → its (S,G) with an entry. */
  const bySharedName = new Map<string, Map<string, MulticastGroup>>()

  function note(key: string, group: MulticastGroup): void {
    groups.set(key, group)
    if (group.source === undefined) return
    const shared = formatGroup(anySource(group))
    const there = bySharedName.get(shared) ?? new Map<string, MulticastGroup>()
    bySharedName.set(shared, there.set(key, group))
  }

  function forget(key: string, group: MulticastGroup): void {
    groups.delete(key)
    if (group.source === undefined) return
    const shared = formatGroup(anySource(group))
    const there = bySharedName.get(shared)
    there?.delete(key)
    if (there?.size === 0) bySharedName.delete(shared)
  }

  function remove(key: string, group: MulticastGroup, now: Instant, outputs: Output[]): void {
    forget(key, group)
    parts.copying(group, false, now, outputs)
    if (!installed.delete(key)) return
    push(outputs, { kind: 'delete-replication', group })
    report(outputs, 'replication-removed', 'info', { group: key })
  }

  function install(group: MulticastGroup, now: Instant, outputs: Output[]): void {
    const key = formatGroup(group)
    const { local, chosen, isFollowed } = parts.wanted(group)
    const { copies, ignored } = chosen
    if (!isFollowed && local.length === 0 && copies.length === 0) {
      remove(key, group, now, outputs)
      return
    }
    note(key, group)
    parts.copying(group, copies.length > 0, now, outputs)
    const put = { kind: 'put-replication', group, copies, localInterfaces: local, level } as const
    const text = textOf(put)
    if (installed.get(key) === text) return
    installed.set(key, text)
    push(outputs, put)
    report(outputs, 'replication-installed', 'info', {
      group: key,
      copies: copies.length,
      rlocs: rlocsOf(copies).slice(0, MAXIMUM_SHOWN),
      localInterfaces: local,
    })
    for (const [reason, entries] of Object.entries(ignored))
      if (entries > 0 && reason !== 'ownRloc')
        report(outputs, 'replication-entries-ignored', 'notice', {
          reason: REASONS[reason as keyof typeof REASONS],
          group: key,
          entries,
        })
  }

  return {
    install,
    installAll(group, now, outputs) {
      install(group, now, outputs)
      if (group.source !== undefined) return
      const sources = bySharedName.get(formatGroup(group))
      for (const one of [...(sources?.values() ?? [])]) install(one, now, outputs)
    },
    reinstall(now, outputs) {
      for (const group of [...groups.values()]) install(group, now, outputs)
    },
    has: (group) => installed.has(formatGroup(group)),
    names: () => groups,
    get size() {
      return installed.size
    },
  }
}

const REASONS = {
  ownRloc: 'own-rloc',
  duplicate: 'duplicate',
  unsupported: 'unsupported-rloc',
  tooMany: 'too-many',
} as const

function rlocsOf(copies: readonly Encapsulation[]): string[] {
  return copies.map(({ locator }) => formatIpAddress(locator.rloc))
}

function textOf({ copies, localInterfaces, level }: PutReplication): string {
  return `${level} ${rlocsOf(copies).sort().join(' ')} | ${localInterfaces.join(' ')}`
}
