/**
 * ICMP errors of an underlay router about a packet that was too big for its next hop, as IP packets:
 * by default about a LISP data packet from 203.0.113.1 (or 2001:db8:f::1) to 192.0.2.1 (2001:db8:2::1).
 */
import { concat, type IpFields, ip, lispHeader, PROTOCOL, udp } from '../datapath/frames.js'

export interface TooBigFields {
  readonly to?: string
  readonly mtu?: number
  readonly type?: number
  readonly code?: number
  /** Of the quoted packet. */
  readonly source?: string
  readonly destination?: string
  readonly sourcePort?: number
  readonly port?: number
  readonly quoted?: Partial<IpFields>
  readonly instanceId?: number
  readonly lispFlags?: number
  /** What the packet had behind its LISP header. */
  readonly innerBytes?: number
  /** Cut behind so many bytes of the quoted packet. */
  readonly quotedBytes?: number
}

const ENDS = {
  4: { own: '203.0.113.1', peer: '192.0.2.1', router: '198.18.0.1' },
  6: { own: '2001:db8:f::1', peer: '2001:db8:2::1', router: '2001:db8:18::1' },
} as const

export function tooBigError(family: 4 | 6, fields: TooBigFields = {}): Uint8Array {
  const { own, peer, router } = ENDS[family]
  const { source = own, destination = peer, mtu = 1400, innerBytes = 1460 } = fields
  const { sourcePort = 0xc123, port = 4341, instanceId = 0, lispFlags = 0x08 } = fields
  const lisp = lispHeader({ instanceId, flags: lispFlags })
  const payload = udp(sourcePort, port, concat(lisp, new Uint8Array(innerBytes)))
  const quoted = ip({ source, destination, dontFragment: true, ...fields.quoted }, payload)
  const { type = family === 4 ? 3 : 2, code = family === 4 ? 4 : 0 } = fields
  const head = new Uint8Array(8)
  head.set([type, code])
  if (family === 4) new DataView(head.buffer).setUint16(6, mtu)
  else new DataView(head.buffer).setUint32(4, mtu)
  const protocol = family === 4 ? PROTOCOL.icmp : PROTOCOL.icmp6
  const message = concat(head, quoted.subarray(0, fields.quotedBytes ?? quoted.length))
  return ip({ source: router, destination: fields.to ?? source, protocol }, message)
}
