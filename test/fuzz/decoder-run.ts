/**
 * A run over all decoders: how many inputs each gets, how many were decoded, how fast, and whether
 * memory stays where it was.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Campaign, createCampaign, type Finding, shorten, type Target } from './campaign.js'

export interface RunOptions {
  readonly seed: number
  /** In all; the run ends at the first limit that is reached. */
  readonly inputs: number
  readonly cpuSeconds: number
  readonly progress?: (inputs: number) => void
}

export interface RunResult {
  readonly inputs: number
  readonly decoded: number
  readonly cpuSeconds: number
  /** Bytes of heap that the second half of the run has added, garbage collected. */
  readonly heapGrowth: number
  readonly perTarget: readonly {
    readonly name: string
    readonly inputs: number
    readonly decoded: number
    readonly slowestMs: number
  }[]
  readonly findings: readonly Finding[]
}

/** Cases of one target between two looks at the clock, times its weight. */
const BLOCK = 500

export function runDecoders(targets: readonly Target[], options: RunOptions): RunResult {
  const campaign = createCampaign(options.seed)
  const collect = garbageCollector()
  const started = process.cpuUsage()
  const spent = () => {
    const { user, system } = process.cpuUsage(started)
    return (user + system) / 1e6
  }
  let inputs = 0
  let from = 0
  let heapAtHalf = 0
  while (inputs < options.inputs && spent() < options.cpuSeconds) {
    for (const target of targets) {
      const begin = from * target.weight
      const until = (from + BLOCK) * target.weight
      campaign.run(target, begin, until)
      inputs += until - begin
    }
    from += BLOCK
    options.progress?.(inputs)
    const isHalf = inputs * 2 >= options.inputs || spent() * 2 >= options.cpuSeconds
    if (heapAtHalf === 0 && isHalf) heapAtHalf = collect()
  }
  const perTarget = targets.map(({ name }) => {
    const tally = campaign.tallies.get(name)
    const { decoded = 0, slowestMs = 0 } = tally ?? {}
    return { name, inputs: tally?.inputs ?? 0, decoded, slowestMs }
  })
  return {
    inputs,
    decoded: perTarget.reduce((sum, one) => sum + one.decoded, 0),
    cpuSeconds: spent(),
    heapGrowth: collect() - heapAtHalf,
    perTarget,
    findings: [...campaign.tallies.values()].flatMap((tally) => tally.findings),
  }
}

/** What a person needs to see a finding again and to keep it as a vector. */
export function describeFinding(
  targets: readonly Target[],
  finding: Finding,
  seed: number,
): string {
  const target = targets.find((one) => one.name === finding.target)
  const campaign: Campaign = createCampaign(seed)
  const short = target === undefined ? undefined : shorten(campaign, target, finding)
  return [
    `${finding.target}: ${finding.oracle}: ${finding.detail}`,
    `  replay: npm run fuzz -- --target ${finding.target} --seed ${seed} --case ${finding.caseNumber}`,
    `  input: ${finding.hex}`,
    `  shortened: ${short === undefined ? '-' : Buffer.from(short).toString('hex')}`,
  ].join('\n')
}

/** Collects and returns the bytes in use; works without a flag on the command line. */
function garbageCollector(): () => number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  return () => {
    collect()
    return process.memoryUsage().heapUsed
  }
}
