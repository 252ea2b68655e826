/**
 * The figures of the measurements that have commands of their own, as sections of bench/results.md.
 * Each is made of the file that its command has left in bench/; one that never ran has no section.
 * Pure.
 */
import type { MulticastResult } from '../src/sim/multicast-run.js'
import type { KeptFuzz } from '../test/fuzz/fuzz-report.js'
import type { KeptRun } from '../test/hostile/attack-report.js'
import type { KeptMigrations } from './migrations.js'
import type { ScaleReport } from './sim/report.js'

/** bench/soak.json: `npm run soak -- --write`. */
export interface KeptSoak extends Circumstances {
  readonly minutes: number
  readonly firstSeed: number
  readonly seeds: number
  /** The first seed with which an invariant did not hold. */
  readonly failedSeed: number | null
}

/** bench/multicast-sim.json: `node dist/bench/multicast-sim.js`. */
export interface KeptMulticast extends Circumstances {
  readonly rows: readonly MulticastResult[]
}

/** What other commands than `npm run bench` have left; undefined: never measured. */
export interface Elsewhere {
  readonly migrations: KeptMigrations | undefined
  readonly scale: ScaleReport | undefined
  readonly soak: KeptSoak | undefined
  readonly attack: readonly KeptRun[] | undefined
  readonly fuzz: KeptFuzz | undefined
  readonly 'multicast-sim': KeptMulticast | undefined
}

interface Circumstances {
  readonly machine: string
  readonly commit: string
  readonly date?: string
}

/** Lines of Markdown, a section for each measurement that there is. */
export function elsewhereMarkdown(kept: Elsewhere): string[] {
  return [
    ...(kept.migrations ? migrations(kept.migrations) : []),
    ...(kept.scale ? scale(kept.scale) : []),
    ...(kept.soak ? soak(kept.soak) : []),
    ...(kept.attack?.length ? attack(kept.attack) : []),
    ...(kept.fuzz ? fuzz(kept.fuzz) : []),
    ...(kept['multicast-sim'] ? multicast(kept['multicast-sim']) : []),
  ]
}

function migrations({ rows, tcpIntact, load, ...where }: KeptMigrations): string[] {
  const busy = load > 1 ? [`The machine was busy with other work (load ${load}).`] : []
  return section(
    'A real guest migrates',
    [source('npm run migrate', where, 'migrations.md'), ...busy],
    ['migrations', 'completed', 'sent', 'lost', 'doubled', 'reordered', 'downtime ms, median'],
    rows.map((row) => [
      row.what,
      `${row.completed} of ${row.count}`,
      count(row.sent),
      count(row.lost),
      count(row.duplicated),
      count(row.reordered),
      row.downtimeMs === null ? '-' : String(row.downtimeMs),
    ]),
    [`TCP connection ${tcpIntact ? 'intact' : '**not intact**'}.`],
  )
}

function scale(report: ScaleReport): string[] {
  return section(
    'From 10 to 1,000 sites in virtual time',
    [
      source('npm run scale', report, 'scale.md'),
      `${report.eids} EIDs a site, ${100 * report.loss} % of the packets lost.`,
    ],
    ['sites', 'moves', 'converged ms: p50', 'p99', 'messages per move', 'invariants'],
    report.rows.map((row) => [
      count(row.sites),
      count(row.moves),
      String(row.convergenceMs.p50),
      String(row.convergenceMs.p99),
      String(row.messagesPerMoveTotal),
      row.ok ? 'hold' : '**violated**',
    ]),
  )
}

function soak(kept: KeptSoak): string[] {
  const { failedSeed, seeds, firstSeed, minutes } = kept
  return section(
    'Fresh seeds of the swarm',
    [source('npm run soak -- --write', kept)],
    ['minutes', 'seeds', 'from', 'invariants'],
    [
      [
        String(minutes),
        count(seeds),
        String(firstSeed),
        failedSeed === null ? 'hold' : `**violated by ${failedSeed}**`,
      ],
    ],
  )
}

function attack(runs: readonly KeptRun[]): string[] {
  const [first] = runs as readonly [KeptRun]
  return section(
    'Damaged packets on a live daemon',
    [source('npm run attack', first, 'attack.md')],
    ['daemon', 'packets', 'clean questions, answered rightly', 'CPU µs: bad, good packet', 'MB'],
    runs.map(({ figures }) => [
      figures.kind,
      count(figures.sent),
      `${figures.clean.asked}, ${figures.clean.answered - figures.clean.wrong.length}`,
      `${figures.badMicroseconds.toFixed(1)}, ${figures.goodMicroseconds.toFixed(1)}`,
      figures.megabytes.join(', '),
    ]),
    ['MB: resident before, after a tenth and at the end.'],
  )
}

function fuzz(kept: KeptFuzz): string[] {
  const natives = kept.natives.map(({ harness, inputs, failed }) => [
    `${harness} (sanitized C)`,
    count(inputs),
    '-',
    failed ? '**failed**' : '0',
  ])
  return section(
    'Fuzzing',
    [
      source('npm run fuzz -- --report bench/fuzz.md', kept, 'fuzz.md'),
      `Branches of the decoders taken by fuzzing alone: ${kept.branchesPercent} %.`,
    ],
    ['what', 'inputs', 'decoded', 'findings'],
    [
      ['all decoders', count(kept.inputs), `${kept.decodedPercent} %`, count(kept.findings)],
      ...natives,
    ],
  )
}

function multicast(kept: KeptMulticast): string[] {
  return section(
    'Joins among 10 to 500 receiver sites in virtual time',
    [source('node dist/bench/multicast-sim.js', kept, 'multicast-sim.md')],
    [
      'sites',
      'expected packets',
      'lost',
      'doubled',
      'foreign',
      'join to first packet ms: p50, max',
    ],
    kept.rows.map((row) => [
      count(row.sites),
      count(row.expected),
      count(row.lost),
      count(row.duplicated),
      count(row.wrongSource),
      `${row.joinToFirstPacketMs.p50}, ${row.joinToFirstPacketMs.max}`,
    ]),
  )
}

function section(
  title: string,
  words: readonly string[],
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  after: readonly string[] = [],
): string[] {
  return [
    `## ${title}`,
    '',
    ...words,
    '',
    `| ${heads.join(' | ')} |`,
    `|${'---|'.repeat(heads.length)}`,
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
    '',
    ...(after.length > 0 ? [...after, ''] : []),
  ]
}

function source(command: string, { machine, commit, date }: Circumstances, page?: string): string {
  const day = date === undefined ? '' : `, ${date}`
  const more = page === undefined ? '' : ` ([more](${page}))`
  return `\`${command}\`${more}: ${machine}, commit ${commit}${day}.`
}

function count(value: number): string {
  return value.toLocaleString('en')
}
