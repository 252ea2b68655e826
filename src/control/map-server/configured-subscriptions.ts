/**
 * Subscriptions that nobody has to ask for (RFC 9437 §5): the Map-Server is configured with the
 * subscriber, its key and the first nonce; the xTR with the same nonce.
 */
import type { SubscriptionPolicy } from '../../config/node-config.js'
import { authenticationLength } from '../../lisp/authentication.js'
import type { Subscription } from '../../tables/subscriptions.js'
import type { Instant } from '../capabilities.js'
import { SUBSCRIBER } from './subscription-admission.js'
import { newSubscription } from './subscription-intake.js'

/** They do not expire: in a hundred years. */
const FOREVER_MS = 100 * 365 * 24 * 3_600_000

/** The configured subscriptions of every listed xTR that has a key; the next nonce is the first told. */
export function configuredSubscriptions(policy: SubscriptionPolicy, now: Instant): Subscription[] {
  return policy.subscribers.flatMap(({ xtrId, siteId, rlocs, key, configured = [] }) => {
    if (key === undefined) return []
    const length = authenticationLength(key.algorithm)
    const about = { xtrId, siteId, rlocs, key, keyOwner: SUBSCRIBER, authenticationLength: length }
    return configured.map(({ eidPrefix, nonce }) => ({
      ...newSubscription(about, eidPrefix),
      itrRlocs: rlocs,
      askedNonce: nonce,
      offeredNonce: nonce,
      sentNonce: nonce,
      nonceCeiling: nonce,
      state: 'subscribed' as const,
      expiresAt: now + FOREVER_MS,
    }))
  })
}
