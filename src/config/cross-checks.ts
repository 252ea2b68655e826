/**
 * What must hold between the keys of a configuration: checks that no schema can say.
 *
 * Each finding names the key to change. A check that rests on a section which is itself broken
 * stays silent, so that one mistake is reported once. Standards: RFC 9300 §3 (an EID is never an
 * RLOC), RFC 9301 §5.6 (one PSK per site), §8.1 (Map-Resolvers are underlay addresses).
 */
import {
  formatAddressText,
  formatEidPrefixText,
  isLoopbackText,
  parseAddressText,
  parsePrefixText,
} from './address-text.js'
import { checkClosedNetwork, checkGpePeers } from './closed-network-checks.js'
import { type ConfigKeys, type Finding, formatConfigPath } from './config-error.js'
import { checkDescribedEids } from './described-eid-checks.js'
import { checkInterworking } from './interworking-checks.js'
import { privateKeyDer, publicKeyDer } from './pem-key.js'
import { checkPim } from './pim-checks.js'
import {
  type PlacedPrefix,
  type Report,
  reachableFrom,
  readAddress,
  readPrefix,
} from './placed-addresses.js'
import type { Config } from './schema.js'
import { publicKeyFiles, type Secrets } from './secrets.js'
import { checkSecurity } from './security-checks.js'
import { checkSubscriptions } from './subscription-checks.js'

/** Findings against a structurally sound configuration: errors first-class, warnings apart. */
export function crossChecks(
  config: Config,
  secrets: Secrets,
  broken: readonly ConfigKeys[],
): { errors: Finding[]; warnings: Finding[] } {
  const errors: Finding[] = []
  const warnings: Finding[] = []
  const into =
    (list: Finding[]): Report =>
    (keys, problem, hint, dependsOn = []) => {
      const mute =
        broken.some((other) => startsWith(keys, other) || startsWith(other, keys)) ||
        broken.some((other) => dependsOn.includes(String(other[0] ?? '')) || other.length === 0)
      if (!mute) list.push({ keys, problem, hint })
    }
  const error = into(errors)
  const warn = into(warnings)
  const own = checkPrefixes(config, error)
  checkAddresses(config, own, error)
  checkInterfaces(config, error)
  checkRoles(config, error, warn)
  checkMapServerSites(config, secrets, error)
  checkDescribedEids(config, error)
  checkDdt(config, own, error, warn)
  const readers = {
    prefix: (keys: ConfigKeys, text: string, id: number) => readPrefix(keys, text, id, error),
    address: (keys: ConfigKeys, text: string, what: string) =>
      readAddress(keys, text, what, own, error),
  }
  checkInterworking(config, readers, error, warn)
  checkDdtKeys(config, secrets, error)
  checkSecurity(config, secrets, error, warn)
  checkSubscriptions(config, own, error, warn)
  checkPim(config, error, warn)
  checkTimes(config, error)
  checkClosedNetwork(config, error, warn)
  checkGpePeers(config, warn)
  checkApi(config, error, warn)
  secrets.report(error, warn)
  return { errors, warnings }
}

function checkPrefixes(config: Config, error: Report): PlacedPrefix[] {
  const sections = ['eidPrefixes', 'dynamicEidPrefixes'] as const
  const own = sections.flatMap((section) =>
    config[section].flatMap((entry, index) => {
      const keys = [section, index, 'prefix']
      return readPrefix(keys, entry.prefix, entry.instanceId, error) ?? []
    }),
  )
  reportDuplicates(own, error)
  config.datapath.gpePeers.forEach((text, index) => {
    readPrefix(['datapath', 'gpePeers', index], text, 0, error)
  })
  return own
}

function reportDuplicates(prefixes: readonly PlacedPrefix[], error: Report): void {
  const seen = new Map<string, PlacedPrefix>()
  for (const prefix of prefixes) {
    const text = formatEidPrefixText(prefix)
    const former = seen.get(text)
    if (former === undefined) seen.set(text, prefix)
    else {
      const place = formatConfigPath(former.keys.slice(0, -1))
      error(prefix.keys, `${text} is there twice`, `remove it here or at ${place}`)
    }
  }
}

