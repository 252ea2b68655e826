/**
 * Numbers that only ever rise, across restarts too: register and Move nonces (RFC 9301 §5.6: the
 * nonce is persisted) and the counters in move-ids.
 *
 * Reserved in blocks of 1,000 so that a nonce costs no disk write: the store knows a ceiling under
 * which every number may have been used. The next block is asked for when half of the present one is
 * gone, so a message almost never waits for the disk; what is sent first after a start does.
 */
import type { Output } from './input-output.js'
import type { StoredRecord } from './stored-record.js'

export interface RisingCounter {
  /** The next number; emits the reservation of a further block in time. */
  next(outputs: Output[]): bigint
  /** Continue above what an earlier run may have used. */
  restore(ceiling: bigint): void
  /** Reserves the first block: the record must be durable before anything numbered is sent. */
  open(): StoredRecord
}

const BLOCK = 1000n

/** A counter whose reservations are stored under `scope`; without a stored ceiling it begins at 1. */
export function createRisingCounter(scope: string): RisingCounter {
  let last = 0n
  let ceiling = 0n

  function open(): StoredRecord {
    ceiling = last + BLOCK
    return { kind: 'reservation', scope, ceiling }
  }

  return {
    next(outputs) {
      if (ceiling - last < BLOCK / 2n) persist(open(), [], outputs)
      last += 1n
      return last
    },
    restore(stored) {
      if (stored > last) last = stored
      ceiling = last
    },
    open,
  }
}

/** Stores `record`; `then` is performed when it is durable. */
export function persist(record: StoredRecord, then: readonly Output[], outputs: Output[]): void {
  outputs.push({ kind: 'persist', records: [record], then })
}

/** Stores the highest nonce accepted from `sender`; nothing waits for it. */
export function persistLastNonce(sender: string, nonce: bigint, outputs: Output[]): void {
  persist({ kind: 'last-nonce', sender, nonce }, [], outputs)
}
