/**
 * ICMP errors for packets that are too big for the tunnel: ICMPv4 fragmentation-needed (RFC 792,
 * RFC 1191) and ICMPv6 packet-too-big (RFC 4443 §3.2), sent to the inner source (RFC 9300 §7.1).
 *
 * Sent through raw-socket, so that the kernel finds route and neighbour of the sender. That package
 * is optional: without it the same message leaves as an Ethernet frame to the sender's MAC, which
 * only works for senders on the segment itself. Never answers ICMP errors, fragments, multicast.
 */
import { createRequire } from 'node:module'
import type { PacketTooBig } from '../datapath/bpf-events.js'
import type { DatapathLog } from '../datapath/datapath-log.js'
import { internetChecksum, writeIcmpChecksum } from '../datapath/internet-checksum.js'
import type { NetworkInterface } from '../datapath/network-interface.js'
import {
  formatIpAddress,
  type IpAddress,
  isMulticast,
  isUnspecified,
  type MacAddress,
} from '../lisp/address.js'

export interface IcmpResponder {
  take(packet: PacketTooBig): void
  /** What became of the packets, by kebab-case word. */
  counters(): Readonly<Record<IcmpOutcome, number>>
  close(): void
}

export type IcmpOutcome =
  | 'sent'
  | 'rate-limited'
  | 'not-answerable'
  | 'no-interface'
  | 'no-mac'
  | 'send-failed'

/** Sends one ICMP message; false when this way is not available for it. */
type SendRaw = (message: Uint8Array, to: IpAddress, site: NetworkInterface) => boolean

export function createIcmpResponder(options: {
  readonly interfaces: () => readonly NetworkInterface[]
  readonly mac: (packet: PacketTooBig, host: IpAddress) => MacAddress | undefined
  readonly sendFrame: (interfaceIndex: number, frame: Uint8Array) => void
  readonly log: DatapathLog
  readonly now: () => number
  /** Off only in tests of the other way. */
  readonly useRawSocket?: boolean
}): IcmpResponder {
  const { log } = options
  const counters: Record<IcmpOutcome, number> = {
    sent: 0,
    'rate-limited': 0,
    'not-answerable': 0,
    'no-interface': 0,
    'no-mac': 0,
    'send-failed': 0,
  }
  const raw =
    options.useRawSocket === false ? undefined : openRawSender(log, () => count('send-failed'))
  const mayPass = createLimit(options.now)
  const count = (outcome: IcmpOutcome): void => {
    counters[outcome] += 1
  }

  const send = (packet: PacketTooBig): IcmpOutcome => {
    const host = answerableSource(packet.head)
    if (host === undefined) return 'not-answerable'
    if (!mayPass(formatIpAddress(host))) return 'rate-limited'
    const site = options.interfaces().find(({ name }) => name === packet.interfaceName)
    const own = site && ownAddress(site, host)
    if (site === undefined || own === undefined) return 'no-interface'
    const message = tooBigMessage(packet, own, host)
    if (raw?.send(message, host, site)) return 'sent'
    const mac = options.mac(packet, host)
    if (mac === undefined) return 'no-mac'
    options.sendFrame(site.index, icmpFrame(message, own, host, site.mac, mac))
    return 'sent'
  }

  return {
    take(packet) {
      try {
        count(send(packet))
      } catch (error) {
        count('send-failed')
        log('debug', 'icmp-send-failed', { why: String(error) })
      }
    },
    counters: () => ({ ...counters }),
    close: () => raw?.close(),
  }
}

/** The ICMP message alone, checksummed, without IP header. */
export function tooBigMessage(packet: PacketTooBig, own: IpAddress, host: IpAddress): Uint8Array {
  if (host.family === 4) {
    // RFC 1812 §4.3.2.3: as much of the packet as fits in 576 bytes; the head is never longer.
    const message = new Uint8Array(8 + packet.head.length)
    message.set([3, 4])
    new DataView(message.buffer).setUint16(6, packet.mtu)
    message.set(packet.head, 8)
    writeIcmpChecksum(message)
    return message
  }
  const message = new Uint8Array(8 + packet.head.length)
  message.set([2, 0])
  // RFC 8200 §5: no IPv6 link has less than 1280, and hosts ignore anything below.
  new DataView(message.buffer).setUint32(4, Math.max(packet.mtu, IPV6_MINIMUM_MTU))
  message.set(packet.head, 8)
  writeIcmpChecksum(message, { source: own.bytes, destination: host.bytes })
  return message
}

/** An Ethernet frame with IP header around the message. */
export function icmpFrame(
  message: Uint8Array,
  own: IpAddress,
  host: IpAddress,
  fromMac: MacAddress,
  toMac: MacAddress,
): Uint8Array {
  const headerBytes = host.family === 4 ? 20 : 40
  const frame = new Uint8Array(14 + headerBytes + message.length)
  const view = new DataView(frame.buffer)
  frame.set(toMac, 0)
  frame.set(fromMac, 6)
  const header = frame.subarray(14, 14 + headerBytes)
  if (host.family === 4) {
    view.setUint16(12, 0x0800)
    // Precedence 6 (RFC 1812 §4.3.2.5), TTL 64, protocol ICMP.
    header.set([0x45, 0xc0, 0, 0, 0, 0, 0x40, 0, 64, 1])
    view.setUint16(16, headerBytes + message.length)
    header.set(own.bytes, 12)
    header.set(host.bytes, 16)
    view.setUint16(24, internetChecksum([header]))
  } else {
    view.setUint16(12, 0x86dd)
    header.set([0x60, 0, 0, 0, 0, 0, 58, 64])
    view.setUint16(18, message.length)
    header.set(own.bytes, 8)
    header.set(host.bytes, 24)
  }
  frame.set(message, 14 + headerBytes)
  return frame
}

