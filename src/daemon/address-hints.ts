/**
 * Listens on the site interfaces for hosts that are about to use an address (DHCP, duplicate address
 * detection) and tells the node of those that may be EIDs, so that it asks for them.
 *
 * A frame is seen when bridges and programs have left it to the host: what is forwarded costs nothing.
 * Nobody is believed, and who forges such frames gets as many questions asked as the bucket of the
 * interface allows. Where the gateway has no address of the family nothing is asked: an ARP request from
 * 0.0.0.0 would tell a host that probes its address of a conflict (RFC 5227 §2.1.1).
 */
import type { NodeConfig } from '../config/node-config.js'
import type { Instant } from '../control/capabilities.js'
import type { DatapathEvent } from '../control/datapath-event.js'
import { createRateLimit } from '../control/rate-limit.js'
import {
  ADDRESS_HINT_DROPS,
  ADDRESS_HINTS,
  type AddressHintCounters,
} from '../datapath/address-hint-counters.js'
import {
  type AddressHint,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  hintFilter,
  parseHintFrame,
} from '../datapath/address-hint-frames.js'
import type { DatapathLog } from '../datapath/datapath-log.js'
import { zeros } from '../datapath/group-packet-counters.js'
import type { NativeAddon, NativeHandle } from '../datapath/native-addon.js'
import type { NetworkInterface } from '../datapath/network-interface.js'
import type { IpAddress } from '../lisp/address.js'
import { coversEid, type Eid, type EidPrefix } from '../lisp/eid.js'

export interface AddressHints {
  /** Listens on exactly the site interfaces that may have dynamic EIDs. */
  follow(nodeConfig: NodeConfig, interfaces: readonly NetworkInterface[]): void
  counters(): AddressHintCounters
  close(): void
}

/**
 * Our choice, of each interface: a host with all its machines may start at once, and a forger makes us
 * send a few hundred small frames a second at most.
 */
const HINTS_AT_ONCE = 256
const HINTS_PER_SECOND = 50
const MAXIMUM_INTERFACES = 4096

interface OpenSite {
  readonly site: NetworkInterface
  readonly instanceId: number
  readonly prefixes: readonly EidPrefix[]
  /** One of each family. */
  readonly readers: readonly NativeHandle[]
}

export function createAddressHints(options: {
  readonly addon: Pick<NativeAddon, 'openFrames' | 'frameStatistics' | 'closeFrames'>
  readonly log: DatapathLog
  readonly now: () => Instant
  readonly onEvents: (events: readonly DatapathEvent[]) => void
}): AddressHints {
  const { addon, log } = options
  const open = new Map<string, OpenSite>()
  const heard = zeros(ADDRESS_HINTS)
  const drops = zeros(ADDRESS_HINT_DROPS)
  const limit = createRateLimit({
    burst: HINTS_AT_ONCE,
    refillPerSecond: HINTS_PER_SECOND,
    maximumKeys: MAXIMUM_INTERFACES,
  })

  function take(interfaceName: string, frames: readonly Uint8Array[]): void {
    const where = open.get(interfaceName)
    if (where === undefined) return
    const events: DatapathEvent[] = []
    for (const frame of frames) {
      const hint = parseHintFrame(frame)
      if (typeof hint === 'string') {
        drops[hint] += 1
        continue
      }
      heard[hint.how] += 1
      drops['too-many-addresses'] += hint.surplus
      events.push(...hint.addresses.flatMap((address) => eventOf(where, hint, address)))
    }
    if (events.length > 0) options.onEvents(events)
  }

  function eventOf(where: OpenSite, hint: AddressHint, address: IpAddress): DatapathEvent[] {
    const { site, instanceId, prefixes } = where
    const eid: Eid = { instanceId, address }
    const refusal = !prefixes.some((prefix) => coversEid(prefix, eid))
      ? 'outside-dynamic-prefixes'
      : !site.addresses.some((own) => own.address.family === address.family)
        ? 'no-own-address'
        : limit.take(site.name, options.now())
          ? undefined
          : 'rate-limited'
    if (refusal === undefined) {
      const { how, mac } = hint
      return [{ kind: 'eid-hinted', eid, interfaceName: site.name, mac, how }]
    }
    drops[refusal] += 1
    return []
  }

  function read({ name, index }: NetworkInterface): NativeHandle[] {
    const readers: NativeHandle[] = []
    try {
      for (const etherType of [ETHERTYPE_IPV4, ETHERTYPE_IPV6])
        readers.push(
          addon.openFrames(index, hintFilter(), (frames) => take(name, frames), etherType),
        )
    } catch (error) {
      log('error', 'address-hints-unheard', { interfaceName: name, why: String(error) })
    }
    return readers
  }

  function shut(name: string, { readers }: OpenSite): void {
    for (const reader of readers) {
      drops['queue-full'] += addon.frameStatistics(reader).droppedByKernel
      addon.closeFrames(reader)
    }
    open.delete(name)
  }

  return {
    follow({ mobility, siteInterfaces, dynamicEidPrefixes }, interfaces) {
      const listens = mobility.dhcpSnooping ? siteInterfaces : []
      const wanted = listens.flatMap(({ name, instanceId }) => {
        const site = interfaces.find((one) => one.name === name)
        const prefixes = dynamicEidPrefixes
          .filter((one) => one.interfaceName === name)
          .map(({ eidPrefix }) => eidPrefix)
        return site === undefined || prefixes.length === 0 ? [] : [{ site, instanceId, prefixes }]
      })
      for (const [name, one] of open)
        if (!wanted.some(({ site }) => site.name === name && site.index === one.site.index))
          shut(name, one)
      for (const one of wanted) {
        const readers = open.get(one.site.name)?.readers ?? read(one.site)
        open.set(one.site.name, { ...one, readers })
      }
    },
    counters() {
      let full = drops['queue-full']
      for (const { readers } of open.values())
        for (const reader of readers) full += addon.frameStatistics(reader).droppedByKernel
      return { heard: { ...heard }, drops: { ...drops, 'queue-full': full } }
    },
    close() {
      for (const [name, one] of [...open]) shut(name, one)
    },
  }
}
