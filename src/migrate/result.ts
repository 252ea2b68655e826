/**
 * From migrations and packet records to the line that `npm run migrate -- --json` ends with. Pure.
 *
 * Lost is what was sent in a migration's window and never arrived. A guest that nobody moves pauses
 * too when its hypervisor stops and continues it: that run is the baseline, and `addedMs` of a
 * migration is what its longest gap has beyond the machine's own downtime.
 */
import { computeFigures, type MoveRow } from '../demo/analysis.js'
import type { GapParts } from './gap-parts.js'
import { STREAMS, type TrafficOutcome } from './guest-traffic.js'
import type { PerformedMigration, TimelineEntry } from './migration.js'
import { round } from './rounding.js'

export interface MigrationRow {
  readonly completed: boolean
  readonly from: string
  readonly to: string
  readonly style: string
  /** How the destination was named: by an address of IPv4 or IPv6, or by its host name. */
  readonly by: string
  readonly sent: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
  readonly longestGapMs: number
  /** The longest gap of what the guest received, and of what was received from it. */
  readonly gapsMs: { readonly toGuest: number; readonly fromGuest: number }
  readonly vmDowntimeMs: number | null
  readonly addedMs: number | null
  /** Of it the warm-up of a new emulator, by the median of `besideBaseline`; null without one. */
  readonly warmUpMs: number | null
  readonly addedBeyondWarmUpMs: number | null
  /** What the added is made of; absent without tcpdump, or when the guest did not stop and resume. */
  readonly parts?: Readonly<Record<'toGuest' | 'fromGuest', GapParts>>
  readonly failure?: string
  /** Where the lost ones are, stream by stream; times on the axis of the timeline. */
  readonly lostSpans: readonly LostSpan[]
  readonly timeline: readonly TimelineEntry[]
}

export interface BaselineRow {
  readonly downtimeMs: number
  readonly addedMs: number
}

export interface LostSpan {
  readonly family: string
  readonly direction: string
  readonly packets: number
  /** When the first and the last of them were sent. */
  readonly fromMs: number
  readonly untilMs: number
}

export interface SpecialMigration extends MigrationRow {
  /** Where the guest was found running afterwards. */
  readonly stayedAt: string | undefined
}

export interface MigrateResult {
  readonly migrations: readonly MigrationRow[]
  readonly aborted: SpecialMigration | null
  readonly bandwidthLimited: MigrationRow | null
  readonly sourceDaemonKilled: MigrationRow | null
  /** libvirtd of the source was killed meanwhile, and started again. */
  readonly hypervisorKilled: SpecialMigration | null
  readonly paused: MigrationRow | null
  /** Stopped and continued where it is: nothing moved, no emulator started. */
  readonly baseline: readonly BaselineRow[]
  /** Migrated to a hypervisor on the same bridge: no network moved, but the emulator began anew. */
  readonly besideBaseline: readonly BaselineRow[]
  readonly addedMsMedian: number | null
  readonly baselineAddedMsMedian: number | null
  readonly besideBaselineAddedMsMedian: number | null
  readonly addedBeyondWarmUpMsMedian: number | null
  /** Of `parts`: the larger one of both directions. */
  readonly networkMsMedian: number | null
  readonly tcp: { readonly host: object; readonly guest: object; readonly intact: boolean }
  readonly ok: boolean
}

export interface Window {
  readonly fromMs: number
  readonly untilMs: number
}

/** The figures of each window, over all families and directions. */
export function figuresOf(
  traffic: Pick<TrafficOutcome, 'sent' | 'received'>,
  windows: readonly Window[],
  realtimeMinusMonotonicNs: number,
): MoveRow[][] {
  const monotonic = (wallMs: number): number => wallMs * 1e6 - realtimeMinusMonotonicNs
  const named = windows.map(({ fromMs, untilMs }) => ({
    trigger: 'orchestrated' as const,
    fromNs: monotonic(fromMs),
    untilNs: monotonic(untilMs),
    switchedNs: monotonic(fromMs),
  }))
  const rows = computeFigures(STREAMS, traffic.sent, traffic.received, named).moves
  // Two families each.
  return windows.map((_, index) => rows.slice(index * 2, index * 2 + 2))
}

