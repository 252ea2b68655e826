/**
 * Time and chance for a node: monotonic milliseconds, unpredictable numbers.
 *
 * Also where stored expiries change between wall-clock (at rest) and monotonic time (in the node).
 */
import { randomBytes } from 'node:crypto'
import type { Instant, Random } from '../control/capabilities.js'
import type { StoredRecord } from '../control/stored-record.js'

export interface Clock {
  now(): Instant
  /** Milliseconds since 1970. */
  wallClock(): number
}

export function createClock(): Clock {
  // CLOCK_MONOTONIC itself, because the programs stamp packets with it (lisp/move-stamp.ts).
  return { now: () => Number(process.hrtime.bigint()) / 1e6, wallClock: () => Date.now() }
}

/** From the operating system's generator, drawn in blocks: one system call for 512 nonces. */
export function createRandom(): Random {
  let block = new DataView(new ArrayBuffer(0))
  let at = 0
  const next = (): bigint => {
    if (at + 8 > block.byteLength) {
      const bytes = randomBytes(BLOCK_BYTES)
      block = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      at = 0
    }
    at += 8
    return block.getBigUint64(at - 8)
  }
  return { nonce: next, fraction: () => Number(next() >> 11n) / 2 ** 53 }
}

/** For the store: expiries as wall-clock time. */
export function toStored(record: StoredRecord, clock: Clock): StoredRecord {
  return shifted(record, clock.wallClock() - clock.now())
}

/** For the node: expiries as instants; what expired meanwhile lies in the past. */
export function fromStored(record: StoredRecord, clock: Clock): StoredRecord {
  return shifted(record, clock.now() - clock.wallClock())
}

function shifted(record: StoredRecord, byMs: number): StoredRecord {
  if (!('expiresAt' in record)) return record
  return { ...record, expiresAt: record.expiresAt + byMs }
}

const BLOCK_BYTES = 4096
