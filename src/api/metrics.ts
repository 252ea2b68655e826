/**
 * Prometheus metrics, in a registry of their own.
 *
 * Every event has a counter `godwit_<event>_total{reason}`, and those that end something that takes
 * time feed a histogram; datapath counters, table sizes and the
 * hold are read when scraped, so packets cost nothing here. Labels come from closed sets; should a
 * reason ever not, the surplus is counted as `other`.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { EVENT_NAMES, type Event } from '../control/event.js'
import type { TableSizes } from '../control/table-pages.js'
import type { AddressHintCounters } from '../datapath/address-hint-counters.js'
import type { DatapathCounters } from '../datapath/datapath.js'
import type { GroupPacketCounters } from '../datapath/group-packet-counters.js'
import { registerAddressHints } from './address-hint-metrics.js'
import { registerGroupPackets } from './group-packet-metrics.js'
import { registerSockets, type SocketCounters } from './socket-metrics.js'

export interface Metrics {
  /** `at` is wall-clock; durations between two events are made of it. */
  countEvent(event: Event, at?: Date): void
  /** A follower of the event stream did not keep up and was cut off. */
  countDroppedFollower(): void
  /** The exposition text and its content type. */
  render(): Promise<{ text: string; contentType: string }>
}

export interface MetricSources {
  readonly node: string
  readonly version: string
  readonly startedAt: Date
  sizes(): TableSizes
  datapath: { counters(): DatapathCounters } | undefined
  groupPackets?: (() => GroupPacketCounters) | undefined
  addressHints?: (() => AddressHintCounters) | undefined
  followers(): number
  readonly sockets?: (() => SocketCounters) | undefined
}

/** Registers every metric; reads `sources` only while rendering. */
export function createMetrics(sources: MetricSources): Metrics {
  const register = new Registry()
  register.setDefaultLabels({ node: sources.node })
  collectDefaultMetrics({ register, eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS })
  const events = createEventCounters(register)
  const durations = createDurations(register)
  const dropped = new Counter({
    name: 'godwit_event_followers_dropped_total',
    help: 'Followers of /v1/events that did not keep up and were cut off',
    registers: [register],
  })
  registerNode(register, sources)
  const { datapath } = sources
  const refreshAll = [registerTables(register, sources)]
  if (sources.sockets !== undefined) refreshAll.push(registerSockets(register, sources.sockets))
  if (datapath !== undefined) refreshAll.push(registerDatapath(register, () => datapath.counters()))
  if (sources.groupPackets !== undefined)
    refreshAll.push(registerGroupPackets(register, sources.groupPackets))
  if (sources.addressHints !== undefined)
    refreshAll.push(registerAddressHints(register, sources.addressHints))
  return {
    countEvent(event, at = new Date()) {
      events(event)
      durations(event, at)
    },
    countDroppedFollower: () => dropped.inc(),
    async render() {
      // Not in a collect(): metrics registered before that one would show what the last scrape read.
      for (const refresh of refreshAll) refresh()
      return { text: await register.metrics(), contentType: register.contentType }
    },
  }
}

function createEventCounters(register: Registry): (event: Event) => void {
  const counters = new Map(
    EVENT_NAMES.map((name) => {
      const counter = new Counter({
        name: `godwit_${snakeCase(name)}_total`,
        help: `Events ${name}`,
        labelNames: ['reason'],
        registers: [register],
      })
      return [name as string, { counter, reasons: new Map<string, Counter.Internal>() }]
    }),
  )
  return (event) => {
    const entry = counters.get(event.name)
    if (entry === undefined) return
    const { counter, reasons } = entry
    const given = event.reason ?? ''
    const reason = reasons.has(given) || reasons.size < MAXIMUM_REASONS ? given : 'other'
    // Kept: finding the counter of a label costs more than all else that an event brings about.
    const known = reasons.get(reason) ?? counter.labels(reason)
    reasons.set(reason, known)
    known.inc()
  }
}

/**
 * How long things took: from fields of events, and between the events of one move. The end of a move
 * is when this node knew it: `GET /v1/moves` has when it was.
 */
function createDurations(register: Registry): (event: Event, at: Date) => void {
  const histogram = (name: string, help: string, label?: string): Histogram =>
    new Histogram({
      name,
      help,
      buckets: DURATION_BUCKETS,
      labelNames: label === undefined ? [] : [label],
      registers: [register],
    })
  const answered = histogram('godwit_map_request_seconds', 'From a Map-Request to its answer')
  const held = histogram('godwit_hold_seconds', 'From the first packet of an EID held to release')
  const moved = histogram(
    'godwit_move_seconds',
    'From the request of an orchestrated move to a stage of it, at its destination',
    'stage',
  )
  const requested = new Map<string, number>()
  return (event, at) => {
    if (event.name === 'map-reply-received') observeMs(answered, event['waitedMs'])
    if (event.name === 'hold-released') observeMs(held, event['heldMs'])
    const stage = MOVE_STAGES_OF_EVENTS[event.name]
    if (stage === undefined) return
    const moveId = String(event['moveId'])
    if (stage === 'requested') {
      requested.set(moveId, at.getTime())
      if (requested.size > MAXIMUM_MOVES) requested.delete(requested.keys().next().value!)
      return
    }
    const since = requested.get(moveId)
    if (since === undefined) return
    if (stage !== 'failed') moved.observe({ stage }, Math.max(0, at.getTime() - since) / 1000)
    if (stage === 'failed' || stage === 'converged') requested.delete(moveId)
  }
}

