/**
 * The mapping database as it is shown: own EID-prefixes, the dynamic-EID prefixes as configured, and
 * the single EIDs in them. Decides nothing.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress, formatMac } from '../../lisp/address.js'
import { formatEidPrefix } from '../../lisp/eid.js'
import type { Locator } from '../../lisp/locator.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { ownLocators } from '../control-datagram.js'
import type { LocatorView, MappingDatabaseView } from '../snapshot.js'
import { pageOf, type TablePage, type TableQuery, withConfigured } from '../table-pages.js'

export interface DatabaseViews {
  /** All of it. */
  views(now: Instant): MappingDatabaseView[]
  page(query: TableQuery, now: Instant): TablePage<MappingDatabaseView>
  size(): number
}

export function createDatabaseViews(config: NodeConfig, database: MappingDatabase): DatabaseViews {
  const table = withConfigured(
    { ...database, longestMatch: (eid) => database.match(eid) },
    (entry: DatabaseEntry) => entry.eidPrefix,
    config.dynamicEidPrefixes.map((entry) => ({ eidPrefix: entry.eidPrefix, entry })),
  )
  const viewOf = (entry: DatabaseEntry | DynamicPrefix, now: Instant): MappingDatabaseView =>
    'key' in entry ? entryView(config, entry, now) : dynamicPrefixView(entry)
  return {
    views: (now) => [
      ...config.dynamicEidPrefixes.map(dynamicPrefixView),
      ...[...database.entries()].map((entry) => entryView(config, entry, now)),
    ],
    page: (query, now) =>
      pageOf(
        table,
        query,
        ({ eidPrefix }) => eidPrefix,
        (entry) => [viewOf(entry, now)],
      ),
    size: () => database.size + config.dynamicEidPrefixes.length,
  }
}

type DynamicPrefix = NodeConfig['dynamicEidPrefixes'][number]

function dynamicPrefixView(one: DynamicPrefix): MappingDatabaseView {
  return {
    eidPrefix: formatEidPrefix(one.eidPrefix),
    instanceId: one.eidPrefix.instanceId,
    kind: 'dynamic-prefix',
    state: 'local',
    interfaceName: one.interfaceName,
    mac: undefined,
    locators: [],
    mapVersion: 0,
    registered: false,
    registeredAgoMs: undefined,
  }
}

function entryView(config: NodeConfig, entry: DatabaseEntry, now: Instant): MappingDatabaseView {
  const isAway = entry.state === 'away'
  const registered = entry.state === 'local' && entry.registeredAt !== undefined
  return {
    eidPrefix: entry.key,
    instanceId: entry.eidPrefix.instanceId,
    kind: entry.kind,
    state: entry.state,
    interfaceName: entry.interfaceName,
    mac: entry.mac === undefined ? undefined : formatMac(entry.mac),
    locators: (isAway ? entry.awayLocators : ownLocators(config)).map(locatorView),
    mapVersion: isAway ? entry.heardVersion : entry.grantedVersion,
    registered,
    registeredAgoMs: registered ? now - entry.registeredAt! : undefined,
  }
}

export function locatorView(one: Locator): LocatorView {
  const { priority, weight, reachable } = one
  return { rloc: formatIpAddress(one.rloc), priority, weight, reachable }
}
