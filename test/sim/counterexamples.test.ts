/**
 * The courses of events in which earlier versions of the protocol lost packets or left the mapping in a
 * wrong place, each as a scenario with real control planes and the model datapath. They were found
 * by an explicit-state model of the protocol; docs/mobility.md has the table, with what guards each.
 */
import t, { type Test } from 'tap'
import type { Malformed, Message } from '../../src/lisp/message.js'
import type { Datagram } from '../../src/sim/network.js'
import {
  BEGIN,
  type Carry,
  type Course,
  DOWN_MS,
  KNOWN,
  liveWorld,
  migrate,
  outcome,
  RUN_MS,
  stateAt,
} from '../support/live-world.js'

t.setTimeout(180_000)

const [A, B] = ['cloud-1', 'cloud-2'] as const
/** A migration that nothing disturbs: from being asked for to its machine running again. */
const WHOLE_MS = RUN_MS + DOWN_MS + 20

const isPhase = (message: Message | Malformed, phase: string): boolean =>
  message.kind === 'move' && message.phase === phase

/** Where everything is at rest and what is lost, of a course that has been laid out. */
function ends(t: Test, course: Course, at: string, until = BEGIN + 12_000): void {
  t.same(outcome(course, until).lost, [], 'nothing is lost')
  t.equal(stateAt(course.world, at), 'local')
}

/** Says a datagram that was kept again, from its sender. */
function sayAgain(course: Course, at: number, from: string, kept: readonly Datagram[]): void {
  course.world.timeline.at(at, () => {
    if (kept[0] === undefined) throw new Error('it was never said')
    course.world.network.send(from, kept[0])
  })
}

t.test(
  '1: a migration overtakes its preparation; what it confirms counts all the same',
  async (t) => {
    const kept: Datagram[] = []
    let isHeldUp = true
    const course = liveWorld((message, datagram) => {
      if (!isHeldUp || !isPhase(message, 'prepare-live')) return true
      kept.push(datagram)
      return false
    })
    migrate(course, BEGIN, A, B, { ...KNOWN, impatient: true })
    course.world.timeline.at(BEGIN + 600, () => {
      isHeldUp = false
    })
    sayAgain(course, BEGIN + 700, B, kept)
    const { lost } = outcome(course, BEGIN + 12_000)
    t.equal(stateAt(course.world, A), 'away')
    t.equal(stateAt(course.world, B), 'local')
    // Nothing was prepared: what its old tap had swallowed until the confirmation is gone, and no more.
    t.ok(
      lost.every((one) => /left-in-tap|endpoint-not-here/.test(one)),
      lost.join(', '),
    )
    t.ok(lost.length <= (DOWN_MS + 3 + 2 * 2 + 5) / 2, `${lost.length} packets`)
  },
)

t.test('2: the destination gives packets back before the source knows that it runs', async (t) => {
  const course = liveWorld()
  migrate(course, BEGIN, A, B, { ...KNOWN, fails: true, cancelMs: 0, runningMs: 60 })
  ends(t, course, A)
})

t.test('2b: the same, and the preparation of the attempt that failed is said again', async (t) => {
  for (const after of [1, 4, 10, 60, 400]) {
    const kept: Datagram[] = []
    const course = liveWorld((message, datagram) => {
      if (isPhase(message, 'prepare-live')) kept.push(datagram)
      return true
    })
    migrate(course, BEGIN, A, B, { ...KNOWN, fails: true, cancelMs: 0, runningMs: 60 })
    sayAgain(course, BEGIN + RUN_MS + DOWN_MS + 10 + after, B, kept)
    ends(t, course, A)
    t.equal(stateAt(course.world, B), undefined, `said again ${after} ms after the failure`)
  }
})

t.test(
  '3: old news of the mapping system reach a destination that expects its machine',
  async (t) => {
    const course = liveWorld((message, _datagram, _from, to) => {
      const isNews = message.kind === 'map-notify' && to === B
      return isNews && course.world.timeline.now() < BEGIN + 2 * WHOLE_MS + 100 ? 700 : true
    })
    migrate(course, BEGIN, A, B, KNOWN)
    migrate(course, BEGIN + WHOLE_MS + 20, B, A, KNOWN)
    migrate(course, BEGIN + 2 * WHOLE_MS + 40, A, B, KNOWN)
    ends(t, course, B)
  },
)

