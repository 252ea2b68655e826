/**
 * Ending a redirect whose packets come back from where it sends them.
 *
 * An EID can be away at two sites at once, each sending to the other: when the daemon of one is dead,
 * its pinned maps redirect on, and the other one, restarted, learns from the mapping system that the
 * EID is there. Each packet would go round until its TTL ends, 64 times its worth of load. A packet
 * from the very site that it is redirected to is no fault by itself: a move that was called off returns
 * what was on its way, and hosts of the destination send by the old mapping for a while. So the
 * datapath sends all of them on, and this file ends what lasts: after a second of it the EID is
 * forgotten here, its packets are dropped and counted (`unknown-eid`), and whoever has it will say so.
 * Rejected: dropping in the datapath what goes back to its outer source; a move that is called off
 * would lose what bounces meanwhile.
 */
import { equalIpAddresses, formatIpAddress } from '../../lisp/address.js'
import { formatEid } from '../../lisp/eid.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import type { EidPlacement } from '../etr/eid-placement.js'
import type { Smr } from '../etr/smr.js'
import type { Output } from '../input-output.js'
import type { OfKind } from '../itr/itr.js'
import { report } from '../outputs.js'

export interface RedirectLoops {
  /** To be called for each hit, before anything else is made of it; true: the EID is forgotten now. */
  handleAwayHit(event: OfKind<'away-eid-hit'>, now: Instant, outputs: Output[]): boolean
}

export interface RedirectLoopParts {
  readonly database: MappingDatabase
  readonly placement: EidPlacement
  readonly smr: Smr
  /** Whether a move has the EID in its hands, and will end the redirect itself. */
  readonly isMoving: (entry: DatabaseEntry) => boolean
}

/** Our choice: a move called off has told the other end by then, with two repetitions. */
const LOOP_MS = 1000
/** Our choice: hits are reported every 100 ms (report.h); after such a pause it is another one. */
const PAUSE_MS = 500
/** Our choice: as many loops at once as one host has endpoints; of others the oldest is forgotten. */
const MAXIMUM_LOOPS = 1024

export function createRedirectLoops(parts: RedirectLoopParts): RedirectLoops {
  const { database, placement, smr, isMoving } = parts
  /** By EID-prefix: since when, and when last. */
  const loops = new Map<string, { readonly since: Instant; readonly last: Instant }>()

  function lasts(key: string, now: Instant): boolean {
    const known = loops.get(key)
    const goesOn = known !== undefined && now - known.last <= PAUSE_MS
    const since = goesOn ? known.since : now
    loops.delete(key)
    if (now - since >= LOOP_MS) return true
    loops.set(key, { since, last: now })
    if (loops.size > MAXIMUM_LOOPS)
      for (const oldest of loops.keys()) if (loops.delete(oldest)) break
    return false
  }

  return {
    handleAwayHit({ eid, sender }, now, outputs) {
      const entry = database.getEid(eid)
      if (entry?.state !== 'away' || sender === undefined) return false
      const isReturned = entry.awayLocators.some((one) => equalIpAddresses(one.rloc, sender))
      if (!isReturned || isMoving(entry) || !lasts(entry.key, now)) return false
      smr.forget(entry)
      placement.forget(entry, outputs)
      report(outputs, 'eid-removed', 'warning', {
        reason: 'redirect-loop',
        eid: formatEid(eid),
        sender: formatIpAddress(sender),
      })
      return true
    },
  }
}
