/**
 * Many random moves among many sites, under loss: does all of it converge, how long does a move
 * take, how much does it say?
 *
 * Each EID that moves has correspondents elsewhere that send to it before, during and after. A move
 * has converged when a packet of each of them, sent after the switch, came straight to the new site:
 * not held, not redirected on its way. Figures of control messages are those of the time of the
 * moves less what the same time costs without moves (refreshes), measured before. The invariants are
 * judged as in every run: at each step, table by table in turn, and whole when all is at rest.
 */
import type { ModelPacket } from '../datapath/model-packet.js'
import { judgeQuiet, judgeRest, judgeSilence } from './at-rest.js'
import { describeFaultMix, explainsLoss, type FaultMix, noFaults } from './faults.js'
import type { Host, Traffic } from './host.js'
import { type Invariant, InvariantViolation } from './invariants.js'
import type { Totals } from './ledger.js'
import { drawTiming, type MoveOutcome, moveHost } from './mover.js'
import type { Prng } from './prng.js'
import { createScaleTopology, type ScaleSize } from './scale-topology.js'
import { createWorld, USUAL_DELAYS, type World } from './world.js'

export interface ScaleOptions extends ScaleSize {
  readonly seed: string
  /** Orchestrated moves in all; ten per site unless told otherwise. */
  readonly moves?: number
  /** Share of control datagrams and of encapsulated packets that the core loses. */
  readonly loss: number
  readonly onLine?: (line: string) => void
}

export interface Percentiles {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
}

export interface ScaleResult {
  readonly seed: string
  readonly sites: number
  readonly eids: number
  readonly ok: boolean
  readonly violation:
    | { readonly invariant: Invariant; readonly message: string; readonly atMs: number }
    | undefined
  readonly faults: string
  readonly hash: string
  readonly virtualMs: number
  readonly steps: number
  /** Asked for, and those whose endpoint switched. */
  readonly moves: number
  readonly switched: number
  /** Moves whose correspondents did not all get through directly within `PATIENCE_MS`. */
  readonly unconverged: number
  /** From the switch to the first direct packet of the last correspondent, in ms. */
  readonly convergenceMs: Percentiles
  /** From the request to "ready", and the longest pause of a correspondent's packets, in ms. */
  readonly gapMs: Percentiles
  /** Control messages per move beyond the background, by kind, and all of them. */
  readonly messagesPerMove: Readonly<Record<string, number>>
  readonly messagesPerMoveTotal: number
  /** Without moves, per site and minute: refreshes. */
  readonly backgroundPerSiteMinute: number
  readonly totals: Totals
  readonly sent: Readonly<Record<string, number>>
}

/** The world of this size, from the seed, to its end. */
export function runScale(options: ScaleOptions): ScaleResult {
  const { sites, eids, loss, seed } = options
  const errors = { loss, duplication: 0, reordering: 0 }
  const mix: FaultMix = {
    ...noFaults(USUAL_DELAYS),
    errors: { control: { ...errors, corruption: 0 }, data: errors },
    moves: ['orchestrated'],
  }
  const world = createWorld(createScaleTopology({ sites, eids }), {
    seed,
    delays: mix.delays,
    explainsLoss: explainsLoss(mix),
    compareInTurn: true,
    announceMs: ANNOUNCE_MS,
    maximumSteps: MAXIMUM_STEPS,
    ...(options.onLine === undefined ? {} : { onLine: options.onLine }),
  })
  world.compareEvery(COMPARE_MS)
  const wanted = options.moves ?? sites * MOVES_PER_SITE
  const state: State = {
    wanted,
    begun: 0,
    over: 0,
    rows: [],
    busy: new Set(),
    watched: new Map(),
    before: new Map(),
    after: new Map(),
    background: new Map(),
    movesMs: 0,
  }
  let violation: ScaleResult['violation']
  try {
    perform(world, mix, state)
  } catch (cause) {
    if (!(cause instanceof InvariantViolation)) throw cause
    violation = { invariant: cause.invariant, message: cause.message, atMs: cause.at }
  }
  return resultOf(world, options, mix, state, violation)
}

/** One packet flow towards an EID on the move. */
interface Watched {
  readonly traffic: Traffic
  /** When packets sent from then on count, undefined before the switch. */
  from: number | undefined
  directAt: number | undefined
  lastAt: number | undefined
  gapMs: number
}

interface Row {
  readonly outcome: MoveOutcome
  /** Undefined when it did not come to that. */
  readonly convergedMs: number | undefined
  readonly gapMs: number
}

interface State {
  readonly wanted: number
  begun: number
  over: number
  readonly rows: Row[]
  readonly busy: Set<Host>
  readonly watched: Map<ModelPacket['flow'], Watched>
  /** Messages by kind: when moves begin, when they are over, in a minute without. */
  before: Map<string, number>
  after: Map<string, number>
  background: Map<string, number>
  /** How long the moves took, in ms. */
  movesMs: number
}

