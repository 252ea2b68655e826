/**
 * A packet vector: tables, packets in, and what becomes of each, exactly. The BPF programs and the model
 * datapath run the same ones, so that neither can differ from the other unseen.
 *
 * Addresses are text; an address without a length is a host entry. All EIDs are in instance 7.
 */
import type {
  ClosedOperation,
  ClosedSwitches,
} from '../../../src/control/closed-network/closed-vocabulary.js'
import type { DatapathEvent } from '../../../src/control/datapath-event.js'
import type { BpfDropReasonName, BpfTallyName } from '../../../src/datapath/abi.generated.js'
import type { LocatorFields } from '../workbench.js'

export interface PacketVector {
  readonly name: string
  readonly locals?: Readonly<Record<string, LocalFields>>
  readonly mappings?: Readonly<Record<string, MappingFields>>
  /** By name without instance, as `(10.1.0.2,239.1.1.1)` or `(*,ff3e::1)`. */
  readonly groups?: Readonly<Record<string, GroupFields>>
  /** Nobody is there to hold packets. */
  readonly noHold?: true
  readonly closed?: Partial<ClosedSwitches>
  readonly facts?: readonly ClosedOperation[]
  readonly steps: readonly VectorStep[]
}

export interface LocalFields {
  readonly state: 'local' | 'standby' | 'away' | 'prefix'
  readonly reportSenders?: boolean
  /** Away, but its move is not certain yet. */
  readonly uncommitted?: true
}

export interface MappingFields {
  readonly action: 'forward' | 'native' | 'drop' | 'hold'
  readonly to?: readonly LocatorFields[]
}

export interface GroupFields {
  readonly to?: readonly LocatorFields[]
  /** Segments with listeners: `site0`, where hosts are, or `site2`. */
  readonly on?: readonly string[]
  readonly level?: number
  /** The workbench's, unless said otherwise. */
  readonly instanceId?: number
}

export interface VectorStep {
  readonly what?: string
  /** Before the packet. */
  readonly operations?: readonly ClosedOperation[]
  readonly from: 'site' | 'core'
  readonly frame: Uint8Array
  readonly out: VectorOutcome
  /** Events that the packet causes, in this order; missing: not looked at. */
  readonly raises?: readonly DatapathEvent[]
  /** What is counted once more. */
  readonly tally?: BpfTallyName
}

export type VectorOutcome =
  | 'pass'
  | 'held'
  | { readonly drop: BpfDropReasonName }
  /** The outer IP packet with ports and flow label 0. */
  | { readonly core: Uint8Array }
  /** The inner IP packet, delivered to the host. */
  | { readonly site: Uint8Array }
  /** Of a packet to a group. */
  | VectorCopies

export interface VectorCopies {
  /** Outer IP packets, as `core` above; those of IPv4 first. */
  readonly copies: readonly Uint8Array[]
  /** Inner IP packets by segment. */
  readonly segments?: Readonly<Record<string, Uint8Array>>
  /** Of single copies, in any order. */
  readonly drops?: readonly BpfDropReasonName[]
}

/** A test of this title runs them all. */
export interface VectorGroup {
  readonly title: string
  readonly vectors: readonly PacketVector[]
}
