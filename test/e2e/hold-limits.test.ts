/**
 * A hold that is too small for what comes, and an endpoint that never comes: what is lost is exactly
 * what was counted, and the rest is in order. Order at high rates: hold-order.test.ts.
 */
import t from 'tap'
import { openPanel } from '../../src/lab/panel.js'
import { metricsOf, risen } from '../support/daemon-control.js'
import {
  dropsIn,
  flow,
  HELD,
  holding,
  moveTo,
  RELEASED,
  thinking,
  warmUp,
} from '../support/hold-scenes.js'
import { figuresOf, pause, startStreams } from '../support/numbered-streams.js'
import { labSkip, startLab } from '../support/running-lab.js'

const CLOUDS = ['cloud-a', 'cloud-b'] as const
const SCANTY = { packetsPerEid: 100, bytesPerEid: 1 << 20, bytesTotal: 1 << 20 }
const REFUSED = 'godwit_datapath_hold_dropped_total{hold-packets}'

t.setTimeout(150_000)

t.test('a hold that is too small says exactly what it cost', { skip: labSkip }, async (t) => {
  const lab = await startLab(t, 'two-clouds.yaml', 'gwres-few', { adjust: holding(SCANTY) })
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
