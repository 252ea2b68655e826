/**
 * What a copy costs: packets to a group, replicated to 1, 4, 16, 64 and 256 receivers, by the site itself
 * (head-end) and over relays in two levels.
 *
 * Paced, so that the queue of a veth (1,000 packets) is no part of it: a batch of 64 packets, each copied
 * 256 times at once, would not fit. The figure is the busy time of the whole machine per delivered copy,
 * the sender's and the counting's share included, and the root's own time per packet as the kernel
 * measures its programs. All relays are one node, whose CPU time is theirs together.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { describeMachine } from './machine.js'
import {
  GROUP,
  leafRloc,
  MULTICAST_INSTANCE,
  type MulticastNetwork,
  openMulticastNetwork,
  relayRloc,
  SOURCE,
} from './multicast-network.js'
import { type MulticastCost, type MulticastRow, median, rounded } from './results.js'

export interface MulticastPlan {
  readonly runs: number
  /** Of one run. */
  readonly seconds: number
}

/** Brings its network up; the caller takes it down. */
export async function measureMulticast(
  plan: MulticastPlan,
  say: (line: string) => void,
): Promise<MulticastCost> {
  const network = await openMulticastNetwork()
  const enabled = readFileSync(STATISTICS, 'utf8')
  try {
    const rows: MulticastRow[] = []
    for (const fanOut of FAN_OUTS)
      for (const shape of fanOut < SMALLEST_TREE ? SHAPES.slice(0, 1) : SHAPES) {
        const row = await measureRow(network, shape, fanOut, plan)
        rows.push(row)
        const { cpuNsPerCopy, rootNsPerPacket, lossPercent } = row
        say(
          `multicast, ${fanOut} receivers, ${shape}: ${cpuNsPerCopy} ns of CPU a copy, ` +
            `${rootNsPerPacket} ns at the root a packet, ${lossPercent} % lost`,
        )
      }
    const { commit } = describeMachine()
    return { commit, date: new Date().toISOString().slice(0, 10), rows }
  } finally {
    writeFileSync(STATISTICS, enabled)
    await network.close()
  }
}

async function measureRow(
  network: MulticastNetwork,
  shape: MulticastRow['shape'],
  fanOut: number,
  plan: MulticastPlan,
): Promise<MulticastRow> {
  const relays = shape === 'tree' ? Math.sqrt(fanOut) : 0
  const perRelay = relays === 0 ? 0 : fanOut / relays
  const entry = { do: 'put', source: SOURCE, group: GROUP, instanceId: MULTICAST_INSTANCE } as const
  const many = (count: number, name: (n: number) => string) =>
    Array.from({ length: count }, (_, n) => name(n))
  const rlocs = relays === 0 ? many(fanOut, leafRloc) : many(relays, relayRloc)
  await network.root.ask({ ...entry, rlocs, level: 0 })
  // All relays are this node: what one of them copies to, all do, and each has its own part of the packets.
  if (relays > 0) await network.relay.ask({ ...entry, rlocs: many(perRelay, leafRloc), level: 1 })
  const pace = Math.min(MOST_PACKETS, Math.round(COPIES_PER_SECOND / fanOut))
  // Neighbours and caches of the machine settle.
  await network.send(pace, WARM_UP_SECONDS)
  const runs: {
    packetsPerSecond: number
    copiesPerCpuSecond: number
    cpuNsPerCopy: number
    lossPercent: number
  }[] = []
  for (let run = 0; run < plan.runs; run += 1) {
    const before = network.delivered()
    const { packets, busySeconds, seconds } = await network.send(pace, plan.seconds)
    await arrived()
    const copies = network.delivered() - before
    if (copies <= 0) throw new Error(`multicast, ${fanOut} receivers, ${shape}: nothing arrived`)
    runs.push({
      packetsPerSecond: Math.round(packets! / seconds!),
      copiesPerCpuSecond: rounded(copies / busySeconds!)!,
      cpuNsPerCopy: rounded((busySeconds! / copies) * 1e9)!,
      lossPercent: rounded((1 - copies / (packets! * fanOut)) * 100)!,
    })
  }
  const of = (key: keyof (typeof runs)[number]) => rounded(median(runs.map((one) => one[key])))!
  return {
    fanOut,
    shape,
    packetsPerSecond: of('packetsPerSecond'),
    packetsPerCpuSecond: rounded(of('copiesPerCpuSecond') / fanOut)!,
    copiesPerCpuSecond: of('copiesPerCpuSecond'),
    cpuNsPerCopy: of('cpuNsPerCopy'),
    rootNsPerPacket: await rootCost(network, pace),
    lossPercent: of('lossPercent'),
    runs,
  }
}

/** In a run of its own: the kernel's measuring costs time too. */
async function rootCost(network: MulticastNetwork, pace: number): Promise<number> {
  writeFileSync(STATISTICS, '1')
  const before = await network.root.ask({ do: 'cost' })
  await network.send(pace, ROOT_SECONDS)
  const after = await network.root.ask({ do: 'cost' })
  writeFileSync(STATISTICS, '0')
  const runs = (after.runs ?? 0) - (before.runs ?? 0)
  if (runs <= 0) throw new Error('the kernel has not measured the programs')
  return Math.round(((after.nanoseconds ?? 0) - (before.nanoseconds ?? 0)) / runs)
}

/** What is in the queues of the machine is through in less. */
function arrived(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 50))
}

export const FAN_OUTS = [1, 4, 16, 64, 256]
export const SHAPES = ['head-end', 'tree'] as const
/** Below it a tree would be a chain. */
const SMALLEST_TREE = 16
const COPIES_PER_SECOND = 300_000
const MOST_PACKETS = 150_000
const WARM_UP_SECONDS = 0.2
const ROOT_SECONDS = 0.3
const STATISTICS = '/proc/sys/kernel/bpf_stats_enabled'
