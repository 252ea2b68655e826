/**
 * A cloud is emptied: many endpoints move to another one in one call (`POST /v1/move-batches`), with
 * packets flowing to a sample of them.
 *
 * Hypervisors are played here: when an endpoint is prepared it runs on for a while, stops, runs nowhere
 * for a while and runs in the other farm, and both ends say so as agents do. What is measured is what
 * the mapping system and both xTRs take for it, not how fast machines are copied.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeRecords, type PacketRecord } from '../../src/demo/records.js'
import { apiRequest, listIn } from '../../src/lab/api-request.js'
import { poll } from '../../src/lab/daemons.js'
import { bringUp, takeDown } from '../../src/lab/lab.js'
import { labPaths, socketOf } from '../../src/lab/names.js'
import { describeMachine } from '../machine.js'
import { type Evacuation, median, rounded } from '../results.js'
import { startControlCount } from './control-count.js'
import { followEvents } from './events.js'
import { createEndpointFarms, type EndpointFarms } from './farms.js'
import { EVACUATION_INSTANCE_ID, endpointAddress, evacuationTopology } from './topology.js'
import { startSampleTraffic } from './traffic.js'

export const BENCH_EVACUATION = 'bench-evacuation'

export interface EvacuationPlan {
  readonly name: string
  readonly endpoints: number
  readonly atOnce: number
}

/** Empties cloud-a into cloud-b; the network is down afterwards. Rejects when it cannot be set up. */
export async function measureEvacuation(
  plan: EvacuationPlan,
  say: (line: string) => void,
): Promise<Evacuation> {
  const loaded = evacuationTopology(plan.name)
  const { topology } = loaded
  const addresses = Array.from({ length: plan.endpoints }, (_, index) => endpointAddress(index))
  try {
    await bringUp(loaded)
    const farms = createEndpointFarms(topology)
    await settle(plan.name, farms, addresses)
    say(`evacuation: ${plan.endpoints} endpoints are registered from cloud-a`)
    const directory = join(labPaths(plan.name).state, 'records')
    mkdirSync(directory, { recursive: true })
    const sample = spreadOver(addresses, WATCHED)
    const traffic = await startSampleTraffic(topology, sample, directory)
    const counted = await startControlCount(topology, directory)
    const moved = await evacuate(plan, farms, addresses)
    await pause(TAIL_MS)
    const controlMessages = await counted.stop()
    await traffic.stop()
    farms.close()
    const read = (file: string) => decodeRecords(readFileSync(file)).records
    const seen = figuresOf(read(traffic.files.sent), traffic.files.received.flatMap(read))
    say(`evacuation: ${plan.endpoints} in ${moved.totalMs} ms, lost ${seen.lost} of ${seen.sent}`)
    const { commit } = describeMachine()
    const date = new Date().toISOString().slice(0, 10)
    const { endpoints, atOnce } = plan
    return {
      commit,
      date,
      endpoints,
      atOnce,
      ...moved,
      controlMessages,
      watched: sample.length,
      ...seen,
    }
  } finally {
    await takeDown(plan.name)
  }
}

/** All endpoints run in cloud-a, and the Map-Server knows it. */
async function settle(
  name: string,
  farms: EndpointFarms,
  addresses: readonly string[],
): Promise<void> {
  await Promise.all(addresses.map((address) => farms.run('cloud-a', address)))
  for (let at = 0; at < addresses.length; at += EIDS_PER_EVENT) {
    await tell(name, 'cloud-a', 'running', addresses.slice(at, at + EIDS_PER_EVENT))
  }
  await poll(SETTLE_LIMIT_MS, async () => {
    const missing = await unregistered(name, addresses)
    // A question or its answer may have been lost.
    await tell(name, 'cloud-a', 'running', missing.slice(0, EIDS_PER_EVENT))
    return missing.length === 0 ? undefined : `${missing.length} endpoints are not registered`
  })
}

async function unregistered(name: string, addresses: readonly string[]): Promise<string[]> {
  const known = new Set<string>()
  let after = ''
  do {
    const { body } = await apiRequest(
      socketOf(name, 'mapping'),
      `/v1/registrations?limit=1000${after}`,
    )
    for (const entry of listIn(body)) known.add(String(entry['eidPrefix']))
    const { next } = body as { next?: string }
    after = next === undefined ? '' : `&after=${encodeURIComponent(next)}`
  } while (after !== '')
  return addresses.filter((one) => !known.has(`[${EVACUATION_INSTANCE_ID}]${one}/32`))
}

interface Moved {
  readonly totalMs: number
  readonly pauseMs: Evacuation['pauseMs']
  readonly failed: number
  readonly convergedMs: Evacuation['convergedMs']
}

