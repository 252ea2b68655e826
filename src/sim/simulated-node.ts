/**
 * The shell of one node in the simulator: what the daemon is to a real one. Feeds inputs, performs
 * outputs in their order, keeps one timer at the deadline, dies and comes back.
 *
 * A crash takes the node, what it had not yet made durable and what was held; the tables of the
 * datapath stay and forward on, as pinned maps do. A reboot takes those as well. Datapath events
 * reach the node a moment later, in their order; while nobody listens they are gone.
 */
import type { Instant } from '../control/capabilities.js'
import type { Command, CommandResult } from '../control/command.js'
import type { DatapathEvent } from '../control/datapath-event.js'
import type { Input, Node, Output } from '../control/input-output.js'
import type { BlockCipher } from '../control/lisp-sec/lisp-sec-keys.js'
import { createNode } from '../control/node.js'
import type { NodeSnapshot } from '../control/snapshot.js'
import type { ModelDatapath } from '../datapath/model-datapath.js'
import type { Hmac } from '../lisp/authentication.js'
import type { Datagram } from './network.js'
import type { Prng } from './prng.js'
import type { SimulatedStore } from './store.js'
import type { Timeline } from './timeline.js'
import type { NodeSpecification } from './topology.js'

/** Makes every new incarnation of a node, instead of `createNode`: how a run is recorded. */
export type MakeNode = typeof createNode

/** Wraps every new incarnation of a node: how tests break one on purpose. */
export type WrapNode = (node: Node, name: string) => Node

export interface NodeSurroundings {
  readonly timeline: Timeline
  readonly prng: Prng
  readonly hmac: Hmac
  readonly blockCipher: BlockCipher
  readonly store: SimulatedStore
  /** Undefined for a node without packets of its own. */
  readonly datapath: ModelDatapath | undefined
  readonly wrap: WrapNode | undefined
  readonly makeNode: MakeNode | undefined
  /** What its clock shows more than that of the world, in ms. */
  readonly clockMs: number
  /** Mean delay of datapath events, in ms. */
  readonly eventMs: number
  /** Share of ring events that find the ring full. */
  eventLoss(): number
  send(datagram: Datagram): void
  /** Before the outputs of an input are performed. */
  observe(input: Input, datagram: Datagram | undefined, outputs: readonly Output[]): void
  log(text: string): void
}

export interface SimulatedNode {
  readonly name: string
  readonly specification: NodeSpecification
  readonly datapath: ModelDatapath | undefined
  start(): void
  isUp(): boolean
  receive(datagram: Datagram): void
  raise(event: DatapathEvent): void
  /** Exactly one result, 503 when the node is down or dies meanwhile. */
  command(command: Command, onResult: (result: CommandResult) => void): void
  crash(): void
  /** As a crash, and the tables of the datapath are gone too. */
  reboot(): void
  /** What it had stored is gone; while it is down. */
  loseStore(): void
  /** Undefined while it is down. */
  snapshot(): NodeSnapshot | undefined
}

const DOWN: CommandResult = {
  ok: false,
  status: 503,
  code: 'node-down',
  message: 'the node is not running',
}
/** Events of the BPF ring; those of the hold are never lost. */
const RING_EVENTS = [
  'local-eid-seen',
  'mac-seen',
  'away-eid-hit',
  'sender-seen',
  'unknown-eid',
  'nonce-echo',
  'source-doubted',
  'status-bits-changed',
  'stale-map-version',
  'source-unmapped',
  'eid-wanted',
]
const LEAST_EVENT_MS = 0.05

