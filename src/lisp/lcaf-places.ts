/**
 * LCAF bodies that describe an address: AS Number (3), Geo-Coordinates (5), JSON (14) of RFC 8060
 * §4.2, §4.3 and §5.3, and Geo-Location (17) of RFC 10040 §7.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |U|N|E|A|M|R|K|    Reserved     |     Location Uncertainty      |
 * |  Lat Degrees  |        Latitude Milliseconds                  |
 * |  Long Degrees |        Longitude Milliseconds                 |
 * |                            Altitude                           |
 * |             Radius            |          Reserved             |
 * |              AFI              |         Address  . . .        |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *
 * A field whose presence bit is not set is sent as 0 and ignored on receipt. Numbers are not judged:
 * 91 degrees north is for whoever uses it to refuse.
 */
import type {
  AfiAddress,
  DegreesMilliseconds,
  DegreesMinutesSeconds,
  GeoCoordinates,
  GeoLocation,
  JsonData,
  LcafAddress,
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

/** B bit in the second reserved octet of type 14. */
export const JSON_BINARY = 0x01

type AsNumber = LcafAddress & { kind: 'as-number' }

/** RFC 8060 §4.2. */
export function readAsNumber(body: ByteReader, readNested: ReadNested): AsNumber {
  return { kind: 'as-number', asNumber: readU32(body, 'AS Number'), address: readNested(body) }
}

export function writeAsNumber(writer: ByteWriter, value: AsNumber, writeNested: WriteNested): void {
  writeU32(writer, value.asNumber)
  writeNested(writer, value.address)
}

/** RFC 8060 §4.3: N or E bit and 15 bits of degrees, minutes, seconds, twice; altitude. */
export function readGeoCoordinates(body: ByteReader, readNested: ReadNested): GeoCoordinates {
  const north = readAngle(body, 'Latitude')
  const east = readAngle(body, 'Longitude')
  const altitude = readU32(body, 'Altitude')
  return {
    kind: 'geo-coordinates',
    latitude: north.angle,
    north: north.flag,
    longitude: east.angle,
    east: east.flag,
    altitude: altitude === NO_ALTITUDE ? undefined : altitude | 0,
    address: readNested(body),
  }
}

export function writeGeoCoordinates(
  writer: ByteWriter,
  value: GeoCoordinates,
  writeNested: WriteNested,
): void {
  writeAngle(writer, value.latitude, value.north)
  writeAngle(writer, value.longitude, value.east)
  writeU32(writer, value.altitude === undefined ? NO_ALTITUDE : unsigned(value.altitude))
  writeNested(writer, value.address)
}

/** RFC 8060 §5.3: JSON length, JSON, address; the address may be missing. */
export function readJson(body: ByteReader, readNested: ReadNested, second: number): JsonData {
  const json = readBytes(body, readU16(body, 'JSON length'), 'JSON binary/text')
  const address: AfiAddress = remaining(body) === 0 ? { kind: 'none' } : readNested(body)
  return { kind: 'json', binary: (second & JSON_BINARY) !== 0, json, address }
}

export function writeJson(writer: ByteWriter, value: JsonData, writeNested: WriteNested): void {
  writeU16(writer, value.json.length)
  writeBytes(writer, value.json)
  writeNested(writer, value.address)
}

/** RFC 10040 §7. */
export function readGeoLocation(body: ByteReader, readNested: ReadNested): GeoLocation {
  const flags = readU16(body, 'U N E A M R K')
  const uncertainty = readU16(body, 'Location Uncertainty')
  const latitude = readDegrees(body, 'Latitude')
  const longitude = readDegrees(body, 'Longitude')
  const altitude = readU32(body, 'Altitude') | 0
  const radius = readU16(body, 'Radius')
  skipBytes(body, 2, 'Reserved')
  return {
    kind: 'geo-location',
    uncertainty: flags & HAS_UNCERTAINTY ? uncertainty : undefined,
    latitude,
    north: (flags & NORTH) !== 0,
    longitude,
    east: (flags & EAST) !== 0,
    altitude:
      flags & HAS_ALTITUDE
        ? { value: altitude, unit: flags & ALTITUDE_METRES ? 'm' : 'cm' }
        : undefined,
    radius:
      flags & HAS_RADIUS
        ? { value: radius, unit: flags & RADIUS_KILOMETRES ? 'km' : 'm' }
        : undefined,
    address: readNested(body),
  }
}

export function writeGeoLocation(
  writer: ByteWriter,
  value: GeoLocation,
  writeNested: WriteNested,
): void {
  const { uncertainty, altitude, radius } = value
  const flags =
    (uncertainty !== undefined ? HAS_UNCERTAINTY : 0) |
    (value.north ? NORTH : 0) |
    (value.east ? EAST : 0) |
    (altitude !== undefined ? HAS_ALTITUDE : 0) |
    (altitude?.unit === 'm' ? ALTITUDE_METRES : 0) |
    (radius !== undefined ? HAS_RADIUS : 0) |
    (radius?.unit === 'km' ? RADIUS_KILOMETRES : 0)
  writeU16(writer, flags)
  writeU16(writer, uncertainty ?? 0)
  writeDegrees(writer, value.latitude)
  writeDegrees(writer, value.longitude)
  writeU32(writer, unsigned(altitude?.value ?? 0))
  writeU16(writer, radius?.value ?? 0)
  writeU16(writer, 0)
  writeNested(writer, value.address)
}

const NO_ALTITUDE = 0x7fffffff
const HAS_UNCERTAINTY = 0x8000
const NORTH = 0x4000
const EAST = 0x2000
const HAS_ALTITUDE = 0x1000
const ALTITUDE_METRES = 0x0800
const HAS_RADIUS = 0x0400
const RADIUS_KILOMETRES = 0x0200
/** N bit of a latitude, E bit of a longitude. */
const POSITIVE = 0x8000

function readAngle(
  body: ByteReader,
  field: string,
): { readonly flag: boolean; readonly angle: DegreesMinutesSeconds } {
  const degrees = readU16(body, field)
  const angle = {
    degrees: degrees & 0x7fff,
    minutes: readU8(body, field),
    seconds: readU8(body, field),
  }
  return { flag: (degrees & POSITIVE) !== 0, angle }
}

function writeAngle(writer: ByteWriter, angle: DegreesMinutesSeconds, positive: boolean): void {
  if (angle.degrees > 0x7fff) throw new RangeError(`${angle.degrees} degrees`)
  writeU16(writer, angle.degrees | (positive ? POSITIVE : 0))
  writeU8(writer, angle.minutes)
  writeU8(writer, angle.seconds)
}

function readDegrees(body: ByteReader, field: string): DegreesMilliseconds {
  const word = readU32(body, field)
  return { degrees: word >>> 24, milliseconds: word & 0xffffff }
}

function writeDegrees(writer: ByteWriter, { degrees, milliseconds }: DegreesMilliseconds): void {
  writeU8(writer, degrees)
  writeU8(writer, milliseconds >>> 16)
  writeU16(writer, milliseconds & 0xffff)
}

/** A signed number of 32 bits as it is written. */
function unsigned(value: number): number {
  if (value !== (value | 0)) throw new RangeError(`${value} is not a signed number of 32 bits`)
  return value >>> 0
}
