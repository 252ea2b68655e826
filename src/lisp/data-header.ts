/**
 * The LISP header of a data packet, between UDP port 4341 and the inner packet (RFC 9300 §5.3,
 * P bit RFC 9305 §3). For tests, captures and tools: the datapath has its own in native/bpf.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 * |N|L|E|V|I|P|K|K|   Nonce, or Source and Dest Map-Version, or   |
 * |               |   16 zero bits and Next Protocol              |
 * |        Instance ID (24) and LSBs (8), or LSBs (32)            |
 * +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */

export const DATA_HEADER_BYTES = 8

export interface DataHeader {
  /** 24 bits; undefined when N is 0. */
  readonly nonce: number | undefined
  /** E bit; never true without a nonce. */
  readonly echoNonceRequest: boolean
  /** 12 bits each; undefined when V is 0 or a nonce takes the field. */
  readonly mapVersions: { readonly source: number; readonly destination: number } | undefined
  /** 24 bits; undefined when I is 0. */
  readonly instanceId: number | undefined
  /** 32 bits, or 8 beside an instance-ID; undefined when L is 0. */
  readonly locatorStatusBits: number | undefined
  /** 8 bits; undefined when P is 0, which means IPv4 or IPv6. */
  readonly nextProtocol: number | undefined
  /** KK bits, 0–3; 0 is plain text (RFC 8061 §3). */
  readonly cryptoKeyId: number
}

/**
 * The first 8 bytes as a header; undefined when there are fewer. Combinations that must not be sent
 * are read as RFC 9300 §5.3 says: N before V, E only with N; with P nothing but P and I counts.
 */
export function decodeDataHeader(bytes: Uint8Array): DataHeader | undefined {
  if (bytes.length < DATA_HEADER_BYTES) return undefined
  const flags = bytes[0]!
  const field = (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!
  const high = (bytes[4]! << 16) | (bytes[5]! << 8) | bytes[6]!
  const generic = (flags & NEXT_PROTOCOL) !== 0
  const hasNonce = !generic && (flags & NONCE) !== 0
  const hasVersions = !generic && !hasNonce && (flags & VERSIONS) !== 0
  const hasInstance = (flags & INSTANCE) !== 0
  const statusBits = hasInstance ? bytes[7]! : high * 256 + bytes[7]!
  return {
    nonce: hasNonce ? field : undefined,
    echoNonceRequest: hasNonce && (flags & ECHO) !== 0,
    mapVersions: hasVersions ? { source: field >> 12, destination: field & 0xfff } : undefined,
    instanceId: hasInstance ? high : undefined,
    locatorStatusBits: (flags & STATUS_BITS) !== 0 ? statusBits : undefined,
    nextProtocol: generic ? field & 0xff : undefined,
    cryptoKeyId: flags & CRYPTO_KEY,
  }
}

/**
 * The 8 bytes of a header. Throws RangeError when two of nonce, map-versions and next protocol
 * claim the same field, when E is asked for without a nonce, or when a number does not fit.
 */
export function encodeDataHeader(header: DataHeader): Uint8Array {
  const { nonce, mapVersions, instanceId, locatorStatusBits, nextProtocol } = header
  const claims = [nonce, mapVersions, nextProtocol].filter((claim) => claim !== undefined)
  if (claims.length > 1) throw new RangeError('nonce, map-versions and next protocol exclude')
  if (header.echoNonceRequest && nonce === undefined) throw new RangeError('E needs a nonce')
  const flags =
    (nonce !== undefined ? NONCE : 0) |
    (locatorStatusBits !== undefined ? STATUS_BITS : 0) |
    (header.echoNonceRequest ? ECHO : 0) |
    (mapVersions !== undefined ? VERSIONS : 0) |
    (instanceId !== undefined ? INSTANCE : 0) |
    (nextProtocol !== undefined ? NEXT_PROTOCOL : 0) |
    fitting(header.cryptoKeyId, CRYPTO_KEY)
  const versions =
    fitting(mapVersions?.source ?? 0, 0xfff) * 0x1000 +
    fitting(mapVersions?.destination ?? 0, 0xfff)
  const field = fitting(nonce ?? 0, 0xffffff) + versions + fitting(nextProtocol ?? 0, 0xff)
  const statusBits = fitting(locatorStatusBits ?? 0, instanceId === undefined ? 0xffffffff : 0xff)
  const low = fitting(instanceId ?? 0, 0xffffff) * 256 + statusBits
  const bytes = new Uint8Array(DATA_HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, flags * 0x1000000 + field)
  view.setUint32(4, low)
  return bytes
}

const NONCE = 0x80
const STATUS_BITS = 0x40
const ECHO = 0x20
const VERSIONS = 0x10
const INSTANCE = 0x08
const NEXT_PROTOCOL = 0x04
const CRYPTO_KEY = 0x03

function fitting(value: number, maximum: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= maximum) return value
  throw new RangeError(`${value} is not within 0..${maximum}`)
}
