/**
 * Who wants which groups: the values that IGMP and MLD share, and what their codes mean in time.
 *
 * IGMP (RFC 1112, RFC 2236, RFC 3376) speaks of IPv4 groups, MLD (RFC 2710, RFC 3810) of IPv6 ones;
 * MLDv1 says what IGMPv2 says, MLDv2 what IGMPv3 says. Bytes are in igmp.ts and mld.ts; queriers
 * and timers are not decided here.
 */
import type { IpAddress } from '../address.js'

export type MembershipMessage =
  | MembershipQuery
  /** IGMPv1, IGMPv2 or MLDv1. */
  | {
      readonly kind: 'membership-report'
      readonly protocol: 'igmp' | 'mld'
      readonly version: 1 | 2
      readonly group: IpAddress
    }
  /** IGMPv2 Leave Group, MLDv1 Done. */
  | {
      readonly kind: 'membership-leave'
      readonly protocol: 'igmp' | 'mld'
      readonly group: IpAddress
    }
  /** IGMPv3, MLDv2. */
  | {
      readonly kind: 'source-membership-report'
      readonly protocol: 'igmp' | 'mld'
      readonly records: readonly GroupRecord[]
    }

export interface MembershipQuery {
  readonly kind: 'membership-query'
  readonly protocol: 'igmp' | 'mld'
  /** IGMP 1–3, MLD 1–2. */
  readonly version: 1 | 2 | 3
  /** As on the wire; what it means is `maxResponseMs`. Always 0 in IGMPv1. */
  readonly maxResponseCode: number
  /** Unspecified in a general query. */
  readonly group: IpAddress
  /** Present in IGMPv3 and MLDv2. */
  readonly sourceTerms?: {
    /** S flag. */
    readonly suppressRouterProcessing: boolean
    /** QRV, 0–7. */
    readonly robustness: number
    /** QQIC as on the wire; what it means is `queryIntervalSeconds`. */
    readonly queryIntervalCode: number
    readonly sources: readonly IpAddress[]
  }
}

export interface GroupRecord {
  readonly type: GroupRecordType
  readonly group: IpAddress
  readonly sources: readonly IpAddress[]
}

/** In the order of their numbers, from 1. */
export const GROUP_RECORD_TYPES = [
  'mode-is-include',
  'mode-is-exclude',
  'change-to-include',
  'change-to-exclude',
  'allow-new-sources',
  'block-old-sources',
] as const
export type GroupRecordType = (typeof GROUP_RECORD_TYPES)[number]

/** Milliseconds within which to answer. RFC 2236 §2.2: an IGMPv1 query means 10 seconds. */
export function maxResponseMs(query: MembershipQuery): number {
  const { protocol, version, maxResponseCode: code } = query
  if (protocol === 'mld') return version === 1 ? code : mldFloatingPoint(code)
  if (version === 1) return 10_000
  return 100 * (version === 2 ? code : igmpFloatingPoint(code))
}

/** Seconds between the querier's queries; undefined where a query does not say it. */
export function queryIntervalSeconds(query: MembershipQuery): number | undefined {
  const code = query.sourceTerms?.queryIntervalCode
  return code === undefined ? undefined : igmpFloatingPoint(code)
}

/** RFC 3376 §4.1.1, also for both QQIC: from 128 on three bits exponent, four bits mantissa. */
function igmpFloatingPoint(code: number): number {
  return code < 0x80 ? code : ((code & 0xf) | 0x10) << (((code >> 4) & 7) + 3)
}

/** RFC 3810 §5.1.3: from 32768 on three bits exponent, twelve bits mantissa. */
function mldFloatingPoint(code: number): number {
  return code < 0x8000 ? code : ((code & 0xfff) | 0x1000) << (((code >> 12) & 7) + 3)
}
