/**
 * From the configuration as written to the configuration as the core reads it.
 *
 * Called only after all checks passed; what cannot be parsed here is therefore a bug of the checks
 * and throws. Units change once, here: seconds to milliseconds.
 */
import { createHash } from 'node:crypto'
import type { IpAddress } from '../lisp/address.js'
import type { PathHop } from '../lisp/afi-address.js'
import type { AlgorithmId, AuthenticationKey } from '../lisp/authentication.js'
import type { EidPrefix } from '../lisp/eid.js'
import { parseAddressText, parseEidPrefixText, parsePrefixText } from './address-text.js'
import { ALGORITHMS } from './key-schema.js'
import type {
  DdtConfig,
  InterworkingConfig,
  MembershipPolicy,
  NodeConfig,
  OwnPrefix,
  WrappingKey,
} from './node-config.js'
import { privateKeyDer, publicKeyDer } from './pem-key.js'
import type { Config } from './schema.js'
import type { Secrets } from './secrets.js'
import { KEY_WRAPPINGS } from './security-schema.js'

/** The core's view of a configuration that has passed all checks. Throws on one that has not. */
export function makeNodeConfig(config: Config, secrets: Secrets): NodeConfig {
  return {
    node: config.node,
    roles: config.roles,
    xtrId: xtrIdOf(config),
    siteId: BigInt(config.siteId),
    rlocs: config.rlocs.map((rloc) => ({
      address: address(rloc.address),
      interfaceName: rloc.interface,
      priority: rloc.priority,
      weight: rloc.weight,
      ...(rloc.path === undefined ? {} : { path: rloc.path.map(pathHop) }),
    })),
    siteInterfaces: config.siteInterfaces,
    eidPrefixes: config.eidPrefixes.map(ownPrefix),
    dynamicEidPrefixes: config.dynamicEidPrefixes.map(ownPrefix),
    mapServers: config.mapServers.map((server) => ({
      address: address(server.address),
      key: authenticationKey(server.key, secrets),
      profile: server.profile,
      security:
        server.security === undefined
          ? undefined
          : {
              mode: server.security.mode,
              keys: server.security.keys.map((key) => wrappingKey(key, secrets)),
            },
      proxyReply: server.proxyReply,
      registerMs: server.registerSeconds * 1000,
      ttlMinutes: server.ttlMinutes,
      multicastSources: server.multicastSources?.map((one) => {
        return eidPrefix(one.prefix, one.instanceId)
      }),
    })),
    mapResolvers: config.mapResolvers.map(address),
    security: securityOf(config, secrets),
    mapCache: config.mapCache,
    missHoldMs: config.hold.missMs,
    pathMtu: config.datapath.pathMtu,
    pathMtuDiscovery: config.datapath.pathMtuDiscovery,
    gpePeers: config.datapath.gpePeers.map((text) => {
      const { network, maskLength } = parsePrefixText(text)!
      return { address: network, maskLength }
    }),
    closedNetwork: {
      ...config.closedNetwork,
      relays: [...config.closedNetwork.relays, ...config.mobility.peers].map(address),
    },
    publishSubscribe: {
      ...config.publishSubscribe,
      configured: config.publishSubscribe.configured.map(configuredSubscription),
    },
    subscriptions: subscriptionsOf(config, secrets),
    rlocProbe: {
      enabled: config.rlocProbe.enabled,
      intervalMs: config.rlocProbe.intervalSeconds * 1000,
      failures: config.rlocProbe.failures,
    },
    mobility: mobilityOf(config, secrets),
    multicast: multicastOf(config),
    mapServer: {
      sites: config.mapServer.sites.map((site) => ({
        name: site.name,
        keys: site.keys.map((key) => authenticationKey(key, secrets)),
        prefixes: site.prefixes.map((entry) => ({
          eidPrefix: eidPrefix(entry.prefix, entry.instanceId),
          acceptMoreSpecifics: entry.acceptMoreSpecifics,
        })),
        xtrIds: site.xtrIds,
        profile: site.profile,
        names: site.names.map(({ instanceId, prefix }) => ({
          prefix: { kind: 'name', instanceId, name: utf8.encode(prefix) },
        })),
        geo: site.geo,
        multicastRelay: site.multicastRelay,
        security:
          site.security === undefined
            ? undefined
            : { mode: site.security.mode, key: wrappingKey(site.security.key, secrets) },
        legacyNonces: site.legacyNonces,
      })),
      registrationMs: config.mapServer.registrationSeconds * 1000,
      maximumRegistrations: config.mapServer.maximumRegistrations,
    },
    groupServer: {
      ...config.groupServer,
      rendezvousPoints: config.groupServer.rendezvousPoints.map(groupsAt),
    },
    ddt: ddtOf(config, secrets),
    interworking: interworkingOf(config),
  }
}

