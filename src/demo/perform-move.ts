/**
 * One move of the endpoint, as somebody outside would do it: ask the destination over its HTTP API,
 * switch the link when it says ready, and look at the move resource until it has converged.
 *
 * orchestrated: request, ready, switch. blackout: the same, but the endpoint is frozen and its link
 * dead for a while in between. live: as a hypervisor does it, the endpoint runs on after ready, stops
 * with its link dead, and runs elsewhere 200 ms later; what its hypervisors see they tell, a little
 * late. detected: switch without telling anybody.
 */

import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Topology } from '../config/topology-schema.js'
import { apiRequest, listIn } from '../lab/api-request.js'
import { announceEndpoint } from '../lab/lab.js'
import { socketOf } from '../lab/names.js'
import type { PanelControl } from '../lab/panel.js'
import { addressesOf } from '../lab/topology.js'
import type { Trigger } from './analysis.js'
import type { Traffic } from './traffic.js'

export interface MoveContext {
  readonly topology: Topology
  readonly endpoint: string
  readonly instanceId: number
  readonly panel: PanelControl
  readonly traffic: Pick<Traffic, 'freeze' | 'thaw'>
}

export interface PerformedMove {
  readonly trigger: Trigger
  readonly from: string
  readonly to: string
  readonly requestedNs: number
  readonly switchedNs: number
  /** From the request to "ready"; undefined for a detected move. */
  readonly readyMs: number | undefined
  /** What the destination's move resource says at the end. */
  readonly state: string
  readonly timeline: readonly { readonly stage: string; readonly afterMs: number }[]
  /** Why it failed, undefined when it did not. */
  readonly failure: string | undefined
  /**
   * Frames from the old cloud that reached the endpoint after the switch: none, or the panel lies.
   */
  readonly leakedFrames: number
  /** Frames from the old cloud that the panel kept from the endpoint after the switch. */
  readonly refusedFrames: number
}

/** Performs one move; a refusal by the API becomes a `failure`, and the link stays where it was. */
export async function performMove(
  context: MoveContext,
  to: string,
  trigger: Trigger,
): Promise<PerformedMove> {
  const { topology, endpoint, panel, traffic } = context
  const from = panel.active() ?? '?'
  const requestedNs = monotonicNs()
  let moveId: string | undefined
  let readyMs: number | undefined
  if (trigger !== 'detected') {
    const answer = await requestMove(context, to, trigger === 'live' ? 'live' : 'switch')
    readyMs = sinceMs(requestedNs)
    if ('failure' in answer) {
      const failed = { trigger, from, to, requestedNs, switchedNs: requestedNs, readyMs }
      return {
        ...failed,
        state: 'refused',
        timeline: [],
        leakedFrames: 0,
        refusedFrames: 0,
        ...answer,
      }
    }
    moveId = answer.moveId
  }
  if (trigger === 'blackout') {
    await traffic.freeze()
    panel.block()
    await pause(BLACKOUT_MS)
  }
  if (trigger === 'live') {
    await pause(LIVE_RUN_MS)
    await standStill(context, (agoMs) => tellEvent(context, from, { event: 'stopped', agoMs }))
  }
  panel.flip(to)
  const switchedNs = monotonicNs()
  const before = panel.counters()[from]!
  if (trigger === 'blackout' || trigger === 'live') traffic.thaw()
  // Not waited for: the endpoint's own packets are faster, and either is evidence.
  const announced = pause(ANNOUNCE_MS).then(() => announceEndpoint(topology, endpoint))
  if (trigger === 'live') await tellEvent(context, to, { event: 'running' })
  const outcome = await followMove(context, to, moveId, requestedNs)
  await announced
  const after = panel.counters()[from]!
  const leakedFrames = after.forwardedDown - before.forwardedDown
  const refusedFrames = after.dropped - before.dropped
  const measured = { leakedFrames, refusedFrames }
  return { trigger, from, to, requestedNs, switchedNs, readyMs, ...measured, ...outcome }
}

/**
 * A virtual machine stops with its link dead and runs nowhere for 200 ms; the caller plugs it in
 * elsewhere. `tell` is called when its hypervisor would tell of the stop; resolves with the moment of
 * the stop, in nanoseconds of CLOCK_MONOTONIC.
 */
export async function standStill(
  { panel, traffic }: Pick<MoveContext, 'panel' | 'traffic'>,
  tell: (agoMs: number) => Promise<void>,
): Promise<number> {
  await traffic.freeze()
  panel.block()
  const stoppedNs = monotonicNs()
  await pause(EVENT_MS)
  await tell(sinceMs(stoppedNs))
  await pause(LIVE_BLACKOUT_MS - sinceMs(stoppedNs))
  return stoppedNs
}

