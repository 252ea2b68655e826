/**
 * Chance from a seed: the same numbers on every machine and every Node version.
 *
 * sfc32 on 32-bit integers, seeded by FNV-1a of a text. `split` derives a generator of its own from
 * seed and name, not from the state, so that a draw added in one component shifts no other. The
 * exponential distribution is von Neumann's comparison method: logarithms differ between machines,
 * comparisons do not.
 */

export interface Prng {
  /** 32 bits. */
  word(): number
  /** 64 bits. */
  nonce(): bigint
  /** [0, 1), 32 bits of it. */
  fraction(): number
  /** Integer in [0, limit). */
  below(limit: number): number
  /** [from, to). */
  between(from: number, to: number): number
  chance(probability: number): boolean
  /** Exponentially distributed with this mean; below 40 means. */
  exponential(mean: number): number
  /** Throws on an empty list. */
  pick<T>(list: readonly T[]): T
  split(name: string): Prng
}

export function createPrng(seed: string): Prng {
  let [a, b, c] = [fnv1a(`${seed}/a`), fnv1a(`${seed}/b`), fnv1a(`${seed}/c`)]
  let counter = 1
  const word = (): number => {
    const sum = (a + b + counter) >>> 0
    counter = (counter + 1) >>> 0
    a = (b ^ (b >>> 9)) >>> 0
    b = (c + (c << 3)) >>> 0
    c = (((c << 21) | (c >>> 11)) + sum) >>> 0
    return sum
  }
  for (let round = 0; round < WARM_UP; round += 1) word()
  const fraction = (): number => word() / 2 ** 32

  /** J. von Neumann, 1951: the first descent in a run of uniform numbers. */
  function unitExponential(): number {
    for (let whole = 0; whole < LONGEST_RUN; whole += 1) {
      const first = fraction()
      let last = first
      let even = true
      for (let step = 0; step < LONGEST_RUN; step += 1) {
        const next = fraction()
        if (next >= last) break
        last = next
        even = !even
      }
      if (even) return whole + first
    }
    return LONGEST_RUN
  }

  return {
    word,
    fraction,
    nonce: () => (BigInt(word()) << 32n) | BigInt(word()),
    below: (limit) => Math.floor(fraction() * limit),
    between: (from, to) => from + fraction() * (to - from),
    chance: (probability) => probability > 0 && fraction() < probability,
    exponential: (mean) => (mean === 0 ? 0 : unitExponential() * mean),
    pick(list) {
      const one = list[Math.floor(fraction() * list.length)]
      if (one === undefined) throw new RangeError('nothing to pick from')
      return one
    },
    split: (name) => createPrng(`${seed}/${name}`),
  }
}

/** 32-bit FNV-1a of the UTF-16 code units. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0
  return hash
}

const WARM_UP = 16
const LONGEST_RUN = 40
