/**
 * The Internet checksum (RFC 1071), with and without the pseudo-header of IPv4 (RFC 768) and IPv6
 * (RFC 8200 §8.1). Sums are exact up to 64 KiB.
 */
import type { IpAddress } from './address.js'

/** Whose packet it is, where both addresses count into a checksum. */
export interface PacketAddresses {
  readonly source: IpAddress
  readonly destination: IpAddress
}

/** 16-bit words from `start` to `end`, an odd last byte padded with zero; not yet folded. */
export function sumWords(bytes: Uint8Array, start: number, end: number): number {
  let sum = 0
  let at = start
  for (; at + 1 < end; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!
  return at < end ? sum + (bytes[at]! << 8) : sum
}

/** Sum of the pseudo-header of a payload of `length` bytes, not yet folded. */
export function pseudoHeaderSum(
  source: IpAddress,
  destination: IpAddress,
  protocol: number,
  length: number,
): number {
  return (
    sumWords(source.bytes, 0, source.bytes.length) +
    sumWords(destination.bytes, 0, destination.bytes.length) +
    protocol +
    length
  )
}

/** The one's complement of the folded sum; 0 for the sum over bytes with a right checksum. */
export function complement(sum: number): number {
  let folded = sum
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000)
  return ~folded & 0xffff
}
