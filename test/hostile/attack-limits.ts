/** What an attack may cost: the limits that its short and its long form share. */
import { type AttackFigures, MAXIMUM_REGISTRATIONS } from './attack-run.js'

/** The clean client is served within this, 99 times of 100. */
export const P99_MS = 50
/** Growth from the first tenth of the packets to the end: a generation of the garbage collector. */
export const GROWTH_MB = 64
/** A machine whose clean client is later than this without any attack says nothing about answers. */
const BUSY_MS = 20

/** Processor time comes in ticks of 10 ms, and what else runs empties caches. */
const NOISE = 1.1

/**
 * What is not well about it, in sentences; empty when all is. `noise` is by how much a bad packet may
 * seem dearer than a good one: a short attack has 20 ticks of good packets, where a long one has 400.
 */
export function objectionsTo(figures: AttackFigures, noise = NOISE): string[] {
  const { clean, quiet, sent, received, dropped, megabytes, sizes } = figures
  const [, warm, full] = megabytes
  const registrations = sizes['godwit_registration_entries'] ?? 0
  const isBusy = quiet.p99 > BUSY_MS
  const checks: readonly (readonly [boolean, string])[] = [
    [figures.samePid, 'the daemon has died'],
    [dropped === 0, `${dropped} datagrams dropped before they were read`],
    [received >= sent, `${received} read of ${sent}`],
    [clean.wrong.length === 0, `wrong answers: ${clean.wrong.join('; ')}`],
    [clean.answered === clean.asked, `${clean.answered} answers to ${clean.asked} questions`],
    [
      clean.acknowledged === clean.registers,
      `${clean.acknowledged} of ${clean.registers} registers`,
    ],
    [clean.p50 < P99_MS, `the clean client waits ${clean.p50.toFixed(1)} ms in the median`],
    [clean.p99 < P99_MS || isBusy, `and ${clean.p99.toFixed(1)} ms at the 99th percentile`],
    [full - warm < GROWTH_MB, `${warm} MB after a tenth, ${full} MB at the end`],
    [registrations <= MAXIMUM_REGISTRATIONS, `${registrations} registrations`],
    [
      figures.goodAnswered >= figures.goodSent,
      `${figures.goodAnswered} of ${figures.goodSent} good questions answered`,
    ],
    [
      figures.badMicroseconds <= figures.goodMicroseconds * noise,
      `a bad packet costs ${figures.badMicroseconds.toFixed(1)} µs, a good one ${figures.goodMicroseconds.toFixed(1)} µs`,
    ],
  ]
  return checks.filter(([isWell]) => !isWell).map(([, sentence]) => sentence)
}
