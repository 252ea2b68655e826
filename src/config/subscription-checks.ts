/**
 * What must hold between the keys for publish/subscribe (RFC 9437): who is told, where, and under which
 * key; subscriptions that only the configuration knows need a key, because nobody asks for them (§5).
 */

import { type PlacedPrefix, type Report, reachableFrom, readPrefix } from './placed-addresses.js'
import type { Config } from './schema.js'

export function checkSubscriptions(
  config: Config,
  own: readonly PlacedPrefix[],
  error: Report,
  warn: Report,
): void {
  const { subscriptions, publishSubscribe } = config
  const base = ['subscriptions', 'subscribers'] as const
  const reach = reachableFrom(config, own, error)
  subscriptions.mapResolvers.forEach((text, index) => {
    reach(['subscriptions', 'mapResolvers', index], text, 'a Map-Resolver')
  })
  const seen = new Set<string>()
  subscriptions.subscribers.forEach(({ xtrId, rlocs, key, configured }, index) => {
    if (seen.has(xtrId)) error([...base, index, 'xtrId'], `${xtrId} is there twice`, 'merge them')
    seen.add(xtrId)
    rlocs.forEach((text, at) => {
      reach([...base, index, 'rlocs', at], text, 'the RLOC of an xTR')
    })
    configured.forEach(({ prefix, instanceId }, at) => {
      readPrefix([...base, index, 'configured', at, 'prefix'], prefix, instanceId, error)
    })
    if (configured.length > 0 && key === undefined) {
      const hint = 'add key: nobody asks, so no other key can be agreed on'
      error([...base, index, 'configured'], 'needs a key', hint)
    }
  })
  publishSubscribe.configured.forEach(({ prefix, instanceId }, index) => {
    readPrefix(['publishSubscribe', 'configured', index, 'prefix'], prefix, instanceId, error)
  })
  if (subscriptions.temporarySeconds > subscriptions.lifetimeSeconds) {
    const problem = `is ${subscriptions.temporarySeconds}, above lifetimeSeconds`
    warn(
      ['subscriptions', 'temporarySeconds'],
      problem,
      'a temporary one should not outlive others',
    )
  }
}
