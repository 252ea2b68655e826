/**
 * The datapath as an executable specification: what the BPF programs do, on abstract packets.
 *
 * One function per hook: `fromSite` (site_ingress), `fromCore` (rloc_ingress), `frameSeen` and `macSeen`
 * (ARP, ND, RARP). Decisions, their order, the names of the drops and the rate limits of events are
 * those of native/bpf; bytes and ECN are those of model-frames.ts, which runs the packet vectors of the
 * programs; segmentation is not modelled. Operations keep the contract of datapath.ts. What packets
 * find is in model-mappings.ts, where they go then in model-sending.ts, what waits in model-hold.ts.
 * Time, delivery and loss are its surroundings' part.
 */
import type { ClosedFields, ClosedSwitches } from '../control/closed-network/closed-vocabulary.js'
import type { DatapathOperation } from '../control/datapath-operation.js'
import { formatIpAddress, formatMac, isMulticast, type MacAddress } from '../lisp/address.js'
import { type Eid, type EidPrefix, formatEid } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import { formatGroup, type MulticastGroup } from '../lisp/multicast/multicast-group.js'
import { type BpfDropReasonName, DROP_REASON, TALLY } from './abi.generated.js'
import type { Datapath } from './datapath.js'
import { createModelClosed } from './model-closed.js'
import { createEventLimits } from './model-event-limits.js'
import { createModelGroups } from './model-groups.js'
import { createModelHold, type HoldLimits, type HoldPurpose } from './model-hold.js'
import { createModelLiveMoves } from './model-live-moves.js'
import {
  createModelMappings,
  isPresent,
  type ModelMappingsOptions,
  type ModelView,
} from './model-mappings.js'
import type { ModelPacket } from './model-packet.js'
import { isListed, type ModelRelay, NO_RELAY } from './model-relay.js'
import { createModelReplication } from './model-replication.js'
import { createModelSending } from './model-sending.js'
import type { ModelSurroundings } from './model-surroundings.js'

export interface ModelDatapathOptions extends ModelMappingsOptions {
  readonly hold: HoldLimits
  /** Missing: neither PETR nor RTR nor PITR. */
  readonly relay?: ModelRelay
  /** Missing: none. */
  readonly closed?: ClosedSwitches
  /** Packets to groups are replicated. */
  readonly multicast?: boolean
}

export interface ModelDatapath extends Datapath {
  fromSite(packet: ModelPacket, mac: MacAddress, interfaceName: string): void
  /** `fields`: what its LISP header says beside the instance-ID; undefined with the P bit. */
  fromCore(packet: ModelPacket, outerSource: Rloc, fields?: ClosedFields): void
  /** ARP or ND shows that `eid` is behind this interface. */
  frameSeen(
    eid: Eid,
    mac: MacAddress,
    interfaceName: string,
    how: 'arp' | 'neighbour-advertisement',
  ): void
  /** A RARP frame. */
  macSeen(mac: MacAddress, interfaceName: string): void
  /** The control plane died: forwarding goes on, what was held is lost, nothing is held. */
  crash(): void
  /** The machine died: nothing is left. */
  forget(): void
  waiting(): Iterable<ModelPacket>
  view(): ModelView
}

/** Intervals of events, in ms (enum event_intervals_ms of native/bpf/report.h). */
const INTERVALS_MS = {
  'local-eid-seen': 50,
  'mac-seen': 50,
  'away-eid-hit': 100,
  'sender-seen': 1000,
  'unknown-eid': 1000,
  'multicast-source-seen': 1000,
} as const

