/**
 * The published page of one run, from its result: counts, the parts of what a migration adds, and each
 * migration with its style. Pure.
 */
import type { MigrateResult, MigrationRow } from './result.js'
import { median } from './rounding.js'

export interface PageFacts {
  readonly machine: string
  readonly command: string
  /** Average load of the last minute before the run, on all cores. */
  readonly loadBefore: number
}

/** Markdown; figures that a run has not measured are dashes. */
export function migrationsPage(result: MigrateResult, about: PageFacts): string {
  return [
    '# Live migration of a real guest',
    '',
    `Written by \`${about.command}\` on ${about.machine}; load before it ${about.loadBefore.toFixed(2)}.`,
    'Two libvirtd in two clouds, a Linux guest under emulation (TCG), numbered streams of 500 packets a second each way in IPv4 and IPv6,',
    'and a checked TCP connection. Migrations go to and fro, direct and p2p, to the destination by IPv4, by IPv6 and by host name.',
    '',
    ...counts(result),
    '',
    `TCP was ${result.tcp.intact ? 'intact' : '**not intact**'}. The guest of the killed libvirtd ran on at ${result.hypervisorKilled?.stayedAt ?? '-'}, the aborted`,
    `one at ${result.aborted?.stayedAt ?? '-'}. Doubled packets are those of the guard before STOP; without the source's daemon nobody names the cut, and the`,
    'whole window is delivered again.',
    '',
    '## What a migration adds, and who',
    '',
    'Added is the longest gap of any stream less the downtime of the guest (STOP to RESUME, by QEMU). The comparison is the same guest,',
    'migrated by the same libvirt to a second hypervisor on the same bridge: no network moves, no agent runs, and its packets wait in its tap,',
    'but its emulator has translated nothing yet. What a migration adds beyond that is its own. Medians, and least to most, in ms:',
    '',
    ...parts(result),
    '',
    '## Each migration',
    '',
    ...each(result.migrations),
    '',
  ].join('\n')
}

function counts(result: MigrateResult): string[] {
  const { migrations } = result
  const sum = (key: 'sent' | 'lost' | 'duplicated' | 'reordered'): number =>
    migrations.reduce((total, one) => total + one[key], 0)
  const downtimes = range(migrations.flatMap(({ vmDowntimeMs }) => vmDowntimeMs ?? []))
  const one = (name: string, row: MigrationRow | null): string =>
    row === null
      ? `| ${name} | - | - | - | - | - | - |`
      : `| ${name} | ${row.sent} | **${row.lost}** | ${row.duplicated} | ${row.reordered} | ${row.vmDowntimeMs ?? '-'} | ${row.addedMs ?? '-'} |`
  const completed = migrations.filter((row) => row.completed).length
  return [
    '| | sent | lost | doubled | reordered | downtime, ms | added, ms |',
    '|---|---|---|---|---|---|---|',
    `| ${completed} of ${migrations.length} live migrations | ${sum('sent')} | **${sum('lost')}** | ${sum('duplicated')} | ${sum('reordered')} | ${downtimes} | ${result.addedMsMedian ?? '-'} (median) |`,
    one('aborted, stays at home', result.aborted),
    one('limited to 20 MiB/s', result.bandwidthLimited),
    one('daemon of the source killed meanwhile', result.sourceDaemonKilled),
    one('libvirtd of the source killed meanwhile', result.hypervisorKilled),
    one('paused guest', result.paused),
  ]
}

function parts({ baseline, besideBaseline, migrations }: MigrateResult): string[] {
  const added = (rows: readonly { readonly addedMs: number | null }[]): number[] =>
    rows.flatMap(({ addedMs }) => addedMs ?? [])
  const beyond = migrations.flatMap(({ addedBeyondWarmUpMs }) => addedBeyondWarmUpMs ?? [])
  const known = migrations.flatMap((row) => row.parts ?? [])
  const line = (name: string, values: readonly number[]): string =>
    `| ${name} | ${median(values) ?? '-'} | ${range(values)} | ${values.length} |`
  return [
    '| added by | median | range | of |',
    '|---|---|---|---|',
    line('stop and continue in place (the emulator keeps its translations)', added(baseline)),
    line('migration beside itself: the warm-up of an emulator', added(besideBaseline)),
    line('**migration between clouds**', added(migrations)),
    line('**… of it beyond the warm-up** (less the median of the warm-up)', beyond),
    '',
    '| of a migration between clouds | to the guest | from the guest |',
    '|---|---|---|',
    ...(
      [
        ['before STOP: the last packet read or sent', 'beforeStopMs'],
        ['network and Godwit: RESUME to the bridge, or bridge to host', 'networkMs'],
        ['the guest, until it reads or sends anything', 'guestMs'],
        ['the guest, reading what the guard delivers twice', 'doubledMs'],
      ] as const
    ).map(([name, key]) => {
      const cell = (way: 'toGuest' | 'fromGuest'): string => {
        const values = known.map((one) => one[way][key])
        return `${median(values) ?? '-'} (${range(values)})`
      }
      return `| ${name} | ${cell('toGuest')} | ${cell('fromGuest')} |`
    }),
  ]
}

function each(migrations: readonly MigrationRow[]): string[] {
  const rows = migrations.map((row, index) => {
    const way = `${row.from} → ${row.to}, ${row.style}, by ${row.by}`
    const { toGuest, fromGuest } = row.gapsMs
    const cells = [row.sent, row.lost, row.duplicated, row.vmDowntimeMs, toGuest, fromGuest]
    const added = [row.addedMs, row.warmUpMs, row.addedBeyondWarmUpMs]
    return `| ${index + 1} | ${way} | ${[...cells, ...added].map((one) => one ?? '-').join(' | ')} |`
  })
  return [
    '| | | sent | lost | doubled | downtime | gap in | gap out | added | warm-up | beyond |',
    '|---|---|---|---|---|---|---|---|---|---|---|',
    ...rows,
  ]
}

function range(values: readonly number[]): string {
  if (values.length === 0) return '-'
  return `${Math.min(...values)} to ${Math.max(...values)}`
}
