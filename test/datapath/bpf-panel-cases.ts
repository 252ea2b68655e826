/**
 * The patch panel: which way frames go, by direction, and what is counted. Where a redirect leads is
 * seen by the counters.
 */
import { join } from 'node:path'
import t from 'tap'
import { loadNativeAddon } from '../../src/datapath/native-addon.js'
import { bench } from './bpf-fixtures.js'
import { ethernet } from './frames.js'
import { data } from './packets.js'
import { MAC, VERDICT } from './workbench.js'

const LEGS = 8
const CLOSED = 255
const addon = loadNativeAddon()
const panel = addon.openObject('panel', { pinDirectory: join(bench.network.bpffs, 'panel') })
t.teardown(() => addon.closeObject(panel))
const frame = ethernet(MAC.broadcast, MAC.host, 0x88b5, data(50))
const zero = new Uint8Array(4)

function plug(up: number, down: number): void {
  const { site, core } = bench.network
  const state = Uint32Array.of(site, up, down, 2, core, 1, ...Array(LEGS - 2).fill(0))
  addon.updateMap(panel, 'panel_state', zero, new Uint8Array(state.buffer))
}

/** Frames up, down and dropped of a leg; LEGS is the port. */
function counted(leg: number): number[] {
  const values = addon.lookupMap(panel, 'panel_counters', Uint8Array.of(leg, 0, 0, 0))!
  const words = new BigUint64Array(values.slice().buffer)
  const sums = [0, 0, 0]
  for (const [i, word] of words.entries()) sums[i % 3]! += Number(word)
  return sums
}

t.test('the panel connects one leg per direction and counts what it drops', async (t) => {
  const up = () => addon.testRun(panel, 'panel_port', frame, bench.network.site)
  const down = (interfaceIndex: number) =>
    addon.testRun(panel, 'panel_leg', frame, interfaceIndex).verdict
  const first = bench.network.core
  const second = 1
  plug(0, 0)
  t.equal(up().verdict, VERDICT.redirect)
  t.same(up().packet, frame, 'frames are not touched')
  t.equal(down(first), VERDICT.redirect)
  t.equal(down(second), VERDICT.drop, 'not plugged in')
  plug(1, 0)
  up()
  t.equal(down(first), VERDICT.redirect, 'the directions are independent')
  plug(1, 1)
  t.equal(down(first), VERDICT.drop)
  t.equal(down(second), VERDICT.redirect)
  plug(CLOSED, CLOSED)
  t.equal(up().verdict, VERDICT.drop, 'closed')
  t.equal(down(second), VERDICT.drop)
  t.same(
    [counted(0), counted(1), counted(LEGS)],
    [
      [2, 2, 1],
      [1, 1, 2],
      [0, 0, 1],
    ],
  )
})
