/**
 * LCAF bodies that say where packets go: AFI-List (1), NAT-Traversal (7), Nonce Locator (8),
 * Explicit Locator Path (10), Replication List Entry (13), Encapsulation Format (16); RFC 8060
 * §4.3–4.10. What a router does with them is not decided here.
 */
import type {
  AfiAddress,
  EncapsulationFormat,
  ExplicitLocatorPath,
  LcafAddress,
  NatTraversal,
  PathHop,
  ReplicationEntry,
  ReplicationList,
} from './afi-address.js'
import { ENCAPSULATIONS } from './afi-address.js'
import {
  type ByteReader,
  failDecoding,
  readU8,
  readU16,
  readU32,
  remaining,
  skipBytes,
} from './byte-reader.js'
import { type ByteWriter, writeU8, writeU16, writeU32 } from './byte-writer.js'
import type { ReadNested, WriteNested } from './lcaf.js'

// Choice: far above any list seen; each entry costs at least two bytes of the LCAF anyway.
const AFI_LIST_LIMIT = 64
// Choice: one entry for each locator that a record could have.
const ENTRY_LIMIT = 255

type NonceLocator = LcafAddress & { kind: 'nonce-locator' }

/** RFC 8060 §4.10.1: addresses one after the other. */
export function readAfiList(body: ByteReader, readNested: ReadNested): LcafAddress {
  const addresses = readAll(body, AFI_LIST_LIMIT, 'AFI-List', () => readNested(body))
  return { kind: 'list', addresses }
}

export function writeAfiList(
  writer: ByteWriter,
  addresses: readonly AfiAddress[],
  writeNested: WriteNested,
): void {
  limited(addresses.length, AFI_LIST_LIMIT)
  for (const address of addresses) writeNested(writer, address)
}

/** RFC 8060 §4.4: MS UDP Port, ETR UDP Port, then the addresses, RTRs to the end. */
export function readNatTraversal(body: ByteReader, readNested: ReadNested): NatTraversal {
  return {
    kind: 'nat-traversal',
    mapServerPort: readU16(body, 'MS UDP Port Number'),
    etrPort: readU16(body, 'ETR UDP Port Number'),
    globalEtrRloc: readNested(body),
    mapServerRloc: readNested(body),
    privateEtrRloc: readNested(body),
    rtrRlocs: readAll(body, ENTRY_LIMIT, 'RTR RLOC', () => readNested(body)),
  }
}

export function writeNatTraversal(
  writer: ByteWriter,
  value: NatTraversal,
  writeNested: WriteNested,
): void {
  limited(value.rtrRlocs.length, ENTRY_LIMIT)
  writeU16(writer, value.mapServerPort)
  writeU16(writer, value.etrPort)
  writeNested(writer, value.globalEtrRloc)
  writeNested(writer, value.mapServerRloc)
  writeNested(writer, value.privateEtrRloc)
  for (const rtr of value.rtrRlocs) writeNested(writer, rtr)
}

/** RFC 8060 §4.10.4: eight reserved bits, Nonce (24). */
export function readNonceLocator(body: ByteReader, readNested: ReadNested): NonceLocator {
  const nonce = readU32(body, 'Nonce') & 0xffffff
  return { kind: 'nonce-locator', nonce, address: readNested(body) }
}

export function writeNonceLocator(
  writer: ByteWriter,
  value: NonceLocator,
  writeNested: WriteNested,
): void {
  if (value.nonce > 0xffffff) throw new RangeError(`nonce ${value.nonce} has more than 24 bits`)
  writeU32(writer, value.nonce)
  writeNested(writer, value.address)
}

/** RFC 8060 §4.6: per hop 13 reserved bits, L, P, S, then the address. */
export function readExplicitLocatorPath(
  body: ByteReader,
  readNested: ReadNested,
): ExplicitLocatorPath {
  const hops = readAll(body, ENTRY_LIMIT, 'Reencap Hop', (): PathHop => {
    const flags = readU16(body, 'Reencap Hop')
    return {
      lookup: (flags & LOOKUP) !== 0,
      probe: (flags & PROBE) !== 0,
      strict: (flags & STRICT) !== 0,
      address: readNested(body),
    }
  })
  return { kind: 'explicit-locator-path', hops }
}

export function writeExplicitLocatorPath(
  writer: ByteWriter,
  value: ExplicitLocatorPath,
  writeNested: WriteNested,
): void {
  limited(value.hops.length, ENTRY_LIMIT)
  for (const hop of value.hops) {
    const lookup = hop.lookup ? LOOKUP : 0
    writeU16(writer, lookup | (hop.probe ? PROBE : 0) | (hop.strict ? STRICT : 0))
    writeNested(writer, hop.address)
  }
}

/** RFC 8060 §4.8: per entry 24 reserved bits, Level, address. */
export function readReplicationList(body: ByteReader, readNested: ReadNested): ReplicationList {
  const entries = readAll(body, ENTRY_LIMIT, 'RLE', (): ReplicationEntry => {
    skipBytes(body, 3, 'RLE Rsvd3')
    return { level: readU8(body, 'Level Value'), address: readNested(body) }
  })
  return { kind: 'replication-list', entries }
}

export function writeReplicationList(
  writer: ByteWriter,
  value: ReplicationList,
  writeNested: WriteNested,
): void {
  limited(value.entries.length, ENTRY_LIMIT)
  for (const { level, address } of value.entries) {
    writeU8(writer, 0)
    writeU16(writer, 0)
    writeU8(writer, level)
    writeNested(writer, address)
  }
}

/** RFC 8060 §5.5: 25 reserved bits, U, G, N, v, V, l, L. */
export function readEncapsulationFormat(
  body: ByteReader,
  readNested: ReadNested,
): EncapsulationFormat {
  const bits = readU32(body, 'Encapsulation Format')
  const formats = ENCAPSULATIONS.filter((_, index) => (bits & (1 << index)) !== 0)
  return { kind: 'encapsulation-format', formats, address: readNested(body) }
}

export function writeEncapsulationFormat(
  writer: ByteWriter,
  value: EncapsulationFormat,
  writeNested: WriteNested,
): void {
  const bits = value.formats.map((name) => 1 << ENCAPSULATIONS.indexOf(name))
  writeU32(
    writer,
    bits.reduce((sum, bit) => sum | bit, 0),
  )
  writeNested(writer, value.address)
}

const LOOKUP = 0x0004
const PROBE = 0x0002
const STRICT = 0x0001

/** Entries up to the end of the LCAF; more than `limit` is malformed. */
function readAll<T>(body: ByteReader, limit: number, field: string, readOne: () => T): T[] {
  const entries: T[] = []
  while (remaining(body) > 0) {
    if (entries.length === limit) failDecoding('bad-count', body.offset, field)
    entries.push(readOne())
  }
  return entries
}

function limited(count: number, limit: number): void {
  if (count > limit) throw new RangeError(`${count} entries, at most ${limit}`)
}
