/**
 * Capture files and the frames in them, byte by byte, for tests of what reads them. Written from the
 * format descriptions, sharing no code with the reader.
 */
import type { IpAddress } from '../../src/lisp/address.js'
import { anAddress } from './builders.js'

export interface UdpPacket {
  readonly source: string
  readonly destination: string
  readonly sourcePort?: number
  readonly destinationPort?: number
  readonly payload: Uint8Array
}

/** An IP packet (family by its addresses) with a UDP datagram; checksums are zero. */
export function udpPacket(packet: UdpPacket): Buffer {
  const udp = Buffer.alloc(8)
  udp.writeUInt16BE(packet.sourcePort ?? 4342, 0)
  udp.writeUInt16BE(packet.destinationPort ?? 4342, 2)
  udp.writeUInt16BE(8 + packet.payload.length, 4)
  return ipPacket(packet, 17, Buffer.concat([udp, packet.payload]))
}

/** An IP packet around `payload`; `fragment` is the IPv4 flags and offset field. */
export function ipPacket(
  { source, destination }: { readonly source: string; readonly destination: string },
  protocol: number,
  payload: Uint8Array,
  fragment = 0,
): Buffer {
  const addresses: IpAddress[] = [anAddress(source), anAddress(destination)]
  const header = Buffer.alloc(addresses[0]!.family === 4 ? 20 : 40)
  if (header.length === 20) {
    header[0] = 0x45
    header.writeUInt16BE(20 + payload.length, 2)
    header.writeUInt16BE(0x1234, 4)
    header.writeUInt16BE(fragment, 6)
    header[8] = 64
    header[9] = protocol
    header.set(addresses[0]!.bytes, 12)
    header.set(addresses[1]!.bytes, 16)
    let sum = 0
    for (let at = 0; at < 20; at += 2) sum += header.readUInt16BE(at)
    sum = (sum & 0xffff) + (sum >> 16)
    header.writeUInt16BE(~((sum & 0xffff) + (sum >> 16)) & 0xffff, 10)
  } else {
    header[0] = 0x60
    header.writeUInt16BE(payload.length, 4)
    header[6] = protocol
    header[7] = 64
    header.set(addresses[0]!.bytes, 8)
    header.set(addresses[1]!.bytes, 24)
  }
  return Buffer.concat([header, payload])
}

/** An IPv6 Fragment extension header and what follows it. */
export function ipv6Fragment(
  addresses: { readonly source: string; readonly destination: string },
  field: number,
  payload: Uint8Array,
): Buffer {
  const header = Buffer.from([17, 0, field >> 8, field & 0xff, 0, 0, 0x56, 0x78])
  return ipPacket(addresses, 44, Buffer.concat([header, payload]))
}

export function etherType(packet: Uint8Array): number {
  return packet[0]! >> 4 === 4 ? 0x0800 : 0x86dd
}

/** An Ethernet frame, with 802.1Q tags where wanted, padded to 60 bytes as a network card does. */
export function ethernet(packet: Uint8Array, tags: readonly number[] = []): Buffer {
  const words = [...tags.flatMap((tag) => [0x8100, tag]), etherType(packet)]
  const frame = Buffer.concat([Buffer.alloc(12, 2), u16s(words), packet])
  return frame.length >= 60 ? frame : Buffer.concat([frame, Buffer.alloc(60 - frame.length)])
}

/** A classic pcap file. Times count seconds from 1735787045 (2025-01-02T03:04:05Z). */
export function pcapFile(
  frames: readonly Uint8Array[],
  { linkType = 1, little = false, nano = false } = {},
): Buffer {
  const header = Buffer.alloc(24)
  const write = writers(little)
  write.u32(header, nano ? 0xa1b23c4d : 0xa1b2c3d4, 0)
  write.u16(header, 2, 4)
  write.u16(header, 4, 6)
  write.u32(header, 262_144, 16)
  write.u32(header, linkType, 20)
  const records = frames.map((frame, index) => {
    const record = Buffer.alloc(16)
    write.u32(record, FIRST_SECOND + index, 0)
    write.u32(record, nano ? 678_901_234 : 678_901, 4)
    write.u32(record, frame.length, 8)
    write.u32(record, frame.length, 12)
    return Buffer.concat([record, frame])
  })
  return Buffer.concat([header, ...records])
}

/** A pcapng file with one interface in nanoseconds, a name resolution block, and Enhanced Packets. */
export function pcapngFile(
  frames: readonly Uint8Array[],
  { linkType = 1, little = false } = {},
): Buffer {
  const write = writers(little)
  const body = (bytes: number, fill: (buffer: Buffer) => void): Buffer => {
    const buffer = Buffer.alloc(bytes)
    fill(buffer)
    return buffer
  }
  const section = body(16, (buffer) => {
    write.u32(buffer, 0x1a2b3c4d, 0)
    write.u16(buffer, 1, 4)
    buffer.fill(0xff, 8)
  })
  const description = body(20, (buffer) => {
    write.u16(buffer, linkType, 0)
    write.u16(buffer, 9, 8)
    write.u16(buffer, 1, 10)
    buffer[12] = 9
  })
  const packets = frames.map((frame, index) =>
    body(20 + Math.ceil(frame.length / 4) * 4, (buffer) => {
      const at = BigInt(FIRST_SECOND + index) * 1_000_000_000n + 678_901_234n
      write.u32(buffer, Number(at >> 32n), 4)
      write.u32(buffer, Number(at & 0xffffffffn), 8)
      write.u32(buffer, frame.length, 12)
      write.u32(buffer, frame.length, 16)
      buffer.set(frame, 20)
    }),
  )
  return Buffer.concat([
    pcapngBlock(0x0a0d0d0a, section, little),
    pcapngBlock(1, description, little),
    pcapngBlock(4, Buffer.alloc(8), little),
    ...packets.map((packet) => pcapngBlock(6, packet, little)),
  ])
}

export function pcapngBlock(type: number, body: Uint8Array, little = false): Buffer {
  const write = writers(little)
  const head = Buffer.alloc(8)
  write.u32(head, type, 0)
  write.u32(head, body.length + 12, 4)
  const tail = Buffer.alloc(4)
  write.u32(tail, body.length + 12, 0)
  return Buffer.concat([head, body, tail])
}

export function u16s(words: readonly number[]): Buffer {
  const bytes = Buffer.alloc(words.length * 2)
  for (const [index, word] of words.entries()) bytes.writeUInt16BE(word, index * 2)
  return bytes
}

const FIRST_SECOND = 1_735_787_045

function writers(little: boolean) {
  return {
    u16: (buffer: Buffer, value: number, at: number) =>
      little ? buffer.writeUInt16LE(value, at) : buffer.writeUInt16BE(value, at),
    u32: (buffer: Buffer, value: number, at: number) =>
      little ? buffer.writeUInt32LE(value, at) : buffer.writeUInt32BE(value, at),
  }
}
