/**
 * IGMP and MLD on all site interfaces: which segment a packet is of, and what moves have to do with it.
 *
 * A segment is served from the moment at which the shell has said what our address on it is. An
 * endpoint that arrives is asked alone what it listens to, so that its groups are joined here within
 * milliseconds; the groups of one that has left end at once, unless another host wants them. Of several
 * xTRs on a segment the querier registers and replicates (RFC 8378 §7): that is decided here only when
 * the elected one is us or one of the configured candidates, because any router or switch may be
 * querier, and only an xTR can stand in for us.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses } from '../../lisp/address.js'
import type { MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import type { DatapathEvent } from '../datapath-event.js'
import { earliest } from '../deadlines.js'
import type { Output } from '../input-output.js'
import type { SegmentEvent } from '../segment-vocabulary.js'
import {
  createSegmentMembership,
  type SegmentMembership,
  type SegmentPacketEvent,
} from './segment-membership.js'
import type { ListenerView, SegmentView } from './segment-views.js'

export interface SiteMembership {
  handleEvent(event: SegmentEvent, now: Instant, outputs: Output[]): void
  /** The endpoint of this EID is on the segment now. */
  arrived(entry: DatabaseEntry, now: Instant, outputs: Output[]): void
  /** The endpoint of this EID is elsewhere for good. */
  departed(entry: DatabaseEntry, now: Instant, outputs: Output[]): void
  /** Groups that the endpoint of this EID listens to, of both families. */
  groupsOf(entry: DatabaseEntry, limit: number): readonly MulticastGroup[]
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  listenerViews(now: Instant): readonly ListenerView[]
  segmentViews(): readonly SegmentView[]
  /** Groups with listeners, of all segments and families. */
  size(): number
}

export interface SiteMembershipHooks {
  changed(
    event: Extract<DatapathEvent, { kind: 'group-joined' | 'group-left' }>,
    now: Instant,
    outputs: Output[],
  ): void
  /** `isOurs` undefined: whoever it is, it is no xTR. */
  querierChanged(
    interfaceName: string,
    family: 4 | 6,
    isOurs: boolean | undefined,
    now: Instant,
    outputs: Output[],
  ): void
}

export function createSiteMembership(
  config: NodeConfig,
  hooks: SiteMembershipHooks,
): SiteMembership {
  const { multicast, siteInterfaces } = config
  const { membership } = multicast
  const serves = multicast.enabled && multicast.relayLevel === undefined
  const segments = new Map<string, SegmentMembership>()
  /** Of the input that is being handled: listeners change in the middle of it. */
  let current: { now: Instant; outputs: Output[] } = { now: 0, outputs: [] }

  function create(interfaceName: string, family: 4 | 6): SegmentMembership | undefined {
    const site = siteInterfaces.find(({ name }) => name === interfaceName)
    if (site === undefined || !serves || !membership?.enabled) return undefined
    const { instanceId } = site
    const version = family === 4 ? membership.igmpVersion : membership.mldVersion
    return createSegmentMembership(
      { ...membership, interfaceName, instanceId, family, version },
      {
        changed(kind, group, host) {
          const about = host === undefined ? {} : { host }
          hooks.changed({ kind, group, interfaceName, ...about }, current.now, current.outputs)
        },
        querierChanged(elected, isOurs, now, outputs) {
          const { querierCandidates } = membership
          const isXtr = querierCandidates.some((one) => elected && equalIpAddresses(one, elected))
          const decides = isOurs || isXtr
          const ours = decides ? isOurs : undefined
          hooks.querierChanged(interfaceName, family, ours, now, outputs)
        },
      },
    )
  }

  function segmentsOf(interfaceName: string): readonly SegmentMembership[] {
    return ([4, 6] as const).flatMap((family) => segments.get(`${interfaceName} ${family}`) ?? [])
  }

  function receive(packet: SegmentPacketEvent, now: Instant, outputs: Output[]): void {
    if (packet.protocol === 'pim') return
    const family = packet.protocol === 'igmp' ? 4 : 6
    segments.get(`${packet.interfaceName} ${family}`)?.receive(packet, now, outputs)
  }

  function entered(now: Instant, outputs: Output[]): void {
    current = { now, outputs }
  }

  return {
    handleEvent(event, now, outputs) {
      entered(now, outputs)
      if (event.kind === 'segment-packet') return receive(event, now, outputs)
      const { interfaceName, family, address } = event
      const key = `${interfaceName} ${family}`
      const segment = segments.get(key) ?? create(interfaceName, family)
      if (segment === undefined) return
      segments.set(key, segment)
      segment.setAddress(address, now, outputs)
    },
    arrived({ interfaceName, mac }, now, outputs) {
      if (mac === undefined) return
      entered(now, outputs)
      for (const segment of segmentsOf(interfaceName)) segment.greet(mac, now, outputs)
    },
    departed({ interfaceName, mac, eid }, now, outputs) {
      entered(now, outputs)
      for (const segment of segmentsOf(interfaceName)) segment.bid(mac, eid.address, now, outputs)
    },
    groupsOf({ interfaceName, mac }, limit) {
      if (mac === undefined) return []
      const found = segmentsOf(interfaceName).flatMap(({ listeners }) =>
        listeners.groupsOf(mac, limit),
      )
      return found.slice(0, limit)
    },
    handleDeadline(now, outputs) {
      entered(now, outputs)
      for (const segment of segments.values()) segment.handleDeadline(now, outputs)
    },
    deadline: () => earliest(...[...segments.values()].map((one) => one.deadline())),
    listenerViews: (now) => [...segments.values()].flatMap(({ listeners }) => listeners.views(now)),
    segmentViews: () => [...segments.values()].map((one) => one.view()),
    size() {
      let groups = 0
      for (const { listeners } of segments.values()) groups += listeners.counts().groups
      return groups
    },
  }
}
