/** The figures of long attacks as a document: bench/attack.md. */
import type { AttackFigures } from './attack-run.js'

export interface KeptRun {
  readonly machine: string
  readonly commit: string
  /** Load of the machine (one minute) when the attack had ended. */
  readonly load: number
  readonly perSecond: number
  readonly seed: number
  readonly figures: AttackFigures
}

export function attackReport(runs: readonly KeptRun[]): string {
  const [first] = runs
  const row = (name: string, cell: (run: KeptRun) => string): string =>
    `| ${name} | ${runs.map(cell).join(' | ')} |`
  const ms = (value: number): string => `${value.toFixed(1)} ms`
  return `# A million bad packets

\`npm run attack\` sends damaged copies of real messages from ${SOURCES} addresses to one daemon of the lab
\`two-clouds\`, at an even rate: half are about this very network, a third of the encapsulated ones have
their checksums put right, a quarter of what carries authentication data is signed again (at the
Map-Server one half of those with the key of a site, so that they are genuine). A clean client beside
it asks 25 times a second, and at the Map-Server registers 20 prefixes each second; every answer is
compared with what it must say. Then good questions come at the same rate, each of which is answered.
Processor time is that of the daemon's process, all threads, less what the clean client alone costs.
Attacker, clean client and daemons share the machine, the daemon and the clean client before the others${first === undefined ? '' : `: ${first.machine}`}.

| | ${runs.map(({ figures }) => figures.kind).join(' | ')} |
|---|${runs.map(() => '---').join('|')}|
${[
  row('commit', ({ commit }) => commit),
  row('seed', ({ seed }) => `${seed}`),
  row('load of the machine meanwhile', ({ load }) => `${load}`),
  row('packets sent', ({ figures }) => `${figures.sent}`),
  row('read by the daemon, with the clean client’s', ({ figures }) => `${figures.received}`),
  row('dropped unread', ({ figures }) => `${figures.dropped}`),
  row('seconds', ({ figures }) => figures.seconds.toFixed(0)),
  row(
    'clean questions, answered rightly',
    ({ figures: { clean } }) => `${clean.asked}, ${clean.answered - clean.wrong.length}`,
  ),
  row(
    'clean registers, acknowledged',
    ({ figures: { clean } }) => `${clean.registers}, ${clean.acknowledged}`,
  ),
  row(
    'clean answer: median, 99 %, longest',
    ({ figures: { clean } }) => `${ms(clean.p50)}, ${ms(clean.p99)}, ${ms(clean.longest)}`,
  ),
  row(
    'the same before the attack',
    ({ figures: { quiet } }) => `${ms(quiet.p50)}, ${ms(quiet.p99)}, ${ms(quiet.longest)}`,
  ),
  row(
    'the daemon waited for a processor',
    ({ figures }) => `${figures.waitedSeconds.toFixed(1)} s`,
  ),
  row(
    'processor time of a bad packet',
    ({ figures }) => `${figures.badMicroseconds.toFixed(1)} µs`,
  ),
  row(
    'processor time of a good packet',
    ({ figures }) => `${figures.goodMicroseconds.toFixed(1)} µs`,
  ),
  row('resident memory: before, after a tenth, at the end', ({ figures }) =>
    figures.megabytes.map((one) => `${one} MB`).join(', '),
  ),
  row('tables at the end', ({ figures }) => tablesOf(figures)),
].join('\n')}

What became of them, the most frequent (counters of the daemon, an event each):

${runs.map(countersOf).join('\n')}`
}

function tablesOf({ sizes }: AttackFigures): string {
  return Object.entries(sizes)
    .filter(([, size]) => size > 0)
    .map(
      ([name, size]) => `${name.replace(/^godwit_|_entries$/g, '').replaceAll('_', '-')} ${size}`,
    )
    .join(', ')
}

function countersOf({ figures: { kind, counted } }: KeptRun): string {
  const rows = counted
    .filter(([name]) => !name.includes('datapath'))
    .slice(0, 20)
    .map(([name, count]) => `| \`${name}\` | ${count} |`)
  return `| ${kind} | |\n|---|---|\n${rows.join('\n')}\n`
}

const SOURCES = 252
