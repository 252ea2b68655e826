/**
 * The datapath's programs and the addon's C under sanitizers: what once was a finding, and a short
 * run of libFuzzer. The long run is `npm run fuzz -- --native`.
 */
import t from 'tap'
import {
  buildHarnesses,
  HARNESSES,
  type Harness,
  replayRegressions,
  runHarness,
} from './native-run.js'

const SECONDS: Record<Harness, number> = { datapath: 5, 'hold-queues': 2, fragment: 2, hmac: 2 }
/** What a run reaches in its first second, less a third. */
const LEAST_EDGES: Record<Harness, number> = {
  datapath: 500,
  'hold-queues': 100,
  fragment: 45,
  hmac: 30,
}

// Compiling under sanitizers takes half a minute on a busy machine.
t.setTimeout(300_000)

const missing = buildHarnesses()

for (const harness of HARNESSES) {
  t.test(
    `${harness} stays in its memory, whatever comes`,
    {
      skip: missing ?? false,
      timeout: 120_000,
    },
    async (t) => {
      t.equal(replayRegressions(harness), undefined, 'what once was a finding stays mended')
      const run = runHarness(harness, SECONDS[harness], 0)
      t.notOk(run.failed, run.failed ? run.output : `${run.inputs} inputs`)
      t.ok(run.edges > LEAST_EDGES[harness], `${run.edges} edges were taken`)
    },
  )
}
