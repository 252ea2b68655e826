/**
 * One run from one seed: faults and moves first (safety), then peace (liveness), then silence; the
 * verdict, the figures and the hash of the trace. The same seed gives the same run on every machine.
 */
import type { Node } from '../control/input-output.js'
import { judgeQuiet, judgeRest, judgeSilence } from './at-rest.js'
import {
  applyFaults,
  describeFaultMix,
  drawFaultMix,
  explainsLoss,
  type FaultMix,
  maximumRedirects,
  noFaults,
} from './faults.js'
import type { Host, Traffic } from './host.js'
import { type Invariant, InvariantViolation } from './invariants.js'
import type { Totals } from './ledger.js'
import { drawTiming, type MoveKind, type MoveOutcome, moveHost } from './mover.js'
import { createPrng, type Prng } from './prng.js'
import type { MakeNode } from './simulated-node.js'
import type { SimulatedTopology } from './topology.js'
import { createWorld, USUAL_DELAYS, type World } from './world.js'

export interface RunOptions {
  readonly seed: string
  /**
   * swarm: faults and moves from the seed. story: the moves of the topology file, in order, without
   * faults.
   */
  readonly mode: 'swarm' | 'story'
  /** Length of the safety phase of a swarm, in ms. */
  readonly safetyMs?: number
  readonly wrap?: (node: Node, name: string) => Node
  readonly makeNode?: MakeNode
  readonly without?: readonly Invariant[]
  /** Instead of what the seed would draw. */
  readonly mix?: FaultMix
  readonly onLine?: (line: string) => void
}

export interface RunResult {
  readonly seed: string
  readonly ok: boolean
  readonly violation:
    | { readonly invariant: Invariant; readonly message: string; readonly atMs: number }
    | undefined
  readonly faults: string
  readonly hash: string
  readonly virtualMs: number
  readonly steps: number
  readonly totals: Totals
  readonly moves: readonly MoveRow[]
  /** Control datagrams by kind. */
  readonly sent: Readonly<Record<string, number>>
  /** The last lines of the trace when it failed. */
  readonly tail: readonly string[]
}

export interface MoveRow extends MoveOutcome {
  /** Packets to and from the host sent in its time that never arrived. */
  readonly lost: number
  /** Lost on the old segment, by senders there that took the host for a neighbour still. */
  readonly lostBeside: number
  readonly duplicated: number
  /** Longest pause between two deliveries to the host in that time. */
  readonly gapMs: number
}

const SAFETY_MS = 15_000
/** Everything must have settled by then: register repetitions are at most a minute apart. */
const LIVENESS_MS = 120_000
const STRICT_MS = 4000
/** Longer than anything is held. */
const SILENCE_MS = 10_000
/** By then every host is registered, also when registers have overtaken each other. */
const BEGIN_MS = 4000

export function runSimulation(topology: SimulatedTopology, options: RunOptions): RunResult {
  const prng = createPrng(options.seed)
  const drawn = (): FaultMix =>
    options.mode === 'swarm' ? drawFaultMix(prng.split('mix')) : noFaults(USUAL_DELAYS)
  const mix = options.mix ?? drawn()
  const calm = options.mode === 'story' && topology.moves.some((one) => one.trigger === 'detected')
  const world = createWorld(topology, {
    seed: options.seed,
    delays: mix.delays,
    explainsLoss: calm ? () => true : explainsLoss(mix),
    maximumRedirects: maximumRedirects(mix),
    without: options.without ?? [],
    ...(options.wrap === undefined ? {} : { wrap: options.wrap }),
    ...(options.makeNode === undefined ? {} : { makeNode: options.makeNode }),
    ...(options.onLine === undefined ? {} : { onLine: options.onLine }),
  })
  const outcomes: MoveOutcome[] = []
  let violation: RunResult['violation']
  try {
    if (options.mode === 'swarm') swarm(world, mix, options.safetyMs ?? SAFETY_MS, outcomes)
    else story(world, outcomes)
  } catch (cause) {
    if (!(cause instanceof InvariantViolation)) throw cause
    const { invariant, message, at } = cause
    violation = { invariant, message, atMs: at }
  }
  return {
    seed: options.seed,
    ok: violation === undefined,
    violation,
    faults: options.mode === 'story' ? 'none' : describeFaultMix(mix),
    hash: world.trace.hash(),
    virtualMs: world.timeline.now(),
    steps: world.timeline.steps(),
    totals: world.ledger.totals(),
    moves: outcomes.map((one) => rowOf(world, one)),
    sent: Object.fromEntries([...world.sent].sort(([a], [b]) => (a < b ? -1 : 1))),
    tail: violation === undefined ? [] : world.trace.tail(),
  }
}

