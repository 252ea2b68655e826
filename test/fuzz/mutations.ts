/**
 * Damages messages in the places where it matters: counts, lengths, address families, LCAF types and
 * lengths, authentication lengths; cuts, joins and repeats records.
 *
 * Which bytes of a seed carry structure is found by trying: a byte whose change makes the seed fail
 * to decode is one. So a format that is new here needs no description, only seeds.
 */
import type { Chance } from './random-bytes.js'

/** An original to be damaged, with the offsets of its bytes that carry structure. */
export interface Seed {
  readonly bytes: Uint8Array
  readonly structure: readonly number[]
}

/** Room for one input: what a UDP datagram or a small capture file can hold. */
export const MAX_INPUT_BYTES = 8192

const PROBED_BYTES = 160
const FAMILIES = [0, 1, 2, 6, 16, 17, 25, 16387, 16389, 16390, 0xffff]
const LCAF_TYPES = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 255]
const EDGES = [0, 1, 2, 3, 4, 7, 8, 12, 16, 20, 32, 33, 40, 127, 128, 254, 255]

/** The seed with its structure found out by `decodes`. */
export function seedOf(bytes: Uint8Array, decodes: (bytes: Uint8Array) => boolean): Seed {
  const structure: number[] = []
  const copy = bytes.slice()
  if (!decodes(copy)) return { bytes, structure }
  for (let at = 0; at < Math.min(copy.length, PROBED_BYTES); at += 1) {
    const original = copy[at]!
    for (const value of [original + 1, original ^ 0xff, original ^ 0x10]) {
      copy[at] = value
      if (!decodes(copy)) {
        structure.push(at)
        break
      }
    }
    copy[at] = original
  }
  return { bytes, structure }
}

/**
 * Writes a damaged seed into `into` (at least `MAX_INPUT_BYTES`) and returns its length. One input
 * in eight is a seed as it is, so that valid messages are seen too.
 */
export function mutate(chance: Chance, seeds: readonly Seed[], into: Uint8Array): number {
  const seed = seeds[chance.below(seeds.length)]!
  let length = Math.min(seed.bytes.length, MAX_INPUT_BYTES)
  into.set(seed.bytes.length > length ? seed.bytes.subarray(0, length) : seed.bytes)
  if (chance.oneIn(8)) return length
  let rounds = 1
  while (rounds < 6 && chance.oneIn(3)) rounds += 1
  for (let round = 0; round < rounds; round += 1) {
    length = damage(chance, seed, seeds, into, length)
  }
  return length
}

function damage(
  chance: Chance,
  seed: Seed,
  seeds: readonly Seed[],
  into: Uint8Array,
  length: number,
): number {
  switch (chance.below(20)) {
    case 0:
      return chance.below(length + 1)
    case 1:
      return structural(chance, seed, into, length, () => -1)
    case 2:
      return extend(chance, into, length)
    case 3:
      return repeat(chance, seed, into, length)
    case 4:
      return remove(chance, into, length)
    case 5:
      return splice(chance, seeds, into, length)
    case 6:
    case 7:
      return changeFamily(chance, into, length)
    case 8:
      return wrap(chance, into, length)
    case 9:
      return changeLcaf(chance, into, length)
    case 10:
      if (length >= 16) putU16(into, 14, EDGES[chance.below(EDGES.length)]!)
      return length
    case 11:
      return setWord(chance, into, length)
    case 12:
    case 13:
      return structural(chance, seed, into, length, (value) => value + (chance.oneIn(2) ? 1 : -1))
    case 14:
      return structural(chance, seed, into, length, () => EDGES[chance.below(EDGES.length)]!)
    case 15:
    case 16:
      if (length > 0) into[chance.below(length)] = chance.next()
      return length
    default:
      if (length > 0) into[chance.below(length)]! ^= 1 << chance.below(8)
      return length
  }
}

/** A byte that carries structure; without any, or by chance, cut there instead. */
function structural(
  chance: Chance,
  seed: Seed,
  into: Uint8Array,
  length: number,
  change: (value: number) => number,
): number {
  const at = seed.structure[chance.below(seed.structure.length)]
  if (at === undefined || at >= length) return length
  const value = change(into[at]!)
  if (value < 0) return at
  into[at] = value
  return length
}

