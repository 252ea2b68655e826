/**
 * What must hold between the keys of interworking (RFC 6832) and locator paths (RFC 8060 §4.6).
 *
 * Roles and their keys belong together, and both sides of a translation are prefixes of one size:
 * LISP-NAT translates one to one.
 */
import { parseAddressText, parsePrefixText } from './address-text.js'
import type { ConfigKeys } from './config-error.js'
import type { Report } from './placed-addresses.js'
import type { Config } from './schema.js'

/** How cross-checks.ts reads what a key says; both report what is wrong themselves. */
export interface Readers {
  prefix(keys: ConfigKeys, text: string, instanceId: number): unknown
  address(keys: ConfigKeys, text: string, what: string): unknown
}

/** Checks `pitr`, `petr`, `lispNat` and the paths of `rlocs`. */
export function checkInterworking(
  config: Config,
  read: Readers,
  error: Report,
  warn: Report,
): void {
  const { pitr, petr } = config
  pitr.prefixes.forEach(({ prefix, instanceId }, index) => {
    read.prefix(['pitr', 'prefixes', index, 'prefix'], prefix, instanceId)
  })
  petr.sites.forEach(({ prefix, instanceId }, index) => {
    read.prefix(['petr', 'sites', index, 'prefix'], prefix, instanceId)
  })
  petr.rlocs.forEach((text, index) => {
    const keys = ['petr', 'rlocs', index]
    read.address(keys, text, 'a Proxy-ETR')
    if (config.rlocs.some((one) => one.address === text))
      error(keys, `${text} is our own RLOC`, 'name another Proxy-ETR, or remove it', ['rlocs'])
  })
  checkRoles(config, error, warn)
  checkTranslations(config, read, error)
  checkPaths(config, error)
}

function checkRoles({ roles, pitr, petr, siteInterfaces }: Config, error: Report, warn: Report) {
  if (roles.includes('pitr') && pitr.prefixes.length === 0)
    error(['pitr', 'prefixes'], 'is empty, but the role is pitr', 'name what it attracts', [
      'roles',
    ])
  if (roles.includes('pitr') && siteInterfaces.length === 0) {
    const hint = 'name the interfaces on which non-LISP traffic arrives'
    error(['siteInterfaces'], 'is empty, but the role is pitr', hint, ['roles'])
  }
  if (!roles.includes('pitr') && pitr.prefixes.length > 0)
    warn(['pitr'], 'has no effect without the role pitr', 'add pitr to roles', ['roles'])
  if (roles.includes('petr') && petr.sites.length === 0) {
    const hint = 'name the EID-prefixes whose packets may leave here (RFC 6832 §6.1)'
    error(['petr', 'sites'], 'is empty, but the role is petr', hint, ['roles'])
  }
  if (!roles.includes('petr') && petr.sites.length > 0)
    warn(['petr', 'sites'], 'has no effect without the role petr', 'add petr to roles', ['roles'])
}

function checkTranslations({ lispNat }: Config, read: Readers, error: Report): void {
  lispNat.forEach(({ inside, outside, instanceId }, index) => {
    const keys = ['lispNat', index]
    read.prefix([...keys, 'inside'], inside, instanceId)
    read.prefix([...keys, 'outside'], outside, 0)
    const [from, to] = [parsePrefixText(inside), parsePrefixText(outside)]
    if (from === undefined || to === undefined) return
    if (from.maskLength !== to.maskLength || from.address.family !== to.address.family) {
      const hint = 'one address outside for each inside: same family, same length'
      error([...keys, 'outside'], `${outside} has not the size of ${inside}`, hint)
    }
  })
}

function checkPaths({ rlocs }: Config, error: Report): void {
  rlocs.forEach(({ address, path = [] }, index) => {
    const family = parseAddressText(address)?.family
    path.forEach((hop, at) => {
      const keys = ['rlocs', index, 'path', at, 'address']
      const parsed = parseAddressText(hop.address)
      if (parsed === undefined) error(keys, `"${hop.address}" is not an address`, 'as 172.16.1.1')
      else if (rlocs.some((one) => one.address === hop.address))
        error(keys, `${hop.address} is our own RLOC`, 'the path ends here by itself')
      else if (family !== undefined && parsed.family !== family && !hop.lookup) {
        const hint = 'keep one path in one family, or give that RTR an own path'
        error(keys, `is IPv${parsed.family}, but the path ends at ${address}`, hint)
      }
    })
  })
}
