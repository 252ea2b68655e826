/**
 * Live moves in the model: what native/bpf/live_move.h does with a packet from the core.
 *
 * The source delivers and copies while its lease lasts, and stamps what it redirects; the destination
 * believes stamps of its peer alone. The rate limit of copies is not modelled.
 */
import type { LocalMove } from '../control/datapath-operation.js'
import { equalIpAddresses } from '../lisp/address.js'
import type { Rloc } from '../lisp/locator.js'
import { isBeforeStamp, stampOf } from '../lisp/move-stamp.js'
import { type ModelPacket, OVERHEAD_BYTES, type PacketMark } from './model-packet.js'
import type { ModelSurroundings } from './model-surroundings.js'

/** A move as it was put, and until when its lease lasts. */
export type ModelMove = LocalMove & { readonly until: number }

export interface ModelLiveMoves {
  /** Not false: nothing is left to be done with the packet. */
  follow(
    packet: ModelPacket,
    state: string,
    move: ModelMove,
    mark: PacketMark | undefined,
    outerSource: Rloc,
  ): false | 'dropped' | 'passed-on'
}

export function createModelLiveMoves(
  around: Pick<ModelSurroundings, 'now' | 'copied' | 'transmit'>,
  door: {
    drop(packet: ModelPacket, reason: 'seen-at-source' | 'copy-failed'): void
    copied(): void
    redirectAway(packet: ModelPacket): void
  },
): ModelLiveMoves {
  function copyToPeer(packet: ModelPacket, move: ModelMove & { kind: 'source' }): void {
    if (around.now() >= move.until) return
    const { locator, source, pathMtu } = move.encapsulation
    const copy = { ...packet, ttl: packet.ttl - 1, redirects: packet.redirects + 1 }
    copy.mark = { kind: 'copy', stamp: stampOf(around.now()) }
    around.copied?.(copy)
    if (packet.ttl <= 1 || packet.sizeBytes + OVERHEAD_BYTES[locator.rloc.family] > pathMtu) {
      door.drop(copy, 'copy-failed')
      return
    }
    door.copied()
    around.transmit(copy, source, locator.rloc, { gpe: false, fields: undefined })
  }

  return {
    follow(packet, state, move, mark, outerSource) {
      if (move.kind === 'source') {
        if (state === 'local') copyToPeer(packet, move)
        else if (state === 'away') packet.mark = { kind: 'redirect', stamp: stampOf(around.now()) }
        return false
      }
      const genuine = equalIpAddresses(outerSource, move.peer) ? mark : undefined
      if (state === 'standby') {
        if (genuine === undefined && move.passOn) {
          door.redirectAway(packet)
          return 'passed-on'
        }
        packet.mark = genuine
        return false
      }
      if (genuine?.kind !== 'copy') return false
      const { copies, until } = move
      const isSeen =
        typeof copies === 'number' && around.now() < until && isBeforeStamp(genuine.stamp, copies)
      if (state !== 'away' && copies !== 'none' && !isSeen) return false
      door.drop(packet, 'seen-at-source')
      return 'dropped'
    },
  }
}

/** A source that still copies goes on with what remains of its lease; a destination knows its peer. */
export function leftOf(move: ModelMove | undefined, now: number): { move?: LocalMove } {
  if (move === undefined) return {}
  const { until, ...rest } = move
  if (move.kind === 'source' && until <= now) return {}
  return { move: { ...rest, leaseMs: Math.max(1, until - now) } }
}
