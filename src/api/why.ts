/**
 * What would happen to a packet to an EID at this node now, and why: the entries that match, where
 * they came from, what the datapath has, what happened lately. Pure: a snapshot and events in.
 *
 * The order is that of the site program (native/bpf): a host entry of the map-cache before own EIDs,
 * own EIDs before shorter mappings; a packet from the core meets the own EIDs alone.
 */
import type { Static } from 'typebox'
import type { Event } from '../control/event.js'
import type {
  LocatorView,
  MapCacheView,
  MappingDatabaseView,
  MoveView,
  NodeSnapshot,
} from '../control/snapshot.js'
import type { DatapathFinding } from '../datapath/datapath.js'
import { isMulticast } from '../lisp/address.js'
import { type Eid, formatEid, formatEidPrefix, hostPrefix } from '../lisp/eid.js'
import type { LoggedEvent } from './event-log.js'
import { longestMatches } from './selection.js'
import { groupVerdict } from './why-groups.js'
import { silenceRemarks } from './why-silence.js'
import type { WhyVerdict } from './why-views.js'

export interface WhyInput {
  readonly eid: Eid
  readonly from: Eid | undefined
  readonly snapshot: NodeSnapshot
  readonly findings: readonly DatapathFinding[] | undefined
  readonly mapResolvers: readonly string[]
  readonly events: readonly LoggedEvent[]
}

export interface Explanation {
  readonly verdict: Static<typeof WhyVerdict>
  readonly local: MappingDatabaseView | undefined
  readonly mapCache: MapCacheView | undefined
  readonly registrations: NodeSnapshot['registrations']
  readonly locators: NodeSnapshot['locators']
  /** The newest first. */
  readonly moves: readonly MoveView[]
  /** What does not fit together, or needs to be known; sentences. */
  readonly remarks: readonly string[]
  /** Oldest first. */
  readonly events: readonly LoggedEvent[]
}

/** At most `MAXIMUM_EVENTS` events and `MAXIMUM_MOVES` moves; everything else is one entry each. */
export function explain(input: WhyInput): Explanation {
  const { eid, snapshot } = input
  const [local] = longestMatches(snapshot.mappingDatabase, eid)
  const [mapCache] = longestMatches(snapshot.mapCache, eid)
  const registrations = longestMatches(snapshot.registrations, eid)
  const name = formatEid(eid)
  const moves = snapshot.moves.filter(({ eids }) => eids.includes(name)).toReversed()
  const used = [...(mapCache?.locators ?? []), ...(local?.locators ?? [])].map(({ rloc }) => rloc)
  const locators = snapshot.locators.filter(({ rloc }) => used.includes(rloc))
  const found = { local, mapCache, registrations }
  const prefixes = [local, mapCache, ...registrations].flatMap((one) =>
    one === undefined ? [] : [one.eidPrefix],
  )
  const about = new Set([name, formatEidPrefix(hostPrefix(eid)), ...prefixes])
  const moveIds = new Set(moves.map(({ moveId }) => moveId))
  const events = input.events
    .filter(({ event }) => concerns(event, about, moveIds, used))
    .slice(-MAXIMUM_EVENTS)
  return {
    ...found,
    locators,
    moves: moves.slice(0, MAXIMUM_MOVES),
    events,
    verdict: verdictOf(input, found),
    remarks: [
      ...remarksOf(input, found),
      ...narrowPaths(locators),
      ...silenceRemarks(events, input.mapResolvers),
    ],
  }
}

/** Roles with packets of their own; those that ask the mapping system for unknown EIDs. */
const FORWARDING: readonly string[] = ['itr', 'etr', 'pitr', 'petr', 'rtr']
const ASKING: readonly string[] = ['itr', 'pitr', 'rtr']

type Found = Pick<Explanation, 'local' | 'mapCache' | 'registrations'>
type Verdict = Explanation['verdict']

