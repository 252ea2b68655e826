/**
 * Counters of the BPF programs and of the hold, read on demand: nothing is counted per packet here.
 */
import { formatEidPrefix, parseEidPrefix } from '../lisp/eid.js'
import { DROP_REASON, TALLY } from './abi.generated.js'
import type { BpfMaps } from './bpf-maps.js'
import type { DatapathCounters, MappingCounter } from './datapath.js'
import type { Entry, EntryTable } from './entry-table.js'
import type { NativeAddon, NativeHandle } from './native-addon.js'

/** All reasons and tallies, also those at zero; the hold's figures are zeros without a hold. */
export function readCounters(
  maps: BpfMaps,
  addon: NativeAddon,
  hold: NativeHandle | undefined,
): DatapathCounters {
  const drops: Record<string, { packets: number; bytes: number }> = {}
  for (const [reason, index] of Object.entries(DROP_REASON)) {
    if (reason === 'none') continue
    const [packets, bytes] = maps.sums('drops', index, 2)
    drops[reason] = { packets: Number(packets), bytes: Number(bytes) }
  }
  const tallies: Record<string, number> = {}
  for (const [name, index] of Object.entries(TALLY)) {
    tallies[name] = Number(maps.sums('tallies', index, 1)[0])
  }
  const none = { packets: 0, bytes: 0, heldTotal: 0, releasedTotal: 0, dropped: {} }
  return { drops, tallies, hold: hold === undefined ? none : addon.holdStatistics(hold) }
}

/** One row per entry of a table, or per entry named that there is: a map look-up each. */
export function* mappingCounters(
  table: MappingCounter['table'],
  entries: EntryTable,
  maps: BpfMaps,
  wanted?: readonly string[],
): Iterable<MappingCounter> {
  for (const entry of wanted === undefined ? entries.entries() : named(entries, wanted)) {
    yield { table, eidPrefix: formatEidPrefix(entry.eidPrefix), ...usageOf(entry, maps) }
  }
}

function* named(entries: EntryTable, eidPrefixes: readonly string[]): Iterable<Entry> {
  for (const text of eidPrefixes) {
    const eidPrefix = parseEidPrefix(text)
    const entry = eidPrefix === undefined ? undefined : entries.get(eidPrefix)
    if (entry !== undefined) yield entry
  }
}

/** Zeros when there is no entry; `idleMs` is undefined when it was never used. */
export function usageOf(
  entry: Entry | undefined,
  maps: BpfMaps,
): { packets: bigint; bytes: bigint; idleMs: number | undefined } {
  return usageOfCounter(entry?.counterId, maps)
}

/** The same of a counter id; undefined is no entry. */
export function usageOfCounter(
  counterId: number | undefined,
  maps: Pick<BpfMaps, 'counter'>,
): { packets: bigint; bytes: bigint; idleMs: number | undefined } {
  if (counterId === undefined) return { packets: 0n, bytes: 0n, idleMs: undefined }
  const { packets, bytes, lastUsedNs } = maps.counter(counterId)
  if (lastUsedNs === 0n) return { packets, bytes, idleMs: undefined }
  // The programs stamp CLOCK_MONOTONIC, coarsely: the difference can be a little negative.
  const idleMs = Math.max(0, Number((process.hrtime.bigint() - lastUsedNs) / 1_000_000n))
  return { packets, bytes, idleMs }
}
