/**
 * The long attack: a million damaged packets each on a live Map-Server and a live xTR of a lab, beside
 * a clean client (test/e2e/attack.test.ts is the short form). `npm run attack -- …`:
 *
 * - nothing: both, one after the other; `--target map-server|xtr`: only this one;
 * - `--packets N`, `--rate N` a second, `--seed N`;
 * - `--json FILE`: the figures are kept there, each target's beside the other's;
 * - `--report FILE`: those figures as a document.
 *
 * Exit code 1 when a clean client suffered, memory grew or a bad packet cost more than a good one.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { renewResultsPage } from '../bench/results-page.js'
import { objectionsTo } from '../test/hostile/attack-limits.js'
import { attackReport, type KeptRun } from '../test/hostile/attack-report.js'
import { type AttackFigures, attack, startBattlefield } from '../test/hostile/attack-run.js'

const { values } = parseArgs({
  options: {
    target: { type: 'string' },
    packets: { type: 'string', default: '1000000' },
    rate: { type: 'string', default: '10000' },
    seed: { type: 'string' },
    json: { type: 'string' },
    report: { type: 'string' },
  },
})
const KINDS = ['map-server', 'xtr'] as const

const seed = Number(values.seed ?? Math.floor(Date.now() / 1000) % 0x10000)
const kinds = KINDS.filter((kind) => values.target === undefined || values.target === kind)
const [packets, perSecond] = [Number(values.packets), Number(values.rate)]
if (!(packets > 0 && perSecond > 0 && kinds.length > 0)) throw new RangeError('see the header')
const runs: KeptRun[] = []
let isWell = true

for (const kind of kinds) {
  const endings: (() => Promise<void>)[] = []
  try {
    say(`${packets} packets on the ${kind}, ${perSecond} a second, seed ${seed}`)
    const lab = await startBattlefield({ teardown: (end) => endings.push(end) }, 'gwatkl')
    await lab.run('host1', 'ping', '-c', '2', '-i', '0.2', '-q', '10.10.0.5')
    const figures = await attack(lab, kind, { packets, perSecond, goodPackets: 20_000, seed })
    say(JSON.stringify(figures, undefined, 1))
    runs.push({ ...circumstances(), perSecond, seed, figures })
    isWell = judged(figures) && isWell
  } finally {
    for (const end of endings.reverse()) await end()
  }
}
if (values.json !== undefined) keep(values.json)
process.exitCode = isWell ? 0 : 1

function judged(figures: AttackFigures): boolean {
  const objections = objectionsTo(figures)
  for (const objection of objections) say(`NOT WELL: ${objection}`)
  if (objections.length === 0) say(`${figures.kind}: unharmed`)
  return objections.length === 0
}

function keep(file: string): void {
  const former = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as KeptRun[]) : []
  const others = former.filter(
    ({ figures }) => !runs.some((one) => one.figures.kind === figures.kind),
  )
  const all = [...others, ...runs].sort((a, b) => a.figures.kind.localeCompare(b.figures.kind))
  writeFileSync(file, `${JSON.stringify(all, undefined, 2)}\n`)
  if (values.report !== undefined) writeFileSync(values.report, attackReport(all))
  renewResultsPage(file)
}

function circumstances(): Pick<KeptRun, 'machine' | 'commit' | 'load'> {
  const [processor] = cpus()
  return {
    machine: `${cpus().length} × ${processor?.model ?? 'unknown'}, Node ${process.version}`,
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    load: Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]),
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
