/**
 * What the listeners of one group on one segment want, as reports say it: the tables of RFC 3376 §6.4
 * and RFC 3810 §7.4, filter mode, source timers and all. MLD differs in words only.
 *
 * In INCLUDE mode every source has a timer. In EXCLUDE mode sources with a timer are asked for by
 * somebody ("requested list"), those without are wanted by nobody ("exclude list"). Nothing is sent
 * from here: a transition returns what is to be asked. Reports of older versions are put in these
 * terms by the caller.
 */
import { formatIpAddress, type IpAddress } from '../../lisp/address.js'
import type { GroupRecordType } from '../../lisp/multicast/membership.js'
import type { Instant } from '../capabilities.js'

export interface ListenerState {
  mode: 'include' | 'exclude'
  /** The group timer; counts in EXCLUDE mode only. */
  until: Instant
  /** By the text of the address. */
  sources: Map<string, ListenerSource>
}

export interface ListenerSource {
  readonly address: IpAddress
  /** Undefined: in the exclude list. */
  until: Instant | undefined
}

/** What to ask after a transition. */
export interface ListenerQuestion {
  readonly group: boolean
  readonly sources: readonly string[]
}

export interface ListenerTerms {
  /** Group Membership Interval: how long a report counts. */
  readonly membershipMs: number
  readonly maximumSources: number
}

const NOTHING: ListenerQuestion = { group: false, sources: [] }

export function emptyListenerState(): ListenerState {
  return { mode: 'include', until: 0, sources: new Map() }
}

/** INCLUDE of nothing: nobody listens. */
export function isDeserted({ mode, sources }: ListenerState): boolean {
  return mode === 'include' && sources.size === 0
}

/**
 * A group record. Sources beyond `maximumSources` are left out, and counted by `refused`: of an
 * INCLUDE these are not served, of an EXCLUDE they are served although nobody wants them.
 */
export function applyRecord(
  state: ListenerState,
  type: GroupRecordType,
  sources: readonly IpAddress[],
  now: Instant,
  terms: ListenerTerms,
): { readonly ask: ListenerQuestion; readonly refused: number } {
  const named = new Map(sources.map((address) => [formatIpAddress(address), address]))
  const counted = { refused: 0 }
  const ask =
    state.mode === 'include'
      ? applyToInclude(state, type, named, now, terms, counted)
      : applyToExclude(state, type, named, now, terms, counted)
  return { ask, refused: counted.refused }
}

type Named = ReadonlyMap<string, IpAddress>
interface Counted {
  refused: number
}

/** RFC 3376 §6.4.1 and §6.4.2, the rows that begin with INCLUDE (A). */
function applyToInclude(
  state: ListenerState,
  type: GroupRecordType,
  named: Named,
  now: Instant,
  terms: ListenerTerms,
  counted: Counted,
): ListenerQuestion {
  const known = [...state.sources.keys()]
  switch (type) {
    case 'mode-is-include':
    case 'allow-new-sources':
      want(state, named, now, terms, counted)
      return NOTHING
    case 'change-to-include':
      want(state, named, now, terms, counted)
      return { group: false, sources: known.filter((key) => !named.has(key)) }
    case 'block-old-sources':
      return { group: false, sources: known.filter((key) => named.has(key)) }
    case 'mode-is-exclude':
    case 'change-to-exclude': {
      // (B-A)=0: what nobody has asked for is in the exclude list at once.
      replace(state, named, undefined, terms, counted)
      state.mode = 'exclude'
      state.until = now + terms.membershipMs
      const both = type === 'change-to-exclude' ? known.filter((key) => named.has(key)) : []
      return { group: false, sources: both }
    }
  }
}