/** Configured names are text; on the wire they are bytes. */
const utf8 = new TextEncoder()

function ddtOf({ ddt }: Config, secrets: Secrets): DdtConfig {
  const publicKeys = (files: readonly string[]) =>
    files.map((file) => publicKeyDer(secrets.bytes(file)))
  return {
    roots: ddt.roots.map(address),
    root: ddt.root,
    authoritative: ddt.authoritative.flatMap(treePrefixes),
    delegations: ddt.delegations.flatMap((delegation) => {
      const nodes = delegation.nodes.map(address)
      const mapServers = delegation.mapServers.map(address)
      const keys = publicKeys(delegation.keyFiles)
      const revokedKeys = publicKeys(delegation.revokedKeyFiles)
      const to = { nodes, mapServers, keys, revokedKeys }
      return treePrefixes(delegation).map((prefix) => ({ eidPrefix: prefix, ...to }))
    }),
    peers: ddt.peers.map(address),
    maximumReferrals: ddt.maximumReferrals,
    signingKeys: ddt.signingKeyFiles.map((file) => {
      const pem = secrets.bytes(file)
      return { privateKey: privateKeyDer(pem), publicKey: publicKeyDer(pem) }
    }),
    rootKeys: publicKeys(ddt.rootKeyFiles),
  }
}

/** A whole instance is a prefix in each family. */
function treePrefixes(entry: { readonly prefix?: string; readonly instanceId: number }) {
  const texts = entry.prefix === undefined ? ['0.0.0.0/0', '::/0'] : [entry.prefix]
  return texts.map((text) => eidPrefix(text, entry.instanceId))
}

function multicastOf({ multicast }: Config): NodeConfig['multicast'] {
  const { siteXtrs, relayLevel, pim, membership, ...rest } = multicast
  return {
    ...rest,
    relayLevel,
    siteXtrs: siteXtrs.map(address),
    pim: pimOf(pim),
    membership: membershipOf(membership),
  }
}

function membershipOf(membership: Config['multicast']['membership']): MembershipPolicy {
  const { queryIntervalSeconds, queryResponseMs, robustness, lastMemberQueryMs, ...terms } =
    membership
  const queryIntervalMs = queryIntervalSeconds * 1000
  return {
    ...terms,
    timing: { queryIntervalMs, queryResponseMs, robustness, lastMemberQueryMs },
    querierCandidates: membership.querierCandidates.map(address),
  }
}

function pimOf(pim: Config['multicast']['pim']): NodeConfig['multicast']['pim'] {
  if (!pim.enabled) return undefined
  return {
    drPriority: pim.drPriority,
    helloMs: pim.helloSeconds * 1000,
    sourceRoutes: pim.sourceRoutes.map(({ prefix, instanceId, neighbour }) => {
      return { sources: eidPrefix(prefix, instanceId), neighbour: address(neighbour) }
    }),
    rendezvousPoints: pim.rendezvousPoints.map(groupsAt),
    joinSites: pim.joinSites,
    joiners: pim.joiners.map((text) => eidPrefix(text, 0)),
    underlayMulticast: pim.underlayMulticast,
    underlayGroups: pim.underlayGroups.map(groupsAt),
  }
}

function groupsAt(one: { readonly groups: string; readonly address: string }) {
  return { groups: eidPrefix(one.groups, 0), address: address(one.address) }
}

function interworkingOf({ pitr, petr, lispNat }: Config): InterworkingConfig {
  const foreign = (one: Config['petr']['sites'][number]) => eidPrefix(one.prefix, one.instanceId)
  return {
    petrRlocs: petr.rlocs.map(address),
    attracted: pitr.prefixes.map(foreign),
    sites: petr.sites.map(foreign),
    translations: lispNat.map(({ inside, outside, instanceId }) => ({
      inside: eidPrefix(inside, instanceId),
      outside: eidPrefix(outside, 0),
    })),
  }
}

function pathHop(hop: NonNullable<Config['rlocs'][number]['path']>[number]): PathHop {
  const { lookup, probe, strict } = hop
  return { lookup, probe, strict, address: { kind: 'ip', address: address(hop.address) } }
}

