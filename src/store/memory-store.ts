/**
 * A store that forgets at the end of the process: for tests, and for nodes that keep nothing.
 */
import type { StoredRecord } from '../control/stored-record.js'
import { isRemoval, recordKey, type Store } from './store.js'

export function createMemoryStore(): Store {
  const records = new Map<string, StoredRecord>()
  return {
    load: async () => [...records.values()],
    save: async (saved) => {
      for (const record of saved) {
        if (isRemoval(record)) records.delete(recordKey(record))
        else records.set(recordKey(record), record)
      }
    },
    close: async () => {},
  }
}
