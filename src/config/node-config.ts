/**
 * The configuration as the core reads it: addresses parsed, secrets loaded, seconds as
 * milliseconds. Made from `Config` by load.ts after all checks passed; nothing here can be invalid.
 */

import type { IpAddress } from '../lisp/address.js'
import type { PathHop } from '../lisp/afi-address.js'
import type { AuthenticationKey } from '../lisp/authentication.js'
import type { NamedEid } from '../lisp/described-eid.js'
import type { EidPrefix } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import type { GeoAnswers } from './described-eid-schema.js'
import type { PeerProfileName, Role } from './schema.js'
import type { SecurityMode } from './security-schema.js'

/** Of live moves, in ms. */
export interface LiveMoveLimits {
  readonly guardMs: number
  readonly leaseMs: number
  readonly longestMs: number
}

export interface NodeConfig {
  readonly node: string
  readonly roles: readonly Role[]
  /** 16 bytes. */
  readonly xtrId: Uint8Array
  readonly siteId: bigint
  readonly rlocs: readonly {
    readonly address: Rloc
    readonly interfaceName: string
    readonly priority: number
    readonly weight: number
    /** RTRs on the way to it, in order (RFC 8060 §4.6); missing: none. */
    readonly path?: readonly PathHop[]
  }[]
  readonly siteInterfaces: readonly {
    readonly name: string
    readonly instanceId: number
    readonly proxyNeighbours: boolean
  }[]
  readonly eidPrefixes: readonly OwnPrefix[]
  readonly dynamicEidPrefixes: readonly OwnPrefix[]
  readonly mapServers: readonly {
    readonly address: Rloc
    readonly key: AuthenticationKey
    /** Missing is strict. */
    readonly profile?: PeerProfileName
    /** We sign Map-Replies; missing: we do not. */
    readonly security?: EtrSecurity | undefined
    readonly proxyReply: boolean
    readonly registerMs: number
    readonly ttlMinutes: number
    /** Missing: all (S,G) and (*,G) are registered here. */
    readonly multicastSources?: readonly EidPrefix[] | undefined
  }[]
  readonly mapResolvers: readonly Rloc[]
  /** RFC 9303, as an ITR, Map-Resolver or Map-Server; missing is off. */
  readonly security?: SecurityPolicy | undefined
  readonly mapCache: {
    readonly maximumEntries: number
    readonly smrPerLocatorPerSecond: number
    readonly repliesPerLocatorPerSecond: number
    readonly maximumPendingRequests: number
    /** Shortest mask lengths of unproven answers. */
    readonly widestAnswers: { readonly ipv4: number; readonly ipv6: number }
  }
  readonly missHoldMs: number
  readonly pathMtu: number
  /** RFC 9300 §7.2; missing is on. */
  readonly pathMtuDiscovery?: boolean
  /** RLOC prefixes whose xTRs speak RFC 9305. */
  readonly gpePeers: readonly { readonly address: Rloc; readonly maskLength: number }[]
  /** RFC 9300 §4.1: off outside of closed networks, as when it is missing. */
  readonly closedNetwork?: {
    readonly echoNonce: boolean
    readonly statusBits: boolean
    readonly mapVersions: boolean
    readonly checkSources: boolean
    readonly glean: boolean
    /** RTRs, and the mobility peers. */
    readonly relays?: readonly Rloc[]
  }
  /** RFC 9437, as an xTR. */
  readonly publishSubscribe: {
    readonly subscribe: boolean
    readonly acceptUnsolicited: boolean
    /** What Map-Servers publish to us by their configuration. */
    readonly configured?: readonly ConfiguredSubscription[]
  }
  readonly subscriptions: SubscriptionPolicy
  readonly rlocProbe: {
    readonly enabled: boolean
    readonly intervalMs: number
    readonly failures: number
  }
  readonly mobility: {
    readonly key: AuthenticationKey | undefined
    readonly peers: readonly Rloc[]
    readonly endpointTimeoutMs: number
    readonly awayMs: number
    readonly hold: boolean
    readonly redirect: boolean
    readonly solicit: boolean
    readonly dhcpSnooping: boolean
    readonly live: LiveMoveLimits
  }
  readonly multicast: MulticastPolicy
  readonly mapServer: {
    readonly sites: readonly SiteConfig[]
    readonly registrationMs: number
    readonly maximumRegistrations: number
  }
  /** RFC 8378, as a Map-Server. */
  readonly groupServer: {
    readonly fanOut: number
    readonly maximumMembers: number
    readonly maximumMembersPerGroup: number
    /** `groups` is of instance-ID 0 and holds for all; missing: none but those in IPv6 groups. */
    readonly rendezvousPoints?: PimPolicy['rendezvousPoints']
  }
  readonly ddt: DdtConfig
  /** RFC 6832; missing: no part in it. */
  readonly interworking?: InterworkingConfig
}