function verdictOf(input: WhyInput, { local, mapCache, registrations }: Found): Verdict {
  const { snapshot } = input
  const { roles } = snapshot
  if (isMulticast(input.eid.address)) return groupVerdict(input.eid, input.from, snapshot)
  if (!roles.some((role) => FORWARDING.includes(role))) return asked(input, registrations)
  const host = formatEidPrefix(hostPrefix(input.eid))
  const isHostMapping = mapCache?.eidPrefix === host
  const own = local?.kind === 'dynamic-prefix' ? undefined : local
  if (own?.state === 'standby')
    return {
      code: 'held-for-endpoint',
      text: `is expected on ${own.interfaceName}: packets are held until it is seen there`,
    }
  if (own?.state === 'away') {
    const to = own.locators.map(({ rloc }) => rloc).join(', ') || 'nowhere that is known'
    return {
      code: 'redirected',
      text: `has left for ${to}: packets that still come here are sent on, their senders are told`,
    }
  }
  if (own !== undefined && !(isHostMapping && mapCache.origin !== 'local'))
    return { code: 'delivered-here', text: `is here, on ${own.interfaceName}${macText(own)}` }
  if (mapCache !== undefined && mapCache.origin !== 'local') return mapped(mapCache)
  if (!roles.some((role) => ASKING.includes(role))) {
    if (roles.includes('petr'))
      return { code: 'native', text: 'is unknown here: packets of the sites served leave natively' }
    return {
      code: 'dropped',
      text: 'is unknown here, and this node is no ITR: packets are dropped',
    }
  }
  const whom = input.mapResolvers.join(', ')
  return {
    code: 'asked-for',
    text: `is not in the map-cache: the first packet from a host here is held while ${whom} is asked`,
  }
}

function mapped(entry: MapCacheView): Verdict {
  const under = `matches ${entry.eidPrefix}`
  switch (entry.action) {
    case 'forward':
      return encapsulated(entry, under)
    case 'natively-forward':
      return { code: 'native', text: `${under}: not LISP, packets go by the kernel's own routing` }
    case 'send-map-request':
      return {
        code: 'asked-for',
        text: `${under}: packets are held while the mapping is asked for`,
      }
    default:
      return { code: 'dropped', text: `${under}: the mapping says ${entry.action}` }
  }
}

function encapsulated(entry: MapCacheView, under: string): Verdict {
  const usable = entry.locators.filter(({ reachable, priority }) => reachable && priority < 255)
  const best = Math.min(...usable.map(({ priority }) => priority))
  const chosen = usable.filter(({ priority }) => priority === best)
  if (chosen.length === 0)
    return { code: 'dropped', text: `${under}: no locator of it can be used, packets are dropped` }
  const total = chosen.reduce((sum, { weight }) => sum + weight, 0)
  const share = ({ rloc, weight }: LocatorView): string =>
    chosen.length === 1 || total === 0 ? rloc : `${rloc} (${Math.round((100 * weight) / total)} %)`
  return {
    code: 'encapsulated',
    text: `${under}: packets are sent to ${chosen.map(share).join(', ')}`,
  }
}

/** A node without packets of its own can only tell what it answers. */
function asked({ snapshot }: WhyInput, registrations: Found['registrations']): Verdict {
  const [first] = registrations
  if (!snapshot.roles.includes('map-server'))
    return { code: 'no-packets', text: 'this node forwards no packets and knows no registrations' }
  if (first === undefined)
    return {
      code: 'not-registered',
      text: 'is registered by nobody: who asks gets a negative answer',
    }
  const rlocs = registrations.flatMap((one) => one.locators.map(({ rloc }) => rloc)).join(', ')
  const how = first.proxyReply ? 'who asks is told' : 'requests are passed on to'
  return { code: 'registered', text: `is registered as ${first.eidPrefix}: ${how} ${rlocs}` }
}

function macText({ mac }: MappingDatabaseView): string {
  return mac === undefined ? '' : ` (${mac})`
}

