/**
 * The Map-Server's store: who registered which EID-prefix, with which locators, until when.
 *
 * A registration has one registrant, or several when they asked to be merged (RFC 9301 §5.6, a bit).
 * When the last one is gone the prefix leaves a retired version behind: the number by which a later
 * register is known to be old. This file stores and finds; who may register what is decided by the
 * Map-Server. Times are milliseconds on the caller's clock.
 */
import { compareIpAddresses } from '../lisp/address.js'
import type { Eid, EidPrefix } from '../lisp/eid.js'
import { type Locator, type Rloc, sortLocators } from '../lisp/locator.js'
import type { Action } from '../lisp/mapping.js'
import { createEidTrie } from './eid-trie.js'
import { createExpiryHeap, type ExpirySlot } from './expiry-heap.js'

/** What one xTR registered. */
export interface Registrant {
  /** xTR-ID in hex, or the source RLOC as text when the register carried no identity. */
  readonly owner: string
  /** The RLOC from which it registered. */
  readonly source: Rloc
  readonly locators: readonly Locator[]
  readonly action: Action
  readonly ttlMinutes: number
  readonly proxyReply: boolean
  readonly wantMapNotify: boolean
  /** It signs Map-Replies (RFC 9303); missing is no. */
  readonly securityCapable?: boolean
  /** The key and the length of authentication data with which it talks to us. */
  readonly keyId: number
  readonly authenticationLength: number
  /** Of the last register that spoke about it; 0 for what an earlier run of the node left. */
  readonly nonce: bigint
  readonly registeredAt: number
  readonly expiresAt: number
}

export interface Registration {
  readonly eidPrefix: EidPrefix
  readonly site: string
  /** 1–4095; the fencing number of ownership (RFC 9302). */
  readonly mapVersion: number
  /** Whether the registrants asked to be merged. */
  readonly merge: boolean
  /** 1 to `MAXIMUM_MERGED_REGISTRANTS`. */
  readonly registrants: readonly Registrant[]
  /** Of all registrants, sorted, each RLOC once. */
  readonly locators: readonly Locator[]
  /** When the first of the registrants is over. */
  readonly expiresAt: number
}

/** What is still known of a prefix that nobody registers any more. */
export interface RetiredVersion {
  readonly eidPrefix: EidPrefix
  readonly site: string
  readonly owner: string
  /** Of the register that withdrew it; 0 when time did. */
  readonly nonce: bigint
  readonly mapVersion: number
  readonly forgetAt: number
}

export interface Registrations {
  /** Registrations and retired versions together: what the limit counts. */
  readonly size: number
  exact(eidPrefix: EidPrefix): Registration | undefined
  longestMatch(eid: Eid): Registration | undefined
  longestCovering(eidPrefix: EidPrefix): Registration | undefined
  /** The registration of the prefix itself and all more-specific ones, coarse before fine. */
  coveredBy(eidPrefix: EidPrefix): Generator<Registration>
  entries(): Generator<Registration>
  /** See `EidTrie`. */
  after(eidPrefix: EidPrefix | undefined, instanceId: number | undefined): Generator<Registration>
  /** Registrations only. */
  sizeOf(instanceId: number | undefined): number
  exclusivePrefix(eid: Eid): EidPrefix
  /** Puts or replaces; a retired version of the prefix is gone then. */
  put(registration: Registration): void
  retired(eidPrefix: EidPrefix): RetiredVersion | undefined
  /** Puts a retired version in the place of the registration, if there is one. */
  retire(version: RetiredVersion): void
  /** Takes out one registration or retired version that is over at `now`. */
  takeDue(now: number): { registration: Registration } | { retired: RetiredVersion } | undefined
  nextExpiry(): number | undefined
  registrationsOfSite(site: string): number
  /** The same and the memory of retired ones: its part of `size`. */
  heldBySite(site: string): number
}

/** Our choice: more xTRs than this on one prefix is a fault; each is stored and sorted per change. */
export const MAXIMUM_MERGED_REGISTRANTS = 16
/** Our choice: a set of 32 IPv6 locators is the most that fits a 1280-byte message. */
export const MAXIMUM_LOCATORS = 32

