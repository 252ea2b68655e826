/**
 * What this process and this kernel must be able to do, asked before anything is touched.
 *
 * Each answer is one sentence with the remedy, or undefined when all is well.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, statfsSync } from 'node:fs'
import { release } from 'node:os'

/** The datapath needs CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN), CAP_NET_ADMIN and CAP_NET_RAW. */
export function missingCapabilities(
  status = readFileSync('/proc/self/status', 'utf8'),
): string | undefined {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`)
  const has = (bit: number): boolean => ((effective >> BigInt(bit)) & 1n) === 1n
  const missing = REQUIRED.filter(({ bits }) => !bits.some(has)).map(({ name }) => name)
  if (missing.length === 0) return undefined
  const why = 'to load BPF programs and to open its devices'
  return `godwitd needs ${missing.join(', ')} ${why}: run it as root, or give it these capabilities`
}

/** tcx attachment came with Linux 6.6. */
export function oldKernel(version = release()): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10))
  if (major > 6 || (major === 6 && minor >= 6)) return undefined
  return `Linux ${version} is too old: the datapath attaches by tcx, which needs Linux 6.6 or newer`
}

/** Mounts a bpffs at /sys/fs/bpf when none is there; returns why that was impossible. */
export function ensureBpfFilesystem(): string | undefined {
  if (isBpfFilesystem()) return undefined
  const result = spawnSync('mount', ['-t', 'bpf', 'bpf', BPF_FILESYSTEM], { encoding: 'utf8' })
  if (result.status === 0) return undefined
  // The first line says it; the others are about where else to look.
  const why = result.error?.message ?? result.stderr.trim().split('\n')[0]
  const remedy = `mount -t bpf bpf ${BPF_FILESYSTEM}`
  return `no bpffs at ${BPF_FILESYSTEM} and mounting it failed (${why}): mount it with \`${remedy}\``
}

function isBpfFilesystem(): boolean {
  try {
    return statfsSync(BPF_FILESYSTEM).type === BPF_FILESYSTEM_MAGIC
  } catch {
    return false
  }
}

const BPF_FILESYSTEM = '/sys/fs/bpf'
// linux/magic.h
const BPF_FILESYSTEM_MAGIC = 0xcafe4a11
// linux/capability.h
const REQUIRED: readonly { name: string; bits: readonly number[] }[] = [
  { name: 'CAP_BPF', bits: [39, 21] },
  // The verifier allows pointer arithmetic between maps and packets only with it.
  { name: 'CAP_PERFMON', bits: [38, 21] },
  { name: 'CAP_NET_ADMIN', bits: [12] },
  { name: 'CAP_NET_RAW', bits: [13] },
]
