/**
 * What a pause of the emulated guest costs by itself, where nothing moves: the bar for migrations.
 *
 * In place: stopped and continued, the emulator keeps what it has translated. Beside: migrated, by the
 * same libvirt in the same way, to a second hypervisor on the same bridge, which starts an emulator
 * that has translated nothing: what is added to its pause is the warm-up of a migration, and no
 * network, tunnel router or agent has a part in it. What it is sent while it stands still is flooded
 * by the bridge to the tap of its new emulator, so that it has as much to read as after a migration.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Topology } from '../config/topology-schema.js'
import { poll } from '../lab/daemons.js'
import { namespaceFile } from '../lab/names.js'
import { runProgram } from '../lab/network.js'
import type { Clouds } from './clouds.js'
import { GUEST } from './guest.js'
import { type Hypervisor, virsh, virshOnHost } from './hypervisor.js'
import { type MigrationStyle, migrationArguments, wallMs } from './migration.js'
import { round } from './rounding.js'

export interface Stay {
  readonly kind: 'in-place' | 'beside'
  readonly atMs: number
  readonly endMs: number
  readonly downtimeMs: number
}

/** Stops and continues the guest where it is. */
export async function stopInPlace(
  topology: Topology,
  clouds: Clouds,
  here: Hypervisor,
): Promise<Stay> {
  return stay(clouds, 'in-place', async () => {
    await virsh(topology, here, ['suspend', GUEST.name])
    await pause(STAY_MS)
    await virsh(topology, here, ['resume', GUEST.name])
  })
}

/** Migrates the guest between two hypervisors of one cloud. */
export async function moveBeside(
  topology: Topology,
  clouds: Clouds,
  [from, to]: readonly [Hypervisor, Hypervisor],
  driver: MigrationStyle['driver'],
): Promise<Stay> {
  return stay(clouds, 'beside', async () => {
    const began = wallMs()
    const words = migrationArguments(to, { driver, by: 'ipv4' })
    let [running, failure]: [boolean, Error | undefined] = [true, undefined]
    const ended = virshOnHost(topology, from, words)
      .catch((cause: Error) => {
        failure = cause
      })
      .finally(() => {
        running = false
      })
    const stopped = (): boolean =>
      clouds.events.some(({ event, atMs }) => event === 'STOP' && atMs >= began)
    while (running && !stopped()) await pause(1)
    if (running) await forgetPort(topology, from.cloud)
    await ended
    if (failure !== undefined) throw failure
  })
}

/** The bridge no longer knows where the guest is, and floods until it speaks. */
async function forgetPort(topology: Topology, cloud: string): Promise<void> {
  const netns = `--net=${namespaceFile(topology.name, cloud)}`
  const entries = await runProgram('nsenter', [netns, 'bridge', 'fdb', 'show', 'br', 'br0'])
  const port = new RegExp(`^${GUEST.mac} dev (\\S+) `, 'm').exec(entries)?.[1]
  if (port === undefined) return
  await runProgram('nsenter', [netns, 'bridge', 'fdb', 'del', GUEST.mac, 'dev', port, 'master'])
}

async function stay(clouds: Clouds, kind: Stay['kind'], act: () => Promise<void>): Promise<Stay> {
  const atMs = wallMs()
  // What is sent shortly before the stop and read after it belongs to this one.
  await pause(LEAD_MS)
  await act()
  const find = (name: string) =>
    clouds.events.find((one) => one.event === name && one.atMs >= atMs)?.atMs
  // Events come by a way of their own, a little after the commands have ended.
  await poll(EVENT_LIMIT_MS, async () => (find('RESUME') ? undefined : 'no word of RESUME'))
  await pause(SETTLE_MS)
  const [stop, resume] = [find('STOP')!, find('RESUME')!]
  return { kind, atMs, endMs: wallMs(), downtimeMs: round(resume - stop) }
}

const LEAD_MS = 300
const STAY_MS = 150
const SETTLE_MS = 1_200
const EVENT_LIMIT_MS = 5_000
