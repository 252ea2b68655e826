/**
 * Valid values for tests, with everything that a test does not care about filled in.
 *
 * `anEid('[7]10.0.0.1')`, `aMapping({ ttlMinutes: 1 })`, `aNodeConfig({ node: 'a' })`: the argument
 * says what matters. Nothing here decides anything about the protocol.
 */
import { createHmac } from 'node:crypto'
import type {
  MembershipPolicy,
  MulticastPolicy,
  NodeConfig,
  SiteConfig,
  SubscriptionPolicy,
} from '../../src/config/node-config.js'
import type { Capabilities, Random } from '../../src/control/capabilities.js'
import { type IpAddress, parseIpAddress } from '../../src/lisp/address.js'
import type { AuthenticationKey, Hmac } from '../../src/lisp/authentication.js'
import { type Eid, type EidPrefix, parseEid, parseEidPrefix } from '../../src/lisp/eid.js'
import { type Locator, locator } from '../../src/lisp/locator.js'
import type { Mapping } from '../../src/lisp/mapping.js'
import type { MapRegister, MapReply, MapRequest, XtrIdentity } from '../../src/lisp/message.js'

export function anAddress(text: string): IpAddress {
  return given(parseIpAddress(text), text)
}

export function anEid(text: string): Eid {
  return given(parseEid(text), text)
}

export function aPrefix(text: string): EidPrefix {
  return given(parseEidPrefix(text), text)
}

/** Priority 1, weight 100, reachable, unless told otherwise. */
export function aLocator(rloc: string, about: Partial<Omit<Locator, 'rloc'>> = {}): Locator {
  return locator(anAddress(rloc), about)
}

/** An authoritative mapping of 10.1.0.5/32 without version; locators may be given as text. */
export function aMapping(
  about: Partial<Omit<Mapping, 'eidPrefix' | 'locators'>> & {
    readonly eidPrefix?: string
    readonly locators?: readonly (string | Locator)[]
  } = {},
): Mapping {
  const { eidPrefix = '10.1.0.5/32', locators = ['192.0.2.1'], ...rest } = about
  return {
    ttlMinutes: 15,
    action: 'no-action',
    authoritative: true,
    mapVersion: 0,
    ...rest,
    eidPrefix: aPrefix(eidPrefix),
    locators: locators.map((one) => (typeof one === 'string' ? aLocator(one) : one)),
  }
}

/** Key 1 of algorithm 3 with the secret `text`. */
export function aKey(text = 'site secret', about: Partial<AuthenticationKey> = {}) {
  const secret = new TextEncoder().encode(text)
  return { keyId: 1, algorithm: 3, secret, ...about } as AuthenticationKey
}

/** The xTR-ID that is all `byte`. */
export function anIdentity(byte: number): XtrIdentity {
  return { xtrId: new Uint8Array(16).fill(byte), siteId: 1n }
}

/** What wants a proxy reply and a Map-Notify, of one record. */
export function aMapRegister(about: Partial<MapRegister> = {}): MapRegister {
  return {
    kind: 'map-register',
    proxyReply: true,
    securityCapable: false,
    eidNotify: false,
    useTtlForTimeout: false,
    mergeRequest: false,
    wantMapNotify: true,
    records: [aMapping()],
    identity: anIdentity(0xaa),
    nonce: 1n,
    keyId: 0,
    algorithm: 0,
    authenticationData: new Uint8Array(0),
    ...about,
  }
}

/** A plain Map-Request for 10.1.0.5/32 from 198.51.100.1; `eidPrefix` as text. */
export function aMapRequest(
  about: Partial<MapRequest> & { readonly eidPrefix?: string } = {},
): MapRequest {
  const { eidPrefix = '10.1.0.5/32', ...rest } = about
  return {
    kind: 'map-request',
    authoritative: false,
    rlocProbe: false,
    solicitMapRequest: false,
    proxyItr: false,
    smrInvoked: false,
    localXtr: false,
    doNotReply: false,
    nonce: 7n,
    sourceEid: undefined,
    itrRlocs: [anAddress('198.51.100.1')],
    records: [{ subscribe: false, eidPrefix: aPrefix(eidPrefix) }],
    mapReplyRecord: undefined,
    identity: undefined,
    ...rest,
  }
}

/** A Map-Reply with these records, no probe. */
export function aMapReply(nonce: bigint, ...records: Mapping[]): MapReply {
  return { kind: 'map-reply', rlocProbe: false, echoNonceCapable: false, nonce, records }
}

/** A packet of 10.2.0.7 that waits for a mapping of `eid`. */
export function aHeldPacket(eid: string, source = '10.2.0.7') {
  const why = 'map-cache-miss' as const
  return { kind: 'packet-held' as const, eid: anEid(eid), source: anEid(source), why }
}

