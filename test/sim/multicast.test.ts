/** Multicast among many sites under loss and churn: everybody once, nobody twice. */
import t from 'tap'
import { runMulticast } from '../../src/sim/multicast-run.js'

const OPTIONS = { joinsPerSecond: 10, loss: 0.01, churnMs: 5000 }

t.test('who listens steadily gets every packet once while others come and go', async (t) => {
  const result = runMulticast({ ...OPTIONS, seed: '7', sites: 20 })
  t.match(result, { lost: 0, duplicated: 0, wrongSource: 0, relays: 0, ok: true })
  t.ok(result.expected > 1000)
  t.equal(result.mapServer.members, 20)
})

t.test('so it is below relays, which the lists of the sources name alone', async (t) => {
  const result = runMulticast({ ...OPTIONS, seed: '8', sites: 140 })
  t.match(result, { lost: 0, duplicated: 0, wrongSource: 0, ok: true })
  t.ok(result.relays > 0)
  t.ok(result.longestList <= 64)
})

t.test('the same seed is the same run', async (t) => {
  const run = () => runMulticast({ ...OPTIONS, seed: '9', sites: 6 })
  t.same(run(), run())
})

t.test('a relay that dies without a word is replaced within seconds', async (t) => {
  const churn = { ...OPTIONS, churnMs: 10_000 }
  const result = runMulticast({ ...churn, seed: '9', sites: 150, relayDiesAfterMs: 2000 })
  t.match(result, { lost: 0, duplicated: 0, wrongSource: 0, ok: true })
  t.ok(result.lostWithRelay > 0, 'until then what hung below it gets nothing')
})
