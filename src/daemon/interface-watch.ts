/**
 * Follows the interfaces of this network namespace by rtnetlink and reads them again when the kernel says
 * that a link or an address changed.
 *
 * The messages are only a reason to read: they come in bursts, and some get lost (ENOBUFS). So one reading
 * follows each burst, and one a minute whatever happens.
 */
import { createRtNetlink } from 'netlink'
import type { NetworkInterface } from '../datapath/network-interface.js'
import { readInterfaces } from './interfaces.js'

export interface InterfaceWatch {
  close(): void
}

/** `onReading` is told every reading, also one that says what the last one said. */
export function watchInterfaces(options: {
  readonly onReading: (interfaces: readonly NetworkInterface[]) => void
  readonly onFailure: (error: unknown) => void
}): InterfaceWatch {
  const socket = createRtNetlink({
    recvBufferSize: SOCKET_BUFFER_BYTES,
    sendBufferSize: SOCKET_BUFFER_BYTES,
  })
  let soon: NodeJS.Timeout | undefined
  let closed = false
  const read = (): void => {
    soon = undefined
    readInterfaces().then((interfaces) => {
      if (!closed) options.onReading(interfaces)
    }, options.onFailure)
  }
  const readSoon = (): void => {
    soon ??= setTimeout(read, SETTLE_MS).unref()
  }
  socket.on('message', (messages) => {
    if (messages.some(({ kind }) => kind === 'link' || kind === 'address')) readSoon()
  })
  socket.socket.on('error', options.onFailure)
  for (const group of ['LINK', 'IPV4_IFADDR', 'IPV6_IFADDR'] as const) socket.addMembership(group)
  const timer = setInterval(readSoon, RESYNC_MS)
  timer.unref()
  return {
    close() {
      closed = true
      clearTimeout(soon)
      clearInterval(timer)
      socket.socket.close()
    },
  }
}

/** Choice: an interface that is made gets its addresses within milliseconds; one reading sees both. */
const SETTLE_MS = 100
const RESYNC_MS = 60_000
const SOCKET_BUFFER_BYTES = 1 << 20