/** What the hypervisor of `site` says of the endpoint to the daemon there. */
export async function tellEvent(
  { topology, endpoint, instanceId }: MoveContext,
  site: string,
  event: { readonly event: string; readonly agoMs?: number },
): Promise<void> {
  await apiRequest(socketOf(topology.name, site), '/v1/endpoints/events', {
    method: 'POST',
    body: { eids: addressesOf(topology, endpoint), instanceId, ...event },
  })
}

/** CLOCK_MONOTONIC in nanoseconds, the clock of the packet records. */
export function monotonicNs(): number {
  return Number(process.hrtime.bigint())
}

/** Asks `to` to prepare the move; its name, or why it was refused. */
export async function requestMove(
  { topology, endpoint, instanceId }: MoveContext,
  to: string,
  mode: 'switch' | 'live',
): Promise<{ moveId: string } | { failure: string }> {
  const answer = await apiRequest(socketOf(topology.name, to), '/v1/moves', {
    method: 'POST',
    headers: { 'idempotency-key': randomUUID() },
    body: { eids: addressesOf(topology, endpoint), instanceId, mode },
    timeoutMs: REQUEST_LIMIT_MS,
  })
  const body = answer.body as { moveId?: string; error?: { code?: string; message?: string } }
  if (answer.status < 300 && body?.moveId) return { moveId: body.moveId }
  return { failure: body?.error?.message ?? `${to} answered ${answer.status}` }
}

/** Looks at the move resource until it has converged or failed, or until a limit. */
async function followMove(
  { topology, endpoint }: MoveContext,
  to: string,
  moveId: string | undefined,
  requestedNs: number,
): Promise<Pick<PerformedMove, 'state' | 'timeline' | 'failure'>> {
  const socket = socketOf(topology.name, to)
  const own = new Set(addressesOf(topology, endpoint))
  // The API dates stages by the wall clock, which needs no correction for the answer's own way.
  const requestedAt = Date.now() - sinceMs(requestedNs)
  const until = performance.now() + FOLLOW_LIMIT_MS
  let [state, timeline] = ['unknown', [] as PerformedMove['timeline'][number][]]
  for (;;) {
    const { body } = await apiRequest(socket, '/v1/moves')
    const passedMs = sinceMs(requestedNs)
    const views = listIn(body) as unknown as MoveAnswer[]
    // A detected move has no name yet: it is one of ours that began after the switch.
    const mine = views.filter((view) => {
      if (moveId !== undefined) return view.moveId === moveId
      const began = Math.max(0, ...view.timeline.map(({ agoMs }) => agoMs))
      const ours = view.eids.some((eid) =>
        own.has(eid.replace(/^\[\d+\]/, '').replace(/\/\d+$/, '')),
      )
      return view.trigger === 'detected' && ours && began < passedMs
    })
    if (mine.length > 0) {
      const states = mine.map((view) => view.state)
      state =
        states.find((each) => each === 'failed') ??
        states.find((each) => each !== 'converged') ??
        'converged'
      timeline = mine
        .flatMap((view) => view.timeline)
        .map(({ stage, at }) => ({ stage, afterMs: Math.max(0, Date.parse(at) - requestedAt) }))
        .sort((left, right) => left.afterMs - right.afterMs)
      if (state === 'failed') {
        return { state, timeline, failure: mine.find(({ reason }) => reason)?.reason ?? 'failed' }
      }
      const complete = moveId !== undefined || mine.flatMap(({ eids }) => eids).length >= own.size
      if (state === 'converged' && complete) return { state, timeline, failure: undefined }
    }
    if (performance.now() > until) return { state, timeline, failure: undefined }
    await new Promise((resolve) => setTimeout(resolve, FOLLOW_EVERY_MS))
  }
}

interface MoveAnswer {
  readonly moveId: string
  readonly trigger: string
  readonly state: string
  readonly reason?: string
  readonly eids: readonly string[]
  readonly timeline: readonly {
    readonly stage: string
    readonly agoMs: number
    readonly at: string
  }[]
}

function sinceMs(startNs: number): number {
  return (monotonicNs() - startNs) / 1e6
}

const BLACKOUT_MS = 50
const LIVE_RUN_MS = 400
const LIVE_BLACKOUT_MS = 200
/** How late hypervisors tell of a stop (measured: 1 to 8 ms). */
const EVENT_MS = 5
/** How long after the switch a hypervisor announces a machine (QEMU's announce-initial). */
const ANNOUNCE_MS = 50
const REQUEST_LIMIT_MS = 10_000
const FOLLOW_LIMIT_MS = 2_000
const FOLLOW_EVERY_MS = 25