/** The Map-Server at `address`, registered with every minute, that answers for us. */
export function aMapServer(address: string): NodeConfig['mapServers'][number] {
  const times = { registerMs: 60_000, ttlMinutes: 15 }
  return { address: anAddress(address), key: aKey(), proxyReply: true, ...times }
}

/** Site `blue` with 10.1.0.0/16 and 2001:db8:1::/48, more-specifics accepted. */
export function aSite(about: Partial<SiteConfig> = {}): SiteConfig {
  return {
    name: 'blue',
    keys: [aKey()],
    prefixes: [
      { eidPrefix: aPrefix('10.1.0.0/16'), acceptMoreSpecifics: true },
      { eidPrefix: aPrefix('2001:db8:1::/48'), acceptMoreSpecifics: true },
    ],
    xtrIds: [],
    profile: 'strict',
    legacyNonces: false,
    ...about,
  }
}

/** A node at 203.0.113.1 and 2001:db8:f::1 with every default of the configuration. */
export function aNodeConfig(about: Partial<NodeConfig> = {}): NodeConfig {
  return {
    node: 'node',
    roles: ['itr', 'etr'],
    xtrId: new Uint8Array(16).fill(1),
    siteId: 1n,
    rlocs: ['203.0.113.1', '2001:db8:f::1'].map((text) => ({
      address: anAddress(text),
      interfaceName: 'core',
      priority: 1,
      weight: 100,
    })),
    siteInterfaces: [],
    eidPrefixes: [],
    dynamicEidPrefixes: [],
    mapServers: [],
    mapResolvers: [],
    mapCache: {
      maximumEntries: 65_536,
      smrPerLocatorPerSecond: 100,
      repliesPerLocatorPerSecond: 100,
      maximumPendingRequests: 10_000,
      widestAnswers: { ipv4: 16, ipv6: 32 },
    },
    missHoldMs: 5000,
    pathMtu: 1500,
    gpePeers: [],
    rlocProbe: { enabled: true, intervalMs: 10_000, failures: 3 },
    mobility: {
      key: undefined,
      peers: [],
      endpointTimeoutMs: 2000,
      awayMs: 60_000,
      hold: true,
      redirect: true,
      solicit: true,
      dhcpSnooping: true,
      live: { guardMs: 50, leaseMs: 30_000, longestMs: 21_600_000 },
    },
    multicast: aMulticastPolicy(),
    publishSubscribe: { subscribe: false, acceptUnsolicited: false },
    subscriptions: aSubscriptionPolicy(),
    mapServer: { sites: [], registrationMs: 180_000, maximumRegistrations: 1000 },
    groupServer: { fanOut: 64, maximumMembers: 10_000, maximumMembersPerGroup: 1000 },
    ddt: {
      roots: [],
      root: false,
      authoritative: [],
      delegations: [],
      peers: [],
      maximumReferrals: 1000,
    },
    ...about,
  }
}

/** Off, alone in its site, no relay. */
export function aMulticastPolicy(about: Partial<MulticastPolicy> = {}): MulticastPolicy {
  return {
    enabled: false,
    siteXtrs: [],
    relayLevel: undefined,
    relayInstances: [0],
    maximumGroups: 100,
    maximumSources: 100,
    membership: aMembershipPolicy(),
    ...about,
  }
}

/** The newest versions and the timers of the standards; limits that a test can reach. */
export function aMembershipPolicy(about: Partial<MembershipPolicy> = {}): MembershipPolicy {
  return {
    enabled: true,
    igmpVersion: 3,
    mldVersion: 2,
    timing: {
      robustness: 2,
      queryIntervalMs: 125_000,
      queryResponseMs: 10_000,
      lastMemberQueryMs: 1000,
    },
    fastLeave: false,
    querierCandidates: [],
    maximumGroups: 50,
    maximumGroupsPerHost: 20,
    maximumSources: 8,
    ...about,
  }
}

/** Subscriptions of whoever has registered. */
export function aSubscriptionPolicy(about: Partial<SubscriptionPolicy> = {}): SubscriptionPolicy {
  return {
    accept: true,
    subscribers: [],
    mapResolvers: [],
    maximum: 1000,
    maximumPerXtr: 100,
    lifetimeMs: 86_400_000,
    temporaryMs: 900_000,
    ...about,
  }
}

/** HMAC by node:crypto. */
export const hmac: Hmac = (hash, key, data) =>
  new Uint8Array(createHmac(hash, key).update(data).digest())

/** The same numbers in every run: xorshift over `seed` (not 0). */
export function aRandom(seed = 1): Random {
  let state = seed >>> 0
  const next = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state
  }
  return {
    nonce: () => (BigInt(next()) << 32n) | BigInt(next()),
    fraction: () => next() / 2 ** 32,
  }
}

export function someCapabilities(seed = 1): Capabilities {
  return { random: aRandom(seed), hmac }
}

function given<Value>(value: Value | undefined, text: string): Value {
  if (value === undefined) throw new Error(`not valid: ${text}`)
  return value
}