t.test('4: late news that it resumed after one attempt does not end the next', async (t) => {
  const late = RUN_MS + DOWN_MS + 60
  const course = liveWorld()
  migrate(course, BEGIN, A, B, { ...KNOWN, fails: true, cancelMs: 2, runningMs: late })
  // It resumed at 360; the second attempt stops it at 760, and the news comes at 780.
  migrate(course, BEGIN + 450, A, B, KNOWN)
  ends(t, course, B)
})

t.test('5: a cancellation of one attempt that comes during the next has no effect', async (t) => {
  const course = liveWorld()
  const { world, moveIds } = course
  migrate(course, BEGIN, A, B, { ...KNOWN, fails: true, cancelMs: undefined })
  migrate(course, BEGIN + 500, A, B, {
    ...KNOWN,
    onStopped: () =>
      world.command(B, { kind: 'cancel-move', moveId: moveIds[0]! }, (result) =>
        t.equal(result.ok, false, 'it is said to be over'),
      ),
  })
  ends(t, course, B)
})

t.test('6: a claim that never reached the mapping system does not bind it for ever', async (t) => {
  const course = liveWorld(
    (message, _datagram, from) => !(message.kind === 'map-register' && from === B),
  )
  migrate(course, BEGIN, A, B, KNOWN)
  migrate(course, BEGIN + 1500, B, A, KNOWN)
  ends(t, course, A)
})

t.test(
  '6b: nobody tells the destination of a failure, and the machine is sent again',
  async (t) => {
    const lostUntil = BEGIN + RUN_MS + DOWN_MS + 150
    const course = liveWorld(
      (message) => !(isPhase(message, 'cancel') && course.world.timeline.now() < lostUntil),
    )
    migrate(course, BEGIN, A, B, { ...KNOWN, fails: true, cancelMs: undefined })
    migrate(course, lostUntil + 200, A, B, KNOWN)
    ends(t, course, B)
  },
)

t.test('6c: failure, return, a new attempt, and that is called off as well', async (t) => {
  for (const pause of [1, 5, 30]) {
    const course = liveWorld()
    migrate(course, BEGIN, A, B, { ...KNOWN, fails: true })
    const again = BEGIN + WHOLE_MS + pause
    migrate(course, again, A, B, { ...KNOWN, runMs: 5, fails: true })
    ends(t, course, A)
  }
})

t.test('7: losslessness begins one guard after "ready", and not before', async (t) => {
  const unread = (fromMs: number, runMs: number): string[] => {
    const course = liveWorld()
    const { hosts, timeline } = course.world
    // It reads its tap no more, long before its hypervisor calls it stopped.
    timeline.at(BEGIN + fromMs, () => hosts.pause(hosts.byName('vm-1')))
    migrate(course, BEGIN, A, B, { ...KNOWN, runMs })
    return outcome(course, BEGIN + 8000).lost
  }
  t.same(unread(15, 50), [], 'what it had not read for 40 ms was copied')
  const tooSoon = unread(-20, 5)
  // The premise is not met: what came before "ready" lay unread in the tap, and was not copied.
  t.ok(tooSoon.length > 5 && tooSoon.length <= 20, `${tooSoon.length} packets`)
  t.ok(tooSoon.every((one) => one.endsWith('left-in-tap')))
})

t.test(
  '8: a quick ping-pong copies redirected packets without end to their redirects',
  async (t) => {
    const course = liveWorld()
    const quick = { ...KNOWN, runMs: 40, downMs: 10 }
    for (let leg = 0; leg < 6; leg += 1) {
      const [from, to] = leg % 2 === 0 ? [A, B] : [B, A]
      migrate(course, BEGIN + leg * 90, from, to, quick)
    }
    ends(t, course, A)
  },
)

