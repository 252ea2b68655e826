/**
 * Frames from which it can be seen that a host of the segment is about to use an address: DHCPv4, DHCPv6,
 * and duplicate address detection (neighbour solicitations from ::, RFC 4862 §5.4). The filter that lets
 * only these through, and what they name.
 *
 * Checksums are not looked at: nobody believes what is read here, it only makes us ask (hinted-eids.ts).
 */
import { type IpAddress, ipAddress, isMulticast, type MacAddress } from '../lisp/address.js'
import type { AddressHintDrop, AddressHintKind } from './address-hint-counters.js'
import {
  classicFilter,
  JUMP_EQUAL,
  JUMP_SET,
  LOAD_BYTE,
  LOAD_HALF,
  LOAD_HALF_BEHIND,
  LOAD_IPV4_HEADER_BYTES,
  LOAD_WORD,
  RETURN,
} from './classic-filter.js'
import { type DhcpAddresses, dhcpv4Addresses, dhcpv6Addresses } from './dhcp-addresses.js'

export interface AddressHint {
  readonly how: AddressHintKind
  readonly addresses: readonly IpAddress[]
  /** Addresses of the message beyond those. */
  readonly surplus: number
  /** Of the host, as far as the frame says it. */
  readonly mac: MacAddress | undefined
}

export type UnreadHintFrame = Extract<
  AddressHintDrop,
  'cut-short' | 'fragment' | 'ip-header' | 'malformed' | 'names-no-address'
>

/** What an arriving frame names, or why it is not read. Keeps nothing of the frame. */
export function parseHintFrame(frame: Uint8Array): AddressHint | UnreadHintFrame {
  if (frame.length < ETHERNET_BYTES + IPV4_BYTES) return 'cut-short'
  const packet = frame.subarray(ETHERNET_BYTES)
  const type = (frame[12]! << 8) | frame[13]!
  if (type === ETHERTYPE_IPV4) return parseIpv4(packet)
  return type === ETHERTYPE_IPV6 ? parseIpv6(packet, frame) : 'ip-header'
}

/** UDP to a DHCP port of either family, and neighbour solicitations from `::`. */
export function hintFilter(): Uint8Array {
  return classicFilter([
    [LOAD_HALF, 0, 0, 12],
    [JUMP_EQUAL, 0, 8, ETHERTYPE_IPV4],
    [LOAD_BYTE, 0, 0, ETHERNET_BYTES + 9],
    [JUMP_EQUAL, 0, 24, UDP],
    [LOAD_HALF, 0, 0, ETHERNET_BYTES + 6],
    [JUMP_SET, 22, 0, FRAGMENT],
    [LOAD_IPV4_HEADER_BYTES, 0, 0, ETHERNET_BYTES],
    [LOAD_HALF_BEHIND, 0, 0, ETHERNET_BYTES + 2],
    [JUMP_EQUAL, 18, 0, DHCPV4_SERVER],
    [JUMP_EQUAL, 17, 18, DHCPV4_CLIENT],
    [JUMP_EQUAL, 0, 17, ETHERTYPE_IPV6],
    [LOAD_BYTE, 0, 0, ETHERNET_BYTES + 6],
    [JUMP_EQUAL, 0, 3, UDP],
    [LOAD_HALF, 0, 0, ETHERNET_BYTES + IPV6_BYTES + 2],
    [JUMP_EQUAL, 12, 0, DHCPV6_CLIENT],
    [JUMP_EQUAL, 11, 12, DHCPV6_SERVER],
    [JUMP_EQUAL, 0, 11, ICMPV6],
    [LOAD_BYTE, 0, 0, ETHERNET_BYTES + IPV6_BYTES],
    [JUMP_EQUAL, 0, 9, NEIGHBOR_SOLICITATION],
    [LOAD_WORD, 0, 0, ETHERNET_BYTES + 8],
    [JUMP_EQUAL, 0, 7, 0],
    [LOAD_WORD, 0, 0, ETHERNET_BYTES + 12],
    [JUMP_EQUAL, 0, 5, 0],
    [LOAD_WORD, 0, 0, ETHERNET_BYTES + 16],
    [JUMP_EQUAL, 0, 3, 0],
    [LOAD_WORD, 0, 0, ETHERNET_BYTES + 20],
    [JUMP_EQUAL, 0, 1, 0],
    [RETURN, 0, 0, 0xffff],
    [RETURN, 0, 0, 0],
  ])
}