function checkAddresses(config: Config, own: readonly PlacedPrefix[], error: Report): void {
  const seen = new Set<string>()
  config.rlocs.forEach((rloc, index) => {
    const keys = ['rlocs', index, 'address']
    const address = readAddress(keys, rloc.address, 'an RLOC', own, error)
    if (address === undefined) return
    const text = formatAddressText(address)
    if (seen.has(text)) error(keys, `${text} is there twice`, 'name each RLOC once')
    seen.add(text)
  })
  const remote = reachableFrom(config, own, error)
  config.mapServers.forEach((server, index) => {
    remote(['mapServers', index, 'address'], server.address, 'a Map-Server')
  })
  config.mapResolvers.forEach((text, index) => {
    remote(['mapResolvers', index], text, 'a Map-Resolver')
  })
  config.closedNetwork.relays.forEach((text, index) => {
    remote(['closedNetwork', 'relays', index], text, 'a relay')
  })
  config.mobility.peers.forEach((text, index) => {
    remote(['mobility', 'peers', index], text, 'a mobility peer')
  })
  config.multicast.siteXtrs.forEach((text, index) => {
    remote(['multicast', 'siteXtrs', index], text, 'an xTR')
  })
  const { membership } = config.multicast
  if (membership.queryResponseMs >= membership.queryIntervalSeconds * 1000) {
    const problem = `queryResponseMs ${membership.queryResponseMs} is not less than the query interval`
    const hint = 'answers must be there before the next query (RFC 3376 §8.3)'
    error(['multicast', 'membership', 'queryResponseMs'], problem, hint)
  }
  membership.querierCandidates.forEach((text, index) => {
    if (parseAddressText(text) !== undefined) return
    const keys = ['multicast', 'membership', 'querierCandidates', index]
    error(keys, `"${text}" is not an address`, 'write it as 10.1.0.2 or fe80::2')
  })
  config.mapServers.forEach(({ multicastSources = [] }, index) => {
    multicastSources.forEach(({ prefix }, at) => {
      if (parsePrefixText(prefix) !== undefined) return
      const keys = ['mapServers', index, 'multicastSources', at, 'prefix']
      error(keys, `"${prefix}" is not a prefix`, 'write address/length, as 10.1.0.0/16')
    })
  })
}

function checkInterfaces(config: Config, error: Report): void {
  const instances = new Map<string, number>()
  config.siteInterfaces.forEach((site, index) => {
    if (instances.has(site.name)) {
      const keys = ['siteInterfaces', index, 'name']
      error(keys, `${site.name} is there twice`, 'one interface belongs to one instance-ID')
    } else instances.set(site.name, site.instanceId)
  })
  for (const section of ['eidPrefixes', 'dynamicEidPrefixes'] as const) {
    config[section].forEach((entry, index) => {
      const instanceId = instances.get(entry.interface)
      const names = [...instances.keys()].join(', ') || 'none'
      if (instanceId === undefined) {
        const hint = `add it to siteInterfaces (there: ${names})`
        const problem = `${entry.interface} is not a site interface`
        error([section, index, 'interface'], problem, hint, ['siteInterfaces'])
      } else if (instanceId !== entry.instanceId) {
        const problem = `is ${entry.instanceId}, but ${entry.interface} belongs to ${instanceId}`
        const hint = `write instanceId: ${instanceId}, or move the prefix to another interface`
        error([section, index, 'instanceId'], problem, hint, ['siteInterfaces'])
      }
    })
  }
}

/** Who resolves EIDs. */
const ASKING_ROLES = ['itr', 'pitr', 'rtr'] as const
const FORWARDING_ROLES = ['itr', 'etr', 'pitr', 'petr', 'rtr'] as const

