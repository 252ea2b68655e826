/**
 * Where an EID-prefix is: routing locators and the sets they form (RFC 9301 §5.4 RLOC-record).
 *
 * A locator-set is kept in ascending order of its addresses, IPv4 before IPv6 before LCAF types,
 * because the bit numbers of locator-status-bits count in that order (RFC 9301 §5.5, RFC 8060 §3).
 * A locator that is more than an address keeps that in `structure`; its `rloc` is the address to
 * use for whoever does not look there. Choosing among locators is
 * the business of the tables and of the datapath.
 */
import {
  compareIpAddresses,
  equalIpAddresses,
  formatIpAddress,
  type IpAddress,
  isBroadcast,
  isMulticast,
  isUnspecified,
} from './address.js'
import { type AfiAddress, equalAfiAddresses, type LcafAddress, rlocOf } from './afi-address.js'
import { lcafType } from './lcaf.js'

export type Rloc = IpAddress

/** What an RLOC-record says beside its address, RFC 9301 §5.4. */
export interface LocatorTerms {
  /** 0–255, lower wins; 255 means "do not use for unicast". */
  readonly priority: number
  /** 0–255, share of the flows among locators of one priority. */
  readonly weight: number
  readonly multicastPriority: number
  readonly multicastWeight: number
  /** L bit: the locator belongs to the sender of the record. */
  readonly local: boolean
  /** p bit: this locator was the target of the RLOC-probe being answered. */
  readonly probe: boolean
  /** R bit: reachable from the sender's point of view. */
  readonly reachable: boolean
}

export interface Locator extends LocatorTerms {
  readonly rloc: Rloc
  /**
   * The address as encoded, where it is an LCAF: an explicit locator path, a replication list, …
   * `rloc` is then `rlocOf(structure)`. Absent for a plain address.
   */
  readonly structure?: LcafAddress
}

/** A locator without any address that packets could be sent to: a name, JSON, a key. */
export interface OtherLocator extends LocatorTerms {
  readonly structure: AfiAddress
}

/**
 * A locator with what is usual for everything not given: priority 1, weight 100, not for multicast,
 * reachable, neither local nor the answer to a probe.
 */
export function locator(rloc: Rloc, given: Partial<Omit<Locator, 'rloc'>> = {}): Locator {
  return { ...USUAL, ...given, rloc }
}

/** A locator of an LCAF; undefined when it holds no address that packets could be sent to. */
export function structuredLocator(
  structure: LcafAddress,
  given: Partial<LocatorTerms> = {},
): Locator | undefined {
  const rloc = rlocOf(structure)
  return rloc === undefined ? undefined : { ...USUAL, ...given, rloc, structure }
}

/**
 * Order of a locator-set: by address, IPv4 before IPv6 (RFC 9301 §5.5), then LCAF by type
 * (RFC 8060 §3) and, within one type, by `rloc`.
 */
function compareLocators(a: Locator, b: Locator): number {
  if (a.structure !== undefined || b.structure !== undefined) {
    const difference = orderOfStructure(a) - orderOfStructure(b)
    if (difference !== 0) return difference
  }
  return compareIpAddresses(a.rloc, b.rloc)
}

/** A sorted copy; the same array when it is in order already. Equal addresses keep their order. */
export function sortLocators(locators: readonly Locator[]): readonly Locator[] {
  for (let index = 1; index < locators.length; index += 1) {
    if (compareLocators(locators[index - 1]!, locators[index]!) > 0) {
      return locators.toSorted(compareLocators)
    }
  }
  return locators
}

/**
 * Whether two sets mean the same to a sender, in whatever order. The L and p bits are not looked
 * at: they say who answered, and a proxy reply (RFC 9301 §5.4) must not look like a change.
 */
export function equalLocatorSets(a: readonly Locator[], b: readonly Locator[]): boolean {
  if (a.length !== b.length) return false
  const other = sortLocators(b)
  return sortLocators(a).every((left, index) => {
    const right = other[index]!
    return (
      equalIpAddresses(left.rloc, right.rloc) &&
      left.priority === right.priority &&
      left.weight === right.weight &&
      left.multicastPriority === right.multicastPriority &&
      left.multicastWeight === right.multicastWeight &&
      left.reachable === right.reachable &&
      equalStructures(left.structure, right.structure)
    )
  })
}

/** `192.0.2.1 1/100`, priority before weight, followed by the flags that are out of the usual. */
export function formatLocator(value: Locator): string {
  const flags = [
    value.local ? ' local' : '',
    value.probe ? ' probe' : '',
    value.reachable ? '' : ' unreachable',
  ]
  const structure = value.structure === undefined ? '' : ` ${value.structure.kind}`
  const terms = `${value.priority}/${value.weight}${flags.join('')}`
  return `${formatIpAddress(value.rloc)}${structure} ${terms}`
}

/**
 * RFC 9301 §5.4: an RLOC of a unicast mapping is no broadcast, multicast or unspecified address.
 */
export function isUsableRloc(rloc: Rloc): boolean {
  return !isMulticast(rloc) && !isBroadcast(rloc) && !isUnspecified(rloc)
}

function orderOfStructure({ structure }: Locator): number {
  return structure === undefined ? -1 : lcafType(structure)
}

function equalStructures(a: LcafAddress | undefined, b: LcafAddress | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return equalAfiAddresses(a, b)
}

const USUAL = {
  priority: 1,
  weight: 100,
  multicastPriority: 255,
  multicastWeight: 0,
  local: false,
  probe: false,
  reachable: true,
} as const
