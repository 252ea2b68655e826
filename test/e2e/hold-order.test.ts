/**
 * The hold under load: 50,000 packets a second towards an EID that cannot be reached yet.
 *
 *   host1 ── client ── core ── cloud-a, cloud-b ── vm1          (mapping: Map-Server, Map-Resolver)
 *
 * With limits that are high enough every packet arrives, in order: those held, those that came
 * while the hold was emptied, those after it. How fast a hold can be emptied is the machine's affair:
 * packets that come faster are not stopped for ever, and may then overtake. So each test begins at
 * 50,000 a second, and is done again more slowly until the hold could follow; there order is judged.
 * With small limits what is lost is what was counted.
 */
import t, { type Test } from 'tap'
import type { AdjustConfig } from '../../src/lab/daemons.js'
import { announceEndpoint } from '../../src/lab/lab.js'
import { openPanel, type PanelControl } from '../../src/lab/panel.js'
import { signalProcess } from '../../src/lab/processes.js'
import { daemonPid, metricsOf, risen } from '../support/daemon-control.js'
import {
  type Flow,
  type FlowFigures,
  figuresOf,
  pause,
  startStreams,
} from '../support/numbered-streams.js'
import { labSkip, type RunningLab, startLab } from '../support/running-lab.js'

const VM1 = { ipv4: '10.10.0.5', ipv6: 'fd00:10::5' } as const
type Family = keyof typeof VM1
const FAMILIES = ['ipv4', 'ipv6'] as const
const CLOUDS = ['cloud-a', 'cloud-b'] as const

const WANTED_RATE = 50_000
/** What any machine that runs this can release. */
const LEAST_RATE = 4_000
const SLOWER = 0.6
/** Packets a second: what this machine was seen to release, from the first test that found less. */
let rate = WANTED_RATE
/** How long the Map-Resolver is made to think, or the endpoint to travel. */
const DELAY_MS = 200
/** Far above what 50,000 packets/s can fill within the delay on a slow machine. */
const AMPLE = { packetsPerEid: 200_000, bytesPerEid: 256 << 20, bytesTotal: 512 << 20 }
const SCANTY = { packetsPerEid: 100, bytesPerEid: 1 << 20, bytesTotal: 1 << 20 }
/** Packets that went into the hold, left it again, or were one too many. */
const HELD = 'godwit_datapath_packets_total{held}'
const RELEASED = 'godwit_datapath_hold_released_total'
const REFUSED = 'godwit_datapath_hold_dropped_total{hold-packets}'
const UNSETTLED = 'godwit_datapath_hold_unsettled_total'
const NOTHING_AMISS = { lost: 0, duplicated: 0, reordered: 0 }

t.setTimeout(150_000)

t.test(
  'packets that wait keep their order, 50,000 a second where the machine can',
  { skip: labSkip },
  async (t) => {
    const lab = await startLab(t, 'two-clouds.yaml', 'gwres-hold', { adjust: holding(AMPLE) })
    const panel = openPanel(lab.topology, 'panel')
    t.teardown(() => panel.close())
    await warmUp(lab)
    t.teardown(() => t.comment(`judged at ${rate} packets/s`))
    for (const family of FAMILIES) {
      t.test(`${family}: for a mapping that is not in the cache`, (t) => cold(t, lab, family, 0))
      t.test(`${family}: for a mapping that takes ${DELAY_MS} ms`, (t) =>
        cold(t, lab, family, DELAY_MS),
      )
      t.test(`${family}: for an endpoint that comes ${DELAY_MS} ms after "ready"`, (t) =>
        lateEndpoint(t, lab, panel, family),
      )
    }
  },
)

t.test('a hold that is too small says exactly what it cost', { skip: labSkip }, async (t) => {
  const lab = await startLab(t, 'two-clouds.yaml', 'gwres-hold', { adjust: holding(SCANTY) })
  const panel = openPanel(lab.topology, 'panel')
  t.teardown(() => panel.close())
  await warmUp(lab)
  t.test('while a mapping is awaited', async (t) => {
    const before = await metricsOf(lab, 'client')
    await lab.api('client', '/v1/map-cache', { method: 'DELETE' })
    const streams = await startStreams(lab, [flow('ipv4')], { rate: 2_000, count: 2_000 })
    await thinking(lab, 400)
    const figures = figuresOf((await streams.stop())[0]!)
    const rise = risen(before, await metricsOf(lab, 'client'))
    t.ok(figures.lost > 100, `${figures.lost} of ${figures.sent} lost`)
    t.equal(rise[REFUSED], figures.lost, 'all of them counted, by reason')
    t.equal(rise[HELD], (rise[RELEASED] ?? 0) + figures.lost, 'the rest left the hold')
    t.match(figures, { reordered: 0, duplicated: 0 })
  })
  t.test('while an endpoint is awaited', async (t) => {
    const before = await metricsOf(lab, 'cloud-b')
    const streams = await startStreams(lab, [flow('ipv6')], { rate: 2_000, count: 3_000 })
    await pause(200)
    t.equal(await moveTo(lab, panel, 'cloud-b', 400), 201)
    const figures = figuresOf((await streams.stop())[0]!)
    const rise = risen(before, await metricsOf(lab, 'cloud-b'))
    t.ok(figures.lost > 100, `${figures.lost} of ${figures.sent} lost`)
    t.equal(rise[REFUSED], figures.lost, 'all of them counted, by reason')
    t.match(figures, { reordered: 0, duplicated: 0 })
  })
  t.test('for an endpoint that never comes', async (t) => {
    const before = await Promise.all(CLOUDS.map((node) => metricsOf(lab, node)))
    const streams = await startStreams(lab, [flow('ipv4')], { rate: 500, count: 2_000 })
    await pause(200)
    t.equal(await moveTo(lab, panel, 'cloud-a', undefined), 201)
    const figures = figuresOf((await streams.stop())[0]!)
    const after = await Promise.all(CLOUDS.map((node) => metricsOf(lab, node)))
    const dropped = CLOUDS.map((_, index) => dropsIn(risen(before[index]!, after[index]!)))
    t.ok(figures.lost > 100, `${figures.lost} of ${figures.sent} lost`)
    t.equal(dropped[0]! + dropped[1]!, figures.lost, 'all counted')
    t.match(figures, { duplicated: 0 })
  })
})

