/**
 * What a captured frame says in LISP: a control message (UDP port 4342 on either side, RFC 9301
 * §5), with what an Encapsulated Control Message carries; a segment of a TCP connection of that
 * port, with the messages that it completes; a data packet (UDP destination port 4341, RFC 9300 §4)
 * with its header, inner packet and what that says of multicast; a message of IGMP, MLD or PIM on a
 * segment or between RLOCs; a fragment of one of these; or nothing of ours.
 *
 * Fragments are noted, not put together. Authentication is verified with the keys given, each
 * message by itself: replay is not judged here. Never throws, whatever the frame holds.
 */
import { formatIpAddress, type IpAddress } from '../lisp/address.js'
import { type AuthenticationKey, type Hmac, verifyMessage } from '../lisp/authentication.js'
import { DATA_HEADER_BYTES, type DataHeader, decodeDataHeader } from '../lisp/data-header.js'
import { LISP_CONTROL_PORT, LISP_DATA_PORT } from '../lisp/iana.js'
import { decodeMessage, type Malformed, type Message } from '../lisp/message.js'
import { decodeIgmp } from '../lisp/multicast/igmp.js'
import type { MembershipMessage } from '../lisp/multicast/membership.js'
import { decodeMld } from '../lisp/multicast/mld.js'
import { decodePim, type PimMessage } from '../lisp/multicast/pim.js'
import type { ReliableMessage } from '../lisp/reliable-transport.js'
import type { CapturedFrame } from './captured-frame.js'
import { type Fragment, type IpPacket, PROTOCOL, readIpPacket } from './ip-packet.js'
import { networkLayer } from './link-layer.js'
import { createTcpConnections, type SegmentNote } from './tcp-connections.js'

/** 'no-key': none of the given keys has this key ID and algorithm. */
export type Verdict = 'verified' | 'failed' | 'no-key'

export interface Endpoints {
  readonly source: IpAddress
  readonly destination: IpAddress
  /** Undefined in a fragment without its UDP header. */
  readonly sourcePort: number | undefined
  readonly destinationPort: number | undefined
}

/** A control message or why it is none, and what a key says about it. */
export interface ControlMessage {
  readonly message: Message | Malformed
  /** Undefined without keys, and for messages that carry no authentication data. */
  readonly authentication: Verdict | undefined
  /** What an Encapsulated Control Message holds. */
  readonly inner: ControlMessage | undefined
}

export interface FaultPlace {
  readonly code: string
  /** From the start of the message, of the frame when no message was reached. */
  readonly offset: number
  readonly field: string
}

/** The packet inside a data packet; undefined ports mean a protocol without, or a later fragment. */
export type InnerPacket = Endpoints & {
  readonly kind: 'inner'
  readonly protocol: number
  readonly hopLimit: number
  readonly length: number
  readonly fragment: Fragment | undefined
  /** What an IGMP, MLD or PIM packet says; undefined for any other. */
  readonly multicast: SaidOfGroups | undefined
}

export type SaidOfGroups = MembershipMessage | PimMessage | Malformed

/** A message of a TCP connection, with the Map-Register that a registration carries. */
export interface ReliableItem {
  readonly message: ReliableMessage | Malformed
  readonly register: ControlMessage | undefined
}

export type Dissection =
  | { readonly kind: 'control'; readonly endpoints: Endpoints; readonly control: ControlMessage }
  | {
      readonly kind: 'reliable'
      readonly endpoints: Endpoints
      /** Those that end in this segment. */
      readonly items: readonly ReliableItem[]
      readonly segment: SegmentNote
    }
  | {
      readonly kind: 'data'
      readonly endpoints: Endpoints
      readonly header: DataHeader
      /** Undefined when it is encrypted or of a protocol that is not IP. */
      readonly inner: InnerPacket | FaultPlace | undefined
      /** Of the outer packet; this is then its first fragment. */
      readonly fragment: Fragment | undefined
    }
  | {
      readonly kind: 'fragment'
      readonly endpoints: Endpoints
      readonly fragment: Fragment
      readonly bytes: number
      /** What the whole packet is, where its first fragment has been seen. */
      readonly part: 'control' | 'data' | undefined
      readonly firstFrame: number | undefined
    }
  /** IGMP, MLD or PIM. */
  | { readonly kind: 'multicast'; readonly endpoints: Endpoints; readonly message: SaidOfGroups }
  | { readonly kind: 'fault'; readonly fault: FaultPlace }
  | { readonly kind: 'other'; readonly why: 'link-type' | 'not-ip' | 'not-lisp' }

