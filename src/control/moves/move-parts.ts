/**
 * What both sides of a move work with: the tables, the datapath's door, the exchange of messages.
 *
 * Plain references, made once per node in xtr.ts; nothing is decided here.
 */
import type { Eid } from '../../lisp/eid.js'
import type { StructuredMapping } from '../../lisp/mapping.js'
import type { MappingDatabase } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import type { EidPlacement } from '../etr/eid-placement.js'
import type { Etr } from '../etr/etr.js'
import type { RecentSenders } from '../etr/recent-senders.js'
import type { Smr } from '../etr/smr.js'
import type { Output } from '../input-output.js'
import type { Itr } from '../itr/itr.js'
import type { MoveExchange } from './move-exchange.js'
import type { MoveLog } from './move-log.js'

export interface MoveParts {
  readonly database: MappingDatabase
  readonly itr: Itr
  readonly placement: EidPlacement
  readonly smr: Smr
  readonly etr: Etr
  readonly exchange: MoveExchange
  readonly log: MoveLog
  /** Who has sent here, to which EID. */
  readonly senders: RecentSenders
  /** What the new site of these EIDs should know of groups. */
  groupsOf(eids: readonly Eid[]): readonly StructuredMapping[]
  /**
   * The same, at the new site, with the segments that the EIDs will be on; `done` is called once, when
   * packets of what they listen to come here, or have not come for too long.
   */
  expectGroups(
    records: readonly StructuredMapping[],
    interfaces: readonly string[],
    done: (now: Instant, outputs: Output[]) => void,
    now: Instant,
    outputs: Output[],
  ): void
}
