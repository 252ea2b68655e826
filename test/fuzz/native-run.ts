/**
 * Builds and runs the harnesses of native/fuzz: the datapath's programs and the addon's C in a
 * process, under AddressSanitizer, UndefinedBehaviorSanitizer and libFuzzer.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../../..')

export const HARNESSES = ['datapath', 'hold-queues', 'fragment', 'hmac'] as const
export type Harness = (typeof HARNESSES)[number]

export interface NativeRun {
  readonly harness: Harness
  readonly inputs: number
  /** Edges of the control flow that some input has taken. */
  readonly edges: number
  readonly failed: boolean
  /** The end of what libFuzzer said. */
  readonly output: string
}

/** Undefined when built, else what is missing. Throws when the compiler refuses the sources. */
export function buildHarnesses(): string | undefined {
  const probe =
    '#include <stdint.h>\n#include <stddef.h>\n' +
    'int LLVMFuzzerTestOneInput(const uint8_t *d, size_t n) { (void)d; (void)n; return 0; }\n'
  const directory = mkdtempSync(join(tmpdir(), 'godwit-fuzz-'))
  try {
    const flags = [
      '-fsanitize=fuzzer,address,undefined',
      '-x',
      'c',
      '-',
      '-o',
      join(directory, 'probe'),
    ]
    const tried = spawnSync('clang', flags, { input: probe, encoding: 'utf8' })
    if (tried.status !== 0)
      return 'the sanitizer runtime of clang (Debian package libclang-rt-14-dev)'
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
  const made = spawnSync('make', ['-s', '-C', join(root, 'native/fuzz')], { encoding: 'utf8' })
  if (made.status !== 0)
    throw new Error(`native/fuzz does not build:\n${made.stdout}${made.stderr}`)
  return undefined
}

/** The inputs that once were findings, each by itself; undefined when all pass, else what was said. */
export function replayRegressions(harness: Harness): string | undefined {
  const directory = join(root, 'native/fuzz/regressions', harness)
  if (!existsSync(directory)) return undefined
  const files = readdirSync(directory).map((name) => join(directory, name))
  const ran = spawnSync(join(root, 'build/fuzz', harness), files, { encoding: 'utf8' })
  return ran.status === 0 ? undefined : ran.stderr.slice(-6_000)
}

/** `seconds` of wall time, at most `LONGEST_INPUT` bytes an input. `seed` 0: libFuzzer chooses. */
export function runHarness(harness: Harness, seconds: number, seed: number): NativeRun {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-fuzz-'))
  try {
    const ran = spawnSync(
      join(root, 'build/fuzz', harness),
      [
        directory,
        `-max_total_time=${Math.ceil(seconds)}`,
        `-max_len=${LONGEST_INPUT}`,
        `-seed=${seed}`,
        `-artifact_prefix=${join(root, 'build/fuzz')}/${harness}-`,
        '-timeout=5',
        '-rss_limit_mb=1024',
        '-print_final_stats=1',
      ],
      { encoding: 'utf8', maxBuffer: 1 << 28 },
    )
    const output = `${ran.stdout}${ran.stderr}`
    return {
      harness,
      inputs: Number(/stat::number_of_executed_units:\s*(\d+)/.exec(output)?.[1] ?? 0),
      edges: Number([...output.matchAll(/ cov: (\d+)/g)].at(-1)?.[1] ?? 0),
      failed: ran.status !== 0,
      output: output.slice(-6_000),
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
const LONGEST_INPUT = 1024

/**
 * The addon's own tests with an addon built under AddressSanitizer, in place of the real one. Needs
 * gcc's runtime, which comes with gcc. Undefined when all is well, else the end of what was said.
 */
export function runAddonSanitized(): string | undefined {
  const out = join(root, 'build/asan')
  const gcc = 'gcc -fsanitize=address,undefined -fno-sanitize-recover=undefined'
  const made = spawnSync('make', ['-s', '-C', join(root, 'native'), `OUT=${out}`, `CC=${gcc}`], {
    encoding: 'utf8',
  })
  if (made.status !== 0) return made.stderr
  const redirect = join(out, 'redirect.cjs')
  writeFileSync(redirect, REDIRECT)
  const runtime = spawnSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' })
  const ran = spawnSync(process.execPath, [join(root, 'dist/test/datapath/native-addon.test.js')], {
    encoding: 'utf8',
    env: {
      ...process.env,
      LD_PRELOAD: runtime.stdout.trim(),
      // Node itself keeps memory until it ends.
      ASAN_OPTIONS: 'detect_leaks=0',
      NODE_OPTIONS: `--require ${redirect}`,
    },
  })
  return ran.status === 0 ? undefined : `${ran.stdout}${ran.stderr}`.slice(-6_000)
}

const REDIRECT = `const load = process.dlopen
process.dlopen = (module, file, ...rest) =>
  load.call(process, module, file.replace('build/Release/', 'build/asan/Release/'), ...rest)
`
