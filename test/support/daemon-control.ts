/**
 * The daemons of a lab as a supervisor handles them: signal, kill, start again; and their metrics.
 */
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { poll, startDaemon, waitUntilHealthy } from '../../src/lab/daemons.js'
import { labPaths, socketOf } from '../../src/lab/names.js'
import { recordedProcesses, signalProcess, startTimeOf } from '../../src/lab/processes.js'
import type { RunningLab } from './running-lab.js'

/** The process that was last started for this node; throws when it does not run. */
export function daemonPid(lab: RunningLab, node: string): number {
  const record = recordedProcesses(lab.topology.name).find(({ name }) => name === node)
  if (!record?.running) throw new Error(`the daemon of ${node} does not run`)
  return record.pid
}

/** kill -9, and wait until it is gone. */
export async function killDaemon(lab: RunningLab, node: string): Promise<void> {
  const pid = daemonPid(lab, node)
  signalProcess(pid, 'SIGKILL')
  await poll(5_000, async () => (startTimeOf(pid) === undefined ? undefined : `${pid} lives`))
}

/** A signal that ends it gracefully; the milliseconds until it was gone. */
export async function stopDaemon(
  lab: RunningLab,
  node: string,
  signal: 'SIGTERM' | 'SIGUSR2' = 'SIGTERM',
): Promise<number> {
  const pid = daemonPid(lab, node)
  const began = performance.now()
  signalProcess(pid, signal)
  await poll(5_000, async () => (startTimeOf(pid) === undefined ? undefined : `${pid} lives`))
  return performance.now() - began
}

export function reviveDaemon(lab: RunningLab, node: string): void {
  startDaemon(lab.topology, node)
}

export function untilHealthy(lab: RunningLab, node: string): Promise<void> {
  return waitUntilHealthy(lab.topology, node)
}

export function configPath(lab: RunningLab, node: string): string {
  return join(labPaths(lab.topology.name).config, `${node}.yaml`)
}

export function daemonLog(lab: RunningLab, node: string): string {
  return readFileSync(join(labPaths(lab.topology.name).logs, `${node}.log`), 'utf8')
}

/** Samples of /metrics: `name` or `name{reason}` → value; other labels than the node's are few. */
export async function metricsOf(lab: RunningLab, node: string): Promise<Map<string, number>> {
  const text = await rawMetrics(lab, node)
  const samples = new Map<string, number>()
  for (const line of text.split('\n')) {
    const match = /^(godwit_\w+)\{([^}]*)\} (\S+)$/.exec(line)
    if (!match) continue
    const label = /(?:reason|kind)="([^"]*)"/.exec(match[2]!)?.[1]
    samples.set(label === undefined ? match[1]! : `${match[1]}{${label}}`, Number(match[3]))
  }
  return samples
}

/** How much each sample rose; those that did not are left out. */
export function risen(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): Record<string, number> {
  const rise: Record<string, number> = {}
  for (const [name, value] of after) {
    const difference = value - (before.get(name) ?? 0)
    if (difference > 0) rise[name] = difference
  }
  return rise
}

function rawMetrics(lab: RunningLab, node: string): Promise<string> {
  const socketPath = socketOf(lab.topology.name, node)
  return new Promise((resolve, reject) => {
    // A connection of its own: one that was kept may have been closed meanwhile.
    const outgoing = request({ socketPath, path: '/metrics', agent: false }, (incoming) => {
      let text = ''
      incoming.setEncoding('utf8')
      incoming.on('data', (part: string) => {
        text += part
      })
      incoming.on('end', () => resolve(text))
      incoming.on('error', reject)
    })
    outgoing.setTimeout(5_000, () => outgoing.destroy(new Error('/metrics: no answer')))
    outgoing.on('error', reject)
    outgoing.end()
  })
}
