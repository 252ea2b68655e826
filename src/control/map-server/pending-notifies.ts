/**
 * Who has not acknowledged a Map-Notify, as the store knows it: one record per EID-prefix and former
 * owner, kept until the owner acknowledges, the notify is given up, or the prefix changes again.
 *
 * Prefixes that changed are collected and compared with what was written last, so that one Map-Register
 * or one acknowledgement gives one set of records. Nothing is sent here.
 */
import { type EidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { StoredRecord } from '../stored-record.js'
import type { Pending, PendingNotify } from './map-notify-outbox.js'

export interface PendingBook {
  /** Something about the notifies of this prefix (canonical text) is different now. */
  touch(prefix: string): void
  /** The store holds this record. */
  restore(record: PendingNotify): void
  /** What the store does not say yet of the prefixes touched. */
  recordsToStore(): StoredRecord[]
}

export function createPendingBook(
  pending: ReadonlyMap<string, Pending>,
  byPrefix: ReadonlyMap<string, ReadonlySet<string>>,
): PendingBook {
  const touched = new Set<string>()
  /** What the store holds, by prefix and owner. */
  const stored = new Map<string, Map<string, EidPrefix>>()

  const keep = (prefix: string, { owner, eidPrefix }: PendingNotify): void => {
    const owners = stored.get(prefix) ?? new Map<string, EidPrefix>()
    stored.set(prefix, owners.set(owner, eidPrefix))
  }

  const recordsOf = (prefix: string): StoredRecord[] => {
    const present = new Map<string, PendingNotify>()
    for (const id of byPrefix.get(prefix) ?? []) addTo(present, prefix, pending.get(id)!)
    const records: StoredRecord[] = [...present.values()]
    for (const [owner, eidPrefix] of stored.get(prefix) ?? [])
      if (!present.has(owner)) records.push({ kind: 'pending-notify-removed', eidPrefix, owner })
    stored.delete(prefix)
    for (const record of present.values()) keep(prefix, record)
    return records
  }

  return {
    touch(prefix) {
      touched.add(prefix)
    },
    restore(record) {
      const prefix = formatEidPrefix(record.eidPrefix)
      keep(prefix, record)
      touched.add(prefix)
    },
    recordsToStore() {
      const records = [...touched].flatMap(recordsOf)
      touched.clear()
      return records
    },
  }
}

function addTo(present: Map<string, PendingNotify>, prefix: string, notify: Pending): void {
  const { owner, home, send, key } = notify
  const known = present.get(owner)
  const homeRlocs: readonly Rloc[] = home ? [send.to] : []
  const otherRlocs: readonly Rloc[] = home ? [] : [send.to]
  present.set(owner, {
    kind: 'pending-notify',
    eidPrefix:
      known?.eidPrefix ?? notify.eidPrefixes.find((one) => formatEidPrefix(one) === prefix)!,
    owner,
    homeRlocs: [...(known?.homeRlocs ?? []), ...homeRlocs],
    otherRlocs: [...(known?.otherRlocs ?? []), ...otherRlocs],
    keyId: key.keyId,
  })
}