export function createModelDatapath(
  options: ModelDatapathOptions,
  around: ModelSurroundings,
): ModelDatapath {
  const hold = createModelHold(options.hold, {
    now: around.now,
    after: around.after,
    commandMs: around.commandMs,
    raise: around.raise,
    emit: (purpose, packet) => sending.leaveHold(purpose, packet),
    discard: (packet, reason) => around.discard(packet, reason),
  })
  const mappings = createModelMappings(options, {
    now: around.now,
    release: hold.release,
    markHeld: hold.mark,
  })
  const replication = createModelReplication()
  const relays = options.relay ?? NO_RELAY
  const mayReport = createEventLimits(around.now)
  const closed =
    options.closed &&
    createModelClosed(options.closed, {
      now: around.now,
      mayReport,
      raise: around.raise,
      rlocsOf: mappings.rlocsOf,
    })
  const drops: Record<string, { packets: number; bytes: number }> = {}
  const tallies: Record<string, number> = {}
  for (const reason of Object.keys(DROP_REASON))
    if (reason !== 'none') drops[reason] = { packets: 0, bytes: 0 }
  for (const name of Object.keys(TALLY)) tallies[name] = 0
  /** False between the death of the control plane and its return: there is no hold then. */
  let controlled = true

  function drop(packet: ModelPacket, reason: Exclude<BpfDropReasonName, 'none'>): void {
    const counter = drops[reason]!
    counter.packets += 1
    counter.bytes += packet.sizeBytes
    around.discard(packet, reason)
  }

  function tally(name: keyof typeof TALLY): void {
    tallies[name]! += 1
  }

  function holdPacket(packet: ModelPacket, purpose: HoldPurpose): void {
    if (!controlled) {
      drop(packet, 'no-hold')
      return
    }
    tally('held')
    hold.hold(purpose, packet)
  }

  const sending = createModelSending(mappings, relays, around, {
    drop,
    tally,
    hold: holdPacket,
    closedFields: (flow, to) => closed?.mark(flow, to),
  })
  const { encapsulate, redirectAway, deliver } = sending
  const groups = createModelGroups(mappings, replication, around, {
    drop,
    tally,
    mayReport: (name) => mayReport(name, INTERVALS_MS['multicast-source-seen']),
  })
  const live = createModelLiveMoves(around, { drop, copied: () => tally('copied'), redirectAway })

  // -------------------------------------------------------------------- neighbours

  function observeSender(
    eid: Eid,
    mac: MacAddress,
    interfaceName: string,
    how: 'arp' | 'neighbour-advertisement' | 'packet',
  ): void {
    const name = formatEid(eid)
    const local = mappings.localHost(name)
    if (isPresent(local) && local!.form.interfaceName === interfaceName) {
      if (how === 'packet' || local!.form.macText === formatMac(mac)) return
    }
    if (!mappings.isDynamic(eid)) return
    if (!mayReport(`local-eid-seen ${name}`, INTERVALS_MS['local-eid-seen'])) return
    around.raise({ kind: 'local-eid-seen', eid, mac, interfaceName, how })
  }

  // -------------------------------------------------------------------- operations

  function answerUsage(eidPrefix: EidPrefix): void {
    const entry = mappings.mapping(eidPrefix)
    const at = entry?.lastUsedAt
    around.raise({
      kind: 'map-cache-usage',
      eidPrefix,
      packets: BigInt(entry?.packets ?? 0),
      bytes: BigInt(entry?.bytes ?? 0),
      idleMs: at === undefined ? undefined : around.now() - at,
    })
  }

  function usageOfGroup(group: MulticastGroup) {
    const { packets, bytes, lastSentAt } = replication.usage(group)
    const idleMs = lastSentAt === undefined ? undefined : around.now() - lastSentAt
    return { packets: BigInt(packets), bytes: BigInt(bytes), idleMs }
  }

  function answerReplication(group: MulticastGroup): void {
    around.raise({ kind: 'replication-usage', group, ...usageOfGroup(group) })
  }

  function perform(operation: DatapathOperation): void {
    const failed = (reason: string): void =>
      around.raise({ kind: 'operation-failed', operation: operation.kind, reason })
    switch (operation.kind) {
      case 'put-map-cache':
        if (!mappings.putMapCache(operation)) failed('table-full')
        return
      case 'put-local-eid':
        if (!mappings.putLocalEid(operation)) failed('table-full-or-unknown-interface')
        return
      case 'delete-map-cache':
        mappings.removeMapCache(operation.eidPrefix)
        return
      case 'delete-local-eid':
        mappings.removeLocalEid(operation.eidPrefix)
        return
      case 'put-mapping-facts':
      case 'delete-mapping-facts':
      case 'request-nonce-echo':
      case 'refuse-stale-version':
        closed?.perform(operation)
        return
      case 'drop-held':
        hold.drop(operation.eid, operation.reason)
        return
      case 'query-usage':
        answerUsage(operation.eidPrefix)
        return
      case 'announce-gateway':
      case 'solicit-endpoint':
        around.frame(operation.kind, operation.eid, operation.interfaceName)
        return
      case 'put-replication':
      case 'delete-replication':
        replication.perform(operation)
        return
      case 'query-replication':
        answerReplication(operation.group)
    }
  }

  return {
    perform,
    restore() {
      controlled = true
      const restored = mappings.restore()
      return replication.size > 0 ? { ...restored, groups: replication.entries() } : restored
    },
    fromSite(packet, mac, interfaceName) {
      if (isMulticast(packet.flow.destination.address))
        return options.multicast ? groups.fromSite(packet, interfaceName) : around.native(packet)
      observeSender(packet.flow.source, mac, interfaceName, 'packet')
      const { attracted } = relays
      if (attracted !== undefined && !isListed(attracted, packet.flow.destination))
        return around.native(packet)
      const host = mappings.mappingHost(packet.flow.destinationText)
      // Own prefixes go before shorter mappings of others.
      if (host === undefined && isPresent(mappings.localOf(packet))) return around.native(packet)
      const entry = host ?? mappings.mappingOf(packet)
      if (entry === undefined || entry.draining || entry.form.action === 'hold')
        return holdPacket(packet, 'map-cache-miss')
      if (entry.form.action === 'forward') return encapsulate(packet, entry, 'encapsulated')
      if (entry.form.action === 'drop') return drop(packet, 'mapping-says-drop')
      tally('native')
      around.native(packet)
    },
    fromCore(packet, outerSource, fields) {
      const entry = mappings.localOf(packet)
      const report = (kind: 'sender-seen' | 'away-eid-hit' | 'unknown-eid'): void => {
        const name = `${kind} ${packet.flow.destinationText} ${formatIpAddress(outerSource)}`
        if (!mayReport(name, INTERVALS_MS[kind])) return
        around.raise({ kind, eid: packet.flow.destination, sender: outerSource })
      }
      if (entry === undefined && options.multicast && isMulticast(packet.flow.destination.address))
        return groups.fromCore(packet, outerSource)
      if (entry === undefined && (relays.petr || relays.rtr))
        return sending.relay(packet, outerSource)
      if (entry?.form.state === 'prefix') report('unknown-eid')
      if (entry === undefined || entry.form.state === 'prefix') return drop(packet, 'unknown-eid')
      const refusal = closed?.check(packet.flow, outerSource, fields)
      if (refusal !== undefined) return drop(packet, refusal)
      const { form, draining } = entry
      if (form.reportSenders) report('sender-seen')
      const { mark } = packet
      packet.mark = undefined
      const isOver =
        form.move !== undefined && live.follow(packet, form.state, form.move, mark, outerSource)
      if (isOver === 'passed-on') report('away-eid-hit')
      if (isOver) return
      if (draining || form.state !== 'away') tally('decapsulated')
      if (draining || form.state === 'standby') return holdPacket(packet, 'endpoint-expected')
      if (form.state === 'local') return deliver(packet, entry)
      report('away-eid-hit')
      redirectAway(packet)
    },
    frameSeen: observeSender,
    macSeen(mac, interfaceName) {
      if (mayReport(`mac-seen ${formatMac(mac)}`, INTERVALS_MS['mac-seen']))
        around.raise({ kind: 'mac-seen', mac, interfaceName })
    },
    crash() {
      controlled = false
      hold.lose()
      mappings.abandonReleases()
    },
    forget() {
      hold.lose()
      mappings.clear()
      replication.clear()
    },
    waiting: hold.waiting,
    counters: () => ({ drops, tallies, hold: hold.statistics() }),
    mappingCounters: mappings.counters,
    groupCounters: (names) =>
      replication.entries().flatMap(({ group }) => {
        const name = formatGroup(group)
        return names.includes(name) ? [{ group: name, ...usageOfGroup(group) }] : []
      }),
    view: mappings.view,
    close(how) {
      hold.lose()
      if (how === 'detach') this.forget()
    },
  }
}
