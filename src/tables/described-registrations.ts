/**
 * The Map-Server's store of registered names and places: who registered which, until when.
 *
 * Names are found by their longest registered beginning (RFC 9735 §4), at the cost of one look into a
 * map per byte of the name asked for. Places are found by looking at each of the instance, which is
 * why their number is limited. Who may register what is decided by the Map-Server. Times are
 * milliseconds on the caller's clock.
 */
import { equalAfiAddresses } from '../lisp/afi-address.js'
import {
  coversDescribedEid,
  type DescribedEid,
  formatDescribedEid,
  hexText,
  type NamedEid,
  type Place,
} from '../lisp/described-eid.js'
import { type Locator, type OtherLocator, type Rloc, sortLocators } from '../lisp/locator.js'
import type { StructuredMapping } from '../lisp/mapping.js'
import { createExpiryHeap, type ExpirySlot } from './expiry-heap.js'
import { mergedLocators } from './registrations.js'

export interface DescribedRegistrant {
  /** xTR-ID in hex, or the source RLOC as text. */
  readonly owner: string
  readonly source: Rloc
  /** Of the key that it speaks with. */
  readonly keyId: number
  readonly record: StructuredMapping
  readonly proxyReply: boolean
  readonly expiresAt: number
}

export interface DescribedRegistration {
  readonly eid: DescribedEid
  readonly site: string
  /** At least one, oldest first. */
  readonly registrants: readonly DescribedRegistrant[]
}

/** A part of them in the order of `name`: the text of the EID, then its site. */
export interface DescribedPage {
  readonly found: readonly { readonly name: string; readonly registration: DescribedRegistration }[]
  /** Of the instance-ID, on all pages. */
  readonly total: number
  readonly isLast: boolean
}

/** Whose time is over. */
export interface EndedRegistrant {
  readonly eid: DescribedEid
  readonly owner: string
  readonly site: string
}

export interface DescribedRegistrations {
  readonly size: number
  /** Of this EID by this site. */
  exact(eid: DescribedEid, site: string): DescribedRegistration | undefined
  /**
   * What answers for `eid`: of a name the longest that covers it, of a place every one that does,
   * the largest first.
   */
  matches(eid: DescribedEid): readonly DescribedRegistration[]
  /** Puts or replaces; without registrants it removes. */
  put(registration: DescribedRegistration): void
  /** Takes out what is over at `now`: a registrant, of which the others stay. */
  takeDue(now: number): EndedRegistrant[]
  nextExpiry(): number | undefined
  /** At most `limit` (1 or more) of those behind the name `after`; costs a look at each. */
  page(query: {
    readonly limit: number
    readonly after?: string | undefined
    readonly instanceId?: number | undefined
  }): DescribedPage
  ofSite(site: string): number
  placesIn(instanceId: number): number
  /** A site has its places in one instance. */
  placesOf(site: string): number
}

