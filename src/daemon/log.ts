/**
 * Events as JSON lines on standard output: {level, time, event, node, …fields}.
 *
 * What remote input can cause is limited to 10 lines a second per name and reason; what was left
 * out is said in one line with `suppressed`. Counters see every event: only the log is limited.
 */
import { pino } from 'pino'
import type { Event, Severity } from '../control/event.js'

export interface Log {
  event(event: Event, at: Date): void
  /** For what the shell itself has to say; `what` is kebab-case and stands as `event`. */
  say(severity: Severity, what: string, fields?: Fields): void
  /** Write out what was suppressed and not yet said. */
  close(): void
}

type Fields = Readonly<Record<string, unknown>>

/** `write` gets whole lines; without it they go to standard output, synchronously. */
export function createLog(options: {
  readonly node: string
  readonly level: Severity
  readonly write?: (line: string) => void
  /** Milliseconds, monotonic. */
  readonly now: () => number
}): Log {
  const { node, write } = options
  const destination = write === undefined ? pino.destination({ sync: true }) : { write }
  const logger = pino(
    {
      level: options.level,
      customLevels: LEVELS,
      useOnlyCustomLevels: true,
      base: null,
      timestamp: false,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  )
  const line = (severity: Severity, event: string, fields: Fields, at: Date): void => {
    const time = at.toISOString()
    logger[severity]({ time, event, node, ...fields })
  }
  const limits = new Map<string, Limit>()
  const sayWithheld = (limit: Limit): void => {
    if (limit.suppressed === 0) return
    const { severity, name, suppressed } = limit
    const reason = limit.reason === undefined ? {} : { reason: limit.reason }
    line(severity, name, { ...reason, suppressed, windowMs: WINDOW_MS }, new Date())
    limit.suppressed = 0
  }
  // Withheld lines are told even when no further event comes.
  const timer = setInterval(() => {
    for (const [key, limit] of limits) {
      if (options.now() - limit.startedAt < WINDOW_MS) continue
      sayWithheld(limit)
      limits.delete(key)
    }
  }, WINDOW_MS)
  timer.unref()

  const mayPass = (event: Event): boolean => {
    const key = `${event.name}/${event.reason ?? ''}`
    const now = options.now()
    let limit = limits.get(key)
    if (limit === undefined || now - limit.startedAt >= WINDOW_MS) {
      if (limit !== undefined) sayWithheld(limit)
      const { severity, name, reason } = event
      limit = { severity, name, reason, startedAt: now, passed: 0, suppressed: 0 }
      limits.set(key, limit)
    }
    if (limit.passed < LINES_PER_WINDOW) {
      limit.passed += 1
      return true
    }
    limit.suppressed += 1
    return false
  }

  return {
    event(event, at) {
      if (LEVELS[event.severity] < LEVELS[options.level]) return
      if (!isOurOwn(event.name) && !mayPass(event)) return
      const { name, severity, ...fields } = event
      line(severity, name, fields, at)
    },
    say: (severity, what, fields = {}) => line(severity, what, fields, new Date()),
    close() {
      clearInterval(timer)
      for (const limit of limits.values()) sayWithheld(limit)
    },
  }
}

interface Limit {
  readonly severity: Severity
  readonly name: string
  readonly reason: string | undefined
  readonly startedAt: number
  passed: number
  suppressed: number
}

/** Operators and configuration cause these, not packets; each of their lines matters. */
function isOurOwn(name: string): boolean {
  if (name === 'move-message-rejected') return false
  return name.startsWith('move-') || name.startsWith('node-') || name.startsWith('configuration-')
}

const LEVELS = { debug: 20, info: 30, notice: 35, warning: 40, error: 50 } as const
// Choice: enough to see what happens, too little to fill a disk.
const LINES_PER_WINDOW = 10
const WINDOW_MS = 1_000