function mobilityOf(config: Config, secrets: Secrets): NodeConfig['mobility'] {
  const { mobility } = config
  return {
    key: mobility.key === undefined ? undefined : authenticationKey(mobility.key, secrets),
    peers: mobility.peers.map(address),
    endpointTimeoutMs: mobility.endpointTimeoutMs,
    awayMs: mobility.awaySeconds * 1000,
    hold: mobility.hold,
    redirect: mobility.redirect,
    solicit: mobility.solicit,
    dhcpSnooping: mobility.dhcpSnooping,
    live: {
      guardMs: mobility.live.guardMs,
      leaseMs: mobility.live.leaseSeconds * 1000,
      longestMs: mobility.live.longestSeconds * 1000,
    },
  }
}

function configuredSubscription(one: {
  readonly prefix: string
  readonly instanceId: number
  readonly nonce: number
}) {
  return { eidPrefix: eidPrefix(one.prefix, one.instanceId), nonce: BigInt(one.nonce) }
}

function securityOf({ security }: Config, secrets: Secrets): NodeConfig['security'] {
  return {
    mode: security.mode,
    mapResolvers: security.mapResolvers.map((one) => ({
      address: address(one.address),
      key: wrappingKey(one.key, secrets),
    })),
    requesterKeys: security.requesterKeys.map((key) => wrappingKey(key, secrets)),
    mapServers: security.mapServers.map((one) => ({
      address: one.address === undefined ? undefined : address(one.address),
      key: wrappingKey(one.key, secrets),
    })),
  }
}

function wrappingKey(
  key: { readonly id: number; readonly secretFile: string; readonly wrapping: string },
  secrets: Secrets,
): WrappingKey {
  const wrapping = key.wrapping === KEY_WRAPPINGS[0] ? 1 : 2
  return { keyId: key.id, wrapping, secret: secrets.bytes(key.secretFile) }
}

function subscriptionsOf(config: Config, secrets: Secrets): NodeConfig['subscriptions'] {
  const { subscriptions } = config
  return {
    accept: subscriptions.accept,
    subscribers: subscriptions.subscribers.map((one) => ({
      xtrId: one.xtrId,
      siteId: one.siteId === undefined ? undefined : BigInt(one.siteId),
      rlocs: one.rlocs.map(address),
      key: one.key === undefined ? undefined : authenticationKey(one.key, secrets),
      configured: one.configured.map(configuredSubscription),
    })),
    mapResolvers: subscriptions.mapResolvers.map(address),
    maximum: subscriptions.maximum,
    maximumPerXtr: subscriptions.maximumPerXtr,
    lifetimeMs: subscriptions.lifetimeSeconds * 1000,
    temporaryMs: subscriptions.temporarySeconds * 1000,
  }
}

/**
 * Stable across restarts and different per node name; RFC 9301 §5.6 asks for uniqueness per site.
 */
function xtrIdOf(config: Config): Uint8Array {
  if (config.xtrId !== undefined) return Uint8Array.from(Buffer.from(config.xtrId, 'hex'))
  return Uint8Array.from(createHash('sha256').update(config.node).digest().subarray(0, 16))
}

function authenticationKey(
  key: { readonly id: number; readonly algorithm: string; readonly secretFile: string },
  secrets: Secrets,
): AuthenticationKey {
  const position = ALGORITHMS.findIndex((name) => name === key.algorithm)
  if (position < 0) throw new Error(`unchecked algorithm ${key.algorithm}`)
  // Listed in the order of their IANA numbers, from 1 (RFC 9301 §12.5).
  const algorithm = (position + 1) as AlgorithmId
  return { keyId: key.id, algorithm, secret: secrets.bytes(key.secretFile) }
}

function ownPrefix(entry: Config['eidPrefixes'][number]): OwnPrefix {
  return {
    eidPrefix: eidPrefix(entry.prefix, entry.instanceId),
    interfaceName: entry.interface,
  }
}

function eidPrefix(text: string, instanceId: number): EidPrefix {
  const prefix = parseEidPrefixText(text, instanceId)
  if (prefix === undefined) throw new Error(`unchecked prefix ${text}`)
  return prefix
}

function address(text: string): IpAddress {
  const parsed = parseAddressText(text)
  if (parsed === undefined) throw new Error(`unchecked address ${text}`)
  return parsed
}
