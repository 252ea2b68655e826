/**
 * The programme of `npm run migrate`: boot, traffic, the baseline, migrations to and fro, and the
 * special ones: aborted, limited in bandwidth, with the source's daemon killed, of a paused guest.
 */
import type { Topology } from '../config/topology-schema.js'
import { poll, startDaemon, waitUntilHealthy } from '../lab/daemons.js'
import { recordedProcesses, signalProcess } from '../lab/processes.js'
import { bootGuest, type Clouds, guestAt, type MoveMode, startClouds } from './clouds.js'
import { GUEST } from './guest.js'
import { type GuestTraffic, startGuestTraffic } from './guest-traffic.js'
import { type Hypervisor, virsh } from './hypervisor.js'
import {
  type MigrationOptions,
  migrateGuest,
  type PerformedMigration,
  wallMs,
} from './migration.js'
import {
  figuresOf,
  judgeMigrations,
  lostSpansOf,
  type MigrateResult,
  type MigrationRow,
  median,
  round,
  rowOf,
} from './result.js'

export interface ProgrammeOptions {
  readonly migrations: number
  readonly specials: boolean
  readonly mode: MoveMode
  readonly directory: string
  readonly say: (line: string) => void
}

export interface ProgrammeOutcome {
  readonly result: MigrateResult
  readonly reasons: readonly string[]
}

interface Stay {
  readonly atMs: number
  readonly endMs: number
  readonly downtimeMs: number
}

/** Runs it on a topology that is up; rejects when something besides the promise fails. */
export async function runProgramme(
  topology: Topology,
  options: ProgrammeOptions,
): Promise<ProgrammeOutcome> {
  const { say } = options
  const clouds = await startClouds(topology, options.mode)
  say('libvirt runs in both clouds')
  await bootGuest(topology, clouds.hypervisors[0]!, HOST)
  say(`${GUEST.name} runs in ${clouds.hypervisors[0]!.cloud}`)
  const traffic = await startGuestTraffic(topology, HOST, options.directory)
  await pause(WARM_UP_MS)

  const stays: Stay[] = []
  for (let turn = 0; turn < BASELINE_TURNS; turn++) stays.push(await stopInPlace(topology, clouds))
  say(`stopped and continued in place: ${stays.map(({ downtimeMs }) => downtimeMs).join(', ')} ms`)

  const run = createRunner(topology, clouds, say)
  const plain: PerformedMigration[] = []
  for (let turn = 0; turn < options.migrations; turn++) {
    plain.push(await run.migrate({ style: turn % 2 === 0 ? 'direct' : 'p2p' }))
  }
  const specials = options.specials ? await runSpecials(topology, run, traffic) : undefined
  await pause(WARM_UP_MS)
  const endMs = wallMs()
  const outcome = await traffic.stop()
  clouds.stop()
  const intact = outcome.tcp.host.complete && outcome.tcp.guest.complete
  const corrupt = outcome.tcp.host.corrupt + outcome.tcp.guest.corrupt

  const all = [...plain, ...Object.values(specials?.migrations ?? {})]
  const starts = all.map(({ requestedAtMs }) => requestedAtMs)
  const windows = [
    ...stays.map(({ atMs, endMs: untilMs }) => ({ fromMs: atMs, untilMs })),
    ...starts.map((fromMs, index) => ({ fromMs, untilMs: starts[index + 1] ?? endMs })),
  ]
  const offsetNs = wallMs() * 1e6 - Number(process.hrtime.bigint())
  const figures = figuresOf(outcome, windows, offsetNs)
  const baseline = stays.map(({ downtimeMs }, index) => {
    const gap = Math.max(...figures[index]!.map(({ longestGapMs }) => longestGapMs))
    return { downtimeMs, addedMs: round(gap - downtimeMs) }
  })
  const rows = all.map((one, index) => {
    const at = stays.length + index
    const spans = lostSpansOf(outcome, windows[at]!, offsetNs, one.resumedAtMs ?? one.requestedAtMs)
    return rowOf(one, figures[at]!, spans)
  })
  const special = (at: number): MigrationRow | null => rows[options.migrations + at] ?? null
  const migrations = rows.slice(0, options.migrations)
  const added = migrations.flatMap(({ addedMs }) => addedMs ?? [])
  const aborted = special(0)
  const whole: Omit<MigrateResult, 'ok'> = {
    migrations,
    aborted: aborted && { ...aborted, stayedAt: specials?.abortedStayedAt },
    bandwidthLimited: special(1),
    sourceDaemonKilled: special(2),
    paused: special(3),
    baseline,
    addedMsMedian: median(added),
    baselineAddedMsMedian: median(baseline.map(({ addedMs }) => addedMs)),
    tcp: { ...outcome.tcp, intact: intact && corrupt === 0 },
  }
  const { ok, reasons } = judgeMigrations(whole, options.migrations)
  tell(rows, say)
  return { result: { ...whole, ok }, reasons }
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
      say(`${done.from} → ${done.to} (${options.style}): ${what}`)
      await pause(Math.max(0, INTERVAL_MS - (wallMs() - began)))
      return done
    },
  }
}

