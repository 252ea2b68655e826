/**
 * Daemons killed with -9 at random moments, 50 times, while an endpoint moves and packets flow.
 *
 *   host1 ── client ── core ── cloud-a ── vm2        vm1 moves between the clouds; vm2, vm3 stay
 *                       │ └─── cloud-b ── vm3
 *                    mapping
 *
 * Promised: flows of EIDs that are not being moved lose nothing, ever; after each kill everything
 * leads to where vm1 is again by itself, and from then on vm1's flows lose nothing either. The seed
 * is printed; GODWIT_SEED repeats a run's choices.
 */
import { cpSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { listIn } from '../../src/lab/api-request.js'
import { announceEndpoint } from '../../src/lab/lab.js'
import { labPaths } from '../../src/lab/names.js'
import { openPanel, type PanelControl } from '../../src/lab/panel.js'
import { killDaemon, metricsOf, reviveDaemon, untilHealthy } from '../support/daemon-control.js'
import { tableDifferences } from '../support/kernel-tables.js'
import {
  type Flow,
  figuresOf,
  flowsBetween,
  monotonicNs,
  pause,
  startStreams,
} from '../support/numbered-streams.js'
import { labSkip, type RunningLab, startLab } from '../support/running-lab.js'

const KILLS = Number(process.env['GODWIT_KILLS'] ?? 50)
const SEED = Number(process.env['GODWIT_SEED'] ?? Date.now() & 0xffffff)
const DAEMONS = ['client', 'cloud-a', 'cloud-b', 'mapping'] as const
const CLOUDS = ['cloud-a', 'cloud-b'] as const
type Cloud = (typeof CLOUDS)[number]
const ACTIONS = ['none', 'orchestrated', 'orchestrated', 'abandoned', 'detected'] as const

const HOST1 = { node: 'host1', addresses: { ipv4: '10.20.0.2', ipv6: 'fd00:20::2' } }
const VM1 = { node: 'vm1', addresses: { ipv4: '10.10.0.5', ipv6: 'fd00:10::5' } }
const VM2 = { node: 'vm2', addresses: { ipv4: '10.10.0.6', ipv6: 'fd00:10::6' } }
const VM3 = { node: 'vm3', addresses: { ipv4: '10.10.0.7', ipv6: 'fd00:10::7' } }
const VM1_PREFIXES = ['[7]10.10.0.5/32', '[7]fd00:10::5/128']
const GATEWAYS = ['[7]10.10.0.1/32', '[7]fd00:10::1/128']
const RLOC: Readonly<Record<Cloud, string>> = { 'cloud-a': '172.16.1.1', 'cloud-b': '172.16.2.1' }

const RATE = 250
/** Half a second of it is news, the rest a daemon's start: 15 s were seen on an overloaded machine. */
const CONVERGENCE_LIMIT_MS = 60_000
/** How long the flows of vm1 are watched after convergence, before the next round. */
const WATCHED_MS = 100
const POLL_MS = 60

t.setTimeout(600_000)

interface Round {
  readonly number: number
  readonly victims: readonly string[]
  readonly action: string
  readonly outcome: string
  readonly convergedMs: number
  /** What still did not lead to vm1 when the time was over. */
  readonly missing: string
  /** From convergence to the next round. */
  readonly fromNs: number
  readonly untilNs: number
}

t.test('a daemon killed at any moment costs nobody but the move', { skip: labSkip }, async (t) => {
  t.comment(`seed ${SEED}; repeat with GODWIT_SEED=${SEED}`)
  const lab = await startLab(t, 'two-clouds.yaml', 'gwres-kill')
  const panel = openPanel(lab.topology, 'panel')
  t.teardown(() => panel.close())
  const plans = [
    ...flowsBetween(HOST1, VM1),
    ...flowsBetween(HOST1, VM2),
    ...flowsBetween(HOST1, VM3),
    ...flowsBetween(VM2, VM3),
  ]
  // Neighbour entries of the hosts: filling them is the hosts' affair, their queues may reorder.
  await Promise.all(
    plans.map(({ from, address }) => lab.run(from, 'ping', '-c', '2', '-i', '0.2', '-q', address)),
  )
  const streams = await startStreams(lab, plans, { rate: RATE })
  await pause(500)
  const beganNs = monotonicNs()
  const random = createRandom(SEED)
  const rounds: Round[] = []
  const kills = (): number => rounds.reduce((sum, { victims }) => sum + victims.length, 0)
  while (kills() < KILLS && (rounds.at(-1)?.missing ?? '') === '') {
    rounds.push(await playRound(lab, panel, random, rounds.length + 1))
  }
  if (rounds.at(-1)?.missing !== '') t.comment(`evidence: ${await keepEvidence(lab)}`)
  const flows = await streams.stop()
  for (const round of rounds) t.comment(describeRound(round))
  t.ok(kills() >= KILLS, `${kills()} kills`)
  t.equal(rounds.at(-1)?.missing, '', 'after each of them the system converged')
  checkFlows(t, flows, rounds, beganNs)
  await checkRest(t, lab)
})

/** One move or none, one kill or two somewhere in its course, and the wait until all is well. */
async function playRound(
  lab: RunningLab,
  panel: PanelControl,
  random: Random,
  number: number,
): Promise<Round> {
  const action = random.pick(ACTIONS)
  const victims = [random.pick(DAEMONS)]
  const second = random.pick(DAEMONS)
  if (random.below(2) === 0 && !victims.includes(second)) victims.push(second)
  const choices: Choices = {
    to: otherCloud(panel.active() as Cloud),
    // How long after "ready" the link is switched.
    lateMs: random.pick([0, random.below(60), random.below(600)]),
    stubborn: random.below(3) === 0,
  }
  // A move is done in some 20 ms: most kills shall fall into it or close behind.
  const fates = victims.map((victim) => ({
    victim,
    afterMs: random.pick([random.below(30), random.below(30), random.below(400)]),
    deadMs: random.below(500),
  }))
  const acting = act(lab, panel, action, choices)
  const dying = fates.map(async ({ victim, afterMs, deadMs }) => {
    await pause(afterMs)
    await killDaemon(lab, victim)
    await pause(deadMs)
    reviveDaemon(lab, victim)
  })
  const [outcome] = await Promise.all([acting, ...dying])
  const began = performance.now()
  let missing = 'nothing looked at yet'
  while (missing !== '' && performance.now() - began < CONVERGENCE_LIMIT_MS) {
    missing = await whatIsMissing(lab, panel.active() as Cloud)
    if (missing !== '') await pause(POLL_MS)
  }
  const convergedMs = Math.round(performance.now() - began)
  const fromNs = monotonicNs()
  await pause(WATCHED_MS)
  const told = fates.map(({ victim, afterMs, deadMs }) => `${victim} at ${afterMs}+${deadMs} ms`)
  return {
    number,
    victims: told,
    action,
    outcome,
    convergedMs,
    missing,
    fromNs,
    untilNs: monotonicNs(),
  }
}

interface Choices {
  readonly to: Cloud
  readonly lateMs: number
  /** The link is switched even if the request went wrong. */
  readonly stubborn: boolean
}

async function act(
  lab: RunningLab,
  panel: PanelControl,
  action: (typeof ACTIONS)[number],
  { to, lateMs, stubborn }: Choices,
): Promise<string> {
  if (action === 'none') return 'no move'
  const answer = action === 'detected' ? 'detected' : await requestMove(lab, to)
  if (answer === 'ready') await pause(lateMs)
  const goes = answer === 'ready' ? action !== 'abandoned' : answer === 'detected' || stubborn
  if (goes) {
    panel.flip(to)
    await announceEndpoint(lab.topology, 'vm1')
  }
  return `to ${to}: ${answer}, ${goes ? `switched after ${lateMs} ms` : 'stayed'}`
}

async function requestMove(lab: RunningLab, to: Cloud): Promise<string> {
  const body = { eids: Object.values(VM1.addresses), instanceId: 7 }
  try {
    const answer = await lab.api(to, '/v1/moves', { method: 'POST', body, timeoutMs: 6_000 })
    const { error } = (answer.body ?? {}) as { error?: { code?: string } }
    return answer.status === 201 ? 'ready' : (error?.code ?? String(answer.status))
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code ?? (cause as Error).message
  }
}

/** What does not yet lead to vm1 at `cloud`; the empty string when everything does. */
async function whatIsMissing(lab: RunningLab, cloud: Cloud): Promise<string> {
  const database = async (node: string): Promise<Map<string, Record<string, unknown>>> => {
    const { body } = await lab.api(node, '/v1/mapping-database')
    return new Map(listIn(body).map((entry) => [String(entry['eidPrefix']), entry]))
  }
  try {
    const registrations = listIn((await lab.api('mapping', '/v1/registrations')).body)
    const cache = listIn((await lab.api('client', '/v1/map-cache')).body)
    const [here, there] = [await database(cloud), await database(otherCloud(cloud))]
    for (const prefix of VM1_PREFIXES) {
      const one = registrations.find(({ eidPrefix }) => eidPrefix === prefix)
      if (!JSON.stringify(one?.['locators'] ?? '').includes(RLOC[cloud]))
        return `${prefix} is not registered at ${cloud}`
      const local = here.get(prefix)
      if (local?.['state'] !== 'local') return `${prefix} is ${local?.['state']} at ${cloud}`
      if (local['registered'] !== true) return `${prefix} is not acknowledged at ${cloud}`
      const away = there.get(prefix)
      if (away !== undefined && away['state'] !== 'away')
        return `${prefix} is ${away['state']} at ${otherCloud(cloud)}`
      const cached = cache.find(({ eidPrefix }) => eidPrefix === prefix)
      if (!JSON.stringify(cached?.['locators'] ?? '').includes(RLOC[cloud]))
        return `the client does not send ${prefix} to ${cloud}`
    }
  } catch (cause) {
    return (cause as Error).message
  }
  const pings = await Promise.all(
    Object.values(VM1.addresses).map((address) =>
      lab.run('host1', 'ping', '-c', '1', '-W', '1', '-q', address),
    ),
  )
  return pings.every(({ code }) => code === 0) ? '' : 'vm1 does not answer host1'
}

/** Logs of the daemons and what their APIs say, where they outlive the lab; returns the directory. */
async function keepEvidence(lab: RunningLab): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-kill-'))
  cpSync(labPaths(lab.topology.name).logs, join(directory, 'logs'), { recursive: true })
  for (const node of DAEMONS)
    for (const table of ['map-cache', 'mapping-database', 'registrations', 'locators', 'moves']) {
      const answer = await lab.api(node, `/v1/${table}`).catch((cause: Error) => cause.message)
      writeFileSync(join(directory, `${node}-${table}.json`), JSON.stringify(answer, null, 2))
    }
  return directory
}

