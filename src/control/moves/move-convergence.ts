/**
 * When a move is over: registered, and every sender that was solicited seen sending here directly.
 *
 * Facts come from four sides (acknowledged registers, the source's list of solicited senders, the
 * datapath's sightings of outer sources, time); this file puts them together and stamps the timeline
 * with the moments of the facts. A move that nobody was sending to has converged with its
 * registration. It decides about records only, never about forwarding.
 */
import { formatIpAddress } from '../../lisp/address.js'
import { type Eid, formatEid } from '../../lisp/eid.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import type { MoveMessage } from '../../lisp/message.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import { type MoveRecord, moveName, stamp } from './move-log.js'

export interface MoveConvergence {
  /** The endpoint has come; `former` locators are the source's, packets from them are relayed. */
  watch(
    record: MoveRecord,
    entries: readonly DatabaseEntry[],
    former: readonly Locator[],
    now: Instant,
  ): void
  registered(entry: DatabaseEntry, now: Instant, outputs: Output[]): void
  solicited(message: MoveMessage, now: Instant, outputs: Output[]): void
  senderSeen(eid: Eid, sender: Rloc, now: Instant, outputs: Output[]): void
  /** The EID has left again: the watch is over. */
  departed(entry: DatabaseEntry): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

interface Watch {
  readonly record: MoveRecord
  readonly entries: readonly DatabaseEntry[]
  readonly relays: ReadonlySet<string>
  readonly registered: Set<string>
  registeredAt: Instant | undefined
  readonly solicited: Set<string>
  /** Sender → when it was first seen sending here itself. */
  readonly direct: Map<string, Instant>
}

/** The list of solicited senders may come this much after the registration. */
const LIST_MS = 1000
/** Senders not seen by then have stopped sending, or did not follow. */
const PATIENCE_MS = 30_000
const MAXIMUM_SENDERS = 1024
const MAXIMUM_WATCHES = 4096

export function createMoveConvergence(): MoveConvergence {
  const watches = new Map<string, Watch>()
  const byEid = new Map<string, Watch>()
  const deadlines = createDeadlines()

  function end(watch: Watch): void {
    const { name } = watch.record
    watches.delete(name)
    deadlines.cancel(`list/${name}`)
    deadlines.cancel(`patience/${name}`)
    for (const entry of watch.entries)
      if (byEid.get(formatEid(entry.eid)) === watch) byEid.delete(formatEid(entry.eid))
  }

  function converge(watch: Watch, at: Instant, outputs: Output[]): void {
    watch.record.state = 'converged'
    stamp(watch.record, 'converged', at)
    report(outputs, 'move-converged', 'notice', {
      moveId: watch.record.name,
      senders: watch.direct.size,
    })
    end(watch)
  }

  /** @param listComplete nothing more is to be expected from the source */
  function check(watch: Watch, listComplete: boolean, outputs: Output[]): void {
    const { registeredAt, solicited, direct } = watch
    if (registeredAt === undefined) return
    if (solicited.size > 0) {
      let last = registeredAt
      for (const sender of solicited) {
        const at = direct.get(sender)
        if (at === undefined) return
        last = Math.max(last, at)
      }
      converge(watch, last, outputs)
      return
    }
    if (!listComplete) return
    const first = direct.values().next().value
    converge(watch, first === undefined ? registeredAt : Math.max(first, registeredAt), outputs)
  }

  return {
    watch(record, entries, former, now) {
      const watch: Watch = {
        record,
        entries,
        relays: new Set(former.map((one) => formatIpAddress(one.rloc))),
        registered: new Set(),
        registeredAt: undefined,
        solicited: new Set(),
        direct: new Map(),
      }
      watches.set(record.name, watch)
      if (watches.size > MAXIMUM_WATCHES)
        for (const oldest of watches.values()) {
          end(oldest)
          break
        }
      for (const entry of entries) byEid.set(formatEid(entry.eid), watch)
      deadlines.set(`patience/${record.name}`, now + PATIENCE_MS)
    },
    registered(entry, now, outputs) {
      const watch = byEid.get(formatEid(entry.eid))
      if (watch === undefined || watch.registeredAt !== undefined) return
      watch.registered.add(entry.key)
      if (!watch.entries.every((one) => watch.registered.has(one.key))) return
      watch.registeredAt = now
      stamp(watch.record, 'registered', now)
      report(outputs, 'move-registered', 'info', { moveId: watch.record.name })
      deadlines.set(`list/${watch.record.name}`, now + LIST_MS)
      check(watch, false, outputs)
    },
    solicited(message, now, outputs) {
      const watch = watches.get(moveName(message.moveId))
      if (watch === undefined) return
      let at = now
      for (const sender of message.senders) {
        if (watch.solicited.size >= MAXIMUM_SENDERS) break
        const name = formatIpAddress(sender)
        watch.solicited.add(name)
        // It was solicited before it came here directly, even if we hear of it only after.
        at = Math.min(at, watch.direct.get(name) ?? now)
      }
      if (message.senders.length > 0 && stamp(watch.record, 'senders-solicited', at))
        report(outputs, 'move-senders-solicited', 'info', { moveId: watch.record.name })
      check(watch, false, outputs)
    },
    senderSeen(eid, sender, now, outputs) {
      const watch = byEid.get(formatEid(eid))
      const name = formatIpAddress(sender)
      if (watch === undefined || watch.relays.has(name) || watch.direct.has(name)) return
      if (watch.direct.size >= MAXIMUM_SENDERS) return
      watch.direct.set(name, now)
      check(watch, false, outputs)
    },
    departed(entry) {
      const watch = byEid.get(formatEid(entry.eid))
      if (watch === undefined) return
      watch.record.reason ??= 'moved-on'
      end(watch)
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const watch = watches.get(key.slice(key.indexOf('/') + 1))
        if (watch === undefined) continue
        if (key.startsWith('list/')) check(watch, true, outputs)
        else {
          watch.record.reason =
            watch.registeredAt === undefined ? 'not-registered' : 'senders-not-seen'
          end(watch)
        }
      }
    },
    deadline: () => deadlines.next(),
  }
}
