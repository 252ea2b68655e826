/**
 * Who may subscribe at this Map-Resolver or Map-Server (RFC 9437 §1.1, §5), and with which key it is
 * told: the security association.
 *
 * An xTR is known from the configuration (`subscriptions.subscribers`), or because it has
 * registered here: its authenticated Map-Registers name its xTR-ID, its Site-ID and its RLOCs, and the
 * key of its site is a pre-shared key between the two of us. Our choice: what is not known at all gets
 * a plain Map-Reply (RFC 9301) and loses nothing; a listed xTR without any key gets one made of the
 * one-time key of its request (RFC 9437 §7.1, LISP-SEC); a listed xTR with foreign RLOCs gets ACT 5,
 * and with a list, who is not on it gets ACT 4 (RFC 9437 §5).
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses } from '../../lisp/address.js'
import { type AuthenticationKey, authenticationLength } from '../../lisp/authentication.js'
import type { Rloc } from '../../lisp/locator.js'
import type { MapRequest } from '../../lisp/message.js'
import type { StoredRecord } from '../stored-record.js'
import type { EncapsulatedRequest } from './map-request-answers.js'
import { hexOf } from './register-guard.js'

/** An xTR with which we share a key. */
export interface Speaker {
  readonly xtrId: string
  /** Undefined when it is not known: then any is believed. */
  readonly siteId: bigint | undefined
  readonly rlocs: readonly Rloc[]
  readonly key: AuthenticationKey
  /** Where the key stands in the configuration: `site/<name>` or `subscriber`; nowhere when it was made of a one-time key. */
  readonly keyOwner: string | undefined
  /** The mark of that one-time key (RFC 9437 §7.1). */
  readonly oneTimeKey?: string
  /** Bytes of authentication data in its dialect. */
  readonly authenticationLength: number
}

export type SubscriptionVerdict =
  | { readonly kind: 'accept'; readonly speaker: Speaker }
  /** Answer as if nobody had asked to subscribe. */
  | { readonly kind: 'plain'; readonly reason: string }
  | {
      readonly kind: 'refuse'
      readonly action: 'drop-policy-denied' | 'drop-auth-failure'
      readonly reason: string
    }

export interface SubscriptionAdmission {
  /** An authenticated Map-Register of this xTR has come. */
  heard(speaker: Speaker): void
  judge(received: EncapsulatedRequest): SubscriptionVerdict
  /** What its registers have told of an xTR. */
  known(xtrId: string): Speaker | undefined
  /** The present key of an xTR whose key was `keyOwner`'s; undefined when that is gone. */
  keyOf(xtrId: string, keyOwner: string, keyId: number): AuthenticationKey | undefined
}

/** Our choice: some 300 bytes each; only holders of a site's key can add one. */
const MAXIMUM_SPEAKERS = 100_000
/** RLOCs of one xTR that are remembered. */
const MAXIMUM_RLOCS = 64

