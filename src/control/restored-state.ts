/**
 * What a restarted node is told first: what survived in the store and in the pinned maps.
 *
 * What of it is still believed is decided by the roles.
 */
import type { MacAddress } from '../lisp/address.js'
import type { EidPrefix } from '../lisp/eid.js'
import type { DatapathOperation, Encapsulation, LocalMove } from './datapath-operation.js'
import type { StoredRecord } from './stored-record.js'

/** What a restarted shell found in its pinned maps and its store. */
export interface RestoredState {
  readonly records: readonly StoredRecord[]
  readonly localEids: readonly {
    readonly eidPrefix: EidPrefix
    readonly state: 'local' | 'standby' | 'away'
    readonly interfaceName: string
    readonly mac: MacAddress | undefined
    /** False: put with `proxyNeighbours: false`, that is, away before the move was certain. */
    readonly proxyNeighbours?: boolean
    /** Of a source that still copies or stamps, or of a destination. */
    readonly move?: LocalMove
  }[]
  readonly mapCache: readonly {
    readonly eidPrefix: EidPrefix
    readonly action: 'forward' | 'native' | 'drop' | 'hold'
    readonly encapsulations: readonly Encapsulation[]
  }[]
  /** Replication entries; missing: none. */
  readonly groups?: readonly Omit<Extract<DatapathOperation, { kind: 'put-replication' }>, 'kind'>[]
}
