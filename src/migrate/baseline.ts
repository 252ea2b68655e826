/**
 * What a pause of the emulated guest costs by itself, where nothing moves: the bar for migrations.
 *
 * In place: stopped and continued, the emulator keeps what it has translated. Anew: saved to a file and
 * restored from it on the same bridge, which starts an emulator that has translated nothing, as the
 * destination of a migration does.
 */
import { rmSync } from 'node:fs'
import type { Topology } from '../config/topology-schema.js'
import { poll } from '../lab/daemons.js'
import type { Clouds } from './clouds.js'
import { GUEST } from './guest.js'
import { type Hypervisor, virsh } from './hypervisor.js'
import { wallMs } from './migration.js'
import { round } from './rounding.js'

export interface Stay {
  readonly kind: 'in-place' | 'anew'
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

/**
 * Saves and restores the guest where it is. What is sent to it meanwhile is lost, and what TCP catches
 * up with overflows its tap for a while: nothing that counts packets may come after it.
 */
export async function startAnew(
  topology: Topology,
  clouds: Clouds,
  here: Hypervisor,
): Promise<Stay> {
  // A file below /run is one for the hypervisor and for us.
  const saved = `${here.run}/saved`
  return stay(clouds, 'anew', async () => {
    await virsh(topology, here, ['save', GUEST.name, '/run/saved'])
    await virsh(topology, here, ['restore', '/run/saved'])
    rmSync(saved, { force: true })
  })
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

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const LEAD_MS = 300
const STAY_MS = 150
const SETTLE_MS = 1_200
const EVENT_LIMIT_MS = 5_000
