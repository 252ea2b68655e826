/**
 * Which addresses a DHCP message says its client has or is about to have: DHCPv4 (RFC 2131, RFC 2132)
 * and DHCPv6 (RFC 8415).
 *
 * Of servers the acknowledgement, of clients the request as well: on a bridge an acknowledgement goes from
 * port to port and passes us by, a request is for everybody. Offers and discoveries say nothing yet.
 * What is relayed (RFC 8415 §9) is not opened: on the segment of the client it is a plain message.
 */
import { type IpAddress, ipAddress, isUnspecified, type MacAddress } from '../lisp/address.js'
import type { AddressHintDrop } from './address-hint-counters.js'

export interface DhcpAddresses {
  /** At least one, at most `MAXIMUM_HINTED`. */
  readonly addresses: readonly IpAddress[]
  /** Addresses of the message beyond those. */
  readonly surplus: number
  /** Of the client, where the message says it. */
  readonly mac: MacAddress | undefined
}

export type UnreadDhcp = Extract<AddressHintDrop, 'malformed' | 'names-no-address'>

/** Our choice: an interface has few addresses; a message with more is read in part. */
export const MAXIMUM_HINTED = 8
/** With padding, which takes a turn for each byte; no frame that is passed up has more. */
const MAXIMUM_OPTIONS = 2048

/** The UDP payload of DHCPv4, of either direction. */
export function dhcpv4Addresses(message: Uint8Array): DhcpAddresses | UnreadDhcp {
  if (message.length < DHCPV4_OPTIONS_AT) return 'malformed'
  if (MAGIC_COOKIE.some((byte, at) => message[COOKIE_AT + at] !== byte)) return 'malformed'
  const options = readOptionsV4(message.subarray(DHCPV4_OPTIONS_AT))
  if (options === undefined) return 'malformed'
  const client = ipAddress(message.slice(CLIENT_ADDRESS_AT, CLIENT_ADDRESS_AT + 4))
  const own = ipAddress(message.slice(YOUR_ADDRESS_AT, YOUR_ADDRESS_AT + 4))
  const isRelayed = !isUnspecified(ipAddress(message.slice(RELAY_ADDRESS_AT, RELAY_ADDRESS_AT + 4)))
  let address: IpAddress | undefined
  if (message[0] === BOOT_REPLY && options.type === DHCPACK)
    address = isUnspecified(own) ? client : own
  // One that was relayed comes from the clients of another segment.
  if (message[0] === BOOT_REQUEST && options.type === DHCPREQUEST && !isRelayed)
    address = options.requested ?? client
  if (address === undefined || isUnspecified(address)) return 'names-no-address'
  const isEthernet = message[1] === 1 && message[2] === 6
  const mac = isEthernet ? message.slice(CLIENT_MAC_AT, CLIENT_MAC_AT + 6) : undefined
  return { addresses: [address], surplus: 0, mac }
}

/**
 * The UDP payload of DHCPv6, of either direction. An address whose valid lifetime is over (0) is none in a
 * Reply; a client says 0 where it wishes nothing (RFC 8415 §21.6).
 */
export function dhcpv6Addresses(message: Uint8Array): DhcpAddresses | UnreadDhcp {
  if (message.length < DHCPV6_OPTIONS_AT) return 'malformed'
  const type = message[0]!
  if (type !== REPLY && !ASKING.includes(type)) return 'names-no-address'
  const found: IpAddress[] = []
  const budget = { options: MAXIMUM_OPTIONS }
  const isWhole = eachOptionV6(message.subarray(DHCPV6_OPTIONS_AT), budget, (code, body) => {
    const innerAt = code === IA_NA ? 12 : code === IA_TA ? 4 : undefined
    if (innerAt === undefined) return true
    if (body.length < innerAt) return false
    return eachOptionV6(body.subarray(innerAt), budget, (innerCode, inner) => {
      if (innerCode !== IA_ADDRESS) return true
      if (inner.length < 24) return false
      const isOver = inner.subarray(20, 24).every((byte) => byte === 0)
      if (type !== REPLY || !isOver) found.push(ipAddress(inner.slice(0, 16)))
      return true
    })
  })
  if (!isWhole) return 'malformed'
  if (found.length === 0) return 'names-no-address'
  const addresses = found.slice(0, MAXIMUM_HINTED)
  return { addresses, surplus: found.length - addresses.length, mac: undefined }
}

const CLIENT_ADDRESS_AT = 12
const YOUR_ADDRESS_AT = 16
const RELAY_ADDRESS_AT = 24
const CLIENT_MAC_AT = 28
const COOKIE_AT = 236
const DHCPV4_OPTIONS_AT = 240
const MAGIC_COOKIE = [0x63, 0x82, 0x53, 0x63]
const BOOT_REQUEST = 1
const BOOT_REPLY = 2
const PAD = 0
const END = 255
const REQUESTED_ADDRESS = 50
const MESSAGE_TYPE = 53
const DHCPREQUEST = 3
const DHCPACK = 5

const DHCPV6_OPTIONS_AT = 4
const REPLY = 7
/** Request, Confirm, Renew, Rebind. */
const ASKING = [3, 4, 5, 6]
const IA_NA = 3
const IA_TA = 4
const IA_ADDRESS = 5

interface OptionsV4 {
  readonly type: number | undefined
  readonly requested: IpAddress | undefined
}

/**
 * Undefined when an option leads out of the message. Options in `sname` and `file` (overload, RFC 2132
 * §9.3) are not looked for: these two are small and come first.
 */
function readOptionsV4(options: Uint8Array): OptionsV4 | undefined {
  let type: number | undefined
  let requested: IpAddress | undefined
  for (let at = 0, turn = 0; at < options.length; turn += 1) {
    if (turn >= MAXIMUM_OPTIONS) return undefined
    const code = options[at]!
    if (code === END) break
    if (code === PAD) {
      at += 1
      continue
    }
    const length = options[at + 1]
    if (length === undefined || at + 2 + length > options.length) return undefined
    if (code === MESSAGE_TYPE && length === 1) type = options[at + 2]
    if (code === REQUESTED_ADDRESS && length === 4)
      requested = ipAddress(options.slice(at + 2, at + 6))
    at += 2 + length
  }
  return { type, requested }
}

/** False when an option leads out of what it is in, there are too many, or `take` says so. */
function eachOptionV6(
  options: Uint8Array,
  budget: { options: number },
  take: (code: number, body: Uint8Array) => boolean,
): boolean {
  for (let at = 0; at < options.length; ) {
    budget.options -= 1
    if (budget.options < 0 || at + 4 > options.length) return false
    const code = (options[at]! << 8) | options[at + 1]!
    const end = at + 4 + ((options[at + 2]! << 8) | options[at + 3]!)
    if (end > options.length || !take(code, options.subarray(at + 4, end))) return false
    at = end
  }
  return true
}
