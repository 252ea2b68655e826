/**
 * The packets that most cases are about: a host of our site, a remote host, our RLOC and a peer's.
 */
import { formatIpAddress } from '../../src/lisp/address.js'
import { addressBytes, type IpFields, ip, ipFrame, lispHeader, macText, udp } from './frames.js'
import { type Family, MAC, OWN_RLOC, PEER_RLOC } from './workbench.js'

export const HOST = { 4: '10.1.0.2', 6: 'fd00:a::2' } as const
export const REMOTE = { 4: '10.2.0.2', 6: 'fd00:b::2' } as const
export const FAMILIES: readonly Family[] = [4, 6]
export const data = (length: number) => Uint8Array.from({ length }, (_, i) => i & 255)

/** A UDP packet of a site host, as the site interface gets it. */
export function fromHost(
  family: Family,
  fields: Partial<IpFields> = {},
  payload = udp(1000, 2000, data(64)),
): Uint8Array {
  const packet = ip({ source: HOST[family], destination: REMOTE[family], ...fields }, payload)
  return ipFrame(MAC.site, MAC.host, packet)
}

/** The same to a group, under the group's MAC address (RFC 1112 §6.4, RFC 2464 §7). */
export function toGroup(
  family: Family,
  group: string,
  fields: Partial<IpFields> = {},
  payload = udp(1000, 2000, data(64)),
): Uint8Array {
  const packet = ip({ source: HOST[family], destination: group, ...fields }, payload)
  return ipFrame(groupMac(group), MAC.host, packet)
}

export function groupMac(group: string): string {
  const bytes = addressBytes(group)
  const mac =
    bytes.length === 16
      ? [0x33, 0x33, ...bytes.slice(12)]
      : [0x01, 0x00, 0x5e, bytes[1]! & 0x7f, bytes[2]!, bytes[3]!]
  return macText(Uint8Array.from(mac))
}

/** Of the destination of an IP packet. */
export function groupMacOf(packet: Uint8Array): string {
  const isIpv4 = packet[0]! >> 4 === 4
  const bytes = isIpv4 ? packet.subarray(16, 20) : packet.subarray(24, 40)
  return groupMac(formatIpAddress({ family: isIpv4 ? 4 : 6, bytes }))
}

export interface OuterFields {
  readonly outer?: Partial<IpFields>
  readonly lisp?: Parameters<typeof lispHeader>[0]
}

/** An inner packet with LISP headers in front, as the underlay interface gets it. */
export function fromCore(family: Family, inner: Uint8Array, fields: OuterFields = {}): Uint8Array {
  const payload = udp(50000, 4341, new Uint8Array([...lispHeader(fields.lisp ?? {}), ...inner]))
  const outer = { source: PEER_RLOC[family], destination: OWN_RLOC[family], ...fields.outer }
  return ipFrame(MAC.core, MAC.router, ip(outer, payload))
}

/** A packet of the remote host to the local one. */
export function inbound(
  family: Family,
  fields: Partial<IpFields> = {},
  payload = udp(2000, 1000, data(64)),
): Uint8Array {
  return ip({ source: REMOTE[family], destination: HOST[family], ...fields }, payload)
}

/** What leaves for the core: outer headers over `inner`, from our RLOC, DF set, ports 0. */
export function tunnelled(family: Family, inner: Uint8Array, fields: OuterFields = {}): Uint8Array {
  const payload = udp(0, 4341, new Uint8Array([...lispHeader(fields.lisp ?? {}), ...inner]))
  const ends = { source: OWN_RLOC[family], destination: PEER_RLOC[family] }
  return ip({ ...ends, dontFragment: true, ...fields.outer }, payload)
}
