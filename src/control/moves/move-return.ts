/**
 * What becomes of an EID that was expected here and did not come: back to its source, or forgotten.
 *
 * When the source has said that it delivers again, what is held goes there in order; the way back
 * stands until the last queue of the EID is empty and a second longer, for what the source had sent to
 * us before. Without an answer of the source what is held is dropped: it would come back. An EID that
 * was away before the attempt is away again. Which attempts fail, and when, is decided in moves.ts.
 */
import type { Eid } from '../../lisp/eid.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import type { Passenger } from './move-arrival.js'
import type { MoveParts } from './move-parts.js'

export interface MoveReturns {
  /** Whether the EID was away before the attempt that begins now, and before those that failed. */
  wasAway(entry: DatabaseEntry | undefined): boolean
  /** It is expected again. */
  expected(entry: DatabaseEntry): void
  /** It has come. */
  arrived(entry: DatabaseEntry): void
  /** What is held goes to the source, in order; then we know nothing of the EID, or what we knew. */
  giveBack(one: Passenger, now: Instant, outputs: Output[]): void
  /** The source does not answer: what is held is dropped. */
  giveUp(one: Passenger, now: Instant, outputs: Output[]): void
  /** Everything held for the EID has left. */
  handleHoldReleased(eid: Eid, now: Instant): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** How long after a return packets may still come that the source sent before it delivered again. */
const RETURN_MS = 1000

/** @param isMoving whether an attempt is under way for the EID */
export function createMoveReturns(
  { database, itr, placement, etr }: MoveParts,
  isMoving: (eid: Eid) => boolean,
): MoveReturns {
  /** By key. */
  const deadlines = createDeadlines()
  /** EIDs that go back to their source and are forgotten soon, with the moment of their return. */
  const returning = new Map<DatabaseEntry, Instant>()
  /** EIDs expected here that were away before, by whichever attempt: a failure puts them back so. */
  const formerlyAway = new WeakSet<DatabaseEntry>()

  /** Expected by this attempt, and by no later one. */
  const isStillOurs = (one: Passenger): boolean =>
    one.entry?.state === 'standby' && !isMoving(one.eid)

  /** Not when the endpoint has come, or come and gone, in the meantime. */
  const isReturning = (entry: DatabaseEntry): boolean =>
    entry.state === 'away' && returning.get(entry) === entry.departedAt

  return {
    wasAway(entry) {
      if (entry === undefined) return false
      // An attempt that failed just now may not have put it back yet.
      if (entry.state === 'away' && !isReturning(entry)) formerlyAway.add(entry)
      return formerlyAway.has(entry)
    },
    expected(entry) {
      returning.delete(entry)
    },
    arrived(entry) {
      formerlyAway.delete(entry)
    },
    giveBack(one, now, outputs) {
      const { entry } = one
      if (entry === undefined || !isStillOurs(one)) return
      const options = { committed: true, mapVersion: entry.heardVersion, release: true }
      placement.away(entry, one.sourceLocators, options, now, outputs)
      formerlyAway.delete(entry)
      if (one.wasAway) {
        etr.keepAway(entry, now)
        return
      }
      entry.solicitAfter = Number.POSITIVE_INFINITY
      returning.set(entry, entry.departedAt)
      deadlines.set(entry.key, now + RETURN_MS)
    },
    giveUp(one, now, outputs) {
      const { entry } = one
      if (entry === undefined || !isStillOurs(one)) return
      formerlyAway.delete(entry)
      if (one.wasAway && one.sourceLocators.length > 0) {
        const options = { committed: true, mapVersion: entry.heardVersion, release: false }
        placement.away(entry, one.sourceLocators, options, now, outputs)
        etr.keepAway(entry, now)
      } else placement.forget(entry, outputs)
      // After the change of state, or packets that come meanwhile would be held for nobody.
      itr.dropHeld(entry.eid, 'endpoint-absent', outputs)
    },
    handleHoldReleased(eid, now) {
      // Not forgotten at once: the way back must stand until the last queue of the EID is empty
      // and until what the source had sent to us has come.
      const entry = database.getEid(eid)
      if (entry !== undefined && isReturning(entry)) deadlines.set(entry.key, now + RETURN_MS)
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const entry = database.byKey(key)
        if (entry === undefined) continue
        const isSame = isReturning(entry)
        returning.delete(entry)
        if (isSame) placement.forget(entry, outputs)
      }
    },
    deadline: () => deadlines.next(),
  }
}
