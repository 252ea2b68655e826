/**
 * The loop around a node: inputs in, outputs performed in their order, one timer at its deadline.
 *
 * What packets wait for comes first: operations of the datapath are performed as soon as the node
 * has said them, and the datagrams of a batch of inputs leave right after it, in one system call if
 * they are many. Writes, results and events (log, API) come after that, in their order. Measured:
 * half of the time from an arrival to the redirect was log lines and calls of the store. Inputs that
 * arise while outputs are performed wait for the next round: a node is never entered twice.
 * Exceptions of a node are our own bugs and are not caught here.
 */

import type { Command, CommandResult } from '../control/command.js'
import type { Event } from '../control/event.js'
import type { Input, Node, Output } from '../control/input-output.js'
import type { NodeSnapshot } from '../control/snapshot.js'
import type { StoredRecord } from '../control/stored-record.js'
import type { ReadTables } from '../control/table-pages.js'
import type { Datapath } from '../datapath/datapath.js'
import type { Rloc } from '../lisp/locator.js'
import type { Store } from '../store/store.js'
import { type Clock, toStored } from './clock-and-random.js'

export interface Wire {
  send(from: Rloc, to: Rloc, toPort: number, bytes: Uint8Array): void
  flush(): void
}

export type EventListener = (event: Event, at: Date) => void

export interface RunningNode {
  enqueue(inputs: readonly Input[]): void
  /** Resolves with the node's one result; 503 when too many wait or the node goes away first. */
  command(command: Command): Promise<CommandResult>
  snapshot(): NodeSnapshot
  /** The tables of this moment's node. */
  readonly tables: ReadTables
  /** Returns what ends the subscription. */
  onEvent(listener: EventListener): () => void
  /** An event of the shell itself, to the same listeners. */
  raise(event: Event): void
  /**
   * Keeps inputs from the node until `replace` or `resume`, and resolves when everything it wanted
   * stored is stored (or has failed): what is loaded then is all there is. At most
   * `MAXIMUM_WAITING_INPUTS` wait; the event of each further datagram says so.
   */
  suspend(): Promise<void>
  resume(): void
  /**
   * Go on with another node (a new configuration); commands of the old one end with 503. `first` is
   * its first input, before what has waited meanwhile.
   */
  replace(node: Node, first?: Input): void
  /** No more inputs, no more timer. */
  stop(): void
}

