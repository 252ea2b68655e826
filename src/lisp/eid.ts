/**
 * Endpoint identifiers: who is spoken to, independent of where it is.
 *
 * An EID is an address inside an instance-ID (24 bits on the wire of the data plane, 32 in LCAF 2);
 * an EID-prefix is a block of them and the key of every table. Canonical text is
 * `[7]10.1.0.5` and `[7]10.1.0.0/16`; instance-ID 0 prints without brackets. Equal prefixes have
 * equal text, so the text serves as a key of JavaScript maps.
 */
import {
  addressBits,
  equalIpAddresses,
  formatIpAddress,
  type IpAddress,
  ipAddress,
  parseIpAddress,
} from './address.js'

/**
 * EIDs of one endpoint, our choice: those of several interfaces, both families and several
 * instance-IDs. They move together, so whatever names them has this limit.
 */
export const MAXIMUM_ENDPOINT_EIDS = 64

export interface Eid {
  readonly instanceId: number
  readonly address: IpAddress
}

/** Bits of `address` beyond `maskLength` (0–32 or 0–128) are zero. */
export interface EidPrefix {
  readonly instanceId: number
  readonly address: IpAddress
  readonly maskLength: number
}

/** A prefix with the bits beyond `maskLength` cleared. Throws RangeError beyond 32 or 128 bits. */
export function eidPrefix(instanceId: number, address: IpAddress, maskLength: number): EidPrefix {
  return { instanceId, address: maskedAddress(address, maskLength), maskLength }
}

/** `[7]10.1.0.5`, or `10.1.0.5` in instance 0. */
export function formatEid(eid: Eid): string {
  return formatInstance(eid.instanceId) + formatIpAddress(eid.address)
}

/** The EID that `text` spells in the form of `formatEid`; undefined when it spells none. */
export function parseEid(text: string): Eid | undefined {
  const split = splitInstance(text)
  if (split === undefined) return undefined
  const address = parseIpAddress(split.rest)
  return address === undefined ? undefined : { instanceId: split.instanceId, address }
}

/** `[7]10.1.0.0/16`, or `10.1.0.0/16` in instance 0; host prefixes keep their `/32` or `/128`. */
export function formatEidPrefix(prefix: EidPrefix): string {
  return `${formatEid(prefix)}/${prefix.maskLength}`
}

/**
 * The prefix that `text` spells in the form of `formatEidPrefix`. Undefined when it spells none,
 * has no mask length, or has bits beyond the mask: `10.1.0.5/16` is more likely a slip than a wish.
 */
export function parseEidPrefix(text: string): EidPrefix | undefined {
  const slash = text.indexOf('/')
  if (slash < 0) return undefined
  const eid = parseEid(text.slice(0, slash))
  const digits = text.slice(slash + 1)
  if (eid === undefined || !MASK_LENGTH.test(digits)) return undefined
  const maskLength = Number(digits)
  if (maskLength > addressBits(eid.address.family)) return undefined
  const address = maskedAddress(eid.address, maskLength)
  return equalIpAddresses(address, eid.address) ? { ...eid, maskLength } : undefined
}

/** The prefix of 32 or 128 bits that holds this EID alone. */
export function hostPrefix(eid: Eid): EidPrefix {
  const { instanceId, address } = eid
  return { instanceId, address, maskLength: addressBits(address.family) }
}

/** Whether the prefix holds exactly one EID. */
export function isHostPrefix(prefix: EidPrefix): boolean {
  return prefix.maskLength === addressBits(prefix.address.family)
}

/** The first EID of a prefix; of a host prefix, its only one. */
export function eidFromPrefix(prefix: EidPrefix): Eid {
  return { instanceId: prefix.instanceId, address: prefix.address }
}

/** Whether `eid` is in the block. Different instances or families never cover each other. */
export function coversEid(prefix: EidPrefix, eid: Eid): boolean {
  return (
    prefix.instanceId === eid.instanceId &&
    sameLeadingBits(prefix.address, eid.address, prefix.maskLength)
  )
}

/** Whether every EID of `inner` is in `outer`; a prefix covers itself. */
export function coversPrefix(outer: EidPrefix, inner: EidPrefix): boolean {
  return (
    outer.maskLength <= inner.maskLength &&
    outer.instanceId === inner.instanceId &&
    sameLeadingBits(outer.address, inner.address, outer.maskLength)
  )
}

export function equalEids(a: Eid, b: Eid): boolean {
  return a.instanceId === b.instanceId && equalIpAddresses(a.address, b.address)
}

export function equalEidPrefixes(a: EidPrefix, b: EidPrefix): boolean {
  return a.maskLength === b.maskLength && equalEids(a, b)
}

/** `address` with the bits beyond `maskLength` cleared; the same object when there are none. */
export function maskedAddress(address: IpAddress, maskLength: number): IpAddress {
  const bits = addressBits(address.family)
  if (!Number.isInteger(maskLength) || maskLength < 0 || maskLength > bits) {
    throw new RangeError(`mask length ${maskLength} is not within 0..${bits}`)
  }
  if (maskLength === bits) return address
  const bytes = address.bytes.slice()
  const whole = maskLength >> 3
  bytes.fill(0, whole)
  bytes[whole] = address.bytes[whole]! & (0xff00 >> (maskLength & 7))
  return ipAddress(bytes)
}

const MAX_INSTANCE_ID = 0xffffffff
const MASK_LENGTH = /^(?:0|[1-9]\d{0,2})$/
const INSTANCE = /^\[(0|[1-9]\d{0,9})\]/

function formatInstance(instanceId: number): string {
  return instanceId === 0 ? '' : `[${instanceId}]`
}

function splitInstance(text: string): { instanceId: number; rest: string } | undefined {
  const match = INSTANCE.exec(text)
  if (match === null) return { instanceId: 0, rest: text }
  const instanceId = Number(match[1])
  if (instanceId > MAX_INSTANCE_ID) return undefined
  return { instanceId, rest: text.slice(match[0].length) }
}

function sameLeadingBits(a: IpAddress, b: IpAddress, count: number): boolean {
  if (a.family !== b.family) return false
  const whole = count >> 3
  for (let index = 0; index < whole; index += 1) {
    if (a.bytes[index] !== b.bytes[index]) return false
  }
  const rest = count & 7
  return rest === 0 || ((a.bytes[whole]! ^ b.bytes[whole]!) & (0xff00 >> rest) & 0xff) === 0
}
