/**
 * Swarm testing: each seed draws which faults there are and how strong, prints the mix, and lets
 * them happen. Most runs have few kinds of faults, because many at once hide each other; a part has
 * none at all, and there nothing may be lost.
 */
import { type IpAddress, ipAddress } from '../lisp/address.js'
import { hostPrefix } from '../lisp/eid.js'
import { locator } from '../lisp/locator.js'
import { encodeMessage } from '../lisp/message.js'
import { MAXIMUM_REDIRECTS } from './invariants.js'
import { LOSSLESS_MOVES, MOVE_KINDS, type MoveKind } from './mover.js'
import type { Datagram, NetworkErrors } from './network.js'
import type { Prng } from './prng.js'
import type { Delays, World } from './world.js'

export interface FaultMix {
  readonly errors: NetworkErrors
  readonly delays: Delays
  /** Means between two of a kind, in ms; 0 = never. */
  readonly crashEveryMs: number
  readonly rebootEveryMs: number
  readonly partitionEveryMs: number
  readonly clogEveryMs: number
  readonly forgeryEveryMs: number
  readonly replayEveryMs: number
  readonly eventLoss: number
  readonly moves: readonly MoveKind[]
  /** Mean pause between two moves of one host, in ms. */
  readonly pauseMs: number
}

/** A mix in which nothing goes wrong. */
export function noFaults(delays: Delays): FaultMix {
  const none = { loss: 0, duplication: 0, reordering: 0 }
  return {
    errors: { control: { ...none, corruption: 0 }, data: none },
    delays,
    crashEveryMs: 0,
    rebootEveryMs: 0,
    partitionEveryMs: 0,
    clogEveryMs: 0,
    forgeryEveryMs: 0,
    replayEveryMs: 0,
    eventLoss: 0,
    moves: LOSSLESS_MOVES,
    pauseMs: 1000,
  }
}

export function drawFaultMix(prng: Prng): FaultMix {
  const delays = drawDelays(prng.split('delays'))
  const calm = { ...noFaults(delays), pauseMs: prng.pick([100, 500, 2000, 5000]) }
  const quiet = prng.chance(SHARE_WITHOUT_FAULTS)
  const kinds = MOVE_KINDS.filter((kind) => prng.chance(kind === 'orchestrated' ? 0.9 : 0.4))
  const moves = kinds.length > 0 ? kinds : (['orchestrated'] as const)
  const lossless = moves.filter((kind) => LOSSLESS_MOVES.includes(kind))
  if (quiet) return { ...calm, moves: lossless.length > 0 ? lossless : LOSSLESS_MOVES }
  // Each kind of fault is in a third of the runs, in a strength of its own.
  const some = (strongest: number): number =>
    prng.chance(1 / 3) ? strongest * prng.fraction() * prng.fraction() : 0
  const every = (leastMs: number): number =>
    prng.chance(1 / 3) ? leastMs * (1 + 4 * prng.fraction()) : 0
  return {
    errors: {
      control: {
        loss: some(0.4),
        duplication: some(0.3),
        reordering: some(0.5),
        corruption: some(0.1),
      },
      data: { loss: some(0.1), duplication: some(0.1), reordering: some(0.1) },
    },
    delays,
    crashEveryMs: every(2000),
    rebootEveryMs: prng.chance(0.3) ? every(6000) : 0,
    partitionEveryMs: every(2000),
    clogEveryMs: every(2000),
    forgeryEveryMs: every(50),
    replayEveryMs: every(100),
    eventLoss: some(0.3),
    moves,
    pauseMs: calm.pauseMs,
  }
}

