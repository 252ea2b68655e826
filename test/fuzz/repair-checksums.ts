/**
 * Puts the checksums right inside a damaged Encapsulated Control Message, so that what the damage did
 * to the rest is looked at and not only the checksum. Written from RFC 791 and RFC 768, sharing no
 * code with the decoder.
 */

/** In place. Does nothing to other messages or to one too short. */
export function repairEncapsulated(input: Uint8Array): void {
  if (input.length < 4 || input[0]! >> 4 !== 8) return
  const at = (input[0]! & 8) === 0 ? 4 : behindSecurityData(input)
  const first = input[at] ?? 0
  const isIpv4 = first >> 4 === 4
  const header = isIpv4 ? (first & 15) * 4 : 40
  if (header < 20 || input.length < at + header + 8) return
  const total = u16(input, at + (isIpv4 ? 2 : 4)) + (isIpv4 ? 0 : 40)
  if (isIpv4) {
    put(input, at + 10, 0)
    put(input, at + 10, ~fold(sumOf(input, at, at + header)))
  }
  const udp = at + header
  const end = Math.min(at + total, input.length)
  if (end < udp + 8) return
  put(input, udp + 4, end - udp)
  put(input, udp + 6, 0)
  const addresses = isIpv4 ? sumOf(input, at + 12, at + 20) : sumOf(input, at + 8, at + 40)
  const sum = ~fold(addresses + 17 + (end - udp) + sumOf(input, udp, end)) & 0xffff
  put(input, udp + 6, sum === 0 ? 0xffff : sum)
}

/**
 * The checksum of an IGMP, MLD or PIM message, in place; `pseudo` are the two IPv6 addresses when they
 * count, with the protocol number of the header. A PIM Register (type 1) covers its first 8 bytes.
 */
export function repairGroupMessage(
  input: Uint8Array,
  pseudo: readonly Uint8Array[] | undefined,
  protocol: number,
): void {
  if (input.length < 8) return
  const isRegister = protocol === 103 && input[0] === 0x21
  const end = isRegister ? 8 : input.length
  put(input, 2, 0)
  let sum = sumOf(input, 0, end)
  if (pseudo !== undefined) {
    sum += end + protocol
    for (const address of pseudo) sum += sumOf(address, 0, address.length)
  }
  put(input, 2, ~fold(sum))
}

/** AD Type … OTK, then EID-AD, whose length counts itself. */
function behindSecurityData(input: Uint8Array): number {
  const eidData = 12 + u16(input, 8)
  return eidData + Math.max(u16(input, eidData), 4)
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}

function put(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value
}

function sumOf(bytes: Uint8Array, start: number, end: number): number {
  let sum = 0
  for (let at = start; at < end; at += 2) {
    sum += (bytes[at]! << 8) | (at + 1 < end ? bytes[at + 1]! : 0)
  }
  return sum
}

function fold(sum: number): number {
  let folded = sum
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16)
  return folded
}