function checkRoles(config: Config, error: Report, warn: Report): void {
  const has = (role: (typeof config.roles)[number]): boolean => config.roles.includes(role)
  const asking = ASKING_ROLES.find(has)
  const forwarding = FORWARDING_ROLES.filter(has)
  const forwards = forwarding.length > 0
  if (asking !== undefined && config.mapResolvers.length === 0) {
    const hint = 'add mapResolvers: [<address of a Map-Resolver>]'
    const problem = `is empty, but the role ${asking} has to ask somebody`
    error(['mapResolvers'], problem, hint, ['roles'])
  }
  if (has('etr') && config.dynamicEidPrefixes.length > 0 && config.mapServers.length === 0) {
    const hint = 'add an entry to mapServers, or remove dynamicEidPrefixes'
    const problem = 'is empty, but EIDs of dynamicEidPrefixes have to be registered somewhere'
    error(['mapServers'], problem, hint, ['roles', 'dynamicEidPrefixes'])
  } else if (has('etr') && config.mapServers.length === 0) {
    const hint = 'add mapServers unless the prefixes are registered by another xTR'
    warn(['mapServers'], 'is empty: nobody will find the EIDs of this site', hint, ['roles'])
  }
  if (forwards && config.datapath.kind === 'none') {
    const hint = 'write kind: bpf, or give the node only map-server and map-resolver'
    const verb = forwarding.length === 1 ? 'forwards' : 'forward'
    const problem = `is none, but ${forwarding.join(' and ')} ${verb} packets`
    error(['datapath', 'kind'], problem, hint, ['roles'])
  }
  if (!forwards && config.datapath.kind === 'bpf') {
    const hint = 'write datapath: {kind: none}; BPF programs would be loaded for nothing'
    warn(['datapath', 'kind'], 'is bpf, but no role of this node forwards packets', hint, ['roles'])
  }
  if (has('map-server') && config.mapServer.sites.length === 0) {
    const hint = 'add the sites that may register, each with name, keys and prefixes'
    error(['mapServer', 'sites'], 'is empty, but the role is map-server', hint, ['roles'])
  }
  if (!has('map-server') && config.mapServer.sites.length > 0) {
    const hint = 'add map-server to roles, or remove the sites'
    warn(['mapServer', 'sites'], 'has no effect without the role map-server', hint, ['roles'])
  }
}

function checkMapServerSites(config: Config, secrets: Secrets, error: Report): void {
  const names = new Set<string>()
  const ownerOfSecret = new Map<string, string>()
  const prefixes: PlacedPrefix[] = []
  config.mapServer.sites.forEach((site, index) => {
    const base = ['mapServer', 'sites', index]
    if (names.has(site.name)) error([...base, 'name'], `${site.name} is there twice`, 'rename one')
    names.add(site.name)
    if (site.prefixes.length === 0 && !site.multicastRelay) {
      const hint = 'name what the site may register, or write multicastRelay: true'
      error([...base, 'prefixes'], 'is empty', hint)
    }
    site.prefixes.forEach((entry, at) => {
      const keys = [...base, 'prefixes', at, 'prefix']
      const prefix = readPrefix(keys, entry.prefix, entry.instanceId, error)
      if (prefix !== undefined) prefixes.push(prefix)
    })
    const keyIds = new Set<number>()
    site.keys.forEach((key, at) => {
      if (keyIds.has(key.id)) {
        const hint = 'give each key of a site its own id: it tells which one signed'
        error([...base, 'keys', at, 'id'], `${key.id} is there twice`, hint)
      }
      keyIds.add(key.id)
      const secret = secrets.fingerprint(key.secretFile)
      const owner = secret === undefined ? undefined : ownerOfSecret.get(secret)
      if (owner !== undefined && owner !== site.name) {
        const hint = 'give each site its own secret (RFC 9301 §5.6)'
        const problem = `the secret is that of site ${owner}`
        error([...base, 'keys', at, 'secretFile'], problem, hint)
      } else if (secret !== undefined) ownerOfSecret.set(secret, site.name)
    })
  })
  reportDuplicates(prefixes, error)
}