function swarm(world: World, mix: FaultMix, safetyMs: number, outcomes: MoveOutcome[]): void {
  const peace = BEGIN_MS + safetyMs
  const strict = peace + LIVENESS_MS
  world.timeline.at(BEGIN_MS, () => applyFaults(world, mix, peace))
  world.timeline.at(peace + AFTERMATH_MS, () => world.compareEvery(RARELY_MS))
  const traffic = chooseTraffic(world)
  for (const one of traffic) {
    send(world, one, BEGIN_MS, peace + AFTERMATH_MS, FAST_MS)
    send(world, one, peace + AFTERMATH_MS, strict, SLOW_MS)
    send(world, one, strict, strict + STRICT_MS, FAST_MS)
  }
  for (const host of movable(world))
    wander(world, world.prng.split(`mover/${host.name}`), host, mix, peace, outcomes)
  chatter(world, strict + STRICT_MS)
  world.run(strict + STRICT_MS)
  rest(world, strict)
}

/** The last judgement: at rest, then silent, then quiet. */
function rest(world: World, since: number): void {
  world.run(world.timeline.now() + ARRIVAL_MS)
  judgeRest(world, since)
  world.run(world.timeline.now() + SILENCE_MS)
  judgeSilence(world)
  const before = new Map(world.sent)
  world.run(world.timeline.now() + SILENCE_MS)
  judgeQuiet(world, before)
}

function story(world: World, outcomes: MoveOutcome[]): void {
  const traffic = chooseTraffic(world)
  const state = { over: false }
  for (const one of traffic) sendWhile(world, one, () => !state.over)
  const moves = [...world.topology.moves]
  const prng = world.prng.split('story')
  const next = (): void => {
    const move = moves.shift()
    if (move === undefined) {
      world.timeline.after(STORY_PAUSE_MS, () => {
        state.over = true
      })
      return
    }
    const host = world.hosts.byName(move.endpoint)
    const socket = host.specification.sockets.find((one) => one.site === move.to)!
    const timing = { ...drawTiming(prng), blackoutMs: move.trigger === 'blackout' ? 50 : 0 }
    moveHost(world, host, socket, move.trigger, { ...timing, how: 'arp' }, (outcome) => {
      outcomes.push(outcome)
      world.timeline.after(STORY_PAUSE_MS, next)
    })
  }
  world.timeline.at(BEGIN_MS + STORY_PAUSE_MS, next)
  while (!state.over) world.run(world.timeline.now() + STORY_PAUSE_MS)
  rest(world, world.timeline.now() - ARRIVAL_MS)
}

function movable(world: World): Host[] {
  return world.hosts.all.filter((host) => host.specification.sockets.length > 1)
}

/** Flows in both directions between what moves and what stays elsewhere, both families. */
function chooseTraffic(world: World): Traffic[] {
  const found: Traffic[] = []
  const add = (from: Host, to: Host, family: 4 | 6): void => {
    const one = world.hosts.traffic(from, to, family)
    if (one !== undefined && found.length < MAXIMUM_FLOWS) found.push(one)
  }
  const moving = movable(world)
  const still = world.hosts.all.filter((host) => !moving.includes(host))
  for (const other of still)
    for (const host of moving.length > 0 ? moving : still)
      if (host !== other)
        for (const family of [4, 6] as const) {
          add(other, host, family)
          add(host, other, family)
        }
  return found
}

