/**
 * Map-Notifies that nobody asked for: telling the RLOCs of a former locator-set where the EID is now.
 *
 * Each is resent after 3, 3, 3, 6, 12 and 24 s (RFC 9301 §5.7) until a Map-Notify-Ack with its nonce
 * authenticates (one from the xTR that lived there speaks for all its own RLOCs), and given up after
 * that with an event. The nonce rises over restarts: blocks of 1,000 are reserved in the store before
 * use. Who has not acknowledged is stored per prefix and owner (`recordsToStore`), so that a restart
 * neither forgets to tell nor to wait. A later change of the same prefix makes an unacknowledged notify
 * void. First transmissions to one RLOC are paced (RFC 8085, RFC 9301 §5.7).
 *
 * Not here: the Map-Notify that acknowledges a Map-Register; it is sent once and not repeated.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import {
  type AuthenticationKey,
  encodeSigned,
  type Hmac,
  verifyMessage,
} from '../../lisp/authentication.js'
import { type EidPrefix, formatEidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Mapping, StructuredMapping } from '../../lisp/mapping.js'
import type { MapNotifyAck } from '../../lisp/message.js'
import type { Instant } from '../capabilities.js'
import { CONTROL_PORT, sourceRloc } from '../control-datagram.js'
import { createDeadlines } from '../deadlines.js'
import type { Severity } from '../event.js'
import type { Output } from '../input-output.js'
import { createRateLimit } from '../rate-limit.js'
import { retryIntervals } from '../retry-schedule.js'
import type { StoredRecord } from '../stored-record.js'
import { createPendingBook } from './pending-notifies.js'
import type { Datagram } from './register-guard.js'

export interface Notice {
  readonly target: Rloc
  /** The registrant that lived there: while it has not acknowledged, it may not know. */
  readonly owner: string
  /** Whether the RLOC is the registrant's own, so that one acknowledgement speaks for all of them. */
  readonly home: boolean
  readonly key: AuthenticationKey
  readonly authenticationLength: number
  readonly records: readonly Mapping[]
  /** One record about a group instead, and the group's name; not stored: ITRs ask again themselves. */
  readonly structured?: { readonly name: string; readonly record: StructuredMapping }
}

/** A former owner that has not acknowledged, and its RLOCs that were told. */
export type PendingNotify = Extract<StoredRecord, { kind: 'pending-notify' }>

/** What must be written before, and what is sent after. */
export interface DurableOutputs {
  readonly records: StoredRecord[]
  readonly then: Output[]
}

export interface MapNotifyOutbox {
  /** Notifies waiting for an acknowledgement. */
  readonly size: number
  announce(notice: Notice, now: Instant, durable: DurableOutputs): void
  /** What was said about the prefix is no longer true. */
  supersede(eidPrefix: EidPrefix): void
  /** The same of what `owner` was told about a group; true when that was unacknowledged. */
  supersedeGroup(name: string, owner: string): boolean
  isGroupUnacknowledged(name: string, owner: string): boolean
  /** Whether `owner` was told about the prefix and has not acknowledged. */
  isUnacknowledged(owner: string, eidPrefix: EidPrefix): boolean
  /** The group that was acknowledged, when it was about one. */
  handleAck(message: MapNotifyAck, datagram: Datagram, outputs: Output[]): string | undefined
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  restore(record: Extract<StoredRecord, { kind: 'reservation' }>): void
  /** The store holds this; it is to be announced again, or the next `recordsToStore` removes it. */
  restorePending(record: PendingNotify): void
  /** What to write so that the store knows who has not acknowledged; empty when it does. */
  recordsToStore(): StoredRecord[]
  /** Reserves the first nonces, after all records are restored, so that no notify waits for it. */
  open(now: Instant): StoredRecord
}

/** Name of our block of nonces in the store. */
const NOTIFY_NONCE_SCOPE = 'map-notify'
/** Our choice: 10,000 notifies of about 500 bytes; more moves at once than one Map-Server sees. */
const MAXIMUM_PENDING_NOTIFIES = 10_000
/** Our choice: their acknowledgements come within a round trip. */
const MAXIMUM_SETTLED = 1024
/** Resends before the notify is given up: RFC 9301 §5.7, three 3 s apart, then three doubling. */
const RESEND_INTERVALS_MS: readonly number[] = [
  ...retryIntervals({ initialMs: 3000, factor: 1, maximumMs: 3000, count: 3 }),
  ...retryIntervals({ initialMs: 6000, factor: 2, maximumMs: 24_000, count: 3 }),
]
/** Our choice: how long the last one may take to be acknowledged. */
const LAST_WAIT_MS = 3000
/** Our choice: one write per thousand notifies; a restart skips at most so many numbers, and half. */
const NONCE_BLOCK = 1000n
/** Our choice: a reservation younger than this may not be on the disk yet and is waited for. */
const RESERVATION_MS = 1000
/**
 * Our choice: the upper half of the numbers. xTRs count their registers from below, and a Map-Notify
 * that answers a register must not be taken for one of ours, nor its acknowledgement for ours.
 */
