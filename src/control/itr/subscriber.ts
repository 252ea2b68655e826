/**
 * The xTR's side of publish/subscribe (RFC 9437 §4–§6): asks with the N bit for the mappings it uses,
 * believes the Map-Notify that confirms, and follows every publication.
 *
 * The first two tries of a Map-Request subscribe; after those, or when the Map-Server refuses, it is
 * asked plainly (RFC 9301), so that nothing depends on it. A refresh of the mapping renews the
 * subscription, and what is no longer in the map-cache is taken back.
 *
 * Nonces (§5: last + 1 where one is known for the prefix, else random): of a random one the upper 28
 * bits are a number that rises with each start and whenever old nonces had to be forgotten, and the
 * lower 35 are random. So it exceeds whatever an earlier run used, without a write for each prefix.
 * A publication must exceed the last nonce of its prefix; gaps are fine. The last one itself is
 * acknowledged again, because the first acknowledgement was lost.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type AuthenticationKey, encodeSigned, verifyMessage } from '../../lisp/authentication.js'
import { coversPrefix, type EidPrefix, eidFromPrefix, formatEidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import { encodeMessage, type MapNotify, type XtrIdentity } from '../../lisp/message.js'
import type { EcmAuthenticationData } from '../../lisp/security-data.js'
import type { MapCache } from '../../tables/map-cache.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { CONTROL_PORT, sendControl, sourceRloc } from '../control-datagram.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { hexOf } from '../map-server/register-guard.js'
import { report } from '../outputs.js'
import { createRisingCounter } from '../rising-counter.js'
import type { SubscriptionView } from '../snapshot.js'
import type { StoredRecord } from '../stored-record.js'
import { createFollowedPrefixes, type Followed } from './followed-prefixes.js'
import { mapRequest } from './map-request-form.js'

/** How a Map-Request asks to be told of changes. */
export interface SubscribingForm {
  readonly nonce: bigint
  readonly identity: XtrIdentity
}

export interface SubscriberHooks {
  /** A confirmation is the answer to the request with its nonce. */
  confirmed(notify: MapNotify, now: Instant, outputs: Output[]): void
  /** The request with this nonce is refused: ask again without the N bit. */
  refused(nonce: bigint, now: Instant, outputs: Output[]): void
  /** What the request with this nonce, which waits for its answer, has asked for. */
  outstanding(nonce: bigint): EidPrefix | undefined
  /** The key that the request with this nonce has begun to share (RFC 9437 §7.1). */
  associationOf(nonce: bigint): AuthenticationKey | undefined
  /** LISP-SEC data for a removal, which nobody answers with a Map-Reply. */
  protect(nonce: bigint, resolver: Rloc): EcmAuthenticationData | undefined
  /** Changes of mappings that we use. */
  published(records: readonly Mapping[], now: Instant, outputs: Output[]): void
  /** The Map-Server has dropped us: ask again for what is still cached. */
  renew(eidPrefix: EidPrefix, now: Instant, outputs: Output[]): void
}

