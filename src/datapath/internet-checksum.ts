/**
 * The Internet checksum (RFC 1071) of IPv4 headers and ICMP messages that we build.
 */

/** One's complement sum of big-endian 16-bit words, complemented; an odd last byte is padded. */
export function internetChecksum(parts: readonly Uint8Array[]): number {
  let sum = 0
  for (const part of parts) {
    for (let at = 0; at < part.length; at += 2) {
      sum += (part[at]! << 8) | (part[at + 1] ?? 0)
    }
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/**
 * Fill in the checksum at offset 2 of an ICMP message. With `addresses` it is ICMPv6, whose sum
 * covers a pseudo-header (RFC 4443 §2.3); without, ICMPv4.
 */
export function writeIcmpChecksum(
  message: Uint8Array,
  addresses?: { readonly source: Uint8Array; readonly destination: Uint8Array },
): void {
  message[2] = 0
  message[3] = 0
  const length = message.length
  const tail = Uint8Array.of(0, 0, length >> 8, length & 0xff, 0, 0, 0, ICMPV6)
  const pseudo = addresses ? [addresses.source, addresses.destination, tail] : []
  const sum = internetChecksum([...pseudo, message])
  message[2] = sum >> 8
  message[3] = sum & 0xff
}

const ICMPV6 = 58
