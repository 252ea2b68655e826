/**
 * Endpoint identifiers: who is spoken to, independent of where it is.
 *
 * An EID is an address inside an instance-ID (24 bits on the wire of the data plane, 32 in LCAF 2);
 * an EID-prefix is a block of them and the key of every table. Canonical text is
 * `[7]10.1.0.5` and `[7]10.1.0.0/16`; instance-ID 0 prints without brackets.
 */
import type { IpAddress } from './address.js'

export interface Eid {
  readonly instanceId: number
  readonly address: IpAddress
}

/** Bits of `address` beyond `maskLength` (0–32 or 0–128) are zero. */
export interface EidPrefix {
  readonly instanceId: number
  readonly address: IpAddress
  readonly maskLength: number
}