function send(world: World, traffic: Traffic, from: number, until: number, everyMs: number): void {
  sendWhile(world, traffic, () => world.timeline.now() < until, from, everyMs)
}

/** Packets of a flow, about evenly spaced, from a moment of its own. */
function sendWhile(
  world: World,
  traffic: Traffic,
  goesOn: () => boolean,
  from = BEGIN_MS,
  everyMs = STORY_EVERY_MS,
): void {
  const prng = world.prng.split(`traffic/${traffic.books.name}/${from}`)
  const next = (): void => {
    if (!goesOn()) return
    world.hosts.send(traffic, PACKET_BYTES)
    world.timeline.after(everyMs * prng.between(0.9, 1.1), next)
  }
  world.timeline.at(from + everyMs * prng.fraction(), next)
}

/** One move after the other, until peace. */
function wander(
  world: World,
  prng: Prng,
  host: Host,
  mix: FaultMix,
  until: number,
  outcomes: MoveOutcome[],
): void {
  const next = (): void => {
    world.timeline.after(prng.exponential(mix.pauseMs), () => {
      if (world.timeline.now() >= until) return
      const kind: MoveKind = prng.pick(mix.moves)
      const elsewhere = host.specification.sockets.filter((one) => one !== host.socket)
      moveHost(world, host, prng.pick(elsewhere), kind, drawTiming(prng), (outcome) => {
        outcomes.push(outcome)
        next()
      })
    })
  }
  world.timeline.at(BEGIN_MS + WARM_UP_MS, next)
}

/** Hosts say who they are now and then, as neighbour tables make them do. */
function chatter(world: World, until: number): void {
  for (const host of world.hosts.all) {
    const prng = world.prng.split(`chatter/${host.name}`)
    const next = (): void => {
      world.timeline.after(CHATTER_MS * prng.between(0.5, 1.5), () => {
        if (world.timeline.now() >= until) return
        world.hosts.announce(host, 'arp')
        next()
      })
    }
    next()
  }
}

function rowOf(world: World, outcome: MoveOutcome): MoveRow {
  const from = outcome.startedAt
  const until = (outcome.switchedAt ?? from) + ROW_MS
  let [lost, lostBeside, duplicated, gapMs] = [0, 0, 0, 0]
  for (const books of world.ledger.flows()) {
    const { sourceText, destinationText } = books.flow
    const ends = [sourceText, destinationText].map((text) => world.hosts.owner(text)?.name)
    if (!ends.includes(outcome.host)) continue
    const times: number[] = []
    for (const [sequence, at] of books.sentAt.entries()) {
      if (at < from || at > until) continue
      const deliveries = books.deliveries[sequence]!
      const deliveredAt = books.deliveredAt[sequence]
      if (deliveries > 1) duplicated += deliveries - 1
      if (deliveredAt !== undefined) times.push(deliveredAt)
      else if (books.reason[sequence] === 'stale-neighbour') lostBeside += 1
      else lost += 1
    }
    times.sort((a, b) => a - b)
    for (let index = 1; index < times.length; index += 1)
      gapMs = Math.max(gapMs, times[index]! - times[index - 1]!)
  }
  return { ...outcome, lost, lostBeside, duplicated, gapMs }
}

const FAST_MS = 50
const SLOW_MS = 2000
/** Nothing much happens in peace. */
const RARELY_MS = 15_000
/** The fast traffic goes on a while after the faults. */
const AFTERMATH_MS = 3000
const STORY_EVERY_MS = 5
const STORY_PAUSE_MS = 2000
const WARM_UP_MS = 500
const CHATTER_MS = 4000
const ARRIVAL_MS = 1000
/** A move is made responsible for what is lost so long after it. */
const ROW_MS = 1000
const PACKET_BYTES = 200
const MAXIMUM_FLOWS = 8
