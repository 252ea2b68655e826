/**
 * The default store: LevelDB in a directory of its own, survives `kill -9` and power loss.
 *
 * Group commit: while one synchronous write is under way, further saves collect and go together in
 * the next one. Measured: 35,000–57,000 records a second in batches of 100, against the 200–400
 * fsyncs a second that a disk gives to single writes.
 */
import { mkdirSync } from 'node:fs'
import { ClassicLevel } from 'classic-level'
import type { StoredRecord } from '../control/stored-record.js'
import { decodeRecord, encodeRecord } from './record-codec.js'
import { isRemoval, recordKey, type Store } from './store.js'

/**
 * Opens or makes the store in `directory`. Rejects with a sentence when another process has it
 * open. `onUnreadable` is told the key of a record that can not be decoded; the record is left
 * where it is.
 */
export async function openEmbeddedStore(
  directory: string,
  onUnreadable: (key: string) => void,
): Promise<Store> {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const level = new ClassicLevel<string, Uint8Array>(directory, { valueEncoding: 'view' })
  await level.open().catch((error: unknown) => {
    const cause =
      error instanceof Error ? (error.cause as { code?: string } | undefined) : undefined
    if (cause?.code !== 'LEVEL_LOCKED') throw error
    throw new Error(`the store ${directory} is in use by another godwitd`, { cause: error })
  })

  let waiting: Waiting[] = []
  let writing: Promise<void> | undefined
  const writeAll = async (): Promise<void> => {
    while (waiting.length > 0) {
      const group = waiting
      waiting = []
      try {
        const records = group.flatMap((one) => one.records)
        await level.batch(records.map(toOperation), { sync: true })
        for (const one of group) one.resolve()
      } catch (error) {
        for (const one of group) one.reject(error)
      }
    }
    writing = undefined
  }
  return {
    async load() {
      const records: StoredRecord[] = []
      for await (const [key, value] of level.iterator()) {
        const record = decodeRecord(value)
        if (record === undefined) onUnreadable(key)
        else records.push(record)
      }
      return records
    },
    save(records) {
      if (records.length === 0) return Promise.resolve()
      return new Promise((resolve, reject) => {
        waiting.push({ records, resolve, reject })
        writing ??= writeAll()
      })
    },
    async close() {
      await writing
      await level.close()
    },
  }
}

interface Waiting {
  readonly records: readonly StoredRecord[]
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

function toOperation(record: StoredRecord) {
  const key = recordKey(record)
  if (isRemoval(record)) return { type: 'del' as const, key }
  return { type: 'put' as const, key, value: encodeRecord(record) }
}