export interface Subscriber {
  /** How the next Map-Request for this prefix is to subscribe; undefined: plainly. */
  form(eidPrefix: EidPrefix, attempt: number, outputs: Output[]): SubscribingForm | undefined
  /** A plain Map-Reply has answered instead: the Map-Server knows no subscription of ours. */
  answeredPlainly(eidPrefix: EidPrefix): void
  /** Publishing is not wanted for a while: the Map-Server has refused. */
  refused(eidPrefix: EidPrefix, now: Instant, outputs: Output[]): void
  /** True when the Map-Notify was for us: a confirmation or a publication, genuine or a replay. */
  handleNotify(
    notify: MapNotify,
    bytes: Uint8Array,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): boolean
  restore(records: readonly StoredRecord[], outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  views(now: Instant): SubscriptionView[]
  count(): number
}

/** Tries of one Map-Request that subscribe; a Map-Server that drops them silently is asked plainly. */
const SUBSCRIBING_TRIES = 2
/** Our choice: how long a refusal stands. */
const REFUSAL_MS = 60_000
const RANDOM_BITS = 35n
/** After the end of a map-cache entry its subscription is taken back. */
const END_SLACK_MS = 50

export function createSubscriber(
  config: NodeConfig,
  capabilities: Capabilities,
  cache: MapCache,
  hooks: SubscriberHooks,
): Subscriber {
  const { subscribe, acceptUnsolicited, configured = [] } = config.publishSubscribe
  const identity: XtrIdentity = { xtrId: config.xtrId, siteId: config.siteId }
  const keys = config.mapServers.map((server) => server.key)
  // Else nobody could tell us anything that we would believe.
  const sharesKey = keys.length > 0 || (config.security?.mode ?? 'off') !== 'off'
  const deadlines = createDeadlines()
  const counter = createRisingCounter(SUBSCRIPTION_NONCE_SCOPE)
  let epoch: bigint | undefined
  const followed = createFollowedPrefixes((oldest) => {
    deadlines.cancel(oldest.key)
    // What is asked next time for it must exceed what was asked before.
    epoch = undefined
  })

  function freshNonce(outputs: Output[]): bigint {
    epoch ??= counter.next(outputs)
    return (epoch << RANDOM_BITS) | (capabilities.random.nonce() >> (64n - RANDOM_BITS))
  }

  // ------------------------------------------------------------------ what comes

  function keyOfMessage(
    bytes: Uint8Array,
    one: Followed | undefined,
    begun?: AuthenticationKey,
  ): AuthenticationKey | undefined {
    for (const own of [begun, one?.association])
      if (own !== undefined && verifyMessage(bytes, own, capabilities.hmac)) return own
    return keys.find((key) => verifyMessage(bytes, key, capabilities.hmac))
  }

  function acknowledge(
    notify: MapNotify,
    key: AuthenticationKey,
    to: Rloc,
    outputs: Output[],
  ): void {
    const ack = { ...notify, kind: 'map-notify-ack' as const }
    sendControl(config, to, encodeSigned(ack, key, capabilities.hmac), outputs)
  }

  function confirm(one: Followed, notify: MapNotify, now: Instant, outputs: Output[]): void {
    one.state = 'subscribed'
    if (notify.nonce > one.last) one.last = notify.nonce
    followed.cover(one, widest(notify.records) ?? one.coverage)
    report(outputs, 'subscription-confirmed', 'debug', {
      eidPrefix: one.key,
      coverage: formatEidPrefix(one.coverage),
    })
    hooks.confirmed(notify, now, outputs)
    watch(one, now)
  }

  /** Looks at the subscription again when the map-cache entry it serves is over. */
  function watch(one: Followed, now: Instant): void {
    const expiresAt = entryOf(one, now)?.expiresAt ?? now
    if (Number.isFinite(expiresAt)) deadlines.set(one.key, expiresAt + END_SLACK_MS)
    else deadlines.set(one.key, now + REFUSAL_MS)
  }

  function entryOf(one: Followed, now: Instant) {
    const found = cache.lookup(eidFromPrefix(one.eidPrefix), now)
    return found.kind === 'miss' ? undefined : found.entry
  }

  function handlePublication(
    one: Followed,
    notify: MapNotify,
    key: AuthenticationKey,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): void {
    const about = { eidPrefix: one.key, from: formatIpAddress(from), nonce: hexNonce(notify) }
    if (notify.nonce < one.last) {
      report(outputs, 'publication-rejected', 'notice', { ...about, reason: 'replayed' })
      return
    }
    const isRepeated = notify.nonce === one.last
    if (isDismissal(notify)) {
      // RFC 9437 §5: the Map-Server has dropped us, perhaps because our acknowledgements were lost.
      const wasSubscribed = one.state === 'subscribed'
      one.state = 'none'
      if (!wasSubscribed) return
      report(outputs, 'publication-received', 'notice', { ...about, reason: 'dismissed' })
      if (entryOf(one, now) !== undefined) hooks.renew(one.eidPrefix, now, outputs)
      return
    }
    const skipped = Number(notify.nonce - one.last) - 1
    one.last = notify.nonce
    followed.touch(one)
    acknowledge(notify, key, from, outputs)
    if (isRepeated) return
    if (one.state !== 'subscribed' && one.state !== 'asked') {
      report(outputs, 'publication-rejected', 'info', { ...about, reason: 'not-subscribed' })
      return
    }
    const wanted = notify.records.filter((record) => isWanted(one, record))
    if (wanted.length < notify.records.length)
      report(outputs, 'publication-rejected', 'notice', { ...about, reason: 'unrelated-record' })
    report(outputs, 'publication-received', 'info', {
      eidPrefix: one.key,
      records: wanted.length,
      skipped,
    })
    for (const { eidPrefix } of wanted)
      if (coversPrefix(eidPrefix, one.eidPrefix)) followed.cover(one, eidPrefix)
    hooks.published(wanted, now, outputs)
    watch(one, now)
  }

  /** Only what belongs to the subscription: a publication must not plant anything else. */
  function isWanted(one: Followed, record: Mapping): boolean {
    const { eidPrefix } = record
    return coversPrefix(one.coverage, eidPrefix) || coversPrefix(eidPrefix, one.eidPrefix)
  }

  /** RFC 9437 §5: publications that were not asked for, where the configuration allows them. */
  function handleUnsolicited(
    notify: MapNotify,
    bytes: Uint8Array,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): boolean {
    if (!acceptUnsolicited || notify.records.length === 0) return false
    const known = notify.records.every(
      (record) => cache.exact(record.eidPrefix)?.origin === 'map-notify' || isLearned(record),
    )
    const key = known ? keyOfMessage(bytes, undefined) : undefined
    if (key === undefined) return false
    const one = followed.begin(notify.records[0]!.eidPrefix, notify.nonce - 1n)
    one.state = 'subscribed'
    handlePublication(one, notify, key, from, now, outputs)
    return true
  }

  function isLearned(record: Mapping): boolean {
    const entry = cache.exact(record.eidPrefix)
    return entry !== undefined && entry.origin !== 'local' && entry.origin !== 'away'
  }

  // ------------------------------------------------------------------ taking back

  function takeBack(one: Followed, outputs: Output[]): void {
    one.state = 'removing'
    one.last += 1n
    const to = config.mapResolvers[0]
    if (to === undefined) return
    const destination = one.eidPrefix.address
    const request = mapRequest(config, one.eidPrefix, one.last, {
      itrRlocs: [],
      records: [{ subscribe: true, eidPrefix: one.eidPrefix }],
      identity,
    })
    const securityData = hooks.protect(one.last, to)
    const bytes = encodeMessage({
      kind: 'encapsulated-control',
      security: securityData !== undefined,
      ...(securityData === undefined ? {} : { securityData }),
      ddtOriginated: false,
      innerSource: sourceRloc(config, destination) ?? destination,
      innerDestination: destination,
      innerSourcePort: CONTROL_PORT,
      innerDestinationPort: CONTROL_PORT,
      message: encodeMessage(request),
    })
    sendControl(config, to, bytes, outputs)
    report(outputs, 'subscription-removed', 'debug', { reason: 'unused', eidPrefix: one.key })
  }

  return {
    form(eidPrefix, attempt, outputs) {
      if (!subscribe || attempt >= SUBSCRIBING_TRIES || !sharesKey) return undefined
      const known = followed.get(eidPrefix)
      if (known?.refusedUntil !== undefined) return undefined
      const one = known ?? followed.begin(eidPrefix, freshNonce(outputs) - 1n)
      one.last += 1n
      if (one.state !== 'subscribed') one.state = 'asked'
      followed.touch(one)
      return { nonce: one.last, identity }
    },
    answeredPlainly(eidPrefix) {
      const one = followed.get(eidPrefix)
      if (one !== undefined) one.state = 'none'
    },
    refused(eidPrefix, now, outputs) {
      const one = followed.get(eidPrefix)
      if (one === undefined) return
      one.state = 'none'
      one.refusedUntil = now + REFUSAL_MS
      deadlines.set(one.key, one.refusedUntil)
      report(outputs, 'subscription-refused', 'notice', {
        reason: 'map-server',
        eidPrefix: one.key,
      })
    },
    handleNotify(notify, bytes, from, now, outputs) {
      const asked = hooks.outstanding(notify.nonce)
      const own = asked === undefined ? undefined : followed.get(asked)
      const one = own ?? followed.nearest(notify)
      if (one === undefined) return handleUnsolicited(notify, bytes, from, now, outputs)
      const begun = own === undefined ? undefined : hooks.associationOf(notify.nonce)
      const key = keyOfMessage(bytes, one, begun)
      if (key === undefined) return false
      if (begun !== undefined && key === begun) one.association = begun
      if (own === undefined) {
        handlePublication(one, notify, key, from, now, outputs)
        return true
      }
      acknowledge(notify, key, from, outputs)
      if (isDismissal(notify)) hooks.refused(notify.nonce, now, outputs)
      else confirm(one, notify, now, outputs)
      return true
    },
    restore(records, outputs) {
      for (const record of records)
        if (record.kind === 'reservation' && record.scope === SUBSCRIPTION_NONCE_SCOPE)
          counter.restore(record.ceiling)
      if (subscribe) outputs.push({ kind: 'persist', records: [counter.open()], then: [] })
      // RFC 9437 §5: the first publication has the nonce after the configured one.
      for (const { eidPrefix, nonce } of configured)
        Object.assign(followed.begin(eidPrefix, nonce), { state: 'subscribed', configured: true })
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const one = followed.byKey(key)
        if (one === undefined) continue
        one.refusedUntil = undefined
        if (one.state !== 'subscribed') continue
        const entry = entryOf(one, now)
        if (entry !== undefined && entry.origin !== 'local') watch(one, now)
        else if (!one.configured) takeBack(one, outputs)
      }
    },
    deadline: () => deadlines.next(),
    count() {
      let count = 0
      for (const one of followed.values()) if (isShown(one)) count += 1
      return count
    },
    views: (now) => [...followed.values()].filter(isShown).map((one) => viewOf(one, now)),
  }

