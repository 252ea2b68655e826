/**
 * The datapath as an executable specification: what the BPF programs do, on abstract packets.
 *
 * One function per hook: `fromSite` (site_ingress), `fromCore` (rloc_ingress), the packets that leave
 * the hold (hold_ingress), `frameSeen` and `macSeen` (ARP, ND, RARP). Decisions, their order, the
 * names of the drops and the rate limits of events are those of native/bpf; bytes and ECN are those of
 * model-frames.ts, which runs the packet vectors of the programs; segmentation is not modelled. Operations keep the contract of datapath.ts. Tables are in
 * model-table.ts, held packets in model-hold.ts. Time, delivery and loss are its surroundings' part.
 */
import type { ClosedFields, ClosedSwitches } from '../control/closed-vocabulary.js'
import type {
  DatapathEvent,
  DatapathOperation,
  Encapsulation,
  HoldDropReason,
} from '../control/input-output.js'
import { equalIpAddresses, formatIpAddress, formatMac, type MacAddress } from '../lisp/address.js'
import { coversPrefix, type Eid, type EidPrefix, equalEidPrefixes, formatEid } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import type { MulticastGroup } from '../lisp/multicast/multicast-group.js'
import { LOCATOR_BUCKETS, locatorBuckets } from '../tables/locator-selection.js'
import { type BpfDropReasonName, DROP_REASON, TALLY } from './abi.generated.js'
import type { Datapath } from './datapath.js'
import { createModelClosed } from './model-closed.js'
import { createEventLimits } from './model-event-limits.js'
import { createModelHold, type HoldLimits, type HoldPurpose } from './model-hold.js'
import { createModelLiveMoves, leftOf, type ModelMove } from './model-live-moves.js'
import type { ModelPacket } from './model-packet.js'
import { isListed, type ModelRelay, NO_RELAY } from './model-relay.js'
import { createModelReplication } from './model-replication.js'
import { createModelTable, type ModelEntry } from './model-table.js'

export interface ModelDatapathOptions {
  readonly eidPrefixes: readonly { readonly eidPrefix: EidPrefix }[]
  readonly dynamicEidPrefixes: readonly { readonly eidPrefix: EidPrefix }[]
  readonly siteInterfaces: readonly { readonly name: string }[]
  readonly hold: HoldLimits
  readonly maximumMappings: number
  readonly maximumLocalEids: number
  /** Missing: neither PETR nor RTR nor PITR. */
  readonly relay?: ModelRelay
  /** Missing: none. */
  readonly closed?: ClosedSwitches
}

/** What the world does for the datapath. None of these may call back into it at once. */
export interface ModelSurroundings {
  now(): number
  after(delayMs: number, run: () => void): void
  /** How long the hold takes to carry out a command, in ms. */
  commandMs(): number
  raise(event: DatapathEvent): void
  /** The datapath has made one more of this packet. */
  copied?(packet: ModelPacket): void
  /** An encapsulated packet leaves towards `to`. */
  transmit(
    packet: ModelPacket,
    from: Rloc,
    to: Rloc,
    how: { readonly gpe: boolean; readonly fields: ClosedFields | undefined },
  ): void
  /** To the endpoint, by MAC address when it is known. */
  deliver(packet: ModelPacket, interfaceName: string, mac: MacAddress | undefined): void
  /** To the kernel's own routing: out of a site interface, or the way without LISP. */
  native(packet: ModelPacket): void
  discard(packet: ModelPacket, reason: ModelDropReason): void
  /** A frame of our own on the segment: gateway announced, endpoint asked for. */
  frame(kind: 'announce-gateway' | 'solicit-endpoint', eid: Eid, interfaceName: string): void
}

export type ModelDropReason =
  | Exclude<BpfDropReasonName, 'none'>
  | HoldDropReason
  | 'hold-lost'
  | 'hold-eids'
  | 'aged'

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

/** The tables as they stand, for comparison with those of the control plane. */
export interface ModelView {
  readonly mapCache: readonly {
    readonly eidPrefix: string
    readonly action: MapCacheAction
    /** A release has not ended: the final form may be another one. */
    readonly settling: boolean
    readonly rlocs: readonly string[]
  }[]
  readonly localEids: readonly {
    readonly eidPrefix: string
    readonly state: LocalState
    readonly settling: boolean
    readonly mac: string | undefined
  }[]
}

