/**
 * The traffic of the demo: numbered streams in each direction and family, one TCP connection, and a
 * stream that starts cold. Processes run inside the endpoints' namespaces; this file starts and
 * stops them and knows which stream is which. Numbers are made elsewhere, from their files.
 */

import { isIPv6 } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Topology } from '../config/topology-schema.js'
import { signalProcess, stateOf } from '../lab/processes.js'
import { addressesOf } from '../lab/topology.js'
import type { Direction, Family, StreamDescription } from './analysis.js'
import { type Probe, startProbe } from './probe-process.js'

export interface TrafficPlan {
  readonly topology: Topology
  /** The endpoint that moves. */
  readonly endpoint: string
  /** The host that it talks with. */
  readonly host: string
  /** Another host, that nobody has talked with before. */
  readonly coldHost: string | undefined
  readonly directory: string
  readonly packetsPerSecond: number
  readonly tcpBytesPerSecond: number
}

export interface TcpReport {
  readonly sent: number
  readonly received: number
  readonly corrupt: number
  readonly resets: number
  readonly longestStallMs: number
  readonly complete: boolean
}

export interface Traffic {
  readonly streams: readonly StreamDescription[]
  /** Files of records, as written by senders and receivers. */
  readonly recordFiles: readonly string[]
  /** Stops the endpoint's processes and resolves when all have stopped running. */
  freeze(): Promise<void>
  thaw(): void
  /**
   * Ends senders, waits for stragglers, ends receivers; what both ends of the TCP connection say.
   */
  stop(): Promise<{ connect: TcpReport; serve: TcpReport }>
}

/** Starts everything; resolves when the TCP connection stands and all streams run. */
export async function startTraffic(plan: TrafficPlan): Promise<Traffic> {
  const { topology, endpoint, host, coldHost, directory } = plan
  const recordFiles: string[] = []
  const records = (name: string): string[] => {
    const file = join(directory, `${name}.records`)
    recordFiles.push(file)
    return ['--records', file]
  }
  const probe = (node: string, name: string, ...args: string[]): Probe =>
    startProbe(topology.name, node, name, args)

  const receivers = [endpoint, host, ...(coldHost ? [coldHost] : [])].map((node) =>
    probe(
      node,
      `${node}-receiver`,
      'stream',
      'recv',
      '--port',
      STREAM_PORT,
      ...records(`${node}-received`),
    ),
  )
  const serve = probe(
    endpoint,
    `${endpoint}-tcp`,
    'tcp',
    'serve',
    '--port',
    TCP_PORT,
    ...rate(plan),
  )
  await Promise.all([...receivers, serve].map((each) => each.says('listening')))

  const towards = streamsTo(topology, endpoint, 'toEndpoint', 1)
  const from = streamsTo(topology, host, 'fromEndpoint', 3)
  const cold = coldHost ? streamsTo(topology, coldHost, 'toEndpoint', 5, true) : []
  const pace = ['--rate', String(plan.packetsPerSecond)]
  const send = (node: string, name: string, streams: AddressedStream[], more: string[]): Probe =>
    probe(node, name, 'stream', 'send', ...streams.flatMap(option), ...more, ...records(name))
  const senders = [
    send(host, `${host}-sent`, towards, pace),
    send(endpoint, `${endpoint}-sent`, from, pace),
  ]
  if (cold.length > 0) send(host, `${host}-cold-sent`, cold, [...pace, '--count', COLD_PACKETS])
  const target = addressesOf(topology, endpoint).find((address) => !isIPv6(address))!
  const connect = probe(
    host,
    `${host}-tcp`,
    'tcp',
    'connect',
    '--to',
    target,
    '--port',
    TCP_PORT,
    ...rate(plan),
  )
  await connect.says('connected')

  const own = (): number[] => [serve, receivers[0]!, senders[1]!].map(({ pid }) => pid)
  return {
    streams: [...towards, ...from, ...cold].map(({ address: _, ...stream }) => stream),
    recordFiles,
    async freeze() {
      for (const pid of own()) signalProcess(pid, 'SIGSTOP')
      const until = performance.now() + FREEZE_LIMIT_MS
      while (own().some((pid) => stateOf(pid) !== 'T')) {
        if (performance.now() > until) throw new Error(`processes of ${endpoint} do not freeze`)
        await pause(1)
      }
    },
    thaw() {
      for (const pid of own()) signalProcess(pid, 'SIGCONT')
    },
    async stop() {
      await Promise.all(senders.map((sender) => sender.end()))
      const [connectReport, serveReport] = await Promise.all([connect.end(), serve.ended()])
      await pause(STRAGGLER_MS)
      await Promise.all(receivers.map((receiver) => receiver.end()))
      return { connect: tcpReport(connectReport), serve: tcpReport(serveReport) }
    },
  }
}

interface AddressedStream extends StreamDescription {
  readonly address: string
}

function streamsTo(
  topology: Topology,
  node: string,
  direction: Direction,
  firstId: number,
  cold = false,
): AddressedStream[] {
  return addressesOf(topology, node).map((address, index) => {
    const family: Family = isIPv6(address) ? 'ipv6' : 'ipv4'
    return { id: firstId + index, family, direction, cold, address }
  })
}

function option({ id, address }: AddressedStream): string[] {
  return ['--stream', `${id},${address},${STREAM_PORT}`]
}

function rate(plan: TrafficPlan): string[] {
  return ['--rate', String(plan.tcpBytesPerSecond)]
}

function tcpReport(line: string): TcpReport {
  try {
    return JSON.parse(line) as TcpReport
  } catch {
    // It ended without a report: killed, or never connected. That is not an intact connection.
    return { sent: 0, received: 0, corrupt: 0, resets: 1, longestStallMs: 0, complete: false }
  }
}

const STREAM_PORT = '5000'
const TCP_PORT = '5001'
const COLD_PACKETS = '500'
const FREEZE_LIMIT_MS = 1_000
/** What is on the way, or held, when the senders stop. Longer than any hold that still delivers. */
const STRAGGLER_MS = 1_000