function perform(world: World, mix: FaultMix, state: State): void {
  world.onDelivered((packet) => noteDelivery(world, state, packet))
  world.run(BEGIN_MS)
  world.network.setErrors(mix.errors)
  const quiet = new Map(world.sent)
  world.run(BEGIN_MS + BACKGROUND_MS)
  state.before = new Map(world.sent)
  state.background = difference(state.before, quiet)
  const prng = world.prng.split('moves')
  const everyMs = MOVES_MS / state.wanted
  const start = (): void => {
    if (state.begun >= state.wanted) return
    state.begun += 1
    beginMove(world, prng.split(String(state.begun)), state)
    world.timeline.after(prng.exponential(everyMs), start)
  }
  world.timeline.after(0, start)
  while (state.over < state.wanted) world.run(world.timeline.now() + STEP_MS)
  state.after = new Map(world.sent)
  state.movesMs = world.timeline.now() - BEGIN_MS - BACKGROUND_MS
  world.network.heal()
  world.run(world.timeline.now() + LIVENESS_MS)
  const since = world.timeline.now()
  proveReachable(world, prng.split('proof'))
  world.run(world.timeline.now() + ARRIVAL_MS)
  world.compareAll()
  judgeRest(world, since)
  world.run(world.timeline.now() + SILENCE_MS)
  judgeSilence(world)
  const before = new Map(world.sent)
  world.run(world.timeline.now() + SILENCE_MS)
  judgeQuiet(world, before)
}

function beginMove(world: World, prng: Prng, state: State): void {
  const { hosts, timeline } = world
  const host = pickIdle(world, prng, state)
  const elsewhere = host.specification.sockets.filter((one) => one.site !== host.socket?.site)
  const socket = prng.pick(elsewhere)
  const flows: Watched[] = []
  for (let count = 0; count < CORRESPONDENTS; count += 1) {
    const other = pickIdle(world, prng, state)
    const traffic = hosts.traffic(other, host, 4)!
    const watched: Watched = {
      traffic,
      from: undefined,
      directAt: undefined,
      lastAt: undefined,
      gapMs: 0,
    }
    flows.push(watched)
    state.watched.set(traffic.books.flow, watched)
  }
  let goesOn = true
  const hurryAt = timeline.now() + WARM_UP_MS - 2 * SLOW_EVERY_MS
  for (const flow of flows) {
    const { traffic } = flow
    const send = (): void => {
      if (!goesOn) return
      hosts.send(traffic, PACKET_BYTES)
      const isQuick = timeline.now() >= hurryAt && flow.directAt === undefined
      const everyMs = isQuick ? PACKET_EVERY_MS : SLOW_EVERY_MS
      timeline.after(everyMs * prng.between(0.9, 1.1), send)
    }
    timeline.after(SLOW_EVERY_MS * prng.fraction(), send)
  }
  const finish = (outcome: MoveOutcome): void => {
    goesOn = false
    // Moves that come at once would find a host on its way; what is under way arrives first.
    timeline.after(ARRIVAL_MS, () => endMove(world, state, host, flows, outcome))
  }
  const wait = (outcome: MoveOutcome): void => {
    const { switchedAt } = outcome
    const isOver =
      switchedAt === undefined ||
      flows.every((one) => one.directAt !== undefined) ||
      timeline.now() > switchedAt + PATIENCE_MS
    if (isOver) finish(outcome)
    else timeline.after(PACKET_EVERY_MS, () => wait(outcome))
  }
  timeline.after(WARM_UP_MS, () => {
    const timing = drawTiming(prng)
    moveHost(world, host, socket, 'orchestrated', timing, wait, () => {
      for (const one of flows) one.from = timeline.now()
    })
  })
}

function pickIdle(world: World, prng: Prng, state: State): Host {
  for (let attempt = 0; attempt < MAXIMUM_PICKS; attempt += 1) {
    const host = prng.pick(world.hosts.all)
    if (state.busy.has(host)) continue
    state.busy.add(host)
    return host
  }
  throw new Error('too few EIDs for so many moves at once')
}

function noteDelivery(world: World, state: State, packet: ModelPacket): void {
  const watched = state.watched.get(packet.flow)
  if (watched === undefined) return
  const now = world.timeline.now()
  const { from } = watched
  const counts = from !== undefined && watched.directAt === undefined
  if (watched.lastAt !== undefined && counts)
    watched.gapMs = Math.max(watched.gapMs, now - watched.lastAt)
  watched.lastAt = now
  if (from === undefined || watched.directAt !== undefined || packet.redirects > 0) return
  if (watched.traffic.books.sentAt[packet.sequence]! >= from) watched.directAt = now
}

