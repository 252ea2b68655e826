/**
 * EIDs that describe instead of number: names (RFC 9735) and places on the map (RFC 10040).
 *
 * Both have a notion of "covers": a name covers every name that begins with it ("ietf" covers
 * "ietf.lisp"; the NUL at the end on the wire is no part of it, RFC 9735 §4), a sphere around a point
 * covers every point and sphere that lies within it (RFC 10040 §3, §5). Our choices: on the ground the
 * distance is that of the great circle; where one of two has no altitude, both are taken to be on the
 * ground; uncertainty is not compared; the deprecated type 5 (RFC 8060 §4.3) is no EID, and what lies
 * beyond 90° or 180° is none either.
 */
import type { AfiAddress, DegreesMilliseconds, GeoLocation } from './afi-address.js'
import { nameText } from './describe.js'

export type DescribedEid = NamedEid | Place

export interface NamedEid {
  readonly kind: 'name'
  readonly instanceId: number
  /** Without the NUL; 0–254 bytes. */
  readonly name: Uint8Array
}

/** A geo-prefix, or a geo-point when the radius is 0. */
export interface Place {
  readonly kind: 'place'
  readonly instanceId: number
  /** Degrees, north positive. */
  readonly latitude: number
  /** Degrees, east positive. */
  readonly longitude: number
  readonly altitudeMetres: number | undefined
  readonly radiusMetres: number
}

/** The name or place that an EID is; undefined when it is something else, or nowhere on Earth. */
export function describedEidOf(eid: AfiAddress): DescribedEid | undefined {
  if (eid.kind === 'instance') return described(eid.address, eid.instanceId)
  return described(eid, 0)
}

/** Equal EIDs have equal text: `[7]"ietf"`, `[7]52.52,13.405 r 2000 m` (an altitude stands third). */
export function formatDescribedEid(eid: DescribedEid): string {
  const instance = eid.instanceId === 0 ? '' : `[${eid.instanceId}]`
  if (eid.kind === 'place') {
    const radius = eid.radiusMetres === 0 ? '' : ` r ${eid.radiusMetres} m`
    const altitude = eid.altitudeMetres === undefined ? '' : `,${eid.altitudeMetres}`
    return `${instance}${eid.latitude},${eid.longitude}${altitude}${radius}`
  }
  // What is not printable must not make two names look the same.
  const text = nameText(eid.name)
  const plain = eid.name.every((byte) => byte >= 0x20 && byte < 0x7f)
  return `${instance}${JSON.stringify(text)}${plain ? '' : ` ${hexText(eid.name)}`}`
}

/** Whether `outer` holds all of `inner`; it holds itself. Names and places never hold each other. */
export function coversDescribedEid(outer: DescribedEid, inner: DescribedEid): boolean {
  if (outer.instanceId !== inner.instanceId) return false
  if (outer.kind === 'name')
    return inner.kind === 'name' && outer.name.every((byte, at) => byte === inner.name[at])
  if (inner.kind !== 'place') return false
  const room = outer.radiusMetres - inner.radiusMetres
  // A difference of latitude alone is a lower bound, and costs nothing.
  const north = Math.abs(outer.latitude - inner.latitude) * METRES_PER_DEGREE
  return room >= 0 && north <= room + ROUNDING_METRES && distance(outer, inner) <= room
}

/** IUGG mean radius of the Earth. */
const EARTH_METRES = 6_371_008.8
const METRES_PER_DEGREE = (Math.PI / 180) * EARTH_METRES
const ROUNDING_METRES = 0.01
const MILLISECONDS_PER_DEGREE = 3_600_000

function described(eid: AfiAddress, instanceId: number): DescribedEid | undefined {
  if (eid.kind === 'name') return { kind: 'name', instanceId, name: eid.name }
  return eid.kind === 'geo-location' ? placeOf(eid, instanceId) : undefined
}

function placeOf(geo: GeoLocation, instanceId: number): Place | undefined {
  const latitude = degrees(geo.latitude, geo.north)
  const longitude = degrees(geo.longitude, geo.east)
  if (Math.abs(latitude) > 90 || Math.abs(longitude) > 180) return undefined
  const { radius, altitude } = geo
  const radiusMetres = radius === undefined ? 0 : radius.value * (radius.unit === 'km' ? 1000 : 1)
  const altitudeMetres = altitude && altitude.value / (altitude.unit === 'm' ? 1 : 100)
  return { kind: 'place', instanceId, latitude, longitude, altitudeMetres, radiusMetres }
}

function degrees(angle: DegreesMilliseconds, isPositive: boolean): number {
  const size = angle.degrees + angle.milliseconds / MILLISECONDS_PER_DEGREE
  // Not -0, which prints as the other one does and compares as another.
  return isPositive || size === 0 ? size : -size
}

/** Metres; a place without altitude is as high as the other. */
function distance(a: Place, b: Place): number {
  const ground = groundDistance(a, b)
  if (a.altitudeMetres === undefined || b.altitudeMetres === undefined) return ground
  return Math.hypot(ground, a.altitudeMetres - b.altitudeMetres)
}

/** Metres along the great circle, by the haversine formula. */
function groundDistance(a: Place, b: Place): number {
  // The formula leaves micrometres between equal points.
  if (a.latitude === b.latitude && a.longitude === b.longitude) return 0
  const radians = Math.PI / 180
  const north = Math.sin(((b.latitude - a.latitude) * radians) / 2)
  const east = Math.sin(((b.longitude - a.longitude) * radians) / 2)
  const parallels = Math.cos(a.latitude * radians) * Math.cos(b.latitude * radians)
  const haversine = north * north + parallels * east * east
  return 2 * EARTH_METRES * Math.asin(Math.min(1, Math.sqrt(haversine)))
}

/** Two lower-case digits a byte. */
export function hexText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
