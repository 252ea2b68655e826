/**
 * What was measured, as one value: bench/results.json. Medians, ratios, targets. Pure.
 */
import type { Figure, LatencyFigure, Load } from './loads.js'
import type { Way } from './mobility/ways.js'
import type { Path } from './options.js'
import type { Core, System } from './paths.js'

export type Run<Value> = Value & { readonly system: System; readonly round: number }

export interface Cell {
  readonly path: Path
  readonly core: Core
  readonly load: Load
  /** Of `godwit`, `vxlan` and `plain`: medians of `perCpuSecond`; null where not measured. */
  readonly unit: 'packets per CPU-second' | 'Gbit per CPU-second'
  readonly godwit: number | null
  readonly vxlan: number | null
  readonly plain: number | null
  /** Godwit between peers that speak RFC 9305; measured for MTU-sized TCP only. */
  readonly rfc9305?: number
  readonly cpuNsPerPacket: Readonly<Record<string, number>>
  readonly runs: readonly Run<Figure>[]
}

export interface LatencyRow {
  readonly path: Path
  readonly core: Core
  readonly unit: 'µs round trip, median'
  readonly godwit: number | null
  readonly vxlan: number | null
  readonly plain: number | null
  readonly p99: Readonly<Record<string, number>>
  readonly runs: readonly Run<LatencyFigure>[]
}

export interface Scale {
  readonly entries: { readonly small: number; readonly large: number }
  readonly fillMs: number
  readonly cpuNsPerPacket: {
    readonly small: number
    readonly large: number
    readonly largeHosts: number
    readonly largePrefixes: number
  }
  readonly ratio: number
  readonly runs: readonly (Figure & { readonly entries: string })[]
}

export interface Resolution {
  readonly medianMs: number
  readonly maximumMs: number
  readonly lost: number
  readonly samplesMs: readonly number[]
}

export interface Moves {
  readonly count: number
  readonly lost: number
  readonly medianConvergedMs: number
  readonly maximumConvergedMs: number
  readonly longestGapMs: number
  readonly rows: readonly Readonly<Record<string, unknown>>[]
}

/** One move of a virtual machine, over all of its streams. */
export interface MobilityMove {
  readonly sent: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
  /** It ran nowhere for so long. */
  readonly downtimeMs: number
  readonly longestGapMs: number
  /** From its resuming to the first packet that came without redirection; null when none did. */
  readonly convergedMs: number | null
}

interface Spread {
  readonly median: number
  readonly largest: number
}

export interface WayFigures {
  readonly way: Way
  /** Packets lost in a move. */
  readonly lost: Spread
  readonly lostInAll: number
  readonly gapMs: Spread
  readonly downtimeMs: number
  readonly convergedMs: number | null
  readonly moves: readonly MobilityMove[]
}

export interface Mobility {
  readonly commit: string
  readonly date: string
  /** Of each stream. */
  readonly packetsPerSecond: number
  readonly streams: number
  readonly ways: readonly WayFigures[]
}

/** Many endpoints leave one cloud in one call. */
export interface Evacuation {
  readonly commit: string
  readonly date: string
  readonly endpoints: number
  readonly atOnce: number
  /** How long an endpoint ran nowhere: 100 ms, and what a busy machine adds. */
  readonly pauseMs: Spread
  /** From the call until the last one had converged. */
  readonly totalMs: number
  readonly failed: number
  /** Of one endpoint: from its running at the destination until it had converged. */
  readonly convergedMs: Spread
  /** Control messages sent by all nodes meanwhile, by type; keep-alives are in it. */
  readonly controlMessages: Readonly<Record<string, number>>
  readonly watched: number
  readonly sent: number
  readonly lost: number
  readonly duplicated: number
  readonly longestGapMs: number
}

/** A packet to a group, copied to so many receivers. */
export interface MulticastRow {
  readonly fanOut: number
  /** Copied by the site itself, or by it and relays in two levels. */
  readonly shape: 'head-end' | 'tree'
  /** As sent. */
  readonly packetsPerSecond: number
  readonly packetsPerCpuSecond: number
  readonly copiesPerCpuSecond: number
  /** Of the whole machine, per copy that reached a receiver. */
  readonly cpuNsPerCopy: number
  /** In the program of the source's site, its copies handed to the next interface. */
  readonly rootNsPerPacket: number
  readonly lossPercent: number
  readonly runs: readonly Readonly<Record<string, number>>[]
}

export interface MulticastCost {
  readonly commit: string
  readonly date: string
  readonly rows: readonly MulticastRow[]
}

