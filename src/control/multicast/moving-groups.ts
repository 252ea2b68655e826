/**
 * What a move takes along of groups: those that its endpoint listens to, and the lists of what it sends.
 *
 * The former site names them in the preparation of the move, each as a mapping with a replication list
 * (LCAF 9 and 13; empty for what is listened to). The new site joins and follows them before the endpoint
 * is there, for `EXPECTATION_MS`, and waits until their packets come (arriving-groups.ts). Our choice, no
 * standard says so. What is not named is found by the first report or packet.
 */
import { equalIpAddresses } from '../../lisp/address.js'
import type { Eid } from '../../lisp/eid.js'
import type { StructuredMapping } from '../../lisp/mapping.js'
import { formatGroup, groupOf, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import type { Output } from '../input-output.js'
import type { ArrivingGroups } from './arriving-groups.js'
import type { GroupFollowing } from './group-following.js'
import type { GroupReceivers } from './group-receivers.js'
import { listMapping } from './replication-list.js'

export interface MovingGroups {
  /** At the former site: groups that these EIDs listen to, and the lists of what they send. */
  handOver(eids: readonly Eid[]): readonly StructuredMapping[]
  /**
   * At the new site: joined on `interfaces` and followed before the endpoint is there. Calls `done` once,
   * when packets of what it listens to come.
   */
  expect(
    records: readonly StructuredMapping[],
    interfaces: readonly string[],
    done: (now: Instant, outputs: Output[]) => void,
    now: Instant,
    outputs: Output[],
  ): void
}

export interface MovingGroupParts {
  readonly database: MappingDatabase
  readonly receivers: Pick<GroupReceivers, 'groupsOf' | 'expect' | 'flush'>
  readonly following: Pick<GroupFollowing, 'followed' | 'entriesOf' | 'adopt'>
  readonly arriving: Pick<ArrivingGroups, 'waitFor'>
  /** What the endpoint of an EID of ours has reported under other addresses. */
  groupsOf(entry: DatabaseEntry, limit: number): readonly MulticastGroup[]
  /** The source of the group, or the root of (*,G), lives in this site or is about to. */
  isHere(group: MulticastGroup): boolean
  /** Something listens to the group that did not before, or sends to it. */
  changed(group: MulticastGroup, now: Instant, outputs: Output[]): void
}

/** Groups that are handed over with one move; more are found by the first report or packet. */
const MAXIMUM_HANDED_OVER = 32
/** What fits beside the rest of a move message; the Map-Server tells all of them soon after. */
const MAXIMUM_HANDED_ENTRIES = 32
/** Our choice: an endpoint that was to come is given up after this. */
const EXPECTATION_MS = 30_000
const HANDED_OVER = { ttlMinutes: 1, mapVersion: 0, own: false }

export function createMovingGroups(parts: MovingGroupParts): MovingGroups {
  const { database, receivers, following, arriving, isHere } = parts

  /** An endpoint reports IPv6 groups from a link-local address, which is no EID. */
  function listenedTo(eid: Eid): readonly MulticastGroup[] {
    const groups = receivers.groupsOf(eid.address, eid.instanceId, MAXIMUM_HANDED_OVER)
    const entry = database.getEid(eid)
    const others = entry === undefined ? [] : parts.groupsOf(entry, MAXIMUM_HANDED_OVER)
    return [...new Map([...groups, ...others].map((one) => [formatGroup(one), one])).values()]
  }

  return {
    handOver(eids) {
      const records: StructuredMapping[] = []
      for (const eid of eids) {
        for (const group of listenedTo(eid)) records.push(listMapping(group, [], HANDED_OVER))
        for (const group of following.followed()) {
          if (group.instanceId !== eid.instanceId || group.source === undefined) continue
          if (!equalIpAddresses(group.source, eid.address)) continue
          const list = following.entriesOf(group) ?? []
          records.push(listMapping(group, list.slice(0, MAXIMUM_HANDED_ENTRIES), HANDED_OVER))
        }
      }
      return records.slice(0, MAXIMUM_HANDED_OVER)
    },
    expect(records, interfaces, done, now, outputs) {
      const listens: MulticastGroup[] = []
      for (const record of records.slice(0, MAXIMUM_HANDED_OVER)) {
        const group = groupOf(record.eid)
        if (group === undefined) continue
        // Groups whose source is among the EIDs that come; of any other source it listens to them.
        if (isHere(group)) {
          following.adopt(group, record, now, outputs)
          parts.changed(group, now, outputs)
        } else listens.push(group)
      }
      receivers.expect(listens, interfaces, now + EXPECTATION_MS, outputs)
      receivers.flush(now, outputs)
      for (const group of listens) parts.changed(group, now, outputs)
      arriving.waitFor(listens, done, now, outputs)
    },
  }
}
