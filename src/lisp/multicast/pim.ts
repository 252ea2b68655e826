/**
 * PIM version 2 (RFC 7761 §4.9), the payload of IP protocol 103: Hello, Join/Prune and Assert as
 * values, every other type as its bytes. Join/Prune between xTRs carries the attributes of RFC 8059.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |PIM Ver| Type  |   Reserved    |           Checksum            |
 * |  Hello: per option  OptionType (16), OptionLength (16), value |
 * |  Join/Prune: Upstream Neighbor (Encoded-Unicast)              |
 * |  Reserved     | Num groups    |          Hold Time            |
 * |    per group: Encoded-Group, Number of Joined Sources (16),   |
 * |    Number of Pruned Sources (16), Encoded-Source for each     |
 * |  Assert: Encoded-Group, Encoded-Unicast source,               |
 * |  R and Metric Preference (32), Metric (32)                    |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * The checksum covers the message, of a Register its first 8 bytes, and over IPv6 the pseudo-header.
 * State machines and neighbours are not decided here.
 */
import {
  type ByteReader,
  byteReader,
  failDecoding,
  MalformedSignal,
  readBytes,
  readU8,
  readU16,
  readU32,
  readWindow,
  remaining,
  skipBytes,
} from '../byte-reader.js'
import {
  type ByteWriter,
  byteWriter,
  patchU16,
  writeBytes,
  writeU8,
  writeU16,
  writeU32,
  writtenBytes,
} from '../byte-writer.js'
import { complement, type PacketAddresses, pseudoHeaderSum, sumWords } from '../checksum.js'
import type { Malformed } from '../message.js'
import {
  type EncodedGroup,
  type EncodedSource,
  type EncodedUnicast,
  readEncodedGroup,
  readEncodedSource,
  readEncodedUnicast,
  writeEncodedGroup,
  writeEncodedSource,
  writeEncodedUnicast,
} from './pim-addresses.js'

/** Internet protocol number of PIM. */
export const PROTOCOL_PIM = 103

export type PimMessage =
  | PimHello
  | PimJoinPrune
  | PimAssert
  /** 0–15. */
  | { readonly kind: 'pim-other'; readonly type: number; readonly body: Uint8Array }

export interface PimHello {
  readonly kind: 'pim-hello'
  readonly options: readonly HelloOption[]
}

/** An option of a known type and another length is kept as 'other'. */
export type HelloOption =
  /** Seconds; 0xffff is forever, 0 is goodbye. */
  | { readonly kind: 'holdtime'; readonly seconds: number }
  | {
      readonly kind: 'lan-prune-delay'
      /** T bit. */
      readonly trackingSupport: boolean
      /** Milliseconds; the first has 15 bits. */
      readonly propagationDelay: number
      readonly overrideInterval: number
    }
  | { readonly kind: 'dr-priority'; readonly priority: number }
  | { readonly kind: 'generation-id'; readonly id: number }
  /** Option 26, RFC 5384: understands join attributes. */
  | { readonly kind: 'join-attribute' }
  | { readonly kind: 'address-list'; readonly addresses: readonly EncodedUnicast[] }
  | { readonly kind: 'other'; readonly type: number; readonly value: Uint8Array }

export interface PimJoinPrune {
  readonly kind: 'pim-join-prune'
  readonly upstreamNeighbor: EncodedUnicast
  /** Seconds. */
  readonly holdtime: number
  /** At most 255. */
  readonly groups: readonly JoinPruneGroup[]
}

export interface JoinPruneGroup {
  readonly group: EncodedGroup
  readonly joined: readonly EncodedSource[]
  readonly pruned: readonly EncodedSource[]
}

export interface PimAssert {
  readonly kind: 'pim-assert'
  readonly group: EncodedGroup
  readonly source: EncodedUnicast
  /** R bit. */
  readonly rpTree: boolean
  /** 31 bits. */
  readonly metricPreference: number
  readonly metric: number
}

/** What a PIM packet says. Never throws. */
export function decodePim(bytes: Uint8Array, addresses: PacketAddresses): PimMessage | Malformed {
  try {
    return readPim(bytes, addresses)
  } catch (error) {
    if (error instanceof MalformedSignal) return error.malformed
    throw error
  }
}