function checkFlows(t: Test, flows: readonly Flow[], rounds: readonly Round[], beganNs: number) {
  const untilNs = rounds.at(-1)?.untilNs ?? 0
  for (const flow of flows.filter(({ name }) => !name.includes('vm1'))) {
    const { sent, lost, reordered, duplicated } = figuresOf(flow, beganNs, untilNs)
    t.ok(sent > 0, `${flow.name}: ${sent} packets`)
    t.same({ lost, reordered, duplicated }, { lost: 0, reordered: 0, duplicated: 0 }, flow.name)
  }
  for (const flow of flows.filter(({ name }) => name.includes('vm1'))) {
    const lossy = rounds.filter(
      ({ missing, fromNs, untilNs }) => missing === '' && figuresOf(flow, fromNs, untilNs).lost > 0,
    )
    t.same(
      lossy.map(({ number }) => number),
      [],
      `${flow.name} loses nothing between convergence and the next round`,
    )
  }
}

/** At the end: no move under way, nothing held, kernel and daemons agree. */
async function checkRest(t: Test, lab: RunningLab): Promise<void> {
  for (const node of DAEMONS) await untilHealthy(lab, node)
  for (const node of ['client', ...CLOUDS]) {
    const own = node === 'client' ? [] : GATEWAYS
    t.same(await tableDifferences(lab, node, own), [], `${node}: kernel and daemon agree`)
    const metrics = await metricsOf(lab, node)
    t.equal(metrics.get('godwit_datapath_hold_packets'), 0, `${node} holds nothing`)
    const cache = listIn((await lab.api(node, '/v1/map-cache')).body)
    const holding = cache.filter(({ action }) => action === 'send-map-request')
    t.same(holding, [], `${node} has no entry that holds`)
  }
}

function describeRound(round: Round): string {
  const { number, victims, action, outcome, convergedMs, missing } = round
  const end = missing === '' ? `converged after ${convergedMs} ms` : missing
  return `${number}. ${action} ${outcome}; killed ${victims.join(', ')}; ${end}`
}

function otherCloud(cloud: Cloud): Cloud {
  return cloud === 'cloud-a' ? 'cloud-b' : 'cloud-a'
}

interface Random {
  below(limit: number): number
  pick<Item>(items: readonly Item[]): Item
}

/** mulberry32. */
function createRandom(seed: number): Random {
  let state = seed >>> 0
  const below = (limit: number): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit)
  }
  return { below, pick: (items) => items[below(items.length)]! }
}
