/**
 * When the source of a move never answers the confirmation: telling those who may still send to it.
 *
 * A living source redirects what comes and solicits who sends (RFC 9301 §6.1). One that has died or is
 * cut off does neither, and its senders would go on until they find out by themselves. So the
 * destination solicits in its place once the mapping system has the new mapping: whom the source named
 * as its senders when it was prepared, who sent to the EID here in the last minute, and the sites that
 * this one has mappings of, the newest first, because endpoints mostly hear from whom they talk to.
 * Who is seen sending here directly is not asked. An SMR to a site that never had the mapping costs
 * it nothing. Sends at most 256 SMRs a round, 20 each 20 ms, three rounds. A source that has answered
 * may die right after; whom it has named and who is not seen here 2 s later is told once.
 *
 * Not here: a source that nobody knows here, after a detected move; the Map-Server tells that one.
 */
import { formatIpAddress } from '../../lisp/address.js'
import { formatEid } from '../../lisp/eid.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { RecentSenders } from '../etr/recent-senders.js'
import type { Smr } from '../etr/smr.js'
import type { Output } from '../input-output.js'
import type { Itr } from '../itr/itr.js'
import { report } from '../outputs.js'
import type { MoveRecord } from './move-log.js'

/** A move that has arrived, and one of the sites that its EIDs come from. */
export interface LeftSource {
  readonly record: MoveRecord
  readonly source: Rloc
  readonly entries: readonly DatabaseEntry[]
  /** The locators of the EIDs there: none of them is told. */
  readonly former: readonly Locator[]
  /** Whom the source named as its senders. */
  readonly senders: readonly Rloc[]
}

export interface SilentSource {
  /** It is asked to confirm at this moment. */
  asked(one: LeftSource, now: Instant): void
  answered(record: MoveRecord, source: Rloc, now: Instant): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** Our choice: the quick repetitions of a question, 20 to 320 ms, were in vain. */
const SILENT_MS = 700
/** Without a registration nobody is told, because it would fetch the former mapping again. */
const REGISTRATION_MS = 500
const GIVE_UP_MS = 30_000
/** Our choice: a source solicits within a tenth of a second, and senders are reported each second. */
const ANSWERED_MS = 2000
/** Should an SMR get lost; by then the token buckets of RFC 9301 §6.1 have room again. */
const ROUNDS_MS = [3000, 6000] as const
const SENT_AT_ONCE = 20
const PACE_MS = 20
const MAXIMUM_SMRS = 256
/** Sites that are told, of each kind. */
const MAXIMUM_SITES = 64
/** Moves whose source is silent, at once. */
const MAXIMUM_SILENT = 256

interface Silence extends LeftSource {
  readonly since: Instant
  hasAnswered: boolean
  round: number
  /** Of this round: who is still to be told of what. */
  untold: { entry: DatabaseEntry; sender: Rloc }[] | undefined
}

export function createSilentSource(parts: {
  readonly itr: Pick<Itr, 'peers'>
  readonly smr: Pick<Smr, 'solicit'>
  readonly senders: RecentSenders
}): SilentSource {
  const silences = new Map<string, Silence>()
  const deadlines = createDeadlines()

  function forget(key: string): void {
    silences.delete(key)
    deadlines.cancel(key)
  }

  const isHere = (entry: DatabaseEntry): boolean => entry.state === 'local'
  const isRegistered = (entry: DatabaseEntry): boolean =>
    entry.registeredAt !== undefined && entry.registeredAt >= entry.arrivedAt

  /** Everybody who may still send to the former site, paired with each EID that is here. */
  function pairsOf(one: Silence, now: Instant): { entry: DatabaseEntry; sender: Rloc }[] {
    const eids = one.entries.map(({ eid }) => eid)
    const seen = parts.senders.all(now).filter(({ at }) => at >= one.since)
    const direct = new Set(seen.map(({ eid, sender }) => pairName(formatEid(eid), sender)))
    const former = new Set(one.former.map(({ rloc }) => formatIpAddress(rloc)))
    const sites = new Map<string, Rloc>()
    const guesses = one.hasAnswered
      ? []
      : [...parts.senders.to(eids, MAXIMUM_SITES, now), ...parts.itr.peers(MAXIMUM_SITES, now)]
    for (const sender of [...one.senders, ...guesses])
      if (!former.has(formatIpAddress(sender))) sites.set(formatIpAddress(sender), sender)
    const pairs = [...sites.values()].flatMap((sender) =>
      one.entries.filter(isHere).map((entry) => ({ entry, sender })),
    )
    return pairs
      .filter(({ entry, sender }) => !direct.has(pairName(formatEid(entry.eid), sender)))
      .slice(0, MAXIMUM_SMRS)
  }

  function tell(key: string, one: Silence, now: Instant, outputs: Output[]): void {
    if (one.untold === undefined) {
      one.untold = pairsOf(one, now)
      if (!one.hasAnswered)
        report(outputs, 'move-source-silent', 'warning', {
          moveId: one.record.name,
          source: formatIpAddress(one.source),
          told: one.untold.length,
        })
    }
    for (const { entry, sender } of one.untold.splice(0, SENT_AT_ONCE))
      if (isHere(entry)) parts.smr.solicit(entry.eid, sender, now, outputs)
    if (one.untold.length > 0) {
      deadlines.set(key, now + PACE_MS)
      return
    }
    one.untold = undefined
    const next = one.hasAnswered ? undefined : ROUNDS_MS[one.round]
    one.round += 1
    if (next === undefined) forget(key)
    else deadlines.set(key, now + next)
  }

  return {
    asked(one, now) {
      const key = nameOf(one.record, one.source)
      silences.set(key, { ...one, since: now, hasAnswered: false, round: 0, untold: undefined })
      deadlines.set(key, now + SILENT_MS)
      if (silences.size > MAXIMUM_SILENT)
        for (const oldest of silences.keys()) {
          forget(oldest)
          break
        }
    },
    answered(record, source, now) {
      const key = nameOf(record, source)
      const one = silences.get(key)
      if (one === undefined) return
      if (one.senders.length === 0) return forget(key)
      one.hasAnswered = true
      one.untold = undefined
      deadlines.set(key, now + ANSWERED_MS)
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const one = silences.get(key)
        if (one === undefined) continue
        const here = one.entries.filter(isHere)
        if (here.length === 0 || now - one.since > GIVE_UP_MS) forget(key)
        else if (!here.every(isRegistered)) deadlines.set(key, now + REGISTRATION_MS)
        else tell(key, one, now, outputs)
      }
    },
    deadline: () => deadlines.next(),
  }
}

function nameOf(record: MoveRecord, source: Rloc): string {
  return `${record.name}/${formatIpAddress(source)}`
}

function pairName(eid: string, sender: Rloc): string {
  return `${eid} ${formatIpAddress(sender)}`
}