type PutMapCache = Extract<DatapathOperation, { kind: 'put-map-cache' }>
type PutLocalEid = Extract<DatapathOperation, { kind: 'put-local-eid' }>
type MapCacheAction = PutMapCache['action']
type LocalState = PutLocalEid['state'] | 'prefix'

interface MapCacheForm {
  readonly action: MapCacheAction
  readonly encapsulations: readonly Encapsulation[]
  /** Flow hash → position in `chosen`. */
  readonly buckets: Uint8Array
  readonly chosen: readonly Encapsulation[]
  /** Where its packets may come from beside those. */
  readonly senders: readonly Rloc[]
}

interface LocalForm {
  readonly state: LocalState
  readonly interfaceName: string
  readonly mac: MacAddress | undefined
  readonly macText: string | undefined
  readonly reportSenders: boolean
  readonly proxyNeighbours: boolean
  readonly move: ModelMove | undefined
}

/** Intervals of events, in ms (enum event_intervals_ms of native/bpf/report.h). */
const INTERVALS_MS = {
  'local-eid-seen': 50,
  'mac-seen': 50,
  'away-eid-hit': 100,
  'sender-seen': 1000,
  'unknown-eid': 1000,
} as const
/** Outer headers in bytes, with UDP and LISP: IPv4 20 + 8 + 8, IPv6 40 + 8 + 8. */
const OVERHEAD_BYTES = { 4: 36, 6: 56 } as const

