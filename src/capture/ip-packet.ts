/**
 * An IP packet as a capture shows it: addresses, protocol, fragment, payload (RFC 791, RFC 8200).
 *
 * Made for looking, not for forwarding: checksums are not verified, because offloading leaves them
 * unset in captures of the sender's own machine, and what the snap length cut off is not missed
 * here but where it is read. Padding behind the packet is not part of the payload.
 */
import { type IpAddress, ipAddress } from '../lisp/address.js'

/** A fault below LISP; the offset counts from the start of the frame. */
export interface LayerFault {
  readonly kind: 'fault'
  readonly code: 'truncated' | 'bad-length' | 'bad-ip-version' | 'bad-ip-header'
  readonly offset: number
  readonly field: string
}

export interface Fragment {
  readonly identification: number
  /** Bytes from the start of the whole packet's payload. */
  readonly offset: number
  readonly more: boolean
}

export interface IpPacket {
  readonly kind: 'ip'
  readonly source: IpAddress
  readonly destination: IpAddress
  /** What the payload is; behind the extension headers of IPv6. */
  readonly protocol: number
  readonly hopLimit: number
  readonly fragment: Fragment | undefined
  /** Length of the whole packet as its header says. */
  readonly length: number
  /** A view into the frame; shorter than the header says when the capture is. */
  readonly payload: Uint8Array
  /** Where the payload begins in the frame. */
  readonly payloadAt: number
}

export const PROTOCOL = { icmp: 1, igmp: 2, tcp: 6, udp: 17, icmpv6: 58, pim: 103 } as const

/** The packet whose header begins at `at`. */
export function readIpPacket(frame: Uint8Array, at: number): IpPacket | LayerFault {
  if (frame.length <= at) return fault('truncated', at, 'IP version')
  const version = frame[at]! >> 4
  if (version === 4) return readIpv4(frame, at)
  if (version === 6) return readIpv6(frame, at)
  return fault('bad-ip-version', at, 'IP version')
}

function readIpv4(frame: Uint8Array, at: number): IpPacket | LayerFault {
  if (frame.length < at + 20) return fault('truncated', frame.length, 'IPv4 header')
  const headerBytes = (frame[at]! & 0xf) * 4
  if (headerBytes < 20) return fault('bad-ip-header', at, 'IPv4 IHL')
  if (frame.length < at + headerBytes) return fault('truncated', frame.length, 'IPv4 options')
  // Zero: a super-packet whose length the driver would have filled in.
  const length = u16(frame, at + 2) || frame.length - at
  if (length < headerBytes) return fault('bad-length', at + 2, 'IPv4 Total Length')
  const flags = u16(frame, at + 6)
  const fragment = {
    identification: u16(frame, at + 4),
    offset: (flags & 0x1fff) * 8,
    more: (flags & 0x2000) !== 0,
  }
  return {
    kind: 'ip',
    source: ipAddress(frame.slice(at + 12, at + 16)),
    destination: ipAddress(frame.slice(at + 16, at + 20)),
    protocol: frame[at + 9]!,
    hopLimit: frame[at + 8]!,
    fragment: fragment.offset > 0 || fragment.more ? fragment : undefined,
    length,
    payload: frame.subarray(at + headerBytes, at + length),
    payloadAt: at + headerBytes,
  }
}

function readIpv6(frame: Uint8Array, at: number): IpPacket | LayerFault {
  if (frame.length < at + 40) return fault('truncated', frame.length, 'IPv6 header')
  const length = 40 + (u16(frame, at + 4) || frame.length - at - 40)
  const end = Math.min(frame.length, at + length)
  let protocol = frame[at + 6]!
  let next = at + 40
  let fragment: Fragment | undefined
  // Our choice: more headers than this is an attack on readers like this one.
  for (let headers = 0; headers < MAX_EXTENSION_HEADERS; headers += 1) {
    // Behind the first fragment's header nothing is a header.
    if (!EXTENSIONS.has(protocol) || (fragment !== undefined && fragment.offset > 0)) break
    if (end < next + 8) return fault('truncated', end, 'IPv6 extension header')
    if (protocol === FRAGMENT) {
      const field = u16(frame, next + 2)
      const identification = u16(frame, next + 4) * 0x10000 + u16(frame, next + 6)
      fragment = { identification, offset: field & 0xfff8, more: (field & 1) !== 0 }
    }
    const size = sizeOfExtension(protocol, frame[next + 1]!)
    if (end < next + size) return fault('truncated', end, 'IPv6 extension header')
    protocol = frame[next]!
    next += size
  }
  return {
    kind: 'ip',
    source: ipAddress(frame.slice(at + 8, at + 24)),
    destination: ipAddress(frame.slice(at + 24, at + 40)),
    protocol,
    hopLimit: frame[at + 7]!,
    fragment: fragment?.offset === 0 && !fragment.more ? undefined : fragment,
    length,
    payload: frame.subarray(next, end),
    payloadAt: next,
  }
}

const FRAGMENT = 44
const AUTHENTICATION = 51
/** Hop-by-Hop, Routing, Fragment, Authentication, Destination Options, Mobility. */
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, FRAGMENT, AUTHENTICATION, 60, 135])
const MAX_EXTENSION_HEADERS = 8

function sizeOfExtension(protocol: number, length: number): number {
  if (protocol === FRAGMENT) return 8
  return protocol === AUTHENTICATION ? (length + 2) * 4 : (length + 1) * 8
}

function fault(code: LayerFault['code'], offset: number, field: string): LayerFault {
  return { kind: 'fault', code, offset, field }
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}
