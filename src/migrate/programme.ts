/**
 * The programme of `npm run migrate`: boot, traffic, the baseline, migrations to and fro, and the
 * special ones: aborted, limited in bandwidth, with the source's daemon killed, of a paused guest.
 */

import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import type { Topology } from '../config/topology-schema.js'
import { type Captures, startCaptures } from '../demo/captures.js'
import { decodeCapture, type PacketRecord } from '../demo/records.js'
import { poll, startDaemon, waitUntilHealthy } from '../lab/daemons.js'
import { recordedProcesses, signalProcess } from '../lab/processes.js'
import { moveBeside, type Stay, stopInPlace } from './baseline.js'
import { bootGuest, CLOUDS, type Clouds, guestAt, type MoveMode, startClouds } from './clouds.js'
import { evaluate, type SpecialMigrations } from './evaluate.js'
import { GUEST } from './guest.js'
import { type GuestTraffic, startGuestTraffic } from './guest-traffic.js'
import { type Hypervisor, libvirtdOf, startHypervisor, virsh } from './hypervisor.js'
import {
  type MigrationOptions,
  type MigrationStyle,
  migrateGuest,
  type PerformedMigration,
  wallMs,
} from './migration.js'
import { judgeMigrations, type MigrateResult, type MigrationRow } from './result.js'

export interface ProgrammeOptions {
  readonly migrations: number
  readonly specials: boolean
  /** How often it is paused where it is, to compare with. */
  readonly baseline: { readonly inPlace: number; readonly beside: number }
  readonly mode: MoveMode
  readonly directory: string
  readonly say: (line: string) => void
}

export interface ProgrammeOutcome {
  readonly result: MigrateResult
  readonly reasons: readonly string[]
}

/** Runs it on a topology that is up; rejects when something besides the promise fails. */
export async function runProgramme(
  topology: Topology,
  options: ProgrammeOptions,
): Promise<ProgrammeOutcome> {
  const { say } = options
  const clouds = await startClouds(topology, options.mode, options.baseline.beside > 0)
  say('libvirt runs in both clouds')
  await bootGuest(topology, clouds.hypervisors[0]!, HOST)
  say(`${GUEST.name} runs in ${clouds.hypervisors[0]!.cloud}`)
  const captures = await startCaptures(topology, CLOUDS, options.directory, 'br0')
  const traffic = await startGuestTraffic(topology, HOST, options.directory)
  await pause(WARM_UP_MS)

  const stays = await compare(topology, clouds, options)
  clouds.startAgents()
  await pause(WARM_UP_MS)

  const run = createRunner(topology, clouds, say)
  const plain: PerformedMigration[] = []
  for (let turn = 0; turn < options.migrations; turn++) {
    plain.push(await run.migrate({ style: styleOf(turn) }))
  }
  const specials = options.specials ? await runSpecials(topology, run, traffic) : undefined
  await pause(WARM_UP_MS)
  const endMs = wallMs()
  const outcome = await traffic.stop()
  clouds.stop()
  await captures?.stop()
  const offsetNs = wallMs() * 1e6 - Number(process.hrtime.bigint())
  const bridges = captures === undefined ? {} : readCaptures(captures, offsetNs)
  const whole = evaluate({ plain, specials, stays, endMs, outcome, bridges, offsetNs })
  const { ok, reasons } = judgeMigrations(whole, options.migrations)
  tell(whole.migrations, say)
  return { result: { ...whole, ok }, reasons }
}

/** What the guest's pauses cost where nothing moves; it ends where it began. */
async function compare(
  topology: Topology,
  clouds: Clouds,
  { baseline, say }: ProgrammeOptions,
): Promise<Stay[]> {
  const stays: Stay[] = []
  const home = clouds.hypervisors[0]!
  for (let turn = 0; turn < baseline.inPlace; turn++)
    stays.push(await stopInPlace(topology, clouds, home))
  for (let turn = 0; turn < baseline.beside; turn++)
    for (const way of [[home, clouds.beside] as const, [clouds.beside, home] as const])
      stays.push(await moveBeside(topology, clouds, way, DRIVERS[turn % DRIVERS.length]!))
  const downtimes = (kind: Stay['kind']): string =>
    stays.flatMap((one) => (one.kind === kind ? one.downtimeMs : [])).join(', ')
  say(`stopped and continued in place: ${downtimes('in-place')} ms`)
  if (baseline.beside > 0) say(`migrated to beside itself: ${downtimes('beside')} ms`)
  return stays
}

/** What each bridge saw of the streams, by cloud. */
function readCaptures(captures: Captures, offsetNs: number): Record<string, PacketRecord[]> {
  const entries = Object.entries(captures.files).map(([cloud, file]) => [
    cloud,
    decodeCapture(readFileSync(file), offsetNs),
  ])
  return Object.fromEntries(entries)
}

interface Runner {
  migrate(options: MigrationOptions): Promise<PerformedMigration>
  /** Where the guest should be now. */
  here(): Hypervisor
  /** The others. */
  there(): Hypervisor
  clouds: Clouds
}

