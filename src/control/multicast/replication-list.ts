/**
 * Replication lists: what a record says about who gets copies, and which copies a replicator makes.
 *
 * Supported standards: LCAF 13 (RFC 8060 §4.6), its levels (RFC 8378 §9): an ITR copies to the entries of
 * the lowest level, a relay of level n to those of the next level above n. An entry that is an explicit
 * locator path is reached over its first hop that is not down (RFC 8378 §7.3). What cannot be copied to
 * is left out and counted by reason: our own RLOC, an RLOC twice, a multicast or unreachable RLOC, and
 * what is beyond the limits.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress, isMulticast } from '../../lisp/address.js'
import {
  type AfiAddress,
  type ExplicitLocatorPath,
  type ReplicationEntry,
  rlocOf,
} from '../../lisp/afi-address.js'
import { isUsableRloc, locator, type Rloc, structuredLocator } from '../../lisp/locator.js'
import type { StructuredMapping } from '../../lisp/mapping.js'
import { groupAddress, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import { isOwnRloc, sourceRloc } from '../control-datagram.js'
import type { Encapsulation } from '../datapath-operation.js'
import { encapsulationTo } from '../itr/encapsulation-choice.js'
import { isCarriedByCore } from './root-choice.js'

/** RFC 8378 §5.1.2: what ETRs register at. */
export const RECEIVER_LEVEL = 128
/** Our choice: what one datagram can carry in IPv4 entries, and enough for any site count seen. */
export const MAXIMUM_LIST_ENTRIES = 4096
/** What the datapath copies to for one packet; more need relays. */
export const MAXIMUM_COPIES = 256

/** What a record about a group says beside its list. */
export interface ListTerms {
  /** 0 takes the sender's entries back. */
  readonly ttlMinutes: number
  readonly mapVersion: number
  /** By an ETR of itself: authoritative, L bit. */
  readonly own: boolean
}

/** The record of a group; without entries it is negative (ACT drop: nobody listens). */
export function listMapping(
  group: MulticastGroup,
  entries: readonly ReplicationEntry[],
  { ttlMinutes, mapVersion, own }: ListTerms,
): StructuredMapping {
  const eid = groupAddress(group)
  const list = { kind: 'replication-list', entries } as const
  const terms = { multicastPriority: 1, multicastWeight: 100, local: own }
  const one = entries.length === 0 ? undefined : structuredLocator(list, terms)
  return {
    eid,
    maskLength: eid.groupMaskLength,
    ttlMinutes,
    action: one === undefined ? 'drop' : 'no-action',
    authoritative: own,
    mapVersion,
    locators: one === undefined ? [] : [one],
  }
}

/**
 * The entries of all replication lists in a record; a plain RLOC among its locators counts as a receiver.
 * At most `MAXIMUM_LIST_ENTRIES`; `ignored` is how many were beyond.
 */
export function entriesOf(record: StructuredMapping): {
  readonly entries: readonly ReplicationEntry[]
  readonly ignored: number
} {
  const entries: ReplicationEntry[] = []
  let ignored = 0
  for (const one of record.locators) {
    const list =
      one.structure?.kind === 'replication-list'
        ? one.structure.entries
        : [{ level: RECEIVER_LEVEL, address: one.structure ?? ipOf(one.rloc) }]
    const room = MAXIMUM_LIST_ENTRIES - entries.length
    for (const entry of list.slice(0, room)) entries.push(entry)
    ignored += Math.max(0, list.length - room)
  }
  return { entries, ignored }
}

export interface ChosenCopies {
  readonly copies: readonly Encapsulation[]
  readonly ignored: IgnoredEntries
}

/** Why entries are not copied to, and how many. */
export interface IgnoredEntries {
  readonly ownRloc: number
  readonly duplicate: number
  readonly unsupported: number
  readonly tooMany: number
}

/**
 * The copies that we make: to the entries of the lowest level above `ownLevel` (0 for an ITR), each RLOC
 * once, never ourselves.
 */
export function chooseCopies(
  config: NodeConfig,
  entries: readonly ReplicationEntry[],
  ownLevel: number,
  isDown: (rloc: Rloc) => boolean,
): ChosenCopies {
  const ignored = { ownRloc: 0, duplicate: 0, unsupported: 0, tooMany: 0 }
  const usable: { readonly level: number; readonly rloc: Rloc }[] = []
  for (const { level, address } of entries) {
    const rloc = rlocFor(config, address, isDown)
    if (rloc === undefined) ignored.unsupported += 1
    else if (isOwnRloc(config, rloc)) ignored.ownRloc += 1
    else if (isAbove(level, ownLevel)) usable.push({ level, rloc })
  }
  const next = usable.reduce((lowest, one) => Math.min(lowest, one.level), 256)
  const seen = new Set<string>()
  const copies: Encapsulation[] = []
  for (const { level, rloc } of usable) {
    if (level !== next) continue
    const text = formatIpAddress(rloc)
    if (seen.has(text)) ignored.duplicate += 1
    else if (copies.length >= MAXIMUM_COPIES) ignored.tooMany += 1
    else copies.push(encapsulationTo(config, locator(rloc)))
    seen.add(text)
  }
  return { copies, ignored }
}

/**
 * The copies of lists and those of joins (RFC 6831): both may name a site, and groups of the core may be
 * among RLOCs. At most `MAXIMUM_COPIES`.
 */
export function mergeCopies(
  listed: readonly Encapsulation[],
  joiners: readonly Encapsulation[],
): readonly Encapsulation[] {
  const names = new Set(listed.map(({ locator }) => formatIpAddress(locator.rloc)))
  const others = joiners.filter(({ locator }) => !names.has(formatIpAddress(locator.rloc)))
  return [...listed, ...others].slice(0, MAXIMUM_COPIES)
}

/** Level 0 entries are an ITR's next ones as well; a relay sends only downwards. */
function isAbove(level: number, ownLevel: number): boolean {
  return ownLevel === 0 || level > ownLevel
}

/** Where packets for this entry go, of a family that we have an RLOC of; undefined: nowhere. */
function rlocFor(
  config: NodeConfig,
  address: AfiAddress,
  isDown: (rloc: Rloc) => boolean,
): Rloc | undefined {
  if (address.kind === 'explicit-locator-path') return firstHop(config, address, isDown)
  if (address.kind === 'list') {
    for (const one of address.addresses) {
      const found = rlocFor(config, one, isDown)
      if (found !== undefined) return found
    }
    return undefined
  }
  const rloc = rlocOf(address)
  // A group of the core is one copy for all behind it (RFC 9301 §5.4), where the core has groups.
  const isCoreGroup = rloc !== undefined && isMulticast(rloc) && isCarriedByCore(config)
  if (rloc === undefined || !(isUsableRloc(rloc) || isCoreGroup)) return undefined
  return sourceRloc(config, rloc) === undefined ? undefined : rloc
}

/** RFC 8378 §7.3: a strict hop is used while it is reachable, else the next one. */
function firstHop(
  config: NodeConfig,
  { hops }: ExplicitLocatorPath,
  isDown: (rloc: Rloc) => boolean,
): Rloc | undefined {
  for (const hop of hops) {
    const rloc = hop.lookup ? undefined : rlocFor(config, hop.address, isDown)
    if (rloc !== undefined && !isDown(rloc)) return rloc
  }
  return undefined
}

function ipOf(address: Rloc): AfiAddress {
  return { kind: 'ip', address }
}
