/**
 * Replication entries that an earlier run left in the datapath, which has gone on copying by them.
 *
 * A list of a source that is still ours is believed until the Map-Server has answered, and a segment
 * that had listeners counts as having them until they have been asked: a restart costs nobody a packet.
 * What is neither is removed. A segment that an (S,G) has only because of (*,G) is no listener of (S,G).
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses } from '../../lisp/address.js'
import {
  anySource,
  equalGroups,
  type MulticastGroup,
} from '../../lisp/multicast/multicast-group.js'
import type { Encapsulation } from '../datapath-operation.js'
import type { Output } from '../input-output.js'
import { push } from '../outputs.js'
import type { RestoredState } from '../restored-state.js'
import { startupIntervalMs } from './membership-timing.js'
import { listMapping, RECEIVER_LEVEL } from './replication-list.js'

export type RestoredGroup = NonNullable<RestoredState['groups']>[number]

export interface RestoredGroupsHooks {
  /** Its source is of our site, or we are a relay. */
  isOurs(group: MulticastGroup): boolean
  adopt(record: ReturnType<typeof listMapping>, restored: RestoredGroup): void
  /** These segments have listeners until we know better. */
  expect(group: MulticastGroup, interfaces: readonly string[]): void
  /** False when nothing is wanted of the group. */
  install(group: MulticastGroup): boolean
}

/** Without queries of ours: until hosts or routers have been heard by themselves. */
const UNASKED_MS = 30_000
/** On a busy machine. */
const ANSWERED_MS = 2000

/**
 * How long a segment counts as having its listeners: until hosts have answered two queries, of which one
 * may be lost, or its answer. It is asked at the start, and a quarter of the interval later (RFC 3376 §8.6).
 */
export function believedMs({ multicast: { membership } }: NodeConfig): number {
  if (membership?.enabled !== true) return UNASKED_MS
  const { timing } = membership
  return startupIntervalMs(timing) + timing.queryResponseMs + ANSWERED_MS
}

/** After our EIDs are known. Appends what is to be removed to `outputs`. */
export function restoreGroups(
  restored: readonly RestoredGroup[],
  hooks: RestoredGroupsHooks,
  outputs: Output[],
): void {
  for (const one of restored) {
    const listening = listenersOf(one, restored)
    if (listening.length > 0) hooks.expect(one.group, listening)
  }
  for (const one of restored) {
    const { group, copies } = one
    if (copies.length > 0 && hooks.isOurs(group)) hooks.adopt(recordOf(group, copies), one)
    if (!hooks.install(group)) push(outputs, { kind: 'delete-replication', group })
  }
}

function listenersOf(one: RestoredGroup, all: readonly RestoredGroup[]): readonly string[] {
  if (one.group.source === undefined) return one.localInterfaces
  const any = all.find(({ group }) => equalGroups(group, anySource(one.group)))
  return one.localInterfaces.filter((name) => !any?.localInterfaces.includes(name))
}

function recordOf(group: MulticastGroup, copies: readonly Encapsulation[]) {
  const entries = copies
    .filter(({ locator, source }) => !equalIpAddresses(locator.rloc, source))
    .map(({ locator: { rloc } }) => ({
      level: RECEIVER_LEVEL,
      address: { kind: 'ip', address: rloc } as const,
    }))
  return listMapping(group, entries, { ttlMinutes: 1, mapVersion: 0, own: false })
}
