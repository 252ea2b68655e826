/**
 * What the datapath needs to know of an interface of this host. Read by the daemon from rtnetlink;
 * here only the shape, because the datapath itself asks nobody.
 */
import type { IpAddress, MacAddress } from '../lisp/address.js'

export interface NetworkInterface {
  readonly name: string
  readonly index: number
  readonly mac: MacAddress
  /** Bytes. */
  readonly mtu: number
  readonly addresses: readonly InterfaceAddress[]
  /** A veth whose other end is in another network namespace. */
  readonly leadsElsewhere?: boolean
  /** Taken down, or without carrier. */
  readonly down?: boolean
}

export interface InterfaceAddress {
  readonly address: IpAddress
  /** 0–32 or 0–128. */
  readonly maskLength: number
}