/** The rows that begin with EXCLUDE (X,Y). */
function applyToExclude(
  state: ListenerState,
  type: GroupRecordType,
  named: Named,
  now: Instant,
  terms: ListenerTerms,
  counted: Counted,
): ListenerQuestion {
  const groupUntil = state.until
  const isExcluded = (key: string): boolean => {
    const one = state.sources.get(key)
    return one !== undefined && one.until === undefined
  }
  switch (type) {
    case 'mode-is-include':
    case 'allow-new-sources':
      want(state, named, now, terms, counted)
      return NOTHING
    case 'mode-is-exclude':
      replace(state, named, now + terms.membershipMs, terms, counted)
      state.until = now + terms.membershipMs
      return NOTHING
    case 'block-old-sources': {
      const asked = [...named.keys()].filter((key) => !isExcluded(key))
      for (const [key, address] of named)
        if (!state.sources.has(key)) add(state, key, address, groupUntil, terms, counted)
      return { group: false, sources: asked.filter((key) => state.sources.has(key)) }
    }
    case 'change-to-exclude': {
      const asked = [...named.keys()].filter((key) => !isExcluded(key))
      replace(state, named, groupUntil, terms, counted)
      state.until = now + terms.membershipMs
      return { group: false, sources: asked.filter((key) => state.sources.has(key)) }
    }
    case 'change-to-include': {
      const requested = [...state.sources].filter(([, { until }]) => until !== undefined)
      const asked = requested.map(([key]) => key).filter((key) => !named.has(key))
      want(state, named, now, terms, counted)
      return { group: true, sources: asked }
    }
  }
}

/** (B)=GMI: somebody wants these. */
function want(
  state: ListenerState,
  named: Named,
  now: Instant,
  terms: ListenerTerms,
  counted: Counted,
): void {
  const until = now + terms.membershipMs
  for (const [key, address] of named) {
    const known = state.sources.get(key)
    if (known !== undefined) known.until = until
    else add(state, key, address, until, terms, counted)
  }
}

/** Exactly these sources, with the timers that they have; new ones with `until`. */
function replace(
  state: ListenerState,
  named: Named,
  until: Instant | undefined,
  terms: ListenerTerms,
  counted: Counted,
): void {
  const before = state.sources
  state.sources = new Map()
  for (const [key, address] of named) {
    const known = before.get(key)
    if (known !== undefined && state.sources.size < terms.maximumSources)
      state.sources.set(key, known)
    else add(state, key, address, until, terms, counted)
  }
}

function add(
  state: ListenerState,
  key: string,
  address: IpAddress,
  until: Instant | undefined,
  terms: ListenerTerms,
  counted: Counted,
): void {
  if (state.sources.size >= terms.maximumSources) counted.refused += 1
  else state.sources.set(key, { address, until })
}

/** RFC 3376 §6.5, §6.6.2: timers that have run out. True when anything is other than before. */
export function expireListeners(state: ListenerState, now: Instant): boolean {
  let changed = false
  if (state.mode === 'exclude' && state.until <= now) {
    // Back to INCLUDE with what is asked for; the exclude list goes.
    state.mode = 'include'
    for (const [key, { until }] of state.sources) if (until === undefined) state.sources.delete(key)
    changed = true
  }
  for (const [key, one] of state.sources) {
    if (one.until === undefined || one.until > now) continue
    if (state.mode === 'include') state.sources.delete(key)
    else one.until = undefined
    changed = true
  }
  return changed
}

/** RFC 3376 §6.6.1, §6.6.3: a question was heard or asked, and silence now means no. */
export function lowerTimers(state: ListenerState, asked: ListenerQuestion, to: Instant): void {
  if (asked.group) state.until = Math.min(state.until, to)
  for (const key of asked.sources) {
    const one = state.sources.get(key)
    if (one?.until !== undefined) one.until = Math.min(one.until, to)
  }
}

/** When the first timer of the group runs out; undefined in a state that has none. */
export function nextExpiry({ mode, until, sources }: ListenerState): Instant | undefined {
  let next = mode === 'exclude' ? until : Number.POSITIVE_INFINITY
  for (const one of sources.values()) if (one.until !== undefined) next = Math.min(next, one.until)
  return next === Number.POSITIVE_INFINITY ? undefined : next
}