async function evacuate(
  { name, atOnce }: EvacuationPlan,
  farms: EndpointFarms,
  addresses: readonly string[],
): Promise<Moved> {
  const addressOf = new Map<string, string>()
  const runningAt = new Map<string, number>()
  const took: number[] = []
  const acts: Promise<number>[] = []
  const events = await followEvents(socketOf(name, 'cloud-b'), EVENTS, (event) => {
    const moveId = String(event['moveId'])
    if (event['name'] === 'move-requested') {
      const [eid = ''] = event['eids'] as string[]
      addressOf.set(moveId, eid.replace(/^\[\d+\]/, '').replace(/\/\d+$/, ''))
    }
    const address = addressOf.get(moveId)
    if (address === undefined) return
    if (event['name'] === 'move-prepared')
      acts.push(migrate(name, farms, address, () => runningAt.set(moveId, performance.now())))
    const ran = runningAt.get(moveId)
    if (event['name'] === 'move-converged' && ran !== undefined) took.push(performance.now() - ran)
  })
  // Who empties a host knows which: nobody need be asked where a thousand endpoints are.
  const source = SOURCE_RLOC
  const moves = addresses.map((address) => ({ eids: [address] }))
  const body = { moves, instanceId: EVACUATION_INSTANCE_ID, mode: 'live', source, atOnce }
  const answer = await apiRequest(socketOf(name, 'cloud-b'), '/v1/move-batches', {
    method: 'POST',
    body,
  })
  if (answer.status !== 202)
    throw new Error(`the batch was refused: ${JSON.stringify(answer.body)}`)
  const { batchId } = answer.body as { batchId: string }
  let progress = answer.body as {
    done: boolean
    failed: number
    elapsedMs: number
    converged: number
  }
  await poll(EVACUATION_LIMIT_MS, async () => {
    const { body: now } = await apiRequest(socketOf(name, 'cloud-b'), '/v1/move-batches')
    const found = listIn(now).find((one) => one['batchId'] === batchId)
    if (found === undefined) return 'the batch is not listed'
    progress = { ...progress, ...found }
    return progress.done ? undefined : `${progress.converged} of ${addresses.length} have moved`
  })
  const pauses = await Promise.all(acts)
  events.close()
  return {
    totalMs: progress.elapsedMs,
    failed: progress.failed,
    pauseMs: spreadOf(pauses),
    convergedMs: spreadOf(took),
  }
}

function spreadOf(values: readonly number[]): Evacuation['pauseMs'] {
  const largest = values.reduce((most, value) => Math.max(most, value), 0)
  return { median: rounded(median(values)) ?? 0, largest: rounded(largest) ?? 0 }
}

/** What the hypervisors do and say once the endpoint is prepared for; how long it ran nowhere. */
async function migrate(
  name: string,
  farms: EndpointFarms,
  address: string,
  onRunning: () => void,
): Promise<number> {
  await pause(RUN_ON_MS)
  const saidAtMs = Number(process.hrtime.bigint()) / 1e6
  await farms.stop('cloud-a', address)
  await tell(name, 'cloud-a', 'stopped', [address], saidAtMs)
  await pause(BLACKOUT_MS)
  await farms.run('cloud-b', address)
  const pauseMs = Number(process.hrtime.bigint()) / 1e6 - saidAtMs
  onRunning()
  await tell(name, 'cloud-b', 'running', [address])
  return pauseMs
}

async function tell(
  name: string,
  site: string,
  event: 'stopped' | 'running',
  eids: readonly string[],
  saidAtMs?: number,
): Promise<void> {
  if (eids.length === 0) return
  const body = { event, eids, instanceId: EVACUATION_INSTANCE_ID, saidAtMs }
  const answer = await apiRequest(socketOf(name, site), '/v1/endpoints/events', {
    method: 'POST',
    body,
    timeoutMs: EVENT_LIMIT_MS,
  })
  if (answer.status !== 200) throw new Error(`${site} refused: ${JSON.stringify(answer.body)}`)
}

/** Over all streams together; an endpoint receives in one farm and then in the other. Pure. */
export function figuresOf(
  sent: readonly PacketRecord[],
  received: readonly PacketRecord[],
): Pick<Evacuation, 'sent' | 'lost' | 'duplicated' | 'longestGapMs'> {
  const arrivals = new Set<string>()
  const times = new Map<number, number[]>()
  for (const { stream, sequence, receivedNs } of received) {
    arrivals.add(`${stream}/${sequence}`)
    const list = times.get(stream) ?? []
    list.push(receivedNs!)
    times.set(stream, list)
  }
  const isHere = ({ stream, sequence }: PacketRecord): boolean =>
    arrivals.has(`${stream}/${sequence}`)
  const lost = sent.filter((record) => !isHere(record)).length
  const gaps = [...times.values()].map(longestGap)
  return {
    sent: sent.length,
    lost,
    duplicated: received.length - arrivals.size,
    longestGapMs: rounded(Math.max(0, ...gaps) / 1e6)!,
  }
}

function longestGap(times: readonly number[]): number {
  const sorted = [...times].sort((left, right) => left - right)
  return sorted.reduce((most, at, index) => Math.max(most, at - (sorted[index - 1] ?? at)), 0)
}

function spreadOver(addresses: readonly string[], count: number): string[] {
  const step = Math.max(1, Math.floor(addresses.length / count))
  return addresses.filter((_, index) => index % step === 0).slice(0, count)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Of cloud-a in topologies/two-clouds.yaml. */
const SOURCE_RLOC = '172.16.1.1'
const EVENTS = ['move-requested', 'move-prepared', 'move-converged']
/** As many as an event names. */
const EIDS_PER_EVENT = 8
/** Streams of the traffic tool, of these a prefix of all endpoints in equal steps. */
const WATCHED = 40
const RUN_ON_MS = 50
const BLACKOUT_MS = 100
/** Late packets and repeated control messages belong to it. */
const TAIL_MS = 1_500
const SETTLE_LIMIT_MS = 60_000
const EVACUATION_LIMIT_MS = 120_000
const EVENT_LIMIT_MS = 30_000
