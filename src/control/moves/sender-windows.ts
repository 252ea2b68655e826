/**
 * Which questions of all the xTRs of a mobility domain are new, come again, or are replays.
 *
 * Each xTR counts its own nonces (replay-window.ts). The windows of those heard of last are kept whole;
 * of every other xTR the highest nonce stays behind as a floor, so that what somebody recorded of it
 * before is never believed again. A floor is never forgotten: when there is no room for another, who
 * was never heard of is refused. Only authenticated nonces belong here.
 */
import type { Output } from '../input-output.js'
import { createReplayWindow, type Freshness, type ReplayWindow } from '../replay-window.js'
import { persistLastNonce } from '../rising-counter.js'
import type { StoredRecord } from '../stored-record.js'

export interface SenderWindows {
  /** 'no-room': of an xTR never heard of, and there are too many. What must be kept is stored. */
  judge(sender: string, nonce: bigint, outputs: Output[]): Freshness | 'no-room'
  restore(records: readonly StoredRecord[]): void
}

/** Our choice: some 18 KiB each when full, 18 MiB together. */
export const MAXIMUM_WINDOWS = 1024
/** Our choice: some 200 bytes each, 13 MiB together; and as many records in the store. */
export const MAXIMUM_SENDERS = 65_536
/** A prepare that someone held back must not redirect anything much later. */
const NONCE_REACH = 256n
const SCOPE = 'move/'

/** A sender is the hex of an xTR-ID. */
export function createSenderWindows(): SenderWindows {
  /** The highest nonce of each. */
  const floors = new Map<string, bigint>()
  /** The one that asked something new longest ago first. */
  const windows = new Map<string, ReplayWindow>()

  function remember(sender: string, window: ReplayWindow): void {
    windows.delete(sender)
    windows.set(sender, window)
    if (windows.size > MAXIMUM_WINDOWS)
      for (const oldest of windows.keys()) if (windows.delete(oldest)) break
  }

  return {
    judge(sender, nonce, outputs) {
      const floor = floors.get(sender)
      if (floor === undefined && floors.size >= MAXIMUM_SENDERS) return 'no-room'
      const window = windows.get(sender) ?? createReplayWindow(floor ?? 0n, NONCE_REACH)
      const freshness = window.accept(nonce)
      if (freshness !== 'new') return freshness
      remember(sender, window)
      if (floor !== undefined && nonce <= floor) return freshness
      floors.set(sender, nonce)
      // Durable, or a restart would open the door again.
      persistLastNonce(`${SCOPE}${sender}`, nonce, outputs)
      return freshness
    },
    restore(records) {
      for (const record of records)
        if (record.kind === 'last-nonce' && record.sender.startsWith(SCOPE))
          floors.set(record.sender.slice(SCOPE.length), record.nonce)
    },
  }
}
