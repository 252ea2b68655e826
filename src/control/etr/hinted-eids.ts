/**
 * Hosts that are about to use an address, as DHCP and duplicate address detection say: the segment is asked
 * for it (ARP, ND) a few times, and only the host's own answer makes the EID local. So a host that takes an
 * address and says nothing is found, a lease that is not taken is not, and who forges DHCP has our questions.
 *
 * Several questions, because the hint comes before the address is there: a client sets it up behind the
 * acknowledgement, and after duplicate address detection a second later. A question disturbs neither: it is
 * no probe (RFC 5227 §2.1.1) and is ignored while an address is tentative (RFC 4862 §5.4.3).
 */
import { compareBytes } from '../../lisp/address.js'
import { type Eid, formatEid } from '../../lisp/eid.js'
import type { MappingDatabase } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import type { DatapathEvent } from '../datapath-event.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { push, report } from '../outputs.js'

export type EidHinted = Extract<DatapathEvent, { kind: 'eid-hinted' }>

export interface HintedEids {
  /** Begins to ask; while it is being asked for already, begins again from the first question on. */
  handle(event: EidHinted, now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** Our choice. Duplicate address detection of one solicitation takes a second (RFC 4862 §5.1). */
const ASKED_AFTER_MS = [100, 300, 700, 1500, 2500] as const
/** EIDs asked for at one time. */
export const MAXIMUM_HINTED_EIDS = 1024

interface Search {
  readonly event: EidHinted
  readonly begunAt: Instant
  asked: number
}

export function createHintedEids(database: MappingDatabase): HintedEids {
  const searches = new Map<string, Search>()
  const deadlines = createDeadlines()

  function ignore(eid: Eid, reason: string, outputs: Output[]): void {
    report(outputs, 'eid-hint-ignored', 'debug', { reason, eid: formatEid(eid) })
  }

  /** With that MAC address, as far as both are known: an address may have got another host. */
  function isHere({ eid, interfaceName, mac }: EidHinted): boolean {
    const entry = database.getEid(eid)
    if (entry?.state !== 'local' || entry.interfaceName !== interfaceName) return false
    return mac === undefined || entry.mac === undefined || compareBytes(mac, entry.mac) === 0
  }

  function end(key: string): void {
    searches.delete(key)
    deadlines.cancel(key)
  }

  function ask(key: string, search: Search, outputs: Output[]): void {
    const { eid, interfaceName } = search.event
    if (isHere(search.event)) {
      end(key)
      return
    }
    push(outputs, { kind: 'solicit-endpoint', eid, interfaceName })
    search.asked += 1
    const next = ASKED_AFTER_MS[search.asked]
    if (next === undefined) end(key)
    else deadlines.set(key, search.begunAt + next)
  }

  return {
    handle(event, now, outputs) {
      const { eid, interfaceName, how } = event
      if (database.dynamicPrefixOf(eid)?.interfaceName !== interfaceName)
        return ignore(eid, 'outside-dynamic-prefixes', outputs)
      if (isHere(event)) return ignore(eid, 'already-here', outputs)
      const key = formatEid(eid)
      const former = searches.get(key)
      // Hints without end would put off the first question without end.
      if (former?.asked === 0) return ignore(eid, 'already-sought', outputs)
      if (former === undefined && searches.size >= MAXIMUM_HINTED_EIDS)
        return ignore(eid, 'too-many-sought', outputs)
      searches.set(key, { event, begunAt: now, asked: 0 })
      deadlines.set(key, now + ASKED_AFTER_MS[0])
      report(outputs, 'eid-hinted', 'debug', { reason: how, eid: key, interfaceName })
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const search = searches.get(key)
        if (search !== undefined) ask(key, search, outputs)
      }
    },
    deadline: () => deadlines.next(),
  }
}