export function createSubscriptionAdmission(config: NodeConfig): SubscriptionAdmission {
  const { subscriptions } = config
  const { sites } = config.mapServer
  const listed = new Map(subscriptions.subscribers.map((one) => [one.xtrId, one]))
  const speakers = new Map<string, Speaker>()

  /** Whether the request came from the xTR itself to our own resolver, or from one we trust. */
  const isTrustedPath = (received: EncapsulatedRequest, rlocs: readonly Rloc[]): boolean => {
    const { from } = received.datagram
    if (includes(subscriptions.mapResolvers, from)) return true
    return received.viaResolver === true && includes(rlocs, from)
  }

  return {
    heard(speaker) {
      // Who holds the key of another site does not become this xTR by giving its xTR-ID.
      const known = speakers.get(speaker.xtrId)
      if (known !== undefined && known.keyOwner !== speaker.keyOwner) return
      speakers.delete(speaker.xtrId)
      speakers.set(speaker.xtrId, { ...speaker, rlocs: speaker.rlocs.slice(0, MAXIMUM_RLOCS) })
      if (speakers.size <= MAXIMUM_SPEAKERS) return
      for (const oldest of speakers.keys()) if (speakers.delete(oldest)) break
    },
    known: (xtrId) => speakers.get(xtrId),
    judge(received) {
      const { identity, itrRlocs } = received.request
      if (!subscriptions.accept) return { kind: 'plain', reason: 'not-offered' }
      if (identity === undefined) return { kind: 'plain', reason: 'no-xtr-id' }
      const xtrId = hexOf(identity.xtrId)
      const entry = listed.get(xtrId)
      const known = speakers.get(xtrId)
      const shared = entry?.key ?? known?.key
      const begun = shared === undefined && entry !== undefined ? received.security : undefined
      const key = shared ?? begun?.subscriptionKey()
      if (entry === undefined && listed.size > 0)
        return { kind: 'refuse', action: 'drop-policy-denied', reason: 'not-listed' }
      if (key === undefined) return { kind: 'plain', reason: 'unknown-xtr' }
      const rlocs = entry?.rlocs ?? known?.rlocs ?? []
      const isOwn = itrRlocs.every((rloc) => includes(rlocs, rloc))
      const siteId = entry?.siteId ?? known?.siteId
      if (!isOwn || (siteId !== undefined && siteId !== identity.siteId)) {
        const reason = isOwn ? 'foreign-site-id' : 'foreign-itr-rloc'
        return entry === undefined
          ? { kind: 'plain', reason }
          : { kind: 'refuse', action: 'drop-auth-failure', reason }
      }
      if (!isTrustedPath(received, rlocs)) return { kind: 'plain', reason: 'untrusted-resolver' }
      const speaker: Speaker = {
        xtrId,
        siteId,
        rlocs,
        key,
        keyOwner: entry?.key === undefined ? known?.keyOwner : SUBSCRIBER,
        authenticationLength: known?.authenticationLength ?? 0,
        ...(begun === undefined ? {} : { oneTimeKey: begun.mark }),
      }
      return { kind: 'accept', speaker }
    },
    keyOf(xtrId, keyOwner, keyId) {
      if (keyOwner === SUBSCRIBER) return listed.get(xtrId)?.key
      const site = sites.find(({ name }) => siteKeyOwner(name) === keyOwner)
      return site?.keys.find((key) => key.keyId === keyId)
    },
  }
}

/** What a stored registration says about who may subscribe; undefined for one without an xTR-ID. */
export function restoredSpeaker(
  record: Extract<StoredRecord, { kind: 'registration' }>,
  key: AuthenticationKey | undefined,
): Speaker | undefined {
  if (key === undefined || !/^[0-9a-f]{32}$/.test(record.owner)) return undefined
  const local = record.locators.filter((one) => one.local).map(({ rloc }) => rloc)
  return {
    xtrId: record.owner,
    siteId: undefined,
    rlocs: [...record.ownerRlocs, ...local],
    key,
    keyOwner: siteKeyOwner(record.site),
    authenticationLength: authenticationLength(key.algorithm),
  }
}

export function siteKeyOwner(site: string): string {
  return `site/${site}`
}

/** Whether a Map-Resolver without a Map-Server of its own may pass this subscription on. */
export function mayForwardSubscription(
  config: NodeConfig,
  request: MapRequest,
  from: Rloc,
): boolean {
  const { identity } = request
  if (identity === undefined) return false
  const { subscribers, mapResolvers } = config.subscriptions
  if (includes(mapResolvers, from)) return true
  const entry = subscribers.find((one) => one.xtrId === hexOf(identity.xtrId))
  if (entry === undefined || !includes(entry.rlocs, from)) return false
  if (entry.siteId !== undefined && entry.siteId !== identity.siteId) return false
  return request.itrRlocs.every((rloc) => includes(entry.rlocs, rloc))
}

/** Names, in `first/second` form, no secret: whose words a Map-Notify is signed with. */
export const SUBSCRIBER = 'subscriber'

function includes(rlocs: readonly Rloc[], one: Rloc): boolean {
  return rlocs.some((rloc) => equalIpAddresses(rloc, one))
}
