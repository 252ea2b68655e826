/**
 * Processes of a lab: started inside a node's namespace, recorded, found again, ended by PID.
 *
 * A PID alone may belong to somebody else by now, so a record carries the start time as well. What
 * has no record (a crash came between start and record, or a user's shell) is found by its network
 * namespace: whatever lives in a namespace of ours is ours.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { labPaths, namespaceFile, namespaceOf } from './names.js'

export interface ProcessRecord {
  readonly name: string
  readonly node: string
  readonly pid: number
  /** Field 22 of /proc/PID/stat: clock ticks since boot. */
  readonly startTime: string
}

export interface StartOptions {
  readonly topology: string
  readonly node: string
  readonly name: string
  readonly command: readonly string[]
  /** `log`: both outputs to <state>/logs/<name>.log; `pipe`: stdin and outputs for the caller. */
  readonly output: 'log' | 'pipe'
}

/** Starts a program in the namespace of `node`, in a session of its own, and records it. */
export function startProcess(options: StartOptions): ChildProcess {
  const { topology, node, name, command } = options
  const paths = labPaths(topology)
  mkdirSync(paths.processes, { recursive: true })
  mkdirSync(paths.logs, { recursive: true })
  const log = options.output === 'log' ? openSync(join(paths.logs, `${name}.log`), 'a') : undefined
  // nsenter and setsid replace themselves, so the PID is the program's own.
  const child = spawn('nsenter', [`--net=${namespaceFile(topology, node)}`, ...command], {
    detached: true,
    stdio: log === undefined ? ['pipe', 'pipe', 'pipe'] : ['ignore', log, log],
  })
  if (log !== undefined) closeSync(log)
  child.on('error', () => {})
  if (child.pid === undefined) throw new Error(`${command[0]} could not be started`)
  if (options.output === 'log') child.unref()
  const startTime = startTimeOf(child.pid)
  if (startTime !== undefined) {
    const record: ProcessRecord = { name, node, pid: child.pid, startTime }
    writeFileSync(join(paths.processes, `${name}.json`), JSON.stringify(record))
  }
  return child
}

/** What is recorded for a topology; `running` says whether that very process still lives. */
export function recordedProcesses(topology: string): (ProcessRecord & { running: boolean })[] {
  const { processes } = labPaths(topology)
  return listDirectory(processes).flatMap((file) => {
    try {
      const record = JSON.parse(readFileSync(join(processes, file), 'utf8')) as ProcessRecord
      return [{ ...record, running: startTimeOf(record.pid) === record.startTime }]
    } catch {
      // Half-written by a process that was killed: its namespace leads to the process itself.
      return []
    }
  })
}

/** The start time of a live process, undefined when there is none (or only its zombie). */
export function startTimeOf(pid: number): string | undefined {
  const fields = statFields(pid)
  return fields === undefined || fields[0] === 'Z' ? undefined : fields[19]
}

/** The state letter of a process: R, S, T, … */
export function stateOf(pid: number): string | undefined {
  return statFields(pid)?.[0]
}

/** The PIDs of all processes whose network namespace is one of `namespaces` (names). */
export function processesIn(namespaces: readonly string[]): number[] {
  const inodes = new Set<string>()
  for (const namespace of namespaces) {
    try {
      inodes.add(`net:[${statSync(`/run/netns/${namespace}`).ino}]`)
    } catch {
      // A namespace that is gone has no processes.
    }
  }
  if (inodes.size === 0) return []
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        return inodes.has(readlinkSync(`/proc/${pid}/ns/net`))
      } catch {
        return false
      }
    })
    .map(Number)
}

/**
 * Ends everything of a topology: first asks (SIGTERM), after `graceMs` insists (SIGKILL). Resolves
 * when nothing is left, rejects when something survives SIGKILL for 5 s.
 */
export async function stopProcesses(
  topology: string,
  namespaces: readonly string[],
  graceMs: number,
): Promise<void> {
  const living = (): number[] => {
    const recorded = recordedProcesses(topology)
      .filter(({ running }) => running)
      .map(({ pid }) => pid)
    return [...new Set([...recorded, ...processesIn(namespaces)])].filter(
      (pid) => pid !== process.pid && startTimeOf(pid) !== undefined,
    )
  }
  let left = living()
  for (const signal of graceMs > 0 ? (['SIGTERM', 'SIGKILL'] as const) : (['SIGKILL'] as const)) {
    if (left.length === 0) break
    for (const pid of left) signalProcess(pid, signal)
    // A frozen process hears SIGTERM only once it runs again.
    if (signal === 'SIGTERM') for (const pid of left) signalProcess(pid, 'SIGCONT')
    const until = performance.now() + (signal === 'SIGTERM' ? graceMs : SURVIVAL_LIMIT_MS)
    while (left.length > 0 && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 10))
      left = living()
    }
  }
  if (left.length > 0) throw new Error(`processes ${left.join(', ')} do not end`)
  rmSync(labPaths(topology).processes, { recursive: true, force: true })
}

/** Sends a signal; a process that is gone is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ESRCH') throw cause
  }
}

/** The names of all namespaces of a topology that exist. */
export function namespacesOf(topology: string): string[] {
  return listDirectory('/run/netns').filter((name) => name.startsWith(namespaceOf(topology, '')))
}

/** The entries of a directory; none when it does not exist. */
export function listDirectory(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function statFields(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold anything, also parentheses and spaces.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}

const SURVIVAL_LIMIT_MS = 5_000
