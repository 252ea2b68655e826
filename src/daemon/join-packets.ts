/**
 * Joins of other xTRs that arrive on the RLOC interfaces (RFC 6831), where they are taken at all.
 *
 * They leave by the control sockets like any datagram; only their arrival needs a way of its own.
 */
import type { NodeConfig } from '../config/node-config.js'
import type { DatapathEvent } from '../control/datapath-event.js'
import type { DatapathLog } from '../datapath/datapath-log.js'
import type { GroupPacketCounters } from '../datapath/group-packet-counters.js'
import { joinFilter, parseJoinFrame } from '../datapath/join-frames.js'
import type { NativeAddon, NativeHandle } from '../datapath/native-addon.js'
import type { NetworkInterface } from '../datapath/network-interface.js'

export interface JoinPackets {
  /** Listens on exactly the RLOC interfaces of this configuration. */
  follow(nodeConfig: NodeConfig, interfaces: readonly NetworkInterface[]): void
  counters(): GroupPacketCounters
  close(): void
}

export function createJoinPackets(options: {
  readonly addon: Pick<NativeAddon, 'openFrames' | 'frameStatistics' | 'closeFrames'>
  readonly log: DatapathLog
  readonly onEvents: (events: readonly DatapathEvent[]) => void
}): JoinPackets {
  const { addon, log } = options
  const open = new Map<number, NativeHandle>()
  let [received, cutShort, queueFull] = [0, 0, 0]

  function take(frames: readonly Uint8Array[]): void {
    const events = frames.flatMap((frame): DatapathEvent[] => {
      const join = parseJoinFrame(frame)
      return join === undefined ? [] : [{ kind: 'encapsulated-pim', ...join }]
    })
    received += events.length
    cutShort += frames.length - events.length
    if (events.length > 0) options.onEvents(events)
  }

  function shut(index: number, handle: NativeHandle): void {
    queueFull += addon.frameStatistics(handle).droppedByKernel
    addon.closeFrames(handle)
    open.delete(index)
  }

  return {
    follow({ multicast, rlocs }, interfaces) {
      const takes = multicast.enabled && multicast.pim?.joinSites === true
      const names = new Set(takes ? rlocs.map(({ interfaceName }) => interfaceName) : [])
      const wanted = interfaces.filter(({ name }) => names.has(name))
      for (const [index, handle] of [...open])
        if (!wanted.some((one) => one.index === index)) shut(index, handle)
      for (const { name, index } of wanted) {
        if (open.has(index)) continue
        try {
          open.set(index, addon.openFrames(index, joinFilter(), take))
        } catch (error) {
          log('error', 'joins-unheard', { interfaceName: name, why: String(error) })
        }
      }
    },
    counters() {
      let full = queueFull
      for (const handle of open.values()) full += addon.frameStatistics(handle).droppedByKernel
      return {
        packets: { 'join-received': received },
        drops: { 'join-cut-short': cutShort, 'join-queue-full': full },
      }
    },
    close() {
      for (const [index, handle] of [...open]) shut(index, handle)
    },
  }
}
