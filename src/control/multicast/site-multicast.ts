/**
 * Multicast of one xTR: listeners, sources and what the datapath is told of both (RFC 8378).
 *
 * What a group's entry should say is decided here (replication-entries.ts installs it). Copies of a
 * replication list are made only by the xTR of the site that serves the segment
 * (segment-designation.ts). A relay (§9) has no listeners of its own. A source that moves takes its
 * lists with it, an endpoint that listens its groups: the former site names them in the preparation
 * of the move.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses, formatIpAddress } from '../../lisp/address.js'
import { type Eid, hostPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { StructuredMapping } from '../../lisp/mapping.js'
import type { MapNotify, MapReply, MapRequest } from '../../lisp/message.js'
import {
  anySource,
  formatGroup,
  type MulticastGroup,
} from '../../lisp/multicast/multicast-group.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Capabilities, Instant } from '../capabilities.js'
import type { DatapathEvent } from '../datapath-event.js'
import { earliest } from '../deadlines.js'
import type { Output } from '../input-output.js'
import type { Itr } from '../itr/itr.js'
import type { RisingCounter } from '../rising-counter.js'
import type { SegmentEvent } from '../segment-vocabulary.js'
import { createArrivingGroups } from './arriving-groups.js'
import { createGroupFollowing } from './group-following.js'
import { createGroupReceivers } from './group-receivers.js'
import type { GroupView } from './group-views.js'
import { createHeardDeliveries } from './heard-deliveries.js'
import { createJoinedReceivers } from './joined-receivers.js'
import { createMovingGroups, type MovingGroups } from './moving-groups.js'
import { createPathTrace } from './path-trace.js'
import { createPimLinks, type PimLinkView } from './pim-links.js'
import { createReplicationEntries, type ReplicationEntries } from './replication-entries.js'
import { chooseCopies, mergeCopies } from './replication-list.js'
import { believedMs, type RestoredGroup, restoreGroups } from './restored-groups.js'
import { createSegmentDesignation } from './segment-designation.js'
import { createSiteJoins } from './site-joins.js'
import { createSourceJoins } from './source-joins.js'

export interface SiteMulticast extends MovingGroups {
  handleEvent(event: MulticastEvent, now: Instant, outputs: Output[]): void
  /** A control protocol of a segment: PIM. */
  handleSegment(event: SegmentEvent, now: Instant, outputs: Output[]): void
  /** After the last of the datapath events that came together. */
  endBatch(now: Instant, outputs: Output[]): void
  /** A join or a trace of another xTR (RFC 6831). */
  handleJoin(
    event: Extract<DatapathEvent, { kind: 'encapsulated-pim' }>,
    now: Instant,
    outputs: Output[],
  ): void
  /** An SMR: the roots that we have joined may be elsewhere (RFC 8059 §5). */
  handleSmr(request: MapRequest, now: Instant, outputs: Output[]): void
  /** True when it answers a request about a group. */
  handleReply(reply: MapReply, from: Rloc, now: Instant, outputs: Output[]): boolean
  /** True when the Map-Notify is about groups. */
  handleNotify(
    notify: MapNotify,
    bytes: Uint8Array,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): boolean
  /** An EID is here now: the lists of what it sends to are wanted. */
  arrived(eid: Eid, now: Instant, outputs: Output[]): void
  /** An EID has left for good: its groups are no longer followed from here. */
  departed(now: Instant, outputs: Output[]): void
  start(now: Instant): void
  /** What an earlier run left in the datapath; after our EIDs are known. */
  restore(restored: readonly RestoredGroup[], now: Instant, outputs: Output[]): void
  /** Who of the site's xTRs serves a segment: its querier; undefined: as long as none of them is. */
  designate(
    interfaceName: string,
    family: 4 | 6,
    isOurs: boolean | undefined,
    now: Instant,
    outputs: Output[],
  ): void
  /**
   * Before the end: takes back what is registered and joined, but for groups of the instances `keeping`.
   * With any of those the routers of our links are not bid farewell either: the next run greets them.
   */
  withdrawAll(keeping: readonly number[], now: Instant, outputs: Output[]): number
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  views(): GroupView[]
  pimLinks(): readonly PimLinkView[]
  /** Groups with an entry in the datapath. */
  size(): number
}

export type MulticastEvent = Extract<
  DatapathEvent,
  {
    kind:
      | 'group-joined'
      | 'group-left'
      | 'multicast-source-seen'
      | 'site-querier'
      | 'replication-usage'
  }