/** One line: what is on, and how strong. */
export function describeFaultMix(mix: FaultMix): string {
  const { control, data } = mix.errors
  const percent = (share: number): string => `${Math.round(share * 1000) / 10}%`
  const parts = [
    ...Object.entries(control).map(([name, share]) => [`control ${name}`, share, percent(share)]),
    ...Object.entries(data).map(([name, share]) => [`data ${name}`, share, percent(share)]),
    ['events lost', mix.eventLoss, percent(mix.eventLoss)],
    ['crash every', mix.crashEveryMs, `${Math.round(mix.crashEveryMs)} ms`],
    ['reboot every', mix.rebootEveryMs, `${Math.round(mix.rebootEveryMs)} ms`],
    ['partition every', mix.partitionEveryMs, `${Math.round(mix.partitionEveryMs)} ms`],
    ['clog every', mix.clogEveryMs, `${Math.round(mix.clogEveryMs)} ms`],
    ['forgery every', mix.forgeryEveryMs, `${Math.round(mix.forgeryEveryMs)} ms`],
    ['replay every', mix.replayEveryMs, `${Math.round(mix.replayEveryMs)} ms`],
  ] as const
  const on = parts.filter(([, strength]) => Number(strength) > 0)
  const faults = on.map(([name, , text]) => `${name} ${text}`)
  const { to } = mix.delays.leastDelayMs
  const path = `paths to ${to} ms, jitter ${mix.delays.meanJitterMs} ms`
  const moves = `moves ${mix.moves.join(' ')} every ${mix.pauseMs} ms`
  return [faults.length === 0 ? 'no faults' : faults.join(', '), path, moves].join('; ')
}

/**
 * Whether a loss for this reason can be the doing of this mix. What cannot is a violation of I1: in
 * a run without faults and with lossless moves nothing but the memory of neighbours loses packets.
 */
export function explainsLoss(mix: FaultMix): (reason: string) => boolean {
  const { control, data } = mix.errors
  const cut = mix.partitionEveryMs > 0
  const died = mix.crashEveryMs > 0 || mix.rebootEveryMs > 0
  const slow = cut || died || mix.clogEveryMs > 0
  const trouble = slow || control.loss > 0 || control.corruption > 0 || mix.eventLoss > 0
  const unprepared = mix.moves.some((kind) => !LOSSLESS_MOVES.includes(kind))
  const explained = new Set<string>(['stale-neighbour'])
  if (data.loss > 0) explained.add('network-loss')
  if (cut) explained.add('partition')
  // A control plane that gets no answer in time gives up what waits for one.
  if (trouble || unprepared)
    for (const reason of ['no-reply', 'rate-limited', 'hold-time', 'endpoint-absent'])
      explained.add(reason)
  const everything = slow || unprepared || mix.eventLoss > 0
  if (mix.replayEveryMs > 0) explained.add('ttl-expired')
  return (reason) => everything || explained.has(reason)
}

/**
 * How often a packet may be sent on under this mix. A *prepare* that was lost and is said again later
 * is obeyed until the destination objects, and so long packets go to and fro: only their TTL ends it.
 */
export function maximumRedirects(mix: FaultMix): number {
  return mix.replayEveryMs > 0 ? Number.POSITIVE_INFINITY : MAXIMUM_REDIRECTS
}

/** Lets the faults of the mix happen until `until`; then all of them end at once. */
export function applyFaults(world: World, mix: FaultMix, until: number): void {
  const { timeline, network } = world
  network.setErrors(mix.errors)
  world.setEventLoss(mix.eventLoss)
  const names = [...world.nodes.keys()]
  repeat(world, 'crash', mix.crashEveryMs, until, (prng) =>
    fell(world, prng, names, until, 'crash'),
  )
  repeat(world, 'reboot', mix.rebootEveryMs, until, (prng) =>
    fell(world, prng, names, until, 'reboot'),
  )
  repeat(world, 'partition', mix.partitionEveryMs, until, (prng) => {
    const [one, other] = [prng.pick(names), prng.pick(names)]
    const both = prng.chance(0.5)
    network.cut(one, other, true)
    if (both) network.cut(other, one, true)
    timeline.after(prng.exponential(PARTITION_MS), () => {
      network.cut(one, other, false)
      if (both) network.cut(other, one, false)
    })
  })
  repeat(world, 'clog', mix.clogEveryMs, until, (prng) => {
    const end = Math.min(until, timeline.now() + prng.exponential(CLOG_MS))
    network.clog(prng.pick(names), prng.pick(names), end)
  })
  forge(world, mix, until)
  timeline.at(until, () => {
    network.heal()
    world.setEventLoss(0)
    for (const node of world.nodes.values()) node.start()
  })
}

