/**
 * A world for scenarios of live moves: one machine, vm-1, three clouds, a customer's host that talks
 * with it 500 times a second each way, and hypervisors that do and tell what a script says.
 *
 * The machine runs on at its source for 300 ms after "prepared", stands still for 60 ms and runs at its
 * destination, or at its source again. Control messages can be lost, held up or said twice.
 */
import type { LiveMoveLimits } from '../../src/config/node-config.js'
import { decodeMessage, type Malformed, type Message } from '../../src/lisp/message.js'
import { judgeRest } from '../../src/sim/at-rest.js'
import type { Traffic } from '../../src/sim/host.js'
import type { FlowBooks } from '../../src/sim/ledger.js'
import type { Datagram } from '../../src/sim/network.js'
import { createWorld, type World } from '../../src/sim/world.js'
import { simulatedSize } from './simulated.js'

/** When the first migration begins; everything is registered then. */
export const BEGIN = 2000
/** From "prepared" on the VM runs on so long, then stands still so long. */
export const RUN_MS = 300
export const DOWN_MS = 60
export const EID = '[7]10.10.0.1'

/** What is decided over a control message, whatever it is encapsulated in. */
export type Carry = (
  message: Message | Malformed,
  datagram: Datagram,
  from: string,
  to: string,
) => boolean | number

/** What the hypervisors do with their news: how late each is, or undefined: never. */
export interface Script {
  readonly runMs?: number
  readonly downMs?: number
  readonly stoppedMs?: number | undefined
  readonly runningMs?: number | undefined
  readonly garpMs?: number | undefined
  /** Of the migration: it fails after the stop, and the VM runs at its source again. */
  readonly fails?: boolean
  /** Of a failure: when its destination hears of it; by default as late as its source. */
  readonly cancelMs?: number | undefined
  /** The migration does not wait until it is prepared. */
  readonly impatient?: boolean
  /** Before the stop; called when everything is prepared. */
  readonly onReady?: (world: World) => void
  readonly onStopped?: (world: World) => void
  readonly onRunning?: (world: World) => void
}

export const KNOWN: Script = { stoppedMs: 4, runningMs: 3, garpMs: 8 }

export interface Course {
  readonly world: World
  readonly traffic: Traffic
  readonly moveIds: string[]
}

export interface CourseOptions {
  /** Senders subscribe to what they use (RFC 9437). */
  readonly subscribe?: boolean
  readonly clocks?: Readonly<Record<string, number>>
  /** Machines in the clouds; 1 without it. */
  readonly endpoints?: number
  /** The machine sends nothing of its own accord. */
  readonly mute?: boolean
  /** Least delay of every path, in ms. */
  readonly delayMs?: number
  /** Instead of the default. */
  readonly live?: Partial<LiveMoveLimits>
}

/** Traffic begins half a second before `BEGIN` and never ends. */
export function liveWorld(carry?: Carry, options: CourseOptions = {}): Course {
  const { subscribe = false, mute = false, clocks, delayMs = 2, live = {} } = options
  const delays = {
    leastDelayMs: { from: delayMs, to: delayMs },
    meanJitterMs: 0,
    meanWriteMs: 0.5,
    meanEventMs: 0.1,
    meanHoldMs: 0.02,
  }
  const topology = simulatedSize({ endpoints: options.endpoints ?? 1 })
  const nodes = topology.nodes.map((node) => ({
    ...node,
    nodeConfig: {
      ...node.nodeConfig,
      publishSubscribe: { ...node.nodeConfig.publishSubscribe, subscribe },
      mobility: {
        ...node.nodeConfig.mobility,
        live: { ...node.nodeConfig.mobility.live, ...live },
      },
    },
  }))
  const world = createWorld(
    { ...topology, nodes },
    {
      seed: 'live',
      delays,
      ...(clocks === undefined ? {} : { clocks }),
      carries(datagram, from, to) {
        const outer = decodeMessage(datagram.bytes)
        const isOuter = outer.kind === 'encapsulated-control'
        const message = isOuter ? decodeMessage(outer.message) : outer
        return carry?.(message, datagram, from, to) ?? true
      },
    },
  )
  const { hosts, timeline } = world
  const [vm, other] = [hosts.byName('vm-1'), hosts.byName('host-1')]
  const traffic = hosts.traffic(other, vm, 4)!
  for (const one of mute ? [traffic] : [traffic, hosts.traffic(vm, other, 4)!]) {
    const next = (): void => {
      hosts.send(one, 200)
      timeline.after(2, next)
    }
    timeline.at(BEGIN - 500, next)
  }
  return { world, traffic, moveIds: [] }
}

