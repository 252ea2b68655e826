/**
 * Frames as bytes, built and taken apart independently of the programs under test: Ethernet, IPv4,
 * IPv6, UDP, TCP, ARP, neighbour discovery, and the LISP data header (RFC 9300 §5.1).
 */
export const ETHERNET_BYTES = 14
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmp6: 58 } as const

/** 4 or 16 bytes. IPv6 text may have one `::`. */
export function addressBytes(text: string): Uint8Array {
  if (!text.includes(':')) return Uint8Array.from(text.split('.').map(Number))
  const [front = '', back] = text.split('::')
  const words = (part: string) => (part === '' ? [] : part.split(':').map((w) => parseInt(w, 16)))
  const head = words(front)
  const tail = back === undefined ? [] : words(back)
  const all = [...head, ...Array(8 - head.length - tail.length).fill(0), ...tail]
  return Uint8Array.from(all.flatMap((word: number) => [word >> 8, word & 255]))
}

export function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(':').map((part) => parseInt(part, 16)))
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

/** The Internet checksum; 0 over data that contains its right checksum. */
export function checksum(...parts: readonly Uint8Array[]): number {
  const bytes = concat(...parts)
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

export interface IpFields {
  readonly source: string
  readonly destination: string
  readonly protocol?: number
  readonly ttl?: number
  readonly trafficClass?: number
  readonly flowLabel?: number
  readonly dontFragment?: boolean
  readonly id?: number
}

export function ip(fields: IpFields, payload: Uint8Array): Uint8Array {
  const { protocol = PROTOCOL.udp, ttl = 64, trafficClass = 0 } = fields
  const source = addressBytes(fields.source)
  const destination = addressBytes(fields.destination)
  if (source.length === 16) {
    const first = (0x60000000 | (trafficClass << 20) | (fields.flowLabel ?? 0)) >>> 0
    const fixed = [first >>> 24, (first >> 16) & 255, (first >> 8) & 255, first & 255]
    const length = payload.length
    fixed.push(length >> 8, length & 255, protocol, ttl)
    return concat(Uint8Array.from(fixed), source, destination, payload)
  }
  const length = 20 + payload.length
  const id = fields.id ?? 0
  const fragment = fields.dontFragment ? 0x40 : 0
  const front = [0x45, trafficClass, length >> 8, length & 255, id >> 8, id & 255, fragment, 0]
  const header = concat(Uint8Array.from([...front, ttl, protocol, 0, 0]), source, destination)
  const sum = checksum(header)
  header[10] = sum >> 8
  header[11] = sum & 255
  return concat(header, payload)
}

/** Zero checksum, as in LISP outer headers; the programs never look at an inner one. */
export function udp(sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const length = 8 + payload.length
  const ports = [sourcePort >> 8, sourcePort & 255, destinationPort >> 8, destinationPort & 255]
  return concat(Uint8Array.from([...ports, length >> 8, length & 255, 0, 0]), payload)
}

export function tcp(sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const header = new Uint8Array(20)
  header.set([sourcePort >> 8, sourcePort & 255, destinationPort >> 8, destinationPort & 255])
  header.set([0x50, 0x10], 12)
  return concat(header, payload)
}

export interface LispHeaderFields {
  readonly flags?: number
  readonly nonce?: readonly [number, number, number]
  readonly instanceId?: number
  readonly low?: number
}

export function lispHeader(fields: LispHeaderFields): Uint8Array {
  const { flags = 0x08, nonce = [0, 0, 0], instanceId = 7, low = 0 } = fields
  const instance = [instanceId >> 16, (instanceId >> 8) & 255, instanceId & 255]
  return Uint8Array.from([flags, ...nonce, ...instance, low])
}

export function ethernet(
  destination: string,
  source: string,
  ethertype: number,
  payload: Uint8Array,
): Uint8Array {
  const type = Uint8Array.from([ethertype >> 8, ethertype & 255])
  return concat(macBytes(destination), macBytes(source), type, payload)
}

/** The ethertype follows from the version of the packet. */
export function ipFrame(destination: string, source: string, packet: Uint8Array): Uint8Array {
  return ethernet(destination, source, packet[0]! >> 4 === 4 ? 0x0800 : 0x86dd, packet)
}

export interface ArpFields {
  readonly operation: number
  readonly senderMac: string
  readonly sender: string
  readonly targetMac?: string
  readonly target: string
}

export function arp(fields: ArpFields): Uint8Array {
  return concat(
    Uint8Array.from([0, 1, 8, 0, 6, 4, 0, fields.operation]),
    macBytes(fields.senderMac),
    addressBytes(fields.sender),
    macBytes(fields.targetMac ?? '00:00:00:00:00:00'),
    addressBytes(fields.target),
  )
}

export interface NeighbourFields {
  readonly type: 135 | 136
  readonly flags?: number
  readonly source: string
  readonly destination: string
  readonly target: string
  /** Option 1 in a solicitation, 2 in an advertisement. */
  readonly linkLayer?: string
}

export function neighbour(fields: NeighbourFields): Uint8Array {
  const flags = fields.flags ?? 0
  const option =
    fields.linkLayer === undefined
      ? new Uint8Array()
      : concat(Uint8Array.from([fields.type - 134, 1]), macBytes(fields.linkLayer))
  const front = Uint8Array.from([fields.type, 0, 0, 0, flags >>> 24, 0, 0, 0])
  const message = concat(front, addressBytes(fields.target), option)
  const addresses = concat(addressBytes(fields.source), addressBytes(fields.destination))
  const sum = checksum(addresses, Uint8Array.from([0, message.length, 0, PROTOCOL.icmp6]), message)
  message[2] = sum >> 8
  message[3] = sum & 255
  const { source, destination } = fields
  return ip({ source, destination, protocol: PROTOCOL.icmp6, ttl: 255 }, message)
}

export interface OpenedFrame {
  readonly destinationMac: string
  readonly sourceMac: string
  readonly ethertype: number
  /** The outer IP, UDP and LISP header with the UDP source port and the flow label set to 0. */
  readonly outer: Uint8Array
  readonly sourcePort: number
  readonly flowLabel: number
  readonly inner: Uint8Array
}

export function macText(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

/** Take an encapsulated frame apart. */
export function openFrame(frame: Uint8Array): OpenedFrame {
  const isIpv4 = frame[14]! >> 4 === 4
  const headerBytes = isIpv4 ? 20 : 40
  const outer = frame.slice(14, 14 + headerBytes + 16)
  const sourcePort = (outer[headerBytes]! << 8) | outer[headerBytes + 1]!
  const flowLabel = isIpv4 ? 0 : ((outer[1]! & 15) << 16) | (outer[2]! << 8) | outer[3]!
  outer.fill(0, headerBytes, headerBytes + 2)
  if (!isIpv4) {
    outer[1]! &= 0xf0
    outer.fill(0, 2, 4)
  }
  return {
    destinationMac: macText(frame.subarray(0, 6)),
    sourceMac: macText(frame.subarray(6, 12)),
    ethertype: (frame[12]! << 8) | frame[13]!,
    outer,
    sourcePort,
    flowLabel,
    inner: frame.slice(14 + headerBytes + 16),
  }
}
