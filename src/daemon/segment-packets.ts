/**
 * IGMP, MLD and PIM on the site interfaces, both ways as Ethernet frames (AF_PACKET of the addon).
 *
 * Our choice against raw IP sockets: these are given only what is sent to groups that this host has
 * joined itself (measured: no report of any version), do not say from which MAC address it came, and
 * leave the source of an MLD query to the kernel, which takes no link-local one for a group of wider
 * scope. A frame is seen before bridges and programs take it.
 *
 * Where a site interface is a bridge that snoops, it is told that a router is here: otherwise it would
 * keep reports and groups from us as long as another querier is elected.
 */
import type { NodeConfig } from '../config/node-config.js'
import type { DatapathEvent } from '../control/datapath-event.js'
import type { SegmentOperation } from '../control/segment-vocabulary.js'
import type { DatapathLog } from '../datapath/datapath-log.js'
import {
  GROUP_PACKET_DROPS,
  GROUP_PACKETS,
  type GroupPacketCounters,
  zeros,
} from '../datapath/group-packet-counters.js'
import { markAsRouter } from '../datapath/kernel-devices.js'
import type { NativeAddon, NativeHandle } from '../datapath/native-addon.js'
import type { NetworkInterface } from '../datapath/network-interface.js'
import {
  isSendable,
  parseSegmentFrame,
  segmentFilter,
  segmentFrame,
} from '../datapath/segment-frames.js'
import { isLinkLocal } from '../lisp/address.js'

export interface SegmentPackets {
  /** Listens on exactly the site interfaces of this configuration, and says who we are there. */
  follow(nodeConfig: NodeConfig, interfaces: readonly NetworkInterface[]): void
  send(operation: SegmentOperation): void
  counters(): GroupPacketCounters
  close(): void
}

interface OpenSegment {
  readonly site: NetworkInterface
  readonly frames: NativeHandle
  /** Puts the bridge back to what it was; undefined where it is none. */
  readonly restore: (() => void) | undefined
}

export function createSegmentPackets(options: {
  readonly addon: Pick<NativeAddon, 'openFrames' | 'frameStatistics' | 'closeFrames' | 'sendFrame'>
  readonly log: DatapathLog
  readonly onEvents: (events: readonly DatapathEvent[]) => void
}): SegmentPackets {
  const { addon, log } = options
  const segments = new Map<string, OpenSegment>()
  const packets = zeros(GROUP_PACKETS)
  const drops = zeros(GROUP_PACKET_DROPS)

  function take(interfaceName: string, frames: readonly Uint8Array[]): void {
    const events: DatapathEvent[] = []
    for (const frame of frames) {
      const packet = parseSegmentFrame(frame)
      if (typeof packet === 'string') {
        drops[packet] += 1
        continue
      }
      packets[`${packet.protocol}-received`] += 1
      events.push({ kind: 'segment-packet', interfaceName, ...packet })
    }
    if (events.length > 0) options.onEvents(events)
  }

  function open(site: NetworkInterface): void {
    const { name, index } = site
    try {
      const frames = addon.openFrames(index, segmentFilter(), (batch) => take(name, batch))
      segments.set(name, { site, frames, restore: markAsRouter(name, log) })
    } catch (error) {
      log('error', 'segment-unheard', { interfaceName: name, why: String(error) })
    }
  }

  function shut(name: string, { frames, restore }: OpenSegment): void {
    drops['segment-queue-full'] += addon.frameStatistics(frames).droppedByKernel
    addon.closeFrames(frames)
    restore?.()
    segments.delete(name)
  }

  return {
    follow(nodeConfig, interfaces) {
      const { multicast, siteInterfaces } = nodeConfig
      const serves = multicast.enabled && multicast.relayLevel === undefined
      const segmentNames = siteInterfaces.map(({ name }) => name)
      // PIM is spoken to the routers of a core that forwards groups.
      if (multicast.pim?.underlayMulticast)
        segmentNames.push(...nodeConfig.rlocs.map(({ interfaceName }) => interfaceName))
      const names = new Set(serves ? segmentNames : [])
      const wanted = interfaces.filter(({ name }) => names.has(name))
      for (const [name, one] of segments)
        if (!wanted.some((site) => site.name === name && site.index === one.site.index))
          shut(name, one)
      const events: DatapathEvent[] = []
      for (const site of wanted) {
        const known = segments.get(site.name)
        if (known === undefined) open(site)
        else segments.set(site.name, { ...known, site })
        if (segments.has(site.name)) events.push(...addressesOf(site))
      }
      if (events.length > 0) options.onEvents(events)
    },
    send(operation) {
      const { interfaceName, protocol } = operation
      const segment = segments.get(interfaceName)
      if (segment === undefined) {
        drops['send-without-interface'] += 1
        return
      }
      if (!isSendable(operation)) {
        drops['send-without-address'] += 1
        return
      }
      try {
        addon.sendFrame(segment.site.index, segmentFrame(operation, segment.site.mac))
        packets[`${protocol}-sent`] += 1
      } catch (error) {
        drops['send-failed'] += 1
        log('debug', 'segment-send-failed', { interfaceName, protocol, why: String(error) })
      }
    },
    counters() {
      let full = drops['segment-queue-full']
      for (const { frames } of segments.values())
        full += addon.frameStatistics(frames).droppedByKernel
      return { packets: { ...packets }, drops: { ...drops, 'segment-queue-full': full } }
    },
    close() {
      for (const [name, one] of [...segments]) shut(name, one)
    },
  }
}

/** One of each family: the first of IPv4, the link-local one of IPv6. */
function addressesOf({ name, addresses }: NetworkInterface): DatapathEvent[] {
  const all = addresses.map(({ address }) => address)
  const kind = 'segment-address'
  const four = all.find(({ family }) => family === 4)
  const six = all.find((address) => address.family === 6 && isLinkLocal(address))
  return [
    { kind, interfaceName: name, family: 4, address: four },
    { kind, interfaceName: name, family: 6, address: six },
  ]
}
