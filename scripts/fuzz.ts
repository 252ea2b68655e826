/**
 * The long fuzzing run, and the replay of one case. `npm run fuzz -- …`:
 *
 * - nothing: ten million inputs to the decoders, then the coverage of a shorter run;
 * - `--inputs N`, `--seconds S` of processor time: less or more; `--seed N`: from this seed (else
 *   one made from the time of day); `--target NAME`: only this decoder;
 * - `--target NAME --seed N --case M`: one input, what it is and what comes out;
 * - `--native [--seconds S]`: the datapath and the addon's C under sanitizers instead, S each;
 * - `--report FILE.md`: everything, and the figures as a document and, beside it, as FILE.json;
 *   `--native-seconds S` for its native part.
 *
 * Exit code 1 when anything was found.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { describeMachine } from '../bench/machine.js'
import { renewResultsPage } from '../bench/results-page.js'
import { createCampaign } from '../test/fuzz/campaign.js'
import { type FileCoverage, measureCoverage } from '../test/fuzz/coverage.js'
import { describeFinding, type RunResult, runDecoders } from '../test/fuzz/decoder-run.js'
import { fuzzReport, keptFigures } from '../test/fuzz/fuzz-report.js'
import {
  buildHarnesses,
  HARNESSES,
  type NativeRun,
  runAddonSanitized,
  runHarness,
} from '../test/fuzz/native-run.js'
import { createTargets } from '../test/fuzz/targets.js'

const LONG_RUN = 10_000_000
const COVERAGE_RUN = 1_000_000
const NATIVE_SECONDS = 120

const { values } = parseArgs({
  options: {
    inputs: { type: 'string' },
    seconds: { type: 'string' },
    seed: { type: 'string' },
    case: { type: 'string' },
    target: { type: 'string' },
    native: { type: 'boolean', default: false },
    'native-seconds': { type: 'string' },
    report: { type: 'string' },
    'no-coverage': { type: 'boolean', default: false },
  },
})

process.exitCode = main()

function main(): number {
  const seed = number('seed') ?? Math.floor(Date.now() / 1000) % 0x100000000
  const caseNumber = number('case')
  if (caseNumber !== undefined) return replay(seed, caseNumber)
  if (values.native) {
    const failures = native().filter((run) => run.failed).length
    const addon = runAddonSanitized()
    say(addon === undefined ? 'addon under AddressSanitizer: its tests pass' : addon)
    return failures > 0 || addon !== undefined ? 1 : 0
  }
  const result = decoders(seed)
  if (values['no-coverage'] || values.target !== undefined) return failed(result)
  const coverage = cover(seed)
  if (values.report === undefined) return failed(result)
  const runs = native()
  const kept = keptFigures({ seed, result, coverage, runs }, describeMachine())
  const file = values.report.replace(/\.md$/, '.json')
  writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`)
  writeFileSync(values.report, fuzzReport(kept))
  renewResultsPage(file)
  say(`written: ${values.report}`)
  return failed(result) || runs.some((run) => run.failed) ? 1 : 0
}

function decoders(seed: number): RunResult {
  const targets = wanted()
  const inputs = number('inputs') ?? LONG_RUN
  const cpuSeconds = number('seconds') ?? Number.POSITIVE_INFINITY
  say(`seed ${seed}`)
  let said = 0
  const progress = (done: number) => {
    if (done - said < 1_000_000) return
    said = done
    say(`${done} inputs`)
  }
  const result = runDecoders(targets, { seed, inputs, cpuSeconds, progress })
  for (const { name, inputs: given, decoded, slowestMs } of result.perTarget) {
    const share = ((100 * decoded) / Math.max(given, 1)).toFixed(0)
    say(`${name}: ${given} inputs, ${share} % decoded, slowest ${slowestMs.toFixed(2)} ms`)
  }
  const rate = Math.round(result.inputs / result.cpuSeconds)
  say(`${result.inputs} inputs in ${result.cpuSeconds.toFixed(0)} s of processor, ${rate} a second`)
  say(`heap after collection: ${Math.round(result.heapGrowth / 1024)} KB more than at half time`)
  for (const finding of result.findings) say(describeFinding(targets, finding, seed))
  return result
}

function failed(result: RunResult): number {
  return result.findings.length > 0 ? 1 : 0
}

function cover(seed: number): FileCoverage[] {
  const coverage = measureCoverage(seed, Math.min(number('inputs') ?? COVERAGE_RUN, COVERAGE_RUN))
  for (const { file, branches, taken, missed } of coverage) {
    say(`${file}: ${taken} of ${branches} branches`)
    for (const branch of missed) say(`  not taken: ${branch}`)
  }
  return coverage
}

function native(): NativeRun[] {
  const missing = buildHarnesses()
  if (missing !== undefined) {
    say(`native fuzzing left out: ${missing}`)
    return []
  }
  return HARNESSES.map((name) => {
    const seconds = number('native-seconds') ?? number('seconds') ?? NATIVE_SECONDS
    const run = runHarness(name, seconds, number('seed') ?? 0)
    say(`${name}: ${run.inputs} inputs, ${run.edges} edges${run.failed ? ': FAILED' : ''}`)
    if (run.failed) say(run.output)
    return run
  })
}

function replay(seed: number, caseNumber: number): number {
  const campaign = createCampaign(seed)
  let found = 0
  for (const target of wanted()) {
    const input = campaign.input(target, caseNumber)
    say(`${target.name}: ${Buffer.from(input).toString('hex')}`)
    const finding = campaign.judge(target, input)
    if (finding !== undefined) found += 1
    say(
      finding === undefined
        ? inspect(target.decode(input, 0))
        : `${finding.oracle}: ${finding.detail}`,
    )
  }
  return found > 0 ? 1 : 0
}

function wanted() {
  const targets = createTargets()
  if (values.target === undefined) return targets
  const chosen = targets.filter((target) => target.name === values.target)
  if (chosen.length > 0) return chosen
  throw new RangeError(`no target ${values.target}: ${targets.map((one) => one.name).join(', ')}`)
}

function inspect(value: unknown): string {
  return JSON.stringify(value, (_, field) => (typeof field === 'bigint' ? `${field}` : field))
}

function number(
  name: 'inputs' | 'seconds' | 'native-seconds' | 'seed' | 'case',
): number | undefined {
  const text = values[name]
  if (text === undefined) return undefined
  const value = Number(text)
  if (!Number.isFinite(value) || value < 0) throw new RangeError(`--${name} wants a number`)
  return value
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
