import t from 'tap'
import { createDeadlines } from '../../src/control/deadlines.js'
import type { Output } from '../../src/control/input-output.js'
import {
  createSenderWindows,
  MAXIMUM_SENDERS,
  MAXIMUM_WINDOWS,
} from '../../src/control/moves/sender-windows.js'
import { createRateLimit } from '../../src/control/rate-limit.js'
import {
  createReplayWindow,
  MAXIMUM_REPETITIONS,
  WINDOW_MESSAGES,
} from '../../src/control/replay-window.js'
import { retryIntervals } from '../../src/control/retry-schedule.js'

t.test(
  'deadlines: the earliest wins, setting again replaces, cancelled ones never come',
  async (t) => {
    const deadlines = createDeadlines()
    t.equal(deadlines.next(), undefined)
    deadlines.set('a', 300)
    deadlines.set('b', 100)
    deadlines.set('c', 200)
    t.equal(deadlines.next(), 100)
    deadlines.set('b', 400)
    deadlines.cancel('c')
    deadlines.cancel('never set')
    t.equal(deadlines.next(), 300)
    t.equal(deadlines.get('b'), 400)
    t.strictSame(deadlines.due(299), [])
    t.strictSame(deadlines.due(400), ['a', 'b'])
    t.equal(deadlines.size, 0)
    deadlines.set('a', 500)
    t.equal(deadlines.next(), 500, 'a name that was due can be set again')
  },
)

t.test('retry intervals grow up to a maximum and end', async (t) => {
  const schedule = { initialMs: 1000, factor: 2, maximumMs: 5000, count: 5 }
  t.strictSame([...retryIntervals(schedule)], [1000, 2000, 4000, 5000, 5000])
  t.strictSame([...retryIntervals({ ...schedule, count: 0 })], [])
  const endless = retryIntervals({ ...schedule, count: Number.POSITIVE_INFINITY })
  t.strictSame(Array.from({ length: 7 }, () => endless.next().value).slice(4), [5000, 5000, 5000])
})

t.test('a token bucket gives its burst, then refills, per key', async (t) => {
  const limit = createRateLimit({ burst: 4, refillPerSecond: 1 / 3, maximumKeys: 10 })
  const taken = (key: string, ...moments: number[]) => moments.map((now) => limit.take(key, now))
  t.strictSame(taken('a', 0, 0, 0, 0, 0), [true, true, true, true, false])
  t.strictSame(taken('b', 0), [true])
  t.strictSame(taken('a', 2999, 3000, 3000, 6000), [false, true, false, true])
  t.strictSame(taken('a', 100_000, 100_000, 100_000, 100_000, 100_000).filter(Boolean).length, 4)
})

t.test('reserving takes tokens from the future and says when they may be used', async (t) => {
  const limit = createRateLimit({ burst: 2, refillPerSecond: 10, maximumKeys: 10 })
  const moments = [0, 0, 0, 0].map((now) => limit.reserve('a', now))
  t.strictSame(moments, [0, 0, 100, 200])
  t.equal(limit.reserve('a', 10_000), 10_000)
})

t.test('the number of keys is bounded; the one unused longest goes', async (t) => {
  const limit = createRateLimit({ burst: 1, refillPerSecond: 1, maximumKeys: 2 })
  limit.take('a', 0)
  limit.take('b', 0)
  t.notOk(limit.take('a', 500), 'not a use: it took nothing')
  limit.take('c', 600)
  t.equal(limit.size, 2)
  t.ok(limit.take('a', 700), 'forgotten')
})

t.test('a nonce is new once, in whatever order it comes, and never below the floor', async (t) => {
  const window = createReplayWindow(10n)
  const accept = (...nonces: number[]) => nonces.map((nonce) => window.accept(BigInt(nonce)))
  t.strictSame(accept(10, 3), ['replayed', 'replayed'])
  t.equal(window.highest, 10n)
  t.strictSame(accept(20, 12, 12, 20, 11), ['new', 'new', 'repeated', 'repeated', 'new'])
  t.equal(window.highest, 20n)
  t.strictSame(accept(1_000_000, 19), ['new', 'new'], 'gaps in the numbers do not matter')
  for (let nonce = 2_000_000; nonce < 2_000_000 + WINDOW_MESSAGES; nonce += 1) accept(nonce)
  t.strictSame(accept(1_000_000, 1_000_001), ['replayed', 'new'], 'the lowest are forgotten')
  const answered = Array.from({ length: MAXIMUM_REPETITIONS + 2 }, () => accept(2_000_200)[0])
  t.strictSame(answered.slice(-3), ['repeated', 'replayed', 'replayed'])
  t.equal(answered.filter((one) => one === 'repeated').length, MAXIMUM_REPETITIONS)
})

t.test('of a shuffled thousand each is accepted once while it is in the window', async (t) => {
  const window = createReplayWindow(0n, 100n)
  let accepted = 0
  // Blocks of fifty, each backwards, all of it twice.
  for (let block = 0; block < 20; block += 1)
    for (let round = 0; round < 2; round += 1)
      for (let index = 50; index > 0; index -= 1)
        if (window.accept(BigInt(block * 50 + index)) === 'new') accepted += 1
  t.equal(accepted, 1000)
  t.equal(window.accept(900n), 'replayed', 'seen or not: it is out of reach')
  t.equal(window.accept(901n), 'repeated')
})

t.test('what was recorded of an xTR is a replay, however many others spoke since', async (t) => {
  const windows = createSenderWindows()
  const outputs: Output[] = []
  t.equal(windows.judge('recorded', 7n, outputs), 'new')
  for (let index = 0; index < MAXIMUM_WINDOWS + 1; index += 1)
    windows.judge(`other ${index}`, 1n, outputs)
  t.equal(
    windows.judge('recorded', 7n, outputs),
    'replayed',
    'its window is gone, its floor is not',
  )
  t.equal(windows.judge('recorded', 6n, outputs), 'replayed')
  t.equal(windows.judge('recorded', 8n, outputs), 'new')
  t.equal(windows.judge('recorded', 8n, outputs), 'repeated')

  const restarted = createSenderWindows()
  restarted.restore(outputs.flatMap((one) => (one.kind === 'persist' ? one.records : [])))
  t.equal(restarted.judge('recorded', 8n, outputs), 'replayed')
  t.equal(restarted.judge('recorded', 9n, outputs), 'new')
})

t.test(
  'when there are too many xTRs the unknown are refused, and nobody is forgotten',
  async (t) => {
    const windows = createSenderWindows()
    windows.restore(
      Array.from({ length: MAXIMUM_SENDERS }, (_, index) => ({
        kind: 'last-nonce' as const,
        sender: `move/${index}`,
        nonce: 5n,
      })),
    )
    const outputs: Output[] = []
    t.equal(windows.judge('one more', 1000n, outputs), 'no-room')
    t.strictSame(outputs, [], 'nothing of it is stored')
    t.equal(windows.judge('0', 5n, outputs), 'replayed')
    t.equal(windows.judge('0', 6n, outputs), 'new')
  },
)
