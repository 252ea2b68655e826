/**
 * Everything that an AFI-encoded address can say, as values (RFC 8060 §4, RFC 9735, RFC 10040).
 *
 * Most EIDs and RLOCs are plain addresses and never take this form: `EidPrefix` and `Rloc` are what
 * tables and roles work with. This is for the fields that hold more: a path, a replication list, an
 * (S,G), a name. What a value is good for in its place is answered here (`rlocOf`, `eidOf`); bytes
 * are the business of afi.ts and lcaf.ts.
 *
 * The vendor type (RFC 9306) has no value: no OUI is understood here, and one that is not drops
 * the whole message. The unknown types keep their bytes, for display only.
 */
import { compareBytes, equalIpAddresses, type IpAddress } from './address.js'
import type { Eid } from './eid.js'

export type AfiAddress =
  | { readonly kind: 'none' }
  | { readonly kind: 'ip'; readonly address: IpAddress }
  /** 6 bytes. */
  | { readonly kind: 'mac'; readonly mac: Uint8Array }
  /** RFC 9735, without the NUL at its end; at most 254 bytes. */
  | { readonly kind: 'name'; readonly name: Uint8Array }
  | LcafAddress

export type LcafAddress =
  /** Type 0. */
  | { readonly kind: 'null-body' }
  /** Type 1; the order has no meaning. */
  | { readonly kind: 'list'; readonly addresses: readonly AfiAddress[] }
  | InstanceAddress
  /** Type 3. */
  | { readonly kind: 'as-number'; readonly asNumber: number; readonly address: AfiAddress }
  | ApplicationData
  | GeoCoordinates
  /** Type 6. */
  | {
      readonly kind: 'opaque-key'
      readonly keyFieldCount: number
      /** 16 bits, one per key field. */
      readonly wildcards: number
      readonly key: Uint8Array
    }
  | NatTraversal
  /** Type 8; the nonce has 24 bits. */
  | { readonly kind: 'nonce-locator'; readonly nonce: number; readonly address: AfiAddress }
  | MulticastInfo
  | ExplicitLocatorPath
  | SecurityKey
  | SourceDestKey
  | ReplicationList
  | JsonData
  /** Type 15. */
  | { readonly kind: 'key-value'; readonly key: AfiAddress; readonly value: AfiAddress }
  | EncapsulationFormat
  | GeoLocation
  /** A type without a number in `LCAF_TYPE`; `body` is what its length covers. */
  | { readonly kind: 'unknown-lcaf'; readonly type: number; readonly body: Uint8Array }

/** Type 2. `idMaskLength` (0–32) has a meaning only with an address of kind 'none'. */
export interface InstanceAddress {
  readonly kind: 'instance'
  readonly instanceId: number
  readonly idMaskLength: number
  readonly address: AfiAddress
}

/** Type 4. */
export interface ApplicationData {
  readonly kind: 'application-data'
  /** IPv4 TOS, or IPv6 Traffic Class and Flow Label: 24 bits. */
  readonly trafficClass: number
  readonly protocol: number
  /** Inclusive. */
  readonly localPorts: PortRange
  readonly remotePorts: PortRange
  readonly address: AfiAddress
}

export interface PortRange {
  readonly low: number
  readonly high: number
}

/** Type 5, deprecated by RFC 10040: read, and written only when asked for. */
export interface GeoCoordinates {
  readonly kind: 'geo-coordinates'
  readonly latitude: DegreesMinutesSeconds
  /** N bit. */
  readonly north: boolean
  readonly longitude: DegreesMinutesSeconds
  /** E bit. */
  readonly east: boolean
  /** Metres, signed; undefined is 0x7fffffff. */
  readonly altitude: number | undefined
  readonly address: AfiAddress
}

export interface DegreesMinutesSeconds {
  readonly degrees: number
  readonly minutes: number
  readonly seconds: number
}

/** Type 7: what a device behind a NAT learns of itself; 'none' is an address that is not known. */
export interface NatTraversal {
  readonly kind: 'nat-traversal'
  readonly mapServerPort: number
  readonly etrPort: number
  readonly globalEtrRloc: AfiAddress
  readonly mapServerRloc: AfiAddress
  readonly privateEtrRloc: AfiAddress
  readonly rtrRlocs: readonly AfiAddress[]
}

/** Type 9: (S,G); 'none' or mask length 0 is "any". */
export interface MulticastInfo {
  readonly kind: 'multicast-info'
  readonly instanceId: number
  readonly sourceMaskLength: number
  readonly groupMaskLength: number
  readonly source: AfiAddress
  readonly group: AfiAddress
}

/** Type 10: re-encapsulate here, then there. */
export interface ExplicitLocatorPath {
  readonly kind: 'explicit-locator-path'
  readonly hops: readonly PathHop[]
}

export interface PathHop {
  /** L bit: ask the mapping system for this address. */
  readonly lookup: boolean
  /** P bit: RLOC-probes may be sent to this hop. */
  readonly probe: boolean
  /** S bit: this hop may not be skipped. */
  readonly strict: boolean
  readonly address: AfiAddress
}

/** Type 11. */
export interface SecurityKey {
  readonly kind: 'security-key'
  readonly keyAlgorithm: number
  /** R bit. */
  readonly revoked: boolean
  readonly keys: readonly Uint8Array[]
  readonly address: AfiAddress
}

/** Type 12. */
export interface SourceDestKey {
  readonly kind: 'source-dest-key'
  readonly sourceMaskLength: number
  readonly destinationMaskLength: number
  readonly source: AfiAddress
  readonly destination: AfiAddress
}

/** Type 13. Lower levels are nearer to the ITR; ETRs register level 128 (RFC 8378 §5.1.2). */
export interface ReplicationList {
  readonly kind: 'replication-list'
  readonly entries: readonly ReplicationEntry[]
}

