/**
 * IPv4 and IPv6 addresses as values: parse, print, compare.
 *
 * An address is its bytes in network order. Text is RFC 5952 canonical form on output; on input
 * every form that RFC 4291 §2.2 allows. This file knows nothing of EIDs or RLOCs: who an address
 * belongs to is decided by the type that wraps it (`Eid`, `Rloc`).
 */

export type IpFamily = 4 | 6

/** `bytes` is 4 or 16 bytes in network order and is never written to after construction. */
export interface IpAddress {
  readonly family: IpFamily
  readonly bytes: Uint8Array
}

/** A 48-bit Ethernet address, 6 bytes. */
export type MacAddress = Uint8Array
