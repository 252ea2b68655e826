/**
 * Ethernet frames with a LISP-encapsulated PIM message (RFC 6831 §3) or trace: which they are, and what is in them.
 *
 * UDP port 4341 belongs to the data plane: no socket can have it, and the programs would drop a packet
 * whose inner destination is no EID. So it is read beside them, as a frame, through a filter that knows
 * no options and no fragments: xTRs send neither. What the message says is read in src/lisp/multicast/.
 */
import { type IpAddress, ipAddress } from '../lisp/address.js'
import { LISP_DATA_PORT } from '../lisp/iana.js'
import {
  AND,
  classicFilter,
  JUMP_EQUAL,
  JUMP_SET,
  LOAD_BYTE,
  LOAD_HALF,
  RETURN,
} from './classic-filter.js'

export interface JoinFrame {
  readonly from: IpAddress
  readonly to: IpAddress
  /** Behind the UDP header. */
  readonly bytes: Uint8Array
}

/** UDP to port 4341 whose inner packet is PIM or (IPv4) IGMP; IPv4 and IPv6, both outside and inside. */
export function joinFilter(): Uint8Array {
  const inner4 = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES + LISP_BYTES
  const inner6 = ETHERNET_BYTES + IPV6_BYTES + UDP_BYTES + LISP_BYTES
  return classicFilter([
    [LOAD_HALF, 0, 0, 12],
    [JUMP_EQUAL, 0, 17, ETHERTYPE_IPV4],
    [LOAD_BYTE, 0, 0, ETHERNET_BYTES],
    [JUMP_EQUAL, 0, 30, IPV4_WITHOUT_OPTIONS],
    [LOAD_BYTE, 0, 0, ETHERNET_BYTES + 9],
    [JUMP_EQUAL, 0, 28, UDP],
    [LOAD_HALF, 0, 0, ETHERNET_BYTES + 6],
    [JUMP_SET, 26, 0, FRAGMENT],
    [LOAD_HALF, 0, 0, ETHERNET_BYTES + IPV4_BYTES + 2],
    [JUMP_EQUAL, 0, 24, LISP_DATA_PORT],
    [LOAD_BYTE, 0, 0, inner4],
    [AND, 0, 0, 0xf0],
    [JUMP_EQUAL, 0, 3, 0x40],
    [LOAD_BYTE, 0, 0, inner4 + 9],
    [JUMP_EQUAL, 18, 0, PIM],
    [JUMP_EQUAL, 17, 18, IGMP],
    [JUMP_EQUAL, 0, 17, 0x60],
    [LOAD_BYTE, 0, 0, inner4 + 6],
    [JUMP_EQUAL, 14, 15, PIM],
    [JUMP_EQUAL, 0, 14, ETHERTYPE_IPV6],
    [LOAD_BYTE, 0, 0, ETHERNET_BYTES + 6],
    [JUMP_EQUAL, 0, 12, UDP],
    [LOAD_HALF, 0, 0, ETHERNET_BYTES + IPV6_BYTES + 2],
    [JUMP_EQUAL, 0, 10, LISP_DATA_PORT],
    [LOAD_BYTE, 0, 0, inner6],
    [AND, 0, 0, 0xf0],
    [JUMP_EQUAL, 0, 3, 0x40],
    [LOAD_BYTE, 0, 0, inner6 + 9],
    [JUMP_EQUAL, 4, 0, PIM],
    [JUMP_EQUAL, 3, 4, IGMP],
    [JUMP_EQUAL, 0, 3, 0x60],
    [LOAD_BYTE, 0, 0, inner6 + 6],
    [JUMP_EQUAL, 0, 1, PIM],
    [RETURN, 0, 0, 0xffff],
    [RETURN, 0, 0, 0],
  ])
}

/** What a frame that has passed the filter carries; undefined when its lengths do not agree. */
export function parseJoinFrame(frame: Uint8Array): JoinFrame | undefined {
  const isIpv4 = frame[12] === 0x08
  const headerBytes = isIpv4 ? IPV4_BYTES : IPV6_BYTES
  const udpAt = ETHERNET_BYTES + headerBytes
  if (frame.length < udpAt + UDP_BYTES) return undefined
  const udpBytes = (frame[udpAt + 4]! << 8) | frame[udpAt + 5]!
  if (udpBytes < UDP_BYTES || udpAt + udpBytes > frame.length) return undefined
  const addressBytes = isIpv4 ? 4 : 16
  const addressesAt = udpAt - 2 * addressBytes
  return {
    from: ipAddress(frame.slice(addressesAt, addressesAt + addressBytes)),
    to: ipAddress(frame.slice(addressesAt + addressBytes, udpAt)),
    bytes: frame.slice(udpAt + UDP_BYTES, udpAt + udpBytes),
  }
}

const ETHERNET_BYTES = 14
const IPV4_BYTES = 20
const IPV6_BYTES = 40
const UDP_BYTES = 8
const LISP_BYTES = 8
const ETHERTYPE_IPV4 = 0x0800
const ETHERTYPE_IPV6 = 0x86dd
const IPV4_WITHOUT_OPTIONS = 0x45
/** More Fragments and Fragment Offset. */
const FRAGMENT = 0x3fff
const UDP = 17
const IGMP = 2
const PIM = 103
