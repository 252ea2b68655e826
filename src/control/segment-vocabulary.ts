/**
 * What passes between a node and its shell about the control protocols of a segment: IGMP, MLD and
 * PIM, as IP payloads that came in on a site interface or shall leave by one. Part of the vocabulary
 * of input-output.ts.
 *
 * The shell adds and takes off Ethernet and IP: hop limit 1, router alert with IGMP and MLD, the MAC
 * of the group. It passes on every packet of these protocols and judges none.
 */
import type { IpAddress, MacAddress } from '../lisp/address.js'

export type SegmentProtocol = 'igmp' | 'mld' | 'pim'

export type SegmentEvent =
  /**
   * Our address on this segment, link-local of IPv6; undefined: none, so that we cannot speak this
   * family there. Raised for both families of each site interface at the start, after `restored`, and
   * when the configuration was read again. A segment of which it was never raised is not served.
   */
  | {
      readonly kind: 'segment-address'
      readonly interfaceName: string
      readonly family: 4 | 6
      readonly address: IpAddress | undefined
    }
  /** A packet that a neighbour has sent: to a group, or to us. */
  | {
      readonly kind: 'segment-packet'
      readonly interfaceName: string
      readonly protocol: SegmentProtocol
      readonly mac: MacAddress
      readonly source: IpAddress
      readonly destination: IpAddress
      /** TTL or hop limit. */
      readonly hopLimit: number
      readonly routerAlert: boolean
      readonly payload: Uint8Array
    }

export interface SegmentOperation {
  readonly kind: 'send-on-segment'
  readonly interfaceName: string
  readonly protocol: SegmentProtocol
  /** Ours; 0.0.0.0 with IGMP where we have none. */
  readonly source: IpAddress
  readonly destination: IpAddress
  /** The one who shall hear it; undefined: everybody, by the MAC address of the group. */
  readonly mac?: MacAddress
  /** Checksummed. */
  readonly payload: Uint8Array
}
