/**
 * From what was done and what became of every packet to the result of a run. Pure.
 *
 * Each migration and each pause has a window of its own: what was sent in it is counted to it.
 */
import type { PacketRecord } from '../demo/records.js'
import type { Stay } from './baseline.js'
import { gapParts } from './gap-parts.js'
import type { TrafficOutcome } from './guest-traffic.js'
import type { PerformedMigration } from './migration.js'
import {
  type BaselineRow,
  figuresOf,
  lostSpansOf,
  type MigrateResult,
  type MigrationRow,
  rowOf,
} from './result.js'
import { median, round } from './rounding.js'

export interface SpecialMigrations {
  readonly aborted: PerformedMigration
  readonly limited: PerformedMigration
  readonly killed: PerformedMigration
  readonly orphaned: PerformedMigration
  readonly paused: PerformedMigration
  /** Where the guest was found running after the aborted one. */
  readonly abortedStayedAt: string | undefined
  /** The same after the one whose libvirtd was killed. */
  readonly orphanedStayedAt: string | undefined
}

export interface PerformedRun {
  readonly plain: readonly PerformedMigration[]
  readonly specials: SpecialMigrations | undefined
  readonly stays: readonly Stay[]
  /** When the last migration had settled; wall clock. */
  readonly endMs: number
  readonly outcome: TrafficOutcome
  /** By cloud, what passed its bridge; empty without a capture. */
  readonly bridges: Readonly<Record<string, readonly PacketRecord[]>>
  /** Wall clock less CLOCK_MONOTONIC. */
  readonly offsetNs: number
}

/** All figures of a run; what they are worth is for judgeMigrations to say. */
export function evaluate(run: PerformedRun): Omit<MigrateResult, 'ok'> {
  const { plain, specials, outcome } = run
  const others = specials
    ? [specials.aborted, specials.limited, specials.killed, specials.orphaned, specials.paused]
    : []
  const [baseline, besideBaseline] = [baselineOf(run, 'in-place'), baselineOf(run, 'beside')]
  const addedOf = (list: readonly { readonly addedMs: number | null }[]): number | null =>
    median(list.flatMap(({ addedMs }) => addedMs ?? []))
  const warmUpMs = addedOf(besideBaseline)
  const rows = rowsOf(run, [...plain, ...others], warmUpMs)
  const special = rows.slice(plain.length)
  const [aborted = null, limited = null, killed = null, orphaned = null, paused = null] = special
  const migrations = rows.slice(0, plain.length)
  const { host, guest } = outcome.tcp
  const intact = host.complete && guest.complete && host.corrupt + guest.corrupt === 0
  return {
    migrations,
    aborted: aborted && { ...aborted, stayedAt: specials?.abortedStayedAt },
    bandwidthLimited: limited,
    sourceDaemonKilled: killed,
    hypervisorKilled: orphaned && { ...orphaned, stayedAt: specials?.orphanedStayedAt },
    paused,
    baseline,
    besideBaseline,
    addedMsMedian: addedOf(migrations),
    baselineAddedMsMedian: addedOf(baseline),
    besideBaselineAddedMsMedian: warmUpMs,
    addedBeyondWarmUpMsMedian: median(
      migrations.flatMap(({ addedBeyondWarmUpMs }) => addedBeyondWarmUpMs ?? []),
    ),
    networkMsMedian: median(
      migrations.flatMap(({ parts }) =>
        parts ? [Math.max(parts.toGuest.networkMs, parts.fromGuest.networkMs)] : [],
      ),
    ),
    tcp: { ...outcome.tcp, intact },
  }
}

function rowsOf(
  run: PerformedRun,
  all: readonly PerformedMigration[],
  warmUpMs: number | null,
): MigrationRow[] {
  const { outcome, offsetNs, endMs } = run
  const windows = all.map(({ requestedAtMs }, index) => ({
    fromMs: requestedAtMs,
    untilMs: all[index + 1]?.requestedAtMs ?? endMs,
  }))
  const figures = figuresOf(outcome, windows, offsetNs)
  return all.map((one, index) => {
    const originMs = one.resumedAtMs ?? one.requestedAtMs
    const spans = lostSpansOf(outcome, windows[index]!, offsetNs, originMs)
    return rowOf(one, figures[index]!, warmUpMs, spans, partsOf(run, one))
  })
}

function baselineOf({ stays, outcome, offsetNs }: PerformedRun, kind: Stay['kind']): BaselineRow[] {
  const mine = stays.filter((stay) => stay.kind === kind)
  const windows = mine.map(({ atMs, endMs }) => ({ fromMs: atMs, untilMs: endMs }))
  const figures = figuresOf(outcome, windows, offsetNs)
  return mine.map(({ downtimeMs }, index) => {
    const gap = Math.max(...figures[index]!.map(({ longestGapMs }) => longestGapMs))
    return { downtimeMs, addedMs: round(gap - downtimeMs) }
  })
}

function partsOf(
  { outcome, bridges, offsetNs }: PerformedRun,
  { to, resumedAtMs, vmDowntimeMs }: PerformedMigration,
): MigrationRow['parts'] {
  const bridged = bridges[to]
  if (resumedAtMs === undefined || vmDowntimeMs === null || bridged === undefined) return undefined
  const resumeNs = resumedAtMs * 1e6 - offsetNs
  const bounds = { resumeNs, stopNs: resumeNs - vmDowntimeMs * 1e6 }
  const toGuest = gapParts('toEndpoint', outcome.received, bridged, bounds)
  const fromGuest = gapParts('fromEndpoint', outcome.received, bridged, bounds)
  return toGuest && fromGuest && { toGuest, fromGuest }
}
