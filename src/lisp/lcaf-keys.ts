/**
 * LCAF bodies that say what is looked up, or with which key: Instance-ID (2), Application Data (4),
 * Opaque Key (6), Multicast Info (9), Security Key (11), Source/Dest Key (12), Key/Value (15);
 * RFC 8060 §4.1–4.11, §5.
 */
import type {
  ApplicationData,
  InstanceAddress,
  LcafAddress,
  MulticastInfo,
  PortRange,
  SecurityKey,
  SourceDestKey,
} from './afi-address.js'
import {
  type ByteReader,
  readBytes,
  readU8,
  readU16,
  readU32,
  remaining,
  skipBytes,
} from './byte-reader.js'
import { type ByteWriter, writeBytes, writeU8, writeU16, writeU32 } from './byte-writer.js'
import type { ReadNested, WriteNested } from './lcaf.js'

type OpaqueKey = LcafAddress & { kind: 'opaque-key' }

/** RFC 8060 §4.1: Instance ID (32), address; AFI 0 makes it a range of instances. */
export function readInstanceId(
  body: ByteReader,
  readNested: ReadNested,
  idMaskLength: number,
): InstanceAddress {
  const instanceId = readU32(body, 'Instance ID')
  return { kind: 'instance', instanceId, idMaskLength, address: readNested(body) }
}

export function writeInstanceId(
  writer: ByteWriter,
  value: InstanceAddress,
  writeNested: WriteNested,
): void {
  writeU32(writer, value.instanceId)
  writeNested(writer, value.address)
}

/** RFC 8060 §5.1: TOS, TC or Flow Label (24), Protocol, two port ranges, address. */
export function readApplicationData(body: ByteReader, readNested: ReadNested): ApplicationData {
  const word = readU32(body, 'IP TOS, IPv6 TC, or Flow Label')
  return {
    kind: 'application-data',
    trafficClass: word >>> 8,
    protocol: word & 0xff,
    localPorts: readPorts(body, 'Local Port'),
    remotePorts: readPorts(body, 'Remote Port'),
    address: readNested(body),
  }
}

export function writeApplicationData(
  writer: ByteWriter,
  value: ApplicationData,
  writeNested: WriteNested,
): void {
  writeU8(writer, value.trafficClass >>> 16)
  writeU16(writer, value.trafficClass & 0xffff)
  writeU8(writer, value.protocol)
  for (const { low, high } of [value.localPorts, value.remotePorts]) {
    writeU16(writer, low)
    writeU16(writer, high)
  }
  writeNested(writer, value.address)
}

/** RFC 8060 §5.2: Key Field Num, Key Wildcard Fields (16), the key to the end. */
export function readOpaqueKey(body: ByteReader): OpaqueKey {
  return {
    kind: 'opaque-key',
    keyFieldCount: readU8(body, 'Key Field Num'),
    wildcards: readU16(body, 'Key Wildcard Fields'),
    key: readBytes(body, remaining(body), 'Key'),
  }
}

export function writeOpaqueKey(writer: ByteWriter, value: OpaqueKey): void {
  writeU8(writer, value.keyFieldCount)
  writeU16(writer, value.wildcards)
  writeBytes(writer, value.key)
}

/** RFC 8060 §4.5: Instance ID, 16 reserved bits, two mask lengths, source, group. */
export function readMulticastInfo(body: ByteReader, readNested: ReadNested): MulticastInfo {
  const instanceId = readU32(body, 'Instance ID')
  skipBytes(body, 2, 'Reserved')
  return {
    kind: 'multicast-info',
    instanceId,
    sourceMaskLength: readU8(body, 'Source MaskLen'),
    groupMaskLength: readU8(body, 'Group MaskLen'),
    source: readNested(body),
    group: readNested(body),
  }
}

export function writeMulticastInfo(
  writer: ByteWriter,
  value: MulticastInfo,
  writeNested: WriteNested,
): void {
  writeU32(writer, value.instanceId)
  writeU16(writer, 0)
  writeU8(writer, value.sourceMaskLength)
  writeU8(writer, value.groupMaskLength)
  writeNested(writer, value.source)
  writeNested(writer, value.group)
}

/** RFC 8060 §4.7: Key Count, Key Algorithm, R, the keys with their lengths, address. */
export function readSecurityKey(body: ByteReader, readNested: ReadNested): SecurityKey {
  const count = readU8(body, 'Key Count')
  skipBytes(body, 1, 'Rsvd3')
  const keyAlgorithm = readU8(body, 'Key Algorithm')
  const revoked = (readU8(body, 'R bit') & REVOKED) !== 0
  const keys: Uint8Array[] = []
  for (let index = 0; index < count; index += 1) {
    keys.push(readBytes(body, readU16(body, 'Key Length'), 'Key Material'))
  }
  return { kind: 'security-key', keyAlgorithm, revoked, keys, address: readNested(body) }
}

export function writeSecurityKey(
  writer: ByteWriter,
  value: SecurityKey,
  writeNested: WriteNested,
): void {
  writeU8(writer, value.keys.length)
  writeU8(writer, 0)
  writeU8(writer, value.keyAlgorithm)
  writeU8(writer, value.revoked ? REVOKED : 0)
  for (const key of value.keys) {
    writeU16(writer, key.length)
    writeBytes(writer, key)
  }
  writeNested(writer, value.address)
}

/** RFC 8060 §4.9: 16 reserved bits, two mask lengths, source, destination. */
export function readSourceDestKey(body: ByteReader, readNested: ReadNested): SourceDestKey {
  skipBytes(body, 2, 'Reserved')
  return {
    kind: 'source-dest-key',
    sourceMaskLength: readU8(body, 'Source-ML'),
    destinationMaskLength: readU8(body, 'Dest-ML'),
    source: readNested(body),
    destination: readNested(body),
  }
}

export function writeSourceDestKey(
  writer: ByteWriter,
  value: SourceDestKey,
  writeNested: WriteNested,
): void {
  writeU16(writer, 0)
  writeU8(writer, value.sourceMaskLength)
  writeU8(writer, value.destinationMaskLength)
  writeNested(writer, value.source)
  writeNested(writer, value.destination)
}

/** RFC 8060 §5.4: two addresses. */
export function readKeyValue(body: ByteReader, readNested: ReadNested): LcafAddress {
  return { kind: 'key-value', key: readNested(body), value: readNested(body) }
}

const REVOKED = 0x01

function readPorts(body: ByteReader, field: string): PortRange {
  return { low: readU16(body, field), high: readU16(body, field) }
}
