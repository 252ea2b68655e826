/**
 * No packet breaks a decoder: a short fuzzing run in every test run, once from a fixed seed and once
 * from a fresh one, which is printed. The long run is `npm run fuzz`. That the judge would notice is
 * shown with mistakes made on purpose.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createCampaign, SLOWEST_MS, shorten, type Target } from './campaign.js'
import { measureCoverage, sumOf } from './coverage.js'
import { describeFinding, runDecoders } from './decoder-run.js'
import { seedOf } from './mutations.js'
import { createChance } from './random-bytes.js'
import { createTargets } from './targets.js'

const FIXED_SEED = 9301
const FIXED_INPUTS = 120_000
const FRESH_CPU_SECONDS = 5
const COVERAGE_INPUTS = 60_000

// Processor time is bounded; on a busy machine the clock runs longer.
t.setTimeout(300_000)

const targets = createTargets()

t.test('what once was a finding stays mended', async (t) => {
  const folder = join(import.meta.dirname, '../../../test/fuzz')
  const regressions = JSON.parse(readFileSync(join(folder, 'regressions.json'), 'utf8')) as {
    target: string
    hex: string
    why: string
  }[]
  const campaign = createCampaign(0)
  for (const { target: name, hex, why } of regressions) {
    const target = targets.find((one) => one.name === name)
    const finding = target && campaign.judge(target, Uint8Array.from(Buffer.from(hex, 'hex')))
    t.ok(target, `${why}: there is a target ${name}`)
    t.equal(finding, undefined, why)
  }
  for (const target of targets)
    for (const seed of target.seeds) t.equal(campaign.judge(target, seed.bytes), undefined)
})

t.test(`${FIXED_INPUTS} inputs from a fixed seed break nothing`, async (t) => {
  const limits = { inputs: FIXED_INPUTS, cpuSeconds: Number.POSITIVE_INFINITY }
  const result = runDecoders(targets, { seed: FIXED_SEED, ...limits })
  for (const finding of result.findings) t.fail(describeFinding(targets, finding, FIXED_SEED))
  t.ok(result.inputs >= FIXED_INPUTS)
  for (const { name, inputs, decoded } of result.perTarget)
    t.ok(decoded / inputs > 0.2, `${name}: ${decoded} of ${inputs} decoded`)
  t.ok(result.heapGrowth < 4_000_000, `memory stays: ${result.heapGrowth} bytes more`)
})

t.test('nor do those from a fresh seed', async (t) => {
  const seed = Math.floor(Date.now() / 1000) % 0x100000000
  t.comment(`fresh seed ${seed}`)
  const limits = { inputs: Number.POSITIVE_INFINITY, cpuSeconds: FRESH_CPU_SECONDS }
  const result = runDecoders(targets, { seed, ...limits })
  for (const finding of result.findings) t.fail(describeFinding(targets, finding, seed))
  t.ok(result.inputs > 0, `seed ${seed}: ${result.inputs} inputs`)
})

t.test('fuzzing alone takes nine of ten branches of the decoders', async (t) => {
  const coverage = measureCoverage(FIXED_SEED, COVERAGE_INPUTS)
  const { branches, taken } = sumOf(coverage)
  t.ok(branches > 400, `${branches} branches in ${coverage.length} files`)
  t.ok(taken / branches >= 0.9, `${taken} of ${branches} branches`)
})

t.test('a case is the same whichever cases came before it', async (t) => {
  const target = targets[0]!
  const one = createCampaign(7)
  const inputs = [5, 6, 5].map((number) => Buffer.from(one.input(target, number)).toString('hex'))
  t.equal(inputs[0], inputs[2])
  t.not(inputs[0], inputs[1])
  t.not(createChance(1, 1).next(), createChance(2, 1).next())
})

/** A length byte and as many bytes; what it does wrong is added by each test. */
const honest: Target<number | string> = {
  name: 'planted',
  weight: 1,
  seeds: [],
  decode(bytes) {
    const length = bytes[0] ?? 0
    if (length + 1 > bytes.length) return 'short'
    let sum = 0
    for (let at = 1; at <= length; at += 1) sum += bytes[at]!
    return sum
  },
  isDecoded: (value) => typeof value === 'number',
}

function findingsOf(wrong: Partial<Target<number | string>>): readonly string[] {
  const planted = { ...honest, ...wrong }
  const original = Uint8Array.of(4, 1, 2, 3, 4)
  const seeds = [seedOf(original, (bytes) => honest.isDecoded(honest.decode(bytes, 0)))]
  const campaign = createCampaign(1)
  const target = { ...planted, seeds } as Target
  campaign.run(target, 0, 600)
  const findings = campaign.tallies.get('planted')!.findings
  for (const finding of findings.slice(0, 1)) {
    const short = shorten(campaign, target, finding)
    if (short.length > finding.hex.length / 2) throw new Error('shortening made it longer')
  }
  return [...new Set(findings.map((finding) => finding.oracle))]
}

t.test('a mistake of every kind is found', async (t) => {
  t.same(findingsOf({}), [], 'none in an honest decoder')
  const throwing = (bytes: Uint8Array) => {
    if (bytes[0] === 5) throw new TypeError('five')
    return honest.decode(bytes, 0)
  }
  t.same(findingsOf({ decode: throwing }), ['throws'])
  const overreading = (bytes: Uint8Array) => {
    const view = new Uint8Array(bytes.buffer)
    const length = view[bytes.byteOffset] ?? 0
    let sum = 0
    for (let at = 1; at <= length; at += 1) sum += view[bytes.byteOffset + at] ?? 0
    return sum
  }
  t.same(findingsOf({ decode: overreading }), ['reads-beyond'])
  const dawdling = (bytes: Uint8Array) => {
    if (bytes[0] === 5) spend(1.5 * SLOWEST_MS)
    return honest.decode(bytes, 0)
  }
  t.same(findingsOf({ decode: dawdling }), ['slow'])
  const forgetful = (value: number | string) => ({
    bytes: Uint8Array.of(1, Number(value)),
    value,
  })
  t.same(findingsOf({ encode: forgetful }), ['not-frozen'], 'a sum of more than 255')
  const writing = (bytes: Uint8Array) => {
    const value = honest.decode(bytes, 0)
    if (bytes.length > 2) bytes[2] = 9
    return value
  }
  t.ok(findingsOf({ decode: writing }).includes('changes-input'))
  const refusing = () => {
    throw new Error('unusable')
  }
  t.same(findingsOf({ use: refusing }), ['use'])
})

/** Uses so much processor time. */
function spend(ms: number): void {
  const from = process.cpuUsage()
  for (;;) {
    const { user, system } = process.cpuUsage(from)
    if (user + system > ms * 1000) return
  }
}
