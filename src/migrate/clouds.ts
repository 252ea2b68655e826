/**
 * Two clouds with hypervisors, agents and one guest, brought up and taken down as a whole. What is
 * decided here is the order: hook before libvirtd, agent before the guest.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Topology } from '../config/topology-schema.js'
import { installHook } from '../hypervisor/hook-script.js'
import { superviseLines } from '../hypervisor/supervised-lines.js'
import { poll } from '../lab/daemons.js'
import { compiledFile, labPaths, namespaceFile, socketOf } from '../lab/names.js'
import { startProcess } from '../lab/processes.js'
import { domainXml, GUEST, inGuest } from './guest.js'
import {
  type Hypervisor,
  hypervisorOf,
  prepareHypervisor,
  startHypervisor,
  virsh,
} from './hypervisor.js'

export type MoveMode = 'live' | 'switch' | 'none'

export interface QemuEvent {
  /** Name of the hypervisor. */
  readonly hypervisor: string
  readonly event: string
  /** Milliseconds of the wall clock, as QEMU gave them. */
  readonly atMs: number
}

export interface Clouds {
  readonly hypervisors: readonly Hypervisor[]
  /** A second one in the first cloud, to compare with. */
  readonly beside: Hypervisor
  /** All events of QEMU so far, oldest first. */
  readonly events: readonly QemuEvent[]
  /** From now on migrations are followed, unless the mode is `none`. */
  startAgents(): void
  stop(): void
}

export const CLOUDS = ['cloud-a', 'cloud-b'] as const

/** Starts libvirtd in both clouds; a second one in the first only if `withBeside`. */
export async function startClouds(
  topology: Topology,
  mode: MoveMode,
  withBeside: boolean,
): Promise<Clouds> {
  const hypervisors = CLOUDS.map((cloud) => hypervisorOf(topology, cloud))
  const beside = hypervisorOf(topology, CLOUDS[0], true)
  prepareHypervisor(beside, hypervisors.length)
  hypervisors.forEach((hypervisor, index) => {
    prepareHypervisor(hypervisor, index)
    const runtimeDirectory = join(hypervisor.run, 'godwit', 'hypervisor')
    if (mode === 'none') return
    const file = join(hypervisor.etc, 'hooks', 'qemu')
    installHook({ file, runtimeDirectory, seenAs: '/run/godwit/hypervisor' })
  })
  const all = withBeside ? [...hypervisors, beside] : hypervisors
  await Promise.all(all.map((one) => startHypervisor(topology, one, [...hypervisors, beside])))
  const events: QemuEvent[] = []
  const stops = all.map((hypervisor) => watchQemu(topology, hypervisor, events))
  return {
    hypervisors,
    beside,
    events,
    startAgents() {
      if (mode === 'none') return
      for (const one of hypervisors) {
        // What hooks have left of the comparison is over.
        rmSync(join(one.run, 'godwit', 'hypervisor', 'spool'), { recursive: true, force: true })
        startHypervisorAgent(topology, one, mode)
      }
    },
    stop() {
      for (const stop of stops) stop()
    },
  }
}

/** Boots the guest in `hypervisor`; resolves when `host` reaches its shell. */
export async function bootGuest(
  topology: Topology,
  hypervisor: Hypervisor,
  host: string,
): Promise<void> {
  const file = join(labPaths(topology.name).state, 'guest.xml')
  mkdirSync(labPaths(topology.name).state, { recursive: true })
  writeFileSync(file, domainXml())
  await virsh(topology, hypervisor, ['create', file])
  await poll(BOOT_LIMIT_MS, async () => {
    const answer = await inGuest(topology, host, 'echo here', 3_500).catch(() => undefined)
    return answer?.toString().includes('here') ? undefined : 'the guest has not booted'
  })
}

/** Where the guest runs now, undefined when nowhere. */
export async function guestAt(
  topology: Topology,
  hypervisors: readonly Hypervisor[],
): Promise<string | undefined> {
  for (const hypervisor of hypervisors) {
    const state = await virsh(topology, hypervisor, ['domstate', GUEST.name]).catch(() => '')
    if (state.trim() === 'running') return hypervisor.cloud
  }
  return undefined
}

function startHypervisorAgent(
  topology: Topology,
  { cloud, uri, run }: Hypervisor,
  mode: 'live' | 'switch',
): void {
  const command = [
    process.execPath, compiledFile('../cli/main.js'), 'hypervisor', 'run', '--uri', uri,
    '--socket', socketOf(topology.name, cloud), '--mode', mode,
    '--runtime-directory', join(run, 'godwit', 'hypervisor'),
  ] // biome-ignore format: one option per line says nothing more
  startProcess({
    topology: topology.name,
    node: cloud,
    name: `${cloud}-agent`,
    command,
    output: 'log',
  })
}

/** QEMU's own times of STOP and RESUME, as libvirt passes them on. */
function watchQemu(
  topology: Topology,
  { name, cloud, uri }: Hypervisor,
  events: QemuEvent[],
): () => void {
  const netns = `--net=${namespaceFile(topology.name, cloud)}`
  return superviseLines({
    command: ['nsenter', netns, 'virsh', '-q', '-c', uri, 'qemu-monitor-event', '--loop'],
    onLine(line) {
      const match = /^event (\w+) at (\d+)\.(\d{6}) for domain/.exec(line)
      if (match === null) return
      const [, event = '', seconds, micros] = match
      events.push({
        hypervisor: name,
        event,
        atMs: Number(seconds) * 1_000 + Number(micros) / 1_000,
      })
    },
    onEnd() {},
  })
}

const BOOT_LIMIT_MS = 60_000
