/**
 * What the cases of the BPF programs share: one workbench, and the assertions that a frame was dropped
 * for one reason and that an event is limited.
 */
import t from 'tap'
import type { BpfDropReasonName, BpfEventTypeName } from '../../src/datapath/abi.generated.js'
import { FAMILIES } from './packets.js'
import { createWorkbench, OWN_RLOC, VERDICT } from './workbench.js'

export const bench = createWorkbench()
t.teardown(() => bench.close())

bench.putSite(0)
bench.putNode({})
bench.startEvents()
for (const family of FAMILIES) bench.putRloc(OWN_RLOC[family])

/** Run, and assert that the frame is dropped for exactly this reason; a super-packet is several. */
export function dropped(
  test: Pick<typeof t, 'equal'>,
  reason: BpfDropReasonName,
  run: () => { verdict: number },
  what: string,
  packets = 1,
): void {
  const before = bench.drops(reason)
  test.equal(run().verdict, VERDICT.drop, `${what}: dropped`)
  test.equal(bench.drops(reason), before + packets, `${what}: counted as ${reason}`)
}

const TRIES = 20
const CLOCK_TICK_MS = 10 // the programs read the coarse clock

/** Cause the same event many times in a row: one per interval comes out, however slow the machine. */
export async function limited(
  test: Pick<typeof t, 'ok'>,
  type: BpfEventTypeName,
  address: string,
  intervalMs: number,
  run: () => unknown,
): Promise<void> {
  const before = bench.countEvents(type, address)
  const startedAt = performance.now()
  for (let i = 0; i < TRIES; i++) run()
  const most = 1 + Math.floor((performance.now() - startedAt + CLOCK_TICK_MS) / intervalMs)
  await bench.event(type, address)
  const count = bench.countEvents(type, address) - before
  test.ok(
    count >= 1 && count <= most && most < TRIES,
    `${type}: ${count} of ${TRIES}, at most ${most}`,
  )
}
