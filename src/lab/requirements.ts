/**
 * What the lab needs of the machine, each missing thing said in one sentence with its reason.
 *
 * Used by the demo, the `lab` commands and the tests, so that all of them refuse (or skip) alike.
 */
import { accessSync, constants } from 'node:fs'
import { release } from 'node:os'

/** One sentence per thing that is missing; empty when the lab can run here. */
export function missingRequirements(
  machine: { uid: number; kernel: string; path: string; platform: string } = thisMachine(),
): string[] {
  const missing: string[] = []
  if (machine.platform !== 'linux') {
    return [
      `Godwit needs Linux: its datapath runs in the kernel as eBPF (this is ${machine.platform}).`,
    ]
  }
  if (machine.uid !== 0) {
    missing.push(
      'Root is needed to create network namespaces and to load eBPF programs: run it again with sudo.',
    )
  }
  if (!kernelAtLeast(machine.kernel, OLDEST_KERNEL)) {
    const oldest = OLDEST_KERNEL.join('.')
    missing.push(
      `A kernel of ${oldest} or newer is needed, because the datapath attaches by tcx links, ` +
        `which came with ${oldest} (this is ${machine.kernel}; Debian 12 has newer ones in ` +
        'bookworm-backports).',
    )
  }
  const tools = TOOLS.filter((tool) => !isOnPath(tool, machine.path))
  if (tools.length > 0) {
    missing.push(
      `These programs are needed and not installed: ${tools.join(', ')} (iproute2, util-linux).`,
    )
  }
  return missing
}

/** True when `kernel` (as `uname -r` prints it) is at least `[major, minor]`. */
export function kernelAtLeast(kernel: string, [major, minor]: readonly [number, number]): boolean {
  const match = /^(\d+)\.(\d+)/.exec(kernel)
  if (!match) return false
  const [haveMajor, haveMinor] = [Number(match[1]), Number(match[2])]
  return haveMajor > major || (haveMajor === major && haveMinor >= minor)
}

function thisMachine() {
  return {
    uid: process.getuid?.() ?? -1,
    kernel: release(),
    path: process.env['PATH'] ?? '',
    platform: process.platform,
  }
}

function isOnPath(tool: string, path: string): boolean {
  return [...path.split(':'), '/usr/sbin', '/sbin'].some((directory) => {
    try {
      accessSync(`${directory}/${tool}`, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** tcx, the multi-program attachment of TC, came with Linux 6.6. */
const OLDEST_KERNEL = [6, 6] as const

const TOOLS = ['ip', 'nsenter', 'mount']
