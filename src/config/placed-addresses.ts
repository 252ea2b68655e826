/**
 * Addresses and prefixes of a configuration with the place where they stand, so that what is wrong with
 * one is said of its key. An address of another node is of the underlay, unicast, outside of our own
 * EID-prefixes (RFC 9300 §3), and of a family that we have an RLOC of.
 */
import { isDeepStrictEqual } from 'node:util'
import type { IpAddress } from '../lisp/address.js'
import {
  formatAddressText,
  isUnicastAddress,
  parseAddressText,
  parsePrefixText,
  prefixCoversAddress,
} from './address-text.js'
import type { ConfigKeys } from './config-error.js'
import type { Config } from './schema.js'

/** `dependsOn` names the top-level keys without which the check makes no sense. */
export type Report = (
  keys: ConfigKeys,
  problem: string,
  hint: string,
  dependsOn?: readonly string[],
) => void

export interface PlacedPrefix {
  readonly keys: ConfigKeys
  readonly text: string
  readonly instanceId: number
  readonly address: IpAddress
  readonly maskLength: number
}

/** Reads a prefix, reports what is wrong with it, and returns it if it can be used. */
export function readPrefix(
  keys: ConfigKeys,
  text: string,
  instanceId: number,
  error: Report,
): PlacedPrefix | undefined {
  const prefix = parsePrefixText(text)
  if (prefix === undefined) {
    error(keys, `"${text}" is not a prefix`, 'write address/length, as 10.1.0.0/16 or fd00:1::/64')
    return undefined
  }
  if (!isDeepStrictEqual(prefix.address.bytes, prefix.network.bytes)) {
    const meant = `${formatAddressText(prefix.network)}/${prefix.maskLength}`
    error(keys, `"${text}" has host bits set`, `write ${meant}, or a longer mask for one host`)
    return undefined
  }
  return { keys, text, instanceId, address: prefix.address, maskLength: prefix.maskLength }
}

/** Checks addresses of others: of the underlay, and of a family that we have an RLOC of. */
export function reachableFrom(config: Config, own: readonly PlacedPrefix[], error: Report) {
  const families = new Set(config.rlocs.map((rloc) => parseAddressText(rloc.address)?.family))
  return (keys: ConfigKeys, text: string, what: string): void => {
    const address = readAddress(keys, text, what, own, error)
    if (address === undefined || families.has(address.family)) return
    const hint = `add an IPv${address.family} address to rlocs, or use another address`
    error(keys, `no RLOC of ours can reach an IPv${address.family} address`, hint, ['rlocs'])
  }
}

export function readAddress(
  keys: ConfigKeys,
  text: string,
  what: string,
  own: readonly PlacedPrefix[],
  error: Report,
): IpAddress | undefined {
  const address = parseAddressText(text)
  if (address === undefined) {
    error(keys, `"${text}" is not an address`, 'write one IPv4 or IPv6 address, as 172.16.1.1')
    return undefined
  }
  if (!isUnicastAddress(address)) {
    error(keys, `${text} cannot be ${what}`, 'use a unicast address of the underlay')
    return undefined
  }
  // In any instance: the EID-prefix is routed to a site interface of this very host.
  const inside = own.find((prefix) => prefixCoversAddress(prefix, address))
  if (inside !== undefined) {
    error(
      keys,
      `${text} lies inside the EID-prefix ${inside.text}`,
      `${what} is an underlay address, never an EID (RFC 9300 §3, RFC 9301 §8.1)`,
    )
  }
  return address
}