/** The inner source, unless RFC 1122 §3.2.2 or RFC 4443 §2.4 forbid an error to it. */
function answerableSource(head: Uint8Array): IpAddress | undefined {
  const version = (head[0] ?? 0) >> 4
  if (version === 4 && head.length >= 28) {
    const fragmentOffset = ((head[6]! & 0x1f) << 8) | head[7]!
    const headerBytes = (head[0]! & 0xf) * 4
    const isError = head[9] === 1 && ICMPV4_ERRORS.includes(head[headerBytes] ?? 0)
    const address: IpAddress = { family: 4, bytes: head.slice(12, 16) }
    const first = address.bytes[0]!
    // Multicast, reserved and broadcast begin with 224 and above.
    if (fragmentOffset !== 0 || isError || first === 0 || first >= 224) return undefined
    return address
  }
  if (version === 6 && head.length >= 48) {
    const isError = head[6] === 58 && head[40]! < 128
    const address: IpAddress = { family: 6, bytes: head.slice(8, 24) }
    if (isError || isMulticast(address) || isUnspecified(address)) return undefined
    return address
  }
  return undefined
}

/** Prefer one whose subnet holds the host: that is the address it knows as its gateway. */
function ownAddress(site: NetworkInterface, host: IpAddress): IpAddress | undefined {
  const candidates = site.addresses.filter(({ address }) => address.family === host.family)
  const shared = ({ address, maskLength }: (typeof candidates)[number]): boolean => {
    const whole = maskLength >> 3
    return address.bytes.subarray(0, whole).every((byte, index) => byte === host.bytes[index])
  }
  return (candidates.find(shared) ?? candidates[0])?.address
}

/** 100 a second in all and 10 a second per source, counted in whole seconds. */
function createLimit(now: () => number): (source: string) => boolean {
  let second = -1
  let total = 0
  const bySource = new Map<string, number>()
  return (source) => {
    const current = Math.floor(now() / 1_000)
    if (current !== second) {
      second = current
      total = 0
      // Also the bound of the map: at most 100 sources pass in a second.
      bySource.clear()
    }
    const own = bySource.get(source) ?? 0
    if (total >= TOTAL_PER_SECOND || own >= SOURCE_PER_SECOND) return false
    total += 1
    bySource.set(source, own + 1)
    return true
  }
}

// ---------------------------------------------------------------------------------- raw-socket

interface RawSocket {
  on(name: 'error', listener: (error: Error) => void): void
  setOption(level: number, option: number, value: Uint8Array, length: number): void
  pauseRecv(): void
  send(
    bytes: Uint8Array,
    offset: number,
    length: number,
    address: string,
    after: (error: Error | null) => void,
  ): void
  close(): void
}
interface RawModule {
  createSocket(options: { protocol: number; addressFamily: number }): RawSocket
  readonly AddressFamily: { readonly IPv4: number; readonly IPv6: number }
}

/** One socket per site interface and family, bound to the device; undefined without the package. */
function openRawSender(
  log: DatapathLog,
  onFailure: () => void,
): { send: SendRaw; close: () => void } | undefined {
  let module: RawModule
  try {
    module = createRequire(import.meta.url)('raw-socket') as RawModule
  } catch {
    log('notice', 'raw-socket-missing', {
      consequence: 'ICMP errors reach only hosts on the segment of a site interface',
    })
    return undefined
  }
  const sockets = new Map<string, RawSocket | undefined>()
  const open = (site: NetworkInterface, family: 4 | 6): RawSocket | undefined => {
    try {
      const socket = module.createSocket({
        protocol: family === 4 ? 1 : 58,
        addressFamily: family === 4 ? module.AddressFamily.IPv4 : module.AddressFamily.IPv6,
      })
      socket.on('error', onFailure)
      // Received ICMP is the kernel's business.
      socket.pauseRecv()
      const device = Buffer.from(`${site.name}\0`)
      socket.setOption(SOL_SOCKET, SO_BINDTODEVICE, device, device.length)
      return socket
    } catch (error) {
      log('warning', 'raw-socket-failed', { interfaceName: site.name, why: String(error) })
      return undefined
    }
  }
  return {
    send(message, to, site) {
      const key = `${site.name}/${to.family}`
      if (!sockets.has(key)) sockets.set(key, open(site, to.family))
      const socket = sockets.get(key)
      if (socket === undefined) return false
      const bytes = Buffer.from(message)
      socket.send(bytes, 0, bytes.length, formatIpAddress(to), (error) => {
        if (error) onFailure()
      })
      return true
    },
    close() {
      for (const socket of sockets.values()) socket?.close()
    },
  }
}

const ICMPV4_ERRORS: readonly number[] = [3, 4, 5, 11, 12]
const IPV6_MINIMUM_MTU = 1280
// Choice: RFC 4443 §2.4 (f) asks for a limit, RFC 1812 §4.3.2.8 for one that can be set.
const TOTAL_PER_SECOND = 100
const SOURCE_PER_SECOND = 10
// asm-generic/socket.h; raw-socket has no names for them.
const SOL_SOCKET = 1
const SO_BINDTODEVICE = 25