function checkDdt(config: Config, own: readonly PlacedPrefix[], error: Report, warn: Report): void {
  const { ddt, roles } = config
  const addresses = (section: ConfigKeys, texts: readonly string[], what: string): void => {
    texts.forEach((text, index) => {
      readAddress(['ddt', ...section, index], text, what, own, error)
    })
  }
  addresses(['roots'], ddt.roots, 'a DDT root')
  addresses(['peers'], ddt.peers, 'a Map-Server')
  ddt.authoritative.forEach(({ prefix, instanceId }, index) => {
    const keys = ['ddt', 'authoritative', index, 'prefix']
    if (prefix !== undefined) readPrefix(keys, prefix, instanceId, error)
  })
  const delegated: PlacedPrefix[] = []
  ddt.delegations.forEach((delegation, index) => {
    const keys = ['ddt', 'delegations', index]
    addresses(['delegations', index, 'nodes'], delegation.nodes, 'a DDT node')
    addresses(['delegations', index, 'mapServers'], delegation.mapServers, 'a Map-Server')
    if ((delegation.nodes.length === 0) === (delegation.mapServers.length === 0)) {
      const hint = 'a delegation is to child nodes or to Map-Servers, never to both or to nobody'
      error(keys, 'needs either nodes or mapServers', hint)
    }
    if (delegation.prefix === undefined) return
    const place = [...keys, 'prefix']
    const prefix = readPrefix(place, delegation.prefix, delegation.instanceId, error)
    if (prefix !== undefined) delegated.push(prefix)
  })
  reportDuplicates(delegated, error)
  const speaks = ddt.root || ddt.authoritative.length > 0 || ddt.delegations.length > 0
  if (roles.includes('ddt-node') && !speaks) {
    const hint = 'add ddt.authoritative and ddt.delegations, or ddt.root: true'
    error(['ddt'], 'says nothing, but the role is ddt-node', hint, ['roles'])
  }
  if (ddt.roots.length > 0 && !roles.includes('map-resolver')) {
    const hint = 'add map-resolver to roles, or remove the roots'
    warn(['ddt', 'roots'], 'has no effect without the role map-resolver', hint, ['roles'])
  }
}

function checkDdtKeys(config: Config, secrets: Secrets, error: Report): void {
  const check = (keys: ConfigKeys, path: string, parse: (pem: Uint8Array) => unknown): void => {
    const pem = secrets.bytes(path)
    // Missing and empty files are reported with the secrets.
    if (pem.length === 0) return
    try {
      parse(pem)
    } catch {
      error(keys, `${path} holds no RSA key that can be used here`, KEY_HINT)
    }
  }
  config.ddt.signingKeyFiles.forEach((path, index) => {
    check(['ddt', 'signingKeyFiles', index], path, privateKeyDer)
  })
  for (const [keys, path] of publicKeyFiles(config)) check(keys, path, publicKeyDer)
}

const KEY_HINT = 'PEM, made with: openssl genrsa -out FILE 2048 (public half: openssl rsa -pubout)'

function checkTimes(config: Config, error: Report): void {
  const { guardMs } = config.mobility.live
  if (config.hold.windowMs <= guardMs)
    error(
      ['hold', 'windowMs'],
      `is ${config.hold.windowMs}, not above mobility.live.guardMs`,
      `write more than ${guardMs}: what is to be delivered again must still be there`,
      ['mobility', 'live', 'guardMs'],
    )
  if (config.hold.endpointMs > config.mobility.endpointTimeoutMs) return
  error(
    ['hold', 'endpointMs'],
    `is ${config.hold.endpointMs}, not above mobility.endpointTimeoutMs`,
    `write more than ${config.mobility.endpointTimeoutMs}: packets outlive the move they wait for`,
    ['mobility'],
  )
}

function checkApi(config: Config, error: Report, warn: Report): void {
  const tcp = config.api.tcp
  if (tcp === undefined) return
  if (parseAddressText(tcp.address) === undefined) {
    error(['api', 'tcp', 'address'], `"${tcp.address}" is not an address`, 'as 127.0.0.1 or ::1')
  } else if (!isLoopbackText(tcp.address) && tcp.tls === undefined) {
    const hint = 'use 127.0.0.1 or ::1, or add tls with certificateFile and keyFile'
    error(['api', 'tcp', 'address'], `${tcp.address} is not loopback and there is no tls`, hint)
  } else if (!isLoopbackText(tcp.address) && tcp.tls?.clientCaFile === undefined) {
    const problem = 'is missing: whoever reaches the port commands this node'
    const hint = 'name the CA whose clients may use the API'
    warn(['api', 'tcp', 'tls', 'clientCaFile'], problem, hint)
  }
}

function startsWith(keys: ConfigKeys, start: ConfigKeys): boolean {
  return start.length <= keys.length && start.every((key, index) => key === keys[index])
}
