/**
 * The guest's clock on the host's axis. Pure.
 *
 * A virtual machine's clock stands still while it is stopped, so a gap as the guest sees it is
 * shorter than the gap that its peers see. Packets from the guest carry its time of sending, and
 * the host knows when they came: the least difference among neighbours is the offset (plus the
 * shortest way), and where it steps the machine was stopped. Between steps it may drift a little.
 */
import type { PacketRecord } from '../demo/records.js'

/** Guest nanoseconds → host nanoseconds. */
export type GuestClock = (guestNs: number) => number

/**
 * Derives the clock from packets that the guest sent and the host received. Throws when there are
 * too few of them to say anything.
 */
export function deriveGuestClock(received: readonly PacketRecord[]): GuestClock {
  const samples = received
    .filter(({ receivedNs }) => receivedNs !== undefined)
    .map(({ sentNs, receivedNs }) => ({ guestNs: sentNs, offset: receivedNs! - sentNs }))
    .sort((left, right) => left.guestNs - right.guestNs)
  if (samples.length < NEIGHBOURS)
    throw new Error('too few packets from the guest to know its clock')
  const pieces = piecesOf(samples)
  return (guestNs) => {
    const piece = pieces.findLast(({ fromNs }) => guestNs >= fromNs) ?? pieces[0]!
    return guestNs + offsetAt(piece.samples, guestNs)
  }
}

interface Sample {
  readonly guestNs: number
  readonly offset: number
}

interface Piece {
  /** Guest time from which on this piece holds. */
  readonly fromNs: number
  readonly samples: readonly Sample[]
}

/** Cuts where the least offset before and after differ by more than any delay explains. */
function piecesOf(samples: readonly Sample[]): Piece[] {
  const before = slidingLeast(samples, -1)
  const after = slidingLeast(samples, 1)
  const pieces: Piece[] = []
  let start = 0
  for (let at = 1; at < samples.length; at++) {
    if (after[at]! - before[at - 1]! < STEP_NS) continue
    // The step is where the samples themselves jump: the last one that still fits the old offset.
    let cut = at
    while (cut < samples.length && samples[cut]!.offset - before[at - 1]! < STEP_NS) cut++
    pieces.push(pieceOf(samples, start, cut))
    start = cut
    at = cut + 1
  }
  pieces.push(pieceOf(samples, start, samples.length))
  return pieces
}

function pieceOf(samples: readonly Sample[], from: number, until: number): Piece {
  const first = samples[from]!.guestNs
  const fromNs = from === 0 ? Number.NEGATIVE_INFINITY : (samples[from - 1]!.guestNs + first) / 2
  return { fromNs, samples: samples.slice(from, until) }
}

/** Least offset of the NEIGHBOURS samples up to (-1) or from (1) each one. */
function slidingLeast(samples: readonly Sample[], direction: 1 | -1): number[] {
  return samples.map((_, at) => {
    const near =
      direction === 1
        ? samples.slice(at, at + NEIGHBOURS)
        : samples.slice(Math.max(0, at - NEIGHBOURS + 1), at + 1)
    return near.reduce((least, { offset }) => Math.min(least, offset), Number.POSITIVE_INFINITY)
  })
}

function offsetAt(samples: readonly Sample[], guestNs: number): number {
  let [low, high] = [0, samples.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (samples[middle]!.guestNs < guestNs) low = middle + 1
    else high = middle
  }
  let least = Number.POSITIVE_INFINITY
  for (let at = Math.max(0, low - NEIGHBOURS); at < low + NEIGHBOURS && at < samples.length; at++) {
    least = Math.min(least, samples[at]!.offset)
  }
  return least
}

/** Samples on each side; at 1,000 packets a second a tenth of a second. */
const NEIGHBOURS = 100
/** No delay on the way lasts this long for so many packets in a row; every stop is longer. */
const STEP_NS = 15e6
