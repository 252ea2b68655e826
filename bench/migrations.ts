/**
 * `node dist/bench/migrations.js DIRECTORY`: keeps the figures that `npm run migrate -- --out DIRECTORY`
 * has left there as bench/migrations.json, and shows them in bench/results.md. Only counts and medians
 * are kept; the pages of words about them are written by people.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { packageFile } from '../src/lab/names.js'
import type { MigrateResult, MigrationRow } from '../src/migrate/result.js'
import { describeMachine, type Machine } from './machine.js'
import { renewResultsPage } from './results-page.js'

export interface KeptMigrations extends Machine {
  readonly date: string
  /** Of the machine in the last 15 minutes. */
  readonly load: number
  readonly tcpIntact: boolean
  readonly rows: readonly KeptMigrationRow[]
}

export interface KeptMigrationRow {
  readonly what: string
  readonly count: number
  readonly completed: number
  readonly sent: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
  /** Of the guest, median; null when it never stood still. */
  readonly downtimeMs: number | null
}

/** One row for the plain migrations together, one for each special one that was made. */
export function migrationRows(result: MigrateResult): KeptMigrationRow[] {
  const special: [string, MigrationRow | null | undefined][] = [
    ['aborted, stays at home', result.aborted],
    ['limited in bandwidth', result.bandwidthLimited],
    ['daemon of the source killed meanwhile', result.sourceDaemonKilled],
    ['libvirtd of the source killed meanwhile', result.hypervisorKilled],
    ['paused guest', result.paused],
  ]
  return [
    rowOf('prepared, live', result.migrations),
    ...special.flatMap(([what, one]) => (one ? [rowOf(what, [one])] : [])),
  ]
}

function rowOf(what: string, all: readonly MigrationRow[]): KeptMigrationRow {
  const sum = (key: 'sent' | 'lost' | 'duplicated' | 'reordered'): number =>
    all.reduce((total, row) => total + row[key], 0)
  const downtimes = all.flatMap(({ vmDowntimeMs }) => vmDowntimeMs ?? []).sort((a, b) => a - b)
  const median = downtimes[Math.floor(downtimes.length / 2)]
  return {
    what,
    count: all.length,
    completed: all.filter(({ completed }) => completed).length,
    sent: sum('sent'),
    lost: sum('lost'),
    duplicated: sum('duplicated'),
    reordered: sum('reordered'),
    downtimeMs: median === undefined ? null : Math.round(median),
  }
}

if (process.argv[1] === import.meta.filename) {
  const result = JSON.parse(
    readFileSync(join(process.argv[2] ?? '.', 'result.json'), 'utf8'),
  ) as MigrateResult
  const kept: KeptMigrations = {
    ...describeMachine(),
    date: new Date().toISOString().slice(0, 10),
    load: Number((loadavg()[2] ?? 0).toFixed(1)),
    tcpIntact: result.tcp.intact,
    rows: migrationRows(result),
  }
  const file = packageFile('bench', 'migrations.json')
  writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`)
  renewResultsPage(file)
}