/** How LISP sites and the rest of the Internet reach each other, RFC 6832. */
export interface InterworkingConfig {
  /** ITR: Proxy-ETRs for what is to be forwarded natively. */
  readonly petrRlocs: readonly Rloc[]
  /** PITR: what it attracts. */
  readonly attracted: readonly EidPrefix[]
  /** PETR: inner sources that it lets out. */
  readonly sites: readonly EidPrefix[]
  /** LISP-NAT: `outside` is of the family and length of `inside`, and of instance-ID 0. */
  readonly translations: readonly { readonly inside: EidPrefix; readonly outside: EidPrefix }[]
}

/** A pre-shared key that wraps one-time keys (RFC 9303 §6.5). */
export interface WrappingKey {
  readonly keyId: number
  /** 1: none, the path is protected otherwise; 2: AES key wrap. */
  readonly wrapping: 1 | 2
  readonly secret: Uint8Array
}

export interface SecurityPolicy {
  readonly mode: SecurityMode
  readonly mapResolvers: readonly { readonly address: Rloc; readonly key: WrappingKey }[]
  readonly requesterKeys: readonly WrappingKey[]
  /** Without address: any. */
  readonly mapServers: readonly {
    readonly address: Rloc | undefined
    readonly key: WrappingKey
  }[]
}

/** As an ETR, towards one Map-Server. */
export interface EtrSecurity {
  readonly mode: 'offer' | 'require'
  readonly keys: readonly WrappingKey[]
}

/** As a Map-Server, towards the ETRs of a site. */
export interface SiteSecurity {
  readonly mode: 'offer' | 'require'
  readonly key: WrappingKey
}

/** The delegation tree, RFC 8111. */
export interface DdtConfig {
  /** Where a Map-Resolver begins; empty: it does not search the tree. */
  readonly roots: readonly Rloc[]
  /** Authoritative for everything. */
  readonly root: boolean
  readonly authoritative: readonly EidPrefix[]
  readonly delegations: readonly DdtDelegation[]
  readonly peers: readonly Rloc[]
  readonly maximumReferrals: number
  /** DER: PKCS #8 and SubjectPublicKeyInfo. Missing: referrals are not signed. */
  readonly signingKeys?: readonly {
    readonly privateKey: Uint8Array
    readonly publicKey: Uint8Array
  }[]
  /** DER public keys of the roots. Missing: signatures are not looked at. */
  readonly rootKeys?: readonly Uint8Array[]
}

/** Exactly one of the two lists has members. */
export interface DdtDelegation {
  readonly eidPrefix: EidPrefix
  readonly nodes: readonly Rloc[]
  readonly mapServers: readonly Rloc[]
  /** DER public keys of those nodes. */
  readonly keys?: readonly Uint8Array[]
  readonly revokedKeys?: readonly Uint8Array[]
}

/** RFC 9437 §5: both sides are configured with the first nonce. */
export interface ConfiguredSubscription {
  readonly eidPrefix: EidPrefix
  readonly nonce: bigint
}

