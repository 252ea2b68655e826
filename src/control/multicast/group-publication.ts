/**
 * Telling everybody the list of a group: who is told what, and in which order (RFC 8378 §5.3, §9).
 *
 * A list goes to those who follow it, to the xTRs that registered the source with M=1 (RFC 8378 §5.2), and
 * to relays. Relays that get more below them come first; the others are told when these have
 * acknowledged, or after a second: so that no copy is sent to a relay that knows of nobody. Relays that
 * are silent (relay-probes.ts) have nobody below them. Which receivers there are is group-table.ts's.
 */
import type { NodeConfig } from '../../config/node-config.js'
import type { ReplicationEntry } from '../../lisp/afi-address.js'
import { hostPrefix } from '../../lisp/eid.js'
import { nextMapVersion } from '../../lisp/map-version.js'
import type { StructuredMapping } from '../../lisp/mapping.js'
import { anySource, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { Registrations } from '../../tables/registrations.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { DurableOutputs, MapNotifyOutbox } from '../map-server/map-notify-outbox.js'
import type { Addressee, GroupEntry, GroupTable } from './group-table.js'
import { rendezvousPointOf } from './rendezvous-point.js'
import { entriesOf, listMapping } from './replication-list.js'
import { addressText } from './replication-tree.js'

export interface GroupPublication {
  /** What this xTR is answered about the group. */
  recordFor(group: MulticastGroup, owner: string | undefined): StructuredMapping
  /** Arranges the group and tells whoever has another list now. */
  publish(entry: GroupEntry, now: Instant, durable: DurableOutputs): void
  /** A list of this group has arrived at an addressee: with the last relay the others are told. */
  acknowledged(name: string, now: Instant, durable: DurableOutputs): void
  /** Tells those who have waited for relays long enough. */
  handleDeadline(now: Instant, durable: DurableOutputs): void
  deadline(): Instant | undefined
}

export interface GroupPublicationParts {
  readonly table: GroupTable
  readonly outbox: MapNotifyOutbox
  readonly registrations: Registrations
  /** Relays that offer themselves for the instance and can be reached. */
  relaysOf(instanceId: number): ReturnType<GroupTable['relaysOf']>
}

/** Our choice: a relay that does not acknowledge delays nobody for longer. */
const RELAYS_FIRST_MS = 1000
/** How long an ITR that hears nothing believes a list; ours asks every minute. */
const LIST_TTL_MINUTES = 15
const NOBODY = { ttlMinutes: 1, mapVersion: 0, own: false }

export function createGroupPublication(
  config: NodeConfig,
  { table, outbox, registrations, relaysOf }: GroupPublicationParts,
): GroupPublication {
  const { sites } = config.mapServer
  /** Names of which relays have been told and the others have not, and until when they wait. */
  const waits = createDeadlines()

  function arrange(entry: GroupEntry): void {
    entry.tree.arrange(table.receiversOf(entry), relaysOf(entry.group.instanceId))
  }

  function recordOf(entry: GroupEntry, entries: readonly ReplicationEntry[]): StructuredMapping {
    const { mapVersion, group } = entry
    return listMapping(group, entries, { ttlMinutes: LIST_TTL_MINUTES, mapVersion, own: false })
  }

  /** Also one that is silent: as another replicator it would be told to copy to everybody. */
  function isRelay(entry: GroupEntry, owner: string): boolean {
    return table.relaysOf(entry.group.instanceId).some((one) => one.owner === owner)
  }

  /** What this xTR is answered about the group. */
  function recordFor(group: MulticastGroup, owner: string | undefined): StructuredMapping {
    const isKnown = table.get(group) !== undefined || table.get(anySource(group)) !== undefined
    const exact = isKnown ? table.open(group) : undefined
    if (exact === undefined) return listMapping(group, [], NOBODY)
    arrange(exact)
    const relay = owner !== undefined && isRelay(exact, owner)
    const entries = relay ? exact.tree.relayEntries(owner) : exact.tree.rootEntries()
    const record = recordOf(exact, entries)
    table.tidy(exact)
    return record
  }

  /** The xTRs that registered the source with M=1 (RFC 8378 §5.2). */
  function sourceXtrs({ instanceId, source, group }: MulticastGroup): Addressee[] {
    // §5.2: of (*,G) it is the site of the rendezvous point.
    const root = source ?? rendezvousPointOf(config.groupServer.rendezvousPoints ?? [], group)
    if (root === undefined) return []
    const eid = hostPrefix({ instanceId, address: root })
    const found = registrations.longestCovering(eid)
    if (found === undefined) return []
    const site = sites.find(({ name }) => name === found.site)
    if (site === undefined) return []
    return found.registrants
      .filter((one) => one.wantMapNotify)
      .map((one) => ({
        owner: one.owner,
        target: one.source,
        key: site.keys.find(({ keyId }) => keyId === one.keyId) ?? site.keys[0]!,
        authenticationLength: one.authenticationLength,
      }))
  }

  /** Tells who has not been told; true when somebody was. */
  function tell(
    entry: GroupEntry,
    addressees: Iterable<Addressee>,
    entries: (owner: string) => readonly ReplicationEntry[],
    now: Instant,
    durable: DurableOutputs,
  ): boolean {
    let told = false
    for (const addressee of addressees) {
      const { owner } = addressee
      const record = recordOf(entry, entries(owner))
      const text = textOf(record)
      if (entry.told.get(owner) === text || (!entry.told.has(owner) && text === '')) continue
      entry.told.set(owner, text)
      told = true
      outbox.supersedeGroup(entry.key, owner)
      const structured = { name: entry.key, record }
      outbox.announce({ ...addressee, home: false, records: [], structured }, now, durable)
    }
    return told
  }

  function publish(entry: GroupEntry, now: Instant, durable: DurableOutputs): void {
    arrange(entry)
    const relays = relaysOf(entry.group.instanceId)
    const inUse = new Set(entry.tree.relaysInUse())
    for (const owner of inUse) entry.relays.add(owner)
    const concerned = relays.filter(({ owner }) => entry.relays.has(owner))
    const news = concerned.filter(({ owner }) => inUse.has(owner))
    entry.mapVersion = nextMapVersion(entry.mapVersion)
    const below = (owner: string): readonly ReplicationEntry[] => entry.tree.relayEntries(owner)
    // What gets more below it first, so that no copy is sent to a relay that knows of nobody.
    const isWaiting = waits.get(entry.key) !== undefined
    if (tell(entry, news, below, now, durable) || isWaiting) {
      // Not longer for every further change: others would never be told.
      if (!isWaiting) waits.set(entry.key, now + RELAYS_FIRST_MS)
      return
    }
    tellReplicators(entry, now, durable)
  }

  function tellReplicators(entry: GroupEntry, now: Instant, durable: DurableOutputs): void {
    waits.cancel(entry.key)
    const addressees = new Map(sourceXtrs(entry.group).map((one) => [one.owner, one]))
    for (const [owner, one] of entry.followers) addressees.set(owner, one)
    for (const { owner } of table.relaysOf(entry.group.instanceId)) addressees.delete(owner)
    tell(entry, addressees.values(), () => entry.tree.rootEntries(), now, durable)
    const inUse = new Set(entry.tree.relaysInUse())
    const idle = relaysOf(entry.group.instanceId).filter(
      ({ owner }) => entry.relays.has(owner) && !inUse.has(owner),
    )
    tell(entry, idle, () => [], now, durable)
    for (const owner of entry.relays) if (!inUse.has(owner)) entry.relays.delete(owner)
    for (const [owner, text] of entry.told) {
      const isKept = addressees.has(owner) || entry.relays.has(owner)
      if (text === '' || !isKept) entry.told.delete(owner)
    }
    table.tidy(entry)
  }

  return {
    recordFor,
    publish,
    acknowledged(name, now, durable) {
      if (waits.get(name) === undefined) return
      const entry = table.byKey(name)
      if (entry === undefined) return
      const relays = relaysOf(entry.group.instanceId)
      const isWaiting = relays.some(({ owner }) => outbox.isGroupUnacknowledged(name, owner))
      if (!isWaiting) tellReplicators(entry, now, durable)
    },
    handleDeadline(now, durable) {
      for (const key of waits.due(now)) {
        const entry = table.byKey(key)
        if (entry !== undefined) tellReplicators(entry, now, durable)
      }
    },
    deadline: () => waits.next(),
  }
}

/** What a record says, without its version; empty for a list without entries. */
export function textOf(record: StructuredMapping): string {
  return entriesOf(record)
    .entries.map(({ level, address }) => `${level} ${addressText(address)}`)
    .sort()
    .join(' ')
}