>

export interface SiteMulticastParts {
  readonly database: MappingDatabase
  readonly nonces: RisingCounter
  spoken(serverIndex: number, nonce: bigint): void
  isDown(rloc: Rloc): boolean
  /** What the endpoint of an EID of ours has reported under other addresses. */
  groupsOf(entry: DatabaseEntry, limit: number): readonly MulticastGroup[]
  readonly question: Itr['question']
  /** An SMR about this EID, within the limits. */
  solicit(eid: Eid, to: Rloc, now: Instant, outputs: Output[]): void
}

export function createSiteMulticast(
  config: NodeConfig,
  capabilities: Capabilities,
  parts: SiteMulticastParts,
): SiteMulticast {
  const { database, question } = parts
  const { enabled, relayLevel } = config.multicast
  const level = relayLevel ?? 0
  const entries: ReplicationEntries = createReplicationEntries({
    level,
    wanted: (group) => ({
      local: interfacesFor(group),
      chosen: copiesOf(group),
      isFollowed: following.entriesOf(group) !== undefined,
    }),
    copying: (group, isCopied, now, outputs) => sourceJoins.update(group, isCopied, now, outputs),
  })
  const { install, installAll } = entries
  const designation = createSegmentDesignation(config, capabilities.random, redesignate)
  const isDesignated = designation.isOurs
  const deliveries = createHeardDeliveries((group, now, outputs) => installAll(group, now, outputs))
  const receivers = createGroupReceivers(config, capabilities, {
    nonces: parts.nonces,
    spoken: parts.spoken,
    isDesignated,
    expectationEnded(group, now, outputs) {
      installAll(group, now, outputs)
      updateJoin(group, now, outputs)
    },
  })
  const arriving = createArrivingGroups()
  const following = createGroupFollowing(config, capabilities, {
    changed: (group, now, outputs) => install(group, now, outputs),
    isOurs: (group) => relayLevel !== undefined || isHere(group),
  })
  const links = createPimLinks(config, capabilities, {
    listener(kind, group, interfaceName, host, now, outputs) {
      // In the core it is (S-RLOC,G) of ours: copies to G go there anyway (RFC 6831 §4).
      if (config.siteInterfaces.some(({ name }) => name === interfaceName))
        handleListener({ kind, group, interfaceName, host }, now, outputs)
    },
    forwards: (interfaceName, group) => interfacesFor(group).includes(interfaceName),
    assertChanged: (group, now, outputs) => installAll(group, now, outputs),
  })
  const sourceJoins = createSourceJoins(config, database, links)
  const siteJoins = createSiteJoins(config, { question, isDown: parts.isDown, links })
  const joined = createJoinedReceivers(config, {
    isHere: isEidHere,
    changed: (group, now, outputs) => installAll(group, now, outputs),
  })

  const moving = createMovingGroups({
    ...{ database, receivers, following, arriving, isHere, groupsOf: parts.groupsOf },
    changed(group, now, outputs) {
      installAll(group, now, outputs)
      updateJoin(group, now, outputs)
    },
  })
  const traces = createPathTrace(config, {
    ...links,
    upstreamOf: (group) => siteJoins.upstreamOf(group) ?? siteJoins.upstreamOf(anySource(group)),
    interfaceOf: (source) =>
      isEidHere(source) ? database.match(source)?.interfaceName : undefined,
    forwards: (interfaceName, group) => interfacesFor(group).includes(interfaceName),
  })

  /** Whether the source of the group, or the root of (*,G), lives in this site. */
  function isHere(group: MulticastGroup): boolean {
    const { instanceId, source } = group
    if (source === undefined) return sourceJoins.hasRoot(group)
    return isEidHere({ instanceId, address: source })
  }

  function isEidHere(eid: Eid): boolean {
    const entry = database.match(eid)
    return entry !== undefined && entry.state !== 'away'
  }

  /** A source that the datapath has seen before its EID was known to be here. */
  function mayAppear({ instanceId, source }: MulticastGroup): boolean {
    if (source === undefined) return false
    const eid = { instanceId, address: source }
    return database.match(eid) === undefined && database.dynamicPrefixOf(eid) !== undefined
  }

  /** Of the segment that the source is on. */
  function mayReplicate({ instanceId, source, group }: MulticastGroup): boolean {
    if (relayLevel !== undefined) return true
    const entry = source && database.match({ instanceId, address: source })
    return entry === undefined
      ? designation.isFirst()
      : isDesignated(entry.interfaceName, group.family)
  }

  /** To whom the list and the joins of a group have us make copies. */
  function copiesOf(group: MulticastGroup) {
    const list = mayReplicate(group) ? (following.entriesOf(group) ?? []) : []
    const listed = chooseCopies(config, list, level, parts.isDown)
    // Who has joined has chosen one xTR of the site: it is joined nowhere else.
    return { ...listed, copies: mergeCopies(listed.copies, joined.copiesOf(group)) }
  }

  // ------------------------------------------------------------------ the datapath

  function interfacesFor(group: MulticastGroup): readonly string[] {
    const exact = receivers.interfacesOf(group)
    const others = group.source === undefined ? [] : receivers.interfacesOf(anySource(group))
    const all = others.length === 0 ? exact : [...new Set([...exact, ...others])].sort()
    // Of two xTRs on a segment only the designated one gets copies, and delivers them.
    const { family } = group.group
    return all.filter(
      (name) =>
        isDesignated(name, family) &&
        !links.isAssertLoser(name, group) &&
        !(designation.isSubstitute(name, family) && deliveries.has(group, name)),
    )
  }

  function follow(group: MulticastGroup, now: Instant, outputs: Output[]): void {
    if (!following.follow(group, now, outputs)) return
    // An entry even before the answer: the site's own listeners get the packets.
    install(group, now, outputs)
  }

  function handleListener(
    event: Extract<MulticastEvent, { kind: 'group-joined' | 'group-left' }>,
    now: Instant,
    outputs: Output[],
  ): void {
    const group = receivers.handleChange(event, now, outputs)
    if (group === undefined) return
    installAll(group, now, outputs)
    updateJoin(group, now, outputs)
    // With an entry for the listeners here, the datapath would not report this source. One that is not
    // here yet is followed when it arrives: else every site with listeners would follow every list.
    if (event.kind === 'group-joined' && isHere(group)) follow(group, now, outputs)
  }

  /** Joined at the xTR of the source as long as an interface of ours has listeners of this name. */
  function updateJoin(group: MulticastGroup, now: Instant, outputs: Output[]): void {
    const { family } = group.group
    const names = receivers.interfacesOf(group)
    const isWanted = !isHere(group) && names.some((name) => isDesignated(name, family))
    siteJoins.update(group, isWanted, now, outputs)
  }

  function designate(
    interfaceName: string,
    family: 4 | 6,
    isOurs: boolean | undefined,
    now: Instant,
    outputs: Output[],
  ): void {
    designation.elected(interfaceName, family, isOurs, now)
    redesignate(now, outputs)
  }

  /** Other segments are ours now. */
  function redesignate(now: Instant, outputs: Output[]): void {
    receivers.redesignate(now)
    for (const { group } of receivers.views()) {
      updateJoin(group, now, outputs)
      // Without an entry until now, where another one has served it.
      install(group, now, outputs)
    }
    entries.reinstall(now, outputs)
  }

  return {
    handleEvent(event, now, outputs) {
      if (!enabled) return
      switch (event.kind) {
        case 'group-joined':
        case 'group-left':
          handleListener(event, now, outputs)
          return
        case 'multicast-source-seen':
          if (isHere(event.group) || mayAppear(event.group)) follow(event.group, now, outputs)
          else deliveries.heard(event.group, event.interfaceName, now, outputs)
          return
        case 'site-querier':
          designate(event.interfaceName, event.family, event.ours, now, outputs)
          return
        case 'replication-usage':
          following.handleUsage(event, now, outputs)
          arriving.handleUsage(event, now, outputs)
          return
      }
    },
    handleSegment(event, now, outputs) {
      if (!enabled || relayLevel !== undefined) return
      if (event.kind === 'segment-packet' && traces.handleSegment(event, now, outputs)) return
      links.handleEvent(event, now, outputs)
    },
    endBatch: (now, outputs) => receivers.flush(now, outputs),
    handleJoin(event, now, outputs) {
      if (!enabled || relayLevel !== undefined) return
      if (!traces.handleEncapsulated(event, now, outputs)) joined.handleEvent(event, now, outputs)
    },
    handleSmr(request, now, outputs) {
      for (const { eidPrefix } of request.records.slice(0, MAXIMUM_SMR_RECORDS))
        siteJoins.solicited(eidPrefix, now, outputs)
      if (request.sourceEid !== undefined)
        siteJoins.solicited(hostPrefix(request.sourceEid), now, outputs)
    },
    handleReply: (reply, from, now, outputs) =>
      enabled &&
      (designation.handleReply(reply, now, outputs) ||
        following.handleReply(reply, from, now, outputs)),
    handleNotify(notify, bytes, from, now, outputs) {
      const records = notify.structuredRecords ?? []
      if (!enabled || records.length === 0) return false
      if (!records.every(({ eid }) => eid.kind === 'multicast-info')) return false
      following.handleNotify(notify, bytes, from, now, outputs)
      return true
    },
    handOver: (eids) => (enabled ? moving.handOver(eids) : []),
    expect(records, interfaces, done, now, outputs) {
      if (!enabled || relayLevel !== undefined) done(now, outputs)
      else moving.expect(records, interfaces, done, now, outputs)
    },
    arrived({ instanceId, address }, now, outputs) {
      if (!enabled || relayLevel !== undefined) return
      for (const group of [...entries.names().values()]) {
        const { source } = group
        if (group.instanceId !== instanceId || source === undefined) continue
        if (equalIpAddresses(source, address) && isHere(group)) follow(group, now, outputs)
      }
    },
    departed(now, outputs) {
      if (!enabled || relayLevel !== undefined) return
      following.sweep(isHere, now, outputs)
      // RFC 8059 §5: whoever joined here asks where the root is now, and joins there.
      for (const { group, root, etrs } of joined.takeDeparted()) {
        const eid = { instanceId: group.instanceId, address: root }
        for (const etr of etrs) parts.solicit(eid, etr, now, outputs)
        installAll(group, now, outputs)
      }
    },
    designate,
    start(now) {
      if (!enabled) return
      receivers.start(now)
      designation.start(now)
    },
    restore(restored, now, outputs) {
      const hooks = {
        isOurs: (group: MulticastGroup) => enabled && (relayLevel !== undefined || isHere(group)),
        adopt(record: StructuredMapping, { group, copies }: RestoredGroup) {
          following.adopt(group, record, now, outputs)
          joined.restore(group, copies, now)
        },
        expect(group: MulticastGroup, interfaces: readonly string[]) {
          if (enabled) receivers.expect([group], interfaces, now + believedMs(config), outputs)
        },
        install(group: MulticastGroup) {
          install(group, now, outputs)
          return entries.has(group)
        },
      }
      restoreGroups(restored, hooks, outputs)
      receivers.flush(now, outputs)
    },
    withdrawAll(keeping, now, outputs) {
      if (keeping.length === 0) {
        siteJoins.leave(outputs)
        links.leave(outputs)
      }
      return enabled ? receivers.withdrawAll(keeping, now, outputs) : 0
    },
    handleDeadline(now, outputs) {
      designation.handleDeadline(now, outputs)
      deliveries.handleDeadline(now, outputs)
      links.handleDeadline(now, outputs)
      siteJoins.handleDeadline(now, outputs)
      joined.handleDeadline(now, outputs)
      receivers.handleDeadline(now, outputs)
      following.handleDeadline(now, outputs)
      arriving.handleDeadline(now, outputs)
    },
    deadline: () =>
      earliest(
        designation.deadline(),
        deliveries.deadline(),
        links.deadline(),
        siteJoins.deadline(),
        joined.deadline(),
        receivers.deadline(),
        following.deadline(),
        arriving.deadline(),
      ),
    views,
    pimLinks: links.views,
    size: () => entries.size,
  }

  function views(): GroupView[] {
    const listening = new Map(receivers.views().map((one) => [formatGroup(one.group), one]))
    const names = new Map(entries.names())
    for (const [key, { group }] of listening) names.set(key, group)
    return [...names].map(([name, group]) => {
      const one = listening.get(name)
      const list = following.entriesOf(group)
      return {
        group: name,
        instanceId: group.instanceId,
        side: relayLevel === undefined ? 'xtr' : 'relay',
        listeners: one?.listeners ?? 0,
        interfaces: interfacesFor(group),
        registered: one?.registered ?? false,
        followed: list !== undefined,
        copies: copiesOf(group).copies.map(({ locator }) => formatIpAddress(locator.rloc)),
        level,
        members: list?.length ?? 0,
      }
    })
  }
}

/** Records of one SMR that are looked at. */
const MAXIMUM_SMR_RECORDS = 16
