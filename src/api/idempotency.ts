/**
 * `Idempotency-Key`: a request repeated with the same key and body gets the first one's answer,
 * also while the first is still under way; another body under the same key is the caller's mistake.
 *
 * Answers are kept for 24 h, at most 10,000, least recently used first out; those under way are
 * never evicted, because forgetting one would let its repetition act twice.
 */
import { createHash } from 'node:crypto'
import { ApiError } from './errors.js'

export interface Answer {
  readonly status: number
  readonly body: unknown
}

export interface IdempotentAnswers {
  /** Runs `act` once per key. Throws 422 for a reused key, 503 when all places are under way. */
  once(
    key: string,
    body: unknown,
    act: () => Promise<Answer>,
  ): Promise<{ answer: Answer; replayed: boolean }>
}

/** `now` is in milliseconds; it only ages the stored answers. */
export function createIdempotentAnswers(
  now: () => number,
  maximum = MAXIMUM_KEYS,
): IdempotentAnswers {
  const entries = new Map<string, Entry>()
  return {
    async once(key, body, act) {
      const fingerprint = fingerprintOf(body)
      forgetExpired(entries, now())
      const known = entries.get(key)
      if (known !== undefined) {
        if (known.fingerprint !== fingerprint) {
          const message = 'this Idempotency-Key was used with another body'
          throw new ApiError(422, 'idempotency-key-reused', message, 'header.idempotency-key')
        }
        entries.delete(key)
        entries.set(key, known)
        return { answer: await known.answer, replayed: true }
      }
      makeRoom(entries, maximum)
      const entry: Entry = { fingerprint, answer: act(), settledAt: undefined }
      entries.set(key, entry)
      try {
        return { answer: await entry.answer, replayed: false }
      } catch (cause) {
        // Nothing was decided: a repetition may try again.
        entries.delete(key)
        throw cause
      } finally {
        entry.settledAt = now()
      }
    },
  }
}

interface Entry {
  readonly fingerprint: string
  readonly answer: Promise<Answer>
  settledAt: number | undefined
}

function forgetExpired(entries: Map<string, Entry>, now: number): void {
  // Ordered by last use, which is never before it settled: the first young one ends the search.
  for (const [key, entry] of entries) {
    if (entry.settledAt === undefined) continue
    if (now - entry.settledAt < KEPT_MS) break
    entries.delete(key)
  }
}

function makeRoom(entries: Map<string, Entry>, maximum: number): void {
  if (entries.size < maximum) return
  for (const [key, entry] of entries) {
    if (entry.settledAt === undefined) continue
    entries.delete(key)
    return
  }
  throw new ApiError(503, 'too-many-requests-under-way', 'wait for answers before asking for more')
}

/** Key order does not matter: `{a, b}` and `{b, a}` are one request. */
function fingerprintOf(body: unknown): string {
  const ordered = JSON.stringify(body, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  )
  return createHash('sha256')
    .update(ordered ?? '')
    .digest('hex')
}

const MAXIMUM_KEYS = 10_000
const KEPT_MS = 24 * 60 * 60 * 1000
