/**
 * The prefixes that an xTR has asked for with the N bit (RFC 9437 §5): by their text, and by what was
 * answered, so that a publication finds the subscription it belongs to. Bounded; the one unused longest
 * goes first. What a publication means is decided in subscriber.ts.
 */
import type { AuthenticationKey } from '../../lisp/authentication.js'
import { type EidPrefix, formatEidPrefix, eidPrefix as makePrefix } from '../../lisp/eid.js'
import type { MapNotify } from '../../lisp/message.js'
import { createEidTrie } from '../../tables/eid-trie.js'
import type { Instant } from '../capabilities.js'

/** A prefix that we have asked for with the N bit. */
export interface Followed {
  readonly key: string
  readonly eidPrefix: EidPrefix
  /** What was answered: publications inside of it are ours. */
  coverage: EidPrefix
  /** The highest nonce sent or received. */
  last: bigint
  state: 'asked' | 'subscribed' | 'removing' | 'none'
  /** The key made of a one-time key (RFC 9437 §7.1). */
  association: AuthenticationKey | undefined
  refusedUntil: Instant | undefined
  /** By the configuration of both sides: never taken back. */
  configured: boolean
}

export interface FollowedPrefixes {
  get(eidPrefix: EidPrefix): Followed | undefined
  byKey(key: string): Followed | undefined
  values(): IterableIterator<Followed>
  /** A new one, asked for; `last` is the nonce before its first. */
  begin(eidPrefix: EidPrefix, last: bigint): Followed
  cover(one: Followed, coverage: EidPrefix): void
  /** It is in use: the last to be forgotten. */
  touch(one: Followed): void
  /** The one that the nonce belongs to: the nearest one that overlaps the records. */
  nearest(notify: MapNotify): Followed | undefined
}

/** Our choice: prefixes whose nonces are remembered. */
const MAXIMUM_REMEMBERED = 65_536
/** Nonces this far from the last one of a prefix belong to it (RFC 9437 §6: gaps are allowed). */
const REACH = 1n << 33n
/** Subscriptions compared with one Map-Notify that is not authenticated yet. */
const MAXIMUM_LOOKS = 1024

/** `forgotten` is told what had to go. */
export function createFollowedPrefixes(forgotten: (one: Followed) => void): FollowedPrefixes {
  const byCoverage = createEidTrie<Map<string, Followed>>()
  /** In the order of last use. */
  const byKey = new Map<string, Followed>()

  function uncover(one: Followed): void {
    const there = byCoverage.exact(one.coverage)
    there?.delete(one.key)
    if (there?.size === 0) byCoverage.remove(one.coverage)
  }

  function cover(one: Followed, coverage: EidPrefix): void {
    uncover(one)
    one.coverage = coverage
    const there = byCoverage.exact(coverage) ?? new Map<string, Followed>()
    byCoverage.insert(coverage, there.set(one.key, one))
  }

  function forgetOldest(): void {
    for (const oldest of byKey.values()) {
      byKey.delete(oldest.key)
      uncover(oldest)
      forgotten(oldest)
      break
    }
  }

  function* overlapping(prefix: EidPrefix): Generator<Map<string, Followed>> {
    let at: EidPrefix | undefined = prefix
    while (at !== undefined) {
      const found = byCoverage.longestCovering(at)
      if (found === undefined) break
      yield found.value
      const { instanceId, address, maskLength }: EidPrefix = found.prefix
      at = maskLength === 0 ? undefined : makePrefix(instanceId, address, maskLength - 1)
    }
    for (const { value } of byCoverage.coveredBy(prefix)) yield value
  }

  return {
    get: (eidPrefix) => byKey.get(formatEidPrefix(eidPrefix)),
    byKey: (key) => byKey.get(key),
    values: () => byKey.values(),
    begin(eidPrefix, last) {
      const one: Followed = {
        key: formatEidPrefix(eidPrefix),
        eidPrefix,
        coverage: eidPrefix,
        last,
        state: 'asked',
        association: undefined,
        refusedUntil: undefined,
        configured: false,
      }
      byKey.set(one.key, one)
      cover(one, eidPrefix)
      if (byKey.size > MAXIMUM_REMEMBERED) forgetOldest()
      return one
    },
    cover,
    touch(one) {
      byKey.delete(one.key)
      byKey.set(one.key, one)
    },
    nearest(notify) {
      const first = notify.records[0]
      if (first === undefined) return undefined
      let best: Followed | undefined
      let least = REACH
      let looks = 0
      for (const there of overlapping(first.eidPrefix)) {
        for (const one of there.values()) {
          looks += 1
          // Nobody has proven yet who sent this.
          if (looks > MAXIMUM_LOOKS) return best
          const { last } = one
          const distance = notify.nonce > last ? notify.nonce - last : last - notify.nonce
          if (distance >= least) continue
          least = distance
          best = one
        }
      }
      return best
    },
  }
}
