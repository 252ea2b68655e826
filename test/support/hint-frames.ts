/**
 * Frames of DHCP and duplicate address detection, built by hand from the RFCs: nothing of ours that reads
 * them helps to make them.
 */
import { anAddress } from './builders.js'

export const CLIENT_MAC = Uint8Array.of(2, 0, 0, 0, 0, 0x44)
const SERVER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 0x53)
const EVERYBODY = new Uint8Array(6).fill(0xff)

export interface Dhcpv4Fields {
  /** 1 request of a client, 2 reply. */
  readonly op: 1 | 2
  /** RFC 2132 §9.6: 1 DISCOVER, 2 OFFER, 3 REQUEST, 5 ACK, 6 NAK. */
  readonly type: number
  readonly ciaddr?: string
  readonly yiaddr?: string
  readonly giaddr?: string
  /** Option 50. */
  readonly requested?: string
  readonly options?: readonly number[]
}

/** A DHCPv4 message, without UDP. */
export function dhcpv4(fields: Dhcpv4Fields): Uint8Array {
  const { op, type, requested, options = [] } = fields
  const fixed = new Uint8Array(240)
  fixed.set([op, 1, 6, 0, 0x12, 0x34, 0x56, 0x78])
  const put = (at: number, text: string | undefined): void =>
    fixed.set(anAddress(text ?? '0.0.0.0').bytes, at)
  put(12, fields.ciaddr)
  put(16, fields.yiaddr)
  put(24, fields.giaddr)
  fixed.set(CLIENT_MAC, 28)
  fixed.set([0x63, 0x82, 0x53, 0x63], 236)
  const wish = requested === undefined ? [] : [50, 4, ...anAddress(requested).bytes]
  return Uint8Array.of(...fixed, 53, 1, type, ...wish, ...options, 255, 0, 0, 0)
}

export function dhcpv4Frame(fields: Dhcpv4Fields): Uint8Array {
  const [from, to] = fields.op === 1 ? ([68, 67] as const) : ([67, 68] as const)
  const message = udp(from, to, dhcpv4(fields))
  const total = 20 + message.length
  const header = [0x45, 0, total >> 8, total & 0xff, 0, 0, 0, 0, 64, 17, 0, 0]
  const source = anAddress(fields.op === 1 ? '0.0.0.0' : '10.1.0.2').bytes
  const ip = Uint8Array.of(...header, ...source, 255, 255, 255, 255, ...message)
  return ethernet(EVERYBODY, fields.op === 1 ? CLIENT_MAC : SERVER_MAC, 0x0800, ip)
}

/** Addresses of one IA_NA; `lifetime` of each, in seconds. */
export function dhcpv6(type: number, addresses: readonly string[], lifetime = 3600): Uint8Array {
  const inner = addresses.flatMap((text) => [
    ...[0, 5, 0, 24, ...anAddress(text).bytes],
    ...[0, 0, 0, 0, 0, 0, lifetime >> 8, lifetime & 0xff],
  ])
  const length = 12 + inner.length
  const head = [0, 3, length >> 8, length & 0xff, 0, 0, 0, 1, ...new Uint8Array(8)]
  return Uint8Array.of(type, 1, 2, 3, 0, 1, 0, 2, 9, 9, ...head, ...inner)
}

export function dhcpv6Frame(
  type: number,
  addresses: readonly string[],
  lifetime = 3600,
): Uint8Array {
  const isReply = type === 7
  const message = udp(isReply ? 547 : 546, isReply ? 546 : 547, dhcpv6(type, addresses, lifetime))
  const group = Uint8Array.of(0x33, 0x33, 0, 1, 0, 2)
  if (isReply)
    return ethernet(CLIENT_MAC, SERVER_MAC, 0x86dd, ipv6('fe80::53', 'fe80::44', 17, message))
  return ethernet(group, CLIENT_MAC, 0x86dd, ipv6('fe80::44', 'ff02::1:2', 17, message))
}

/** RFC 4862 §5.4.2; with `source` it is a question of that host instead. */
export function solicitationFrame(target: string, source = '::'): Uint8Array {
  const { bytes } = anAddress(target)
  const last = bytes.subarray(13)
  const payload = Uint8Array.of(135, 0, 0, 0, 0, 0, 0, 0, ...bytes)
  const ip = ipv6(source, 'ff02::1:ff00:0', 58, payload)
  ip.set(last, 24 + 13)
  return ethernet(Uint8Array.of(0x33, 0x33, 0xff, ...last), CLIENT_MAC, 0x86dd, ip)
}

function udp(from: number, to: number, payload: Uint8Array): Uint8Array {
  const length = 8 + payload.length
  const ports = [from >> 8, from & 255, to >> 8, to & 255]
  return Uint8Array.of(...ports, length >> 8, length & 255, 0, 0, ...payload)
}

function ipv6(source: string, destination: string, next: number, payload: Uint8Array): Uint8Array {
  const header = [0x60, 0, 0, 0, payload.length >> 8, payload.length & 0xff, next, 255]
  const addresses = [...anAddress(source).bytes, ...anAddress(destination).bytes]
  return Uint8Array.of(...header, ...addresses, ...payload)
}

function ethernet(to: Uint8Array, from: Uint8Array, type: number, packet: Uint8Array): Uint8Array {
  return Uint8Array.of(...to, ...from, type >> 8, type & 0xff, ...packet)
}
