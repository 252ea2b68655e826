/**
 * A store that can lose what is not yet durable: writes take a while, in order, and a crash forgets
 * those under way. Expiries need no conversion here: virtual time goes on over a crash.
 */
import type { StoredRecord } from '../control/stored-record.js'
import { isRemoval, recordKey } from '../store/store.js'
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

/** What no disk beats. */
const LEAST_WRITE_MS = 0.05

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
    if (isRemoval(record)) durable.delete(recordKey(record))
    else durable.set(recordKey(record), record)
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
