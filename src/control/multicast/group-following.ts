/**
 * The source side of a site, and a relay: which replication lists are followed, and keeping them true.
 *
 * Supported standards: RFC 8378 §5.2.2 (Map-Request for LCAF 9), §5 (changes come as Map-Notify), RFC 9437
 * (N bit, answered by a Map-Notify with the nonce of the request). A list is asked for when a local
 * source sends, taken when the Map-Server names one of our sources unasked, and asked for again every
 * minute: what was lost is repaired then, and the Map-Server learns that somebody still follows.
 * An answer that a publication has overtaken is left aside by its map-version. What nobody sends to any
 * more is forgotten and the subscription taken back.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import type { ReplicationEntry } from '../../lisp/afi-address.js'
import { encodeSigned, verifyMessage } from '../../lisp/authentication.js'
import type { Rloc } from '../../lisp/locator.js'
import { isNewerMapVersion } from '../../lisp/map-version.js'
import type { StructuredMapping } from '../../lisp/mapping.js'
import { encodeMessage, type MapNotify, type MapReply } from '../../lisp/message.js'
import {
  formatGroup,
  groupAddress,
  groupOf,
  type MulticastGroup,
} from '../../lisp/multicast/multicast-group.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { CONTROL_PORT, sendControl, sourceRloc } from '../control-datagram.js'
import type { DatapathEvent } from '../datapath-event.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { mapRequest } from '../itr/map-request-form.js'
import { push, report } from '../outputs.js'
import { keyTowards } from '../peer-profile.js'
import { entriesOf } from './replication-list.js'

export interface GroupFollowing {
  /** A source of ours sends, or will soon: its list is wanted. False when there are too many. */
  follow(group: MulticastGroup, now: Instant, outputs: Output[]): boolean
  /** As if the Map-Server had said so: what another xTR knows of a source that comes here. */
  adopt(group: MulticastGroup, record: StructuredMapping, now: Instant, outputs: Output[]): void
  /** True when it answers a request of ours. */
  handleReply(reply: MapReply, from: Rloc, now: Instant, outputs: Output[]): boolean
  /** A Map-Notify about groups: an answer, or the news. */
  handleNotify(
    notify: MapNotify,
    bytes: Uint8Array,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): void
  handleUsage(
    event: Extract<DatapathEvent, { kind: 'replication-usage' }>,
    now: Instant,
    outputs: Output[],
  ): void
  /** Undefined: not followed. Empty: nobody else listens. */
  entriesOf(group: MulticastGroup): readonly ReplicationEntry[] | undefined
  followed(): Iterable<MulticastGroup>
  /** Forgets the groups of sources for which `isHere` is no longer true. */
  sweep(isHere: (group: MulticastGroup) => boolean, now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  readonly size: number
}

export interface FollowingHooks {
  /** The list of this group has changed, or is gone. */
  changed(group: MulticastGroup, now: Instant, outputs: Output[]): void
  /** Whether a list that nobody asked for concerns us: its source is ours, or we are a relay. */
  isOurs(group: MulticastGroup): boolean
}

interface Followed {
  readonly key: string
  readonly group: MulticastGroup
  entries: readonly ReplicationEntry[]
  /** Whether anybody has told us a list yet. */
  told: boolean
  mapVersion: number
  /** Of the request under way; undefined when there is none. */
  nonce: bigint | undefined
  tries: number
  /** A publication has come since the request was sent. */
  overtaken: boolean
  /** When the source was last known to send, or the list to have been taken up. */
  usedAt: Instant
}

/** RFC 9301 §5.3: a request for one EID-prefix at most once per second, growing. */
const RETRY_MS = [1000, 2000, 4000]
/** Our choice, see the header; three of them are missed before the Map-Server forgets us. */
const RENEWAL_MS = 60_000
const RENEWAL_JITTER = 0.15
/** Nonces remembered, see `spent`. */
const MAXIMUM_SPENT = 1024
/** Our choice, as the state of PIM-SM sources (RFC 7761 §4.11, Keepalive_Period 210 s). */
const IDLE_MS = 210_000

