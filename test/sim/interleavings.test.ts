/**
 * Every control message of a live move, disturbed in every way, in moves that arrive and in moves that
 * fail; and every daemon dead at every step, whatever hypervisors tell. At rest the mapping is where
 * the machine runs, each time (judgeRest), and nothing is lost where that is promised: always, but for
 * what the memory of a killed destination held.
 */
import t from 'tap'
import type { Malformed, Message } from '../../src/lisp/message.js'
import type { World } from '../../src/sim/world.js'
import {
  BEGIN,
  type Carry,
  type Course,
  KNOWN,
  liveWorld,
  migrate,
  outcome,
  type Script,
  stateAt,
} from '../support/live-world.js'

t.setTimeout(180_000)

const [A, B] = ['cloud-1', 'cloud-2'] as const

/** Kinds of messages as a move knows them. */
function nameOf(message: Message | Malformed): string {
  if (message.kind === 'move') return message.phase
  if (message.kind === 'map-request' && message.solicitMapRequest) return 'smr'
  return message.kind
}

const MESSAGES = [
  'prepare-live',
  'prepared',
  'stopped',
  'confirm',
  'cancel',
  'solicited',
  'ack',
  'map-register',
  'map-notify',
  'map-notify-ack',
  'map-request',
  'map-reply',
  'smr',
]

type Disturbance = (course: () => Course, isIt: (message: Message | Malformed) => boolean) => Carry

/** The first `count` that are said while the move is under way never arrive. */
function losing(count: number): Disturbance {
  return (_course, isIt) => {
    let left = count
    return (message) => {
      if (!isIt(message) || left === 0) return true
      left -= 1
      return false
    }
  }
}

/** Each comes so late; and once more, later still, when `twice`. */
function delaying(lateMs: number, twice: boolean): Disturbance {
  return (course, isIt) => (message, datagram, from) => {
    if (!isIt(message)) return true
    const { timeline, network } = course().world
    // Under another sender's name, so that what is said again is not disturbed again.
    if (twice && from !== AGAIN) timeline.after(2 * lateMs, () => network.send(AGAIN, datagram))
    return from === AGAIN ? true : lateMs
  }
}

const AGAIN = 'again'

const DISTURBANCES: Readonly<Record<string, Disturbance>> = {
  'is lost twice': losing(2),
  'comes 30 ms late and twice': delaying(30, true),
  'comes 250 ms late': delaying(250, false),
}

/** Runs it and says what is wrong, in one line; undefined: nothing. */
function fault(course: Course, home: string, mayLose: boolean, restMs = 7_000): string | undefined {
  let lost: readonly string[]
  try {
    lost = outcome(course, BEGIN + restMs).lost
  } catch (error) {
    return String(error)
  }
  const state = stateAt(course.world, home)
  if (state !== 'local') return `it is ${state} where it runs`
  return lost.length > 0 && !mayLose ? `lost ${lost.join(', ')}` : undefined
}

for (const [how, disturbance] of Object.entries(DISTURBANCES))
  t.test(`nothing is lost when any message of a move ${how}`, async (t) => {
    for (const name of MESSAGES)
      for (const fails of [false, true]) {
        let hits = 0
        const carry = disturbance(
          () => course,
          (message) => {
            const isIt = nameOf(message) === name && course.world.timeline.now() >= BEGIN
            if (isIt) hits += 1
            return isIt
          },
        )
        const course: Course = liveWorld(carry)
        migrate(course, BEGIN, A, B, { ...KNOWN, fails })
        const wrong = fault(course, fails ? A : B, false)
        t.equal(wrong, undefined, `${name}, ${fails ? 'fails' : 'arrives'}: ${hits} disturbed`)
      }
  })

const NEWS: Readonly<Record<string, Script>> = {
  everything: KNOWN,
  // A failure is found by the next regular look at the states of all machines.
  'the first frame alone': { garpMs: 8, cancelMs: 5000 },
}
/** News of the step are under way then. */
const DIES_AFTER_MS = 3
const STEPS = ['onReady', 'onStopped', 'onRunning'] as const

for (const [what, news] of Object.entries(NEWS))
  t.test(`a daemon dies at each step and hypervisors tell ${what}: found at rest`, async (t) => {
    for (const who of [A, B, 'mapping', 'customer-1'])
      for (const step of STEPS)
        for (const fails of [false, true]) {
          const crash = (world: World): void => {
            const node = world.node(who)
            world.timeline.after(DIES_AFTER_MS, () => node.crash())
            world.timeline.after(DIES_AFTER_MS + 400, () => node.start())
          }
          const course = liveWorld()
          migrate(course, BEGIN, A, B, { ...news, fails, [step]: crash })
          // Whose memory held the packets may lose them: a destination, a sender, or a source
          // that dies while what it held is on its way out.
          const isLettingOut = who === A && fails && step === 'onRunning'
          const mayLose = who === B || who === 'customer-1' || isLettingOut
          // A source whose destination was forgotten copies until its lease is over.
          const restMs = who === B && fails ? 40_000 : 15_000
          const wrong = fault(course, fails ? A : B, mayLose, restMs)
          t.equal(wrong, undefined, `${who} ${step}, ${fails ? 'fails' : 'arrives'}`)
        }
  })
