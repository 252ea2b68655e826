/**
 * Who of a group's listeners wants what: explicit tracking (RFC 3376 appendix A.2 makes it possible,
 * because hosts of version 3 do not keep their reports back for each other's).
 *
 * Decides nothing about the group: listener-state.ts does, by the tables of the standards. Tracking
 * says to whom a source is owed, whether anybody else wants it when a host is gone, and which groups
 * a host takes along when it moves. It is complete only as long as every host could be told apart.
 */
import { formatIpAddress, type IpAddress, type MacAddress } from '../../lisp/address.js'
import type { GroupRecordType } from '../../lisp/multicast/membership.js'
import type { Instant } from '../capabilities.js'

export interface TrackedHost {
  /** As it was first heard of; a host may report from several. */
  readonly address: IpAddress
  readonly mac: MacAddress
  mode: 'include' | 'exclude'
  /** Wanted, or of EXCLUDE not wanted; by text. */
  sources: Set<string>
  until: Instant
}

/** By the text of the MAC: a host without an address, or with several, is one. */
export type TrackedHosts = Map<string, TrackedHost>

/**
 * What `host` says of itself with a record. An answer to a question about sources names only those
 * asked for, and looks like MODE_IS_INCLUDE; therefore that adds, and never takes away.
 */
export function trackRecord(
  host: TrackedHost,
  type: GroupRecordType,
  sources: readonly IpAddress[],
  maximumSources: number,
): void {
  const named = sources.slice(0, maximumSources).map(formatIpAddress)
  switch (type) {
    case 'change-to-include':
      host.mode = 'include'
      host.sources = new Set(named)
      return
    case 'mode-is-exclude':
    case 'change-to-exclude':
      host.mode = 'exclude'
      host.sources = new Set(named)
      return
    case 'mode-is-include':
    case 'allow-new-sources':
      for (const key of named)
        if (host.mode === 'exclude') host.sources.delete(key)
        else if (host.sources.size < maximumSources) host.sources.add(key)
      return
    case 'block-old-sources':
      for (const key of named)
        if (host.mode === 'include') host.sources.delete(key)
        else if (host.sources.size < maximumSources) host.sources.add(key)
      return
  }
}

/** Whether it wants anything of the group at all. */
export function listens({ mode, sources }: TrackedHost): boolean {
  return mode === 'exclude' || sources.size > 0
}

/** `source` by text; '*': any. A host that excludes some wants any, and names none. */
export function wants({ mode, sources }: TrackedHost, source: string): boolean {
  return source === '*' ? mode === 'exclude' : mode === 'include' && sources.has(source)
}