/** The payload with its checksum. Throws RangeError for a value that does not fit its field. */
export function encodePim(message: PimMessage, addresses: PacketAddresses): Uint8Array {
  const writer = byteWriter()
  const type = message.kind === 'pim-other' ? message.type : TYPE[message.kind]
  if (type > 0xf) throw new RangeError(`PIM type ${type} has more than 4 bits`)
  writeU8(writer, VERSION | type)
  writeU8(writer, 0)
  writeU16(writer, 0)
  switch (message.kind) {
    case 'pim-hello':
      for (const option of message.options) writeOption(writer, option)
      break
    case 'pim-join-prune':
      writeJoinPrune(writer, message)
      break
    case 'pim-assert':
      writeAssert(writer, message)
      break
    case 'pim-other':
      writeBytes(writer, message.body)
      break
  }
  const written = writer.bytes.subarray(0, writer.offset)
  patchU16(writer, CHECKSUM_AT, checksumOf(written, addresses))
  return writtenBytes(writer)
}

const VERSION = 0x20
const TYPE = { 'pim-hello': 0, 'pim-join-prune': 3, 'pim-assert': 5 } as const
const REGISTER = 1
const REGISTER_CHECKSUM_BYTES = 8
const CHECKSUM_AT = 2
const OPTION = {
  holdtime: 1,
  'lan-prune-delay': 2,
  'dr-priority': 19,
  'generation-id': 20,
  'address-list': 24,
  'join-attribute': 26,
} as const
const TRACKING = 0x8000
const ASSERT_RP_TREE = 0x80000000
// Choice: every option type once; four octets at least are spent on each anyway.
const OPTION_LIMIT = 64
const MAX_GROUPS = 255

function readPim(bytes: Uint8Array, addresses: PacketAddresses): PimMessage {
  const reader = byteReader(bytes)
  const first = readU8(reader, 'PIM Ver')
  if ((first & 0xf0) !== VERSION) failDecoding('unknown-version', 0, 'PIM Ver')
  skipBytes(reader, 3, 'Checksum')
  if (checksumOf(bytes, addresses) !== 0) failDecoding('bad-checksum', CHECKSUM_AT, 'Checksum')
  const type = first & 0xf
  switch (type) {
    case TYPE['pim-hello']:
      return { kind: 'pim-hello', options: readOptions(reader) }
    case TYPE['pim-join-prune']:
      return readJoinPrune(reader)
    case TYPE['pim-assert']:
      return readAssert(reader)
    default:
      return { kind: 'pim-other', type, body: readBytes(reader, remaining(reader), 'PIM body') }
  }
}

function readOptions(reader: ByteReader): HelloOption[] {
  const options: HelloOption[] = []
  while (remaining(reader) > 0) {
    if (options.length === OPTION_LIMIT) failDecoding('bad-count', reader.offset, 'OptionType')
    const type = readU16(reader, 'OptionType')
    const length = readU16(reader, 'OptionLength')
    options.push(readOption(readWindow(reader, length, 'OptionLength'), type, length))
  }
  return options
}

function readOption(value: ByteReader, type: number, length: number): HelloOption {
  if (type === OPTION.holdtime && length === 2) {
    return { kind: 'holdtime', seconds: readU16(value, 'Holdtime') }
  }
  if (type === OPTION['lan-prune-delay'] && length === 4) {
    const delay = readU16(value, 'Propagation_Delay')
    return {
      kind: 'lan-prune-delay',
      trackingSupport: (delay & TRACKING) !== 0,
      propagationDelay: delay & 0x7fff,
      overrideInterval: readU16(value, 'Override_Interval'),
    }
  }
  if (type === OPTION['dr-priority'] && length === 4) {
    return { kind: 'dr-priority', priority: readU32(value, 'DR Priority') }
  }
  if (type === OPTION['generation-id'] && length === 4) {
    return { kind: 'generation-id', id: readU32(value, 'Generation ID') }
  }
  if (type === OPTION['join-attribute'] && length === 0) return { kind: 'join-attribute' }
  if (type !== OPTION['address-list']) {
    return { kind: 'other', type, value: readBytes(value, length, 'OptionValue') }
  }
  const addresses: EncodedUnicast[] = []
  while (remaining(value) > 0) addresses.push(readEncodedUnicast(value, 'Secondary Address'))
  return { kind: 'address-list', addresses }
}