function repeat(
  world: World,
  name: string,
  everyMs: number,
  until: number,
  happen: (prng: Prng) => void,
): void {
  if (everyMs === 0) return
  const prng = world.prng.split(`faults/${name}`)
  const next = (): void => {
    world.timeline.after(prng.exponential(everyMs), () => {
      if (world.timeline.now() >= until) return
      happen(prng)
      next()
    })
  }
  next()
}

function fell(
  world: World,
  prng: Prng,
  names: readonly string[],
  until: number,
  how: 'crash' | 'reboot',
): void {
  const node = world.node(prng.pick(names))
  const downMs = Math.min(until - world.timeline.now(), prng.exponential(DOWN_MS))
  if (how === 'crash') node.crash()
  else world.reboot(node.name)
  world.timeline.after(downMs, () => node.start())
}

/** Answers that nobody asked for, and genuine messages said again later. */
function forge(world: World, mix: FaultMix, until: number): void {
  const { network, hosts, timeline } = world
  const heard: { readonly datagram: Datagram; readonly from: string }[] = []
  if (mix.replayEveryMs > 0)
    world.onDatagram((datagram, from) => {
      if (heard.length >= MAXIMUM_HEARD) heard.shift()
      heard.push({ datagram, from })
    })
  repeat(world, 'replay', mix.replayEveryMs, until, (prng) => {
    if (heard.length === 0) return
    const { datagram, from } = prng.pick(heard)
    network.send(from, datagram)
  })
  const xtrs = [...world.nodes.values()].filter((node) => node.datapath !== undefined)
  repeat(world, 'forgery', mix.forgeryEveryMs, until, (prng) => {
    const victim = prng.pick(xtrs).specification.nodeConfig.rlocs[0]!.address
    const eid = prng.pick(prng.pick(hosts.all).specification.eids)
    const bytes = encodeMessage({
      kind: 'map-reply',
      rlocProbe: false,
      echoNonceCapable: false,
      nonce: prng.nonce(),
      records: [
        {
          eidPrefix: hostPrefix(eid),
          ttlMinutes: 1440,
          action: 'no-action',
          authoritative: true,
          mapVersion: 0,
          locators: [locator(strangerOf(victim))],
        },
      ],
    })
    const from = strangerOf(victim)
    timeline.after(0, () =>
      network.send('stranger', { from, fromPort: 4342, to: victim, bytes, genuine: false }),
    )
  })
}

/** An RLOC that no node has (RFC 5737, RFC 3849). */
function strangerOf(victim: IpAddress): IpAddress {
  if (victim.family === 4) return ipAddress(Uint8Array.of(203, 0, 113, 66))
  return ipAddress(Uint8Array.of(0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x66))
}

function drawDelays(prng: Prng): Delays {
  return {
    leastDelayMs: { from: 0.2, to: prng.pick([1, 5, 15, 40]) },
    meanJitterMs: prng.pick([0.05, 0.2, 1, 5]),
    meanWriteMs: prng.pick([0.2, 2, 10]),
    meanEventMs: prng.pick([0.1, 0.5, 3]),
    meanHoldMs: prng.pick([0.02, 0.1]),
  }
}

const SHARE_WITHOUT_FAULTS = 0.3
const PARTITION_MS = 700
const CLOG_MS = 300
const DOWN_MS = 400
/** Datagrams an attacker remembers. */
const MAXIMUM_HEARD = 200