/** One row from a migration and its window's figures; `warmUpMs` is that of an emulator. */
export function rowOf(
  migration: PerformedMigration,
  figures: readonly MoveRow[],
  warmUpMs: number | null,
  lostSpans: readonly LostSpan[],
  parts?: MigrationRow['parts'],
): MigrationRow {
  const sum = (key: 'sent' | 'lost' | 'duplicated' | 'reordered'): number =>
    figures.reduce((total, row) => total + row[key], 0)
  const longestGapMs = Math.max(0, ...figures.map((row) => row.longestGapMs))
  const gap = (direction: 'toEndpoint' | 'fromEndpoint'): number =>
    Math.max(0, ...figures.map(({ perDirection }) => perDirection[direction].longestGapMs))
  const { vmDowntimeMs, failure } = migration
  const addedMs = vmDowntimeMs === null ? null : round(longestGapMs - vmDowntimeMs)
  const beyond = addedMs === null || warmUpMs === null ? null : round(addedMs - warmUpMs)
  return {
    completed: migration.completed,
    from: migration.from,
    to: migration.to,
    style: migration.style.driver,
    by: migration.style.by,
    sent: sum('sent'),
    lost: sum('lost'),
    duplicated: sum('duplicated'),
    reordered: sum('reordered'),
    longestGapMs,
    gapsMs: { toGuest: gap('toEndpoint'), fromGuest: gap('fromEndpoint') },
    vmDowntimeMs,
    addedMs,
    warmUpMs,
    addedBeyondWarmUpMs: beyond,
    ...(parts === undefined ? {} : { parts }),
    ...(failure === undefined ? {} : { failure }),
    lostSpans,
    timeline: migration.timeline,
  }
}

/**
 * What was sent in the window and never arrived, in spans of one stream that no packet interrupts
 * for longer than SPAN_GAP_MS; at most MAXIMUM_SPANS. Times relative to `originMs`.
 */
export function lostSpansOf(
  traffic: Pick<TrafficOutcome, 'sent' | 'received'>,
  { fromMs, untilMs }: Window,
  realtimeMinusMonotonicNs: number,
  originMs: number,
): LostSpan[] {
  const wall = (ns: number): number => (ns + realtimeMinusMonotonicNs) / 1e6
  return STREAMS.flatMap(({ id, family, direction }) => {
    const arrived = new Set<number>()
    for (const one of traffic.received) if (one.stream === id) arrived.add(one.sequence)
    const spans: { packets: number; fromMs: number; untilMs: number }[] = []
    for (const { stream, sequence, sentNs } of traffic.sent) {
      const atMs = wall(sentNs)
      if (stream !== id || atMs < fromMs || atMs >= untilMs || arrived.has(sequence)) continue
      const afterMs = round(atMs - originMs)
      const last = spans.at(-1)
      if (last === undefined || afterMs - last.untilMs > SPAN_GAP_MS)
        spans.push({ packets: 1, fromMs: afterMs, untilMs: afterMs })
      else Object.assign(last, { packets: last.packets + 1, untilMs: afterMs })
    }
    return spans.slice(0, MAXIMUM_SPANS).map((span) => ({ family, direction, ...span }))
  })
}

/** Whether what was promised was kept, and each way in which it was not. */
export function judgeMigrations(
  result: Omit<MigrateResult, 'ok'>,
  expected: number,
): { readonly ok: boolean; readonly reasons: readonly string[] } {
  const reasons: string[] = []
  const { migrations, aborted, tcp } = result
  const completed = migrations.filter((one) => one.completed)
  if (completed.length < expected) reasons.push(`${completed.length} of ${expected} completed`)
  const others = [result.bandwidthLimited, result.sourceDaemonKilled, result.paused]
  const special = others.filter((one): one is MigrationRow => one !== null)
  for (const [index, one] of [...migrations, ...special].entries()) {
    if (one.completed && one.lost > 0)
      reasons.push(`migration ${index + 1} lost ${one.lost} packets`)
  }
  for (const one of special) if (!one.completed) reasons.push(`a migration failed: ${one.failure}`)
  if (aborted?.completed) reasons.push('the migration that was to be aborted was completed')
  if (aborted && aborted.stayedAt !== aborted.from) reasons.push('the aborted one did not stay')
  if (aborted && aborted.lost > 0) reasons.push(`the aborted one lost ${aborted.lost} packets`)
  const { hypervisorKilled: orphan } = result
  if (orphan && orphan.stayedAt === undefined)
    reasons.push('the guest of a killed libvirtd is gone')
  if (orphan && orphan.lost > 0) reasons.push(`the guest of a killed libvirtd lost ${orphan.lost}`)
  if (!tcp.intact) reasons.push('the TCP connection is not intact')
  return { ok: reasons.length === 0, reasons }
}

const SPAN_GAP_MS = 50
const MAXIMUM_SPANS = 8
