/**
 * Addresses, prefixes and EIDs as people type them: in a configuration, on a command line, in a
 * URL.
 *
 * Parsing is the ip-address package's, whose idea of a valid address is strict (no octal, no short
 * forms). Zones (`fe80::1%eth0`) and a mask on a plain address are refused: no table has a place
 * for them. Packets and messages never come through here; bytes have their own path in the wire
 * room.
 */
import { Address4, Address6 } from 'ip-address'
import type { IpAddress } from '../lisp/address.js'
import type { Eid, EidPrefix } from '../lisp/eid.js'

/** The address, or undefined when `text` is not exactly one IPv4 or IPv6 address. */
export function parseAddressText(text: string): IpAddress | undefined {
  if (text.length > MAXIMUM_TEXT || /[/%\s[\]]/.test(text)) return undefined
  if (Address4.isValid(text)) {
    return { family: 4, bytes: Uint8Array.from(new Address4(text).toArray()) }
  }
  if (!Address6.isValid(text)) return undefined
  const bytes = new Uint8Array(16)
  const digits = new Address6(text).toUnsignedByteArray()
  bytes.set(digits.slice(-16), 16 - Math.min(16, digits.length))
  return { family: 6, bytes }
}

/** RFC 5952 text of an address. */
export function formatAddressText(address: IpAddress): string {
  const digits = Array.from(address.bytes)
  if (address.family === 4) return digits.join('.')
  return Address6.fromUnsignedByteArray(digits).correctForm()
}

/**
 * `address/length`, whatever its host bits are; undefined when either half is wrong. `network` is
 * the prefix that was probably meant: the same with host bits zero.
 */
export function parsePrefixText(
  text: string,
): { address: IpAddress; maskLength: number; network: IpAddress } | undefined {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text)
  if (match === null) return undefined
  const address = parseAddressText(match[1]!)
  const maskLength = Number(match[2])
  if (address === undefined || maskLength > address.bytes.length * 8) return undefined
  return { address, maskLength, network: maskAddress(address, maskLength) }
}

/** `10.1.0.5` or `[7]10.1.0.5`; the instance-ID in brackets beats `instanceId`. */
export function parseEidText(text: string, instanceId = 0): Eid | undefined {
  const parts = splitInstanceId(text, instanceId)
  const address = parts === undefined ? undefined : parseAddressText(parts.rest)
  if (parts === undefined || address === undefined) return undefined
  return { instanceId: parts.instanceId, address }
}

/**
 * `10.1.0.0/16`, `[7]10.1.0.0/16`, or an address alone, which means its host prefix. Undefined when
 * malformed or when host bits are set (`EidPrefix` promises that they are zero).
 */
export function parseEidPrefixText(text: string, instanceId = 0): EidPrefix | undefined {
  const parts = splitInstanceId(text, instanceId)
  if (parts === undefined) return undefined
  const host = parseAddressText(parts.rest)
  if (host !== undefined) {
    return { instanceId: parts.instanceId, address: host, maskLength: host.bytes.length * 8 }
  }
  const prefix = parsePrefixText(parts.rest)
  if (prefix === undefined || !sameBytes(prefix.address.bytes, prefix.network.bytes)) {
    return undefined
  }
  return {
    instanceId: parts.instanceId,
    address: prefix.address,
    maskLength: prefix.maskLength,
  }
}

/** Canonical text of an EID-prefix: `[7]10.1.0.0/16`; instance-ID 0 has no brackets. */
export function formatEidPrefixText(prefix: EidPrefix): string {
  return `${bracketed(prefix.instanceId)}${formatAddressText(prefix.address)}/${prefix.maskLength}`
}

/** Canonical text of an EID: `[7]10.1.0.5`. */
export function formatEidText(eid: Eid): string {
  return `${bracketed(eid.instanceId)}${formatAddressText(eid.address)}`
}

/** Is `address` inside `prefix`? Instance-IDs are the caller's affair. */
export function prefixCoversAddress(
  prefix: { readonly address: IpAddress; readonly maskLength: number },
  address: IpAddress,
): boolean {
  if (prefix.address.family !== address.family) return false
  return sameBytes(
    maskAddress(address, prefix.maskLength).bytes,
    maskAddress(prefix.address, prefix.maskLength).bytes,
  )
}

/** Is `text` an address of the host itself: 127.0.0.0/8 or ::1? */
export function isLoopbackText(text: string): boolean {
  const address = parseAddressText(text)
  if (address === undefined) return false
  if (address.family === 4) return address.bytes[0] === 127
  return address.bytes.every((byte, index) => byte === (index === 15 ? 1 : 0))
}

/** May a locator have this address? Not unspecified, multicast, broadcast or loopback. */
export function isUnicastAddress(address: IpAddress): boolean {
  const first = address.bytes[0]!
  if (address.bytes.every((byte) => byte === 0)) return false
  if (address.family === 4) return first !== 0 && first !== 127 && first < 224
  return first !== 0xff && !isLoopbackText(formatAddressText(address))
}

function bracketed(instanceId: number): string {
  return instanceId === 0 ? '' : `[${instanceId}]`
}

function splitInstanceId(
  text: string,
  instanceId: number,
): { instanceId: number; rest: string } | undefined {
  const match = /^\[(\d{1,8})\](.*)$/.exec(text)
  if (match === null) return { instanceId, rest: text }
  const given = Number(match[1])
  return given > MAXIMUM_INSTANCE_ID ? undefined : { instanceId: given, rest: match[2]! }
}

function maskAddress(address: IpAddress, maskLength: number): IpAddress {
  const bytes = address.bytes.map((byte, index) => {
    const bits = Math.max(0, Math.min(8, maskLength - index * 8))
    return byte & (0xff00 >> bits) & 0xff
  })
  return { family: address.family, bytes }
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index])
}

/** Longer than any address with a mask can be; keeps the parser away from absurd input. */
const MAXIMUM_TEXT = 64

/** 24 bits on the wire of the data plane (RFC 9300 §8). */
const MAXIMUM_INSTANCE_ID = 0xffffff