/** Migrates vm-1 from one cloud to another, beginning at `at`; a refusal throws. */
export function migrate(
  course: Course,
  at: number,
  from: string,
  to: string,
  script: Script,
): void {
  const { world, moveIds } = course
  const { timeline, hosts } = world
  const vm = hosts.byName('vm-1')
  const { eids } = vm.specification
  const { runMs = RUN_MS, downMs = DOWN_MS, cancelMs = script.runningMs } = script
  const socketAt = (site: string) => vm.specification.sockets.find((one) => one.site === site)!
  const later = (ms: number | undefined, run: () => void): void => {
    if (ms !== undefined) timeline.after(ms, run)
  }
  const run = (): void => {
    const home = script.fails ? from : to
    hosts.resume(vm, socketAt(home))
    later(script.garpMs, () => hosts.announce(vm, 'arp'))
    const agoMs = script.runningMs ?? 0
    later(script.runningMs, () => {
      if (script.fails) world.command(from, { kind: 'endpoint-resumed', eids, agoMs }, () => {})
      else world.command(to, { kind: 'endpoint-running', eids }, () => {})
    })
    const failed = moveIds.at(-1)
    if (script.fails && failed !== undefined)
      later(cancelMs, () => world.command(to, { kind: 'cancel-move', moveId: failed }, () => {}))
    script.onRunning?.(world)
  }
  const stop = (): void => {
    const agoMs = script.stoppedMs ?? 0
    hosts.pause(vm)
    later(script.stoppedMs, () =>
      world.command(from, { kind: 'endpoint-stopped', eids, agoMs }, () => {}),
    )
    script.onStopped?.(world)
    timeline.after(downMs, run)
  }
  timeline.at(at, () => {
    if (script.impatient) timeline.after(runMs, stop)
    const command = { kind: 'start-move', eids, source: undefined, mode: 'live' } as const
    world.command(to, command, (result) => {
      if (!result.ok && script.impatient) return
      if (!result.ok) throw new Error(result.code)
      moveIds.push((result.value as { readonly moveId: string }).moveId)
      if (!script.impatient) timeline.after(runMs, stop)
      script.onReady?.(world)
    })
  })
}

/** Everything settles; what was lost for good by then. Throws when anything is not as at rest. */
export function outcome(course: Course, until: number) {
  const { world, traffic } = course
  world.run(until)
  judgeRest(world, until - 500)
  world.run(until + 100)
  const { books } = traffic
  const lost = world.ledger.missing(books, 0).map((one) => `${one.sequence} ${one.reason}`)
  const twice = books.deliveries.filter((count) => count > 1).length
  return { lost, twice, overtaken: overtaken(books), reasons: world.ledger.totals().reasons }
}

/** Packets that were delivered first after one that was sent later. */
function overtaken({ deliveredAt }: FlowBooks): number {
  let [count, earliest] = [0, Number.POSITIVE_INFINITY]
  for (const at of deliveredAt.toReversed()) {
    if (at === undefined) continue
    if (at > earliest) count += 1
    earliest = Math.min(earliest, at)
  }
  return count
}

/** What a node says of the machine's EID; undefined: it does not know it, or is down. */
export function stateAt(world: World, site: string): string | undefined {
  const snapshot = world.node(site).snapshot()
  return snapshot?.mappingDatabase.find((one) => one.eidPrefix === `${EID}/32`)?.state
}
