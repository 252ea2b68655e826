/**
 * What hypervisors and their orchestrators do to a host: the ways in which a move can go.
 *
 * orchestrated: prepared, then the link switches. blackout: the same with a pause in between.
 * absent: prepared, and never comes. aborted: prepared and taken back. late: comes after the
 * destination gave up. impatient: switches before the destination is ready. detected: just switches.
 * live: a machine that runs on at its source, stops there and runs at the destination; live-failed: and
 * runs at its source again. Its hypervisors tell of it late, and not always.
 * A move is asked for at the destination; whoever asks waits for "ready" as an API client does.
 */
import type { Command } from '../control/command.js'
import type { Host } from './host.js'
import type { Prng } from './prng.js'
import type { Socket } from './topology.js'
import type { World } from './world.js'

export const MOVE_KINDS = [
  'orchestrated',
  'blackout',
  'absent',
  'aborted',
  'late',
  'impatient',
  'detected',
  'live',
  'live-failed',
] as const
export type MoveKind = (typeof MOVE_KINDS)[number]

/** Ways that lose nothing when nothing else goes wrong. */
export const LOSSLESS_MOVES: readonly MoveKind[] = ['orchestrated', 'blackout', 'absent', 'aborted']

export interface MoveOutcome {
  readonly host: string
  readonly kind: MoveKind
  readonly to: string
  readonly startedAt: number
  /** When the link switched; undefined when it did not. */
  readonly switchedAt: number | undefined
  /** `ready`, or the code of the refusal. */
  readonly answer: string
}

/** Times of one move, in ms. */
export interface MoveTiming {
  readonly blackoutMs: number
  /** From "ready" to the switch. */
  readonly switchMs: number
  /** From the switch to the first word of the host. */
  readonly announceMs: number
  readonly how: 'arp' | 'rarp'
  /** Beyond the endpoint time-out. */
  readonly lateMs: number
  /** How late the news of hypervisors is; undefined: it is lost. */
  readonly stoppedNewsMs?: number | undefined
  readonly runningNewsMs?: number | undefined
}

export function drawTiming(prng: Prng): MoveTiming {
  return {
    blackoutMs: prng.between(5, 80),
    switchMs: prng.chance(0.5) ? 0 : prng.exponential(20),
    announceMs: prng.between(0, 5),
    how: prng.chance(0.3) ? 'rarp' : 'arp',
    lateMs: prng.between(100, 2000),
    stoppedNewsMs: prng.chance(0.8) ? prng.exponential(5) : undefined,
    runningNewsMs: prng.chance(0.8) ? prng.exponential(5) : undefined,
  }
}

/**
 * Moves `host` to `socket`; `onEnd` is called once, when the move is over for the mover, `onSwitch`
 * when the link has switched, if it does.
 */
export function moveHost(
  world: World,
  host: Host,
  socket: Socket,
  kind: MoveKind,
  timing: MoveTiming,
  onEnd: (outcome: MoveOutcome) => void,
  onSwitch: () => void = () => {},
): void {
  const { timeline, hosts } = world
  const startedAt = timeline.now()
  const end = (switchedAt: number | undefined, answer: string): void =>
    onEnd({ host: host.name, kind, to: socket.site, startedAt, switchedAt, answer })

  function arrive(answer: string): void {
    hosts.attach(host, socket)
    onSwitch()
    const at = timeline.now()
    const speak = (): void => {
      if (host.socket === socket) hosts.announce(host, timing.how)
    }
    // A word that is lost is repeated, as gratuitous ARPs are.
    for (const more of REPETITIONS_MS) timeline.after(timing.announceMs + more, speak)
    timeline.after(timing.announceMs + SETTLE_MS, () => {
      if (host.socket === socket) hosts.announce(host, 'arp')
      end(at, answer)
    })
  }

  function depart(pauseMs: number, answer: string): void {
    if (pauseMs === 0) {
      arrive(answer)
      return
    }
    hosts.attach(host, undefined)
    timeline.after(pauseMs, () => arrive(answer))
  }

  function cancel(moveId: string): void {
    world.command(socket.site, { kind: 'cancel-move', moveId }, () => end(undefined, 'ready'))
  }

  /** What a hypervisor says; whether anybody listens is another matter. */
  function tell(site: string, command: Command, afterMs: number | undefined): void {
    if (afterMs !== undefined) timeline.after(afterMs, () => world.command(site, command, () => {}))
  }

  function migrate(moveId: string): void {
    const { eids } = host.specification
    const home = host.socket
    if (home === undefined) {
      end(undefined, 'ready')
      return
    }
    const { stoppedNewsMs, runningNewsMs, blackoutMs } = timing
    hosts.pause(host)
    const agoMs = stoppedNewsMs ?? 0
    tell(home.site, { kind: 'endpoint-stopped', eids, agoMs }, stoppedNewsMs)
    timeline.after(blackoutMs, () => {
      if (kind === 'live') {
        hosts.resume(host, socket)
        tell(socket.site, { kind: 'endpoint-running', eids }, runningNewsMs)
        arrive('ready')
        return
      }
      hosts.resume(host, home)
      tell(home.site, { kind: 'endpoint-resumed', eids }, runningNewsMs)
      cancel(moveId)
    })
  }

  function ready(moveId: string): void {
    const { endpointTimeoutMs } = world.node(socket.site).specification.config.mobility
    const wait = timing.switchMs
    if (kind === 'live' || kind === 'live-failed')
      timeline.after(LIVE_MS + wait, () => migrate(moveId))
    else if (kind === 'absent')
      timeline.after(endpointTimeoutMs + SETTLE_MS, () => end(undefined, 'ready'))
    else if (kind === 'aborted') timeline.after(wait, () => cancel(moveId))
    else if (kind === 'late')
      timeline.after(endpointTimeoutMs + timing.lateMs, () => depart(0, 'ready'))
    else timeline.after(wait, () => depart(kind === 'blackout' ? timing.blackoutMs : 0, 'ready'))
  }

  world.timeline.after(0, () =>
    world.trace.line(`${timeline.now()} ${host.name}: ${kind} move to ${socket.site}`),
  )
  if (kind === 'detected') {
    depart(timing.blackoutMs > 60 ? timing.blackoutMs : 0, 'none')
    return
  }
  const eids = host.specification.eids
  const mode = kind === 'live' || kind === 'live-failed' ? ('live' as const) : ('switch' as const)
  world.command(socket.site, { kind: 'start-move', eids, source: undefined, mode }, (result) => {
    if (kind === 'impatient') return
    if (result.ok) ready((result.value as { readonly moveId: string }).moveId)
    else end(undefined, result.code)
  })
  if (kind === 'impatient') timeline.after(timing.switchMs, () => depart(0, 'none'))
}

/** So long a machine runs on at its source at least. */
const LIVE_MS = 100
/** Gratuitous ARP is sent three times. */
const REPETITIONS_MS = [0, 100, 300]
/** After this the mover thinks of something else. */
const SETTLE_MS = 500
