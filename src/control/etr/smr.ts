/**
 * Telling senders that an EID has left: Solicit-Map-Request (RFC 9301 §6.1), driven by their packets.
 *
 * Whoever still sends here is named by the datapath; it gets an SMR (S=1, D=1) with the EID as record
 * and as Source-EID, because implementations differ in which they read. Not before the mapping system
 * knows the new place, or the sender would fetch the old mapping again.
 * A node that lost its tables does not know who has left it: packets for an unknown EID are answered
 * with the same question, because their sender's mapping is wrong in any case, or about to be.
 * Deviation: one SMR per 3 s and RLOC is *recommended*; ours is a token bucket per RLOC and EID (burst
 * 4, one per 3 s) under a ceiling per RLOC, so that the second EID of a host is not delayed by the first.
 * The first SMR of a departure may take the last token, a repetition (1 s later, should it be lost)
 * leaves one for the next departure.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses, formatIpAddress } from '../../lisp/address.js'
import { type Eid, formatEid, formatEidPrefix, hostPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import { encodeMessage } from '../../lisp/message.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Instant, Random } from '../capabilities.js'
import { sendControl } from '../control-datagram.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import type { OfKind } from '../itr/itr.js'
import { mapRequest } from '../itr/map-request-form.js'
import { report } from '../outputs.js'
import { createRateLimit, type RateLimit } from '../rate-limit.js'

export interface Smr {
  handleAwayHit(event: OfKind<'away-eid-hit'>, now: Instant, outputs: Output[]): void
  /** Somebody sends to an EID that is not here and of which nothing is known. */
  handleUnknown(event: OfKind<'unknown-eid'>, now: Instant, outputs: Output[]): void
  /**
   * One SMR to who sends to an EID of ours by a former mapping, within the limits; false: not now.
   */
  tell(eid: Eid, sender: Rloc, now: Instant, outputs: Output[]): boolean
  /** An SMR about `eid`, within the rate; false when none was sent. */
  solicit(eid: Eid, sender: Rloc, now: Instant, outputs: Output[]): boolean
  /** The EID has left for good; solicit from `entry.solicitAfter` on. */
  departed(entry: DatabaseEntry): void
  /** The mapping system tells the new place by now: nothing to wait for. */
  mappingKnown(entry: DatabaseEntry, now: Instant, outputs: Output[]): void
  /** The EID is not away any more. */
  forget(entry: DatabaseEntry): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** Called for each SMR sent. */
export type OnSolicited = (
  entry: DatabaseEntry,
  sender: Rloc,
  now: Instant,
  outputs: Output[],
) => void

const PER_RLOC_AND_EID = { burst: 4, refillPerSecond: 1 / 3, maximumKeys: 65_536 }
const MAXIMUM_RLOCS = 16_384
/** Senders remembered per EID until they may be solicited. */
const MAXIMUM_WAITING = 64
/** Our choice: who is limited itself follows within 3 s without being told again. */
const REPETITION_MS = 1000
/** Senders remembered per EID as told; any more are told at the rate of the bucket. */
const MAXIMUM_TOLD = 1024

/** A bucket of one second's worth of messages for each RLOC. */
function ceilingPerRloc(perSecond: number): RateLimit {
  return createRateLimit({
    burst: Math.max(1, Math.ceil(perSecond)),
    refillPerSecond: perSecond,
    maximumKeys: MAXIMUM_RLOCS,
  })
}

