/**
 * The mapping: EID-prefix → locator-set, TTL, action. The one noun that every message and every
 * table shares (RFC 9301 §5.4 EID-record). The record codec, used by Map-Reply, Map-Register,
 * Map-Notify and Map-Notify-Ack alike, stands below.
 */
import type { EidPrefix } from './eid.js'
import type { Locator } from './locator.js'

/** ACT values in the order of their numbers, RFC 9301 §5.4 and §12.3. Looked at only when there are no locators. */
export const ACTIONS = [
  'no-action',
  'natively-forward',
  'send-map-request',
  'drop',
  'drop-policy-denied',
  'drop-auth-failure',
] as const
export type Action = (typeof ACTIONS)[number]

export interface Mapping {
  readonly eidPrefix: EidPrefix
  /** Minutes; 0 = remove at once, 0xffffffff = the receiver decides. */
  readonly ttlMinutes: number
  readonly action: Action
  /** A bit: set by an ETR, never by a proxying Map-Server. */
  readonly authoritative: boolean
  /** 12 bits, 0 = "no version" (RFC 9302 §6.1). */
  readonly mapVersion: number
  /** Sorted ascending, IPv4 before IPv6 (RFC 9301 §5.5). Empty = negative mapping. */
  readonly locators: readonly Locator[]
}
