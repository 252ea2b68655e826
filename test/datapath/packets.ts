/**
 * The packets that most cases are about: a host of our site, a remote host, our RLOC and a peer's.
 */
import { type IpFields, ip, ipFrame, lispHeader, udp } from './frames.js'
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
