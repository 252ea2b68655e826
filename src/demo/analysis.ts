/**
 * From packet records to the figures of each move. Pure.
 *
 * A packet belongs to the move in whose window it was *sent*: from shortly before the move's
 * request to the next one's. Lost is what was sent and never arrived; reordered is what arrived
 * after a later one of its stream; the longest gap is the longest silence at the receiver, counted
 * to the move whose packet ended it. A stream has converged with the first packet that was sent
 * after the switch and came the short way, without redirection: a redirected packet has passed more
 * routers, so its hop limit is lower than the highest that its stream ever shows.
 */
import type { PacketRecord } from './records.js'

export type Family = 'ipv4' | 'ipv6'
export type Trigger = 'orchestrated' | 'blackout' | 'live' | 'detected'
export type Direction = 'toEndpoint' | 'fromEndpoint'

export interface StreamDescription {
  readonly id: number
  readonly family: Family
  readonly direction: Direction
  /** A cold stream only has to show its first packet. */
  readonly cold: boolean
}

export interface MoveWindow {
  readonly trigger: Trigger
  readonly fromNs: number
  readonly untilNs: number
  readonly switchedNs: number
}

export interface DirectionFigures {
  readonly sent: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
  readonly longestGapMs: number
}

export interface MoveRow extends DirectionFigures {
  readonly trigger: Trigger
  readonly family: Family
  /** From the switch to the first packet that came directly; null when none did. */
  readonly convergedMs: number | null
  readonly perDirection: Readonly<Record<Direction, DirectionFigures>>
}

export interface Figures {
  /** Streams whose very first packet never arrived. */
  readonly firstPacketLost: number
  readonly moves: readonly MoveRow[]
  /** Lost outside all windows: before the first move. */
  readonly lostElsewhere: number
}

/**
 * Computes all figures; records may come in any order as long as each receiver's are in its own.
 */
export function computeFigures(
  streams: readonly StreamDescription[],
  sent: readonly PacketRecord[],
  received: readonly PacketRecord[],
  windows: readonly MoveWindow[],
): Figures {
  const traces = new Map(streams.map((stream) => [stream.id, trace(stream, sent, received)]))
  const firstPacketLost = streams.filter(({ id }) => !traces.get(id)!.arrivals.has(0)).length
  const moves = windows.flatMap((window) =>
    FAMILIES.flatMap((family) => {
      const of = (direction: Direction): Trace | undefined =>
        [...traces.values()].find(
          ({ stream }) =>
            !stream.cold && stream.family === family && stream.direction === direction,
        )
      const [towards, from] = [of('toEndpoint'), of('fromEndpoint')]
      return towards && from ? [moveRow(window, family, towards, from)] : []
    }),
  )
  const firstNs = windows[0]?.fromNs ?? Number.POSITIVE_INFINITY
  let lostElsewhere = 0
  for (const { stream, sent: packets, arrivals } of traces.values()) {
    for (const { sentNs, sequence } of packets) {
      if ((stream.cold || sentNs < firstNs) && !arrivals.has(sequence)) lostElsewhere++
    }
  }
  return { firstPacketLost, moves, lostElsewhere }
}

interface Arrival {
  readonly copies: number
  readonly late: boolean
}

interface Trace {
  readonly stream: StreamDescription
  readonly sent: readonly PacketRecord[]
  /** By sequence number. */
  readonly arrivals: ReadonlyMap<number, Arrival>
  /** First copies only, in order of arrival. */
  readonly received: readonly PacketRecord[]
  readonly highestHopLimit: number
}

function trace(
  stream: StreamDescription,
  allSent: readonly PacketRecord[],
  allReceived: readonly PacketRecord[],
): Trace {
  const arrivals = new Map<number, { copies: number; late: boolean }>()
  const received: PacketRecord[] = []
  let [highest, highestHopLimit] = [-1, 0]
  for (const packet of allReceived) {
    if (packet.stream !== stream.id) continue
    const known = arrivals.get(packet.sequence)
    if (known) {
      known.copies++
      continue
    }
    arrivals.set(packet.sequence, { copies: 1, late: packet.sequence < highest })
    received.push(packet)
    highest = Math.max(highest, packet.sequence)
    highestHopLimit = Math.max(highestHopLimit, packet.hopLimit)
  }
  const sent = allSent.filter((packet) => packet.stream === stream.id)
  return { stream, sent, arrivals, received, highestHopLimit }
}

function moveRow(window: MoveWindow, family: Family, towards: Trace, from: Trace): MoveRow {
  const perDirection = {
    toEndpoint: directionFigures(window, towards),
    fromEndpoint: directionFigures(window, from),
  }
  const both = Object.values(perDirection)
  const sum = (key: 'sent' | 'lost' | 'duplicated' | 'reordered'): number =>
    both.reduce((total, figures) => total + figures[key], 0)
  return {
    trigger: window.trigger,
    family,
    sent: sum('sent'),
    lost: sum('lost'),
    duplicated: sum('duplicated'),
    reordered: sum('reordered'),
    longestGapMs: Math.max(...both.map(({ longestGapMs }) => longestGapMs)),
    convergedMs: convergence(window, towards),
    perDirection,
  }
}

function directionFigures(
  window: MoveWindow,
  { sent, arrivals, received }: Trace,
): DirectionFigures {
  const inWindow = ({ sentNs }: PacketRecord): boolean =>
    sentNs >= window.fromNs && sentNs < window.untilNs
  const packets = sent.filter(inWindow)
  let [lost, duplicated, reordered] = [0, 0, 0]
  for (const { sequence } of packets) {
    const arrival = arrivals.get(sequence)
    if (arrival === undefined) lost++
    else {
      duplicated += arrival.copies - 1
      if (arrival.late) reordered++
    }
  }
  let [longestNs, lastNs] = [0, window.fromNs]
  for (const packet of received) {
    if (inWindow(packet)) longestNs = Math.max(longestNs, packet.receivedNs! - lastNs)
    // A packet held since the last window arrives in this one: silence ended with it.
    if (packet.receivedNs! >= window.fromNs) lastNs = Math.max(lastNs, packet.receivedNs!)
  }
  // What was lost last has nothing after it that would end the silence.
  const lastSentNs = packets.at(-1)?.sentNs ?? window.fromNs
  if (lost > 0) longestNs = Math.max(longestNs, lastSentNs - lastNs)
  return {
    sent: packets.length,
    lost,
    duplicated,
    reordered,
    longestGapMs: milliseconds(longestNs),
  }
}

function convergence(window: MoveWindow, { received, highestHopLimit }: Trace): number | null {
  const first = received.find(
    ({ sentNs, hopLimit }) =>
      sentNs >= window.switchedNs && sentNs < window.untilNs && hopLimit === highestHopLimit,
  )
  return first ? milliseconds(first.receivedNs! - window.switchedNs) : null
}

function milliseconds(ns: number): number {
  return Math.round(ns / 1e4) / 100
}

const FAMILIES = ['ipv4', 'ipv6'] as const
