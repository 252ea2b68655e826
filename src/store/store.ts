/**
 * What survives a restart: a small set of records, each under a key of its own.
 *
 * Contract, the same for every implementation (test/store/store.test.ts):
 * - `save` resolves when the records are durable, in the order of the calls; many calls at once
 *   share one write. When it rejects, none of its records may be relied on.
 * - A record replaces the one with the same key; `registration-removed` removes a registration,
 *   `subscription-removed` a subscription, `pending-notify-removed` a pending notify,
 *   `workload-removed` a workload, `group-receiver-removed` a receiver of a group,
 *   `described-registration-removed` the registration of a name or a place.
 * - `load` gives every record that was saved and not removed, and no removal.
 * Expiries are wall-clock milliseconds here; the daemon converts them.
 */
import type { StoredRecord } from '../control/stored-record.js'
import { formatEidPrefix } from '../lisp/eid.js'

export interface Store {
  load(): Promise<StoredRecord[]>
  save(records: readonly StoredRecord[]): Promise<void>
  close(): Promise<void>
}

/** A record that stands for the absence of another. */
export type Removal = Extract<
  StoredRecord,
  {
    kind:
      | 'registration-removed'
      | 'subscription-removed'
      | 'pending-notify-removed'
      | 'workload-removed'
      | 'group-receiver-removed'
      | 'described-registration-removed'
  }
>

export function isRemoval(record: StoredRecord): record is Removal {
  return record.kind.endsWith('-removed')
}

/** The key under which a record is kept; a removal has the key of what it removes. */
export function recordKey(record: StoredRecord): string {
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
    case 'workload':
    case 'workload-removed':
      return `workload/${record.workloadId}`
    case 'group-receiver':
    case 'group-receiver-removed':
      return `group-receiver/${record.name}/${record.owner}`
    case 'described-registration':
    case 'described-registration-removed':
      return `described-registration/${record.site}/${record.owner}/${record.name}`
    default:
      throw new Error(`not a stored record: ${JSON.stringify(record satisfies never)}`)
  }
}
