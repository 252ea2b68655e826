/**
 * Attempts of a move whose end was heard of: what is asked for them later is too late.
 *
 * The end of an attempt may come before its beginning, which is then held up or held back. Move
 * IDs rise per destination (their counter is the high half), so what began no later is over too.
 */
import { formatEidPrefix } from '../../lisp/eid.js'
import type { MoveMessage } from '../../lisp/message.js'
import { hex } from './move-exchange.js'

export interface EndedAttempts {
  /** Notes a *confirm* or *cancel* for each EID that it names. */
  note(message: MoveMessage): void
  /** Whether the attempt of this message, or a later one of its sender, has ended. */
  isOver(message: MoveMessage): boolean
}

/** EIDs of which an ended attempt is remembered, those of the oldest go first. */
const MAXIMUM_EIDS = 4096

export function createEndedAttempts(): EndedAttempts {
  /** By xTR-ID and EID-prefix: the latest attempt that ended. */
  const latest = new Map<string, bigint>()

  return {
    note({ moveId, identity, records }) {
      for (const { eidPrefix } of records) {
        const key = `${hex(identity.xtrId)} ${formatEidPrefix(eidPrefix)}`
        const last = latest.get(key) ?? 0n
        latest.delete(key)
        latest.set(key, moveId > last ? moveId : last)
        if (latest.size > MAXIMUM_EIDS)
          for (const oldest of latest.keys()) if (latest.delete(oldest)) break
      }
    },
    isOver({ moveId, identity, records }) {
      return records.some(({ eidPrefix }) => {
        const last = latest.get(`${hex(identity.xtrId)} ${formatEidPrefix(eidPrefix)}`)
        return last !== undefined && moveId <= last
      })
    },
  }
}