export interface DissectorOptions {
  readonly keys?: readonly AuthenticationKey[]
  readonly hmac?: Hmac
}

/** Remembers only which fragmented packets began with a LISP port, at most `MAX_FRAGMENTED`. */
export function createDissector(options: DissectorOptions = {}): {
  dissect(frame: CapturedFrame): Dissection
} {
  const connections = createTcpConnections()
  const begun = new Map<string, { part: 'control' | 'data' | 'other'; frame: number }>()

  function remember(key: string, part: 'control' | 'data' | 'other', frame: number): void {
    begun.delete(key)
    begun.set(key, { part, frame })
    if (begun.size <= MAX_FRAGMENTED) return
    for (const oldest of begun.keys()) {
      begun.delete(oldest)
      return
    }
  }

  function laterFragment(ip: IpPacket, fragment: Fragment): Dissection {
    const first = begun.get(fragmentKey(ip, fragment))
    if (first?.part === 'other') return NOT_LISP
    return {
      kind: 'fragment',
      endpoints: addressesOf(ip),
      fragment,
      bytes: ip.payload.length,
      part: first?.part,
      firstFrame: first?.frame,
    }
  }

  function segment(ip: IpPacket): Dissection {
    const endpoints = { ...addressesOf(ip), ...portsOf(ip) }
    if (partOf(endpoints) !== 'control') return NOT_LISP
    const followed = connections.follow(ip)
    if (followed === undefined) return NOT_LISP
    const items = followed.messages.map((message) => ({
      message,
      register:
        message.kind === 'registration' ? readControl(message.message, options, false) : undefined,
    }))
    return { kind: 'reliable', endpoints, items, segment: followed.note }
  }

  return {
    dissect(frame) {
      const network = networkLayer(frame.linkType, frame.bytes)
      if (network.kind === 'other') return network
      if (network.kind === 'fault') return { kind: 'fault', fault: placeOf(network) }
      const ip = readIpPacket(frame.bytes, network.offset)
      if (ip.kind === 'fault') return { kind: 'fault', fault: placeOf(ip) }
      const { fragment } = ip
      if (ip.protocol === PROTOCOL.tcp && fragment === undefined) return segment(ip)
      if (ip.protocol !== PROTOCOL.udp) {
        const message = fragment === undefined ? readMulticast(ip) : undefined
        if (message === undefined) return NOT_LISP
        return { kind: 'multicast', endpoints: addressesOf(ip), message }
      }
      if (fragment !== undefined && fragment.offset > 0) return laterFragment(ip, fragment)
      const udp = readUdp(ip)
      if (udp === undefined) {
        const offset = ip.payloadAt + ip.payload.length
        return { kind: 'fault', fault: { code: 'truncated', offset, field: 'UDP header' } }
      }
      const part = partOf(udp.endpoints)
      if (fragment !== undefined) remember(fragmentKey(ip, fragment), part, frame.number)
      if (part === 'other') return NOT_LISP
      if (udp.badLength) {
        const offset = ip.payloadAt + 4
        return { kind: 'fault', fault: { code: 'bad-length', offset, field: 'UDP Length' } }
      }
      const { endpoints, payload } = udp
      if (part === 'data') return dissectData(endpoints, payload, fragment)
      if (fragment !== undefined) {
        const bytes = ip.payload.length
        return { kind: 'fragment', endpoints, fragment, bytes, part, firstFrame: frame.number }
      }
      return { kind: 'control', endpoints, control: readControl(payload, options, true) }
    },
  }
}

/** Choice: some seconds of fragments on a busy link; an older one is noted without its kind. */
const MAX_FRAGMENTED = 4096

const NOT_LISP = { kind: 'other', why: 'not-lisp' } as const

function dissectData(
  endpoints: Endpoints,
  payload: Uint8Array,
  fragment: Fragment | undefined,
): Dissection {
  const header = decodeDataHeader(payload)
  if (header === undefined) {
    const fault = { code: 'truncated', offset: payload.length, field: 'LISP header' }
    return { kind: 'fault', fault }
  }
  return { kind: 'data', endpoints, header, inner: readInner(header, payload), fragment }
}