function observeMs(histogram: Histogram, milliseconds: unknown): void {
  if (typeof milliseconds === 'number') histogram.observe(milliseconds / 1000)
}

const MOVE_STAGES_OF_EVENTS: Readonly<Partial<Record<string, string>>> = {
  'move-requested': 'requested',
  'move-prepared': 'ready',
  'move-endpoint-seen': 'endpoint-seen',
  'move-converged': 'converged',
  'move-failed': 'failed',
}

/** From an answer of the same rack to the patience of a hold. */
const DURATION_BUCKETS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
]

/** Moves under way whose request is remembered; a move's own limits end it in seconds. */
const MAXIMUM_MOVES = 10_000

function registerNode(register: Registry, sources: MetricSources): void {
  const information = new Gauge({
    name: 'godwit_build_info',
    help: 'Always 1; the version is a label',
    labelNames: ['version'],
    registers: [register],
  })
  information.set({ version: sources.version }, 1)
  const started = new Gauge({
    name: 'godwit_start_time_seconds',
    help: 'Unix time at which the daemon started',
    registers: [register],
  })
  started.set(sources.startedAt.getTime() / 1000)
  new Gauge({
    name: 'godwit_event_followers',
    help: 'Open /v1/events streams',
    registers: [register],
    collect() {
      this.set(sources.followers())
    },
  })
}

/** Returns what sets them to the sizes of this moment. */
function registerTables(register: Registry, sources: MetricSources): () => void {
  const gauge = (name: string, help: string): Gauge =>
    new Gauge({ name, help, registers: [register] })
  const sizes: [Gauge, keyof TableSizes][] = [
    [gauge('godwit_map_cache_entries', 'Map-cache entries'), 'mapCache'],
    [
      gauge('godwit_mapping_database_entries', 'Own EID-prefixes and dynamic EIDs'),
      'mappingDatabase',
    ],
    [
      gauge('godwit_registration_entries', 'EID-prefixes registered at the Map-Server'),
      'registrations',
    ],
    [
      gauge('godwit_described_eid_entries', 'Names and places registered at the Map-Server'),
      'describedEids',
    ],
    [gauge('godwit_multicast_groups', 'Multicast groups, at a Map-Server and of an xTR'), 'groups'],
    [
      gauge('godwit_multicast_listened_groups', 'Groups with listeners on the site interfaces'),
      'listenedGroups',
    ],
    [
      gauge('godwit_multicast_members', 'Receiver sites of all groups at the Map-Server'),
      'groupMembers',
    ],
    [
      gauge('godwit_subscription_entries', 'Subscriptions, at a Map-Server and of an xTR'),
      'subscriptions',
    ],
    [
      gauge(
        'godwit_subscribers_behind',
        'Subscribers that have not acknowledged the newest mapping',
      ),
      'subscribersBehind',
    ],
    [
      gauge('godwit_locators_unreachable', 'Probed locators that do not answer'),
      'unreachableLocators',
    ],
    [
      gauge(
        'godwit_locators_narrowed',
        'Locators with a smaller path MTU than the configured one, said by ICMP',
      ),
      'narrowedPaths',
    ],
    [gauge('godwit_moves_under_way', 'Moves neither converged nor failed'), 'movesUnderWay'],
  ]
  return () => {
    const now = sources.sizes()
    for (const [size, name] of sizes) size.set(now[name])
  }
}

/** Counters that live in the kernel; returns what replaces them by their values of this moment. */
function registerDatapath(register: Registry, read: () => DatapathCounters): () => void {
  const counter = (name: string, help: string, label?: string): Counter =>
    new Counter({
      name: `godwit_datapath_${name}`,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [register],
    })
  const drops = counter('drops_total', 'Packets dropped by the datapath', 'reason')
  const dropBytes = counter('drop_bytes_total', 'Bytes dropped by the datapath', 'reason')
  const packets = counter('packets_total', 'Packets handled, by what happened to them', 'kind')
  const held = counter('hold_queued_total', 'Packets that went into the hold')
  const released = counter('hold_released_total', 'Packets that left the hold in order')
  const unsettled = counter(
    'hold_unsettled_total',
    'Releases that more packets came for than could leave: order was not kept',
  )
  const givenUp = counter('hold_dropped_total', 'Held packets given up', 'reason')
  const gauge = (name: string, help: string): Gauge =>
    new Gauge({ name: `godwit_datapath_${name}`, help, registers: [register] })
  const heldBytes = gauge('hold_bytes', 'Bytes in the hold now')
  const heldPackets = gauge('hold_packets', 'Packets in the hold now')
  return () => {
    const now = read()
    for (const metric of [drops, dropBytes, packets, held, released, givenUp]) metric.reset()
    for (const [reason, drop] of Object.entries(now.drops)) {
      drops.inc({ reason }, drop.packets)
      dropBytes.inc({ reason }, drop.bytes)
    }
    for (const [kind, count] of Object.entries(now.tallies)) packets.inc({ kind }, count)
    for (const [reason, count] of Object.entries(now.hold.dropped)) givenUp.inc({ reason }, count)
    held.inc(now.hold.heldTotal)
    released.inc(now.hold.releasedTotal)
    unsettled.inc(now.hold.unsettledTotal ?? 0)
    heldBytes.set(now.hold.bytes)
    heldPackets.set(now.hold.packets)
  }
}

function snakeCase(name: string): string {
  return name.replaceAll('-', '_')
}

/** Reasons are a closed set per event; this only guards the registry against a mistake. */
const MAXIMUM_REASONS = 64

/** Choice: the default of 10 ms would wake an idle daemon 100 times per second. */
const EVENT_LOOP_PRECISION_MS = 100
