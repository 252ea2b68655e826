/**
 * What forwards, and what helps it: the datapath, ICMP errors, the neighbour watch, and the control
 * protocols of the segments.
 *
 * Loaded only by a node that forwards: a mapping node needs none of it.
 */

import type { NodeConfig } from '../config/node-config.js'
import type { Config } from '../config/schema.js'
import type { DatapathEvent } from '../control/datapath-event.js'
import type { DatapathOperation } from '../control/datapath-operation.js'
import type { Input } from '../control/input-output.js'
import type { AddressHintCounters } from '../datapath/address-hint-counters.js'
import { type BpfDatapath, createBpfDatapath } from '../datapath/bpf-datapath.js'
import { type GroupPacketCounters, sumOf } from '../datapath/group-packet-counters.js'
import type { NativeAddon } from '../datapath/native-addon.js'
import type { NetworkInterface } from '../datapath/network-interface.js'
import { createAddressHints } from './address-hints.js'
import type { Clock } from './clock-and-random.js'
import { createIcmpResponder, type IcmpResponder } from './icmp.js'
import { createJoinPackets } from './join-packets.js'
import type { Log } from './log.js'
import { type NeighbourWatch, watchNeighbours } from './neighbour-watch.js'
import type { RunningNode } from './run-node.js'
import { createSegmentPackets } from './segment-packets.js'

export interface Hands {
  readonly datapath: BpfDatapath
  /** Where the operations of a node go. */
  perform(operation: DatapathOperation): void
  connect(running: RunningNode, nodeConfig: () => NodeConfig): void
  /** The node is there, and knows what was restored: it may hear of its segments. */
  followSegments(nodeConfig: NodeConfig): void
  /** Of IGMP, MLD, PIM and joins between xTRs. */
  groupPackets(): GroupPacketCounters
  addressHints(): AddressHintCounters
  close(onStop: Config['datapath']['onStop']): void
}

/** The datapath with its maps; nothing attached yet. Throws what `createBpfDatapath` throws. */
export function createHands(options: {
  readonly config: Config
  readonly nodeConfig: NodeConfig
  readonly addon: NativeAddon
  readonly log: Log
  readonly clock: Clock
  readonly interfaces: () => readonly NetworkInterface[]
}): Hands {
  const { config, addon, log, clock, interfaces } = options
  let running: RunningNode | undefined
  let neighbours: NeighbourWatch | undefined
  const icmp: IcmpResponder = createIcmpResponder({
    interfaces,
    mac: ({ instanceId, interfaceName }, address) => {
      const index = interfaces().find(({ name }) => name === interfaceName)?.index ?? 0
      return datapath.localMac({ instanceId, address }) ?? neighbours?.mac(index, address.bytes)
    },
    sendFrame: (index, frame) => addon.sendFrame(index, frame),
    log: log.say,
    now: clock.now,
  })
  const take: RunningNode['enqueue'] = (inputs) => running?.enqueue(inputs)
  const datapath = createBpfDatapath({
    config,
    nodeConfig: options.nodeConfig,
    addon,
    interfaces: interfaces(),
    log: log.say,
    onEvents: (events) => take(inputsOf(events)),
    onPacketTooBig: (packet) => icmp.take(packet),
  })
  const segments = createSegmentPackets({
    addon,
    log: log.say,
    onEvents: (events) => take(inputsOf(events)),
  })
  const joins = createJoinPackets({
    addon,
    log: log.say,
    onEvents: (events) => take(inputsOf(events)),
  })
  const hints = createAddressHints({
    addon,
    log: log.say,
    now: clock.now,
    onEvents: (events) => take(inputsOf(events)),
  })
  return {
    datapath,
    perform(operation) {
      if (operation.kind === 'send-on-segment') segments.send(operation)
      else datapath.perform(operation)
    },
    followSegments(nodeConfig) {
      segments.follow(nodeConfig, interfaces())
      joins.follow(nodeConfig, interfaces())
      hints.follow(nodeConfig, interfaces())
    },
    addressHints: hints.counters,
    groupPackets: () => sumOf([segments.counters(), joins.counters()]),
    connect(node, nodeConfig) {
      running = node
      neighbours = watchNeighbours({
        nodeConfig,
        interfaces,
        onEvents: (events) => take(inputsOf(events)),
        onFailure: (error) => log.say('warning', 'neighbour-watch-failed', { why: String(error) }),
      })
    },
    close(onStop) {
      neighbours?.close()
      segments.close()
      joins.close()
      hints.close()
      icmp.close()
      datapath.close(onStop)
    },
  }
}

function inputsOf(events: readonly DatapathEvent[]): Input[] {
  const last = events.length - 1
  return events.map((event, index): Input => {
    return index < last ? { kind: 'datapath', event, more: true } : { kind: 'datapath', event }
  })
}