t.test(
  '9, 10: at convergence direct packets overtake relayed ones, by the detour only',
  async (t) => {
    for (const delayMs of [2, 10]) {
      const course = liveWorld(undefined, { delayMs })
      migrate(course, BEGIN, A, B, KNOWN)
      const { lost, overtaken } = outcome(course, BEGIN + 8000)
      t.same(lost, [])
      // 500 packets a second; the detour is one path longer.
      t.ok(overtaken <= delayMs / 2 + 1, `${overtaken} packets with paths of ${delayMs} ms`)
    }
  },
)

for (const subscribe of [false, true])
  t.test(
    `11: an answer from before the move comes after its news, subscribed ${subscribe}`,
    async (t) => {
      let delayed = 0
      const course = liveWorld(
        (message, _datagram, from, to) => {
          const isAnswer = message.kind === 'map-reply' || message.kind === 'map-notify'
          if (!isAnswer || from !== 'mapping' || to !== 'customer-1' || !forgotten) return true
          forgotten = false
          delayed += 1
          return 400
        },
        { subscribe },
      )
      let forgotten = false
      migrate(course, BEGIN, A, B, {
        ...KNOWN,
        onStopped(world) {
          forgotten = true
          const command = { kind: 'clear-map-cache', eidPrefix: undefined } as const
          world.command('customer-1', command, () => {})
        },
      })
      ends(t, course, B)
      t.equal(delayed, 1, 'the answer with the old place was held up')
    },
  )

t.test(
  '12: a registration of the source that comes after the claim does not steal it',
  async (t) => {
    let delayed = 0
    const course = liveWorld((message, _datagram, from) => {
      const { now } = course.world.timeline
      const isSource = message.kind === 'map-register' && from === A
      if (!isSource || now() < BEGIN + RUN_MS || now() > BEGIN + 1200) return true
      delayed += 1
      return 1500
    })
    // A failed attempt makes the source register anew.
    migrate(course, BEGIN, A, B, { ...KNOWN, fails: true })
    migrate(course, BEGIN + 500, A, B, KNOWN)
    ends(t, course, B)
    t.ok(delayed > 0, 'it was sent')
    t.equal(stateAt(course.world, A), 'away')
  },
)

t.test('13: late news of a departure do not send the home-comer away', async (t) => {
  let late = 0
  const course = liveWorld((message, _datagram, _from, to) => {
    if (message.kind !== 'map-notify' || to !== A) return true
    if (course.world.timeline.now() > BEGIN + WHOLE_MS + 200) return true
    late += 1
    return 1000
  })
  migrate(course, BEGIN, A, B, KNOWN)
  migrate(course, BEGIN + WHOLE_MS + 50, B, A, KNOWN)
  ends(t, course, A)
  t.ok(late > 0)
})

t.test('14: a source that hears of nothing copies on, and its copies are delivered', async (t) => {
  const course = liveWorld((message) => (isPhase(message, 'confirm') ? 300 : true))
  migrate(course, BEGIN, A, B, { ...KNOWN, stoppedMs: undefined })
  ends(t, course, B)
})

t.test('15: what the destination holds is returned when it is called off', async (t) => {
  const course = liveWorld()
  migrate(course, BEGIN, A, B, { ...KNOWN, fails: true, downMs: 800 })
  ends(t, course, A)
})

t.test(
  '16: nobody follows the machine, and the source relays for as long as it takes',
  async (t) => {
    const news: Carry = (message, _datagram, _from, to) => {
      const isNotify = message.kind === 'map-notify' && to !== B
      const isSmr = message.kind === 'map-request' && message.solicitMapRequest
      return !(isNotify || isSmr) || course.world.timeline.now() < BEGIN
    }
    const course = liveWorld(news)
    migrate(course, BEGIN, A, B, KNOWN)
    const { world } = course
    world.run(BEGIN + 6000)
    const { mapCache } = world.node('customer-1').snapshot()!
    const cached = mapCache.find((one) => one.eidPrefix.endsWith('10.10.0.1/32'))
    t.equal(cached?.locators[0]?.rloc, '192.0.2.1', 'the sender still sends to the source')
    ends(t, course, B)
  },
)
