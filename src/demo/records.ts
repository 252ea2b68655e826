/**
 * What the traffic tool and a packet capture say, as plain values.
 *
 * Records are the tool's own files (16 bytes of header, then 32 bytes each, little-endian);
 * captures are pcap files of the same packets, a second witness that shares no code with the first.
 * Pure: bytes in, values out. All times are nanoseconds of CLOCK_MONOTONIC, which namespaces share.
 */

export interface PacketRecord {
  readonly stream: number
  readonly sequence: number
  readonly sentNs: number
  /** Undefined in what a sender wrote. */
  readonly receivedNs: number | undefined
  /** TTL or hop limit on arrival, 0 in what a sender wrote. */
  readonly hopLimit: number
  /** TOS or traffic class on arrival (DSCP and ECN); only in what a receiver wrote. */
  readonly trafficClass?: number
}

export interface RecordFile {
  readonly kind: 'sent' | 'received'
  readonly records: readonly PacketRecord[]
}

/**
 * Reads a file of records; a half-written last record is left out. Throws when it is no such file.
 */
export function decodeRecords(bytes: Uint8Array): RecordFile {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const magic = new TextDecoder().decode(bytes.subarray(0, 8))
  const isRecords =
    bytes.length >= HEADER_BYTES && magic === 'GWRECORD' && view.getUint32(8, true) === 1
  if (!isRecords) throw new Error('not a file of packet records')
  const kind = view.getUint32(12, true) === 1 ? 'sent' : 'received'
  const records: PacketRecord[] = []
  for (let at = HEADER_BYTES; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
    records.push({
      stream: view.getUint32(at, true),
      sequence: Number(view.getBigUint64(at + 8, true)),
      sentNs: Number(view.getBigUint64(at + 16, true)),
      receivedNs: kind === 'sent' ? undefined : Number(view.getBigUint64(at + 24, true)),
      hopLimit: view.getUint8(at + 4),
      ...(kind === 'received' ? { trafficClass: view.getUint8(at + 5) } : {}),
    })
  }
  return { kind, records }
}

/**
 * The stream packets in a pcap file of Ethernet frames (micro- or nanosecond), as if all had been
 * received at the moment of capture. `realtimeMinusMonotonicNs` turns capture times into ours.
 */
export function decodeCapture(bytes: Uint8Array, realtimeMinusMonotonicNs: number): PacketRecord[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const magic = bytes.length >= PCAP_HEADER_BYTES ? view.getUint32(0, true) : 0
  if (magic !== PCAP_NANOSECONDS && magic !== PCAP_MICROSECONDS) throw new Error('not a pcap file')
  const unit = magic === PCAP_NANOSECONDS ? 1 : 1_000
  const records: PacketRecord[] = []
  for (let at = PCAP_HEADER_BYTES; at + 16 <= bytes.length; ) {
    const length = view.getUint32(at + 8, true)
    if (at + 16 + length > bytes.length) break
    const wallNs = view.getUint32(at, true) * 1e9 + view.getUint32(at + 4, true) * unit
    const frame = new DataView(bytes.buffer, bytes.byteOffset + at + 16, length)
    const record = decodeFrame(frame, wallNs - realtimeMinusMonotonicNs)
    if (record) records.push(record)
    at += 16 + length
  }
  return records
}

function decodeFrame(frame: DataView, receivedNs: number): PacketRecord | undefined {
  if (frame.byteLength < 42) return undefined
  const etherType = frame.getUint16(12)
  let payload: number
  let hopLimit: number
  if (etherType === 0x0800 && frame.getUint8(23) === UDP) {
    payload = 14 + (frame.getUint8(14) & 15) * 4 + 8
    hopLimit = frame.getUint8(22)
  } else if (etherType === 0x86dd && frame.getUint8(20) === UDP) {
    payload = 14 + 40 + 8
    hopLimit = frame.getUint8(21)
  } else return undefined
  if (frame.byteLength < payload + 24 || frame.getUint32(payload) !== STREAM_MAGIC) return undefined
  return {
    stream: frame.getUint32(payload + 4),
    sequence: Number(frame.getBigUint64(payload + 8)),
    sentNs: Number(frame.getBigUint64(payload + 16)),
    receivedNs,
    hopLimit,
  }
}

const HEADER_BYTES = 16
const RECORD_BYTES = 32
const PCAP_HEADER_BYTES = 24
const PCAP_MICROSECONDS = 0xa1b2c3d4
const PCAP_NANOSECONDS = 0xa1b23c4d
const UDP = 17
const STREAM_MAGIC = 0x47575042
