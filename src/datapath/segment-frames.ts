/**
 * Ethernet frames of the control protocols of a segment: IGMP (RFC 3376 §4), MLD (RFC 3810 §5) and PIM
 * (RFC 7761 §4.9), and the filter that lets only these through.
 *
 * Knows where headers end and which options mean router alert (RFC 2113, RFC 2711); what the payload
 * says is read in src/lisp/multicast/. Fragments and tunnels are not taken: all of these fit a frame.
 */
import type { SegmentOperation, SegmentProtocol } from '../control/segment-vocabulary.js'
import { type IpAddress, ipAddress, isMulticast, type MacAddress } from '../lisp/address.js'
import { classicFilter, JUMP_EQUAL, LOAD_BYTE, LOAD_HALF, RETURN } from './classic-filter.js'
import type { GroupPacketDrop } from './group-packet-counters.js'
import { internetChecksum } from './internet-checksum.js'

export interface SegmentPacket {
  readonly protocol: SegmentProtocol
  readonly mac: MacAddress
  readonly source: IpAddress
  readonly destination: IpAddress
  readonly hopLimit: number
  readonly routerAlert: boolean
  readonly payload: Uint8Array
}

export type UnreadSegmentFrame = Extract<
  GroupPacketDrop,
  'segment-cut-short' | 'segment-fragment' | 'segment-ip-header' | 'segment-other-protocol'
>

/** What an arriving frame carries, or why it is not read. Copies nothing. */
export function parseSegmentFrame(frame: Uint8Array): SegmentPacket | UnreadSegmentFrame {
  if (frame.length < ETHERNET_BYTES + IPV4_BYTES) return 'segment-cut-short'
  const packet = frame.subarray(ETHERNET_BYTES)
  const mac = frame.subarray(6, 12)
  const type = (frame[12]! << 8) | frame[13]!
  if (type === ETHERTYPE_IPV4) return parseIpv4(packet, mac)
  return type === ETHERTYPE_IPV6 ? parseIpv6(packet, mac) : 'segment-other-protocol'
}

/** The frame of an operation, sent by `from`. Throws RangeError for a payload that fits no frame. */
export function segmentFrame(operation: SegmentOperation, from: MacAddress): Uint8Array {
  const { payload, destination } = operation
  if (payload.length > MAXIMUM_PAYLOAD) throw new RangeError(`${payload.length} bytes in a frame`)
  const to = operation.mac ?? groupMac(destination)
  const header = destination.family === 4 ? ipv4Header(operation) : ipv6Header(operation)
  const frame = new Uint8Array(ETHERNET_BYTES + header.length + payload.length)
  const type = destination.family === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6
  frame.set(to, 0)
  frame.set(from, 6)
  frame.set([type >> 8, type & 0xff], 12)
  frame.set(header, ETHERNET_BYTES)
  frame.set(payload, ETHERNET_BYTES + header.length)
  return frame
}

/** RFC 1112 §6.4, RFC 2464 §7. Only of multicast addresses. */
export function groupMac({ family, bytes }: IpAddress): MacAddress {
  if (family === 4) return Uint8Array.of(0x01, 0, 0x5e, bytes[1]! & 0x7f, bytes[2]!, bytes[3]!)
  return Uint8Array.of(0x33, 0x33, ...bytes.subarray(12))
}

/** IPv4 of protocol 2 or 103, IPv6 of next header 103, and IPv6 with a hop-by-hop header before ICMPv6. */
export function segmentFilter(): Uint8Array {
  return classicFilter([
    [LOAD_HALF, 0, 0, 12],
    [JUMP_EQUAL, 0, 3, ETHERTYPE_IPV4],
    [LOAD_BYTE, 0, 0, ETHERNET_BYTES + 9],
    [JUMP_EQUAL, 7, 0, IGMP],
    [JUMP_EQUAL, 6, 7, PIM],
    [JUMP_EQUAL, 0, 6, ETHERTYPE_IPV6],
    [LOAD_BYTE, 0, 0, ETHERNET_BYTES + 6],
    [JUMP_EQUAL, 3, 0, PIM],
    [JUMP_EQUAL, 0, 3, HOP_BY_HOP],
    [LOAD_BYTE, 0, 0, ETHERNET_BYTES + IPV6_BYTES],
    [JUMP_EQUAL, 0, 1, ICMPV6],
    [RETURN, 0, 0, 0xffff],
    [RETURN, 0, 0, 0],
  ])
}

const ETHERNET_BYTES = 14
const IPV4_BYTES = 20
const IPV6_BYTES = 40
const ETHERTYPE_IPV4 = 0x0800
const ETHERTYPE_IPV6 = 0x86dd
const HOP_BY_HOP = 0
const IGMP = 2
const ICMPV6 = 58
const PIM = 103
const MAXIMUM_PAYLOAD = 1280 - IPV6_BYTES - 8
const PROTOCOL: Record<SegmentProtocol, number> = { igmp: IGMP, mld: ICMPV6, pim: PIM }
/** RFC 2113: type 148, length 4, value 0. */
const IPV4_ROUTER_ALERT = [0x94, 4, 0, 0]
const IPV4_ROUTER_ALERT_TYPE = 0x94
/** RFC 2711: type 5, length 2, value 0 (MLD); PadN of two bytes behind it. */
const IPV6_ROUTER_ALERT = [5, 2, 0, 0, 1, 0]
const IPV6_ROUTER_ALERT_TYPE = 5
/** Precedence 6, internetwork control (RFC 3376 §4). */
const INTERNETWORK_CONTROL = 0xc0

