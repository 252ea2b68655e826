/**
 * Subscriptions between the Map-Server's table and the store (RFC 9437 §5: they outlive a restart,
 * and so do their nonces).
 *
 * The nonce of the last publication is not written each time; what is stored is a number that it has
 * not passed, and after a restart publications continue above that (RFC 9437 §6 allows gaps). A
 * pre-shared key is stored as a reference to the configuration, a key made from a one-time key of
 * RFC 9303 as itself: nothing else could make it again.
 */
import {
  type AlgorithmId,
  type AuthenticationKey,
  authenticationLength,
} from '../../lisp/authentication.js'
import { type Subscription, subscriptionId } from '../../tables/subscriptions.js'
import type { StoredRecord } from '../stored-record.js'

type StoredSubscription = Extract<StoredRecord, { readonly kind: 'subscription' }>

export function storedSubscription(one: Subscription): StoredSubscription {
  const { xtrId, siteId, eidPrefix, itrRlocs, key, keyOwner, askedNonce, nonceCeiling } = one
  return {
    kind: 'subscription',
    xtrId,
    siteId,
    eidPrefix,
    itrRlocs,
    keyOwner,
    keyId: key.keyId,
    algorithm: key.algorithm,
    secret: keyOwner === undefined ? key.secret : undefined,
    authenticationLength: one.authenticationLength,
    askedNonce,
    nonceCeiling,
    removed: one.state === 'removed',
    suppresses: one.suppresses,
    temporary: one.temporary,
    expiresAt: one.expiresAt,
  }
}

/**
 * The subscription of a record; `key` is the present pre-shared key it names. Undefined when there is
 * no key for it any more: then it is as if it had never been.
 */
export function restoredSubscription(
  record: StoredSubscription,
  key: AuthenticationKey | undefined,
): Subscription | undefined {
  const { xtrId, siteId, eidPrefix, itrRlocs, keyOwner, askedNonce, nonceCeiling } = record
  const own: AuthenticationKey | undefined =
    record.secret === undefined
      ? undefined
      : {
          keyId: record.keyId,
          algorithm: record.algorithm as AlgorithmId,
          secret: record.secret,
        }
  const present = keyOwner === undefined ? own : key
  if (present === undefined) return undefined
  return {
    id: subscriptionId(xtrId, eidPrefix),
    xtrId,
    siteId,
    eidPrefix,
    coverage: eidPrefix,
    itrRlocs,
    key: present,
    keyOwner,
    authenticationLength: record.authenticationLength || authenticationLength(present.algorithm),
    askedNonce,
    offeredNonce: askedNonce,
    sentNonce: nonceCeiling,
    nonceCeiling,
    state: record.removed ? 'removed' : 'subscribed',
    temporary: record.temporary,
    suppresses: record.suppresses,
    expiresAt: record.expiresAt,
  }
}
