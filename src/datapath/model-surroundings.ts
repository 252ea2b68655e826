/**
 * What a model of the datapath has around it: time, the network on both sides, and who counts losses.
 *
 * The simulator gives it virtual time and links that err; model-frames.ts gives it bytes.
 */
import type { ClosedFields } from '../control/closed-network/closed-vocabulary.js'
import type { DatapathEvent, HoldDropReason } from '../control/datapath-event.js'
import type { MacAddress } from '../lisp/address.js'
import type { Eid } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import type { BpfDropReasonName } from './abi.generated.js'
import type { ModelPacket } from './model-packet.js'

/** What the world does for the datapath. None of these may call back into it at once. */
export interface ModelSurroundings {
  now(): number
  after(delayMs: number, run: () => void): void
  /** How long the hold takes to carry out a command, in ms. */
  commandMs(): number
  raise(event: DatapathEvent): void
  /** The datapath has made one more of this packet. */
  copied?(packet: ModelPacket): void
  /** An encapsulated packet leaves towards `to`. */
  transmit(
    packet: ModelPacket,
    from: Rloc,
    to: Rloc,
    how: { readonly gpe: boolean; readonly fields: ClosedFields | undefined },
  ): void
  /** To the endpoint, by MAC address when it is known. */
  deliver(packet: ModelPacket, interfaceName: string, mac: MacAddress | undefined): void
  /** To the kernel's own routing: out of a site interface, or the way without LISP. */
  native(packet: ModelPacket): void
  discard(packet: ModelPacket, reason: ModelDropReason): void
  /** A frame of our own on the segment: gateway announced, endpoint asked for. */
  frame(kind: 'announce-gateway' | 'solicit-endpoint', eid: Eid, interfaceName: string): void
}

export type ModelDropReason =
  | Exclude<BpfDropReasonName, 'none'>
  | HoldDropReason
  | 'hold-lost'
  | 'hold-eids'
  | 'aged'