export function runNode(options: {
  readonly node: Node
  readonly clock: Clock
  readonly wire: Wire
  readonly datapath: Pick<Datapath, 'perform'> | undefined
  readonly store: Pick<Store, 'save'>
  /** Records that could not be made durable: what depended on them was not done. */
  readonly onStoreFailure: (error: unknown) => void
}): RunningNode {
  const { clock, wire, datapath } = options
  let { node } = options
  let queue: Input[] = []
  let draining = false
  let stopped = false
  let suspended = false
  let saving = 0
  const onSaved: (() => void)[] = []
  let timer: NodeJS.Timeout | undefined
  let timerAt: number | undefined
  let lastCommand = 0
  const outputs: Output[] = []
  /** Outputs of this batch for which no packet waits. */
  const later: Output[] = []
  const commands = new Map<string, (result: CommandResult) => void>()
  const listeners = new Set<EventListener>()

  const drain = (): void => {
    if (draining || suspended) return
    draining = true
    try {
      while (queue.length > 0 && !stopped && !suspended) {
        const batch = queue
        queue = []
        const isShort = batch.length <= SHORT_BATCH
        for (const input of batch) {
          node.handle(input, clock.now(), outputs)
          for (const output of outputs.splice(0)) perform(output)
          if (isShort) wire.flush()
        }
        if (!isShort) wire.flush()
        finish()
      }
    } finally {
      draining = false
    }
    arm()
  }

  const perform = (output: Output): void => {
    if (output.kind === 'send') wire.send(output.from, output.to, output.toPort, output.bytes)
    else if (output.kind === 'datapath') datapath?.perform(output.operation)
    else later.push(output)
  }

  const finish = (): void => {
    for (const output of later.splice(0)) {
      switch (output.kind) {
        case 'persist':
          persist(output.records, output.then)
          break
        case 'result':
          commands.get(output.commandId)?.(output.result)
          commands.delete(output.commandId)
          break
        case 'event':
          raise(output.event)
          break
        default:
          throw new Error(`not an output: ${JSON.stringify(output)}`)
      }
    }
  }

  const raise = (event: Event): void => {
    const at = new Date(clock.wallClock())
    for (const listener of listeners) listener(event, at)
  }

  const persist = (records: readonly StoredRecord[], then: readonly Output[]): void => {
    const stored = records.map((record) => toStored(record, clock))
    saving += 1
    const afterwards = options.store.save(stored).then(() => {
      if (stopped) return
      for (const output of then) perform(output)
      wire.flush()
      finish()
      // What an output brought about, such as the failure of an operation.
      drain()
    }, options.onStoreFailure)
    const settled = (): void => {
      saving -= 1
      if (saving === 0) for (const tell of onSaved.splice(0)) tell()
    }
    // An exception in `then` is a bug of ours and stays one: `finally` hands it on.
    void afterwards.finally(settled)
  }

  const arm = (): void => {
    const wanted = stopped ? undefined : node.deadline()
    if (wanted === timerAt && timer !== undefined) return
    clearTimeout(timer)
    timer = undefined
    timerAt = wanted
    if (wanted === undefined) return
    // At least 1 ms: a deadline that stays in the past must not starve the sockets.
    const delayMs = Math.min(Math.max(1, Math.ceil(wanted - clock.now())), LONGEST_TIMER_MS)
    timer = setTimeout(() => {
      timer = undefined
      enqueue([{ kind: 'deadline' }])
    }, delayMs)
  }

  const enqueue = (inputs: readonly Input[]): void => {
    if (stopped) return
    for (const input of inputs) {
      if (input.kind !== 'datagram' || queue.length < MAXIMUM_WAITING_INPUTS) queue.push(input)
      else raise({ name: 'datagram-ignored', severity: 'warning', reason: 'reloading' })
    }
    drain()
  }

  const abandonCommands = (): void => {
    for (const resolve of commands.values()) resolve(GOING_AWAY)
    commands.clear()
  }

  arm()
  return {
    enqueue,
    command(command) {
      if (stopped) return Promise.resolve(GOING_AWAY)
      if (commands.size >= MAXIMUM_COMMANDS) return Promise.resolve(TOO_MANY)
      lastCommand += 1
      const commandId = String(lastCommand)
      return new Promise((resolve) => {
        commands.set(commandId, resolve)
        enqueue([{ kind: 'command', commandId, command }])
      })
    },
    snapshot: () => node.snapshot(clock.now()),
    tables: {
      sizes: () => node.tables.sizes(),
      mapCache: (query) => node.tables.mapCache(query, clock.now()),
      mappingDatabase: (query) => node.tables.mappingDatabase(query, clock.now()),
      registrations: (query) => node.tables.registrations(query, clock.now()),
      describedEids: (query) => node.tables.describedEids(query, clock.now()),
      move: (moveId) => node.tables.move(moveId, clock.now()),
    },
    onEvent(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    raise,
    async suspend() {
      suspended = true
      if (saving > 0) await new Promise<void>((resolve) => onSaved.push(resolve))
    },
    resume() {
      suspended = false
      drain()
    },
    replace(next, first) {
      abandonCommands()
      node = next
      // Whoever asked was just told to ask again.
      queue = queue.filter(({ kind }) => kind !== 'command')
      if (first !== undefined) queue.unshift(first)
      suspended = false
      drain()
    },
    stop() {
      stopped = true
      clearTimeout(timer)
      abandonCommands()
    },
  }
}

// Choice: the next hop works on the first datagram while we make the second; in a long batch one
// system call for all counts for more.
const SHORT_BATCH = 8
// setTimeout fires at once for anything above 2^31 - 1 ms.
const LONGEST_TIMER_MS = 2 ** 31 - 1
// Choice: half a second of a busy Map-Server; reading its store again takes less.
const MAXIMUM_WAITING_INPUTS = 65_536
// Choice: far above what operators and orchestrators do at once.
const MAXIMUM_COMMANDS = 1_000
const GOING_AWAY: CommandResult = {
  ok: false,
  status: 503,
  code: 'node-stopping',
  message: 'the node stops or reads its configuration again; try once more',
}
const TOO_MANY: CommandResult = {
  ok: false,
  status: 503,
  code: 'too-many-commands',
  message: `more than ${MAXIMUM_COMMANDS} commands wait for an answer`,
}