export function createSimulatedNode(
  specification: NodeSpecification,
  around: NodeSurroundings,
): SimulatedNode {
  const { timeline, prng, store, datapath } = around
  const { name, nodeConfig } = specification
  const commands = new Map<string, (result: CommandResult) => void>()
  let node: Node | undefined
  let incarnation = 0
  let lastCommand = 0
  let lastEventAt = 0
  let timerAt: Instant | undefined
  const clock = (): Instant => timeline.now() + around.clockMs

  function feed(input: Input, datagram?: Datagram): void {
    if (node === undefined) return
    const outputs: Output[] = []
    node.handle(input, clock(), outputs)
    around.observe(input, datagram, outputs)
    for (const output of outputs) perform(output)
    arm()
  }

  /** Whole milliseconds and at least one, as the timers of the real shell. */
  function arm(): void {
    const wanted = node?.deadline()
    if (wanted === undefined) return
    const at = timeline.now() + Math.max(1, Math.ceil(wanted - clock()))
    if (timerAt !== undefined && timerAt <= at) return
    timerAt = at
    const mine = incarnation
    timeline.at(at, () => {
      if (mine !== incarnation || timerAt !== at) return
      timerAt = undefined
      if ((node?.deadline() ?? Number.POSITIVE_INFINITY) <= clock()) feed({ kind: 'deadline' })
      else arm()
    })
  }

  function perform(output: Output): void {
    switch (output.kind) {
      case 'send': {
        const { from, to, bytes } = output
        around.send({ from, fromPort: CONTROL_PORT, to, bytes, genuine: true })
        return
      }
      case 'datapath':
        datapath?.perform(output.operation)
        return
      case 'persist':
        store.save(output.records, () => {
          for (const one of output.then) perform(one)
          arm()
        })
        return
      case 'result':
        commands.get(output.commandId)?.(output.result)
        commands.delete(output.commandId)
        return
      case 'event':
        around.log(`event ${describeEvent(output.event)}`)
    }
  }

  function die(how: string): void {
    if (node === undefined) return
    node = undefined
    incarnation += 1
    timerAt = undefined
    lastEventAt = 0
    const lostWrites = store.crash()
    datapath?.crash()
    around.log(`${how}, ${lostWrites} writes lost`)
    const waiting = [...commands.values()]
    commands.clear()
    for (const onResult of waiting) onResult(DOWN)
  }

  return {
    name,
    specification,
    datapath,
    start() {
      if (node !== undefined) return
      const own = prng.split(`incarnation/${incarnation}`)
      const random = { nonce: own.nonce, fraction: own.fraction }
      const { hmac, blockCipher } = around
      const made = (around.makeNode ?? createNode)(nodeConfig, { random, hmac, blockCipher })
      node = around.wrap === undefined ? made : around.wrap(made, name)
      around.log('starts')
      const tables = datapath?.restore() ?? { localEids: [], mapCache: [] }
      feed({ kind: 'restored', state: { records: store.load(), ...tables } })
    },
    isUp: () => node !== undefined,
    receive(datagram) {
      const { from, fromPort, to, bytes } = datagram
      feed({ kind: 'datagram', from, fromPort, to, bytes }, datagram)
    },
    raise(event) {
      if (node === undefined) return
      if (RING_EVENTS.includes(event.kind) && prng.chance(around.eventLoss())) {
        around.log(`ring full: ${event.kind}`)
        return
      }
      const wished = timeline.now() + LEAST_EVENT_MS + prng.exponential(around.eventMs)
      lastEventAt = Math.max(lastEventAt, wished)
      const mine = incarnation
      timeline.at(lastEventAt, () => {
        if (mine === incarnation) feed({ kind: 'datapath', event })
      })
    },
    command(command, onResult) {
      if (node === undefined) {
        onResult(DOWN)
        return
      }
      lastCommand += 1
      const commandId = String(lastCommand)
      commands.set(commandId, onResult)
      feed({ kind: 'command', commandId, command })
    },
    crash: () => die('crash'),
    reboot() {
      die('reboot')
      datapath?.forget()
    },
    loseStore: () => store.lose(),
    snapshot: () => node?.snapshot(clock()),
  }
}

function describeEvent(event: Readonly<Record<string, unknown>>): string {
  const { name, severity: _severity, ...fields } = event
  const words = Object.entries(fields).map(([key, value]) => `${key}=${String(value)}`)
  return [name, ...words].join(' ')
}

/** RFC 9301 §4. */
const CONTROL_PORT = 4342
