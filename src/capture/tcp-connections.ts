/**
 * The TCP connections of port 4342 in a capture, as far as reading what they carry needs: bytes in
 * order, each once (RFC 9293 §3.4).
 *
 * A capture that begins in the middle of a connection is read from there on; a segment that was not
 * captured ends the message it was part of, and reading goes on behind it in the hope that a message
 * begins there. Checksums, windows and options are not looked at.
 */
import { formatIpAddress } from '../lisp/address.js'
import type { Malformed } from '../lisp/message.js'
import {
  createReliableStream,
  type ReliableMessage,
  type ReliableStream,
} from '../lisp/reliable-transport.js'
import type { IpPacket } from './ip-packet.js'

/** How a segment stands to the one before: what was seen already, or not all of it. */
export type SegmentNote = 'next' | 'repeated' | 'after-a-gap'

export interface Followed {
  readonly messages: readonly (ReliableMessage | Malformed)[]
  readonly note: SegmentNote
}

export interface TcpConnections {
  /** Undefined for a segment without data, or a header that cannot be read. */
  follow(ip: IpPacket): Followed | undefined
}

/** Remembers at most `MAX_CONNECTIONS` directions, those used last. */
export function createTcpConnections(): TcpConnections {
  const directions = new Map<string, Direction>()

  function remember(key: string, direction: Direction): Direction {
    directions.delete(key)
    directions.set(key, direction)
    if (directions.size > MAX_CONNECTIONS) {
      for (const oldest of directions.keys()) {
        directions.delete(oldest)
        break
      }
    }
    return direction
  }

  return {
    follow(ip) {
      const segment = readSegment(ip.payload)
      if (segment === undefined) return undefined
      const { sequence, data } = segment
      const key = directionKey(ip)
      if (segment.begins) {
        remember(key, { next: (sequence + 1) >>> 0, stream: createReliableStream() })
        return undefined
      }
      if (data.length === 0) return undefined
      const known = directions.get(key) ?? { next: sequence, stream: createReliableStream() }
      // Sequence numbers wrap: what counts is how far apart they are, with a sign.
      const ahead = (sequence - known.next) | 0
      const direction = remember(key, ahead > 0 ? restarted(sequence) : known)
      if (ahead < 0 && data.length + ahead <= 0) return { messages: [], note: 'repeated' }
      const fresh = ahead < 0 ? data.subarray(-ahead) : data
      direction.next = (sequence + data.length) >>> 0
      return {
        messages: direction.stream.push(fresh),
        note: ahead > 0 ? 'after-a-gap' : 'next',
      }
    },
  }
}

interface Direction {
  /** Sequence number of the next byte. */
  next: number
  readonly stream: ReliableStream
}

/** Choice: both directions of as many connections as a Map-Server has sites in one capture. */
const MAX_CONNECTIONS = 512
const MIN_HEADER_BYTES = 20
const SYN = 0x02

function restarted(next: number): Direction {
  return { next, stream: createReliableStream() }
}

function readSegment(
  bytes: Uint8Array,
): { readonly sequence: number; readonly begins: boolean; readonly data: Uint8Array } | undefined {
  if (bytes.length < MIN_HEADER_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const headerBytes = (bytes[12]! >> 4) * 4
  if (headerBytes < MIN_HEADER_BYTES || headerBytes > bytes.length) return undefined
  return {
    sequence: view.getUint32(4),
    begins: (bytes[13]! & SYN) !== 0,
    data: bytes.subarray(headerBytes),
  }
}

function directionKey({ source, destination, payload }: IpPacket): string {
  const ports = `${(payload[0]! << 8) | payload[1]!} ${(payload[2]! << 8) | payload[3]!}`
  return `${formatIpAddress(source)} ${formatIpAddress(destination)} ${ports}`
}