/** RFC 9437, as a Map-Server or Map-Resolver. */
export interface SubscriptionPolicy {
  readonly accept: boolean
  readonly subscribers: readonly {
    /** Hex. */
    readonly xtrId: string
    readonly siteId: bigint | undefined
    readonly rlocs: readonly Rloc[]
    readonly key: AuthenticationKey | undefined
    /** Subscribed without being asked, with the nonce that the xTR has configured too. */
    readonly configured?: readonly ConfiguredSubscription[]
  }[]
  readonly mapResolvers: readonly Rloc[]
  readonly maximum: number
  readonly maximumPerXtr: number
  readonly lifetimeMs: number
  readonly temporaryMs: number
}

/** RFC 8378, as an xTR. */
export interface MulticastPolicy {
  readonly enabled: boolean
  /** Of every xTR of the site one RLOC; empty: we are alone. */
  readonly siteXtrs: readonly Rloc[]
  /** 1–127: an RTR of replication trees and no site. */
  readonly relayLevel: number | undefined
  readonly relayInstances: readonly number[]
  readonly maximumGroups: number
  readonly maximumSources: number
  /** Missing: PIM is not spoken. */
  readonly pim?: PimPolicy | undefined
  /** Missing: hosts are not asked. */
  readonly membership?: MembershipPolicy
}

/** RFC 7761 beside routers of the site, RFC 6831 and RFC 8059 towards other sites. */
export interface PimPolicy {
  readonly drPriority: number
  readonly helloMs: number
  /** Through which routers of the site its sources are reached. */
  readonly sourceRoutes: readonly { readonly sources: EidPrefix; readonly neighbour: IpAddress }[]
  /** `groups` is of instance-ID 0 and holds for all. */
  readonly rendezvousPoints: readonly { readonly groups: EidPrefix; readonly address: IpAddress }[]
  /** Other sites are joined by PIM between the xTRs; false: by the mapping system. */
  readonly joinSites: boolean
  /** RLOCs whose joins are taken, of instance-ID 0. */
  readonly joiners: readonly EidPrefix[]
  /** The core forwards groups: copies leave once, to a group. */
  readonly underlayMulticast: boolean
  /** Core groups for groups of sites (RFC 9798); others keep their own address. */
  readonly underlayGroups: readonly { readonly groups: EidPrefix; readonly address: IpAddress }[]
}

/** IGMP and MLD on the site interfaces. */
export interface MembershipPolicy {
  readonly enabled: boolean
  readonly igmpVersion: 1 | 2 | 3
  readonly mldVersion: 1 | 2
  readonly timing: {
    /** 1–7. */
    readonly robustness: number
    readonly queryIntervalMs: number
    readonly queryResponseMs: number
    readonly lastMemberQueryMs: number
  }
  /** Groups end at once when no host that we know of wants them, without being asked about. */
  readonly fastLeave: boolean
  /** Addresses on the segments of the other xTRs of this site. */
  readonly querierCandidates: readonly IpAddress[]
  /** Per segment and family. */
  readonly maximumGroups: number
  readonly maximumGroupsPerHost: number
  /** Per group. */
  readonly maximumSources: number
}

export interface OwnPrefix {
  readonly eidPrefix: EidPrefix
  readonly interfaceName: string
}

export type { GeoAnswers }

export interface SiteConfig {
  readonly name: string
  readonly keys: readonly AuthenticationKey[]
  readonly prefixes: readonly {
    readonly eidPrefix: EidPrefix
    readonly acceptMoreSpecifics: boolean
  }[]
  /** Hex, lower case; empty = any. */
  readonly xtrIds: readonly string[]
  /** Missing is strict. */
  readonly profile?: PeerProfileName
  /** Names that it may register, with all that begin with them (RFC 9735). Missing: none. */
  readonly names?: readonly { readonly prefix: NamedEid }[]
  /** Places that it may register, and what is said of where it is (RFC 10040). Missing: nothing. */
  readonly geo?: { readonly instanceId: number; readonly answers: GeoAnswers } | undefined
  /** May register as a relay of replication trees. Missing: no. */
  readonly multicastRelay?: boolean
  /** Shared with those of its ETRs that sign Map-Replies (RFC 9303). */
  readonly security?: SiteSecurity | undefined
  /** Of the profile as well; this key alone loosens nothing else. */
  readonly legacyNonces: boolean
}