  function viewOf(one: Followed, now: Instant): SubscriptionView {
    return {
      eidPrefix: one.key,
      instanceId: one.eidPrefix.instanceId,
      side: 'xtr',
      xtrId: hexOf(config.xtrId),
      itrRlocs: config.rlocs.map(({ address }) => formatIpAddress(address)),
      coverage: formatEidPrefix(one.coverage),
      state: one.state === 'subscribed' ? 'subscribed' : 'offered',
      upToDate: true,
      expiresInMs: Math.max(0, (deadlines.get(one.key) ?? now) - now),
    }
  }
}

/** Name of our block of numbers in the store. */
const SUBSCRIPTION_NONCE_SCOPE = 'subscription'

function isShown({ state }: Followed): boolean {
  return state === 'subscribed' || state === 'asked'
}

/** No locator and ACT 5: not a mapping, but the end of a subscription (RFC 9437 §5). */
function isDismissal(notify: MapNotify): boolean {
  return notify.records.every(
    ({ locators, action }) => locators.length === 0 && action === 'drop-auth-failure',
  )
}

function widest(records: readonly Mapping[]): EidPrefix | undefined {
  return records.map(({ eidPrefix }) => eidPrefix).sort((a, b) => a.maskLength - b.maskLength)[0]
}

function hexNonce(notify: MapNotify): string {
  return notify.nonce.toString(16)
}
