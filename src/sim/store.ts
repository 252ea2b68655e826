/**
 * A store that can lose what is not yet durable: writes take a while, in order, and a crash forgets
 * those under way. Expiries need no conversion here: virtual time goes on over a crash.
 */
import type { StoredRecord } from '../control/input-output.js'
import { formatEidPrefix } from '../lisp/eid.js'
import type { Prng } from './prng.js'
import type { Timeline } from './timeline.js'

export interface SimulatedStore {
  /** `durable` is called when the records would survive a crash; never after one. */
  save(records: readonly StoredRecord[], durable: () => void): void
  load(): readonly StoredRecord[]
  /** As if the disk were new. */
  lose(): void
  /** Returns how many writes were lost. */
  crash(): number
}

/** @param meanWriteMs mean time until a write is durable */
export function createSimulatedStore(
  timeline: Timeline,
  prng: Prng,
  meanWriteMs: number,
): SimulatedStore {
  const durable = new Map<string, StoredRecord>()
  let underWay = 0
  let lastDoneAt = 0
  let generation = 0

  function write(record: StoredRecord): void {
    const key = keyOf(record)
    if (record.kind.endsWith('-removed')) durable.delete(key)
    else durable.set(key, record)
  }

  return {
    save(records, done) {
      const mine = generation
      const wished = timeline.now() + LEAST_WRITE_MS + prng.exponential(meanWriteMs)
      lastDoneAt = Math.max(lastDoneAt, wished)
      underWay += 1
      timeline.at(lastDoneAt, () => {
        if (mine !== generation) return
        underWay -= 1
        for (const record of records) write(record)
        done()
      })
    },
    load: () => [...durable.values()],
    lose: () => durable.clear(),
    crash() {
      const lost = underWay
      generation += 1
      underWay = 0
      lastDoneAt = 0
      return lost
    },
  }
}

/** One record per key, as in the real store. */
function keyOf(record: StoredRecord): string {
  switch (record.kind) {
    case 'reservation':
      return `reservation/${record.scope}`
    case 'last-nonce':
      return `last-nonce/${record.sender}`
    case 'registration':
    case 'registration-removed':
      return `registration/${formatEidPrefix(record.eidPrefix)}/${record.owner}`
    case 'own-locators':
      return record.kind
    case 'pending-notify':
    case 'pending-notify-removed':
      return `pending-notify/${formatEidPrefix(record.eidPrefix)}/${record.owner}`
    case 'subscription':
    case 'subscription-removed':
      return `subscription/${record.xtrId}/${formatEidPrefix(record.eidPrefix)}`
  }
}

const LEAST_WRITE_MS = 0.05