const FIRST_NONCE = 1n << 63n
/** Our choice: first transmissions to one RLOC, so that an evacuated host does not flood its peer. */
const PACE = { burst: 50, refillPerSecond: 500, maximumKeys: 10_000 }

export function createMapNotifyOutbox(config: NodeConfig, hmac: Hmac): MapNotifyOutbox {
  const pending = new Map<string, Pending>()
  const byPrefix = new Map<string, Set<string>>()
  /** Ended by what another acknowledgement said; their own may still come. */
  const settled = new Set<string>()
  const deadlines = createDeadlines()
  const book = createPendingBook(pending, byPrefix)
  const pace = createRateLimit(PACE)
  let nextNonce = FIRST_NONCE
  let ceiling = FIRST_NONCE - 1n
  /** The ceiling before the last reservation, and when that was made. */
  let formerCeiling = ceiling
  let reservedAt = 0

  const reserve = (now: Instant): StoredRecord => {
    formerCeiling = ceiling
    ceiling += NONCE_BLOCK
    reservedAt = now
    return { kind: 'reservation', scope: NOTIFY_NONCE_SCOPE, ceiling }
  }

  /** `waitFor` gets what must be durable before the nonce is used, `ahead` what need not be. */
  const takeNonce = (now: Instant, waitFor: StoredRecord[], ahead: Output[]): bigint => {
    if (nextNonce > ceiling) waitFor.push(reserve(now))
    else if (nextNonce > formerCeiling && now - reservedAt < RESERVATION_MS) {
      if (waitFor.length === 0)
        waitFor.push({ kind: 'reservation', scope: NOTIFY_NONCE_SCOPE, ceiling })
    } else if (ceiling - nextNonce < NONCE_BLOCK / 2n)
      ahead.push({ kind: 'persist', records: [reserve(now)], then: [] })
    nextNonce += 1n
    return nextNonce - 1n
  }

  /** Groups have no EID-prefix and are not stored. */
  const touch = (name: string) => {
    if (!name.includes('(')) book.touch(name)
  }

  const forget = (id: string) => {
    for (const prefix of pending.get(id)?.prefixes ?? []) {
      touch(prefix)
      const ids = byPrefix.get(prefix)
      ids?.delete(id)
      if (ids?.size === 0) byPrefix.delete(prefix)
    }
    pending.delete(id)
    deadlines.cancel(id)
  }

  /** The prefix need no longer be told by these messages. */
  const settle = (prefix: string, isSettled: (notify: Pending) => boolean) => {
    if (byPrefix.has(prefix)) touch(prefix)
    for (const id of [...(byPrefix.get(prefix) ?? [])]) {
      const notify = pending.get(id)!
      if (!isSettled(notify)) continue
      notify.prefixes.delete(prefix)
      byPrefix.get(prefix)?.delete(id)
      // Other prefixes of the same message still stand; the receiver compares versions.
      if (notify.prefixes.size > 0) continue
      forget(id)
      settled.add(id)
      if (settled.size > MAXIMUM_SETTLED)
        for (const oldest of settled) if (settled.delete(oldest)) break
    }
    if (byPrefix.get(prefix)?.size === 0) byPrefix.delete(prefix)
  }

  const isPending = (name: string, owner: string): boolean => {
    for (const id of byPrefix.get(name) ?? []) if (pending.get(id)?.owner === owner) return true
    return false
  }

  const transmit = (id: string, notify: Pending, now: Instant, outputs: Output[]) => {
    outputs.push(notify.send, sentEvent(notify))
    deadlines.set(id, now + (RESEND_INTERVALS_MS[notify.sent] ?? LAST_WAIT_MS))
    notify.sent += 1
  }

  /** Nothing waits for it: what a crash loses of it is said once more. */
  const persist = (outputs: Output[]) => {
    const records = book.recordsToStore()
    if (records.length > 0) outputs.push({ kind: 'persist', records, then: [] })
  }

  return {
    get size() {
      return pending.size
    },
    announce(notice, now, durable) {
      const from = sourceRloc(config, notice.target)
      const target = formatIpAddress(notice.target)
      if (from === undefined) return durable.then.push(unsent(target, 'no-common-family'))
      if (pending.size >= MAXIMUM_PENDING_NOTIFIES) {
        return durable.then.push(unsent(target, 'too-many-pending'))
      }
      const nonce = takeNonce(now, durable.records, durable.then)
      const bytes = encodeSigned(notifyMessage(nonce, notice), notice.key, hmac)
      const notify: Pending = {
        owner: notice.owner,
        home: notice.home,
        target,
        key: notice.key,
        group: notice.structured?.name,
        prefixes: new Set(namesOf(notice)),
        eidPrefixes: notice.records.map((record) => record.eidPrefix),
        send: { kind: 'send', from, to: notice.target, toPort: CONTROL_PORT, bytes },
        nonce,
        sent: 0,
      }
      const id = String(nonce)
      pending.set(id, notify)
      for (const prefix of notify.prefixes) {
        touch(prefix)
        const ids = byPrefix.get(prefix) ?? new Set()
        byPrefix.set(prefix, ids.add(id))
      }
      const at = pace.reserve(target, now)
      if (at <= now) transmit(id, notify, now, durable.then)
      else deadlines.set(id, at)
    },

    supersede(eidPrefix) {
      settle(formatEidPrefix(eidPrefix), () => true)
    },
    supersedeGroup(name, owner) {
      const before = pending.size
      settle(name, (notify) => notify.owner === owner)
      return pending.size < before
    },
    isGroupUnacknowledged: (name, owner) => isPending(name, owner),
    isUnacknowledged: (owner, eidPrefix) => isPending(formatEidPrefix(eidPrefix), owner),

    handleAck(message, datagram, outputs) {
      const id = String(message.nonce)
      const notify = pending.get(id)
      const from = formatIpAddress(datagram.from)
      const reject = (reason: string, severity?: Severity): undefined => {
        outputs.push(rejected(from, reason, severity))
      }
      if (notify === undefined && settled.delete(id)) return reject('settled-already', 'debug')
      if (notify === undefined) return reject('unknown-nonce')
      if (!verifyMessage(datagram.bytes, notify.key, hmac)) return reject('authentication-failed')
      forget(id)
      if (notify.group !== undefined) return notify.group
      // The xTR knows now, whichever of its RLOCs the message reached.
      for (const prefix of notify.home ? notify.prefixes : []) {
        settle(prefix, ({ home, owner }) => home && owner === notify.owner)
      }
      persist(outputs)
      return undefined
    },

    handleDeadline(now, outputs) {
      for (const id of deadlines.due(now)) {
        const notify = pending.get(id)!
        if (notify.sent <= RESEND_INTERVALS_MS.length) {
          transmit(id, notify, now, outputs)
          continue
        }
        forget(id)
        outputs.push({
          kind: 'event',
          event: {
            name: 'map-notify-unacknowledged',
            severity: 'warning',
            reason: 'no-acknowledgement',
            to: notify.target,
            owner: notify.owner,
            eidPrefixes: [...notify.prefixes],
          },
        })
      }
      persist(outputs)
    },
    deadline: () => deadlines.next(),
    restore(record) {
      if (record.scope !== NOTIFY_NONCE_SCOPE || record.ceiling < ceiling) return
      ceiling = record.ceiling
      formerCeiling = ceiling
      nextNonce = ceiling + 1n
    },
    restorePending: (record) => book.restore(record),
    recordsToStore: () => book.recordsToStore(),
    open: reserve,
  }
}

