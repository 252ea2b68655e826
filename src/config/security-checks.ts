/**
 * What must hold between the keys for LISP-SEC (RFC 9303 §6.4, §6.5): a one-time key never travels in
 * clear over a path that nothing protects, ITRs and ETRs never share a key, and who is to ask or answer
 * with LISP-SEC has the keys for it.
 */
import { parseAddressText } from './address-text.js'
import type { ConfigKeys } from './config-error.js'
import type { Report } from './placed-addresses.js'
import type { Config } from './schema.js'
import type { Secrets } from './secrets.js'

interface PlacedKey {
  readonly keys: ConfigKeys
  readonly key: Config['security']['requesterKeys'][number]
}

export function checkSecurity(config: Config, secrets: Secrets, error: Report, warn: Report): void {
  const { security, roles } = config
  for (const { keys, key } of [...requestKeys(config), ...etrKeys(config)]) {
    if (key.wrapping !== 'null-key-wrap-128' || key.pathIsSecured) continue
    const problem = 'is null-key-wrap-128, which sends one-time keys in clear'
    const hint =
      'use aes-key-wrap-128, or say pathIsSecured: true where something encrypts the path'
    error([...keys, 'wrapping'], problem, hint)
  }
  checkSeparation(config, secrets, error)
  checkAddresses(config, error)
  if (security.mode === 'off') return
  const asks = roles.some((role) => role === 'itr' || role === 'pitr' || role === 'rtr')
  if (asks) checkResolvers(config, security.mode === 'require' ? error : warn)
  const answers = roles.includes('map-resolver') || roles.includes('map-server')
  if (answers && security.requesterKeys.length === 0) {
    const hint = 'add the keys shared with ITRs, or write mode: off'
    error(['security', 'requesterKeys'], 'is empty: no request could be opened', hint, ['roles'])
  }
}

/** Every key of `config` that wraps, with its place. */
export function wrappingKeys(config: Config): readonly PlacedKey[] {
  return [...requestKeys(config), ...etrKeys(config)]
}

/** Between ITR, Map-Resolver and Map-Server. */
function requestKeys({ security }: Config): PlacedKey[] {
  const own = (['mapResolvers', 'mapServers'] as const).flatMap((section) =>
    security[section].map(({ key }, index) => ({
      keys: ['security', section, index, 'key'] as ConfigKeys,
      key,
    })),
  )
  const others = security.requesterKeys.map((key, index) => ({
    keys: ['security', 'requesterKeys', index] as ConfigKeys,
    key,
  }))
  return [...own, ...others]
}

/** Between Map-Server and ETR. */
function etrKeys({ mapServers, mapServer }: Config): PlacedKey[] {
  const asEtr = mapServers.flatMap(({ security }, index) =>
    (security?.keys ?? []).map((key, at) => ({
      keys: ['mapServers', index, 'security', 'keys', at] as ConfigKeys,
      key,
    })),
  )
  const asServer = mapServer.sites.flatMap(({ security }, index) => {
    if (security === undefined) return []
    const keys: ConfigKeys = ['mapServer', 'sites', index, 'security', 'key']
    return [{ keys, key: security.key }]
  })
  return [...asEtr, ...asServer]
}

/** RFC 9303 §6.5: else whoever may ask could sign in the name of the Map-Server. */
function checkSeparation(config: Config, secrets: Secrets, error: Report): void {
  const ofRequests = new Set(
    requestKeys(config).map(({ key }) => secrets.fingerprint(key.secretFile)),
  )
  for (const { keys, key } of etrKeys(config)) {
    const secret = secrets.fingerprint(key.secretFile)
    if (secret === undefined || !ofRequests.has(secret)) continue
    const hint = 'ITRs and ETRs never share a key (RFC 9303 §6.5): make one for each side'
    error([...keys, 'secretFile'], 'is a key of requests too', hint, ['security'])
  }
}

function checkAddresses({ security }: Config, error: Report): void {
  for (const section of ['mapResolvers', 'mapServers'] as const) {
    security[section].forEach(({ address }, index) => {
      if (address === undefined || parseAddressText(address) !== undefined) return
      const hint = 'write one IPv4 or IPv6 address, as 172.16.1.1'
      error(['security', section, index, 'address'], `"${address}" is not an address`, hint)
    })
  }
}

function checkResolvers(config: Config, say: Report): void {
  const known = config.security.mapResolvers.map(({ address }) => parseAddressText(address))
  config.mapResolvers.forEach((text, index) => {
    const address = parseAddressText(text)
    const name = address?.bytes.join('.')
    if (address === undefined || known.some((one) => one?.bytes.join('.') === name)) return
    const problem = `there is no key of ${text} in security.mapResolvers`
    const hint = 'add one: without it nothing can be asked there with LISP-SEC'
    say(['mapResolvers', index], problem, hint, ['security', 'roles'])
  })
}