function endMove(
  world: World,
  state: State,
  host: Host,
  flows: readonly Watched[],
  outcome: MoveOutcome,
): void {
  const { ledger } = world
  state.busy.delete(host)
  let convergedMs: number | undefined = 0
  let gapMs = 0
  for (const { traffic, directAt, gapMs: gap } of flows) {
    const { books, from } = traffic
    state.busy.delete(from)
    state.watched.delete(books.flow)
    gapMs = Math.max(gapMs, gap)
    const { switchedAt } = outcome
    if (directAt === undefined || switchedAt === undefined) convergedMs = undefined
    else if (convergedMs !== undefined) convergedMs = Math.max(convergedMs, directAt - switchedAt)
    if (books.underWay.some((count) => count > 0))
      world.invariants.violate('I6', `${books.name}: packets are neither delivered nor lost`)
    ledger.retire(books)
  }
  state.rows.push({ outcome, convergedMs, gapMs })
  state.over += 1
}

/** When all is settled, random pairs reach each other, without a loss. */
function proveReachable(world: World, prng: Prng): void {
  const { hosts, timeline } = world
  for (let count = 0; count < PROOFS; count += 1) {
    const [from, to] = [prng.pick(hosts.all), prng.pick(hosts.all)]
    if (from === to) continue
    const traffic = hosts.traffic(from, to, 4)!
    timeline.after(prng.between(0, ARRIVAL_MS / 2), () => hosts.send(traffic, PACKET_BYTES))
  }
}

function resultOf(
  world: World,
  { seed, sites, eids }: ScaleOptions,
  mix: FaultMix,
  state: State,
  violation: ScaleResult['violation'],
): ScaleResult {
  const switched = state.rows.filter(({ outcome }) => outcome.switchedAt !== undefined)
  const converged = switched.flatMap(({ convergedMs }) =>
    convergedMs === undefined ? [] : [convergedMs],
  )
  const messages = perMove(state)
  const total = Object.values(messages).reduce((sum, one) => sum + one, 0)
  const quiet = [...state.background].reduce((sum, [, count]) => sum + count, 0)
  return {
    seed,
    sites,
    eids,
    ok: violation === undefined,
    violation,
    faults: describeFaultMix(mix),
    hash: world.trace.hash(),
    virtualMs: world.timeline.now(),
    steps: world.timeline.steps(),
    moves: state.rows.length,
    switched: switched.length,
    unconverged: switched.length - converged.length,
    convergenceMs: percentiles(converged),
    gapMs: percentiles(switched.map(({ gapMs }) => gapMs)),
    messagesPerMove: messages,
    messagesPerMoveTotal: rounded(total),
    backgroundPerSiteMinute: rounded(quiet / sites / (BACKGROUND_MS / 60_000)),
    totals: world.ledger.totals(),
    sent: sorted(world.sent),
  }
}

/** Of each kind what was said in the time of the moves, less the background of as long a time. */
function perMove(state: State): Record<string, number> {
  const perMove: Record<string, number> = {}
  const moves = Math.max(1, state.rows.length)
  for (const [kind, count] of [...difference(state.after, state.before)].sort(byName)) {
    // Probes go with who sends to whom, and with time.
    if (kind.startsWith('probe')) continue
    const usual = ((state.background.get(kind) ?? 0) * state.movesMs) / BACKGROUND_MS
    perMove[kind] = rounded(Math.max(0, count - usual) / moves)
  }
  return perMove
}

function difference(
  after: ReadonlyMap<string, number>,
  before: ReadonlyMap<string, number>,
): Map<string, number> {
  return new Map([...after].map(([kind, count]) => [kind, count - (before.get(kind) ?? 0)]))
}

/** Nearest rank; zeros of an empty list. */
export function percentiles(values: readonly number[]): Percentiles {
  const inOrder = [...values].sort((a, b) => a - b)
  const at = (share: number): number =>
    rounded(inOrder[Math.max(0, Math.ceil(share * inOrder.length) - 1)] ?? 0)
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) }
}

function sorted(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].sort(byName))
}

function byName([a]: readonly [string, number], [b]: readonly [string, number]): number {
  return a < b ? -1 : 1
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100
}

const MOVES_PER_SITE = 10
/** The moves are spread over this, whatever their number. */
const MOVES_MS = 100_000
const CORRESPONDENTS = 2
const PACKET_EVERY_MS = 10
const PACKET_BYTES = 200
/**
 * Correspondents begin so long before the move: their caches are warm, and old enough that nothing
 * keeps them from asking again (once a second per EID-prefix, RFC 9301 §5.3).
 */
const WARM_UP_MS = 1500
const SLOW_EVERY_MS = 100
/** Longer than a lost message and all its repetitions take. */
const PATIENCE_MS = 10_000
/** Switched on and registered, before anything is lost. */
const ANNOUNCE_MS = 20_000
const BEGIN_MS = 25_000
/** One refresh of everything. */
const BACKGROUND_MS = 60_000
const STEP_MS = 1000
/** Longer than the pause between two repetitions of a register. */
const LIVENESS_MS = 65_000
/** Longer than anything is held, and than a packet is on its way. */
const ARRIVAL_MS = 6000
const SILENCE_MS = 6000
const PROOFS = 1000
const COMPARE_MS = 30_000
const MAXIMUM_PICKS = 1000
const MAXIMUM_STEPS = 200_000_000