/** One message on its way. */
export interface Pending {
  readonly owner: string
  readonly home: boolean
  readonly target: string
  readonly key: AuthenticationKey
  /** The name of the group that it is about. */
  readonly group: string | undefined
  /** All that the message names. */
  readonly eidPrefixes: readonly EidPrefix[]
  /** Canonical text of the prefixes that the message is still right about. */
  readonly prefixes: Set<string>
  readonly send: Extract<Output, { kind: 'send' }>
  readonly nonce: bigint
  /** Transmissions so far. */
  sent: number
}

function namesOf({ records, structured }: Notice): string[] {
  if (structured !== undefined) return [structured.name]
  return records.map((record) => formatEidPrefix(record.eidPrefix))
}

function notifyMessage(nonce: bigint, notice: Notice) {
  return {
    kind: 'map-notify',
    nonce,
    keyId: notice.key.keyId,
    algorithm: notice.key.algorithm,
    authenticationData: new Uint8Array(notice.authenticationLength),
    records: notice.records,
    ...(notice.structured === undefined ? {} : { structuredRecords: [notice.structured.record] }),
    identity: undefined,
  } as const
}

function sentEvent(notify: Pending): Output {
  return {
    kind: 'event',
    event: {
      name: 'map-notify-sent',
      severity: 'info',
      reason: 'mapping-changed',
      to: notify.target,
      nonce: notify.nonce.toString(16),
      attempt: notify.sent + 1,
      eidPrefixes: [...notify.prefixes],
    },
  }
}

function unsent(to: string, reason: string): Output {
  return {
    kind: 'event',
    event: { name: 'map-notify-unacknowledged', severity: 'warning', reason, to },
  }
}

function rejected(from: string, reason: string, severity: Severity = 'notice'): Output {
  return {
    kind: 'event',
    event: { name: 'map-notify-rejected', severity, reason, from, message: 'ack' },
  }
}