export function createGroupFollowing(
  config: NodeConfig,
  capabilities: Capabilities,
  hooks: FollowingHooks,
): GroupFollowing {
  const { random, hmac } = capabilities
  const byKey = new Map<string, Followed>()
  const byNonce = new Map<bigint, Followed>()
  /** Of requests that are answered or replaced: a late answer to one is no news. */
  const spent = new Set<bigint>()
  const deadlines = createDeadlines()
  /** Of each Map-Server the highest nonce of what it said unasked, by group. */
  const lastNonces = config.mapServers.map(() => new Map<string, bigint>())
  const identity = { xtrId: config.xtrId, siteId: config.siteId }

  function open(group: MulticastGroup, now: Instant, outputs: Output[]): Followed | undefined {
    const key = formatGroup(group)
    const known = byKey.get(key)
    if (known !== undefined) return known
    if (byKey.size >= config.multicast.maximumSources) {
      report(outputs, 'group-refused', 'warning', { reason: 'too-many-sources', group: key })
      return undefined
    }
    const one: Followed = {
      key,
      group,
      entries: [],
      told: false,
      mapVersion: 0,
      nonce: undefined,
      tries: 0,
      overtaken: false,
      usedAt: now,
    }
    byKey.set(key, one)
    report(outputs, 'group-followed', 'info', { group: key })
    return one
  }

  function ask(one: Followed, now: Instant, outputs: Output[]): void {
    spend(one)
    one.nonce = random.nonce()
    one.overtaken = false
    byNonce.set(one.nonce, one)
    sendRequest(one, one.nonce, true, outputs)
    const wait = RETRY_MS[one.tries] ?? RENEWAL_MS
    one.tries += 1
    deadlines.set(one.key, now + wait)
  }

  /** @param stay false: an N bit without ITR-RLOC takes the subscription back (RFC 9437 §5). */
  function sendRequest(one: Followed, nonce: bigint, stay: boolean, outputs: Output[]): void {
    const { mapResolvers } = config
    const to = mapResolvers[one.tries % Math.max(1, mapResolvers.length)]
    if (to === undefined) return
    const eid = groupAddress(one.group)
    const destination = one.group.source ?? to
    const request = mapRequest(config, undefined, nonce, {
      ...(stay ? {} : { itrRlocs: [] }),
      structuredRecords: [{ subscribe: true, eid, maskLength: eid.groupMaskLength }],
      identity,
    })
    const bytes = encodeMessage({
      kind: 'encapsulated-control',
      security: false,
      ddtOriginated: false,
      innerSource: sourceRloc(config, destination) ?? destination,
      innerDestination: destination,
      innerSourcePort: CONTROL_PORT,
      innerDestinationPort: CONTROL_PORT,
      message: encodeMessage(request),
    })
    const sent = sendControl(config, to, bytes, outputs)
    report(outputs, 'map-request-sent', 'debug', {
      reason: sent ? 'group' : 'no-rloc-of-that-family',
      eidPrefix: one.key,
      to: formatIpAddress(to),
    })
  }

  function take(one: Followed, record: StructuredMapping, now: Instant, outputs: Output[]): void {
    const { entries, ignored } = entriesOf(record)
    if (ignored > 0)
      report(outputs, 'replication-entries-ignored', 'notice', {
        reason: 'beyond-limit',
        group: one.key,
        entries: ignored,
      })
    one.entries = record.ttlMinutes === 0 ? [] : entries
    one.mapVersion = record.mapVersion
    one.told = true
    hooks.changed(one.group, now, outputs)
  }

  function spend(one: Followed): void {
    if (one.nonce === undefined) return
    byNonce.delete(one.nonce)
    spent.add(one.nonce)
    if (spent.size > MAXIMUM_SPENT) for (const oldest of spent) if (spent.delete(oldest)) break
    one.nonce = undefined
  }

  function settled(one: Followed, now: Instant): void {
    spend(one)
    one.tries = 0
    const early = random.fraction() * RENEWAL_JITTER
    deadlines.set(one.key, now + RENEWAL_MS * (1 - early))
  }

  function answer(
    one: Followed,
    records: readonly StructuredMapping[],
    now: Instant,
    outputs: Output[],
  ): void {
    const record = records.find((each) => nameOf(each) === one.key)
    const { overtaken } = one
    settled(one, now)
    if (record === undefined) return
    // What was published while the request was under way may be newer than its answer.
    if (overtaken && !isNewerMapVersion(record.mapVersion, one.mapVersion)) return
    take(one, record, now, outputs)
  }

  function forget(one: Followed, reason: string, now: Instant, outputs: Output[]): void {
    byKey.delete(one.key)
    spend(one)
    deadlines.cancel(one.key)
    for (const last of lastNonces) last.delete(one.key)
    sendRequest(one, random.nonce(), false, outputs)
    report(outputs, 'group-unfollowed', 'info', { reason, group: one.key })
    hooks.changed(one.group, now, outputs)
  }

  function publish(
    record: StructuredMapping,
    index: number,
    notify: MapNotify,
    now: Instant,
    outputs: Output[],
  ): void {
    const group = groupOf(record.eid)
    if (group === undefined) return
    const key = formatGroup(group)
    const reject = (reason: string): void =>
      report(outputs, 'publication-rejected', 'notice', { reason, eidPrefix: key })
    const known = byKey.get(key)
    if (known === undefined && !hooks.isOurs(group)) {
      reject('not-ours')
      return
    }
    const one = known ?? open(group, now, outputs)
    if (one === undefined) return
    const last = lastNonces[index]!.get(key)
    if (last !== undefined && notify.nonce < last) {
      reject('replayed')
      return
    }
    lastNonces[index]!.set(key, notify.nonce)
    if (last === notify.nonce) return
    if (one.nonce !== undefined) one.overtaken = true
    const locators = record.locators.length
    report(outputs, 'publication-received', 'debug', { eidPrefix: key, records: locators })
    // A list that nobody asked us for is asked for as well: that is how it is kept true.
    if (deadlines.get(key) === undefined) settled(one, now)
    take(one, record, now, outputs)
    if (config.multicast.relayLevel !== undefined && one.entries.length === 0)
      forget(one, 'no-receivers', now, outputs)
  }

  function renew(one: Followed, now: Instant, outputs: Output[]): void {
    const isRelay = config.multicast.relayLevel !== undefined
    if (!isRelay && now - one.usedAt > IDLE_MS && one.entries.length === 0) {
      forget(one, 'idle', now, outputs)
      return
    }
    push(outputs, { kind: 'query-replication', group: one.group })
    ask(one, now, outputs)
  }

  return {
    get size() {
      return byKey.size
    },
    follow(group, now, outputs) {
      const one = open(group, now, outputs)
      if (one === undefined) return false
      one.usedAt = now
      if (!one.told && one.nonce === undefined) ask(one, now, outputs)
      return true
    },
    adopt(group, record, now, outputs) {
      const one = open(group, now, outputs)
      if (one === undefined) return
      one.usedAt = now
      if (!one.told) take(one, record, now, outputs)
      if (one.nonce === undefined) ask(one, now, outputs)
      // What comes now is newer than what another xTR knew.
      one.mapVersion = 0
    },
    handleReply(reply, from, now, outputs) {
      const one = byNonce.get(reply.nonce)
      if (one === undefined) return false
      report(outputs, 'map-reply-received', 'debug', {
        reason: 'group',
        eidPrefix: one.key,
        from: formatIpAddress(from),
      })
      answer(one, reply.structuredRecords ?? [], now, outputs)
      return true
    },
    handleNotify(notify, bytes, from, now, outputs) {
      const index = config.mapServers.findIndex((server) =>
        verifyMessage(bytes, keyTowards(server), hmac),
      )
      if (index < 0) {
        report(outputs, 'map-notify-rejected', 'notice', {
          reason: 'authentication-failed',
          from: formatIpAddress(from),
        })
        return
      }
      const ack = { ...notify, kind: 'map-notify-ack' as const }
      const key = keyTowards(config.mapServers[index]!)
      sendControl(config, from, encodeSigned(ack, key, hmac), outputs)
      const asked = byNonce.get(notify.nonce)
      const records = notify.structuredRecords ?? []
      if (asked !== undefined) {
        answer(asked, records, now, outputs)
        return
      }
      if (spent.has(notify.nonce)) return
      for (const record of records) publish(record, index, notify, now, outputs)
    },
    handleUsage(event, now, outputs) {
      const one = byKey.get(formatGroup(event.group))
      if (one === undefined) return
      if (event.idleMs !== undefined) one.usedAt = Math.max(one.usedAt, now - event.idleMs)
      const idle = event.idleMs !== undefined && event.idleMs > IDLE_MS
      if (idle && config.multicast.relayLevel === undefined) forget(one, 'idle', now, outputs)
    },
    entriesOf: (group) => byKey.get(formatGroup(group))?.entries,
    *followed() {
      for (const { group } of byKey.values()) yield group
    },
    sweep(isHere, now, outputs) {
      for (const one of [...byKey.values()])
        if (!isHere(one.group)) forget(one, 'source-left', now, outputs)
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const one = byKey.get(key)
        if (one === undefined) continue
        if (one.nonce !== undefined && one.tries <= RETRY_MS.length) ask(one, now, outputs)
        else {
          one.tries = 0
          renew(one, now, outputs)
        }
      }
    },
    deadline: () => deadlines.next(),
  }
}

function nameOf(record: StructuredMapping): string | undefined {
  const group = groupOf(record.eid)
  return group === undefined ? undefined : formatGroup(group)
}
