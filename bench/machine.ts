/**
 * What the figures were measured on: machine, kernel, commit, and whether it was quiet.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { packageFile } from '../src/lab/names.js'

export interface Machine {
  readonly machine: string
  readonly kernel: string
  readonly commit: string
}

export function describeMachine(): Machine {
  const all = cpus()
  const memory = Math.round(totalmem() / 2 ** 30)
  const model = (all[0]?.model ?? 'unknown CPU').replace(/\s+/g, ' ').trim()
  return { machine: `${all.length} × ${model}, ${memory} GiB`, kernel: release(), commit: commit() }
}

/** How many CPUs are busy while the benchmark does nothing. */
export async function busyCpus(ms: number): Promise<number> {
  const [before, began] = [idleSeconds(), performance.now()]
  await new Promise((resolve) => setTimeout(resolve, ms))
  const wall = (performance.now() - began) / 1_000
  const idle = idleSeconds() - before
  return Math.max(0, Number((cpus().length - idle / wall).toFixed(2)))
}

/** Idle, waiting for input and output, stolen by a hypervisor: of all CPUs, since boot. */
function idleSeconds(): number {
  const fields = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.trim().split(/\s+/).slice(1)
  const [idle, waiting, stolen] = [fields[3], fields[4], fields[7]].map(Number)
  return (idle! + waiting! + stolen!) / TICKS_PER_SECOND
}

/** `+` behind it when files were changed; `unknown` outside a repository. */
function commit(): string {
  const git = (...words: string[]): string =>
    execFileSync('git', ['-C', packageFile(), ...words], { encoding: 'utf8', stdio: 'pipe' }).trim()
  try {
    const changed =
      git('status', '--porcelain', '--untracked-files=no', '--', 'src', 'native') !== ''
    return git('rev-parse', '--short=12', 'HEAD') + (changed ? '+' : '')
  } catch {
    return 'unknown'
  }
}

/** USER_HZ, the same on all architectures that matter here. */
const TICKS_PER_SECOND = 100
