/**
 * The only window into a node's state: plain JSON, made on demand for the API, the CLI and tests.
 *
 * Addresses and prefixes are canonical text, times are milliseconds relative to the moment of the
 * snapshot (positive = ago or remaining, by name). No secrets: these types have no field for them.
 * A table is made when it is first read: read what you need at once, not later. Large tables are
 * read page by page (table-pages.ts).
 */
import type { GroupView } from './multicast/group-views.js'
import type { PimLinkView } from './multicast/pim-links.js'
import type { ListenerView, SegmentView } from './multicast/segment-views.js'

export interface NodeSnapshot {
  readonly node: string
  readonly roles: readonly string[]
  readonly mapCache: readonly MapCacheView[]
  readonly mappingDatabase: readonly MappingDatabaseView[]
  readonly registrations: readonly RegistrationView[]
  readonly sites: readonly SiteView[]
  /** What the Map-Resolver has learned of the delegation tree (RFC 8111). */
  readonly referrals: readonly ReferralView[]
  readonly subscriptions: readonly SubscriptionView[]
  readonly locators: readonly LocatorStateView[]
  readonly moves: readonly MoveView[]
  readonly groups: readonly GroupView[]
  /** Where PIM is spoken. */
  readonly pimLinks: readonly PimLinkView[]
  /** IGMP and MLD: who listens on our segments, and who asks there. */
  readonly listeners: readonly ListenerView[]
  readonly segments: readonly SegmentView[]
}

export interface LocatorView {
  readonly rloc: string
  readonly priority: number
  readonly weight: number
  readonly reachable: boolean
}

export interface MapCacheView {
  readonly eidPrefix: string
  readonly instanceId: number
  /** forward, or what a negative mapping asks for. */
  readonly action:
    | 'forward'
    | 'natively-forward'
    | 'send-map-request'
    | 'drop'
    | 'no-action'
    | 'drop-policy-denied'
    | 'drop-auth-failure'
  readonly locators: readonly LocatorView[]
  readonly mapVersion: number
  readonly expiresInMs: number
  readonly installedAgoMs: number
  readonly origin: 'map-reply' | 'map-notify' | 'gleaned' | 'away' | 'restored' | 'local'
  readonly refreshing: boolean
}

export interface MappingDatabaseView {
  readonly eidPrefix: string
  readonly instanceId: number
  readonly kind: 'static' | 'dynamic-prefix' | 'dynamic-eid'
  readonly state: 'local' | 'standby' | 'away'
  readonly interfaceName: string
  readonly mac: string | undefined
  readonly locators: readonly LocatorView[]
  readonly mapVersion: number
  readonly registered: boolean
  readonly registeredAgoMs: number | undefined
}

export interface RegistrationView {
  readonly eidPrefix: string
  readonly instanceId: number
  readonly site: string
  readonly owner: string
  readonly locators: readonly LocatorView[]
  readonly mapVersion: number
  readonly proxyReply: boolean
  readonly expiresInMs: number
  readonly registeredAgoMs: number
}

/** A registered name (RFC 9735) or place (RFC 10040); one view per registrant. */
export interface DescribedEidView {
  /** As `[7]"ietf"`, `[7]52.52,13.405 r 2000 m`. */
  readonly eid: string
  readonly kind: 'name' | 'place'
  readonly instanceId: number
  readonly site: string
  readonly owner: string
  readonly locators: readonly LocatorView[]
  /** Those that are no addresses, as text. */
  readonly otherLocators: readonly string[]
  readonly proxyReply: boolean
  readonly expiresInMs: number
}

export interface SiteView {
  readonly name: string
  readonly prefixes: readonly {
    readonly prefix: string
    readonly instanceId: number
    readonly acceptMoreSpecifics: boolean
  }[]
  readonly registrations: number
}

export interface ReferralView {
  readonly eidPrefix: string
  readonly instanceId: number
  readonly kind: string
  /** Whom to ask next. */
  readonly rlocs: readonly string[]
  readonly expiresInMs: number
}

/** Who is told of changes (at a Map-Server), or what this xTR is told of (RFC 9437). */
export interface SubscriptionView {
  /** As asked for. */
  readonly eidPrefix: string
  readonly instanceId: number
  readonly side: 'map-server' | 'xtr'
  /** Of the subscriber. */
  readonly xtrId: string
  readonly itrRlocs: readonly string[]
  /** What was answered, and so what is told of. */
  readonly coverage: string
  readonly state: 'offered' | 'temporary' | 'subscribed' | 'removed'
  /** The subscriber has acknowledged the newest mapping; always so on an xTR. */
  readonly upToDate: boolean
  readonly expiresInMs: number
}

export interface LocatorStateView {
  readonly rloc: string
  readonly reachable: boolean
  readonly probing: boolean
  readonly roundTripMs: number | undefined
  readonly lastReplyAgoMs: number | undefined
  readonly lossPercent: number
  /** Largest outer packet in bytes, where ICMP has said that it is less than the configuration says. */
  readonly pathMtu?: number
}

/** The stages of a move in the order in which they normally happen. */
export const MOVE_STAGES = [
  'requested',
  'source-redirected',
  'ready',
  'endpoint-seen',
  'registered',
  'senders-solicited',
  'converged',
  'failed',
] as const
export type MoveStage = (typeof MOVE_STAGES)[number]

export interface MoveView {
  readonly moveId: string
  readonly trigger: 'orchestrated' | 'detected'
  readonly state: 'preparing' | 'ready' | 'arrived' | 'converged' | 'failed'
  readonly eids: readonly string[]
  readonly source: string | undefined
  readonly destination: string
  readonly reason: string | undefined
  readonly timeline: readonly { readonly stage: MoveStage; readonly agoMs: number }[]
}

/** An object whose fields are made when they are first read, and once. */
export function lazily<T extends object>(makers: { readonly [K in keyof T]: () => T[K] }): T {
  const target = {} as T
  for (const name of Object.keys(makers) as (keyof T)[]) {
    let made: { readonly value: T[keyof T] } | undefined
    Object.defineProperty(target, name, {
      enumerable: true,
      get() {
        made ??= { value: makers[name]() }
        return made.value
      },
    })
  }
  return target
}
