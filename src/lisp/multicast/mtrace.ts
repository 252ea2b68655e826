/**
 * Traces of multicast paths, in IGMP (draft-ietf-idmr-traceroute-ipm, as routers and `mtrace` speak it).
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |0x1f or 0x1e   |    # hops     |           checksum            |
 * |  Multicast Address; Source; Destination; Response Address     |
 * |   resp ttl    |                  Query ID                     |
 * |  per hop 32 bytes: Query Arrival Time, Incoming and Outgoing  |
 * |  Interface Address, Previous-Hop Router, three packet counts, |
 * |  Rtg Protocol, FwdTTL, S and Src Mask, Forwarding Code        |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * IPv4 only. The blocks of other hops are carried as bytes.
 */
import { type IpAddress, ipAddress } from '../address.js'
import { complement, sumWords } from '../checksum.js'

export interface MulticastTrace {
  /** A request wants more hops; a response is on its way back. */
  readonly kind: 'request' | 'response'
  /** How many blocks there may be, 1–255. */
  readonly hops: number
  readonly group: IpAddress
  readonly source: IpAddress
  /** The receiver whose path is traced. */
  readonly destination: IpAddress
  readonly responseAddress: IpAddress
  readonly responseTtl: number
  /** 24 bits. */
  readonly queryId: number
  /** 32 bytes each, the hop next to the receiver first. */
  readonly blocks: Uint8Array
}

/** What one router says of itself; counts that it does not have are all ones. */
export interface TraceHop {
  /** 32 bits of an NTP time; 0: unknown. */
  readonly arrivalTime: number
  readonly incoming: IpAddress
  readonly outgoing: IpAddress
  /** 0.0.0.0: the source is next. */
  readonly previousHop: IpAddress
  readonly forwardingCode: number
}

/** Forwarding codes that are used here. */
export const TRACE_CODE = { noError: 0, noRoute: 5, notForwarding: 7 } as const
/** Internet protocol number of IGMP. */
export const PROTOCOL_IGMP = 2

/** Undefined for any other IGMP message, for a wrong checksum and for half a block. Never throws. */
export function decodeTrace(bytes: Uint8Array): MulticastTrace | undefined {
  if (bytes.length < HEADER_BYTES || (bytes.length - HEADER_BYTES) % BLOCK_BYTES !== 0)
    return undefined
  if (bytes[0] !== REQUEST && bytes[0] !== RESPONSE) return undefined
  if (complement(sumWords(bytes, 0, bytes.length)) !== 0) return undefined
  const at = (offset: number): IpAddress => ipAddress(bytes.slice(offset, offset + 4))
  return {
    kind: bytes[0] === REQUEST ? 'request' : 'response',
    hops: bytes[1]!,
    group: at(4),
    source: at(8),
    destination: at(12),
    responseAddress: at(16),
    responseTtl: bytes[20]!,
    queryId: (bytes[21]! << 16) | (bytes[22]! << 8) | bytes[23]!,
    blocks: bytes.slice(HEADER_BYTES),
  }
}

export function encodeTrace(trace: MulticastTrace): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + trace.blocks.length)
  bytes.set([trace.kind === 'request' ? REQUEST : RESPONSE, trace.hops])
  bytes.set(trace.group.bytes, 4)
  bytes.set(trace.source.bytes, 8)
  bytes.set(trace.destination.bytes, 12)
  bytes.set(trace.responseAddress.bytes, 16)
  const { queryId } = trace
  bytes.set([trace.responseTtl, queryId >> 16, (queryId >> 8) & 0xff, queryId & 0xff], 20)
  bytes.set(trace.blocks, HEADER_BYTES)
  const sum = complement(sumWords(bytes, 0, bytes.length))
  bytes.set([sum >> 8, sum & 0xff], 2)
  return bytes
}

/** How many routers have said something. */
export function hopCount({ blocks }: MulticastTrace): number {
  return blocks.length / BLOCK_BYTES
}

/** The same trace with one more hop, as a request or as a response. */
export function withHop(
  trace: MulticastTrace,
  hop: TraceHop,
  kind: MulticastTrace['kind'],
): MulticastTrace {
  const blocks = new Uint8Array(trace.blocks.length + BLOCK_BYTES)
  blocks.set(trace.blocks)
  const block = blocks.subarray(trace.blocks.length)
  new DataView(block.buffer, block.byteOffset).setUint32(0, hop.arrivalTime)
  block.set(hop.incoming.bytes, 4)
  block.set(hop.outgoing.bytes, 8)
  block.set(hop.previousHop.bytes, 12)
  block.fill(0xff, 16, 28)
  block.set([ROUTING_PIM, 1, WHOLE_SOURCE, hop.forwardingCode], 28)
  return { ...trace, kind, blocks }
}

/** Incoming, outgoing, previous hop and code of each block. */
export function hopsOf({ blocks }: MulticastTrace): TraceHop[] {
  const hops: TraceHop[] = []
  for (let at = 0; at < blocks.length; at += BLOCK_BYTES) {
    const block = blocks.subarray(at, at + BLOCK_BYTES)
    hops.push({
      arrivalTime: new DataView(block.buffer, block.byteOffset).getUint32(0),
      incoming: ipAddress(block.slice(4, 8)),
      outgoing: ipAddress(block.slice(8, 12)),
      previousHop: ipAddress(block.slice(12, 16)),
      forwardingCode: block[31]!,
    })
  }
  return hops
}

const REQUEST = 0x1f
const RESPONSE = 0x1e
const HEADER_BYTES = 24
const BLOCK_BYTES = 32
/** Rtg Protocol: PIM. */
const ROUTING_PIM = 3
/** Src Mask: the whole address. */
const WHOLE_SOURCE = 32
