/**
 * Tables in pages: what one costs depends on its length, not on the table's.
 *
 * Pages follow the order of prefixes (instance-ID, family, address, length). A page begins after a
 * prefix, which need not be in the table any more, so entries that come and go between two pages
 * move no other: each that stays is seen exactly once. Says nothing about what entries mean.
 */
import { coversEid, type Eid, type EidPrefix, formatEidPrefix } from '../lisp/eid.js'
import type { Instant } from './capabilities.js'
import type {
  DescribedEidView,
  MapCacheView,
  MappingDatabaseView,
  MoveView,
  RegistrationView,
} from './snapshot.js'

/** Which entries are wanted. */
export interface TableQuery {
  /** At most so many entries; a prefix with several registrants is not cut in two. */
  readonly limit: number
  /** Only what comes after this prefix. */
  readonly after?: EidPrefix | undefined
  readonly instanceId?: number | undefined
  /** Only the longest match of this EID; nothing else of the query counts then. */
  readonly eid?: Eid | undefined
}

/** Which registered names and places are wanted: they have no order of prefixes. */
export interface DescribedQuery {
  /** At most so many EIDs; one with several registrants is not cut in two. */
  readonly limit: number
  /** `next` of the page before. */
  readonly after?: string | undefined
  readonly instanceId?: number | undefined
}

export interface TablePage<View> {
  readonly entries: readonly View[]
  /** Prefixes, or names and places, that fit the query, on all pages. */
  readonly total: number
  /** What the next page comes after, as text; undefined on the last page. */
  readonly next: string | undefined
}

export interface TableSizes {
  readonly mapCache: number
  readonly mappingDatabase: number
  readonly registrations: number
  /** Names and places at the Map-Server. */
  readonly describedEids: number
  /** At a Map-Server and of an xTR. */
  readonly subscriptions: number
  /** Subscribers that have not acknowledged the newest mapping. */
  readonly subscribersBehind: number
  /** Multicast groups, at a Map-Server and of an xTR. */
  readonly groups: number
  /** Groups with listeners on our segments, each family and segment counted. */
  readonly listenedGroups: number
  /** Receiver sites of all groups at the Map-Server. */
  readonly groupMembers: number
  readonly moves: number
  readonly movesUnderWay: number
  readonly unreachableLocators: number
  /** Locators with a smaller path MTU than the configured one. */
  readonly narrowedPaths: number
}

/** The tables of a node, read piece by piece. */
export interface NodeTables {
  sizes(): TableSizes
  mapCache(query: TableQuery, now: Instant): TablePage<MapCacheView>
  mappingDatabase(query: TableQuery, now: Instant): TablePage<MappingDatabaseView>
  registrations(query: TableQuery, now: Instant): TablePage<RegistrationView>
  describedEids(query: DescribedQuery, now: Instant): TablePage<DescribedEidView>
  /** The move of that name; undefined when it is not known, or no more. */
  move(moveId: string, now: Instant): MoveView | undefined
}

/** The same for whoever has no clock of the node. */
export interface ReadTables {
  sizes(): TableSizes
  mapCache(query: TableQuery): TablePage<MapCacheView>
  mappingDatabase(query: TableQuery): TablePage<MappingDatabaseView>
  registrations(query: TableQuery): TablePage<RegistrationView>
  describedEids(query: DescribedQuery): TablePage<DescribedEidView>
  move(moveId: string): MoveView | undefined
}

/** A table in the order of prefixes. */
export interface PagedTable<Entry> {
  /** Entries of one instance-ID, or of all. */
  sizeOf(instanceId: number | undefined): number
  after(prefix: EidPrefix | undefined, instanceId: number | undefined): Iterable<Entry>
  longestMatch(eid: Eid): Entry | undefined
}

export const EMPTY_PAGE: TablePage<never> = { entries: [], total: 0, next: undefined }

/** One page; reads as many entries as it returns and one more. */
export function pageOf<Entry, View>(
  table: PagedTable<Entry>,
  query: TableQuery,
  prefixOf: (entry: Entry) => EidPrefix,
  viewsOf: (entry: Entry) => readonly View[],
): TablePage<View> {
  const { limit, after, instanceId, eid } = query
  if (eid !== undefined) {
    const match = table.longestMatch(eid)
    if (match === undefined) return EMPTY_PAGE
    return { entries: viewsOf(match), total: 1, next: undefined }
  }
  const entries: View[] = []
  let last: EidPrefix | undefined
  let next: string | undefined
  for (const entry of table.after(after, instanceId)) {
    if (entries.length >= limit && last !== undefined) {
      next = formatEidPrefix(last)
      break
    }
    entries.push(...viewsOf(entry))
    last = prefixOf(entry)
  }
  return { entries, total: table.sizeOf(instanceId), next }
}

/** A large table with a few configured entries among its own, in one order. */
export function withConfigured<Entry, Few>(
  table: PagedTable<Entry>,
  prefixOf: (entry: Entry) => EidPrefix,
  few: readonly { readonly eidPrefix: EidPrefix; readonly entry: Few }[],
): PagedTable<Entry | Few> {
  const sorted = [...few].sort((a, b) => comparePrefixes(a.eidPrefix, b.eidPrefix))
  const fitting = (instanceId: number | undefined) =>
    sorted.filter((one) => instanceId === undefined || one.eidPrefix.instanceId === instanceId)
  return {
    sizeOf: (instanceId) => table.sizeOf(instanceId) + fitting(instanceId).length,
    longestMatch(eid) {
      const found = table.longestMatch(eid)
      const foundLength = found === undefined ? -1 : prefixOf(found).maskLength
      let best: Entry | Few | undefined = found
      let length = foundLength
      for (const { eidPrefix: prefix, entry } of sorted) {
        if (prefix.maskLength <= length || !coversEid(prefix, eid)) continue
        best = entry
        length = prefix.maskLength
      }
      return best
    },
    *after(prefix, instanceId) {
      const waiting = fitting(instanceId).filter(
        (one) => prefix === undefined || comparePrefixes(one.eidPrefix, prefix) > 0,
      )
      for (const entry of table.after(prefix, instanceId)) {
        const own = prefixOf(entry)
        while (waiting[0] !== undefined && comparePrefixes(waiting[0].eidPrefix, own) < 0)
          yield waiting.shift()!.entry
        yield entry
      }
      for (const { entry } of waiting) yield entry
    },
  }
}

/** The order of pages: instance-ID, family, address, coarse before fine. */
function comparePrefixes(a: EidPrefix, b: EidPrefix): number {
  if (a.instanceId !== b.instanceId) return a.instanceId - b.instanceId
  if (a.address.family !== b.address.family) return a.address.family - b.address.family
  for (const [index, byte] of a.address.bytes.entries()) {
    const difference = byte - b.address.bytes[index]!
    if (difference !== 0) return difference
  }
  return a.maskLength - b.maskLength
}