export function createSmr(
  config: NodeConfig,
  random: Random,
  database: MappingDatabase,
  onSolicited: OnSolicited,
): Smr {
  const limit = createRateLimit(PER_RLOC_AND_EID)
  const ceiling = ceilingPerRloc(config.mapCache.smrPerLocatorPerSecond)
  const waiting = new Map<string, Map<string, Rloc>>()
  /** EID → who was told of its present departure, and when. */
  const told = new Map<string, Map<string, Instant>>()
  const deadlines = createDeadlines()

  function suppress(eid: Eid, sender: Rloc, reason: string, outputs: Output[]): void {
    const about = { reason, eid: formatEid(eid), sender: formatIpAddress(sender) }
    report(outputs, 'smr-suppressed', 'debug', about)
  }

  function solicit(entry: DatabaseEntry, sender: Rloc, now: Instant, outputs: Output[]): void {
    const name = formatIpAddress(sender)
    if (entry.awayLocators.some((one) => equalIpAddresses(one.rloc, sender))) {
      suppress(entry.eid, sender, 'is-destination', outputs)
      return
    }
    const toldAt = told.get(entry.key)?.get(name)
    if (toldAt !== undefined && now - toldAt < REPETITION_MS) {
      suppress(entry.eid, sender, 'told-just-now', outputs)
      return
    }
    if (!send(entry.eid, sender, toldAt === undefined ? 0 : 1, now, outputs)) return
    remember(entry, name, now)
    onSolicited(entry, sender, now, outputs)
  }

  /** @param reserve tokens of the bucket that are not for this one */
  function send(eid: Eid, sender: Rloc, reserve: number, now: Instant, outputs: Output[]): boolean {
    const name = formatIpAddress(sender)
    const eidPrefix = hostPrefix(eid)
    const refuse = (reason: string): false => {
      suppress(eid, sender, reason, outputs)
      return false
    }
    if (!limit.take(`${name} ${formatEidPrefix(eidPrefix)}`, now, reserve))
      return refuse('eid-rate')
    if (!ceiling.take(name, now)) return refuse('rloc-rate')
    const message = mapRequest(config, eidPrefix, random.nonce(), {
      solicitMapRequest: true,
      doNotReply: true,
      sourceEid: eid,
    })
    if (!sendControl(config, sender, encodeMessage(message), outputs))
      return refuse('no-rloc-of-that-family')
    report(outputs, 'smr-sent', 'info', { eid: formatEid(eid), sender: name })
    return true
  }

  function remember(entry: DatabaseEntry, sender: string, now: Instant): void {
    const senders = told.get(entry.key) ?? new Map<string, Instant>()
    told.set(entry.key, senders)
    if (senders.has(sender) || senders.size < MAXIMUM_TOLD) senders.set(sender, now)
  }

  function flush(entry: DatabaseEntry, now: Instant, outputs: Output[]): void {
    const senders = waiting.get(entry.key)
    waiting.delete(entry.key)
    deadlines.cancel(entry.key)
    for (const sender of senders?.values() ?? []) solicit(entry, sender, now, outputs)
  }

  function wait(entry: DatabaseEntry, sender: Rloc, outputs: Output[]): void {
    const senders = waiting.get(entry.key) ?? new Map<string, Rloc>()
    if (senders.size >= MAXIMUM_WAITING) {
      suppress(entry.eid, sender, 'too-many-waiting', outputs)
      return
    }
    senders.set(formatIpAddress(sender), sender)
    waiting.set(entry.key, senders)
    if (Number.isFinite(entry.solicitAfter)) deadlines.set(entry.key, entry.solicitAfter)
  }

  return {
    handleAwayHit(one, now, outputs) {
      const entry = database.getEid(one.eid)
      if (entry === undefined || entry.state !== 'away') {
        const eid = formatEid(one.eid)
        report(outputs, 'smr-suppressed', 'debug', { reason: 'not-away', eid })
        return
      }
      entry.lastHitAt = now
      if (one.sender === undefined) return
      if (!config.mobility.solicit) suppress(entry.eid, one.sender, 'switched-off', outputs)
      // Nothing is final before the commitment: the sender would be told of a move that may fail.
      else if (!entry.committed || entry.solicitAfter > now) wait(entry, one.sender, outputs)
      else solicit(entry, one.sender, now, outputs)
    },
    handleUnknown({ eid, sender }, now, outputs) {
      // What was reported on the way may be known by now.
      if (database.getEid(eid) !== undefined || database.dynamicPrefixOf(eid) === undefined) return
      if (!config.mobility.solicit) suppress(eid, sender, 'switched-off', outputs)
      else send(eid, sender, 1, now, outputs)
    },
    tell: (eid, sender, now, outputs) => send(eid, sender, 0, now, outputs),
    solicit: (eid, sender, now, outputs) =>
      config.mobility.solicit && send(eid, sender, 1, now, outputs),
    departed(entry) {
      told.delete(entry.key)
      if (waiting.has(entry.key)) deadlines.set(entry.key, entry.solicitAfter)
    },
    mappingKnown(entry, now, outputs) {
      entry.solicitAfter = now
      flush(entry, now, outputs)
    },
    forget(entry) {
      told.delete(entry.key)
      waiting.delete(entry.key)
      deadlines.cancel(entry.key)
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const entry = database.byKey(key)
        if (entry?.state === 'away' && entry.committed) flush(entry, now, outputs)
        else waiting.delete(key)
      }
    },
    deadline: () => deadlines.next(),
  }
}