export const ETHERTYPE_IPV4 = 0x0800
export const ETHERTYPE_IPV6 = 0x86dd
const ETHERNET_BYTES = 14
const IPV4_BYTES = 20
const IPV6_BYTES = 40
const UDP_BYTES = 8
const SOLICITATION_BYTES = 24
/** More Fragments and Fragment Offset. */
const FRAGMENT = 0x3fff
const UDP = 17
const ICMPV6 = 58
const NEIGHBOR_SOLICITATION = 135
/** RFC 4861 §7.1.1: no router has forwarded it. */
const ND_HOP_LIMIT = 255
const DHCPV4_SERVER = 67
const DHCPV4_CLIENT = 68
const DHCPV6_CLIENT = 546
const DHCPV6_SERVER = 547

function parseIpv4(packet: Uint8Array): AddressHint | UnreadHintFrame {
  const headerBytes = (packet[0]! & 0xf) * 4
  const end = (packet[2]! << 8) | packet[3]!
  const fragment = ((packet[6]! << 8) | packet[7]!) & FRAGMENT
  if (packet[0]! >> 4 !== 4 || headerBytes < IPV4_BYTES || packet[9] !== UDP) return 'ip-header'
  if (end < headerBytes || end > packet.length) return 'cut-short'
  if (fragment !== 0) return 'fragment'
  return parseUdp(packet.subarray(headerBytes, end), undefined)
}

function parseIpv6(packet: Uint8Array, frame: Uint8Array): AddressHint | UnreadHintFrame {
  if (packet[0]! >> 4 !== 6) return 'ip-header'
  if (packet.length < IPV6_BYTES) return 'cut-short'
  const end = IPV6_BYTES + ((packet[4]! << 8) | packet[5]!)
  if (end > packet.length) return 'cut-short'
  const payload = packet.subarray(IPV6_BYTES, end)
  if (packet[6] === UDP) return parseUdp(payload, frame)
  return packet[6] === ICMPV6 ? parseSolicitation(packet, payload, frame) : 'ip-header'
}

/** `frame` of DHCPv6, whose messages do not say the client's MAC address. */
function parseUdp(udp: Uint8Array, frame: Uint8Array | undefined): AddressHint | UnreadHintFrame {
  if (udp.length < UDP_BYTES) return 'cut-short'
  const port = (udp[2]! << 8) | udp[3]!
  const length = (udp[4]! << 8) | udp[5]!
  if (length < UDP_BYTES || length > udp.length) return 'cut-short'
  const message = udp.subarray(UDP_BYTES, length)
  if (frame === undefined) return hintOf('dhcpv4', dhcpv4Addresses(message), undefined)
  return hintOf('dhcpv6', dhcpv6Addresses(message), clientMac(frame, port === DHCPV6_CLIENT))
}

function hintOf(
  how: AddressHintKind,
  read: DhcpAddresses | UnreadHintFrame,
  mac: MacAddress | undefined,
): AddressHint | UnreadHintFrame {
  return typeof read === 'string' ? read : { how, ...read, mac: read.mac ?? mac }
}

/** Whom the frame is for, or who has sent it. */
function clientMac(frame: Uint8Array, isAnswer: boolean): MacAddress | undefined {
  if (!isAnswer) return frame.slice(6, 12)
  const isGroup = (frame[0]! & 1) !== 0
  return isGroup ? undefined : frame.slice(0, 6)
}

function parseSolicitation(
  packet: Uint8Array,
  payload: Uint8Array,
  frame: Uint8Array,
): AddressHint | UnreadHintFrame {
  if (payload.length < SOLICITATION_BYTES) return 'cut-short'
  const isFromNobody = packet.subarray(8, 24).every((byte) => byte === 0)
  const isSolicitation = payload[0] === NEIGHBOR_SOLICITATION && payload[1] === 0
  const target = ipAddress(payload.slice(8, SOLICITATION_BYTES))
  if (!isSolicitation || !isFromNobody || packet[7] !== ND_HOP_LIMIT || isMulticast(target))
    return 'malformed'
  const mac = frame.slice(6, 12)
  return { how: 'duplicate-address-detection', addresses: [target], surplus: 0, mac }
}
