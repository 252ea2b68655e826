/**
 * Which nonces of one sender are new, come again, or are replays (RFC 9301 §5.6, §5.7: they rise).
 *
 * Datagrams overtake each other, and a lost one is sent again after later ones have arrived, so the
 * highest nonce alone does not decide. The last 256 nonces seen are remembered; what is above the
 * lowest that was forgotten and is not among them is new. Counted in messages seen, not in numbers,
 * because a sender that counts for many receivers leaves large gaps; a receiver to whom old messages
 * are dangerous limits their distance as well. Only authenticated nonces belong here.
 */

export type Freshness = 'new' | 'repeated' | 'replayed'

export interface ReplayWindow {
  /** The highest nonce seen, or the floor; what a restart continues from. */
  readonly highest: bigint
  /** Remembers the nonce. 'repeated': to be answered again, and nothing else. */
  accept(nonce: bigint): Freshness
}

/** Our choice: a receiver that has missed a message hears of up to 255 later ones meanwhile. */
export const WINDOW_MESSAGES = 256
/** Our choice: beyond what any of our senders repeats, so no recording is answered for ever. */
export const MAXIMUM_REPETITIONS = 128

interface Seen {
  readonly nonce: bigint
  repetitions: number
}

/**
 * @param floor nonces up to here are replays; 0 for a sender never heard of
 * @param reach nonces so far below the highest are replays as well; without it there is no such limit
 */
export function createReplayWindow(floor: bigint, reach?: bigint): ReplayWindow {
  /** Ascending. */
  const seen: Seen[] = []
  let lowest = floor

  function insert(nonce: bigint): void {
    let at = seen.length
    while (at > 0 && seen[at - 1]!.nonce > nonce) at -= 1
    seen.splice(at, 0, { nonce, repetitions: 0 })
    if (seen.length > WINDOW_MESSAGES) lowest = seen.shift()!.nonce
  }

  const highest = (): bigint => seen.at(-1)?.nonce ?? lowest

  return {
    get highest() {
      return highest()
    },
    accept(nonce) {
      if (nonce <= lowest) return 'replayed'
      if (reach !== undefined && nonce + reach <= highest()) return 'replayed'
      const known = seen.find((one) => one.nonce === nonce)
      if (known === undefined) {
        insert(nonce)
        return 'new'
      }
      known.repetitions += 1
      return known.repetitions <= MAXIMUM_REPETITIONS ? 'repeated' : 'replayed'
    },
  }
}
