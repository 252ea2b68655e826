/**
 * The parts that IGMPv3 and MLDv2 lay out alike, with addresses of 4 or 16 bytes: the end of a query
 * (RFC 3376 §4.1, RFC 3810 §5.1) and the group records of a report (RFC 3376 §4.2, RFC 3810 §5.2).
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * | Resv  |S| QRV |     QQIC      |     Number of Sources (N)     |  query
 * |  Record Type  |  Aux Data Len |     Number of Sources (N)     |  report
 * |                       Multicast Address                       |
 * |                       Source Address [1..N]                   |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * Auxiliary data is passed over and never sent. A record of an unknown type is left out.
 */
import { type IpAddress, ipAddress } from '../address.js'
import { type ByteReader, readBytes, readU8, readU16, skipBytes } from '../byte-reader.js'
import { type ByteWriter, writeBytes, writeU8, writeU16 } from '../byte-writer.js'
import { GROUP_RECORD_TYPES, type GroupRecord, type MembershipQuery } from './membership.js'

export type AddressBytes = 4 | 16

export function readSourceTerms(
  reader: ByteReader,
  addressBytes: AddressBytes,
): NonNullable<MembershipQuery['sourceTerms']> {
  const flags = readU8(reader, 'S flag')
  const queryIntervalCode = readU8(reader, 'QQIC')
  const count = readU16(reader, 'Number of Sources')
  return {
    suppressRouterProcessing: (flags & SUPPRESS) !== 0,
    robustness: flags & ROBUSTNESS,
    queryIntervalCode,
    sources: readAddresses(reader, count, addressBytes),
  }
}

export function writeSourceTerms(
  writer: ByteWriter,
  terms: NonNullable<MembershipQuery['sourceTerms']>,
): void {
  if (terms.robustness > ROBUSTNESS) throw new RangeError('QRV has three bits')
  writeU8(writer, terms.robustness | (terms.suppressRouterProcessing ? SUPPRESS : 0))
  writeU8(writer, terms.queryIntervalCode)
  writeU16(writer, terms.sources.length)
  for (const { bytes } of terms.sources) writeBytes(writer, bytes)
}

export function readGroupRecords(
  reader: ByteReader,
  count: number,
  addressBytes: AddressBytes,
): GroupRecord[] {
  const records: GroupRecord[] = []
  for (let left = count; left > 0; left -= 1) {
    const type = GROUP_RECORD_TYPES[readU8(reader, 'Record Type') - 1]
    const auxiliaryWords = readU8(reader, 'Aux Data Len')
    const sourceCount = readU16(reader, 'Number of Sources')
    const group = readAddress(reader, addressBytes, 'Multicast Address')
    const sources = readAddresses(reader, sourceCount, addressBytes)
    skipBytes(reader, auxiliaryWords * 4, 'Auxiliary Data')
    if (type !== undefined) records.push({ type, group, sources })
  }
  return records
}

export function writeGroupRecords(writer: ByteWriter, records: readonly GroupRecord[]): void {
  for (const { type, group, sources } of records) {
    writeU8(writer, GROUP_RECORD_TYPES.indexOf(type) + 1)
    writeU8(writer, 0)
    writeU16(writer, sources.length)
    writeBytes(writer, group.bytes)
    for (const { bytes } of sources) writeBytes(writer, bytes)
  }
}

export function readAddress(
  reader: ByteReader,
  addressBytes: AddressBytes,
  field: string,
): IpAddress {
  return ipAddress(readBytes(reader, addressBytes, field))
}

const SUPPRESS = 0x08
const ROBUSTNESS = 0x07

/** Every one costs its bytes, so that the count is bounded by the packet. */
function readAddresses(reader: ByteReader, count: number, addressBytes: AddressBytes): IpAddress[] {
  const addresses: IpAddress[] = []
  for (let left = count; left > 0; left -= 1) {
    addresses.push(readAddress(reader, addressBytes, 'Source Address'))
  }
  return addresses
}