function extend(chance: Chance, into: Uint8Array, length: number): number {
  const end = Math.min(length + 1 + chance.below(40), MAX_INPUT_BYTES)
  const zero = chance.oneIn(2)
  for (let at = length; at < end; at += 1) into[at] = zero ? 0 : chance.next()
  return end
}

/** A stretch twice, as a record might be, and often a count that agrees. */
function repeat(chance: Chance, seed: Seed, into: Uint8Array, length: number): number {
  const start = chance.below(length)
  const size = Math.min(1 + chance.below(48), length - start)
  if (size <= 0 || length + size > MAX_INPUT_BYTES) return length
  into.copyWithin(start + size, start, length)
  const at = seed.structure[chance.below(seed.structure.length)]
  if (at !== undefined && at < start && chance.oneIn(2)) into[at]! += chance.oneIn(2) ? 1 : size
  return length + size
}

function remove(chance: Chance, into: Uint8Array, length: number): number {
  const start = chance.below(length)
  const size = Math.min(1 + chance.below(24), length - start)
  into.copyWithin(start, start + size, length)
  return length - size
}

function splice(chance: Chance, seeds: readonly Seed[], into: Uint8Array, length: number): number {
  const other = seeds[chance.below(seeds.length)]!.bytes
  const at = chance.below(length)
  const from = chance.oneIn(2) ? at : chance.below(other.length)
  if (from >= other.length) return length
  const tail = other.subarray(from, from + MAX_INPUT_BYTES - at)
  into.set(tail, at)
  return at + tail.length
}

/** Where an address family stands, looked for from a random place on; -1 when there is none. */
function findFamily(chance: Chance, into: Uint8Array, length: number, wanted: number): number {
  const start = chance.below(length)
  for (let step = 0; step + 1 < length; step += 1) {
    const at = (start + step) % length
    const value = (into[at]! << 8) | (into[at + 1] ?? 0)
    if (at + 1 < length && (wanted < 0 ? value === 1 || value === 2 : value === wanted)) return at
    if (step === SEARCHED_BYTES) break
  }
  return -1
}
const SEARCHED_BYTES = 256

function changeFamily(chance: Chance, into: Uint8Array, length: number): number {
  const at = findFamily(chance, into, length, chance.oneIn(4) ? LCAF : -1)
  if (at >= 0) putU16(into, at, FAMILIES[chance.below(FAMILIES.length)]!)
  return length
}
const LCAF = 16387

/** An address becomes an LCAF around it: instance-ID, AFI-List or any other type. */
function wrap(chance: Chance, into: Uint8Array, length: number): number {
  const at = findFamily(chance, into, length, chance.oneIn(4) ? LCAF : -1)
  const instance = chance.oneIn(2)
  const header = instance ? 12 : 8
  if (at < 0 || length + header > MAX_INPUT_BYTES) return length
  const address = into[at + 1] === 1 ? 6 : 18
  into.copyWithin(at + header, at, length)
  into.fill(0, at, at + header)
  putU16(into, at, LCAF)
  into[at + 4] = instance ? 2 : LCAF_TYPES[chance.below(LCAF_TYPES.length)]!
  putU16(into, at + 6, header - 8 + address)
  return length + header
}

function changeLcaf(chance: Chance, into: Uint8Array, length: number): number {
  const at = findFamily(chance, into, length, LCAF)
  if (at < 0 || at + 8 > length) return length
  if (chance.oneIn(2)) into[at + 4] = LCAF_TYPES[chance.below(LCAF_TYPES.length)]!
  else into[at + 7]! += chance.oneIn(2) ? 2 - chance.below(5) : chance.next()
  return length
}

function setWord(chance: Chance, into: Uint8Array, length: number): number {
  if (length < 2) return length
  const at = chance.below(length - 1)
  const rest = length - at
  const words = [0, 1, rest, rest - 1, rest - 2, rest + 1, 0x7fff, 0x8000, 0xffff]
  putU16(into, at, words[chance.below(words.length)]!)
  return length
}

function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value
}