export function createModelDatapath(
  options: ModelDatapathOptions,
  around: ModelSurroundings,
): ModelDatapath {
  const hold = createModelHold(options.hold, {
    now: around.now,
    after: around.after,
    commandMs: around.commandMs,
    raise: around.raise,
    emit: (purpose, packet) => leaveHold(purpose, packet),
    discard: (packet, reason) => around.discard(packet, reason),
  })
  const release = hold.release
  const replication = createModelReplication()
  const relays = options.relay ?? NO_RELAY
  let mapCache = newMapCache()
  let localEids = newLocalEids()
  const mayReport = createEventLimits(around.now)
  const closed =
    options.closed &&
    createModelClosed(options.closed, {
      now: around.now,
      mayReport,
      raise: around.raise,
      rlocsOf(eid) {
        const entry = mapCache.host(formatEid(eid)) ?? mapCache.prefixOf(eid)
        if (entry === undefined) return undefined
        const { action, chosen, senders } = entry.form
        const rlocs = chosen.map((one) => one.locator.rloc)
        return action === 'forward' && !entry.draining ? [...rlocs, ...senders] : []
      },
    })
  const drops: Record<string, { packets: number; bytes: number }> = {}
  const tallies: Record<string, number> = {}
  for (const reason of Object.keys(DROP_REASON))
    if (reason !== 'none') drops[reason] = { packets: 0, bytes: 0 }
  for (const name of Object.keys(TALLY)) tallies[name] = 0
  /** False between the death of the control plane and its return: there is no hold then. */
  let controlled = true

  function newMapCache() {
    const { maximumMappings: maximumEntries } = options
    return createModelTable<MapCacheForm>({ purpose: 'map-cache-miss', maximumEntries, release })
  }
  function newLocalEids() {
    const { maximumLocalEids: maximumEntries } = options
    return createModelTable<LocalForm>({ purpose: 'endpoint-expected', maximumEntries, release })
  }

  function drop(packet: ModelPacket, reason: Exclude<BpfDropReasonName, 'none'>): void {
    const counter = drops[reason]!
    counter.packets += 1
    counter.bytes += packet.sizeBytes
    around.discard(packet, reason)
  }

  function tally(name: keyof typeof TALLY): void {
    tallies[name]! += 1
  }

  const live = createModelLiveMoves(around, { drop, copied: () => tally('copied'), redirectAway })

  const findLocal = ({ flow }: ModelPacket): ModelEntry<LocalForm> | undefined =>
    localEids.host(flow.destinationText) ?? localEids.prefixOf(flow.destination)
  const findMapping = ({ flow }: ModelPacket): ModelEntry<MapCacheForm> | undefined =>
    mapCache.host(flow.destinationText) ?? mapCache.prefixOf(flow.destination)
  const isPresent = (entry: ModelEntry<LocalForm> | undefined): boolean =>
    entry?.form.state === 'local'
  const isDynamic = (eid: Eid): boolean => localEids.prefixOf(eid)?.form.state === 'prefix'

  function holdPacket(packet: ModelPacket, purpose: HoldPurpose): void {
    if (!controlled) {
      drop(packet, 'no-hold')
      return
    }
    tally('held')
    hold.hold(purpose, packet)
  }

  // -------------------------------------------------------------------- encapsulation

  function chosenFor({ flow }: ModelPacket, { form }: ModelEntry<MapCacheForm>) {
    // Not the bits of the source port: ECMP in the core and locators choose independently.
    return form.chosen[form.buckets[(flow.hash >>> 20) & (LOCATOR_BUCKETS - 1)]!]
  }

  function encapsulate(
    packet: ModelPacket,
    entry: ModelEntry<MapCacheForm>,
    what: 'encapsulated' | 'reencapsulated',
  ): void {
    const encapsulation = chosenFor(packet, entry)
    if (encapsulation === undefined) {
      drop(packet, 'no-locator')
      return
    }
    if (packet.ttl <= 1) {
      drop(packet, 'ttl-expired')
      return
    }
    const { locator, source, pathMtu, gpe = false } = encapsulation
    if (packet.sizeBytes + OVERHEAD_BYTES[locator.rloc.family] > pathMtu) {
      drop(packet, 'packet-too-big')
      return
    }
    if ((packet.lispHeaders ?? 0) >= 2) {
      drop(packet, 'nested')
      return
    }
    packet.ttl -= 1
    if (what === 'reencapsulated') packet.redirects += 1
    entry.packets += 1
    entry.bytes += packet.sizeBytes
    entry.lastUsedAt = around.now()
    tally(what)
    const fields = encapsulation.closed ? closed?.mark(packet.flow, locator.rloc) : undefined
    around.transmit(packet, source, locator.rloc, { gpe, fields })
  }

  /** PETR: to the kernel's own routing, when the source is of a site that we serve. */
  function letOut(packet: ModelPacket): void {
    if (!relays.petr) drop(packet, 'native-at-rtr')
    else if (!isListed(relays.sites, packet.flow.source)) drop(packet, 'unproxied-source')
    else if (packet.ttl <= 1) drop(packet, 'ttl-expired')
    else {
      packet.ttl -= 1
      tally('proxied')
      around.native(packet)
    }
  }

  /** For an EID that is not here: RTR and PETR (native/bpf/interwork.h). */
  function relay(packet: ModelPacket, outerSource: Rloc): void {
    const entry = relays.rtr ? findMapping(packet) : undefined
    const action = entry?.form.action
    if (!relays.rtr) letOut(packet)
    else if (entry === undefined || entry.draining || action === 'hold') {
      packet.relayed = true
      holdPacket(packet, 'map-cache-miss')
    } else if (action === 'drop') drop(packet, 'mapping-says-drop')
    else if (action === 'native') letOut(packet)
    else {
      const next = chosenFor(packet, entry)?.locator.rloc
      const back = next !== undefined && equalIpAddresses(next, outerSource)
      if (back) drop(packet, 'loop')
      else encapsulate(packet, entry, 'reencapsulated')
    }
  }

  /** By the host entry alone: only that can say where a single EID has gone. */
  function redirectAway(packet: ModelPacket): void {
    const entry = mapCache.host(packet.flow.destinationText)
    if (entry === undefined || entry.form.action !== 'forward') drop(packet, 'away-unmapped')
    else encapsulate(packet, entry, 'reencapsulated')
  }

  function deliver(packet: ModelPacket, entry: ModelEntry<LocalForm>): void {
    entry.packets += 1
    entry.bytes += packet.sizeBytes
    entry.lastUsedAt = around.now()
    around.deliver(packet, entry.form.interfaceName, entry.form.mac)
  }

  // -------------------------------------------------------------------- out of the hold

  /** Nothing goes back in: what has no place to go is dropped. */
  function leaveHold(purpose: HoldPurpose, packet: ModelPacket): void {
    packet.mark = undefined
    if (purpose === 'map-cache-miss') releaseToCore(packet)
    else releaseToSite(packet)
  }

  function releaseToCore(packet: ModelPacket): void {
    const entry = findMapping(packet)
    if (entry === undefined) {
      // Meanwhile the EID may have come here.
      const local = findLocal(packet)
      if (local !== undefined && isPresent(local)) deliver(packet, local)
      else drop(packet, 'no-hold')
      return
    }
    const { action } = entry.form
    const what = packet.relayed ? 'reencapsulated' : 'encapsulated'
    if (action === 'forward') encapsulate(packet, entry, what)
    else if (action === 'drop') drop(packet, 'mapping-says-drop')
    else if (action === 'native' && packet.relayed) letOut(packet)
    else if (action === 'native') {
      tally('native')
      around.native(packet)
    } else drop(packet, 'no-hold')
  }

  function releaseToSite(packet: ModelPacket): void {
    const local = findLocal(packet)
    const state = local?.form.state
    if (local !== undefined && state === 'local') deliver(packet, local)
    else if (state === 'away') redirectAway(packet)
    else drop(packet, state === 'standby' ? 'no-hold' : 'unknown-eid')
  }

  // -------------------------------------------------------------------- neighbours

  function observeSender(
    eid: Eid,
    mac: MacAddress,
    interfaceName: string,
    how: 'arp' | 'neighbour-advertisement' | 'packet',
  ): void {
    const name = formatEid(eid)
    const local = localEids.host(name)
    if (isPresent(local) && local!.form.interfaceName === interfaceName) {
      if (how === 'packet' || local!.form.macText === formatMac(mac)) return
    }
    if (!isDynamic(eid)) return
    if (!mayReport(`local-eid-seen ${name}`, INTERVALS_MS['local-eid-seen'])) return
    around.raise({ kind: 'local-eid-seen', eid, mac, interfaceName, how })
  }

  // -------------------------------------------------------------------- operations

  function putMapCache(put: PutMapCache): boolean {
    const { eidPrefix, action, encapsulations, senders = [] } = put
    const { indexes, buckets } = locatorBuckets(encapsulations.map((one) => one.locator))
    const chosen = indexes.map((index) => encapsulations[index]!)
    const form = { action, encapsulations, buckets, chosen, senders }
    const releases = action === 'hold' ? [] : put.release
    return mapCache.put({ eidPrefix, form, drains: action === 'forward', release: releases })
  }

  function putLocalEid(put: PutLocalEid): boolean {
    const { eidPrefix, interfaceName, mac, reportSenders, dynamicPrefix } = put
    if (!options.siteInterfaces.some((one) => one.name === interfaceName)) return false
    const state = dynamicPrefix ? 'prefix' : put.state
    const macText = mac === undefined ? undefined : formatMac(mac)
    const proxyNeighbours = put.proxyNeighbours !== false
    const move = put.move && { ...put.move, until: around.now() + put.move.leaseMs }
    const form = {
      state,
      interfaceName,
      mac,
      macText,
      reportSenders,
      proxyNeighbours,
      move,
    } as const
    const copies = put.move?.kind === 'destination' ? put.move.copies : 'all'
    const drains = state === 'local' || state === 'away'
    const releases = state === 'standby' ? [] : put.release
    const isPut = localEids.put({ eidPrefix, form, drains, release: releases, copies })
    if (isPut && state === 'standby' && move?.kind === 'destination' && !move.passOn)
      hold.mark(eidPrefix)
    return isPut
  }

  function answerUsage(eidPrefix: EidPrefix): void {
    const entry = mapCache.get(eidPrefix)
    const at = entry?.lastUsedAt
    around.raise({
      kind: 'map-cache-usage',
      eidPrefix,
      packets: BigInt(entry?.packets ?? 0),
      bytes: BigInt(entry?.bytes ?? 0),
      idleMs: at === undefined ? undefined : around.now() - at,
    })
  }

  function answerReplication(group: MulticastGroup): void {
    const { packets, lastSentAt } = replication.usage(group)
    const idleMs = lastSentAt === undefined ? undefined : around.now() - lastSentAt
    const usage = { packets: BigInt(packets), bytes: 0n, idleMs }
    around.raise({ kind: 'replication-usage', group, ...usage })
  }

  function perform(operation: DatapathOperation): void {
    const failed = (reason: string): void =>
      around.raise({ kind: 'operation-failed', operation: operation.kind, reason })
    switch (operation.kind) {
      case 'put-map-cache':
        if (!putMapCache(operation)) failed('table-full')
        return
      case 'put-local-eid':
        if (!putLocalEid(operation)) failed('table-full-or-unknown-interface')
        return
      case 'delete-map-cache':
        mapCache.remove(operation.eidPrefix)
        return
      case 'delete-local-eid':
        localEids.remove(operation.eidPrefix)
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

  /** What the configuration names, and single EIDs inside a dynamic-EID prefix. */
  function isOwn(eidPrefix: EidPrefix): boolean {
    const { eidPrefixes, dynamicEidPrefixes } = options
    return (
      eidPrefixes.some((own) => equalEidPrefixes(own.eidPrefix, eidPrefix)) ||
      dynamicEidPrefixes.some((own) => coversPrefix(own.eidPrefix, eidPrefix))
    )
  }

  function restore(): ReturnType<Datapath['restore']> {
    controlled = true
    mapCache.settleForms()
    localEids.settleForms()
    const found = [...localEids.entries()].filter((entry) => isOwn(entry.eidPrefix))
    const locals = found.flatMap(({ eidPrefix, form }) => {
      const { state, interfaceName, mac, proxyNeighbours } = form
      if (state === 'prefix') return []
      const what = { eidPrefix, state, interfaceName, mac, proxyNeighbours }
      return [{ ...what, ...leftOf(form.move, around.now()) }]
    })
    const here = new Set(found.filter((one) => isPresent(one)).map((one) => one.text))
    const mappings = [...mapCache.entries()].filter((entry) => !here.has(entry.text))
    return {
      localEids: locals,
      mapCache: mappings.map(({ eidPrefix, form }) => ({
        eidPrefix,
        action: form.action,
        encapsulations: form.chosen,
      })),
    }
  }

  return {
    perform,
    restore,
    fromSite(packet, mac, interfaceName) {
      observeSender(packet.flow.source, mac, interfaceName, 'packet')
      const { attracted } = relays
      if (attracted !== undefined && !isListed(attracted, packet.flow.destination))
        return around.native(packet)
      const host = mapCache.host(packet.flow.destinationText)
      // Own prefixes go before shorter mappings of others.
      if (host === undefined && isPresent(findLocal(packet))) return around.native(packet)
      const entry = host ?? mapCache.prefixOf(packet.flow.destination)
      if (entry === undefined || entry.draining || entry.form.action === 'hold')
        return holdPacket(packet, 'map-cache-miss')
      if (entry.form.action === 'forward') return encapsulate(packet, entry, 'encapsulated')
      if (entry.form.action === 'drop') return drop(packet, 'mapping-says-drop')
      tally('native')
      around.native(packet)
    },
    fromCore(packet, outerSource, fields) {
      const entry = findLocal(packet)
      const report = (kind: 'sender-seen' | 'away-eid-hit' | 'unknown-eid'): void => {
        const name = `${kind} ${packet.flow.destinationText} ${formatIpAddress(outerSource)}`
        if (!mayReport(name, INTERVALS_MS[kind])) return
        around.raise({ kind, eid: packet.flow.destination, sender: outerSource })
      }
      if (entry === undefined && (relays.petr || relays.rtr)) return relay(packet, outerSource)
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
      mapCache.abandonReleases()
      localEids.abandonReleases()
    },
    forget() {
      hold.lose()
      mapCache = newMapCache()
      localEids = newLocalEids()
    },
    waiting: hold.waiting,
    counters: () => ({ drops, tallies, hold: hold.statistics() }),
    mappingCounters: () => [
      ...countersOf('map-cache', mapCache.entries(), around.now()),
      ...countersOf('local-eid', localEids.entries(), around.now()),
    ],
    view: () => ({
      mapCache: [...mapCache.entries()].map(({ text, form, pending }) => ({
        eidPrefix: text,
        action: form.action,
        settling: pending > 0,
        rlocs: form.chosen.map((one) => formatIpAddress(one.locator.rloc)),
      })),
      localEids: [...localEids.entries()].map(({ text, form, pending }) => ({
        eidPrefix: text,
        state: form.state,
        settling: pending > 0,
        mac: form.macText,
      })),
    }),
    close(how) {
      hold.lose()
      if (how === 'detach') this.forget()
    },
  }
}

function* countersOf<Form>(
  table: 'map-cache' | 'local-eid',
  entries: Iterable<ModelEntry<Form>>,
  now: number,
) {
  for (const { text, packets, bytes, lastUsedAt } of entries) {
    const idleMs = lastUsedAt === undefined ? undefined : now - lastUsedAt
    yield { table, eidPrefix: text, packets: BigInt(packets), bytes: BigInt(bytes), idleMs }
  }
}
