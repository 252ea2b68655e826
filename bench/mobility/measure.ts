/**
 * Loss and gap of a moving virtual machine, by five ways side by side.
 *
 * The machine is the stand-in of the demo's live moves: its processes are frozen with their link dead,
 * it runs nowhere for 200 ms, and goes on in the other cloud with a RARP, as QEMU sends it. Streams,
 * pace and analysis are the same for all ways; each has the network built anew for itself.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { computeFigures, type MoveRow } from '../../src/demo/analysis.js'
import {
  type MoveContext,
  monotonicNs,
  requestMove,
  standStill,
  tellEvent,
} from '../../src/demo/perform-move.js'
import { decodeRecords, type PacketRecord } from '../../src/demo/records.js'
import { startTraffic, type Traffic } from '../../src/demo/traffic.js'
import { announceEndpoint, bringUp, takeDown } from '../../src/lab/lab.js'
import { labPaths, packageFile } from '../../src/lab/names.js'
import { openPanel } from '../../src/lab/panel.js'
import { type LoadedTopology, loadTopology, panelOf } from '../../src/lab/topology.js'
import { describeMachine } from '../machine.js'
import { type Mobility, type MobilityMove, median, rounded, type WayFigures } from '../results.js'
import { adjustFor, flipRoute, isLisp, routeWithoutLisp, WAYS, type Way } from './ways.js'

export const BENCH_MOBILITY = 'bench-mobility'

export interface MobilityPlan {
  /** Moves per way. */
  readonly moves: number
  /** From one move to the next. */
  readonly intervalMs: number
}

/** All ways, one after the other; the network is down afterwards. Rejects when one cannot be set up. */
export async function measureMobility(
  plan: MobilityPlan,
  say: (line: string) => void,
): Promise<Mobility> {
  const ways: WayFigures[] = []
  for (const way of WAYS) {
    const measured = await measureWay(way, plan)
    ways.push(measured)
    const { lost, gapMs } = measured
    say(`mobility, ${way}: lost ${lost.median} a move, gap ${gapMs.median} ms (medians)`)
  }
  const { commit } = describeMachine()
  const date = new Date().toISOString().slice(0, 10)
  return { commit, date, packetsPerSecond: PACKETS_PER_SECOND, streams: STREAMS, ways }
}

async function measureWay(way: Way, plan: MobilityPlan): Promise<WayFigures> {
  const loaded = twoClouds()
  const { topology } = loaded
  try {
    await bringUp(loaded, { adjust: adjustFor(way), daemons: isLisp(way) })
    if (!isLisp(way)) await routeWithoutLisp(topology, ENDPOINT, CLOUDS[0])
    const directory = join(labPaths(topology.name).state, 'records')
    mkdirSync(directory, { recursive: true })
    const traffic = await startTraffic({
      topology,
      endpoint: ENDPOINT,
      host: 'host1',
      coldHost: undefined,
      directory,
      packetsPerSecond: PACKETS_PER_SECOND,
      tcpBytesPerSecond: TCP_BYTES_PER_SECOND,
    })
    await pause(WARM_UP_MS)
    const moves = await performAll(loaded, way, plan, traffic)
    await traffic.stop()
    return figuresOfWay(way, moves, traffic)
  } finally {
    await takeDown(BENCH_MOBILITY)
  }
}

interface Moved {
  readonly requestedNs: number
  readonly stoppedNs: number
  readonly resumedNs: number
}

async function performAll(
  { topology }: LoadedTopology,
  way: Way,
  { moves, intervalMs }: MobilityPlan,
  traffic: Traffic,
): Promise<Moved[]> {
  const panel = openPanel(topology, panelOf(topology, ENDPOINT)!)
  const context = { topology, endpoint: ENDPOINT, instanceId: INSTANCE_ID, panel, traffic }
  const performed: Moved[] = []
  try {
    for (let turn = 0; turn < moves; turn++) {
      const began = performance.now()
      const [from, to] = turn % 2 === 0 ? CLOUDS : ([CLOUDS[1], CLOUDS[0]] as const)
      performed.push(await moveOnce(context, way, from, to))
      await pause(Math.max(0, intervalMs - (performance.now() - began)))
    }
  } finally {
    panel.close()
  }
  return performed
}