/** The client knows nothing of vm1; the Map-Resolver answers after `thinkMs`. */
async function cold(t: Test, lab: RunningLab, family: Family, thinkMs: number): Promise<void> {
  const rise = await judgeOrder(t, async () => {
    const before = await metricsOf(lab, 'client')
    await lab.api('client', '/v1/map-cache', { method: 'DELETE' })
    const streams = await startStreams(lab, [flow(family)], { rate, count: rate })
    if (thinkMs > 0) await thinking(lab, thinkMs)
    const [one] = await streams.stop()
    return { flow: one!, rise: risen(before, await metricsOf(lab, 'client')) }
  })
  const held = rise[HELD] ?? 0
  t.ok(held > thinkMs, `${held} were held`)
  t.equal(rise[RELEASED], held, 'and all of them released')
  t.same(dropsIn(rise), 0, 'nothing was dropped')
}

async function lateEndpoint(
  t: Test,
  lab: RunningLab,
  panel: PanelControl,
  family: Family,
): Promise<void> {
  const rise = await judgeOrder(t, async () => {
    const to = panel.active() === 'cloud-a' ? 'cloud-b' : 'cloud-a'
    const before = await metricsOf(lab, to)
    const streams = await startStreams(lab, [flow(family)], { rate, count: 2 * rate })
    await pause(DELAY_MS)
    t.equal(await moveTo(lab, panel, to, DELAY_MS), 201)
    const [one] = await streams.stop()
    return { flow: one!, rise: risen(before, await metricsOf(lab, to)) }
  })
  const held = rise[HELD] ?? 0
  t.ok(held > DELAY_MS, `${held} were held`)
}

/** Asks for the move and switches the link `lateMs` after "ready", or never; the API's status. */
async function moveTo(
  lab: RunningLab,
  panel: PanelControl,
  to: string,
  lateMs: number | undefined,
): Promise<number> {
  const body = { eids: Object.values(VM1), instanceId: 7 }
  const { status } = await lab.api(to, '/v1/moves', { method: 'POST', body })
  if (lateMs === undefined) return status
  await pause(lateMs)
  panel.flip(to)
  await announceEndpoint(lab.topology, 'vm1')
  return status
}

/** Stops the mapping system for a while; its socket keeps what is asked meanwhile. */
async function thinking(lab: RunningLab, ms: number): Promise<void> {
  const pid = daemonPid(lab, 'mapping')
  signalProcess(pid, 'SIGSTOP')
  await pause(ms)
  signalProcess(pid, 'SIGCONT')
}

interface Outcome {
  readonly flow: Flow
  readonly rise: Readonly<Record<string, number>>
}

/**
 * Nothing lost, doubled or reordered. When packets came faster than this machine could release them
 * (the hold gives up waiting for a gap after a second then, and counts that) once more, more slowly:
 * then too nothing may have been lost, but order is judged at the rate that the hold could follow.
 */
async function judgeOrder(t: Test, run: () => Promise<Outcome>): Promise<Outcome['rise']> {
  for (;;) {
    const { flow, rise } = await run()
    const figures: FlowFigures = figuresOf(flow)
    const [first, last] = [flow.sent[0]!, flow.sent.at(-1)!]
    const seen = Math.round(flow.sent.length / ((last.sentNs - first.sentNs) / 1e9))
    const title = `${figures.sent} packets at ${seen}/s (wanted: ${rate}/s)`
    const unsettled = rise[UNSETTLED] ?? 0
    if (unsettled === 0 || rate <= LEAST_RATE) {
      t.match(figures, NOTHING_AMISS, title)
      return rise
    }
    t.match(figures, { lost: 0, duplicated: 0 }, title)
    t.comment(`${unsettled} releases found no gap: ${figures.reordered} reordered; more slowly`)
    rate = Math.max(LEAST_RATE, Math.round(rate * SLOWER))
  }
}

function dropsIn(rise: Readonly<Record<string, number>>): number {
  return Object.entries(rise)
    .filter(([name]) => /^godwit_datapath_(hold_dropped|drops)_total/.test(name))
    .reduce((sum, [, value]) => sum + value, 0)
}

/** Neighbour entries of the hosts, whose own queues would lose or reorder the first packets. */
async function warmUp(lab: RunningLab): Promise<void> {
  for (const address of Object.values(VM1))
    await lab.run('host1', 'ping', '-c', '2', '-i', '0.2', '-q', address)
}

function flow(family: Family) {
  return { name: `host1>vm1/${family}`, from: 'host1', to: 'vm1', address: VM1[family] }
}

function holding(hold: object): AdjustConfig {
  return (_node, config) => ({ ...config, hold })
}
