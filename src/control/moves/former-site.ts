/**
 * Telling the site that an EID left by itself where it is now.
 *
 * The Map-Server tells it as well (RFC 9301 §5.7), but its word comes later, and until the former
 * site redirects, what it delivers is lost. Said as the *confirm* of a move that was never prepared:
 * authenticated with the key of the mobility domain, repeated until acknowledged. Only with a version,
 * because that is what tells a late message from a new one at the other end.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress, formatMac } from '../../lisp/address.js'
import { MAXIMUM_ENDPOINT_EIDS } from '../../lisp/eid.js'
import type { Locator } from '../../lisp/locator.js'
import { nextMapVersion } from '../../lisp/map-version.js'
import type { MoveMessage } from '../../lisp/message.js'
import type { DatabaseEntry } from '../../tables/mapping-database.js'
import type { Instant } from '../capabilities.js'
import { isOwnRloc, ownLocators, ownMapping } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import { usableLocators } from '../itr/encapsulation-choice.js'
import type { MoveExchange } from './move-exchange.js'
import { chooseMovePeer } from './move-objections.js'
import type { LeftSource, SilentSource } from './silent-source.js'

/** An EID that came by itself, and where it was thought to be. */
export interface Newcomer {
  readonly entry: DatabaseEntry
  readonly former: readonly Locator[]
}

/** By then the Map-Server has told it. */
const TELL_MS = 2000

/** Those that came with the same MAC address from the same place belong to one endpoint. */
export function groupNewcomers(newcomers: readonly Newcomer[]): Newcomer[][] {
  const groups: Newcomer[][] = []
  const open = new Map<string, Newcomer[]>()
  for (const one of newcomers) {
    const rlocs = one.former.map(({ rloc }) => formatIpAddress(rloc))
    const { mac, key } = one.entry
    const name = mac === undefined ? key : [formatMac(mac), ...rlocs].join(' ')
    const group = open.get(name)
    // As many as a move takes.
    if (group !== undefined && group.length < MAXIMUM_ENDPOINT_EIDS) group.push(one)
    else {
      const fresh = [one]
      groups.push(fresh)
      open.set(name, fresh)
    }
  }
  return groups
}

/**
 * Says nothing when it is not known where they were, under which version, or to whom to speak; true
 * when it has spoken of all of them.
 */
export function tellFormerSite(
  config: NodeConfig,
  exchange: MoveExchange,
  silent: SilentSource,
  { record, entries, former }: Pick<LeftSource, 'record' | 'entries' | 'former'>,
  now: Instant,
  outputs: Output[],
): boolean {
  const source = chooseMovePeer(config, usableLocators(config, former))
  if (config.mobility.key === undefined || source === undefined || isOwnRloc(config, source))
    return false
  const known = entries.filter((entry) => entry.heardVersion !== 0)
  if (known.length === 0) return false
  const locators = ownLocators(config)
  const records = known.map((entry) =>
    ownMapping(entry.eidPrefix, locators, 0, nextMapVersion(entry.heardVersion)),
  )
  const content = { phase: 'confirm' as const, moveId: record.id, records }
  const key = `confirm/${record.name}/${formatIpAddress(source)}`
  const onAnswer = (answer: MoveMessage | undefined, then: Instant): void => {
    if (answer !== undefined) silent.answered(record, source, then)
  }
  silent.asked({ record, source, entries: known, former, senders: [] }, now)
  exchange.ask(key, source, content, now + TELL_MS, onAnswer, now, outputs)
  return known.length === entries.length
}