export interface Results {
  readonly machine: string
  readonly kernel: string
  readonly commit: string
  readonly date: string
  readonly mode: 'full' | 'quick' | 'partial'
  readonly vxlanGro: boolean
  /** CPUs busy with other things before the start: above 0.1 the figures are not to be trusted. */
  readonly idleBusyCpus: number
  readonly seconds: number
  readonly cells: readonly Cell[]
  readonly latency: readonly LatencyRow[]
  readonly resolution: Resolution | null
  readonly moves: Moves | null
  readonly scale: Scale | null
  readonly mobility: Mobility | null
  readonly evacuation: Evacuation | null
  readonly multicast: MulticastCost | null
  readonly targets: readonly Target[]
}

export interface Target {
  readonly what: string
  readonly comparison: '≥' | '≤'
  readonly target: number
  readonly value: number
  readonly met: boolean
}

/** The middle value, or the mean of the two in the middle; undefined of nothing. */
export function median(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The medians of one place and load; each system's from the runs that it has. */
export function makeCell(
  place: { readonly path: Path; readonly core: Core; readonly load: Load },
  runs: readonly Run<Figure>[],
): Cell {
  const of = (system: System, key: 'perCpuSecond' | 'cpuNsPerPacket') =>
    rounded(median(runs.filter((run) => run.system === system).map((run) => run[key])))
  const systems = [...new Set(runs.map(({ system }) => system))].sort()
  const rfc9305 = of('rfc9305', 'perCpuSecond')
  return {
    ...place,
    unit: place.load.startsWith('tcp') ? 'Gbit per CPU-second' : 'packets per CPU-second',
    godwit: of('godwit', 'perCpuSecond'),
    vxlan: of('vxlan', 'perCpuSecond'),
    plain: of('plain', 'perCpuSecond'),
    ...(rfc9305 === null ? {} : { rfc9305 }),
    cpuNsPerPacket: Object.fromEntries(
      systems.map((system) => [system, of(system, 'cpuNsPerPacket') ?? 0]),
    ),
    runs: runs.map(roundedRun),
  }
}

/** The same for latency, in microseconds: here less is better. */
export function makeLatencyRow(
  place: { readonly path: Path; readonly core: Core },
  runs: readonly Run<LatencyFigure>[],
): LatencyRow {
  const of = (system: System, key: 'medianUs' | 'p99Us') =>
    rounded(median(runs.filter((run) => run.system === system).map((run) => run[key])))
  const systems = [...new Set(runs.map(({ system }) => system))].sort()
  return {
    ...place,
    unit: 'µs round trip, median',
    godwit: of('godwit', 'medianUs'),
    vxlan: of('vxlan', 'medianUs'),
    plain: of('plain', 'medianUs'),
    p99: Object.fromEntries(systems.map((system) => [system, of(system, 'p99Us') ?? 0])),
    runs: runs.map(roundedRun),
  }
}

/** `left` per `right`, undefined when one is missing. */
export function ratio(
  left: number | null | undefined,
  right: number | null | undefined,
): number | undefined {
  return left && right ? left / right : undefined
}

/** Every target for which there is a measurement; judged by the medians. */
export function judgeTargets(cells: readonly Cell[], scale: Scale | null): Target[] {
  const targets: Target[] = []
  const add = (what: string, comparison: '≥' | '≤', target: number, value?: number): void => {
    if (value === undefined) return
    const met = comparison === '≥' ? value >= target : value <= target
    targets.push({ what, comparison, target, value: rounded(value)!, met })
  }
  for (const { path, core, load, godwit, vxlan, rfc9305 } of cells) {
    const name = `${path} ${core} ${load}, Godwit / VXLAN`
    const measured = ratio(godwit, vxlan)
    if (load === 'udp64' || load === 'udp1400') add(name, '≥', 1.4, measured)
    else if (core === 'gso') add(name, '≥', 1.0, measured)
    else if (load !== 'udpgso') {
      add(name, '≥', 0.9, measured)
      add(`${name}, both speak RFC 9305`, '≥', 1.1, ratio(rfc9305, vxlan))
    }
  }
  if (scale) {
    const [large, small] = [scale.entries.large, scale.entries.small]
    const what = `CPU per packet, ${large.toLocaleString('en')} map-cache entries / ${small}`
    add(what, '≤', 2, scale.ratio)
  }
  return targets
}

/**
 * `former` with the parts that `measured` has beside the comparison with VXLAN, whose figures are only
 * comparable within one run. Each of these parts says itself of which commit and day it is.
 */
export function mergeResults(former: Results, measured: Results): Results {
  return {
    ...former,
    mobility: measured.mobility ?? former.mobility ?? null,
    evacuation: measured.evacuation ?? former.evacuation ?? null,
    multicast: measured.multicast ?? former.multicast ?? null,
  }
}

/** Four significant digits: more is noise. Null for undefined. */
export function rounded(value: number | undefined): number | null {
  return value === undefined ? null : Number(value.toPrecision(4))
}

function roundedRun<Value extends object>(run: Value): Value {
  return Object.fromEntries(
    Object.entries(run).map(([key, value]) => [
      key,
      typeof value === 'number' && !Number.isInteger(value) ? rounded(value) : value,
    ]),
  ) as Value
}
