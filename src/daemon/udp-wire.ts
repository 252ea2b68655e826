/**
 * The control sockets: one per own RLOC, datagrams in and out in batches (RFC 9301 §5, port 4342).
 *
 * Sends are collected and leave with `flush`, one sendmmsg per socket, so the shell can drain a whole
 * receive batch into one send batch. Nothing here retries: control messages have their own retries,
 * and a datagram that the kernel refuses is counted by errno name. Datagrams without UDP checksum
 * are refused below, in the kernel.
 */
import type { NativeAddon, NativeDatagram, NativeHandle } from '../datapath/native-addon.js'
import type { Rloc } from '../lisp/locator.js'

export interface WireDatagram {
  readonly from: Rloc
  readonly fromPort: number
  readonly to: Rloc
  readonly bytes: Uint8Array
}

export interface UdpWireOptions {
  /** Our RLOCs; each must be configured on an interface. */
  readonly addresses: readonly Rloc[]
  /** 4342 in production; 0 lets the kernel choose (tests). */
  readonly port: number
  /** Called once per batch of at most 64; datagrams may be kept. */
  readonly onDatagrams: (batch: readonly WireDatagram[]) => void
  /** Share the port with other threads (SO_REUSEPORT). */
  readonly reusePort?: boolean
}

export interface UdpWireCounters {
  readonly received: number
  readonly sent: number
  /** Datagrams not sent, by errno name, or 'no-socket' when `from` is none of our RLOCs. */
  readonly unsent: Readonly<Record<string, number>>
  /** Longer than 65,536 bytes cannot be; counted all the same. */
  readonly truncated: number
  /** Receive buffer full, or UDP checksum zero. */
  readonly droppedByKernel: number
}

export interface UdpWire {
  /** Collect one datagram. It leaves with the next `flush`, or at once when 1,024 have gathered. */
  send(from: Rloc, to: Rloc, toPort: number, bytes: Uint8Array): void
  flush(): void
  close(): void
  counters(): UdpWireCounters
}

/**
 * Bind all sockets. Throws the addon's error (code EADDRNOTAVAIL, EADDRINUSE, EACCES, …) when one
 * cannot be bound, with none left open.
 */
export function createUdpWire(addon: NativeAddon, options: UdpWireOptions): UdpWire {
  const unsent: Record<string, number> = {}
  const sockets: WireSocket[] = []
  let received = 0
  let sent = 0

  const countUnsent = (reason: string, datagrams: number): void => {
    unsent[reason] = (unsent[reason] ?? 0) + datagrams
  }

  const flushSocket = (socket: WireSocket): void => {
    let waiting = socket.waiting
    socket.waiting = []
    while (waiting.length > 0) {
      try {
        const taken = addon.sendUdp(socket.handle, waiting)
        sent += taken
        waiting = waiting.slice(taken)
      } catch (error) {
        // The kernel refused the first one, perhaps for its destination only: go on with the rest,
        // unless there is no room for anything now.
        const code = errorCode(error)
        const refused = code === 'EAGAIN' || code === 'ENOBUFS' ? waiting.length : 1
        countUnsent(code, refused)
        waiting = waiting.slice(refused)
      }
    }
  }

  const receiver =
    (to: Rloc) =>
    (datagrams: readonly NativeDatagram[]): void => {
      received += datagrams.length
      options.onDatagrams(datagrams.map((datagram) => copyDatagram(datagram, to)))
    }

  const close = (): void => {
    for (const socket of sockets.splice(0)) addon.closeUdp(socket.handle)
  }

  try {
    for (const address of options.addresses) {
      const handle = addon.openUdp(
        {
          address: address.bytes,
          port: options.port,
          receiveBufferBytes: RECEIVE_BUFFER_BYTES,
          reusePort: options.reusePort ?? false,
        },
        receiver(address),
      )
      sockets.push({ address, handle, waiting: [] })
    }
  } catch (error) {
    close()
    throw error
  }

  return {
    send(from, to, toPort, bytes) {
      const socket = sockets.find((each) => sameAddress(each.address, from))
      if (socket === undefined || to.family !== from.family) {
        countUnsent('no-socket', 1)
        return
      }
      socket.waiting.push({ address: to.bytes, port: toPort, bytes })
      if (socket.waiting.length >= MAXIMUM_WAITING) flushSocket(socket)
    },
    flush() {
      for (const socket of sockets) if (socket.waiting.length > 0) flushSocket(socket)
    },
    close,
    counters() {
      const statistics = sockets.map((socket) => addon.udpStatistics(socket.handle))
      return {
        received,
        sent,
        unsent: { ...unsent },
        truncated: sum(statistics.map((each) => each.truncated)),
        droppedByKernel: sum(statistics.map((each) => each.droppedByKernel)),
      }
    },
  }
}

interface WireSocket {
  readonly address: Rloc
  readonly handle: NativeHandle
  waiting: { readonly address: Uint8Array; readonly port: number; readonly bytes: Uint8Array }[]
}

/** The addon's views end with its callback, and decoded messages may refer to these bytes for long. */
function copyDatagram(datagram: NativeDatagram, to: Rloc): WireDatagram {
  return {
    from: { family: to.family, bytes: datagram.address.slice() },
    fromPort: datagram.port,
    to,
    bytes: datagram.bytes.slice(),
  }
}

function sameAddress(one: Rloc, other: Rloc): boolean {
  return (
    one.family === other.family && one.bytes.every((byte, offset) => byte === other.bytes[offset])
  )
}

function errorCode(error: unknown): string {
  // A RangeError or TypeError is our own mistake, not the network's.
  if (error instanceof RangeError || error instanceof TypeError) throw error
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

/** What one sendmmsg takes (UIO_MAXIOV). */
const MAXIMUM_WAITING = 1024
/** Choice: some 16,000 small messages; a Map-Server gets bursts of registrations after an outage. */
const RECEIVE_BUFFER_BYTES = 16 * 1024 * 1024
