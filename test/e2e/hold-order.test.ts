/**
 * The hold under load: 50,000 packets a second towards an EID that cannot be reached yet.
 *
 *   host1 ── client ── core ── cloud-a, cloud-b ── vm1          (mapping: Map-Server, Map-Resolver)
 *
 * With limits that are high enough every packet arrives, in order: those held, those that came
 * while the hold was emptied, those after it. How fast a hold can be emptied is the machine's affair:
 * packets that come faster are not stopped for ever, and may then overtake. So each test begins at
 * 50,000 a second, and is done again more slowly until the hold could follow; there order is judged.
 * Holds that are too small: hold-limits.test.ts.
 */
import t, { type Test } from 'tap'
import { openPanel, type PanelControl } from '../../src/lab/panel.js'
import { metricsOf, risen } from '../support/daemon-control.js'
import {
  dropsIn,
  type Family,
  flow,
  HELD,
  holding,
  moveTo,
  RELEASED,
  thinking,
  warmUp,
} from '../support/hold-scenes.js'
import {
  type Flow,
  type FlowFigures,
  figuresOf,
  pause,
  startStreams,
} from '../support/numbered-streams.js'
import { labSkip, type RunningLab, startLab } from '../support/running-lab.js'

const FAMILIES = ['ipv4', 'ipv6'] as const

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
