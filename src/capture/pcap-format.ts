/**
 * The classic capture file (draft-ietf-opsawg-pcap): one header, then records; microseconds or
 * nanoseconds, either byte order. Reading and writing.
 *
 * A record whose length cannot be true is stepped over by that length, because there is nothing
 * else to find the next one by; usually the file is over then, and says so.
 */
import { type CaptureFormat, type CaptureStep, MAX_FRAME_BYTES } from './captured-frame.js'

/** The format, if the first four bytes are one of its magic numbers. */
export function pcapFormat(window: Uint8Array): CaptureFormat | undefined {
  const magic = viewOf(window).getUint32(0)
  const variant = VARIANTS.get(magic)
  if (variant === undefined) return undefined
  const { littleEndian, nanosecondsPerUnit } = variant
  let linkType: number | undefined
  return {
    next(window) {
      if (linkType === undefined) {
        if (window.length < FILE_HEADER_BYTES) return { kind: 'more', bytes: FILE_HEADER_BYTES }
        const view = viewOf(window)
        if (view.getUint16(4, littleEndian) !== VERSION_MAJOR) return UNSUPPORTED
        // The upper bits say how long a frame check sequence is, which nobody writes.
        linkType = view.getUint32(20, littleEndian) & 0xffff
        return { kind: 'taken', bytes: FILE_HEADER_BYTES }
      }
      return nextRecord(window, littleEndian, nanosecondsPerUnit, linkType)
    },
  }
}

/** The header of a file in nanoseconds and big-endian, which every reader knows. */
export function pcapFileHeader(linkType: number): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER_BYTES)
  const view = viewOf(bytes)
  view.setUint32(0, NANOSECONDS)
  view.setUint16(4, VERSION_MAJOR)
  view.setUint16(6, VERSION_MINOR)
  view.setUint32(16, MAX_FRAME_BYTES)
  view.setUint32(20, linkType)
  return bytes
}

/** One record. Throws RangeError for more than `MAX_FRAME_BYTES`. */
export function pcapRecord(at: bigint, frame: Uint8Array, wireLength = frame.length): Uint8Array {
  if (frame.length > MAX_FRAME_BYTES) throw new RangeError(`a frame of ${frame.length} bytes`)
  const bytes = new Uint8Array(RECORD_HEADER_BYTES + frame.length)
  const view = viewOf(bytes)
  view.setUint32(0, Number(at / SECOND) >>> 0)
  view.setUint32(4, Number(at % SECOND))
  view.setUint32(8, frame.length)
  view.setUint32(12, wireLength)
  bytes.set(frame, RECORD_HEADER_BYTES)
  return bytes
}

const SECOND = 1_000_000_000n
const MICROSECONDS = 0xa1b2c3d4
const NANOSECONDS = 0xa1b23c4d
const VERSION_MAJOR = 2
const VERSION_MINOR = 4
const FILE_HEADER_BYTES = 24
const RECORD_HEADER_BYTES = 16

/** Magic number as read in network byte order → what it means. */
const VARIANTS: ReadonlyMap<number, { littleEndian: boolean; nanosecondsPerUnit: bigint }> =
  new Map([
    [MICROSECONDS, { littleEndian: false, nanosecondsPerUnit: 1000n }],
    [NANOSECONDS, { littleEndian: false, nanosecondsPerUnit: 1n }],
    [0xd4c3b2a1, { littleEndian: true, nanosecondsPerUnit: 1000n }],
    [0x4d3cb2a1, { littleEndian: true, nanosecondsPerUnit: 1n }],
  ])

const UNSUPPORTED: CaptureStep = {
  kind: 'over',
  found: {
    kind: 'fault',
    code: 'unsupported-version',
    field: 'Major Version',
    at: 4,
    counts: false,
  },
}

function nextRecord(
  window: Uint8Array,
  littleEndian: boolean,
  nanosecondsPerUnit: bigint,
  linkType: number,
): CaptureStep {
  if (window.length < RECORD_HEADER_BYTES) return { kind: 'more', bytes: RECORD_HEADER_BYTES }
  const view = viewOf(window)
  const captured = view.getUint32(8, littleEndian)
  const bytes = RECORD_HEADER_BYTES + captured
  if (captured > MAX_FRAME_BYTES) {
    const field = 'Captured Packet Length'
    const found = { kind: 'fault', code: 'frame-too-long', field, at: 8, counts: true } as const
    return { kind: 'taken', bytes, found }
  }
  if (window.length < bytes) return { kind: 'more', bytes }
  const seconds = BigInt(view.getUint32(0, littleEndian))
  const fraction = BigInt(view.getUint32(4, littleEndian))
  return {
    kind: 'taken',
    bytes,
    found: {
      kind: 'frame',
      at: seconds * SECOND + fraction * nanosecondsPerUnit,
      linkType,
      bytes: window.subarray(RECORD_HEADER_BYTES, bytes),
      wireLength: view.getUint32(12, littleEndian),
    },
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
