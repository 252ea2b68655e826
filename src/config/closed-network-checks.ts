/**
 * Checks of what closed networks allow, and of the peers that speak RFC 9305. Standards: RFC 9300 §4.1,
 * §10, §13.1 (both roles, no public Internet), RFC 9302 §8, RFC 9305 §5.
 */
import type { IpAddress } from '../lisp/address.js'
import { parseAddressText, parsePrefixText, prefixCoversAddress } from './address-text.js'
import type { Report } from './placed-addresses.js'
import type { Config } from './schema.js'

/** What the switches of closed networks need, and where they do not belong. */
export function checkClosedNetwork(config: Config, error: Report, warn: Report): void {
  const { closedNetwork, roles, rlocProbe } = config
  const wanted = Object.entries(closedNetwork).flatMap(([key, on]) => (on === true ? [key] : []))
  const bothRoles = roles.includes('itr') && roles.includes('etr')
  for (const key of wanted) {
    if (bothRoles) continue
    const hint = 'add the missing role, or leave it off (RFC 9300 §10.1, §13.1)'
    error(['closedNetwork', key], 'needs the roles itr and etr together', hint, ['roles'])
  }
  if (closedNetwork.statusBits && !closedNetwork.mapVersions) {
    const hint = 'switch mapVersions on too: bits of an old locator-set mean nothing (RFC 9300 §10)'
    error(['closedNetwork', 'statusBits'], 'needs mapVersions', hint)
  }
  if (closedNetwork.echoNonce && !rlocProbe.enabled) {
    const hint = 'switch rlocProbe.enabled on: only a probe finds a locator up again (RFC 9301 §7)'
    error(['closedNetwork', 'echoNonce'], 'needs rlocProbe', hint, ['rlocProbe'])
  }
  const judges = (['checkSources', 'glean'] as const).find((key) => closedNetwork[key])
  if (
    judges !== undefined &&
    config.dynamicEidPrefixes.length > 0 &&
    !config.mobility.peers.length
  ) {
    const problem = 'needs mobility.peers beside dynamicEidPrefixes'
    const hint = 'name the xTRs that EIDs may come from: what they redirect is not their own'
    error(['closedNetwork', judges], problem, hint, ['mobility', 'dynamicEidPrefixes'])
  }
  if (wanted.length === 0) return
  config.rlocs.forEach((rloc, index) => {
    const address = parseAddressText(rloc.address)
    if (address === undefined || !isPublicAddress(address)) return
    const hint = 'leave closedNetwork off on the public Internet (RFC 9300 §4.1, RFC 9302 §8)'
    warn(['rlocs', index, 'address'], `${rloc.address} is a public address`, hint)
  })
}

/** RFC 9305 §5: never towards an ETR that is not known to understand the P bit. */
export function checkGpePeers(config: Config, warn: Report): void {
  config.datapath.gpePeers.forEach((text, index) => {
    if (parsePrefixText(text)?.maskLength !== 0) return
    const hint = 'name the RLOC prefixes of the peers that do (RFC 9305 §5)'
    warn(['datapath', 'gpePeers', index], `${text} says that everybody speaks RFC 9305`, hint)
  })
}

/** Neither private, shared, link-local, unique local, nor for documentation and benchmarks. */
function isPublicAddress(address: IpAddress): boolean {
  return !NOT_PUBLIC.some((text) => {
    const { network, maskLength } = parsePrefixText(text)!
    return prefixCoversAddress({ address: network, maskLength }, address)
  })
}

const NOT_PUBLIC = [
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.2.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '::1/128',
  'fc00::/7',
  'fe80::/10',
  '2001:db8::/32',
]
