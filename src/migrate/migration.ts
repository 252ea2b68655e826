/**
 * One live migration as an operator would ask for it, with everything that was seen of it: QEMU's
 * stop and resume, the agents' words, the timeline of the move at the destination.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Topology } from '../config/topology-schema.js'
import { apiRequest, listIn } from '../lab/api-request.js'
import { labPaths, socketOf } from '../lab/names.js'
import type { Clouds, QemuEvent } from './clouds.js'
import { GUEST } from './guest.js'
import { type Hypervisor, virshOnHost } from './hypervisor.js'

export interface TimelineEntry {
  readonly who: string
  readonly what: string
  /** Relative to the guest's RESUME, or to the request when there was none. */
  readonly afterMs: number
}

/** Who drives it (virsh, or the source's libvirtd), and how it names its destination. */
export interface MigrationStyle {
  readonly driver: 'direct' | 'p2p'
  readonly by: 'ipv4' | 'ipv6' | 'name'
}

export interface PerformedMigration {
  readonly from: string
  readonly to: string
  readonly style: MigrationStyle
  readonly completed: boolean
  readonly failure: string | undefined
  /** Wall clock, milliseconds. */
  readonly requestedAtMs: number
  readonly endedAtMs: number
  readonly resumedAtMs: number | undefined
  /** STOP at the source to RESUME at the destination; null when either was not seen. */
  readonly vmDowntimeMs: number | null
  readonly timeline: readonly TimelineEntry[]
}

export interface MigrationOptions {
  readonly style: MigrationStyle
  /** MiB/s; undefined: as fast as it goes. */
  readonly bandwidth?: number
  /** Done once the migration is under way for so long; the reason to have it. */
  readonly meanwhile?: { readonly afterMs: number; readonly act: () => Promise<unknown> }
}

/** Migrates the guest and waits for the end; a failure is a result, not an error. */
export async function migrateGuest(
  topology: Topology,
  clouds: Clouds,
  [from, to]: readonly [Hypervisor, Hypervisor],
  options: MigrationOptions,
): Promise<PerformedMigration> {
  const { style, bandwidth, meanwhile } = options
  const requestedAtMs = wallMs()
  const args = migrationArguments(to, style)
  if (bandwidth !== undefined) args.push('--bandwidth', String(bandwidth))
  let failure: string | undefined
  const running = virshOnHost(topology, from, args).catch((cause: Error) => {
    failure = /error: (.*)/.exec(cause.message)?.[1] ?? cause.message
  })
  if (meanwhile !== undefined) {
    await new Promise((resolve) => setTimeout(resolve, meanwhile.afterMs))
    await meanwhile.act()
  }
  await running
  // The events of a migration come a little after its command has ended.
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  const endedAtMs = wallMs()
  const events = clouds.events.filter(({ atMs }) => atMs >= requestedAtMs && atMs <= endedAtMs)
  const stop = events.findLast((one) => one.hypervisor === from.name && one.event === 'STOP')
  const resume = events.findLast((one) => one.hypervisor === to.name && one.event === 'RESUME')
  const origin = resume?.atMs ?? requestedAtMs
  const timeline = [
    ...events.filter(isTelling).map(({ hypervisor, event, atMs }) => ({
      who: `qemu ${hypervisor}`,
      what: event,
      afterMs: atMs - origin,
    })),
    ...[from, to].flatMap(({ cloud }) => agentWords(topology, cloud, requestedAtMs, origin)),
    ...(await moveStages(topology, to.cloud, requestedAtMs, origin)),
  ]
    .map((entry) => ({ ...entry, afterMs: Math.round(entry.afterMs * 10) / 10 }))
    .sort((left, right) => left.afterMs - right.afterMs)
  return {
    from: from.cloud,
    to: to.cloud,
    style,
    completed: failure === undefined,
    failure,
    requestedAtMs,
    endedAtMs,
    resumedAtMs: resume?.atMs,
    vmDowntimeMs: stop && resume ? Math.round((resume.atMs - stop.atMs) * 100) / 100 : null,
    timeline,
  }
}

/** Words of virsh for a live migration of the guest to `to`. */
export function migrationArguments(to: Hypervisor, { driver, by }: MigrationStyle): string[] {
  const [ipv4, ipv6] = to.addresses
  const host = { ipv4, ipv6: `[${ipv6}]`, name: to.name }[by]
  const words = ['migrate', '--live', ...(driver === 'p2p' ? ['--p2p'] : [])]
  const uri = `qemu+tcp://${host}:${to.port}/system`
  return [...words, GUEST.name, uri, '--migrateuri', `tcp://${host}`]
}

/** The wall clock with its microseconds. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now()
}

function isTelling({ event }: QemuEvent): boolean {
  return event === 'STOP' || event === 'RESUME' || event === 'MIGRATION'
}

/** What the agent of `cloud` has logged since. */
function agentWords(
  topology: Topology,
  cloud: string,
  sinceMs: number,
  origin: number,
): TimelineEntry[] {
  let text: string
  try {
    text = readFileSync(join(labPaths(topology.name).logs, `${cloud}-agent.log`), 'utf8')
  } catch {
    return []
  }
  return text.split('\n').flatMap((line) => {
    if (line === '') return []
    const word = JSON.parse(line) as Record<string, unknown>
    const atMs = Date.parse(String(word['time']))
    if (atMs < sinceMs) return []
    const { kind, operation, subOperation, event, detail, state } = (word['input'] ?? {}) as Record<
      string,
      string
    >
    const heard = [kind, operation, subOperation, event, detail, state].filter(Boolean).join(' ')
    const did = String(word['did'] ?? '')
    const what =
      word['message'] === 'domain'
        ? `${heard}${did === '' ? '' : ` → ${did}`}`
        : [word['message'], word['reason']].filter(Boolean).join(': ')
    return [{ who: `agent ${cloud}`, what, afterMs: atMs - origin }]
  })
}

/** The stages of the moves that the destination's daemon began since. */
async function moveStages(
  topology: Topology,
  cloud: string,
  sinceMs: number,
  origin: number,
): Promise<TimelineEntry[]> {
  const answer = await apiRequest(socketOf(topology.name, cloud), '/v1/moves').catch(
    () => undefined,
  )
  return listIn(answer?.body).flatMap((move) => {
    const { trigger, timeline } = move as {
      trigger?: string
      timeline?: { stage: string; at: string }[]
    }
    return (timeline ?? [])
      .map(({ stage, at }) => ({ stage, atMs: Date.parse(at) }))
      .filter(({ atMs }) => atMs >= sinceMs)
      .map(({ stage, atMs }) => ({
        who: `move ${cloud}`,
        what: `${trigger}: ${stage}`,
        afterMs: atMs - origin,
      }))
  })
}

const SETTLE_MS = 700