function createRunner(topology: Topology, clouds: Clouds, say: (line: string) => void): Runner {
  let [here, there] = [clouds.hypervisors[0]!, clouds.hypervisors[1]!]
  return {
    clouds,
    here: () => here,
    there: () => there,
    async migrate(options) {
      const began = wallMs()
      const done = await migrateGuest(topology, clouds, [here, there], options)
      if (done.completed) [here, there] = [there, here]
      const what = done.completed ? `downtime ${done.vmDowntimeMs} ms` : `failed: ${done.failure}`
      say(`${done.from} → ${done.to} (${options.style.driver}, ${options.style.by}): ${what}`)
      await pause(Math.max(0, INTERVAL_MS - (wallMs() - began)))
      return done
    },
  }
}

async function runSpecials(
  topology: Topology,
  run: Runner,
  traffic: GuestTraffic,
): Promise<SpecialMigrations> {
  const aborted = await run.migrate({
    style: DIRECT,
    bandwidth: SLOW_MIB,
    meanwhile: {
      afterMs: ABORT_AFTER_MS,
      act: () => virsh(topology, run.here(), ['domjobabort', GUEST.name]).catch(() => {}),
    },
  })
  const abortedStayedAt = await guestAt(topology, run.clouds.hypervisors)
  const limited = await run.migrate({ style: DIRECT, bandwidth: SLOW_MIB })
  const source = run.here().cloud
  const killed = await run.migrate({
    style: PEER_TO_PEER,
    bandwidth: SLOW_MIB,
    meanwhile: { afterMs: KILL_AFTER_MS, act: async () => killDaemon(topology, source) },
  })
  startDaemon(topology, source)
  await waitUntilHealthy(topology, source)
  await pause(WARM_UP_MS)
  const orphaned = await killHypervisor(topology, run)
  const orphanedStayedAt = await guestAt(topology, run.clouds.hypervisors)
  // What a paused machine's tap does not take is lost at home as well: nobody sends meanwhile.
  traffic.hold()
  await pause(QUIET_MS)
  await virsh(topology, run.here(), ['suspend', GUEST.name])
  const paused = await run.migrate({ style: DIRECT })
  await virsh(topology, run.here(), ['resume', GUEST.name])
  await poll(RESUME_LIMIT_MS, async () =>
    (await guestAt(topology, [run.here()])) === undefined ? 'the guest is not running' : undefined,
  )
  traffic.release()
  return { aborted, limited, killed, orphaned, paused, abortedStayedAt, orphanedStayedAt }
}

/** libvirtd of the source dies in the middle; the machine, which is a process of its own, does not. */
async function killHypervisor(topology: Topology, run: Runner): Promise<PerformedMigration> {
  const { hypervisors } = run.clouds
  const here = run.here()
  const done = await run.migrate({
    style: PEER_TO_PEER,
    bandwidth: SLOW_MIB,
    meanwhile: {
      afterMs: KILL_AFTER_MS,
      act: async () => {
        process.kill(libvirtdOf(here), 'SIGKILL')
        await startHypervisor(topology, here, hypervisors)
      },
    },
  })
  await poll(RECOVER_LIMIT_MS, async () =>
    (await guestAt(topology, hypervisors)) === undefined ? 'the guest runs nowhere' : undefined,
  )
  await pause(WARM_UP_MS)
  return done
}

function killDaemon(topology: Topology, node: string): void {
  const record = recordedProcesses(topology.name).find(({ name }) => name === node)
  if (record?.running) signalProcess(record.pid, 'SIGKILL')
}

function tell(rows: readonly MigrationRow[], say: (line: string) => void): void {
  for (const [index, row] of rows.entries()) {
    const figures = `sent ${row.sent}, lost ${row.lost}, doubled ${row.duplicated}, reordered ${row.reordered}`
    say(
      `${index + 1}. ${row.from} → ${row.to}: ${figures}; gap ${row.gapsMs.toGuest} ms in, ${row.gapsMs.fromGuest} ms out; of it ${row.vmDowntimeMs} ms downtime`,
    )
  }
}

const HOST = 'host1'
const DIRECT: MigrationStyle = { driver: 'direct', by: 'ipv4' }
const PEER_TO_PEER: MigrationStyle = { driver: 'p2p', by: 'ipv4' }
/** Turns go there and back: each driver in both directions, and after twelve with each name as well. */
const DRIVERS = ['direct', 'p2p', 'p2p', 'direct'] as const
const NAMES = ['ipv4', 'ipv6', 'name'] as const

function styleOf(turn: number): MigrationStyle {
  return { driver: DRIVERS[turn % DRIVERS.length]!, by: NAMES[turn % NAMES.length]! }
}

const WARM_UP_MS = 1_000
/** From one migration to the next at least, so that SMRs of the last are not what limits this. */
const INTERVAL_MS = 3_500
const SLOW_MIB = 20
const ABORT_AFTER_MS = 1_500
const KILL_AFTER_MS = 1_500
const QUIET_MS = 300
/** libvirtd finds its machines again, and calls off what it was doing with them. */
const RECOVER_LIMIT_MS = 20_000
const RESUME_LIMIT_MS = 5_000