export function createRegistrations(): Registrations {
  const live = createEidTrie<Slotted<Registration>>()
  const retiredVersions = createEidTrie<Slotted<RetiredVersion>>()
  const heap = createExpiryHeap<HeapValue>()
  const perSite = new Map<string, number>()
  const retiredPerSite = new Map<string, number>()

  const count = (site: string, change: number, counts = perSite) => {
    counts.set(site, (counts.get(site) ?? 0) + change)
  }
  const dropLive = (eidPrefix: EidPrefix) => {
    const former = live.remove(eidPrefix)
    if (former === undefined) return
    heap.remove(former.slot)
    count(former.value.site, -1)
  }
  const dropRetired = (eidPrefix: EidPrefix) => {
    const former = retiredVersions.remove(eidPrefix)
    if (former === undefined) return
    heap.remove(former.slot)
    count(former.value.site, -1, retiredPerSite)
  }

  return {
    get size() {
      return live.size + retiredVersions.size
    },
    exact: (eidPrefix) => live.exact(eidPrefix)?.value,
    longestMatch: (eid) => live.longestMatch(eid)?.value.value,
    longestCovering: (eidPrefix) => live.longestCovering(eidPrefix)?.value.value,
    *coveredBy(eidPrefix) {
      for (const entry of live.coveredBy(eidPrefix)) yield entry.value.value
    },
    *entries() {
      for (const entry of live.entries()) yield entry.value.value
    },
    *after(eidPrefix, instanceId) {
      for (const entry of live.after(eidPrefix, instanceId)) yield entry.value.value
    },
    sizeOf: (instanceId) => live.sizeOf(instanceId),
    exclusivePrefix: (eid) => live.exclusivePrefix(eid),
    put(registration) {
      dropRetired(registration.eidPrefix)
      dropLive(registration.eidPrefix)
      const slot = heap.add({ registration }, registration.expiresAt)
      live.insert(registration.eidPrefix, { value: registration, slot })
      count(registration.site, 1)
    },
    retired: (eidPrefix) => retiredVersions.exact(eidPrefix)?.value,
    retire(version) {
      dropLive(version.eidPrefix)
      dropRetired(version.eidPrefix)
      const slot = heap.add({ retired: version }, version.forgetAt)
      retiredVersions.insert(version.eidPrefix, { value: version, slot })
      count(version.site, 1, retiredPerSite)
    },
    takeDue(now) {
      const due = heap.takeDue(now)
      if (due === undefined) return undefined
      if ('registration' in due) dropLive(due.registration.eidPrefix)
      else dropRetired(due.retired.eidPrefix)
      return due
    },
    nextExpiry: () => heap.first()?.at,
    registrationsOfSite: (site) => perSite.get(site) ?? 0,
    heldBySite: (site) => (perSite.get(site) ?? 0) + (retiredPerSite.get(site) ?? 0),
  }
}

/** A registration made of these registrants (at least one), oldest first: later ones win per RLOC. */
export function registrationOf(
  about: Pick<Registration, 'eidPrefix' | 'site' | 'mapVersion' | 'merge'>,
  registrants: readonly Registrant[],
): Registration {
  const { eidPrefix, site, mapVersion, merge } = about
  const expiresAt = registrants.reduce((soonest, r) => Math.min(soonest, r.expiresAt), Infinity)
  const locators = mergedLocators(registrants)
  return { eidPrefix, site, mapVersion, merge, registrants, locators, expiresAt }
}

/** The union of the registrants' locator-sets, sorted (RFC 9301 §5.5), each RLOC once. */
export function mergedLocators(
  registrants: readonly Pick<Registrant, 'locators'>[],
): readonly Locator[] {
  if (registrants.length === 1) return sortLocators(registrants[0]!.locators)
  const merged: Locator[] = []
  for (const registrant of registrants) {
    for (const locator of registrant.locators) {
      const at = merged.findIndex((other) => compareIpAddresses(other.rloc, locator.rloc) === 0)
      if (at < 0) merged.push(locator)
      else merged[at] = locator
    }
  }
  return sortLocators(merged)
}

type HeapValue = { registration: Registration } | { retired: RetiredVersion }

interface Slotted<Value> {
  readonly value: Value
  readonly slot: ExpirySlot<HeapValue>
}
