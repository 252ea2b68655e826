/**
 * What the routes get to see of the daemon: a snapshot, commands, events, counters. No roles, no
 * tables, no shell: whoever can offer these few functions can be served (the daemon, a simulated
 * world, a test).
 */
import type { Config } from '../config/schema.js'
import type { Command, CommandResult } from '../control/command.js'
import type { Event } from '../control/event.js'
import type { NodeSnapshot } from '../control/snapshot.js'
import type { ReadTables } from '../control/table-pages.js'
import type {
  DatapathCounters,
  DatapathFinding,
  GroupCounter,
  MappingCounter,
} from '../datapath/datapath.js'
import type { GroupPacketCounters } from '../datapath/group-packet-counters.js'
import type { Eid } from '../lisp/eid.js'
import { commandFailed } from './errors.js'
import type { EventLog } from './event-log.js'
import type { Metrics } from './metrics.js'
import type { WorkloadKeeping } from './workload-book.js'

export interface ApiNode {
  snapshot(): NodeSnapshot
  readonly tables: ReadTables
  /** Settles once, when the node has answered; rejects only when the node is going away. */
  command(command: Command): Promise<CommandResult>
  /** `at` is wall-clock. Returns the function that ends the subscription. */
  onEvent(listener: (event: Event, at: Date) => void): () => void
}

export interface ApiDatapath {
  counters(): DatapathCounters
  /** Those of the entries named, or all; an implementation may give more than it was asked for. */
  mappingCounters(wanted?: {
    readonly table: MappingCounter['table']
    readonly eidPrefixes: readonly string[]
  }): readonly MappingCounter[]
  /** Of replication entries; absent where there are none. */
  groupCounters?(names: readonly string[]): readonly GroupCounter[]
  /** What the tables that packets meet have for this EID; absent where they cannot be read singly. */
  inspect?(eid: Eid): readonly DatapathFinding[]
}

export interface ApiContext {
  /** What is amiss around the node now, as sentences. */
  readonly problems: () => readonly string[]
  readonly node: ApiNode
  /** Undefined for a node without packets of its own. */
  readonly datapath: ApiDatapath | undefined
  /** Counters of IGMP, MLD, PIM and joins between xTRs, where these are spoken. */
  readonly groupPackets?: (() => GroupPacketCounters) | undefined
  readonly config: Config
  readonly version: string
  readonly startedAt: Date
  readonly events: EventLog
  readonly metrics: Metrics
  /** Undefined where nothing outlives the process. */
  readonly workloads: WorkloadKeeping | undefined
}

export interface RouteOptions {
  readonly context: ApiContext
}

/** Runs a command and returns its value; throws an `ApiError` with the node's status and code. */
export async function runCommand(context: ApiContext, command: Command): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<CommandResult>((resolve) => {
    timer = setTimeout(() => resolve(TOO_LATE), COMMAND_TIMEOUT_MS)
    timer.unref()
  })
  try {
    const result = await Promise.race([context.node.command(command), late])
    if (!result.ok) throw commandFailed(result)
    return result.value
  } finally {
    clearTimeout(timer)
  }
}

/** Choice: longer than mobility.endpointTimeoutMs can be (30 s), so that a move answers first. */
const COMMAND_TIMEOUT_MS = 35_000

const TOO_LATE: CommandResult = {
  ok: false,
  status: 504,
  code: 'command-timeout',
  message: `the node did not answer within ${COMMAND_TIMEOUT_MS / 1000} s`,
}
