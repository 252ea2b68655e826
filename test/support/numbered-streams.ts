/**
 * Numbered packets between nodes of a lab, and what became of each of them.
 *
 * One receiver per destination and one sender per source; a flow is one stream of one address. What
 * is lost, doubled or out of order is computed afterwards from both ends' records, for any span of
 * sending times, so that a test can say of which moments it speaks.
 */
import { join } from 'node:path'
import type { PacketRecord } from '../../src/demo/records.js'
import type { RunningLab } from './running-lab.js'

export interface FlowPlan {
  /** As `host1>vm2/ipv4`; shown when packets are missing. */
  readonly name: string
  readonly from: string
  readonly to: string
  readonly address: string
}

export interface Flow extends FlowPlan {
  readonly sent: readonly PacketRecord[]
  /** In the order of arrival. */
  readonly received: readonly PacketRecord[]
}

export interface FlowFigures {
  readonly sent: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
}

export interface NumberedStreams {
  /** Ends senders, waits for stragglers, ends receivers. */
  stop(): Promise<readonly Flow[]>
}

/** A flow in each direction between two nodes, for each pair of addresses given. */
export function flowsBetween(
  a: { readonly node: string; readonly addresses: Readonly<Record<string, string>> },
  b: { readonly node: string; readonly addresses: Readonly<Record<string, string>> },
): FlowPlan[] {
  return Object.keys(a.addresses).flatMap((family) => [
    flowPlan(a.node, b.node, family, b.addresses[family]!),
    flowPlan(b.node, a.node, family, a.addresses[family]!),
  ])
}

/** Starts all flows; resolves when every receiver listens and every sender has been started. */
export async function startStreams(
  lab: RunningLab,
  plans: readonly FlowPlan[],
  options: { readonly rate: number; readonly count?: number; readonly name?: string },
): Promise<NumberedStreams> {
  const { rate, count, name = 'flows' } = options
  const file = (node: string, end: string): string =>
    join(lab.directory, `${name}-${node}-${end}.records`)
  const destinations = [...new Set(plans.map(({ to }) => to))]
  const sources = [...new Set(plans.map(({ from }) => from))]
  const receivers = destinations.map((node) =>
    lab.probe(node, 'stream', 'recv', '--port', PORT, '--records', file(node, 'received')),
  )
  await Promise.all(receivers.map((receiver) => receiver.says('listening')))
  const senders = sources.map((node) => {
    const streams = plans.flatMap((plan, id) =>
      plan.from === node ? ['--stream', `${id + 1},${plan.address},${PORT}`] : [],
    )
    const limit = count === undefined ? [] : ['--count', String(count)]
    const pace = ['--rate', String(rate), ...limit]
    return lab.probe(node, 'stream', 'send', ...streams, ...pace, '--records', file(node, 'sent'))
  })
  return {
    async stop() {
      await Promise.all(
        senders.map(async (sender) => {
          if (count !== undefined) return sender.finished
          // Ended before it has begun, it would leave the records of the streams before.
          await sender.says('sending')
          return sender.stop()
        }),
      )
      await pause(STRAGGLER_MS)
      await Promise.all(receivers.map((receiver) => receiver.stop()))
      const sent = sources.flatMap((node) => lab.records(file(node, 'sent')))
      const received = destinations.flatMap((node) => lab.records(file(node, 'received')))
      return plans.map((plan, id) => ({
        ...plan,
        sent: sent.filter(({ stream }) => stream === id + 1),
        received: received.filter(({ stream }) => stream === id + 1),
      }))
    },
  }
}

/** What became of the packets of a flow that were sent in [fromNs, untilNs). */
export function figuresOf(flow: Flow, fromNs = 0, untilNs = Number.POSITIVE_INFINITY): FlowFigures {
  const copies = new Map<number, number>()
  const late = new Set<number>()
  let highest = -1
  for (const { sequence } of flow.received) {
    const before = copies.get(sequence) ?? 0
    copies.set(sequence, before + 1)
    if (before === 0 && sequence < highest) late.add(sequence)
    highest = Math.max(highest, sequence)
  }
  const packets = flow.sent.filter(({ sentNs }) => sentNs >= fromNs && sentNs < untilNs)
  let [lost, duplicated, reordered] = [0, 0, 0]
  for (const { sequence } of packets) {
    const count = copies.get(sequence) ?? 0
    if (count === 0) lost++
    else duplicated += count - 1
    if (late.has(sequence)) reordered++
  }
  return { sent: packets.length, lost, duplicated, reordered }
}

/** CLOCK_MONOTONIC in nanoseconds, the clock of the records. */
export function monotonicNs(): number {
  return Number(process.hrtime.bigint())
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function flowPlan(from: string, to: string, family: string, address: string): FlowPlan {
  return { name: `${from}>${to}/${family}`, from, to, address }
}

const PORT = '5000'
/** Longer than anything that is still delivered stays in a hold. */
const STRAGGLER_MS = 500
