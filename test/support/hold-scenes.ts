/** What the tests of the hold share: one endpoint of two-clouds.yaml, and ways to have packets wait for it. */
import type { AdjustConfig } from '../../src/lab/daemons.js'
import { announceEndpoint } from '../../src/lab/lab.js'
import type { PanelControl } from '../../src/lab/panel.js'
import { signalProcess } from '../../src/lab/processes.js'
import { daemonPid } from './daemon-control.js'
import { pause } from './numbered-streams.js'
import type { RunningLab } from './running-lab.js'

const VM1 = { ipv4: '10.10.0.5', ipv6: 'fd00:10::5' } as const
export type Family = keyof typeof VM1
/** Packets that went into the hold, and that left it again. */
export const HELD = 'godwit_datapath_packets_total{held}'
export const RELEASED = 'godwit_datapath_hold_released_total'

/** Asks for the move and switches the link `lateMs` after "ready", or never; the API's status. */
export async function moveTo(
  lab: RunningLab,
  panel: PanelControl,
  to: string,
  lateMs: number | undefined,
): Promise<number> {
  const body = { eids: Object.values(VM1), instanceId: 7 }
  const { status } = await lab.api(to, '/v1/moves', { method: 'POST', body })
  if (lateMs === undefined) return status
  await pause(lateMs)
  panel.flip(to)
  await announceEndpoint(lab.topology, 'vm1')
  return status
}

/** Stops the mapping system for a while; its socket keeps what is asked meanwhile. */
export async function thinking(lab: RunningLab, ms: number): Promise<void> {
  const pid = daemonPid(lab, 'mapping')
  signalProcess(pid, 'SIGSTOP')
  await pause(ms)
  signalProcess(pid, 'SIGCONT')
}

export function dropsIn(rise: Readonly<Record<string, number>>): number {
  return Object.entries(rise)
    .filter(([name]) => /^godwit_datapath_(hold_dropped|drops)_total/.test(name))
    .reduce((sum, [, value]) => sum + value, 0)
}

/** Neighbour entries of the hosts, whose own queues would lose or reorder the first packets. */
export async function warmUp(lab: RunningLab): Promise<void> {
  for (const address of Object.values(VM1))
    await lab.run('host1', 'ping', '-c', '2', '-i', '0.2', '-q', address)
}

export function flow(family: Family) {
  return { name: `host1>vm1/${family}`, from: 'host1', to: 'vm1', address: VM1[family] }
}

export function holding(hold: object): AdjustConfig {
  return (_node, config) => ({ ...config, hold })
}
