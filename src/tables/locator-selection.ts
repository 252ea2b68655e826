/**
 * Which locators of a set carry traffic, and in which shares (RFC 9301 §5.4, priority and weight).
 *
 * Flows are hashed to 64 buckets and every bucket names a locator; the datapath does nothing but look
 * the bucket up. The same function serves the kernel's locator sets and every model of them.
 */

/** At most this many locators share the traffic of one set (LISP_MAXIMUM_LOCATORS). */
const MAXIMUM_CHOSEN_LOCATORS = 8
/** Weights are realised in 64ths of the flows (LISP_LOCATOR_BUCKETS). */
export const LOCATOR_BUCKETS = 64

/** What selection needs to know of a locator. */
export interface WeighedLocator {
  /** 0–255, lower wins, 255 = never for unicast. */
  readonly priority: number
  /** 0–255. */
  readonly weight: number
  readonly reachable: boolean
}

export interface LocatorBuckets {
  /** Positions in the given list of the locators chosen, at most 8, in the order of the list. */
  readonly indexes: number[]
  /** 64 entries: bucket → position in `indexes`. All zero when nothing is usable. */
  readonly buckets: Uint8Array
}

/**
 * Positions of the usable locators of the best priority: reachable, and of priority < 255
 * (RFC 9301 §5.4: 255 MUST NOT be used for unicast). Empty when there are none.
 */
export function usableLocators(locators: readonly WeighedLocator[]): number[] {
  let best = NEVER_FOR_UNICAST
  let indexes: number[] = []
  for (const [index, locator] of locators.entries()) {
    if (!locator.reachable || locator.priority >= NEVER_FOR_UNICAST) continue
    if (locator.priority > best) continue
    if (locator.priority < best) indexes = []
    best = locator.priority
    indexes.push(index)
  }
  return indexes
}

/**
 * Shares 64 buckets among the usable locators of the best priority by largest remainder; weights that
 * are all zero mean equal shares. Of more than 8 the heaviest 8 are kept, earlier ones first.
 */
export function locatorBuckets(locators: readonly WeighedLocator[]): LocatorBuckets {
  const buckets = new Uint8Array(LOCATOR_BUCKETS)
  const indexes = heaviest(locators, usableLocators(locators))
  if (indexes.length === 0) return { indexes, buckets }

  let weights = indexes.map((index) => locators[index]!.weight)
  if (weights.every((weight) => weight === 0)) weights = weights.map(() => 1)
  const total = weights.reduce((sum, weight) => sum + weight, 0)

  const shares = weights.map((weight) => Math.floor((weight * LOCATOR_BUCKETS) / total))
  const remainders = weights.map((weight) => (weight * LOCATOR_BUCKETS) % total)
  const order = [...indexes.keys()].sort((a, b) => remainders[b]! - remainders[a]! || a - b)
  let left = LOCATOR_BUCKETS - shares.reduce((sum, share) => sum + share, 0)
  for (const position of order) {
    if (left === 0) break
    shares[position] = shares[position]! + 1
    left -= 1
  }

  let bucket = 0
  for (const [position, share] of shares.entries()) {
    buckets.fill(position, bucket, bucket + share)
    bucket += share
  }
  return { indexes, buckets }
}

/** Priority 255: RFC 9301 §5.4, MUST NOT be used for unicast. */
const NEVER_FOR_UNICAST = 255

function heaviest(locators: readonly WeighedLocator[], indexes: number[]): number[] {
  if (indexes.length <= MAXIMUM_CHOSEN_LOCATORS) return indexes
  return [...indexes]
    .sort((a, b) => locators[b]!.weight - locators[a]!.weight || a - b)
    .slice(0, MAXIMUM_CHOSEN_LOCATORS)
    .sort((a, b) => a - b)
}
