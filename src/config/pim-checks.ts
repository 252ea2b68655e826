/**
 * What must hold in the keys for PIM (RFC 7761, RFC 6831): addresses and prefixes that are some, groups
 * that are groups, and joins that somebody may send.
 */
import { isMulticast } from '../lisp/address.js'
import { parseAddressText, parsePrefixText } from './address-text.js'
import type { Report } from './placed-addresses.js'
import type { Config } from './schema.js'

type Keys = readonly (string | number)[]

export function checkPim(config: Config, error: Report, warn: Report): void {
  const { pim } = config.multicast
  const base = ['multicast', 'pim'] as const
  pim.sourceRoutes.forEach(({ prefix, neighbour }, index) => {
    checkPrefix([...base, 'sourceRoutes', index, 'prefix'], prefix, error)
    checkAddress([...base, 'sourceRoutes', index, 'neighbour'], neighbour, error)
  })
  pim.joiners.forEach((text, index) => {
    checkPrefix([...base, 'joiners', index], text, error)
  })
  checkGroups([...base, 'rendezvousPoints'], pim.rendezvousPoints, false, error)
  checkGroups([...base, 'underlayGroups'], pim.underlayGroups, true, error)
  const { rendezvousPoints } = config.groupServer
  checkGroups(['groupServer', 'rendezvousPoints'], rendezvousPoints, false, error)
  if (pim.enabled && pim.joinSites && pim.joiners.length === 0) {
    const hint = 'name the RLOCs of the sites that may join ours, unless none has sources'
    warn([...base, 'joiners'], 'is empty: no join of another site is taken', hint)
  }
}

/** Entries of groups and an address, of one family; the address a group as well, or none. */
function checkGroups(
  keys: Keys,
  entries: readonly { readonly groups: string; readonly address: string }[],
  isGroup: boolean,
  error: Report,
): void {
  entries.forEach(({ groups, address }, index) => {
    const prefix = checkPrefix([...keys, index, 'groups'], groups, error)
    const parsed = checkAddress([...keys, index, 'address'], address, error)
    if (prefix !== undefined && !isMulticast(prefix.network))
      error([...keys, index, 'groups'], `${groups} are no groups`, 'as 239.0.0.0/8 or ff00::/8')
    if (parsed === undefined || prefix === undefined) return
    const place = [...keys, index, 'address']
    if (parsed.family !== prefix.network.family)
      error(place, `${address} is of another family than ${groups}`, 'use one family')
    else if (isMulticast(parsed) !== isGroup)
      error(
        place,
        `${address} is ${isGroup ? 'no' : 'a'} group`,
        isGroup ? 'as 232.0.0.1' : 'as 10.1.0.9',
      )
  })
}

function checkPrefix(keys: Keys, text: string, error: Report) {
  const prefix = parsePrefixText(text)
  if (prefix === undefined)
    error(keys, `"${text}" is not a prefix`, 'write address/length, as 10.1.0.0/16')
  return prefix
}

function checkAddress(keys: Keys, text: string, error: Report) {
  const address = parseAddressText(text)
  if (address === undefined) error(keys, `"${text}" is not an address`, 'as 10.1.0.2 or fe80::2')
  return address
}
