/**
 * A move from here as plain data, and what is asked of it: who, where to, how far it has got.
 *
 * What happens to it is decided in move-source.ts.
 */
import type { Rloc } from '../../lisp/locator.js'
import { isNewerMapVersion } from '../../lisp/map-version.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import type { MoveRecord } from './move-log.js'

export interface Departure {
  readonly record: MoveRecord
  readonly xtrId: string
  /** Whom to answer and tell; the RLOC that the destination speaks from. */
  readonly peer: Rloc
  readonly entries: DatabaseEntry[]
  /** copying: a live move, its endpoint still runs here. */
  state: 'copying' | 'redirected' | 'committed' | 'over'
  /** Where to, by EID-prefix: the records of its *prepare*. */
  readonly records: Map<string, Mapping>
  /** EID-prefixes that a *confirm* has named; it may come in several messages. */
  readonly confirmed: Set<string>
  readonly senders: Map<string, Rloc>
  readonly live: boolean
  /** When its endpoint ceased to run here, as far as anybody told; undefined: it was not told. */
  stoppedAt?: Instant
}

/** Whether its end is still open. */
export function isUnderWay(departure: Departure | undefined): departure is Departure {
  return departure?.state === 'redirected' || departure?.state === 'copying'
}

/** The highest version known of it, granted or claimed by anyone. */
export function newest(entry: DatabaseEntry): number {
  const { grantedVersion, heardVersion } = entry
  if (grantedVersion === 0) return heardVersion
  return isNewerMapVersion(heardVersion, grantedVersion) ? heardVersion : grantedVersion
}