async function runSpecials(
  topology: Topology,
  run: Runner,
  traffic: GuestTraffic,
): Promise<{
  migrations: Record<string, PerformedMigration>
  abortedStayedAt: string | undefined
}> {
  const aborted = await run.migrate({
    style: 'direct',
    bandwidth: SLOW_MIB,
    meanwhile: {
      afterMs: ABORT_AFTER_MS,
      act: () => virsh(topology, run.here(), ['domjobabort', GUEST.name]).catch(() => {}),
    },
  })
  const abortedStayedAt = await guestAt(topology, run.clouds.hypervisors)
  const limited = await run.migrate({ style: 'direct', bandwidth: SLOW_MIB })
  const source = run.here().cloud
  const killed = await run.migrate({
    style: 'p2p',
    bandwidth: SLOW_MIB,
    meanwhile: { afterMs: KILL_AFTER_MS, act: async () => killDaemon(topology, source) },
  })
  startDaemon(topology, source)
  await waitUntilHealthy(topology, source)
  await pause(WARM_UP_MS)
  // What a paused machine's tap does not take is lost at home as well: nobody sends meanwhile.
  traffic.hold()
  await pause(QUIET_MS)
  await virsh(topology, run.here(), ['suspend', GUEST.name])
  const paused = await run.migrate({ style: 'direct' })
  await virsh(topology, run.here(), ['resume', GUEST.name])
  await poll(RESUME_LIMIT_MS, async () =>
    (await guestAt(topology, [run.here()])) === undefined ? 'the guest is not running' : undefined,
  )
  traffic.release()
  return { migrations: { aborted, limited, killed, paused }, abortedStayedAt }
}

function killDaemon(topology: Topology, node: string): void {
  const record = recordedProcesses(topology.name).find(({ name }) => name === node)
  if (record?.running) signalProcess(record.pid, 'SIGKILL')
}

/** STOP and CONT where it is: what the pause of an emulated machine costs by itself. */
async function stopInPlace(topology: Topology, clouds: Clouds): Promise<Stay> {
  const [here] = clouds.hypervisors
  const atMs = wallMs()
  await virsh(topology, here!, ['suspend', GUEST.name])
  await pause(STAY_MS)
  await virsh(topology, here!, ['resume', GUEST.name])
  await pause(STAY_SETTLE_MS)
  const mine = clouds.events.filter((one) => one.atMs >= atMs)
  const stop = mine.find(({ event }) => event === 'STOP')
  const resume = mine.find(({ event }) => event === 'RESUME')
  return { atMs, endMs: wallMs(), downtimeMs: stop && resume ? round(resume.atMs - stop.atMs) : 0 }
}

function tell(rows: readonly MigrationRow[], say: (line: string) => void): void {
  for (const [index, row] of rows.entries()) {
    const figures = `sent ${row.sent}, lost ${row.lost}, doubled ${row.duplicated}, reordered ${row.reordered}`
    say(
      `${index + 1}. ${row.from} → ${row.to}: ${figures}; gap ${row.gapsMs.toGuest} ms in, ${row.gapsMs.fromGuest} ms out; of it ${row.vmDowntimeMs} ms downtime`,
    )
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const HOST = 'host1'
const WARM_UP_MS = 1_000
const BASELINE_TURNS = 3
const STAY_MS = 150
const STAY_SETTLE_MS = 1_200
/** From one migration to the next at least, so that SMRs of the last are not what limits this. */
const INTERVAL_MS = 3_500
const SLOW_MIB = 20
const ABORT_AFTER_MS = 1_500
const KILL_AFTER_MS = 1_500
const QUIET_MS = 300
const RESUME_LIMIT_MS = 5_000