export function createDescribedRegistrations(): DescribedRegistrations {
  const held = new Map<string, Held>()
  /** Instance-ID → its places. */
  const places = new Map<number, Set<Held>>()
  const perSite = new Map<string, number>()
  const placesPerSite = new Map<string, number>()
  const heap = createExpiryHeap<Held>()

  function remove(key: string): void {
    const former = held.get(key)
    if (former === undefined) return
    const { eid, site } = former.registration
    held.delete(key)
    heap.remove(former.slot)
    perSite.set(site, (perSite.get(site) ?? 0) - 1)
    if (eid.kind !== 'place') return
    places.get(eid.instanceId)?.delete(former)
    placesPerSite.set(site, (placesPerSite.get(site) ?? 0) - 1)
  }

  function put(registration: DescribedRegistration): void {
    const { eid, site, registrants } = registration
    const key = keyOf(eid, site)
    remove(key)
    if (registrants.length === 0) return
    const soonest = registrants.reduce((least, one) => Math.min(least, one.expiresAt), Infinity)
    const entry = { registration, name: `${formatDescribedEid(eid)} ${site}` } as Held
    entry.slot = heap.add(entry, soonest)
    held.set(key, entry)
    perSite.set(site, (perSite.get(site) ?? 0) + 1)
    if (eid.kind !== 'place') return
    const there = places.get(eid.instanceId) ?? new Set()
    places.set(eid.instanceId, there.add(entry))
    placesPerSite.set(site, (placesPerSite.get(site) ?? 0) + 1)
  }

  function longestName(eid: NamedEid): readonly DescribedRegistration[] {
    const whole = hexText(eid.name)
    for (let digits = whole.length; digits >= 0; digits -= 2) {
      const found = held.get(nameKey(eid.instanceId, whole.slice(0, digits)))
      if (found !== undefined) return [found.registration]
    }
    return []
  }

  function covering(eid: Place): readonly DescribedRegistration[] {
    const found: { readonly radius: number; readonly registration: DescribedRegistration }[] = []
    for (const { registration } of places.get(eid.instanceId) ?? []) {
      const there = registration.eid
      if (there.kind !== 'place' || !coversDescribedEid(there, eid)) continue
      found.push({ radius: there.radiusMetres, registration })
    }
    return found.sort((a, b) => b.radius - a.radius).map(({ registration }) => registration)
  }

  return {
    get size() {
      return held.size
    },
    exact: (eid, site) => held.get(keyOf(eid, site))?.registration,
    matches: (eid) => (eid.kind === 'name' ? longestName(eid) : covering(eid)),
    put,
    takeDue(now) {
      const gone: EndedRegistrant[] = []
      for (let due = heap.takeDue(now); due !== undefined; due = heap.takeDue(now)) {
        const { registration } = due
        const { eid, site } = registration
        for (const { owner, expiresAt } of registration.registrants)
          if (expiresAt <= now) gone.push({ eid, owner, site })
        put({ eid, site, registrants: registration.registrants.filter((r) => r.expiresAt > now) })
      }
      return gone
    },
    nextExpiry: () => heap.first()?.at,
    page({ limit, after = '', instanceId }) {
      const found: Held[] = []
      let total = 0
      let behind = 0
      for (const one of held.values()) {
        if (instanceId !== undefined && one.registration.eid.instanceId !== instanceId) continue
        total += 1
        if (one.name <= after) continue
        behind += 1
        insertByName(found, one, limit)
      }
      return { found, total, isLast: behind <= limit }
    },
    ofSite: (site) => perSite.get(site) ?? 0,
    placesOf: (site) => placesPerSite.get(site) ?? 0,
    placesIn: (instanceId) => places.get(instanceId)?.size ?? 0,
  }
}

/** What all registrants together say: locators united, the shortest TTL, neither A nor L bits. */
export function unitedRecord({ registrants }: DescribedRegistration): StructuredMapping {
  const newest = registrants.at(-1)!.record
  const records = registrants.map(({ record }) => record)
  const locators = sortLocators(mergedLocators(records)).map(unowned)
  const others: OtherLocator[] = []
  for (const one of records.flatMap(({ otherLocators = [] }) => otherLocators)) {
    const known = others.some((other) => equalAfiAddresses(other.structure, one.structure))
    if (!known) others.push(unowned(one))
  }
  const { otherLocators: _, ...rest } = newest
  const united = {
    ...rest,
    authoritative: false,
    ttlMinutes: records.reduce((least, one) => Math.min(least, one.ttlMinutes), 0xffffffff),
    locators,
  }
  return others.length === 0 ? united : { ...united, otherLocators: others }
}

interface Held {
  readonly registration: DescribedRegistration
  readonly name: string
  slot: ExpirySlot<Held>
}

/** Keeps the first `limit` in order: sorting all of a large table for each page would hold the daemon. */
function insertByName(first: Held[], one: Held, limit: number): void {
  if (first.length >= limit && one.name >= first.at(-1)!.name) return
  let [low, high] = [0, first.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (first[middle]!.name < one.name) low = middle + 1
    else high = middle
  }
  first.splice(low, 0, one)
  if (first.length > limit) first.pop()
}

function unowned<One extends Locator | OtherLocator>(locator: One): One {
  return { ...locator, local: false, probe: false }
}

/** A name is of the one site that is configured for it; a place may be registered by several. */
function keyOf(eid: DescribedEid, site: string): string {
  return eid.kind === 'name'
    ? nameKey(eid.instanceId, hexText(eid.name))
    : `${site} ${formatDescribedEid(eid)}`
}

function nameKey(instanceId: number, hex: string): string {
  return `${instanceId} name ${hex}`
}
