/**
 * How long to wait between one attempt and the next: growing intervals with a ceiling.
 *
 * A schedule is a value without a clock; who uses it adds the interval to the present moment.
 */

export interface RetrySchedule {
  /** Milliseconds before the first repetition, > 0. */
  readonly initialMs: number
  /** Each interval is this many times the one before, ≥ 1. */
  readonly factor: number
  /** No interval is longer than this. */
  readonly maximumMs: number
  /** Number of repetitions, Infinity for no end. */
  readonly count: number
}

/** The intervals of a schedule in milliseconds, `count` of them. */
export function* retryIntervals(schedule: RetrySchedule): Generator<number, undefined> {
  let interval = Math.min(schedule.initialMs, schedule.maximumMs)
  for (let repetition = 0; repetition < schedule.count; repetition += 1) {
    yield interval
    interval = Math.min(interval * schedule.factor, schedule.maximumMs)
  }
}
