/**
 * ICMP errors of the underlay that say a packet was too big, with what they quote of it: ICMPv4
 * fragmentation-needed (RFC 792, RFC 1191 §4), ICMPv6 packet-too-big (RFC 4443 §3.2).
 *
 * The quoted packet is read as IP, UDP and, where the quote is long enough, LISP data (RFC 9300 §5.1).
 * What to believe is not decided here. No checksums: of a cut head there are none to verify.
 */
import { type IpAddress, ipAddress } from './address.js'

export interface TooBigError {
  /** Who got the error. */
  readonly to: IpAddress
  /** Of the next hop in bytes, as it stands there: 0 from routers older than RFC 1191. */
  readonly mtu: number
  readonly quoted: {
    readonly source: IpAddress
    readonly destination: IpAddress
    /** IPv4: DF. IPv6: always true. */
    readonly dontFragment: boolean
    /** Of the IP packet; 0 for a super-packet that was too long to say. */
    readonly lengthBytes: number
    readonly sourcePort: number
    readonly destinationPort: number
    readonly udpChecksum: number
    /** Undefined: the quote ends before the LISP header. */
    readonly lisp: { readonly hasInstance: boolean; readonly instanceId: number } | undefined
  }
}

const IPV4_HEADER = 20
const IPV6_HEADER = 40
const ICMP_HEADER = 8
const UDP_HEADER = 8
const LISP_HEADER = 8
const UDP = 17

/**
 * `packet` is the IP packet of the error, from its first byte, possibly cut. Undefined when it is no
 * such error, quotes no UDP, or ends before the UDP header does.
 */
export function readTooBigError(packet: Uint8Array): TooBigError | undefined {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length)
  if (packet.length < IPV4_HEADER) return undefined
  const version = packet[0]! >> 4
  if (version === 4) return readIpv4(packet, view)
  return version === 6 ? readIpv6(packet, view) : undefined
}

function readIpv4(packet: Uint8Array, view: DataView): TooBigError | undefined {
  const icmp = (packet[0]! & 15) * 4
  const quoted = icmp + ICMP_HEADER
  const udp = quoted + IPV4_HEADER
  if (icmp < IPV4_HEADER || packet.length < udp + UDP_HEADER) return undefined
  if (packet[9] !== 1 || packet[icmp] !== 3 || packet[icmp + 1] !== 4) return undefined
  // Our own packets have no options.
  if (packet[quoted] !== 0x45 || packet[quoted + 9] !== UDP) return undefined
  return {
    to: addressAt(packet, 16, 4),
    mtu: view.getUint16(icmp + 6),
    quoted: {
      source: addressAt(packet, quoted + 12, 4),
      destination: addressAt(packet, quoted + 16, 4),
      dontFragment: (packet[quoted + 6]! & 0x40) !== 0,
      lengthBytes: view.getUint16(quoted + 2),
      ...readUdp(view, udp),
    },
  }
}

function readIpv6(packet: Uint8Array, view: DataView): TooBigError | undefined {
  const quoted = IPV6_HEADER + ICMP_HEADER
  const udp = quoted + IPV6_HEADER
  if (packet.length < udp + UDP_HEADER) return undefined
  if (packet[6] !== 58 || packet[IPV6_HEADER] !== 2) return undefined
  if (packet[quoted]! >> 4 !== 6 || packet[quoted + 6] !== UDP) return undefined
  const payload = view.getUint16(quoted + 4)
  return {
    to: addressAt(packet, 24, 16),
    mtu: view.getUint32(IPV6_HEADER + 4),
    quoted: {
      source: addressAt(packet, quoted + 8, 16),
      destination: addressAt(packet, quoted + 24, 16),
      dontFragment: true,
      lengthBytes: payload === 0 ? 0 : payload + IPV6_HEADER,
      ...readUdp(view, udp),
    },
  }
}

function readUdp(view: DataView, at: number) {
  const lisp = at + UDP_HEADER
  return {
    sourcePort: view.getUint16(at),
    destinationPort: view.getUint16(at + 2),
    udpChecksum: view.getUint16(at + 6),
    lisp:
      view.byteLength < lisp + LISP_HEADER
        ? undefined
        : {
            hasInstance: (view.getUint8(lisp) & 0x08) !== 0,
            instanceId: view.getUint32(lisp + 4) >>> 8,
          },
  }
}

function addressAt(packet: Uint8Array, at: number, length: 4 | 16): IpAddress {
  return ipAddress(packet.slice(at, at + length))
}
