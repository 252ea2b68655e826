/**
 * What a migration's gap consists of, beyond the machine's own downtime: who had the packets. Pure.
 *
 * Towards the guest a packet passes the destination's bridge before the guest reads it; from the guest
 * it passes the bridge before the host has it. A capture on the bridge cuts both ways in two: what lies
 * between RESUME and the bridge (inbound), or between the bridge and the host (outbound), is the
 * network's and Godwit's; the rest is the emulated machine, which reads nothing in the last moments
 * before STOP and translates its code anew after RESUME.
 */
import type { Direction } from '../demo/analysis.js'
import type { PacketRecord } from '../demo/records.js'
import { STREAMS } from './guest-traffic.js'
import { round } from './rounding.js'

/** Milliseconds; the four add up to the longest gap less the downtime. */
export interface GapParts {
  /** From the last packet that got through to STOP. */
  readonly beforeStopMs: number
  /** Inbound: RESUME to the first packet on the bridge. Outbound: first packet, bridge to host. */
  readonly networkMs: number
  /** The guest until it reads anything, or until it sends. */
  readonly guestMs: number
  /** Inbound: until the guest has read what it was sent twice, of the time before STOP (the guard). */
  readonly doubledMs: number
}

export interface Bounds {
  readonly stopNs: number
  readonly resumeNs: number
}

/**
 * The parts of the gap around STOP and RESUME in one direction, of the family whose gap ends last.
 * `received` and `bridged` (the capture at the destination) are on one clock. Undefined when no packet
 * was seen on the bridge.
 */
export function gapParts(
  direction: Direction,
  received: readonly PacketRecord[],
  bridged: readonly PacketRecord[],
  bounds: Bounds,
): GapParts | undefined {
  const parts = STREAMS.filter((stream) => stream.direction === direction).flatMap(({ id }) => {
    const mine = received.filter(({ stream }) => stream === id)
    const gap = gapAround(firstCopies(mine), bounds)
    const firstNs = Math.min(...mine.map(readAt).filter((ns) => ns >= bounds.resumeNs))
    const onBridge = bridged.find(
      ({ stream, receivedNs }) => stream === id && receivedNs! > bounds.stopNs,
    )?.receivedNs
    if (gap === undefined || onBridge === undefined) return []
    return [{ gap, parts: partsOf(direction, gap, onBridge, firstNs, bounds) }]
  })
  return parts.sort((left, right) => right.gap.endNs - left.gap.endNs)[0]?.parts
}

interface Gap {
  readonly startNs: number
  readonly endNs: number
}

function partsOf(
  direction: Direction,
  gap: Gap,
  onBridge: number,
  firstNs: number,
  bounds: Bounds,
): GapParts {
  const { stopNs, resumeNs } = bounds
  // Delivered before RESUME it waits in the machine's tap: nothing is added.
  const reached = Math.max(resumeNs, onBridge)
  const network = direction === 'toEndpoint' ? reached - resumeNs : Math.max(0, gap.endNs - reached)
  const added = gap.endNs - gap.startNs - (resumeNs - stopNs)
  const beforeStop = stopNs - gap.startNs
  const doubled = direction === 'toEndpoint' ? gap.endNs - firstNs : 0
  return {
    beforeStopMs: round(beforeStop / 1e6),
    networkMs: round(network / 1e6),
    guestMs: round((added - beforeStop - network - doubled) / 1e6),
    doubledMs: round(doubled / 1e6),
  }
}

/** The silence in which RESUME lies; undefined when nothing came before or after. */
function gapAround(arrivals: readonly number[], { resumeNs }: Bounds): Gap | undefined {
  const at = arrivals.findIndex((ns) => ns >= resumeNs)
  const [startNs, endNs] = [arrivals[at - 1], arrivals[at]]
  return startNs === undefined || endNs === undefined ? undefined : { startNs, endNs }
}

/** When each packet first arrived, in order of time: doubled ones end no silence. */
function firstCopies(received: readonly PacketRecord[]): number[] {
  const first = new Map<number, number>()
  for (const record of received)
    if (!first.has(record.sequence)) first.set(record.sequence, readAt(record))
  return [...first.values()].sort((left, right) => left - right)
}

function readAt(record: PacketRecord): number {
  return record.receivedNs!
}
