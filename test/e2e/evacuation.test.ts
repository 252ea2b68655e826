/**
 * A cloud is emptied into another in one call: a hundred endpoints, each as a prepared live move, with
 * packets flowing to forty of them. The whole of it, a thousand, is a part of the benchmark.
 */
import t from 'tap'
import { measureEvacuation } from '../../bench/evacuation/measure.js'
import { labNames, lockTopology } from '../../src/lab/lab.js'
import { labSkip } from '../support/running-lab.js'

/** Well below the longest wait of the configuration's default. */
const HOLD_MS = 1_500
const NAME = 'e2e-evacuation'

t.setTimeout(120_000)

t.test(
  'a hundred endpoints leave a cloud in one call and lose nothing',
  { skip: labSkip },
  async (t) => {
    t.teardown(lockTopology(NAME))
    const plan = { name: NAME, endpoints: 100, atOnce: 32 }
    const evacuated = await measureEvacuation(plan, (line) => t.comment(line))
    t.equal(evacuated.failed, 0)
    // Beyond the limits of `hold` nothing is promised; a machine that busy pauses them too long itself.
    if (evacuated.pauseMs.largest < HOLD_MS)
      t.equal(evacuated.lost, 0, `of ${evacuated.sent} packets`)
    else t.comment(`an endpoint ran nowhere for ${evacuated.pauseMs.largest} ms`)
    t.equal(evacuated.watched, 40)
    t.ok(evacuated.sent > 5_000, `${evacuated.sent} packets were at stake`)
    t.ok(evacuated.longestGapMs >= 95, 'the endpoints stood still on their way')
    t.ok(evacuated.totalMs > 0 && evacuated.totalMs < 60_000, `${evacuated.totalMs} ms in all`)
    const { move = 0 } = evacuated.controlMessages
    if (Object.keys(evacuated.controlMessages).length > 0)
      t.ok(
        move >= 600,
        `${move} messages: prepare, stopped, confirm and their answers at the least`,
      )
    t.notOk(labNames().includes(NAME), 'everything is taken down')
  },
)