function parseIpv4(packet: Uint8Array, mac: MacAddress): SegmentPacket | UnreadSegmentFrame {
  const headerBytes = (packet[0]! & 0xf) * 4
  const end = (packet[2]! << 8) | packet[3]!
  const fragment = ((packet[6]! & 0x3f) << 8) | packet[7]!
  if (packet[0]! >> 4 !== 4 || headerBytes < IPV4_BYTES) return 'segment-ip-header'
  if (end < headerBytes || end > packet.length) return 'segment-cut-short'
  if (fragment !== 0) return 'segment-fragment'
  const protocol = packet[9] === IGMP ? 'igmp' : packet[9] === PIM ? 'pim' : undefined
  if (protocol === undefined) return 'segment-other-protocol'
  return {
    protocol,
    mac,
    source: ipAddress(packet.subarray(12, 16)),
    destination: ipAddress(packet.subarray(16, 20)),
    hopLimit: packet[8]!,
    routerAlert: hasIpv4Alert(packet.subarray(IPV4_BYTES, headerBytes)),
    payload: packet.subarray(headerBytes, end),
  }
}

function hasIpv4Alert(options: Uint8Array): boolean {
  for (let at = 0; at < options.length; ) {
    const type = options[at]!
    if (type === IPV4_ROUTER_ALERT_TYPE) return true
    // End of the list, no-operation, or a length that would not move on.
    if (type === 0) return false
    at += type === 1 ? 1 : Math.max(2, options[at + 1] ?? 2)
  }
  return false
}

function parseIpv6(packet: Uint8Array, mac: MacAddress): SegmentPacket | UnreadSegmentFrame {
  if (packet[0]! >> 4 !== 6) return 'segment-ip-header'
  if (packet.length < IPV6_BYTES) return 'segment-cut-short'
  const end = IPV6_BYTES + ((packet[4]! << 8) | packet[5]!)
  if (end > packet.length) return 'segment-cut-short'
  const about = {
    mac,
    source: ipAddress(packet.subarray(8, 24)),
    destination: ipAddress(packet.subarray(24, 40)),
    hopLimit: packet[7]!,
  }
  if (packet[6] === PIM) {
    const payload = packet.subarray(IPV6_BYTES, end)
    return { protocol: 'pim', ...about, routerAlert: false, payload }
  }
  if (packet[6] !== HOP_BY_HOP) return 'segment-other-protocol'
  if (end < IPV6_BYTES + 8) return 'segment-cut-short'
  const payloadAt = IPV6_BYTES + 8 + packet[IPV6_BYTES + 1]! * 8
  if (packet[IPV6_BYTES] !== ICMPV6) return 'segment-other-protocol'
  if (payloadAt > end) return 'segment-cut-short'
  const routerAlert = hasIpv6Alert(packet.subarray(IPV6_BYTES + 2, payloadAt))
  return { protocol: 'mld', ...about, routerAlert, payload: packet.subarray(payloadAt, end) }
}

function hasIpv6Alert(options: Uint8Array): boolean {
  for (let at = 0; at < options.length; ) {
    const type = options[at]!
    if (type === IPV6_ROUTER_ALERT_TYPE) return true
    at += type === 0 ? 1 : 2 + (options[at + 1] ?? 0)
  }
  return false
}

function ipv4Header(operation: SegmentOperation): Uint8Array {
  const { protocol, source, destination, payload } = operation
  const options = protocol === 'pim' ? [] : IPV4_ROUTER_ALERT
  const header = new Uint8Array(IPV4_BYTES + options.length)
  const total = header.length + payload.length
  header.set([0x40 | (header.length / 4), INTERNETWORK_CONTROL, total >> 8, total & 0xff])
  header.set([1, PROTOCOL[protocol]], 8)
  header.set(source.bytes, 12)
  header.set(destination.bytes, 16)
  header.set(options, IPV4_BYTES)
  const sum = internetChecksum([header])
  header.set([sum >> 8, sum & 0xff], 10)
  return header
}

function ipv6Header(operation: SegmentOperation): Uint8Array {
  const { protocol, source, destination, payload } = operation
  const options = protocol === 'pim' ? [] : [ICMPV6, 0, ...IPV6_ROUTER_ALERT]
  const header = new Uint8Array(IPV6_BYTES + options.length)
  const length = options.length + payload.length
  const next = options.length > 0 ? HOP_BY_HOP : PROTOCOL[protocol]
  header.set([0x60, 0, 0, 0, length >> 8, length & 0xff, next, 1])
  header.set(source.bytes, 8)
  header.set(destination.bytes, 24)
  header.set(options, IPV6_BYTES)
  return header
}

/** Whether an operation without a MAC address can be sent at all. */
export function isSendable({ destination, mac }: SegmentOperation): boolean {
  return mac !== undefined || isMulticast(destination)
}