function readJoinPrune(reader: ByteReader): PimJoinPrune {
  const upstreamNeighbor = readEncodedUnicast(reader, 'Upstream Neighbor')
  skipBytes(reader, 1, 'Reserved')
  const count = readU8(reader, 'Num groups')
  const holdtime = readU16(reader, 'Hold Time')
  const groups: JoinPruneGroup[] = []
  for (let left = count; left > 0; left -= 1) {
    const group = readEncodedGroup(reader)
    const joined = readU16(reader, 'Number of Joined Sources')
    const pruned = readU16(reader, 'Number of Pruned Sources')
    groups.push({
      group,
      joined: readSources(reader, joined),
      pruned: readSources(reader, pruned),
    })
  }
  return { kind: 'pim-join-prune', upstreamNeighbor, holdtime, groups }
}

/** Every one costs at least 8 bytes, so that the count is bounded by the packet. */
function readSources(reader: ByteReader, count: number): EncodedSource[] {
  const sources: EncodedSource[] = []
  for (let left = count; left > 0; left -= 1) sources.push(readEncodedSource(reader))
  return sources
}

function readAssert(reader: ByteReader): PimAssert {
  const group = readEncodedGroup(reader)
  const source = readEncodedUnicast(reader, 'Source Address')
  const preference = readU32(reader, 'Metric Preference')
  return {
    kind: 'pim-assert',
    group,
    source,
    rpTree: preference >= ASSERT_RP_TREE,
    metricPreference: preference % ASSERT_RP_TREE,
    metric: readU32(reader, 'Metric'),
  }
}

function writeOption(writer: ByteWriter, option: HelloOption): void {
  writeU16(writer, option.kind === 'other' ? option.type : OPTION[option.kind])
  const lengthAt = writer.offset
  writeU16(writer, 0)
  switch (option.kind) {
    case 'holdtime':
      writeU16(writer, option.seconds)
      break
    case 'lan-prune-delay':
      if (option.propagationDelay > 0x7fff) throw new RangeError('Propagation_Delay has 15 bits')
      writeU16(writer, option.propagationDelay | (option.trackingSupport ? TRACKING : 0))
      writeU16(writer, option.overrideInterval)
      break
    case 'dr-priority':
      writeU32(writer, option.priority)
      break
    case 'generation-id':
      writeU32(writer, option.id)
      break
    case 'join-attribute':
      break
    case 'address-list':
      for (const address of option.addresses) writeEncodedUnicast(writer, address)
      break
    case 'other':
      writeBytes(writer, option.value)
      break
  }
  patchU16(writer, lengthAt, writer.offset - lengthAt - 2)
}

function writeJoinPrune(writer: ByteWriter, message: PimJoinPrune): void {
  if (message.groups.length > MAX_GROUPS) throw new RangeError(`${message.groups.length} groups`)
  writeEncodedUnicast(writer, message.upstreamNeighbor)
  writeU8(writer, 0)
  writeU8(writer, message.groups.length)
  writeU16(writer, message.holdtime)
  for (const { group, joined, pruned } of message.groups) {
    writeEncodedGroup(writer, group)
    writeU16(writer, joined.length)
    writeU16(writer, pruned.length)
    for (const source of [...joined, ...pruned]) writeEncodedSource(writer, source)
  }
}

function writeAssert(writer: ByteWriter, message: PimAssert): void {
  if (message.metricPreference >= ASSERT_RP_TREE) throw new RangeError('31 bits of preference')
  writeEncodedGroup(writer, message.group)
  writeEncodedUnicast(writer, message.source)
  writeU32(writer, message.metricPreference + (message.rpTree ? ASSERT_RP_TREE : 0))
  writeU32(writer, message.metric)
}

/** The checksum of bytes in which it is zero; 0 for bytes in which it is right. */
function checksumOf(bytes: Uint8Array, { source, destination }: PacketAddresses): number {
  const isRegister = (bytes[0]! & 0xf) === REGISTER
  const covered = isRegister ? Math.min(REGISTER_CHECKSUM_BYTES, bytes.length) : bytes.length
  const sum = sumWords(bytes, 0, covered)
  if (destination.family === 4) return complement(sum)
  // RFC 7761 §4.9: the length in the pseudo-header is that of what is covered.
  return complement(sum + pseudoHeaderSum(source, destination, PROTOCOL_PIM, covered))
}
