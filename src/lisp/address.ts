/**
 * IPv4 and IPv6 addresses as values: parse, print, compare.
 *
 * An address is its bytes in network order. Text is RFC 5952 canonical form on output; on input
 * every form that RFC 4291 §2.2 allows, without zone. This file knows nothing of EIDs or RLOCs: who
 * an address belongs to is decided by the type that wraps it (`Eid`, `Rloc`).
 */

export type IpFamily = 4 | 6

/** `bytes` is 4 or 16 bytes in network order and is never written to after construction. */
export interface IpAddress {
  readonly family: IpFamily
  readonly bytes: Uint8Array
}

/** A 48-bit Ethernet address, 6 bytes. */
export type MacAddress = Uint8Array

/**
 * An address from 4 or 16 bytes, which are kept, not copied. Throws RangeError on other lengths.
 */
export function ipAddress(bytes: Uint8Array): IpAddress {
  if (bytes.length === 4) return { family: 4, bytes }
  if (bytes.length === 16) return { family: 6, bytes }
  throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`)
}

/** Bits of an address of this family: 32 or 128. */
export function addressBits(family: IpFamily): 32 | 128 {
  return family === 4 ? 32 : 128
}

/**
 * The address that `text` spells, or undefined when it spells none. IPv4 is dotted quad of decimal
 * numbers without leading zeros; IPv6 is any form of RFC 4291 §2.2, case does not matter.
 */
export function parseIpAddress(text: string): IpAddress | undefined {
  if (text.length > LONGEST_TEXT) return undefined
  const bytes = text.includes(':') ? parseIpv6(text) : parseIpv4(text)
  return bytes === undefined ? undefined : ipAddress(bytes)
}

/** Canonical text, RFC 5952; IPv4-mapped IPv6 addresses in mixed notation (RFC 5952 §5). */
export function formatIpAddress(address: IpAddress): string {
  const bytes = address.bytes
  if (address.family === 4) return formatIpv4(bytes, 0)
  if (isIpv4Mapped(bytes)) return `::ffff:${formatIpv4(bytes, 12)}`
  const zeros = longestZeroRun(bytes)
  let text = ''
  for (let group = 0; group < 8; group += 1) {
    if (group === zeros.start) {
      text += '::'
      group += zeros.length - 1
      continue
    }
    if (text !== '' && !text.endsWith(':')) text += ':'
    text += groupAt(bytes, group).toString(16)
  }
  return text
}

/** Same family and same bytes. */
export function equalIpAddresses(a: IpAddress, b: IpAddress): boolean {
  return a === b || (a.family === b.family && compareBytes(a.bytes, b.bytes) === 0)
}

/** Order for sorting: IPv4 before IPv6, then by bytes as an unsigned number (RFC 9301 §5.5). */
export function compareIpAddresses(a: IpAddress, b: IpAddress): number {
  if (a.family !== b.family) return a.family - b.family
  return compareBytes(a.bytes, b.bytes)
}

/** 224.0.0.0/4 or ff00::/8. */
export function isMulticast(address: IpAddress): boolean {
  const first = address.bytes[0]!
  return address.family === 4 ? first >> 4 === 0xe : first === 0xff
}

/** 255.255.255.255; a directed broadcast cannot be told from the address alone. */
export function isBroadcast(address: IpAddress): boolean {
  return address.family === 4 && address.bytes.every((byte) => byte === 0xff)
}

/** 169.254.0.0/16 or fe80::/10. */
export function isLinkLocal(address: IpAddress): boolean {
  const [first, second] = [address.bytes[0]!, address.bytes[1]!]
  if (address.family === 4) return first === 169 && second === 254
  return first === 0xfe && (second & 0xc0) === 0x80
}

/** 0.0.0.0 or ::. */
export function isUnspecified(address: IpAddress): boolean {
  return address.bytes.every((byte) => byte === 0)
}

/** Six octets of two lower-case hexadecimal digits, joined by colons. */
export function formatMac(mac: MacAddress): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':')
}

/** The MAC address that `text` spells with colons or hyphens, either case; undefined otherwise. */
export function parseMac(text: string): MacAddress | undefined {
  if (!MAC_TEXT.test(text)) return undefined
  return Uint8Array.from(text.split(/[:-]/), (octet) => Number.parseInt(octet, 16))
}

/** Unsigned lexicographic order; a proper prefix comes first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index += 1) {
    const difference = a[index]! - b[index]!
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

// "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", the longest text without leading zeros to spare.
const LONGEST_TEXT = 45
const MAC_TEXT = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$|^[0-9a-f]{2}(?:-[0-9a-f]{2}){5}$/i
const IPV6_GROUP = /^[0-9a-f]{1,4}$/i
const ZERO = 0x30
const DOT = 0x2e

function parseIpv4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4)
  let octet = 0
  let digits = 0
  let value = 0
  for (let index = 0; index <= text.length; index += 1) {
    const code = index === text.length ? DOT : text.charCodeAt(index)
    if (code === DOT) {
      if (digits === 0 || octet > 3) return undefined
      bytes[octet] = value
      octet += 1
      digits = 0
      value = 0
      continue
    }
    const digit = code - ZERO
    // "010" is octal to some readers and decimal to others, so it is no address here.
    if (digit < 0 || digit > 9 || (digits > 0 && value === 0)) return undefined
    value = value * 10 + digit
    digits += 1
    if (value > 255) return undefined
  }
  return octet === 4 ? bytes : undefined
}

function parseIpv6(text: string): Uint8Array | undefined {
  const gap = text.indexOf('::')
  if (gap < 0) {
    const groups = parseGroups(text, true)
    return groups?.length === 16 ? Uint8Array.from(groups) : undefined
  }
  const head = gap === 0 ? [] : parseGroups(text.slice(0, gap), false)
  const tail = gap + 2 === text.length ? [] : parseGroups(text.slice(gap + 2), true)
  // RFC 4291 §2.2: "::" stands for one or more groups of zeros, once.
  if (head === undefined || tail === undefined || head.length + tail.length > 14) return undefined
  const bytes = new Uint8Array(16)
  bytes.set(head, 0)
  bytes.set(tail, 16 - tail.length)
  return bytes
}

function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  const bytes: number[] = []
  const parts = text.split(':')
  for (const [index, part] of parts.entries()) {
    if (mayEndInIpv4 && index === parts.length - 1 && part.includes('.')) {
      const ipv4 = parseIpv4(part)
      if (ipv4 === undefined) return undefined
      bytes.push(...ipv4)
      continue
    }
    if (!IPV6_GROUP.test(part)) return undefined
    const value = Number.parseInt(part, 16)
    bytes.push(value >> 8, value & 0xff)
  }
  return bytes
}

function formatIpv4(bytes: Uint8Array, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`
}

function isIpv4Mapped(bytes: Uint8Array): boolean {
  if (bytes[10] !== 0xff || bytes[11] !== 0xff) return false
  return bytes.subarray(0, 10).every((byte) => byte === 0)
}

function groupAt(bytes: Uint8Array, group: number): number {
  return (bytes[group * 2]! << 8) | bytes[group * 2 + 1]!
}

/** RFC 5952 §4.2: the longest run of two or more zero groups, the first of equals. */
function longestZeroRun(bytes: Uint8Array): { start: number; length: number } {
  let best = { start: -1, length: 1 }
  let start = 0
  for (let group = 0; group <= 8; group += 1) {
    if (group < 8 && groupAt(bytes, group) === 0) continue
    if (group - start > best.length) best = { start, length: group - start }
    start = group + 1
  }
  return best
}