function readInner(header: DataHeader, payload: Uint8Array): InnerPacket | FaultPlace | undefined {
  const { cryptoKeyId, nextProtocol } = header
  if (cryptoKeyId !== 0) return undefined
  if (nextProtocol !== undefined && !NEXT_PROTOCOL_IP.has(nextProtocol)) return undefined
  const ip = readIpPacket(payload, DATA_HEADER_BYTES)
  if (ip.kind === 'fault') return placeOf(ip)
  const ports = portsOf(ip)
  return {
    kind: 'inner',
    source: ip.source,
    destination: ip.destination,
    ...ports,
    protocol: ip.protocol,
    hopLimit: ip.hopLimit,
    length: ip.length,
    fragment: ip.fragment,
    multicast: ip.fragment === undefined ? readMulticast(ip) : undefined,
  }
}

function readMulticast(ip: IpPacket): InnerPacket['multicast'] {
  if (ip.protocol === PROTOCOL.igmp) return decodeIgmp(ip.payload)
  if (ip.protocol === PROTOCOL.pim) return decodePim(ip.payload, ip)
  if (ip.protocol !== PROTOCOL.icmpv6) return undefined
  const message = decodeMld(ip.payload, ip)
  // Most of ICMPv6 is something else.
  return message.kind === 'malformed' && message.code === 'unknown-type' ? undefined : message
}

/** RFC 9305 §3: IPv4 and IPv6. */
const NEXT_PROTOCOL_IP: ReadonlySet<number> = new Set([1, 2])

function readControl(
  bytes: Uint8Array,
  options: DissectorOptions,
  mayHoldOther: boolean,
): ControlMessage {
  const message = decodeMessage(bytes)
  // One level: RFC 9301 §5.8 gives an ECM inside an ECM no meaning.
  const inner =
    mayHoldOther && message.kind === 'encapsulated-control'
      ? readControl(message.message, options, false)
      : undefined
  return { message, authentication: verdictOn(message, bytes, options), inner }
}

function verdictOn(
  message: Message | Malformed,
  bytes: Uint8Array,
  { keys, hmac }: DissectorOptions,
): Verdict | undefined {
  if (keys === undefined || hmac === undefined || !('authenticationData' in message)) {
    return undefined
  }
  const { keyId, algorithm } = message
  const fitting = keys.filter((key) => key.keyId === keyId && key.algorithm === algorithm)
  if (fitting.length === 0) return 'no-key'
  return fitting.some((key) => verifyMessage(bytes, key, hmac)) ? 'verified' : 'failed'
}

function partOf({ sourcePort, destinationPort }: Endpoints): 'control' | 'data' | 'other' {
  if (destinationPort === LISP_DATA_PORT) return 'data'
  // An answer comes from the port, a question goes to it.
  const isControl = sourcePort === LISP_CONTROL_PORT || destinationPort === LISP_CONTROL_PORT
  return isControl ? 'control' : 'other'
}

function readUdp(
  ip: IpPacket,
): { endpoints: Endpoints; payload: Uint8Array; badLength: boolean } | undefined {
  const bytes = ip.payload
  if (bytes.length < UDP_HEADER_BYTES) return undefined
  const endpoints = { ...addressesOf(ip), ...portsOf(ip) }
  // Zero: a super-packet of more than 65535 bytes.
  const length = u16(bytes, 4) || bytes.length
  const end = Math.min(length, bytes.length)
  const badLength = length < UDP_HEADER_BYTES
  return { endpoints, payload: bytes.subarray(UDP_HEADER_BYTES, end), badLength }
}

const UDP_HEADER_BYTES = 8

function addressesOf({ source, destination }: IpPacket): Endpoints {
  return { source, destination, sourcePort: undefined, destinationPort: undefined }
}

function portsOf(ip: IpPacket): Pick<Endpoints, 'sourcePort' | 'destinationPort'> {
  const hasPorts = ip.protocol === PROTOCOL.udp || ip.protocol === PROTOCOL.tcp
  if (!hasPorts || ip.payload.length < 4 || (ip.fragment?.offset ?? 0) > 0) {
    return { sourcePort: undefined, destinationPort: undefined }
  }
  return { sourcePort: u16(ip.payload, 0), destinationPort: u16(ip.payload, 2) }
}

function placeOf({ code, offset, field }: FaultPlace): FaultPlace {
  return { code, offset, field }
}

/** RFC 791 §3.2, RFC 8200 §4.5: what belongs together. */
function fragmentKey(ip: IpPacket, { identification }: Fragment): string {
  return `${formatIpAddress(ip.source)} ${formatIpAddress(ip.destination)} ${identification}`
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}