export interface ReplicationEntry {
  /** 0–255. */
  readonly level: number
  readonly address: AfiAddress
}

/** Type 14. */
export interface JsonData {
  readonly kind: 'json'
  /** B bit: `json` is binary encoded. */
  readonly binary: boolean
  readonly json: Uint8Array
  readonly address: AfiAddress
}

/** Type 16: what the device at `address` decapsulates. */
export interface EncapsulationFormat {
  readonly kind: 'encapsulation-format'
  readonly formats: readonly EncapsulationName[]
  readonly address: AfiAddress
}

/** In the order of their bits, the lowest first. */
export const ENCAPSULATIONS = [
  'lisp',
  'l2-lisp',
  'vxlan',
  'vxlan-gpe',
  'nvgre',
  'geneve',
  'gue',
] as const
export type EncapsulationName = (typeof ENCAPSULATIONS)[number]

/** Type 17, RFC 10040. With a radius it is a geo-prefix, else a geo-point. */
export interface GeoLocation {
  readonly kind: 'geo-location'
  /** Centimetres, 16 bits; undefined without the U bit. */
  readonly uncertainty: number | undefined
  readonly latitude: DegreesMilliseconds
  readonly north: boolean
  readonly longitude: DegreesMilliseconds
  readonly east: boolean
  /** Signed 32 bits; undefined without the A bit. */
  readonly altitude: { readonly value: number; readonly unit: 'm' | 'cm' } | undefined
  /** 16 bits; undefined without the R bit. */
  readonly radius: { readonly value: number; readonly unit: 'm' | 'km' } | undefined
  readonly address: AfiAddress
}

export interface DegreesMilliseconds {
  /** 0–255 on the wire. */
  readonly degrees: number
  /** Thousandths of an arc second, 24 bits. */
  readonly milliseconds: number
}

/** The EID that an address names, or undefined: AFI 0, a name, a range of instances, (S,G), … */
export function eidOf(value: AfiAddress): Eid | undefined {
  if (value.kind === 'ip') return { instanceId: 0, address: value.address }
  if (value.kind !== 'instance' || value.address.kind !== 'ip') return undefined
  return { instanceId: value.instanceId, address: value.address.address }
}

/**
 * The address that packets for this RLOC go to when nothing more is understood of it: itself, the
 * first usable one of an AFI-List (RFC 8060 §4.10.5), the first hop of a path, the first entry of a
 * replication list, the outer side of a NAT, or the address that the value describes. Undefined for
 * a name, an (S,G), a key, and where the other side does not decapsulate LISP.
 */
export function rlocOf(value: AfiAddress): IpAddress | undefined {
  switch (value.kind) {
    case 'ip':
      return value.address
    case 'list':
      return firstRloc(value.addresses)
    case 'explicit-locator-path':
      return firstRloc(value.hops.map((hop) => hop.address))
    case 'replication-list':
      return firstRloc(value.entries.map((entry) => entry.address))
    case 'nat-traversal':
      return firstRloc([value.globalEtrRloc, ...value.rtrRlocs])
    case 'encapsulation-format':
      return value.formats.includes('lisp') ? rlocOf(value.address) : undefined
    default:
      return 'address' in value ? rlocOf(value.address) : undefined
  }
}

/** EID mask-len of a whole name: its bits with the NUL at its end (RFC 9735 §4); "ietf" has 40. */
export function nameMaskLength(name: Uint8Array): number {
  return (name.length + 1) * 8
}

/** Whether an LCAF of an unknown type stands anywhere within (RFC 9306 §3). */
export function holdsUnknownLcaf(value: AfiAddress): boolean {
  return value.kind === 'unknown-lcaf' || partsOf(value).some(holdsUnknownLcaf)
}

/** Whether coordinates (types 5 and 17) stand anywhere within. */
export function holdsCoordinates(value: AfiAddress): boolean {
  if (value.kind === 'geo-location' || value.kind === 'geo-coordinates') return true
  return partsOf(value).some(holdsCoordinates)
}

/** Same kind, same fields, recursively. */
export function equalAfiAddresses(a: AfiAddress, b: AfiAddress): boolean {
  return a === b || equalFields(a, b)
}

function firstRloc(values: readonly AfiAddress[]): IpAddress | undefined {
  for (const value of values) {
    const rloc = rlocOf(value)
    if (rloc !== undefined) return rloc
  }
  return undefined
}

/** The addresses directly inside. */
function partsOf(value: AfiAddress): readonly AfiAddress[] {
  switch (value.kind) {
    case 'ip':
      return []
    case 'list':
      return value.addresses
    case 'explicit-locator-path':
      return value.hops.map((hop) => hop.address)
    case 'replication-list':
      return value.entries.map((entry) => entry.address)
    case 'nat-traversal':
      return [value.globalEtrRloc, value.mapServerRloc, value.privateEtrRloc, ...value.rtrRlocs]
    case 'multicast-info':
      return [value.source, value.group]
    case 'source-dest-key':
      return [value.source, value.destination]
    case 'key-value':
      return [value.key, value.value]
    default:
      return 'address' in value ? [value.address] : []
  }
}

/** Plain data without cycles; depth is bounded by the nesting limit of decoding. */
function equalFields(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array) return b instanceof Uint8Array && compareBytes(a, b) === 0
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  if ('family' in a && 'family' in b) return equalIpAddresses(a as IpAddress, b as IpAddress)
  const [left, right] = [Object.entries(a), b as Record<string, unknown>]
  if (left.length !== Object.keys(right).length) return false
  return left.every(([name, value]) => equalFields(value, right[name]))
}