async function moveOnce(context: MoveContext, way: Way, from: string, to: string): Promise<Moved> {
  const { topology, panel, traffic } = context
  const requestedNs = monotonicNs()
  if (way === 'prepared') {
    const answer = await requestMove(context, to, 'live')
    if ('failure' in answer) throw new Error(`the move was refused: ${answer.failure}`)
  }
  await pause(RUN_ON_MS)
  const stoppedNs = await standStill(context, async (agoMs) => {
    if (way === 'prepared') await tellEvent(context, from, { event: 'stopped', agoMs })
  })
  panel.flip(to)
  const resumedNs = monotonicNs()
  traffic.thaw()
  const announced = announceEndpoint(topology, ENDPOINT)
  if (way === 'route') await flipRoute(topology, ENDPOINT, to)
  if (way === 'prepared') await tellEvent(context, to, { event: 'running' })
  await announced
  return { requestedNs, stoppedNs, resumedNs }
}

function figuresOfWay(way: Way, moved: readonly Moved[], traffic: Traffic): WayFigures {
  const [sent, received]: [PacketRecord[], PacketRecord[]] = [[], []]
  for (const file of traffic.recordFiles) {
    const { kind, records } = decodeRecords(readFileSync(file))
    for (const record of records) (kind === 'sent' ? sent : received).push(record)
  }
  const windows = moved.map(({ requestedNs, resumedNs }, index) => ({
    trigger: way === 'prepared' ? ('live' as const) : ('detected' as const),
    fromNs: requestedNs,
    untilNs: moved[index + 1]?.requestedNs ?? Number.POSITIVE_INFINITY,
    switchedNs: resumedNs,
  }))
  const rows = computeFigures(traffic.streams, sent, received, windows).moves
  const perMove = moved.map(({ stoppedNs, resumedNs }, index) =>
    oneMove(rows.slice(index * 2, index * 2 + 2), (resumedNs - stoppedNs) / 1e6),
  )
  return summarise(way, perMove)
}

/** Both families and directions of one move together; the slower one counts. */
function oneMove(rows: readonly MoveRow[], downtimeMs: number): MobilityMove {
  const sum = (key: 'sent' | 'lost' | 'duplicated' | 'reordered'): number =>
    rows.reduce((total, row) => total + row[key], 0)
  const converged = rows.map(({ convergedMs }) => convergedMs)
  return {
    sent: sum('sent'),
    lost: sum('lost'),
    duplicated: sum('duplicated'),
    reordered: sum('reordered'),
    downtimeMs: rounded(downtimeMs)!,
    longestGapMs: rounded(Math.max(...rows.map(({ longestGapMs }) => longestGapMs)))!,
    convergedMs: converged.includes(null) ? null : rounded(Math.max(...converged.map(Number))),
  }
}

/** The figures of one way from its moves. Pure. */
export function summarise(way: Way, moves: readonly MobilityMove[]): WayFigures {
  const spread = (values: readonly number[]): WayFigures['lost'] => ({
    median: rounded(median(values)) ?? 0,
    largest: rounded(Math.max(0, ...values)) ?? 0,
  })
  const converged = moves.flatMap(({ convergedMs }) => convergedMs ?? [])
  return {
    way,
    lost: spread(moves.map(({ lost }) => lost)),
    lostInAll: moves.reduce((total, { lost }) => total + lost, 0),
    gapMs: spread(moves.map(({ longestGapMs }) => longestGapMs)),
    downtimeMs: rounded(median(moves.map(({ downtimeMs }) => downtimeMs))) ?? 0,
    // A way by which most senders never come directly has no time for it.
    convergedMs: 2 * converged.length > moves.length ? rounded(median(converged)) : null,
    moves,
  }
}

function twoClouds(): LoadedTopology {
  const result = loadTopology(packageFile('topologies', 'two-clouds.yaml'))
  if (!result.ok) throw new Error(`the topology is wrong: ${JSON.stringify(result.errors)}`)
  return { ...result, topology: { ...result.topology, name: BENCH_MOBILITY } }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const ENDPOINT = 'vm1'
const CLOUDS = ['cloud-a', 'cloud-b'] as const
const INSTANCE_ID = 7
/** Per stream: two families, each way. */
const PACKETS_PER_SECOND = 1_000
const STREAMS = 4
const TCP_BYTES_PER_SECOND = 1_000_000
const WARM_UP_MS = 1_000
/** As long as a live migration copies memory before it stops the machine, at the least. */
const RUN_ON_MS = 400