function remarksOf(input: WhyInput, found: Found): string[] {
  return [...sourceRemarks(input), ...datapathRemarks(input, found), ...freshness(found)]
}

function sourceRemarks({ from, snapshot }: WhyInput): string[] {
  if (from === undefined) return []
  const name = formatEid(from)
  const [source] = longestMatches(snapshot.mappingDatabase, from)
  if (source === undefined) return [`${name} is no EID of this site: its packets do not begin here`]
  if (source.kind === 'dynamic-prefix')
    return [`${name} may appear here (${source.eidPrefix}) but has not been seen`]
  if (source.state !== 'local') return [`${name} is not here: it is ${source.state}`]
  return [`${name} is here, on ${source.interfaceName}: its packets are treated as said above`]
}

/** The control plane and the datapath say the same; what does not is what one looks for at night. */
function datapathRemarks({ findings, snapshot }: WhyInput, { local, mapCache }: Found): string[] {
  if (findings === undefined || snapshot.roles.every((role) => role.startsWith('map-'))) return []
  const remarks: string[] = []
  const inMaps = findings.find(({ table }) => table === 'map-cache')
  const isForeign = mapCache !== undefined && mapCache.origin !== 'local'
  if (isForeign && inMaps === undefined)
    remarks.push(`the datapath has no entry for ${mapCache.eidPrefix}, the control plane has one`)
  if (isForeign && mapCache.action === 'forward' && inMaps?.form === 'forward') {
    const known = mapCache.locators.map(({ rloc }) => rloc)
    const other = inMaps.rlocs.filter((rloc) => !known.includes(rloc))
    if (other.length > 0)
      remarks.push(`the datapath sends to ${other.join(', ')}, which the mapping does not name`)
  }
  for (const { table, form } of findings)
    if (form.includes('draining'))
      remarks.push(`the ${table} entry is draining: held packets leave first, newer ones wait`)
  const here = findings.find(({ table }) => table === 'local-eid')
  if (local !== undefined && local.kind === 'dynamic-eid' && !here?.form.startsWith(local.state)) {
    if (here?.form !== 'draining' || local.state !== 'local')
      remarks.push(`the EID is ${local.state}, the datapath has it as ${here?.form ?? 'nothing'}`)
  }
  return remarks
}

function freshness({ local, mapCache }: Found): string[] {
  const remarks: string[] = []
  if (mapCache?.refreshing) remarks.push('the mapping is being asked for again')
  if (mapCache !== undefined && mapCache.action === 'forward')
    for (const { rloc, reachable } of mapCache.locators)
      if (!reachable) remarks.push(`${rloc} is down and not used`)
  if (local?.kind === 'dynamic-eid' && local.state === 'local' && !local.registered)
    remarks.push('the Map-Server has not acknowledged yet that the EID is here')
  return remarks
}

function narrowPaths(locators: Explanation['locators']): string[] {
  return locators.flatMap(({ rloc, pathMtu }) =>
    pathMtu === undefined
      ? []
      : [`the path to ${rloc} takes ${pathMtu} bytes: senders of more are told what fits`],
  )
}

function concerns(
  event: Event,
  about: ReadonlySet<string>,
  moveIds: ReadonlySet<string>,
  rlocs: readonly string[],
): boolean {
  const { eid, eidPrefix, eids, eidPrefixes, moveId, rloc } = event
  if (typeof eid === 'string' && about.has(eid)) return true
  if (typeof eidPrefix === 'string' && about.has(eidPrefix)) return true
  for (const several of [eids, eidPrefixes])
    if (Array.isArray(several) && several.some((one) => about.has(String(one)))) return true
  if (typeof moveId === 'string' && moveIds.has(moveId)) return true
  return typeof rloc === 'string' && rlocs.includes(rloc)
}

/** What one screen takes. */
const MAXIMUM_EVENTS = 20
const MAXIMUM_MOVES = 3
