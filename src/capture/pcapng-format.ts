/**
 * The block-structured capture file (draft-ietf-opsawg-pcapng): sections of either byte order, each
 * with its interfaces, their link types and clocks. Enhanced, Simple and the old Packet Block are
 * read; all other blocks are stepped over by their length, however long. Reading only.
 *
 * Choice: the length in front of a block decides, the repeated one behind it is not looked at.
 */
import {
  type CaptureFormat,
  type CaptureStep,
  type Found,
  MAX_BLOCK_BYTES,
  MAX_FRAME_BYTES,
} from './captured-frame.js'

/** The format, if the file begins with a Section Header Block. */
export function pcapngFormat(window: Uint8Array): CaptureFormat | undefined {
  if (viewOf(window).getUint32(0) !== BLOCK.sectionHeader) return undefined
  let littleEndian = false
  let interfaces: Interface[] = []
  return {
    next(window) {
      if (window.length < SMALLEST_BLOCK) return { kind: 'more', bytes: SMALLEST_BLOCK }
      const view = viewOf(window)
      const isSection = view.getUint32(0) === BLOCK.sectionHeader
      if (isSection) {
        const order = view.getUint32(8)
        if (order !== BIG_ENDIAN && order !== LITTLE_ENDIAN) return over('Byte-Order Magic', 8)
        littleEndian = order === LITTLE_ENDIAN
      }
      const type = isSection ? BLOCK.sectionHeader : view.getUint32(0, littleEndian)
      const length = view.getUint32(4, littleEndian)
      if (length < SMALLEST_BLOCK || length % 4 !== 0) return over('Block Total Length', 4)
      if (!WANTED.has(type)) return { kind: 'taken', bytes: length }
      if (length > MAX_BLOCK_BYTES) {
        if (!CARRIES_FRAME.has(type)) return over('Block Total Length', 4)
        return { kind: 'taken', bytes: length, found: fault('frame-too-long', 4, FRAME_LENGTH) }
      }
      if (window.length < length) return { kind: 'more', bytes: length }
      const block: Block = { bytes: window.subarray(0, length), view, littleEndian, length }
      if (type === BLOCK.sectionHeader) {
        interfaces = []
        if (length < 28 || view.getUint16(12, littleEndian) !== 1) {
          return { kind: 'over', found: { ...UNSUPPORTED, at: 12 } }
        }
        return { kind: 'taken', bytes: length }
      }
      if (type === BLOCK.interfaceDescription) {
        if (interfaces.length === MAX_INTERFACES) {
          const found = {
            ...fault('too-many-interfaces', 0, 'Interface Description'),
            counts: false,
          }
          return { kind: 'taken', bytes: length, found }
        }
        interfaces.push(readInterface(block))
        return { kind: 'taken', bytes: length }
      }
      return { kind: 'taken', bytes: length, found: readFrame(type, block, interfaces) }
    },
  }
}

interface Interface {
  readonly linkType: number
  /** 0 = everything. */
  readonly snapLength: number
  readonly nanoseconds: (ticks: bigint) => bigint
}

interface Block {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly littleEndian: boolean
  readonly length: number
}

const BLOCK = {
  interfaceDescription: 1,
  packet: 2,
  simplePacket: 3,
  enhancedPacket: 6,
  sectionHeader: 0x0a0d0d0a,
} as const
const WANTED: ReadonlySet<number> = new Set(Object.values(BLOCK))
const CARRIES_FRAME: ReadonlySet<number> = new Set([
  BLOCK.packet,
  BLOCK.simplePacket,
  BLOCK.enhancedPacket,
])
const BIG_ENDIAN = 0x1a2b3c4d
const LITTLE_ENDIAN = 0x4d3c2b1a
const SMALLEST_BLOCK = 12
const FRAME_LENGTH = 'Captured Packet Length'

// Choice: far above any machine's; each would otherwise cost memory until the file ends.
const MAX_INTERFACES = 1024

