/**
 * Chance that can be repeated: case M of seed N draws the same numbers on every machine and does not
 * depend on the cases before it, so that one failing case is replayed alone.
 *
 * The generator is sfc32 (small fast counting), which is quick and good enough to choose mutations
 * with; nothing here is for secrets.
 */

export interface Chance {
  /** 0 to 2^32-1. */
  next(): number
  /** 0 to `limit`-1; 0 when `limit` is 0. */
  below(limit: number): number
  /** True once in `n` times. */
  oneIn(n: number): boolean
  /** From here on the numbers of this case. */
  restart(seed: number, caseNumber: number): void
}

export function createChance(seed: number, caseNumber: number): Chance {
  let a = 0
  let b = 0
  let c = 0
  let counter = 1
  function next(): number {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + sum
    c |= 0
    return sum >>> 0
  }
  function restart(newSeed: number, newCase: number): void {
    a = scramble(newSeed | 0)
    b = scramble(newCase | 0)
    c = scramble(Math.floor(newCase / 0x100000000) ^ 0x5bd1e995)
    counter = 1
    // Neighbouring cases begin alike; a few rounds take them apart.
    for (let round = 0; round < 8; round += 1) next()
  }
  restart(seed, caseNumber)
  return {
    next,
    below: (limit) => (limit <= 1 ? 0 : next() % limit),
    oneIn: (n) => next() % n === 0,
    restart,
  }
}

function scramble(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}
