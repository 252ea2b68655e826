/**
 * The core: carries control datagrams and encapsulated packets between RLOCs, and errs on demand.
 *
 * A path is an ordered pair of nodes. Each has a least delay, drawn once, and an exponential part,
 * drawn per message; packets of one path keep their order unless reordering is on, datagrams need
 * not. Errors: loss, duplication, reordering, corruption of one bit (datagrams), clogs (everything
 * waits), partitions in one direction or both. A flipped bit that the UDP checksum would find is a
 * loss like any other; it passes only in messages that authenticate themselves (our choice: without
 * RFC 9303 a forged answer and a damaged one are the same to an ITR).
 */
import type { Instant } from '../control/capabilities.js'
import type { ModelPacket } from '../datapath/model-packet.js'
import { formatIpAddress } from '../lisp/address.js'
import type { Rloc } from '../lisp/locator.js'
import { decodeMessage } from '../lisp/message.js'
import type { Prng } from './prng.js'
import type { Timeline } from './timeline.js'

export interface Errors {
  readonly loss: number
  readonly duplication: number
  /** Share of messages that take up to `REORDERING_MS` more and let others pass. */
  readonly reordering: number
}

export interface NetworkErrors {
  readonly control: Errors & { readonly corruption: number }
  readonly data: Errors
}

export const NO_ERRORS: NetworkErrors = {
  control: { loss: 0, duplication: 0, reordering: 0, corruption: 0 },
  data: { loss: 0, duplication: 0, reordering: 0 },
}

export interface Datagram {
  readonly from: Rloc
  readonly fromPort: number
  readonly to: Rloc
  readonly bytes: Uint8Array
  /** Altered on its way, or made by an attacker: no effect is allowed. */
  readonly genuine: boolean
}

export interface NetworkOptions {
  readonly timeline: Timeline
  readonly prng: Prng
  /** RLOC → node. */
  readonly nodeOf: (rloc: string) => string | undefined
  readonly arrive: (node: string, datagram: Datagram) => void
  readonly arrivePacket: (node: string, packet: ModelPacket, outerSource: Rloc) => void
  readonly packetLost: (packet: ModelPacket, reason: string) => void
  readonly packetCopied: (packet: ModelPacket) => void
  /** A datagram was lost, copied, altered …: for the trace. */
  readonly note: (what: string, datagram: Datagram, from: string, to: string) => void
  readonly leastDelayMs: { readonly from: number; readonly to: number }
  readonly meanJitterMs: number
  /** Decides over each datagram before chance does; false loses it, a number delays it by ms. */
  readonly carries?: (datagram: Datagram, from: string, to: string) => boolean | number
}

export interface Network {
  send(from: string, datagram: Datagram): void
  sendPacket(from: string, packet: ModelPacket, outerSource: Rloc, to: Rloc): void
  setErrors(errors: NetworkErrors): void
  /** Everything on this path waits until then. */
  clog(from: string, to: string, until: Instant): void
  /** Cuts or mends one direction. */
  cut(from: string, to: string, isCut: boolean): void
  /** Mends everything. */
  heal(): void
}

interface Path {
  readonly leastMs: number
  lastPacketAt: Instant
  cloggedUntil: Instant
  isCut: boolean
}

/** How long a reordered message may take more. */
const REORDERING_MS = 30
/** Messages whose authentication finds any flipped bit. */
const AUTHENTICATED = ['map-register', 'map-notify', 'map-notify-ack', 'move']

export function createNetwork(options: NetworkOptions): Network {
  const { timeline, prng } = options
  const paths = new Map<string, Path>()
  let errors = NO_ERRORS

  function pathOf(from: string, to: string): Path {
    const key = `${from}>${to}`
    const known = paths.get(key)
    if (known !== undefined) return known
    // Both directions alike, so that the triangle inequality is not broken more than needed.
    const base = prng.split([from, to].sort().join('~'))
    const leastMs = base.between(options.leastDelayMs.from, options.leastDelayMs.to)
    const made = { leastMs, lastPacketAt: 0, cloggedUntil: 0, isCut: false }
    paths.set(key, made)
    return made
  }

  function delayOn(path: Path, reordering: number): Instant {
    const late = prng.chance(reordering) ? prng.between(0, REORDERING_MS) : 0
    const at = timeline.now() + path.leastMs + prng.exponential(options.meanJitterMs) + late
    return Math.max(at, path.cloggedUntil + (path.cloggedUntil > timeline.now() ? 1 : 0))
  }

  function damaged(datagram: Datagram): Datagram | undefined {
    const { kind } = decodeMessage(datagram.bytes)
    if (!AUTHENTICATED.includes(kind)) return undefined
    const bytes = datagram.bytes.slice()
    const bit = prng.below(bytes.length * 8)
    bytes[bit >> 3]! ^= 1 << (bit & 7)
    return { ...datagram, bytes, genuine: false }
  }

  function carry(datagram: Datagram, from: string, to: string, extraMs: number): void {
    const { control } = errors
    const path = pathOf(from, to)
    if (prng.chance(control.loss)) {
      options.note('lost', datagram, from, to)
      return
    }
    const hit = prng.chance(control.corruption)
    const carried = hit ? damaged(datagram) : datagram
    if (hit) options.note(carried === undefined ? 'checksum' : 'altered', datagram, from, to)
    if (carried === undefined) return
    const at = delayOn(path, control.reordering) + extraMs
    timeline.at(at, () => options.arrive(to, carried))
  }

  return {
    send(from, datagram) {
      const to = options.nodeOf(formatIpAddress(datagram.to))
      if (to === undefined) {
        options.note('no-route', datagram, from, '?')
        return
      }
      const verdict = options.carries?.(datagram, from, to) ?? true
      if (verdict === false || pathOf(from, to).isCut) {
        options.note('cut', datagram, from, to)
        return
      }
      const extraMs = verdict === true ? 0 : verdict
      carry(datagram, from, to, extraMs)
      if (!prng.chance(errors.control.duplication)) return
      options.note('copied', datagram, from, to)
      carry(datagram, from, to, extraMs)
    },
    sendPacket(from, packet, outerSource, to) {
      const target = options.nodeOf(formatIpAddress(to))
      if (target === undefined) {
        options.packetLost(packet, 'no-such-rloc')
        return
      }
      const path = pathOf(from, target)
      const { data } = errors
      const go = (one: ModelPacket): void => {
        if (path.isCut || prng.chance(data.loss)) {
          options.packetLost(one, path.isCut ? 'partition' : 'network-loss')
          return
        }
        const late = data.reordering > 0 && prng.chance(data.reordering)
        const at = delayOn(path, late ? 1 : 0)
        // First in, first out, unless it is one of those that may be overtaken.
        const arrival = late ? at : Math.max(at, path.lastPacketAt)
        if (!late) path.lastPacketAt = arrival
        timeline.at(arrival, () => options.arrivePacket(target, one, outerSource))
      }
      if (prng.chance(data.duplication)) {
        const copy = { ...packet }
        options.packetCopied(copy)
        go(copy)
      }
      go(packet)
    },
    setErrors(next) {
      errors = next
    },
    clog(from, to, until) {
      const path = pathOf(from, to)
      path.cloggedUntil = Math.max(path.cloggedUntil, until)
    },
    cut(from, to, isCut) {
      pathOf(from, to).isCut = isCut
    },
    heal() {
      errors = NO_ERRORS
      for (const path of paths.values()) {
        path.isCut = false
        path.cloggedUntil = Math.min(path.cloggedUntil, timeline.now())
      }
    },
  }
}