const UNSUPPORTED = {
  kind: 'fault',
  code: 'unsupported-version',
  field: 'Major Version',
  counts: false,
} as const

function fault(
  code: Extract<Found, { kind: 'fault' }>['code'],
  at: number,
  field: string,
): Extract<Found, { kind: 'fault' }> {
  return { kind: 'fault', code, at, field, counts: true }
}

function over(field: string, at: number): CaptureStep {
  return { kind: 'over', found: { ...fault('bad-length', at, field), counts: false } }
}

function readInterface(block: Block): Interface {
  const { view, littleEndian, length } = block
  if (length < 20) return { linkType: -1, snapLength: 0, nanoseconds: (ticks) => ticks }
  let resolution = DEFAULT_RESOLUTION
  let offsetSeconds = 0n
  // An option is a code, a length and its bytes, padded to four; the block's end bounds the loop.
  for (let at = 16; at + 4 <= length - 4; ) {
    const code = view.getUint16(at, littleEndian)
    const size = view.getUint16(at + 2, littleEndian)
    if (code === 0 || at + 4 + size > length - 4) break
    if (code === OPTION_RESOLUTION && size === 1) resolution = view.getUint8(at + 4)
    if (code === OPTION_OFFSET && size === 8) offsetSeconds = view.getBigInt64(at + 4, littleEndian)
    at += 4 + Math.ceil(size / 4) * 4
  }
  return {
    linkType: view.getUint16(8, littleEndian),
    snapLength: view.getUint32(12, littleEndian),
    nanoseconds: (ticks) => toNanoseconds(ticks, resolution) + offsetSeconds * SECOND,
  }
}

const SECOND = 1_000_000_000n
const OPTION_RESOLUTION = 9
const OPTION_OFFSET = 14
/** Microseconds: ten to the minus six. */
const DEFAULT_RESOLUTION = 6

/** Units of 10^-n seconds, or of 2^-n when the top bit of the octet is set. */
function toNanoseconds(ticks: bigint, resolution: number): bigint {
  const exponent = BigInt(resolution & 0x7f)
  if ((resolution & 0x80) !== 0) return (ticks * SECOND) >> exponent
  return exponent <= 9n ? ticks * 10n ** (9n - exponent) : ticks / 10n ** (exponent - 9n)
}

function readFrame(type: number, block: Block, interfaces: readonly Interface[]): Found {
  const { view, littleEndian, length, bytes } = block
  const simple = type === BLOCK.simplePacket
  const dataAt = simple ? 12 : 28
  if (length < dataAt + 4) return fault('bad-length', 4, 'Block Total Length')
  const index = simple
    ? 0
    : type === BLOCK.enhancedPacket
      ? view.getUint32(8, littleEndian)
      : view.getUint16(8, littleEndian)
  const from = interfaces[index]
  if (from === undefined) return fault('unknown-interface', 8, 'Interface ID')
  const wireLength = view.getUint32(simple ? 8 : 24, littleEndian)
  const limit = from.snapLength === 0 ? MAX_FRAME_BYTES : from.snapLength
  const captured = simple
    ? Math.min(wireLength, limit, length - dataAt - 4)
    : view.getUint32(20, littleEndian)
  if (captured > length - dataAt - 4) return fault('bad-length', 20, FRAME_LENGTH)
  if (captured > MAX_FRAME_BYTES) return fault('frame-too-long', 20, FRAME_LENGTH)
  return {
    kind: 'frame',
    at: simple ? undefined : from.nanoseconds(ticksOf(view, littleEndian)),
    linkType: from.linkType,
    bytes: bytes.subarray(dataAt, dataAt + captured),
    wireLength,
  }
}

/** High half first, each half in the order of the section. */
function ticksOf(view: DataView, littleEndian: boolean): bigint {
  return (
    (BigInt(view.getUint32(12, littleEndian)) << 32n) | BigInt(view.getUint32(16, littleEndian))
  )
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
