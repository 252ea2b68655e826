/**
 * Where an EID-prefix is: routing locators and the sets they form (RFC 9301 §5.4 RLOC-record).
 */
import type { IpAddress } from './address.js'

export type Rloc = IpAddress

export interface Locator {
  readonly rloc: Rloc
  /** 0–255, lower wins; 255 means "do not use for unicast". */
  readonly priority: number
  /** 0–255, share of the flows among locators of one priority. */
  readonly weight: number
  readonly multicastPriority: number
  readonly multicastWeight: number
  /** L bit: the locator belongs to the sender of the record. */
  readonly local: boolean
  /** p bit: this locator was the target of the RLOC-probe being answered. */
  readonly probe: boolean
  /** R bit: reachable from the sender's point of view. */
  readonly reachable: boolean
}
